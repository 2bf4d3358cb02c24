//! The watermark, its owner and its epoch: who may write, and that nothing is written twice.

use std::time::Duration;

use tidegate_actors::{
    message::{Generation, StreamId},
    ports::WriteError,
    transaction::{LaneId, Op},
};

use super::{
    Database,
    table::{Table, Type, column},
    writer::{DESTINATION, INSTALLATION, Writer, contents, generation, lane, text},
};

fn cars() -> Table {
    Table::new("cars", &["id"], vec![column("id", Type::Int).required(), column("name", Type::Text)])
}

pub(crate) async fn a_take_over_of_an_empty_database_makes_the_tables(database: &dyn Database) {
    let mut destination = database.open();
    let found = destination.take_over(INSTALLATION, DESTINATION, "one").await.unwrap();
    assert!(found.rows.is_empty() && found.dead.is_empty());
    assert!(!found.bind.is_empty());

    let mut another = database.open();
    let again = another.take_over(INSTALLATION, DESTINATION, "two").await.unwrap();
    assert_eq!(again.bind, found.bind, "the bind token stays");
    let other = another.take_over(INSTALLATION, "dest00000002", "two").await.unwrap();
    assert_ne!(other.bind, found.bind, "another destination has a token of its own");
}

pub(crate) async fn a_probe_answers(database: &dyn Database) {
    let mut destination = database.open();
    destination.probe().await.unwrap();
    destination.take_over(INSTALLATION, DESTINATION, "one").await.unwrap();
    destination.probe().await.unwrap();
}

pub(crate) async fn a_lane_that_was_never_begun_has_no_watermark(database: &dyn Database) {
    let mut destination = database.open();
    destination.take_over(INSTALLATION, DESTINATION, "one").await.unwrap();
    assert_eq!(destination.watermark(&lane("app"), &generation()).await.unwrap(), None);
}

pub(crate) async fn a_begun_lane_stands_where_it_was_begun(database: &dyn Database) {
    let mut destination = database.open();
    destination.take_over(INSTALLATION, DESTINATION, "one").await.unwrap();
    let start = StreamId::new(u64::MAX, 7);
    destination.begin_lane(&lane("app"), &generation(), "one", start).await.unwrap();
    let row = destination.watermark(&lane("app"), &generation()).await.unwrap().unwrap();
    assert_eq!((row.lane, row.generation), (lane("app").to_string(), generation()));
    assert_eq!((row.owner.as_str(), row.last_id), ("one", start));
    assert_eq!(destination.watermark(&lane("app"), &Generation::new("other")).await.unwrap(), None);
}

pub(crate) async fn a_lane_is_begun_once(database: &dyn Database) {
    let mut writer = Writer::take(database, "one").await;
    let again = writer.destination.begin_lane(&lane("app"), &generation(), "one", StreamId::new(9, 9)).await;
    assert_eq!(again, Err(WriteError::Fenced));
    assert_eq!(writer.watermark().await, Some(StreamId::ZERO));
}

pub(crate) async fn another_owner_is_fenced(database: &dyn Database) {
    database.create(&cars()).await;
    let mut zombie = Writer::take(database, "one").await;
    let plan = zombie.plan(&cars(), &["id"]).await;
    let mut owner = Writer::take(database, "two").await;

    let write = || vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])];
    assert_eq!(zombie.write(write()).await, Err(WriteError::Fenced));
    let begun = zombie.destination.begin_lane(&lane("new"), &generation(), "one", StreamId::ZERO).await;
    assert_eq!(begun, Err(WriteError::Fenced));
    assert!(contents(database, &cars()).await.is_empty());

    owner.write(write()).await.unwrap();
    assert_eq!(contents(database, &cars()).await, ["1|ape"]);
    assert_eq!(zombie.write(write()).await, Err(WriteError::Fenced));
}

pub(crate) async fn a_take_over_raises_the_epoch_and_reads_every_row(database: &dyn Database) {
    let mut first = Writer::take(database, "one").await;
    first.destination.begin_lane(&lane("other"), &generation(), "one", StreamId::new(5, 0)).await.unwrap();
    first.write(Vec::new()).await.unwrap();
    let before = first.destination.watermark(&lane("app"), &generation()).await.unwrap().unwrap();

    let second = Writer::take(database, "two").await;
    let mut rows = second.found.rows;
    rows.sort_by(|one, two| one.lane.cmp(&two.lane));
    let found: Vec<_> = rows.iter().map(|row| (row.lane.clone(), row.owner.as_str(), row.last_id)).collect();
    assert_eq!(
        found,
        [
            (lane("app").to_string(), "two", StreamId::new(1, 1)),
            (lane("other").to_string(), "two", StreamId::new(5, 0)),
        ]
    );
    assert!(rows.iter().all(|row| row.epoch > before.epoch), "{rows:?} after {before:?}");
}

