//! `dead list` and `dead show`.

use std::{io::Write, process::ExitCode};

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_actors::ports::DeadLetter;

use super::{Filter, Letters, Lot, name};
use crate::cli::{
    now_ms,
    table::{Table, age_s, count, left, of, plain, plain_lines, right, span, width},
};

/// A line of `--json`. `show` has the record too.
#[derive(Serialize)]
struct Line<'a> {
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
    redrive_error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    fn of(letters: &'a Letters, lot: &'a Lot, letter: &'a DeadLetter, with_data: bool) -> Self {
        Self {
            id: name(&letter.dead),
            application: &lot.application,
            topic: &letter.topic,
            route: route(letters, letter),
            destination: &lot.destination.1,
            table: &letter.table,
            action: &letter.action,
            key: letter.key.as_deref().and_then(|key| serde_json::from_str(key).ok()),
            code: &letter.reason.code,
            column: letter.reason.column.as_deref(),
            reason: &letter.reason.message,
            attempts: letter.attempts,
            at: instant(letter.at_ms),
            superseded_by: letter.superseded_by.map(|id| format!("{}-{id}", letter.dead.generation)),
            redrive_error: letter.redrive_error.as_deref(),
            data: with_data.then(|| serde_json::from_str(&letter.data).ok()).flatten(),
        }
    }
}

/// The route's present name; the one of its time where it is gone.
fn route<'a>(letters: &'a Letters, letter: &'a DeadLetter) -> &'a str {
    let now = letters.document.routes.iter().find(|route| route.id == *letter.dead.route);
    now.map_or(&letter.route_name, |route| &route.name)
}

fn instant(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) async fn list(letters: &Letters, filter: &Filter, limit: usize, json: bool) -> anyhow::Result<ExitCode> {
    let lots = letters.find(filter).await?;
    let all: usize = lots.iter().map(|lot| lot.ids.len()).sum();
    let now = now_ms()?;
    let mut shown = 0;
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
        let read = letters.read(lot, limit - shown).await?;
        shown += read.len();
        for letter in &read {
            if json {
                writeln!(std::io::stdout(), "{}", serde_json::to_string(&Line::of(letters, lot, letter, false))?)?;
                continue;
            }
            let superseded = if letter.superseded_by.is_some() { "superseded; " } else { "" };
            table.row([
                name(&letter.dead),
                lot.destination.1.clone(),
                plain(route(letters, letter)),
                short(letter.key.as_deref().unwrap_or("-")),
                plain(&letter.reason.code),
                plain(letter.reason.column.as_deref().unwrap_or("-")),
                span(age_s(letter.at_ms, now)),
                format!("{superseded}{}", plain(letter.redrive_error.as_ref().unwrap_or(&letter.reason.message))),
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
    if shown < all {
        writeln!(out, "… and {} more (--limit {all} shows them)", count((all - shown) as u64))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A key may be long.
fn short(key: &str) -> String {
    console::truncate_str(&plain(key), 24, "…").into_owned()
}

pub(super) async fn show(letters: &Letters, id: &str, filter: &Filter, json: bool) -> anyhow::Result<ExitCode> {
    let lots = letters.find_ids(std::slice::from_ref(&id.to_owned()), filter).await?;
    let mut out = std::io::stdout().lock();
    let mut first = true;
    for lot in &lots {
        for letter in letters.read(lot, usize::MAX).await? {
            if json {
                writeln!(out, "{}", serde_json::to_string(&Line::of(letters, lot, &letter, true))?)?;
                continue;
            }
            if !std::mem::take(&mut first) {
                writeln!(out)?;
            }
            write_letter(&mut out, letters, lot, &letter)?;
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
    field("route", &format!("{} into {}, table {}", route(letters, letter), destination.1, letter.table))?;
    field(
        "given up",
        &format!("{} ({age} ago), after {}", instant(letter.at_ms), of(letter.attempts as usize, "attempt")),
    )?;
    let column = letter.reason.column.as_ref().map_or(String::new(), |column| format!(", column {column}"));
    field("reason", &format!("{}{column}: {}", letter.reason.code, letter.reason.message))?;
    if let Some(by) = &letter.superseded_by {
        let later = format!("by {}-{by}, a later record of this key that was written", letter.dead.generation);
        field("superseded", &later)?;
    }
    if let Some(why) = &letter.redrive_error {
        field("last redrive", &format!("refused: {why}"))?;
    }
    writeln!(out, "data")?;
    for line in plain_lines(&pretty(&letter.data)).lines() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

/// One field a line, each value with the digits it came with.
fn pretty(data: &str) -> String {
    let Ok(fields) = serde_json::from_str::<Fields<'_>>(data) else { return data.to_owned() };
    let lines: Vec<String> = fields.0.iter().map(|(name, value)| format!("  {name}: {value}")).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

/// The fields of an object in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Fields<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> serde::de::Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    fields.push((serde_json::to_string(&name).unwrap_or_default(), value));
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(InOrder).map(Self)
    }
}
