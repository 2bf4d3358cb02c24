//! Arrays that go into tables of their own.

use super::*;

fn orders() -> TableSchema {
    TableSchema {
        name: "orders".into(),
        columns: vec![not_null(column("tenant", TEXT)), not_null(column("no", INT)), column("note", TEXT)],
        unique_keys: vec![vec!["tenant".into(), "no".into()]],
        ..cars()
    }
}

fn lines() -> TableSchema {
    TableSchema {
        name: "order_lines".into(),
        columns: vec![
            column("line", INT),
            not_null(column("order_no", TEXT)),
            not_null(column("tenant", TEXT)),
            not_null(column("sku", TEXT)),
            column("qty", INT),
        ],
        unique_keys: vec![],
        ..cars()
    }
}

fn tags() -> TableSchema {
    let columns = vec![not_null(column("t", TEXT)), not_null(column("o", INT)), column("tag", TEXT)];
    TableSchema { name: "tags".into(), columns, unique_keys: vec![], ..cars() }
}

fn spec(changes: Json) -> RouteSpec {
    let mut all = json!({
        "table": "orders",
        "key": ["tenant", "no"],
        "columns": {"tenant": {"value": "jkt"}, "no": "no", "note": "note"},
        "children": [
            {
                "from": "lines",
                "table": "order_lines",
                "parent": {"order_no": "no", "tenant": "tenant"},
                "columns": {
                    "line": {"meta": "index"},
                    "sku": {"from": "item.sku", "clean": ["upper"], "required": true},
                    "qty": {"from": "qty", "default": 1},
                },
            },
            {"from": "meta.tags", "table": "tags", "parent": {"t": "tenant", "o": "no"}, "columns": {"tag": "."}},
        ],
    });
    all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    route(all)
}

fn mapping() -> Mapping {
    Mapping::compile(&spec(json!({})), orders(), vec![lines(), tags()]).unwrap()
}

fn of(action: Action, data: &str) -> Result<MappedRow, Rejection> {
    mapped(&mapping(), &message(action, None, data))
}

