//! Numbers and words, as SQL Server sends them, and what becomes of each.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, sync::Arc};

use tidegate_actors::{
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::{Cell, Encoded, Op, TablePlan},
};

use super::*;
use crate::databases::sqlserver::numbers::NUMBERS;

/// Rows of `dbo.cars (id, plate)`; both are unique keys.
fn cars(rows: &[[&str; 2]]) -> Statement {
    let column = |name: &str| ColumnSchema {
        name: name.into(),
        declared: "nvarchar(20)".into(),
        kind: ColumnType::Text { max_chars: Some(20), max_bytes: None, nul: false },
        nullable: false,
        has_default: false,
        default: None,
        generated: false,
    };
    let table = TableSchema {
        schema: "dbo".into(),
        name: "cars".into(),
        columns: vec![column("id"), column("plate")],
        unique_keys: vec![vec!["id".into()], vec!["plate".into()]],
    };
    let plan = TablePlan {
        route: "r".into(),
        table: Arc::new(table),
        columns: vec![0, 1],
        key: vec![0],
        only_unique_key: false,
        version: None,
    };
    let rows = rows.iter().map(|row| row.iter().map(|text| Cell::Text((*text).into())).collect()).collect();
    Statement {
        plan: Arc::new(plan),
        op: Op::Insert,
        must_touch: false,
        columns: vec![0, 1],
        insert_only: Vec::new(),
        parents: Vec::new(),
        encoded: Encoded::default(),
        rows,
    }
}

