//! How near Tidegate comes to what the machine can do: ingest against a bare server that does one XADD per request,
//! delivery against a batched reference, memory against a plain XADD. Product and limit are measured in turn in the same
//! run, because absolute figures follow the machine and its neighbours; only ratios are results.
//!
//! `dead` compares delivery with one record in a hundred bad, in ten ways, with delivery of good records alone.
//!
//! `writes` compares one batch's way into each kind of database with a bare client's statement.
//!
//! `terminals` sends broadcasts to thousands of shops' terminals, and kills a node.
//!
//! `thesis` repeats the measurements of the published system instead.
//!
//! usage: `cargo bench --bench limits -- STAGE… [--rounds N] [--seconds S] [--records N] [--appendfsync MODE] [--limit N] [--short]`,
//! for `both` `[--rate R] [--per-request 1|100]`
//! and for `delivery` `[--into postgres|mariadb|sqlite|five|parallel] [--op insert|upsert] [--bytes 250|2000]`
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
mod backlog;
mod bare;
mod both;
mod comparison;
mod databases;
mod dead;
mod delivery;
mod drain;
mod fleet;
mod hung;
mod ingest;
mod latency;
mod machine;
mod memory;
mod node;
mod open;
mod plot;
mod probe;
mod product;
mod reference;
mod report;
mod sampler;
mod shape;
mod sustained;
mod terminals;
mod thesis;
mod writes;
mod wrk;

/// Every stage.
const STAGES: &[&str] = &[
    "ingest",    // HTTP to Redis
    "ndjson",    // many records per request alone
    "latency",   // HTTP to a commit
    "both",      // ingest and delivery at once
    "delivery",  // Redis to databases
    "drain",     // the same from a backlog of up to a million
    "hung",      // the same beside a destination that hangs
    "fleet",     // the same to one to fifty destinations
    "dead",      // the same with bad records
    "memory",    // of Redis
    "writes",    // one batch into each kind of database
    "terminals", // broadcasts to shops' terminals
    "thesis",    // what was published
];
/// What `all` is: everything but what was published, and `ndjson`, which is a part of `ingest`.
const ALL: &[&str] = &[
    "ingest",    //
    "latency",   //
    "both",      //
    "delivery",  //
    "drain",     //
    "hung",      //
    "fleet",     //
    "memory",    //
    "terminals", //
];
const FLAGS: &str = "--rounds N, --seconds S, --records N, --appendfsync MODE, --limit RECORDS_PER_S, --rate R, \
                     --per-request 1|100, --into DATABASE, --op insert|upsert, --bytes 250|2000, --short";

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
    /// Of both: the rate to hold, instead of one that is found, and the only number of records per request.
    rate: Option<f64>,
    per_request: Option<usize>,
    /// Of delivery: into which databases, how, and how large records.
    into: Option<String>,
    op: Option<String>,
    bytes: Option<shape::Shape>,
}

impl Options {
    /// The rounds by their numbers, and whether each counts: the first one warms all sides up.
    fn schedule(&self) -> impl Iterator<Item = (usize, bool)> + use<> {
        let first = usize::from(self.short);
        (first..=self.rounds).map(|round| (round, round > 0))
    }
}

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("probe") => return probe::serve(arguments[1].parse().unwrap(), &arguments[2]),
        Some("bare") => return bare::write(&arguments[1]),
        _ => {}
    }
    let mut options = Options {
        rounds: 9,
        seconds: 2,
        records: None,
        appendfsync: None,
        short: false,
        limit: None,
        rate: None,
        per_request: None,
        into: None,
        op: None,
        bytes: None,
    };
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
            "--rate" => options.rate = Some(value().parse().unwrap()),
            "--per-request" => options.per_request = Some(value().parse().unwrap()),
            "--into" => options.into = Some(value()),
            "--op" => options.op = Some(value()),
            "--bytes" => options.bytes = Some(shape::Shape::of(value().parse().unwrap())),
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
                "drain" => drain::run(&options).await,
                "hung" => hung::run(&options).await,
                "fleet" => fleet::run(&options).await,
                "dead" => dead::run(&options).await,
                "thesis" => thesis::run(&options).await,
                "terminals" => terminals::run(&options).await,
                "writes" => writes::run(&options).await,
                _ => memory::run(&options).await,
            }
        }
    });
}

/// A record of exactly 250 bytes, as a car dealer's stock message is.
fn record(id: usize) -> String {
    shape::Shape::Narrow.record(id)
}
