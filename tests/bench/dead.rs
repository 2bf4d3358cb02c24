//! Bad rows: a backlog of which one record in a hundred is bad, in ten ways, against the same backlog without them; the exact
//! number must arrive as dead letters and all others as rows. Each kind of database in its turn, one destination each.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, SqliteConnection};
use tidegate::redis::stream::entry::fields;
use tidegate_actors::{message::Action, ports::NewRecord};

use crate::{
    Options, machine,
    node::{self, Node},
    report,
    servers::{mariadb::MariadbServer, postgres::PostgresServer, redis::RedisServer, temp_dir, wait_for},
};

/// The least ratio that will do.
const TARGET: f64 = 0.3;
/// One record of so many is bad.
const ONE_IN: usize = 100;
/// Records that are stored at once.
const STORED: usize = 20_000;

/// One kind of database under measurement.
struct Kind {
    name: &'static str,
    server: Server,
    url: String,
}

enum Server {
    Postgres(PostgresServer, String),
    Mariadb(MariadbServer, String),
    Sqlite { _dir: tempfile::TempDir },
}

impl Kind {
    async fn all() -> Vec<Self> {
        let postgres = PostgresServer::private();
        let database = postgres.database().await;
        let url = postgres.url(&database);
        let mut kinds = vec![Self { name: "postgres", url, server: Server::Postgres(postgres, database) }];
        let mariadb = MariadbServer::private();
        let database = mariadb.database().await;
        let url = mariadb.url(&database);
        kinds.push(Self { name: "mysql", url, server: Server::Mariadb(mariadb, database) });
        let dir = temp_dir();
        let path = dir.path().join("bench.db");
        std::fs::File::create(&path).unwrap();
        let url = format!("sqlite://{}", path.display());
        kinds.push(Self { name: "sqlite", url, server: Server::Sqlite { _dir: dir } });
        for kind in &kinds {
            kind.create().await;
        }
        kinds
    }

    async fn run(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.server {
            Server::Postgres(server, database) => drop(server.connect(database).await.execute(sql).await.unwrap()),
            Server::Mariadb(server, database) => drop(server.connect(database).await.execute(sql).await.unwrap()),
            Server::Sqlite { .. } => {
                let mut file = SqliteConnection::connect(&self.url).await.unwrap();
                file.execute("PRAGMA busy_timeout = 10000").await.unwrap();
                file.execute(sql).await.unwrap();
            }
        }
    }

    async fn number(&self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match &self.server {
            Server::Postgres(server, database) => {
                sqlx::query_scalar(sql).fetch_one(&mut server.connect(database).await).await.unwrap()
            }
            Server::Mariadb(server, database) => {
                sqlx::query_scalar(sql).fetch_one(&mut server.connect(database).await).await.unwrap()
            }
            Server::Sqlite { .. } => {
                let mut file = SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&mut file).await.unwrap()
            }
        }
    }

    async fn create(&self) {
        self.run("CREATE TABLE owners (id int PRIMARY KEY)").await;
        self.run("INSERT INTO owners VALUES (1)").await;
        self.run(
            "CREATE TABLE cars (id bigint PRIMARY KEY, name varchar(40) NOT NULL, plate varchar(20) UNIQUE, \
             stock int CHECK (stock >= 0), owner int, sold date, note varchar(200), \
             FOREIGN KEY (owner) REFERENCES owners (id))",
        )
        .await;
        match self.name {
            "postgres" => {
                self.run(
                    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     IF NEW.note = 'refuse' THEN RAISE EXCEPTION 'no such note'; END IF; RETURN NEW; END $$",
                )
                .await;
                self.run("CREATE TRIGGER refuse BEFORE INSERT ON cars FOR EACH ROW EXECUTE FUNCTION refuse()").await;
            }
            "mysql" => {
                self.run(
                    "CREATE TRIGGER refuse BEFORE INSERT ON cars FOR EACH ROW IF NEW.note = 'refuse' THEN \
                     SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no such note'; END IF",
                )
                .await;
            }
            _ => {
                self.run(
                    "CREATE TRIGGER refuse BEFORE INSERT ON cars WHEN NEW.note = 'refuse' BEGIN \
                     SELECT RAISE(ABORT, 'no such note'); END",
                )
                .await;
            }
        }
    }

    /// An empty table but for the row that has the plate that others ask for.
    async fn empty(&self) {
        self.run("DELETE FROM cars").await;
        self.run("INSERT INTO cars (id, name, plate) VALUES (-1, 'first', 'TAKEN')").await;
    }

    fn application(&self) -> String {
        format!("app-{}", self.name)
    }
}

