//! Rows as the literals of one VALUES list, which the server reads in less time than as many parameters.
//!
//! Nothing is ever escaped. A text of printable ASCII without quotation mark and backslash stands between quotation marks as it
//! is; every other text, and all bytes, are written in hexadecimal digits, with their character set before them. So no value
//! can end its literal, whatever the session's `sql_mode` or character sets are. Called by the writer of statements.

use tidegate_actors::{
    schema::{ColumnSchema, ColumnType},
    transaction::{Cell, Encoded, Op, Statement},
};

use super::{session::MAX_STATEMENT_BYTES, sql, write::spelled};

/// All rows of a statement as [`rows`] has them, worked out before their turn.
struct Values(String);

/// Encodes all rows of a statement that is sent as literals in one piece.
pub(super) fn encode(statement: &Statement) -> Encoded {
    let in_one = statement.op == Op::Insert || statement.op == Op::Upsert && statement.plan.only_unique_key;
    if !in_one || sql::literal_chunk(statement.rows.len()) < statement.rows.len() {
        return Encoded::default();
    }
    let (columns, all): (Vec<_>, Vec<_>) = (statement.written().collect(), (0..statement.rows.len()).collect());
    match rows(statement, &columns, &all, MAX_STATEMENT_BYTES) {
        Some(values) => Encoded::of(&statement.rows, Values(values)),
        None => Encoded::default(),
    }
}

/// What [`rows`] would come to for all rows, where that was worked out already.
pub(super) fn encoded<'s>(statement: &'s Statement, rows: &[usize], most_bytes: usize) -> Option<&'s str> {
    // They rise, so as many as there are is all.
    let all = rows.len() == statement.rows.len();
    let Values(values) = statement.encoded.get(&statement.rows).filter(|_| all)?;
    (values.len() <= most_bytes).then_some(values)
}

/// `(…),(…)` of these rows; none where it would be longer than so many bytes.
pub(super) fn rows(
    statement: &Statement,
    columns: &[&ColumnSchema],
    rows: &[usize],
    most_bytes: usize,
) -> Option<String> {
    let mut out = String::with_capacity(rows.len() * (2 + columns.len() * 16));
    for (nth, &row) in rows.iter().enumerate() {
        out.push_str(if nth == 0 { "(" } else { ",(" });
        for (place, (cell, column)) in statement.rows[row].iter().zip(columns).enumerate() {
            if place > 0 {
                out.push(',');
            }
            match sql::placeholder(column).split_once('?') {
                Some(("", "")) | None => value(&mut out, column, cell),
                Some((before, after)) => {
                    out.push_str(before);
                    value(&mut out, column, cell);
                    out.push_str(after);
                }
            }
        }
        out.push(')');
        if out.len() > most_bytes {
            return None;
        }
    }
    Some(out)
}

fn value(out: &mut String, column: &ColumnSchema, cell: &Cell) {
    match cell {
        Cell::Absent | Cell::Null => out.push_str("NULL"),
        Cell::Bytes(bytes) => hexadecimal(out, "_binary", bytes),
        Cell::Text(text) if matches!(column.kind, ColumnType::Int { .. }) && is_whole(text) => out.push_str(text),
        Cell::Text(text) => {
            self::text(out, &spelled(column, text));
        }
    }
}

/// A text.
pub(super) fn text(out: &mut String, text: &str) {
    if text.bytes().all(is_plain) {
        out.push('\'');
        out.push_str(text);
        out.push('\'');
    } else {
        hexadecimal(out, "_utf8mb4", text.as_bytes());
    }
}

/// Printable ASCII that means nothing inside of quotation marks.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\'' && byte != b'\\'
}

/// Digits with at most a minus sign, of a number that the server reads as a whole one of 64 bits.
fn is_whole(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=18).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// A literal of hexadecimal digits, of this character set.
fn hexadecimal(out: &mut String, charset: &str, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.reserve(charset.len() + 4 + bytes.len() * 2);
    out.push_str(charset);
    out.push_str(" X'");
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out.push('\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: ColumnType, declared: &str, cell: Cell) -> String {
        let column = ColumnSchema {
            name: "c".into(),
            declared: declared.into(),
            kind,
            nullable: true,
            has_default: false,
            default: None,
            generated: false,
        };
        let mut out = String::new();
        value(&mut out, &column, &cell);
        out
    }

    fn text(text: &str) -> String {
        shown(ColumnType::Other, "text", Cell::Text(text.into()))
    }

    #[test]
    fn no_text_can_end_its_literal() {
        assert_eq!(text("Toyota (7) \"G\" `x` -- # /* ; ? %s"), "'Toyota (7) \"G\" `x` -- # /* ; ? %s'");
        assert_eq!(text(""), "''");
        assert_eq!(text("it's"), "_utf8mb4 X'69742773'");
        assert_eq!(text("\\"), "_utf8mb4 X'5C'");
        assert_eq!(text("a\0\n"), "_utf8mb4 X'61000A'");
        assert_eq!(text("車"), "_utf8mb4 X'E8BB8A'");
        assert_eq!(text("\u{10ffff}"), "_utf8mb4 X'F48FBFBF'");
        assert_eq!(
            shown(ColumnType::Bytes { max_bytes: None }, "blob", Cell::Bytes(b"'\\".to_vec().into())),
            "_binary X'275C'"
        );
        for byte in 0..=255_u8 {
            let one = shown(ColumnType::Other, "text", Cell::Text(char::from(byte).to_string().into()));
            assert!(one.len() == 3 && !one.contains('\\') && &one != "'''" || one.starts_with("_utf8mb4 X'"), "{one}");
        }
    }

    #[test]
    fn only_what_is_digits_stands_bare() {
        let int = |text: &str| shown(ColumnType::Int { min: 0, max: 9 }, "bigint(20)", Cell::Text(text.into()));
        assert_eq!(int("-42"), "-42");
        assert_eq!(int("999999999999999999"), "999999999999999999");
        assert_eq!(int("9223372036854775807"), "'9223372036854775807'");
        for odd in ["", "-", "1.0", "+1", "0x1", "1 OR 1=1", "1e3", "--1"] {
            assert_eq!(int(odd), format!("'{odd}'"));
        }
        assert_eq!(
            shown(ColumnType::Decimal { precision: None, scale: None }, "decimal", Cell::Text("1.5".into())),
            "'1.5'"
        );
        assert_eq!(shown(ColumnType::Bool, "tinyint(1)", Cell::Text("true".into())), "'1'");
        assert_eq!(shown(ColumnType::Bool, "tinyint(1)", Cell::Null), "NULL");
    }
}
