//! A message's key: a string, a number, or an object of scalars for a composite key; in one canonical spelling, and
//! compared with fields of the record.

use std::borrow::Cow;

use tidegate_actors::mapping::KeyPart;

use super::json::{Fault, Scanner};

const WANTED: &str = "`key` is a string, a number, or an object of strings, numbers and booleans";

/// A key as it was sent.
pub(crate) enum Key<'a> {
    /// A string or a number, as JSON.
    Scalar(Cow<'a, str>),
    /// Names and their scalars as JSON, sorted by name.
    Composite(Vec<(Cow<'a, str>, Cow<'a, str>)>),
}

impl<'a> Key<'a> {
    /// Reads a key.
    pub(crate) fn read(scanner: &mut Scanner<'a>) -> Result<Self, Box<Fault>> {
        match scanner.peek() {
            Some(b'{') => {
                let at = scanner.at();
                let mut parts: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
                scanner.object(|scanner, name| {
                    let part_at = scanner.at();
                    if parts.iter().any(|(known, _)| *known == name) {
                        let fault = Fault::new("duplicate_name", part_at, "this name occurs twice in its object");
                        return Err(fault.within(&name));
                    }
                    if parts.len() == MAX_PARTS {
                        return Err(Fault::new("key", part_at, format!("`key` has more than {MAX_PARTS} parts")));
                    }
                    let value = scalar(scanner, true).map_err(|fault| fault.within(&name))?;
                    parts.push((name, value));
                    Ok(())
                })?;
                if parts.is_empty() {
                    return Err(Fault::new("key", at, "`key` is an empty object"));
                }
                parts.sort_unstable_by(|left, right| left.0.cmp(&right.0));
                Ok(Self::Composite(parts))
            }
            _ => scalar(scanner, false).map(Self::Scalar),
        }
    }

    /// A key that is a text.
    pub(crate) fn text(text: &str) -> Self {
        Self::Scalar(Cow::Owned(quoted(text)))
    }

    /// The canonical spelling: compact, names sorted, no escape that is not needed, numbers digit by digit.
    pub(crate) fn to_json(&self) -> String {
        match self {
            Self::Scalar(scalar) => scalar.to_string(),
            Self::Composite(parts) => {
                let parts: Vec<_> = parts.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).collect();
                format!("{{{}}}", parts.join(","))
            }
        }
    }

    /// What this key says of a route's key column. A scalar is the key of a route with one column that a key can say: constants
    /// and what is known of the message are none.
    pub(crate) fn value(&self, columns: &[KeyPart], column: &KeyPart) -> Option<&str> {
        let mut open = columns.iter().filter(|column| column.is_open());
        match self {
            Self::Scalar(scalar) => (column.is_open() && open.count() == 1).then_some(scalar),
            Self::Composite(parts) => {
                let exact = |name: &str| parts.iter().find(|(part, _)| part == name);
                let alike = |name: &str| parts.iter().find(|(part, _)| part.eq_ignore_ascii_case(name));
                let named = |name: &str| exact(name).or_else(|| alike(name)).map(|(_, value)| &**value);
                let of_field = |column: &KeyPart| column.field().and_then(|field| named(&field));
                // Names are columns'; but a key that has all the fields and not all the columns is spoken of in fields.
                let in_fields = open.clone().all(|column| of_field(column).is_some())
                    && !open.all(|column| named(&column.column).is_some());
                if in_fields { of_field(column) } else { named(&column.column).or_else(|| of_field(column)) }
            }
        }
    }
}

/// Most parts of a composite key; no database has keys of more columns (MySQL 16, PostgreSQL 32).
const MAX_PARTS: usize = 32;

