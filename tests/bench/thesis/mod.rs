//! The measurements of the thesis, repeated: 1,000 requests of Apache Benchmark through the load balancer on one, two and
//! five nodes; how evenly they are spread; Redis's memory in the normal run and in the partial failure. Everything is
//! delivered to five databases meanwhile, and counted. Prints tables as they stand in `docs/thesis.md`.

mod installation;
mod memory;

use serde_json::json;

use self::installation::{Databases, Installation};
use crate::{Options, machine, report};

/// As in the thesis.
const REQUESTS: usize = 1_000;
/// The thesis had two.
const NODES: [usize; 3] = [1, 2, 5];

/// Runs of one sort.
#[derive(Default)]
struct Runs {
    seconds: Vec<f64>,
    per_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
    /// From the last answer until all five databases had everything.
    complete_s: Vec<f64>,
    /// Least and greatest share of the requests that a node was given.
    least: Vec<f64>,
    most: Vec<f64>,
    /// Requests a second, of what one node made of them in the same round.
    ratio: Vec<f64>,
}

pub(crate) async fn run(options: &Options) {
    let databases = Databases::start().await;
    let modes = options.appendfsync.as_deref().map_or(vec!["always", "everysec"], |mode| vec![mode]);
    let mut results = serde_json::Map::new();
    for mode in modes {
        results.insert(mode.to_owned(), requests(&databases, mode, options).await);
    }
    let memory = memory::run(&databases, options).await;
    report::write("thesis", &json!({"machine": machine::describe(), "requests": results, "memory": memory}));
}

async fn requests(databases: &Databases, mode: &str, options: &Options) -> serde_json::Value {
    let mut all: Vec<(usize, bool, Runs)> =
        NODES.into_iter().flat_map(|nodes| [false, true].map(|keep| (nodes, keep, Runs::default()))).collect();
    let (mut loads, mut fsyncs) = (Vec::new(), Vec::new());
    let mut installation = Installation::start(databases, mode, 1, "24h").await;
    for round in 0..options.rounds {
        loads.push(machine::load());
        fsyncs.push(machine::fsyncs_per_second(&report::dir()));
        let mut order: Vec<usize> = (0..NODES.len()).collect();
        // Whoever comes first meets another machine than whoever comes last: take turns.
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            installation.run_on(NODES[place]).await;
            for (_, keep, runs) in &mut all[place * 2..place * 2 + 2] {
                let before = installation.requests().await;
                let outcome = installation.send(REQUESTS, *keep).await;
                let took = installation.complete(&[0, 1]).await;
                let after = installation.requests().await;
                let shares: Vec<f64> = before
                    .iter()
                    .zip(&after)
                    .map(|(before, after)| (after - before) as f64 / REQUESTS as f64)
                    .collect();
                assert!((shares.iter().sum::<f64>() - 1.0).abs() < 0.01, "the balancer counted {shares:?}");
                runs.seconds.push(outcome.seconds);
                runs.per_second.push(outcome.per_second);
                runs.p50_ms.push(outcome.p50_ms);
                runs.p99_ms.push(outcome.p99_ms);
                runs.complete_s.push(took.as_secs_f64());
                runs.least.push(shares.iter().copied().fold(f64::INFINITY, f64::min) * 100.0);
                runs.most.push(shares.iter().copied().fold(0.0, f64::max) * 100.0);
            }
        }
        for keep in [0, 1] {
            let one = *all[keep].2.per_second.last().unwrap();
            for (_, _, runs) in all.iter_mut().skip(keep).step_by(2) {
                runs.ratio.push(runs.per_second.last().unwrap() / one);
            }
        }
    }
    show(mode, options.rounds, &all, &loads, &fsyncs)
}

fn show(mode: &str, rounds: usize, all: &[(usize, bool, Runs)], loads: &[f64], fsyncs: &[f64]) -> serde_json::Value {
    println!(
        "\nab -n {REQUESTS} -c 10 through HAProxy, appendfsync {mode}, five MariaDB databases, medians of {rounds} rounds"
    );
    println!("(load average {:.1}, {:.0} fsyncs/s)\n", report::median(loads), report::median(fsyncs));
    println!(
        "| nodes | keep-alive | time of {REQUESTS} | requests/s (least to greatest) | p50, p99 | of one node's | least and greatest share of a node | complete in all five after |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let median = |values: &[f64]| report::median(values);
    for (nodes, keep, runs) in all {
        let (least, most) = report::bounds(&runs.per_second);
        println!(
            "| {nodes} | {} | {:.3} s | {:.0} ({least:.0} to {most:.0}) | {:.0} ms, {:.0} ms | {:.2} | {:.1} %, {:.1} % | {:.2} s |",
            if *keep { "on" } else { "off" },
            median(&runs.seconds),
            median(&runs.per_second),
            median(&runs.p50_ms),
            median(&runs.p99_ms),
            median(&runs.ratio),
            median(&runs.least),
            median(&runs.most),
            median(&runs.complete_s),
        );
    }
    let runs: Vec<_> = all
        .iter()
        .map(|(nodes, keep_alive, runs)| {
            json!({
                "nodes": nodes, "keep_alive": keep_alive, "seconds": report::summary(&runs.seconds),
                "requests_per_s": report::summary(&runs.per_second), "p50_ms": report::summary(&runs.p50_ms),
                "p99_ms": report::summary(&runs.p99_ms), "complete_s": report::summary(&runs.complete_s),
                "least_share_percent": report::summary(&runs.least), "greatest_share_percent": report::summary(&runs.most),
                "of_one_node": report::summary(&runs.ratio),
            })
        })
        .collect();
    json!({"runs": runs, "load": report::summary(loads), "fsyncs_per_s": report::summary(fsyncs)})
}
