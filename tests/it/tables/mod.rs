//! Routes and the tables they are for, as an operator meets them: separate processes, real Redis and real databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod applying;
mod defining;
mod looking;
mod recent;
mod trying;

use std::{
    io::Write as _,
    process::{Output, Stdio},
};

use crate::{
    e2e::{installation::Installation, ledger::Target},
    servers::{free_port, mariadb::MariadbServer, postgres::PostgresServer},
};

/// What a command came to.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// An installation with one database of each kind that can run here.
struct Site {
    installation: Installation,
    targets: Vec<Target>,
}

impl Site {
    async fn new() -> Self {
        let installation = Installation::new().await;
        let (postgres, mariadb) = (PostgresServer::shared().await, MariadbServer::shared().await);
        let target = |kind, url| Target { name: kind_name(kind).into(), kind, url };
        let file = installation.dir.path().join("rooms.db");
        std::fs::File::create(&file).unwrap();
        let targets = vec![
            target("postgres", postgres.url(&postgres.database().await)),
            target("mysql", mariadb.url(&mariadb.database().await)),
            target("sqlite", format!("sqlite://{}", file.display())),
        ];
        Self { installation, targets }
    }

    /// Application, topic and destinations, without routes.
    fn ground(&self) -> String {
        let mut text = "[[application]]\nname = \"car-app\"\ntopics = [\"cars\"]\n".to_owned();
        for Target { name, kind, url } in &self.targets {
            text += &format!("[[destination]]\nname = \"{name}\"\nkind = \"{kind}\"\nurl = \"{url}\"\n");
        }
        text
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.installation.dir.path().join(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.installation.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).env("TIDEGATE_NODE", "a");
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        Ran {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Runs what must go well; its output.
    fn done(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {}{}", ran.out, ran.err);
        ran.out
    }

    /// Applies the ground.
    fn begin(&self) {
        self.write("ground.toml", &self.ground());
        self.done(&["apply", "ground.toml"]);
    }

    /// A table of cars in every database.
    async fn cars(&self) {
        for target in &self.targets {
            target
                .execute(
                    "create table cars (id bigint not null primary key, car_name varchar(40) not null, stock int default 7, \
                     price decimal(14,2), sold date)",
                )
                .await;
        }
    }
}

fn kind_name(kind: &str) -> &'static str {
    match kind {
        "postgres" => "sales",
        "mysql" => "rooms",
        _ => "shelf",
    }
}

/// A route of cars into a destination.
fn route(destination: &str, more: &str, columns: &str) -> String {
    format!(
        "[[route]]\nname = \"{destination}-cars\"\napplication = \"car-app\"\ntopic = \"cars\"\ndestination = \"{destination}\"\n\
         table = \"cars\"\n{more}\n[route.columns]\n{columns}\n"
    )
}

/// A PostgreSQL that nobody can reach.
fn unreachable() -> String {
    format!(
        "[[application]]\nname = \"car-app\"\n[[destination]]\nname = \"gone\"\nkind = \"postgres\"\nurl = \"postgres://w@127.0.0.1:{}/d\"\n",
        free_port()
    )
}
