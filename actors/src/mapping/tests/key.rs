use super::*;

#[test]
fn a_key_comes_from_data_or_key_and_both_must_agree() {
    let mapping = compiled(json!({"columns": {"id": "no", "car_name": "car_name"}}));
    let table = [
        (Some("42"), "{}", r#"Upsert {"id":42} ["42"]"#),
        (Some(r#""42""#), "{}", r#"Upsert {"id":42} ["42"]"#),
        (Some("42.0"), r#"{"no": "42"}"#, r#"Upsert {"id":42} ["42"]"#),
        (Some(r#"{"id":42}"#), "{}", r#"Upsert {"id":42} ["42"]"#),
        (Some(r#"{"no":42}"#), "{}", r#"Upsert {"id":42} ["42"]"#),
        (None, r#"{"no": 42}"#, r#"Upsert {"id":42} ["42"]"#),
        (Some("42"), r#"{"no": 43}"#, "key_conflict id"),
        (Some(r#"{"id":42}"#), r#"{"no": 43}"#, "key_conflict id"),
        (Some("null"), "{}", "not_null id"),
        (None, r#"{"no": null}"#, "not_null id"),
        (Some("42"), r#"{"no": null}"#, "not_null id"),
        (Some(r#""x""#), "{}", "type id"),
        (Some("4e99"), "{}", "range id"),
        (None, "{}", "required id"),
        (Some(r#"{"other":42}"#), "{}", "required id"),
        (Some("{"), "{}", "type -"),
    ];
    for (key, data, expected) in table {
        let row = mapped(&mapping, &message(Action::Upsert, key, data));
        assert_eq!(shown(&mapping, row), expected, "{key:?} {data}");
    }
}

fn stock_per_branch() -> TableSchema {
    TableSchema {
        columns: vec![not_null(column("no", INT)), not_null(column("branch", TEXT)), column("stock", INT)],
        unique_keys: vec![vec!["branch".into(), "no".into()], vec!["stock".into()]],
        ..cars()
    }
}

#[test]
fn a_composite_key_is_an_object_in_the_order_of_the_route() {
    let spec = route(
        json!({"key": ["branch", "no"], "columns": {"branch": {"from": "shop", "clean": ["trim"]}, "stock": "stock"}}),
    );
    let mapping = Mapping::compile(&spec, stock_per_branch(), vec![]).unwrap();
    assert_eq!(mapping.plan.columns, [0, 1, 2]);
    assert_eq!(mapping.plan.key, [1, 0]);
    assert!(!mapping.plan.only_unique_key);
    let table = [
        (
            Some(r#"{"branch":"JKT ","no":7}"#),
            r#"{"stock":1}"#,
            r#"Upsert {"no":7,"branch":"JKT","stock":1} ["JKT","7"]"#,
        ),
        (Some(r#"{"no":7,"shop":"JKT"}"#), "{}", r#"Upsert {"no":7,"branch":"JKT"} ["JKT","7"]"#),
        (Some(r#"{"no":7}"#), r#"{"shop":"JKT"}"#, r#"Upsert {"no":7,"branch":"JKT"} ["JKT","7"]"#),
        (Some("42"), r#"{"shop":"a\"b","no":7}"#, r#"Upsert {"no":7,"branch":"a\"b"} ["a\"b","7"]"#),
        (Some("42"), r#"{"shop":"JKT"}"#, "required no"),
        (Some(r#"{"branch":"JKT"}"#), "{}", "required no"),
        (Some(r#"{"branch":"BDG","no":7}"#), r#"{"shop":"JKT"}"#, "key_conflict branch"),
    ];
    for (key, data, expected) in table {
        let row = mapped(&mapping, &message(Action::Upsert, key, data));
        assert_eq!(shown(&mapping, row), expected, "{key:?} {data}");
    }
    let rejection = mapped(&mapping, &message(Action::Delete, Some("42"), "{}")).unwrap_err();
    assert!(rejection.message.ends_with("the route's key has `branch`, `no`: send an object with them"), "{rejection}");
}

#[test]
fn a_key_that_names_fields_that_are_other_columns_is_read_as_fields() {
    let spec = route(json!({"key": ["branch", "no"], "columns": {"branch": "no", "no": "number"}}));
    let mapping = Mapping::compile(&spec, stock_per_branch(), vec![]).unwrap();
    for (key, expected) in
        [(r#"{"no":"JKT","number":7}"#, r#"["JKT","7"]"#), (r#"{"branch":"JKT","no":7}"#, r#"["JKT","7"]"#)]
    {
        let row = mapped(&mapping, &message(Action::Delete, Some(key), "{}")).unwrap();
        assert_eq!(row.key.as_deref(), Some(expected), "{key}");
    }
}

#[test]
fn equal_keys_have_equal_texts() {
    let same: &[(ColumnType, &[&str])] = &[
        (INT, &["42", r#""42""#, "42.0", "4.2e1", r#""042""#]),
        (ColumnType::Decimal { precision: None, scale: None }, &["1.5", "1.50", r#""1.500""#, "15e-1"]),
        (ColumnType::Numeric15, &["1.5", "1.50", "15e-1"]),
        (ColumnType::Float { bits: 64 }, &["0", "-0.0", "0.0"]),
        (ColumnType::Uuid, &[r#""0189D7A05C3E7B1F9C551A2B3C4D5E6F""#, r#""0189d7a0-5c3e-7b1f-9c55-1a2b3c4d5e6f""#]),
        (
            ColumnType::Timestamp { zone: true },
            &[r#""2025-06-01T08:00:00+07:00""#, r#""2025-06-01T01:00:00.000Z""#, r#""2025-06-01 01:00""#],
        ),
        (ColumnType::Bytes { max_bytes: None }, &[r#""-_8""#, r#""+/8=""#]),
        (ColumnType::Bool, &["true", "1", r#""1""#]),
        (TEXT, &["42", r#""42""#]),
    ];
    for (kind, values) in same {
        let table = TableSchema { columns: vec![column("id", kind.clone())], ..cars() };
        let mapping = Mapping::compile(&route(json!({})), table, vec![]).unwrap();
        let key = |raw: &str| mapped(&mapping, &message(Action::Delete, Some(raw), "{}")).unwrap().key.unwrap();
        for raw in *values {
            assert_eq!(key(raw), key(values[0]), "{raw} in {kind:?}");
            // And they never contradict each other, here or at the door.
            let data = format!(r#"{{"id": {raw}}}"#);
            assert!(upsert(&mapping, &data).is_ok());
            assert!(mapped(&mapping, &message(Action::Upsert, Some(values[0]), &data)).is_ok(), "{raw} in {kind:?}");
            assert_eq!(key_conflict(&route(json!({})), &data, values[0]), None, "{raw} in {kind:?}");
        }
    }
}

#[test]
fn the_door_sees_a_conflict_only_where_it_is_certain() {
    let named = route(json!({"columns": {"id": {"from": "no", "clean": ["trim", "upper"]}}}));
    let table = [
        (r#"{"no": 43}"#, "42", Some("id")),
        (r#"{"no": "a"}"#, r#""b""#, Some("id")),
        (r#"{"no": "a "}"#, r#""A""#, None),
        (r#"{"no": 43}"#, r#"{"id":42}"#, Some("id")),
        (r#"{"no": 43}"#, r#"{"other":42}"#, None),
        (r#"{"id": 43}"#, "42", None),
        (r#"{"no": true}"#, "1", None),
        ("not json", "1", None),
        ("{}", "1", None),
    ];
    for (data, key, expected) in table {
        assert_eq!(key_conflict(&named, data, key).as_deref(), expected, "{data} {key}");
    }
    assert_eq!(key_conflict(&route(json!({})), r#"{"ID": 43}"#, "42").as_deref(), Some("id"));
}

#[test]
fn a_default_of_a_key_column_finds_the_row_it_inserts() {
    let spec = route(json!({"key": ["branch", "no"], "columns": {"branch": {"default": "JKT"}, "no": "no"}}));
    let mapping = Mapping::compile(&spec, stock_per_branch(), vec![]).unwrap();
    let row = mapped(&mapping, &message(Action::Upsert, None, r#"{"no": 7}"#)).unwrap();
    assert_eq!((row.key.as_deref(), row.insert_only.len()), (Some(r#"["JKT","7"]"#), 0));
    let row = mapped(&mapping, &message(Action::Delete, None, r#"{"no": 7}"#));
    assert_eq!(shown(&mapping, row), "required branch");
}
