//! Checks of what forms and bodies give, each with the field and a stable code.

use super::FieldError;
use crate::resources::{MOST_NAME_CHARS, is_name};

/// What is wrong with one field.
pub(crate) fn wrong(field: &str, code: &'static str, message: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), code, message: message.into() }
}

/// What is wrong with a name, if anything.
pub(crate) fn name_complaint(field: &str, name: &str) -> Option<FieldError> {
    if name.is_empty() {
        return Some(wrong(field, "missing", format!("give a {field}")));
    }
    (!is_name(name))
        .then(|| wrong(field, "not_a_name", format!("use up to {MOST_NAME_CHARS} letters, digits, `-`, `_` and `.`")))
}
