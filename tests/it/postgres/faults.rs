//! Bad times: what is tried again, what is held, and that a call given up half-way leaves nothing behind.

use std::time::Duration;

use sqlx::{Connection as _, Executor as _};
use tidegate_actors::{
    ports::{Fault, WriteError},
    transaction::Op,
};

use super::{Writer, generation, lane, settings};
use crate::servers::{postgres::PostgresServer, wait_for};
use tidegate::databases::postgres::KIND;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, stock int)";

fn held<T: std::fmt::Debug>(outcome: Result<T, WriteError>) -> String {
    match outcome {
        Err(WriteError::Hold(fault)) => fault.message,
        other => panic!("expected a hold: {other:?}"),
    }
}

fn retried<T: std::fmt::Debug>(outcome: Result<T, WriteError>) -> Fault {
    match outcome {
        Err(WriteError::Retry(fault)) => fault,
        other => panic!("expected a retry: {other:?}"),
    }
}

#[tokio::test]
async fn a_missing_table_column_or_right_holds_and_is_named() {
    let mut writer = Writer::with(TABLE).await;
    let message = held(writer.destination.table("tt").await);
    assert!(message.contains("`tt`") && message.contains("`t`"), "{message}");
    let plan = writer.plan("t", &["id"]).await;
    let change = || vec![super::statement(&plan, Op::Upsert, &["id", "stock"], &[&["1", "1"]])];
    writer.commit(change()).await.unwrap();
    writer.sql("ALTER TABLE t RENAME COLUMN stock TO amount").await;
    let message = held(writer.commit(change()).await);
    assert!(message.contains("stock") && message.contains("public.t"), "{message}");
    writer.sql("ALTER TABLE t RENAME TO gone").await;
    held(writer.commit(change()).await);
    writer.sql("ALTER TABLE gone RENAME TO t; ALTER TABLE t RENAME COLUMN amount TO stock").await;
    writer.commit(change()).await.expect("goes on by itself when the table is back");
    writer.sql("ALTER TABLE t ADD UNIQUE (stock); ALTER TABLE t DROP CONSTRAINT t_pkey").await;
    held(writer.commit(change()).await);
}

#[tokio::test]
async fn a_lock_that_is_held_is_waited_for_and_tried_again() {
    let mut writer = Writer::with(TABLE).await;
    writer.sql("BEGIN; LOCK TABLE t").await;
    let fault = retried(writer.write(Op::Insert, "t", &["id"], &[&["1"]]).await);
    assert!(!fault.connection_lost, "{fault}");
    writer.sql("ROLLBACK").await;
    writer.write(Op::Insert, "t", &["id"], &[&["1"]]).await.unwrap();
}

#[tokio::test]
async fn a_writer_that_stands_still_in_its_transaction_does_not_lock_its_successor_out() {
    let mut writer = Writer::with(TABLE).await;
    // A zombie: it has done the fence and then sleeps, with the limits of a writer's session.
    let mut zombie = writer.server.connect(&writer.database).await;
    zombie
        .execute("SET idle_in_transaction_session_timeout = '1s'; BEGIN; UPDATE tidegate_watermark SET last_id = '9-9'")
        .await
        .unwrap();
    let found = writer.destination.take_over("inst00000001", "dest00000001", "successor").await.unwrap();
    assert_eq!((found.rows[0].owner.as_str(), found.rows[0].last_id), ("successor", writer.at));
    assert!(zombie.execute("COMMIT").await.is_err(), "the server has ended the zombie's session");
    let fenced = writer.write(Op::Insert, "t", &["id"], &[&["1"]]).await;
    assert_eq!(fenced.unwrap_err(), WriteError::Fenced, "the old owner writes nothing");
}

#[tokio::test]
async fn a_replica_or_read_only_database_is_tried_again() {
    let mut writer = Writer::with(TABLE).await;
    let database = writer.database.clone();
    writer.sql(&format!("ALTER DATABASE {database} SET default_transaction_read_only = on")).await;
    let mut other = (KIND.open)(settings(&writer.server.url(&database)));
    retried(other.probe().await);
    let transaction = writer.transaction(Vec::new());
    assert!(retried(other.commit(&transaction).await).message.contains("read-only"));
}

#[tokio::test]
async fn a_server_that_stops_never_answers_or_dies_is_noticed_and_found_again() {
    let server = PostgresServer::private();
    let database = server.database().await;
    let mut admin = server.connect(&database).await;
    admin.execute(TABLE).await.unwrap();
    admin.close().await.unwrap();
    let mut settings = settings(&server.url(&database));
    settings.connect_timeout = Duration::from_millis(500);
    let mut destination = (KIND.open)(settings);
    destination.take_over("inst00000001", "dest00000001", "me").await.unwrap();

    server.pause();
    // The core gives a call up and drops its future; what is left must not be out of step.
    assert!(tokio::time::timeout(Duration::from_millis(200), destination.probe()).await.is_err());
    let fault = retried(destination.probe().await);
    assert!(fault.connection_lost && fault.message.contains("500ms"), "{fault}");
    server.resume();
    wait_for("the server to answer", Duration::from_secs(10), async || destination.probe().await.ok()).await;

    server.kill();
    assert!(retried(destination.probe().await).connection_lost);
    assert!(retried(destination.probe().await).connection_lost);
    server.start();
    destination.probe().await.unwrap();
    destination.begin_lane(&lane("app"), &generation(), "me", tidegate_actors::message::StreamId::ZERO).await.unwrap();
    server.stop();
    assert!(retried(destination.watermark(&lane("app"), &generation()).await).connection_lost);
    server.start();
    assert!(destination.watermark(&lane("app"), &generation()).await.unwrap().is_some());
}

#[tokio::test]
async fn lanes_and_take_overs_of_one_destination_queue_up() {
    let writer = Writer::with(TABLE).await;
    let mut other = (KIND.open)(settings(&writer.server.url(&writer.database)));
    other.take_over("inst00000001", "dest00000001", "other").await.unwrap();
    let mut mine = writer.destination;
    let zero = tidegate_actors::message::StreamId::ZERO;
    assert_eq!(mine.begin_lane(&lane("second"), &generation(), "me", zero).await.unwrap_err(), WriteError::Fenced);
    other.begin_lane(&lane("second"), &generation(), "other", zero).await.unwrap();
    let again = other.begin_lane(&lane("second"), &generation(), "other", zero).await;
    assert_eq!(again.unwrap_err(), WriteError::Fenced, "the row is there");
}
