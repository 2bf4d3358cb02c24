//! What SQLite's errors mean: try again, a bad row, or a table that must be put right.
//!
//! Codes are SQLite's (extended) result codes, *Result and Error Codes*; rows' contents never appear in its messages.

use std::path::Path;

use tidegate_actors::ports::{Fault, Rejection, WriteError};

/// Codes whose low byte says what kind of trouble there is.
mod code {
    pub(super) const ERROR: i32 = 1;
    pub(super) const PERM: i32 = 3;
    pub(super) const ABORT: i32 = 4;
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const INTERRUPT: i32 = 9;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const SCHEMA: i32 = 17;
    pub(super) const TOOBIG: i32 = 18;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const MISMATCH: i32 = 20;
    pub(super) const NOTADB: i32 = 26;

    pub(super) const CONSTRAINT_CHECK: i32 = 275;
    pub(super) const CONSTRAINT_FOREIGNKEY: i32 = 787;
    pub(super) const CONSTRAINT_NOTNULL: i32 = 1299;
    pub(super) const CONSTRAINT_PRIMARYKEY: i32 = 1555;
    pub(super) const CONSTRAINT_UNIQUE: i32 = 2067;
    pub(super) const CONSTRAINT_ROWID: i32 = 2579;
    pub(super) const CONSTRAINT_DATATYPE: i32 = 3091;
}

/// Errors of the plain code 1 that a row's value causes (a CHECK or a generated column that computes with it). All
/// others of that code are the table's or the statement's.
const VALUE_ERRORS: [&str; 3] = ["malformed JSON", "integer overflow", "bad JSON path"];

/// What is to be done about an error of the driver.
pub(super) fn classify(path: &Path, error: sqlx::Error) -> WriteError {
    let place = path.display();
    match &error {
        sqlx::Error::Database(answer) => {
            let code = answer.code().and_then(|code| code.parse().ok()).unwrap_or(code::ERROR);
            by_code(&place.to_string(), code, answer.message())
        }
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::ColumnNotFound(_) => {
            WriteError::Hold(Fault::new(format!("{place}: a table of Tidegate's own is not as it made it: {error}")))
        }
        _ => WriteError::Retry(Fault::lost(format!("{place}: {error}"))),
    }
}

/// What a result code and its message mean.
pub(super) fn by_code(place: &str, code: i32, message: &str) -> WriteError {
    let retry = |advice: &str| WriteError::Retry(Fault::new(format!("{place}: {message}{advice}")));
    let lost = |advice: &str| WriteError::Retry(Fault::lost(format!("{place}: {message}{advice}")));
    let hold = |advice: &str| WriteError::Hold(Fault::new(format!("{place}: {message}{advice}")));
    match code & 0xff {
        code::BUSY | code::LOCKED => retry(": another program holds its lock"),
        code::FULL => retry(": make room on its disk"),
        code::ABORT | code::INTERRUPT | code::SCHEMA => retry(""),
        code::READONLY => lost(": give the node's user the right to write the file and its folder"),
        code::CANTOPEN => lost(": the node's user needs the right to read and write the file and its folder"),
        code::PERM => hold(": give the node's user the right to write the file"),
        code::NOTADB => hold(": name a SQLite database in the destination's url"),
        code::CONSTRAINT => reject(constraint(code), named_columns(code, message), message),
        code::MISMATCH => reject("type", None, message),
        code::TOOBIG => reject("too_long", None, message),
        code::ERROR if VALUE_ERRORS.iter().any(|known| message.contains(known)) => reject("type", None, message),
        code::ERROR => hold(": put the table or the route right"),
        // A damaged file or disk (CORRUPT, IOERR), no memory: a connection from the beginning, once that is mended.
        _ => lost(""),
    }
}

fn reject(code: &str, column: Option<String>, message: &str) -> WriteError {
    WriteError::Reject(Rejection {
        statement: None,
        row: None,
        code: code.to_owned(),
        column,
        message: message.to_owned(),
    })
}

fn constraint(code: i32) -> &'static str {
    match code {
        code::CONSTRAINT_CHECK => "check",
        code::CONSTRAINT_FOREIGNKEY => "foreign_key",
        code::CONSTRAINT_NOTNULL => "not_null",
        code::CONSTRAINT_PRIMARYKEY | code::CONSTRAINT_UNIQUE | code::CONSTRAINT_ROWID => "unique",
        code::CONSTRAINT_DATATYPE => "type",
        _ => "other",
    }
}

/// The columns that the message names: `UNIQUE constraint failed: cars.id, cars.no`,
/// `cannot store TEXT value in INTEGER column cars.id`. A CHECK names its expression, a foreign key nothing.
fn named_columns(code: i32, message: &str) -> Option<String> {
    let names = match code {
        code::CONSTRAINT_NOTNULL | code::CONSTRAINT_PRIMARYKEY | code::CONSTRAINT_UNIQUE | code::CONSTRAINT_ROWID => {
            message.split_once("constraint failed: ")?.1
        }
        code::CONSTRAINT_DATATYPE => message.rsplit_once(" column ")?.1,
        _ => return None,
    };
    if names.starts_with("index '") {
        return None; // a unique index over expressions has a name and no columns
    }
    let columns: Vec<_> =
        names.split(", ").map(|name| name.split_once('.').map_or(name, |(_, column)| column)).collect();
    Some(columns.join(", "))
}

/// The one column that a CHECK's expression speaks of, of those the table has.
pub(super) fn checked_column<'a>(message: &str, mut columns: impl Iterator<Item = &'a str>) -> Option<String> {
    let expression = message.strip_prefix("CHECK constraint failed: ")?;
    let part_of_name = |character: char| character.is_alphanumeric() || character == '_';
    let named = |column: &&str| {
        expression.match_indices(column).any(|(at, _)| {
            !expression[..at].ends_with(part_of_name) && !expression[at + column.len()..].starts_with(part_of_name)
        })
    };
    let only = columns.by_ref().find(named)?;
    columns.all(|column| !named(&column)).then(|| only.to_owned())
}
