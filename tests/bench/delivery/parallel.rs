//! Parallel mode by two nodes against ordered delivery by one of them, into one PostgreSQL and one MariaDB, upserts.

use serde_json::json;

use super::Write;
use crate::{
    Options,
    backlog::Backlog,
    comparison::{Comparison, order},
    databases::{Kind, Servers},
    machine,
    node::Destination,
    product::Product,
    report,
    shape::Shape,
};

/// Applications of their own, so that only one destination is busy at a time.
const APPLICATIONS: [&str; 2] = ["in-parallel", "in-order"];

pub(super) async fn run(options: &Options, servers: &mut Servers) {
    let records = options.records.unwrap_or(100_000);
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    let mut results = serde_json::Map::new();
    for kind in [Kind::Postgres, Kind::Mariadb] {
        let mut databases = Vec::new();
        let mut destinations = Vec::new();
        for application in APPLICATIONS {
            let database = servers.database(kind, Shape::Narrow).await;
            let mut destination = Destination::new(application, kind.word(), &database.url);
            destination.application = application.to_owned();
            destination.parallel = application == APPLICATIONS[0];
            databases.push(database);
            destinations.push(destination);
        }
        let mut product = Product::start_nodes(mode, &destinations, 2).await;
        println!("parallel mode, {}, {records} upserts of 250 bytes, {} rounds", kind.name(), options.rounds);
        let sides = ["parallel, two nodes", "ordered, one node"];
        let mut comparison = Comparison::new("records/s", &sides, &["own", "Redis", kind.name()]);
        for (round, counts) in options.schedule() {
            if counts {
                comparison.round();
            }
            for side in order(round, 2) {
                Write::Upsert.prepare(&databases[side], records).await;
                let backlog = Backlog {
                    application: APPLICATIONS[side],
                    action: Write::Upsert.action(),
                    shape: Shape::Narrow,
                    first: 1,
                    records,
                };
                let server = || servers.process(kind).map(machine::cpu).unwrap_or_default();
                let before = server();
                let delivery = match side {
                    0 => product.deliver_parallel(&backlog).await,
                    _ => product.deliver(&backlog).await,
                };
                let outcome = delivery.outcome(records, &[server() - before]);
                let expected = (records as i64, Shape::stock(records));
                assert_eq!(databases[side].contents().await, expected, "{}", sides[side]);
                if counts {
                    comparison.add(side, outcome);
                }
            }
        }
        comparison.show();
        let ratio = comparison.verdict(&format!("parallel mode, {}", kind.name()), 0, 1, None);
        results.insert(kind.word().into(), comparison.json(json!({"ratio": ratio})));
    }
    report::write(
        "delivery-parallel",
        &json!({"kinds": results, "records": records, "rounds": options.rounds, "appendfsync": mode}),
    );
}