pub(crate) async fn a_take_over_leaves_other_destinations_alone(database: &dyn Database) {
    let mut neighbour = Writer::take(database, "one").await;
    let mut destination = database.open();
    let found = destination.take_over(INSTALLATION, "dest00000002", "two").await.unwrap();
    assert!(found.rows.is_empty());
    let theirs = LaneId { destination: "dest00000002".into(), ..lane("app") };
    destination.begin_lane(&theirs, &generation(), "two", StreamId::ZERO).await.unwrap();
    neighbour.write(Vec::new()).await.unwrap();
}

pub(crate) async fn a_commit_moves_the_watermark_with_its_rows(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"], &["2", "vespa"]])]).await.unwrap();
    assert_eq!(writer.watermark().await, Some(StreamId::new(1, 1)));
    assert_eq!(contents(database, &cars()).await, ["1|ape", "2|vespa"]);
}

pub(crate) async fn a_wrong_previous_place_writes_nothing(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    let mut transaction = writer.transaction(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])]);
    transaction.fence.previous = StreamId::new(0, 1);
    assert_eq!(writer.destination.commit(&transaction).await, Err(WriteError::Fenced));
    transaction.fence.previous = StreamId::ZERO;
    transaction.fence.generation = Generation::new("gen0000002");
    assert_eq!(writer.destination.commit(&transaction).await, Err(WriteError::Fenced));
    assert_eq!(writer.watermark().await, Some(StreamId::ZERO));
    assert!(contents(database, &cars()).await.is_empty());
}

pub(crate) async fn a_transaction_is_not_written_twice(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &[]).await;
    let transaction = writer.transaction(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])]);
    writer.destination.commit(&transaction).await.unwrap();
    assert_eq!(writer.destination.commit(&transaction).await, Err(WriteError::Fenced));
    assert_eq!(contents(database, &cars()).await, ["1|ape"]);
}

pub(crate) async fn lanes_of_one_destination_move_apart(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.destination.begin_lane(&lane("other"), &generation(), "one", StreamId::new(5, 0)).await.unwrap();
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])]).await.unwrap();
    let mut other = writer.transaction(vec![plan.texts(Op::Insert, &["id", "name"], &[&["2", "vespa"]])]);
    other.fence.lane = lane("other");
    other.fence.previous = StreamId::new(5, 0);
    other.fence.new = StreamId::new(6, 0);
    writer.destination.commit(&other).await.unwrap();

    assert_eq!(writer.watermark().await, Some(StreamId::new(1, 1)));
    let row = writer.destination.watermark(&lane("other"), &generation()).await.unwrap().unwrap();
    assert_eq!(row.last_id, StreamId::new(6, 0));
    assert_eq!(contents(database, &cars()).await, ["1|ape", "2|vespa"]);
}

/// The core drops calls that take too long: whatever the moment, the rows are there exactly if the watermark moved, and
/// the same writer goes on.
pub(crate) async fn a_call_that_is_dropped_leaves_nothing_half_done(database: &dyn Database) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    for round in 0..12_u64 {
        let ids = (0..500).map(|n| vec![text(&(round * 500 + n).to_string()), text("ape")]).collect();
        let transaction = writer.transaction(vec![plan.statement(Op::Insert, &["id", "name"], ids)]);
        let patience = Duration::from_micros(100 << round.min(8));
        let answered = tokio::time::timeout(patience, writer.destination.commit(&transaction)).await;
        if let Ok(outcome) = &answered {
            outcome.as_ref().unwrap();
        }
        let mut at = writer.watermark().await.unwrap();
        assert!(answered.is_err() || at == transaction.fence.new, "acknowledged and not there");
        if at == transaction.fence.previous {
            match writer.destination.commit(&transaction).await {
                Ok(_) => at = transaction.fence.new,
                // The server finished the abandoned one after all, between our question and this.
                Err(WriteError::Fenced) => at = writer.watermark().await.unwrap(),
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(at, transaction.fence.new);
        writer.at = transaction.fence.new;
        assert_eq!(contents(database, &cars()).await.len() as u64, (round + 1) * 500);
    }
}
