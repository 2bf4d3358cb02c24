//! A master, its replica, and three sentinels that promote the replica when the master has been silent for half a second.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Guard, free_port, redis::RedisServer, wait_for};

/// The master's name.
pub(crate) const MASTER: &str = "mymaster";

/// A master, its replica, and three sentinels.
pub(crate) struct Sentinels {
    /// The first master.
    pub(crate) master: RedisServer,
    /// Its replica.
    pub(crate) replica: RedisServer,
    /// Those that watch them.
    pub(crate) watchers: Watchers,
}

impl Sentinels {
    /// All know of each other and of the replica.
    pub(crate) async fn start() -> Self {
        let master = RedisServer::start().await;
        let replica = master.replica().await;
        let watchers = Watchers::over(&master).await;
        Self { master, replica, watchers }
    }

    /// `redis+sentinel://h1,h2,h3/mymaster`.
    pub(crate) fn url(&self) -> String {
        self.watchers.url()
    }

    /// Waits until the replica has been made the master.
    pub(crate) async fn promoted(&self) {
        promoted(&self.replica).await;
    }
}

/// Waits until this replica has been made the master.
pub(crate) async fn promoted(replica: &RedisServer) {
    wait_for("the replica is promoted", Duration::from_secs(40), async || replica.is_master().await.then_some(()))
        .await;
}

/// Three sentinels.
pub(crate) struct Watchers {
    ports: Vec<u16>,
    processes: Vec<(Child, Guard)>,
    _dir: tempfile::TempDir,
}

impl Watchers {
    /// Over a master that has one replica; all know of each other and of it.
    pub(crate) async fn over(master: &RedisServer) -> Self {
        let dir = super::temp_dir();
        let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let mut processes = Vec::new();
        for port in &ports {
            let file = dir.path().join(format!("{port}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor {MASTER} 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds {MASTER} 500\nsentinel failover-timeout {MASTER} 4000\n",
                master.port()
            );
            std::fs::write(&file, text).unwrap();
            let log = std::fs::File::create(dir.path().join(format!("{port}.log"))).unwrap();
            let child = Command::new("redis-server")
                .arg(&file)
                .arg("--sentinel")
                .current_dir(dir.path())
                .stdin(Stdio::null())
                .stdout(log)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let guard = Guard::new(&format!("kill -9 {}", child.id()));
            processes.push((child, guard));
        }
        let watchers = Self { ports, processes, _dir: dir };
        for port in &watchers.ports {
            wait_for("the sentinels know each other", Duration::from_secs(20), async || {
                let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
                let mut connection = client.get_multiplexed_async_connection().await.ok()?;
                let known: std::collections::HashMap<String, String> =
                    redis::cmd("SENTINEL").arg("MASTER").arg(MASTER).query_async(&mut connection).await.ok()?;
                (known.get("num-other-sentinels")? == "2" && known.get("num-slaves")? == "1").then_some(())
            })
            .await;
        }
        watchers
    }

    /// `redis+sentinel://h1,h2,h3/mymaster`.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/{MASTER}", hosts.join(","))
    }

    /// kill -9 of one sentinel.
    pub(crate) fn kill_one(&mut self) {
        let (mut child, _guard) = self.processes.remove(0);
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Watchers {
    fn drop(&mut self) {
        for (child, _) in &mut self.processes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
