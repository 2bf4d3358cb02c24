//! Ingest: what the node takes in, against the least that could take it in, in turn.
//!
//! One record of 250 bytes per request at 1, 64 and 256 keep-alive connections, against [`crate::probe`]; and NDJSON of 500
//! records per request against `redis-benchmark` XADD of the same records at the same pipelining. The product checks the API
//! key, reads each message and checks it and its key against a route, and appends it.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::aio::MultiplexedConnection;
use serde_json::{Map, Value, json};

use crate::{
    Options, machine,
    node::{self, Node},
    probe, report,
    servers::{free_port, redis::RedisServer, wait_for},
    wrk,
};

/// Connections of the load, and the least ratio that will do where there is one.
const SINGLE: &[(usize, Option<f64>)] = &[(1, None), (64, Some(0.85)), (256, None)];
/// Records in one request of NDJSON, which is the pipelining of its limit.
const IN_ONE: usize = 500;
/// Connections that send NDJSON, and those of its limit.
const SENDERS: usize = 16;
/// The least ratio of NDJSON.
const BATCHED: f64 = 0.6;

struct Probe(Child);

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One way of getting records into Redis.
struct Way {
    name: &'static str,
    stream: String,
    /// The process under measurement, beside Redis and the load.
    own: Option<u32>,
    load: Load,
}

enum Load {
    /// A URL, wrk's script, connections, records per request.
    Wrk(String, PathBuf, usize, usize),
    /// Port of Redis, records in all.
    RedisBenchmark(u16, usize),
}

#[derive(Default)]
struct Side {
    per_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// Processor microseconds a record: the server's own, Redis's, the load's.
    cpu_us: [Vec<f64>; 3],
    /// Of all three.
    all_us: Vec<f64>,
    /// Growth of Redis's memory and of its file.
    memory_bytes: Vec<f64>,
    file_bytes: Vec<f64>,
}

/// One Redis, and what sends to it.
struct Rig {
    redis: RedisServer,
    connection: MultiplexedConnection,
    redis_pid: u32,
    node: Node,
    limit: Probe,
    limit_port: u16,
    scripts: tempfile::TempDir,
}

/// `single`: also one record per request.
pub(crate) async fn run(options: &Options, single: bool) {
    let modes = options.appendfsync.as_deref().map_or(vec!["everysec", "always"], |mode| vec![mode]);
    let mut results = Map::new();
    for mode in modes {
        let mut rig = Rig::start(mode).await;
        println!("ingest, appendfsync {mode}, {} s a run, {} rounds", options.seconds, options.rounds);
        let mut of_mode = Map::new();
        for &(connections, target) in SINGLE.iter().filter(|(_, target)| single && (target.is_some() || !options.short))
        {
            let ways = rig.single(connections);
            let name = format!("{connections} connection{}", if connections == 1 { "" } else { "s" });
            of_mode.insert(name.clone(), rig.measure(&format!("{mode}, {name}"), target, ways, options).await);
        }
        let ways = rig.batched(options);
        let name = format!("NDJSON of {IN_ONE}");
        of_mode.insert(name.clone(), rig.measure(&format!("{mode}, {name}"), Some(BATCHED), ways, options).await);
        results.insert(mode.to_owned(), Value::Object(of_mode));
    }
    let name = if single { "ingest" } else { "ndjson" };
    report::write(name, &json!({"machine": machine::describe(), "appendfsync": results}));
}

