//! `tidegate route try`: what a route would write, record by record and cell by cell, without writing.

use std::{collections::BTreeMap, io::Write, process::ExitCode};

use anyhow::bail;
use clap::Args;
use console::Style;
use serde::Serialize;
use tidegate_actors::mapping::Whence;

use super::{
    records::RecordArgs,
    source::{Source, Which},
};
use crate::{
    cli::table::{Table, count, left, of, paint, plain, width},
    config::Flags,
    tables::dry_run::{DryRun, Outcome, PlacedCell, Refusal, Row},
};

/// Try a route on records without writing: the row each would become, cell by cell, or the reason why not
///
/// The route is one of the registry, or one of a file that is not applied yet. Only the catalogue of its database is read.
/// Exit status: 0 when every record can be mapped, 1 when one cannot.
#[derive(Args)]
pub(super) struct Try {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    records: RecordArgs,
    /// Show only the records that cannot be mapped
    #[arg(long)]
    only_refused: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// One record of the answer.
#[derive(Serialize)]
struct Line<'a> {
    record: &'a str,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// How many records came to what.
#[derive(Default)]
struct Tally {
    all: usize,
    operations: BTreeMap<&'static str, usize>,
    children: usize,
    skipped: usize,
    other_topics: usize,
    refused: usize,
}

impl Try {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let source = self.which.find(flags).await?;
        let route = &source.route;
        let mut input = self.records.open(&source.settings, &route.application, &route.topic, None).await?;
        let mapping = source.compile().await?;
        let mut out = std::io::stdout().lock();
        if !self.json {
            write_heading(&mut out, &source)?;
        }
        let dry = DryRun::new(route, mapping);
        let mut tally = Tally::default();
        while let Some(tried) = input.next()? {
            let whence = Whence { application: &route.application, generation: &tried.generation };
            let outcome = match &tried.message {
                Ok(message) => dry.run(message, whence),
                Err(why) => Outcome::Refused(Refusal { code: "type".into(), column: None, message: why.clone() }),
            };
            tally.add(&outcome);
            if self.only_refused && !matches!(outcome, Outcome::Refused(_)) {
                continue;
            }
            if self.json {
                writeln!(out, "{}", serde_json::to_string(&Line { record: &tried.name, outcome: &outcome })?)?;
            } else {
                write_outcome(&mut out, &tried.name, &outcome)?;
            }
        }
        if tally.all == 0 {
            bail!("there is no record to try the route on");
        }
        if !self.json {
            writeln!(out, "{}", tally.sentence())?;
        }
        Ok(if tally.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn write_heading(out: &mut impl Write, source: &Source) -> std::io::Result<()> {
    let route = &source.route;
    let line = format!(
        "route {}: topic {} of {} into table {} of {}; nothing is written",
        route.name, route.topic, route.application, route.table, route.destination
    );
    writeln!(out, "{}", plain(&line))
}

fn write_outcome(out: &mut impl Write, name: &str, outcome: &Outcome) -> std::io::Result<()> {
    match outcome {
        Outcome::Row(row) => write_row(out, name, row),
        Outcome::Skipped => writeln!(out, "{name}: skipped, the route's filter says no"),
        Outcome::Nothing => writeln!(out, "{name}: nothing is written, the route ignores deletes"),
        Outcome::OtherTopic { topic } => writeln!(out, "{name}: not for this route, its topic is {}", plain(topic)),
        Outcome::Refused(refusal) => {
            let refused = paint("refused", &Style::new().red());
            writeln!(out, "{name}: {refused} ({}): {}", plain(&refusal.code), plain(&refusal.message))
        }
    }
}

fn write_row(out: &mut impl Write, name: &str, row: &Row) -> std::io::Result<()> {
    let key = row.key.as_ref().map_or(String::new(), |key| format!(", key {}", plain(key)));
    writeln!(out, "{name}: {}{key}", row.operation)?;
    write_cells(out, &row.cells, "  ")?;
    for child in &row.children {
        match &child.rows {
            None if row.operation == "delete" => writeln!(out, "  {}: its rows go with it", plain(&child.table))?,
            None => writeln!(out, "  {}: stays as it is, the record does not speak of it", plain(&child.table))?,
            Some(rows) => {
                writeln!(out, "  {}: {}, in place of those there are", plain(&child.table), of(rows.len(), "row"))?;
                for (place, cells) in rows.iter().enumerate() {
                    writeln!(out, "    {}", place + 1)?;
                    write_cells(out, cells, "      ")?;
                }
            }
        }
    }
    Ok(())
}

fn write_cells(out: &mut impl Write, cells: &[PlacedCell], indent: &str) -> std::io::Result<()> {
    let mut table = Table::new([left(""), left(""), left("")]);
    for cell in cells {
        table.row([plain(&cell.column), short(cell.value.get()), plain(&cell.from)]);
    }
    let width = width().map(|width| width.saturating_sub(indent.len()).max(30));
    for line in table.lines(width).into_iter().skip(1) {
        writeln!(out, "{indent}{line}")?;
    }
    Ok(())
}

/// A value may be long; --json has all of it.
fn short(value: &str) -> String {
    console::truncate_str(&plain(value), 60, "…").into_owned()
}

impl Tally {
    fn add(&mut self, outcome: &Outcome) {
        self.all += 1;
        match outcome {
            Outcome::Row(row) => {
                *self.operations.entry(row.operation).or_default() += 1;
                self.children +=
                    row.children.iter().filter_map(|child| child.rows.as_ref()).map(Vec::len).sum::<usize>();
            }
            Outcome::Skipped | Outcome::Nothing => self.skipped += 1,
            Outcome::OtherTopic { .. } => self.other_topics += 1,
            Outcome::Refused(_) => self.refused += 1,
        }
    }

    /// `20 records: 18 upsert, 1 skipped by the filter, 1 refused`
    fn sentence(&self) -> String {
        let mut parts: Vec<String> = self
            .operations
            .iter()
            .map(|(operation, number)| format!("{} {operation}", count(*number as u64)))
            .collect();
        for (number, what) in [
            (self.children, "rows of child tables"),
            (self.skipped, "skipped by the filter"),
            (self.other_topics, "of other topics"),
            (self.refused, "refused"),
        ] {
            if number > 0 {
                parts.push(format!("{} {what}", count(number as u64)));
            }
        }
        format!("{}: {}", of(self.all, "record"), parts.join(", "))
    }
}
