//! The references of delivery into five databases: `reference.py`, which does the least that a batched delivery can do and
//! no more, and `worker.php`, which works as today's workers do.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::{
    databases::{Database, Kind},
    report,
    servers::{redis::RedisServer, run},
    shape::Shape,
};

/// The stream of both.
const STREAM: &str = "reference";
/// Records of one read of the batched reference.
const BATCH: usize = 2_000;

/// A program that delivers, where it can be run here.
pub(crate) struct Reference {
    program: PathBuf,
    script: PathBuf,
}

impl Reference {
    /// The batched one in Python, with its clients, which are installed on first use where they may be.
    pub(crate) fn python(may_install: bool) -> Option<Self> {
        let venv = report::dir().join("venv");
        let program = venv.join("bin/python");
        let works = || run(Command::new(&program).args(["-c", "import psycopg, redis, hiredis, MySQLdb"])).is_ok();
        if !works() {
            if !may_install {
                println!("no batched reference: its clients are not installed, and a short run installs nothing");
                return None;
            }
            println!(
                "installing the reference's clients (mysqlclient needs libmariadb-dev, pkg-config and a C compiler)"
            );
            let packages = ["psycopg[binary]", "redis", "hiredis", "mysqlclient"];
            let installed = run(Command::new("python3").args(["-m", "venv"]).arg(&venv))
                .and_then(|_| run(Command::new(&program).args(["-m", "pip", "install", "--quiet"]).args(packages)));
            if let Err(error) = installed {
                println!("no batched reference: {error}");
                return None;
            }
        }
        Some(Self { program, script: script("reference.py") })
    }

    /// The worker in PHP.
    pub(crate) fn php() -> Option<Self> {
        let asked = "exit(extension_loaded('redis') && extension_loaded('pdo_mysql') && extension_loaded('pdo_pgsql') ? 0 : 1);";
        match run(Command::new("php").args(["-r", asked])) {
            Ok(_) => Some(Self { program: "php".into(), script: script("worker.php") }),
            Err(_) => {
                println!("no worker in PHP: it needs php-cli, php-redis, php-mysql and php-pgsql");
                None
            }
        }
    }

    /// Puts so many records into the reference's own stream.
    pub(crate) async fn fill(connection: &mut redis::aio::MultiplexedConnection, records: usize) {
        for first in (1..=records).step_by(5_000) {
            let mut pipe = redis::pipe();
            for id in first..(records + 1).min(first + 5_000) {
                pipe.cmd("XADD").arg(STREAM).arg("*").arg("d").arg(Shape::Narrow.record(id)).ignore();
            }
            pipe.query_async::<()>(connection).await.unwrap();
        }
    }

    /// Takes the stream away.
    pub(crate) async fn clear(connection: &mut redis::aio::MultiplexedConnection) {
        redis::cmd("DEL").arg(STREAM).query_async::<()>(connection).await.unwrap();
    }

    /// Delivers what is in the stream; seconds, from when it is connected until it has acknowledged everything.
    pub(crate) fn deliver(&self, redis: &RedisServer, databases: &[Database], records: usize, more: &Value) -> f64 {
        let list: Vec<_> = databases
            .iter()
            .map(|database| {
                let kind = if database.kind == Kind::Postgres { "postgres" } else { "mysql" };
                json!([kind, database.port(), database.name()])
            })
            .collect();
        let mut task = json!({
            "redis": redis.port(), "stream": STREAM, "records": records, "batch": BATCH, "databases": list,
        });
        if let (Some(task), Some(more)) = (task.as_object_mut(), more.as_object()) {
            task.extend(more.clone());
        }
        let answer = run(Command::new(&self.program).arg(&self.script).arg(task.to_string())).unwrap();
        let last: Value = serde_json::from_str(answer.lines().last().unwrap()).unwrap_or_else(|_| panic!("{answer}"));
        last["seconds"].as_f64().unwrap_or_else(|| panic!("{answer}"))
    }
}

fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/bench").join(name)
}
