//! How many destinations one node carries: rows a second in all with 1, 5, 10 and 50 SQLite files that each get every
//! record of a backlog.

use serde_json::{Value, json};

use crate::{
    Options,
    backlog::Backlog,
    comparison::{Comparison, Outcome, order},
    databases::{Kind, Servers},
    node::{self, Destination},
    product::Product,
    report,
    shape::Shape,
};

const SIZES: [usize; 4] = [1, 5, 10, 50];
/// Places in [`SIZES`] that are compared, and the least ratio that will do.
const FIVE: usize = 1;
const FIFTY: usize = 3;
const TARGET: f64 = 0.8;
/// Records that a node is warmed up with.
const WARM_UP: usize = 500;

pub(crate) async fn run(options: &Options) {
    let records = options.records.unwrap_or(40_000);
    let mode = options.appendfsync.as_deref().unwrap_or("everysec");
    println!("destinations, {records} upserts of 250 bytes into each SQLite file, {} rounds", options.rounds);
    let names: Vec<String> = SIZES.iter().map(|size| format!("{size} destinations")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut comparison = Comparison::new("rows/s", &names, &["own", "Redis"]);
    for round in 1..=options.rounds {
        comparison.round();
        for place in order(round, SIZES.len()) {
            comparison.add(place, fleet(SIZES[place], records, mode).await);
        }
    }
    comparison.show();
    let ratio = comparison.verdict("rows/s in all", FIFTY, FIVE, Some(TARGET));
    let others: Vec<Value> =
        [0, 2].iter().map(|place| comparison.verdict("rows/s in all", *place, FIVE, None)).collect();
    report::write(
        "fleet",
        &comparison.json(json!({
            "ratio": ratio, "others": others, "records": records, "rounds": options.rounds, "appendfsync": mode,
        })),
    );
}

/// A new node with so many new files; rows a second in all.
async fn fleet(size: usize, records: usize, mode: &str) -> Outcome {
    let mut servers = Servers::new();
    let (mut databases, mut destinations) = (Vec::new(), Vec::new());
    for number in 0..size {
        let database = servers.database(Kind::Sqlite, Shape::Narrow).await;
        destinations.push(Destination::new(&format!("file-{number}"), Kind::Sqlite.word(), &database.url));
        databases.push(database);
    }
    let mut product = Product::start(mode, &destinations).await;
    let application = node::APPLICATION;
    let action = tidegate_actors::message::Action::Upsert;
    // What every destination does once, and not what is measured: the catalogue, the statements, the first small reads.
    let warm_up = Backlog { application, action, shape: Shape::Narrow, first: records + 1, records: WARM_UP };
    product.deliver(&warm_up).await;
    let backlog = Backlog { application, action, shape: Shape::Narrow, first: 1, records };
    let delivery = product.deliver(&backlog).await;
    for database in &databases {
        assert_eq!(database.contents().await.0 as usize, records + WARM_UP);
    }
    delivery.outcome(records * size, &[])
}
