//! Rows: keys by collation, indexes over prefixes, places of bad rows, spellings, long values, triggers.

use tidegate_actors::{
    ports::WriteError,
    transaction::{Cell, Op},
};

use super::{World, code, rows, statement, text};
use crate::servers::mariadb::MariadbServer;

#[tokio::test]
async fn keys_that_the_collation_takes_for_one_are_written_one_after_the_other() {
    let server = MariadbServer::shared().await;
    let mut world = World::new(
        server,
        &[
            "CREATE TABLE one (k varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v int)",
            "CREATE TABLE two (k varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v int, u int UNIQUE)",
        ],
    )
    .await;
    for table in ["one", "two"] {
        let plan = world.plan(table, &["k"]).await;
        let all = format!("SELECT CONCAT(k, ' ', v) FROM {table} ORDER BY k");
        world.write(&plan, Op::Upsert, rows(&[&["a", "1"], &["b", "2"], &["A", "3"]])).await.unwrap();
        assert_eq!(world.read(&all).await, ["a 3", "b 2"], "{table}");
        world.write(&plan, Op::Update, rows(&[&["A", "4"], &["x", "0"], &["a", "5"]])).await.unwrap();
        assert_eq!(world.read(&all).await, ["a 5", "b 2"], "{table}");
        world.write(&plan, Op::Replace, rows(&[&["a", "6"], &["c", "7"], &["A", "8"]])).await.unwrap();
        assert_eq!(world.read(&all).await, ["A 8", "b 2", "c 7"], "{table}");
        let committed = world.write(&plan, Op::Delete, rows(&[&["a"], &["A"], &["b"]])).await.unwrap();
        assert_eq!(committed.untouched, [(0, 1)], "{table}");
        assert_eq!(world.read(&all).await, ["c 7"], "{table}");
    }
}

#[tokio::test]
async fn a_key_that_the_column_cannot_hold_matches_no_row() {
    let server = MariadbServer::shared().await;
    let ddl = "CREATE TABLE cars (k varchar(20) CHARACTER SET latin1 PRIMARY KEY, v int)";
    let mut world = World::new(server, &[ddl, "INSERT INTO cars VALUES ('?', 1), ('é', 2)"]).await;
    let plan = world.plan("cars", &["k"]).await;
    let committed = world.write(&plan, Op::Delete, rows(&[&["🚗"], &["é"]])).await.unwrap();
    assert_eq!(committed.untouched, [(0, 0)]);
    assert_eq!(world.read("SELECT k FROM cars").await, ["?"]);
    assert_eq!(
        code(world.write(&plan, Op::Insert, rows(&[&["ü", "1"], &["🚗", "1"]])).await),
        ("type".into(), Some(1))
    );
}

#[tokio::test]
async fn a_unique_index_over_a_prefix_is_never_taken_for_the_key() {
    let server = MariadbServer::shared().await;
    let ddl = "CREATE TABLE cars (id int PRIMARY KEY, plate varchar(20), v int, UNIQUE (plate(2)))";
    let mut world = World::new(server, &[ddl, "INSERT INTO cars VALUES (1, 'AB1', 1)"]).await;
    let plan = world.plan("cars", &["id"]).await;
    assert!(plan.only_unique_key, "the schema lists whole columns only");
    let outcome = world.write(&plan, Op::Upsert, rows(&[&["3", "CD", "3"], &["2", "AB2", "2"]])).await;
    assert_eq!(code(outcome), ("unique".into(), Some(1)));
    assert_eq!(world.read("SELECT CONCAT(id, plate, v) FROM cars").await, ["1AB11"]);
}

#[tokio::test]
async fn the_last_of_a_thousand_rows_is_told_by_its_place() {
    let server = MariadbServer::shared().await;
    let ddl = "CREATE TABLE cars (id bigint PRIMARY KEY, v int UNIQUE)";
    let mut world = World::new(server, &[ddl, "INSERT INTO cars VALUES (-1, 5000)"]).await;
    let plan = world.plan("cars", &["id"]).await;
    let mut many: Vec<Vec<Cell>> = (0..1000).map(|id| vec![text(&id.to_string()), text(&id.to_string())]).collect();
    many.push(vec![text("1000"), text("5000")]);
    for op in [Op::Insert, Op::Upsert, Op::Replace] {
        assert_eq!(code(world.write(&plan, op, many.clone()).await), ("unique".into(), Some(1000)), "{op:?}");
        assert_eq!(world.read("SELECT CAST(COUNT(*) AS CHAR) FROM cars").await, ["1"]);
    }
    many.pop();
    world.write(&plan, Op::Upsert, many).await.unwrap();
    assert_eq!(world.read("SELECT CAST(COUNT(*) AS CHAR) FROM cars").await, ["1001"]);
}

