//! Five databases, three of PostgreSQL and two of MariaDB, upserts: the product against five bare writers at once, the
//! batched reference in Python, and the worker in PHP with connections that stay and with a connection for each job.

use std::time::Duration;

use serde_json::json;

use super::Write;
use crate::{
    Options,
    backlog::Backlog,
    bare::{Task, Writers},
    comparison::{Comparison, Outcome, order},
    databases::{Database, Kind, Servers},
    machine,
    node::{self, Destination},
    product::{Product, per_record},
    reference::Reference,
    report,
    shape::Shape,
};

const SIDES: [&str; 5] =
    ["product", "five bare writers", "batched reference", "PHP, connections stay", "PHP, connection per job"];
/// The least that will do, of the sides after the first.
const TARGETS: [f64; 4] = [0.65, 1.5, 150.0, 500.0];
/// Records for the worker in PHP, which take it a second or two.
const FOR_PHP: [usize; 2] = [400, 120];

struct Five<'a> {
    servers: &'a mut Servers,
    databases: Vec<Database>,
    /// Of the worker in PHP.
    log: Database,
    product: Product,
    python: Option<Reference>,
    php: Option<Reference>,
    shape: Shape,
    records: usize,
}

impl Five<'_> {
    /// Processor time so far of both database servers.
    fn cpu(&self) -> [Duration; 2] {
        [Kind::Postgres, Kind::Mariadb].map(|kind| self.servers.process(kind).map(machine::cpu).unwrap_or_default())
    }

    async fn measure(&mut self, side: usize) -> Option<Outcome> {
        let records = match side {
            3 => FOR_PHP[0].min(self.records),
            4 => FOR_PHP[1].min(self.records),
            _ => self.records,
        };
        for database in &self.databases {
            // The worker inserts.
            if side < 3 { Write::Upsert } else { Write::Insert }.prepare(database, records).await;
        }
        let before;
        let mut outcome = match side {
            0 => {
                let backlog = Backlog {
                    application: node::APPLICATION,
                    action: Write::Upsert.action(),
                    shape: self.shape,
                    first: 1,
                    records,
                };
                before = self.cpu();
                self.product.deliver(&backlog).await.outcome(records, &[])
            }
            1 => {
                let tasks: Vec<Task> =
                    self.databases.iter().map(|database| Task::new(database, true, records)).collect();
                let writers = Writers::start(&tasks);
                before = self.cpu();
                let took = writers.go();
                let cpu_us = vec![per_record(took.cpu, records), 0.0];
                Outcome { per_second: records as f64 / took.seconds, cpu_us, ..Outcome::default() }
            }
            _ => {
                let (reference, more) = match side {
                    2 => (self.python.as_ref()?, json!({})),
                    _ => {
                        let log = json!([self.log.port(), self.log.name()]);
                        (self.php.as_ref()?, json!({"persistent": side == 3, "log": log}))
                    }
                };
                Reference::fill(&mut self.product.connection, records).await;
                before = self.cpu();
                let (own, [_, redis]) = (machine::cpu_of_ended(), self.product.cpu());
                let seconds = reference.deliver(&self.product.redis, &self.databases, records, &more);
                let own = machine::cpu_of_ended() - own;
                let redis = self.product.cpu()[1] - redis;
                Reference::clear(&mut self.product.connection).await;
                let cpu_us = vec![per_record(own, records), per_record(redis, records)];
                Outcome { per_second: records as f64 / seconds, cpu_us, ..Outcome::default() }
            }
        };
        for (before, after) in before.into_iter().zip(self.cpu()) {
            outcome.cpu_us.push(per_record(after.saturating_sub(before), records));
        }
        let expected = (records as i64, Shape::stock(records));
        for database in &self.databases {
            assert_eq!(database.contents().await, expected, "{} of {}", database.url, SIDES[side]);
        }
        Some(outcome)
    }
}

pub(super) async fn run(options: &Options, servers: &mut Servers, shape: Shape) {
    let usual = if shape == Shape::Narrow { 60_000 } else { 20_000 };
    let records = options.records.unwrap_or(usual);
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    let mut databases = Vec::new();
    for kind in [Kind::Postgres, Kind::Postgres, Kind::Postgres, Kind::Mariadb, Kind::Mariadb] {
        databases.push(servers.database(kind, shape).await);
    }
    let log = servers.database(Kind::Mariadb, shape).await;
    log.run(
        "CREATE TABLE sync_logs (id bigint AUTO_INCREMENT PRIMARY KEY, entry varchar(40), target varchar(40), \
         status varchar(10), created_at datetime)",
    )
    .await;
    let destination = |(place, database): (usize, &Database)| {
        Destination::new(&format!("{}-{place}", database.kind.word()), database.kind.word(), &database.url)
    };
    let destinations: Vec<Destination> = databases.iter().enumerate().map(destination).collect();
    let product = Product::start(mode, &destinations).await;
    // The references know four columns.
    let narrow = shape == Shape::Narrow;
    let (python, php) = if narrow { (Reference::python(!options.short), Reference::php()) } else { (None, None) };
    println!(
        "delivery into 3 PostgreSQL and 2 MariaDB, upserts of {} bytes, {records} records, appendfsync {mode}, {} rounds",
        shape.bytes(),
        options.rounds
    );
    let mut comparison = Comparison::new("records/s", &SIDES, &["own", "Redis", "PostgreSQL (3)", "MariaDB (2)"]);
    let mut five = Five { servers, databases, log, product, python, php, shape, records };
    let mut measured = [false; 5];
    for (round, counts) in options.schedule() {
        if counts {
            comparison.round();
        }
        for side in order(round, SIDES.len()) {
            if let Some(outcome) = five.measure(side).await.filter(|_| counts) {
                comparison.add(side, outcome);
                measured[side] = true;
            }
        }
    }
    comparison.show();
    let ratios: Vec<_> = (1..SIDES.len())
        .filter(|side| measured[*side])
        .map(|side| comparison.verdict("five databases", 0, side, narrow.then_some(TARGETS[side - 1])))
        .collect();
    report::write(
        &format!("delivery-five-upsert-{}", shape.bytes()),
        &comparison.json(json!({
            "ratios": ratios, "records": records, "rounds": options.rounds, "appendfsync": mode,
        })),
    );
}
