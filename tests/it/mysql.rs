//! What is MySQL's own beside the contract: its sessions, rights, collations, indexes and spellings, on a real MariaDB.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};
use tidegate::{
    databases::{Connection, kind},
    resources::{Tls, TlsMode},
};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Destination, WriteError},
    schema::{ColumnType, TableSchema},
    transaction::{Cell, Committed, Fence, LaneId, Op, Statement, TablePlan, Transaction},
};

use crate::servers::{mariadb::MariadbServer, wait_for};

/// A destination on a database of its own, and a connection to look behind its back.
struct World {
    destination: Box<dyn Destination>,
    root: MySqlConnection,
    at: u64,
}

fn settings(url: &str) -> Connection {
    Connection {
        name: "rooms".into(),
        url: url.parse().unwrap(),
        password: None,
        tls: None,
        connect_timeout: Duration::from_secs(5),
        session_timeout: Duration::from_secs(1),
    }
}

fn open(settings: Connection) -> Box<dyn Destination> {
    (kind("mysql").unwrap().open)(settings)
}

fn lane() -> LaneId {
    LaneId { installation: "inst".into(), destination: "dest".into(), stream: "app".into(), part: "main".into() }
}

fn generation() -> Generation {
    Generation::new("gen")
}

fn text(value: &str) -> Cell {
    Cell::Text(value.into())
}

/// Rows of text.
fn rows(rows: &[&[&str]]) -> Vec<Vec<Cell>> {
    rows.iter().map(|row| row.iter().copied().map(text).collect()).collect()
}

impl World {
    async fn new(server: &MariadbServer, ddl: &[&str]) -> Self {
        let database = server.database().await;
        let mut world =
            Self { destination: open(settings(&server.url(&database))), root: server.connect(&database).await, at: 0 };
        for sql in ddl {
            world.sql(sql).await;
        }
        world.destination.take_over("inst", "dest", "me").await.unwrap();
        world.destination.begin_lane(&lane(), &generation(), "me", StreamId::ZERO).await.unwrap();
        world
    }

    async fn sql(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.root).await.unwrap();
    }

    async fn read(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.root).await.unwrap();
        rows.iter().map(|row| row.try_get::<Option<String>, _>(0).unwrap().unwrap_or("∅".into())).collect()
    }

    async fn plan(&mut self, table: &str, key: &[&str]) -> Arc<TablePlan> {
        let table = self.destination.table(table).await.unwrap();
        let key: Vec<usize> = key.iter().map(|name| table.column(name).unwrap()).collect();
        let names: Vec<String> = key.iter().map(|&place| table.columns[place].name.clone()).collect();
        Arc::new(TablePlan {
            route: "r".into(),
            columns: (0..table.columns.len()).collect(),
            only_unique_key: table.is_only_unique(&names),
            table: Arc::new(table),
            key,
        })
    }

    fn fence(&self) -> Fence {
        Fence {
            lane: lane(),
            generation: generation(),
            owner: "me".into(),
            previous: StreamId::new(self.at, 0),
            new: StreamId::new(self.at + 1, 0),
        }
    }

    async fn write(&mut self, plan: &Arc<TablePlan>, op: Op, rows: Vec<Vec<Cell>>) -> Result<Committed, WriteError> {
        let columns = (0..rows[0].len()).collect();
        let statement = Statement { plan: plan.clone(), op, must_touch: false, columns, insert_only: Vec::new(), rows };
        let transaction = Transaction {
            fence: self.fence(),
            statements: vec![statement],
            bury: Vec::new(),
            supersede: Vec::new(),
            exhume: None,
        };
        let committed = self.destination.commit(&transaction).await?;
        self.at += 1;
        Ok(committed)
    }
}

fn code(outcome: Result<Committed, WriteError>) -> (String, Option<usize>) {
    match outcome {
        Err(WriteError::Reject(rejection)) => (rejection.code, rejection.row),
        other => panic!("not a rejection: {other:?}"),
    }
}