impl Rig {
    async fn start(mode: &str) -> Self {
        // A rewrite of the file in the middle of a run would be measured with it.
        let redis = RedisServer::start_with(&[("appendfsync", mode), ("auto-aof-rewrite-percentage", "0")]).await;
        let mut connection = node::patient(&redis).await;
        let redis_pid = node::process_id(&mut connection).await;
        // A route that waits for its database: keys are checked, and nobody reads.
        let node = Node::start(&redis, &node::absent(1)).await;
        let limit_port = free_port();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["probe", &limit_port.to_string(), &redis.url()])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let limit = Probe(child);
        wait_for("the probe listens", Duration::from_secs(10), async || {
            std::net::TcpStream::connect(("127.0.0.1", limit_port)).ok()
        })
        .await;
        let scripts = tempfile::tempdir().unwrap();
        Self { redis, connection, redis_pid, node, limit, limit_port, scripts }
    }

    /// One record per request: the node, and the bare server.
    fn single(&self, connections: usize) -> [Way; 2] {
        let (product, limit) = (self.scripts.path().join("product.lua"), self.scripts.path().join("limit.lua"));
        wrk::script(&product, "application/json", &node::message(1), Some(&self.node.key));
        wrk::script(&limit, "application/json", &crate::record(1), None);
        [
            self.product(product, connections, 1),
            Way {
                name: "bare server",
                stream: probe::STREAM.to_owned(),
                own: Some(self.limit.0.id()),
                load: Load::Wrk(format!("http://127.0.0.1:{}/in", self.limit_port), limit, connections, 1),
            },
        ]
    }

    /// Many records per request: the node, and Redis's own load.
    fn batched(&self, options: &Options) -> [Way; 2] {
        let script = self.scripts.path().join("lines.lua");
        let lines: String = (0..IN_ONE).map(|id| node::message(id) + "\n").collect();
        wrk::script(&script, "application/x-ndjson", &lines, Some(&self.node.key));
        // About as long as the other side, at what a core of today does.
        let records = if options.short { 50_000 } else { 300_000 * usize::try_from(options.seconds).unwrap() };
        [
            self.product(script, SENDERS, IN_ONE),
            Way {
                name: "redis-benchmark",
                stream: probe::STREAM.to_owned(),
                own: None,
                load: Load::RedisBenchmark(self.redis.port(), records),
            },
        ]
    }

    fn product(&self, script: PathBuf, connections: usize, in_one: usize) -> Way {
        let url = format!("{}/v1/messages", self.node.url);
        Way {
            name: "product",
            stream: node::stream(),
            own: Some(self.node.process.id()),
            load: Load::Wrk(url, script, connections, in_one),
        }
    }

    async fn measure(&mut self, name: &str, target: Option<f64>, ways: [Way; 2], options: &Options) -> Value {
        println!("ingest, {name}");
        let mut sides = [Side::default(), Side::default()];
        let (mut loads, mut fsyncs) = (Vec::new(), Vec::new());
        for way in &ways {
            way.load.run(1);
        }
        for round in 0..options.rounds {
            loads.push(machine::load());
            fsyncs.push(machine::fsyncs_per_second(&report::dir()));
            // Whoever comes first meets another machine than whoever comes second: take turns.
            for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                self.empty(&ways).await;
                self.turn(&ways[side], &mut sides[side], options.seconds).await;
            }
        }
        self.empty(&ways).await;
        let [product, limit] = &sides;
        let ratios: Vec<f64> =
            product.per_second.iter().zip(&limit.per_second).map(|(ours, best)| ours / best).collect();
        for (way, side) in ways.iter().zip(&sides) {
            side.show(way.name);
        }
        report::line("load average", "", &loads, 1);
        report::line("disk", "fsyncs/s", &fsyncs, 0);
        let by_cpu: Vec<f64> = limit.all_us.iter().zip(&product.all_us).map(|(best, ours)| best / ours).collect();
        report::line("ratio by processor time", "", &by_cpu, 3);
        report::line("ratio", "", &ratios, 3);
        if let Some(target) = target {
            let ratio = report::median(&ratios);
            report::verdict(&format!("ingest, {name}"), ratio, ratio >= target, &format!("at least {target:.2}"));
        }
        json!({
            "ratio": report::summary(&ratios), "target": target, "ratio_by_cpu": report::summary(&by_cpu),
            "product": product.figures(), "limit": limit.figures(), "load": report::summary(&loads),
            "fsyncs_per_s": report::summary(&fsyncs), "seconds": options.seconds,
        })
    }

    /// Streams and file are small again.
    async fn empty(&mut self, ways: &[Way; 2]) {
        for way in ways {
            let mut trim = redis::cmd("XTRIM");
            trim.arg(&way.stream).arg("MAXLEN").arg(0);
            trim.query_async::<i64>(&mut self.connection).await.unwrap();
        }
        redis::cmd("BGREWRITEAOF").query_async::<()>(&mut self.connection).await.unwrap();
        wait_for("the file is rewritten", Duration::from_secs(30), async || {
            let mut connection = self.connection.clone();
            let busy = [
                node::info(&mut connection, "persistence", "aof_rewrite_in_progress").await,
                node::info(&mut connection, "persistence", "aof_rewrite_scheduled").await,
            ];
            (busy == ["0", "0"]).then_some(())
        })
        .await;
    }

    async fn turn(&mut self, way: &Way, side: &mut Side, seconds: u64) {
        let cpu = || {
            let own = way.own.map_or(Duration::ZERO, machine::cpu);
            [own, machine::cpu(self.redis_pid), machine::cpu_of_ended()]
        };
        let mut connection = self.connection.clone();
        let (memory, file) = sizes(&mut connection).await;
        let before = cpu();
        let outcome = way.load.run(seconds);
        let after = cpu();
        let records: f64 = redis::cmd("XLEN").arg(&way.stream).query_async(&mut connection).await.unwrap();
        let (memory_after, file_after) = sizes(&mut connection).await;
        side.per_second.push(outcome.per_second);
        side.p50_ms.push(outcome.p50_ms);
        side.p99_ms.push(outcome.p99_ms);
        let us = |place: usize| after[place].saturating_sub(before[place]).as_secs_f64() * 1e6 / records;
        for (place, figures) in side.cpu_us.iter_mut().enumerate() {
            figures.push(us(place));
        }
        side.all_us.push(us(0) + us(1) + us(2));
        side.memory_bytes.push((memory_after - memory) / records);
        side.file_bytes.push((file_after - file) / records);
    }
}

