//! The greatest rate that a node takes in and delivers at the same time: what it accepted does not wait longer and longer.
//!
//! The backlog is what Redis tells of it: entries that were added, less those that the slowest destination has passed.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;

use crate::{
    node::{self, Node},
    open::{self, Plan, Request},
    servers::wait_for,
};

/// A backlog of what came within this time is none that grows, and of no more than this share of the time that it had to grow: in
/// a few seconds a rate that is a quarter too high leaves no more than a second's records.
const BACKLOG: Duration = Duration::from_secs(1);
const SHARE: u32 = 20;
/// Longest time for what waits to be delivered.
const DRAINED_WITHIN: Duration = Duration::from_secs(120);

/// What is under load.
pub(crate) struct Rig<'a> {
    pub(crate) node: &'a Node,
    pub(crate) connection: MultiplexedConnection,
    pub(crate) destinations: usize,
    pub(crate) connections: usize,
    pub(crate) in_one: usize,
    /// Ids so far.
    pub(crate) next_id: usize,
}

/// What came of a while at one rate.
pub(crate) struct Outcome {
    pub(crate) rate: f64,
    pub(crate) requests: Vec<Request>,
    /// Records that waited: seconds since the start, records.
    pub(crate) backlog: Vec<(f64, f64)>,
    /// Records a second that were sent and delivered until the load ended.
    pub(crate) delivered_per_s: f64,
    /// Whether all were sent when they were due, and none waited longer and longer.
    pub(crate) holds: bool,
}

impl Rig<'_> {
    /// Sends at this rate for a while, then waits until all of it is delivered.
    pub(crate) async fn at(&mut self, rate: f64, time: Duration) -> Outcome {
        let plan = Plan {
            port: self.node.port,
            key: self.node.key.clone(),
            rate,
            time,
            connections: self.connections,
            in_one: self.in_one,
            first_id: self.next_id,
        };
        self.next_id += (rate * time.as_secs_f64()) as usize + self.in_one;
        let begun = Instant::now();
        let passed_before = self.passed().await;
        let load = std::thread::spawn(move || open::run(&plan));
        let mut backlog = Vec::new();
        while !load.is_finished() {
            tokio::time::sleep(Duration::from_millis(200)).await;
            backlog.push((begun.elapsed().as_secs_f64(), self.backlog().await));
        }
        let (ended, passed) = (begun.elapsed().as_secs_f64(), self.passed().await);
        let requests = load.join().expect("the load failed");
        wait_for("what was sent is delivered", DRAINED_WITHIN, async || (self.backlog().await == 0.0).then_some(()))
            .await;
        // The load itself was late: it is not the rate that was asked for.
        let late = ended > time.as_secs_f64() * 1.05 + 0.5;
        let least_of_last = backlog.iter().rev().take(5).map(|(_, records)| *records).fold(f64::INFINITY, f64::min);
        let holds = !late && least_of_last <= rate * BACKLOG.min(time / SHARE).as_secs_f64();
        Outcome { rate, requests, backlog, delivered_per_s: (passed - passed_before) / ended, holds }
    }

    /// The greatest rate, found by doubling and then halving what is left between; so long at each.
    pub(crate) async fn greatest(&mut self, first: f64, time: Duration, steps: usize) -> f64 {
        let (mut holds, mut fails) = (0.0, None);
        let mut rate = first;
        for _ in 0..steps {
            let outcome = self.at(rate, time).await;
            let word = if outcome.holds { "holds" } else { "does not hold" };
            println!("  {rate:>8.0} records/s: {:.0} delivered/s, {word}", outcome.delivered_per_s);
            if outcome.holds {
                holds = rate;
            } else {
                fails = Some(rate);
            }
            rate = fails.map_or(rate * 2.0, |fails: f64| f64::midpoint(holds, fails));
        }
        holds
    }

    /// Entries that the slowest destination has passed.
    async fn passed(&self) -> f64 {
        let lanes = tidegate::redis::Keys::new("tidegate").of(node::APPLICATION).lanes();
        let lanes: Vec<String> =
            redis::cmd("HVALS").arg(lanes).query_async(&mut self.connection.clone()).await.unwrap();
        let passed = |lane: &String| lane.split(' ').nth(2).and_then(|number| number.parse::<f64>().ok());
        if lanes.len() < self.destinations {
            return 0.0;
        }
        lanes.iter().filter_map(passed).fold(f64::INFINITY, f64::min)
    }

    async fn backlog(&self) -> f64 {
        let mut command = redis::cmd("XINFO");
        command.arg("STREAM").arg(node::stream());
        let info: redis::Value = command.query_async(&mut self.connection.clone()).await.unwrap();
        (added(&info).unwrap() - self.passed().await).max(0.0)
    }
}

/// `entries-added` of XINFO STREAM.
fn added(info: &redis::Value) -> Option<f64> {
    let redis::Value::Array(parts) = info else { return None };
    let name =
        parts.iter().position(|part| matches!(part, redis::Value::BulkString(text) if text == b"entries-added"))?;
    match parts.get(name + 1)? {
        redis::Value::Int(count) => Some(*count as f64),
        _ => None,
    }
}
