//! `dead redrive`, `dead edit` and `dead discard`: what is asked of the destination's owner, and what came of it.

use std::{
    io::{BufRead as _, IsTerminal as _, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tidegate_actors::{ports::DeadLetter, transaction::DeadId};

use super::{Letters, Lot, Which, who};
use crate::{
    admin::dead_letters::{self, Outcome, count as many, name},
    cli::table::{count, of, plain},
    config::Settings,
    registry::Store,
};

/// A node that runs looks for commands every second; after this long without any progress none does.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether something came of it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Of more than this many no line is shown for each that went well, and no more than this many of those that did not.
const LINES: usize = 20;

pub(super) async fn redrive(
    letters: &Letters,
    which: &Which,
    force: bool,
    yes: bool,
    json: bool,
    settings: &Settings,
) -> anyhow::Result<ExitCode> {
    let lots = chosen(letters, which).await?;
    let many = of(many(&lots), "dead letter");
    if which.id.is_empty() && !yes && !lots.is_empty() && !confirmed(&format!("redrive {many}"))? {
        bail!("nothing was redriven");
    }
    if !lots.is_empty() {
        let mut store = Store::open(&settings.redis_url, &settings.prefix)?;
        dead_letters::redrive(&letters.redis, &mut store, &who(settings, "redrive"), &lots, force).await?;
    }
    follow(letters, &lots, "written", json).await
}

pub(super) async fn redrive_edited(
    letters: &Letters,
    lot: &Lot,
    letter: &DeadLetter,
    force: bool,
    record: &str,
    json: bool,
    settings: &Settings,
) -> anyhow::Result<ExitCode> {
    let mut store = Store::open(&settings.redis_url, &settings.prefix)?;
    dead_letters::edit(&letters.redis, &mut store, &who(settings, "edit"), lot, letter, record, force).await?;
    follow(letters, std::slice::from_ref(lot), "written", json).await
}

pub(super) async fn discard(
    letters: &Letters,
    which: &Which,
    reason: Option<String>,
    yes: bool,
    json: bool,
    settings: &Settings,
) -> anyhow::Result<ExitCode> {
    let lots = chosen(letters, which).await?;
    let all = many(&lots);
    if all > 1 && reason.is_none() {
        bail!("this discards {}; say why with --reason", of(all, "dead letter"));
    }
    if !yes && !lots.is_empty() && !confirmed(&format!("discard {} for good", of(all, "dead letter")))? {
        bail!("nothing was discarded");
    }
    if all > 0 {
        let mut store = Store::open(&settings.redis_url, &settings.prefix)?;
        let who = who(settings, "discard");
        dead_letters::discard(&letters.redis, &mut store, &who, &lots, reason.as_deref()).await?;
    }
    follow(letters, &lots, "discarded", json).await
}

async fn chosen(letters: &Letters, which: &Which) -> anyhow::Result<Vec<Lot>> {
    match (which.id.is_empty(), which.all || which.filter.chooses()) {
        (false, _) => letters.find_ids(&which.id, &which.filter).await,
        (true, true) => letters.find(&which.filter).await,
        (true, false) => {
            bail!("name the dead letters by their ids, by --route, --code, --since and the like, or say --all")
        }
    }
}

fn confirmed(what: &str) -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("this would {what}; say --yes to do it");
    }
    write!(std::io::stderr(), "{}{}? [y/N] ", what[..1].to_uppercase(), &what[1..])?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// How many came to what.
#[derive(Default)]
struct Tally {
    done: usize,
    refused: usize,
    superseded: usize,
}

impl Tally {
    fn told(&self) -> usize {
        self.done + self.refused + self.superseded
    }
}

/// Waits for as long as something comes of the commands.
async fn follow(letters: &Letters, lots: &[Lot], done_word: &str, json: bool) -> anyhow::Result<ExitCode> {
    let all = many(lots);
    let mut out = std::io::stdout();
    if all == 0 {
        if !json {
            writeln!(out, "No dead letters.")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut waiting: Vec<Vec<DeadId>> = lots.iter().map(Lot::ids).collect();
    let bar = ProgressBar::new(all as u64).with_style(ProgressStyle::with_template("{bar:30} {pos}/{len}")?);
    let mut tally = Tally::default();
    let mut moved_at = Instant::now();
    while tally.told() < all && moved_at.elapsed() < PATIENCE {
        for (lot, ids) in lots.iter().zip(&mut waiting).filter(|(_, ids)| !ids.is_empty()) {
            for (id, outcome) in dead_letters::settled(&letters.redis, lot, ids).await? {
                moved_at = Instant::now();
                bar.inc(1);
                let route = letters.route(&id, &id.route);
                let place = format!("{}  {}  {route}", name(&id), lot.destination);
                let (word, why, shown) = match outcome {
                    Outcome::Done => {
                        tally.done += 1;
                        (done_word, None, all <= LINES)
                    }
                    Outcome::Refused(why) => {
                        tally.refused += 1;
                        ("refused", Some(why), tally.refused <= LINES)
                    }
                    Outcome::Superseded(why) => {
                        tally.superseded += 1;
                        ("superseded", Some(why), tally.superseded <= LINES)
                    }
                };
                if json {
                    let line = json!({"id": name(&id), "destination": lot.destination, "route": route, "outcome": word,
                                      "why": why});
                    writeln!(out, "{line}")?;
                } else if shown {
                    let why = why.map_or(String::new(), |why| format!(": {}", plain(&why)));
                    bar.suspend(|| writeln!(out, "{word:<9}  {place}{why}"))?;
                }
            }
        }
        if tally.told() < all {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    bar.finish_and_clear();
    if !json {
        say_rest(&mut out, &tally, all, done_word, lots, &waiting)?;
    }
    let failed = tally.refused + tally.superseded > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn say_rest(
    out: &mut impl Write,
    tally: &Tally,
    all: usize,
    done_word: &str,
    lots: &[Lot],
    waiting: &[Vec<DeadId>],
) -> std::io::Result<()> {
    if all > LINES {
        writeln!(
            out,
            "{} {done_word}, {} refused, {} superseded",
            count(tally.done as u64),
            count(tally.refused as u64),
            count(tally.superseded as u64)
        )?;
    }
    let queued = all - tally.told();
    if queued > 0 {
        let names: Vec<&str> =
            lots.iter().zip(waiting).filter(|(_, ids)| !ids.is_empty()).map(|(lot, _)| &*lot.destination).collect();
        writeln!(
            out,
            "{} queued: no node has taken {} up within {} s. It will be done by itself once a node runs and writes to {} \
             (`tidegate status` shows whether one does).",
            of(queued, "command"),
            if queued == 1 { "it" } else { "them" },
            PATIENCE.as_secs(),
            names.join(", ")
        )?;
    }
    Ok(())
}
