//! SQL Server's catalogue: finds a table through the user's default schema and `dbo` or by its schema, and describes its
//! columns and keys.

use tiberius::Row;
use tidegate_actors::{
    ports::{Fault, TableName, WriteError},
    schema::{ColumnSchema, ColumnType, TableSchema},
};

use super::{
    batch::{Batch, quote},
    bookkeeping::{asked, number, text},
    errors::out_of_turn,
    own_tables::TABLES,
    session::Session,
    slots::Facts,
};
use crate::databases::nearest;

/// What there is to write to: tables and views. For the nearest name a bound is safe.
pub(super) const NAMES: &str = "SELECT TOP (10000) s.name, o.name, CONVERT(int, CASE WHEN o.object_id = OBJECT_ID(QUOTENAME(o.name)) THEN 1 \
     ELSE 0 END) FROM sys.objects AS o INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
     WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0 ORDER BY s.name, o.name;";

pub(super) const OBJECT: &str = "SELECT s.name, o.name, CONVERT(nvarchar(2), RTRIM(o.type)) FROM sys.objects AS o \
     INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.object_id = @id;";

/// An alias type is described by what it stands for; types of the CLR (240) have only their own name.
pub(super) const COLUMNS: &str = "SELECT c.name, CASE WHEN c.system_type_id = 240 THEN TYPE_NAME(c.user_type_id) ELSE \
     ISNULL(TYPE_NAME(c.system_type_id), TYPE_NAME(c.user_type_id)) END, CONVERT(int, c.max_length), CONVERT(int, c.precision), \
     CONVERT(int, c.scale), CONVERT(int, c.is_nullable), CONVERT(int, c.is_identity), CONVERT(int, CASE WHEN c.is_computed = 1 OR \
     c.generated_always_type <> 0 OR c.is_column_set = 1 OR c.system_type_id = 189 THEN 1 ELSE 0 END), CONVERT(int, CASE WHEN \
     c.default_object_id <> 0 THEN 1 ELSE 0 END), OBJECT_DEFINITION(c.default_object_id), c.collation_name, CONVERT(int, \
     COLLATIONPROPERTY(c.collation_name, 'CodePage')), CONVERT(int, CASE WHEN EXISTS (SELECT 1 FROM sys.check_constraints AS k \
     WHERE k.parent_object_id = c.object_id AND (k.parent_column_id = c.column_id AND CHARINDEX(N'isjson(', k.definition) > 0 OR \
     CHARINDEX(N'isjson(' + QUOTENAME(c.name) + N')', k.definition) > 0)) THEN 1 ELSE 0 END) FROM sys.columns AS c WHERE c.object_id = @id ORDER BY c.column_id;";

/// The unique indexes (constraints are indexes too) that tell all rows apart: whole, in use, without a filter.
pub(super) const KEYS: &str = "SELECT CONVERT(int, i.index_id), c.name, CONVERT(int, i.ignore_dup_key), i.name FROM sys.indexes AS i \
     INNER JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id \
     INNER JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id \
     WHERE i.object_id = @id AND i.is_unique = 1 AND i.has_filter = 0 AND i.is_disabled = 0 AND i.is_hypothetical = 0 \
     AND k.key_ordinal > 0 ORDER BY i.is_primary_key DESC, i.index_id, k.key_ordinal;";

/// Describes the table of this name: `schema.name` exactly, else `name` as the session finds it.
pub(super) async fn table(
    session: &mut Session,
    destination: &str,
    name: &str,
) -> Result<(TableSchema, Facts), WriteError> {
    let qualified = name.split_once('.').map(|(schema, table)| format!("{}.{}", quote(schema), quote(table)));
    for candidate in qualified.into_iter().chain([quote(name)]) {
        if let Some(found) = look(session, destination, &candidate).await? {
            return Ok(found);
        }
    }
    let names: Vec<String> = tables(session, destination)
        .await?
        .into_iter()
        .map(|table| if table.default_schema { table.name } else { format!("{}.{}", table.schema, table.name) })
        .collect();
    let hint = nearest(name, names.iter().map(String::as_str));
    let hint = hint.map_or(String::new(), |near| format!(" (did you mean `{near}`?)"));
    Err(WriteError::Hold(Fault::new(format!(
        "{destination}: there is no table `{name}`{hint}: create it, grant rights on it, or correct the route's table or the \
         user's default schema"
    ))))
}

/// Describes the table that is exactly this one; `None` where it is not there.
pub(super) async fn describe(
    session: &mut Session,
    destination: &str,
    schema: &str,
    table: &str,
) -> Result<Option<(TableSchema, Facts)>, WriteError> {
    look(session, destination, &format!("{}.{}", quote(schema), quote(table))).await
}

