//! Sessions: who stands still is ended, locks are waited for, a lost connection is made anew.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use tidegate_actors::{message::StreamId, ports::WriteError, transaction::Op};

use super::{World, generation, lane, open, rows, settings};
use crate::servers::{mariadb::MariadbServer, wait_for};

#[tokio::test]
async fn a_writer_that_stands_still_in_a_transaction_is_ended_by_the_server() {
    let server = MariadbServer::shared().await;
    let mut world = World::new(server, &["CREATE TABLE cars (id int PRIMARY KEY)"]).await;
    let plan = world.plan("cars", &["id"]).await;
    world.write(&plan, Op::Insert, rows(&[&["1"]])).await.unwrap();
    let database = world.read("SELECT DATABASE()").await.remove(0);

    // The commit gets as far as a row that someone else holds, and is then polled no more: its process was stopped.
    let mut other = server.connect(&database).await;
    sqlx::raw_sql("START TRANSACTION; INSERT INTO cars VALUES (2)").execute(&mut other).await.unwrap();
    let mut paused = Box::pin(world.write(&plan, Op::Insert, rows(&[&["2"]])));
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut paused).await.is_err(), "waits for the row");

    let mut successor = open(settings(&server.url(&database)));
    let found = wait_for("the take-over", Duration::from_secs(6), async || {
        successor.take_over("inst", "dest", "successor").await.ok()
    })
    .await;
    assert_eq!(found.rows[0].last_id, StreamId::new(1, 0), "nothing of the unfinished transaction");
    assert!(matches!(paused.await, Err(WriteError::Retry(_))), "woken, it learns that it was ended");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(world.write(&plan, Op::Insert, rows(&[&["2"]])).await, Err(WriteError::Fenced));
    assert_eq!(world.read("SELECT CAST(id AS CHAR) FROM cars").await, ["1"]);
}

#[tokio::test]
async fn a_table_that_someone_locks_is_tried_again() {
    let server = MariadbServer::shared().await;
    let mut world = World::new(server, &["CREATE TABLE cars (id int PRIMARY KEY)"]).await;
    let plan = world.plan("cars", &["id"]).await;
    world.sql("LOCK TABLES cars WRITE").await;
    match world.write(&plan, Op::Insert, rows(&[&["2"]])).await {
        Err(WriteError::Retry(fault)) => assert!(!fault.connection_lost, "{fault}"),
        other => panic!("{other:?}"),
    }
    world.sql("UNLOCK TABLES").await;
    world.write(&plan, Op::Insert, rows(&[&["2"]])).await.unwrap();
}

#[tokio::test]
async fn an_idle_session_is_kept_and_one_that_was_killed_is_made_anew() {
    let server = MariadbServer::shared().await;
    let mut world = World::new(server, &["CREATE TABLE cars (id int PRIMARY KEY)"]).await;
    let plan = world.plan("cars", &["id"]).await;
    let ours =
        "SELECT CAST(id AS CHAR) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()";
    let before = world.read(ours).await;
    tokio::time::sleep(Duration::from_millis(1500)).await; // longer than the session may stand still in a transaction
    world.write(&plan, Op::Insert, rows(&[&["1"]])).await.unwrap();
    assert_eq!(world.read(ours).await, before, "the same session");
    world.sql(&format!("KILL {}", before[0])).await;
    match world.write(&plan, Op::Insert, rows(&[&["2"]])).await {
        // Used a moment ago, so it was relied on.
        Err(WriteError::Retry(fault)) => assert!(fault.connection_lost, "{fault}"),
        other => panic!("{other:?}"),
    }
    world.write(&plan, Op::Insert, rows(&[&["2"]])).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_paused_or_read_only_is_waited_for() {
    let server = MariadbServer::private();
    let mut world = World::new(&server, &["CREATE TABLE cars (id int PRIMARY KEY)"]).await;
    world.destination.probe().await.unwrap();
    server.kill();
    for _ in 0..2 {
        match world.destination.probe().await {
            Err(WriteError::Retry(fault)) => assert!(fault.connection_lost, "{fault}"),
            other => panic!("{other:?}"),
        }
    }
    server.start_with(&["--read-only=1"]);
    let database = server.database().await;
    let mut root = server.connect(&database).await;
    let sql = "CREATE USER w@localhost; GRANT ALL ON *.* TO w@localhost; REVOKE SUPER, READ_ONLY ADMIN ON *.* FROM w@localhost";
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut root).await.unwrap();
    sqlx::raw_sql("SET GLOBAL read_only=0").execute(&mut root).await.unwrap();
    let mut destination = open(settings(&server.url(&database).replace("root@", "w@")));
    destination.take_over("inst", "dest", "me").await.unwrap();
    destination.probe().await.unwrap();
    sqlx::raw_sql("SET GLOBAL read_only=1").execute(&mut root).await.unwrap();
    match destination.probe().await {
        Err(WriteError::Retry(fault)) => assert!(fault.message.contains("read-only"), "{fault}"),
        other => panic!("{other:?}"),
    }
    server.pause();
    let mut slow = settings(&server.url(&database));
    slow.connect_timeout = Duration::from_millis(300);
    match open(slow).probe().await {
        Err(WriteError::Retry(fault)) => assert!(fault.connection_lost, "{fault}"),
        other => panic!("{other:?}"),
    }
    server.resume();
}

#[tokio::test]
async fn lost_replies_and_other_owners_are_told_apart_by_the_row() {
    let server = MariadbServer::shared().await;
    let mut world = World::new(server, &["CREATE TABLE cars (id int PRIMARY KEY)"]).await;
    let plan = world.plan("cars", &["id"]).await;
    world.write(&plan, Op::Insert, rows(&[&["1"]])).await.unwrap();
    world.at = 0;
    assert_eq!(world.write(&plan, Op::Insert, rows(&[&["2"]])).await, Err(WriteError::Fenced));
    let row = world.destination.watermark(&lane(), &generation()).await.unwrap().unwrap();
    assert_eq!((row.owner.as_str(), row.last_id, row.epoch), ("me", StreamId::new(1, 0), 1));
    assert_eq!(world.read("SELECT CAST(id AS CHAR) FROM cars").await, ["1"]);
}
