//! Cells as JSON, checked against their columns before anything is sent.
//!
//! Mapping has checked them against the catalogue once; what is special to SQL Server is checked here (UTF-16 units, bytes of
//! UTF-8, digits that a conversion would round), so that the server's conversions can neither round nor cut.

use std::borrow::Cow;

use tidegate_actors::{
    schema::ColumnType,
    transaction::{Cell, Statement},
};

use super::slots::{Family, Slot};

/// Why a cell can't be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bad {
    /// The row.
    pub(super) row: usize,
    /// The cell's place in it.
    pub(super) cell: usize,
    /// The stable word.
    pub(super) code: &'static str,
    /// The sentence.
    pub(super) sentence: String,
}

type Why = (&'static str, String);

/// A statement's rows as a JSON array of arrays, each with its row's number first.
pub(super) fn rows(statement: &Statement, slots: &[Slot<'_>]) -> Result<String, Bad> {
    let mut json = String::with_capacity(statement.rows.len() * slots.len() * 12 + 2);
    json.push('[');
    for (row, cells) in statement.rows.iter().enumerate() {
        json.push_str(if row > 0 { ",[" } else { "[" });
        json.push_str(&row.to_string());
        for (cell, (slot, value)) in slots.iter().zip(cells).enumerate() {
            json.push(',');
            match text(slot, value) {
                Ok(None) => json.push_str("null"),
                Ok(Some(text)) => push_string(&mut json, &text),
                Err((code, sentence)) => return Err(Bad { row, cell, code, sentence }),
            }
        }
        json.push(']');
    }
    json.push(']');
    Ok(json)
}

/// A JSON array of arrays of texts.
pub(super) fn list<'a, const N: usize>(items: impl IntoIterator<Item = [Option<Cow<'a, str>>; N]>) -> String {
    let mut json = String::from("[");
    for (at, item) in items.into_iter().enumerate() {
        json.push_str(if at > 0 { ",[" } else { "[" });
        for (place, value) in item.iter().enumerate() {
            if place > 0 {
                json.push(',');
            }
            match value {
                Some(text) => push_string(&mut json, text),
                None => json.push_str("null"),
            }
        }
        json.push(']');
    }
    json.push(']');
    json
}

/// A text of a [`list`].
pub(super) fn some<'a>(text: impl Into<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    Some(text.into())
}

/// A JSON string.
fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for char in text.chars() {
        match char {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            control if (control as u32) < 0x20 => {
                json.push_str(&format!("\\u{:04x}", control as u32));
            }
            other => json.push(other),
        }
    }
    json.push('"');
}

/// The text that stands for a cell; `None` for NULL.
fn text<'c>(slot: &Slot<'_>, cell: &'c Cell) -> Result<Option<Cow<'c, str>>, Why> {
    let column = slot.column;
    let text: &str = match cell {
        Cell::Absent | Cell::Null if column.nullable => return Ok(None),
        Cell::Absent | Cell::Null => return Err(("not_null", "it must not be NULL".into())),
        Cell::Bytes(bytes) => {
            fits(bytes.len(), slot.length, "bytes")?;
            return Ok(Some(hex(bytes).into()));
        }
        Cell::Text(text) => text,
    };
    Ok(Some(match slot.family {
        Family::Bit => match text {
            "true" | "1" => "1".into(),
            "false" | "0" => "0".into(),
            _ => return Err(("type", "the value is not true or false".into())),
        },
        Family::Wide | Family::Variant => {
            fits(text.encode_utf16().count(), slot.length, "characters in UTF-16")?;
            text.into()
        }
        Family::Utf8 => {
            fits(text.len(), slot.length, "bytes in UTF-8")?;
            text.into()
        }
        // A code page of two bytes a character may need more room; the server then refuses the row.
        Family::Narrow => {
            fits(text.encode_utf16().count(), slot.length, "characters")?;
            text.into()
        }
        Family::Clock(digits) => clock(text, digits),
        Family::Minutes => minutes(text).into(),
        Family::Plain => {
            number(&column.kind, text)?;
            text.into()
        }
        Family::Bytes => return Err(("type", "the value is not bytes".into())),
        Family::Other => text.into(),
    }))
}

fn fits(length: usize, most: Option<usize>, unit: &str) -> Result<(), Why> {
    match most {
        Some(most) if length > most => {
            Err(("too_long", format!("the value is too long: {length} {unit}, at most {most}")))
        }
        _ => Ok(()),
    }
}