#[test]
fn a_row_of_each_element_is_tied_to_its_parent() {
    let mapping = mapping();
    assert_eq!(mapping.children.len(), 2);
    let plan = &mapping.children[0];
    assert_eq!(
        (plan.table.name.as_str(), &plan.columns, &plan.route),
        ("order_lines", &vec![0, 1, 2, 3, 4], &mapping.plan.route)
    );
    assert_eq!(
        (&plan.key, plan.only_unique_key, plan.version),
        (&vec![2, 1], false, None),
        "in the order of the parent's key"
    );

    let data = r#"{"no": 7, "note": "n", "lines": [{"item": {"sku": "a1"}, "qty": 2, "x": 0}, {"item": {"sku": "b2"}}], "meta": {"tags": ["new", null, 5]}}"#;
    let row = of(Action::Upsert, data).unwrap();
    assert_eq!(
        mapping.sent(&row).get(),
        r#"{"tenant":"jkt","no":7,"note":"n","lines":[{"line":1,"order_no":"7","tenant":"jkt","sku":"A1","qty":2},{"line":2,"order_no":"7","tenant":"jkt","sku":"B2","qty":1}],"meta.tags":[{"t":"jkt","o":7,"tag":"new"},{"t":"jkt","o":7,"tag":null},{"t":"jkt","o":7,"tag":"5"}]}"#
    );
    assert_eq!(row.key.as_deref(), Some(r#"["jkt","7"]"#));
    assert!(row.children.iter().flatten().flatten().flatten().all(|cell| *cell != Cell::Absent));
}

#[test]
fn an_array_that_is_absent_leaves_the_children_and_an_empty_one_clears_them() {
    let table = [
        (r#"{"no": 7}"#, [None, None]),
        (r#"{"no": 7, "lines": null, "meta": null}"#, [Some(0), None]),
        (r#"{"no": 7, "lines": [], "meta": {"tags": null}}"#, [Some(0), Some(0)]),
        (r#"{"no": 7, "meta": {"tags": [1, 2]}}"#, [None, Some(2)]),
    ];
    for (data, expected) in table {
        for action in [Action::Insert, Action::Upsert, Action::Update] {
            let row = of(action, data).unwrap();
            let counts: Vec<_> = row.children.iter().map(|rows| rows.as_ref().map(Vec::len)).collect();
            assert_eq!(counts, expected, "{action:?} {data}");
        }
    }
    let row = of(Action::Delete, r#"{"no": 7, "lines": "not read"}"#).unwrap();
    assert_eq!(row.children, [None, None]);
}

#[test]
fn a_refusal_names_the_elements_path() {
    let table = [
        (
            r#"{"no": 7, "lines": {"sku": 1}}"#,
            "type -",
            "field `lines` for table `order_lines` is an object, where an array is expected",
        ),
        (
            r#"{"no": 7, "lines": "hunter2"}"#,
            "type -",
            "field `lines` for table `order_lines` is a string, where an array is expected",
        ),
        (
            r#"{"no": 7, "meta": [1]}"#,
            "type -",
            "field `meta` for table `tags` is an array, where an object is expected",
        ),
        (
            r#"{"no": 7, "lines": [{"item": {"sku": "a"}}, {"item": "hunter2"}]}"#,
            "type sku",
            "field `lines[1].item` for column `sku` (varchar(20)) of table `order_lines` is a string, where an object is expected",
        ),
        (
            r#"{"no": 7, "lines": [{"item": {"sku": "a"}}, {}]}"#,
            "required sku",
            "field `lines[1].item.sku` is missing: column `sku` (varchar(20)) of table `order_lines` is required by route `rooms-cars`",
        ),
        (
            r#"{"no": 7, "lines": [{"item": {"sku": "a"}, "qty": "hunter2"}]}"#,
            "type qty",
            "field `lines[0].qty` for column `qty` (integer) of table `order_lines` is a string that is not a whole number",
        ),
        (
            r#"{"no": 7, "lines": [{"qty": 1, "item": {"sku": "a"}, "qty": 2}]}"#,
            "type -",
            "field `lines[0].qty` stands in the record twice; it was meant for table `order_lines`",
        ),
        (
            r#"{"no": 7, "lines": [null]}"#,
            "type sku",
            "field `lines[0]` for column `sku` (varchar(20)) of table `order_lines` is null, where an object is expected",
        ),
        (r#"{"no": 7, "lines": [1e999]}"#, "type sku", "is a number, where an object is expected"),
        (
            r#"{"no": 7, "meta": {"tags": ["hunter2hunter2hunter2"]}}"#,
            "too_long tag",
            "field `meta.tags[0]` for column `tag` (varchar(20)) of table `tags` is too long: 21 characters, at most 20",
        ),
    ];
    for (data, code, expected) in table {
        let row = of(Action::Upsert, data);
        assert!(row.as_ref().is_err_and(|rejection| rejection.message.ends_with(expected)), "{data}: {row:?}");
        assert_eq!(shown(&mapping(), row), code, "{data}");
    }
    // What can't be decoded and nobody wants is in nobody's way, in elements too.
    let row = of(
        Action::Upsert,
        r#"{"no": 7, "lines": [{"x": 1e999, "item": {"sku": "a", "y": "\ud800"}}, {"item": {"sku": "b"}}]}"#,
    );
    assert_eq!(row.unwrap().children[0].as_ref().map(Vec::len), Some(2));
}

#[test]
fn a_key_that_the_database_makes_ties_nothing() {
    let mut table = orders();
    table.columns[1].has_default = true;
    let mapping = Mapping::compile(&spec(json!({})), table, vec![lines(), tags()]).unwrap();
    let insert = |data| mapped(&mapping, &message(Action::Insert, None, data));
    assert!(insert(r#"{"note": "x"}"#).is_ok());
    assert_eq!(
        insert(r#"{"lines": [{"item": {"sku": "a"}}]}"#).unwrap_err().message,
        "key column `no` of table `orders` has no value before the row is there, and column `order_no` (varchar(20)) of table \
         `order_lines` needs it: send it"
    );
}

#[test]
fn columns_of_a_child_may_match_by_name_and_unknown_fields_are_refused_in_it() {
    let children = json!([{"from": "lines", "table": "order_lines", "parent": {"order_no": "no", "tenant": "tenant"}, "columns": "matching"}]);
    let spec = spec(json!({"children": children, "unknown_fields": "reject"}));
    let mapping = Mapping::compile(&spec, orders(), vec![lines()]).unwrap();
    let row = upsert(&mapping, r#"{"no": 7, "lines": [{"SKU": "a", "line": 3, "qty": null}]}"#);
    assert_eq!(
        shown(&mapping, row),
        r#"Upsert {"tenant":"jkt","no":7,"lines":[{"line":3,"order_no":"7","tenant":"jkt","sku":"a","qty":null}]} ["jkt","7"]"#
    );
    let rejection = upsert(&mapping, r#"{"no": 7, "lines": [{"sku": "a"}, {"sku": "b", "quty": 1}]}"#).unwrap_err();
    assert!(
        rejection.message.starts_with("field `lines[1].quty` is unknown: no column of table `order_lines` reads it"),
        "{rejection}"
    );
    assert!(rejection.message.ends_with("did you mean `qty`?"), "{rejection}");
    // The parent's key is the parent's to say.
    let rejection = upsert(&mapping, r#"{"no": 7, "lines": [{"sku": "a", "order_no": "8"}]}"#).unwrap_err();
    assert_eq!(rejection.code, "unknown_field");
    let rejection = upsert(&mapping, r#"{"no": 7, "lines": [{"Sku": "a", "SKU": "b"}]}"#).unwrap_err();
    assert!(rejection.message.contains("name one of them `lines[0].sku`"), "{rejection}");
}

#[test]
fn expressions_of_a_child_see_the_element_and_its_place() {
    let children = json!([{
        "from": "lines", "table": "order_lines", "parent": {"order_no": "no", "tenant": "tenant"},
        "columns": {"line": {"expr": "index * 10"}, "sku": "sku", "qty": {"expr": "item.boxes * item.each"}},
    }]);
    let mapping = Mapping::compile(&spec(json!({"children": children})), orders(), vec![lines()]).unwrap();
    let data =
        r#"{"no": 7, "lines": [{"sku": "a", "boxes": 2, "each": 6}, {"sku": "b", "boxes": "hunter2", "each": 6}]}"#;
    let rejection = upsert(&mapping, data).unwrap_err();
    assert!(rejection.message.starts_with("the expression of `lines["), "{rejection}");
    assert!(!rejection.message.contains("hunter2"), "{rejection}");
    assert!(rejection.message.starts_with("the expression of `lines[1]` for column `qty`"), "{rejection}");
    let row = upsert(&mapping, r#"{"no": 7, "lines": [{"sku": "a", "boxes": 2, "each": 6}]}"#);
    assert!(shown(&mapping, row).contains(r#"[{"line":10,"order_no":"7","tenant":"jkt","sku":"a","qty":12}]"#));
}

#[test]
fn what_does_not_go_with_children_is_refused_when_compiled() {
    let line = |changes: Json| {
        let mut child = json!({"from": "lines", "table": "order_lines", "parent": {"order_no": "no", "tenant": "tenant"}, "columns": {"sku": "sku"}});
        child.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        json!({"children": [child]})
    };
    let table = [
        (line(json!({"from": "lines[*]"})), "children[0].from", "`[*]` is no place"),
        (line(json!({"from": "."})), "children[0].from", "is the record itself"),
        (
            line(json!({"parent": {"order_no": "nr", "tenant": "tenant"}})),
            "children[0].parent.order_no",
            "ties `order_no` to `nr`, which is no column of the route's `key`; that is `tenant`, `no`",
        ),
        (
            line(json!({"parent": {"order_nr": "no", "tenant": "tenant"}})),
            "children[0].parent.order_nr",
            "did you mean `order_no`?",
        ),
        (line(json!({"parent": {"tenant": "tenant"}})), "children[0].parent", "leaves out key column `no`"),
        (
            line(json!({"parent": {"order_no": "no", "tenant": "no"}})),
            "children[0].parent.tenant",
            "names key column `no` twice",
        ),
        (
            line(json!({"columns": {"qty": "qty"}})),
            "children[0].columns",
            "column `sku` (varchar(20)) of table `order_lines` is NOT NULL without a default",
        ),
        (
            line(json!({"columns": {"sku": "sku", "qtyy": "qty"}})),
            "children[0].columns.qtyy",
            "`children[0].columns` names `qtyy`, which is no column of table `order_lines`; did you mean `qty`?",
        ),
        (
            line(json!({"columns": {"sku": "sku", "order_no": "no"}})),
            "children[0].columns.order_no",
            "`parent` ties it to the parent's key",
        ),
        (json!({"key": []}), "key", "give the route a `key`"),
        (json!({"delete": "ignore"}), "delete", "do not go with `delete = \"ignore\"`"),
    ];
    for (changes, place, expected) in table {
        let children = if changes.get("children").is_some() { vec![lines()] } else { vec![lines(), tags()] };
        let errors = Mapping::compile(&spec(changes.clone()), orders(), children).unwrap_err();
        assert!(
            errors.iter().any(|error| error.place.to_string() == place && error.message.contains(expected)),
            "{changes}: {errors:#?}"
        );
    }
    for same in [vec![lines(), lines()], vec![orders(), tags()]] {
        let errors = Mapping::compile(&spec(json!({})), orders(), same).unwrap_err();
        assert!(errors.iter().any(|error| error.message.contains("is written by this route already")), "{errors:#?}");
    }
    let errors = Mapping::compile(&spec(json!({})), orders(), vec![]).unwrap_err();
    assert!(errors[0].message.contains("the route has 2 children and 0 of their tables were read"), "{errors:#?}");
    let soft = Mapping::compile(
        &spec(json!({"delete": {"column": "note", "value": "gone"}})),
        orders(),
        vec![lines(), tags()],
    );
    assert!(soft.is_err(), "`note` is in `columns`");
    let columns = json!({"tenant": {"value": "jkt"}, "no": "no"});
    let soft = spec(json!({"delete": {"column": "note", "value": "gone"}, "columns": columns}));
    let soft = Mapping::compile(&soft, orders(), vec![lines(), tags()]).unwrap();
    let row = mapped(&soft, &message(Action::Delete, Some("7"), "{}")).unwrap();
    assert_eq!((row.op, row.children), (Op::Update, vec![None, None]), "the children stay");
}
