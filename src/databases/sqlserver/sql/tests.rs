//! The T-SQL of every kind of write: snapshots, and what a parser of the dialect makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use sqlparser::{dialect::MsSqlDialect, parser::Parser};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::WriteError,
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::{
        Cell, DeadId, DeadRow, Encoded, Fence, LaneId, Op, SideRow, Statement, Supersede, TablePlan, Transaction,
    },
};

mod hostile;

use crate::databases::sqlserver::{
    batch::Batch,
    bookkeeping, catalogue, own_tables, session,
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
        encoded: Encoded::default(),
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

fn cell_rows(op: Op) -> Statement {
    let two: &[&[&str]] =
        &[&["1", "B 1", "1.5", "2025-06-01 08:00:00.1239"], &["2", "B 2", "-2", "2025-06-01 08:00:00"]];
    match op {
        Op::Delete | Op::Clear => statement(op, &[0], &[0], &[&["1"], &["2"]]),
        _ => statement(op, &[0], &[0, 1, 2, 6], two),
    }
}

/// The T-SQL of these statements, which a parser reads.
fn written(statements: &[Statement], tables: &Tables) -> String {
    let batch = write::rows_alone(statements, tables).unwrap();
    parsed(&batch);
    batch.text
}

/// Holds a batch against a parser of the dialect. It reads everything but TRY and CATCH, whose blocks are read one by one.
fn parsed(batch: &Batch) {
    balanced(&batch.text);
    let mut blocks = vec![batch.text.as_str()];
    for mark in ["\nBEGIN TRY\n", "\nEND TRY\nBEGIN CATCH\n", "\nEND CATCH;\n"] {
        let last = blocks.pop().unwrap();
        // What stands alone has neither.
        blocks.extend(last.split(mark).map(|block| block.trim_end_matches('\n')));
        assert!(blocks.len() <= 4, "{mark} more than once in {}", batch.text);
    }
    for block in blocks {
        if let Err(error) = Parser::parse_sql(&MsSqlDialect {}, block) {
            panic!("{error} in {block}");
        }
    }
    let beyond = format!("@P{}", batch.parameters.len() + 1);
    assert!(!batch.text.contains(&beyond), "{beyond} in {}", batch.text);
}

/// Brackets, quotes and parentheses close where they must, and nothing else is quoted.
fn balanced(text: &str) {
    let mut depth = 0_i32;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '[' | '\'' => {
                let end = if char == '[' { ']' } else { '\'' };
                loop {
                    match chars.next() {
                        Some(inner) if inner == end && chars.peek() == Some(&end) => drop(chars.next()),
                        Some(inner) if inner == end => break,
                        Some(_) => {}
                        None => panic!("{char} is never closed in {text}"),
                    }
                }
            }
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => panic!("a double quote in {text}"),
            _ => {}
        }
        assert!(depth >= 0, "a parenthesis too many in {text}");
    }
    assert_eq!(depth, 0, "{text}");
}

#[test]
fn an_insert_goes_through_a_table_variable() {
    insta::assert_snapshot!(written(&[cell_rows(Op::Insert)], &tables()));
}

#[test]
fn an_upsert_is_an_update_and_an_insert_of_what_is_missing() {
    insta::assert_snapshot!(written(&[cell_rows(Op::Upsert)], &tables()));
}

#[test]
fn a_partial_upsert_inserts_only_where_there_is_something_to_insert() {
    let part = statement(Op::Upsert, &[0], &[0, 2], &[&["1", "1.5"]]);
    let text = written(&[part], &tables());
    assert!(text.contains("\nIF EXISTS (SELECT 1 FROM @s0 AS s WHERE NOT EXISTS"), "{text}");
    assert!(!text.contains("ROW_NUMBER"), "one row has no twin: {text}");
}

#[test]
fn what_is_for_new_rows_only_is_not_updated() {
    let mut upsert = cell_rows(Op::Upsert);
    upsert.insert_only = vec![1, 2];
    let text = written(&[upsert], &tables());
    assert!(text.contains("UPDATE t SET [seen] = s.c3 FROM"), "{text}");
    let mut nothing = cell_rows(Op::Upsert);
    nothing.insert_only = vec![1, 2, 3];
    assert!(!written(&[nothing], &tables()).contains("UPDATE t"), "nothing is left to update");
}

#[test]
fn an_update_tells_what_it_missed() {
    insta::assert_snapshot!(written(&[cell_rows(Op::Update)], &tables()));
}

#[test]
fn an_update_that_must_touch_throws_at_the_first_missing_row() {
    let mut update = cell_rows(Op::Update);
    update.must_touch = true;
    let text = written(&[update], &tables());
    assert!(text.contains("SELECT @place = MIN(s.o) FROM @s0 AS s WHERE NOT EXISTS"), "{text}");
    assert!(text.contains("IF @place IS NOT NULL THROW 1749320005,"), "{text}");
    assert!(!text.contains("INSERT INTO @untouched"), "{text}");
}

#[test]
fn a_delete_goes_by_key() {
    insta::assert_snapshot!(written(&[cell_rows(Op::Delete)], &tables()));
}

