//! What only SQLite does: a file that is missing, locked or exchanged, affinities, and tables with wills of their own.

use std::time::Duration;

use sqlx::{Connection as _, Row as _};
use tidegate::databases::kind;
use tidegate_actors::{message::StreamId, ports::WriteError, transaction::Op};

use crate::contract::{
    Database,
    sqlite::File,
    table::{Table, Type, column},
    writer::{DESTINATION, INSTALLATION, Writer, contents, text},
};

fn cars() -> Table {
    Table::new("cars", &["id"], vec![column("id", Type::Int).required(), column("name", Type::Text)])
}

/// A file with the table, its owner, and how the table is written.
async fn begin() -> (File, Writer, crate::contract::writer::Plan) {
    let file = File::fresh();
    file.create(&cars()).await;
    let mut writer = Writer::take(&file, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    (file, writer, plan)
}

#[tokio::test]
async fn a_missing_file_holds_and_is_never_created() {
    let file = File::fresh();
    std::fs::remove_file(file.path()).unwrap();
    let mut destination = file.open();
    for outcome in [destination.probe().await, destination.table("cars").await.map(|_| ())] {
        let Err(WriteError::Hold(fault)) = outcome else { panic!("{outcome:?}") };
        assert!(fault.message.contains(file.path().to_str().unwrap()), "{}", fault.message);
    }
    assert!(!file.path().exists());

    std::fs::File::create(file.path()).unwrap();
    destination.probe().await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_removed_while_it_is_open_holds() {
    let (file, mut writer, plan) = begin().await;
    std::fs::remove_file(file.path()).unwrap();
    let outcome = writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])]).await;
    assert!(matches!(outcome, Err(WriteError::Hold(_))), "{outcome:?}");
}

/// Puts another file in its place, as one restores a backup.
fn exchange(file: &File, by: &std::path::Path) {
    for beside in ["db-wal", "db-shm"] {
        let _ = std::fs::remove_file(file.path().with_extension(beside));
    }
    std::fs::rename(by, file.path()).unwrap();
}

#[tokio::test]
async fn a_file_that_is_exchanged_while_it_is_open_is_seen_at_once() {
    let (file, mut writer, plan) = begin().await;
    let copy = file.path().with_extension("backup");
    file.execute(format!("VACUUM INTO '{}'", copy.display())).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])]).await.unwrap();
    assert_eq!(writer.watermark().await, Some(StreamId::new(1, 1)));

    exchange(&file, &copy);
    assert_eq!(writer.watermark().await, Some(StreamId::ZERO), "the backup's");
    let next = writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["2", "vespa"]])]).await;
    assert_eq!(next, Err(WriteError::Fenced));

    let empty = file.path().with_extension("empty");
    std::fs::write(&empty, "").unwrap();
    exchange(&file, &empty);
    let next = writer.write(Vec::new()).await;
    assert_eq!(next, Err(WriteError::Fenced), "an empty file has no row of mine");
    let found = writer.destination.take_over(INSTALLATION, DESTINATION, "one").await.unwrap();
    assert!(found.rows.is_empty());
}

#[tokio::test]
async fn a_locked_file_is_tried_again() {
    let (file, _, plan) = begin().await;
    let mut settings = file.settings();
    settings.session_timeout = Duration::from_millis(50);
    let mut writer = Writer::take(&file, "two").await;
    writer.destination = (kind("sqlite").unwrap().open)(settings);
    writer.destination.probe().await.unwrap();

    let mut other = file.connect().await;
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let insert = || vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])];
    let outcome = writer.write(insert()).await;
    let Err(WriteError::Retry(fault)) = outcome else { panic!("{outcome:?}") };
    assert!(!fault.connection_lost && fault.message.contains("locked"), "{}", fault.message);
    lock.rollback().await.unwrap();
    writer.write(insert()).await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_holds() {
    let file = File::fresh();
    std::fs::write(file.path(), "not a database at all, however long one reads it".repeat(100)).unwrap();
    let outcome = file.open().probe().await;
    assert!(matches!(outcome, Err(WriteError::Hold(_))), "{outcome:?}");
}

#[tokio::test]
async fn commits_are_synced_to_a_write_ahead_log() {
    let (file, _writer, _) = begin().await;
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(&mut file.connect().await).await.unwrap();
    assert_eq!(row.get::<String, _>(0), "wal");
}

#[tokio::test]
async fn a_check_of_the_connection_says_which_step_failed() {
    let file = File::fresh();
    let settings = file.settings();
    let check = kind("sqlite").unwrap().check;
    let steps = check(&settings).await;
    assert_eq!(
        steps.iter().map(|step| (step.step, step.outcome.is_ok())).collect::<Vec<_>>(),
        [("login", true), ("rights", true)]
    );
    std::fs::remove_file(file.path()).unwrap();
    let steps = check(&settings).await;
    assert_eq!(steps.len(), 1);
    assert!(steps[0].outcome.as_ref().unwrap_err().contains("does not exist"), "{steps:?}");
}

