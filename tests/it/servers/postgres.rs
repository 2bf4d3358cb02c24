//! A private PostgreSQL: one shared by all tests, or one of its own for a test that stops, pauses or kills it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use sqlx::{Connection, Executor, PgConnection};

use super::{Guard, free_port, is_root, run, shared_dir, temp_dir, wait_for};

/// A running PostgreSQL whose superuser `postgres` needs no password from 127.0.0.1.
pub(crate) struct PostgresServer {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    dir: PathBuf,
    guard: Option<Guard>,
}

impl PostgresServer {
    /// The server that all tests share; each takes a [`database`](Self::database) of its own.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceLock<PostgresServer> = OnceLock::new();
        SHARED.get_or_init(|| match shared_dir() {
            Some(dir) => Self::join(&dir),
            None => Self::private(),
        })
    }

    /// A server for one test, ended when it is dropped.
    pub(crate) fn private() -> Self {
        let dir = temp_dir().keep();
        let mut server = Self::create(dir);
        server.guard = Some(Guard::new(&server.stop_script()));
        server.start();
        server
    }

    /// Finds the server that another test process has started, or starts it for all.
    fn join(root: &Path) -> Self {
        let lock = File::create(root.join("postgres.lock")).unwrap();
        lock.lock().unwrap();
        let dir = root.join("postgres");
        let port_file = dir.join("port");
        if let Ok(port) = std::fs::read_to_string(&port_file) {
            let server = Self { port: port.parse().unwrap(), dir, guard: None };
            if std::net::TcpStream::connect(("127.0.0.1", server.port)).is_err() {
                server.start(); // it was ended behind our back
            }
            return server;
        }
        let _ = std::fs::remove_dir_all(&dir); // left by a start that failed
        std::fs::create_dir(&dir).unwrap();
        let server = Self::create(dir);
        let script = server.dir.join("stop");
        std::fs::write(&script, format!("#!/bin/sh\n{}\n", server.stop_script())).unwrap();
        run(Command::new("chmod").arg("755").arg(script)).unwrap();
        server.start();
        std::fs::write(port_file, server.port.to_string()).unwrap();
        server
    }

    /// Makes the files of a server in an empty folder.
    fn create(dir: PathBuf) -> Self {
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&dir)).unwrap();
        }
        let server = Self { port: free_port(), dir, guard: None };
        // Nothing of a test outlives the machine, so initdb need not wait for the disk; the server itself does (fsync).
        run(server
            .command("initdb")
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(server.data()))
        .unwrap();
        server.configure(&[
            ("listen_addresses", "127.0.0.1"),
            ("port", &server.port.to_string()),
            ("unix_socket_directories", server.dir.to_str().unwrap()),
            ("fsync", "on"),
            ("max_connections", "200"),
            ("shared_buffers", "32MB"),
            // Not what Tidegate's own session asks for, so that a test notices when it forgets to ask.
            ("timezone", "Asia/Jakarta"),
            ("datestyle", "SQL, DMY"),
        ]);
        server
    }

    /// Adds lines to `postgresql.conf`; they count from the next start.
    pub(crate) fn configure(&self, settings: &[(&str, &str)]) {
        use std::io::Write;
        let mut file = File::options().append(true).open(self.data().join("postgresql.conf")).unwrap();
        for (name, value) in settings {
            writeln!(file, "{name} = '{value}'").unwrap();
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where its certificate, log and data are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// One of PostgreSQL's programs, as the user that may run it.
    fn command(&self, program: &str) -> Command {
        let program = programs().join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.dir);
        command
    }

    fn stop_script(&self) -> String {
        let (data, dir) = (self.data(), self.dir.display());
        let stop = format!("{} -D {} -m immediate stop", programs().join("pg_ctl").display(), data.display());
        let stop = if is_root() { format!("runuser -u postgres -- {stop}") } else { stop };
        let paused =
            format!("p=$(head -1 {}/postmaster.pid); kill -CONT $p $(cat /proc/$p/task/$p/children)", data.display());
        format!("cd /; {{ {paused}; }} 2>/dev/null; {stop}; rm -rf {dir}")
    }

    /// Starts it again after [`stop`](Self::stop) or [`kill`](Self::kill); returns once it takes connections.
    pub(crate) fn start(&self) {
        let log = self.dir.join("log");
        run(self.command("pg_ctl").args(["-w", "-D"]).arg(self.data()).arg("-l").arg(&log).args(["-o", "", "start"]))
            .unwrap_or_else(|error| panic!("{error}\n{}", std::fs::read_to_string(&log).unwrap_or_default()));
    }

    /// Stops it in good order, without waiting for its clients.
    pub(crate) fn stop(&self) {
        run(self.command("pg_ctl").args(["-w", "-m", "fast", "-D"]).arg(self.data()).arg("stop")).unwrap();
    }

    /// Ends it at once, as a power failure would.
    pub(crate) fn kill(&self) {
        run(self.command("pg_ctl").args(["-w", "-m", "immediate", "-D"]).arg(self.data()).arg("stop")).unwrap();
    }

    /// Lets it accept connections and never answer: all its processes stand still.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Ends a [`pause`](Self::pause).
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let postmaster = file.lines().next().unwrap().to_owned();
        run(Command::new("kill").args([signal, &postmaster])).unwrap();
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        for child in std::fs::read_to_string(children).unwrap().split_whitespace() {
            let _ = run(Command::new("kill").args([signal, child])); // one that has just ended is no matter
        }
    }

    /// The address of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// A connection of the superuser's.
    pub(crate) async fn connect(&self, database: &str) -> PgConnection {
        PgConnection::connect(&self.url(database)).await.unwrap()
    }

    /// Makes an empty database and returns its name.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{:016x}", rand::random::<u64>());
        let mut connection = wait_for("a connection", Duration::from_secs(20), async || {
            PgConnection::connect(&self.url("postgres")).await.ok()
        })
        .await;
        let sql = format!("create database {name} template template0");
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
        connection.close().await.unwrap();
        name
    }
}

/// Where the newest PostgreSQL's programs are.
fn programs() -> PathBuf {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("pg_ctl").exists())
        .max();
    newest.map(|(_, bin)| bin).expect("PostgreSQL is not installed: apt-get install postgresql")
}

#[tokio::test]
async fn a_private_server_starts_stops_pauses_and_starts_again() {
    let server = PostgresServer::private();
    let database = server.database().await;
    server.kill();
    server.start();
    server.pause();
    let attempt = tokio::time::timeout(Duration::from_millis(300), PgConnection::connect(&server.url(&database))).await;
    assert!(attempt.is_err(), "a paused server does not answer");
    server.resume();
    server.connect(&database).await;
    let dir = server.dir().to_owned();
    drop(server);
    assert!(!dir.exists(), "nothing is left of a server that was dropped");
}
