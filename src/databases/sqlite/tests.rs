#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{sync::Arc, time::Duration};

use tidegate_actors::{
    ports::WriteError,
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::{Encoded, Op, Statement, TablePlan},
};

use super::{catalogue::column_type, errors, sql, values};
use crate::databases::Connection;

fn settings(url: &str) -> Connection {
    Connection {
        name: "rooms".into(),
        url: url.parse().unwrap(),
        password: None,
        tls: None,
        connect_timeout: Duration::from_secs(5),
        session_timeout: Duration::from_secs(3),
        home: None,
    }
}

fn statement(op: Op, columns: &[usize]) -> Statement {
    let column = |name: &str, nullable| ColumnSchema {
        name: name.into(),
        declared: "TEXT".into(),
        kind: column_type("TEXT"),
        nullable,
        has_default: false,
        default: None,
        generated: false,
    };
    let table = TableSchema {
        schema: String::new(),
        name: "my \"cars\"".into(),
        columns: vec![column("branch", true), column("no", true), column("order", true)],
        unique_keys: vec![vec!["branch".into(), "no".into()]],
    };
    let plan = TablePlan {
        route: "r".into(),
        table: Arc::new(table),
        columns: vec![0, 1, 2],
        key: vec![0, 1],
        only_unique_key: true,
        version: None,
    };
    Statement {
        plan: Arc::new(plan),
        op,
        must_touch: false,
        columns: columns.to_vec(),
        insert_only: Vec::new(),
        parents: Vec::new(),
        encoded: Encoded::default(),
        rows: Vec::new(),
    }
}

