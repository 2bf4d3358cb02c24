//! The cleaning steps of a route's column: what is done to a value before it is cast.
//!
//! A [`Cleaning`] is compiled once per route; values that a step is not for pass untouched. No step panics, and each takes
//! time linear in its text. Called by [`crate::mapping`] for each value whose column has steps.

use std::{borrow::Cow, collections::BTreeMap};

use crate::{
    cast::{CastError, Number, Value},
    route::CleanStep,
};

mod currency;
mod entities;
mod html;
mod locale;
mod text;

use locale::Locale;

/// A column's steps, in order.
#[derive(Debug, Default)]
pub(crate) struct Cleaning(Box<[Step]>);

#[derive(Debug)]
enum Step {
    Trim,
    Collapse,
    Lower,
    Upper,
    Title,
    Digits,
    StripHtml,
    NullIfEmpty,
    NullIf(Box<[Box<str>]>),
    Replace(Box<str>, Box<str>),
    Truncate(usize),
    Round(usize),
    Map(Table),
    Number(&'static Locale),
}

/// The table of a `map` step.
#[derive(Debug)]
struct Table {
    listed: BTreeMap<Box<str>, Value<'static>>,
    others: Option<Value<'static>>,
}

impl Cleaning {
    /// Compiles the steps.
    ///
    /// # Errors
    /// A sentence that names the step that can't work, and the remedy.
    pub(crate) fn compile(steps: &[CleanStep]) -> Result<Self, String> {
        steps.iter().map(Step::compile).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is no step.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value after all steps, in order.
    ///
    /// # Errors
    /// A `map` that does not list the value, a `number` that can't read it.
    pub(crate) fn apply<'a>(&self, value: Value<'a>) -> Result<Value<'a>, CastError> {
        self.0.iter().try_fold(value, |value, step| step.apply(value))
    }
}

impl Step {
    fn compile(step: &CleanStep) -> Result<Self, String> {
        Ok(match step {
            CleanStep::Trim => Self::Trim,
            CleanStep::Collapse => Self::Collapse,
            CleanStep::Lower => Self::Lower,
            CleanStep::Upper => Self::Upper,
            CleanStep::Title => Self::Title,
            CleanStep::Digits => Self::Digits,
            CleanStep::StripHtml => Self::StripHtml,
            CleanStep::NullIfEmpty => Self::NullIfEmpty,
            CleanStep::NullIf(texts) if texts.is_empty() => {
                return Err("`null_if` lists no text: name the texts that stand for null".to_owned());
            }
            CleanStep::NullIf(texts) => Self::NullIf(texts.iter().map(|text| text.as_str().into()).collect()),
            CleanStep::Replace([from, _]) if from.is_empty() => {
                return Err("`replace` looks for an empty text: its first text must not be empty".to_owned());
            }
            CleanStep::Replace([from, to]) => Self::Replace(from.as_str().into(), to.as_str().into()),
            CleanStep::Truncate(0) => {
                return Err("`truncate` to 0 characters leaves nothing: give it 1 or more".to_owned());
            }
            CleanStep::Truncate(characters) => Self::Truncate(*characters as usize),
            CleanStep::Round(digits) => Self::Round(*digits as usize),
            CleanStep::Map(table) => Self::Map(Table::compile(table)?),
            CleanStep::Number(tag) => Self::Number(Locale::find(tag)?),
        })
    }

    fn apply<'a>(&self, value: Value<'a>) -> Result<Value<'a>, CastError> {
        match (self, value) {
            (Self::Map(table), value) => table.look_up(value),
            (Self::Round(digits), Value::Number(text)) => Ok(Value::Number(round(text, *digits))),
            (Self::Round(digits), Value::Text(text)) => Ok(Value::Text(round(text, *digits))),
            (_, Value::Text(text)) => self.apply_to_text(text),
            (_, other) => Ok(other),
        }
    }

    fn apply_to_text<'a>(&self, text: Cow<'a, str>) -> Result<Value<'a>, CastError> {
        Ok(Value::Text(match self {
            Self::Trim => text::trim(text),
            Self::Collapse => text::collapse(text),
            Self::Lower => text::lower(text),
            Self::Upper => text::upper(text),
            Self::Title => text::title(&text).into(),
            Self::Digits => text::digits(text),
            Self::StripHtml => html::strip(text),
            Self::NullIfEmpty if text.is_empty() => return Ok(Value::Null),
            Self::NullIf(texts) if texts.iter().any(|null| **null == *text) => return Ok(Value::Null),
            Self::Replace(from, to) if text.contains(&**from) => text.replace(&**from, to).into(),
            Self::Truncate(characters) => text::truncate(text, *characters),
            Self::Number(locale) => return locale.read(&text).map(|number| Value::Number(number.into())),
            Self::NullIfEmpty | Self::NullIf(_) | Self::Replace(..) | Self::Round(_) | Self::Map(_) => text,
        }))
    }
}

impl Table {
    fn compile(table: &BTreeMap<String, serde_json::Value>) -> Result<Self, String> {
        if table.is_empty() {
            return Err("`map` lists nothing: give it texts and their values, and `\"*\"` for all others".to_owned());
        }
        let others = table.get("*").map(|value| Value::constant(value));
        let listed = table.iter().filter(|(text, _)| *text != "*");
        Ok(Self {
            listed: listed.map(|(text, value)| (text.as_str().into(), Value::constant(value))).collect(),
            others,
        })
    }

    /// Texts, numbers and truth values are looked up by their text, a number also in its shortest form.
    fn look_up<'a>(&self, value: Value<'a>) -> Result<Value<'a>, CastError> {
        let found = match &value {
            Value::Null => return Ok(Value::Null),
            Value::Text(text) => self.listed.get(&**text),
            Value::Bool(truth) => self.listed.get(if *truth { "true" } else { "false" }),
            Value::Number(text) => self.listed.get(&**text).or_else(|| {
                let number = Number::parse(text).ok()?;
                self.listed.get(number.shortest().as_str())
            }),
            Value::Object(_) | Value::Array(_) => None,
        };
        found.or(self.others.as_ref()).cloned().ok_or_else(|| CastError {
            code: "map",
            why: format!("is {} that `map` does not list: add it there, or `\"*\"` for all others", value.kind()),
        })
    }
}

/// The number with so many digits after the point, half away from zero; what is no number, and what has no more digits than
/// that, stays as it is.
fn round(text: Cow<'_, str>, digits: usize) -> Cow<'_, str> {
    match Number::parse(&text).ok().and_then(|number| number.rounded(digits)) {
        Some(rounded) => rounded.into(),
        None => text,
    }
}

#[cfg(test)]
mod tests;
