//! Filters, existing rows, deletes, versions.

use super::{sources::table_of, *};

#[test]
fn a_filter_skips_what_it_says_and_a_delete_passes_unless_it_is_spoken_of() {
    let mapping = compiled(json!({"filter": "data.stock > 3"}));
    let apply = |mapping: &Mapping, action, data| applied(mapping, &message(action, Some("1"), data));
    // The delete of a row whose record no longer says what the filter asks.
    assert!(matches!(apply(&mapping, Action::Delete, "{}"), Ok(Mapped::Row(row)) if row.op == Op::Delete));
    let rejection = apply(&mapping, Action::Upsert, r#"{"car_name": "hunter2", "stock": "hunter2"}"#).unwrap_err();
    assert!(
        rejection.message.starts_with("the filter of route `rooms-cars` can't be worked out for this record: "),
        "{rejection}"
    );
    assert!(rejection.message.ends_with("; it was meant for table `cars`"), "{rejection}");
    assert!(!rejection.message.contains("hunter2"), "{rejection}");
    assert_eq!(apply(&mapping, Action::Upsert, r#"{"stock": 3}"#), Ok(Mapped::Skipped));
    assert!(matches!(apply(&mapping, Action::Upsert, r#"{"stock": 4}"#), Ok(Mapped::Row(_))));
    // What it skips is not read: nothing else is wrong with it.
    assert_eq!(apply(&mapping, Action::Upsert, r#"{"stock": 3, "id": "x"}"#), Ok(Mapped::Skipped));
    let mapping = compiled(json!({"filter": "action != 'delete'"}));
    assert_eq!(apply(&mapping, Action::Delete, "{}"), Ok(Mapped::Skipped));
}

#[test]
fn on_existing_says_what_an_insert_or_upsert_of_an_existing_row_is() {
    let data = r#"{"id": 1, "car_name": "a"}"#;
    let columns = json!({"id": "id", "car_name": "car_name", "stock": {"default": 0}, "price": "price"});
    let a = || Cell::Text("a".into());
    let zero = || Cell::Text("0".into());
    let table = [
        ("by_action", Action::Insert, Op::Insert, vec![], "a"),
        ("by_action", Action::Upsert, Op::Upsert, vec![(2, zero())], "a"),
        ("reject", Action::Insert, Op::Insert, vec![], "a"),
        ("reject", Action::Upsert, Op::Insert, vec![], "a"),
        ("update", Action::Insert, Op::Upsert, vec![(2, zero())], "a"),
        ("update", Action::Upsert, Op::Upsert, vec![(2, zero())], "a"),
        ("ignore", Action::Insert, Op::Upsert, vec![(2, zero()), (1, a())], "-"),
        ("ignore", Action::Upsert, Op::Upsert, vec![(2, zero()), (1, a())], "-"),
        ("ignore", Action::Update, Op::Update, vec![], "a"),
        ("reject", Action::Update, Op::Update, vec![], "a"),
    ];
    for (on_existing, action, op, insert_only, name) in table {
        let mapping = compiled(json!({"on_existing": on_existing, "columns": columns}));
        let row = mapped(&mapping, &message(action, None, data)).unwrap();
        assert_eq!((row.op, &row.insert_only), (op, &insert_only), "{on_existing} {action:?}");
        assert_eq!(texts(&row.cells)[1].unwrap_or("-"), name, "{on_existing} {action:?}");
        assert_eq!(texts(&row.cells)[0], Some("1"), "{on_existing} {action:?}");
    }
}

#[test]
fn an_ignored_delete_is_delivered_with_nothing_to_write() {
    for key in [json!(["id"]), json!([])] {
        let mapping = compiled(json!({"delete": "ignore", "key": key}));
        // Whatever stands in it: nothing is done with it.
        for data in ["{}", r#"{"id": "x"}"#] {
            assert_eq!(applied(&mapping, &message(Action::Delete, None, data)), Ok(Mapped::Nothing));
        }
        assert!(matches!(
            applied(&mapping, &message(Action::Insert, None, r#"{"id": 1, "car_name": "a"}"#)),
            Ok(Mapped::Row(_))
        ));
    }
}

#[test]
fn a_dead_letters_key_is_told_whatever_the_route_does_with_deletes() {
    let whence = Generation::new("gen0");
    let whence = Whence { application: "car-app", generation: &whence };
    for changes in [
        json!({}),
        json!({"delete": "ignore"}),
        json!({"filter": "action == 'insert'"}),
        json!({"unknown_fields": "reject"}),
    ] {
        let mapping = compiled(changes);
        let key = |key, data| mapping.key(&message(Action::Upsert, key, data), whence);
        assert_eq!(key(None, r#"{"id": 7, "stock": "bad", "what": 1}"#).as_deref(), Some(r#"["7"]"#));
        assert_eq!(key(Some("7"), r#"{"stock": "bad"}"#).as_deref(), Some(r#"["7"]"#));
        assert_eq!(key(None, r#"{"id": "x"}"#), None);
        assert_eq!(key(None, "not json"), None);
    }
    assert_eq!(compiled(json!({"key": []})).key(&message(Action::Insert, None, r#"{"id": 1}"#), whence), None);
}

#[test]
fn a_soft_delete_sets_its_column_and_an_insert_or_upsert_sets_it_back() {
    let table = || table_of(&[("name", TEXT), ("deleted_at", ColumnType::Timestamp { zone: false }), ("state", TEXT)]);
    let spec = |delete: Json| route(json!({"delete": delete, "on_missing": "insert"}));
    let mapping = Mapping::compile(&spec(json!({"column": "deleted_at"})), table(), vec![]).unwrap();
    let row = |mapping: &Mapping, action, data| {
        let message = Message { id: StreamId::new(1_763_775_403_123, 0), ..message(action, Some("1"), data) };
        mapped(mapping, &message).unwrap()
    };
    let delete = row(&mapping, Action::Delete, r#"{"name": "not read", "deleted_at": "nor this"}"#);
    assert_eq!((delete.op, delete.must_touch, delete.key.as_deref()), (Op::Update, false, Some(r#"["1"]"#)));
    assert_eq!(mapping.sent(&delete).get(), r#"{"id":1,"deleted_at":"2025-11-22 01:36:43.123"}"#);
    for action in [Action::Insert, Action::Upsert] {
        // A field of its name is not read, though columns are matched by name.
        let row = row(&mapping, action, r#"{"name": "a", "deleted_at": "x"}"#);
        assert_eq!(mapping.sent(&row).get(), r#"{"id":1,"name":"a","deleted_at":null}"#);
    }
    // An update brings nothing back, but if it inserts, the row is there.
    let update = row(&mapping, Action::Update, r#"{"name": "a"}"#);
    assert_eq!((update.op, &update.cells[2], &update.insert_only), (Op::Upsert, &Cell::Absent, &vec![(2, Cell::Null)]));

    let words = json!({"column": "state", "value": "gone", "restore": "there"});
    let mapping = Mapping::compile(&spec(words.clone()), table(), vec![]).unwrap();
    assert_eq!(mapping.sent(&row(&mapping, Action::Delete, "{}")).get(), r#"{"id":1,"state":"gone"}"#);
    assert_eq!(mapping.sent(&row(&mapping, Action::Upsert, "{}")).get(), r#"{"id":1,"state":"there"}"#);
    let ignoring = route(json!({"delete": words, "on_existing": "ignore"}));
    let mapping = Mapping::compile(&ignoring, table(), vec![]).unwrap();
    let upsert = row(&mapping, Action::Upsert, r#"{"name": "a"}"#);
    assert_eq!(mapping.sent(&upsert).get(), r#"{"id":1}"#, "a deleted row stays deleted");
    assert_eq!(upsert.insert_only, [(1, Cell::Text("a".into())), (3, Cell::Text("there".into()))]);
}

#[test]
fn a_version_is_needed_by_every_record_and_welcome_in_a_delete() {
    let table = || table_of(&[("name", TEXT), ("rev", INT), ("gone", ColumnType::Bool)]);
    let columns = json!({"id": "id", "name": "name", "rev": "meta.rev"});
    let spec = |more: Json| {
        let mut changes = json!({"version_column": "rev", "columns": columns});
        changes.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        route(changes)
    };
    let mapping = Mapping::compile(&spec(json!({})), table(), vec![]).unwrap();
    assert_eq!(mapping.plan.version, Some(2));
    let row = |mapping: &Mapping, action, data| shown(mapping, mapped(mapping, &message(action, Some("1"), data)));
    for action in [Action::Insert, Action::Upsert, Action::Update] {
        let expected = format!(r#"{action:?} {{"id":1,"name":"a","rev":3}} ["1"]"#);
        assert_eq!(row(&mapping, action, r#"{"name": "a", "meta": {"rev": 3}}"#), expected);
        for lacking in ["{}", r#"{"meta": null}"#, r#"{"meta": {"rev": null}}"#] {
            assert_eq!(row(&mapping, action, lacking), "required rev", "{lacking}");
        }
    }
    assert_eq!(
        row(&mapping, Action::Delete, r#"{"name": "a", "meta": {"rev": 3}}"#),
        r#"Delete {"id":1,"rev":3} ["1"]"#
    );
    for lacking in ["{}", r#"{"meta": {"rev": null}}"#] {
        assert_eq!(row(&mapping, Action::Delete, lacking), r#"Delete {"id":1} ["1"]"#);
    }
    assert_eq!(row(&mapping, Action::Delete, r#"{"meta": {"rev": "x"}}"#), "type rev");
    let soft = Mapping::compile(&spec(json!({"delete": {"column": "gone", "value": true}})), table(), vec![]).unwrap();
    assert_eq!(row(&soft, Action::Delete, r#"{"meta": {"rev": 3}}"#), r#"Update {"id":1,"rev":3,"gone":true} ["1"]"#);
}
