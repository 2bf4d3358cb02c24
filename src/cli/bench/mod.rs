//! `tidegate bench`: what this machine makes of Tidegate, each figure beside its limit, in turn and in the same run: a private
//! Redis, one node, and a SQLite file or a database of the operator's. It leaves nothing behind.

mod database;
mod figures;
mod load;
mod machine;
mod records;
mod rig;
mod wiring;

use std::{cell::RefCell, io::IsTerminal as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use self::{
    database::{Left, Place, Theirs},
    figures::{Figures, Pair, Side},
    rig::Rig,
};
use super::{
    live::Live,
    stage::{Stage, find},
    table::count,
};
use crate::{config::Flags, resources::TlsMode};

/// Where the password of `--into` is.
const PASSWORD: &str = "TIDEGATE_BENCH_PASSWORD";

/// Measure Tidegate on this machine, each figure beside its limit
///
/// Starts a Redis and a node of its own in a temporary folder and measures product and limit in turn, in several rounds:
/// requests of one record, requests of 500 records, delivery of records that wait, and the memory that waiting records
/// need. A ratio is what counts: both sides had the same machine at the same time. Run it while nothing else works on the
/// machine; load and servers share its cores. Delivery goes into a SQLite file, or with --into into a database of yours,
/// in a table `bench_of_tidegate` that it makes and drops (and Tidegate's own tables, if they were not there before). It leaves
/// nothing running and nothing behind.
#[derive(Args)]
pub(super) struct Bench {
    /// Deliver into this database: postgres://user@host:5432/database or mysql://…; its password is read from the
    /// environment's TIDEGATE_BENCH_PASSWORD
    #[arg(long, value_name = "URL")]
    into: Option<String>,
    /// How the connection of --into is secured [default: verify; off on this machine itself]
    #[arg(long, value_name = "MODE", requires = "into")]
    tls: Option<TlsName>,
    /// File with the certificate authority of --into, in PEM
    #[arg(long, value_name = "FILE", requires = "into")]
    ca: Option<PathBuf>,
    /// How often each side is measured
    #[arg(long, default_value_t = 3, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    rounds: u16,
    /// Connections that send one record a request, and tasks of the limit
    #[arg(long, default_value_t = 64, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// Records that wait for delivery in each round
    #[arg(long, default_value_t = 50_000, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    records: u64,
    /// When the private Redis syncs its file
    #[arg(long, default_value = "everysec", value_name = "WHEN")]
    appendfsync: Appendfsync,
    /// The smallest run: every step once and small; its figures say little
    #[arg(long, conflicts_with_all = ["rounds", "records"])]
    short: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum TlsName {
    /// Encrypted, certificate and name checked
    Verify,
    /// Encrypted, nothing checked
    Require,
    /// Plain text
    Off,
}

#[derive(Clone, Copy, ValueEnum)]
enum Appendfsync {
    Everysec,
    Always,
}

/// How much is measured.
#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    connections: usize,
    /// Records that wait.
    records: u64,
    /// Records whose memory is measured.
    stored: u64,
    /// How long a turn of the load lasts.
    turn: Duration,
    /// How long the disk is tried.
    fsync: Duration,
}

/// What is measured, product and limit in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Single,
    Lines,
    Delivery,
    Memory,
}

impl Step {
    const ALL: [Self; 4] = [Self::Single, Self::Lines, Self::Delivery, Self::Memory];

    const fn name(self) -> &'static str {
        match self {
            Self::Single => "ingest",
            Self::Lines => "NDJSON",
            Self::Delivery => "delivery",
            Self::Memory => "memory",
        }
    }

    const fn unit(self) -> &'static str {
        match self {
            Self::Memory => "bytes",
            _ => "records/s",
        }
    }

    /// What the step's ratio is of.
    fn sentence(self, plan: &Plan, database: &str) -> String {
        let connections = plan.connections;
        match self {
            Self::Single => format!(
                "records a second, one in each request over {connections} connections, to XADDs of the same bytes by as many \
                 tasks over one connection; more is better."
            ),
            Self::Lines => format!(
                "records a second in requests of {} over {} connections, to pipelines of as many XADDs over as many; more is \
                 better.",
                rig::IN_ONE,
                rig::SENDERS
            ),
            Self::Delivery => format!(
                "rows a second out of a backlog of {} into {database}, to INSERTs of the same rows by a bare client, {} a \
                 transaction; more is better.",
                count(plan.records),
                count(database::IN_ONE as u64)
            ),
            Self::Memory => "bytes of Redis for a record of 250 bytes that waits for its database, to an XADD of the same bytes; less \
                             is better."
                .to_owned(),
        }
    }
}

