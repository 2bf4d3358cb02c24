#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod children;
mod compile;
mod fields;
mod key;
mod policies;
mod properties;
mod routes;
mod sources;

use serde_json::{Value as Json, json};

use super::*;
use crate::{
    cast::tests::properties::every_kind,
    message::StreamId,
    route::RouteSpec,
    schema::{ColumnSchema, TableSchema},
};

const INT: ColumnType = ColumnType::Int { min: i32::MIN as i128, max: i32::MAX as i128 };
const TEXT: ColumnType = ColumnType::Text { max_chars: Some(20), max_bytes: None, nul: false };

fn column(name: &str, kind: ColumnType) -> ColumnSchema {
    let declared = match kind {
        ColumnType::Int { .. } => "integer",
        ColumnType::Text { .. } => "varchar(20)",
        _ => "something",
    };
    ColumnSchema {
        name: name.into(),
        declared: declared.into(),
        kind,
        nullable: true,
        has_default: false,
        default: None,
        generated: false,
    }
}

fn not_null(column: ColumnSchema) -> ColumnSchema {
    ColumnSchema { nullable: false, ..column }
}

/// `cars`: an integer key, a name that must be there, stock, price, and a generated column.
fn cars() -> TableSchema {
    TableSchema {
        schema: "public".into(),
        name: "cars".into(),
        columns: vec![
            not_null(column("id", INT)),
            not_null(column("car_name", TEXT)),
            column("stock", INT),
            column("price", ColumnType::Decimal { precision: Some(14), scale: Some(2) }),
            ColumnSchema { generated: true, ..column("total", INT) },
        ],
        unique_keys: vec![vec!["id".into()]],
    }
}

fn route(changes: Json) -> RouteSpec {
    let mut route = json!({
        "id": "r1", "name": "rooms-cars", "application": "car-app", "topic": "cars", "destination": "rooms",
        "table": "cars", "key": ["id"],
    });
    route.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    serde_json::from_value(route).unwrap()
}

fn compiled(changes: Json) -> Mapping {
    Mapping::compile(&route(changes), cars(), vec![]).unwrap()
}

fn message(action: Action, key: Option<&str>, data: &str) -> Message {
    Message {
        id: StreamId::new(1, 0),
        topic: "cars".into(),
        action,
        key: key.map(Into::into),
        own_id: None,
        traceparent: None,
        data: data.into(),
    }
}

/// What the mapping makes of it, past the filter and the ignored deletes.
fn mapped(mapping: &Mapping, message: &Message) -> Result<MappedRow, Rejection> {
    let generation = Generation::new("gen0");
    let whence = Whence { application: "car-app", generation: &generation };
    mapping.map(message, whence, &Scope::new(message, whence, None))
}

fn applied(mapping: &Mapping, message: &Message) -> Result<Mapped, Rejection> {
    mapping.apply(message, Whence { application: "car-app", generation: &Generation::new("gen0") })
}

fn upsert(mapping: &Mapping, data: &str) -> Result<MappedRow, Rejection> {
    mapped(mapping, &message(Action::Upsert, None, data))
}

/// The row as `{"op":…, "cells": what is sent, "key": …}`, or the refusal as `code column: message`.
fn shown(mapping: &Mapping, row: Result<MappedRow, Rejection>) -> String {
    match row {
        Ok(row) => format!("{:?} {} {}", row.op, mapping.sent(&row), row.key.as_deref().unwrap_or("-")),
        Err(rejection) => {
            assert_eq!((rejection.statement, rejection.row), (None, None));
            format!("{} {}", rejection.code, rejection.column.as_deref().unwrap_or("-"))
        }
    }
}

fn texts(cells: &[Cell]) -> Vec<Option<&str>> {
    cells.iter().map(|cell| if let Cell::Text(text) = cell { Some(&**text) } else { None }).collect()
}

