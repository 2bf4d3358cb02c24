//! Paths, unknown fields, and what stands in the way.

use super::*;

fn nested() -> Mapping {
    compiled(json!({"columns": {
        "id": "order.no",
        "car_name": "order.customer[\"full.name\"]",
        "stock": "order.items[1].qty",
        "price": "price",
    }}))
}

#[test]
fn values_are_picked_by_path() {
    let mapping = nested();
    let table = [
        (
            r#"{"order": {"x": [{}], "no": 7, "customer": {"full.name": "Siti", "zip": 1}, "items": [{"qty": 1}, {"qty": 2, "y": 0}, 5]}, "price": 1.50}"#,
            r#"Upsert {"id":7,"car_name":"Siti","stock":2,"price":1.50} ["7"]"#,
        ),
        // Absent anywhere on the way is absent, and so is null.
        (r#"{"order": {"no": 7}}"#, r#"Upsert {"id":7} ["7"]"#),
        (r#"{"order": {"no": 7, "customer": null, "items": null}}"#, r#"Upsert {"id":7} ["7"]"#),
        (r#"{"order": {"no": 7, "customer": {}, "items": [{"qty": 9}]}}"#, r#"Upsert {"id":7} ["7"]"#),
        (r#"{"order": {"no": 7, "items": [null, null]}}"#, r#"Upsert {"id":7} ["7"]"#),
        (r#"{"order": {"no": 7, "items": []}}"#, r#"Upsert {"id":7} ["7"]"#),
        // Null at the end is null.
        (r#"{"order": {"no": 7, "items": [{}, {"qty": null}]}}"#, r#"Upsert {"id":7,"stock":null} ["7"]"#),
        (r#"{"order": null}"#, "required id"),
        (r#"{"order.no": 7}"#, "required id"),
    ];
    for (data, expected) in table {
        assert_eq!(shown(&mapping, upsert(&mapping, data)), expected, "{data}");
    }
}

#[test]
fn a_value_of_another_kind_on_the_way_is_refused_by_path_and_kind() {
    let mapping = nested();
    let table = [
        (
            r#"{"order": "hunter2"}"#,
            "field `order` for column `car_name` (varchar(20)) of table `cars` is a string, where an object is expected",
        ),
        (r#"{"order": 1e999999}"#, "is a number, where an object is expected"),
        (r#"{"order": true}"#, "is a boolean, where an object is expected"),
        (r#"{"order": "\ud800"}"#, "is a string, where an object is expected"),
        (
            r#"{"order": [1]}"#,
            "field `order` for column `car_name` (varchar(20)) of table `cars` is an array, where an object is expected",
        ),
        (
            r#"{"order": {"no": 1, "customer": "hunter2"}}"#,
            "field `order.customer` for column `car_name` (varchar(20)) of table `cars` is a string, where an object is expected",
        ),
        (
            r#"{"order": {"no": 1, "items": {"1": {"qty": "hunter2"}}}}"#,
            "field `order.items` for column `stock` (integer) of table `cars` is an object, where an array is expected",
        ),
        (
            r#"{"order": {"no": 1, "items": [1, "hunter2"]}}"#,
            "field `order.items[1]` for column `stock` (integer) of table `cars` is a string, where an object is expected",
        ),
        (
            r#"{"order": {"no": 1, "items": [1, {"qty": "hunter2"}]}}"#,
            "field `order.items[1].qty` for column `stock` (integer) of table `cars` is a string that is not a whole number",
        ),
    ];
    for (data, expected) in table {
        let rejection = upsert(&mapping, data).unwrap_err();
        assert_eq!(rejection.code, "type");
        assert!(rejection.message.ends_with(expected), "{data}: {rejection}");
    }
    // A delete reads its key and nothing else.
    let delete = message(Action::Delete, None, r#"{"order": {"no": 1, "customer": "x", "items": 5}}"#);
    assert_eq!(shown(&mapping, mapped(&mapping, &delete)), r#"Delete {"id":1} ["1"]"#);
}

#[test]
fn what_cannot_be_decoded_and_nobody_wants_is_in_nobodys_way() {
    let mapping = nested();
    let data =
        r#"{"a": 1e999999, "b": "\ud800", "order": {"c": [1e999999, "\udc00"], "no": 7, "customer": {"d": 1e999999}}}"#;
    assert_eq!(shown(&mapping, upsert(&mapping, data)), r#"Upsert {"id":7} ["7"]"#);
}

#[test]
fn a_name_that_stands_twice_is_refused_at_every_level_that_is_read() {
    let mapping = nested();
    let table = [
        (r#"{"price": 1, "price": 2}"#, "field `price` stands in the record twice"),
        (r#"{"order": null, "order": {"no": 1}}"#, "field `order` stands in the record twice"),
        (r#"{"order": {"no": 1, "no": null}}"#, "field `order.no` stands in the record twice"),
        (
            r#"{"order": {"customer": {"full.name": 1, "full.name": 2}}}"#,
            "field `order.customer[\"full.name\"]` stands",
        ),
        (r#"{"order": {"items": [0, {"qty": 1, "qty": 1}]}}"#, "field `order.items[1].qty` stands in the record twice"),
        (r#"{"order": {"no": 1, "n\u006f": 2}}"#, "field `order.no` stands in the record twice"),
    ];
    for (data, expected) in table {
        let rejection = upsert(&mapping, data).unwrap_err();
        assert!(rejection.message.starts_with(expected), "{data}: {rejection}");
    }
    assert!(upsert(&mapping, r#"{"x": 1, "x": 2, "order": {"no": 1, "y": {"z": 1, "z": 2}}}"#).is_ok());
}

#[test]
fn a_value_may_be_taken_as_a_whole_and_in_parts() {
    let mut table = cars();
    table.columns.push(column("doc", ColumnType::Json { nul: false }));
    table.columns.push(column("record", ColumnType::Json { nul: false }));
    let columns = json!({"id": "a.id", "car_name": "a.b.c", "doc": "a", "record": "."});
    let mapping = Mapping::compile(&route(json!({"columns": columns})), table, vec![]).unwrap();
    let row = upsert(&mapping, r#" {"a": {"id": 1, "b": {"c": "x"}}} "#);
    assert_eq!(
        shown(&mapping, row),
        r#"Upsert {"id":1,"car_name":"x","doc":{"id": 1, "b": {"c": "x"}},"record":{"a": {"id": 1, "b": {"c": "x"}}}} ["1"]"#
    );
    assert!(upsert(&mapping, r#"{"a": "x"}"#).unwrap_err().message.starts_with("field `a` for column `car_name`"));
    assert_eq!(shown(&mapping, upsert(&mapping, r#"{"a": null}"#)), "required id");
    assert!(
        upsert(&mapping, r#"{"a": {"id": 1, "b": {"c": 1, "c": 2}}}"#).unwrap_err().message.contains("`a.b.c` stands")
    );
}

#[test]
fn unknown_fields_are_refused_with_path_and_nearest_name_where_the_route_says_so() {
    let columns = json!({"id": "no", "car_name": "owner.name", "stock": "items[0].qty"});
    let mapping = compiled(
        json!({"unknown_fields": "reject", "columns": columns, "filter": "data.live == true || 'x y' in data"}),
    );
    let map = |action, data: &str| mapped(&mapping, &message(action, None, data));
    for data in [
        r#"{"no": 1}"#,
        r#"{"no": 1, "owner": {"name": "a"}, "items": [{"qty": 1}, {"other": 2}]}"#,
        // What an expression speaks of counts as read.
        r#"{"no": 1, "live": {"a": 1}, "x y": 1}"#,
    ] {
        assert!(map(Action::Upsert, data).is_ok(), "{data}");
    }
    let table = [
        (
            r#"{"no": 1, "onwer": {}}"#,
            "field `onwer` is unknown: no column of table `cars` reads it, and route `rooms-cars` has `unknown_fields = \"reject\"`; did you mean `owner`?",
        ),
        (
            r#"{"no": 1, "owner": {"nam": 1}}"#,
            "field `owner.nam` is unknown: no column of table `cars` reads it, and route `rooms-cars` has `unknown_fields = \"reject\"`; did you mean `name`?",
        ),
        (
            r#"{"no": 1, "items": [{"a.b": 5}]}"#,
            "field `items[0][\"a.b\"]` is unknown: no column of table `cars` reads it, and route `rooms-cars` has `unknown_fields = \"reject\"`",
        ),
    ];
    for (data, expected) in table {
        let rejection = map(Action::Upsert, data).unwrap_err();
        assert_eq!((rejection.code.as_str(), rejection.message.as_str()), ("unknown_field", expected), "{data}");
        assert!(map(Action::Delete, data).is_ok(), "a delete reads its key alone");
    }
    let long = format!(r#"{{"no": 1, "{}": 1}}"#, "é".repeat(1000));
    assert!(map(Action::Upsert, &long).unwrap_err().message.len() < 400);
    let mapping = compiled(json!({"unknown_fields": "reject"}));
    assert!(upsert(&mapping, r#"{"ID": 1, "car_name": "a"}"#).is_ok());
    assert_eq!(shown(&mapping, upsert(&mapping, r#"{"id": 1, "total": 1}"#)), "unknown_field -");
}