impl Bench {
    pub(super) async fn run(self, _: &Flags) -> anyhow::Result<ExitCode> {
        find("redis-server").context(
            "redis-server is not installed, and the bench starts one of its own; `apt-get install redis-server` installs it",
        )?;
        let place = self.place().await?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let mut stage = Stage::new("bench", &[("bench", None)], false)?;
        let left = RefCell::new(None);
        let bar = bar();
        let outcome = tokio::select! {
            outcome = self.measure(&mut stage, place, &left, &bar) => outcome.map(Some),
            _ = terminate.recv() => Ok(None),
            _ = interrupt.recv() => Ok(None),
            _ = hang_up.recv() => Ok(None),
        };
        bar.finish_and_clear();
        // While a node runs it would make anew what is taken away.
        let cleaned = match (stage.kill_node(0), left.take()) {
            (Ok(()), Some(left)) => left.clean().await,
            (killed, _) => killed,
        };
        drop(stage);
        let figures = match (outcome, cleaned) {
            (Err(error), Err(left)) => bail!("{error:#}; and {left:#}"),
            (outcome, cleaned) => {
                cleaned?;
                outcome?
            }
        };
        match figures {
            Some(figures) if self.json => figures.print_json()?,
            Some(figures) => figures.print()?,
            None => {
                // Whoever closed the terminal can't be told.
                let _ = Live::new().say("Stopped. Nothing is left running, and nothing behind.");
                // As a shell counts what was ended by Ctrl-C.
                return Ok(ExitCode::from(130));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The database of `--into`, if there is one.
    async fn place(&self) -> anyhow::Result<Option<Place>> {
        let Some(url) = &self.into else { return Ok(None) };
        let tls = self.tls.map(|tls| match tls {
            TlsName::Verify => TlsMode::Verify,
            TlsName::Require => TlsMode::Require,
            TlsName::Off => TlsMode::Off,
        });
        let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()).map(Into::into);
        Place::find(Theirs { url, password, tls, ca: self.ca.as_deref() }).await.map(Some)
    }

    fn plan(&self) -> Plan {
        let (rounds, connections) = (usize::from(self.rounds), usize::from(self.connections));
        if self.short {
            let milliseconds = Duration::from_millis;
            return Plan {
                rounds: 1,
                connections,
                records: 2_000,
                stored: 5_000,
                turn: milliseconds(300),
                fsync: milliseconds(100),
            };
        }
        Plan {
            rounds,
            connections,
            records: self.records,
            stored: 20_000,
            turn: Duration::from_secs(2),
            fsync: Duration::from_millis(500),
        }
    }

    async fn measure(
        &self,
        stage: &mut Stage,
        place: Option<Place>,
        left: &RefCell<Option<Left>>,
        bar: &ProgressBar,
    ) -> anyhow::Result<Figures> {
        let plan = self.plan();
        bar.set_length((plan.rounds * Step::ALL.len() * 2) as u64);
        bar.set_message("starting Redis and a node");
        let is_theirs = place.is_some();
        let place = place.map_or_else(|| Place::file(&stage.folder), Ok)?;
        let title = place.kind.title;
        let appendfsync = self.appendfsync.to_possible_value();
        let appendfsync = appendfsync.as_ref().map_or("everysec", |value| value.get_name());
        let mut rig = Rig::start(stage, &place, appendfsync, plan, is_theirs.then_some(left)).await?;
        bar.set_message("warming up");
        rig.warm_up().await?;
        let pair = |step| Pair { step, product: Side::default(), limit: Side::default() };
        let mut pairs: Vec<Pair> = Step::ALL.into_iter().map(pair).collect();
        let (mut fsyncs, mut loads) = (Vec::new(), Vec::new());
        for round in 0..plan.rounds {
            loads.extend(machine::load());
            fsyncs.push(machine::fsyncs_per_second(&stage.folder, plan.fsync)?);
            for pair in &mut pairs {
                // Whoever comes first meets another machine than whoever comes second: they change places every round.
                for product in if round % 2 == 0 { [true, false] } else { [false, true] } {
                    let side = if product { "Tidegate" } else { "its limit" };
                    bar.set_message(format!("{}, {side}, round {} of {}", pair.step.name(), round + 1, plan.rounds));
                    pair.add(product, rig.turn(pair.step, product).await?);
                    bar.inc(1);
                }
            }
        }
        let sentences = Step::ALL.map(|step| step.sentence(&plan, title)).into();
        Ok(Figures { pairs, fsyncs, loads, rounds: plan.rounds, sentences })
    }
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    bar.enable_steady_tick(Duration::from_millis(250));
    ProgressStyle::with_template("{bar:24} {pos}/{len}  {msg}  {elapsed}")
        .map(|style| bar.clone().with_style(style))
        .unwrap_or(bar)
}