#[test]
fn a_clearing_counts_nothing() {
    let text = written(&[cell_rows(Op::Clear)], &tables());
    assert!(text.contains("DELETE t FROM") && !text.contains("INSERT INTO @untouched"), "{text}");
}

#[test]
fn a_replacement_deletes_and_inserts() {
    let text = written(&[cell_rows(Op::Replace)], &tables());
    assert!(text.find("DELETE t FROM").unwrap() < text.find("INSERT INTO [dbo].[ca]]rs] ").unwrap(), "{text}");
}

#[test]
fn a_greater_version_guards_its_row() {
    for op in [Op::Upsert, Op::Update, Op::Delete] {
        let mut guarded = statement(op, &[0], &[0, 2], &[&["1", "1.5"], &["2", "2.5"]]);
        Arc::get_mut(&mut guarded.plan).unwrap().version = Some(2);
        let text = written(&[guarded], &tables());
        let guard = "ON t.[id] = s.c0 WHERE t.[price] <= s.c1 OR t.[price] IS NULL OR s.c1 IS NULL;";
        assert_eq!(text.matches(guard).count(), 1, "{text}");
        // It is there, and so neither missing nor inserted.
        assert!(
            text.contains(
                "WHERE NOT EXISTS (SELECT 1 FROM [dbo].[ca]]rs] AS t WITH (UPDLOCK, HOLDLOCK) WHERE t.[id] = s.c0)"
            ),
            "{text}"
        );
    }
}

#[test]
fn an_identity_column_is_written_with_its_own_switch() {
    let mut tables = tables();
    tables.values_mut().for_each(|facts| facts.identity = Some("id".into()));
    let text = written(&[cell_rows(Op::Upsert)], &tables);
    let on = text.find("SET IDENTITY_INSERT [dbo].[ca]]rs] ON;").unwrap();
    let off = text.find("SET IDENTITY_INSERT [dbo].[ca]]rs] OFF;").unwrap();
    assert!(on < text.find("INSERT INTO [dbo].[ca]]rs] ").unwrap() && on < off, "{text}");
    assert!(!written(&[cell_rows(Op::Update)], &tables).contains("IDENTITY_INSERT"), "an update inserts nothing");
    let without = statement(Op::Insert, &[], &[1], &[&["B 1"]]);
    assert!(!written(&[without], &tables).contains("IDENTITY_INSERT"), "the server counts");
}

#[test]
fn a_code_page_is_asked_only_where_it_could_lack_something() {
    let ascii = statement(Op::Insert, &[], &[0, 5], &[&["1", "plain"]]);
    assert!(!written(&[ascii], &tables()).contains("@place = MIN"), "ASCII is in every code page");
    insta::assert_snapshot!(written(&[statement(Op::Insert, &[], &[0, 5], &[&["1", "naïve"]])], &tables()));
    // The same in a Unicode column, and in UTF-8.
    assert!(!written(&[statement(Op::Insert, &[], &[0, 1], &[&["1", "車"]])], &tables()).contains("@place = MIN"));
    let mut utf8 = tables();
    let collation = ("note".to_owned(), ("Latin1_General_100_CI_AS_SC_UTF8".to_owned(), 65_001));
    utf8.values_mut().for_each(|facts| facts.collations.extend([collation.clone()]));
    assert!(!written(&[statement(Op::Insert, &[], &[0, 5], &[&["1", "naïve"]])], &utf8).contains("@place = MIN"));
}

#[test]
fn rows_without_a_column_are_counted() {
    let text = written(&[statement(Op::Insert, &[], &[], &[&[], &[]])], &tables());
    assert!(
        text.contains("SET @item = 2;\nWHILE @item > 0 BEGIN INSERT INTO [dbo].[ca]]rs] DEFAULT VALUES;"),
        "{text}"
    );
}

