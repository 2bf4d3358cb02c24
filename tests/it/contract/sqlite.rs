//! SQLite under the contract suite: a file in a folder of its own.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection};
use std::time::Duration;
use tempfile::TempDir;
use tidegate::databases::{Connection, kind};
use tidegate_actors::ports::Destination;

use super::{
    Ability, Database, Subject,
    table::{self, Dialect, Table, Type},
};

/// The kind.
pub(crate) struct Sqlite;

#[async_trait(?Send)]
impl Subject for Sqlite {
    async fn fresh() -> Box<dyn Database> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::File::create(folder.path().join("rooms.db")).unwrap();
        Box::new(File { folder })
    }
}

struct File {
    folder: TempDir,
}

impl File {
    fn url(&self) -> String {
        format!("sqlite://{}", self.folder.path().join("rooms.db").display())
    }

    async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect(&self.url()).await.unwrap()
    }

    async fn execute(&self, sql: String) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connect().await).await.unwrap();
    }
}

#[async_trait(?Send)]
impl Database for File {
    fn open(&self) -> Box<dyn Destination> {
        (kind("sqlite").unwrap().open)(Connection {
            name: "rooms".into(),
            url: self.url().parse().unwrap(),
            password: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            session_timeout: Duration::from_secs(3),
        })
    }

    fn can(&self, ability: Ability) -> bool {
        !matches!(
            ability,
            Ability::Length
                | Ability::Range
                | Ability::Type
                | Ability::Unsigned
                | Ability::LongDecimal
                | Ability::Enum
                | Ability::Instant
        )
    }

    async fn create(&self, table: &Table) {
        for sql in table::create(&Sqlite, table) {
            self.execute(sql).await;
        }
    }

    async fn drop_table(&self, table: &str) {
        self.execute(format!("DROP TABLE {}", Sqlite.quote(table))).await;
    }

    async fn drop_column(&self, table: &str, column: &str) {
        self.execute(format!("ALTER TABLE {} DROP COLUMN {}", Sqlite.quote(table), Sqlite.quote(column))).await;
    }

    async fn rows(&self, table: &Table) -> Vec<Vec<Option<String>>> {
        let sql = table::select(&Sqlite, table);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.connect().await).await.unwrap();
        rows.iter().map(|row| (0..table.columns.len()).map(|index| row.get(index)).collect()).collect()
    }
}

impl Dialect for Sqlite {
    fn quote(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    fn type_of(&self, of: Type) -> String {
        match of {
            Type::SmallInt => "SMALLINT".into(),
            Type::Int | Type::Identity => "INTEGER".into(),
            Type::BigInt | Type::UnsignedBig => "BIGINT".into(),
            Type::Decimal(precision, scale) => format!("DECIMAL({precision},{scale})"),
            Type::Double => "DOUBLE".into(),
            Type::Bool => "BOOLEAN".into(),
            Type::Text | Type::Enum => "TEXT".into(),
            Type::Varchar(chars) => format!("VARCHAR({chars})"),
            Type::Bytes => "BLOB".into(),
            Type::Date => "DATE".into(),
            Type::Time => "TIME".into(),
            Type::Timestamp | Type::Instant => "DATETIME".into(),
            Type::Uuid => "UUID".into(),
            Type::Json => "JSON".into(),
        }
    }

    fn text_of(&self, of: Type, quoted: &str) -> String {
        match of {
            Type::Bytes => format!("hex({quoted})"),
            _ => format!("CAST({quoted} AS TEXT)"),
        }
    }
}
