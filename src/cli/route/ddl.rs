//! `tidegate route ddl`: the statements that make what a route lacks; printed, and run only where that is asked for.

use std::{
    io::{BufRead as _, IsTerminal as _, Write},
    process::ExitCode,
};

use anyhow::bail;
use clap::Args;
use tidegate_actors::ports::Destination as Database;

use super::source::{Source, Which};
use crate::{
    cli::table::of,
    config::Flags,
    tables::{
        ddl::{Dialect, Lacking, lacking},
        fit::{Severity, judge},
        look,
    },
};

/// Print the statements that make the tables and columns that a route lacks; with --create, run them
///
/// CREATE TABLE where the table is missing, ALTER TABLE … ADD for missing columns; types follow from the route's `as`, checks
/// and constants. Nothing that is there is changed. Exit status: 0 also when nothing is missing.
#[derive(Args)]
pub(super) struct Ddl {
    #[command(flatten)]
    which: Which,
    /// Run them, after showing them and asking
    #[arg(long)]
    create: bool,
    /// Do not ask
    #[arg(long, requires = "create")]
    yes: bool,
}

impl Ddl {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let source = self.which.find(flags).await?;
        let dialect = Dialect::of(&source.destination()?.kind).map_err(anyhow::Error::msg)?;
        let mut database = source.database()?;
        let (table, children) = look::of_route(database.as_mut(), &source.route).await?;
        let needed = lacking(dialect, &source.route, table.as_ref(), &children).map_err(anyhow::Error::msg)?;
        show(&source, &needed)?;
        if needed.statements.is_empty() {
            return tell_rest(&source, database.as_mut()).await;
        }
        if !self.create {
            return Ok(ExitCode::SUCCESS);
        }
        let many = of(needed.statements.len(), "statement");
        if !self.yes && !confirmed(&many, &source.route.destination)? {
            bail!("nothing was run");
        }
        database.define(&needed.statements).await?;
        writeln!(std::io::stdout(), "-- {many} run on {}.", source.route.destination)?;
        tell_rest(&source, database.as_mut()).await
    }
}

fn show(source: &Source, needed: &Lacking) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for statement in &needed.statements {
        writeln!(out, "{statement};")?;
    }
    for note in &needed.notes {
        writeln!(out, "-- {note}")?;
    }
    if needed.statements.is_empty() {
        writeln!(out, "-- route {} lacks no table and no column in {}", source.route.name, source.route.destination)?;
    }
    Ok(())
}

/// What these statements can't mend.
async fn tell_rest(source: &Source, database: &mut dyn Database) -> anyhow::Result<ExitCode> {
    let (Some(table), children) = look::of_route(database, &source.route).await? else { return Ok(ExitCode::SUCCESS) };
    let Some(children) = children.into_iter().collect::<Option<Vec<_>>>() else { return Ok(ExitCode::SUCCESS) };
    let findings = judge(&source.route, &table, children);
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        writeln!(out, "-- {}", finding.message)?;
    }
    let refused = findings.iter().any(|finding| finding.severity == Severity::Refused);
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn confirmed(many: &str, destination: &str) -> anyhow::Result<bool> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        bail!("this runs {many} on {destination}; say --yes to do it");
    }
    write!(std::io::stderr(), "Run {many} on {destination}? [y/N] ")?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
