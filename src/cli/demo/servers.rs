//! For `--all`: a private PostgreSQL and MariaDB. As root they run as users of their own, as they insist.

use std::{
    fs::File,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::cli::stage::{Guard, find, free_port, output};

/// Longest time for MariaDB to take connections.
const START_WITHIN: Duration = Duration::from_secs(60);

/// Both servers.
pub(super) struct Servers {
    folder: PathBuf,
    programs: PathBuf,
    postgres_port: u16,
    mariadb_port: u16,
    mariadb: Child,
}

impl Servers {
    /// Makes and starts both, at the same time.
    pub(super) async fn start(folder: &Path, guard: &mut Guard) -> anyhow::Result<Self> {
        let programs = postgres_programs()?;
        let (postgres_port, mariadb_port) = (free_port(None), free_port(None));
        let (postgres, mariadb) = (folder.join("postgres"), folder.join("mariadb"));
        for (folder, user) in [(&postgres, "postgres"), (&mariadb, "mysql")] {
            std::fs::create_dir(folder)?;
            if is_root() {
                let mut chown = Command::new("chown");
                chown.arg(user).arg(folder);
                output(chown).await?;
            }
        }
        let mut initdb = as_postgres(&programs.join("initdb"));
        initdb
            .current_dir(&postgres)
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "-D"])
            .arg(postgres.join("data"));
        let mut install = Command::new("mariadb-install-db");
        install
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg(format!("--datadir={}", mariadb.join("data").display()))
            .args(is_root().then_some("--user=mysql"))
            .env("TMPDIR", &mariadb);
        tokio::try_join!(output(initdb), output(install))?;

        // Asked of the shell before the server runs: whatever happens then, it is ended.
        let stop = pg_ctl(&programs, &postgres, &["-m", "immediate", "stop"]);
        guard.at_end(&words(&stop))?;
        let log = File::create(mariadb.join("log"))?;
        let mut server = Command::new(find("mariadbd").unwrap_or_else(|| "mariadbd".into()));
        server
            .args(["--no-defaults", "--bind-address=127.0.0.1", "--innodb-buffer-pool-size=32M"])
            .args(["--innodb-log-file-size=16M", "--performance-schema=off", "--character-set-server=utf8mb4"])
            .arg(format!("--datadir={}", mariadb.join("data").display()))
            .arg(format!("--port={mariadb_port}"))
            .arg(format!("--socket={}", mariadb.join("socket").display()))
            .arg(format!("--pid-file={}", mariadb.join("pid").display()))
            .args(is_root().then_some("--user=mysql"))
            .env("TMPDIR", &mariadb)
            .current_dir(&mariadb)
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = guard.spawn(&mut server)?;
        let servers = Self { folder: folder.to_owned(), programs, postgres_port, mariadb_port, mariadb: child };
        tokio::try_join!(servers.start_postgres(), servers.wait_for_mariadb())?;
        servers.postgres_sql("create database accounting").await?;
        servers.mariadb_sql("create database web_shop").await?;
        Ok(servers)
    }

    pub(super) fn postgres_url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.postgres_port)
    }

    pub(super) fn mariadb_url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.mariadb_port)
    }

    /// Starts PostgreSQL, for the first time or again; returns once it takes connections.
    pub(super) async fn start_postgres(&self) -> anyhow::Result<()> {
        let folder = self.folder.join("postgres");
        let options = format!(
            "-c listen_addresses=127.0.0.1 -p {} -c unix_socket_directories={} -c shared_buffers=32MB",
            self.postgres_port,
            folder.display()
        );
        let log = folder.join("log").display().to_string();
        let start = pg_ctl(&self.programs, &folder, &["-w", "-l", &log, "-o", &options, "start"]);
        output(start).await.map(|_| ())
    }

    /// Stops PostgreSQL in good order.
    pub(super) async fn stop_postgres(&self) -> anyhow::Result<()> {
        let stop = pg_ctl(&self.programs, &self.folder.join("postgres"), &["-w", "-m", "fast", "stop"]);
        output(stop).await.map(|_| ())
    }

    async fn wait_for_mariadb(&self) -> anyhow::Result<()> {
        let start = Instant::now();
        while self.mariadb_sql("select 1").await.is_err() {
            ensure!(
                start.elapsed() < START_WITHIN,
                "MariaDB (process {}) did not take connections within {} s",
                self.mariadb.id(),
                START_WITHIN.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    async fn postgres_sql(&self, sql: &'static str) -> anyhow::Result<()> {
        use sqlx::Connection as _;
        let mut connection = sqlx::PgConnection::connect(&self.postgres_url("postgres")).await?;
        sqlx::raw_sql(sql).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    async fn mariadb_sql(&self, sql: &'static str) -> anyhow::Result<()> {
        use sqlx::Connection as _;
        let url = format!("{}?ssl-mode=DISABLED", self.mariadb_url(""));
        let mut connection = sqlx::MySqlConnection::connect(&url).await?;
        sqlx::raw_sql(sql).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        // Ended by the guard, which may come after this; the process that becomes an orphan is reaped by the system.
        let _ = self.mariadb.try_wait();
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// Where the newest PostgreSQL's programs are.
fn postgres_programs() -> anyhow::Result<PathBuf> {
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("pg_ctl").exists())
        .max();
    let found = newest.map(|(_, bin)| bin);
    found.context("PostgreSQL is not installed; `bash deploy/demo.sh --all` installs it")
}

fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

fn pg_ctl(programs: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = as_postgres(&programs.join("pg_ctl"));
    command.current_dir(folder).arg("-D").arg(folder.join("data")).args(arguments);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

/// A command as a line of shell; none of its words has a quote in it.
fn words(command: &Command) -> String {
    let all = std::iter::once(command.get_program()).chain(command.get_args());
    all.map(|word| format!("'{}'", word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}
