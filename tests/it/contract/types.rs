//! Values of every ordinary type: what is read back is what was sent, by whichever operation it was written.

use tidegate_actors::{
    schema::ColumnType,
    transaction::{Cell, Op, Statement},
};

use super::{
    Ability, Database,
    table::{ENUM, Table, Type, canonical, column},
    writer::{Writer, by_first, contents, text},
};

fn cell(of: Type, value: &str) -> Cell {
    match of {
        Type::Bytes => {
            let byte = |at: usize| u8::from_str_radix(&value[at..at + 2], 16).unwrap();
            Cell::Bytes((0..value.len()).step_by(2).map(byte).collect())
        }
        _ => text(value),
    }
}

/// Writes each value by each operation and reads it back; the column's type as the catalogue has it.
async fn round_trip(database: &dyn Database, of: Type, values: &[&str]) -> ColumnType {
    let table = Table::new("samples", &["id"], vec![column("id", Type::Int).required(), column("value", of)]);
    database.create(&table).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&table, &["id"]).await;
    let rows = |from: usize| -> Vec<Vec<Cell>> {
        values.iter().enumerate().map(|(at, value)| vec![text(&(from + at).to_string()), cell(of, value)]).collect()
    };
    let nulls = |from: usize| -> Vec<Vec<Cell>> {
        (0..values.len()).map(|at| vec![text(&(from + at).to_string()), Cell::Null]).collect()
    };
    let write = |op, rows| -> Statement { plan.statement(op, &["id", "value"], rows) };
    writer
        .write(vec![
            write(Op::Insert, rows(10_000)),
            write(Op::Upsert, rows(20_000)),
            write(Op::Insert, nulls(30_000)),
            write(Op::Upsert, rows(30_000)),
            write(Op::Upsert, nulls(40_000)),
            write(Op::Update, rows(40_000)),
            write(Op::Replace, rows(50_000)),
            write(Op::Insert, rows(60_000)),
            write(Op::Update, nulls(60_000)),
        ])
        .await
        .unwrap();
    // Alone too: a statement of one row may take another way.
    for (at, row) in rows(70_000).into_iter().enumerate() {
        let change = vec![text(&(80_000 + at).to_string()), row[1].clone()];
        writer
            .write(vec![
                write(Op::Insert, vec![row]),
                write(Op::Upsert, vec![change.clone()]),
                write(Op::Update, vec![change]),
            ])
            .await
            .unwrap();
    }
    let found = by_first(database, &table).await;
    for (at, value) in values.iter().enumerate() {
        for from in [10_000, 20_000, 30_000, 40_000, 50_000, 70_000, 80_000] {
            assert_eq!(found[&(from + at).to_string()], canonical(of, value), "row {}", from + at);
        }
        assert_eq!(found[&(60_000 + at).to_string()], "∅");
    }
    plan.0.table.columns[1].kind.clone()
}

pub(crate) async fn whole_numbers_at_their_bounds(database: &dyn Database) {
    let kind =
        round_trip(database, Type::BigInt, &["9223372036854775807", "-9223372036854775808", "0", "-1", "42"]).await;
    assert_eq!(kind, ColumnType::Int { min: i64::MIN.into(), max: i64::MAX.into() });
}

pub(crate) async fn small_whole_numbers(database: &dyn Database) {
    let kind = round_trip(database, Type::SmallInt, &["32767", "-32768", "0"]).await;
    assert!(matches!(kind, ColumnType::Int { .. }), "{kind:?}");
    if database.can(Ability::Range) {
        assert_eq!(kind, ColumnType::Int { min: i16::MIN.into(), max: i16::MAX.into() });
    }
}

pub(crate) async fn whole_numbers_of_32_bits(database: &dyn Database) {
    round_trip(database, Type::Int, &["2147483647", "-2147483648", "0", "-1", "1000000000"]).await;
}

pub(crate) async fn unsigned_numbers_of_64_bits(database: &dyn Database) {
    if database.can(Ability::Unsigned) {
        let kind = round_trip(database, Type::UnsignedBig, &["18446744073709551615", "0", "9223372036854775808"]).await;
        assert_eq!(kind, ColumnType::Int { min: 0, max: u64::MAX.into() });
    }
}

pub(crate) async fn decimals(database: &dyn Database) {
    let values =
        ["0", "-1.5", "12345678901.23", "-999999999999.99", "0.1", "0.01", "100000", "79.99", "10000", "9999.99"];
    let kind = round_trip(database, Type::Decimal(14, 2), &values).await;
    let exact = ColumnType::Decimal { precision: Some(14), scale: Some(2) };
    assert!(kind == exact || kind == ColumnType::Numeric15, "{kind:?}");
}

