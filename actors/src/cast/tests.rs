#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod properties;
mod temporal;

use super::*;

/// What a value becomes: the cell's text, `NULL`, base64 of bytes after `bytes:`, or the code of the refusal after `!`.
fn cast(raw: &str, kind: &ColumnType) -> String {
    match Value::read(raw).and_then(|value| to_cell(value, kind)) {
        Ok(Cell::Null) => "NULL".into(),
        Ok(Cell::Text(text)) => text.into(),
        Ok(Cell::Bytes(bytes)) => format!("bytes:{}", encode_base64(&bytes)),
        Ok(Cell::Absent) => panic!("a value became absent"),
        Err(error) => format!("!{}", error.code),
    }
}

fn table(kind: &ColumnType, rows: &[(&str, &str)]) {
    for (raw, expected) in rows {
        assert_eq!(cast(raw, kind), *expected, "{raw} into {kind:?}");
    }
    assert_eq!(cast("null", kind), "NULL", "{kind:?}");
}

fn why(raw: &str, kind: &ColumnType) -> String {
    Value::read(raw).and_then(|value| to_cell(value, kind)).unwrap_err().why
}

const I64: ColumnType = ColumnType::Int { min: i64::MIN as i128, max: i64::MAX as i128 };
const U64: ColumnType = ColumnType::Int { min: 0, max: u64::MAX as i128 };
const I16: ColumnType = ColumnType::Int { min: -32768, max: 32767 };
const TEXT: ColumnType = ColumnType::Text { max_chars: None, max_bytes: None, nul: false };
const ANY_DECIMAL: ColumnType = ColumnType::Decimal { precision: None, scale: None };
const NAIVE: ColumnType = ColumnType::Timestamp { zone: false };
const INSTANT: ColumnType = ColumnType::Timestamp { zone: true };

fn numeric(precision: u32, scale: u32) -> ColumnType {
    ColumnType::Decimal { precision: Some(precision), scale: Some(scale) }
}

