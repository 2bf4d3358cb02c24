//! `dead list --group`: a line for each cause.

use std::{collections::BTreeMap, io::Write, process::ExitCode};

use serde::Serialize;
use tidegate_actors::transaction::DeadId;

use super::{
    Filter, Letters,
    list::{instant, route},
    name,
};
use crate::cli::{
    now_ms,
    table::{Table, age_s, count, left, plain, right, span, width},
};

/// Destination, route, code, column.
type Cause = (String, String, String, Option<String>);

struct Group {
    count: u64,
    superseded: u64,
    first_ms: u64,
    last_ms: u64,
    example: DeadId,
    message: String,
}

/// A line of `--json`.
#[derive(Serialize)]
struct Line<'a> {
    destination: &'a str,
    route: &'a str,
    code: &'a str,
    column: Option<&'a str>,
    count: u64,
    superseded: u64,
    first: String,
    last: String,
    example: String,
    reason: &'a str,
}

pub(super) async fn list(letters: &Letters, filter: &Filter, json: bool) -> anyhow::Result<ExitCode> {
    let mut groups: BTreeMap<Cause, Group> = BTreeMap::new();
    for mut lot in letters.find(filter).await? {
        if lot.summaries.len() < lot.ids.len() {
            letters.look_inside(&mut lot, |_| true).await?;
        }
        for (id, letter) in lot.ids.iter().zip(&lot.summaries) {
            let route = route(letters, id, &letter.route_name).to_owned();
            let cause = (lot.destination.1.clone(), route, letter.code.clone(), letter.column.clone());
            let group = groups.entry(cause).or_insert_with(|| Group {
                count: 0,
                superseded: 0,
                first_ms: letter.at_ms,
                last_ms: letter.at_ms,
                example: id.clone(),
                message: letter.message.clone(),
            });
            group.count += 1;
            group.superseded += u64::from(letter.superseded);
            group.first_ms = group.first_ms.min(letter.at_ms);
            group.last_ms = group.last_ms.max(letter.at_ms);
        }
    }
    let mut out = std::io::stdout().lock();
    let now = now_ms()?;
    let mut table = Table::new([
        left("DESTINATION"),
        left("ROUTE"),
        left("CODE"),
        left("COLUMN"),
        right("COUNT"),
        right("SUPERSEDED"),
        right("FIRST"),
        right("LAST"),
        left("EXAMPLE"),
        left("REASON"),
    ]);
    for ((destination, route, code, column), group) in &groups {
        if json {
            let line = Line {
                destination,
                route,
                code,
                column: column.as_deref(),
                count: group.count,
                superseded: group.superseded,
                first: instant(group.first_ms),
                last: instant(group.last_ms),
                example: name(&group.example),
                reason: &group.message,
            };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
            continue;
        }
        table.row([
            destination.clone(),
            plain(route),
            plain(code),
            plain(column.as_deref().unwrap_or("-")),
            count(group.count),
            count(group.superseded),
            span(age_s(group.first_ms, now)),
            span(age_s(group.last_ms, now)),
            name(&group.example),
            plain(&group.message),
        ]);
    }
    if json {
        return Ok(ExitCode::SUCCESS);
    }
    if table.is_empty() {
        writeln!(out, "No dead letters.")?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in table.lines(width()) {
        writeln!(out, "{line}")?;
    }
    Ok(ExitCode::SUCCESS)
}