/// Every table and view that the user can see, without ours.
pub(super) async fn tables(session: &mut Session, destination: &str) -> Result<Vec<TableName>, WriteError> {
    let sets = asked(session, destination, &Batch::named("TABLES").with(NAMES)).await?;
    let [rows] = sets.as_slice() else { return Err(out_of_turn(destination)) };
    let name = |row: &Row| {
        let (schema, name) = (text(row, 0)?.to_owned(), text(row, 1)?.to_owned());
        Some(TableName { schema, name, default_schema: number(row, 2) == Some(1) })
    };
    let ours = |table: &TableName| TABLES.contains(&table.name.as_str());
    Ok(rows.iter().filter_map(name).filter(|table| !ours(table)).collect())
}

async fn look(
    session: &mut Session,
    destination: &str,
    quoted: &str,
) -> Result<Option<(TableSchema, Facts)>, WriteError> {
    let mut batch = Batch::named("TABLE");
    let parameter = batch.bind(quoted);
    let batch = batch.with(&format!("DECLARE @id int = OBJECT_ID({parameter});\n{OBJECT}\n{COLUMNS}\n{KEYS}"));
    let sets = asked(session, destination, &batch).await?;
    let [object, columns, keys] = sets.as_slice() else { return Err(out_of_turn(destination)) };
    let Some(object) = object.first() else { return Ok(None) };
    let (Some(schema), Some(name), Some(kind)) = (text(object, 0), text(object, 1), text(object, 2)) else {
        return Err(out_of_turn(destination));
    };
    if !matches!(kind, "U" | "V") {
        return Err(WriteError::Hold(Fault::new(format!(
            "{destination}: `{schema}.{name}` is not a table that rows can be written to: correct the route's table"
        ))));
    }
    let mut facts = Facts::default();
    let columns = columns.iter().map(|row| column(row, &mut facts).ok_or_else(|| out_of_turn(destination)));
    let columns = columns.collect::<Result<_, _>>()?;
    let unique_keys = unique_keys(keys).map_err(|index| {
        WriteError::Hold(Fault::new(format!(
            "{destination}: the index `{index}` of `{schema}.{name}` drops duplicate rows without an error (IGNORE_DUP_KEY = ON): \
             turn that off, or point the route to another table"
        )))
    })?;
    let table = TableSchema { schema: schema.to_owned(), name: name.to_owned(), columns, unique_keys };
    Ok(Some((table, facts)))
}

/// The columns of each key; `Err` with the name of an index under which rows would vanish.
fn unique_keys(rows: &[Row]) -> Result<Vec<Vec<String>>, String> {
    let mut keys: Vec<(i32, Vec<String>)> = Vec::new();
    for row in rows {
        let (Some(index), Some(column)) = (number(row, 0), text(row, 1)) else { continue };
        if number(row, 2) == Some(1) {
            return Err(text(row, 3).unwrap_or_default().to_owned());
        }
        match keys.last_mut().filter(|(last, _)| *last == index) {
            Some((_, columns)) => columns.push(column.to_owned()),
            None => keys.push((index, vec![column.to_owned()])),
        }
    }
    Ok(keys.into_iter().map(|(_, columns)| columns).collect())
}

fn column(row: &Row, facts: &mut Facts) -> Option<ColumnSchema> {
    let name = text(row, 0)?.to_owned();
    let raw = RawType {
        word: text(row, 1)?,
        bytes: number(row, 2)?,
        precision: number(row, 3)?,
        scale: number(row, 4)?,
        page: number(row, 11).unwrap_or_default(),
        json: number(row, 12) == Some(1),
    };
    let (identity, generated) = (number(row, 6)? == 1, number(row, 7)? == 1);
    if identity {
        facts.identity = Some(name.clone());
    }
    if let Some(collation) = text(row, 10) {
        facts.collations.insert(name.clone(), (collation.to_owned(), raw.page));
    }
    Some(ColumnSchema {
        declared: raw.declared(),
        kind: raw.kind(),
        nullable: number(row, 5)? == 1,
        has_default: identity || generated || number(row, 8)? == 1,
        default: text(row, 9).map(str::to_owned),
        generated,
        name,
    })
}

/// A column's type as the catalogue has it.
struct RawType<'a> {
    word: &'a str,
    /// Bytes; -1 for `max`.
    bytes: i32,
    precision: i32,
    scale: i32,
    /// Code page of its collation; 0 without one.
    page: i32,
    /// Whether a check asks that it is JSON.
    json: bool,
}

