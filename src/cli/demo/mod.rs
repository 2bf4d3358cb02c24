//! `tidegate demo`: the whole of Tidegate in half a minute. A private Redis, a node and five databases; records go in, one
//! database is taken away and comes back, and in the end every database is held against what was sent.

mod check;
mod databases;
mod records;
mod scene;
mod servers;
mod stage;

use std::{cell::Cell, process::ExitCode, rc::Rc, time::Instant};

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    databases::{Database, databases, manifest},
    records::Records,
    scene::{Row, Scene},
    servers::Servers,
    stage::Stage,
};
use super::{
    live::Live,
    table::{count, of, width},
};
use crate::config::Flags;

/// Show Tidegate at work, with everything it needs started privately
///
/// Starts a Redis, a node and five small databases of its own in a temporary folder, sends records, takes a database away
/// and brings it back, and checks that every database has every record exactly once. It touches nothing else, stays up
/// until Ctrl-C, and leaves nothing running. Exit status: 0 when the check found everything right, 1 when not.
#[derive(Args)]
pub(super) struct Demo {
    /// End after the check
    #[arg(long)]
    once: bool,
    /// Two of the five databases on a private PostgreSQL and MariaDB instead of SQLite
    #[arg(long)]
    all: bool,
    /// How many records are sent
    #[arg(long, default_value_t = 3_000, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
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
        let mut live = Live::new();
        live.say("Tidegate takes a record once and sees to it that every database that wants it has it.\n")?;
        let servers = if self.all { "PostgreSQL, MariaDB, " } else { "" };
        live.say(&format!("   starting Redis, {servers}five databases of a car dealer group, and a node …"))?;
        let mut stage = Stage::new()?;
        stage.start_redis().await?;
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
        stage.start_node().await?;
        live.say(&addresses(&stage))?;

        let records = Records { total: self.records };
        let sent = Rc::new(Cell::new(0));
        let feeding = actix_rt::spawn(records::feed(records, stage.url(), key.clone(), Rc::clone(&sent)));
        let rows = databases.iter().map(|_| Row { status: None, written: 0, waiting: 0 }).collect();
        let scene = Scene { live, stage: &stage, databases: &databases, sent, total: self.records, rows, feeding };
        let right = show(scene, servers.as_ref(), records).await?;
        checked.set(Some(right));
        if !self.once {
            Live::new().say(&to_try(&stage, &key))?;
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

/// The play itself; whether the check found everything right.
async fn show(mut scene: Scene<'_>, servers: Option<&Servers>, records: Records) -> anyhow::Result<bool> {
    let total = scene.total;
    let example = serde_json::to_string(&serde_json::json!({"stock": "4", "car_name": "porche 911 15"}))?;
    scene.say(&format!(
        "1. A producer sends {}, such as {example}, once each.\n   Each database gets the columns it wants.",
        of(usize::try_from(total).unwrap_or(usize::MAX), "record")
    ))?;
    scene.until(|scene| scene.sent.get() >= total / 4).await?;
    scene.snapshot()?;

    let away: Vec<usize> = (0..scene.databases.len()).filter(|n| is_taken_away(&scene.databases[*n])).collect();
    scene.say(&format!(
        "2. {} taken away. Its records wait in Redis; nobody else notices.",
        match servers {
            Some(_) => "The workshop's file is moved away, the accounting's PostgreSQL is stopped: two databases are",
            None => "The workshop's database file is moved out of reach: one database is",
        }
    ))?;
    let (gone_at, sent_before) = (Instant::now(), scene.sent.get());
    let (here, elsewhere) = (scene.stage.folder.join("workshop"), scene.stage.folder.join("workshop-away"));
    std::fs::rename(&here, &elsewhere).context("the workshop's file could not be moved")?;
    if let Some(servers) = servers {
        servers.stop_postgres().await?;
    }
    let waits = |row: &Row| row.is_away() && row.waiting > 0;
    scene.until(|scene| scene.sent.get() >= total * 3 / 4 && away.iter().all(|n| waits(&scene.rows[*n]))).await?;
    scene.snapshot()?;

    let waited: Vec<String> = away.iter().map(|n| count(scene.rows[*n].waiting)).collect();
    let (gone_for, meanwhile) = (gone_at.elapsed(), scene.sent.get() - sent_before);
    scene.say("3. And back. What waited is written now, in order, while new records go on coming.")?;
    std::fs::rename(&elsewhere, &here).context("the workshop's file could not be moved back")?;
    if let Some(servers) = servers {
        servers.start_postgres().await?;
    }
    let back_at = Instant::now();
    let last_waits = |scene: &Scene<'_>| away.iter().all(|n| scene.rows[*n].waiting == 0 && !scene.rows[*n].is_away());
    scene.until(last_waits).await?;
    let caught_up = back_at.elapsed();
    scene
        .until(|scene| {
            scene.sent.get() >= total && scene.rows.iter().all(|row| row.written >= total && row.waiting == 0)
        })
        .await?;
    scene.snapshot()?;

    scene.say("4. The check: every database is read and held against what was sent.\n")?;
    let (table, right) = check::check(scene.databases, records).await?;
    for line in table.lines(width().map(|width| width - 3)) {
        scene.say(&format!("   {line}"))?;
    }
    let names: Vec<&str> = away.iter().map(|n| scene.databases[*n].name).collect();
    scene.say(&format!(
        "\n   While {} {} away ({:.1} s), {} records waited in Redis and the other {} databases\n   \
         went on with {} records. {:.1} s after the return everything had caught up.",
        names.join(" and "),
        if names.len() == 1 { "was" } else { "were" },
        gone_for.as_secs_f64(),
        waited.join(" and "),
        ["no", "one", "two", "three", "four", "five"].get(scene.databases.len() - away.len()).unwrap_or(&"many"),
        count(meanwhile),
        caught_up.as_secs_f64(),
    ))?;
    scene.say(if right {
        "   Every database has every record exactly once, in order: nothing lost, nothing twice."
    } else {
        "   The check FAILED: see the marked lines above."
    })?;
    Ok(right)
}

fn is_taken_away(database: &Database) -> bool {
    database.name == "workshop" || database.kind == "postgres"
}

fn addresses(stage: &Stage) -> String {
    let (url, admin) = (stage.url(), stage.admin);
    format!(
        "   to look at while it runs:  documentation  {url}/docs\n   \
                                    {0}health         http://127.0.0.1:{admin}/health/actors\n   \
                                    {0}metrics        http://127.0.0.1:{admin}/metrics\n",
        " ".repeat(27)
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
        admin = stage.admin,
        url = stage.url(),
        folder = stage.folder.display(),
    )
}
