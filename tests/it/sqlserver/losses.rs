//! Connections that are lost, answers that never come, calls that are given up.

use std::time::{Duration, Instant};

use tidegate_actors::{
    message::StreamId,
    ports::Destination,
    transaction::{Op, Transaction},
};

use super::{COLUMN, Deed, Of, answer, generation, lane, retried, statement, transaction, wire::set, world};

async fn lost(destination: &mut dyn Destination, transaction: &Transaction) -> String {
    let (lost, words) = retried(destination.commit(transaction).await.unwrap_err());
    assert!(lost, "{words}");
    words
}

#[tokio::test]
async fn a_lost_commit_answer_is_unknown_and_the_watermark_tells() {
    let (wire, mut destination, plan) = world().await;
    let insert = transaction(vec![statement(&plan, Op::Insert, &[["1", "B 1"]])]);
    wire.once("TIDEGATE WRITE", Deed::LoseAnswer);
    lost(destination.as_mut(), &insert).await;
    let columns = [
        ("lane", Of::Text),
        ("generation", Of::Text),
        ("epoch", Of::BigInt),
        ("owner", Of::Text),
        ("last_id", Of::Text),
    ];
    let row = ["inst/dest/app/main", "gen", "1", "me", "1-1"];
    wire.once("TIDEGATE WATERMARK", Deed::Answer(answer(&[set(&columns, &[&row])], None)));
    let at = destination.watermark(&lane(), &generation()).await.unwrap().unwrap();
    assert_eq!(at.last_id, StreamId::new(1, 1), "it was written");
    assert_eq!(wire.connections(), 2, "asked over a new connection");
    assert_eq!(wire.heard("TIDEGATE WRITE").len(), 1, "and not sent again by the driver");
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_again() {
    let (wire, mut destination, plan) = world().await;
    let insert = transaction(vec![statement(&plan, Op::Insert, &[["1", "B 1"]])]);
    wire.once("TIDEGATE WRITE", Deed::Cut);
    lost(destination.as_mut(), &insert).await;
    destination.commit(&insert).await.unwrap();
    let requests = wire.heard("TIDEGATE WRITE");
    assert_eq!(requests.iter().map(|request| request.connection).collect::<Vec<_>>(), [0, 1]);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let (wire, mut destination, plan) = world().await;
    let insert = transaction(vec![statement(&plan, Op::Insert, &[["1", "B 1"]])]);
    wire.once("TIDEGATE WRITE", Deed::Silence);
    let began = Instant::now();
    let words = lost(destination.as_mut(), &insert).await;
    // Five times the time a lock is waited for.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(words.contains("did not answer in time"), "{words}");
    destination.commit(&insert).await.unwrap();
    assert_eq!(wire.connections(), 2);
}

#[tokio::test]
async fn a_call_that_is_dropped_drops_its_connection() {
    let (wire, mut destination, plan) = world().await;
    let insert = transaction(vec![statement(&plan, Op::Insert, &[["1", "B 1"]])]);
    wire.once("TIDEGATE WRITE", Deed::Silence);
    let given_up = tokio::time::timeout(Duration::from_millis(100), destination.commit(&insert)).await;
    assert!(given_up.is_err());
    destination.commit(&insert).await.unwrap();
    assert_eq!(wire.connections(), 2, "what was under way is never answered on a connection that is used again");
}

/// Nothing registered: the mock says that it is done, and nothing of a commit.
#[tokio::test]
async fn an_answer_without_its_result_is_no_commit() {
    let (wire, mut destination, plan) = world().await;
    wire.once("TIDEGATE WRITE", Deed::Answer(answer(&[set(&[], &[])], None)));
    let insert = transaction(vec![statement(&plan, Op::Insert, &[["1", "B 1"]])]);
    let words = lost(destination.as_mut(), &insert).await;
    assert!(words.contains("something other than was asked"), "{words}");
}

#[tokio::test]
async fn an_error_over_an_identity_column_costs_the_connection() {
    let (wire, mut destination, plan) = world().await;
    // The key counts by itself, as the catalogue now says.
    let object = set(&[("", Of::Text), ("", Of::Text), ("", Of::Text)], &[&["dbo", "counted", "U"]]);
    let id = ["id", "bigint", "8", "19", "0", "0", "1", "0", "0", "∅", "∅", "∅", "0"];
    let columns = set(&COLUMN.map(|of| ("", of)), &[&id]);
    let keys = set(&[("", Of::Int), ("", Of::Text), ("", Of::Int), ("", Of::Text)], &[&["1", "id", "0", "PK"]]);
    wire.always("TIDEGATE TABLE */", Deed::Answer(answer(&[object, columns, keys], None)));
    let table = destination.table("counted").await.unwrap();
    assert!(table.columns[0].has_default && !table.columns[0].generated);
    let mut upsert = statement(&plan, Op::Upsert, &[["1", "x"]]);
    upsert.plan = std::sync::Arc::new(tidegate_actors::transaction::TablePlan {
        route: "r".into(),
        table: table.into(),
        columns: vec![0],
        key: vec![0],
        only_unique_key: true,
        version: None,
    });
    upsert.columns = vec![0];
    upsert.rows = vec![vec![super::text("7")]];
    wire.once("TIDEGATE WRITE", Deed::Answer(super::wire::error(1205, 13, "deadlocked")));
    assert!(!retried(destination.write(&[upsert.clone()]).await.unwrap_err()).0);
    destination.write(&[upsert]).await.unwrap();
    assert!(wire.heard("TIDEGATE WRITE").iter().all(|request| request.says("SET IDENTITY_INSERT [dbo].[counted] ON;")));
    assert_eq!(wire.connections(), 2, "IDENTITY_INSERT may have been left on");
}
