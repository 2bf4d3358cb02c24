//! Delivery: a backlog of upserts that appears at once, into three PostgreSQL and two MariaDB databases, until the slowest
//! has all of it; against `reference.py`, which does the least that a batched delivery can do and no more.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection};
use tidegate::redis::stream::entry::fields;
use tidegate_actors::{message::Action, ports::NewRecord};

use crate::{
    Options, machine,
    node::{self, Node, Target},
    report,
    servers::{mariadb::MariadbServer, postgres::PostgresServer, redis::RedisServer, run as run_program, wait_for},
};

/// The least ratio that will do.
const TARGET: f64 = 1.0;
/// The reference's stream and its batches.
const REFERENCE: &str = "reference";
const REFERENCE_BATCH: usize = 2_000;

/// Databases with the servers' usual settings, one table each.
struct Databases {
    postgres: PostgresServer,
    mariadb: MariadbServer,
    names: Vec<(&'static str, String)>,
}

impl Databases {
    async fn start() -> Self {
        let postgres = PostgresServer::private();
        postgres.stop();
        postgres.configure(&[("shared_buffers", "128MB"), ("timezone", "UTC"), ("datestyle", "ISO")]);
        postgres.start();
        let mariadb = MariadbServer::private();
        mariadb.stop();
        mariadb.start_with(&["--innodb-buffer-pool-size=128M", "--innodb-log-file-size=96M"]);
        let mut names = Vec::new();
        for _ in 0..3 {
            names.push(("postgres", postgres.database().await));
        }
        for _ in 0..2 {
            names.push(("mysql", mariadb.database().await));
        }
        let databases = Self { postgres, mariadb, names };
        databases
            .each(|kind| {
                let price = if kind == "mysql" { "decimal(14,2)" } else { "numeric(14,2)" };
                format!("CREATE TABLE cars (id bigint PRIMARY KEY, car_name text, stock int, price {price})")
            })
            .await;
        databases
    }

    fn url(&self, kind: &str, name: &str) -> String {
        if kind == "mysql" { self.mariadb.url(name) } else { self.postgres.url(name) }
    }

    fn port(&self, kind: &str) -> u16 {
        if kind == "mysql" { self.mariadb.port } else { self.postgres.port }
    }

