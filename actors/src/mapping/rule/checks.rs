//! The checks of a column's rule: `min`, `max`, `length`, `pattern`, `one_of`. A value that fails one is a rejection whose code
//! is the check's name.
//!
//! Null passes all of them; whether it may be there is said by `required` and by the column. Sentences name the check and the
//! value's kind, never its contents.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};

use super::Reading;
use crate::{
    cast::{CastError, Number, TimeKind, TimeReader, Value},
    route::{Cast, ColumnRule, Length},
};

/// How much a compiled `pattern` may take, in bytes: enough for any that a person writes.
const PATTERN_BYTES: usize = 1 << 20;

/// A column's checks, compiled.
#[derive(Debug)]
pub(super) struct Checks {
    min: Option<Bound>,
    max: Option<Bound>,
    length: Option<Length>,
    pattern: Option<Regex>,
    one_of: Box<[Value<'static>]>,
}

/// One end of a range.
#[derive(Debug)]
struct Bound {
    /// As it is written in the route, for sentences.
    shown: Box<str>,
    edge: Edge,
}

#[derive(Debug)]
enum Edge {
    Number(Box<str>),
    Time { at: chrono::NaiveDateTime, reader: Reader },
}

/// How the values of a range of dates or times are read.
#[derive(Debug)]
enum Reader {
    /// They come from the rule's own reader, canonical.
    Canonical(TimeKind),
    /// They come as they are, in ISO 8601.
    Iso(TimeKind),
}

impl Reader {
    fn order(&self, value: &Value<'_>) -> Result<chrono::NaiveDateTime, CastError> {
        match self {
            Self::Canonical(kind) => TimeReader::iso(*kind).order(value),
            Self::Iso(kind) => {
                let reader = TimeReader::iso(*kind);
                reader.order(&reader.read(value)?)
            }
        }
    }
}

impl Checks {
    pub(super) fn compile(rule: &ColumnRule, cast: &Reading) -> Result<Option<Self>, String> {
        let bound = |name, value: &Option<serde_json::Value>| {
            value.as_ref().map(|value| Bound::compile(name, value, cast)).transpose()
        };
        let (min, max) = (bound("min", &rule.min)?, bound("max", &rule.max)?);
        if let (Some(min), Some(max)) = (&min, &max) {
            min.check_below(max)?;
        }
        let length = rule.length.filter(|length| length.min.is_some() || length.max.is_some());
        if let Some(Length { min: Some(min), max: Some(max) }) = length
            && min > max
        {
            return Err(format!("`length` has a `min` of {min} above its `max` of {max}, so that nothing fits"));
        }
        let pattern = rule.pattern.as_deref().map(compile_pattern).transpose()?;
        let one_of = rule.one_of.iter().map(|value| listed(value, cast)).collect::<Result<Box<[_]>, _>>()?;
        if min.is_none() && max.is_none() && length.is_none() && pattern.is_none() && one_of.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { min, max, length, pattern, one_of }))
    }

    pub(super) fn check(&self, value: &Value<'_>) -> Result<(), CastError> {
        if *value == Value::Null {
            return Ok(());
        }
        if let Some(min) = &self.min
            && min.compare(value, "min")? == Ordering::Less
        {
            return Err(failed("min", format!("is below `min`, which is {}", min.shown)));
        }
        if let Some(max) = &self.max
            && max.compare(value, "max")? == Ordering::Greater
        {
            return Err(failed("max", format!("is above `max`, which is {}", max.shown)));
        }
        if let Some(length) = self.length {
            check_length(length, value)?;
        }
        if let Some(pattern) = &self.pattern
            && !pattern.is_match(text_of(value, "pattern")?)
        {
            return Err(failed("pattern", format!("is {} that `pattern` does not match", value.kind())));
        }
        if !self.one_of.is_empty() && !self.one_of.iter().any(|listed| same(listed, value)) {
            let shown: Vec<_> = self.one_of.iter().take(20).map(show).collect();
            let more = if self.one_of.len() > 20 { ", …" } else { "" };
            return Err(failed(
                "one_of",
                format!("is {} that `one_of` does not list ({}{more})", value.kind(), shown.join(", ")),
            ));
        }
        Ok(())
    }
}

#[cold]
fn failed(code: &'static str, why: String) -> CastError {
    CastError { code, why }
}

fn show(value: &Value<'static>) -> String {
    match value {
        Value::Text(text) => format!("`{text}`"),
        other => text_or_json(other).to_owned(),
    }
}