fn kind_of(table: &TableSchema, name: &str) -> ColumnType {
    table.columns[table.column(name).unwrap()].kind.clone()
}

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
async fn columns_are_what_the_catalogue_says() {
    let server = MariadbServer::shared().await;
    let ddl = "CREATE TABLE kinds (id bigint unsigned AUTO_INCREMENT PRIMARY KEY, flag tinyint(1) NOT NULL, small tinyint, \
               bits bit(1), more bit(12), y year, body json, t text, l text CHARACTER SET latin1, s set('a','b'), \
               net inet6, b binary(4), at timestamp NULL, made datetime NOT NULL DEFAULT now(), \
               twice int GENERATED ALWAYS AS (small * 2) VIRTUAL, UNIQUE (flag, small), UNIQUE (t(3)))";
    let mut world = World::new(server, &[ddl]).await;
    let table = world.destination.table("kinds").await.unwrap();
    assert_eq!(kind_of(&table, "id"), ColumnType::Int { min: 0, max: i128::from(u64::MAX) });
    assert_eq!(kind_of(&table, "flag"), ColumnType::Bool);
    assert_eq!(kind_of(&table, "small"), ColumnType::Int { min: -128, max: 127 });
    assert_eq!(kind_of(&table, "bits"), ColumnType::Bool);
    assert_eq!(kind_of(&table, "more"), ColumnType::Int { min: 0, max: 4095 });
    assert_eq!(kind_of(&table, "body"), ColumnType::Json { nul: true });
    assert_eq!(kind_of(&table, "t"), ColumnType::Text { max_chars: None, max_bytes: Some(65_535), nul: true });
    assert_eq!(kind_of(&table, "l"), ColumnType::Text { max_chars: None, max_bytes: None, nul: true });
    assert_eq!(kind_of(&table, "s"), ColumnType::Other);
    assert_eq!(kind_of(&table, "net"), ColumnType::Other);
    assert_eq!(kind_of(&table, "at"), ColumnType::Timestamp { zone: false });
    assert_eq!(table.unique_keys, [vec!["id".to_owned()], vec!["flag".into(), "small".into()]]);
    let of = |name: &str| &table.columns[table.column(name).unwrap()];
    assert!(of("id").has_default && of("made").has_default && !of("flag").has_default && !of("t").has_default);
    assert!(of("twice").generated && !of("made").generated);

    let other = world.destination.table(&format!("{}.kinds", table.schema)).await.unwrap();
    assert_eq!(other, table);
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
async fn a_table_without_transactions_is_held() {
    let server = MariadbServer::shared().await;
    let mut world = World::new(server, &["CREATE TABLE cars (id int PRIMARY KEY) ENGINE=MyISAM"]).await;
    match world.destination.table("cars").await {
        Err(WriteError::Hold(fault)) => assert!(fault.message.contains("ENGINE=InnoDB"), "{fault}"),
        other => panic!("{other:?}"),
    }
}

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
async fn an_account_without_create_works_once_the_tables_are_there_and_says_so_before() {
    let server = MariadbServer::shared().await;
    let database = server.database().await;
    let mut root = server.connect(&database).await;
    let user = format!("u{}", &database[5..15]);
    let grants = format!(
        "CREATE TABLE cars (id int PRIMARY KEY); CREATE USER {user}@localhost IDENTIFIED BY 'pw'; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON {database}.* TO {user}@localhost"
    );
    sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut root).await.unwrap();
    let mut settings = settings(&server.url(&database).replace("root@", &format!("{user}@")));
    settings.password = Some(SecretString::from("pw"));
    let kind = kind("mysql").unwrap();

    match open(settings.clone()).take_over("inst", "dest", "me").await {
        Err(WriteError::Hold(fault)) => assert!(fault.message.contains("GRANT CREATE"), "{fault}"),
        other => panic!("{other:?}"),
    }
    let steps = (kind.check)(&settings).await;
    assert_eq!(steps.iter().map(|step| step.step).collect::<Vec<_>>(), ["tls", "login", "rights"]);
    assert!(steps[2].outcome.as_ref().unwrap_err().contains("grant CREATE"), "{steps:?}");

    sqlx::raw_sql(AssertSqlSafe(kind.ddl)).execute(&mut root).await.unwrap();
    let first = open(settings.clone()).take_over("inst", "dest", "me").await.unwrap();
    let second = open(settings.clone()).take_over("inst", "dest", "me").await.unwrap();
    assert_eq!(first.bind, second.bind);
    let steps = (kind.check)(&settings).await;
    assert!(steps.iter().all(|step| step.outcome.is_ok()), "{steps:?}");

    settings.password = Some(SecretString::from("wrong"));
    let steps = (kind.check)(&settings).await;
    assert_eq!(steps.last().unwrap().step, "login");
    assert!(steps.last().unwrap().outcome.as_ref().unwrap_err().contains("password"), "{steps:?}");
    match open(settings.clone()).probe().await {
        Err(WriteError::Retry(fault)) => assert!(fault.connection_lost && !fault.message.contains("wrong"), "{fault}"),
        other => panic!("{other:?}"),
    }
    settings.tls = Some(Tls { mode: TlsMode::Verify, ca: None });
    let steps = (kind.check)(&settings).await;
    assert_eq!(steps.last().unwrap().step, "tls", "{steps:?}");
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
