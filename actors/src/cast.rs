//! Casting: how a JSON value becomes a cell of a column's type, or a sentence that says why it can't.
//!
//! Nothing is ever rounded, cut or guessed: a value that a column can't hold exactly is refused here, before any SQL.
//! Errors name the kind of value and the bound it broke, never the value itself. Called by [`crate::mapping`].

use std::borrow::Cow;

use crate::{route::Cast, schema::ColumnType, transaction::Cell};

mod binary;
mod number;
mod reader;
mod temporal;
mod text;
mod zone;

pub(crate) use binary::encode_base64;
pub(crate) use number::Number;
pub(crate) use reader::{TimeKind, TimeReader};

/// Why a value does not fit. `why` continues a sentence that begins with the field: "is a string that …".
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CastError {
    /// One of the codes of [`crate::ports::Rejection`].
    pub(crate) code: &'static str,
    /// The rest of the sentence.
    pub(crate) why: String,
}

impl CastError {
    #[cold]
    pub(crate) fn kind(why: impl Into<String>) -> Self {
        Self { code: "type", why: why.into() }
    }

    #[cold]
    pub(crate) fn range(why: impl Into<String>) -> Self {
        Self { code: "range", why: why.into() }
    }

    #[cold]
    pub(crate) fn too_long(why: impl Into<String>) -> Self {
        Self { code: "too_long", why: why.into() }
    }

    /// The value is of a kind that can't become `wanted`.
    #[cold]
    fn not(value: &Value<'_>, wanted: &str) -> Self {
        Self::kind(match value {
            Value::Text(_) => format!("is a string that is not {wanted}"),
            Value::Number(_) => format!("is a number that is not {wanted}"),
            other => format!("is {}, where {wanted} is expected", other.kind()),
        })
    }
}

/// A JSON value as casting sees it: text decoded, everything else as the text that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number in JSON's notation, every digit kept.
    Number(Cow<'a, str>),
    /// A string without quotes and escapes.
    Text(Cow<'a, str>),
    /// An object as JSON text.
    Object(Cow<'a, str>),
    /// An array as JSON text.
    Array(Cow<'a, str>),
}

impl<'a> Value<'a> {
    /// Reads one valid JSON value without white space around it.
    pub(crate) fn read(raw: &'a str) -> Result<Self, CastError> {
        Ok(match raw.as_bytes().first() {
            Some(b'"') => Self::Text(text::decode(raw)?),
            Some(b'{') => Self::Object(Cow::Borrowed(raw)),
            Some(b'[') => Self::Array(Cow::Borrowed(raw)),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            _ => Self::Number(Cow::Borrowed(raw)),
        })
    }

    /// A constant of a route.
    pub(crate) fn constant(json: &serde_json::Value) -> Value<'static> {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(truth) => Value::Bool(*truth),
            serde_json::Value::Number(number) => Value::Number(number.to_string().into()),
            serde_json::Value::String(text) => Value::Text(text.clone().into()),
            serde_json::Value::Array(_) => Value::Array(json.to_string().into()),
            serde_json::Value::Object(_) => Value::Object(json.to_string().into()),
        }
    }

    /// What JSON calls it, with its article.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::Object(_) => "an object",
            Self::Array(_) => "an array",
        }
    }

    /// The text that a text column gets: strings as they are, all else as JSON.
    fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Null => Cow::Borrowed("null"),
            Self::Bool(true) => Cow::Borrowed("true"),
            Self::Bool(false) => Cow::Borrowed("false"),
            Self::Number(text) | Self::Text(text) | Self::Object(text) | Self::Array(text) => text,
        }
    }

    /// The value as JSON text.
    fn into_json(self) -> Cow<'a, str> {
        match self {
            Self::Text(text) => Cow::Owned(text::quote(&text)),
            other => other.into_text(),
        }
    }
}

/// The cell for a column of this type. `null` is [`Cell::Null`]; whether the column takes it is for the caller to see.
pub(crate) fn to_cell(value: Value<'_>, kind: &ColumnType) -> Result<Cell, CastError> {
    if value == Value::Null {
        return Ok(Cell::Null);
    }
    let text: Cow<'_, str> = match kind {
        ColumnType::Int { min, max } => return number::int(&value, *min, *max).map(Cell::Text),
        ColumnType::Decimal { precision, scale } => number::decimal(&value, *precision, *scale)?,
        ColumnType::Float { bits } => number::float(&value, *bits)?.into(),
        ColumnType::Numeric15 => number::numeric15(&value)?.into(),
        ColumnType::Bool => bool_text(text::truth(&value, false)?).into(),
        ColumnType::Text { max_chars, max_bytes, nul } => {
            let text = value.into_text();
            text::check(&text, *max_chars, *max_bytes, *nul)?;
            text
        }
        ColumnType::Bytes { max_bytes } => return binary::bytes(&value, *max_bytes).map(Cell::Bytes),
        ColumnType::Date => temporal::date(&value, false)?.into(),
        ColumnType::Time { zone } => temporal::time(&value, *zone)?.into(),
        ColumnType::Timestamp { zone } => temporal::timestamp(&value, *zone)?.into(),
        ColumnType::Uuid => binary::uuid(&value)?.into(),
        ColumnType::Json { nul } => {
            let json = value.into_json();
            text::check_json(&json, *nul)?;
            json
        }
        ColumnType::Enum { values } => text::one_of(value, values)?,
        ColumnType::Other => value.into_text(),
    };
    Ok(Cell::Text(text.into()))
}

