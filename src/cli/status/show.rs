//! How `status` looks: a table for people, or one JSON object a line.

use std::io::Write;

use chrono::{DateTime, SecondsFormat};
use console::Style;
use serde_json::json;
use tidegate_actors::message::Position;

use super::look::{Node, Row, Seen};
use crate::cli::table::{Table, count, left, paint, plain, right, span, width};

/// Prints the table.
pub(super) fn text(seen: &Seen) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    lines(seen, width()).iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// The table with what stands around it.
pub(super) fn lines(seen: &Seen, width: Option<usize>) -> Vec<String> {
    let mut lines = nodes(&seen.nodes).map_or_else(
        || vec!["No node runs: `tidegate serve` starts one. What Redis tells alone:".to_owned()],
        |table| table.lines(width),
    );
    let red = Style::new().red();
    lines.extend(
        seen.alarms.iter().map(|alarm| paint(&format!("ALARM since {}: {}", alarm.since, plain(&alarm.what)), &red)),
    );
    lines.push(String::new());
    if seen.destinations.is_empty() {
        lines.push("No destinations yet: `tidegate apply FILE` makes some.".to_owned());
    } else {
        lines.extend(destinations(&seen.destinations).lines(width));
        lines.extend(seen.destinations.iter().flat_map(beside));
    }
    lines.push(String::new());
    let applications: Vec<String> = seen
        .applications
        .iter()
        .map(|one| match one.last_s {
            Some(ago) => format!("{} (last record {} ago)", one.name, span(ago)),
            None => format!("{} (no record yet)", one.name),
        })
        .collect();
    let applications = if applications.is_empty() { "none yet".to_owned() } else { applications.join(", ") };
    lines.push(format!("applications  {applications}"));
    lines.push(format!("redis memory  {}", memory(seen)));
    lines
}

fn nodes(nodes: &[Node]) -> Option<Table> {
    if nodes.is_empty() {
        return None;
    }
    let mut table = Table::new([left("NODE"), left("VERSION"), left("STATE"), right("UP"), left("WRITES")]);
    for node in nodes {
        let (state, style) = match node.draining {
            true => ("draining", Style::new().yellow()),
            false => ("up", Style::new().green()),
        };
        let writes = if node.destinations.is_empty() { "-".to_owned() } else { plain(&node.destinations.join(", ")) };
        table.row([plain(&node.name), node.version.clone(), paint(state, &style), span(node.up_s), writes]);
    }
    Some(table)
}

fn destinations(rows: &[Row]) -> Table {
    let mut table = Table::new([
        left("DESTINATION"),
        left("KIND"),
        left("STATE"),
        left("OWNER"),
        right("EPOCH"),
        right("BACKLOG"),
        right("OLDEST"),
        right("ETA"),
        right("DEAD"),
        left("LAST ERROR"),
    ]);
    let none = || "-".to_owned();
    for row in rows {
        let style = match row.state {
            "up" => Style::new().green(),
            "down" | "held" | "no node" => Style::new().red(),
            _ => Style::new().yellow(),
        };
        let waits = row.backlog > 0;
        table.row([
            row.name.clone(),
            row.kind.clone(),
            paint(row.state, &style),
            row.owner.as_deref().map_or_else(none, plain),
            row.epoch.map_or_else(none, count),
            count(row.backlog),
            row.oldest_s.filter(|_| waits).map_or_else(none, span),
            row.eta_s.filter(|_| waits).map_or_else(none, span),
            count(row.dead),
            row.last_error.as_deref().map_or_else(none, plain),
        ]);
    }
    table
}

/// What is behind the rest of a destination, a line each.
fn beside(row: &Row) -> Vec<String> {
    let (red, yellow) = (Style::new().red(), Style::new().yellow());
    let held = row.held.iter().map(|table| {
        let since = table.since.as_ref().map_or(String::new(), |since| format!(" since {since}"));
        paint(&plain(&format!("{}: table `{}` is held{since}: {}", row.name, table.table, table.why)), &red)
    });
    let behind = row.catching_up.iter().map(|one| {
        let at = match one.after.id.ms {
            0 => "the beginning".to_owned(),
            ms => instant(ms),
        };
        let what = match one.kind {
            "replay" => "is sent again",
            _ => "catches up",
        };
        let why = one.why.as_ref().map_or(String::new(), |why| format!(", waits: {why}"));
        paint(&plain(&format!("{}: route `{}` {what}, at records of {at}{why}", row.name, one.route)), &yellow)
    });
    held.chain(behind).collect()
}

#[allow(clippy::cast_precision_loss, reason = "for people")]
fn memory(seen: &Seen) -> String {
    let used = bytes(seen.memory.used_bytes);
    match seen.memory.limit_bytes {
        Some(limit) => {
            let share = seen.memory.used_bytes as f64 / limit as f64 * 100.0;
            format!("{used} of {} ({share:.0} %)", bytes(limit))
        }
        None => format!("{used}, no limit set (maxmemory)"),
    }
}

fn bytes(number: u64) -> String {
    indicatif::HumanBytes(number).to_string()
}

/// Prints an object for each node, each destination, each application, each alarm, and Redis.
pub(super) fn json(seen: &Seen) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for node in &seen.nodes {
        let line = json!({
            "type": "node", "name": node.name, "version": node.version, "uptime_s": node.up_s,
            "draining": node.draining, "destinations": node.destinations,
        });
        writeln!(out, "{line}")?;
    }
    for row in &seen.destinations {
        let line = json!({
            "type": "destination", "name": row.name, "kind": row.kind, "state": row.state, "owner": row.owner,
            "epoch": row.epoch, "backlog": row.backlog, "backlog_age_s": row.oldest_s, "drain_eta_s": row.eta_s,
            "dead_letters": row.dead, "last_error": row.last_error,
            "held_tables": row.held.iter().map(|table| json!({
                "table": table.table, "why": table.why, "since": table.since, "routes": table.routes,
                "application": table.application, "after": place(&table.after),
            })).collect::<Vec<_>>(),
            "catching_up": row.catching_up.iter().map(|one| json!({
                "route": one.route, "kind": one.kind, "application": one.application, "after": place(&one.after),
                "to": one.to.as_ref().map(place), "why": one.why,
            })).collect::<Vec<_>>(),
        });
        writeln!(out, "{line}")?;
    }
    for one in &seen.applications {
        let line = json!({
            "type": "application", "name": one.name, "last_record_at": one.last_ms.map(instant),
        });
        writeln!(out, "{line}")?;
    }
    for alarm in &seen.alarms {
        writeln!(out, "{}", json!({"type": "alarm", "since": alarm.since, "what": alarm.what}))?;
    }
    let memory = &seen.memory;
    writeln!(out, "{}", json!({"type": "redis", "used_bytes": memory.used_bytes, "limit_bytes": memory.limit_bytes}))
}

fn place(position: &Position) -> String {
    format!("{}-{}", position.generation, position.id)
}

fn instant(ms: u64) -> String {
    let moment = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}
