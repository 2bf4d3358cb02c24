//! `dead redrive` and `dead discard`: what is asked of the destination's owner, and what came of it.

use std::{
    io::{BufRead as _, IsTerminal as _, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use tidegate_actors::{ports::Command, transaction::DeadId};

use super::{Letters, Lot, Which, name};
use crate::{
    cli::table::{of, plain},
    redis::dead,
};

/// A node that runs looks for commands every second; after this long without any progress none does.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether something came of it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What came of one command.
enum Outcome {
    /// The dead letter is gone: written, or given up as asked.
    Done,
    /// The database or a rule said no, in these words.
    Refused(String),
}

pub(super) async fn redrive(letters: &Letters, which: &Which, force: bool) -> anyhow::Result<ExitCode> {
    let lots = chosen(letters, which).await?;
    carry_out(letters, &lots, "written", |dead| Command::Redrive { dead, force, data: None }).await
}

pub(super) async fn discard(letters: &Letters, which: &Which, yes: bool) -> anyhow::Result<ExitCode> {
    let lots = chosen(letters, which).await?;
    let many = of(lots.iter().map(|lot| lot.ids.len()).sum(), "dead letter");
    if !yes && !lots.is_empty() && !confirmed(&many)? {
        bail!("nothing was discarded");
    }
    carry_out(letters, &lots, "discarded", |dead| Command::Discard { dead, reason: None }).await
}

async fn chosen(letters: &Letters, which: &Which) -> anyhow::Result<Vec<Lot>> {
    if which.all { letters.find(&which.filter).await } else { letters.find_ids(&which.id, &which.filter).await }
}

fn confirmed(many: &str) -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("this discards {many} for good; say --yes to do it");
    }
    write!(std::io::stderr(), "Discard {many} for good? [y/N] ")?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Hands the commands over, then waits for as long as something comes of them.
async fn carry_out(
    letters: &Letters,
    lots: &[Lot],
    done_word: &str,
    command: impl Fn(DeadId) -> Command,
) -> anyhow::Result<ExitCode> {
    let all: usize = lots.iter().map(|lot| lot.ids.len()).sum();
    let mut out = std::io::stdout();
    if all == 0 {
        writeln!(out, "No dead letters.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut waiting: Vec<Vec<DeadId>> = Vec::with_capacity(lots.len());
    for lot in lots {
        let commands: Vec<Command> = lot.ids.iter().cloned().map(&command).collect();
        dead::push_all(&letters.redis, &lot.application, &lot.destination.0, &commands).await?;
        waiting.push(lot.ids.clone());
    }
    let bar = ProgressBar::new(all as u64).with_style(ProgressStyle::with_template("{bar:30} {pos}/{len}")?);
    let (mut done, mut refused) = (0, 0);
    let mut moved_at = Instant::now();
    while done + refused < all && moved_at.elapsed() < PATIENCE {
        for (lot, ids) in lots.iter().zip(&mut waiting).filter(|(_, ids)| !ids.is_empty()) {
            for (id, outcome) in finished(letters, lot, ids, &command).await? {
                moved_at = Instant::now();
                bar.inc(1);
                let place = format!("{}  {}  {}", name(&id), lot.destination.1, letters.route_name(&id));
                let line = match outcome {
                    Outcome::Done => {
                        done += 1;
                        format!("{done_word:<9}  {place}")
                    }
                    Outcome::Refused(why) => {
                        refused += 1;
                        format!("refused    {place}: {}", plain(&why))
                    }
                };
                bar.suspend(|| writeln!(out, "{line}"))?;
            }
        }
        if done + refused < all {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
    bar.finish_and_clear();
    let queued = all - done - refused;
    if queued > 0 {
        let names: Vec<&str> =
            lots.iter().zip(&waiting).filter(|(_, ids)| !ids.is_empty()).map(|(lot, _)| &*lot.destination.1).collect();
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
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes those out of `ids` whose command is off the list, and tells what came of each.
async fn finished(
    letters: &Letters,
    lot: &Lot,
    ids: &mut Vec<DeadId>,
    command: &impl Fn(DeadId) -> Command,
) -> anyhow::Result<Vec<(DeadId, Outcome)>> {
    let (application, destination) = (&lot.application, &lot.destination.0);
    let waiting = dead::waiting(&letters.redis, application, destination).await?;
    let waits = |id: &DeadId| waiting.contains(&command(id.clone()));
    let (left, off): (Vec<_>, Vec<_>) = ids.drain(..).partition(waits);
    *ids = left;
    // What is still a dead letter was refused.
    let standing = dead::letters(&letters.redis, application, destination, &off).await?;
    let outcome = |id: &DeadId| match standing.iter().find(|letter| letter.dead == *id) {
        None => Outcome::Done,
        Some(letter) => Outcome::Refused(letter.redrive_error.clone().unwrap_or_else(|| letter.reason.message.clone())),
    };
    Ok(off.iter().map(|id| (id.clone(), outcome(id))).collect())
}
