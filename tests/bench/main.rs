//! How near Tidegate comes to what the machine can do: ingest against a bare server that does one XADD per request,
//! delivery against a batched reference, memory against a plain XADD. Product and limit are measured in turn in the same
//! run, because absolute figures follow the machine and its neighbours; only ratios are results.
//!
//! `dead` compares delivery with one record in a hundred bad, in ten ways, with delivery of good records alone.
//!
//! `thesis` repeats the measurements of the published system instead.
//!
//! usage: `cargo bench --bench limits -- STAGE… [--rounds N] [--seconds S] [--records N] [--appendfsync MODE] [--limit N] [--short]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]
#![allow(unreachable_pub, reason = "the servers are shared with the integration tests")]

#[path = "../it/servers/mod.rs"]
mod servers;

mod ab;
mod both;
mod dead;
mod delivery;
mod ingest;
mod latency;
mod machine;
mod memory;
mod node;
mod open;
mod plot;
mod probe;
mod report;
mod sustained;
mod thesis;
mod wrk;

/// Every stage.
const STAGES: &[&str] = &[
    "ingest",   // HTTP to Redis
    "ndjson",   // many records per request alone
    "latency",  // HTTP to a commit
    "both",     // ingest and delivery at once
    "delivery", // Redis to five databases
    "dead",     // the same with bad records
    "memory",   // of Redis
    "thesis",   // what was published
];
/// What `all` is: everything that needs nothing to be fetched or written out first.
const ALL: &[&str] = &[
    "ingest",  //
    "latency", //
    "both",    //
    "memory",  //
];
const FLAGS: &str = "--rounds N, --seconds S, --records N, --appendfsync MODE, --limit RECORDS_PER_S, --short";

/// What the command line asks for.
#[derive(Clone, Debug)]
struct Options {
    rounds: usize,
    seconds: u64,
    records: Option<usize>,
    appendfsync: Option<String>,
    /// The smallest run that goes through every step: what the tests do. Its figures say nothing.
    short: bool,
    /// Records a second that five bare writers reach, for `both`.
    limit: Option<f64>,
}

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == "probe") {
        return probe::serve(arguments[1].parse().unwrap(), &arguments[2]);
    }
    let mut options = Options { rounds: 9, seconds: 2, records: None, appendfsync: None, short: false, limit: None };
    let mut stages = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || rest.next().unwrap_or_else(|| panic!("{argument} needs a value")).clone();
        match argument.as_str() {
            "--rounds" => options.rounds = value().parse().unwrap(),
            "--seconds" => options.seconds = value().parse().unwrap(),
            "--records" => options.records = Some(value().parse().unwrap()),
            "--appendfsync" => options.appendfsync = Some(value()),
            "--limit" => options.limit = Some(value().parse().unwrap()),
            "--short" => {
                options = Options { rounds: 1, seconds: 1, records: Some(1_000), short: true, ..options };
            }
            "all" => stages.extend(ALL),
            stage if STAGES.contains(&stage) => stages.push(stage),
            other => panic!("`{other}` is unknown: {}, all, {FLAGS}", STAGES.join(", ")),
        }
    }
    if stages.is_empty() {
        println!("name what to measure: cargo bench --bench limits -- {}|all [{FLAGS}]", STAGES.join("|"));
        return;
    }
    actix_web::rt::System::new().block_on(async {
        for stage in stages {
            match stage {
                "ingest" => ingest::run(&options, true).await,
                "ndjson" => ingest::run(&options, false).await,
                "latency" => latency::run(&options).await,
                "both" => both::run(&options).await,
                "delivery" => delivery::run(&options).await,
                "dead" => dead::run(&options).await,
                "thesis" => thesis::run(&options).await,
                _ => memory::run(&options).await,
            }
        }
    });
}

/// A record of exactly 250 bytes, as a car dealer's stock message is.
fn record(id: usize) -> String {
    let head = format!(
        r#"{{"id":{id},"car_name":"Toyota Avanza {} G CVT","stock":{},"price":"{}.00","source":"dealer-07","sent_at":"2025-06-01T08:00:00.000+07:00","note":""#,
        id % 1000,
        id % 50,
        150_000_000 + id % 100_000
    );
    let note = "x".repeat(250 - head.len() - 2);
    format!("{head}{note}\"}}")
}
