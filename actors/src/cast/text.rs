//! Text, truth values, enums and JSON: decoding JSON strings and checking what a column can't hold.

use std::borrow::Cow;

use super::{CastError, Number, Value};

/// The string that a JSON string stands for; borrowed where it has no escapes.
pub(super) fn decode(raw: &str) -> Result<Cow<'_, str>, CastError> {
    match raw.get(1..raw.len().saturating_sub(1)) {
        Some(inner) if !inner.as_bytes().contains(&b'\\') => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str::<String>(raw).map(Cow::Owned).map_err(|_| lone_surrogate()),
    }
}

#[cold]
fn lone_surrogate() -> CastError {
    CastError::kind("has a string with half of a surrogate pair (`\\ud800` to `\\udfff` alone), which is no character")
}

#[cold]
fn nul_character() -> CastError {
    CastError::kind("has the character U+0000 (`\\u0000`), which this column can't hold")
}

/// A JSON string.
pub(super) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Length and U+0000.
pub(super) fn check(text: &str, max_chars: Option<u64>, max_bytes: Option<u64>, nul: bool) -> Result<(), CastError> {
    let bytes = text.len() as u64;
    if let Some(max) = max_bytes.filter(|max| bytes > *max) {
        return Err(CastError::too_long(format!("is too long: {bytes} bytes of UTF-8, at most {max}")));
    }
    // A text has at most as many characters as bytes, so most need no counting.
    if let Some(max) = max_chars.filter(|max| bytes > *max) {
        let chars = text.chars().count() as u64;
        if chars > max {
            return Err(CastError::too_long(format!("is too long: {chars} characters, at most {max}")));
        }
    }
    if !nul && text.as_bytes().contains(&0) {
        return Err(nul_character());
    }
    Ok(())
}

/// Refuses what is valid JSON by the letter but no database's JSON can hold: half a surrogate pair, and `\u0000` where
/// the column can't.
pub(super) fn check_json(json: &str, nul: bool) -> Result<(), CastError> {
    let bytes = json.as_bytes();
    let mut at = 0;
    let mut high = None; // where the low half must begin
    while let Some(step) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        let start = at + step;
        at = (start + 2).min(bytes.len());
        if bytes.get(start + 1) == Some(&b'u') {
            let unit = json.get(start + 2..start + 6).and_then(|hex| u16::from_str_radix(hex, 16).ok());
            at = (start + 6).min(bytes.len());
            match unit {
                Some(0) if !nul => return Err(nul_character()),
                Some(0xd800..=0xdbff) if high.is_none() => {
                    high = Some(at);
                    continue;
                }
                Some(0xdc00..=0xdfff) if high == Some(start) => {
                    high = None;
                    continue;
                }
                Some(0xd800..=0xdfff) | None => return Err(lone_surrogate()),
                Some(_) => {}
            }
        }
        if high.is_some() {
            return Err(lone_surrogate());
        }
    }
    if high.is_some() { Err(lone_surrogate()) } else { Ok(()) }
}

/// `true`, `false`, 0 or 1, also inside a string; with `words` also yes, no, on and off.
pub(super) fn truth(value: &Value<'_>, words: bool) -> Result<bool, CastError> {
    let wanted = if words { "true, false, 1, 0, yes, no, on or off" } else { "true, false, 1 or 0" };
    let bad = || CastError::not(value, wanted);
    match value {
        Value::Bool(truth) => Ok(*truth),
        Value::Number(text) => match Number::parse(text).ok().and_then(|number| number.whole()) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(bad()),
        },
        Value::Text(text) => {
            let is = |word: &&str| text.eq_ignore_ascii_case(word);
            let (yes, no) = if words {
                (&["true", "1", "yes", "on"][..], &["false", "0", "no", "off"][..])
            } else {
                (&["true", "1"][..], &["false", "0"][..])
            };
            if yes.iter().any(is) {
                Ok(true)
            } else if no.iter().any(is) {
                Ok(false)
            } else {
                Err(bad())
            }
        }
        _ => Err(bad()),
    }
}

/// One of an enum's values, exactly.
pub(super) fn one_of<'a>(value: Value<'a>, values: &[String]) -> Result<Cow<'a, str>, CastError> {
    if matches!(value, Value::Object(_) | Value::Array(_)) {
        return Err(CastError::not(&value, "one of the column's values"));
    }
    let kind = value.kind();
    let text = value.into_text();
    if values.iter().any(|allowed| *allowed == *text) {
        return Ok(text);
    }
    let shown = values.iter().take(20).map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    let more = if values.len() > 20 { ", …" } else { "" };
    let hint = crate::mapping::nearest(&text, values.iter().map(String::as_str))
        .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(CastError::kind(format!("is {kind} that is none of the column's values ({shown}{more}){hint}")))
}