pub(crate) async fn decimals_of_many_digits(database: &dyn Database) {
    if database.can(Ability::LongDecimal) {
        let values = [
            "1234567890123456789012345678.0123456789",
            "-0.0000000001",
            "9999999999999999999999999999.9999999999",
            "-1000000000000000000000000000",
            "10000.0001",
            "0.00010001",
            "100000000.00000001",
            "0",
        ];
        round_trip(database, Type::Decimal(38, 10), &values).await;
    }
}

pub(crate) async fn floating_point_numbers(database: &dyn Database) {
    let values = ["0.1", "-1.5", "3.141592653589793", "1.7976931348623157e308", "2.2250738585072014e-308", "1e15", "0"];
    let kind = round_trip(database, Type::Double, &values).await;
    assert_eq!(kind, ColumnType::Float { bits: 64 });
}

pub(crate) async fn booleans(database: &dyn Database) {
    assert_eq!(round_trip(database, Type::Bool, &["true", "false"]).await, ColumnType::Bool);
}

/// Scripts, directions, marks, and whatever looks like syntax to somebody.
const TEXTS: [&str; 28] = [
    "",
    " ",
    " in front and behind ",
    "naïve façade",
    "Ελληνικά",
    "Кириллица",
    "עברית",
    "العربية",
    "हिन्दी",
    "ภาษาไทย",
    "漢字かな交じり文",
    "한국어",
    "ꦧꦱꦗꦮ",
    "e\u{301} and é",
    "👩‍👩‍👧‍👦 🏳️‍🌈 𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "it's \"quoted\" `so` \\ and \\' \\n \\0",
    "line\nbreak\r\nand\ttab",
    "NULL",
    "; DROP TABLE samples; --",
    "% _ ? $1 :name {} [] , \u{1}",
    "{\"json\": [1, null]}",
    "007",
    "\u{10ffff}",
    "'",
    "''; --",
    "\\",
    "\\'",
    "\u{7f} \u{80} \u{fffd}",
];

pub(crate) async fn text_in_every_language(database: &dyn Database) {
    let kind = round_trip(database, Type::Text, &TEXTS).await;
    assert!(matches!(kind, ColumnType::Text { .. }), "{kind:?}");
}

pub(crate) async fn text_of_bounded_length(database: &dyn Database) {
    let kind = round_trip(database, Type::Varchar(60), &TEXTS).await;
    let ColumnType::Text { max_chars, .. } = kind else { panic!("{kind:?}") };
    assert_eq!(max_chars, database.can(Ability::Length).then_some(60));
}

pub(crate) async fn long_text(database: &dyn Database) {
    let long = "0123456789 車 ".repeat(4_000);
    round_trip(database, Type::Text, &[&long]).await;
}

pub(crate) async fn text_with_nul_where_the_column_says_so(database: &dyn Database) {
    let table = Table::new("samples", &["id"], vec![column("id", Type::Int).required(), column("value", Type::Text)]);
    database.create(&table).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&table, &["id"]).await;
    if matches!(plan.0.table.columns[1].kind, ColumnType::Text { nul: true, .. }) {
        writer.write(vec![plan.texts(Op::Insert, &["id", "value"], &[&["1", "a\0b"]])]).await.unwrap();
        assert_eq!(contents(database, &table).await, ["1|a\0b"]);
    }
}

pub(crate) async fn dates(database: &dyn Database) {
    assert_eq!(
        round_trip(database, Type::Date, &["1000-01-01", "1999-12-31", "2000-01-01", "2024-02-29", "9999-12-31"]).await,
        ColumnType::Date
    );
}

pub(crate) async fn times_of_day(database: &dyn Database) {
    let values = ["00:00:00", "08:00:00.5", "23:59:59.999999"];
    assert_eq!(round_trip(database, Type::Time, &values).await, ColumnType::Time { zone: false });
}

pub(crate) async fn timestamps_without_a_zone(database: &dyn Database) {
    let values = [
        "1000-01-01 00:00:00",
        "1969-12-31 23:59:59.999999",
        "1999-12-31 23:59:59.999999",
        "2000-01-01 00:00:00",
        "2025-06-01 08:00:00.5",
        "9999-12-31 23:59:59.999999",
    ];
    assert_eq!(round_trip(database, Type::Timestamp, &values).await, ColumnType::Timestamp { zone: false });
}