/// The cell for a JSON column straight from the record: the text stays as the producer wrote it.
pub(crate) fn json_cell(raw: &str, nul: bool) -> Result<Cell, CastError> {
    if raw == "null" {
        return Ok(Cell::Null);
    }
    text::check_json(raw, nul)?;
    Ok(Cell::Text(raw.into()))
}

/// Reads a value as something, before it goes to its column. `null` stays `null`.
pub(crate) fn recast<'a>(value: Value<'a>, cast: Cast) -> Result<Value<'a>, CastError> {
    if value == Value::Null {
        return Ok(Value::Null);
    }
    Ok(match cast {
        Cast::Int => Value::Number(number::int(&value, i128::MIN, i128::MAX)?.into_string().into()),
        Cast::Decimal => Value::Number(number::decimal(&value, None, None)?.into_owned().into()),
        Cast::Float => Value::Number(number::float(&value, 64)?.into()),
        Cast::Bool => Value::Bool(text::truth(&value, true)?),
        Cast::Text => Value::Text(value.into_text()),
        Cast::Date => Value::Text(temporal::date(&value, true)?.into()),
        Cast::Time => Value::Text(temporal::time_of(&value)?.into()),
        Cast::Timestamp => Value::Text(temporal::timestamp_of(&value)?.into()),
        Cast::Uuid => Value::Text(binary::uuid(&value)?.into()),
        Cast::Json => as_json(value)?,
        Cast::Bytes => {
            binary::bytes(&value, None)?;
            value
        }
    })
}

/// `as = "json"`: a string is taken for JSON text, which many producers send inside a string; other values are JSON already.
fn as_json(value: Value<'_>) -> Result<Value<'_>, CastError> {
    let Value::Text(text) = &value else { return Ok(value) };
    let raw: &serde_json::value::RawValue =
        serde_json::from_str(text).map_err(|_| CastError::kind("is a string that is not JSON text"))?;
    Ok(match Value::read(raw.get())? {
        Value::Null => Value::Null,
        Value::Bool(truth) => Value::Bool(truth),
        Value::Number(text) => Value::Number(text.into_owned().into()),
        Value::Text(text) => Value::Text(text.into_owned().into()),
        Value::Object(text) => Value::Object(text.into_owned().into()),
        Value::Array(text) => Value::Array(text.into_owned().into()),
    })
}

/// The text by which keys are compared: equal values of a column give equal texts, however they were written.
pub(crate) fn comparable<'a>(cell: &'a Cell, kind: &ColumnType) -> Cow<'a, str> {
    match (cell, kind) {
        (Cell::Text(text), ColumnType::Decimal { .. } | ColumnType::Numeric15) => number::shortest(text),
        (Cell::Text(text), ColumnType::Float { .. }) if &**text == "-0" => Cow::Borrowed("0"),
        (Cell::Text(text), _) => Cow::Borrowed(text),
        (Cell::Bytes(bytes), _) => Cow::Owned(encode_base64(bytes)),
        (Cell::Absent | Cell::Null, _) => Cow::Borrowed(""),
    }
}

/// Whether two values, of columns not known here, can't be the same key whatever their column's type.
pub(crate) fn certainly_different(left: &Value<'_>, right: &Value<'_>) -> bool {
    let spelled_alike = |left: &Value<'_>, right: &Value<'_>| left.clone().into_text() == right.clone().into_text();
    if spelled_alike(left, right) {
        return false;
    }
    let number = |value: &Value<'_>| match value {
        Value::Number(text) | Value::Text(text) => {
            Number::parse(text).ok().map(|number| number::shortest(&number.text()).into_owned())
        }
        _ => None,
    };
    // Which of these the column is, is not known here: what is equal as any of them may be one key.
    if let (Some(left), Some(right)) = (number(left), number(right)) {
        return left != right;
    }
    let same = |normal: fn(&Value<'_>) -> Result<String, CastError>| matches!((normal(left), normal(right)), (Ok(left), Ok(right)) if left == right);
    if same(binary::uuid)
        || same(|value| temporal::timestamp(value, true))
        || same(|value| temporal::time(value, false))
        || same(|value| binary::bytes(value, None).map(|bytes| encode_base64(&bytes)))
    {
        return false;
    }
    // `true` and `1` are the same in a boolean column.
    if let (Ok(left), Ok(right)) = (text::truth(left, true), text::truth(right, true)) {
        return left != right;
    }
    true
}

const fn bool_text(truth: bool) -> &'static str {
    if truth { "true" } else { "false" }
}

#[cfg(test)]
pub(crate) mod tests;
