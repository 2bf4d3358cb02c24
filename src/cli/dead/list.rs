//! `dead list`: a line for each dead letter, and the line of `--json` that `show` has too.

use std::{io::Write, process::ExitCode};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_actors::ports::DeadLetter;

use super::{Filter, Letters, Lot};
use crate::{
    admin::dead_letters::{count as many, name},
    cli::{
        now_ms,
        table::{Table, age_s, count, left, plain, right, span, width},
    },
};

/// A line of `--json`. `show` has the record too.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    id: String,
    application: &'a str,
    topic: &'a str,
    route: &'a str,
    destination: &'a str,
    table: &'a str,
    action: &'a str,
    key: Option<&'a RawValue>,
    code: &'a str,
    column: Option<&'a str>,
    reason: &'a str,
    attempts: u32,
    at: String,
    superseded_by: Option<String>,
    blocked_by: Option<String>,
    redrive_error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) row: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) row_error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edited: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    pub(super) fn of(letters: &'a Letters, lot: &'a Lot, letter: &'a DeadLetter, with_data: bool) -> Self {
        Self {
            id: name(&letter.dead),
            application: &lot.application,
            topic: &letter.topic,
            route: letters.route(&letter.dead, &letter.route_name),
            destination: &lot.destination,
            table: &letter.table,
            action: &letter.action,
            key: letter.key.as_deref().and_then(|key| serde_json::from_str(key).ok()),
            code: &letter.reason.code,
            column: letter.reason.column.as_deref(),
            reason: &letter.reason.message,
            attempts: letter.attempts,
            at: instant(letter.at_ms),
            superseded_by: letter.superseded_by.map(|id| format!("{}-{id}", letter.dead.generation)),
            blocked_by: letter.blocked_by.as_ref().map(name),
            redrive_error: letter.redrive_error.as_deref(),
            row: None,
            row_error: None,
            edited: letter.edited.as_deref().filter(|_| with_data).and_then(|data| serde_json::from_str(data).ok()),
            data: with_data.then(|| serde_json::from_str(&letter.data).ok()).flatten(),
        }
    }
}

pub(super) fn instant(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) async fn list(
    letters: &Letters,
    filter: &Filter,
    skip: usize,
    limit: usize,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let lots = letters.find(filter).await?;
    let all = many(&lots);
    let now = now_ms()?;
    let (mut passed, mut shown) = (0, 0);
    let mut table = Table::new([
        left("ID"),
        left("DESTINATION"),
        left("ROUTE"),
        left("KEY"),
        left("CODE"),
        left("COLUMN"),
        right("AGE"),
        left("REASON"),
    ]);
    for lot in &lots {
        let from = skip.saturating_sub(passed).min(lot.letters.len());
        let to = lot.letters.len().min(from + (limit - shown));
        passed += lot.letters.len();
        let part = lot.part(from..to);
        shown += part.letters.len();
        if json {
            for letter in letters.read(&part).await? {
                writeln!(std::io::stdout(), "{}", serde_json::to_string(&Line::of(letters, lot, &letter, false))?)?;
            }
            continue;
        }
        for (id, letter) in &part.letters {
            let superseded = if letter.superseded { "superseded; " } else { "" };
            table.row([
                name(id),
                lot.destination.clone(),
                plain(letters.route(id, &letter.route_name)),
                short(letter.key.as_deref().unwrap_or("-")),
                plain(&letter.code),
                plain(letter.column.as_deref().unwrap_or("-")),
                span(age_s(letter.at_ms, now)),
                format!("{superseded}{}", plain(letter.redrive_error.as_ref().unwrap_or(&letter.message))),
            ]);
        }
    }
    if json {
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = std::io::stdout().lock();
    if table.is_empty() && all == 0 {
        writeln!(out, "No dead letters.")?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in table.lines(width()) {
        writeln!(out, "{line}")?;
    }
    let left = all.saturating_sub(skip + shown);
    if left > 0 {
        writeln!(
            out,
            "… and {} more (--skip {} shows the next, --group a line for each cause)",
            count(left as u64),
            skip + shown
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A key may be long.
fn short(key: &str) -> String {
    console::truncate_str(&plain(key), 24, "…").into_owned()
}