/// NUMERIC affinity would keep 15 digits: the row is refused rather than rounded.
#[tokio::test]
async fn numbers_are_refused_rather_than_rounded() {
    let file = File::fresh();
    file.execute("CREATE TABLE prices (id INTEGER PRIMARY KEY, price DECIMAL(30,10), doc JSON)".into()).await;
    let mut writer = Writer::take(&file, "one").await;
    let table = Table::new(
        "prices",
        &["id"],
        vec![column("id", Type::Int), column("price", Type::Decimal(30, 10)), column("doc", Type::Json)],
    );
    let plan = writer.plan(&table, &["id"]).await;
    let good = plan.texts(Op::Insert, &["id", "price"], &[&["1", "9223372036854775807"], &["2", "12345.0000000001"]]);
    writer.write(vec![good]).await.unwrap();
    assert_eq!(contents(&file, &table).await, ["1|9223372036854775807|∅", "2|12345.0000000001|∅"]);
    for (name, value) in
        [("price", "1234567890123456.5"), ("doc", "9223372036854775808"), ("id", "9223372036854775808")]
    {
        let columns: Vec<_> = if name == "id" { vec!["id"] } else { vec!["id", name] };
        let row = if name == "id" { vec![text(value)] } else { vec![text("3"), text(value)] };
        let refused = writer.write(vec![plan.statement(Op::Insert, &columns, vec![row])]).await;
        let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
        assert_eq!((rejection.code.as_str(), rejection.column.as_deref()), ("range", Some(name)));
        assert_eq!((rejection.statement, rejection.row), (Some(0), Some(0)));
    }
}

#[tokio::test]
async fn strict_tables_and_tables_without_rowid_are_written_too() {
    let file = File::fresh();
    file.execute("CREATE TABLE tags (name TEXT PRIMARY KEY, n INTEGER, x ANY, b BLOB) STRICT, WITHOUT ROWID".into())
        .await;
    let mut writer = Writer::take(&file, "one").await;
    let table = Table::new(
        "tags",
        &["name"],
        vec![column("name", Type::Text), column("n", Type::Int), column("x", Type::Text)],
    );
    let plan = writer.plan(&table, &["name"]).await;
    assert!(!plan.0.table.columns[0].nullable);
    writer.write(vec![plan.texts(Op::Upsert, &["name", "n", "x"], &[&["a", "1", "007"]])]).await.unwrap();
    assert_eq!(contents(&file, &table).await, ["a|1|007"]);
}

#[tokio::test]
async fn only_whole_unique_indexes_over_columns_are_keys() {
    let file = File::fresh();
    file.execute(
        "CREATE TABLE cars (branch TEXT, no INTEGER, plate TEXT UNIQUE, mail TEXT, PRIMARY KEY (no, branch)); \
         CREATE UNIQUE INDEX by_mail ON cars (lower(mail)); \
         CREATE UNIQUE INDEX some ON cars (mail) WHERE branch = 'JKT'; \
         CREATE UNIQUE INDEX pair ON cars (mail, plate); CREATE INDEX plain ON cars (mail)"
            .into(),
    )
    .await;
    let table = file.open().table("main.CARS").await.unwrap();
    assert_eq!(table.name, "cars");
    assert_eq!(table.unique_keys, [vec!["no", "branch"], vec!["plate"], vec!["mail", "plate"]]);
}

/// A trigger that rolls everything back must not let the rows after it be written on their own.
#[tokio::test]
async fn a_trigger_that_rolls_back_rejects_its_row() {
    let (file, mut writer, plan) = begin().await;
    file.execute(
        "CREATE TRIGGER no_ford BEFORE INSERT ON cars WHEN new.name = 'ford' \
         BEGIN SELECT raise(ROLLBACK, 'no fords here'); END"
            .into(),
    )
    .await;
    let rows: &[&[&str]] = &[&["1", "ape"], &["2", "ford"], &["3", "vespa"], &["4", "tuk"]];
    let refused = writer.write(vec![plan.texts(Op::Insert, &["id", "name"], rows)]).await;
    let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!(
        (rejection.row, rejection.code.as_str(), rejection.message.as_str()),
        (Some(1), "other", "no fords here")
    );
    assert!(contents(&file, &cars()).await.is_empty());
    assert_eq!(writer.watermark().await, Some(StreamId::ZERO));
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])]).await.unwrap();
}

/// A deferred foreign key is only found wanting by COMMIT.
#[tokio::test]
async fn a_deferred_foreign_key_rejects_the_transaction() {
    let (file, mut writer, _) = begin().await;
    file.execute(
        "CREATE TABLE sales (id INTEGER PRIMARY KEY, car INTEGER REFERENCES cars (id) DEFERRABLE INITIALLY DEFERRED)"
            .into(),
    )
    .await;
    let sales = Table::new("sales", &["id"], vec![column("id", Type::Int), column("car", Type::Int)]);
    let plan = writer.plan(&sales, &["id"]).await;
    let refused = writer.write(vec![plan.texts(Op::Insert, &["id", "car"], &[&["1", "9"]])]).await;
    let Err(WriteError::Reject(rejection)) = refused else { panic!("{refused:?}") };
    assert_eq!((rejection.code.as_str(), rejection.row), ("foreign_key", None));
    assert_eq!(writer.watermark().await, Some(StreamId::ZERO));
    writer.write(vec![plan.texts(Op::Insert, &["id", "car"], &[])]).await.unwrap();
}
