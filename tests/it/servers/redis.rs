//! A private redis-server: append-only file with `appendfsync always`, as Tidegate is shipped; to be killed, restarted,
//! paused and filled up.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Guard, free_port, wait_for};

/// A running (or killed) server in a temporary folder.
pub(crate) struct RedisServer {
    dir: tempfile::TempDir,
    port: u16,
    settings: Vec<(String, String)>,
    /// How others should reach it, where that is not by its port.
    reached_by: Option<String>,
    process: Option<(Child, Guard)>,
}

impl RedisServer {
    /// An empty server that answers.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further settings, such as `("maxmemory", "20mb")`.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let clustered = settings.iter().any(|(name, _)| name == "cluster-enabled");
        let port = if clustered { super::redis_cluster::free_pair() } else { free_port() };
        let dir = tempfile::Builder::new().prefix("tidegate-redis-").tempdir().unwrap();
        let mut server = Self { dir, port, settings, reached_by: None, process: None };
        server.restart().await;
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        self.reached_by.clone().unwrap_or_else(|| self.own_url())
    }

    /// What [`url`](Self::url) says from now on: the address of the sentinels that watch it, say.
    pub(crate) fn reach_by(&mut self, url: &str) {
        self.reached_by = Some(url.to_owned());
    }

    fn own_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The folder of its files and its log.
    pub(crate) fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// A replica of it that has caught up.
    pub(crate) async fn replica(&self) -> Self {
        let replica = Self::start_with(&[("replicaof", &format!("127.0.0.1 {}", self.port))]).await;
        wait_for("the replica has caught up", Duration::from_secs(20), async || {
            let info: String = replica.ask("INFO replication").await;
            info.contains("master_link_status:up").then_some(())
        })
        .await;
        replica
    }

    /// Whether it is a master; one that is away or is just changing its role is none.
    pub(crate) async fn is_master(&self) -> bool {
        let client = redis::Client::open(self.own_url()).unwrap();
        let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
        let info = redis::cmd("INFO").arg("replication").query_async::<String>(&mut connection).await;
        info.is_ok_and(|info| info.contains("role:master"))
    }

    fn spawn(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).args(value.split(' '));
        }
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        command.current_dir(self.dir.path()).stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        let child = command.spawn().expect("redis-server is installed");
        let guard = Guard::new(&format!("kill -9 {}", child.id()));
        self.process = Some((child, guard));
    }

    /// Starts it (again) with what its files hold, and waits until it answers.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.spawn();
        let client = redis::Client::open(self.own_url()).unwrap();
        wait_for("redis-server to answer", Duration::from_secs(20), async || {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            redis::cmd("PING").query_async::<String>(&mut connection).await.ok()
        })
        .await;
    }

    /// Starts it again with these further settings, from now on.
    pub(crate) async fn restart_with(&mut self, settings: &[(&str, &str)]) {
        self.settings.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.restart().await;
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, guard)) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
            drop(guard);
        }
    }

    /// Loses everything: the files too.
    pub(crate) fn kill_and_empty(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(self.dir.path().join("appendonlydir"));
    }

    fn signal(&self, signal: &str) {
        let (child, _) = self.process.as_ref().expect("it runs");
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }

    /// SIGSTOP: it accepts connections and answers nothing.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// A connection for the test itself.
    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        redis::Client::open(self.own_url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    /// Sends one command, written as on redis-cli.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, command: &str) -> T {
        let mut words = command.split(' ');
        let mut call = redis::cmd(words.next().unwrap());
        for word in words {
            call.arg(word);
        }
        call.query_async(&mut self.connection().await).await.unwrap_or_else(|error| panic!("{command}: {error}"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
