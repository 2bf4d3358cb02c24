//! A private HAProxy over the project's own `deploy/haproxy.cfg`, with fast checks: what a load balancer does to nodes
//! that die, drain or lose Redis.
//!
//! Servers are called `a` to `e`, in the order of the ports given. State is read and set through the control socket.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Guard, free_port, wait_for};

/// The file that production runs, too.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/haproxy.cfg");
/// Names of servers in the file.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A running HAProxy in a temporary folder.
pub(crate) struct HaproxyServer {
    dir: tempfile::TempDir,
    port: u16,
    stats: u16,
    nodes: Vec<u16>,
    /// Where people reach the consoles, and the nodes' console ports; nothing where there is no such listener.
    consoles: Option<(u16, Vec<u16>)>,
    check_every: String,
    check_again: String,
    process: Option<(Child, Guard)>,
}

/// What HAProxy knows of one server.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `UP`, `DOWN`, `MAINT`, `DRAIN`, or on the way between, such as `UP 1/2`.
    pub(crate) status: String,
    /// Requests it was given so far.
    pub(crate) requests: u64,
    /// Answers that HAProxy had to make up because the server did not give one.
    pub(crate) response_errors: u64,
    /// Connections made anew because the first could not be made.
    pub(crate) retries: u64,
}

impl HaproxyServer {
    /// Balances over the producers' ports of one to five nodes, which need not listen yet. Checks come every 100 ms, so that a
    /// node is in or out of service after about a quarter of a second. At first every node counts as healthy.
    pub(crate) async fn start(nodes: &[u16]) -> Self {
        Self::start_with(nodes, "100ms", "100ms").await
    }

    /// The same with other times between checks, and after a first change, in HAProxy's words (`5s`, `1s` in production).
    pub(crate) async fn start_with(nodes: &[u16], check_every: &str, check_again: &str) -> Self {
        Self::start_over(nodes, &[], check_every, check_again).await
    }

    /// Balances over the consoles of these nodes, too.
    pub(crate) async fn start_with_consoles(nodes: &[u16], consoles: &[u16]) -> Self {
        Self::start_over(nodes, consoles, "100ms", "100ms").await
    }

    async fn start_over(nodes: &[u16], consoles: &[u16], check_every: &str, check_again: &str) -> Self {
        assert!((1..=NAMES.len()).contains(&nodes.len()), "the file has one to five nodes");
        let dir = super::temp_dir();
        let mut server = Self {
            dir,
            port: free_port(),
            stats: free_port(),
            nodes: nodes.to_vec(),
            consoles: (!consoles.is_empty()).then(|| (free_port(), consoles.to_vec())),
            check_every: check_every.to_owned(),
            check_again: check_again.to_owned(),
            process: None,
        };
        server.spawn();
        server.wait_until_it_answers().await;
        server
    }

    /// Where producers send.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where people reach the consoles.
    pub(crate) fn console_url(&self) -> String {
        let (port, _) = self.consoles.as_ref().expect("it was started with consoles");
        format!("http://127.0.0.1:{port}")
    }

