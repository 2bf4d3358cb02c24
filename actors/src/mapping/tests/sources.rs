//! Constants, metadata, expressions; required fields and defaults.

use super::*;

/// A table of one integer key and columns of these types.
pub(super) fn table_of(columns: &[(&str, ColumnType)]) -> TableSchema {
    let columns = columns.iter().map(|(name, kind)| column(name, kind.clone()));
    TableSchema { columns: std::iter::once(not_null(column("id", INT))).chain(columns).collect(), ..cars() }
}

#[test]
fn constants_and_metadata_fill_columns() {
    let any_text = || ColumnType::Text { max_chars: None, max_bytes: None, nul: false };
    let table = table_of(&[
        ("source", any_text()),
        ("rank", INT),
        ("message", any_text()),
        ("app", any_text()),
        ("topic", any_text()),
        ("action", any_text()),
        ("key", any_text()),
        ("at", ColumnType::Timestamp { zone: true }),
        ("day", ColumnType::Date),
    ]);
    let columns = json!({
        "id": "id",
        "source": {"value": " shop ", "clean": ["trim", "upper"]},
        "rank": {"value": 7},
        "message": {"meta": "id"},
        "app": {"meta": "application"},
        "topic": {"meta": "topic"},
        "action": {"meta": "action", "clean": ["upper"]},
        "key": {"meta": "key"},
        "at": {"meta": "received"},
        "day": {"meta": "received", "as": "date"},
    });
    let mapping = Mapping::compile(&route(json!({"columns": columns})), table, vec![]).unwrap();
    let mut message = message(Action::Update, Some("42"), r#"{"source": "x", "key": "y"}"#);
    message.id = StreamId::new(1_763_775_403_123, 4);
    assert_eq!(
        shown(&mapping, mapped(&mapping, &message)),
        r#"Update {"id":42,"source":"SHOP","rank":7,"message":"gen0-1763775403123-4","app":"car-app","topic":"cars","action":"UPDATE","key":"42","at":"2025-11-22 01:36:43.123+00:00","day":"2025-11-22"} ["42"]"#
    );
    // A delete is its key, whatever else is always known.
    message.action = Action::Delete;
    assert_eq!(shown(&mapping, mapped(&mapping, &message)), r#"Delete {"id":42} ["42"]"#);
}

#[test]
fn the_messages_key_is_its_text_where_it_is_a_string_and_else_json() {
    let any_text = ColumnType::Text { max_chars: None, max_bytes: None, nul: false };
    let columns = json!({"id": "id", "key": {"meta": "key"}});
    let spec = route(json!({"key": [], "columns": columns}));
    let mapping = Mapping::compile(&spec, table_of(&[("key", any_text)]), vec![]).unwrap();
    for (key, expected) in [
        (Some(r#""a\b""#), r#"Insert {"id":1,"key":"a\b"} -"#),
        (Some("4.20"), r#"Insert {"id":1,"key":"4.20"} -"#),
        (Some(r#"{"a":1}"#), r#"Insert {"id":1,"key":"{\"a\":1}"} -"#),
        (None, r#"Insert {"id":1} -"#),
    ] {
        let row = mapped(&mapping, &message(Action::Insert, key, r#"{"id": 1, "key": 5}"#));
        assert_eq!(shown(&mapping, row), expected);
    }
}

#[test]
fn a_key_column_may_be_a_constant_metadata_or_the_key_itself() {
    let table = || TableSchema {
        columns: vec![not_null(column("tenant", TEXT)), not_null(column("no", INT)), column("stock", INT)],
        unique_keys: vec![vec!["tenant".into(), "no".into()], vec!["no".into()]],
        ..cars()
    };
    let spec = route(
        json!({"key": ["tenant", "no"], "columns": {"tenant": {"value": "jkt"}, "no": "car.no", "stock": "stock"}}),
    );
    let mapping = Mapping::compile(&spec, table(), vec![]).unwrap();
    let cases = [
        // One value alone is that of the only column that a key can say.
        (Some("7"), "{}", r#"Upsert {"tenant":"jkt","no":7} ["jkt","7"]"#),
        (Some(r#"{"no":7,"tenant":"jkt"}"#), "{}", r#"Upsert {"tenant":"jkt","no":7} ["jkt","7"]"#),
        (Some(r#"{"car.no":7}"#), "{}", r#"Upsert {"tenant":"jkt","no":7} ["jkt","7"]"#),
        (None, r#"{"car": {"no": 7}}"#, r#"Upsert {"tenant":"jkt","no":7} ["jkt","7"]"#),
        (Some("7"), r#"{"car": {"no": 8}}"#, "key_conflict no"),
        (Some(r#"{"no":7,"tenant":"bdg"}"#), "{}", "key_conflict tenant"),
        (None, "{}", "required no"),
    ];
    for (key, data, expected) in cases {
        let row = mapped(&mapping, &message(Action::Upsert, key, data));
        assert_eq!(shown(&mapping, row), expected, "{key:?} {data}");
        let at_the_door = key.and_then(|key| key_conflict(&spec, data, key));
        assert_eq!(at_the_door.is_some(), expected == "key_conflict no", "{key:?} {data}");
    }
    let row = mapped(&mapping, &message(Action::Delete, Some("7"), "{}"));
    assert_eq!(shown(&mapping, row), r#"Delete {"tenant":"jkt","no":7} ["jkt","7"]"#);

    let spec = route(json!({"key": ["no"], "columns": {"tenant": {"value": "jkt"}, "no": {"meta": "key"}}}));
    let mapping = Mapping::compile(&spec, table(), vec![]).unwrap();
    let row = |key| shown(&mapping, mapped(&mapping, &message(Action::Upsert, key, r#"{"no": 9}"#)));
    assert_eq!(row(Some("7")), r#"Upsert {"tenant":"jkt","no":7} ["7"]"#);
    assert_eq!(row(Some(r#"{"no":7}"#)), "type no");
    assert_eq!(row(None), "required no");
}

#[test]
fn required_refuses_new_rows_without_the_field_and_null_everywhere() {
    let columns = json!({"id": "id", "car_name": "name", "stock": {"from": "s.qty", "required": true, "clean": ["null_if_empty"]}});
    let mapping = compiled(json!({"columns": columns}));
    let row = |action, data| shown(&mapping, mapped(&mapping, &message(action, None, data)));
    for action in [Action::Insert, Action::Upsert] {
        assert_eq!(row(action, r#"{"id": 1, "name": "a"}"#), "required stock");
        assert_eq!(row(action, r#"{"id": 1, "name": "a", "s": null}"#), "required stock");
    }
    assert_eq!(row(Action::Update, r#"{"id": 1, "name": "a"}"#), r#"Update {"id":1,"car_name":"a"} ["1"]"#);
    for action in [Action::Insert, Action::Upsert, Action::Update] {
        assert_eq!(row(action, r#"{"id": 1, "name": "a", "s": {"qty": null}}"#), "required stock");
        assert_eq!(row(action, r#"{"id": 1, "name": "a", "s": {"qty": ""}}"#), "required stock");
    }
    assert_eq!(row(Action::Delete, r#"{"id": 1}"#), r#"Delete {"id":1} ["1"]"#);
    let rejection = upsert(&mapping, r#"{"id": 1}"#).unwrap_err();
    assert_eq!(
        rejection.message,
        "field `s.qty` is missing: column `stock` (integer) of table `cars` is required by route `rooms-cars`"
    );
    let rejection = upsert(&mapping, r#"{"id": 1, "s": {"qty": null}}"#).unwrap_err();
    assert_eq!(
        rejection.message,
        "field `s.qty` for column `stock` (integer) of table `cars` is null, and route `rooms-cars` requires it"
    );
}

#[test]
fn expressions_fill_columns_and_name_themselves_when_they_fail() {
    let mapping = compiled(json!({"columns": {
        "id": "id", "car_name": "name", "stock": {"expr": "data.a + data.b"}, "price": {"expr": "data.?none.orValue(null)"},
    }}));
    let rejection = upsert(&mapping, r#"{"id": 1, "name": "x", "a": "hunter2", "b": 5}"#).unwrap_err();
    assert!(
        rejection.message.starts_with("the expression for column `stock` (integer) of table `cars` "),
        "{rejection}"
    );
    assert!(!rejection.message.contains("hunter2"), "{rejection}");
    let delete = mapped(&mapping, &message(Action::Delete, Some("1"), "{}"));
    assert_eq!(shown(&mapping, delete), r#"Delete {"id":1} ["1"]"#);
    let row = upsert(&mapping, r#"{"id": 1, "name": "x", "a": 2, "b": 5}"#);
    assert_eq!(shown(&mapping, row), r#"Upsert {"id":1,"car_name":"x","stock":7,"price":null} ["1"]"#);
}

#[test]
fn a_key_that_is_worked_out_is_taken_from_the_messages_key_where_a_change_lacks_its_fields() {
    let mapping = compiled(json!({"columns": {"id": {"expr": "data.base + data.no"}, "car_name": "name"}}));
    let row = |action, key, data| shown(&mapping, mapped(&mapping, &message(action, key, data)));
    assert_eq!(row(Action::Delete, Some("7"), "{}"), r#"Delete {"id":7} ["7"]"#);
    assert_eq!(row(Action::Update, Some("7"), r#"{"name": "a"}"#), r#"Update {"id":7,"car_name":"a"} ["7"]"#);
    assert!(row(Action::Upsert, Some("7"), r#"{"name": "a"}"#).ends_with(" id"), "a new row works out its key");
    assert!(row(Action::Delete, None, "{}").ends_with(" id"));
    assert_eq!(row(Action::Delete, Some("7"), r#"{"base": 100, "no": 5}"#), r#"Delete {"id":105} ["105"]"#);
}