#[test]
fn matching_takes_every_column_that_has_a_field_of_its_name() {
    let mapping = compiled(json!({"columns": "matching"}));
    assert_eq!(mapping.plan.columns, [0, 1, 2, 3]);
    assert_eq!(mapping.plan.key, [0]);
    assert!(mapping.plan.only_unique_key);
    let row = upsert(&mapping, r#"{"id": 7, "car_name": "Avanza", "stock":"4", "colour": {"deep": [1]}, "total": 9}"#)
        .unwrap();
    assert_eq!(texts(&row.cells), [Some("7"), Some("Avanza"), Some("4"), None]);
    assert_eq!(row.cells[3], Cell::Absent);
    assert_eq!((row.op, row.must_touch, row.key.as_deref()), (Op::Upsert, false, Some(r#"["7"]"#)));
    assert_eq!(mapping.sent(&row).get(), r#"{"id":7,"car_name":"Avanza","stock":4}"#);
}

#[test]
fn matching_finds_names_in_another_case_where_that_is_unambiguous() {
    let mapping = compiled(json!({}));
    let table = [
        (r#"{"ID": 7, "Stock": 1}"#, r#"Upsert {"id":7,"stock":1} ["7"]"#),
        (r#"{"id": 7, "stock": 1, "Stock": 2}"#, r#"Upsert {"id":7,"stock":1} ["7"]"#),
        (r#"{"id": 7, "STOCK": 2, "Stock": 3, "stock": 1}"#, r#"Upsert {"id":7,"stock":1} ["7"]"#),
        (r#"{"id": 7, "STOCK": 1, "Stock": 2}"#, "type stock"),
    ];
    for (data, expected) in table {
        assert_eq!(shown(&mapping, upsert(&mapping, data)), expected, "{data}");
    }
    let mut two = cars();
    two.columns.push(column("Stock", INT));
    let mapping = Mapping::compile(&route(json!({})), two, vec![]).unwrap();
    let row = upsert(&mapping, r#"{"id": 7, "stock": 1, "Stock": 2, "STOCK": 3}"#).unwrap();
    assert_eq!(mapping.sent(&row).get(), r#"{"id":7,"stock":1,"Stock":2}"#);
}

#[test]
fn columns_are_renamed_cleaned_cast_and_defaulted() {
    let mapping = compiled(json!({"columns": {
        "id": "no",
        "car_name": {"from": "name", "clean": ["trim", "collapse", "upper"]},
        "stock": {"from": "qty", "as": "int", "default": 0},
        "price": {"clean": ["null_if_empty"], "default": "1.50"},
    }}));
    assert_eq!(mapping.insert_defaults(), [(2, Cell::Text("0".into())), (3, Cell::Text("1.50".into()))]);

    let data = r#"{"no": "42", "name": "  toyota \t avanza ", "price": "", "Qty": 5}"#;
    let insert = mapped(&mapping, &message(Action::Insert, None, data)).unwrap();
    assert_eq!(mapping.sent(&insert).get(), r#"{"id":42,"car_name":"TOYOTA AVANZA","stock":0,"price":null}"#);
    assert!(insert.insert_only.is_empty());

    let row = upsert(&mapping, data).unwrap();
    assert_eq!(mapping.sent(&row).get(), r#"{"id":42,"car_name":"TOYOTA AVANZA","price":null}"#);
    assert_eq!(row.insert_only, [(2, Cell::Text("0".into()))]);

    let update = mapped(&mapping, &message(Action::Update, None, data)).unwrap();
    assert_eq!((update.op, update.must_touch, update.insert_only.len()), (Op::Update, true, 0));
}

#[test]
fn actions_become_operations() {
    let data = r#"{"id": 1, "car_name": "a"}"#;
    let table = [
        ("reject", Action::Insert, Op::Insert, false),
        ("reject", Action::Upsert, Op::Upsert, false),
        ("reject", Action::Update, Op::Update, true),
        ("ignore", Action::Update, Op::Update, false),
        ("insert", Action::Update, Op::Upsert, false),
        ("reject", Action::Delete, Op::Delete, false),
    ];
    for (on_missing, action, op, must_touch) in table {
        let row = mapped(&compiled(json!({"on_missing": on_missing})), &message(action, None, data)).unwrap();
        assert_eq!((row.op, row.must_touch), (op, must_touch), "{on_missing} {action:?}");
        assert_eq!(row.key.as_deref(), Some(r#"["1"]"#));
    }
    let mapping = compiled(json!({}));
    let row =
        mapped(&mapping, &message(Action::Delete, Some("1"), r#"{"stock": "not read", "car_name": null}"#)).unwrap();
    assert_eq!(texts(&row.cells), [Some("1"), None, None, None]);
    assert_eq!(row.cells[1], Cell::Absent);
}

#[test]
fn a_route_without_a_key_inserts_only() {
    let mapping = compiled(json!({"key": []}));
    let data = r#"{"id": 1, "car_name": "a"}"#;
    for action in [Action::Insert, Action::Upsert] {
        let row = mapped(&mapping, &message(action, Some("99"), data)).unwrap();
        assert_eq!((row.op, row.key), (Op::Insert, None));
    }
    for action in [Action::Update, Action::Delete] {
        let rejection = mapped(&mapping, &message(action, Some("1"), data)).unwrap_err();
        assert_eq!(rejection.code, "required");
        assert!(rejection.message.contains("route `rooms-cars` has no `key`, so it only inserts"), "{rejection}");
    }
}

#[test]
fn an_insert_must_fill_what_has_no_default() {
    let mapping = compiled(json!({}));
    let insert = |data| shown(&mapping, mapped(&mapping, &message(Action::Insert, None, data)));
    assert_eq!(insert(r#"{"id": 1}"#), "required car_name");
    assert_eq!(insert(r#"{"car_name": "a"}"#), "required id");
    assert_eq!(insert(r#"{"id": 1, "car_name": null}"#), "not_null car_name");
    assert_eq!(
        insert(r#"{"id": 1, "car_name": "a", "stock": null}"#),
        r#"Insert {"id":1,"car_name":"a","stock":null} ["1"]"#
    );
    // The row of an upsert may be there already: the database decides.
    assert_eq!(shown(&mapping, upsert(&mapping, r#"{"id": 1}"#)), r#"Upsert {"id":1} ["1"]"#);
    assert_eq!(shown(&mapping, upsert(&mapping, r#"{"id": 1, "car_name": null}"#)), "not_null car_name");

    let mut identity = cars();
    identity.columns[0].has_default = true;
    let mapping = Mapping::compile(&route(json!({})), identity, vec![]).unwrap();
    let row = mapped(&mapping, &message(Action::Insert, None, r#"{"car_name": "a"}"#));
    assert_eq!(shown(&mapping, row), r#"Insert {"car_name":"a"} -"#);
}

#[test]
fn a_refusal_names_field_column_and_kind_and_never_the_contents() {
    let mapping = compiled(json!({"columns": {"id": "id", "car_name": "name", "stock": "qty"}}));
    let table = [
        (
            r#"{"id": 1, "qty": "hunter2"}"#,
            "field `qty` for column `stock` (integer) of table `cars` is a string that is not a whole number",
        ),
        (
            r#"{"id": 1, "name": "hunter2hunter2hunter2"}"#,
            "field `name` for column `car_name` (varchar(20)) of table `cars` is too long: 21 characters, at most 20",
        ),
        (
            r#"{"id": {"hunter2": 1}}"#,
            "field `id` for column `id` (integer) of table `cars` is an object, where a whole number is expected",
        ),
        (
            r#"{"id": 1, "name": null}"#,
            "field `name` for column `car_name` (varchar(20)) of table `cars` is null, and the column is NOT NULL",
        ),
        (r#"{"id": 1, "id": "hunter2"}"#, "field `id` stands in the record twice; it was meant for table `cars`"),
        (
            r#""hunter2""#,
            "the record is not a JSON object that can be read (line 1, column 9); it was meant for table `cars`",
        ),
    ];
    for (data, expected) in table {
        let rejection = upsert(&mapping, data).unwrap_err();
        assert_eq!(rejection.message, expected, "{data}");
    }
    for broken in ["", "{", "[]", "null", "{} x", r#"{"a":01}"#, r#"{"\ud800": 1}"#, "{\"a\":\"\u{1}\"}"] {
        assert_eq!(upsert(&mapping, broken).unwrap_err().code, "type", "{broken}");
    }
}

#[test]
fn sent_keeps_digits_and_shows_every_type_as_json() {
    let kinds = [
        ("id", ColumnType::Decimal { precision: None, scale: None }, "123456789012345678901234567890.50"),
        ("a", ColumnType::Float { bits: 64 }, "1e300"),
        ("b", ColumnType::Bool, "true"),
        ("c", ColumnType::Json { nul: false }, r#"{"x": [1.10]}"#),
        ("d", ColumnType::Bytes { max_bytes: None }, r#""AAE=""#),
        ("e", ColumnType::Other, r#""a\\b""#),
        ("f", ColumnType::Timestamp { zone: true }, r#""2025-06-01 08:00:00+00:00""#),
        ("g", ColumnType::Numeric15, "12.5"),
        ("h", ColumnType::Int { min: 0, max: u64::MAX.into() }, "18446744073709551615"),
    ];
    let columns = kinds.iter().map(|(name, kind, _)| column(name, kind.clone())).collect();
    let mapping = Mapping::compile(&route(json!({})), TableSchema { columns, ..cars() }, vec![]).unwrap();
    let members: Vec<_> = kinds.iter().map(|(name, _, raw)| format!("\"{name}\":{raw}")).collect();
    let data = format!("{{{}}}", members.join(","));
    assert_eq!(mapping.sent(&upsert(&mapping, &data).unwrap()).get(), data);
}

#[test]
fn a_table_survives_being_kept_as_json() {
    let columns =
        every_kind().into_iter().enumerate().map(|(place, kind)| column(&format!("c{place}"), kind)).collect();
    let table = TableSchema { columns, ..cars() };
    let text = serde_json::to_string(&table).unwrap();
    assert_eq!(serde_json::from_str::<TableSchema>(&text).unwrap(), table);
}
