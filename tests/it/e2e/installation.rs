//! An installation of its own for one test: Redis, databases, and nodes as separate processes, all under one folder.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{ledger::Target, load::Load};
use crate::servers::{free_port, redis::RedisServer, wait_for};

/// The program under test: this build's, or another one that `TIDEGATE_TEST_PROGRAM` names, such as an optimised one.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("TIDEGATE_TEST_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_tidegate").into(), PathBuf::from)
}

/// Redis and a folder; nodes are started on it.
pub(crate) struct Installation {
    /// The Redis that all nodes share.
    pub(crate) redis: RedisServer,
    /// Everything that is written goes in here.
    pub(crate) dir: tempfile::TempDir,
    master_key: String,
}

impl Installation {
    /// A fresh Redis with `appendfsync always`, and nothing registered.
    pub(crate) async fn new() -> Self {
        Self::with_redis(&[]).await
    }

    /// The same with further settings of Redis.
    pub(crate) async fn with_redis(settings: &[(&str, &str)]) -> Self {
        let dir = crate::servers::temp_dir();
        let key = Command::new(program()).args(["key", "generate-master"]).output().unwrap();
        assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
        let master_key = String::from_utf8(key.stdout).unwrap().trim().to_owned();
        Self { redis: RedisServer::start_with(settings).await, dir, master_key }
    }

    /// A command of the program under test, with this installation's settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("TIDEGATE_REDIS_URL", self.redis.url())
            .env("TIDEGATE_STATE_DIR", self.dir.path().join("state"))
            .env("TIDEGATE_MASTER_KEY", &self.master_key)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end; its standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "tidegate {arguments:?}: {out}{err}");
        out.into_owned()
    }

    /// Registers an application `car-app` with topic `cars` and these destinations, each with the ledger's two routes; its
    /// API key.
    pub(crate) fn register(&self, targets: &[Target]) -> String {
        self.apply(&manifest(targets));
        self.run(&["key", "create", "car-app"]).trim().to_owned()
    }

    /// Applies a manifest.
    pub(crate) fn apply(&self, manifest: &str) {
        let file = self.dir.path().join("resources.toml");
        std::fs::write(&file, manifest).unwrap();
        self.run(&["apply", file.to_str().unwrap()]);
    }

    /// A SQLite destination's file, with the ledger's tables.
    pub(crate) async fn sqlite(&self, name: &str) -> Target {
        let path = self.dir.path().join(format!("{name}.db"));
        File::create(&path).unwrap();
        let target = Target { name: name.into(), kind: "sqlite", url: format!("sqlite://{}", path.display()) };
        target.create_tables().await;
        target
    }

    /// Starts a node.
    pub(crate) fn node(&self, name: &str) -> Node {
        let mut node = self.new_node(name);
        node.start(self);
        node
    }

    /// A node that is not started yet, with ports and a state folder of its own.
    pub(crate) fn new_node(&self, name: &str) -> Node {
        let log = self.dir.path().join(format!("{name}.log"));
        Node {
            name: name.into(),
            listen: free_port(),
            admin: free_port(),
            environment: BTreeMap::new(),
            log,
            process: None,
        }
    }
}

/// The manifest of an application with these destinations and the ledger's routes into each.
pub(crate) fn manifest(targets: &[Target]) -> String {
    let mut text = "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n".to_owned();
    for Target { name, kind, url } in targets {
        text += &format!(
            r#"
[[destination]]
name = "{name}"
kind = "{kind}"
url = "{url}"

[[route]]
name = "{name}-cars"
application = "car-app"
topic = "cars"
destination = "{name}"
table = "cars"
key = ["id"]
columns = "matching"

[[route]]
name = "{name}-events"
application = "car-app"
topic = "cars"
destination = "{name}"
table = "events"
[route.columns]
id = "id"
version = "version"
"#
        );
    }
    text
}

/// A node: `tidegate serve` as a process of its own.
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// The producers' port.
    pub(crate) listen: u16,
    /// The operations port.
    pub(crate) admin: u16,
    /// Further settings, which count from its next start: `TIDEGATE_…`, `FAILPOINTS`.
    pub(crate) environment: BTreeMap<&'static str, String>,
    log: PathBuf,
    process: Option<Child>,
}

impl Node {
    /// Starts it (again).
    pub(crate) fn start(&mut self, installation: &Installation) {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let child = installation
            .command(&["serve"])
            .env("TIDEGATE_NODE", &self.name)
            .env("TIDEGATE_STATE_DIR", self.state_dir(installation))
            .env("TIDEGATE_LISTEN", format!("127.0.0.1:{}", self.listen))
            .env("TIDEGATE_ADMIN", format!("127.0.0.1:{}", self.admin))
            .env("TIDEGATE_CONSOLE", "127.0.0.1:0")
            .env("TIDEGATE_STATE_DIR", installation.dir.path().join(format!("state-{}", self.name)))
            .env("TIDEGATE_DRAIN_DELAY_S", "1")
            .env("TIDEGATE_LEASE_S", "1")
            .envs(&self.environment)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
    }

    /// Where it keeps its snapshot: a folder of its own.
    pub(crate) fn state_dir(&self, installation: &Installation) -> PathBuf {
        installation.dir.path().join(format!("state-{}", self.name))
    }

