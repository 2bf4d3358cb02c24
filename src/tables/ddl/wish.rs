//! What a route says of a column's type, in words that all dialects share.

use serde_json::Value;
use tidegate_actors::route::{Cast, CleanStep, ColumnRule, ColumnSource, Meta};

use super::Dialect;

/// Longest text in a key where nothing else is said: every kind can index it.
pub(super) const KEY_CHARS: u64 = 255;

/// What a column should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Whole numbers of 64 bits.
    Int,
    /// Exact decimals; digits after the point where the route rounds.
    Decimal {
        scale: Option<u32>,
    },
    Float,
    Bool,
    /// Text, of so many characters at most.
    Text {
        max: Option<u64>,
    },
    Date,
    Time,
    /// With a zone: an instant.
    Timestamp {
        zone: bool,
    },
    Uuid,
    Json,
    Bytes,
    /// The very type of another column.
    Declared(String),
}

/// A column to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) wish: Wish,
    pub(super) required: bool,
    /// A literal of the dialect.
    pub(super) default: Option<String>,
}

impl Made {
    pub(super) fn of(dialect: Dialect, name: &str, source: Option<&ColumnSource>, key: bool) -> Self {
        let plain = ColumnRule::default();
        let rule = match source {
            Some(ColumnSource::Detailed(rule)) => rule,
            _ => &plain,
        };
        let mut wish = Wish::of_rule(rule);
        if key && wish == (Wish::Text { max: None }) {
            wish = Wish::Text { max: Some(KEY_CHARS) };
        }
        let default = rule.default.as_ref().and_then(|value| dialect.literal(value, &wish));
        Self { name: name.into(), wish, required: key || rule.required, default }
    }

    /// The column as it stands in CREATE TABLE.
    pub(super) fn definition(&self, dialect: Dialect, not_null: bool) -> String {
        let mut definition = format!("{} {}", dialect.quote(&self.name), dialect.type_of(&self.wish));
        if not_null {
            definition += " NOT NULL";
        } else if dialect == Dialect::SqlServer {
            // There a database's setting decides what a column without either word is.
            definition += " NULL";
        }
        if let Some(default) = &self.default {
            definition += &format!(" DEFAULT {default}");
        }
        definition
    }
}

impl Wish {
    fn of_rule(rule: &ColumnRule) -> Self {
        let longest = rule.length.and_then(|length| length.max).or_else(|| cut(&rule.clean));
        match rule.cast {
            Some(Cast::Int) => return Self::Int,
            Some(Cast::Decimal) => return Self::Decimal { scale: rounded(&rule.clean) },
            Some(Cast::Float) => return Self::Float,
            Some(Cast::Bool) => return Self::Bool,
            Some(Cast::Date) => return Self::Date,
            Some(Cast::Time) => return Self::Time,
            // Only one that is told its zone can be sure of an instant; a column without one takes both.
            Some(Cast::Timestamp) => return Self::Timestamp { zone: rule.zone.is_some() },
            Some(Cast::Uuid) => return Self::Uuid,
            Some(Cast::Json) => return Self::Json,
            Some(Cast::Bytes) => return Self::Bytes,
            Some(Cast::Text) => return Self::Text { max: longest.or_else(|| longest_of(&rule.one_of)) },
            None => {}
        }
        if let Some(meta) = rule.meta {
            return match meta {
                Meta::Received => Self::Timestamp { zone: true },
                Meta::Index => Self::Int,
                Meta::Action => Self::Text { max: Some(6) },
                Meta::Topic | Meta::Application => Self::Text { max: Some(64) },
                Meta::Id => Self::Text { max: Some(64) },
                Meta::Key => Self::Text { max: None },
            };
        }
        if let Some(value) = &rule.value {
            return Self::of_value(value);
        }
        if rounded(&rule.clean).is_some() || rule.clean.iter().any(|step| matches!(step, CleanStep::Number(_))) {
            return Self::Decimal { scale: rounded(&rule.clean) };
        }
        if let Some(bound) = rule.min.as_ref().or(rule.max.as_ref()) {
            return match bound {
                Value::Number(_) => Self::Decimal { scale: None },
                Value::String(text) if text.parse::<chrono::NaiveDate>().is_ok() => Self::Date,
                Value::String(text) if text.contains(':') && !text.contains('-') => Self::Time,
                _ => Self::Timestamp { zone: rule.zone.is_some() },
            };
        }
        if longest.is_some() || rule.pattern.is_some() {
            return Self::Text { max: longest };
        }
        if let Some(value) = rule.one_of.first() {
            return match value {
                Value::String(_) => Self::Text { max: longest_of(&rule.one_of) },
                other => Self::of_value(other),
            };
        }
        match &rule.default {
            // A default that is a text says no more than that it is one.
            Some(Value::String(_)) | None => Self::Text { max: None },
            Some(value) => Self::of_value(value),
        }
    }

    /// What would hold such a value.
    pub(super) fn of_value(value: &Value) -> Self {
        match value {
            Value::Bool(_) => Self::Bool,
            Value::Number(number) if number.is_i64() || number.is_u64() => Self::Int,
            Value::Number(_) => Self::Decimal { scale: None },
            Value::Object(_) | Value::Array(_) => Self::Json,
            Value::String(text) => Self::Text { max: Some(text.chars().count().max(KEY_CHARS as usize) as u64) },
            Value::Null => Self::Text { max: None },
        }
    }
}

fn cut(steps: &[CleanStep]) -> Option<u64> {
    steps.iter().rev().find_map(|step| match step {
        CleanStep::Truncate(chars) => Some(u64::from(*chars)),
        _ => None,
    })
}

fn rounded(steps: &[CleanStep]) -> Option<u32> {
    steps.iter().rev().find_map(|step| match step {
        CleanStep::Round(digits) => Some(*digits),
        _ => None,
    })
}

fn longest_of(texts: &[Value]) -> Option<u64> {
    texts.iter().filter_map(Value::as_str).map(|text| text.chars().count() as u64).max()
}
