//! `dead list --group`: a line for each cause.

use std::{collections::BTreeMap, io::Write, process::ExitCode};

use serde::Serialize;

use super::{Filter, Letters, list::instant};
use crate::{
    admin::dead_letters::{Group, groups},
    cli::{
        now_ms,
        table::{Table, age_s, count, left, plain, right, span, width},
    },
};

/// Destination, route, code, column: sentences of different shapes are one line here.
type Cause = (String, String, String, Option<String>);

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
    let found = groups(&letters.document, &letters.find(filter).await?);
    let mut groups: BTreeMap<Cause, Group> = BTreeMap::new();
    for group in found.groups {
        let cause = &group.cause;
        let place = (cause.destination.clone(), cause.route.clone(), cause.code.clone(), cause.column.clone());
        match groups.get_mut(&place) {
            None => {
                groups.insert(place, group);
            }
            Some(known) => {
                known.count += group.count;
                known.superseded += group.superseded;
                known.first_ms = known.first_ms.min(group.first_ms);
                known.last_ms = known.last_ms.max(group.last_ms);
            }
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
                example: group.examples.first().cloned().unwrap_or_default(),
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
            group.examples.first().cloned().unwrap_or_default(),
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
