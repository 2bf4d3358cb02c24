//! Ingest: one 250-byte record per request at 64 keep-alive connections. The product checks the API key, reads and checks
//! the message and its key against a route, and appends it; the limit is [`crate::probe`].

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::json;

use crate::{
    Options, machine,
    node::{self, Node},
    probe, report,
    servers::{free_port, redis::RedisServer, wait_for},
    wrk,
};

/// The least ratio that will do.
const TARGET: f64 = 0.7;

struct Probe(Child);

impl Drop for Probe {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[derive(Default)]
struct Side {
    per_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// Processor microseconds a request: the server's own, and Redis's.
    own_us: Vec<f64>,
    redis_us: Vec<f64>,
    /// Of all three, the load's own included.
    all_us: Vec<f64>,
}

pub(crate) async fn run(options: &Options) {
    let modes = options.appendfsync.as_deref().map_or(vec!["everysec", "always"], |mode| vec![mode]);
    let mut results = serde_json::Map::new();
    for mode in modes {
        results.insert(mode.to_owned(), measure(mode, options).await);
    }
    let machine = machine::describe();
    report::write("ingest", &json!({"machine": machine, "target": TARGET, "appendfsync": results}));
}

async fn measure(mode: &str, options: &Options) -> serde_json::Value {
    let redis = RedisServer::start_with(&[("appendfsync", mode)]).await;
    let mut connection = node::patient(&redis).await;
    let redis_pid = node::process_id(&mut connection).await;
    // A route that waits for its database: keys are checked, and nobody reads.
    let node = Node::start(&redis, &node::absent(1)).await;
    let port = free_port();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["probe", &port.to_string(), &redis.url()])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let limit = Probe(child);
    wait_for("the probe listens", Duration::from_secs(10), async || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok()
    })
    .await;

    let scripts = tempfile::tempdir().unwrap();
    let (product_script, limit_script) = (scripts.path().join("product.lua"), scripts.path().join("limit.lua"));
    wrk::script(&product_script, &node::message(1), Some(&node.key));
    wrk::script(&limit_script, &crate::record(1), None);
    let ways = [
        (format!("{}/v1/messages", node.url), product_script, node.process.id()),
        (format!("http://127.0.0.1:{port}/in"), limit_script, limit.0.id()),
    ];
    println!("ingest, appendfsync {mode}, wrk -t1 -c64 for {} s, {} rounds", options.seconds, options.rounds);
    for (url, script, _) in &ways {
        wrk::run(url, script, 1);
    }
    let mut sides = [Side::default(), Side::default()];
    let (mut loads, mut fsyncs) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        loads.push(machine::load());
        fsyncs.push(machine::fsyncs_per_second(&report::dir()));
        // Whoever comes first meets another machine than whoever comes second: take turns.
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (url, script, pid) = &ways[side];
            for stream in [node::stream(), probe::STREAM.to_owned()] {
                let trim =
                    redis::cmd("XTRIM").arg(stream).arg("MAXLEN").arg(0).query_async::<i64>(&mut connection).await;
                trim.unwrap();
            }
            let cpu = || [machine::cpu(*pid), machine::cpu(redis_pid), machine::cpu_of_ended()];
            let before = cpu();
            let outcome = wrk::run(url, script, options.seconds);
            let after = cpu();
            let requests = outcome.per_second * options.seconds as f64;
            let us = |place: usize| after[place].saturating_sub(before[place]).as_secs_f64() * 1e6 / requests;
            let figures = &mut sides[side];
            figures.per_second.push(outcome.per_second);
            figures.p50_ms.push(outcome.p50_ms);
            figures.p99_ms.push(outcome.p99_ms);
            figures.own_us.push(us(0));
            figures.redis_us.push(us(1));
            figures.all_us.push(us(0) + us(1) + us(2));
        }
    }
    let [product, limit] = &sides;
    let ratios: Vec<f64> = product.per_second.iter().zip(&limit.per_second).map(|(ours, best)| ours / best).collect();
    report::line("product", "requests/s", &product.per_second, 0);
    report::line("bare server", "requests/s", &limit.per_second, 0);
    for (name, side) in [("product", product), ("bare server", limit)] {
        report::line(&format!("{name}: p50"), "ms", &side.p50_ms, 2);
        report::line(&format!("{name}: p99"), "ms", &side.p99_ms, 2);
        report::line(&format!("{name}: processor"), "µs/request", &side.own_us, 1);
        report::line(&format!("{name}: Redis's processor"), "µs/request", &side.redis_us, 1);
        report::line(&format!("{name}: all, with wrk's"), "µs/request", &side.all_us, 1);
    }
    report::line("load average", "", &loads, 1);
    report::line("disk", "fsyncs/s", &fsyncs, 0);
    let by_cpu: Vec<f64> = limit.all_us.iter().zip(&product.all_us).map(|(best, ours)| best / ours).collect();
    report::line("ratio by processor time", "", &by_cpu, 3);
    report::line("ratio", "", &ratios, 3);
    let ratio = report::median(&ratios);
    report::verdict(&format!("ingest, {mode}"), ratio, ratio >= TARGET, "at least 0.70");
    let figures = |side: &Side| {
        json!({
            "requests_per_s": report::summary(&side.per_second), "p50_ms": report::summary(&side.p50_ms),
            "p99_ms": report::summary(&side.p99_ms), "cpu_us": report::summary(&side.own_us),
            "redis_cpu_us": report::summary(&side.redis_us), "all_cpu_us": report::summary(&side.all_us),
        })
    };
    json!({
        "ratio": report::summary(&ratios), "ratio_by_cpu": report::summary(&by_cpu), "product": figures(product), "limit": figures(limit),
        "load": report::summary(&loads), "fsyncs_per_s": report::summary(&fsyncs), "seconds": options.seconds,
    })
}
