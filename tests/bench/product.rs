//! The product as the delivery stages measure it: a private Redis, one node or several, and a backlog that they deliver.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use crate::{
    backlog::{self, Backlog},
    comparison::Outcome,
    machine,
    node::{self, Destination, Node},
    sampler::{Memory, Sampler},
    servers::redis::RedisServer,
};

/// Redis and nodes.
pub(crate) struct Product {
    pub(crate) redis: RedisServer,
    pub(crate) connection: MultiplexedConnection,
    redis_pid: u32,
    nodes: Vec<Node>,
}

/// How a delivery went.
pub(crate) struct Delivery {
    pub(crate) seconds: f64,
    /// The nodes' processor time and Redis's.
    pub(crate) cpu: [Duration; 2],
    pub(crate) memory: Memory,
}

/// A Redis as the measurements want it: it does not rewrite its file in the middle of one.
pub(crate) async fn redis(mode: &str) -> RedisServer {
    RedisServer::start_with(&[("appendfsync", mode), ("auto-aof-rewrite-percentage", "0")]).await
}

impl Product {
    /// One node that has taken over all ordered destinations.
    pub(crate) async fn start(mode: &str, destinations: &[Destination]) -> Self {
        Self::start_nodes(mode, destinations, 1).await
    }

    /// The same with several nodes, called `bench`, `bench-2` and so on.
    pub(crate) async fn start_nodes(mode: &str, destinations: &[Destination], nodes: usize) -> Self {
        let redis = redis(mode).await;
        let mut connection = node::patient(&redis).await;
        let redis_pid = node::process_id(&mut connection).await;
        let key = node::register(&redis, &node::manifest(destinations));
        let mut started = vec![Node::join(&redis, "bench", key.clone(), &[]).await];
        for number in 2..=nodes {
            started.push(Node::join(&redis, &format!("bench-{number}"), key.clone(), &[]).await);
        }
        let mut applications: Vec<&str> = Vec::new();
        for destination in destinations.iter().filter(|destination| !destination.parallel) {
            if !applications.contains(&destination.application.as_str()) {
                applications.push(&destination.application);
            }
        }
        for application in applications {
            let here = |destination: &&Destination| destination.application == application && !destination.parallel;
            let count = destinations.iter().filter(here).count();
            backlog::until_taken_over(&mut connection, application, count).await;
        }
        Self { redis, connection, redis_pid, nodes: started }
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.process.id()).collect()
    }

    /// Processor time so far of the nodes and of Redis.
    pub(crate) fn cpu(&self) -> [Duration; 2] {
        [self.pids().into_iter().map(machine::cpu).sum(), machine::cpu(self.redis_pid)]
    }

    pub(crate) fn sampler(&self) -> Sampler {
        Sampler::start(&self.pids(), &self.redis.url())
    }

    /// Lets a backlog wait and takes the time until all ordered destinations of its application have it.
    pub(crate) async fn deliver(&mut self, backlog: &Backlog<'_>) -> Delivery {
        self.measured(backlog, false).await
    }

    /// The same where the application's destinations are parallel.
    pub(crate) async fn deliver_parallel(&mut self, backlog: &Backlog<'_>) -> Delivery {
        self.measured(backlog, true).await
    }

    async fn measured(&mut self, backlog: &Backlog<'_>, parallel: bool) -> Delivery {
        let limit = Duration::from_secs(120 + backlog.records as u64 / 200);
        let prepared = backlog.prepare(&mut self.connection).await;
        let (sampler, before) = (self.sampler(), self.cpu());
        let begun = prepared.release(&mut self.connection).await;
        let ended = if parallel {
            backlog::until_acknowledged(&mut self.connection, backlog.application, limit).await
        } else {
            backlog::until_passed(&mut self.connection, backlog.application, &prepared.last, &[], limit).await
        };
        let after = self.cpu();
        let cpu = [after[0].saturating_sub(before[0]), after[1].saturating_sub(before[1])];
        Delivery { seconds: ended - begun, cpu, memory: sampler.stop() }
    }
}

impl Delivery {
    /// As a comparison takes it; `servers` is what else was busy.
    pub(crate) fn outcome(&self, records: usize, servers: &[Duration]) -> Outcome {
        Outcome {
            per_second: records as f64 / self.seconds,
            cpu_us: self.cpu.iter().chain(servers).map(|time| per_record(*time, records)).collect(),
            node_mib: Some(self.memory.node_mib()),
            redis_mib: Some(self.memory.redis_mib()),
        }
    }
}

/// Microseconds a record.
pub(crate) fn per_record(time: Duration, records: usize) -> f64 {
    time.as_secs_f64() * 1e6 / records as f64
}
