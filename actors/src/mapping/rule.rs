//! What a column's rule does to a value between its source and the column's type: cleaned, read as something, checked.
//!
//! Compiled once per route. Called by [`crate::mapping`] for each value that is there. A value that nothing changes is not
//! copied.

use crate::{
    cast::{self, CastError, TimeKind, TimeReader, Value},
    clean::Cleaning,
    route::{Cast, ColumnRule},
    schema::ColumnType,
};

mod checks;

use checks::Checks;

/// A column's cleaning steps, cast and checks, compiled.
#[derive(Debug, Default)]
pub(crate) struct ValueRule {
    clean: Cleaning,
    cast: Reading,
    checks: Option<Box<Checks>>,
}

/// What a value is read as before it goes to its column.
#[derive(Debug, Default)]
enum Reading {
    /// As it is.
    #[default]
    Plain,
    Cast(Cast),
    /// A date or time, with a format or a zone.
    Time(Box<TimeReader>),
}

impl ValueRule {
    /// Compiles what a rule says of values, for a column whose type is not known here: a `format` or `zone` without `as`
    /// reads what the format has.
    ///
    /// # Errors
    /// A sentence that names what can't work and the remedy.
    pub(crate) fn compile(rule: &ColumnRule) -> Result<Self, String> {
        Self::compile_for(rule, &ColumnType::Other)
    }

    /// The same for a column of this type, which says what a `format` or `zone` without `as` reads.
    ///
    /// # Errors
    /// A sentence that names what can't work and the remedy.
    pub(crate) fn compile_for(rule: &ColumnRule, column: &ColumnType) -> Result<Self, String> {
        let cast = Reading::compile(rule, column)?;
        let checks = Checks::compile(rule, &cast)?.map(Box::new);
        Ok(Self { clean: Cleaning::compile(&rule.clean)?, cast, checks })
    }

    /// Whether values pass as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.clean.is_empty() && matches!(self.cast, Reading::Plain) && self.checks.is_none()
    }

    /// The value after cleaning, cast and checks.
    ///
    /// # Errors
    /// The value can't be read as what the rule says, or fails a check.
    pub(crate) fn apply<'a>(&self, value: Value<'a>) -> Result<Value<'a>, CastError> {
        let value = if self.clean.is_empty() { value } else { self.clean.apply(value)? };
        let value = self.cast.read(value)?;
        if let Some(checks) = &self.checks {
            checks.check(&value)?;
        }
        Ok(value)
    }
}

impl Reading {
    fn compile(rule: &ColumnRule, column: &ColumnType) -> Result<Self, String> {
        let named = match (&rule.format, &rule.zone) {
            (None, None) => return Ok(rule.cast.map_or(Self::Plain, Self::Cast)),
            (Some(_), None) => "`format`",
            (None, Some(_)) => "`zone`",
            (Some(_), Some(_)) => "`format` and `zone`",
        };
        let kind = match (rule.cast, column) {
            (Some(Cast::Date), _) | (None, ColumnType::Date) => Some(TimeKind::Date),
            (Some(Cast::Time), _) | (None, ColumnType::Time { .. }) => Some(TimeKind::Time),
            (Some(Cast::Timestamp), _) | (None, ColumnType::Timestamp { .. }) => Some(TimeKind::Timestamp),
            (None, ColumnType::Text { .. } | ColumnType::Other | ColumnType::Json { .. }) => None,
            (Some(_), _) => {
                return Err(format!(
                    "{named} is for dates and times: take it out, or write `as` as \"date\", \"time\" or \"timestamp\""
                ));
            }
            (None, _) => {
                return Err(format!(
                    "{named} is for dates and times, and the column is neither: take it out, or write `as` as \"date\", \"time\" or \"timestamp\""
                ));
            }
        };
        let reader = TimeReader::compile(kind, rule.format.as_deref(), rule.zone.as_deref())?;
        Ok(Self::Time(Box::new(reader)))
    }

    fn read<'a>(&self, value: Value<'a>) -> Result<Value<'a>, CastError> {
        match self {
            Self::Plain => Ok(value),
            Self::Cast(cast) => cast::recast(value, *cast),
            Self::Time(reader) => reader.read(&value),
        }
    }
}

#[cfg(test)]
mod tests;
