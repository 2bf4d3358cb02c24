//! Expressions of the Common Expression Language (CEL): a column's value, a route's filter.
//!
//! Compiled once per route; called by [`crate::mapping`] for each message.

use crate::{
    cast::{CastError, Value},
    mapping::Whence,
    message::Message,
};

/// An expression, compiled.
#[derive(Debug)]
pub(crate) struct Expression {
    text: Box<str>,
}

/// What an expression can speak of, for one message: `data`, `key`, `topic`, `action`, `id`, `application`, `received`, and in a
/// child table `item` and `index`.
#[derive(Debug)]
#[expect(dead_code, reason = "read by the expressions to come")]
pub(crate) struct Scope<'m> {
    message: &'m Message,
    whence: Whence<'m>,
    /// The element of the child's array, raw JSON, and its place from 1.
    element: Option<(&'m str, usize)>,
}

impl<'m> Scope<'m> {
    /// Of a message, or of an element of one of its arrays.
    pub(crate) fn new(message: &'m Message, whence: Whence<'m>, element: Option<(&'m str, usize)>) -> Self {
        Self { message, whence, element }
    }
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// A sentence with what can't be read, and where.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.into() })
    }

    /// Whether it speaks of this variable.
    pub(crate) fn mentions(&self, variable: &str) -> bool {
        self.text.contains(variable)
    }

    /// What it comes to.
    ///
    /// # Errors
    /// It can't be worked out for this message: a field that is missing, types that don't go together.
    pub(crate) fn value(&self, _scope: &Scope<'_>) -> Result<Value<'static>, CastError> {
        Err(CastError { code: "expression", why: "can't be worked out by this version".into() })
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// As for [`Self::value`]; or it is neither true nor false.
    pub(crate) fn truth(&self, scope: &Scope<'_>) -> Result<bool, CastError> {
        match self.value(scope)? {
            Value::Bool(truth) => Ok(truth),
            _ => Err(CastError { code: "expression", why: "is neither true nor false".into() }),
        }
    }
}
