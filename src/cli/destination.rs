//! `tidegate destination`: what operators do to a destination by hand. The same acts as the console's.

use std::{
    io::{BufRead as _, IsTerminal as _, Write},
    process::ExitCode,
};

use anyhow::bail;
use chrono::{DateTime, SecondsFormat};
use clap::{Args, Subcommand};

use super::{acting, settings};
use crate::{
    admin::{Admin, Who, destinations as acts},
    config::Flags,
};

/// Pause and resume destinations, open and close their breakers by hand, give a backlog up
#[derive(Args)]
pub(super) struct Destination {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Write nothing to these destinations until they are resumed; what comes waits for them
    ///
    /// Holds on every node, over restarts and moves. The database is still asked for a sign of life.
    Pause {
        /// The destinations
        #[arg(required = true)]
        name: Vec<String>,
    },
    /// Go on with paused destinations where they were, in order
    Resume {
        /// The destinations
        #[arg(required = true)]
        name: Vec<String>,
    },
    /// Open the breakers of these destinations: nothing is written, and their databases are left alone altogether
    OpenBreaker {
        /// The destinations
        #[arg(required = true)]
        name: Vec<String>,
    },
    /// Close the breakers of these destinations, whoever opened them: their databases are asked at once
    CloseBreaker {
        /// The destinations
        #[arg(required = true)]
        name: Vec<String>,
    },
    /// Give up what waits for a destination, up to a moment
    ///
    /// Shows first how many records that are, and asks. They are never written to it; those after them are, in order. Who gave
    /// up what, and why, is in the list of changes. Where the database does not answer, it is done when it does; the records need
    /// no memory in Redis from now on in any case. Exit status: 0 when it is done or queued.
    Abandon {
        /// The destination
        name: String,
        /// Up to when: a time such as 2026-05-01T08:00:00Z, a message's id, or `now`
        #[arg(long, value_name = "TIME|ID|now")]
        until: String,
        /// Only on the stream of this application
        #[arg(long, value_name = "NAME")]
        application: Option<String>,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

impl Destination {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let settings = settings(flags)?;
        let who = acting(&settings, "destination");
        let admin = Admin::for_command(settings).await?;
        let mut out = std::io::stdout();
        match self.action {
            Action::Pause { name } => {
                for name in &name {
                    acts::pause(&admin, &who, name).await?;
                    writeln!(out, "paused {name}")?;
                }
            }
            Action::Resume { name } => {
                for name in &name {
                    acts::resume(&admin, &who, name).await?;
                    writeln!(out, "resumed {name}")?;
                }
            }
            Action::OpenBreaker { name } => {
                for name in &name {
                    acts::open_breaker(&admin, &who, name).await?;
                    writeln!(out, "opened the breaker of {name}")?;
                }
            }
            Action::CloseBreaker { name } => {
                for name in &name {
                    acts::close_breaker(&admin, &who, name).await?;
                    writeln!(out, "closed the breaker of {name}; its database is asked now")?;
                }
            }
            Action::Abandon { name, until, application, reason, yes } => {
                let until =
                    acts::Until::parse(&until).map_err(|error| anyhow::anyhow!("--until: {}", error.message))?;
                abandon(&admin, &who, &name, application.as_deref(), &until, reason.as_deref(), yes).await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn abandon(
    admin: &Admin,
    who: &Who,
    name: &str,
    application: Option<&str>,
    until: &acts::Until,
    reason: Option<&str>,
    yes: bool,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let seen = acts::look(admin, who, name, application, until).await?;
    for one in &seen {
        let oldest = one.oldest_ms.and_then(|ms| i64::try_from(ms).ok()).and_then(DateTime::from_timestamp_millis);
        let oldest = oldest.map_or(String::new(), |at| {
            format!(" (the oldest came at {})", at.to_rfc3339_opts(SecondsFormat::Secs, true))
        });
        let beside = if one.beside { ", and what waits for tables or routes that stand behind" } else { "" };
        writeln!(
            out,
            "stream of `{}`: {} of {} records that wait{oldest} will never be written to `{name}`{beside}; the last is {}",
            one.application, one.given_up, one.waiting, one.to
        )?;
    }
    if !yes && !confirmed()? {
        bail!("nothing was changed");
    }
    for given in acts::abandon(admin, who, name, &seen, reason).await? {
        let done =
            if given.done { "given up" } else { "queued: the node that writes it does it once its database answers" };
        writeln!(out, "stream of `{}`: {done}", given.application)?;
    }
    Ok(())
}

fn confirmed() -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("this gives records up for good; say --yes to do it; nothing was changed");
    }
    write!(std::io::stderr(), "Give them up? [y/N] ")?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
