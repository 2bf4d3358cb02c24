//! `dead show`: one dead letter with its record, the row it would be, and the database's words.

use std::{io::Write, process::ExitCode};

use tidegate_actors::ports::DeadLetter;

use super::{
    Filter, Letters, Lot,
    list::{Line, instant},
};
use crate::{
    admin::{
        dead_letters::{name, row},
        json::pretty,
    },
    cli::{
        now_ms,
        table::{age_s, of, plain, plain_lines, span},
    },
};

pub(super) async fn show(letters: &Letters, id: &str, filter: &Filter, json: bool) -> anyhow::Result<ExitCode> {
    let lots = letters.find_ids(std::slice::from_ref(&id.to_owned()), filter).await?;
    let mut out = std::io::stdout().lock();
    let mut first = true;
    for lot in &lots {
        for letter in letters.read(lot).await? {
            let row = row(&letters.redis, &lot.application, &letter).await?;
            if json {
                let mut line = Line::of(letters, lot, &letter, true);
                (line.row, line.row_error) = (row.clone().ok(), row.err());
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
                continue;
            }
            if !std::mem::take(&mut first) {
                writeln!(out)?;
            }
            write_letter(&mut out, letters, lot, &letter)?;
            match row {
                Ok(row) => {
                    writeln!(out, "row")?;
                    write_lines(&mut out, row.get())?;
                }
                Err(why) => writeln!(out, "{:<12} {}", "row", plain(&why))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_letter(out: &mut impl Write, letters: &Letters, lot: &Lot, letter: &DeadLetter) -> anyhow::Result<()> {
    let Lot { application, destination, .. } = lot;
    let age = span(age_s(letter.at_ms, now_ms()?));
    let mut field = |name: &str, value: &str| writeln!(out, "{name:<12} {}", plain(value));
    field("id", &name(&letter.dead))?;
    field("record of", &format!("application {application}, topic {}, {}", letter.topic, letter.action))?;
    field("key", letter.key.as_deref().unwrap_or("none"))?;
    let route = letters.route(&letter.dead, &letter.route_name);
    field("route", &format!("{route} into {}, table {}", destination, letter.table))?;
    field(
        "given up",
        &format!("{} ({age} ago), after {}", instant(letter.at_ms), of(letter.attempts as usize, "attempt")),
    )?;
    let column = letter.reason.column.as_ref().map_or(String::new(), |column| format!(", column {column}"));
    field("reason", &format!("{}{column}: {}", letter.reason.code, letter.reason.message))?;
    if let Some(first) = &letter.blocked_by {
        field("waits behind", &format!("{}, an earlier record of this key", name(first)))?;
    }
    if let Some(by) = &letter.superseded_by {
        let later = format!("by {}-{by}, a later record of this key that was written", letter.dead.generation);
        field("superseded", &later)?;
    }
    if let Some(why) = &letter.redrive_error {
        field("last redrive", &format!("refused: {why}"))?;
    }
    writeln!(out, "data")?;
    write_lines(out, &letter.data)?;
    if let Some(edited) = &letter.edited {
        writeln!(out, "edited")?;
        write_lines(out, edited)?;
    }
    Ok(())
}

fn write_lines(out: &mut impl Write, json: &str) -> std::io::Result<()> {
    for line in plain_lines(&pretty(json)).lines() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}
