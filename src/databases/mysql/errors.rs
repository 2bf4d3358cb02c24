//! What an error of MySQL or MariaDB means for delivery: try again, these rows are bad, or wait for an operator.
//!
//! The server puts values into its messages (`Duplicate entry '…'`, `Incorrect integer value: '…'`), so a message for a
//! row is made anew here from the names in it. Sources: *Server Error Message Reference* (MySQL), *MariaDB Error Codes*.

use sqlx::mysql::MySqlDatabaseError;
use tidegate_actors::ports::{Fault, Rejection, WriteError};

/// What becomes of an attempt that ended with an error.
pub(super) fn classify(error: &sqlx::Error, destination: &str) -> WriteError {
    match error {
        sqlx::Error::Database(database) => match database.try_downcast_ref::<MySqlDatabaseError>() {
            Some(error) => by_number(error.number(), error.code().unwrap_or(""), error.message(), destination),
            None => WriteError::Retry(Fault::new(format!("`{destination}` answered with an error it did not number"))),
        },
        sqlx::Error::Io(error) => lost(format!("the connection to `{destination}` broke: {error}")),
        sqlx::Error::Tls(error) => lost(format!("no TLS with `{destination}`: {error}")),
        // The only thing the driver says so without TLS.
        sqlx::Error::Configuration(error) if error.to_string().contains("RSA") => lost(format!(
            "`{destination}` refuses the login: the account's caching_sha2_password needs TLS; set `tls`, or give the \
             account another plugin"
        )),
        sqlx::Error::Configuration(error) => lost(format!("the settings of `{destination}` are wrong: {error}")),
        sqlx::Error::Encode(_) => WriteError::Reject(reject("type", None, "a value could not be encoded".into())),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
            lost(format!("`{destination}` answered with something other than was asked"))
        }
        // Anything else means that the two ends no longer agree on where they are.
        other => lost(format!("the connection to `{destination}` is of no use any more: {}", kind_of(other))),
    }
}

fn lost(message: String) -> WriteError {
    WriteError::Retry(Fault::lost(message))
}

/// Names an error of the driver without the text it carries, which may quote a packet.
fn kind_of(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Protocol(_) => "protocol error",
        sqlx::Error::WorkerCrashed => "its worker ended",
        sqlx::Error::RowNotFound => "a row that must be there is not",
        _ => "unexpected error of the driver",
    }
}

fn by_number(number: u16, state: &str, words: &str, destination: &str) -> WriteError {
    if let Some((code, sentence)) = row_fault(number, state) {
        let (column, name) = (column_of(number, words), key_of(number, words));
        let mut message = match (&column, code) {
            // What a trigger's author raises is written for people.
            (_, "other") if state == "45000" || number == 1644 => format!("{sentence}: {}", shortened(words)),
            (Some(column), _) => format!("column `{column}`: {sentence}"),
            (None, _) => sentence.to_owned(),
        };
        if let Some(name) = name {
            message += &format!(" (`{name}`)");
        }
        return WriteError::Reject(reject(code, column, format!("{message} [MySQL error {number}]")));
    }
    let words = shortened(words);
    match number {
        1142 | 1143 | 1044 | 1227 | 1370 => WriteError::Hold(Fault::new(format!(
            "`{destination}`: {words} [MySQL error {number}]; a DBA must run: GRANT {} TO the writer's account",
            missing_right(number, &words)
        ))),
        1146 | 1051 | 1109 | 1932 => {
            hold(number, &words, destination, "make the table, or point the route to another one")
        }
        1054 => hold(number, &words, destination, "add the column, or change the route's columns"),
        1049 => hold(number, &words, destination, "make the database, or correct the address"),
        // Its words quote the statement, values and all.
        1064 => hold(
            number,
            "it does not understand a statement",
            destination,
            "MySQL 8.0 or MariaDB 10.5 and later understand what is sent here",
        ),
        1267 | 1270 | 1271 => hold(number, &words, destination, "give the key's columns one collation"),
        // 1005, 1215 and 1822: a foreign key that can't be made.
        1005 | 1136 | 1166 | 1215 | 1822 | 1288 | 1305 | 1347 | 1348 | 1356 | 1442 | 1449 | 1471 | 3105 | 1906 => {
            hold(number, &words, destination, "correct the table, its views and its triggers, or the route")
        }
        1045 | 1698 | 1251 | 1524 | 1820 | 1862 | 3118 | 4151 | 2059 | 2061 => WriteError::Retry(Fault::lost(format!(
            "`{destination}` refuses the login: {words} [MySQL error {number}]; check the user, its host part and the \
             password (accounts with caching_sha2_password need TLS here)"
        ))),
        1040 | 1203 | 1226 | 1129 | 1130 => {
            lost(format!("`{destination}` takes no connection now: {words} [MySQL error {number}]"))
        }
        1053 | 1077..=1079 | 1152..=1161 | 1184 | 1243 | 1927 | 2006 | 2013 | 3169 | 4031 => {
            lost(format!("`{destination}` ended the connection: {words} [MySQL error {number}]"))
        }
        1290 | 1836 | 1792 => WriteError::Retry(Fault::new(format!(
            "`{destination}` is read-only: {words} [MySQL error {number}]; a replica, or a server under maintenance"
        ))),
        1021 | 1114 => WriteError::Retry(Fault::new(format!(
            "`{destination}` has no room left: {words} [MySQL error {number}]; free or add disk space"
        ))),
        1205 | 1213 | 1206 | 1020 | 3572 => WriteError::Retry(Fault::new(format!(
            "`{destination}`: another transaction holds the rows: {words} [MySQL error {number}]"
        ))),
        // 42xxx is what is wrong with names and rights; the rest is the server's own trouble, and patience costs nothing.
        _ if state.starts_with("42") => hold(number, &words, destination, "correct the table or the route"),
        _ if state.starts_with("08") => lost(format!("`{destination}`: {words} [MySQL error {number}]")),
        _ => WriteError::Retry(Fault::new(format!("`{destination}`: {words} [MySQL error {number}]"))),
    }
}