/// A record, and whether a database must refuse it. SQLite bounds neither lengths nor numbers nor dates.
fn record(kind: &str, id: usize, bad: Option<usize>) -> (Action, Value) {
    let mut action = Action::Upsert;
    let mut data = json!({
        "id": id, "name": format!("Toyota Avanza {} G CVT", id % 1000), "plate": format!("B {id}"), "stock": id % 50,
        "owner": 1, "sold": "2025-06-01", "note": "a note of some length, as people write them about what they have to sell",
    });
    let mut lacking = || drop(data.as_object_mut().unwrap().remove("name"));
    let sqlite = kind == "sqlite";
    match bad {
        None => {}
        Some(0) => data["stock"] = json!("many"),
        Some(1) if !sqlite => data["name"] = json!("x".repeat(41)),
        Some(2) => {
            action = Action::Insert;
            lacking();
        }
        Some(3) if !sqlite => data["stock"] = json!(5_000_000_000_i64),
        Some(4) if kind == "postgres" => data["name"] = json!("a\u{0}b"),
        Some(5) if !sqlite => data["sold"] = json!("2025-13-45"),
        Some(1 | 3..=5) => data["name"] = Value::Null,
        Some(6) => data["plate"] = json!("TAKEN"),
        Some(7) => data["owner"] = json!(999),
        Some(8) => data["stock"] = json!(-1),
        Some(_) => data["note"] = json!("refuse"),
    }
    (action, data)
}

/// Stores a backlog that begins at this id; the last entry's id.
async fn store(connection: &mut MultiplexedConnection, kind: &Kind, first: usize, records: usize, bad: bool) -> String {
    let stream = tidegate::redis::Keys::new("tidegate").of(&kind.application()).stream();
    let mut last = String::new();
    for start in (0..records).step_by(STORED) {
        let mut pipe = redis::pipe();
        pipe.atomic();
        for place in start..records.min(start + STORED) {
            // Not at one distance from each other, and each way as often as the others.
            let is_bad = bad && (place * 37) % ONE_IN == 17;
            let (action, data) = record(kind.name, first + place, is_bad.then_some(place / ONE_IN % 10));
            let record = NewRecord {
                topic: "cars".into(),
                action,
                key: Some((first + place).to_string().into()),
                own_id: None,
                traceparent: None,
                data: data.to_string().into(),
            };
            let command = pipe.cmd("XADD").arg(&stream).arg("*");
            for (name, value) in fields(&record) {
                command.arg(name).arg(value);
            }
        }
        let ids: Vec<String> = pipe.query_async(connection).await.unwrap();
        last.clone_from(ids.last().unwrap());
    }
    last
}

async fn stands_at(connection: &mut MultiplexedConnection, kind: &Kind) -> Option<String> {
    let lanes = tidegate::redis::Keys::new("tidegate").of(&kind.application()).lanes();
    let lanes: Vec<String> = redis::cmd("HVALS").arg(lanes).query_async(connection).await.unwrap();
    lanes.first()?.split(' ').nth(1).map(str::to_owned)
}

async fn dead_letters(connection: &mut MultiplexedConnection, kind: &Kind) -> usize {
    let pattern = format!("tidegate:{{{}}}:dead:*", kind.application());
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(connection).await.unwrap();
    let mut all = 0;
    for key in keys {
        all += redis::cmd("HLEN").arg(key).query_async::<usize>(connection).await.unwrap();
    }
    all
}