/// Redis's memory and the length of its file, in bytes.
async fn sizes(connection: &mut MultiplexedConnection) -> (f64, f64) {
    let memory = node::info(connection, "memory", "used_memory").await.parse().unwrap();
    (memory, node::info(connection, "persistence", "aof_current_size").await.parse().unwrap())
}

impl Load {
    /// What one run came to, in records.
    fn run(&self, seconds: u64) -> wrk::Outcome {
        match self {
            Self::Wrk(url, script, connections, in_one) => {
                let outcome = wrk::run(url, script, *connections, seconds);
                wrk::Outcome { per_second: outcome.per_second * *in_one as f64, ..outcome }
            }
            Self::RedisBenchmark(port, records) => redis_benchmark(*port, *records),
        }
    }
}

fn redis_benchmark(port: u16, records: usize) -> wrk::Outcome {
    let output = Command::new("redis-benchmark")
        .args(["-p", &port.to_string(), "-n", &records.to_string(), "-c", &SENDERS.to_string()])
        .args(["-P", &IN_ONE.to_string(), "--csv", "XADD", probe::STREAM, "*", "d", &crate::record(1)])
        .output()
        .expect("redis-benchmark is not installed: apt-get install redis-tools");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms":
    // the test is the command, which has commas of its own, so the columns are counted from the end.
    let line = text.lines().last().unwrap_or_default();
    let columns: Vec<f64> = line.rsplit(',').take(7).filter_map(|cell| cell.trim_matches('"').parse().ok()).collect();
    let [_, p99_ms, _, p50_ms, _, _, per_second] = columns[..] else {
        panic!("redis-benchmark: {text}{}", String::from_utf8_lossy(&output.stderr))
    };
    wrk::Outcome { per_second, p50_ms, p99_ms }
}

impl Side {
    fn show(&self, name: &str) {
        report::line(name, "records/s", &self.per_second, 0);
        report::line(&format!("{name}: p50"), "ms", &self.p50_ms, 2);
        report::line(&format!("{name}: p99"), "ms", &self.p99_ms, 2);
        for (what, values) in ["processor", "Redis's processor", "load's processor"].iter().zip(&self.cpu_us) {
            report::line(&format!("{name}: {what}"), "µs/record", values, 2);
        }
        report::line(&format!("{name}: memory"), "bytes/record", &self.memory_bytes, 0);
        report::line(&format!("{name}: append-only file"), "bytes/record", &self.file_bytes, 0);
    }

    fn figures(&self) -> Value {
        let [own, redis, load] = &self.cpu_us;
        json!({
            "records_per_s": report::summary(&self.per_second), "p50_ms": report::summary(&self.p50_ms),
            "p99_ms": report::summary(&self.p99_ms),
            "cpu_us_per_record": {
                "own": report::summary(own), "redis": report::summary(redis), "load": report::summary(load),
                "all": report::summary(&self.all_us),
            },
            "redis_bytes_per_record": report::summary(&self.memory_bytes),
            "file_bytes_per_record": report::summary(&self.file_bytes),
        })
    }
}