#[tokio::test]
async fn values_are_spelled_as_mysql_reads_them() {
    let server = MariadbServer::shared().await;
    let ddl = "CREATE TABLE cars (id int PRIMARY KEY, bits bit(1), more bit(12), s datetime, ms datetime(3), flag bool, \
               at timestamp NULL, u int UNIQUE)";
    let mut world = World::new(server, &[ddl]).await;
    let plan = world.plan("cars", &["id"]).await;
    let row = [
        "1",
        "true",
        "4095",
        "2025-12-31 23:59:59.999999",
        "2025-12-31 23:59:59.9999",
        "false",
        "2025-06-01 01:00:00",
        "1",
    ];
    let read = "SELECT CONCAT_WS(' ', bits + 0, more + 0, s, ms, flag, UNIX_TIMESTAMP(at)) FROM cars";
    for op in [Op::Insert, Op::Upsert, Op::Update] {
        world.write(&plan, op, rows(&[&row])).await.unwrap();
        assert_eq!(
            world.read(read).await,
            ["1 4095 2025-12-31 23:59:59 2025-12-31 23:59:59.999 0 1748739600"],
            "{op:?}"
        );
        world.sql("UPDATE cars SET bits = 0, more = 0, s = NULL, ms = NULL, flag = 1, at = NULL").await;
        if op == Op::Insert {
            assert_eq!(code(world.write(&plan, op, rows(&[&row])).await).0, "unique");
        }
    }
}

#[tokio::test]
async fn long_values_of_every_length_pass_through_every_way_of_writing() {
    let server = MariadbServer::shared().await;
    let ddl = "CREATE TABLE cars (id int PRIMARY KEY, t longtext, b longblob)";
    let mut world = World::new(server, &[ddl]).await;
    let plan = world.plan("cars", &["id"]).await;
    let read = "SELECT CONCAT(id, ' ', CHAR_LENGTH(t), ' ', LENGTH(b), ' ', MD5(t), MD5(b)) FROM cars ORDER BY id";
    for op in [Op::Insert, Op::Upsert, Op::Update, Op::Replace] {
        let lengths = [0, 1, 255, 256, 16_384, 70_000, 900_000];
        let mut shuffled = lengths;
        shuffled.rotate_left(if op == Op::Update { 3 } else { 0 });
        let rows = shuffled.iter().enumerate().map(|(id, &length)| {
            vec![text(&id.to_string()), text(&"é🚗".repeat(length / 2)), Cell::Bytes(vec![0xff; length].into())]
        });
        world.write(&plan, op, rows.collect()).await.unwrap();
        let sums = world.read(read).await;
        for (id, length) in shuffled.iter().enumerate() {
            let start = format!("{id} {} {length} ", length / 2 * 2);
            assert!(sums[id].starts_with(&start), "{op:?}: {} is not {start}", sums[id]);
        }
    }
}

#[tokio::test]
async fn a_row_beyond_max_allowed_packet_is_rejected_by_itself() {
    let server = MariadbServer::private();
    server.stop();
    server.start_with(&["--max-allowed-packet=1M"]);
    let mut world = World::new(&server, &["CREATE TABLE cars (id int PRIMARY KEY, t longtext)"]).await;
    let plan = world.plan("cars", &["id"]).await;
    let long = |length: usize| text(&"x".repeat(length));
    let many: Vec<_> = (0..8).map(|id| vec![text(&id.to_string()), long(400_000)]).collect();
    world.write(&plan, Op::Insert, many).await.unwrap();
    let two = vec![vec![text("8"), text("x")], vec![text("9"), long(1 << 20)]];
    assert_eq!(code(world.write(&plan, Op::Insert, two).await), ("too_long".into(), Some(1)));
}

#[tokio::test]
async fn a_trigger_that_refuses_a_row_makes_a_rejection() {
    let server = MariadbServer::shared().await;
    let trigger = "CREATE TRIGGER no BEFORE INSERT ON cars FOR EACH ROW IF NEW.v > 9 THEN \
                   SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'at most nine'; END IF";
    let mut world = World::new(server, &["CREATE TABLE cars (id int PRIMARY KEY, v int)", trigger]).await;
    let plan = world.plan("cars", &["id"]).await;
    match world.write(&plan, Op::Insert, rows(&[&["1", "1"], &["2", "10"]])).await {
        Err(WriteError::Reject(rejection)) => {
            assert_eq!((rejection.code.as_str(), rejection.row), ("other", Some(1)));
            assert!(rejection.message.contains("at most nine"), "{}", rejection.message);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_default_is_for_new_rows_only() {
    let server = MariadbServer::shared().await;
    let ddl = [
        "CREATE TABLE one (id int PRIMARY KEY, v int, d int)",
        "CREATE TABLE two (id int PRIMARY KEY, v int, d int, u int UNIQUE)",
    ];
    let mut world = World::new(server, &ddl).await;
    for table in ["one", "two"] {
        world.sql(&format!("INSERT INTO {table} (id, v, d) VALUES (1, 1, 1)")).await;
        let plan = world.plan(table, &["id"]).await;
        let mut upsert = statement(&plan, Op::Upsert, rows(&[&["1", "2", "9"], &["2", "2", "9"]]));
        upsert.insert_only = vec![2];
        world.commit(upsert).await.unwrap();
        let found = world.read(&format!("SELECT CONCAT_WS(' ', id, v, d) FROM {table} ORDER BY id")).await;
        assert_eq!(found, ["1 2 1", "2 2 9"], "{table}");
    }
}
