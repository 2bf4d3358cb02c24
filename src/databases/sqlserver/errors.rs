//! What SQL Server's errors come to: try again, reject the rows, or hold the route.
//!
//! Decided by number and severity ([`numbers`](super::numbers)). The server puts values into its messages (`The duplicate key
//! value is (…)`, `Conversion failed when converting the nvarchar value '…'`), so a message for a row is made anew here from
//! the names in it.

use std::io;

use tidegate_actors::{
    ports::{Fault, Rejection, WriteError},
    transaction::Statement,
};

use super::{
    batch::{FENCED, MISSING, TWINS, UNSPEAKABLE},
    numbers::{Meaning, meaning},
    words,
};

/// Where in a batch an error arose, as far as the batch told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The statement's index; negative for our own tables.
    pub(super) step: Option<i32>,
    /// The row.
    pub(super) row: Option<usize>,
    /// The column, as a place in the row.
    pub(super) column: Option<usize>,
}

/// An error as the server says it.
#[derive(Clone, Copy, Debug)]
struct Said<'a> {
    number: u32,
    severity: u8,
    words: &'a str,
}

impl<'a> From<&'a tiberius::error::TokenError> for Said<'a> {
    fn from(error: &'a tiberius::error::TokenError) -> Self {
        Self { number: error.code(), severity: error.class(), words: error.message() }
    }
}

/// What an error comes to that is no row's fault: the catalogue, our own tables.
pub(super) fn of_ours(destination: &str, error: &tiberius::error::Error) -> WriteError {
    match of_rows(destination, error, Place::default(), None) {
        WriteError::Reject(rejection) => WriteError::Hold(Fault::new(format!(
            "{destination}: Tidegate's own tables do not have the shape that it expects ({rejection}): compare them with the \
             statements that `tidegate check` prints"
        ))),
        other => other,
    }
}

/// What an error comes to while a session is made: whatever it is, there is no connection.
pub(super) fn of_connecting(destination: &str, error: &tiberius::error::Error) -> WriteError {
    match of_rows(destination, error, Place::default(), None) {
        WriteError::Retry(fault) => WriteError::Retry(Fault::lost(fault.message)),
        WriteError::Reject(rejection) => WriteError::Retry(Fault::lost(format!("{destination}: {rejection}"))),
        other => other,
    }
}

/// What an error of a statement that an operator asked for comes to.
pub(super) fn of_definition(destination: &str, error: &tiberius::error::Error) -> WriteError {
    match error {
        tiberius::error::Error::Server(error) => match meaning(error.code(), error.class()) {
            Meaning::Row(..) => hold(destination, None, error.into(), "correct the statement"),
            _ => of_said(destination, error.into(), Place::default(), None),
        },
        error => of_rows(destination, error, Place::default(), None),
    }
}

/// An answer without what was asked for.
pub(super) fn out_of_turn(destination: &str) -> WriteError {
    lost(destination, "SQL Server answered with something other than was asked")
}

fn lost(destination: &str, words: &str) -> WriteError {
    WriteError::Retry(Fault::lost(format!("{destination}: {words}")))
}

/// What an error of a batch comes to; `statement` is the one at `place`, where there is one.
pub(super) fn of_rows(
    destination: &str,
    error: &tiberius::error::Error,
    place: Place,
    statement: Option<&Statement>,
) -> WriteError {
    match error {
        tiberius::error::Error::Server(error) => of_said(destination, error.into(), place, statement),
        tiberius::error::Error::Io { kind: io::ErrorKind::TimedOut, .. } => {
            lost(destination, "SQL Server did not answer in time, and the connection was given up")
        }
        tiberius::error::Error::Io { message, .. } => {
            lost(destination, &format!("the connection to SQL Server failed ({})", words::shortened(message)))
        }
        tiberius::error::Error::Tls(message) => {
            // What follows is advice for programmers.
            let message = message.split(" To connect anyway").next().unwrap_or_default();
            lost(
                destination,
                &format!(
                    "TLS failed ({}): check the server's certificate, the destination's `tls.ca`, or set `tls.mode`",
                    words::shortened(message)
                ),
            )
        }
        tiberius::error::Error::Protocol(message) if message.contains("encryption level") => lost(
            destination,
            "TLS failed (the server offers no encryption): turn it on at the server, or set `tls.mode`",
        ),
        tiberius::error::Error::Routing { .. } => {
            lost(destination, "the server sends its clients on from one address to another")
        }
        // The driver's other errors are about packets that the two ends do not agree on; they may quote one.
        _ => lost(destination, "SQL Server and the driver no longer agree on where they are"),
    }
}

