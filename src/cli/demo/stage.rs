//! What the demo plays on: a private Redis and a node, as processes of their own, in a temporary folder.
//!
//! However the demo ends, nothing is left running and the folder is gone: see [`Guard`].

use std::{
    fs::File,
    io::Write as _,
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

/// Longest time for a server to answer for the first time.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A shell that waits for the end of a pipe whose other end only this process holds, and then ends what it was told of and
/// removes the folder: at the demo's end, and also when it was killed.
pub(super) struct Guard {
    shell: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        // The folder's name is ours and has no quotes in it.
        let script = format!(
            "trap '' INT TERM HUP; all=; while IFS= read -r line; do all=\"$all$line; \"; done; cd /; eval \"$all\"; \
             rm -rf '{}'",
            folder.display()
        );
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("`sh` could not be started")?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    /// A line of shell for the end.
    pub(super) fn at_end(&mut self, line: &str) -> std::io::Result<()> {
        self.pipe.as_mut().map_or(Ok(()), |pipe| writeln!(pipe, "{line}"))
    }

    /// Starts a program in a process group of its own, so that Ctrl-C reaches the demo alone, and sees to its end.
    pub(super) fn spawn(&mut self, command: &mut Command) -> anyhow::Result<Child> {
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).stdin(Stdio::null()).spawn().with_context(|| {
            format!("`{program}` could not be started; `bash deploy/demo.sh` installs what is missing")
        })?;
        self.at_end(&format!("kill -9 {}", child.id()))?;
        Ok(child)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.shell.wait();
    }
}

/// Redis, the node, and the folder.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) redis_port: u16,
    pub(super) listen: u16,
    pub(super) admin: u16,
    console: u16,
    program: PathBuf,
    redis: Option<Child>,
    node: Option<Child>,
    /// Ends the processes; only then are they reaped, so that no id can have become another's.
    pub(super) guard: Option<Guard>,
}

impl Stage {
    /// An empty folder, and ports that nobody listens on.
    pub(super) fn new() -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("tidegate-demo-{:08x}", rand::random::<u32>()));
        ensure!(!folder.to_string_lossy().contains(['\'', '\n']), "TMPDIR has a quote in its name; choose another");
        std::fs::create_dir(&folder).with_context(|| format!("{} could not be made; see TMPDIR", folder.display()))?;
        let guard = Guard::new(&folder)?;
        // A database server that runs as its own user must get through.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            folder,
            redis_port: free_port(None),
            listen: free_port(Some(8080)),
            admin: free_port(Some(9090)),
            console: free_port(Some(8081)),
            program: std::env::current_exe().context("this program can't be found to start a node with")?,
            redis: None,
            node: None,
            guard: Some(guard),
        })
    }

    fn spawn(&mut self, command: &mut Command) -> anyhow::Result<Child> {
        match &mut self.guard {
            Some(guard) => guard.spawn(command),
            None => bail!("the demo has ended"),
        }
    }

    /// Redis as Tidegate wants it: what was acknowledged is on the disk.
    pub(super) async fn start_redis(&mut self) -> anyhow::Result<()> {
        let folder = self.folder.join("redis");
        std::fs::create_dir(&folder)?;
        let log = File::create(folder.join("log"))?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.redis_port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
        command.current_dir(&folder).stdout(log.try_clone()?).stderr(log);
        self.redis = Some(self.spawn(&mut command)?);
        let client = redis::Client::open(self.redis_url())?;
        self.wait_for("Redis", &folder.join("log"), async || {
            let connection = client.get_multiplexed_async_connection().await;
            let Ok(mut connection) = connection else { return false };
            redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
        })
        .await
    }

    /// The node: this program's `serve`.
    pub(super) async fn start_node(&mut self) -> anyhow::Result<()> {
        let log_path = self.folder.join("node.log");
        let log = File::create(&log_path)?;
        let mut command = self.command(&["serve"]);
        command.stdout(log.try_clone()?).stderr(log);
        self.node = Some(self.spawn(&mut command)?);
        let client = awc::Client::builder().timeout(Duration::from_secs(2)).finish();
        let url = format!("{}/healthz/ready", self.url());
        self.wait_for("the node", &log_path, async || {
            client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await
    }

    async fn wait_for(&self, what: &str, log: &Path, mut question: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        while !question().await {
            if start.elapsed() > START_WITHIN {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let tail: Vec<&str> = said.lines().rev().take(5).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                bail!("{what} did not answer within {} s; it said:\n{}", START_WITHIN.as_secs(), tail.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        Ok(())
    }

    /// One of this program's commands with the demo's settings and nobody else's.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDEGATE_") {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("TIDEGATE_REDIS_URL", self.redis_url())
            .env("TIDEGATE_NODE", "demo")
            .env("TIDEGATE_LISTEN", format!("127.0.0.1:{}", self.listen))
            .env("TIDEGATE_ADMIN", format!("127.0.0.1:{}", self.admin))
            .env("TIDEGATE_CONSOLE", format!("127.0.0.1:{}", self.console))
            .env("TIDEGATE_STATE_DIR", self.folder.join("state"));
        command
    }

    /// Runs a command to its end; what it printed.
    pub(super) async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        output(self.command(arguments)).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.listen)
    }

    pub(super) fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.redis_port)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(self.guard.take());
        for child in [&mut self.node, &mut self.redis].into_iter().flatten() {
            let _ = child.wait();
        }
    }
}

/// Runs a program to its end; its output, or what it complained of.
pub(super) async fn output(command: Command) -> anyhow::Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = tokio::process::Command::from(command).stdin(Stdio::null()).kill_on_drop(true).output().await;
    let done =
        done.with_context(|| format!("`{name}` could not be started; `bash deploy/demo.sh` installs what is missing"))?;
    if !done.status.success() {
        bail!("`{name}` failed: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// A port of 127.0.0.1 that nobody listens on; the favourite where it is free. Others are below those that Linux gives to
/// outgoing connections.
pub(super) fn free_port(favourite: Option<u16>) -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    if let Some(port) = favourite.filter(|port| is_free(*port)) {
        return port;
    }
    loop {
        let port = rand::random_range(20_000..32_000);
        if is_free(port) {
            return port;
        }
    }
}
