//! What PostgreSQL's errors come to: try again, reject the rows, or hold the route.
//!
//! Decided by SQLSTATE (PostgreSQL, *Error Codes*). Messages name the destination, the table and the column with a
//! remedy, and never carry a record's values: details are dropped, and so is what class 22 quotes.

use sqlx::postgres::{PgDatabaseError, PgSeverity};
use tidegate_actors::{
    ports::{Fault, Rejection, WriteError},
    transaction::Statement,
};

use super::row;

/// Longest piece of the database's own words that is passed on, in characters.
const WORDS_CHARS: usize = 300;

/// What an error comes to that is no row's fault: connecting, the catalogue, our own tables.
pub(super) fn of_ours(destination: &str, error: &sqlx::Error) -> WriteError {
    match of_rows(destination, error, None) {
        WriteError::Reject(rejection) => WriteError::Hold(Fault::new(format!(
            "{destination}: Tidegate's own tables do not have the shape that it expects ({rejection}): compare them with the \
             statements that `tidegate check` prints"
        ))),
        other => other,
    }
}

/// What an error of a statement with rows comes to; its place is (statement's index, statement).
pub(super) fn of_rows(destination: &str, error: &sqlx::Error, place: Option<(usize, &Statement)>) -> WriteError {
    match error {
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => of_code(destination, error, place),
            None => WriteError::Retry(Fault::lost(format!("{destination}: {error}"))),
        },
        sqlx::Error::Tls(error) => tls_failed(destination, error),
        // The handshake itself is input and output to sqlx.
        sqlx::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(error) => tls_failed(destination, error),
            None => {
                WriteError::Retry(Fault::lost(format!("{destination}: the connection to PostgreSQL failed ({error})")))
            }
        },
        sqlx::Error::ColumnDecode { index, .. } => WriteError::Hold(Fault::new(format!(
            "{destination}: column {index} of one of Tidegate's own tables has another type than expected: compare it with the \
             statements that `tidegate check` prints"
        ))),
        error => WriteError::Retry(Fault::lost(format!("{destination}: PostgreSQL answered out of turn ({error})"))),
    }
}

fn tls_failed(destination: &str, error: &dyn std::fmt::Display) -> WriteError {
    WriteError::Retry(Fault::lost(format!(
        "{destination}: TLS failed ({error}): check the server's certificate, the destination's `tls.ca`, or set `tls.mode`"
    )))
}

fn of_code(destination: &str, error: &PgDatabaseError, place: Option<(usize, &Statement)>) -> WriteError {
    let code = error.code();
    let lost = matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic);
    let retry = |remedy: &str| {
        let message = format!("{destination}: {} ({code}){remedy}", words(error));
        WriteError::Retry(Fault { message, connection_lost: lost })
    };
    let hold = |remedy: &str| {
        let table = place.map_or(String::new(), |(_, statement)| {
            format!("table {}.{}: ", statement.plan.table.schema, statement.plan.table.name)
        });
        WriteError::Hold(Fault::new(format!("{destination}: {table}{} ({code}){remedy}", words(error))))
    };
    let reject = |kind: &str| WriteError::Reject(rejection(kind, error, place));
    match code {
        "23505" | "23P01" => reject("unique"),
        "23503" | "23001" => reject("foreign_key"),
        "23514" | "23000" | "44000" => reject("check"),
        "23502" => reject("not_null"),
        "22001" | "22026" | "54000" => reject("too_long"),
        "22003" | "22008" | "22015" => reject("range"),
        "22012" => reject("other"),
        "42P01" => hold(": create the table, or point the route to another one"),
        "42703" => hold(": add the column, or change the route's columns"),
        "42501" => hold(": grant the right to the destination's user (`tidegate check` lists them)"),
        "3F000" => hold(": create the schema, or set the user's search_path"),
        "42P10" => hold(": the route's key needs a unique index of exactly these columns"),
        "428C9" => hold(": leave the column out of the route; the database computes it"),
        "25006" => {
            retry(": this is a read-only replica or the database is read-only; point the destination to the primary")
        }
        "25P03" => retry(": the transaction stood idle for too long and the server ended it"),
        "26000" => WriteError::Retry(Fault::lost(format!(
            "{destination}: {} ({code}): a connection pooler in transaction mode stands between; use session mode or none",
            words(error)
        ))),
        "3D000" => retry(": create the database, or correct the destination's url"),
        "28P01" | "28000" => retry(": correct the destination's user and password, or the server's pg_hba.conf"),
        "53300" => retry(": raise max_connections, or close other clients' connections"),
        "53100" => retry(": the server's disk is full; make room"),
        "55P03" => retry(": another session holds a lock; it is tried again"),
        "57014" => retry(": the statement took longer than the session allows"),
        _ => match code.get(..2).unwrap_or_default() {
            "08" | "25" | "28" | "40" | "53" | "57" | "58" | "F0" | "XX" | "26" | "34" => retry(""),
            "22" => reject("type"),
            "0A" | "3F" | "42" | "55" => hold(": correct the table or the route"),
            // What is left is raised for a row: cardinality (21), triggers (09, 27, P0), routines (38, 39, custom).
            _ if lost => retry(""),
            _ => reject("other"),
        },
    }
}

