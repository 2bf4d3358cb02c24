//! Reading a TOML table field by field, so that every mistake is told with its line and column and the nearest right name.
//!
//! Mistakes are collected, not thrown: a file with five of them is answered with five lines. What is read in spite of a
//! mistake is a placeholder and goes nowhere.

use std::{cell::RefCell, fmt, ops::Range, rc::Rc};

use serde::de::{DeserializeOwned, value::StrDeserializer};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::databases::nearest;

/// A mistake in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

/// Where a value stands: a byte offset in the file.
pub(crate) type Place = usize;

/// The mistakes found so far, and the text they stand in.
#[derive(Clone)]
pub(crate) struct Mistakes<'t> {
    text: &'t str,
    found: Rc<RefCell<Vec<Mistake>>>,
}

impl<'t> Mistakes<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, found: Rc::default() }
    }

    pub(crate) fn add(&self, place: Place, message: impl Into<String>) {
        self.found.borrow_mut().push(mistake_at(self.text, place, message));
    }

    /// All of them, in the order of the file.
    pub(crate) fn into_sorted(self) -> Vec<Mistake> {
        let mut found = self.found.take();
        found.sort();
        found
    }
}

/// A mistake at a byte offset of a text.
pub(crate) fn mistake_at(text: &str, place: Place, message: impl Into<String>) -> Mistake {
    let before = text.get(..place.min(text.len())).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Mistake {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message: message.into(),
    }
}

/// A text with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// One table that is being read. What was asked for is known; [`finish`](Self::finish) reports the rest.
pub(crate) struct Fields<'a, 't> {
    /// What the table is, for messages: "a destination".
    what: &'static str,
    table: &'a DeTable<'t>,
    place: Place,
    asked: Vec<&'static str>,
    pub(crate) mistakes: Mistakes<'t>,
}

impl<'a, 't> Fields<'a, 't> {
    pub(crate) fn new(what: &'static str, table: &'a DeTable<'t>, span: Range<usize>, mistakes: &Mistakes<'t>) -> Self {
        Self { what, table, place: span.start, asked: Vec::new(), mistakes: mistakes.clone() }
    }

    /// The table in a value, or a mistake.
    pub(crate) fn of(what: &'static str, value: &'a Spanned<DeValue<'t>>, mistakes: &Mistakes<'t>) -> Option<Self> {
        match value.get_ref().as_table() {
            Some(table) => Some(Self::new(what, table, value.span(), mistakes)),
            None => {
                mistakes.add(value.span().start, format!("{what} is a table, not {}", described(value.get_ref())));
                None
            }
        }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    /// The value under this name, if there is one.
    pub(crate) fn get(&mut self, name: &'static str) -> Option<&'a Spanned<DeValue<'t>>> {
        self.asked.push(name);
        self.table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
    }

    /// A text that must be there.
    pub(crate) fn text(&mut self, name: &'static str) -> Text {
        if let Some(text) = self.optional_text(name) {
            return text;
        }
        if !self.table.iter().any(|(key, _)| key.get_ref() == name) {
            self.mistakes.add(self.place, format!("{} needs `{name}`", self.what));
        }
        Text { value: String::new(), place: self.place }
    }

    /// A text that may be left out.
    pub(crate) fn optional_text(&mut self, name: &'static str) -> Option<Text> {
        let value = self.get(name)?;
        text_of(name, value, &self.mistakes)
    }

    /// A list of texts; empty where it is left out.
    pub(crate) fn texts(&mut self, name: &'static str) -> Vec<Text> {
        let Some(value) = self.get(name) else { return Vec::new() };
        match value.get_ref().as_array() {
            Some(items) => items.iter().filter_map(|item| text_of(name, item, &self.mistakes)).collect(),
            None => {
                self.mistakes.add(
                    value.span().start,
                    format!("`{name}` is a list of texts, such as [\"id\"], not {}", described(value.get_ref())),
                );
                Vec::new()
            }
        }
    }

    /// True or false; false where it is left out.
    pub(crate) fn flag(&mut self, name: &'static str) -> bool {
        let Some(value) = self.get(name) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            let found = described(value.get_ref());
            self.mistakes.add(value.span().start, format!("`{name}` is true or false, not {found}"));
            false
        })
    }

    /// A whole number with its place, if it is one.
    pub(crate) fn whole_number(&mut self, name: &'static str) -> Option<(i64, Place)> {
        let value = self.get(name)?;
        let place = value.span().start;
        // In any base, and with `_` between digits, as TOML has it.
        let read = match value.get_ref() {
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            other => {
                let found = if matches!(other, DeValue::Float(_)) { "a fraction" } else { described(other) };
                self.mistakes.add(place, format!("`{name}` is a whole number, not {found}"));
                return None;
            }
        };
        Some((read.unwrap_or(i64::MAX), place))
    }

    /// One word of those that the type knows.
    pub(crate) fn choice<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let text = self.optional_text(name)?;
        choice(name, &text, &self.mistakes)
    }

    /// The tables of a list of tables (`[[name]]`).
    pub(crate) fn tables(&mut self, name: &'static str, what: &'static str) -> Vec<Self> {
        let Some(value) = self.get(name) else { return Vec::new() };
        match value.get_ref().as_array() {
            Some(items) => items.iter().filter_map(|item| Self::of(what, item, &self.mistakes)).collect(),
            None => {
                self.mistakes.add(value.span().start, format!("write `[[{name}]]`: there may be several"));
                Vec::new()
            }
        }
    }

    /// Every key with its value, for tables whose names are the operator's own.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Text, &'a Spanned<DeValue<'t>>)> + use<'a, 't> {
        self.table.iter().map(|(key, value)| {
            let text = Text { value: key.get_ref().to_string(), place: key.span().start };
            (text, value)
        })
    }

    /// Reports every name that nobody asked for.
    pub(crate) fn finish(self) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(&name) {
                let hint = hint(name, &self.asked);
                self.mistakes.add(key.span().start, format!("{} has no `{name}`; {hint}", self.what));
            }
        }
    }
}

/// The value of the word, by serde's own list of the type's words.
pub(crate) fn choice<T: DeserializeOwned>(field: &str, text: &Text, mistakes: &Mistakes<'_>) -> Option<T> {
    match T::deserialize(StrDeserializer::<Unknown>::new(&text.value)) {
        Ok(value) => Some(value),
        Err(Unknown(words)) => {
            let hint = hint(&text.value, words);
            mistakes.add(text.place, format!("`{}` is not a value of `{field}`; {hint}", text.value));
            None
        }
    }
}

/// The text in a value, or a mistake.
pub(crate) fn text_of(field: &str, value: &Spanned<DeValue<'_>>, mistakes: &Mistakes<'_>) -> Option<Text> {
    match value.get_ref().as_str() {
        Some(text) => Some(Text { value: text.to_owned(), place: value.span().start }),
        None => {
            mistakes.add(value.span().start, format!("`{field}` is a text, not {}", described(value.get_ref())));
            None
        }
    }
}

/// What a value is, in a reader's words. Never the value: it may be a password.
pub(crate) fn described(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// "did you mean `x`?", or the whole list.
pub(crate) fn hint(name: &str, right: &[&str]) -> String {
    match nearest(name, right.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", right.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// Catches serde's list of a type's words.
#[derive(Debug)]
struct Unknown(&'static [&'static str]);

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not one of the words")
    }
}

impl std::error::Error for Unknown {}

impl serde::de::Error for Unknown {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self(&[])
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(expected)
    }
}
