//! `tidegate demo`: the whole of Tidegate in half a minute. A private Redis, two nodes behind HAProxy and five databases:
//! records go in, a database is taken away, a node is killed, both come back, and in the end every database is held against
//! what was sent.

mod check;
mod databases;
mod records;
mod scene;
mod servers;
mod story;

use std::{cell::Cell, process::ExitCode, rc::Rc};

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    databases::{databases, manifest},
    records::{Records, Sent},
    scene::{Row, Scene},
    servers::Servers,
};
use super::{
    live::Live,
    stage::{Stage, find},
};
use crate::config::Flags;

/// Show Tidegate at work, with everything it needs started privately
///
/// Starts a Redis, two nodes behind HAProxy and five small databases of its own in a temporary folder and sends records. A
/// database is taken away, the node that writes the busiest database is killed, both come back; then it is checked that
/// every database has every record exactly once and in order. It touches nothing else, stays up until Ctrl-C, and leaves
/// nothing running. Exit status: 0 when the check found everything right, 1 when not.
#[derive(Args)]
pub(super) struct Demo {
    /// End after the check
    #[arg(long)]
    once: bool,
    /// Two of the five databases on a private PostgreSQL and MariaDB instead of SQLite
    #[arg(long)]
    all: bool,
    /// How many records are sent
    #[arg(long, default_value_t = 5_000, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    records: u64,
}

impl Demo {
    pub(super) async fn run(self, _: &Flags) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let checked = Rc::new(Cell::new(None));
        let outcome = tokio::select! {
            outcome = self.play(&checked) => outcome.map(Some),
            _ = terminate.recv() => Ok(None),
            _ = interrupt.recv() => Ok(None),
            _ = hang_up.recv() => Ok(None),
        };
        // The stage is gone by now, and with it everything that ran.
        match (outcome?, checked.get()) {
            (Some(()), _) => {}
            (None, right) => {
                let check = if right.is_none() { " before the check was made" } else { "" };
                // Whoever closed the terminal can't be told.
                let _ = Live::new().say(&format!("\nStopped{check}. Nothing is left running."));
            }
        }
        Ok(match checked.get() {
            Some(true) => ExitCode::SUCCESS,
            Some(false) => ExitCode::FAILURE,
            // As a shell counts what was ended by Ctrl-C.
            None => ExitCode::from(130),
        })
    }

    async fn play(&self, checked: &Cell<Option<bool>>) -> anyhow::Result<()> {
        let haproxy = find("haproxy").context(
            "HAProxy is not installed, and the demo puts it in front of its two nodes; `bash deploy/demo.sh` installs it, and \
             so does `apt-get install haproxy`",
        )?;
        let mut live = Live::new();
        live.say("Tidegate takes a record once and sees to it that every database that wants it has it.\n")?;
        let servers = if self.all { "PostgreSQL, MariaDB, " } else { "" };
        live.say(&format!(
            "   starting Redis, {servers}five databases of a car dealer group, two nodes and HAProxy in front of them …"
        ))?;
        let nodes = [("node-a", Some((9090, 8081))), ("node-b", Some((9091, 8082)))];
        let mut stage = Stage::new("demo", &nodes, true)?;
        stage.start_redis("always").await?;
        let servers = match &mut stage.guard {
            Some(guard) if self.all => Some(Servers::start(&stage.folder, guard).await?),
            _ => None,
        };
        let databases = databases(&stage.folder, servers.as_ref());
        for database in &databases {
            database.create().await?;
        }
        std::fs::write(stage.folder.join("dealer.toml"), manifest(&databases))?;
        stage.run(&["apply", "dealer.toml"]).await?;
        let key = stage.run(&["key", "create", "dealer-app"]).await?.trim().to_owned();
        stage.start_nodes(Some(&haproxy)).await?;
        live.say(&addresses(&stage))?;

        let (records, sent) = (Records { total: self.records }, Rc::new(Sent::default()));
        let feed = records::feed(records, stage.url(), key.clone(), Rc::clone(&sent));
        let scene = Scene {
            live,
            stage: &mut stage,
            databases: &databases,
            sent,
            total: self.records,
            rows: databases.iter().map(|_| Row::new()).collect(),
            feeding: None,
        };
        let right = story::tell(scene, servers.as_ref(), records, feed).await?;
        checked.set(Some(right));
        if !self.once {
            Live::new().say(&to_try(&stage, &key))?;
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

fn addresses(stage: &Stage) -> String {
    let (a, b) = (&stage.nodes[0], &stage.nodes[1]);
    format!(
        "   to look at while it runs:  for producers  {url}/docs   (through HAProxy)\n   \
                                    {0}health         http://127.0.0.1:{a}/health/actors   (node-a; node-b: port {b})\n   \
                                    {0}metrics        http://127.0.0.1:{a}/metrics\n",
        " ".repeat(27),
        url = stage.url(),
        a = a.admin,
        b = b.admin,
    )
}

fn to_try(stage: &Stage, key: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "tidegate".into());
    format!(
        "\nIt all stays up until Ctrl-C. To try, in another terminal:\n\n\
         {program} status --redis-url {redis} --admin 127.0.0.1:{admin}\n\n\
         curl {url}/v1/messages -H 'Authorization: Bearer {key}' \\\n  \
         -d '{{\"topic\":\"cars\",\"key\":4,\"data\":{{\"id\":4,\"stock\":\"2\",\"version\":99,\"no\":0}}}}'\n\n\
         and look into the databases under {folder}.",
        redis = stage.redis_url(),
        admin = stage.nodes[0].admin,
        url = stage.url(),
        folder = stage.folder.display(),
    )
}