fn rejection(kind: &str, error: &PgDatabaseError, place: Option<(usize, &Statement)>) -> Rejection {
    let words = words(error);
    Rejection {
        statement: place.map(|(index, _)| index),
        row: place.and_then(|(_, statement)| match statement.rows.len() {
            1 => Some(0),
            _ => row::at_fault(error.code(), error.detail()?, statement),
        }),
        code: kind.to_owned(),
        column: column(error, &words, place),
        message: match place {
            Some((_, statement)) => {
                format!("{}.{}: {words} ({})", statement.plan.table.schema, statement.plan.table.name, error.code())
            }
            None => format!("{words} ({})", error.code()),
        },
    }
}

/// The database's words without a record's values: class 22 quotes them, others only name things.
fn words(error: &PgDatabaseError) -> String {
    let message = error.message();
    let message = if error.code().starts_with("22") { without_quoted(message) } else { message.to_owned() };
    message.chars().take(WORDS_CHARS).collect()
}

/// Leaves out everything from the first quotation mark, in whatever language's style, to the last.
fn without_quoted(message: &str) -> String {
    const MARKS: [char; 8] = ['"', '«', '»', '“', '”', '„', '「', '」'];
    match (message.find(MARKS), message.rfind(MARKS)) {
        (Some(first), Some(last)) => {
            let before = message[..first].trim_end().trim_end_matches(':').trim_end();
            let after = message[last..].trim_start_matches(MARKS).trim();
            if before.is_empty() || after.is_empty() {
                format!("{before}{after}")
            } else {
                format!("{before} … {after}")
            }
        }
        _ => message.to_owned(),
    }
}

/// The column that is at fault, where the error tells: by name, by the constraint's key, or by a type only it has.
fn column(error: &PgDatabaseError, words: &str, place: Option<(usize, &Statement)>) -> Option<String> {
    if let Some(column) = error.column() {
        return Some(column.to_owned());
    }
    let (_, statement) = place?;
    let table = &statement.plan.table;
    if error.code().starts_with("23") {
        let key = key_columns(error.detail()?)?;
        let known = key.iter().all(|name| table.columns.iter().any(|column| column.name == *name));
        return known.then(|| key.join(", "));
    }
    let mut of_type = statement.written().filter(|column| {
        let bare = super::sql::bare_type(&column.declared);
        [column.declared.as_str(), bare.as_str()].iter().any(|name| ends_with_type(words, name))
    });
    match (of_type.next(), of_type.next()) {
        (Some(only), None) => Some(only.name.clone()),
        _ => None,
    }
}

fn ends_with_type(words: &str, name: &str) -> bool {
    words.strip_suffix(name).is_some_and(|before| before.ends_with(' '))
}

/// The columns in `Key (id, no)=(42, 7) already exists.`; nothing of the values.
pub(super) fn key_columns(detail: &str) -> Option<Vec<String>> {
    let (before, _) = detail.split_once(")=(")?;
    let (_, names) = before.split_once('(')?;
    let unquoted = |name: &str| match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => name.to_owned(),
    };
    Some(names.split(", ").map(unquoted).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn quoted_values_are_left_out() {
        assert_eq!(
            without_quoted(r#"invalid input syntax for type integer: "a"b""#),
            "invalid input syntax for type integer"
        );
        assert_eq!(
            without_quoted(r#"value "70000" is out of range for type smallint"#),
            "value … is out of range for type smallint"
        );
        assert_eq!(
            without_quoted("ungültige Eingabesyntax für Typ integer: »a«"),
            "ungültige Eingabesyntax für Typ integer"
        );
        assert_eq!(without_quoted("numeric field overflow"), "numeric field overflow");
    }

    #[test]
    fn a_constraints_columns_are_read_without_their_values() {
        assert_eq!(key_columns("Key (id)=(42) already exists.").unwrap(), ["id"]);
        assert_eq!(key_columns(r#"Key (branch, "No")=(JKT, )=( 7) already exists."#).unwrap(), ["branch", "No"]);
        assert_eq!(key_columns("Failing row contains (1, null)."), None);
    }
}