fn scalar<'a>(scanner: &mut Scanner<'a>, part: bool) -> Result<Cow<'a, str>, Box<Fault>> {
    match scanner.peek() {
        Some(b'"') => {
            let text = scanner.string()?;
            match text.decode() {
                // A text without escapes is spelled as it must be already; DEL and beyond stay as they are in both.
                Cow::Borrowed(_) => Ok(Cow::Borrowed(text.quoted)),
                Cow::Owned(text) => Ok(Cow::Owned(quoted(&text))),
            }
        }
        Some(b'-' | b'0'..=b'9') => scanner.number().map(Cow::Borrowed),
        Some(b't' | b'f') if part => {
            let start = scanner.at();
            scanner.value(0)?;
            Ok(Cow::Borrowed(scanner.since(start)))
        }
        _ => Err(scanner.unexpected(WANTED)),
    }
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Whether two JSON values are the same as key: the same text, be it in quotes or not (a CloudEvents subject is always a
/// text), or the same number. Objects and arrays are never the key.
pub(crate) fn same_scalar(left: &str, right: &str) -> bool {
    let (Some(left_text), Some(right_text)) = (scalar_text(left), scalar_text(right)) else {
        return left == right && !left.starts_with(['{', '[']);
    };
    left_text == right_text
        || matches!((decimal(&left_text), decimal(&right_text)), (Some(left), Some(right)) if left == right)
            && !(left.starts_with('"') && right.starts_with('"'))
}

/// The text of a string, number or boolean.
fn scalar_text(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' if json.contains('\\') => serde_json::from_str(json).ok().map(Cow::Owned),
        b'"' => json.get(1..json.len() - 1).map(Cow::Borrowed),
        b'n' | b'{' | b'[' => None,
        _ => Some(Cow::Borrowed(json)),
    }
}

/// Sign, digits without zeros at either end, and the power of ten of the last of them.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(place) => (&text[..place], text[place + 1..].parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = mantissa.strip_prefix('-').map_or((false, mantissa), |rest| (true, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    let zeros = i64::try_from(digits.len() - significant.len()).ok()?;
    let exponent = exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(zeros)?;
    Some((negative, significant.to_owned(), exponent))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn canonical(text: &str) -> Result<String, &'static str> {
        Key::read(&mut Scanner::new(text, 64, 2000)).map(|key| key.to_json()).map_err(|fault| fault.code)
    }

    #[test]
    fn a_key_has_one_spelling() {
        for (text, spelling) in [
            (r#""JKT-1""#, r#""JKT-1""#),
            (r#""\u004a\/\u00e9\n""#, r#""J/é\n""#),
            ("42", "42"),
            ("1234567890123456789012345678901234567890.50", "1234567890123456789012345678901234567890.50"),
            (r#"{ "no" : 7, "branch" : "JKT", "live": true }"#, r#"{"branch":"JKT","live":true,"no":7}"#),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(spelling), "{text}");
        }
    }

    #[test]
    fn what_tells_no_rows_apart_is_no_key() {
        for (text, code) in [
            ("null", "type"),
            ("true", "type"),
            ("[1]", "type"),
            ("{}", "key"),
            (r#"{"a":null}"#, "type"),
            (r#"{"a":{"b":1}}"#, "type"),
            (r#"{"a":1,"a":2}"#, "duplicate_name"),
        ] {
            assert_eq!(canonical(text), Err(code), "{text}");
        }
    }

    #[test]
    fn scalars_are_the_same_by_text_or_by_number() {
        for (left, right, same) in [
            ("42", "42", true),
            ("42", "\"42\"", true),
            ("42", "42.0", true),
            ("4200", "4.2e3", true),
            ("-0", "0", true),
            ("42", "43", false),
            ("42", "-42", false),
            ("\"42\"", "\"42.0\"", false),
            ("\"a\"", "\"\\u0061\"", true),
            ("null", "\"null\"", false),
            ("null", "42", false),
            ("true", "\"true\"", true),
            ("{}", "{}", false),
            ("123456789012345678901", "123456789012345678902", false),
            ("1e999999999999999999999", "1e999999999999999999999", true),
        ] {
            assert_eq!(same_scalar(left, right), same, "{left} {right}");
        }
    }
}
