//! What the demo and the bench play on: a private Redis, nodes and where wanted HAProxy in front of them, as processes of
//! their own, in a temporary folder.
//!
//! However the command ends, nothing is left running and the folder is gone: see [`Guard`].

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

/// The balancer's settings: those of production, whose addresses come from the environment.
const BALANCER: &str = include_str!("../../deploy/haproxy.cfg");
/// Longest time for a server to answer for the first time.
const START_WITHIN: Duration = Duration::from_secs(30);

/// A shell that waits for the end of a pipe whose other end only this process holds, and then ends what it was told of and
/// removes the folder: at the command's end, and also when it was killed.
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

    /// Starts a program in a process group of its own, so that Ctrl-C reaches the command alone, and sees to its end.
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

/// The ports that a node gets where they are free, of `admin` and of `console`.
pub(super) type Favourites = Option<(u16, u16)>;

/// One of the nodes.
pub(super) struct Node {
    pub(super) name: &'static str,
    listen: u16,
    pub(super) admin: u16,
    console: u16,
    process: Option<Child>,
}

impl Node {
    fn new(name: &'static str, favourites: Favourites, reserved: &mut Vec<TcpListener>) -> Self {
        let (admin, console) = favourites.unzip();
        let [listen, admin, console] = [None, admin, console].map(|favourite| reserved_port(favourite, reserved));
        Self { name, listen, admin, console, process: None }
    }

    /// Its process, once it was started.
    pub(super) fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Whether it was started, and not killed since.
    pub(super) const fn is_running(&self) -> bool {
        self.process.is_some()
    }
}

/// Redis, the nodes, the balancer, and the folder.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) redis_port: u16,
    /// Where producers send: the balancer's port, or the first node's where there is none.
    pub(super) listen: u16,
    pub(super) nodes: Vec<Node>,
    /// Settings that every command of ours gets beside the address of Redis.
    pub(super) settings: Vec<(&'static str, String)>,
    program: PathBuf,
    /// Ports that nobody else shall take while what comes before the nodes is started.
    reserved: Vec<TcpListener>,
    /// What runs or has run. Reaped at the end only, so that no id that the guard knows can have become another's.
    processes: Vec<Child>,
    /// Ends the processes.
    pub(super) guard: Option<Guard>,
}

impl Stage {
    /// An empty folder, and ports that nobody listens on, for these nodes; 8080 is the favourite where producers send to a
    /// balancer.
    pub(super) fn new(command: &str, nodes: &[(&'static str, Favourites)], balanced: bool) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("tidegate-{command}-{:08x}", rand::random::<u32>()));
        ensure!(!folder.to_string_lossy().contains(['\'', '\n']), "TMPDIR has a quote in its name; choose another");
        std::fs::create_dir(&folder).with_context(|| format!("{} could not be made; see TMPDIR", folder.display()))?;
        let guard = Guard::new(&folder)?;
        // A database server that runs as its own user must get through.
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
        let mut reserved = Vec::new();
        let redis_port = free_port(None);
        let balancer = balanced.then(|| reserved_port(Some(8080), &mut reserved));
        let nodes: Vec<Node> =
            nodes.iter().map(|(name, favourites)| Node::new(name, *favourites, &mut reserved)).collect();
        Ok(Self {
            folder,
            redis_port,
            listen: balancer.or(nodes.first().map(|node| node.listen)).unwrap_or_default(),
            nodes,
            settings: Vec::new(),
            reserved,
            program: std::env::current_exe().context("this program can't be found to start a node with")?,
            processes: Vec::new(),
            guard: Some(guard),
        })
    }

    fn spawn(&mut self, command: &mut Command) -> anyhow::Result<Child> {
        match &mut self.guard {
            Some(guard) => guard.spawn(command),
            None => bail!("it has ended"),
        }
    }

    /// Redis as Tidegate wants it: with its file, synced as said (`always`: what was acknowledged is on the disk). Its
    /// process.
    pub(super) async fn start_redis(&mut self, appendfsync: &str) -> anyhow::Result<u32> {
        let folder = self.folder.join("redis");
        std::fs::create_dir(&folder)?;
        let log = File::create(folder.join("log"))?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.redis_port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "yes", "--appendfsync", appendfsync, "--maxmemory-policy", "noeviction"]);
        command.current_dir(&folder).stdout(log.try_clone()?).stderr(log);
        let process = self.spawn(&mut command)?;
        let id = process.id();
        self.processes.push(process);
        let client = redis::Client::open(self.redis_url())?;
        wait_for("Redis", &folder.join("log"), Some(id), async || {
            let connection = client.get_multiplexed_async_connection().await;
            let Ok(mut connection) = connection else { return false };
            redis::cmd("PING").query_async::<String>(&mut connection).await.is_ok()
        })
        .await?;
        Ok(id)
    }

    /// All nodes, and HAProxy once they are ready, where there is to be one.
    pub(super) async fn start_nodes(&mut self, haproxy: Option<&Path>) -> anyhow::Result<()> {
        self.reserved.clear();
        for n in 0..self.nodes.len() {
            self.spawn_node(n)?;
        }
        for n in 0..self.nodes.len() {
            self.node_is_ready(n).await?;
        }
        match haproxy {
            Some(haproxy) => self.start_balancer(haproxy).await,
            None => Ok(()),
        }
    }

