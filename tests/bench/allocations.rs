//! How often a node allocates for a record, and how many bytes: taken in over HTTP, one by one and in NDJSON, and delivered
//! to one PostgreSQL, each apart. This executable runs itself as the node (the same command line, under a counting
//! allocator) and asks it for its counts over a port; what a node allocates while it has nothing to do is taken off.
//!
//! An executable of its own, because the counting costs time, which the limits beside the product must not pay.
//!
//! usage: `cargo bench --bench allocations -- [--records N] [--short]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    dead_code
)]
#![allow(unreachable_pub, reason = "the servers are shared with the integration tests")]

#[path = "../it/servers/mod.rs"]
mod servers;

mod machine;
mod node;
mod open;
mod plot;
mod report;

use std::{
    alloc::System,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use clap::Parser as _;
use redis::aio::MultiplexedConnection;
use serde_json::{Map, Value, json};
use sqlx::Executor as _;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tidegate::redis::stream::entry::fields;
use tidegate_actors::{message::Action, ports::NewRecord};

use self::servers::{free_port, postgres::PostgresServer, redis::RedisServer, temp_dir, wait_for};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Where the node tells its counts: a port.
const COUNTS: &str = "TIDEGATE_BENCH_COUNTS";
/// Longest time for what a scenario sends to be in.
const WITHIN: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().filter(|argument| argument != "--bench").collect();
    if arguments.get(1).is_some_and(|first| first == "node") {
        arguments.remove(1);
        return serve(&arguments);
    }
    let short = arguments.iter().any(|argument| argument == "--short");
    let given = arguments.iter().skip_while(|argument| *argument != "--records").nth(1);
    let records = given.map_or(if short { 1_000 } else { 20_000 }, |records| records.parse().unwrap());
    actix_web::rt::System::new().block_on(measure(records));
    ExitCode::SUCCESS
}

/// The node, as `tidegate` is, with a thread that tells the counts to whoever connects.
fn serve(arguments: &[String]) -> ExitCode {
    let port: u16 = std::env::var(COUNTS).unwrap().parse().unwrap();
    let counts = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in counts.incoming() {
            let now = COUNTED.stats();
            let _ = write!(stream.unwrap(), "{} {}", now.allocations + now.reallocations, now.bytes_allocated);
        }
    });
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = tidegate::cli::Cli::parse_from(arguments);
    actix_web::rt::System::new().block_on(tidegate::cli::run(cli)).unwrap()
}

