//! Clearing the rows of a parent, and rows that go with another row of the same transaction.

use tidegate_actors::{
    ports::WriteError,
    transaction::{Cell, Op, Statement},
};

use super::{
    Ability, Database,
    table::{Table, Type, column},
    writer::{Plan, Writer, contents, text},
};

const LINE: [&str; 4] = ["branch", "order", "line", "sku"];

fn orders() -> Table {
    let columns = vec![
        column("no", Type::Int).required(),
        column("seen", Type::Int),
        column("note", Type::Varchar(20)).required(),
    ];
    Table::new("orders", &["no"], columns)
}

/// Lines without any key, of orders of a branch.
fn lines() -> Table {
    let columns = vec![
        column("branch", Type::Varchar(8)),
        column("order", Type::Int),
        column("line", Type::Int),
        column("sku", Type::Varchar(20)),
    ];
    Table::new("lines", &[], columns)
}

/// Three lines of each of these orders of branch `J`, and the same of branch `B`.
fn some(orders: std::ops::Range<u32>) -> Vec<Vec<Cell>> {
    let line = |n: u32| {
        vec![
            text(if n.is_multiple_of(2) { "J" } else { "B" }),
            text(&(n / 6).to_string()),
            text(&(n % 6).to_string()),
            text("x"),
        ]
    };
    (orders.start * 6..orders.end * 6).map(line).collect()
}

pub(crate) async fn a_clearing_removes_every_row_with_these_values(database: &dyn Database) {
    database.create(&lines()).await;
    let mut writer = Writer::take(database, "one").await;
    let by_order = writer.plan(&lines(), &["order"]).await;
    let by_both = writer.plan(&lines(), &["order", "branch"]).await;
    writer.write(vec![by_order.statement(Op::Insert, &LINE, some(0..5))]).await.unwrap();
    // Named twice, not there, and several at once: nothing is told of rows.
    let committed = writer
        .write(vec![
            by_order.texts(Op::Clear, &["order"], &[&["1"], &["9"], &["1"], &["3"]]),
            by_both.texts(Op::Clear, &["branch", "order"], &[&["J", "0"], &["J", "0"], &["X", "2"]]),
        ])
        .await
        .unwrap();
    assert!(committed.untouched.is_empty());
    let left = ["B|0|1|x", "B|0|3|x", "B|0|5|x", "B|2|1|x", "B|2|3|x", "B|2|5|x"];
    let also = ["B|4|1|x", "B|4|3|x", "B|4|5|x", "J|2|0|x", "J|2|2|x", "J|2|4|x", "J|4|0|x", "J|4|2|x", "J|4|4|x"];
    assert_eq!(contents(database, &lines()).await, [&left[..], &also[..]].concat());
}

pub(crate) async fn a_clearing_of_many_parents(database: &dyn Database) {
    database.create(&lines()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&lines(), &["branch", "order"]).await;
    for size in [1, 2, 500, 1_500] {
        writer.write(vec![plan.statement(Op::Insert, &LINE, some(0..size))]).await.unwrap();
        let keys = |branch: &str| (0..size).map(|order| vec![text(branch), text(&order.to_string())]).collect();
        writer.write(vec![plan.statement(Op::Clear, &["branch", "order"], keys("J"))]).await.unwrap();
        assert_eq!(contents(database, &lines()).await.len() as u32, size * 3);
        writer.write(vec![plan.statement(Op::Clear, &["branch", "order"], keys("B"))]).await.unwrap();
        assert!(contents(database, &lines()).await.is_empty());
    }
}

pub(crate) async fn a_clearing_that_is_refused_undoes_the_rest(database: &dyn Database) {
    if !database.can(Ability::ForeignKey) {
        return;
    }
    let line = Table::new("line", &["no"], vec![column("no", Type::Int).required(), column("order", Type::Int)]);
    let part = vec![column("id", Type::Int).required(), column("line", Type::Int).references("line", "no")];
    let part = Table::new("part", &["id"], part);
    database.create(&line).await;
    database.create(&part).await;
    let mut writer = Writer::take(database, "one").await;
    let (lines, parts) = (writer.plan(&line, &["order"]).await, writer.plan(&part, &["id"]).await);
    writer
        .write(vec![
            lines.texts(Op::Insert, &["no", "order"], &[&["1", "1"], &["2", "2"], &["3", "2"]]),
            parts.texts(Op::Insert, &["id", "line"], &[&["1", "3"]]),
        ])
        .await
        .unwrap();
    let refused = writer.write(vec![lines.texts(Op::Clear, &["order"], &[&["1"], &["2"]])]).await;
    let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!(rejection.code, "foreign_key");
    assert_eq!(contents(database, &line).await, ["1|1", "2|2", "3|2"]);
}

async fn with_orders(database: &dyn Database) -> (Writer, Plan, Plan) {
    database.create(&orders()).await;
    database.create(&lines()).await;
    let mut writer = Writer::take(database, "one").await;
    let orders = writer.plan(&orders(), &["no"]).await.guarded("seen");
    let lines = writer.plan(&lines(), &["order"]).await;
    let rows: &[&[&str]] = &[&["1", "5", "a"], &["2", "5", "b"]];
    let old: &[&[&str]] = &[&["J", "1", "1", "old"], &["J", "2", "1", "old"]];
    writer
        .write(vec![orders.texts(Op::Insert, &["no", "seen", "note"], rows), lines.texts(Op::Insert, &LINE, old)])
        .await
        .unwrap();
    (writer, orders, lines)
}

