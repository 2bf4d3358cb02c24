//! Tables as `information_schema` describes them, in the words of [`TableSchema`].
//!
//! Every expression is cast, because the views' own types differ between MySQL and MariaDB.

use std::collections::HashMap;

use sqlx::{MySqlConnection, Row};
use tidegate_actors::{
    ports::{Fault, TableName, WriteError},
    schema::{ColumnSchema, ColumnType, TableSchema},
};

use crate::databases::{is_ours, nearest};

/// What a write must know of a table beside its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Character set and collation of every column that has one.
    pub(super) collations: HashMap<String, (String, String)>,
    /// Whether there is a unique index that the schema does not list (over a prefix or an expression), which
    /// `ON DUPLICATE KEY` would match all the same.
    pub(super) hidden_unique: bool,
}

/// Why a table could not be described.
pub(super) enum Missing {
    /// The database did not answer.
    Sql(sqlx::Error),
    /// The table is not what a route can write to.
    Told(WriteError),
}

impl From<sqlx::Error> for Missing {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

const TABLES: &str = "SELECT CAST(t.TABLE_SCHEMA AS CHAR), CAST(t.TABLE_NAME AS CHAR), CAST(t.ENGINE AS CHAR), \
    CAST(e.TRANSACTIONS AS CHAR), CAST(@@lower_case_table_names AS UNSIGNED) \
    FROM information_schema.TABLES t LEFT JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE \
    WHERE t.TABLE_SCHEMA = COALESCE(?, DATABASE()) AND t.TABLE_NAME = ?";
const NAMES: &str = "SELECT CAST(TABLE_NAME AS CHAR), CAST(TABLE_SCHEMA AS CHAR) FROM information_schema.TABLES \
    WHERE TABLE_SCHEMA = COALESCE(?, DATABASE()) ORDER BY TABLE_NAME LIMIT 10000";
/// Every table, and every view that takes changes, in any database that the user has some right on.
const LIST: &str = "SELECT CAST(t.TABLE_SCHEMA AS CHAR), CAST(t.TABLE_NAME AS CHAR), \
    CAST(COALESCE(t.TABLE_SCHEMA = DATABASE(), 0) AS UNSIGNED) FROM information_schema.TABLES t \
    LEFT JOIN information_schema.VIEWS v ON v.TABLE_SCHEMA = t.TABLE_SCHEMA AND v.TABLE_NAME = t.TABLE_NAME \
    WHERE t.TABLE_SCHEMA NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys') \
    AND (t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') OR t.TABLE_TYPE = 'VIEW' AND v.IS_UPDATABLE = 'YES') \
    ORDER BY t.TABLE_SCHEMA, t.TABLE_NAME";
const COLUMNS: &str = "SELECT CAST(COLUMN_NAME AS CHAR), CAST(COLUMN_TYPE AS CHAR), CAST(DATA_TYPE AS CHAR), \
    CAST(CHARACTER_MAXIMUM_LENGTH AS UNSIGNED), CAST(CHARACTER_OCTET_LENGTH AS UNSIGNED), \
    CAST(NUMERIC_PRECISION AS UNSIGNED), CAST(NUMERIC_SCALE AS UNSIGNED), CAST(IS_NULLABLE AS CHAR), \
    CAST(COLUMN_DEFAULT AS CHAR), CAST(EXTRA AS CHAR), CAST(GENERATION_EXPRESSION AS CHAR), \
    CAST(CHARACTER_SET_NAME AS CHAR), CAST(COLLATION_NAME AS CHAR) \
    FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND BINARY TABLE_NAME = ? ORDER BY ORDINAL_POSITION";
const KEYS: &str = "SELECT CAST(INDEX_NAME AS CHAR), CAST(COLUMN_NAME AS CHAR), CAST(SUB_PART AS UNSIGNED) \
    FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? AND BINARY TABLE_NAME = ? AND NON_UNIQUE = 0 \
    ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX";
/// MariaDB only; `json` is a text there, with this check.
const JSON_CHECKS: &str = "SELECT CAST(CHECK_CLAUSE AS CHAR) FROM information_schema.CHECK_CONSTRAINTS \
    WHERE CONSTRAINT_SCHEMA = ? AND BINARY TABLE_NAME = ?";

/// Describes the table of this name: in the connection's database, else `schema.name`.
pub(super) async fn table(
    connection: &mut MySqlConnection,
    name: &str,
    destination: &str,
) -> Result<(TableSchema, Facts), Missing> {
    let (schema, table) = find(connection, name, destination).await?;
    describe(connection, &schema, &table).await.map_err(Missing::Sql)
}

/// Every table that rows can be written to, without ours.
pub(super) async fn tables(connection: &mut MySqlConnection) -> Result<Vec<TableName>, sqlx::Error> {
    let mut tables = Vec::new();
    for row in sqlx::query(LIST).fetch_all(connection).await? {
        let name: String = row.try_get(1)?;
        if !is_ours(&name) {
            let default_schema = row.try_get::<u64, _>(2)? != 0;
            tables.push(TableName { schema: row.try_get(0)?, name, default_schema });
        }
    }
    Ok(tables)
}

/// Finds where the table is and how its name is spelled.
async fn find(connection: &mut MySqlConnection, name: &str, destination: &str) -> Result<(String, String), Missing> {
    let qualified = name.split_once('.').map(|(schema, table)| (Some(schema), table));
    for (schema, table) in std::iter::once((None, name)).chain(qualified) {
        let rows = sqlx::query(TABLES).bind(schema).bind(table).fetch_all(&mut *connection).await?;
        for exact in [true, false] {
            for row in &rows {
                let (found, folded): (String, u64) = (row.try_get(1)?, row.try_get(4)?);
                if found == table || (!exact && folded != 0 && found.eq_ignore_ascii_case(table)) {
                    let engine: Option<String> = row.try_get(2)?;
                    let transactions: Option<String> = row.try_get(3)?;
                    if transactions.as_deref() == Some("NO") {
                        return Err(Missing::Told(WriteError::Hold(Fault::new(format!(
                            "table `{name}` of `{destination}` is kept by {}, which has no transactions: \
                             ALTER TABLE {name} ENGINE=InnoDB",
                            engine.unwrap_or_default()
                        )))));
                    }
                    return Ok((row.try_get(0)?, found));
                }
            }
        }
    }
    let (schema, table) = qualified.unwrap_or((None, name));
    let rows = sqlx::query(NAMES).bind(schema).fetch_all(&mut *connection).await?;
    let mut names = Vec::new();
    for row in &rows {
        names.push(row.try_get::<String, _>(0)?);
    }
    let near = nearest(table, names.iter().map(String::as_str).filter(|name| !name.starts_with("tidegate_")));
    let hint = match (near, schema) {
        (Some(near), Some(schema)) => format!("; did you mean `{schema}.{near}`?"),
        (Some(near), None) => format!("; did you mean `{near}`?"),
        (None, _) => "; make it, or give the writer a right on it (without one it is not to be seen)".into(),
    };
    Err(Missing::Told(WriteError::Hold(Fault::new(format!("`{destination}` has no table `{name}`{hint}")))))
}

/// Describes a table that is there.
pub(super) async fn describe(
    connection: &mut MySqlConnection,
    schema: &str,
    table: &str,
) -> Result<(TableSchema, Facts), sqlx::Error> {
    let json_checks = json_checks(connection, schema, table).await?;
    let mut columns = Vec::new();
    let mut facts = Facts::default();
    for row in sqlx::query(COLUMNS).bind(schema).bind(table).bind(table).fetch_all(&mut *connection).await? {
        let name: String = row.try_get(0)?;
        let declared: String = row.try_get(1)?;
        let data_type = row.try_get::<String, _>(2)?.to_lowercase();
        let charset: Option<String> = row.try_get(11)?;
        let raw = RawColumn {
            declared: &declared,
            data_type: &data_type,
            chars: row.try_get(3)?,
            octets: row.try_get(4)?,
            precision: row.try_get(5)?,
            scale: row.try_get(6)?,
            charset: charset.as_deref(),
            json_check: json_checks.contains(&format!("json_valid({})", super::sql::quote(&name))),
        };
        let kind = raw.kind();
        let default: Option<String> = row.try_get(8)?;
        let extra = row.try_get::<String, _>(9)?.to_lowercase();
        let generated = row.try_get::<Option<String>, _>(10)?.is_some_and(|expression| !expression.is_empty());
        columns.push(ColumnSchema {
            kind,
            nullable: row.try_get::<String, _>(7)? == "YES",
            // MariaDB writes a default of NULL out.
            has_default: default.as_ref().is_some_and(|default| default != "NULL")
                || extra.contains("auto_increment")
                || extra.contains("default_generated")
                || generated,
            default: default.filter(|default| default != "NULL" && !generated),
            generated,
            name: name.clone(),
            declared,
        });
        if let (Some(charset), Some(collation)) = (charset, row.try_get::<Option<String>, _>(12)?) {
            facts.collations.insert(name, (charset, collation));
        }
    }
    let mut keys: Vec<(String, Option<Vec<String>>)> = Vec::new();
    for row in sqlx::query(KEYS).bind(schema).bind(table).bind(table).fetch_all(&mut *connection).await? {
        let index: String = row.try_get(0)?;
        // An index over an expression has no column, one over a prefix has a part.
        let column: Option<String> = row.try_get(1)?;
        let part: Option<u64> = row.try_get(2)?;
        if keys.last().is_none_or(|(name, _)| *name != index) {
            keys.push((index, Some(Vec::new())));
        }
        if let Some((_, names)) = keys.last_mut() {
            match (column, part, names.as_mut()) {
                (Some(column), None, Some(names)) => names.push(column),
                _ => *names = None,
            }
        }
    }
    facts.hidden_unique = keys.iter().any(|(_, columns)| columns.is_none());
    let unique_keys = keys.into_iter().filter_map(|(_, columns)| columns).collect();
    Ok((TableSchema { schema: schema.into(), name: table.into(), columns, unique_keys }, facts))
}

/// The checks `json_valid(…)` of a MariaDB table, in one text.
async fn json_checks(connection: &mut MySqlConnection, schema: &str, table: &str) -> Result<String, sqlx::Error> {
    let version: String =
        sqlx::query("SELECT CAST(VERSION() AS CHAR)").fetch_one(&mut *connection).await?.try_get(0)?;
    if !version.contains("MariaDB") {
        return Ok(String::new());
    }
    let mut checks = String::new();
    for row in sqlx::query(JSON_CHECKS).bind(schema).bind(table).fetch_all(&mut *connection).await? {
        checks += &row.try_get::<String, _>(0)?;
        checks.push(' ');
    }
    Ok(checks)
}

/// A column as the catalogue has it.
struct RawColumn<'a> {
    declared: &'a str,
    data_type: &'a str,
    chars: Option<u64>,
    octets: Option<u64>,
    precision: Option<u64>,
    scale: Option<u64>,
    charset: Option<&'a str>,
    json_check: bool,
}

