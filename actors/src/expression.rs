//! Expressions of the Common Expression Language (CEL): a column's value, a route's filter.
//!
//! Compiled once per route; called by [`crate::mapping`] for each message. An expression always ends: its cost is bounded
//! before it runs. It never panics, and what it says of a failure has no word of the record.

use cel::{
    Context, Value as Outcome,
    common::ast::{IdedExpr, SourceInfo},
};

use crate::{
    cast::{CastError, Value},
    expression::{cost::Limit, uses::Uses},
};

mod cost;
mod failure;
mod functions;
mod json;
mod mixed;
mod scope;
mod uses;

pub(crate) use scope::Scope;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 4096;

/// The stack of the thread that parses: the parser calls itself once for each operator, of which [`MAX_BYTES`] has thousands.
const PARSER_STACK_BYTES: usize = 64 << 20;

/// An expression, compiled.
#[derive(Debug)]
pub(crate) struct Expression {
    text: Box<str>,
    program: IdedExpr,
    uses: Uses,
    limit: Option<Limit>,
}

impl Expression {
    /// Compiles an expression.
    ///
    /// # Errors
    /// A sentence with what can't be read, and where.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("`expr` is empty: write an expression, such as `data.price * 1.1`".to_owned());
        }
        if text.len() > MAX_BYTES {
            return Err(format!("`expr` has {} bytes, at most {MAX_BYTES} are read", text.len()));
        }
        let owned = text.to_owned();
        let parser = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES).spawn(move || Self::parse(&owned));
        let parser = parser.map_err(|error| format!("`expr` can't be read for want of a thread: {error}"))?;
        match parser.join() {
            Ok(outcome) => outcome,
            Err(_) => Err("`expr` can't be read".to_owned()),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let parser = functions::ENV.parser();
        let (mut program, info) =
            parser.parse_with_source_info(text).map_err(|errors| failure::syntax(text, &errors))?;
        let located = |info: &SourceInfo, node, why: &str| {
            let (line, column) = failure::place(text, info, node);
            failure::at(text, line, column, why)
        };
        let uses = uses::look_over(&mut program).map_err(|(node, why)| located(&info, node, &why))?;
        let limit = Limit::of(&program).map_err(|why| format!("`expr` can cost too much: {why}"))?;
        mixed::loosen(&mut program);
        Ok(Self { text: text.into(), program, uses, limit })
    }

    /// Whether it speaks of this variable.
    pub(crate) fn mentions(&self, variable: &str) -> bool {
        self.uses.variables.contains(variable)
    }

    /// What it comes to.
    ///
    /// # Errors
    /// It can't be worked out for this message: a field that is missing, types that don't go together.
    pub(crate) fn value(&self, scope: &Scope<'_>) -> Result<Value<'static>, CastError> {
        if let Some(limit) = &self.limit
            && !limit.allows(scope)
        {
            return Err(failure::error(
                "could take too long for a record of this size: its loops within loops are for smaller records",
            ));
        }
        scope.read(&self.uses)?;
        let variables = scope::Variables { scope, uses: &self.uses };
        let mut context = Context::with_env(std::sync::Arc::clone(&functions::ENV));
        context.set_variable_resolver(&variables);
        match Outcome::resolve_val(&self.program, &context) {
            Ok(result) => json::from_val(result.as_ref()),
            Err(error) => Err(failure::of_execution(&error, &self.text)),
        }
    }

    /// Whether it is true.
    ///
    /// # Errors
    /// As for [`Self::value`]; or it is neither true nor false.
    pub(crate) fn truth(&self, scope: &Scope<'_>) -> Result<bool, CastError> {
        match self.value(scope)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(failure::error(format!("comes to {}, where true or false is expected", other.kind()))),
        }
    }
}

#[cfg(test)]
mod tests;
