//! Snapshots of the SQL text of every kind of write.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use tidegate_actors::{
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::{Encoded, Op, Statement, TablePlan},
};

use super::{
    catalogue::Facts,
    sql::{Shape, chunk},
};

fn column(name: &str, declared: &str, kind: ColumnType) -> ColumnSchema {
    let nullable = name != "id";
    ColumnSchema {
        name: name.into(),
        declared: declared.into(),
        kind,
        nullable,
        has_default: false,
        default: None,
        generated: false,
    }
}

/// Rows of a table of cars, by `id` or by `id` and `plate`.
fn statement(op: Op, key: &[usize], columns: &[usize]) -> Statement {
    let text = ColumnType::Text { max_chars: Some(20), max_bytes: None, nul: true };
    let table = TableSchema {
        schema: "rooms".into(),
        name: "ca`rs".into(),
        columns: vec![
            column("id", "bigint(20)", ColumnType::Int { min: i128::from(i64::MIN), max: i128::from(i64::MAX) }),
            column("plate", "varchar(20)", text),
            column("price", "decimal(14,2)", ColumnType::Decimal { precision: Some(14), scale: Some(2) }),
            column("photo", "longblob", ColumnType::Bytes { max_bytes: None }),
            column("sold", "bit(1)", ColumnType::Bool),
        ],
        unique_keys: vec![vec!["id".into()]],
    };
    let plan = TablePlan {
        route: "r".into(),
        table: Arc::new(table),
        columns: vec![0, 1, 2, 3, 4],
        key: key.to_vec(),
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

/// With so many rows of parameters.
fn written<'s>(shape: &Shape<'s>, rows: usize, sql: fn(&Shape<'s>, &str) -> String) -> String {
    sql(shape, &shape.parameters(rows))
}

fn facts(charset: &str, collation: &str) -> Facts {
    let collations = [("plate".to_owned(), (charset.to_owned(), collation.to_owned()))].into();
    Facts { collations, hidden_unique: false }
}

#[test]
fn an_insert_names_its_columns_and_binds_every_value() {
    let (facts, statement) = (facts("utf8mb4", "utf8mb4_bin"), statement(Op::Insert, &[], &[0, 1, 4]));
    insta::assert_snapshot!(written(&Shape::new(&statement, &facts), 2, Shape::insert), @"INSERT INTO `rooms`.`ca``rs` (`id`,`plate`,`sold`) VALUES (?,?,CAST(? AS UNSIGNED)),(?,?,CAST(? AS UNSIGNED))");
}

#[test]
fn an_upsert_changes_what_is_not_the_key() {
    let (facts, statement) = (facts("utf8mb4", "utf8mb4_bin"), statement(Op::Upsert, &[0], &[0, 1, 2]));
    insta::assert_snapshot!(written(&Shape::new(&statement, &facts), 1, Shape::upsert), @"INSERT INTO `rooms`.`ca``rs` (`id`,`plate`,`price`) VALUES (?,?,?) ON DUPLICATE KEY UPDATE `plate`=VALUES(`plate`),`price`=VALUES(`price`)");
}

#[test]
fn a_default_is_for_new_rows_only() {
    let (facts, mut statement) = (facts("utf8mb4", "utf8mb4_bin"), statement(Op::Upsert, &[0], &[0, 1, 2]));
    statement.insert_only = vec![2];
    let shape = Shape::new(&statement, &facts);
    insta::assert_snapshot!(written(&shape, 1, Shape::upsert), @"INSERT INTO `rooms`.`ca``rs` (`id`,`plate`,`price`) VALUES (?,?,?) ON DUPLICATE KEY UPDATE `plate`=VALUES(`plate`)");
    assert!(shape.update(1).ends_with(" SET t.`plate`=v.c1"), "{}", shape.update(1));
}

#[test]
fn an_upsert_of_the_key_alone_changes_nothing() {
    let (facts, statement) = (facts("utf8mb4", "utf8mb4_bin"), statement(Op::Upsert, &[0], &[0]));
    insta::assert_snapshot!(written(&Shape::new(&statement, &facts), 1, Shape::upsert), @"INSERT INTO `rooms`.`ca``rs` (`id`) VALUES (?) ON DUPLICATE KEY UPDATE `id`=`id`");
}

#[test]
fn rows_are_looked_up_locked_and_numbered() {
    let (facts, statement) = (facts("utf8mb4", "utf8mb4_bin"), statement(Op::Update, &[0], &[0, 2]));
    insta::assert_snapshot!(Shape::new(&statement, &facts).lookup(2), @"SELECT v.o, CONCAT_WS(',',HEX(CAST(t.`id` AS BINARY))) FROM (SELECT 0 o,CAST(? AS SIGNED) c0 UNION ALL SELECT 1,CAST(? AS SIGNED)) v STRAIGHT_JOIN `rooms`.`ca``rs` t ON t.`id`=v.c0 FOR UPDATE");
}

#[test]
fn an_update_compares_keys_as_their_columns_do() {
    let (facts, statement) = (facts("utf8mb4", "utf8mb4_general_ci"), statement(Op::Update, &[0, 1], &[0, 1, 2, 3, 4]));
    insta::assert_snapshot!(Shape::new(&statement, &facts).update(2), @"UPDATE (SELECT 0 o,CAST(? AS SIGNED) c0,CAST(? AS CHAR) c1,CAST(? AS CHAR) c2,CAST(? AS BINARY) c3,CAST(? AS UNSIGNED) c4 UNION ALL SELECT 1,CAST(? AS SIGNED),CAST(? AS CHAR),CAST(? AS CHAR),CAST(? AS BINARY),CAST(? AS UNSIGNED)) v STRAIGHT_JOIN `rooms`.`ca``rs` t ON t.`id`=v.c0 AND t.`plate`=v.c1 COLLATE utf8mb4_general_ci SET t.`price`=v.c2,t.`photo`=v.c3,t.`sold`=v.c4");
}

#[test]
fn a_key_that_the_columns_character_set_lacks_matches_nothing() {
    let (facts, statement) = (facts("latin1", "latin1_swedish_ci"), statement(Op::Delete, &[1], &[1]));
    insta::assert_snapshot!(Shape::new(&statement, &facts).delete(1), @"DELETE t FROM (SELECT 0 o,CAST(? AS CHAR) c0) v STRAIGHT_JOIN `rooms`.`ca``rs` t ON t.`plate`=CONVERT(v.c0 USING latin1) COLLATE latin1_swedish_ci AND CAST(CONVERT(CONVERT(v.c0 USING latin1) USING utf8mb4) AS BINARY)=CAST(v.c0 AS BINARY)");
}

/// Rows of a table of cars, by `id`, guarded by this column.
fn guarded(op: Op, version: usize, columns: &[usize]) -> Statement {
    let mut guarded = statement(op, &[0], columns);
    guarded.plan = Arc::new(TablePlan {
        version: Some(version),
        route: "r".into(),
        table: Arc::clone(&guarded.plan.table),
        columns: guarded.plan.columns.clone(),
        key: guarded.plan.key.clone(),
        only_unique_key: true,
    });
    guarded
}

#[test]
fn a_guarded_upsert_assigns_the_version_last() {
    let (facts, statement) = (facts("utf8mb4", "utf8mb4_bin"), guarded(Op::Upsert, 1, &[0, 1, 2]));
    insta::assert_snapshot!(written(&Shape::new(&statement, &facts), 1, Shape::upsert), @"INSERT INTO `rooms`.`ca``rs` (`id`,`plate`,`price`) VALUES (?,?,?) ON DUPLICATE KEY UPDATE `price`=IF(`plate`>VALUES(`plate`),`price`,VALUES(`price`)),`plate`=IF(`plate`>VALUES(`plate`),`plate`,VALUES(`plate`))");
}

#[test]
fn a_guard_compares_versions_as_their_column_does() {
    let (facts, statement) = (facts("latin1", "latin1_swedish_ci"), guarded(Op::Update, 1, &[0, 1, 2]));
    insta::assert_snapshot!(Shape::new(&statement, &facts).update(1), @"UPDATE (SELECT 0 o,CAST(? AS SIGNED) c0,CAST(? AS CHAR) c1,CAST(? AS CHAR) c2) v STRAIGHT_JOIN `rooms`.`ca``rs` t ON t.`id`=v.c0 SET t.`plate`=v.c1,t.`price`=v.c2 WHERE (t.`plate`>CONVERT(v.c1 USING latin1) COLLATE latin1_swedish_ci) IS NOT TRUE");
    let statement = guarded(Op::Delete, 2, &[0, 2]);
    insta::assert_snapshot!(Shape::new(&statement, &facts).delete(1), @"DELETE t FROM (SELECT 0 o,CAST(? AS SIGNED) c0,CAST(? AS CHAR) c1) v STRAIGHT_JOIN `rooms`.`ca``rs` t ON t.`id`=v.c0 WHERE (t.`price`>CAST(v.c1 AS DECIMAL(14,2))) IS NOT TRUE");
    insta::assert_snapshot!(Shape::new(&statement, &facts).newer(2).unwrap(), @"SELECT v.o FROM (SELECT 0 o,CAST(? AS SIGNED) c0,CAST(? AS CHAR) c1 UNION ALL SELECT 1,CAST(? AS SIGNED),CAST(? AS CHAR)) v STRAIGHT_JOIN `rooms`.`ca``rs` t ON t.`id`=v.c0 WHERE t.`price`>CAST(v.c1 AS DECIMAL(14,2))");
}

#[test]
fn a_clearing_names_its_values_in_a_list() {
    let utf8 = facts("utf8mb4", "utf8mb4_bin");
    let one = statement(Op::Clear, &[0], &[0]);
    insta::assert_snapshot!(Shape::new(&one, &utf8).clear(3), @"DELETE FROM `rooms`.`ca``rs` WHERE `id` IN (CAST(? AS SIGNED),CAST(? AS SIGNED),CAST(? AS SIGNED))");
    let two = statement(Op::Clear, &[0, 1], &[0, 1]);
    insta::assert_snapshot!(Shape::new(&two, &utf8).clear(2), @"DELETE FROM `rooms`.`ca``rs` WHERE (`id`,`plate`) IN ((CAST(? AS SIGNED),CAST(? AS CHAR) COLLATE utf8mb4_bin),(CAST(? AS SIGNED),CAST(? AS CHAR) COLLATE utf8mb4_bin))");
    // What the column's character set lacks must match nothing.
    insta::assert_snapshot!(Shape::new(&two, &facts("latin1", "latin1_swedish_ci")).clear(1), @"DELETE t FROM (SELECT 0 o,CAST(? AS SIGNED) c0,CAST(? AS CHAR) c1) v STRAIGHT_JOIN `rooms`.`ca``rs` t ON t.`id`=v.c0 AND t.`plate`=CONVERT(v.c1 USING latin1) COLLATE latin1_swedish_ci AND CAST(CONVERT(CONVERT(v.c1 USING latin1) USING utf8mb4) AS BINARY)=CAST(v.c1 AS BINARY)");
}

#[test]
fn on_duplicate_key_is_used_only_where_it_means_this_key_and_the_row_could_be_inserted() {
    let mut facts = facts("utf8mb4", "utf8mb4_bin");
    let whole = statement(Op::Upsert, &[1], &[0, 1]);
    assert!(Shape::new(&whole, &facts).on_duplicate_key(true));
    assert!(!Shape::new(&whole, &facts).on_duplicate_key(false), "another unique key could match");
    let part = statement(Op::Upsert, &[1], &[1, 2]);
    assert!(!Shape::new(&part, &facts).on_duplicate_key(true), "`id` has no default");
    facts.hidden_unique = true;
    assert!(!Shape::new(&whole, &facts).on_duplicate_key(true), "an index over a prefix could match");
}

#[test]
fn statements_come_in_few_sizes() {
    for (rows, columns, derived, size) in [
        (1, 6, false, 1),
        (500, 6, false, 256),
        (512, 6, false, 512),
        (5_000, 6, false, 512),
        (5_000, 6, true, 128),
        (5_000, 100, false, 32),
        (5_000, 5_000, false, 1),
        (7, 0, false, 4),
    ] {
        assert_eq!(chunk(rows, columns, derived), size, "{rows} rows of {columns} columns");
    }
}