impl RawColumn<'_> {
    /// The type as mapping sees it.
    fn kind(&self) -> ColumnType {
        let unsigned = self.declared.contains("unsigned");
        let int = |bits: u32| match unsigned {
            true => ColumnType::Int { min: 0, max: (1_i128 << bits) - 1 },
            false => ColumnType::Int { min: -(1_i128 << (bits - 1)), max: (1_i128 << (bits - 1)) - 1 },
        };
        let small = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        match self.data_type {
            // BOOL and BOOLEAN are other words for it.
            "tinyint" if self.declared == "tinyint(1)" => ColumnType::Bool,
            "tinyint" => int(8),
            "smallint" => int(16),
            "mediumint" => int(24),
            "int" | "integer" => int(32),
            "bigint" => int(64),
            "year" => ColumnType::Int { min: 1901, max: 2155 },
            "bit" => match self.precision {
                Some(1) | None => ColumnType::Bool,
                Some(bits) => ColumnType::Int { min: 0, max: (1_i128 << bits.min(64)) - 1 },
            },
            "decimal" | "numeric" => ColumnType::Decimal { precision: small(self.precision), scale: small(self.scale) },
            "float" => ColumnType::Float { bits: 32 },
            "double" | "real" => ColumnType::Float { bits: 64 },
            "json" => ColumnType::Json { nul: true },
            "longtext" if self.json_check => ColumnType::Json { nul: true },
            "char" | "varchar" => ColumnType::Text { max_chars: self.chars, max_bytes: None, nul: true },
            "tinytext" | "text" | "mediumtext" | "longtext" => {
                // The limit is in bytes of the column's own character set; only UTF-8 is counted as the core counts.
                let utf8 = self.charset.is_some_and(|charset| charset.starts_with("utf8"));
                ColumnType::Text { max_chars: None, max_bytes: self.octets.filter(|_| utf8), nul: true }
            }
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                ColumnType::Bytes { max_bytes: self.octets }
            }
            "date" => ColumnType::Date,
            "time" => ColumnType::Time { zone: false },
            // A timestamp is an instant inside, but shows as the session's time, and ours is UTC.
            "datetime" | "timestamp" => ColumnType::Timestamp { zone: false },
            "enum" => ColumnType::Enum { values: enum_values(self.declared) },
            "uuid" => ColumnType::Uuid,
            _ => ColumnType::Other,
        }
    }
}

/// The values in `enum('new','it''s')`.
fn enum_values(declared: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut value: Option<String> = None;
    let mut chars = declared.chars().peekable();
    while let Some(char) = chars.next() {
        match (&mut value, char) {
            (None, '\'') => value = Some(String::new()),
            (None, _) => {}
            (Some(text), '\'') if chars.peek() == Some(&'\'') => {
                chars.next();
                text.push('\'');
            }
            (Some(_), '\'') => values.extend(value.take()),
            (Some(text), '\\') => match chars.next() {
                Some('n') => text.push('\n'),
                Some('r') => text.push('\r'),
                Some('0') => text.push('\0'),
                Some(other) => text.push(other),
                None => {}
            },
            (Some(text), other) => text.push(other),
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_an_enumeration_are_read_with_their_quotes() {
        assert_eq!(enum_values("enum('new','it''s, \"gone\"','a\\\\b','')"), ["new", "it's, \"gone\"", "a\\b", ""]);
    }
}