    fn targets(&self) -> Vec<Target> {
        let target = |(place, (kind, name)): (usize, &(&'static str, String))| {
            (format!("{kind}-{place}"), *kind, self.url(kind, name))
        };
        self.names.iter().enumerate().map(target).collect()
    }

    async fn each(&self, sql: impl Fn(&str) -> String) {
        for (kind, name) in &self.names {
            let sql = AssertSqlSafe(sql(kind));
            if *kind == "mysql" {
                self.mariadb.connect(name).await.execute(sql).await.unwrap();
            } else {
                self.postgres.connect(name).await.execute(sql).await.unwrap();
            }
        }
    }

    async fn empty(&self) {
        self.each(|_| "TRUNCATE TABLE cars".into()).await;
        self.postgres.connect("postgres").await.execute("CHECKPOINT").await.unwrap();
    }

    /// Rows, and the sum of a column that shows that values arrived.
    async fn contents(&self) -> Vec<(i64, i64)> {
        let sql = "SELECT count(*), CAST(sum(stock) AS char(20)) FROM cars";
        let mut found = Vec::new();
        for (kind, name) in &self.names {
            let (count, sum): (i64, Option<String>) = if *kind == "mysql" {
                let mut connection: MySqlConnection = self.mariadb.connect(name).await;
                let row = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                row
            } else {
                let mut connection: PgConnection = self.postgres.connect(name).await;
                let row = sqlx::query_as(sql).fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                row
            };
            found.push((count, sum.map_or(0, |sum| sum.trim().parse().unwrap())));
        }
        found
    }

    fn processes(&self) -> [u32; 2] {
        let first_line = |path: PathBuf| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().next().unwrap().trim().parse().unwrap()
        };
        [first_line(self.postgres.dir().join("data/postmaster.pid")), first_line(self.mariadb.dir().join("pid"))]
    }
}

/// What a delivery took.
#[derive(Default)]
struct Side {
    per_second: Vec<f64>,
    /// Processor microseconds a record: the program's own, Redis's, PostgreSQL's, MariaDB's.
    cpu_us: [Vec<f64>; 4],
}

pub(crate) async fn run(options: &Options) {
    let records = options.records.unwrap_or(60_000);
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    let python = python();
    let databases = Databases::start().await;
    let redis = RedisServer::start_with(&[("appendfsync", mode)]).await;
    let mut connection = node::patient(&redis).await;
    let redis_pid = node::process_id(&mut connection).await;
    let node = Node::start(&redis, &databases.targets()).await;
    wait_for("five destinations are taken over", Duration::from_secs(60), async || {
        let lanes = positions(&mut connection).await;
        (lanes.len() == databases.names.len()).then_some(())
    })
    .await;
    println!(
        "delivery, appendfsync {mode}, {records} upserts to 3 PostgreSQL and 2 MariaDB, {} rounds",
        options.rounds
    );
    let [postgres, mariadb] = databases.processes();
    let mut sides = [Side::default(), Side::default()];
    let (mut loads, mut fsyncs) = (Vec::new(), Vec::new());
    // One round more than is counted: the first one warms both sides up.
    for round in 0..=options.rounds {
        if round > 0 {
            loads.push(machine::load());
            fsyncs.push(machine::fsyncs_per_second(&report::dir()));
        }
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            databases.empty().await;
            let own = if side == 0 { Some(node.process.id()) } else { None };
            let cpu = || {
                let own = own.map_or_else(machine::cpu_of_ended, machine::cpu);
                [own, machine::cpu(redis_pid), machine::cpu(postgres), machine::cpu(mariadb)]
            };
            let fill = backlog(records, side == 0);
            let before;
            let seconds = if side == 0 {
                let last = fill.store(&mut connection).await;
                before = cpu();
                until_delivered(&mut connection, &last, databases.names.len()).await
            } else {
                fill.store(&mut connection).await;
                before = cpu();
                reference(&python, &redis, &databases, records)
            };
            let after = cpu();
            let stock: i64 = (1..=records as i64).map(|id| id % 50).sum();
            assert_eq!(databases.contents().await, vec![(records as i64, stock); databases.names.len()]);
            if side == 1 {
                redis::cmd("DEL").arg(REFERENCE).query_async::<()>(&mut connection).await.unwrap();
            }
            if round == 0 {
                continue;
            }
            let figures = &mut sides[side];
            figures.per_second.push(records as f64 / seconds);
            for (place, (before, after)) in before.into_iter().zip(after).enumerate() {
                figures.cpu_us[place].push(after.saturating_sub(before).as_secs_f64() * 1e6 / records as f64);
            }
        }
    }
    show(mode, options, records, &sides, &loads, &fsyncs);
}

fn show(mode: &str, options: &Options, records: usize, sides: &[Side; 2], loads: &[f64], fsyncs: &[f64]) {
    let [product, reference] = sides;
    let ratios: Vec<f64> =
        product.per_second.iter().zip(&reference.per_second).map(|(ours, theirs)| ours / theirs).collect();
    report::line("product", "records/s", &product.per_second, 0);
    report::line("batched reference", "records/s", &reference.per_second, 0);
    let parts = ["own processor", "Redis", "PostgreSQL (3)", "MariaDB (2)"];
    for (name, side) in [("product", product), ("reference", reference)] {
        for (part, values) in parts.iter().zip(&side.cpu_us) {
            report::line(&format!("{name}: {part}"), "µs/record", values, 1);
        }
    }
    report::line("load average", "", loads, 1);
    report::line("disk", "fsyncs/s", fsyncs, 0);
    report::line("ratio", "", &ratios, 3);
    let ratio = report::median(&ratios);
    report::verdict("delivery", ratio, ratio >= TARGET, "at least 1.00");
    let figures = |side: &Side| {
        let cpu: serde_json::Map<_, _> = parts
            .iter()
            .zip(&side.cpu_us)
            .map(|(part, values)| ((*part).to_owned(), report::summary(values)))
            .collect();
        json!({"records_per_s": report::summary(&side.per_second), "cpu_us_per_record": cpu})
    };
    report::write(
        "delivery",
        &json!({
            "machine": machine::describe(), "target": TARGET, "ratio": report::summary(&ratios), "appendfsync": mode,
            "product": figures(product), "reference": figures(reference), "records": records, "rounds": options.rounds,
            "load": report::summary(loads), "fsyncs_per_s": report::summary(fsyncs),
        }),
    );
}