fn hold(number: u16, words: &str, destination: &str, remedy: &str) -> WriteError {
    WriteError::Hold(Fault::new(format!("`{destination}`: {words} [MySQL error {number}]; {remedy}")))
}

/// The stable word and our sentence for errors that a row causes.
fn row_fault(number: u16, state: &str) -> Option<(&'static str, &'static str)> {
    Some(match number {
        1022 | 1062 | 1169 | 1586 | 1859 => ("unique", "a row with this value of a unique key is there already"),
        1216 | 1452 => ("foreign_key", "the row refers to one that is not there"),
        1217 | 1451 => ("foreign_key", "other rows refer to this one"),
        3819 => ("check", "the row fails a check constraint"),
        // MySQL has another error of this number, told apart by its SQLSTATE.
        4025 if state == "23000" => ("check", "the row fails a check constraint"),
        1048 | 1263 => ("not_null", "it must not be NULL"),
        1364 => ("not_null", "it has no default and no value was given"),
        1406 => ("too_long", "the value is too long"),
        1118 => ("too_long", "the row is too long for the table"),
        1264 | 1441 | 1690 | 1416 => ("range", "the value is out of range"),
        1526 => ("range", "no partition of the table takes this value"),
        1265 | 1292 | 1300 | 1366 | 1367 | 1411 | 1525 | 1977 | 3854 | 3988 => {
            ("type", "the value does not fit the column's type or character set")
        }
        3140 | 3141 | 3144 | 3156 | 3157 => ("type", "the value is not JSON the database takes"),
        // MariaDB's JSON errors; 4038 is about the depth.
        4035..=4045 => ("type", "the value is not JSON the database takes"),
        1644 => ("other", "a trigger refused the row"),
        1242 => ("other", "a trigger failed on the row"),
        _ if state == "45000" => ("other", "a trigger refused the row"),
        _ if state.starts_with("22") => ("type", "the value does not fit"),
        _ if state.starts_with("23") => ("other", "the row breaks a rule of the table"),
        _ => return None,
    })
}

/// A rejection whose place is not known yet.
pub(super) fn reject(code: &str, column: Option<String>, message: String) -> Rejection {
    Rejection { statement: None, row: None, code: code.into(), column, message }
}

/// The column that a message names. Values come before names in every one of them, so names are sought from the end.
fn column_of(number: u16, words: &str) -> Option<String> {
    let name = match number {
        1048 | 1263 => between(words, "Column '", "'")?,
        1364 => between(words, "Field '", "'")?,
        1216 | 1452 => between(after_last(words, "FOREIGN KEY (")?, "`", "`")?,
        // A check that belongs to a column is called `table.column` in MariaDB.
        4025 => between(words, "CONSTRAINT `", "`")?.split_once('.')?.1.to_owned(),
        // `Truncated incorrect INTEGER value: '…'` ends with the value and names no column.
        1217 | 1451 | 3819 | 1062 => return None,
        _ if words.starts_with("Truncated") => return None,
        _ => {
            let rest = after_last(words, " for column ")?;
            let rest = rest.rsplit_once(" at row").map_or(rest, |(name, _)| name);
            let rest = rest.rsplit_once("`.`").map_or(rest, |(_, name)| name);
            rest.trim_matches(['\'', '`', ' ']).to_owned()
        }
    };
    (!name.is_empty() && name.chars().count() <= 64).then_some(name)
}

/// The key or constraint that a message names.
fn key_of(number: u16, words: &str) -> Option<String> {
    let name = match number {
        1022 | 1062 | 1169 | 1586 | 1859 => after_last(words, " for key ")?.trim_matches(['\'', '`', ' ']).to_owned(),
        1216 | 1217 | 1451 | 1452 | 4025 => between(words, "CONSTRAINT `", "`")?,
        3819 => between(words, "Check constraint '", "'")?,
        _ => return None,
    };
    (!name.is_empty() && name.chars().count() <= 130).then_some(name)
}

fn after_last<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.rfind(mark).map(|at| &text[at + mark.len()..])
}

