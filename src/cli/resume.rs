//! `tidegate resume`: an operator's word on where a held destination goes on, after a gap or in another database. The place
//! is fixed here and now; the node that writes the destination goes there when it takes over.

use std::{
    io::{BufRead as _, IsTerminal as _, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::{Args, ValueEnum};
use tidegate_actors::ports::Command;

use super::{
    settings,
    table::{count, of},
};
use crate::{
    config::Flags,
    databases::nearest,
    redis::{
        Redis, dead,
        resume::{self, Resolved},
    },
    registry::Store,
    resources::Document,
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
        let document = Store::open(&settings.redis_url, &settings.prefix)?.load().await?.unwrap_or_default();
        let redis = Redis::open(settings.redis_url.expose(), &settings.prefix)?;
        let (id, applications) = self.lanes(&document)?;
        let mut out = std::io::stdout();
        let mut commands = Vec::with_capacity(applications.len());
        for application in &applications {
            let from = match self.from {
                From::Last => resume::From::Last,
                From::Earliest => resume::From::Earliest,
                From::Now => resume::From::Now,
            };
            let Some(place) = resume::resolve(&redis, application, &id, from).await? else {
                bail!(
                    "Redis knows no position of `{}` on the stream of `{application}` (was it emptied?); say \
                     --from earliest or --from now; nothing was changed",
                    self.destination
                );
            };
            writeln!(out, "{}", meaning(application, &self.destination, &place))?;
            commands.push(Command::Resume { to: place.to });
        }
        if !self.yes && !confirmed()? {
            bail!("nothing was changed");
        }
        for (application, command) in applications.iter().zip(&commands) {
            dead::push(&redis, application, &id, command).await?;
        }
        self.wait(&redis, &id, &applications, &commands).await
    }

    /// The destination's id, and the applications with a route to it.
    fn lanes(&self, document: &Document) -> anyhow::Result<(String, Vec<String>)> {
        let Some(destination) = document.destinations.iter().find(|one| one.name == self.destination) else {
            let names = document.destinations.iter().map(|one| one.name.as_str());
            let hint =
                nearest(&self.destination, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            bail!("there is no destination `{}`{hint}", self.destination);
        };
        let routed = document.routes.iter().filter(|route| route.destination == self.destination);
        let mut applications: Vec<String> = routed.map(|route| route.application.clone()).collect();
        applications.sort();
        applications.dedup();
        if let Some(only) = &self.application {
            applications.retain(|application| application == only);
        }
        if applications.is_empty() {
            let of = self.application.as_ref().map_or(String::new(), |name| format!(" from application `{name}`"));
            bail!("no route leads{of} to destination `{}`", self.destination);
        }
        Ok((destination.id.clone(), applications))
    }

    /// Waits for as long as a running node takes to see the decision.
    async fn wait(
        &self,
        redis: &Redis,
        id: &str,
        applications: &[String],
        commands: &[Command],
    ) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        let begun = Instant::now();
        loop {
            let mut left = 0;
            for (application, command) in applications.iter().zip(commands) {
                left += usize::from(dead::waiting(redis, application, id).await?.contains(command));
            }
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
fn meaning(application: &str, destination: &str, place: &Resolved) -> String {
    let Resolved { to, sent, waiting, .. } = place;
    let mut text = format!(
        "stream of `{application}`: `{destination}` goes on after {}-{}; {} that {} retained above it will be sent",
        to.generation,
        to.id,
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
