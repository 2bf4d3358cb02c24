//! Why an expression can't be compiled, and where; why it can't be worked out for a record, without a word of its contents.

use cel::{ExecutionError, ParseErrors, common::ast::SourceInfo};

use crate::cast::CastError;

/// A sentence with line, column, and a caret under the place.
pub(super) fn at(text: &str, line: usize, column: usize, why: &str) -> String {
    let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    // A long line is shown around the place.
    let start = column.saturating_sub(41);
    let piece: String = shown.chars().skip(start).take(80).collect();
    let caret = " ".repeat(column.saturating_sub(1).saturating_sub(start).min(80));
    format!("`expr` can't be read at line {line}, column {column}: {why}\n  {piece}\n  {caret}^")
}

/// The place of a node: line and column from 1, in characters.
pub(super) fn place(text: &str, info: &SourceInfo, node: u64) -> (usize, usize) {
    let offset = info.offset_for(node).map_or(0, |(start, _)| start as usize);
    // The parser counts bytes.
    let before = text.get(..offset).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    (line, column)
}

/// What the parser found first.
pub(super) fn syntax(text: &str, errors: &ParseErrors) -> String {
    let Some(error) = errors.errors.first() else { return "`expr` can't be read".to_owned() };
    let number = |number: isize| usize::try_from(number).unwrap_or_default().max(1);
    at(text, number(error.pos.0), number(error.pos.1), &plain(&error.msg))
}

/// The parser's words, without its lists of tokens.
fn plain(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    if message == "UNKNOWN" || message.starts_with("Recursion limit") {
        return "it nests too deep: split it, or take out parentheses".to_owned();
    }
    let message = message.find(" expecting ").map_or(message, |at| &message[..at]);
    if message.contains("'<EOF>'") {
        return "it ends too early".to_owned();
    }
    for (theirs, ours) in [
        ("mismatched input ", "there should not be "),
        ("extraneous input ", "there should not be "),
        ("no viable alternative at input ", "there should not be "),
        ("token recognition error at: ", "this is no part of the language, or has no end: "),
    ] {
        if let Some(rest) = message.strip_prefix(theirs) {
            return ours.to_owned() + rest;
        }
    }
    message.to_owned()
}

#[cold]
pub(super) fn error(why: impl Into<String>) -> CastError {
    CastError { code: "expression", why: why.into() }
}

/// Why it can't be worked out. Only names that stand in the expression are shown, and kinds of values.
pub(super) fn of_execution(error: &ExecutionError, text: &str) -> CastError {
    let stands = |name: &str| !name.is_empty() && text.contains(name);
    let why = match error {
        ExecutionError::NoSuchKey(name) if stands(name) => {
            format!(
                "can't be worked out: there is no `{name}`; where it may be missing, write `has(…)`, or `.?{name}.orValue(…)`"
            )
        }
        ExecutionError::NoSuchKey(_) => "can't be worked out: a field that it needs is not there".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => {
            "can't be worked out: a list has fewer elements than it asks for".to_owned()
        }
        ExecutionError::NoSuchOverload(error) => {
            let kinds: Vec<_> = error.argument_types().iter().map(|kind| kind_name(kind)).collect();
            unfit(error.function(), &kinds)
        }
        ExecutionError::UnsupportedBinaryOperator(name, left, right) => {
            unfit(name, &[kind_name(&left.type_of().to_string()), kind_name(&right.type_of().to_string())])
        }
        ExecutionError::ValuesNotComparable(left, right) => {
            unfit("comparing", &[kind_name(&left.type_of().to_string()), kind_name(&right.type_of().to_string())])
        }
        ExecutionError::UnexpectedType { got, want } => {
            format!("can't be worked out: it has {} where it needs {}", kind_name(got), kind_name(want))
        }
        ExecutionError::UndeclaredReference(name) if stands(name) => {
            format!("can't be worked out: `{name}` is not there; `item` and `index` are in child tables only")
        }
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "can't be worked out: it divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "can't be worked out: a number becomes too large".to_owned(),
        ExecutionError::FunctionError { function, .. } if stands(function) => {
            format!("can't be worked out: `{function}` can't take the value that it gets")
        }
        _ => "can't be worked out for this record".to_owned(),
    };
    self::error(why)
}

fn unfit(function: &str, kinds: &[&str]) -> String {
    // `_+_` is how the language names `+`.
    let shown = match function {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "rem" => "%",
        "@in" => "in",
        "@matches" => "matches",
        name => name.trim_matches('_'),
    };
    let numbers = ["an int", "a uint", "a double"];
    let hint = if kinds.len() == 2 && kinds.iter().all(|kind| numbers.contains(kind)) && kinds[0] != kinds[1] {
        "; make them alike with `double(…)` or `int(…)`"
    } else {
        ""
    };
    format!("can't be worked out: `{shown}` does not take {}{hint}", kinds.join(" and "))
}

/// A type's name with its article; a name that is none of the language's is not shown.
fn kind_name(name: &str) -> &'static str {
    const NAMES: &[(&str, &str)] = &[
        ("bool", "a bool"),
        ("int", "an int"),
        ("uint", "a uint"),
        ("double", "a double"),
        ("float", "a double"),
        ("string", "a string"),
        ("bytes", "bytes"),
        ("list", "a list"),
        ("map", "a map"),
        ("null_type", "null"),
        ("null", "null"),
        ("type", "a type"),
        ("google.protobuf.Timestamp", "a timestamp"),
        ("timestamp", "a timestamp"),
        ("google.protobuf.Duration", "a duration"),
        ("duration", "a duration"),
        ("optional_type", "an optional value"),
        ("iterable", "a list or map"),
    ];
    NAMES.iter().find(|(known, _)| *known == name).map_or("another kind of value", |(_, shown)| shown)
}
