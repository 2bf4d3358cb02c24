//! The product under measurement: one node as a process of its own, in a folder of its own, on a private Redis.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::aio::MultiplexedConnection;

use crate::servers::{free_port, redis::RedisServer, temp_dir, wait_for};

/// The application that sends.
pub(crate) const APPLICATION: &str = "car-app";

/// A node.
pub(crate) struct Node {
    /// Its process.
    pub(crate) process: Child,
    /// `http://127.0.0.1:port` of the producers' listener.
    pub(crate) url: String,
    /// The producers' port.
    pub(crate) port: u16,
    /// A key of [`APPLICATION`].
    pub(crate) key: String,
    dir: tempfile::TempDir,
    settings: Settings,
}

type Settings = Vec<(&'static str, String)>;

/// A destination: name, kind, url.
pub(crate) type Target = (String, &'static str, String);

impl Node {
    /// Registers the application with a route of topic `cars` into each target, and starts a node.
    pub(crate) async fn start(redis: &RedisServer, targets: &[Target]) -> Self {
        let key = register(redis, &manifest_of(targets));
        Self::join(redis, "bench", key, &[]).await
    }

    /// Starts a node of this name on a Redis that has its registry already.
    pub(crate) async fn join(redis: &RedisServer, name: &str, key: String, more: &[(&'static str, String)]) -> Self {
        let dir = temp_dir();
        let port = free_port();
        let mut settings = vec![
            ("TIDEGATE_REDIS_URL", redis.url()),
            ("TIDEGATE_NODE", name.to_owned()),
            ("TIDEGATE_STATE_DIR", dir.path().join("state").display().to_string()),
            ("TIDEGATE_LISTEN", format!("127.0.0.1:{port}")),
            ("TIDEGATE_ADMIN", format!("127.0.0.1:{}", free_port())),
            ("TIDEGATE_CONSOLE", "127.0.0.1:0".to_owned()),
            ("TIDEGATE_DRAIN_DELAY_S", "1".to_owned()),
        ];
        settings.extend_from_slice(more);
        let log = File::create(dir.path().join("log")).unwrap();
        let process =
            command(&dir, &settings).arg("serve").stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let node = Self { process, url, port, key, dir, settings };
        wait_for("the node is ready", Duration::from_secs(30), async || {
            let answer = awc::Client::default().get(format!("{}/healthz/ready", node.url)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        node
    }

    /// The node's own words, for when something went wrong.
    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let settings: Vec<_> = self.settings.iter().map(|(name, _)| *name).collect();
            eprintln!("the node (set: {settings:?}) said:\n{}", self.logged());
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Registers what the manifest says; a key of [`APPLICATION`].
pub(crate) fn register(redis: &RedisServer, manifest: &str) -> String {
    let dir = temp_dir();
    let settings = vec![("TIDEGATE_REDIS_URL", redis.url())];
    std::fs::write(dir.path().join("resources.toml"), manifest).unwrap();
    let run = |arguments: &[&str]| {
        let output = command(&dir, &settings).args(arguments).output().unwrap();
        assert!(output.status.success(), "tidegate {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    run(&["apply", "resources.toml"]);
    run(&["key", "create", APPLICATION])
}

fn command(dir: &tempfile::TempDir, settings: &Settings) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.current_dir(dir.path()).envs(settings.iter().map(|(name, value)| (*name, value))).stdin(Stdio::null());
    command
}

/// A route of topic `cars` into each target.
pub(crate) fn manifest_of(targets: &[Target]) -> String {
    let mut text = format!("[[application]]\nname = \"{APPLICATION}\"\ntopics = [\"cars\"]\n");
    for (name, kind, url) in targets {
        text += &format!(
            r#"
[[destination]]
name = "{name}"
kind = "{kind}"
url = "{url}"

[[route]]
name = "{name}-cars"
application = "{APPLICATION}"
topic = "cars"
destination = "{name}"
table = "cars"
key = ["id"]
columns = "matching"
"#
        );
    }
    text
}

/// So many PostgreSQL destinations that nobody listens for.
pub(crate) fn absent(count: usize) -> Vec<Target> {
    let port = free_port();
    (0..count)
        .map(|n| (format!("absent-{n}"), "postgres", format!("postgres://nobody@127.0.0.1:{port}/none")))
        .collect()
}

/// A message as a producer sends it.
pub(crate) fn message(id: usize) -> String {
    format!(r#"{{"topic":"cars","action":"upsert","key":{id},"data":{}}}"#, crate::record(id))
}

/// The stream of [`APPLICATION`].
pub(crate) fn stream() -> String {
    tidegate::redis::Keys::new("tidegate").of(APPLICATION).stream()
}

/// The process that serves this connection.
pub(crate) async fn process_id(connection: &mut MultiplexedConnection) -> u32 {
    info(connection, "server", "process_id").await.parse().unwrap()
}

/// One field of `INFO`.
pub(crate) async fn info(connection: &mut MultiplexedConnection, section: &str, field: &str) -> String {
    let text: String = redis::cmd("INFO").arg(section).query_async(connection).await.unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("INFO has no {field}")).trim().to_owned()
}

/// A connection that waits for as long as an answer takes.
pub(crate) async fn patient(redis: &RedisServer) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}