fn of_said(destination: &str, said: Said<'_>, place: Place, statement: Option<&Statement>) -> WriteError {
    let reject = |code: &str, row, column, sentence: &str| rejection(code, row, column, sentence, statement, place);
    let told_column = || {
        let column = place.column.and_then(|at| statement?.written().nth(at));
        column.map(|column| column.name.clone())
    };
    match said.number {
        FENCED => return WriteError::Fenced,
        TWINS => {
            let sentence = "two changes of one batch are for the same row";
            return reject("other", place.row, None, sentence);
        }
        UNSPEAKABLE => {
            let sentence = "the column's character set lacks a character of the value";
            return reject("type", place.row, told_column(), sentence);
        }
        MISSING => return reject("missing_row", place.row, None, "no row has this key"),
        _ => {}
    }
    let Said { number, words: text, .. } = said;
    let retry = |remedy: &str, connection_lost| {
        let message = format!("{destination}: {} [SQL Server error {number}]; {remedy}", words::shortened(text));
        WriteError::Retry(Fault { message, connection_lost })
    };
    match meaning(number, said.severity) {
        Meaning::Wait(remedy) => retry(remedy, false),
        Meaning::Lost(remedy) => retry(remedy, true),
        Meaning::Hold(remedy) => hold(destination, statement, said, remedy),
        Meaning::Row(code, sentence) => {
            let (code, sentence) = if number == 547 { words::constraint_kind(text) } else { (code, sentence) };
            let column = statement.and_then(|statement| words::column(number, text, statement)).or_else(told_column);
            let mut sentence = match &column {
                Some(column) => format!("column `{column}`: {sentence}"),
                None => sentence.to_owned(),
            };
            if let Some(name) = words::constraint(number, text) {
                sentence += &format!(" (`{name}`)");
            } else if number >= 50_000 {
                // What a trigger's author raises is written for people.
                sentence += &format!(": {}", words::shortened(text));
            }
            let row = place.row.or_else(|| words::duplicate_row(text, statement?));
            reject(code, row, column, &format!("{sentence} [SQL Server error {number}]"))
        }
    }
}

fn hold(destination: &str, statement: Option<&Statement>, said: Said<'_>, remedy: &str) -> WriteError {
    let table = statement.map_or(String::new(), |statement| format!("table {}: ", table_name(statement)));
    WriteError::Hold(Fault::new(format!(
        "{destination}: {table}{} [SQL Server error {}]; {remedy}",
        words::shortened(said.words),
        said.number
    )))
}

fn table_name(statement: &Statement) -> String {
    format!("{}.{}", statement.plan.table.schema, statement.plan.table.name)
}

fn rejection(
    code: &str,
    row: Option<usize>,
    column: Option<String>,
    sentence: &str,
    statement: Option<&Statement>,
    place: Place,
) -> WriteError {
    let only = statement.filter(|statement| statement.rows.len() == 1).map(|_| 0);
    let table = statement.map_or(String::new(), |statement| format!("{}: ", table_name(statement)));
    WriteError::Reject(Rejection {
        statement: place.step.and_then(|step| usize::try_from(step).ok()),
        row: row.or(only),
        code: code.to_owned(),
        column,
        message: format!("{table}{sentence}"),
    })
}

#[cfg(test)]
mod tests;
