//! `tidegate replay`: sends one route again what lies between two moments or messages, beside everything else. It counts
//! first and says what it will do and what it cannot; the node that writes the destination carries it out.

use std::{
    io::{BufRead as _, IsTerminal as _, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{person, settings, table::plain};
use crate::{
    admin::{
        Role, Who,
        replays::{self, Plan, Standing, bound},
    },
    config::Flags,
    redis::{
        Redis,
        replay::{self, Bound},
    },
    registry::Store,
};

/// A node that runs looks for commands every second; after this long none does.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A replay that was taken up and is not to be seen is over: what the owner did first shows this long after.
const SHOWS_WITHIN: Duration = Duration::from_secs(2);

/// Send one route again what lies between two moments or messages
///
/// Nothing else is touched: other routes, other tables and new records go on meanwhile, and the route's own new records come
/// after what is sent again. Rows are written by key, so an insert is written as an upsert; updates and deletes are done as
/// they were sent. Only what is retained can be sent again. Exit status: 0 when it is taken up or queued (with --wait: when
/// it is done).
#[derive(Args)]
pub(super) struct Replay {
    /// The route's name
    route: String,
    /// From this moment on (2025-06-01T08:00:00Z), or from this message on, itself included
    #[arg(long, value_name = "MOMENT|MESSAGE", value_parser = bound)]
    from: Bound,
    /// Up to this moment, or up to this message, itself included; without it, up to now and on
    #[arg(long, value_name = "MOMENT|MESSAGE", value_parser = bound)]
    to: Option<Bound>,
    /// Count and say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait until it is done
    #[arg(long)]
    wait: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Replay {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let settings = settings(flags)?;
        let mut store = Store::open(&settings.redis_url, &settings.prefix)?;
        let document = store.load().await?.unwrap_or_default();
        let redis = Redis::open(settings.redis_url.expose(), &settings.prefix)?;
        let bar = self.bar(None);
        let planned = replays::plan(&redis, &document, &self.route, &self.from, self.to.as_ref(), |seen| {
            bar.set_position(seen);
        });
        let plan = planned.await?;
        bar.finish_and_clear();
        if !self.json {
            let mut out = std::io::stdout();
            writeln!(out, "{}", plan.sentence)?;
            plan.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
        }
        if plan.records == 0 || self.dry_run {
            return self.say(&plan, if plan.records == 0 { "nothing" } else { "dry_run" });
        }
        if plan.range.to.is_some() && !self.yes && !confirmed()? {
            bail!("nothing was changed");
        }
        let who = Who { name: person(&settings).into(), role: Role::Admin, from: "tidegate replay".into() };
        replays::begin(&redis, &mut store, &who, &plan).await?;
        let state = self.follow(&redis, &plan).await?;
        self.say(&plan, state)
    }

    /// Watches the owner take it up and, if wanted, finish it.
    async fn follow(&self, redis: &Redis, plan: &Plan) -> anyhow::Result<&'static str> {
        let (begun, mut taken, mut seen) = (Instant::now(), None, false);
        let bar = self.bar(Some(plan.records));
        let end = plan.range.to.as_ref().unwrap_or(&plan.range.stands).id;
        let (mut from, mut sent) = (plan.range.from.id, 0);
        loop {
            match replays::standing(redis, plan).await? {
                Standing::Running { .. } if !self.wait => return Ok("taken_up"),
                Standing::Running { at, held } => {
                    seen = true;
                    let reached = at.min(end);
                    if reached > from {
                        let (application, topic) = (&plan.route.application, &plan.route.topic);
                        sent += replay::count(redis, application, topic, (from, reached), |_| ()).await?;
                        from = reached;
                        bar.set_position(sent);
                    }
                    if let Some(why) = held {
                        bar.set_message(plain(&why));
                    }
                }
                Standing::Gone => {
                    let since: &mut Instant = taken.get_or_insert_with(Instant::now);
                    if seen || since.elapsed() > SHOWS_WITHIN {
                        bar.finish_and_clear();
                        return Ok("done");
                    }
                }
                Standing::Queued if begun.elapsed() > PATIENCE && !self.wait => return Ok("queued"),
                Standing::Queued if begun.elapsed() > PATIENCE => {
                    bar.set_message("queued: no node has taken it up yet");
                }
                Standing::Queued => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn bar(&self, records: Option<u64>) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let bar = records.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = if records.is_some() { "{bar:30} {pos}/{len} {msg}" } else { "{spinner} counting: {pos} {msg}" };
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }

    fn say(&self, plan: &Plan, state: &str) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        if self.json {
            let body = plan.body();
            let line = json!({
                "type": "replay", "route": body.route, "destination": body.destination, "application": body.application,
                "after": body.after, "up_to": body.up_to, "records": body.records, "token": body.token, "state": state,
                "notes": body.notes,
            });
            writeln!(out, "{line}")?;
            return Ok(ExitCode::SUCCESS);
        }
        let text = match state {
            "nothing" => "Nothing to send again.".to_owned(),
            "dry_run" => "Nothing was changed: this was a dry run.".to_owned(),
            "queued" => format!(
                "Queued: no node has taken it up within {} s. It will be done by itself once a node runs and writes to {}.",
                PATIENCE.as_secs(),
                plan.destination.name
            ),
            "taken_up" => "Taken up (`tidegate status` shows how far it is).".to_owned(),
            _ => "Done.".to_owned(),
        };
        writeln!(out, "{text}")?;
        Ok(ExitCode::SUCCESS)
    }
}

fn confirmed() -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("rows may go back to an earlier state and stay there; say --yes to do it; nothing was changed");
    }
    write!(std::io::stderr(), "Send it again? Type yes: ")?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