/// A backlog, ready to be stored in one transaction, so that all of it waits at the same moment.
struct Backlog(redis::Pipeline);

fn backlog(records: usize, product: bool) -> Backlog {
    let stream = node::stream();
    let mut pipe = redis::pipe();
    pipe.atomic();
    for id in 1..=records {
        let data = crate::record(id);
        if !product {
            pipe.cmd("XADD").arg(REFERENCE).arg("*").arg("d").arg(data);
            continue;
        }
        let record = NewRecord {
            topic: "cars".into(),
            action: Action::Upsert,
            key: Some(id.to_string().into()),
            own_id: None,
            traceparent: None,
            data: data.into(),
        };
        let command = pipe.cmd("XADD").arg(&stream).arg("*");
        for (name, value) in fields(&record) {
            command.arg(name).arg(value);
        }
    }
    Backlog(pipe)
}

impl Backlog {
    /// Stores it; the id of the last entry.
    async fn store(&self, connection: &mut MultiplexedConnection) -> String {
        let ids: Vec<String> = self.0.query_async(connection).await.unwrap();
        ids.last().unwrap().clone()
    }
}

/// Where each destination stands, as the node has told Redis after its commits.
async fn positions(connection: &mut MultiplexedConnection) -> Vec<String> {
    let lanes = tidegate::redis::Keys::new("tidegate").of(node::APPLICATION).lanes();
    redis::cmd("HVALS").arg(lanes).query_async(connection).await.unwrap()
}

/// Seconds until every destination stands at this id.
async fn until_delivered(connection: &mut MultiplexedConnection, last: &str, destinations: usize) -> f64 {
    let start = Instant::now();
    loop {
        let lanes = positions(connection).await;
        let there = lanes.iter().filter(|lane| lane.split(' ').nth(1) == Some(last)).count();
        if there == destinations {
            return start.elapsed().as_secs_f64();
        }
        assert!(start.elapsed() < Duration::from_secs(120), "not delivered within two minutes: {lanes:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn reference(python: &PathBuf, redis: &RedisServer, databases: &Databases, records: usize) -> f64 {
    let list: Vec<_> = databases.names.iter().map(|(kind, name)| json!([kind, databases.port(kind), name])).collect();
    let task = json!({
        "redis": redis.port(), "stream": REFERENCE, "records": records, "batch": REFERENCE_BATCH, "databases": list
    });
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bench/reference.py");
    let answer = run_program(Command::new(python).arg(script).arg(task.to_string())).unwrap();
    let answer: serde_json::Value = serde_json::from_str(answer.lines().last().unwrap()).unwrap();
    answer["seconds"].as_f64().unwrap()
}

/// A Python with the reference's clients, made on first use.
fn python() -> PathBuf {
    let venv = report::dir().join("venv");
    let python = venv.join("bin/python");
    let works = |python: &PathBuf| {
        run_program(Command::new(python).args(["-c", "import psycopg, redis, hiredis, MySQLdb"])).is_ok()
    };
    if !works(&python) {
        println!("installing the reference's clients (mysqlclient needs libmariadb-dev, pkg-config and a C compiler)");
        run_program(Command::new("python3").args(["-m", "venv"]).arg(&venv)).unwrap();
        let packages = ["psycopg[binary]", "redis", "hiredis", "mysqlclient"];
        run_program(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(packages)).unwrap();
        assert!(works(&python), "the reference's clients are not there");
    }
    python
}
