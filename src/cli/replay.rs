//! `tidegate replay`: sends one route again what lies between two moments or messages, beside everything else. It counts
//! first and says what it will do and what it cannot; the node that writes the destination carries it out.

use std::{
    io::{BufRead as _, IsTerminal as _, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tidegate_actors::{delivery::random_token, message::StreamId, ports::Command, route::RouteSpec};

use super::{
    settings,
    table::{count, of, plain},
};
use crate::{
    config::Flags,
    databases::nearest,
    redis::{
        Redis, dead,
        replay::{self, Bound, Range},
        sides::{self, Sides},
    },
    registry::Store,
    resources::{Delivery, Destination, Document},
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

fn bound(text: &str) -> Result<Bound, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        let ms = u64::try_from(moment.timestamp_millis()).map_err(|_| "a moment before 1970".to_owned())?;
        return Ok(Bound::Moment(ms));
    }
    text.parse().map(Bound::Message).map_err(|_| {
        "neither a moment such as 2025-06-01T08:00:00Z nor a message's id such as k3v9x0q2ab-1763775403123-0".to_owned()
    })
}

/// What was asked for, understood.
struct Job<'a> {
    redis: &'a Redis,
    route: &'a RouteSpec,
    destination: &'a Destination,
    range: Range,
    records: u64,
    token: String,
}

