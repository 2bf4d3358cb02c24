//! Side rows of the watermark (delivery rules 8 and 9): opened, moved and closed with the rows of one transaction, and fenced
//! like the main row beside which they stand.

use tidegate_actors::{
    message::{Generation, StreamId},
    ports::WriteError,
    transaction::{Fence, LaneId, Op, SideRow, Transaction, WatermarkRow},
};

use super::{
    Database,
    table::{Table, Type, column},
    writer::{DESTINATION, INSTALLATION, Plan, Writer, contents, dead, dead_row, generation, lane},
};

fn cars() -> Table {
    Table::new("cars", &["id"], vec![column("id", Type::Int).required(), column("name", Type::Text)])
}

fn part(part: &str) -> LaneId {
    LaneId { part: part.into(), ..lane("app") }
}

fn side(part_name: &str, last_id: StreamId) -> SideRow {
    SideRow { lane: part(part_name), generation: generation(), last_id }
}

/// The rows as the next owner finds them: part, generation, place; and that they are all of one owner and epoch.
async fn rows(database: &dyn Database) -> Vec<(String, String, StreamId)> {
    let found = database.open().take_over(INSTALLATION, DESTINATION, "looker").await.unwrap().rows;
    assert!(found.iter().all(|row| row.owner == "looker" && row.epoch == found[0].epoch), "{found:?}");
    let prefix = part("").to_string();
    let spell = |row: WatermarkRow| (row.lane[prefix.len()..].to_owned(), row.generation.0.to_string(), row.last_id);
    let mut rows: Vec<_> = found.into_iter().map(spell).collect();
    rows.sort();
    rows
}

fn at(part: &str, seq: u64) -> (String, String, StreamId) {
    (part.to_owned(), generation().0.to_string(), if seq == 0 { StreamId::ZERO } else { StreamId::new(1, seq) })
}

/// A writer whose main row stands at 1-3, with the side row `table cars` at 1-1.
async fn held(database: &dyn Database) -> (Writer, Plan) {
    database.create(&cars()).await;
    let mut writer = Writer::take(database, "one").await;
    let plan = writer.plan(&cars(), &["id"]).await;
    writer.write(Vec::new()).await.unwrap();
    let mut moved = writer.transaction(Vec::new());
    moved.fence.new = StreamId::new(1, 3);
    moved.open = vec![side("table cars", StreamId::new(1, 1))];
    writer.commit(moved).await.unwrap();
    (writer, plan)
}

/// A transaction of the side lane from `from` to `to`, which locks the main row where the writer believes it to be.
fn beside(writer: &Writer, from: StreamId, to: StreamId) -> Transaction {
    let main = Fence {
        lane: writer.lane.clone(),
        generation: generation(),
        owner: writer.owner.clone(),
        previous: writer.at,
        new: writer.at,
    };
    let fence = Fence { lane: part("table cars"), previous: from, new: to, ..main.clone() };
    Transaction { lock: Some(main), ..Transaction::of(fence) }
}

pub(crate) async fn a_side_row_is_opened_moved_and_closed_with_its_rows(database: &dyn Database) {
    let (mut writer, plan) = held(database).await;
    assert_eq!(writer.watermark().await, Some(StreamId::new(1, 3)));
    let row = writer.destination.watermark(&part("table cars"), &generation()).await.unwrap().unwrap();
    assert_eq!((row.owner.as_str(), row.last_id), ("one", StreamId::new(1, 1)));

    let mut catch_up = beside(&writer, StreamId::new(1, 1), StreamId::new(1, 2));
    catch_up.statements = vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])];
    writer.destination.commit(&catch_up).await.unwrap();
    let mut met = beside(&writer, StreamId::new(1, 2), StreamId::new(1, 3));
    met.statements = vec![plan.texts(Op::Insert, &["id", "name"], &[&["2", "vespa"]])];
    met.close = vec![part("table cars")];
    writer.destination.commit(&met).await.unwrap();

    assert_eq!(contents(database, &cars()).await, ["1|ape", "2|vespa"]);
    assert_eq!(writer.watermark().await, Some(StreamId::new(1, 3)), "the main row is moved nowhere");
    assert_eq!(rows(database).await, [at("main", 3)]);
}

pub(crate) async fn a_side_row_that_is_there_already_is_not_opened_again(database: &dyn Database) {
    let (mut writer, plan) = held(database).await;
    let mut again = writer.transaction(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])]);
    again.open = vec![side("table boats", StreamId::new(1, 3)), side("table cars", StreamId::new(1, 3))];
    assert_eq!(writer.commit(again).await, Err(WriteError::Fenced));
    assert!(contents(database, &cars()).await.is_empty());
    assert_eq!(rows(database).await, [at("main", 3), at("table cars", 1)]);
}

pub(crate) async fn a_side_row_moves_only_under_the_main_row_its_owner_knows(database: &dyn Database) {
    let (mut writer, plan) = held(database).await;
    let good = || {
        let mut good = beside(&writer, StreamId::new(1, 1), StreamId::new(1, 2));
        good.statements = vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])];
        good
    };
    let mut elsewhere = good();
    elsewhere.lock.as_mut().unwrap().previous = StreamId::new(1, 2);
    let mut older = good();
    older.lock.as_mut().unwrap().generation = Generation::new("gen0000000");
    let mut anothers = good();
    anothers.lock.as_mut().unwrap().owner = "two".into();
    let mut beyond = good();
    beyond.fence.previous = StreamId::new(1, 2);
    let right = good();
    for wrong in [elsewhere, older, anothers, beyond] {
        assert_eq!(writer.destination.commit(&wrong).await, Err(WriteError::Fenced));
    }
    assert!(contents(database, &cars()).await.is_empty());
    writer.destination.commit(&right).await.unwrap();
    assert_eq!(writer.destination.commit(&right).await, Err(WriteError::Fenced), "once");
    assert_eq!(rows(database).await, [at("main", 3), at("table cars", 2)]);
}