impl Bound {
    fn compile(name: &str, value: &serde_json::Value, cast: &Reading) -> Result<Self, String> {
        let shown = value.to_string().into();
        let constant = Value::constant(value);
        let number = |text: &str| match Number::parse(text) {
            Ok(number) => Ok(Edge::Number(number.shortest().into())),
            Err(_) => Err(format!("`{name}` {value} is no number, and the values are")),
        };
        let time = |reader: Reader, constant: &Value<'_>| match reader.order(constant) {
            Ok(at) => Ok(Edge::Time { at, reader }),
            Err(error) => Err(format!("`{name}` {value} {}", error.why)),
        };
        let kind = match cast {
            Reading::Time(reader) => {
                let canonical = Reader::Canonical(reader.kind());
                // A bound is written as the values are, or as the column's are: TOML's own dates are the latter.
                let read = reader.read(&constant).or_else(|error| match canonical.order(&constant) {
                    Ok(_) => Ok(constant.clone()),
                    Err(_) => Err(format!("`{name}` {value} {}", error.why)),
                })?;
                return Ok(Self { shown, edge: time(canonical, &read)? });
            }
            Reading::Cast(Cast::Date) => Some(TimeKind::Date),
            Reading::Cast(Cast::Time) => Some(TimeKind::Time),
            Reading::Cast(Cast::Timestamp) => Some(TimeKind::Timestamp),
            Reading::Plain | Reading::Cast(Cast::Int | Cast::Decimal | Cast::Float) => None,
            Reading::Cast(_) => {
                return Err(format!(
                    "`{name}` compares numbers, dates and times, and `as` makes the value something else: take one of them out"
                ));
            }
        };
        let edge = match (&constant, kind, cast) {
            (Value::Text(_), Some(kind), _) => time(Reader::Iso(kind), &constant)?,
            (Value::Number(text), None, _) => number(text)?,
            (Value::Text(text), None, Reading::Cast(_)) => number(text)?,
            // Nothing says what the values are: the bound does.
            (Value::Text(text), None, _) => {
                let kinds = [TimeKind::Date, TimeKind::Timestamp, TimeKind::Time];
                let is_date = text.len() == 10;
                let found = kinds
                    .into_iter()
                    .skip(usize::from(!is_date))
                    .find_map(|kind| time(Reader::Iso(kind), &constant).ok());
                match found {
                    Some(edge) => edge,
                    None => number(text).map_err(|_| format!("`{name}` {value} is no number, date or time"))?,
                }
            }
            _ => return Err(format!("`{name}` is {}: write a number, or a date or time as a string", constant.kind())),
        };
        Ok(Self { shown, edge })
    }

    fn check_below(&self, max: &Self) -> Result<(), String> {
        let above = match (&self.edge, &max.edge) {
            (Edge::Number(min), Edge::Number(max)) => match (Number::parse(min), Number::parse(max)) {
                (Ok(min), Ok(max)) => min.compare(&max) == Ordering::Greater,
                _ => false,
            },
            (Edge::Time { at: min, .. }, Edge::Time { at: max, .. }) => min > max,
            _ => {
                return Err(
                    "`min` and `max` are of different kinds: write two numbers, or two dates or times".to_owned()
                );
            }
        };
        if above {
            return Err(format!("`min` {} is above `max` {}, so that nothing fits", self.shown, max.shown));
        }
        Ok(())
    }

    fn compare(&self, value: &Value<'_>, name: &str) -> Result<Ordering, CastError> {
        match &self.edge {
            Edge::Number(edge) => {
                let (Value::Number(text) | Value::Text(text)) = value else {
                    return Err(CastError::kind(format!("is {}, where `{name}` compares numbers", value.kind())));
                };
                if let (Value::Number(_), Ok(left), Ok(right)) = (value, small(text), small(edge)) {
                    return Ok(left.cmp(&right));
                }
                let bad =
                    || CastError::kind(format!("is {} that is not a number, which `{name}` compares", value.kind()));
                let number = Number::parse(text).map_err(|_| bad())?;
                // The bound was read when the route was compiled.
                Ok(number.compare(&Number::parse(edge).map_err(|_| bad())?))
            }
            Edge::Time { at, reader } => Ok(reader.order(value)?.cmp(at)),
        }
    }
}

/// A whole number of few digits, the common case.
fn small(text: &str) -> Result<i64, std::num::ParseIntError> {
    text.parse()
}

fn compile_pattern(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!(
                "`pattern` takes more than {} KiB when it is compiled: shorten its repetitions",
                PATTERN_BYTES >> 10
            )
        }
        error => format!("`pattern` can't be read: {error}"),
    })
}

fn check_length(length: Length, value: &Value<'_>) -> Result<(), CastError> {
    let text = text_of(value, "length")?;
    let characters = text.chars().count() as u64;
    if let Some(min) = length.min.filter(|min| characters < *min) {
        return Err(failed("length", format!("has {characters} characters, at least {min} are asked for by `length`")));
    }
    if let Some(max) = length.max.filter(|max| characters > *max) {
        return Err(failed("length", format!("has {characters} characters, at most {max} are allowed by `length`")));
    }
    Ok(())
}

/// The text of a scalar; objects and arrays have none to check.
fn text_of<'v>(value: &'v Value<'_>, check: &str) -> Result<&'v str, CastError> {
    match value {
        Value::Object(_) | Value::Array(_) => {
            Err(CastError::kind(format!("is {}, where `{check}` looks at a text", value.kind())))
        }
        other => Ok(text_or_json(other)),
    }
}

fn text_or_json<'v>(value: &'v Value<'_>) -> &'v str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(text) | Value::Text(text) | Value::Object(text) | Value::Array(text) => text,
    }
}

/// A value of `one_of` as it comes out of the cast.
fn listed(value: &serde_json::Value, cast: &Reading) -> Result<Value<'static>, String> {
    if value.is_object() || value.is_array() || value.is_null() {
        return Err(format!("`one_of` lists {value}: it takes texts, numbers, true and false"));
    }
    let refused = |error: CastError| format!("`one_of` lists {value}, which {}", error.why);
    cast.read(Value::constant(value)).map_err(refused)
}

/// Whether a value is one that is listed: texts letter by letter, numbers by their value, also where one of the two is text.
fn same(listed: &Value<'_>, value: &Value<'_>) -> bool {
    let is_number = matches!(listed, Value::Number(_)) || matches!(value, Value::Number(_));
    let (left, right) = (text_or_json(listed), text_or_json(value));
    match (listed, value) {
        (Value::Object(_) | Value::Array(_), _) | (_, Value::Object(_) | Value::Array(_)) => false,
        _ if left == right => true,
        _ if is_number => match (Number::parse(left), Number::parse(right)) {
            (Ok(left), Ok(right)) => left.compare(&right) == Ordering::Equal,
            _ => false,
        },
        _ => false,
    }
}
