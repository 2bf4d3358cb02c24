use super::*;

fn errors(changes: Json, table: TableSchema) -> Vec<String> {
    let errors = Mapping::compile(&route(changes), table, vec![]).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn mistakes_are_found_together_with_the_nearest_right_name() {
    let wrong = errors(
        json!({"key": ["ids"], "columns": {"id": "id", "car_nam": "x", "total": "t", "stock": {"default": "many"}}}),
        cars(),
    );
    assert_eq!(
        wrong,
        [
            "route `rooms-cars`: `columns` names `car_nam`, which is no column of table `cars`; did you mean `car_name`?",
            "route `rooms-cars`: column `total` of table `cars` is computed by the database and can't be written: take it out of `columns`",
            "route `rooms-cars`: `key` names `ids`, which is no column of table `cars`; did you mean `id`?",
            "route `rooms-cars`: column `car_name` (varchar(20)) of table `cars` is NOT NULL without a default and the route never fills it, so that no row could be inserted: add `car_name` to `columns`",
            "route `rooms-cars`: the `default` for column `stock` (integer) of table `cars` is a string that is not a whole number",
        ]
    );
    let table: &[(Json, &str)] = &[
        (
            json!({"columns": {"xyz": "x", "car_name": "n"}}),
            "which is no column of table `cars`; it has `id`, `car_name`, `stock`",
        ),
        (
            json!({"columns": {"car_name": "a", "CAR_NAME": "b"}}),
            "`columns` names column `car_name` twice, in two spellings",
        ),
        (json!({"key": ["id", "ID"]}), "`key` names column `id` twice"),
        (
            json!({"key": ["stock", "car_name"]}),
            "key (stock, car_name) is no unique key of table `cars` (it has (id)), so rows could not be told apart; \
             name one of its unique keys, or add one: ALTER TABLE cars ADD UNIQUE (stock, car_name)",
        ),
        (
            json!({"columns": {"car_name": {"as": "json", "default": "null"}}}),
            "the `default` for column `car_name` (varchar(20)) of table `cars` is null",
        ),
        (json!({"key": [], "columns": {}}), "column `id` (integer) of table `cars` is NOT NULL without a default"),
    ];
    for (changes, expected) in table {
        let errors = errors(changes.clone(), cars());
        assert!(errors.iter().any(|error| error.contains(expected)), "{changes}: {errors:#?}");
    }
    let nothing = TableSchema { columns: vec![column("a", INT)], ..cars() };
    assert_eq!(
        errors(json!({"key": [], "columns": {}}), nothing),
        ["route `rooms-cars`: it writes no column of table `cars`; name one under `columns`"]
    );
    let mut alike = cars();
    alike.columns.push(column("Stock", INT));
    assert!(
        errors(json!({"columns": {"STOCK": "s", "car_name": "n"}}), alike)[0].contains("write one of them exactly")
    );
}

/// A table with a column of every policy.
fn policies() -> TableSchema {
    let columns = vec![
        not_null(column("id", INT)),
        column("name", TEXT),
        column("rev", INT),
        column("word", TEXT),
        column("doc", ColumnType::Json { nul: false }),
        column("deleted_at", ColumnType::Timestamp { zone: true }),
        not_null(ColumnSchema { has_default: true, ..column("gone", ColumnType::Bool) }),
        ColumnSchema { generated: true, ..column("total", INT) },
    ];
    TableSchema { columns, ..cars() }
}

#[test]
fn every_mistake_has_its_place_in_the_route_and_a_remedy() {
    let with = |column: &str, rule: Json| json!({"columns": {"id": "id", column: rule}});
    let table: &[(Json, &str, &str)] = &[
        (
            with("name", json!({"from": "n", "expr": "1", "value": 2})),
            "columns.name",
            "column `name` takes its value from `from` and `value` and `expr`: keep one of them",
        ),
        (
            with("name", json!("a..b")),
            "columns.name.from",
            "column `name`: `a..b` is no path: a name is missing at character 3",
        ),
        (
            with("rev", json!({"value": "many"})),
            "columns.rev.value",
            "the `value` for column `rev` (integer) of table `cars` is a string that is not a whole number",
        ),
        (
            json!({"columns": {"id": "id", "gone": {"value": null}, "rev": {"meta": "application"}}}),
            "columns.rev.meta",
            "the application's name for column `rev` (integer)",
        ),
        (with("rev", json!({"meta": "topic"})), "columns.rev.meta", "the topic for column `rev` (integer)"),
        (
            with("rev", json!({"meta": "received"})),
            "columns.rev.meta",
            "the message's metadata for column `rev` (integer)",
        ),
        (
            with("word", json!({"meta": "id"})),
            "columns.word.meta",
            "the message's metadata for column `word` (varchar(20)) of table `cars` is too long",
        ),
        (with("rev", json!({"meta": "index"})), "columns.rev.meta", "only the columns of `children` have"),
        (with("rev", json!({"default": "many"})), "columns.rev.default", "the `default` for column `rev`"),
        (with("nam", json!("x")), "columns.nam", "did you mean `name`?"),
        (with("total", json!("x")), "columns.total", "is computed by the database"),
        (with("rev", json!({"expr": "data."})), "columns.rev.expr", "the expression of column `rev` can't be read: "),
        (with("rev", json!({"expr": "item.a"})), "columns.rev.expr", "speaks of `item`, which is of an element"),
        (with("rev", json!({"zone": "Asia/Jakarta"})), "columns.rev", "column `rev`: `zone` is for dates and times"),
        (json!({"filter": "index > 1"}), "filter", "the filter speaks of `index`"),
        (json!({"filter": "data.a =="}), "filter", "the filter can't be read: "),
        (json!({"key": ["id", "nam"]}), "key[1]", "did you mean `name`?"),
        (json!({"key": ["name"]}), "key", "is no unique key of table `cars`"),
        (json!({"delete": {"column": "deletd_at"}}), "delete.column", "did you mean `deleted_at`?"),
        (json!({"delete": {"column": "id"}}), "delete.column", "which is in `key`"),
        (json!({"delete": {"column": "total"}}), "delete.column", "is computed by the database"),
        (
            json!({"delete": {"column": "gone", "value": true}}),
            "delete",
            "is NOT NULL, so an insert can't set it back to NULL: give `delete` a `restore`, such as `false`",
        ),
        (json!({"delete": {"column": "gone", "restore": false}}), "delete", "give `delete` a `value`, such as `true`"),
        (
            json!({"delete": {"column": "gone", "value": 7, "restore": false}}),
            "delete.value",
            "the `value` for column `gone`",
        ),
        (
            json!({"delete": {"column": "gone", "value": true, "restore": "so"}}),
            "delete.restore",
            "the `restore` for column `gone`",
        ),
        (
            json!({"key": [], "delete": {"column": "deleted_at"}}),
            "delete",
            "give the route a `key`, or say `delete = \"ignore\"`",
        ),
        (
            json!({"delete": {"column": "deleted_at"}, "columns": {"id": "id", "deleted_at": "d"}}),
            "columns.deleted_at",
            "is in `columns`, but `delete` sets it",
        ),
        (json!({"key": [], "on_existing": "ignore"}), "on_existing", "`on_existing = \"ignore\"` needs a `key`"),
        (json!({"key": [], "on_existing": "update"}), "on_existing", "`on_existing = \"update\"` needs a `key`"),
        (json!({"version_column": "reve"}), "version_column", "did you mean `rev`?"),
        (json!({"version_column": "rev", "columns": {"id": "id"}}), "version_column", "add `rev` to `columns`"),
        (json!({"version_column": "id"}), "version_column", "which is in `key`"),
        (
            json!({"version_column": "deleted_at", "delete": {"column": "deleted_at"}}),
            "version_column",
            "which `delete` sets",
        ),
        (
            json!({"version_column": "rev", "columns": {"id": "id", "rev": {"value": 1}}}),
            "version_column",
            "always the same",
        ),
        (
            json!({"version_column": "rev", "columns": {"id": "id", "rev": {"default": 1}}}),
            "version_column",
            "has a `default`",
        ),
        (json!({"version_column": "doc"}), "version_column", "have no order that can be told"),
        (json!({"version_column": "rev", "key": []}), "version_column", "without a `key` there is none"),
        (
            json!({"version_column": "rev", "on_existing": "ignore"}),
            "version_column",
            "does not go with `on_existing = \"ignore\"`",
        ),
    ];
    for (changes, place, expected) in table {
        let errors = Mapping::compile(&route(changes.clone()), policies(), vec![]).unwrap_err();
        assert!(
            errors.iter().any(|error| error.place.to_string() == *place && error.message.contains(expected)),
            "{changes}: {errors:#?}"
        );
    }
}

#[test]
fn what_is_doubtful_is_told_and_not_in_the_way() {
    let with = |column: &str, rule: Json| json!({"columns": {"id": "id", column: rule}});
    let table: &[(Json, &str, &str)] = &[
        (
            with("name", json!({"length": {"max": 100}})),
            "columns.name.length",
            "`length.max` is 100, and it holds 20 characters",
        ),
        (with("rev", json!({"value": 1, "default": 2})), "columns.rev.default", "a constant is never missing"),
        (
            with("rev", json!({"required": true, "default": 2})),
            "columns.rev.default",
            "it is `required`, so its `default` is never taken",
        ),
        (
            with("rev", json!({"expr": "data.a + 1"})),
            "columns.rev.expr",
            "its expression reads `a`: a record without it",
        ),
        (
            json!({"filter": "data.live"}),
            "filter",
            "the filter reads `live`: a record without it, such as an update of other fields, becomes a dead letter; ask with `has(data.live)` first",
        ),
        (json!({"version_column": "word"}), "version_column", "is compared as text"),
        (json!({"key": [], "on_existing": "reject"}), "on_existing", "changes nothing without a `key`"),
    ];
    for (changes, place, expected) in table {
        let mapping = Mapping::compile(&route(changes.clone()), policies(), vec![]).unwrap();
        let warnings = mapping.warnings();
        assert_eq!(warnings.len(), 1, "{changes}: {warnings:#?}");
        assert_eq!(warnings[0].place.to_string(), *place);
        assert!(warnings[0].message.contains(expected), "{changes}: {warnings:#?}");
    }
    for fine in [
        json!({}),
        json!({"filter": "has(data.live) && data.live"}),
        json!({"filter": "action != 'delete'"}),
        json!({"key": [], "filter": "data.live"}),
        with("rev", json!({"as": "bool", "from": "x"})),
        with("name", json!({"as": "date", "length": {"max": 20}})),
        with("deleted_at", json!({"as": "date"})),
    ] {
        let mapping = Mapping::compile(&route(fine.clone()), policies(), vec![]).unwrap();
        assert_eq!(mapping.warnings(), [], "{fine}");
    }
}