    /// Waits until the load balancer would send requests here.
    pub(crate) async fn ready(&self) {
        wait_for("the node is ready", Duration::from_secs(30), async || {
            let (status, _) = get(&format!("http://127.0.0.1:{}/healthz/ready", self.listen)).await?;
            (status == 200).then_some(())
        })
        .await;
    }

    /// The time of a core that it has used so far.
    pub(crate) fn used(&self) -> Duration {
        let process = self.process.as_ref().expect("it runs").id();
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        // In user and in kernel, in hundredths of a second (proc(5), fields 14 and 15).
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    /// A line of what the kernel says of it (`/proc/PID/status`).
    pub(crate) fn status(&self, name: &str) -> String {
        let process = self.process.as_ref().expect("it runs").id();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    }

    fn signal(&self, signal: &str) {
        let process = self.process.as_ref().expect("it runs").id();
        crate::servers::run(Command::new("kill").args([signal, &process.to_string()])).unwrap();
    }

    /// SIGSTOP: it stands still, and its connections with it. Returns once it does.
    pub(crate) async fn pause(&self) {
        self.signal("-STOP");
        self.has_stopped().await;
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// Waits until it stands still, which a failpoint may have seen to.
    pub(crate) async fn has_stopped(&self) {
        wait_for(&format!("node {} stands still", self.name), Duration::from_secs(60), async || {
            self.stands_still().then_some(())
        })
        .await;
    }

    /// Whether it is stopped (state `T` in `/proc`).
    pub(crate) fn stands_still(&self) -> bool {
        let Some(process) = &self.process else { return false };
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    }

    /// How it ended, if it did by itself (a failpoint).
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        let ended = self.process.as_mut()?.try_wait().unwrap();
        if ended.is_some() {
            self.process = None;
        }
        ended
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// SIGTERM.
    pub(crate) fn begin_to_terminate(&self) {
        self.signal("-TERM");
    }

    /// SIGTERM, unless it ends already, then waits for the end.
    pub(crate) async fn terminate(&mut self) -> (ExitStatus, Duration) {
        let mut process = self.process.take().unwrap();
        let begun = Instant::now();
        if process.try_wait().unwrap().is_none() {
            crate::servers::run(Command::new("kill").arg(process.id().to_string())).unwrap();
        }
        let status = wait_for("the node ends", Duration::from_secs(30), async || process.try_wait().unwrap()).await;
        (status, begun.elapsed())
    }

    /// Producers that send to this node.
    pub(crate) fn load(&self, key: &str) -> Load {
        Load::new(&format!("http://127.0.0.1:{}", self.listen), key)
    }

    /// `detail` of a destination in `/health/actors`, or null.
    pub(crate) async fn destination(&self, name: &str) -> Value {
        let actors = get(&format!("http://127.0.0.1:{}/health/actors", self.admin)).await;
        let Some((200, body)) = actors else { return Value::Null };
        let body: Value = serde_json::from_str(&body).unwrap();
        let of = |actor: &&Value| actor["kind"] == "destination" && actor["name"] == name;
        body["actors"].as_array().unwrap().iter().find(of).map_or(Value::Null, |actor| actor["detail"].clone())
    }

    /// The value of a metric of a destination; 0 where there is none yet.
    pub(crate) async fn metric(&self, name: &str, destination: &str) -> f64 {
        let metrics = get(&format!("http://127.0.0.1:{}/metrics", self.admin)).await;
        let Some((200, text)) = metrics else { return 0.0 };
        let of = format!("{name}{{destination=\"{destination}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&of)?.trim().parse().ok()).unwrap_or(0.0)
    }

    /// What it has logged.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logged = self.logged();
            // A backtrace would leave no room for what it is about.
            let telling = |line: &&str| !line.trim_start().starts_with("at ") && !line.contains("::");
            let tail: Vec<_> = logged.lines().filter(telling).rev().take(40).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            // Beside the panic's own message, which is where whoever looks for the cause looks.
            let _ = writeln!(std::io::stderr(), "-- the last lines of node {}:\n{tail}", self.name);
        }
        self.kill();
    }
}

/// GET; status and body, or nothing where nobody answers.
pub(crate) async fn get(url: &str) -> Option<(u16, String)> {
    let client = awc::Client::builder().timeout(Duration::from_secs(3)).finish();
    let mut answer = client.get(url).send().await.ok()?;
    let body = answer.body().await.ok()?;
    Some((answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

/// The same as this application.
pub(crate) async fn get_as(url: &str, key: &str) -> Option<(u16, String)> {
    let client = awc::Client::builder().timeout(Duration::from_secs(3)).finish();
    let mut answer = client.get(url).insert_header(("Authorization", format!("Bearer {key}"))).send().await.ok()?;
    let body = answer.body().await.ok()?;
    Some((answer.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
}

/// Waits until every target has as many messages as were acknowledged, then holds it against the ledger.
pub(crate) async fn settle(targets: &[Target], acknowledged: &super::ledger::Acknowledged) {
    let expected: i64 = acknowledged.values().sum();
    for target in targets {
        let what = format!("{} has {expected} messages", target.name);
        wait_for(&what, Duration::from_secs(90), async || {
            target.arrived().await.filter(|arrived| *arrived >= expected)
        })
        .await;
        target.check(acknowledged).await;
    }
}