pub(crate) async fn a_take_over_fences_the_side_rows_too(database: &dyn Database) {
    let (mut zombie, plan) = held(database).await;
    let owner = Writer::take(database, "two").await;
    assert_eq!(owner.found.rows.len(), 2);
    let mut late = beside(&zombie, StreamId::new(1, 1), StreamId::new(1, 2));
    late.statements = vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])];
    assert_eq!(zombie.destination.commit(&late).await, Err(WriteError::Fenced));
    // Even where it names no main row.
    late.lock = None;
    assert_eq!(zombie.destination.commit(&late).await, Err(WriteError::Fenced));
    assert!(contents(database, &cars()).await.is_empty());
}

pub(crate) async fn a_transaction_that_fails_opens_and_closes_nothing(database: &dyn Database) {
    let (mut writer, plan) = held(database).await;
    writer.write(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "ape"]])]).await.unwrap();
    let mut bad = writer.transaction(vec![plan.texts(Op::Insert, &["id", "name"], &[&["1", "again"]])]);
    bad.open = vec![side("table boats", StreamId::new(1, 3))];
    bad.close = vec![part("table cars")];
    assert!(matches!(writer.commit(bad).await, Err(WriteError::Reject(_))));
    assert_eq!(rows(database).await, [at("main", 4), at("table cars", 1)]);
}

pub(crate) async fn closing_takes_the_rows_of_all_generations_and_of_no_other_part(database: &dyn Database) {
    let mut writer = Writer::take(database, "one").await;
    let mut opened = writer.transaction(Vec::new());
    let old = SideRow { generation: Generation::new("gen0000000"), ..side("route r1", StreamId::new(9, 9)) };
    let others = ["route r10", "route R1", "done r1", "table r1"].map(|part| side(part, StreamId::ZERO));
    opened.open = [old, side("route r1", StreamId::ZERO)].into_iter().chain(others).collect();
    writer.commit(opened).await.unwrap();
    let mut closed = writer.transaction(Vec::new());
    closed.close = vec![part("route r1"), part("table that never was")];
    writer.commit(closed).await.unwrap();
    let left = [at("done r1", 0), at("main", 2), at("route R1", 0), at("route r10", 0), at("table r1", 0)];
    assert_eq!(rows(database).await, left);
}

pub(crate) async fn parts_differ_by_case_and_may_be_long(database: &dyn Database) {
    let mut writer = Writer::take(database, "one").await;
    let long = format!("table {}.{}", "s".repeat(63), "t".repeat(63));
    let parts = ["table Cars", "table cars", "table CARS", "table s/cars", "table caf\u{e9}", "table cafe", &long];
    let mut opened = writer.transaction(Vec::new());
    opened.open = parts.iter().map(|part| side(part, StreamId::new(1, 1))).collect();
    writer.commit(opened).await.unwrap();
    let mut closed = writer.transaction(Vec::new());
    closed.close = vec![part("table Cars"), part("table cafe")];
    writer.commit(closed).await.unwrap();
    let mut left = vec![at("main", 2)];
    left.extend(parts.iter().filter(|part| !["table Cars", "table cafe"].contains(part)).map(|part| at(part, 1)));
    left.sort();
    assert_eq!(rows(database).await, left);
}

pub(crate) async fn a_side_lane_can_be_begun_by_its_owner(database: &dyn Database) {
    let mut writer = Writer::take(database, "one").await;
    let side = part("table cars");
    writer.destination.begin_lane(&side, &generation(), "one", StreamId::new(1, 1)).await.unwrap();
    let again = writer.destination.begin_lane(&side, &generation(), "one", StreamId::ZERO).await;
    assert_eq!(again, Err(WriteError::Fenced));
    let mut other = Writer::take(database, "two").await;
    let next = Generation::new("gen0000002");
    assert_eq!(writer.destination.begin_lane(&side, &next, "one", StreamId::ZERO).await, Err(WriteError::Fenced));
    other.destination.begin_lane(&side, &next, "two", StreamId::ZERO).await.unwrap();
    assert_eq!(other.destination.watermark(&side, &next).await.unwrap().map(|row| row.last_id), Some(StreamId::ZERO));
}

pub(crate) async fn what_a_side_lane_gives_up_is_the_main_lanes(database: &dyn Database) {
    let (mut writer, plan) = held(database).await;
    let mut given_up = beside(&writer, StreamId::new(1, 1), StreamId::new(1, 2));
    given_up.bury = vec![dead_row(2, "route-cars", "cars", Some("1"))];
    writer.destination.commit(&given_up).await.unwrap();

    let mut next = Writer::take(database, "two").await;
    let found: Vec<_> = next.found.dead.iter().map(|(lane, row)| (lane.clone(), row.dead.clone())).collect();
    assert_eq!(found, [(lane("app").to_string(), dead(2, "route-cars"))]);
    // So a redrive, which locks the main row, finds it.
    let rows = vec![plan.texts(Op::Upsert, &["id", "name"], &[&["1", "ape"]])];
    let redrive = next.standing(dead(2, "route-cars"), rows);
    assert!(next.commit(redrive).await.unwrap().exhumed);
    assert_eq!(contents(database, &cars()).await, ["1|ape"]);
}