#[test]
fn values_are_in_parameters_alone() {
    let batch = write::rows_alone(
        &[statement(
            Op::Insert,
            &[0],
            &[0, 1, 2, 4, 6],
            &[&["1", "it's \"1\"", "1.50", "true", "2025-06-01 08:00:00.1239"]],
        )],
        &tables(),
    )
    .unwrap();
    assert_eq!(batch.parameters, [r#"[[[0,"1","it's \"1\"","1.50","1","2025-06-01T08:00:00.123"]]]"#]);
    let mut bytes = statement(Op::Insert, &[0], &[0, 3], &[]);
    bytes.rows =
        vec![vec![Cell::Text("1".into()), Cell::Bytes([0, 255].into())], vec![Cell::Text("2".into()), Cell::Null]];
    let batch = write::rows_alone(&[bytes], &tables()).unwrap();
    assert_eq!(batch.parameters, [r#"[[[0,"1","00ff"],[1,"2",null]]]"#]);
}

/// A value, its place among the columns, and the word and sentence of the refusal.
#[test]
fn a_bad_value_is_refused_before_anything_is_sent() {
    for (columns, value, code, column) in [
        (&[0, 1][..], "123456789012345678901", "too_long", "plate"),
        // Ten characters, and twenty-two units of UTF-16.
        (&[0, 1], "👩👩👩👩👩👩👩👩👩👩👩", "too_long", "plate"),
        (&[0, 2], "1.005", "range", "price"),
        (&[0, 2], "1e3", "type", "price"),
        (&[0, 4], "perhaps", "type", "sold"),
        (&[0, 5], "12345678901", "too_long", "note"),
    ] {
        let bad =
            statement(Op::Insert, &[], columns, &[&["1", if columns[1] == 4 { "true" } else { "1" }], &["2", value]]);
        let refused = write::rows_alone(&[cell_rows(Op::Insert), bad], &tables()).unwrap_err();
        let WriteError::Reject(rejection) = refused else { panic!("{refused:?}") };
        assert_eq!((rejection.code.as_str(), rejection.column.as_deref()), (code, Some(column)));
        assert_eq!((rejection.statement, rejection.row), (Some(1), Some(1)));
        assert!(!rejection.message.contains(value), "{}", rejection.message);
    }
    let mut null = statement(Op::Upsert, &[0], &[0, 1], &[]);
    null.rows = vec![vec![Cell::Text("1".into()), Cell::Null]];
    let refused = write::rows_alone(&[null], &tables()).unwrap_err();
    assert!(matches!(&refused, WriteError::Reject(rejection) if rejection.code == "not_null"), "{refused:?}");
}

#[test]
fn many_statements_share_parameters() {
    let statements: Vec<_> =
        (0..4_500).map(|id: u32| statement(Op::Insert, &[0], &[0], &[&[&id.to_string()]])).collect();
    let batch = write::rows_alone(&statements, &tables()).unwrap();
    assert_eq!(batch.parameters.len(), 1_500, "3 statements each; the server takes 2,100");
    assert!(batch.text.contains("OPENJSON(@P1500, '$[2]')") && batch.text.contains("DECLARE @s4499 TABLE"));
    assert_eq!(batch.parameters[1_499], r#"[[[0,"4497"]],[[0,"4498"]],[[0,"4499"]]]"#);
}

fn lane(part: &str) -> LaneId {
    LaneId { installation: "inst".into(), destination: "dest".into(), stream: "app".into(), part: part.into() }
}

fn fence(part: &str, previous: u64, new: u64) -> Fence {
    Fence {
        lane: lane(part),
        generation: Generation::new("gen"),
        owner: "me".into(),
        previous: StreamId::new(previous, 0),
        new: StreamId::new(new, 0),
    }
}

/// Everything that a transaction may have, in the order in which it must be written.
fn everything() -> Transaction {
    let dead = |seq| DeadId { generation: Generation::new("gen"), id: StreamId::new(1, seq), route: "r".into() };
    Transaction {
        lock: Some(fence("main", 9, 9)),
        open: vec![SideRow {
            lane: lane("dbo.cars"),
            generation: Generation::new("gen"),
            last_id: StreamId::new(1, 0),
        }],
        close: vec![lane("dbo.rooms")],
        statements: vec![cell_rows(Op::Upsert)],
        bury: vec![DeadRow { dead: dead(1), table: "cars".into(), key: Some("7".into()), superseded_by: None }],
        supersede: vec![Supersede { table: "cars".into(), key: "7".into(), by: StreamId::new(1, 2) }],
        exhume: Some(dead(0)),
        ..Transaction::of(fence("side", 1, 2))
    }
}

#[test]
fn a_whole_transaction_is_one_request() {
    let batch = write::transaction(&everything(), &tables()).unwrap();
    parsed(&batch);
    insta::assert_snapshot!(format!("{}\n{}", batch.text, batch.parameters.join("\n")));
    let only_fence = write::transaction(&Transaction::of(fence("main", 1, 2)), &tables()).unwrap();
    parsed(&only_fence);
    assert!(!only_fence.text.contains("tidegate_dead"), "{}", only_fence.text);
}

#[test]
fn our_own_tables_are_spoken_of_in_plain_t_sql() {
    let take_over = bookkeeping::take_over_batch("inst", "dest", "me");
    parsed(&take_over);
    // All but the random token.
    assert_eq!((take_over.parameters[0].as_str(), take_over.parameters[1].as_str()), ("inst/dest/%", "dest"));
    insta::assert_snapshot!(take_over.text);
    let begin = bookkeeping::begin_lane_batch(&lane("main"), &Generation::new("gen"), "me", StreamId::new(1, 2));
    parsed(&begin);
    insta::assert_snapshot!(begin.text);
    parsed(&bookkeeping::watermark_batch(&lane("main"), &Generation::new("gen")));
    for statement in own_tables::DDL.split_inclusive(";\n") {
        balanced(statement);
        Parser::parse_sql(&MsSqlDialect {}, statement).unwrap();
    }
    for question in [
        session::ABOUT_SERVER,
        own_tables::MISSING,
        catalogue::NAMES,
        catalogue::OBJECT,
        catalogue::COLUMNS,
        catalogue::KEYS,
    ] {
        balanced(question);
        Parser::parse_sql(&MsSqlDialect {}, question).unwrap_or_else(|error| panic!("{error} in {question}"));
    }
}
