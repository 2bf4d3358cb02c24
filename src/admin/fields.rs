//! Checks of what forms and bodies give, each with the field and a stable code.

use super::FieldError;

/// What is wrong with one field.
pub(crate) fn wrong(field: &str, code: &'static str, message: impl Into<String>) -> FieldError {
    FieldError { field: field.into(), code, message: message.into() }
}

/// Longest name, in characters.
const MOST_CHARS: usize = 64;

/// Names stand in keys of Redis, in metrics and in addresses of the console.
pub(crate) fn name_complaint(field: &str, name: &str) -> Option<FieldError> {
    if name.is_empty() {
        return Some(wrong(field, "missing", format!("give a {field}")));
    }
    let right = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name = name.chars().count() <= MOST_CHARS && name.chars().all(right);
    (!is_name).then(|| wrong(field, "not_a_name", format!("use up to {MOST_CHARS} letters, digits, `-`, `_` and `.`")))
}
