//! Drain: the rate at which five databases get a backlog of ten thousand, a hundred thousand and a million records, and what
//! the node has resident meanwhile. Five bare writers do the same with the fewest and the most, which shows what the
//! databases themselves lose on the way to a million rows.

use std::time::Duration;

use serde_json::json;

use crate::{
    Options,
    backlog::Backlog,
    bare::{Task, Writers},
    comparison::{Comparison, Outcome, order},
    databases::{Database, Kind, Servers},
    delivery::Write,
    machine,
    node::{self, Destination},
    product::{Product, per_record},
    report,
    sampler::Memory,
    shape::Shape,
};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
/// For a run that only has to run.
const SHORT: [usize; 3] = [500, 1_000, 3_000];
/// The sides: the product with each size, the bare writers with the least and the greatest.
const LEAST: usize = 0;
const GREATEST: usize = 2;
const BARE_LEAST: usize = 3;
const BARE_GREATEST: usize = 4;
/// The least ratio of the rate with the most waiting to that with the fewest, and the most that a node may have resident.
const TARGET: f64 = 0.95;
const TARGET_MIB: f64 = 150.0;
/// So many deliveries of the smallest backlog make one figure: a single one takes a third of a second.
const SMALLEST: usize = 5;
/// Parts of the time in which the node's memory is told.
const PARTS: usize = 4;

struct Drain<'a> {
    mode: &'a str,
    servers: Servers,
    databases: Vec<Database>,
    /// Of the product with the largest backlog, round by round.
    largest: Vec<Memory>,
}

impl Drain<'_> {
    async fn empty(&self) {
        for database in &self.databases {
            Write::Insert.prepare(database, 0).await;
        }
    }

    async fn check(&self, records: usize) {
        let expected = (records as i64, Shape::stock(records));
        for database in &self.databases {
            assert_eq!(database.contents().await, expected, "{}", database.url);
        }
    }

    /// Processor time so far of both servers.
    fn cpu(&self) -> [Duration; 2] {
        [Kind::Postgres, Kind::Mariadb].map(|kind| self.servers.process(kind).map(machine::cpu).unwrap_or_default())
    }

    /// The median of so many drains by a new node, whose memory is that of this backlog then.
    async fn product(&mut self, records: usize, times: usize, is_largest: bool) -> Outcome {
        let destination = |(place, database): (usize, &Database)| {
            Destination::new(&format!("{}-{place}", database.kind.word()), database.kind.word(), &database.url)
        };
        let destinations: Vec<_> = self.databases.iter().enumerate().map(destination).collect();
        let mut product = Product::start(self.mode, &destinations).await;
        let mut backlog = Backlog {
            application: node::APPLICATION,
            action: Write::Insert.action(),
            shape: Shape::Narrow,
            first: 1,
            records: records.min(SIZES[0]) / 5,
        };
        self.empty().await;
        // Catalogues, statements and the first small reads.
        product.deliver(&backlog).await;
        backlog.records = records;
        let mut outcomes = Vec::new();
        for _ in 0..times {
            self.empty().await;
            let before = self.cpu();
            let delivery = product.deliver(&backlog).await;
            let after = self.cpu();
            self.check(records).await;
            outcomes.push(delivery.outcome(records, &[after[0] - before[0], after[1] - before[1]]));
            if is_largest {
                self.largest.push(delivery.memory);
            }
        }
        median(outcomes)
    }

    /// The same by five bare writers at once.
    async fn bare(&self, records: usize, times: usize) -> Outcome {
        let mut outcomes = Vec::new();
        for _ in 0..times {
            self.empty().await;
            let tasks: Vec<Task> = self.databases.iter().map(|database| Task::new(database, false, records)).collect();
            let writers = Writers::start(&tasks);
            let before = self.cpu();
            let took = writers.go();
            let after = self.cpu();
            self.check(records).await;
            let times = [took.cpu, Duration::ZERO, after[0] - before[0], after[1] - before[1]];
            let cpu_us = times.map(|time| per_record(time, records)).to_vec();
            outcomes.push(Outcome { per_second: records as f64 / took.seconds, cpu_us, ..Outcome::default() });
        }
        median(outcomes)
    }
}

fn median(mut outcomes: Vec<Outcome>) -> Outcome {
    outcomes.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    outcomes.swap_remove(outcomes.len() / 2)
}

pub(crate) async fn run(options: &Options) {
    let sizes = if options.short { SHORT } else { SIZES };
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    let (mut servers, mut databases) = (Servers::new(), Vec::new());
    for kind in [Kind::Postgres, Kind::Postgres, Kind::Postgres, Kind::Mariadb, Kind::Mariadb] {
        databases.push(servers.database(kind, Shape::Narrow).await);
    }
    println!(
        "drain into 3 PostgreSQL and 2 MariaDB, inserts of 250 bytes, appendfsync {mode}, {} rounds",
        options.rounds
    );
    let mut names: Vec<String> = sizes.iter().map(|size| format!("{size} waiting")).collect();
    names.extend([sizes[LEAST], sizes[GREATEST]].map(|size| format!("bare writers, {size}")));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let parts = ["own", "Redis", "PostgreSQL (3)", "MariaDB (2)"];
    let mut comparison = Comparison::new("records/s", &names, &parts);
    let mut drain = Drain { mode, servers, databases, largest: Vec::new() };
    let smallest = if options.short { 1 } else { SMALLEST };
    for round in 1..=options.rounds {
        comparison.round();
        for side in order(round, names.len()) {
            let outcome = match side {
                LEAST => drain.product(sizes[LEAST], smallest, false).await,
                BARE_LEAST => drain.bare(sizes[LEAST], smallest).await,
                BARE_GREATEST => drain.bare(sizes[GREATEST], 1).await,
                size => drain.product(sizes[size], 1, size == GREATEST).await,
            };
            comparison.add(side, outcome);
        }
    }
    comparison.show();
    let ratio = comparison.verdict("drain", GREATEST, LEAST, Some(TARGET));
    let bare = comparison.verdict("the databases themselves", BARE_GREATEST, BARE_LEAST, None);
    let peaks: Vec<f64> = drain.largest.iter().map(Memory::node_mib).collect();
    let peak = report::bounds(&peaks).1;
    report::verdict("node memory, most resident in MiB", peak, peak <= TARGET_MIB, "at most 150");
    let in_parts: Vec<Vec<f64>> = drain.largest.iter().map(|memory| memory.node_mib_in_parts(PARTS)).collect();
    for part in 0..PARTS {
        let values: Vec<f64> = in_parts.iter().filter_map(|parts| parts.get(part).copied()).collect();
        if !values.is_empty() {
            report::line(&format!("node memory, part {} of {PARTS}", part + 1), "MiB", &values, 0);
        }
    }
    let last = drain.largest.last().map(Memory::json);
    report::write(
        "drain",
        &comparison.json(json!({
            "ratio": ratio, "bare_ratio": bare, "sizes": sizes, "rounds": options.rounds, "appendfsync": mode,
            "node_mib_target": TARGET_MIB, "node_mib_of_the_largest": report::summary(&peaks),
            "node_mib_in_parts": in_parts, "seconds_node_mib_redis_mib": last,
        })),
    );
}
