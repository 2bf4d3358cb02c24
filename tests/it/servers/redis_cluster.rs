//! A Redis Cluster of three masters.

use std::{net::TcpListener, process::Command, time::Duration};

use super::{redis::RedisServer, run, wait_for};

/// A free port whose cluster bus, 10000 above, is free too and below those that Linux gives to outgoing connections.
pub(super) fn free_pair() -> u16 {
    loop {
        let port = rand::random_range(20_000..22_000);
        if [port, port + 10_000].iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return port;
        }
    }
}

/// Three masters that share all slots.
pub(crate) struct Cluster {
    /// Each serves a third of the slots.
    pub(crate) nodes: Vec<RedisServer>,
}

impl Cluster {
    /// All slots are served, and every node knows it.
    pub(crate) async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(RedisServer::start_with(&[("cluster-enabled", "yes"), ("cluster-node-timeout", "2000")]).await);
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]);
        create.args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())));
        run(create.args(["--cluster-yes", "--cluster-replicas", "0"])).unwrap();
        for node in &nodes {
            wait_for("the cluster serves all slots", Duration::from_secs(30), async || {
                node.ask::<String>("CLUSTER INFO").await.contains("cluster_state:ok").then_some(())
            })
            .await;
        }
        Self { nodes }
    }

    /// `redis+cluster://h1,h2`.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.nodes.iter().take(2).map(|node| format!("127.0.0.1:{}", node.port())).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The node that has this key.
    pub(crate) async fn node_of(&mut self, key: &str) -> &mut RedisServer {
        for place in 0..self.nodes.len() {
            let node = &self.nodes[place];
            let mut connection = node.connection().await;
            if redis::cmd("EXISTS").arg(key).query_async::<i64>(&mut connection).await.is_ok() {
                return &mut self.nodes[place];
            }
        }
        panic!("no node has the slot of {key}");
    }
}