fn manifest(kinds: &[Kind]) -> String {
    let mut text = format!("[[application]]\nname = \"{}\"\ntopics = [\"cars\"]\n", node::APPLICATION);
    for kind in kinds {
        let (app, name, url) = (kind.application(), kind.name, &kind.url);
        let node = if name == "sqlite" { "node = \"bench\"\n" } else { "" };
        text += &format!(
            "[[application]]\nname = \"{app}\"\ntopics = [\"cars\"]\n\
             [[destination]]\nname = \"{name}\"\nkind = \"{name}\"\nurl = \"{url}\"\n{node}\
             [[route]]\nname = \"{name}-cars\"\napplication = \"{app}\"\ntopic = \"cars\"\ndestination = \"{name}\"\n\
             table = \"cars\"\nkey = [\"id\"]\ncolumns = \"matching\"\n"
        );
    }
    text
}

pub(crate) async fn run(options: &Options) {
    let records = options.records.unwrap_or(50_000);
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    let kinds = Kind::all().await;
    let redis = RedisServer::start_with(&[("appendfsync", mode)]).await;
    let mut connection = node::patient(&redis).await;
    let key = node::register(&redis, &manifest(&kinds));
    let _node = Node::join(&redis, "bench", key, &[]).await;
    println!("dead letters: {records} upserts, one in {ONE_IN} bad in ten ways, {} rounds", options.rounds);
    let mut figures = serde_json::Map::new();
    for kind in &kinds {
        wait_for("the destination is taken over", Duration::from_secs(60), async || {
            stands_at(&mut connection.clone(), kind).await
        })
        .await;
        let mut per_second: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
        let mut first = 1;
        let mut loads = Vec::new();
        // One round more than is counted: the first one warms up.
        for round in 0..=options.rounds {
            loads.push(machine::load());
            for bad in if round % 2 == 0 { [false, true] } else { [true, false] } {
                kind.empty().await;
                let before = dead_letters(&mut connection, kind).await;
                let start = Instant::now();
                let last = store(&mut connection, kind, first, records, bad).await;
                let limit = Duration::from_secs(120 + records as u64 / 500);
                while stands_at(&mut connection, kind).await.as_deref() != Some(&last) {
                    assert!(start.elapsed() < limit, "not delivered in time");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                let seconds = start.elapsed().as_secs_f64();
                first += records;
                let expected = if bad { records / ONE_IN } else { 0 };
                assert_eq!(
                    dead_letters(&mut connection, kind).await - before,
                    expected,
                    "dead letters of {}",
                    kind.name
                );
                let rows = kind.number("SELECT count(*) FROM cars").await - 1;
                assert_eq!(rows as usize, records - expected, "rows of {}", kind.name);
                if round > 0 {
                    per_second[usize::from(bad)].push(records as f64 / seconds);
                }
            }
        }
        let ratios: Vec<f64> = per_second[1].iter().zip(&per_second[0]).map(|(bad, clean)| bad / clean).collect();
        report::line(&format!("{}: clean", kind.name), "records/s", &per_second[0], 0);
        report::line(&format!("{}: 1 in {ONE_IN} bad", kind.name), "records/s", &per_second[1], 0);
        report::line(&format!("{}: load average", kind.name), "", &loads, 1);
        report::line(&format!("{}: ratio", kind.name), "", &ratios, 3);
        let ratio = report::median(&ratios);
        report::verdict(&format!("dead letters, {}", kind.name), ratio, ratio >= TARGET, "at least 0.30");
        figures.insert(
            kind.name.into(),
            json!({
                "clean_per_s": report::summary(&per_second[0]), "bad_per_s": report::summary(&per_second[1]),
                "ratio": report::summary(&ratios), "load": report::summary(&loads),
            }),
        );
    }
    report::write(
        "dead",
        &json!({
            "machine": machine::describe(), "target": TARGET, "records": records, "rounds": options.rounds,
            "appendfsync": mode, "kinds": figures,
        }),
    );
}
