//! PostgreSQL's catalogue: finds a table through the search path or by its schema, and describes its columns and keys.

use sqlx::{PgConnection, Row, postgres::PgRow};
use tidegate_actors::{
    ports::{Fault, TableName, WriteError},
    schema::{ColumnSchema, ColumnType, TableSchema},
};

use super::{errors::of_ours, sql::quote};
use crate::databases::{is_ours, nearest};

/// Finds the relation that a quoted name stands for in this session.
const RELATION: &str = "SELECT c.oid::int8, n.nspname::text, c.relname::text, c.relkind::text \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)::oid";

/// Every relation that rows can be written to, as a route would name it. For the nearest name only, so a bound is safe.
const NAMES: &str = "SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'f') AND NOT c.relispartition \
     AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1 LIMIT 5000";

/// Every table that rows can be written to and that this user has some right on; of a partitioned one the whole. A view counts
/// where it takes inserts or updates, by itself or through a trigger (8 and 4, *pg_relation_is_updatable*).
const LIST: &str = "SELECT n.nspname::text, c.relname::text, pg_table_is_visible(c.oid) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE NOT c.relispartition AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
     AND (c.relkind IN ('r', 'p') OR c.relkind IN ('v', 'f') AND pg_relation_is_updatable(c.oid, true) & 12 <> 0) \
     AND has_schema_privilege(n.oid, 'USAGE') \
     AND (has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE') \
          OR has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE')) ORDER BY 1, 2";

/// The columns, with domains resolved down to their base type.
const COLUMNS: &str = "WITH RECURSIVE resolved AS ( \
       SELECT a.attnum, a.attname, a.attnotnull AS required, a.atthasdef AS defaulted, a.attidentity, a.attgenerated, \
              a.atttypid AS type, a.atttypmod AS modifier, \
              CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END AS expression \
       FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
       WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped \
     UNION ALL \
       SELECT r.attnum, r.attname, r.required OR t.typnotnull, r.defaulted OR t.typdefault IS NOT NULL, r.attidentity, \
              r.attgenerated, t.typbasetype, CASE WHEN t.typtypmod >= 0 THEN t.typtypmod ELSE r.modifier END, \
              COALESCE(r.expression, pg_get_expr(t.typdefaultbin, 0)) \
       FROM resolved r JOIN pg_type t ON t.oid = r.type WHERE t.typtype = 'd') \
     SELECT r.attname::text AS name, format_type(r.type, r.modifier) AS declared, \
            CASE WHEN n.nspname = 'pg_catalog' OR t.typname = 'citext' THEN t.typname::text ELSE '' END AS type, \
            r.modifier, r.required, r.defaulted, r.expression, r.attidentity::text AS identity, r.attgenerated::text AS generated, \
            CASE WHEN t.typtype = 'e' THEN \
              ARRAY(SELECT e.enumlabel::text FROM pg_enum e WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) END AS labels \
     FROM resolved r JOIN pg_type t ON t.oid = r.type JOIN pg_namespace n ON n.oid = t.typnamespace \
     WHERE t.typtype <> 'd' ORDER BY r.attnum";

/// The unique keys that ON CONFLICT can use: valid, immediate, of plain columns, over all rows.
const KEYS: &str = "SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place) \
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum \
         WHERE k.place <= i.indnkeyatts ORDER BY k.place) \
     FROM pg_index i WHERE i.indrelid = $1::int8::oid AND i.indisunique AND i.indisvalid AND i.indimmediate \
     AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY i.indisprimary DESC, i.indexrelid";

/// The only column that a constraint of this table speaks of.
const CONSTRAINT: &str = "SELECT a.attname::text FROM pg_constraint c \
     JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
     WHERE c.conrelid = to_regclass($1)::oid AND c.conname = $2 AND cardinality(c.conkey) = 1";

/// Describes the table of this name: `name` through the search path, `schema.name` exactly.
pub(super) async fn table(pg: &mut PgConnection, destination: &str, name: &str) -> Result<TableSchema, WriteError> {
    let ours = |error: sqlx::Error| of_ours(destination, &error);
    let Some(relation) = relation(pg, name).await.map_err(ours)? else {
        let names: Vec<String> = sqlx::query_scalar(NAMES).fetch_all(pg).await.map_err(ours)?;
        let hint = nearest(name, names.iter().map(String::as_str));
        let hint = hint.map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
        return Err(WriteError::Hold(Fault::new(format!(
            "{destination}: there is no table `{name}`{hint}: create it, or correct the route's table or the user's search_path"
        ))));
    };
    let (oid, schema, name, kind) = relation;
    if !matches!(kind.as_str(), "r" | "p" | "v" | "f") {
        return Err(WriteError::Hold(Fault::new(format!(
            "{destination}: `{schema}.{name}` is not a table that rows can be written to: correct the route's table"
        ))));
    }
    let rows = sqlx::query(COLUMNS).bind(oid).fetch_all(&mut *pg).await.map_err(ours)?;
    let columns = rows.iter().map(column).collect::<Result<_, _>>().map_err(ours)?;
    let unique_keys = sqlx::query_scalar(KEYS).bind(oid).fetch_all(pg).await.map_err(ours)?;
    Ok(TableSchema { schema, name, columns, unique_keys })
}

