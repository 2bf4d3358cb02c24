//! Memory: what Redis needs for a record that waits, with no, one, five and fifty destinations that are down, against a plain
//! XADD of the same record as one field.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::{
    Options, machine,
    node::{self, Node},
    report,
    servers::{redis::RedisServer, wait_for},
};

/// The most that will do.
const TARGET: f64 = 1.15;
/// Messages in one request.
const IN_ONE: usize = 5_000;

pub(crate) async fn run(options: &Options) {
    let records = options.records.unwrap_or(100_000);
    println!("memory, {records} records of 250 bytes that wait");
    let plain = plain(records).await;
    println!("  {:34} {plain:>12.1} bytes/record", "plain XADD of one field");
    let mut results = serde_json::Map::new();
    for down in [0, 1, 5, 50] {
        let bytes = waiting(records, down).await;
        println!("  {:34} {bytes:>12.1} bytes/record", format!("{down} destinations down"));
        let ratio = bytes / plain;
        report::verdict(&format!("memory, {down} down"), ratio, ratio <= TARGET, "at most 1.15");
        results.insert(down.to_string(), json!({"bytes_per_record": bytes, "ratio": ratio}));
    }
    let machine = machine::describe();
    let result =
        json!({"machine": machine, "target": TARGET, "records": records, "plain_bytes": plain, "down": results});
    report::write("memory", &result);
}

async fn plain(records: usize) -> f64 {
    let redis = RedisServer::start_with(&[("appendfsync", "everysec")]).await;
    let mut connection = node::patient(&redis).await;
    let before = used(&mut connection).await;
    for first in (0..records).step_by(IN_ONE) {
        let mut pipe = redis::pipe();
        for id in first..(first + IN_ONE).min(records) {
            pipe.cmd("XADD").arg("plain").arg("*").arg("d").arg(crate::record(id)).ignore();
        }
        pipe.query_async::<()>(&mut connection).await.unwrap();
    }
    (used(&mut connection).await - before) / records as f64
}

async fn waiting(records: usize, down: usize) -> f64 {
    let redis = RedisServer::start_with(&[("appendfsync", "everysec")]).await;
    let mut connection = node::patient(&redis).await;
    let node = Node::start(&redis, &node::absent(down)).await;
    let client = awc::Client::builder().timeout(Duration::from_secs(30)).finish();
    let send = async |ids: std::ops::Range<usize>| {
        let body = ids.map(|id| node::message(id) + "\n").collect::<String>();
        let request = client
            .post(format!("{}/v1/messages", node.url))
            .insert_header(("Authorization", format!("Bearer {}", node.key)))
            .insert_header(("Content-Type", "application/x-ndjson"));
        let answer = request.send_body(body).await.unwrap();
        assert_eq!(answer.status(), 202);
    };
    // Connections and scripts are there before it counts.
    send(0..10).await;
    settled(&mut connection).await;
    let before = used(&mut connection).await;
    for first in (0..records).step_by(IN_ONE) {
        send(first..(first + IN_ONE).min(records)).await;
    }
    (used(&mut connection).await - before) / records as f64
}

/// Waits until nobody has connected for two seconds: destinations do so each in its own time.
async fn settled(connection: &mut MultiplexedConnection) {
    let (mut clients, mut since) = (String::new(), Instant::now());
    wait_for("everybody is connected", Duration::from_secs(60), async || {
        let now = node::info(connection, "clients", "connected_clients").await;
        if now != clients {
            (clients, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(2)).then_some(())
    })
    .await;
}

/// Memory in use, once buffers are given back: the least of a second.
pub(crate) async fn used(connection: &mut MultiplexedConnection) -> f64 {
    let mut least = f64::INFINITY;
    let mut looks = 0;
    wait_for("Redis's memory is quiet", Duration::from_secs(10), async || {
        let bytes: f64 = node::info(connection, "memory", "used_memory").await.parse().unwrap();
        least = least.min(bytes);
        looks += 1;
        (looks == 50).then_some(())
    })
    .await;
    least
}