    /// The producers' port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.path().join("pid")
    }

    fn command(&self) -> Command {
        let mut command = Command::new("haproxy");
        command
            .args(["-f", FILE])
            .env("TIDEGATE_BALANCER", format!("127.0.0.1:{}", self.port))
            .env("TIDEGATE_BALANCER_STATS", format!("127.0.0.1:{}", self.stats))
            .env("TIDEGATE_BALANCER_SOCKET", self.socket())
            .env("TIDEGATE_CHECK_EVERY", &self.check_every)
            .env("TIDEGATE_CHECK_AGAIN", &self.check_again)
            .stdin(Stdio::null());
        for (name, port) in NAMES.iter().zip(&self.nodes) {
            command.env(format!("TIDEGATE_NODE_{}", name.to_uppercase()), format!("127.0.0.1:{port}"));
        }
        if let Some((port, consoles)) = &self.consoles {
            command.env("TIDEGATE_CONSOLE", format!("127.0.0.1:{port}"));
            for (name, port) in NAMES.iter().zip(consoles) {
                command.env(format!("TIDEGATE_CONSOLE_{}", name.to_uppercase()), format!("127.0.0.1:{port}"));
            }
        }
        command
    }

    fn spawn(&mut self) {
        let log = std::fs::File::create(self.dir.path().join("log")).unwrap();
        // Master and worker, as the distribution's service runs it: a reload is a signal to the master.
        let mut command = self.command();
        command.arg("-W").arg("-p").arg(self.pid_file());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().expect("haproxy is installed");
        // The worker ends with its master.
        let guard = Guard::new(&format!("kill -TERM {0}; sleep 0.2; kill -9 {0}", child.id()));
        self.process = Some((child, guard));
    }

    async fn wait_until_it_answers(&self) {
        wait_for("haproxy to answer", Duration::from_secs(20), async || {
            let mut answer =
                awc::Client::default().get(format!("http://127.0.0.1:{}/alive", self.stats)).send().await.ok()?;
            let _ = answer.body().await;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// Ends it at once.
    pub(crate) fn stop(&mut self) {
        if let Some((mut child, guard)) = self.process.take() {
            // SIGTERM to the master ends the workers at once, too.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
            drop(guard);
        }
    }

    /// Reads the file again, and ends the old worker gently: requests under way are finished.
    pub(crate) async fn reload(&mut self) {
        let (child, _) = self.process.as_ref().expect("it runs");
        super::run(Command::new("kill").args(["-USR2", &child.id().to_string()])).unwrap();
        self.wait_until_it_answers().await;
    }

    /// Says a command on the control socket; its answer.
    pub(crate) async fn ask(&self, command: &str) -> Option<String> {
        let mut stream = tokio::net::UnixStream::connect(self.socket()).await.ok()?;
        stream.write_all(format!("{command}\n").as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    /// `ready`, `drain` (no new requests) or `maint` (and no checks) for a server by its name.
    pub(crate) async fn set_state(&self, server: &str, state: &str) {
        let answer = self.ask(&format!("set server nodes/{server} state {state}")).await.expect("haproxy runs");
        assert_eq!(answer.trim(), "", "set server {server} state {state}");
    }

    /// What it knows of its servers, by their names.
    pub(crate) async fn servers(&self) -> BTreeMap<String, Seen> {
        let text = self.ask("show stat").await.unwrap_or_default();
        let mut lines = text.trim_start_matches("# ").lines();
        let columns: Vec<_> = lines.next().unwrap_or_default().split(',').collect();
        lines
            .filter_map(|line| {
                let fields: BTreeMap<_, _> = columns.iter().copied().zip(line.split(',')).collect();
                let name = *fields.get("svname")?;
                if fields.get("pxname") != Some(&"nodes") || name == "BACKEND" {
                    return None;
                }
                let number = |column: &str| fields.get(column).and_then(|text| text.parse().ok()).unwrap_or(0);
                let seen = Seen {
                    status: (*fields.get("status")?).to_owned(),
                    requests: number("stot"),
                    response_errors: number("eresp"),
                    retries: number("wretr"),
                };
                Some((name.to_owned(), seen))
            })
            .collect()
    }

    /// How many nodes get requests.
    pub(crate) async fn healthy(&self) -> usize {
        self.servers().await.values().filter(|seen| seen.status.starts_with("UP")).count()
    }

    /// Waits until so many nodes get requests.
    pub(crate) async fn wait_for_healthy(&self, nodes: usize) {
        wait_for(&format!("{nodes} healthy nodes behind haproxy"), Duration::from_secs(30), async || {
            (self.healthy().await == nodes).then_some(())
        })
        .await;
    }
}

impl Drop for HaproxyServer {
    fn drop(&mut self) {
        self.stop();
    }
}