impl RawType<'_> {
    /// Longest value in characters or bytes; `None` for `max`.
    fn length(&self) -> Option<u64> {
        let bytes = u64::try_from(self.bytes).ok()?;
        Some(if self.word.starts_with('n') { bytes / 2 } else { bytes })
    }

    /// The type as it is written.
    fn declared(&self) -> String {
        let Self { word, precision, scale, .. } = self;
        match *word {
            "char" | "varchar" | "nchar" | "nvarchar" | "binary" | "varbinary" => match self.length() {
                Some(length) => format!("{word}({length})"),
                None => format!("{word}(max)"),
            },
            "decimal" | "numeric" => format!("{word}({precision},{scale})"),
            "time" | "datetime2" | "datetimeoffset" => format!("{word}({scale})"),
            _ => (*word).to_owned(),
        }
    }

    /// The type as mapping sees it.
    fn kind(&self) -> ColumnType {
        let int = |bits: u32| ColumnType::Int { min: -(1_i128 << (bits - 1)), max: (1_i128 << (bits - 1)) - 1 };
        let decimal = |precision, scale| ColumnType::Decimal { precision: Some(precision), scale: Some(scale) };
        match self.word {
            "tinyint" => ColumnType::Int { min: 0, max: 255 },
            "smallint" => int(16),
            "int" => int(32),
            "bigint" => int(64),
            "bit" => ColumnType::Bool,
            "decimal" | "numeric" => decimal(self.precision.unsigned_abs(), self.scale.unsigned_abs()),
            "money" => decimal(19, 4),
            "smallmoney" => decimal(10, 4),
            "real" => ColumnType::Float { bits: 32 },
            "float" => ColumnType::Float { bits: 64 },
            "json" => ColumnType::Json { nul: true },
            "nvarchar" | "varchar" if self.json => ColumnType::Json { nul: true },
            // A character beyond U+FFFF counts twice; that is checked when a row is written. U+0000 is left out, since
            // comparing and older clients end at it.
            "nchar" | "nvarchar" => ColumnType::Text { max_chars: self.length(), max_bytes: None, nul: false },
            "char" | "varchar" => {
                let max_bytes = self.length().filter(|_| self.page == 65_001);
                ColumnType::Text { max_chars: self.length(), max_bytes, nul: false }
            }
            "text" | "ntext" => ColumnType::Text { max_chars: None, max_bytes: None, nul: false },
            "binary" | "varbinary" => ColumnType::Bytes { max_bytes: self.length() },
            "image" => ColumnType::Bytes { max_bytes: None },
            "date" => ColumnType::Date,
            "time" => ColumnType::Time { zone: false },
            "datetime" | "smalldatetime" | "datetime2" => ColumnType::Timestamp { zone: false },
            "datetimeoffset" => ColumnType::Timestamp { zone: true },
            "uniqueidentifier" => ColumnType::Uuid,
            _ => ColumnType::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(word: &str, bytes: i32, precision: i32, scale: i32) -> RawType<'_> {
        RawType { word, bytes, precision, scale, page: 0, json: false }
    }

    #[test]
    fn types_are_read_from_the_catalogue() {
        let text = |max_chars| ColumnType::Text { max_chars, max_bytes: None, nul: false };
        for (raw, declared, kind) in [
            (raw("nvarchar", 40, 0, 0), "nvarchar(20)", text(Some(20))),
            (raw("nvarchar", -1, 0, 0), "nvarchar(max)", text(None)),
            (raw("varchar", 20, 0, 0), "varchar(20)", text(Some(20))),
            (raw("ntext", 16, 0, 0), "ntext", text(None)),
            (raw("varbinary", -1, 0, 0), "varbinary(max)", ColumnType::Bytes { max_bytes: None }),
            (raw("decimal", 9, 14, 2), "decimal(14,2)", ColumnType::Decimal { precision: Some(14), scale: Some(2) }),
            (raw("money", 8, 19, 4), "money", ColumnType::Decimal { precision: Some(19), scale: Some(4) }),
            (raw("bigint", 8, 19, 0), "bigint", ColumnType::Int { min: i64::MIN.into(), max: i64::MAX.into() }),
            (raw("datetime2", 8, 27, 7), "datetime2(7)", ColumnType::Timestamp { zone: false }),
            (raw("datetimeoffset", 10, 34, 7), "datetimeoffset(7)", ColumnType::Timestamp { zone: true }),
            (raw("datetime", 8, 23, 3), "datetime", ColumnType::Timestamp { zone: false }),
            (raw("geography", -1, 0, 0), "geography", ColumnType::Other),
        ] {
            assert_eq!((raw.declared().as_str(), raw.kind()), (declared, kind));
        }
        let utf8 = RawType { page: 65_001, ..raw("varchar", 20, 0, 0) };
        assert_eq!(utf8.kind(), ColumnType::Text { max_chars: Some(20), max_bytes: Some(20), nul: false });
        let json = RawType { json: true, ..raw("nvarchar", -1, 0, 0) };
        assert_eq!(json.kind(), ColumnType::Json { nul: true });
    }
}
