//! What a column's rule does to a value between its source and the column's type: cleaned, read as something, checked.
//!
//! Compiled once per route. Called by [`crate::mapping`] for each value that is there.

use crate::{
    cast::{self, CastError, Value},
    clean,
    route::{Cast, CleanStep, ColumnRule},
};

/// A column's cleaning steps, cast and checks, compiled.
#[derive(Debug, Default)]
pub(crate) struct ValueRule {
    clean: Box<[CleanStep]>,
    cast: Option<Cast>,
}

impl ValueRule {
    /// Compiles what a rule says of values.
    ///
    /// # Errors
    /// A sentence that names what can't work and the remedy.
    pub(crate) fn compile(rule: &ColumnRule) -> Result<Self, String> {
        Ok(Self { clean: rule.clean.clone().into(), cast: rule.cast })
    }

    /// Whether values pass as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.clean.is_empty() && self.cast.is_none()
    }

    /// The value after cleaning, cast and checks.
    ///
    /// # Errors
    /// The value can't be read as what the rule says, or fails a check.
    pub(crate) fn apply<'a>(&self, value: Value<'a>) -> Result<Value<'a>, CastError> {
        let value = clean::clean(value, &self.clean);
        match self.cast {
            Some(cast) => cast::recast(value, cast),
            None => Ok(value),
        }
    }
}
