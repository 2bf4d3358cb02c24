//! The T-SQL of every kind of write: snapshots, and what a parser of the dialect makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use sqlparser::{dialect::MsSqlDialect, parser::Parser};
use tidegate_actors::{
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::{Cell, Op, Statement, TablePlan},
};

use super::{
    slots::{Facts, Tables},
    write,
};

/// A column of the table in these tests.
fn column(name: &str, declared: &str, kind: ColumnType) -> ColumnSchema {
    ColumnSchema {
        name: name.into(),
        declared: declared.into(),
        kind,
        nullable: !matches!(name, "id" | "plate"),
        has_default: false,
        default: None,
        generated: false,
    }
}

fn text(max_chars: u64) -> ColumnType {
    ColumnType::Text { max_chars: Some(max_chars), max_bytes: None, nul: false }
}

fn statement(op: Op, key: &[usize], columns: &[usize], rows: &[&[&str]]) -> Statement {
    let table = TableSchema {
        schema: "dbo".into(),
        name: "ca]rs".into(),
        columns: vec![
            column("id", "bigint", ColumnType::Int { min: i64::MIN.into(), max: i64::MAX.into() }),
            column("plate", "nvarchar(20)", text(20)),
            column("price", "decimal(14,2)", ColumnType::Decimal { precision: Some(14), scale: Some(2) }),
            column("photo", "varbinary(max)", ColumnType::Bytes { max_bytes: None }),
            column("sold", "bit", ColumnType::Bool),
            column("note", "varchar(10)", text(10)),
            column("seen", "datetime2(3)", ColumnType::Timestamp { zone: false }),
        ],
        unique_keys: vec![vec!["id".into()]],
    };
    let plan = TablePlan {
        route: "r".into(),
        table: Arc::new(table),
        columns: vec![0, 1, 2, 3, 4, 5, 6],
        key: key.to_vec(),
        only_unique_key: true,
        version: None,
    };
    let cells = |row: &&[&str]| row.iter().map(|text| Cell::Text((*text).into())).collect();
    Statement {
        plan: Arc::new(plan),
        op,
        must_touch: false,
        columns: columns.to_vec(),
        insert_only: Vec::new(),
        parents: Vec::new(),
        rows: rows.iter().map(cells).collect(),
    }
}

fn tables() -> Tables {
    let collations = [
        ("plate".to_owned(), ("Latin1_General_CI_AS".to_owned(), 1_252)),
        ("note".to_owned(), ("Latin1_General_CI_AS".to_owned(), 1_252)),
    ];
    [(("dbo".to_owned(), "ca]rs".to_owned()), Facts { identity: None, collations: collations.into() })].into()
}

#[test]
fn explore() {
    for op in [Op::Insert, Op::Upsert, Op::Update, Op::Delete, Op::Replace] {
        let cols: &[usize] = if op == Op::Delete { &[0] } else { &[0, 1, 2, 6] };
        let rows: &[&[&str]] = if op == Op::Delete {
            &[&["1"], &["2"]]
        } else {
            &[&["1", "a", "1.5", "2025-06-01 08:00:00"], &["2", "b", "1.5", "2025-06-01 08:00:00"]]
        };
        let batch = write::rows_alone(&[statement(op, &[0], cols, rows)], &tables()).unwrap();
        println!("{}\n{:?}", batch.text, batch.parameters);
        match Parser::parse_sql(&MsSqlDialect {}, &batch.text) {
            Ok(p) => println!("PARSED {}", p.len()),
            Err(e) => println!("ERR {e}"),
        }
    }
    for piece in [
        "SET NOCOUNT ON;",
        "SET XACT_ABORT ON;",
        "DECLARE @step int = -1, @place int, @item int;",
        "BEGIN TRY SELECT 1; END TRY BEGIN CATCH THROW; END CATCH;",
        "BEGIN TRANSACTION;",
        "COMMIT TRANSACTION;",
        "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;",
        "THROW;",
        "IF @place IS NOT NULL THROW 1749320005, N'x', 1;",
        "THROW 1749320005, N'x', 1;",
        "SET @step = 0;",
        "DECLARE @s0 TABLE (o int NOT NULL PRIMARY KEY, c0 bigint NULL, c1 nvarchar(20) COLLATE Latin1_General_CI_AS NULL);",
        "INSERT INTO @s0 (o, c0) SELECT j.o, CONVERT(bigint, j.c0), CONVERT(varbinary(max), j.c0, 2) FROM OPENJSON(@P1, '$[0]') WITH (o int '$[0]', c0 nvarchar(max) '$[1]') AS j;",
        "SELECT @place = MIN(s.o) FROM @s0 AS s WHERE CONVERT(nvarchar(max), s.c0) COLLATE Latin1_General_100_BIN2 <> s.r0;",
        "UPDATE t SET [a] = s.c1 FROM [dbo].[t] AS t WITH (UPDLOCK, HOLDLOCK) INNER JOIN @s0 AS s ON t.[id] = s.c0 WHERE t.[v] <= s.c0;",
        "DELETE t FROM [dbo].[t] AS t WITH (UPDLOCK, HOLDLOCK) INNER JOIN @s0 AS s ON t.[id] = s.c0;",
        "INSERT INTO [dbo].[ca]]rs] ([id]) SELECT s.c0 FROM @s0 AS s WHERE NOT EXISTS (SELECT 1 FROM [dbo].[ca]]rs] AS t WITH (UPDLOCK, HOLDLOCK) WHERE t.[id] = s.c0) ORDER BY s.o;",
        "IF EXISTS (SELECT 1) INSERT INTO t (a) SELECT 1;",
        "SET IDENTITY_INSERT [dbo].[t] ON;",
        "WHILE @item > 0 BEGIN INSERT INTO t DEFAULT VALUES; SET @item = @item - 1; END;",
        "BEGIN SELECT 1; END;",
    ] {
        println!(
            "{:80} {}",
            &piece[..piece.len().min(80)],
            match Parser::parse_sql(&MsSqlDialect {}, piece) {
                Ok(_) => "ok".to_owned(),
                Err(e) => e.to_string(),
            }
        );
    }
}
