//! Faults that a test orders come when they are due, and do what they say.

use std::time::Duration;

use super::*;
use crate::ports::{Fault, LogError};

const SHORT: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_refusal_comes_before_anything_is_done_and_only_once() {
    let (database, mut destination) = on_this_runtime().await;
    let busy = WriteError::Retry(Fault::new("locked"));
    database.fail_next(Failure::Refuse(busy.clone()));
    let write = transaction(0, 1, vec![]);
    assert_eq!(destination.commit(&write).await, Err(busy));
    assert!(database.journal().is_empty());
    destination.commit(&write).await.unwrap();
    assert_eq!(database.calls(DatabaseCall::Commit), 2);
}

#[tokio::test]
async fn a_lost_reply_leaves_the_commit_behind() {
    let (database, mut destination) = on_this_runtime().await;
    database.fail_next(Failure::LoseReply);
    let result = destination.commit(&transaction(0, 1, vec![])).await;
    assert!(matches!(result, Err(WriteError::Retry(fault)) if fault.connection_lost));
    let row = destination.watermark(&lane("app"), &generation()).await.unwrap().unwrap();
    assert_eq!(row.last_id, id(1));
}

#[tokio::test]
async fn a_call_that_hangs_is_not_done_and_one_that_hangs_after_is() {
    let (database, mut destination) = on_this_runtime().await;
    for (failure, at) in [(Failure::Hang, StreamId::ZERO), (Failure::HangAfter, id(1))] {
        database.fail_next(failure);
        let write = transaction(0, 1, vec![]);
        assert!(tokio::time::timeout(SHORT, destination.commit(&write)).await.is_err());
        assert_eq!(database.watermarks()[0].last_id, at);
    }
}

#[tokio::test]
async fn a_database_that_is_down_answers_every_call_with_a_lost_connection() {
    let (database, mut destination) = on_this_runtime().await;
    database.fail_next(Failure::Refuse(WriteError::Fenced));
    database.set_down(true);
    let lost = |error: WriteError| matches!(error, WriteError::Retry(fault) if fault.connection_lost);
    assert!(lost(destination.probe().await.unwrap_err()));
    assert!(lost(destination.take_over("inst", "dest", "two").await.unwrap_err()));
    assert!(lost(destination.begin_lane(&lane("x"), &generation(), "one", id(1)).await.unwrap_err()));
    assert!(lost(destination.watermark(&lane("app"), &generation()).await.unwrap_err()));
    assert!(lost(destination.table("cars").await.unwrap_err()));
    assert!(lost(destination.commit(&transaction(0, 1, vec![])).await.unwrap_err()));
    database.set_down(false);
    destination.probe().await.unwrap();
    assert_eq!(destination.commit(&transaction(0, 1, vec![])).await, Err(WriteError::Fenced), "it waited for its turn");
    assert_eq!(database.watermarks()[0].epoch, 1);
}

#[tokio::test]
async fn a_hanging_database_carries_out_what_still_waits_when_it_wakes() {
    let (database, mut destination) = on_this_runtime().await;
    database.set_hanging(true);
    assert!(tokio::time::timeout(SHORT, destination.commit(&transaction(0, 1, vec![]))).await.is_err());
    let write = transaction(0, 2, vec![]);
    let wake = async {
        database.until(|database| database.calls(DatabaseCall::Commit) == 2).await;
        assert!(database.journal().is_empty());
        database.set_hanging(false);
    };
    let (committed, ()) = tokio::join!(destination.commit(&write), wake);
    committed.unwrap();
    assert_eq!(database.watermarks()[0].last_id, id(2), "the call that was given up was never carried out");
}

#[tokio::test]
async fn a_slow_database_takes_its_time() {
    let (database, mut destination) = on_this_runtime().await;
    database.set_latency(SHORT);
    let begun = std::time::Instant::now();
    destination.probe().await.unwrap();
    assert!(begun.elapsed() >= SHORT);
}

#[tokio::test]
async fn a_test_can_wait_for_what_another_thread_does() {
    let (database, mut destination) = on_this_runtime().await;
    let thread = std::thread::spawn(move || answer(destination.commit(&transaction(0, 1, vec![]))).unwrap());
    database.until(|database| !database.journal().is_empty()).await;
    thread.join().unwrap();
}

#[tokio::test]
async fn the_log_fails_on_command_too() {
    let streams = MemoryStreams::new();
    let mut log = streams.log();
    streams.fail_next(LogCall::Bind, Failure::LoseReply);
    assert!(matches!(log.bind(&lane("app"), "token").await, Err(LogError::Unavailable(_))));
    assert_eq!(log.view(&lane("app")).await.unwrap().bind.as_deref(), Some("token"));
    streams.set_down(true);
    assert!(matches!(log.view(&lane("app")).await, Err(LogError::Unavailable(_))));
    streams.set_down(false);
    log.view(&lane("app")).await.unwrap();
}

/// [`taken`], for tests that have a runtime already.
async fn on_this_runtime() -> (MemoryDatabase, MemoryDestination) {
    let database = MemoryDatabase::new();
    let mut destination = database.open();
    destination.take_over("inst", "dest", "one").await.unwrap();
    destination.begin_lane(&lane("app"), &generation(), "one", StreamId::ZERO).await.unwrap();
    (database, destination)
}
