//! Many rows in one statement, beyond every database's limit of parameters.

use tidegate_actors::{
    ports::WriteError,
    transaction::{Cell, Op},
};

use super::{
    Database,
    table::{Table, Type, column},
    writer::{Plan, Writer, by_first, contents, text},
};

/// 24 columns: 3,000 rows have 72,000 values, where PostgreSQL and MySQL take 65,535 parameters and SQLite 32,766.
const WIDE: [&str; 24] = [
    "id", "c01", "c02", "c03", "c04", "c05", "c06", "c07", "c08", "c09", "c10", "c11", "c12", "c13", "c14", "c15",
    "c16", "c17", "c18", "c19", "c20", "c21", "c22", "c23",
];

const SIZES: [u32; 4] = [1, 2, 500, 3_000];

fn wide() -> Table {
    let columns = WIDE.iter().enumerate();
    let columns =
        columns.map(|(at, name)| column(name, if at.is_multiple_of(2) { Type::Int } else { Type::Varchar(30) }));
    Table::new(
        "wide",
        &["id"],
        columns.map(|column| if column.name == "id" { column.required() } else { column }).collect(),
    )
}

/// Rows with these ids; every value tells of its row and of `mark`.
fn rows(ids: impl Iterator<Item = u32>, mark: u32) -> Vec<Vec<Cell>> {
    let row = |id: u32| (0..WIDE.len()).map(|at| text(&value(id, at, mark))).collect();
    ids.map(row).collect()
}

fn value(id: u32, at: usize, mark: u32) -> String {
    match at {
        0 => id.to_string(),
        _ if at.is_multiple_of(2) => (id * 100 + mark).to_string(),
        _ => format!("{mark}: '{id}' ☃ {at}"),
    }
}

fn rest(id: u32, mark: u32) -> String {
    (1..WIDE.len()).map(|at| value(id, at, mark)).collect::<Vec<_>>().join("|")
}

async fn begin(database: &dyn Database) -> (Writer, Plan) {
    database.create(&wide()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&wide(), &["id"]).await;
    (writer, plan)
}

pub(crate) async fn inserts(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    let mut next = 0;
    for size in SIZES {
        writer.write(vec![plan.statement(Op::Insert, &WIDE, rows(next..next + size, 1))]).await.unwrap();
        next += size;
    }
    let found = by_first(database, &wide()).await;
    assert_eq!(found.len() as u32, next);
    assert!((0..next).all(|id| found[&id.to_string()] == rest(id, 1)));
}

pub(crate) async fn upserts(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    for (mark, size) in (1..).zip(SIZES) {
        writer.write(vec![plan.statement(Op::Upsert, &WIDE, rows(0..size, mark))]).await.unwrap();
        let found = by_first(database, &wide()).await;
        assert_eq!(found.len() as u32, size);
        assert!((0..size).all(|id| found[&id.to_string()] == rest(id, mark)));
    }
}

pub(crate) async fn updates(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    writer.write(vec![plan.statement(Op::Insert, &WIDE, rows(0..3_000, 1))]).await.unwrap();
    for (mark, size) in (2..).zip(SIZES) {
        let committed = writer.write(vec![plan.statement(Op::Update, &WIDE, rows(0..size, mark))]).await.unwrap();
        assert!(committed.untouched.is_empty());
        let found = by_first(database, &wide()).await;
        let mark_of = |id| if id < size { mark } else { 1 };
        assert!((size.saturating_sub(1)..3_000).all(|id| found[&id.to_string()] == rest(id, mark_of(id))));
    }
}

pub(crate) async fn replacements(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    for (mark, size) in (1..).zip(SIZES) {
        writer.write(vec![plan.statement(Op::Replace, &WIDE, rows(0..size, mark))]).await.unwrap();
        let found = by_first(database, &wide()).await;
        assert_eq!(found.len() as u32, size);
        assert!((0..size).all(|id| found[&id.to_string()] == rest(id, mark)));
    }
}

pub(crate) async fn deletes(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    for size in SIZES {
        writer.write(vec![plan.statement(Op::Insert, &WIDE, rows(0..size + 1, 1))]).await.unwrap();
        let keys = (0..size).map(|id| vec![text(&id.to_string())]).collect();
        let committed = writer.write(vec![plan.statement(Op::Delete, &["id"], keys)]).await.unwrap();
        assert!(committed.untouched.is_empty());
        assert_eq!(by_first(database, &wide()).await.into_keys().collect::<Vec<_>>(), [size.to_string()]);
        writer.write(vec![plan.texts(Op::Delete, &["id"], &[&[&size.to_string()]])]).await.unwrap();
    }
}

/// Every seventh key is missing, and that is exactly what is reported.
pub(crate) async fn untouched_rows_among_many(database: &dyn Database) {
    let (mut writer, plan) = begin(database).await;
    let is_there = |id: &u32| id % 7 != 3;
    writer.write(vec![plan.statement(Op::Insert, &WIDE, rows((0..3_000).filter(is_there), 1))]).await.unwrap();
    let expected: Vec<_> = (0..3_000).filter(|id| !is_there(id)).map(|id| (0, id as usize)).collect();

    let mut update = plan.statement(Op::Update, &WIDE, rows(0..3_000, 2));
    update.must_touch = false;
    let mut committed = writer.write(vec![update.clone()]).await.unwrap();
    committed.untouched.sort_unstable();
    assert_eq!(committed.untouched, expected);
    let found = by_first(database, &wide()).await;
    assert!((0..3_000).filter(is_there).all(|id| found[&id.to_string()] == rest(id, 2)));

    update.must_touch = true;
    let refused = writer.write(vec![update]).await;
    let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!((rejection.code.as_str(), rejection.statement, rejection.row), ("missing_row", Some(0), Some(3)));

    let keys = (0..3_000).map(|id: u32| vec![text(&id.to_string())]).collect();
    let mut committed = writer.write(vec![plan.statement(Op::Delete, &["id"], keys)]).await.unwrap();
    committed.untouched.sort_unstable();
    assert_eq!(committed.untouched, expected);
    assert!(contents(database, &wide()).await.is_empty());
}

pub(crate) async fn composite_keys_in_bulk(database: &dyn Database) {
    let seats = Table::new(
        "seats",
        &["hall", "no"],
        vec![
            column("hall", Type::Varchar(8)).required(),
            column("no", Type::BigInt).required(),
            column("price", Type::Int),
        ],
    );
    database.create(&seats).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&seats, &["hall", "no"]).await;
    let row =
        |n: u32, price: u32| vec![text(&format!("h{}", n % 3)), text(&(n / 3).to_string()), text(&price.to_string())];
    let all = ["hall", "no", "price"];
    writer
        .write(vec![
            plan.statement(Op::Insert, &all, (0..1_500).map(|n| row(n, n)).collect()),
            plan.statement(Op::Upsert, &all, (1_000..2_000).map(|n| row(n, n + 1)).collect()),
            plan.statement(Op::Update, &all, (500..1_000).map(|n| row(n, n + 2)).collect()),
            plan.statement(Op::Delete, &["hall", "no"], (0..500).map(|n| row(n, 0)[..2].to_vec()).collect()),
        ])
        .await
        .unwrap();
    let price = |n: u32| if n < 1_000 { n + 2 } else { n + 1 };
    let mut expected: Vec<_> = (500..2_000).map(|n| format!("h{}|{}|{}", n % 3, n / 3, price(n))).collect();
    expected.sort();
    assert_eq!(contents(database, &seats).await, expected);
}