/// The lines of orders 1, 2 and 3 replaced, each with its order's row of statement 0.
fn replaced(lines: &Plan) -> [Statement; 2] {
    let mut clear = lines.texts(Op::Clear, &["order"], &[&["1"], &["2"], &["3"]]);
    clear.parents = vec![(0, 0), (0, 1), (0, 2)];
    let rows: &[&[&str]] =
        &[&["J", "1", "1", "new"], &["J", "1", "2", "new"], &["J", "2", "1", "new"], &["J", "3", "1", "new"]];
    let mut insert = lines.texts(Op::Insert, &LINE, rows);
    insert.parents = vec![(0, 0), (0, 0), (0, 1), (0, 2)];
    [clear, insert]
}

pub(crate) async fn rows_go_with_a_row_that_is_missing(database: &dyn Database) {
    let (mut writer, orders, lines) = with_orders(database).await;
    let mut update = orders.texts(Op::Update, &["no", "note"], &[&["1", "c"], &["2", "c"], &["3", "c"]]);
    update.must_touch = false;
    let [clear, insert] = replaced(&lines);
    let mut committed = writer.write(vec![update, clear, insert]).await.unwrap();
    committed.untouched.sort_unstable();
    assert_eq!(committed.untouched, [(0, 2), (1, 2), (2, 3)]);
    assert_eq!(contents(database, &self::lines()).await, ["J|1|1|new", "J|1|2|new", "J|2|1|new"]);
}

pub(crate) async fn rows_go_with_a_row_that_is_newer(database: &dyn Database) {
    let (mut writer, orders, lines) = with_orders(database).await;
    for op in [Op::Upsert, Op::Update] {
        // Order 1 is older than what is there.
        let mut parents =
            orders.texts(op, &["no", "seen", "note"], &[&["1", "4", "c"], &["2", "6", "c"], &["3", "6", "c"]]);
        parents.must_touch = false;
        let [clear, insert] = replaced(&lines);
        let mut committed = writer.write(vec![parents, clear, insert]).await.unwrap();
        committed.untouched.sort_unstable();
        assert_eq!(committed.untouched, [(1, 0), (2, 0), (2, 1)], "{op:?}");
        assert_eq!(contents(database, &self::lines()).await, ["J|1|1|old", "J|2|1|new", "J|3|1|new"], "{op:?}");
    }
    // What the guard says of a part of a row that could not be inserted is heard too.
    let mut parents = orders.texts(Op::Upsert, &["no", "seen"], &[&["1", "4"], &["2", "7"], &["3", "7"]]);
    parents.must_touch = false;
    let [clear, mut insert] = replaced(&lines);
    insert.rows.iter_mut().for_each(|row| row[3] = text("newest"));
    writer.write(vec![parents, clear, insert]).await.unwrap();
    assert_eq!(contents(database, &self::lines()).await, ["J|1|1|old", "J|2|1|newest", "J|3|1|newest"]);
}

/// A rejection names the row by its place among all, not among those that were left.
pub(crate) async fn a_bad_row_behind_one_that_is_passed_over_is_named_by_its_place(database: &dyn Database) {
    let (mut writer, orders, lines) = with_orders(database).await;
    let parents = orders.texts(Op::Upsert, &["no", "seen", "note"], &[&["1", "4", "c"], &["2", "6", "c"]]);
    let bad = Table::new("bad", &["id"], vec![column("id", Type::Int).required(), column("note", Type::Int)]);
    database.create(&bad).await;
    let plan = writer.plan(&bad, &["id"]).await;
    let mut insert = plan.texts(Op::Insert, &["id", "note"], &[&["1", "1"], &["2", "2"], &["2", "3"]]);
    insert.parents = vec![(0, 0), (0, 1), (0, 1)];
    let refused = writer.write(vec![parents, insert]).await;
    let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!((rejection.code.as_str(), rejection.statement), ("unique", Some(1)));
    assert!(rejection.row.is_none_or(|row| row == 2), "{rejection:?}");
    assert_eq!(contents(database, &self::lines()).await.len(), 2);
    drop(lines);
}

/// Insert if absent: where the row is there, what goes with it stays as it is too.
pub(crate) async fn rows_go_with_a_row_that_is_only_inserted(database: &dyn Database) {
    let (mut writer, orders, lines) = with_orders(database).await;
    let rows: &[&[&str]] = &[&["1", "c", "9"], &["2", "c", "9"], &["3", "c", "9"]];
    let mut parents = orders.texts(Op::Upsert, &["no", "note", "seen"], rows);
    parents.insert_only = vec![1, 2];
    let [clear, insert] = replaced(&lines);
    let mut committed = writer.write(vec![parents, clear, insert]).await.unwrap();
    committed.untouched.sort_unstable();
    assert_eq!(committed.untouched, [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]);
    assert_eq!(contents(database, &self::orders()).await, ["1|5|a", "2|5|b", "3|9|c"]);
    assert_eq!(contents(database, &self::lines()).await, ["J|1|1|old", "J|2|1|old", "J|3|1|new"]);
}
