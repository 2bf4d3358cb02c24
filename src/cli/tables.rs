//! `tidegate tables`: what a destination's database has, as its own catalogue says.

use std::{io::Write, process::ExitCode};

use clap::Args;
use tidegate_actors::{
    ports::Destination as Database,
    schema::{ColumnSchema, TableSchema},
};

use super::{
    known, settings,
    table::{Table, left, of, plain, width},
};
use crate::{
    config::Flags,
    registry::{Store, secrets::MasterKey},
    resources::{Destination, Document},
    tables::look,
};

/// List the tables of a destination, or the columns and keys of one of them
///
/// Tables and views that rows can be written to and that the destination's user can see, without Tidegate's own and the
/// database's. It writes nothing.
#[derive(Args)]
pub(super) struct Tables {
    /// The destination
    destination: String,
    /// A table (`cars`, `sales.cars`): its columns, types, defaults and unique keys
    table: Option<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl Tables {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let settings = settings(flags)?;
        let key = MasterKey::from_settings(&settings)?;
        let document = Store::open(&settings.redis_url, &settings.prefix)?.load().await?.unwrap_or_default();
        let destination = destination(&document, &self.destination)?;
        let mut database = look::open(destination, key.as_ref()).map_err(anyhow::Error::msg)?;
        match &self.table {
            Some(table) => self.one(database.as_mut(), table).await,
            None => self.all(&document, destination, database.as_mut()).await,
        }
    }

    async fn all(
        &self,
        document: &Document,
        destination: &Destination,
        database: &mut dyn Database,
    ) -> anyhow::Result<ExitCode> {
        let tables = look::listed(document, destination, database).await?;
        let mut out = std::io::stdout().lock();
        let mut shown = Table::new([left("TABLE"), left("ROUTES")]);
        for line in &tables {
            if self.json {
                writeln!(out, "{}", serde_json::to_string(line)?)?;
            } else {
                let routes = if line.routes.is_empty() { "-".to_owned() } else { line.routes.join(", ") };
                shown.row([plain(&line.table), plain(&routes)]);
            }
        }
        if self.json {
            return Ok(ExitCode::SUCCESS);
        }
        if shown.is_empty() {
            writeln!(
                out,
                "{} has no table that its user can see; make one, or grant a right on one (`tidegate check {}` lists them).",
                destination.name, destination.name
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        for line in shown.lines(width()) {
            writeln!(out, "{line}")?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn one(&self, database: &mut dyn Database, name: &str) -> anyhow::Result<ExitCode> {
        let table = look::table(database, name).await?;
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&table)?)?;
            return Ok(ExitCode::SUCCESS);
        }
        write_table(&mut out, &table)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// A table for people.
fn write_table(out: &mut impl Write, table: &TableSchema) -> std::io::Result<()> {
    let schema = if table.schema.is_empty() { String::new() } else { format!("{}.", table.schema) };
    writeln!(out, "{}, {}", plain(&format!("{schema}{}", table.name)), of(table.columns.len(), "column"))?;
    let mut shown = Table::new([left("COLUMN"), left("TYPE"), left("NULL"), left("DEFAULT")]);
    for column in &table.columns {
        let null = if column.nullable { "yes" } else { "no" };
        shown.row([plain(&column.name), plain(&column.declared), null.into(), default(column)]);
    }
    for line in shown.lines(width()) {
        writeln!(out, "{line}")?;
    }
    if table.unique_keys.is_empty() {
        writeln!(out, "No unique key: routes to it can only insert.")?;
    }
    for key in &table.unique_keys {
        writeln!(out, "unique key ({})", plain(&key.join(", ")))?;
    }
    Ok(())
}

fn default(column: &ColumnSchema) -> String {
    match &column.default {
        _ if column.generated => "computed by the database".into(),
        Some(default) => plain(default),
        None if column.has_default => "given by the database".into(),
        None => "-".into(),
    }
}

/// The destination of this name.
pub(super) fn destination<'d>(document: &'d Document, name: &str) -> anyhow::Result<&'d Destination> {
    known("destination", name, document.destinations.iter().map(|one| one.name.as_str()))?;
    // It was found just now.
    document
        .destinations
        .iter()
        .find(|one| one.name == name)
        .ok_or_else(|| anyhow::anyhow!("there is no destination `{name}`"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tidegate_actors::schema::ColumnType;

    use super::*;

    #[test]
    fn a_table_reads_like_a_table() {
        let column = |name: &str, declared: &str, nullable, default: Option<&str>, generated| ColumnSchema {
            name: name.into(),
            declared: declared.into(),
            kind: ColumnType::Other,
            nullable,
            has_default: default.is_some() || generated || name == "id",
            default: default.map(str::to_owned),
            generated,
        };
        let table = TableSchema {
            schema: "public".into(),
            name: "cars".into(),
            columns: vec![
                column("id", "bigint", false, None, false),
                column("name", "character varying(40)", false, Some("'none'::character varying"), false),
                column("note", "text", true, None, false),
                column("doubled", "integer", true, None, true),
            ],
            unique_keys: vec![vec!["id".into()], vec!["branch".into(), "no".into()]],
        };
        let mut out = Vec::new();
        write_table(&mut out, &table).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r##"
        public.cars, 4 columns
        COLUMN   TYPE                   NULL  DEFAULT
        id       bigint                 no    given by the database
        name     character varying(40)  no    'none'::character varying
        note     text                   yes   -
        doubled  integer                yes   computed by the database
        unique key (id)
        unique key (branch, no)
        "##);
    }
}
