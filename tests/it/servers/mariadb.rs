//! A private MariaDB: one shared by all tests, or one of its own for a test that stops, pauses or kills it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use sqlx::{Connection, Executor, MySqlConnection};

use super::{Guard, free_port, is_root, run, shared_dir, temp_dir, wait_for};

/// A running MariaDB whose `root` needs no password from 127.0.0.1.
pub(crate) struct MariadbServer {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    dir: PathBuf,
    guard: Option<Guard>,
}

impl MariadbServer {
    /// The server that all tests share; each takes a [`database`](Self::database) of its own.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceLock<MariadbServer> = OnceLock::new();
        SHARED.get_or_init(|| match shared_dir() {
            Some(dir) => Self::join(&dir),
            None => Self::private(),
        })
    }

    /// A server for one test, ended when it is dropped.
    pub(crate) fn private() -> Self {
        let mut server = Self { port: free_port(), dir: temp_dir().keep(), guard: None };
        server.guard = Some(Guard::new(&server.stop_script()));
        server.install();
        server.start();
        server
    }

    /// Finds the server that another test process has started, or starts it for all.
    fn join(root: &Path) -> Self {
        let lock = File::create(root.join("mariadb.lock")).unwrap();
        lock.lock().unwrap();
        let dir = root.join("mariadb");
        let port_file = dir.join("port");
        if let Ok(port) = std::fs::read_to_string(&port_file) {
            return Self { port: port.parse().unwrap(), dir, guard: None };
        }
        let _ = std::fs::remove_dir_all(&dir); // left by a start that failed
        std::fs::create_dir(&dir).unwrap();
        let server = Self { port: free_port(), dir, guard: None };
        server.install();
        let script = server.dir.join("stop");
        std::fs::write(&script, format!("#!/bin/sh\n{}\n", server.stop_script())).unwrap();
        run(Command::new("chmod").arg("755").arg(script)).unwrap();
        server.start();
        std::fs::write(port_file, server.port.to_string()).unwrap();
        server
    }

    /// Makes the server's files in its empty folder.
    fn install(&self) {
        if is_root() {
            run(Command::new("chown").arg("mysql").arg(&self.dir)).unwrap();
        }
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        // Two installations at once take each other's temporary tables away where they share a folder for them.
        install.arg(format!("--datadir={}", self.data().display())).args(self.user()).env("TMPDIR", &self.dir);
        run(&mut install).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("pid")
    }

    /// Where its certificate, log and data are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Which user it runs as: as root it would refuse to.
    fn user(&self) -> Option<&'static str> {
        is_root().then_some("--user=mysql")
    }

    fn stop_script(&self) -> String {
        let (pid, dir) = (self.pid_file(), self.dir.display());
        let pid = pid.display();
        format!(
            "cd /; p=$(cat {pid} 2>/dev/null) && {{ kill -CONT $p; kill -KILL $p; \
             while [ -d /proc/$p ] && ! grep -q '^State:.Z' /proc/$p/status; do sleep 0.02; done; }} 2>/dev/null; \
             rm -rf {dir}"
        )
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill); returns once it takes connections.
    pub(crate) fn start(&self) {
        self.start_with(&[]);
    }

    /// Starts it with further options (`--read-only=1`).
    pub(crate) fn start_with(&self, options: &[&str]) {
        let log = self.dir.join("log");
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let _ = std::fs::remove_file(self.pid_file());
        // Small, and not what Tidegate's own session asks for, so that a test notices when it forgets to ask.
        let mut command = Command::new("mariadbd");
        command
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--max-connections=200"])
            .args(["--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M", "--performance-schema=off"])
            .args(["--sql-mode=", "--default-time-zone=+07:00", "--character-set-server=latin1"])
            .arg(format!("--datadir={}", self.data().display()))
            .arg(format!("--port={}", self.port))
            .arg(format!("--socket={}", self.dir.join("socket").display()))
            .arg(format!("--pid-file={}", self.pid_file().display()))
            .args(self.user())
            .args(options)
            .current_dir(&self.dir)
            .env("TMPDIR", &self.dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output);
        // In a session of its own, so that Ctrl-C at the terminal reaches the tests first, and the guard after them.
        let mut child = std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn().unwrap();
        let start = Instant::now();
        let mut ping = Command::new("mariadb-admin");
        ping.args(["--no-defaults", "-h127.0.0.1", "-uroot", "--connect-timeout=2", "ping"]);
        ping.arg(format!("-P{}", self.port));
        while run(&mut ping).is_err() || !self.pid_file().exists() {
            let ended = child.try_wait().unwrap();
            assert!(
                ended.is_none() && start.elapsed() < Duration::from_secs(60),
                "MariaDB did not start: {}",
                std::fs::read_to_string(&log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        // Reaped when it ends, so that `stop` sees it go.
        std::thread::spawn(move || child.wait());
    }

    /// Stops it in good order, without waiting for its clients.
    pub(crate) fn stop(&self) {
        self.signal("-TERM");
        self.wait_until_gone();
    }

    /// Ends it at once, as a power failure would.
    pub(crate) fn kill(&self) {
        self.signal("-KILL");
        self.wait_until_gone();
        let _ = std::fs::remove_file(self.pid_file());
    }

    /// Lets it accept connections and never answer.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Ends a [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = std::fs::read_to_string(self.pid_file()).unwrap();
        run(Command::new("kill").args([signal, pid.trim()])).unwrap();
    }

    fn wait_until_gone(&self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() || self.holds_its_files() {
            assert!(start.elapsed() < Duration::from_secs(30), "MariaDB did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether a process still works on its data.
    fn holds_its_files(&self) -> bool {
        let data = format!("--datadir={}", self.data().display());
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok()).any(|line| {
            let line = String::from_utf8_lossy(&line).into_owned();
            line.split('\0').any(|argument| argument == data)
        })
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection of `root`'s.
    pub(crate) async fn connect(&self, database: &str) -> MySqlConnection {
        MySqlConnection::connect(&format!("{}?ssl-mode=DISABLED", self.url(database))).await.unwrap()
    }

    /// Makes an empty database and returns its name.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{:016x}", rand::random::<u64>());
        let url = format!("mysql://root@127.0.0.1:{}?ssl-mode=DISABLED", self.port);
        let mut connection =
            wait_for("a connection", Duration::from_secs(20), async || MySqlConnection::connect(&url).await.ok()).await;
        let sql = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        connection.close().await.unwrap();
        name
    }
}

#[tokio::test]
async fn a_private_server_starts_stops_pauses_and_starts_again() {
    let server = MariadbServer::private();
    let database = server.database().await;
    server.stop();
    server.start();
    server.kill();
    server.start();
    server.pause();
    let url = format!("{}?ssl-mode=DISABLED", server.url(&database));
    let attempt = tokio::time::timeout(Duration::from_millis(300), MySqlConnection::connect(&url)).await;
    assert!(attempt.is_err(), "a paused server does not answer");
    server.resume();
    server.connect(&database).await;
    let dir = server.dir().to_owned();
    drop(server);
    assert!(!dir.exists(), "nothing is left of a server that was dropped");
}