    /// Starts a node that was killed.
    pub(super) async fn start_node(&mut self, n: usize) -> anyhow::Result<()> {
        self.spawn_node(n)?;
        self.node_is_ready(n).await
    }

    /// A node: this program's `serve`.
    fn spawn_node(&mut self, n: usize) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.node_log(n))?;
        let node = &self.nodes[n];
        let mut command = self.command(&["serve"]);
        command
            .env("TIDEGATE_NODE", node.name)
            .env("TIDEGATE_LISTEN", format!("127.0.0.1:{}", node.listen))
            .env("TIDEGATE_ADMIN", format!("127.0.0.1:{}", node.admin))
            .env("TIDEGATE_CONSOLE", format!("127.0.0.1:{}", node.console))
            .env("TIDEGATE_STATE_DIR", self.folder.join(node.name))
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = self.spawn(&mut command)?;
        self.nodes[n].process = Some(process);
        Ok(())
    }

    async fn node_is_ready(&self, n: usize) -> anyhow::Result<()> {
        let node = &self.nodes[n];
        is_ready(node.name, &self.node_log(n), node.process.as_ref().map(Child::id), node.listen).await
    }

    /// What a node writes to its standard output.
    pub(super) fn node_log(&self, n: usize) -> PathBuf {
        self.folder.join(format!("{}.log", self.nodes[n].name))
    }

    /// kill -9.
    pub(super) fn kill_node(&mut self, n: usize) -> anyhow::Result<()> {
        if let Some(mut process) = self.nodes[n].process.take() {
            process.kill()?;
            self.processes.push(process);
        }
        Ok(())
    }

    async fn start_balancer(&mut self, haproxy: &Path) -> anyhow::Result<()> {
        let (settings, log_path) = (self.folder.join("haproxy.cfg"), self.folder.join("haproxy.log"));
        std::fs::write(&settings, BALANCER)?;
        let log = File::create(&log_path)?;
        let mut command = without_settings(haproxy);
        command.args(["-db", "-f"]).arg(settings).current_dir(&self.folder);
        let here = |port: u16| format!("127.0.0.1:{port}");
        command
            .env("TIDEGATE_NODE_A", here(self.nodes[0].listen))
            .env("TIDEGATE_NODE_B", here(self.nodes[1].listen))
            .env("TIDEGATE_BALANCER", here(self.listen))
            .env("TIDEGATE_BALANCER_STATS", here(free_port(Some(8404))))
            .env("TIDEGATE_BALANCER_SOCKET", self.folder.join("haproxy.sock"))
            .env("TIDEGATE_CHECK_EVERY", "1s")
            .stdout(log.try_clone()?)
            .stderr(log);
        let process = self.spawn(&mut command)?;
        let id = process.id();
        self.processes.push(process);
        is_ready("HAProxy", &log_path, Some(id), self.listen).await
    }

    /// One of this program's commands with the stage's settings and nobody else's.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = without_settings(&self.program);
        command.args(arguments).current_dir(&self.folder).env("TIDEGATE_REDIS_URL", self.redis_url());
        command.envs(self.settings.iter().map(|(name, value)| (*name, value)));
        command
    }

    /// Runs a command to its end; what it printed.
    pub(super) async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        output(self.command(arguments)).await
    }

    /// Where producers send.
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
        let nodes = self.nodes.iter_mut().filter_map(|node| node.process.as_mut());
        for child in nodes.chain(&mut self.processes) {
            let _ = child.wait();
        }
    }
}

/// A program that hears of none of the settings that this one itself was started with.
fn without_settings(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TIDEGATE_") {
            command.env_remove(name);
        }
    }
    command
}

async fn is_ready(what: &str, log: &Path, process: Option<u32>, port: u16) -> anyhow::Result<()> {
    let client = awc::Client::builder().timeout(Duration::from_secs(2)).finish();
    let url = format!("http://127.0.0.1:{port}/healthz/ready");
    wait_for(what, log, process, async || {
        client.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
    })
    .await
}

async fn wait_for(
    what: &str,
    log: &Path,
    process: Option<u32>,
    mut question: impl AsyncFnMut() -> bool,
) -> anyhow::Result<()> {
    let start = Instant::now();
    while !question().await {
        let ended = process.is_some_and(has_ended);
        if ended || start.elapsed() > START_WITHIN {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = said.lines().take_while(|line| !line.starts_with("Stack backtrace")).collect();
            let tail = lines[lines.len().saturating_sub(5)..].join("\n");
            let how =
                if ended { "ended".to_owned() } else { format!("did not answer within {} s", START_WITHIN.as_secs()) };
            bail!("{what} {how}; it said:\n{tail}");
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    Ok(())
}

/// Whether a child has ended, without reaping it: its id stays its own until the guard has done its work.
fn has_ended(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Where a server program is: servers are often in folders that only root's `PATH` names.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
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
    reserved_port(favourite, &mut Vec::new())
}

/// The same, kept from others for as long as it is among the reserved.
fn reserved_port(favourite: Option<u16>, reserved: &mut Vec<TcpListener>) -> u16 {
    let mut port = favourite.unwrap_or_else(|| rand::random_range(20_000..32_000));
    loop {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            reserved.push(listener);
            return port;
        }
        port = rand::random_range(20_000..32_000);
    }
}