/// Every table that rows can be written to, without ours.
pub(super) async fn tables(pg: &mut PgConnection, destination: &str) -> Result<Vec<TableName>, WriteError> {
    let rows: Vec<(String, String, bool)> =
        sqlx::query_as(LIST).fetch_all(pg).await.map_err(|error| of_ours(destination, &error))?;
    let theirs = rows.into_iter().filter(|(_, name, _)| !is_ours(name));
    Ok(theirs.map(|(schema, name, default_schema)| TableName { schema, name, default_schema }).collect())
}

/// The column of a constraint that has only one.
pub(super) async fn constraint_column(pg: &mut PgConnection, table: &TableSchema, constraint: &str) -> Option<String> {
    let name = format!("{}.{}", quote(&table.schema), quote(&table.name));
    sqlx::query_scalar(CONSTRAINT).bind(name).bind(constraint).fetch_optional(pg).await.ok()?
}

type Relation = (i64, String, String, String);

async fn relation(pg: &mut PgConnection, name: &str) -> Result<Option<Relation>, sqlx::Error> {
    if let Some((schema, table)) = name.split_once('.') {
        let qualified = format!("{}.{}", quote(schema), quote(table));
        if let Some(found) = sqlx::query_as(RELATION).bind(qualified).fetch_optional(&mut *pg).await? {
            return Ok(Some(found));
        }
    }
    sqlx::query_as(RELATION).bind(quote(name)).fetch_optional(pg).await
}

fn column(row: &PgRow) -> Result<ColumnSchema, sqlx::Error> {
    let (identity, generated): (String, String) = (row.try_get("identity")?, row.try_get("generated")?);
    let labels: Option<Vec<String>> = row.try_get("labels")?;
    let kind = match labels {
        Some(values) => ColumnType::Enum { values },
        None => kind(row.try_get("type")?, row.try_get("modifier")?),
    };
    Ok(ColumnSchema {
        name: row.try_get("name")?,
        declared: row.try_get("declared")?,
        kind,
        nullable: !row.try_get::<bool, _>("required")?,
        default: row.try_get("expression")?,
        has_default: row.try_get("defaulted")? || !identity.is_empty() || !generated.is_empty(),
        generated: identity == "a" || !generated.is_empty(),
    })
}

/// What a type of `pg_catalog` can hold. `modifier` is `atttypmod`: -1 for none, else 4 bytes more than the length.
fn kind(name: &str, modifier: i32) -> ColumnType {
    let int = |bits: u32| ColumnType::Int { min: -(1 << (bits - 1)), max: (1 << (bits - 1)) - 1 };
    let text = |max_chars, max_bytes| ColumnType::Text { max_chars, max_bytes, nul: false };
    let length = u64::try_from(modifier - 4).ok().filter(|_| modifier >= 4);
    match name {
        "int2" => int(16),
        "int4" => int(32),
        "int8" => int(64),
        "numeric" if modifier >= 4 => numeric(modifier - 4),
        "numeric" => ColumnType::Decimal { precision: None, scale: None },
        "float4" => ColumnType::Float { bits: 32 },
        "float8" => ColumnType::Float { bits: 64 },
        "bool" => ColumnType::Bool,
        "text" | "citext" => text(None, None),
        "varchar" | "bpchar" => text(length, None),
        // A cast to these cuts silently, so the limit is checked before.
        "name" => text(None, Some(63)),
        "char" => text(None, Some(1)),
        "bytea" => ColumnType::Bytes { max_bytes: None },
        "date" => ColumnType::Date,
        "time" => ColumnType::Time { zone: false },
        "timetz" => ColumnType::Time { zone: true },
        "timestamp" => ColumnType::Timestamp { zone: false },
        "timestamptz" => ColumnType::Timestamp { zone: true },
        "uuid" => ColumnType::Uuid,
        // `json` keeps its text as it is; `jsonb` unescapes it, and U+0000 is not a text.
        "json" => ColumnType::Json { nul: true },
        "jsonb" => ColumnType::Json { nul: false },
        _ => ColumnType::Other,
    }
}

/// `numeric(p,s)`: the precision in the upper half, the scale in the lower 11 bits, signed (numeric.c).
fn numeric(modifier: i32) -> ColumnType {
    let precision = u32::try_from((modifier >> 16) & 0xffff).unwrap_or_default();
    let scale = ((modifier & 0x7ff) ^ 1024) - 1024;
    match u32::try_from(scale) {
        Ok(scale) => ColumnType::Decimal { precision: Some(precision), scale: Some(scale) },
        // A negative scale only leaves room for more digits before the point.
        Err(_) => ColumnType::Decimal { precision: Some(precision + scale.unsigned_abs()), scale: Some(0) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_are_read_from_their_modifier() {
        let modifier = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        let decimal = |precision, scale| ColumnType::Decimal { precision: Some(precision), scale: Some(scale) };
        assert_eq!(kind("numeric", modifier(14, 2)), decimal(14, 2));
        assert_eq!(kind("numeric", modifier(3, -2)), decimal(5, 0));
        assert_eq!(kind("numeric", -1), ColumnType::Decimal { precision: None, scale: None });
    }

    #[test]
    fn integers_have_their_bounds() {
        assert_eq!(kind("int8", -1), ColumnType::Int { min: i64::MIN.into(), max: i64::MAX.into() });
        assert_eq!(kind("varchar", 24), ColumnType::Text { max_chars: Some(20), max_bytes: None, nul: false });
    }
}