impl Replay {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let settings = settings(flags)?;
        let document = Store::open(&settings.redis_url, &settings.prefix)?.load().await?.unwrap_or_default();
        let redis = Redis::open(settings.redis_url.expose(), &settings.prefix)?;
        let (route, destination) = self.route(&document)?;
        let (from, to) = (&self.from, self.to.as_ref());
        let range = replay::range(&redis, &route.application, &destination.id, &route.id, from, to).await?;
        let end = range.to.as_ref().unwrap_or(&range.stands).id;
        let bar = self.bar(None);
        let counted = replay::count(&redis, &route.application, &route.topic, (range.from.id, end), |seen| {
            bar.set_position(seen)
        });
        let records = counted.await?;
        bar.finish_and_clear();
        let job = Job { redis: &redis, route, destination, range, records, token: random_token(12) };
        let standing = sides::of(&redis, &route.application, &destination.id).await?;
        let notes = notes(&job, &standing);
        if !self.json {
            let mut out = std::io::stdout();
            writeln!(out, "{}", sentence(&job))?;
            notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
        }
        if records == 0 || self.dry_run {
            return self.say(&job, &notes, if records == 0 { "nothing" } else { "dry_run" });
        }
        if job.range.to.is_some() && !self.yes && !confirmed()? {
            bail!("nothing was changed");
        }
        let command = Command::Replay {
            token: job.token.clone(),
            route: route.id.clone(),
            from: job.range.from.clone(),
            to: job.range.to.clone(),
        };
        dead::push(&redis, &route.application, &destination.id, &command).await?;
        let state = self.follow(&job, &command).await?;
        self.say(&job, &notes, state)
    }

    /// The route and where it leads, if it can be replayed at all.
    fn route<'a>(&self, document: &'a Document) -> anyhow::Result<(&'a RouteSpec, &'a Destination)> {
        let Some(route) = document.routes.iter().find(|one| one.name == self.route) else {
            let names = document.routes.iter().map(|one| one.name.as_str());
            let hint = nearest(&self.route, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            bail!("there is no route `{}`{hint}", self.route);
        };
        if route.key.is_empty() {
            bail!(
                "route `{}` has no `key`: each record sent again would be one row more. Give the route a key, or delete the \
                 rows and make a new route with `start`; nothing was changed",
                route.name
            );
        }
        let Some(destination) = document.destinations.iter().find(|one| one.name == route.destination) else {
            bail!("route `{}` leads to `{}`, which is not there", route.name, route.destination);
        };
        if destination.delivery == Delivery::Parallel {
            bail!(
                "`{}` is a parallel destination: its consumer group cannot go back for one route; nothing was changed",
                destination.name
            );
        }
        Ok((route, destination))
    }

    /// Watches the owner take it up and, if wanted, finish it.
    async fn follow(&self, job: &Job<'_>, command: &Command) -> anyhow::Result<&'static str> {
        let (application, destination) = (&job.route.application, &job.destination.id);
        let (begun, mut taken, mut seen) = (Instant::now(), None, false);
        let bar = self.bar(Some(job.records));
        let end = job.range.to.as_ref().unwrap_or(&job.range.stands).id;
        let (mut at, mut sent) = (job.range.from.id, 0);
        loop {
            if taken.is_none() && !dead::waiting(job.redis, application, destination).await?.contains(command) {
                taken = Some(Instant::now());
            }
            let standing = sides::of(job.redis, application, destination).await?;
            let row = standing.rows.iter().find(|side| replays(&side.part, &job.token));
            seen |= row.is_some();
            match (row, taken) {
                (Some(_), _) if !self.wait => return Ok("taken_up"),
                (Some(side), _) => {
                    let reached = side.at.id.min(end);
                    if reached > at {
                        sent += replay::count(job.redis, application, &job.route.topic, (at, reached), |_| ()).await?;
                        at = reached;
                        bar.set_position(sent);
                    }
                    if let Some(why) = &side.held {
                        bar.set_message(plain(why));
                    }
                }
                (None, Some(since)) if seen || since.elapsed() > SHOWS_WITHIN => {
                    bar.finish_and_clear();
                    return Ok("done");
                }
                (None, None) if begun.elapsed() > PATIENCE && !self.wait => return Ok("queued"),
                (None, None) if begun.elapsed() > PATIENCE => bar.set_message("queued: no node has taken it up yet"),
                (None, _) => {}
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

    fn say(&self, job: &Job<'_>, notes: &[String], state: &str) -> anyhow::Result<ExitCode> {
        let mut out = std::io::stdout();
        if self.json {
            let place =
                |position: &tidegate_actors::message::Position| format!("{}-{}", position.generation, position.id);
            let line = json!({
                "type": "replay", "route": job.route.name, "destination": job.destination.name,
                "application": job.route.application, "after": place(&job.range.from),
                "up_to": job.range.to.as_ref().map(place), "records": job.records, "token": job.token, "state": state,
                "notes": notes,
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
                job.destination.name
            ),
            "taken_up" => "Taken up (`tidegate status` shows how far it is).".to_owned(),
            _ => "Done.".to_owned(),
        };
        writeln!(out, "{text}")?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether this part of a lane is the replay of this token: `replay TOKEN`, or `replay TOKEN ROUTE`.
fn replays(part: &str, token: &str) -> bool {
    part.strip_prefix("replay ").is_some_and(|rest| rest.split(' ').next() == Some(token))
}

/// What is going to happen, in one sentence.
fn sentence(job: &Job<'_>) -> String {
    let Range { from, to, .. } = &job.range;
    let end =
        to.as_ref().map_or("on to where it meets the new ones".to_owned(), |to| format!("up to {}", moment(to.id)));
    format!(
        "route `{}`: {} of topic `{}` accepted after {}, {end}, will be sent to table `{}` of `{}` again",
        job.route.name,
        of(usize::try_from(job.records).unwrap_or(usize::MAX), "record"),
        job.route.topic,
        moment(from.id),
        job.route.table,
        job.destination.name,
    )
}

/// What it cannot do, and what to know before.
fn notes(job: &Job<'_>, standing: &Sides) -> Vec<String> {
    let Range { to, trimmed, cut, begins, .. } = &job.range;
    let mut notes = Vec::new();
    if *cut {
        let what = "what was accepted up to then is no longer retained: it cannot be sent again";
        notes.push(format!("{}: {what}", moment(*trimmed)));
    }
    if let Some(begins) = begins {
        let what = "the route begins there: what came before is sent by it for the first time";
        notes.push(format!("{}: {what}", moment(begins.id)));
    }
    if job.records == 0 {
        return notes;
    }
    if let Some(side) = standing.of_route(&job.route.id).next() {
        let why = side
            .held
            .as_ref()
            .map_or("it is behind the others".to_owned(), |why| format!("its table is held: {}", plain(why)));
        notes.push(format!("{why}; it is sent again once it stands where the others do"));
    }
    notes.push("inserts are written as upserts; updates and deletes are done as they were sent".to_owned());
    let folded = if job.route.every_change { "" } else { ", once for the changes of one key in one batch" };
    notes.push(format!("triggers of `{}` run again{folded}", job.route.table));
    if to.is_some() {
        notes.push(
            "rows that were changed by later records go back to their state at the end of this range, and stay there until \
             their next change"
                .to_owned(),
        );
    } else {
        notes
            .push("until it is done, rows may show an earlier state; the route's new records wait for that".to_owned());
    }
    if job.records > 100_000 {
        notes.push(format!("{} records take a while; `tidegate status` shows how far it is", count(job.records)));
    }
    notes
}

fn moment(id: StreamId) -> String {
    let moment = i64::try_from(id.ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    match moment.filter(|_| id != StreamId::ZERO) {
        Some(moment) => moment.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => "the beginning".to_owned(),
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