pub(crate) async fn instants(database: &dyn Database) {
    if database.can(Ability::Instant) {
        let values = ["1971-01-01 00:00:00+00:00", "2025-06-01 08:00:00.5+00:00", "2037-12-31 23:59:59.999999+00:00"];
        assert_eq!(round_trip(database, Type::Instant, &values).await, ColumnType::Timestamp { zone: true });
    }
}

pub(crate) async fn uuids(database: &dyn Database) {
    let values = [
        "00000000-0000-0000-0000-000000000000",
        "018f4f3e-7a1c-7cc0-98c4-dc0c0c07398f",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
    ];
    let kind = round_trip(database, Type::Uuid, &values).await;
    assert!(matches!(kind, ColumnType::Uuid | ColumnType::Text { .. }), "{kind:?}");
}

pub(crate) async fn json(database: &dyn Database) {
    let values =
        ["{}", "[]", r#"{"a":[1,2,{"b":null}],"é":"😀 \" \\ \n"}"#, r#""text""#, "12", "true", "null", "[1.5,-2]"];
    let kind = round_trip(database, Type::Json, &values).await;
    assert!(matches!(kind, ColumnType::Json { .. }), "{kind:?}");
}

pub(crate) async fn bytes(database: &dyn Database) {
    let all: String = (0..=255_u8).map(|byte| format!("{byte:02x}")).collect();
    let kind = round_trip(database, Type::Bytes, &["", "00", &all, "27225c"]).await;
    assert!(matches!(kind, ColumnType::Bytes { .. }), "{kind:?}");
}

pub(crate) async fn enumerations(database: &dyn Database) {
    if database.can(Ability::Enum) {
        let kind = round_trip(database, Type::Enum, &ENUM).await;
        assert_eq!(kind, ColumnType::Enum { values: ENUM.map(str::to_owned).to_vec() });
    }
}

/// A row is found by its key, of whatever type: changed, missed and deleted exactly.
pub(crate) async fn keys_of_every_type(database: &dyn Database) {
    let keys: [(&'static str, Type, [&str; 3]); 8] = [
        ("k_int", Type::Int, ["-1", "0", "7"]),
        ("k_big", Type::BigInt, ["9223372036854775806", "9223372036854775807", "-9223372036854775808"]),
        ("k_text", Type::Varchar(20), ["it's", "007", "7"]),
        ("k_date", Type::Date, ["2024-02-28", "2024-02-29", "2024-03-01"]),
        ("k_time", Type::Timestamp, ["2025-06-01 08:00:00", "2025-06-01 08:00:00.5", "2025-06-01 08:00:00.500001"]),
        (
            "k_uuid",
            Type::Uuid,
            [
                "018f4f3e-7a1c-7cc0-98c4-dc0c0c07398f",
                "018f4f3e-7a1c-7cc0-98c4-dc0c0c073990",
                "018f4f3e-7a1c-7cc0-98c4-dc0c0c073991",
            ],
        ),
        ("k_dec", Type::Decimal(12, 3), ["1.5", "-0.001", "123456789.123"]),
        ("k_bool", Type::Bool, ["true", "false", ""]),
    ];
    let mut writer = Writer::take(database, "one").await;
    for (name, of, values) in keys {
        let table = Table::new(name, &["key"], vec![column("key", of).required(), column("n", Type::Int)]);
        database.create(&table).await;
        let plan = writer.plan(&table, &["key"]).await;
        let [first, second, third] = values;
        writer
            .write(vec![
                plan.texts(Op::Insert, &["key", "n"], &[&[first, "1"]]),
                plan.texts(Op::Upsert, &["key", "n"], &[&[first, "2"], &[second, "2"]]),
                plan.texts(Op::Update, &["key", "n"], &[&[second, "3"]]),
                plan.texts(Op::Replace, &["key", "n"], &[&[first, "4"]]),
            ])
            .await
            .unwrap();
        let mut expected = [format!("{}|4", canonical(of, first)), format!("{}|3", canonical(of, second))];
        expected.sort();
        assert_eq!(contents(database, &table).await, expected, "{name}");

        let committed = if third.is_empty() {
            writer.write(vec![plan.texts(Op::Delete, &["key"], &[&[first]])]).await.unwrap()
        } else {
            writer.write(vec![plan.texts(Op::Delete, &["key"], &[&[third], &[first]])]).await.unwrap()
        };
        assert_eq!(committed.untouched.as_slice(), if third.is_empty() { &[][..] } else { &[(0, 0)][..] }, "{name}");
        assert_eq!(contents(database, &table).await, [format!("{}|3", canonical(of, second))], "{name}");
    }
}
