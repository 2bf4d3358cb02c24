//! Drain: the rate at which five databases get a backlog of ten thousand, a hundred thousand and a million records, and what
//! the node has resident meanwhile.

use serde_json::json;

use crate::{
    Options,
    backlog::Backlog,
    comparison::{Comparison, order},
    databases::{Kind, Servers},
    delivery::Write,
    machine,
    node::{self, Destination},
    product::Product,
    report,
    sampler::Memory,
    shape::Shape,
};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];
/// For a run that only has to run.
const SHORT: [usize; 3] = [500, 1_000, 3_000];
/// The least ratio of the rate with the most waiting to that with the fewest, and the most that a node may have resident.
const TARGET: f64 = 0.95;
const TARGET_MIB: f64 = 150.0;
/// So many deliveries of the smallest backlog make one figure: a single one takes a third of a second.
const SMALLEST: usize = 5;
/// Parts of the time in which the node's memory is told.
const PARTS: usize = 4;

pub(crate) async fn run(options: &Options) {
    let sizes = if options.short { SHORT } else { SIZES };
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    let mut servers = Servers::new();
    let (mut databases, mut destinations) = (Vec::new(), Vec::new());
    for kind in [Kind::Postgres, Kind::Postgres, Kind::Postgres, Kind::Mariadb, Kind::Mariadb] {
        let database = servers.database(kind, Shape::Narrow).await;
        let name = format!("{}-{}", kind.word(), databases.len());
        destinations.push(Destination::new(&name, kind.word(), &database.url));
        databases.push(database);
    }
    println!(
        "drain into 3 PostgreSQL and 2 MariaDB, inserts of 250 bytes, appendfsync {mode}, {} rounds",
        options.rounds
    );
    let names: Vec<String> = sizes.iter().map(|size| format!("{size} waiting")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let parts = ["own", "Redis", "PostgreSQL (3)", "MariaDB (2)"];
    let mut comparison = Comparison::new("records/s", &names, &parts);
    let mut largest: Vec<Memory> = Vec::new();
    for round in 1..=options.rounds {
        comparison.round();
        for place in order(round, sizes.len()) {
            // A node of its own each time, so that its memory is that of this backlog.
            let mut product = Product::start(mode, &destinations).await;
            let mut outcomes = Vec::new();
            let times = if place == 0 && !options.short { SMALLEST } else { 1 };
            for time in 0..=times {
                for database in &databases {
                    Write::Insert.prepare(database, sizes[place]).await;
                }
                // The first one warms up.
                let records = if time == 0 { sizes[0] / 5 } else { sizes[place] };
                let backlog = Backlog {
                    application: node::APPLICATION,
                    action: Write::Insert.action(),
                    shape: Shape::Narrow,
                    first: 1,
                    records,
                };
                let cpu =
                    || [Kind::Postgres, Kind::Mariadb].map(|kind| servers.process(kind).map(machine::cpu).unwrap());
                let before = cpu();
                let delivery = product.deliver(&backlog).await;
                let after = cpu();
                let expected = (records as i64, Shape::stock(records));
                for database in &databases {
                    assert_eq!(database.contents().await, expected, "{}", database.url);
                }
                if time > 0 {
                    outcomes.push(delivery.outcome(records, &[after[0] - before[0], after[1] - before[1]]));
                    if place == sizes.len() - 1 {
                        largest.push(delivery.memory);
                    }
                }
            }
            outcomes.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
            comparison.add(place, outcomes.swap_remove(outcomes.len() / 2));
        }
    }
    comparison.show();
    let ratio = comparison.verdict("drain", sizes.len() - 1, 0, Some(TARGET));
    let peaks: Vec<f64> = largest.iter().map(Memory::node_mib).collect();
    let peak = report::bounds(&peaks).1;
    report::verdict("node memory, most resident in MiB", peak, peak <= TARGET_MIB, "at most 150");
    let in_parts: Vec<Vec<f64>> = largest.iter().map(|memory| memory.node_mib_in_parts(PARTS)).collect();
    for part in 0..PARTS {
        let values: Vec<f64> = in_parts.iter().filter_map(|parts| parts.get(part).copied()).collect();
        if !values.is_empty() {
            report::line(&format!("node memory, part {} of {PARTS}", part + 1), "MiB", &values, 0);
        }
    }
    let last = largest.last().map(Memory::json);
    report::write(
        "drain",
        &comparison.json(json!({
            "ratio": ratio, "sizes": sizes, "rounds": options.rounds, "appendfsync": mode,
            "node_mib_target": TARGET_MIB, "node_mib_of_the_largest": report::summary(&peaks),
            "node_mib_in_parts": in_parts, "seconds_node_mib_redis_mib": last,
        })),
    );
}