/// A node under the counting allocator.
struct Counted {
    process: Child,
    port: u16,
    counts: u16,
    key: String,
    _dir: tempfile::TempDir,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Allocations and their bytes.
#[derive(Clone, Copy, Debug)]
struct Counts([f64; 2]);

impl Counted {
    async fn start(redis: &RedisServer, targets: &[node::Target]) -> Self {
        let key = node::register(redis, &node::manifest_of(targets));
        let (dir, port, counts) = (temp_dir(), free_port(), free_port());
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .args(["node", "serve"])
            .env(COUNTS, counts.to_string())
            .env("TIDEGATE_REDIS_URL", redis.url())
            .env("TIDEGATE_NODE", "counted")
            .env("TIDEGATE_STATE_DIR", dir.path().join("state"))
            .env("TIDEGATE_LISTEN", format!("127.0.0.1:{port}"))
            .env("TIDEGATE_ADMIN", format!("127.0.0.1:{}", free_port()))
            .env("TIDEGATE_CONSOLE", "127.0.0.1:0")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let node = Self { process, port, counts, key, _dir: dir };
        wait_for("the node is ready", Duration::from_secs(30), async || {
            let url = format!("http://127.0.0.1:{port}/healthz/ready");
            let answer = awc::Client::default().get(url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        node
    }

    fn counts(&self) -> Counts {
        let mut text = String::new();
        TcpStream::connect(("127.0.0.1", self.counts)).unwrap().read_to_string(&mut text).unwrap();
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap());
        Counts([numbers.next().unwrap(), numbers.next().unwrap()])
    }

    /// What the work allocates for each of so many records.
    async fn during(&self, name: &str, records: usize, work: impl AsyncFnOnce()) -> (String, Value) {
        let (idle_before, idle) = (self.counts(), Instant::now());
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (before, idle) = (self.counts(), idle.elapsed().as_secs_f64());
        let begun = Instant::now();
        work().await;
        let (after, took) = (self.counts(), begun.elapsed().as_secs_f64());
        let figure = |place: usize| {
            let at_rest = (before.0[place] - idle_before.0[place]) / idle * took;
            (after.0[place] - before.0[place] - at_rest) / records as f64
        };
        println!("{name}, {records} records");
        report::line("allocations", "/record", &[figure(0)], 1);
        report::line("bytes", "/record", &[figure(1)], 0);
        (
            name.to_owned(),
            json!({"allocations_per_record": figure(0), "bytes_per_record": figure(1), "records": records}),
        )
    }

    fn plan(&self, records: usize, in_one: usize, first_id: usize) -> open::Plan {
        open::Plan {
            port: self.port,
            key: self.key.clone(),
            rate: records as f64,
            time: Duration::from_secs(1),
            connections: 4,
            in_one,
            first_id,
        }
    }
}

async fn measure(records: usize) {
    let redis = RedisServer::start_with(&[("appendfsync", "everysec")]).await;
    let mut results = Map::new();
    {
        let node = Counted::start(&redis, &node::absent(1)).await;
        for (name, in_one) in [("ingest, one record per request", 1), ("ingest, NDJSON of 500", 500)] {
            // Connections, buffers and scripts are there before it counts.
            open::run(&node.plan(in_one * 8, in_one, 1));
            let sent = records.next_multiple_of(in_one);
            let plan = node.plan(sent, in_one, 1);
            results.extend([node.during(name, sent, async || drop(open::run(&plan))).await]);
        }
    }
    drop(redis);
    let redis = RedisServer::start_with(&[("appendfsync", "everysec")]).await;
    let mut connection = node::patient(&redis).await;
    let postgres = PostgresServer::private();
    let database = postgres.database().await;
    let table = "CREATE TABLE cars (id bigint PRIMARY KEY, car_name text, stock int, price numeric(14,2))";
    postgres.connect(&database).await.execute(table).await.unwrap();
    let target = ("one".to_owned(), "postgres", postgres.url(&database));
    let node = Counted::start(&redis, &[target]).await;
    wait_for("the destination is taken over", WITHIN, async || at(&mut connection.clone()).await).await;
    store(&mut connection, 1..=100).await;
    let name = "delivery, one PostgreSQL";
    results.extend([node.during(name, records, async || store(&mut connection, 101..=100 + records).await).await]);
    report::write("allocations", &json!({"machine": machine::describe(), "scenarios": results}));
}

/// Where the destination stands.
async fn at(connection: &mut MultiplexedConnection) -> Option<String> {
    let lanes = tidegate::redis::Keys::new("tidegate").of(node::APPLICATION).lanes();
    let lanes: Vec<String> = redis::cmd("HVALS").arg(lanes).query_async(connection).await.unwrap();
    lanes.first()?.split(' ').nth(1).map(str::to_owned)
}

/// Stores records as a node does, and waits until they are delivered.
async fn store(connection: &mut MultiplexedConnection, ids: std::ops::RangeInclusive<usize>) {
    let mut pipe = redis::pipe();
    pipe.atomic();
    for id in ids {
        let record = NewRecord {
            topic: "cars".into(),
            action: Action::Upsert,
            key: Some(id.to_string().into()),
            own_id: None,
            traceparent: None,
            data: record(id).into(),
        };
        let command = pipe.cmd("XADD").arg(node::stream()).arg("*");
        for (name, value) in fields(&record) {
            command.arg(name).arg(value);
        }
    }
    let ids: Vec<String> = pipe.query_async(connection).await.unwrap();
    let last = ids.last().unwrap();
    wait_for("it is delivered", WITHIN, async || {
        (at(&mut connection.clone()).await.as_ref() == Some(last)).then_some(())
    })
    .await;
}

/// A record of 250 bytes.
fn record(id: usize) -> String {
    let head = format!(r#"{{"id":{id},"car_name":"Toyota Avanza","stock":{},"price":"150000000.00","note":""#, id % 50);
    format!("{head}{}\"}}", "x".repeat(250 - head.len() - 2))
}
