//! Rows of `tidegate_dead`: buried with the batch that passes them, superseded, taken back by a redrive or a discard.

use tidegate_actors::{
    message::{Generation, StreamId},
    ports::WriteError,
    transaction::{DeadRow, Op, Supersede},
};

use super::{
    Database,
    table::{Table, Type, column},
    writer::{Writer, contents, dead, dead_row, generation, lane},
};

fn cars() -> Table {
    Table::new("cars", &["id"], vec![column("id", Type::Int).required(), column("name", Type::Text)])
}

/// What a new owner finds, by message and route.
async fn found(database: &dyn Database) -> Vec<DeadRow> {
    let taken = Writer::take(database, "reader").await;
    assert!(taken.found.dead.iter().all(|(at, _)| *at == lane("app").to_string()));
    let mut rows: Vec<_> = taken.found.dead.into_iter().map(|(_, row)| row).collect();
    rows.sort_by(|one, two| one.dead.cmp(&two.dead));
    rows
}

pub(crate) async fn what_is_buried_is_found_by_the_next_owner(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    let mut rows = vec![
        dead_row(1, "r1", "cars", Some("7")),
        dead_row(1, "r2", "my \"cars\"", Some("{\"branch\":\"JKT\",\"no\":7}")),
        DeadRow { superseded_by: Some(StreamId::new(1, 3)), ..dead_row(2, "r1", "cars", None) },
    ];
    let mut transaction = writer.transaction(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])]);
    transaction.bury.clone_from(&rows);
    writer.commit(transaction).await.unwrap();
    rows.sort_by(|one, two| one.dead.cmp(&two.dead));
    assert_eq!(found(database).await, rows);
    assert_eq!(contents(database, &cars()).await, ["1|ape"]);
}

pub(crate) async fn nothing_is_buried_by_a_transaction_that_fails(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    let mut transaction = writer.transaction(vec![plan.texts(Op::Update, &["id", "name"], &[&["1", "ape"]])]);
    transaction.bury = vec![dead_row(1, "r1", "cars", Some("7"))];
    assert!(matches!(writer.commit(transaction.clone()).await, Err(WriteError::Reject(_))));
    transaction.statements.clear();
    transaction.fence.owner = "zombie".into();
    assert_eq!(writer.commit(transaction).await, Err(WriteError::Fenced));
    assert!(found(database).await.is_empty());
}

pub(crate) async fn a_later_record_supersedes_the_dead_ones_of_its_key(database: &dyn Database) {
    let mut writer = Writer::take(database, "one").await;
    let mut transaction = writer.transaction(Vec::new());
    transaction.bury = vec![
        dead_row(1, "r", "cars", Some("7")),
        dead_row(2, "r", "cars", Some("8")),
        dead_row(3, "r", "rooms", Some("7")),
        dead_row(4, "r", "cars", None),
    ];
    let seven = |seq| Supersede { table: "cars".into(), key: "7".into(), by: StreamId::new(1, seq) };
    transaction.supersede = vec![Supersede { key: "9".into(), ..seven(5) }];
    writer.commit(transaction).await.unwrap();
    let mut transaction = writer.transaction(Vec::new());
    // Message 7 is of the same key and given up: what was written before it does not make it obsolete.
    transaction.bury = vec![dead_row(7, "r", "cars", Some("7"))];
    transaction.supersede = vec![seven(6)];
    writer.commit(transaction).await.unwrap();
    let mut transaction = writer.transaction(Vec::new());
    transaction.supersede = vec![seven(8)];
    writer.commit(transaction).await.unwrap();

    let by: Vec<_> = found(database).await.into_iter().map(|row| (row.dead.id.seq, row.superseded_by)).collect();
    let at = |seq| Some(StreamId::new(1, seq));
    assert_eq!(by, [(1, at(6)), (2, None), (3, None), (4, None), (7, at(8))]);
}

pub(crate) async fn a_redrive_takes_the_dead_row_back_and_writes(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    let mut transaction = writer.transaction(Vec::new());
    transaction.bury = vec![dead_row(1, "r1", "cars", Some("7")), dead_row(1, "r2", "cars", Some("7"))];
    writer.commit(transaction).await.unwrap();

    let redrive = writer.standing(dead(1, "r1"), vec![plan.texts(Op::Upsert, &["id", "name"], &[&["7", "ape"]])]);
    let committed = writer.commit(redrive.clone()).await.unwrap();
    assert!(committed.exhumed);
    assert_eq!(contents(database, &cars()).await, ["7|ape"]);
    assert_eq!(writer.watermark().await, Some(StreamId::new(1, 1)), "a redrive moves nothing");

    let again = plan.texts(Op::Upsert, &["id", "name"], &[&["7", "twice"]]);
    let committed = writer.commit(writer.standing(dead(1, "r1"), vec![again])).await.unwrap();
    assert!(!committed.exhumed && committed.untouched.is_empty());
    assert_eq!(contents(database, &cars()).await, ["7|ape"], "nothing is written without its dead row");
    let left: Vec<_> = found(database).await.into_iter().map(|row| row.dead).collect();
    assert_eq!(left, [dead(1, "r2")]);
}

pub(crate) async fn a_redrive_that_is_refused_leaves_the_dead_row(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    let mut transaction = writer.transaction(Vec::new());
    transaction.bury = vec![dead_row(1, "r", "cars", Some("7"))];
    writer.commit(transaction).await.unwrap();
    let redrive = writer.standing(dead(1, "r"), vec![plan.texts(Op::Update, &["id", "name"], &[&["7", "ape"]])]);
    assert!(matches!(writer.commit(redrive.clone()).await, Err(WriteError::Reject(_))));

    let mut successor = Writer::take(database, "two").await;
    assert_eq!(successor.found.dead.len(), 1);
    assert_eq!(writer.commit(redrive).await, Err(WriteError::Fenced), "a redrive is fenced too");
    assert_eq!(successor.watermark().await, Some(StreamId::new(1, 1)));
}

pub(crate) async fn a_discard_takes_back_exactly_one_dead_row(database: &dyn Database) {
    let mut writer = Writer::take(database, "one").await;
    let mut transaction = writer.transaction(Vec::new());
    let mut old = dead_row(1, "r", "cars", Some("7"));
    old.dead.generation = Generation::new("gen0000000");
    transaction.bury = vec![old.clone(), dead_row(1, "r", "cars", Some("7")), dead_row(2, "r", "cars", Some("7"))];
    writer.commit(transaction).await.unwrap();
    assert_eq!(dead(1, "r").generation, generation());
    assert!(writer.commit(writer.standing(dead(1, "r"), Vec::new())).await.unwrap().exhumed);
    let left: Vec<_> = found(database).await.into_iter().map(|row| row.dead).collect();
    assert_eq!(left, [old.dead, dead(2, "r")]);
}
