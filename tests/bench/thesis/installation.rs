//! What the thesis had, on this machine: one application, five MySQL databases (MariaDB here, on two servers, so that some
//! can be down while others are up), and nodes behind a load balancer.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use sqlx::{AssertSqlSafe, Connection, Executor};

use crate::{
    ab,
    node::{self, Node},
    servers::{haproxy::HaproxyServer, mariadb::MariadbServer, redis::RedisServer, temp_dir, wait_for},
};

/// The thesis's own example of a record.
const RECORD: &str = r#"{"topic":"cars","data":{"stock":"4","car_name":"porche 911 15"}}"#;
/// How the five databases are spread over the two servers.
const ON: [usize; 5] = [0, 0, 0, 1, 1];
/// Longest time until every database has everything.
const COMPLETE_WITHIN: Duration = Duration::from_secs(120);

/// The two database servers; they outlive installations, because they take long to make.
pub(super) struct Databases {
    servers: [MariadbServer; 2],
    names: Vec<String>,
}

impl Databases {
    pub(super) async fn start() -> Self {
        let servers = [MariadbServer::private(), MariadbServer::private()];
        let mut names = Vec::new();
        for server in ON {
            names.push(servers[server].database().await);
        }
        Self { servers, names }
    }

    fn destinations(&self) -> impl Iterator<Item = (usize, &str)> {
        ON.into_iter().zip(self.names.iter().map(String::as_str))
    }

    async fn anew(&self) {
        for (server, name) in self.destinations() {
            let mut connection = self.servers[server].connect(name).await;
            for table in ["cars", "tidegate_watermark", "tidegate_dead", "tidegate_binding"] {
                connection.execute(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}"))).await.unwrap();
            }
            let columns = "seq bigint AUTO_INCREMENT PRIMARY KEY, car_name varchar(100), stock int";
            connection.execute(AssertSqlSafe(format!("CREATE TABLE cars ({columns})"))).await.unwrap();
            connection.close().await.unwrap();
        }
    }

    /// Rows of the databases on the servers that are up.
    async fn rows(&self, up: &[usize]) -> Vec<usize> {
        let mut rows = Vec::new();
        for (server, name) in self.destinations().filter(|(server, _)| up.contains(server)) {
            let mut connection = self.servers[server].connect(name).await;
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM cars").fetch_one(&mut connection).await.unwrap();
            connection.close().await.unwrap();
            rows.push(usize::try_from(count).unwrap());
        }
        rows
    }

    /// Two of the five.
    pub(super) fn stop_two(&self) {
        self.servers[1].stop();
    }

    pub(super) fn start_two(&self) {
        self.servers[1].start();
    }

    fn manifest(&self) -> String {
        let mut text = format!("[[application]]\nname = \"{}\"\ntopics = [\"cars\"]\n", node::APPLICATION);
        for (n, (server, name)) in self.destinations().enumerate() {
            let url = self.servers[server].url(name);
            text += &format!(
                r#"
[[destination]]
name = "database-{n}"
kind = "mysql"
url = "{url}"

[[route]]
name = "database-{n}-cars"
application = "{}"
topic = "cars"
destination = "database-{n}"
table = "cars"
start = "earliest"
[route.columns]
car_name = "car_name"
stock = "stock"
"#,
                node::APPLICATION
            );
        }
        text
    }
}

/// Redis, nodes and the balancer over some databases.
pub(super) struct Installation<'a> {
    pub(super) databases: &'a Databases,
    pub(super) redis: RedisServer,
    pub(super) connection: MultiplexedConnection,
    pub(super) balancer: HaproxyServer,
    nodes: Vec<Node>,
    settings: Vec<(&'static str, String)>,
    key: String,
    body: tempfile::TempDir,
    /// Records that were acknowledged.
    sent: usize,
}

impl<'a> Installation<'a> {
    /// Empty databases, an empty Redis, so many nodes.
    pub(super) async fn start(databases: &'a Databases, appendfsync: &str, nodes: usize, retention: &str) -> Self {
        databases.anew().await;
        let redis = RedisServer::start_with(&[("appendfsync", appendfsync)]).await;
        let connection = node::patient(&redis).await;
        let key = node::register(&redis, &databases.manifest());
        let body = temp_dir();
        std::fs::write(body.path().join("record.json"), RECORD).unwrap();
        let settings = vec![("TIDEGATE_RETENTION", retention.to_owned())];
        let first = Node::join(&redis, "node-0", key.clone(), &settings).await;
        let balancer = HaproxyServer::start(&[first.port]).await;
        let mut all = Self { databases, redis, connection, balancer, nodes: vec![first], settings, key, body, sent: 0 };
        all.run_on(nodes).await;
        all
    }

    /// Starts nodes, or ends some, until there are so many; then everything works.
    pub(super) async fn run_on(&mut self, nodes: usize) {
        self.nodes.truncate(nodes);
        while self.nodes.len() < nodes {
            let name = format!("node-{}", self.nodes.len());
            self.nodes.push(Node::join(&self.redis, &name, self.key.clone(), &self.settings).await);
        }
        let ports: Vec<u16> = self.nodes.iter().map(|node| node.port).collect();
        // As in production: 5 s between checks.
        self.balancer = HaproxyServer::start_with(&ports, "5s", "1s").await;
        self.balancer.wait_for_healthy(nodes).await;
        // Connections, scripts and plans are there, and every database has a node.
        self.send(100, true).await;
        self.complete(&[0, 1]).await;
    }

    /// Sends so many records through the balancer, one a request.
    pub(super) async fn send(&mut self, records: usize, keep_alive: bool) -> ab::Outcome {
        let (url, key) = (format!("{}/v1/messages", self.balancer.url()), self.key.clone());
        let body = self.body.path().join("record.json");
        let run = move || ab::run(&url, &body, Some(&key), records, keep_alive);
        let outcome = tokio::task::spawn_blocking(run).await.unwrap();
        self.sent += records;
        outcome
    }

    /// Waits until the databases on these servers have every record, and none twice; how long that took.
    pub(super) async fn complete(&self, servers: &[usize]) -> Duration {
        let start = Instant::now();
        wait_for("every database has every record", COMPLETE_WITHIN, async || {
            let rows = self.databases.rows(servers).await;
            assert!(rows.iter().all(|rows| *rows <= self.sent), "{} were sent, and there are {rows:?}", self.sent);
            rows.iter().all(|rows| *rows == self.sent).then_some(())
        })
        .await;
        start.elapsed()
    }

    /// Requests that each node was given so far, as the balancer counts them.
    pub(super) async fn requests(&self) -> Vec<u64> {
        self.balancer.servers().await.values().map(|seen| seen.requests).collect()
    }
}
