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
        replays::{self, Plan, Standing, Underway, bound},
    },
    config::Flags,
    redis::{
        Redis,
        replay::{self, Bound},
    },
    registry::Store,
    resources::Document,
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
/// it is done; with --stop: when it is stopped).
#[derive(Args)]
pub(super) struct Replay {
    /// The route's name
    route: String,
    /// From this moment on (2025-06-01T08:00:00Z), or from this message on, itself included
    #[arg(long, value_name = "MOMENT|MESSAGE", value_parser = bound, required_unless_present = "stop")]
    from: Option<Bound>,
    /// Up to this moment, or up to this message, itself included; without it, up to now and on
    #[arg(long, value_name = "MOMENT|MESSAGE", value_parser = bound)]
    to: Option<Bound>,
    /// Stop the route's replay: what is sent stays as it is, the rest is not sent. Where several wait, TOKEN says which
    #[arg(long, value_name = "TOKEN", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["from", "to", "dry_run", "wait"])]
    stop: Option<String>,
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
        let who = Who { name: person(&settings).into(), role: Role::Admin, from: "tidegate replay".into() };
        let from = match (&self.stop, &self.from) {
            (Some(token), _) => return self.stop(&redis, &mut store, &document, &who, token).await,
            (None, Some(from)) => from,
            (None, None) => bail!("say --from where on, or --stop"),
        };
        let bar = self.bar(None);
        let planned = replays::plan(&redis, &document, &self.route, from, self.to.as_ref(), |seen| {
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
        if plan.range.to.is_some() && !self.yes && !confirmed(GOES_BACK, "Send it again?")? {
            bail!("nothing was changed");
        }
        replays::begin(&redis, &mut store, &who, &plan).await?;
        let state = self.follow(&redis, &plan).await?;
        self.say(&plan, state)
    }

    /// Stops the replay of this token; an empty one means the only one there is.
    async fn stop(
        &self,
        redis: &Redis,
        store: &mut Store,
        document: &Document,
        who: &Who,
        token: &str,
    ) -> anyhow::Result<ExitCode> {
        let underway = replays::of_route(redis, document, &self.route).await?;
        let one = match (&underway[..], token) {
            ([], _) => bail!("nothing is being sent again by route `{}`; nothing was changed", self.route),
            ([one], "") => one,
            (several, "") => {
                let each: Vec<String> = several.iter().map(in_words).collect();
                bail!("route `{}` has several; name one with --stop TOKEN:\n{}", self.route, each.join("\n"));
            }
            (several, token) => match several.iter().find(|one| one.token == token) {
                Some(one) => one,
                None => bail!("this replay has ended already, or there was none; nothing was changed"),
            },
        };
        let mut out = std::io::stdout();
        if !self.json {
            writeln!(out, "route `{}`: {}", self.route, in_words(one))?;
        }
        if one.may_stop && !self.yes && !confirmed(STAYS, "Stop it?")? {
            bail!("nothing was changed");
        }
        replays::stop(redis, store, document, who, &self.route, &one.token).await?;
        if self.json {
            let line = json!({ "type": "replay", "route": self.route, "token": one.token, "state": "stopped" });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "Stopped: what was sent so far stays as it is.")?;
        }
        Ok(ExitCode::SUCCESS)
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

/// A replay that is not over, in a line.
fn in_words(one: &Underway) -> String {
    let body = one.body();
    let far = match (body.sent, body.records) {
        (Some(sent), Some(records)) => format!("{sent} of {records} records sent"),
        _ => format!("{:.0} % sent", one.share * 100.0),
    };
    format!(
        "{} ({}), {far}, from {} {}",
        body.token,
        body.state,
        body.after,
        match &body.up_to {
            Some(to) => format!("up to {to}"),
            None => "on to the new records".to_owned(),
        }
    )
}

const GOES_BACK: &str = "rows may go back to an earlier state and stay there; say --yes to do it; nothing was changed";
const STAYS: &str =
    "what was sent so far stays as it is, the rest is not sent; say --yes to do it; nothing was changed";

fn confirmed(unasked: &'static str, question: &str) -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!(unasked);
    }
    write!(std::io::stderr(), "{question} Type yes: ")?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