#[test]
fn every_operation_has_its_statement() {
    let all = statement(Op::Upsert, &[0, 1, 2]);
    let key = statement(Op::Delete, &[0, 1]);
    let (all, key) = (sql::Form::of(&all), sql::Form::of(&key));
    let sql = [all.insert(2), all.upsert(1), key.upsert(1), all.update(2), key.delete(2), key.select_missing(2)];
    insta::assert_snapshot!(sql.join("\n"), @r#"
    INSERT INTO "my ""cars""" ("branch", "no", "order") VALUES (?, ?, ?), (?, ?, ?)
    INSERT INTO "my ""cars""" ("branch", "no", "order") VALUES (?, ?, ?) ON CONFLICT ("branch", "no") DO UPDATE SET "order" = excluded."order"
    INSERT INTO "my ""cars""" ("branch", "no") VALUES (?, ?) ON CONFLICT ("branch", "no") DO NOTHING
    UPDATE "my ""cars""" SET "order" = tidegate_given.column3 FROM (VALUES (?, ?, ?), (?, ?, ?)) AS tidegate_given WHERE "my ""cars"""."branch" = tidegate_given.column1 AND "my ""cars"""."no" = tidegate_given.column2
    DELETE FROM "my ""cars""" WHERE ("branch", "no") IN (VALUES (?, ?), (?, ?))
    SELECT tidegate_given.column1 FROM (VALUES (0, ?, ?), (1, ?, ?)) AS tidegate_given WHERE NOT EXISTS (SELECT 1 FROM "my ""cars""" WHERE "my ""cars"""."branch" = tidegate_given.column2 AND "my ""cars"""."no" = tidegate_given.column3)
    "#);
}

/// Guarded by its third column.
fn guarded(op: Op) -> Statement {
    let mut guarded = statement(op, &[0, 1, 2]);
    guarded.plan = Arc::new(TablePlan {
        version: Some(2),
        route: "r".into(),
        table: Arc::clone(&guarded.plan.table),
        columns: guarded.plan.columns.clone(),
        key: guarded.plan.key.clone(),
        only_unique_key: true,
    });
    guarded
}

#[test]
fn a_guard_is_in_every_statement_and_a_clearing_has_none() {
    let (all, delete, clear) = (guarded(Op::Upsert), guarded(Op::Delete), statement(Op::Clear, &[0, 1]));
    let (all, delete, clear) = (sql::Form::of(&all), sql::Form::of(&delete), sql::Form::of(&clear));
    let sql = [all.upsert(1), all.update(1), delete.delete(2), all.select_newer(2), clear.clear(2)];
    insta::assert_snapshot!(sql.join("\n"), @r#"
    INSERT INTO "my ""cars""" ("branch", "no", "order") VALUES (?, ?, ?) ON CONFLICT ("branch", "no") DO UPDATE SET "order" = excluded."order" WHERE ("my ""cars"""."order" > excluded."order") IS NOT TRUE
    UPDATE "my ""cars""" SET "order" = tidegate_given.column3 FROM (VALUES (?, ?, ?)) AS tidegate_given WHERE "my ""cars"""."branch" = tidegate_given.column1 AND "my ""cars"""."no" = tidegate_given.column2 AND ("my ""cars"""."order" > tidegate_given.column3) IS NOT TRUE
    DELETE FROM "my ""cars""" WHERE ("branch", "no") IN (SELECT "my ""cars"""."branch", "my ""cars"""."no" FROM (VALUES (?, ?, ?), (?, ?, ?)) AS tidegate_given CROSS JOIN "my ""cars""" WHERE "my ""cars"""."branch" = tidegate_given.column1 AND "my ""cars"""."no" = tidegate_given.column2 AND ("my ""cars"""."order" > tidegate_given.column3) IS NOT TRUE)
    SELECT tidegate_given.column1 FROM (VALUES (0, ?, ?, ?), (1, ?, ?, ?)) AS tidegate_given CROSS JOIN "my ""cars""" WHERE "my ""cars"""."branch" = tidegate_given.column2 AND "my ""cars"""."no" = tidegate_given.column3 AND "my ""cars"""."order" > tidegate_given.column4
    DELETE FROM "my ""cars""" WHERE ("branch", "no") IN (VALUES (?, ?), (?, ?))
    "#);
}

#[test]
fn declared_types_are_taken_as_sqlite_and_people_take_them() {
    let text = ColumnType::Text { max_chars: None, max_bytes: None, nul: true };
    let int = ColumnType::Int { min: i64::MIN.into(), max: i64::MAX.into() };
    for (declared, kind) in [
        ("INTEGER", int.clone()),
        ("unsigned big int", int.clone()),
        ("tinyint(1)", int),
        ("BOOLEAN", ColumnType::Bool),
        ("VARCHAR(20)", text.clone()),
        ("native character(70)", text),
        ("BLOB", ColumnType::Bytes { max_bytes: None }),
        ("DOUBLE PRECISION", ColumnType::Float { bits: 64 }),
        ("DECIMAL(14,2)", ColumnType::Numeric15),
        ("DATE", ColumnType::Date),
        ("TIME", ColumnType::Time { zone: false }),
        ("DATETIME", ColumnType::Timestamp { zone: false }),
        ("TIMESTAMP WITH TIME ZONE", ColumnType::Timestamp { zone: true }),
        ("UUID", ColumnType::Uuid),
        ("JSON", ColumnType::Json { nul: true }),
        ("", ColumnType::Other),
        ("STRING", ColumnType::Other),
    ] {
        assert_eq!(column_type(declared), kind, "{declared}");
    }
}

#[test]
fn numbers_that_would_be_rounded_are_told_from_those_that_would_not() {
    for exact in
        ["0", "-1.5", "9223372036854775807", "123456789012.345", "0.000000000000000123", "1e20", "[1]", "\"x\""]
    {
        assert!(!values::is_rounded(exact), "{exact}");
    }
    for rounded in ["9223372036854775808", "1234567890123.456", "-0.1234567890123456"] {
        assert!(values::is_rounded(rounded), "{rounded}");
    }
}

#[test]
fn constraint_messages_name_the_column() {
    let rejected = |code, message| match errors::by_code("/srv/x.db", code, message) {
        WriteError::Reject(rejection) => (rejection.code, rejection.column),
        other => panic!("{other:?}"),
    };
    let named = |code: &str, column: &str| (code.to_owned(), Some(column.to_owned()));
    assert_eq!(rejected(1555, "UNIQUE constraint failed: cars.id"), named("unique", "id"));
    assert_eq!(rejected(2067, "UNIQUE constraint failed: cars.branch, cars.no"), named("unique", "branch, no"));
    assert_eq!(rejected(2067, "UNIQUE constraint failed: index 'lower_name'"), ("unique".to_owned(), None));
    assert_eq!(rejected(1299, "NOT NULL constraint failed: cars.name"), named("not_null", "name"));
    assert_eq!(rejected(787, "FOREIGN KEY constraint failed"), ("foreign_key".to_owned(), None));
    assert_eq!(rejected(3091, "cannot store TEXT value in INTEGER column cars.id"), named("type", "id"));

    let check = "CHECK constraint failed: \"stock\" >= 0";
    assert_eq!(errors::checked_column(check, ["id", "stock", "stock_2"].into_iter()), Some("stock".into()));
    assert_eq!(errors::checked_column("CHECK constraint failed: a < b", ["a", "b"].into_iter()), None);
}

#[test]
fn the_environment_is_retried_and_a_wrong_table_holds() {
    for (code, lost) in
        [(5, false), (6, false), (13, false), (8, true), (14, true), (1032, true), (778, true), (11, true)]
    {
        match errors::by_code("/srv/x.db", code, "m") {
            WriteError::Retry(fault) => assert_eq!(fault.connection_lost, lost, "{code}"),
            other => panic!("{code}: {other:?}"),
        }
    }
    for message in ["no such table: cars", "table cars has no column named id", "no such column: id"] {
        assert!(matches!(errors::by_code("/srv/x.db", 1, message), WriteError::Hold(_)), "{message}");
    }
}

#[test]
fn an_address_must_name_a_file() {
    assert_eq!(super::validate(&settings("sqlite:///srv/my%20rooms.db")), Ok(()));
    assert_eq!(super::path(&settings("sqlite:///srv/my%20rooms.db")).unwrap().to_str(), Some("/srv/my rooms.db"));
    for url in ["sqlite://rooms.db", "sqlite::memory:", "sqlite:rooms.db", "sqlite:///srv/", "postgres:///srv/x.db"] {
        assert!(super::validate(&settings(url)).unwrap_err().contains("sqlite:///srv/rooms.db"), "{url}");
    }
}

#[test]
fn the_example_parses() {
    let example: toml::Table = super::KIND.example.parse().unwrap();
    let destination = &example["destination"][0];
    assert_eq!(destination["kind"].as_str(), Some("sqlite"));
    assert_eq!(super::validate(&settings(destination["url"].as_str().unwrap())), Ok(()));
}

/// Whatever the planner knows or does not know of the table, rows are found by their key and never by reading it all.
#[tokio::test]
async fn rows_are_found_by_their_key() {
    use sqlx::{AssertSqlSafe, Connection as _, Row as _};
    let mut connection = sqlx::SqliteConnection::connect("sqlite::memory:").await.unwrap();
    let fill = "CREATE TABLE \"my \"\"cars\"\"\" (branch TEXT, no INTEGER, \"order\" TEXT, PRIMARY KEY (branch, no)); \
                WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000) \
                INSERT INTO \"my \"\"cars\"\"\" SELECT 'b' || (n % 3), n, 'x' FROM n";
    sqlx::raw_sql(fill).execute(&mut connection).await.unwrap();
    let all = statement(Op::Upsert, &[0, 1, 2]);
    let key = statement(Op::Delete, &[0, 1]);
    let (guarded_upsert, guarded_delete) = (guarded(Op::Upsert), guarded(Op::Delete));
    let (all, key) = (sql::Form::of(&all), sql::Form::of(&key));
    let (upsert, delete) = (sql::Form::of(&guarded_upsert), sql::Form::of(&guarded_delete));
    for prepare in ["SELECT 1", "ANALYZE"] {
        sqlx::raw_sql(prepare).execute(&mut connection).await.unwrap();
        for rows in [1, 256] {
            let guarded = [upsert.update(rows), delete.delete(rows), delete.select_newer(rows)];
            for sql in [all.update(rows), key.delete(rows), key.select_missing(rows)].into_iter().chain(guarded) {
                let sql = format!("EXPLAIN QUERY PLAN {sql}");
                let plan = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
                let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
                assert!(plan.iter().any(|step| step.starts_with("SEARCH my \"cars\"")), "{plan:?}");
                assert!(!plan.iter().any(|step| step.starts_with("SCAN my \"cars\"")), "{plan:?}");
            }
        }
    }
}
