//! Faults with real processes: two nodes behind HAProxy, under load, each run followed by the ledger check. What is shown
//! here stands in a table in `docs/faults.md`.

mod balancing;
mod databases;
mod kills;
mod ownership;
mod parallel;
mod partitions;
mod pauses;
mod redis;
mod zombies;

use std::time::{Duration, Instant};

use super::{
    installation::{Installation, Node, settle},
    ledger::Target,
    load::{Load, Producers},
    wait_until_sent,
};
use crate::servers::{haproxy::HaproxyServer, mariadb::MariadbServer, postgres::PostgresServer, wait_for};

/// What nodes are given for a lease in these tests.
const LEASE: Duration = Duration::from_secs(1);
/// Long enough for anything that is waited for here on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Two nodes behind a load balancer.
pub(super) struct Scene {
    // First, so that they are dropped first: their logs lie in the installation's folder.
    pub(super) nodes: [Node; 2],
    pub(super) installation: Installation,
    /// The databases as the test sees them, whatever stands between them and the nodes.
    pub(super) targets: Vec<Target>,
    pub(super) key: String,
    pub(super) balancer: HaproxyServer,
}

impl Scene {
    /// Both nodes in service, with one PostgreSQL and one MariaDB.
    pub(super) async fn start() -> Self {
        let targets = vec![postgres("pg").await, mariadb("my").await];
        let mut scene = Self::new(Installation::new().await, targets.clone(), &targets).await;
        scene.start_nodes().await;
        scene
    }

    /// Nodes that are not started, on databases which they reach under other addresses, perhaps.
    pub(super) async fn new(installation: Installation, targets: Vec<Target>, registered: &[Target]) -> Self {
        let key = installation.register(registered);
        let nodes = [installation.new_node("a"), installation.new_node("b")];
        let balancer = HaproxyServer::start(&[nodes[0].listen, nodes[1].listen]).await;
        Self { installation, targets, key, nodes, balancer }
    }

    /// Starts both, one after the other, and waits until they are in service.
    pub(super) async fn start_nodes(&mut self) {
        for node in &mut self.nodes {
            node.start(&self.installation);
            node.ready().await;
        }
        self.balancer.wait_for_healthy(2).await;
    }

    /// Producers that send to the load balancer.
    pub(super) fn load(&self) -> Load {
        Load::new(&self.balancer.url(), &self.key)
    }

    /// Waits until every database has got further by so many messages.
    pub(super) async fn wait_until_delivered(&self, messages: i64) {
        for target in &self.targets {
            wait_until_delivered(target, messages).await;
        }
    }

    /// Which of the nodes writes to this database: by the epoch in it, and by what they say of themselves.
    pub(super) async fn writer(&self, target: &Target) -> Option<usize> {
        let epoch = target.epoch().await?;
        for (place, node) in self.nodes.iter().enumerate() {
            if !node.stands_still() {
                let detail = node.destination(&target.name).await;
                if detail["leased"] == true && detail["epoch"] == epoch {
                    return Some(place);
                }
            }
        }
        None
    }

    /// Waits until this node writes to this database; how long that took.
    pub(super) async fn wait_for_writer(&self, target: &Target, node: usize) -> Duration {
        let begun = Instant::now();
        let what = format!("node {} writes {}", self.nodes[node].name, target.name);
        wait_for(&what, PATIENCE, async || (self.writer(target).await == Some(node)).then_some(())).await;
        begun.elapsed()
    }

    /// Waits until each node writes to one of the two databases.
    pub(super) async fn wait_until_both_write(&self) {
        wait_for("both nodes write", PATIENCE, async || {
            let writers = (self.writer(&self.targets[0]).await?, self.writer(&self.targets[1]).await?);
            (writers.0 != writers.1).then_some(())
        })
        .await;
    }

    /// Waits until whoever writes to a database says that nothing is left to be written there.
    pub(super) async fn wait_until_drained(&self) {
        for target in &self.targets {
            wait_for(&format!("{} is drained", target.name), PATIENCE, async || {
                let detail = self.nodes[self.writer(target).await?].destination(&target.name).await;
                (detail["status"] == "up" && detail["backlog"] == 0).then_some(())
            })
            .await;
        }
    }

    /// Lets the producers send a little more and stops them; then holds every database against the ledger.
    async fn settle(&self, producers: Producers) {
        let sent = producers.sent();
        wait_until_sent(&producers, sent + 100).await;
        let acknowledged = producers.stop().await;
        settle(&self.targets, &acknowledged).await;
    }
}

/// An empty database with the ledger's tables on the PostgreSQL that the tests share.
pub(super) async fn postgres(name: &str) -> Target {
    let server = PostgresServer::shared().await;
    let target = Target { name: name.into(), kind: "postgres", url: server.url(&server.database().await) };
    target.create_tables().await;
    target
}

/// The same on the MariaDB that they share.
pub(super) async fn mariadb(name: &str) -> Target {
    let server = MariadbServer::shared().await;
    let target = Target { name: name.into(), kind: "mysql", url: server.url(&server.database().await) };
    target.create_tables().await;
    target
}

async fn wait_until_delivered(target: &Target, messages: i64) {
    let before = target.arrived().await.expect("the database answers");
    let what = format!("{} gets {messages} messages more", target.name);
    wait_for(&what, PATIENCE, async || target.arrived().await.filter(|arrived| *arrived >= before + messages)).await;
}