#[test]
fn whole_numbers_keep_every_digit_and_their_bounds() {
    table(
        &I64,
        &[
            ("0", "0"),
            ("-0", "0"),
            ("42", "42"),
            ("-7", "-7"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775808", "!range"),
            ("1e99999999999999999999", "!range"),
            ("5.0", "5"),
            ("5e0", "5"),
            ("50e-1", "5"),
            ("1.5e1", "15"),
            ("0e99999999999999999999", "0"),
            ("-0.0", "0"),
            ("5.1", "!type"),
            ("5e-1", "!type"),
            (r#""4""#, "4"),
            (r#""-4.00""#, "-4"),
            (r#""007""#, "7"),
            (r#""+7""#, "7"),
            (r#""""#, "!type"),
            (r#"" 4""#, "!type"),
            (r#""4 cars""#, "!type"),
            (r#""0x10""#, "!type"),
            (r#"".5""#, "!type"),
            (r#""5.""#, "!type"),
            (r#""1_000""#, "!type"),
            (r#""-""#, "!type"),
            (r#""1e""#, "!type"),
            (r#""٤""#, "!type"),
            (r#""NaN""#, "!type"),
            ("true", "1"),
            ("false", "0"),
            ("[1]", "!type"),
            ("{}", "!type"),
        ],
    );
    table(
        &U64,
        &[("18446744073709551615", "18446744073709551615"), ("18446744073709551616", "!range"), ("-1", "!range")],
    );
    table(&I16, &[("32767", "32767"), ("32768", "!range"), ("-32768", "-32768"), ("-32769", "!range")]);
    assert_eq!(why("40000", &I16), "is out of range: the column takes -32768 to 32767");
    assert_eq!(why(r#""secret""#, &I16), "is a string that is not a whole number");
    assert_eq!(why("[1]", &I16), "is an array, where a whole number is expected");
}

#[test]
fn decimals_are_never_rounded() {
    table(
        &numeric(14, 2),
        &[
            ("12.5", "12.5"),
            ("12.50", "12.50"),
            ("12.5000", "12.50"),
            ("12.505", "!range"),
            ("-0.00", "0.00"),
            ("-0.01", "-0.01"),
            ("999999999999.99", "999999999999.99"),
            ("1000000000000", "!range"),
            ("1e11", "100000000000"),
            ("1e12", "!range"),
            ("1.25e1", "12.5"),
            ("1.255e1", "12.55"),
            ("1.2555e1", "!range"),
            ("1e-2", "0.01"),
            ("1e-3", "!range"),
            ("1e-999999999999", "!range"),
            ("1e999999999999", "!range"),
            (r#""0012.30""#, "12.30"),
            (r#""12,30""#, "!type"),
            ("true", "1"),
        ],
    );
    let long = format!("{}.{}", "9".repeat(5000), "123".repeat(3000));
    table(
        &ANY_DECIMAL,
        &[(&long, &long), ("1.10", "1.10"), ("1e3", "1000"), ("1e100001", "!range"), ("1e-100002", "!range")],
    );
    assert_eq!(cast("1e99999", &ANY_DECIMAL).len(), 100_000);
    table(&numeric(3, 5), &[("0.00123", "0.00123"), ("0.0123", "!range"), ("0", "0"), ("1", "!range")]);
    table(
        &ColumnType::Decimal { precision: Some(3), scale: None },
        &[("1.23", "1.23"), ("1.234", "!range"), ("12300", "12300")],
    );
    assert!(why("1.234", &numeric(5, 2)).contains("3 digits after the point, at most 2 fit"));
}

#[test]
fn floats_are_finite() {
    table(
        &ColumnType::Float { bits: 64 },
        &[
            ("1.5", "1.5"),
            ("1", "1"),
            ("-0.0", "-0"),
            ("1e300", "1e300"),
            ("1e400", "!range"),
            ("-1e400", "!range"),
            ("1e-400", "0"),
            ("0.1", "0.1"),
            (r#""2.5""#, "2.5"),
            (r#""inf""#, "!type"),
            (r#""nan""#, "!type"),
            ("{}", "!type"),
        ],
    );
    table(
        &ColumnType::Float { bits: 32 },
        &[("0.1", "0.1"), ("1e39", "!range"), ("3.4028235e38", "3.4028234663852886e38")],
    );
}

#[test]
fn truth_is_true_false_one_or_zero() {
    table(
        &ColumnType::Bool,
        &[
            ("true", "true"),
            ("false", "false"),
            ("1", "true"),
            ("0", "false"),
            ("1.0", "true"),
            ("2", "!type"),
            (r#""true""#, "true"),
            (r#""FALSE""#, "false"),
            (r#""1""#, "true"),
            (r#""0""#, "false"),
            (r#""yes""#, "!type"),
            (r#""""#, "!type"),
            ("[]", "!type"),
        ],
    );
    let words =
        [("\"yes\"", true), ("\"No\"", false), ("\"on\"", true), ("\"OFF\"", false), ("1", true), ("\"0\"", false)];
    for (raw, expected) in words {
        let value = Value::read(raw).unwrap();
        assert_eq!(recast(value, Cast::Bool), Ok(Value::Bool(expected)), "{raw}");
    }
}

#[test]
fn text_takes_scalars_and_json_and_has_a_length() {
    table(
        &TEXT,
        &[
            (r#""Grüße 🚗""#, "Grüße 🚗"),
            (r#""a\n\"b\"""#, "a\n\"b\""),
            (r#""\ud83d\ude97""#, "🚗"),
            ("1.50", "1.50"),
            ("1e5", "1e5"),
            ("true", "true"),
            (r#"{"a": 1}"#, r#"{"a": 1}"#),
            ("[1, 2]", "[1, 2]"),
            (r#""a\u0000b""#, "!type"),
            (r#""\ud800""#, "!type"),
            (r#""\udc00\ud800""#, "!type"),
        ],
    );
    assert!(why(r#""a\u0000b""#, &TEXT).contains("U+0000"));
    table(&ColumnType::Text { max_chars: None, max_bytes: None, nul: true }, &[(r#""a\u0000b""#, "a\0b")]);
    table(
        &ColumnType::Text { max_chars: Some(3), max_bytes: None, nul: false },
        &[(r#""äöü""#, "äöü"), (r#""äöüß""#, "!too_long"), ("1234", "!too_long")],
    );
    table(
        &ColumnType::Text { max_chars: None, max_bytes: Some(3), nul: false },
        &[(r#""abc""#, "abc"), (r#""äö""#, "!too_long")],
    );
    assert_eq!(
        why(r#""äöüß""#, &ColumnType::Text { max_chars: Some(3), max_bytes: None, nul: false }),
        "is too long: 4 characters, at most 3"
    );
}

#[test]
fn bytes_come_from_base64_of_either_alphabet() {
    table(
        &ColumnType::Bytes { max_bytes: Some(3) },
        &[
            (r#""""#, "bytes:"),
            (r#""+/8=""#, "bytes:+/8="),
            (r#""+/8""#, "bytes:+/8="),
            (r#""-_8=""#, "bytes:+/8="),
            (r#""-_8""#, "bytes:+/8="),
            (r#""+_8""#, "!type"),
            (r#""a""#, "!type"),
            (r#""AA AA""#, "!type"),
            (r#""AAAA""#, "bytes:AAAA"),
            (r#""AAAAAA""#, "!too_long"),
            ("1", "!type"),
        ],
    );
}

#[test]
fn uuids_have_one_spelling() {
    let canonical = "0189d7a0-5c3e-7b1f-9c55-1a2b3c4d5e6f";
    table(
        &ColumnType::Uuid,
        &[
            (r#""0189d7a0-5c3e-7b1f-9c55-1a2b3c4d5e6f""#, canonical),
            (r#""0189D7A0-5C3E-7B1F-9C55-1A2B3C4D5E6F""#, canonical),
            (r#""0189d7a05c3e7b1f9c551a2b3c4d5e6f""#, canonical),
            (r#""{0189d7a0-5c3e-7b1f-9c55-1a2b3c4d5e6f}""#, canonical),
            (r#""urn:uuid:0189d7a0-5c3e-7b1f-9c55-1a2b3c4d5e6f""#, canonical),
            (r#""{0189d7a0-5c3e-7b1f-9c55-1a2b3c4d5e6f""#, "!type"),
            (r#""0189d7a0-5c3e-7b1f-9c55-1a2b3c4d5e6g""#, "!type"),
            (r#""0189d7a05-c3e-7b1f-9c55-1a2b3c4d5e6f""#, "!type"),
            (r#""""#, "!type"),
            ("5", "!type"),
        ],
    );
}

#[test]
fn json_is_kept_as_it_was_written() {
    let strict = ColumnType::Json { nul: false };
    for (raw, expected) in [
        (r#"{"b": 1.50, "a":[1e400]}"#, r#"{"b": 1.50, "a":[1e400]}"#),
        (r#""text \u00e9""#, r#""text \u00e9""#),
        ("true", "true"),
        (r#"["\u0000"]"#, "!type"),
        (r#"{"\u0000":1}"#, "!type"),
        (r#"["\\u0000"]"#, r#"["\\u0000"]"#),
        (r#"["\ud83d\ude97"]"#, r#"["\ud83d\ude97"]"#),
        (r#"["\ud83d"]"#, "!type"),
        (r#"["\ud83dx\ude97"]"#, "!type"),
        (r#"["\ud83d\n"]"#, "!type"),
        (r#"["\ud83d\ud83d"]"#, "!type"),
        (r#"["\ude97"]"#, "!type"),
    ] {
        let outcome = match json_cell(raw, false) {
            Ok(Cell::Text(text)) => text.into(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => format!("!{}", error.code),
        };
        assert_eq!(outcome, expected, "{raw}");
        if !raw.starts_with('"') {
            assert_eq!(cast(raw, &strict), expected, "{raw}");
        }
    }
    assert_eq!(json_cell("null", false), Ok(Cell::Null));
    assert_eq!(cast(r#"["\u0000"]"#, &ColumnType::Json { nul: true }), r#"["\u0000"]"#);
    assert_eq!(cast(r#""a\"b""#, &strict), r#""a\"b""#);
}

#[test]
fn enums_take_their_values_only() {
    let kind = ColumnType::Enum { values: vec!["new".into(), "used".into(), "1".into()] };
    table(&kind, &[(r#""new""#, "new"), ("1", "1"), (r#""New""#, "!type"), ("2", "!type"), ("[]", "!type")]);
    assert_eq!(
        why(r#""usd""#, &kind),
        "is a string that is none of the column's values (`new`, `used`, `1`); did you mean `used`?"
    );
}

#[test]
fn sqlite_numerics_keep_what_fifteen_digits_hold() {
    table(
        &ColumnType::Numeric15,
        &[
            ("9223372036854775807", "9223372036854775807"),
            ("9223372036854775808", "!range"),
            ("1e20", "100000000000000000000"),
            ("123456789012345.0", "123456789012345"),
            ("1234567890123.45", "1234567890123.45"),
            ("1234567890123.456", "!range"),
            ("0.000000000000000000012", "0.000000000000000000012"),
            ("1e400", "!range"),
            ("1e-400", "!range"),
            ("5.0", "5"),
            ("-0.0", "0"),
            ("true", "1"),
            (r#""12.5""#, "12.5"),
            (r#""x""#, "!type"),
        ],
    );
    assert!(why("0.1234567890123456", &ColumnType::Numeric15).contains("declare the column TEXT"));
}

#[test]
fn other_columns_get_the_text() {
    table(
        &ColumnType::Other,
        &[(r#""10.0.0.1/8""#, "10.0.0.1/8"), ("1.50", "1.50"), ("[1, 2]", "[1, 2]"), ("true", "true")],
    );
}

#[test]
fn casts_read_a_value_before_its_column_does() {
    let rows = [
        (r#""4""#, Cast::Int, "4"),
        ("4.0", Cast::Int, "4"),
        ("4.5", Cast::Int, "!type"),
        ("123456789012345678901234567890", Cast::Int, "123456789012345678901234567890"),
        (r#""1e2""#, Cast::Decimal, "100"),
        (r#""1.50""#, Cast::Decimal, "1.50"),
        (r#""0.1""#, Cast::Float, "0.1"),
        ("1e999", Cast::Float, "!range"),
        ("1.0", Cast::Text, "1.0"),
        (r#""2025-06-01T08:00:00+07:00""#, Cast::Date, "2025-06-01"),
        (r#""2025-06-01T08:00:00+07:00""#, Cast::Time, "08:00:00+07:00"),
        (r#""08:00""#, Cast::Time, "08:00:00"),
        (r#""2025-06-01T08:00:00+07:00""#, Cast::Timestamp, "2025-06-01 01:00:00+00:00"),
        (r#""2025-06-01T08:00:00""#, Cast::Timestamp, "2025-06-01 08:00:00"),
        (r#""{0189D7A05C3E7B1F9C551A2B3C4D5E6F}""#, Cast::Uuid, "0189d7a0-5c3e-7b1f-9c55-1a2b3c4d5e6f"),
        (r#""{\"a\": 1}""#, Cast::Json, r#"{"a": 1}"#),
        (r#""nope""#, Cast::Json, "!type"),
        (r#""YQ""#, Cast::Bytes, "YQ"),
        ("5", Cast::Bytes, "!type"),
        ("null", Cast::Int, "NULL"),
    ];
    for (raw, as_, expected) in rows {
        let outcome = Value::read(raw).and_then(|value| recast(value, as_)).and_then(|value| to_cell(value, &TEXT));
        let outcome = match outcome {
            Ok(Cell::Text(text)) => text.into(),
            Ok(Cell::Null) => "NULL".into(),
            Ok(other) => panic!("{other:?}"),
            Err(error) => format!("!{}", error.code),
        };
        assert_eq!(outcome, expected, "{raw} as {as_:?}");
    }
}