/// Number, words, code, column, row.
type Case = (u32, &'static str, &'static str, Option<&'static str>, Option<usize>);

fn said(number: u32, severity: u8, words: &str) -> WriteError {
    let statement = cars(&[["1", "B 1"], ["2", "SECRET"], ["3", "B 3"]]);
    let place = Place { step: Some(0), row: None, column: None };
    of_said("branches", Said { number, severity, words }, place, Some(&statement))
}

fn rejected(error: WriteError) -> Rejection {
    match error {
        WriteError::Reject(rejection) => rejection,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bad_row_is_told_by_code_column_and_place_and_never_by_its_values() {
    let cases: &[Case] = &[
        (
            2627,
            "Violation of UNIQUE KEY constraint 'UQ_cars'. Cannot insert duplicate key in object 'dbo.cars'. The \
             duplicate key value is (SECRET).",
            "unique",
            None,
            Some(1),
        ),
        (
            2601,
            "Cannot insert duplicate key row in object 'dbo.cars' with unique index 'ux_cars'. The duplicate key value \
             is (SECRET).",
            "unique",
            None,
            Some(1),
        ),
        (
            2627,
            "Violation of PRIMARY KEY constraint 'PK_cars'. Cannot insert duplicate key in object 'dbo.cars'. The \
             duplicate key value is (77).",
            "unique",
            None,
            None,
        ),
        (
            515,
            "Cannot insert the value NULL into column 'plate', table 'branches.dbo.cars'; column does not allow nulls. \
             INSERT fails.",
            "not_null",
            Some("plate"),
            None,
        ),
        (
            2628,
            "String or binary data would be truncated in table 'branches.dbo.cars', column 'plate'. Truncated value: \
             'SECRET'.",
            "too_long",
            Some("plate"),
            None,
        ),
        (
            2628,
            "String or binary data would be truncated in table '#B1', column 'c1'. Truncated value: 'SECRET'.",
            "too_long",
            Some("plate"),
            None,
        ),
        (8152, "String or binary data would be truncated.", "too_long", None, None),
        (
            547,
            "The INSERT statement conflicted with the CHECK constraint \"CK_cars\". The conflict occurred in database \
             \"branches\", table \"dbo.cars\", column 'plate'.",
            "check",
            Some("plate"),
            None,
        ),
        (
            547,
            "The INSERT statement conflicted with the FOREIGN KEY constraint \"FK_cars\". The conflict occurred in \
             database \"branches\", table \"dbo.rooms\", column 'id'.",
            "foreign_key",
            None,
            None,
        ),
        (
            547,
            "The DELETE statement conflicted with the REFERENCE constraint \"FK_cars\". The conflict occurred in \
             database \"branches\", table \"dbo.sales\", column 'car'.",
            "foreign_key",
            None,
            None,
        ),
        (245, "Conversion failed when converting the nvarchar value 'SECRET' to data type int.", "type", None, None),
        (248, "The conversion of the nvarchar value 'SECRET' overflowed an int column.", "range", None, None),
        (220, "Arithmetic overflow error for data type tinyint, value = SECRET.", "range", None, None),
        (8115, "Arithmetic overflow error converting nvarchar to data type numeric.", "range", None, None),
        (50_000, "no more cars", "other", None, None),
    ];
    for (number, words, code, column, row) in cases {
        let rejection = rejected(said(*number, 16, words));
        assert_eq!((rejection.code.as_str(), rejection.column.as_deref()), (*code, *column), "{words}");
        assert_eq!((rejection.statement, rejection.row), (Some(0), *row), "{words}");
        assert!(!rejection.message.contains("SECRET"), "{}", rejection.message);
        assert!(rejection.message.starts_with("dbo.cars: "), "{}", rejection.message);
    }
}

#[test]
fn a_sentence_names_the_table_the_column_and_the_constraint() {
    let check = "The UPDATE statement conflicted with the CHECK constraint \"CK_cars\". The conflict occurred in \
                 database \"branches\", table \"dbo.cars\", column 'plate'.";
    insta::assert_snapshot!(rejected(said(547, 16, check)).message, @"dbo.cars: column `plate`: the row fails a check constraint (`CK_cars`) [SQL Server error 547]");
    insta::assert_snapshot!(rejected(said(50_001, 16, "no more\ncars")).message, @"dbo.cars: a trigger refused the row: no more cars [SQL Server error 50001]");
    insta::assert_snapshot!(said(208, 16, "Invalid object name 'dbo.cars'."), @"branches: table dbo.cars: Invalid object name 'dbo.cars'. [SQL Server error 208]; create the table, or point the route to another one");
    insta::assert_snapshot!(said(1205, 13, "Transaction (Process ID 53) was deadlocked."), @"branches: Transaction (Process ID 53) was deadlocked. [SQL Server error 1205]; another transaction holds the rows, and the server chose this one to give way");
}

#[test]
fn two_rows_that_collide_are_told_by_the_second() {
    let statement = cars(&[["1", "B 1"], ["2", "B 2"], ["1", "B 3"]]);
    let words = "Violation of PRIMARY KEY constraint 'PK_cars'. Cannot insert duplicate key in object 'dbo.cars'. The \
                 duplicate key value is (1).";
    let error = Said { number: 2627, severity: 14, words };
    let rejection = rejected(of_said("branches", error, Place::default(), Some(&statement)));
    assert_eq!(rejection.row, Some(2));
}

#[test]
fn own_numbers_are_told_from_the_servers() {
    let at = |number, row, column| {
        let statement = cars(&[["1", "B 1"], ["2", "B 2"]]);
        let place = Place { step: Some(0), row, column };
        of_said("branches", Said { number, severity: 16, words: "tidegate" }, place, Some(&statement))
    };
    assert_eq!(at(FENCED, None, None), WriteError::Fenced);
    let missing = rejected(at(MISSING, Some(1), None));
    assert_eq!((missing.code.as_str(), missing.statement, missing.row), ("missing_row", Some(0), Some(1)));
    let unspeakable = rejected(at(UNSPEAKABLE, Some(0), Some(1)));
    assert_eq!((unspeakable.code.as_str(), unspeakable.column.as_deref()), ("type", Some("plate")));
    assert_eq!(rejected(at(TWINS, Some(1), None)).row, Some(1));
}

#[test]
fn the_environment_is_retried_and_a_lost_connection_says_so() {
    for (number, severity, gone) in [
        (1205, 13, false),
        (1222, 16, false),
        (3960, 16, false),
        (1105, 17, false),
        (9002, 17, false),
        (3906, 16, false),
        (10928, 16, false),
        (40501, 20, true),
        (40613, 17, true),
        (49918, 16, true),
        (18456, 14, true),
        (4060, 11, true),
        (233, 20, true),
        (596, 21, true),
        (10054, 20, true),
        (924, 14, true),
        // Unknown, by severity.
        (99_999, 17, false),
        (99_999, 20, true),
        (99_999, 13, false),
    ] {
        match said(number, severity, "words") {
            WriteError::Retry(fault) => assert_eq!(fault.connection_lost, gone, "{number}"),
            other => panic!("{number} is {other:?}"),
        }
    }
}

#[test]
fn a_missing_table_column_or_right_waits_for_an_operator() {
    for (number, severity) in
        [(208, 16), (207, 16), (229, 14), (230, 14), (262, 14), (8102, 16), (99_999, 14), (102, 15)]
    {
        assert!(matches!(said(number, severity, "words"), WriteError::Hold(_)), "{number}");
    }
}

#[test]
fn our_own_tables_have_no_bad_rows() {
    let error = of_connecting("branches", &tiberius::error::Error::Utf8);
    assert!(matches!(&error, WriteError::Retry(fault) if fault.connection_lost), "{error:?}");
    let timed_out =
        tiberius::error::Error::Io { kind: io::ErrorKind::TimedOut, message: "Config::command_timeout".into() };
    let error = of_ours("branches", &timed_out);
    insta::assert_snapshot!(error, @"branches: SQL Server did not answer in time, and the connection was given up");
}

#[test]
fn every_number_stands_in_the_table_once() {
    let numbers: BTreeSet<u32> = NUMBERS.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers.len(), NUMBERS.len());
}
