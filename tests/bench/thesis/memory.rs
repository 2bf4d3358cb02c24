//! Redis's memory, with two nodes: the normal run, in which all five databases are up, and the partial failure, in which
//! two of them are down while the records come, and up again afterwards.

use std::time::Duration;

use serde_json::json;

use super::installation::{Databases, Installation};
use crate::{Options, memory::used, node, servers::wait_for};

const MIB: f64 = 1024.0 * 1024.0;

/// What Redis held, in bytes, beyond what it needed empty.
struct Seen {
    /// Before any record, and not beyond anything.
    empty: f64,
    /// When all records had come, and those databases that were up had them.
    sent: f64,
    /// When all five had everything.
    complete: f64,
    /// How long the two databases that had been down took to get everything, in seconds.
    caught_up_s: f64,
}

pub(super) async fn run(databases: &Databases, options: &Options) -> serde_json::Value {
    let mut rows = Vec::new();
    println!("\nRedis's used_memory in MiB beyond that of an empty installation, two nodes, five MariaDB databases\n");
    println!(
        "| records | retention | run | empty | all records sent | complete in all five | bytes a record | caught up after |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (records, retention) in
        [(1_000, "24h"), (options.records.unwrap_or(50_000), "24h"), (options.records.unwrap_or(50_000), "1s")]
    {
        for failure in [false, true] {
            let seen = measure(databases, options, records, retention, failure).await;
            let name = if failure { "partial failure" } else { "normal" };
            println!(
                "| {records} | {retention} | {name} | {:.2} | {:.2} | {:.2} | {:.0} | {} |",
                seen.empty / MIB,
                seen.sent / MIB,
                seen.complete / MIB,
                seen.sent / records as f64,
                if failure { format!("{:.2} s", seen.caught_up_s) } else { "-".to_owned() },
            );
            rows.push(json!({
                "records": records, "retention": retention, "partial_failure": failure, "empty_bytes": seen.empty,
                "sent_bytes": seen.sent, "complete_bytes": seen.complete, "caught_up_s": seen.caught_up_s,
            }));
        }
    }
    json!(rows)
}

async fn measure(databases: &Databases, options: &Options, records: usize, retention: &str, failure: bool) -> Seen {
    let mode = options.appendfsync.as_deref().unwrap_or("always");
    let mut installation = Installation::start(databases, mode, 2, retention).await;
    let empty = used(&mut installation.connection).await;
    if failure {
        databases.stop_two();
    }
    installation.send(records, true).await;
    installation.complete(if failure { &[0] } else { &[0, 1] }).await;
    let sent = used(&mut installation.connection).await - empty;
    let mut caught_up = Duration::ZERO;
    if failure {
        databases.start_two();
        caught_up = installation.complete(&[0, 1]).await;
    }
    trimmed(&mut installation, retention).await;
    let complete = used(&mut installation.connection).await - empty;
    Seen { empty, sent, complete, caught_up_s: caught_up.as_secs_f64() }
}

/// With a retention as short as this, waits until what every database has is gone from Redis.
async fn trimmed(installation: &mut Installation<'_>, retention: &str) {
    if retention != "1s" {
        return;
    }
    wait_for("what is delivered is trimmed", Duration::from_secs(180), async || {
        let length: u64 =
            redis::cmd("XLEN").arg(node::stream()).query_async(&mut installation.connection).await.unwrap();
        // Whole nodes of the stream are removed, so that some entries stay.
        (length < 200).then_some(())
    })
    .await;
}
