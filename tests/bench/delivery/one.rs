//! One database: the product against one bare writer.

use serde_json::json;

use super::Write;
use crate::{
    Options,
    backlog::Backlog,
    bare::{Task, Writers},
    comparison::{Comparison, Outcome, order},
    databases::{Kind, Servers},
    machine,
    node::{self, Destination},
    product::{Product, per_record},
    report,
    shape::Shape,
};

const PRODUCT: usize = 0;
const BARE: usize = 1;

/// The least ratio of inserts that will do.
fn target(kind: Kind, write: Write) -> Option<f64> {
    match (write, kind) {
        (Write::Insert, Kind::Sqlite) => Some(0.5),
        (Write::Insert, _) => Some(0.7),
        (Write::Upsert, _) => None,
    }
}

pub(super) async fn run(
    options: &Options,
    servers: &mut Servers,
    (kind, word): (Kind, &str),
    write: Write,
    shape: Shape,
) {
    let usual = if shape == Shape::Narrow { 200_000 } else { 40_000 };
    let records = options.records.unwrap_or(usual);
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    let database = servers.database(kind, shape).await;
    let mut product = Product::start(mode, &[Destination::new("one", kind.word(), &database.url)]).await;
    println!(
        "delivery into {}, {}s of {} bytes, {records} records, appendfsync {mode}, {} rounds",
        kind.name(),
        write.word(),
        shape.bytes(),
        options.rounds
    );
    let parts: &[&str] = if kind == Kind::Sqlite { &["own", "Redis"] } else { &["own", "Redis", kind.name()] };
    let mut comparison = Comparison::new("records/s", &["product", "bare writer"], parts);
    let expected = (records as i64, Shape::stock(records));
    let mut digests: [Option<String>; 2] = [None, None];
    for (round, counts) in options.schedule() {
        if counts {
            comparison.round();
        }
        for side in order(round, 2) {
            write.prepare(&database, records).await;
            let server = || servers.process(kind).map(machine::cpu).unwrap_or_default();
            let outcome = if side == PRODUCT {
                let backlog =
                    Backlog { application: node::APPLICATION, action: write.action(), shape, first: 1, records };
                // The server writes nothing while the backlog is being prepared.
                let before = server();
                let delivery = product.deliver(&backlog).await;
                delivery.outcome(records, &[server() - before])
            } else {
                let writers = Writers::start(&[Task::new(&database, write == Write::Upsert, records)]);
                let before = server();
                let took = writers.go();
                let cpu_us = vec![per_record(took.cpu, records), 0.0, per_record(server() - before, records)];
                Outcome { per_second: records as f64 / took.seconds, cpu_us, ..Outcome::default() }
            };
            assert_eq!(database.contents().await, expected, "rows, and the sum of their stocks, on side {side}");
            if digests[side].is_none() {
                digests[side] = Some(database.digest().await);
            }
            if counts {
                comparison.add(side, outcome);
            }
        }
    }
    assert_eq!(digests[PRODUCT], digests[BARE], "both sides write the same rows");
    comparison.show();
    let name = format!("{}, {}s of {} bytes", kind.name(), write.word(), shape.bytes());
    let ratio = comparison.verdict(&name, PRODUCT, BARE, target(kind, write));
    report::write(
        &format!("delivery-{word}-{}-{}", write.word(), shape.bytes()),
        &comparison.json(json!({
            "ratio": ratio, "records": records, "rounds": options.rounds, "appendfsync": mode,
        })),
    );
}