fn between(text: &str, from: &str, to: &str) -> Option<String> {
    let rest = &text[text.find(from)? + from.len()..];
    Some(rest[..rest.find(to)?].to_owned())
}

/// The right that a refusal speaks of: `INSERT command denied to user 'u'@'h' for table 'cars'`.
fn missing_right(number: u16, words: &str) -> String {
    let right = words.split(" command denied").next().filter(|right| right.len() < 40 && *right != words);
    let table = after_last(words, "for table ").map(|table| table.trim_matches(['\'', '`']).to_owned());
    match (right, table) {
        (Some(right), Some(table)) => format!("{right} ON `{}`", table.trim_matches('`')),
        (Some(right), None) => format!("{right} ON the table"),
        _ if number == 1044 => "SELECT, INSERT, UPDATE, DELETE ON the database".into(),
        _ => "what is missing".into(),
    }
}

/// At most 300 characters of a message that holds no values.
fn shortened(words: &str) -> String {
    words.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]

    use super::*;

    fn rejected(number: u16, state: &str, words: &str) -> (String, Option<String>, String) {
        match by_number(number, state, words, "rooms") {
            WriteError::Reject(rejection) => (rejection.code, rejection.column, rejection.message),
            other => panic!("{number} is {other:?}"),
        }
    }

    #[test]
    fn a_bad_row_is_told_by_code_and_column_and_never_by_its_values() {
        let cases: &[(u16, &str, &str, &str, Option<&str>)] = &[
            (1062, "23000", "Duplicate entry 'SECRET for key 'x'' for key 'PRIMARY'", "unique", None),
            (1048, "23000", "Column 'name' cannot be null", "not_null", Some("name")),
            (1364, "HY000", "Field 'name' doesn't have a default value", "not_null", Some("name")),
            (1406, "22001", "Data too long for column 'name' at row 3", "too_long", Some("name")),
            (1264, "22003", "Out of range value for column 'stock' at row 1", "range", Some("stock")),
            (1265, "01000", "Data truncated for column 'state' at row 1", "type", Some("state")),
            (
                1366,
                "22007",
                "Incorrect integer value: 'SECRET for column `a`' for column `b`.`t`.`stock` at row 1",
                "type",
                Some("stock"),
            ),
            (1292, "22007", "Truncated incorrect INTEGER value: 'SECRET'", "type", None),
            (
                1452,
                "23000",
                "Cannot add or update a child row: a foreign key constraint fails (`b`.`t`, CONSTRAINT `t_1` FOREIGN \
                 KEY (`room`) REFERENCES `rooms` (`id`))",
                "foreign_key",
                Some("room"),
            ),
            (4025, "23000", "CONSTRAINT `t.stock` failed for `b`.`t`", "check", Some("stock")),
            (3819, "HY000", "Check constraint 'positive' is violated.", "check", None),
            (1644, "45000", "no more cars", "other", None),
        ];
        for (number, state, words, code, column) in cases {
            let (found, at, message) = rejected(*number, state, words);
            assert_eq!((found.as_str(), at.as_deref()), (*code, *column), "{words}");
            assert!(!message.contains("SECRET"), "{message}");
        }
    }

    #[test]
    fn the_message_of_a_duplicate_names_the_key() {
        let (_, _, message) = rejected(1062, "23000", "Duplicate entry '7' for key 'cars.plate'");
        insta::assert_snapshot!(message, @"a row with this value of a unique key is there already (`cars.plate`) [MySQL error 1062]");
    }

    #[test]
    fn the_environment_is_retried_and_a_lost_connection_says_so() {
        for (number, state, gone) in [
            (1040, "08004", true),
            (1203, "42000", true),
            (1045, "28000", true),
            (2013, "HY000", true),
            (1927, "70100", true),
            (4031, "HY000", true),
            (1205, "HY000", false),
            (1213, "40001", false),
            (1021, "HY000", false),
            (1114, "HY000", false),
            (1290, "HY000", false),
            (1836, "HY000", false),
            (1317, "70100", false),
            (3024, "HY000", false),
            (1969, "70100", false),
            (9999, "HY000", false),
        ] {
            match by_number(number, state, "words", "rooms") {
                WriteError::Retry(fault) => assert_eq!(fault.connection_lost, gone, "{number}"),
                other => panic!("{number} is {other:?}"),
            }
        }
    }

    #[test]
    fn a_missing_table_column_or_right_waits_for_an_operator() {
        for (number, words) in [(1146, "Table 'b.t' doesn't exist"), (1054, "Unknown column 'x' in 'field list'")] {
            assert!(matches!(by_number(number, "42S02", words, "rooms"), WriteError::Hold(_)), "{number}");
        }
        let denied = "INSERT command denied to user 'writer'@'localhost' for table `b`.`cars`";
        let WriteError::Hold(fault) = by_number(1142, "42000", denied, "rooms") else { panic!("held") };
        insta::assert_snapshot!(fault.message, @"`rooms`: INSERT command denied to user 'writer'@'localhost' for table `b`.`cars` [MySQL error 1142]; a DBA must run: GRANT INSERT ON `b`.`cars` TO the writer's account");
    }
}
