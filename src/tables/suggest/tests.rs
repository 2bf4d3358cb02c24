//! Suggestions as an operator reads them; each of them parses as a manifest.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::registry::manifest::Manifest;

fn column(name: &str, declared: &str, kind: ColumnType) -> ColumnSchema {
    let (name, declared) = (name.to_owned(), declared.to_owned());
    ColumnSchema { name, declared, kind, nullable: true, has_default: false, default: None, generated: false }
}

fn required(mut column: ColumnSchema) -> ColumnSchema {
    column.nullable = false;
    column
}

fn text(name: &str, max: u64) -> ColumnSchema {
    let kind = ColumnType::Text { max_chars: Some(max), max_bytes: None, nul: false };
    column(name, &format!("varchar({max})"), kind)
}

fn int(name: &str) -> ColumnSchema {
    column(name, "bigint", ColumnType::Int { min: i64::MIN.into(), max: i64::MAX.into() })
}

fn table(name: &str, columns: Vec<ColumnSchema>, keys: &[&[&str]]) -> TableSchema {
    let unique_keys = keys.iter().map(|key| key.iter().map(|&name| name.to_owned()).collect()).collect();
    TableSchema { schema: "public".into(), name: name.into(), columns, unique_keys }
}

fn samples(records: &[(&str, Option<&str>)]) -> Samples {
    let mut samples = Samples::default();
    for (record, key) in records {
        samples.add(record, *key);
    }
    samples
}

fn suggested(table: &TableSchema, samples: &Samples) -> Suggestion {
    let wanted =
        Wanted { name: "rooms-cars", application: "car-app", topic: "car", destination: "rooms", table: &table.name };
    let suggestion = suggest(&wanted, table, samples);
    let toml = suggestion.to_string();
    let manifest = Manifest::parse(&toml);
    assert!(manifest.as_ref().is_ok_and(|manifest| manifest.routes.len() == 1), "{manifest:?}\n{toml}");
    suggestion
}

fn fed(suggestion: &Suggestion) -> Vec<(&str, &str)> {
    suggestion.columns.iter().map(|guess| (guess.column.as_str(), guess.field.as_deref().unwrap_or("-"))).collect()
}

#[test]
fn the_thesis_examples_are_suggested_as_they_are_told() {
    let records = samples(&[(r#"{"stock":"4","car_name":"porche 911 15"}"#, None)]);
    let cars = table("cars", vec![int("id"), text("car_name", 40), int("stock")], &[&["id"]]);
    assert_eq!(fed(&suggested(&cars, &records)), [("car_name", "car_name"), ("stock", "stock")]);
    let showroom = table("showroom", vec![text("name", 40)], &[]);
    assert_eq!(fed(&suggested(&showroom, &records)), [("name", "car_name")]);
}

#[test]
fn a_suggestion_says_what_each_guess_rests_on() {
    let mut made = column("created_at", "timestamptz", ColumnType::Timestamp { zone: true });
    made.nullable = false;
    let mut doubled = int("doubled");
    doubled.generated = true;
    let cars = table(
        "cars",
        vec![
            required(int("id")),
            required(text("car_name", 12)),
            int("Stock"),
            text("ownerCity", 40),
            column("sold", "date", ColumnType::Date),
            column("open", "boolean", ColumnType::Bool),
            column("extra", "jsonb", ColumnType::Json { nul: false }),
            required(text("branch", 8)),
            made,
            doubled,
            text("note", 100),
        ],
        &[&["id"], &["branch"]],
    );
    let records = samples(&[
        (
            r#"{"id":1,"name":" Porsche 911","stock":"4","owner":{"city":"Jakarta","phones":["1"]},"sold":"2026-01-31","opened":"yes",
               "extra":{"a":1},"colour":"red","lines":[{"sku":"a"}]}"#,
            Some("1"),
        ),
        (
            r#"{"id":2,"name":"A name that is too long","stock":"","owner":{"city":null},"sold":"2026-02-01T10:00:00Z","opened":"no"}"#,
            Some("2"),
        ),
        (r#"{"id":3,"stock":"7"}"#, Some("3")),
    ]);
    insta::assert_snapshot!(suggested(&cars, &records), @r##"
    # Suggested from 3 records of topic `car` and table `cars` of `rooms`, by the likeness of names (1 is the same)
    # and by values. Read it, then try it: tidegate route try FILE.toml --records FILE
    [[route]]
    name = "rooms-cars"
    application = "car-app"
    topic = "car"
    destination = "rooms"
    table = "cars"
    key = ["id"]                                # a unique key of the table

    [route.columns]
    id = "id"                                   # bigint; 1.00: the same name
    car_name = { from = "name", clean = ["trim"] }  # varchar(12); 0.88: the same but for the table's name; only 1 of 2 sample values fit (one is too long: 23 characters, at most 12); missing in 1 of 3: those inserts fail without a `default`
    Stock = { from = "stock", clean = ["null_if_empty"] }  # bigint; 0.99: the same name in another case
    ownerCity = "owner.city"                    # varchar(40); 0.95: the path's words
    sold = { from = "sold", as = "date" }       # date; 1.00: the same name
    open = { from = "opened", as = "bool" }     # boolean; 0.82: similar words
    extra = "extra"                             # jsonb; 1.00: the same name
    # branch = ""                               # varchar(8), NOT NULL without a default: no field is like it; name one, or give { value = … }
    # created_at = { meta = "received" }        # timestamptz, NOT NULL without a default: perhaps this; else name a field or give { value = … }
    # Columns that no field is like: note
    # Fields that no column takes: owner.phones, colour
    # `lines` is a list of objects: [[route.children]] with from = "lines" writes it into a table of its own
    "##);
}

#[test]
fn values_decide_between_names_that_are_alike() {
    let cars = table("cars", vec![int("price"), text("price_text", 40)], &[]);
    let records = samples(&[(r#"{"price":"on request","price_no":4}"#, None)]);
    let suggestion = suggested(&cars, &records);
    assert!(!fed(&suggestion).contains(&("price", "price")), "{suggestion}");
}

#[test]
fn a_key_that_only_the_message_has_is_used() {
    let cars = table("cars", vec![required(int("id")), text("name", 40)], &[&["id"]]);
    let suggestion = suggested(&cars, &samples(&[(r#"{"name":"a"}"#, Some("42"))]));
    assert_eq!(
        (suggestion.key.as_slice(), fed(&suggestion)),
        (&["id".to_owned()][..], vec![("id", "-"), ("name", "name")])
    );
    let parts = table("parts", vec![required(text("branch", 8)), required(int("no"))], &[&["branch", "no"]]);
    let suggestion = suggested(&parts, &samples(&[(r#"{"no":7}"#, Some(r#"{"branch":"JKT","no":7}"#))]));
    assert_eq!(suggestion.key, ["branch", "no"]);
    let suggestion = suggested(&cars, &samples(&[(r#"{"name":"a"}"#, None)]));
    assert!(suggestion.key.is_empty() && suggestion.to_string().contains("# id = \"\""), "{suggestion}");
}

#[test]
fn names_from_outside_stay_within_their_quotes_and_comments() {
    let odd = table("cars", vec![text("a \"b\"\nc", 40), text("x", 4)], &[]);
    let suggestion = suggested(&odd, &samples(&[("{\"a \\\"b\\\"\\nc\":\"v\",\"evil\\n[[route]]\":1}", None)]));
    assert_eq!(fed(&suggestion).len(), 1);
}
