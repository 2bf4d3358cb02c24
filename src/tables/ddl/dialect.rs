//! How each kind of database spells names, types and literals in the statements that make tables.

use serde_json::Value;
use tidegate_actors::schema::TableSchema;

use super::wish::{KEY_CHARS, Wish};

/// A kind's way of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL.
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    /// SQLite.
    Sqlite,
    /// SQL Server.
    SqlServer,
}

impl Dialect {
    /// That of the kind of this name.
    ///
    /// # Errors
    /// No statements are known for it.
    pub fn of(kind: &str) -> Result<Self, String> {
        match kind {
            "postgres" => Ok(Self::Postgres),
            "mysql" => Ok(Self::MySql),
            "sqlite" => Ok(Self::Sqlite),
            "sqlserver" => Ok(Self::SqlServer),
            other => Err(format!("no statements that make tables are known for the kind `{other}`")),
        }
    }

    /// A name, quoted.
    pub(super) fn quote(self, name: &str) -> String {
        match self {
            Self::MySql => format!("`{}`", name.replace('`', "``")),
            Self::SqlServer => format!("[{}]", name.replace(']', "]]")),
            Self::Postgres | Self::Sqlite => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// `table` or `schema.table`, quoted.
    pub(super) fn table(self, name: &str) -> String {
        match name.split_once('.') {
            // Its tables have no schema but the file's own.
            _ if self == Self::Sqlite => self.quote(name.strip_prefix("main.").unwrap_or(name)),
            Some((schema, table)) => format!("{}.{}", self.quote(schema), self.quote(table)),
            None => self.quote(name),
        }
    }

    /// A table that is there, by its own name.
    pub(super) fn found(self, table: &TableSchema) -> String {
        match table.schema.as_str() {
            "" => self.quote(&table.name),
            schema => format!("{}.{}", self.quote(schema), self.quote(&table.name)),
        }
    }

    /// Names, quoted, with commas.
    pub(super) fn list(self, names: &[&String]) -> String {
        names.iter().map(|name| self.quote(name)).collect::<Vec<_>>().join(", ")
    }

    /// The type for a wish.
    pub(super) fn type_of(self, wish: &Wish) -> String {
        use Dialect::{MySql, Postgres, SqlServer, Sqlite};
        let scale = |scale: &Option<u32>| scale.unwrap_or(9).min(30);
        match (self, wish) {
            (_, Wish::Declared(declared)) => declared.clone(),
            (Sqlite, Wish::Int) => "INTEGER".into(),
            (_, Wish::Int) => "bigint".into(),
            (Postgres, Wish::Decimal { scale: None }) => "numeric".into(),
            (Postgres, Wish::Decimal { scale: Some(digits) }) => {
                format!("numeric({},{digits})", digits.saturating_add(29))
            }
            (Sqlite, Wish::Decimal { .. }) => "DECIMAL".into(),
            (MySql | SqlServer, Wish::Decimal { scale: digits }) => format!("decimal(38,{})", scale(digits)),
            (Postgres, Wish::Float) => "double precision".into(),
            (MySql, Wish::Float) => "double".into(),
            (Sqlite, Wish::Float) => "REAL".into(),
            (SqlServer, Wish::Float) => "float(53)".into(),
            (Postgres | MySql, Wish::Bool) => "boolean".into(),
            (Sqlite, Wish::Bool) => "BOOLEAN".into(),
            (SqlServer, Wish::Bool) => "bit".into(),
            // SQLite keeps no lengths; the others take what is too long as text without one.
            (Sqlite, Wish::Text { .. }) => "TEXT".into(),
            (SqlServer, Wish::Text { max: Some(max) }) if *max <= 4_000 => format!("nvarchar({})", (*max).max(1)),
            (SqlServer, Wish::Text { .. }) => "nvarchar(max)".into(),
            (MySql, Wish::Text { max: Some(max) }) if *max <= 4_000 => format!("varchar({})", (*max).max(1)),
            (MySql, Wish::Text { max: None }) => "text".into(),
            (MySql, Wish::Text { .. }) => "longtext".into(),
            (Postgres, Wish::Text { max: Some(max) }) if *max <= 10_485_760 => format!("varchar({})", (*max).max(1)),
            (Postgres, Wish::Text { .. }) => "text".into(),
            (Sqlite, Wish::Date) => "DATE".into(),
            (_, Wish::Date) => "date".into(),
            (Postgres, Wish::Time) => "time".into(),
            (Sqlite, Wish::Time) => "TIME".into(),
            (MySql | SqlServer, Wish::Time) => "time(6)".into(),
            (Postgres, Wish::Timestamp { zone: true }) => "timestamptz".into(),
            (Postgres, Wish::Timestamp { zone: false }) => "timestamp".into(),
            (MySql, Wish::Timestamp { .. }) => "datetime(6)".into(),
            (Sqlite, Wish::Timestamp { zone: true }) => "TIMESTAMP WITH TIME ZONE".into(),
            (Sqlite, Wish::Timestamp { zone: false }) => "TIMESTAMP".into(),
            (SqlServer, Wish::Timestamp { zone: true }) => "datetimeoffset(6)".into(),
            (SqlServer, Wish::Timestamp { zone: false }) => "datetime2(6)".into(),
            (Postgres, Wish::Uuid) => "uuid".into(),
            (MySql, Wish::Uuid) => "char(36)".into(),
            (Sqlite, Wish::Uuid) => "UUID".into(),
            (SqlServer, Wish::Uuid) => "uniqueidentifier".into(),
            (Postgres, Wish::Json) => "jsonb".into(),
            (MySql, Wish::Json) => "json".into(),
            (Sqlite, Wish::Json) => "JSON".into(),
            (SqlServer, Wish::Json) => "nvarchar(max)".into(),
            (Postgres, Wish::Bytes) => "bytea".into(),
            (MySql, Wish::Bytes) => "longblob".into(),
            (Sqlite, Wish::Bytes) => "BLOB".into(),
            (SqlServer, Wish::Bytes) => "varbinary(max)".into(),
        }
    }

    /// A value as a literal for a column of this wish; `None` where it has none.
    pub(super) fn literal(self, value: &Value, wish: &Wish) -> Option<String> {
        // MySQL has no defaults for these (MariaDB has).
        let is_large = match wish {
            Wish::Json | Wish::Bytes => true,
            Wish::Text { max } => max.is_none_or(|max| max > KEY_CHARS * 16),
            _ => false,
        };
        if self == Self::MySql && is_large || matches!(wish, Wish::Json | Wish::Bytes) {
            return None;
        }
        match value {
            Value::Null | Value::Array(_) | Value::Object(_) => None,
            Value::Bool(truth) => match (wish, self) {
                (Wish::Bool, Self::Postgres | Self::MySql) => Some(if *truth { "TRUE" } else { "FALSE" }.into()),
                (Wish::Bool, _) => Some(u8::from(*truth).to_string()),
                _ => Some(self.text(&truth.to_string())),
            },
            Value::Number(number) => match wish {
                Wish::Int | Wish::Decimal { .. } | Wish::Float => Some(number.to_string()),
                Wish::Bool => self.literal(&Value::Bool(number.as_f64() != Some(0.0)), wish),
                _ => Some(self.text(&number.to_string())),
            },
            Value::String(text) => match wish {
                // Only a word that every kind reads alike.
                Wish::Bool => None,
                _ => Some(self.text(text)),
            },
        }
    }

    fn text(self, text: &str) -> String {
        let quoted = text.replace('\'', "''");
        match self {
            Self::MySql => format!("'{}'", quoted.replace('\\', "\\\\")),
            Self::SqlServer => format!("N'{quoted}'"),
            Self::Postgres | Self::Sqlite => format!("'{quoted}'"),
        }
    }
}