/// What CONVERT would round, cut or misread: it reads at most 36 characters of a UUID, and rounds decimals.
fn number(kind: &ColumnType, text: &str) -> Result<(), Why> {
    match kind {
        ColumnType::Int { min, max } => match text.parse::<i128>() {
            Ok(number) if number < *min || number > *max => {
                Err(("range", format!("the value is out of range: the column takes {min} to {max}")))
            }
            Ok(_) => Ok(()),
            Err(_) => Err(("type", "the value is not a whole number".into())),
        },
        ColumnType::Decimal { precision: Some(precision), scale: Some(scale) } => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            if whole.is_empty() || !(whole.bytes().chain(fraction.bytes())).all(|byte| byte.is_ascii_digit()) {
                return Err(("type", "the value is not a decimal number".into()));
            }
            let (whole, fraction) = (whole.trim_start_matches('0').len(), fraction.trim_end_matches('0').len());
            let (precision, scale) = (*precision as usize, *scale as usize);
            if fraction > scale || whole + scale > precision {
                return Err((
                    "range",
                    format!(
                        "the value is out of range: the column takes {precision} digits, {scale} of them after the point"
                    ),
                ));
            }
            Ok(())
        }
        ColumnType::Uuid if !is_uuid(text) => Err(("type", "the value is not a UUID".into())),
        _ => Ok(()),
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// `2025-06-01T08:00:00.5+00:00`: the spelling that no setting of the session changes, with no more digits than are kept
/// (the server would round, and `23:59:59.9999999` become the next day).
fn clock(text: &str, digits: usize) -> Cow<'_, str> {
    let text: Cow<'_, str> = if text.contains(' ') { text.replacen(' ', "T", 1).into() } else { text.into() };
    let Some(point) = text.find('.') else { return text };
    let fraction = text[point + 1..].bytes().take_while(u8::is_ascii_digit).count();
    if fraction <= digits {
        return text;
    }
    let kept = if digits == 0 { point } else { point + 1 + digits };
    format!("{}{}", &text[..kept], &text[point + 1 + fraction..]).into()
}

/// To the minute: the server would round.
fn minutes(text: &str) -> String {
    let text = clock(text, 0).into_owned();
    match text.match_indices(':').nth(1) {
        Some((second, _)) => format!("{}:00", &text[..second]),
        None => text,
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lose_the_digits_that_the_column_has_no_room_for() {
        for (text, digits, expected) in [
            ("2025-06-01 08:00:00.1234567", 3, "2025-06-01T08:00:00.123"),
            ("2025-06-01 08:00:00.1234567+00:00", 7, "2025-06-01T08:00:00.1234567+00:00"),
            ("2025-06-01 08:00:00.123456789+00:00", 7, "2025-06-01T08:00:00.1234567+00:00"),
            ("23:59:59.9999999", 0, "23:59:59"),
            ("08:00:00", 3, "08:00:00"),
        ] {
            assert_eq!(clock(text, digits), expected);
        }
        assert_eq!(minutes("2025-06-01 08:00:59.9"), "2025-06-01T08:00:00");
    }

    #[test]
    fn numbers_that_would_be_rounded_are_refused() {
        let money = ColumnType::Decimal { precision: Some(6), scale: Some(2) };
        for (text, verdict) in [
            ("1.5", None),
            ("-9999.99", None),
            ("0001.500", None),
            ("1.005", Some("range")),
            ("10000", Some("range")),
            ("1e2", Some("type")),
            ("", Some("type")),
        ] {
            assert_eq!(number(&money, text).err().map(|(code, _)| code), verdict, "{text}");
        }
        let small = ColumnType::Int { min: -32_768, max: 32_767 };
        assert_eq!(number(&small, "32768").err().map(|(code, _)| code), Some("range"));
        assert_eq!(number(&small, "1.0").err().map(|(code, _)| code), Some("type"));
        assert!(number(&ColumnType::Uuid, "018f4f3e-7a1c-7cc0-98c4-dc0c0c07398f with more").is_err());
    }

    #[test]
    fn strings_are_json() {
        let text = "it's \"quoted\" \\ \u{1}\n☃ 👩";
        let mut json = String::new();
        push_string(&mut json, text);
        assert_eq!(serde_json::from_str::<String>(&json).ok().as_deref(), Some(text));
        assert_eq!(
            list([[Some("a".into()), None], [Some("\"".into()), Some("b".into())]]),
            r#"[["a",null],["\"","b"]]"#
        );
    }
}
