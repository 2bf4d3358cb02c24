//! `dead redrive`, `dead edit` and `dead discard`: what is asked of the destination's owner, and what came of it.

use std::{
    io::{BufRead as _, IsTerminal as _, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tidegate_actors::{ports::Command, transaction::DeadId};

use super::{Letters, Lot, Which, name, person};
use crate::{
    cli::table::{count, of, plain},
    config::Settings,
    redis::dead,
    registry::Store,
};

/// A node that runs looks for commands every second; after this long without any progress none does.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether something came of it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Of more than this many no line is shown for each that went well, and no more than this many of those that did not.
const LINES: usize = 20;

/// What came of one command.
enum Outcome {
    /// The dead letter is gone: written, or given up as asked.
    Done,
    /// The database or a rule said no, in these words.
    Refused(String),
    /// A later record of its key was written.
    Superseded(String),
}

pub(super) async fn redrive(
    letters: &Letters,
    which: &Which,
    force: bool,
    yes: bool,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let lots = chosen(letters, which).await?;
    let many = of(many(&lots), "dead letter");
    if which.id.is_empty() && !yes && !lots.is_empty() && !confirmed(&format!("redrive {many}"))? {
        bail!("nothing was redriven");
    }
    carry_out(letters, &lots, "written", json, |dead| Command::Redrive { dead, force, data: None }).await
}

pub(super) async fn redrive_edited(
    letters: &Letters,
    lots: Vec<Lot>,
    force: bool,
    data: String,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let command = |dead| Command::Redrive { dead, force, data: Some(data.clone()) };
    carry_out(letters, &lots, "written", json, command).await
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
        // Before it is done: what is gone must have somebody's name to it.
        let who = format!("{} (tidegate dead discard)", person(settings));
        let why = reason.as_deref().unwrap_or("no reason given");
        let what: Vec<String> = lots.iter().map(|lot| discarded(lot, why)).collect();
        Store::open(&settings.redis_url, &settings.prefix)?.note(&who, &what).await?;
    }
    carry_out(letters, &lots, "discarded", json, |dead| Command::Discard { dead, reason: reason.clone() }).await
}

/// The line of the list of changes.
fn discarded(lot: &Lot, why: &str) -> String {
    let ids: Vec<String> = lot.ids.iter().take(LINES).map(name).collect();
    let more = lot.ids.len().saturating_sub(LINES);
    let more = if more > 0 { format!(" and {} more", count(more as u64)) } else { String::new() };
    format!(
        "discard {} of destination {}: {} ({}{more})",
        of(lot.ids.len(), "dead letter"),
        lot.destination.1,
        plain(why),
        ids.join(", ")
    )
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

fn many(lots: &[Lot]) -> usize {
    lots.iter().map(|lot| lot.ids.len()).sum()
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

/// Hands the commands over, then waits for as long as something comes of them.
async fn carry_out(
    letters: &Letters,
    lots: &[Lot],
    done_word: &str,
    json: bool,
    command: impl Fn(DeadId) -> Command,
) -> anyhow::Result<ExitCode> {
    let all = many(lots);
    let mut out = std::io::stdout();
    if all == 0 {
        if !json {
            writeln!(out, "No dead letters.")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut waiting: Vec<Vec<DeadId>> = Vec::with_capacity(lots.len());
    for lot in lots {
        let commands: Vec<Command> = lot.ids.iter().cloned().map(&command).collect();
        dead::push_all(&letters.redis, &lot.application, &lot.destination.0, &commands).await?;
        waiting.push(lot.ids.clone());
    }
    let bar = ProgressBar::new(all as u64).with_style(ProgressStyle::with_template("{bar:30} {pos}/{len}")?);
    let mut tally = Tally::default();
    let mut moved_at = Instant::now();
    while tally.told() < all && moved_at.elapsed() < PATIENCE {
        for (lot, ids) in lots.iter().zip(&mut waiting).filter(|(_, ids)| !ids.is_empty()) {
            for (id, outcome) in finished(letters, lot, ids).await? {
                moved_at = Instant::now();
                bar.inc(1);
                let place = format!("{}  {}  {}", name(&id), lot.destination.1, letters.route_name(&id));
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
                    let line = json!({"id": name(&id), "destination": lot.destination.1, "route": letters.route_name(&id),
                                      "outcome": word, "why": why});
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
            lots.iter().zip(waiting).filter(|(_, ids)| !ids.is_empty()).map(|(lot, _)| &*lot.destination.1).collect();
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

/// Takes those out of `ids` whose command is off the list, and tells what came of each.
async fn finished(letters: &Letters, lot: &Lot, ids: &mut Vec<DeadId>) -> anyhow::Result<Vec<(DeadId, Outcome)>> {
    let (application, destination) = (&lot.application, &lot.destination.0);
    let waiting = dead::waited_for(&letters.redis, application, destination).await?;
    let (left, off): (Vec<_>, Vec<_>) = ids.drain(..).partition(|id| waiting.contains(id));
    *ids = left;
    // What is still a dead letter was refused.
    let standing = dead::summaries(&letters.redis, application, destination, &off).await?;
    let outcome = |letter: Option<dead::Summary>| match letter {
        None => Outcome::Done,
        Some(letter) => {
            let why = letter.redrive_error.unwrap_or(letter.message);
            if letter.superseded { Outcome::Superseded(why) } else { Outcome::Refused(why) }
        }
    };
    Ok(off.into_iter().zip(standing).map(|(id, letter)| (id, outcome(letter))).collect())
}
