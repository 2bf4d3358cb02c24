//! `tidegate resume`: an operator's word on where a held destination goes on, after a gap or in another database.

use std::{
    io::{BufRead as _, IsTerminal as _, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::{
    acting, settings,
    table::{count, of},
};
use crate::{
    admin::{
        Admin,
        destinations::{self as acts, Decision},
    },
    config::Flags,
};

/// A held destination looks for a decision every three seconds; after this long none does.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Decide where a held destination goes on: after a gap, or in another database
///
/// A destination is held where entries were removed from a stream before it got them, and where its address leads to
/// another database than before. `last` goes on where Redis last knew it to be, `earliest` sends everything that is
/// retained, `now` sends only what comes after this moment. The place is fixed when this runs. A destination that is not
/// held for one of these reasons stays as it is. Exit status: 0 when it is taken up or queued.
#[derive(Args)]
pub(super) struct Resume {
    /// The destination's name
    destination: String,
    /// Where to go on
    #[arg(long, value_enum)]
    from: From,
    /// Only on the stream of this application
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    /// Where Redis last knew the destination to be
    Last,
    /// The oldest entry that is retained
    Earliest,
    /// After the newest entry
    Now,
}

impl Resume {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let settings = settings(flags)?;
        let who = acting(&settings, "resume");
        let admin = Admin::for_command(settings).await?;
        let from = match self.from {
            From::Last => acts::GoOnFrom::Last,
            From::Earliest => acts::GoOnFrom::Earliest,
            From::Now => acts::GoOnFrom::Now,
        };
        let seen = acts::look_resume(&admin, &who, &self.destination, self.application.as_deref(), from).await?;
        let mut out = std::io::stdout();
        for decision in &seen {
            writeln!(out, "{}", meaning(&self.destination, decision))?;
        }
        if !self.yes && !confirmed()? {
            bail!("nothing was changed");
        }
        acts::decide(&admin, &who, &self.destination, &seen).await?;
        self.wait(&admin, &seen).await
    }

    /// Waits for as long as a running node takes to see the decision.
    async fn wait(&self, admin: &Admin, seen: &[Decision]) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        let begun = Instant::now();
        loop {
            let left = acts::left(admin, seen).await?;
            if left == 0 {
                writeln!(out, "Taken up (`tidegate status` shows how it goes on).")?;
                return Ok(ExitCode::SUCCESS);
            }
            if begun.elapsed() > PATIENCE {
                writeln!(
                    out,
                    "{} queued: no node has taken it up within {} s. It will be done by itself once a node runs and \
                     writes to {}.",
                    of(left, "decision"),
                    PATIENCE.as_secs(),
                    self.destination
                )?;
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// What a place means, in a sentence.
fn meaning(destination: &str, decision: &Decision) -> String {
    let Decision { application, after, sent, waiting, .. } = decision;
    let mut text = format!(
        "stream of `{application}`: `{destination}` goes on after {after}; {} that {} retained above it will be sent",
        of(usize::try_from(*sent).unwrap_or(usize::MAX), "record"),
        if *sent == 1 { "is" } else { "are" },
    );
    match waiting {
        Some(waiting) if waiting > sent => {
            text += &format!(", {} will never be sent to it", count(waiting - sent));
        }
        Some(waiting) if waiting < sent => {
            text += &format!(
                ", {} of them below where Redis last knew it to be: they may be there already",
                count(sent - waiting)
            );
        }
        Some(_) => {}
        None => text += "; Redis does not know where it was before",
    }
    text
}

fn confirmed() -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("this decides what is sent to the database and what is not; say --yes to do it; nothing was changed");
    }
    write!(std::io::stderr(), "Go on there? [y/N] ")?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
