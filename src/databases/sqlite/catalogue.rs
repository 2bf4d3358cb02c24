//! Tables as SQLite's own catalogue describes them.
//!
//! A column stores what its *affinity* makes of a value, and the declared type decides the affinity (SQLite,
//! *Datatypes In SQLite*, 3.1); beyond that, names that people use for types SQLite does not have are taken at their
//! word.

use sqlx::{Arguments as _, Row as _, sqlite::SqliteArguments, sqlite::SqliteRow};
use tidegate_actors::{
    ports::{Fault, TableName, WriteError},
    schema::{ColumnSchema, ColumnType, TableSchema},
};

use super::session::Session;
use crate::databases::{is_ours, nearest};

/// Describes a table.
pub(super) async fn table(session: &mut Session, name: &str) -> Result<TableSchema, WriteError> {
    let tables = names(session).await?;
    let found = find(&tables, name).or_else(|| find(&tables, name.strip_prefix("main.")?));
    let Some(found) = found else {
        let theirs = tables.iter().map(String::as_str).filter(|table| !table.starts_with("tidegate_"));
        let hint = nearest(name, theirs).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        let message = format!("{} has no table `{name}`{hint}", session.path().display());
        return Err(WriteError::Hold(Fault::new(message)));
    };
    let (columns, unique_keys) = (columns(session, found).await?, unique_keys(session, found).await?);
    Ok(TableSchema { schema: String::new(), name: found.to_owned(), columns, unique_keys })
}

/// Every table, without ours. A view takes no changes, unless a trigger does something else instead.
pub(super) async fn tables(session: &mut Session) -> Result<Vec<TableName>, WriteError> {
    let theirs = names(session).await?.into_iter().filter(|name| !is_ours(name));
    Ok(theirs.map(|name| TableName { schema: String::new(), name, default_schema: true }).collect())
}

async fn names(session: &mut Session) -> Result<Vec<String>, WriteError> {
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let rows = session.rows(sql, SqliteArguments::default()).await?;
    rows.iter().map(|row| cell(session, row, "name")).collect()
}

/// By its exact name, else without regard to case, as SQLite itself takes it.
fn find<'a>(tables: &'a [String], name: &str) -> Option<&'a str> {
    let exact = tables.iter().find(|table| *table == name);
    exact.or_else(|| tables.iter().find(|table| table.eq_ignore_ascii_case(name))).map(String::as_str)
}

async fn columns(session: &mut Session, table: &str) -> Result<Vec<ColumnSchema>, WriteError> {
    // A primary key without an index of its own is the rowid: NULL there means 'the next number'.
    let sql = "SELECT info.name, info.type, info.\"notnull\", info.dflt_value AS expression, info.dflt_value IS NOT NULL AS has_default, info.hidden, \
               info.pk > 0 AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk') AS is_rowid \
               FROM pragma_table_xinfo(?1) AS info WHERE info.hidden <> 1 ORDER BY info.cid";
    let rows = session.rows(sql, named(table)?).await?;
    let describe = |row: &SqliteRow| {
        let declared: String = cell(session, row, "type")?;
        let is_rowid = cell::<i64>(session, row, "is_rowid")? != 0;
        Ok(ColumnSchema {
            name: cell(session, row, "name")?,
            kind: column_type(&declared),
            nullable: cell::<i64>(session, row, "notnull")? == 0 && !is_rowid,
            default: cell::<Option<String>>(session, row, "expression")?,
            has_default: cell::<i64>(session, row, "has_default")? != 0 || is_rowid,
            generated: cell::<i64>(session, row, "hidden")? != 0,
            declared,
        })
    };
    rows.iter().map(describe).collect()
}

/// The primary key first, then every unique index that covers all rows and only plain columns.
async fn unique_keys(session: &mut Session, table: &str) -> Result<Vec<Vec<String>>, WriteError> {
    let sql = "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk";
    let primary = session.rows(sql, named(table)?).await?;
    let primary: Vec<String> = primary.iter().map(|row| cell(session, row, "name")).collect::<Result<_, _>>()?;
    let mut keys = if primary.is_empty() { Vec::new() } else { vec![primary] };

    let sql = "SELECT list.seq, info.name FROM pragma_index_list(?) AS list, pragma_index_info(list.name) AS info \
               WHERE list.\"unique\" AND NOT list.partial AND list.origin <> 'pk' ORDER BY list.seq DESC, info.seqno";
    let rows = session.rows(sql, named(table)?).await?;
    let mut indexes: Vec<(i64, Option<Vec<String>>)> = Vec::new();
    for row in &rows {
        let (index, column): (i64, Option<String>) = (cell(session, row, "seq")?, cell(session, row, "name")?);
        if indexes.last().is_none_or(|(last, _)| *last != index) {
            indexes.push((index, Some(Vec::new())));
        }
        if let Some((_, columns)) = indexes.last_mut() {
            // An expression has no name: its index can't be a key.
            *columns = columns.take().zip(column).map(|(mut columns, column)| {
                columns.push(column);
                columns
            });
        }
    }
    keys.extend(indexes.into_iter().filter_map(|(_, columns)| columns));
    Ok(keys)
}

/// What a declared type can hold.
pub(super) fn column_type(declared: &str) -> ColumnType {
    let declared = declared.to_ascii_uppercase();
    let word = declared.split('(').next().unwrap_or_default().trim();
    let has = |part: &str| declared.contains(part);
    let zone = has("TZ") || has("WITH TIME ZONE");
    if has("BOOL") {
        ColumnType::Bool
    } else if has("INT") {
        ColumnType::Int { min: i128::from(i64::MIN), max: i128::from(i64::MAX) }
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        ColumnType::Text { max_chars: None, max_bytes: None, nul: true }
    } else if has("BLOB") || has("BINARY") || has("BYTEA") {
        ColumnType::Bytes { max_bytes: None }
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        ColumnType::Float { bits: 64 }
    } else if has("JSON") {
        ColumnType::Json { nul: true }
    } else if has("UUID") || has("GUID") || word == "UNIQUEIDENTIFIER" {
        ColumnType::Uuid
    } else if has("DATETIME") || has("TIMESTAMP") {
        ColumnType::Timestamp { zone }
    } else if word == "DATE" {
        ColumnType::Date
    } else if word.starts_with("TIME") {
        ColumnType::Time { zone }
    } else if ["DEC", "NUMERIC", "NUMBER", "MONEY"].iter().any(|name| has(name)) {
        ColumnType::Numeric15
    } else {
        ColumnType::Other
    }
}

fn named(table: &str) -> Result<SqliteArguments, WriteError> {
    let mut arguments = SqliteArguments::default();
    arguments.add(table).map_err(|error| WriteError::Hold(Fault::new(error.to_string())))?;
    Ok(arguments)
}

fn cell<'r, T>(session: &Session, row: &'r SqliteRow, name: &str) -> Result<T, WriteError>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).map_err(|error| session.unreadable(error))
}
