//! SQLite under the contract suite: a file in a folder of its own.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{path::PathBuf, time::Duration};
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
        Box::new(File::fresh())
    }
}

/// A database file in a folder of its own.
pub(crate) struct File {
    folder: TempDir,
}

impl File {
    /// An empty one.
    pub(crate) fn fresh() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::File::create(folder.path().join("rooms.db")).unwrap();
        Self { folder }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("rooms.db")
    }

    /// Its settings.
    pub(crate) fn settings(&self) -> Connection {
        Connection {
            name: "rooms".into(),
            url: format!("sqlite://{}", self.path().display()).parse().unwrap(),
            password: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            session_timeout: Duration::from_secs(3),
            home: None,
        }
    }

    /// Another program's connection to it.
    pub(crate) async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path());
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    /// Runs statements beside our back.
    pub(crate) async fn execute(&self, sql: String) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connect().await).await.unwrap();
    }
}

#[async_trait(?Send)]
impl Database for File {
    fn open(&self) -> Box<dyn Destination> {
        (kind("sqlite").unwrap().open)(self.settings())
    }

    fn can(&self, ability: Ability) -> bool {
        !matches!(ability, Ability::Length | Ability::Range | Ability::Unsigned | Ability::LongDecimal | Ability::Enum)
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
            Type::Timestamp => "DATETIME".into(),
            Type::Instant => "TIMESTAMPTZ".into(),
            Type::Uuid => "UUID".into(),
            Type::Json => "JSON".into(),
        }
    }

    fn text_of(&self, of: Type, quoted: &str) -> String {
        match of {
            Type::Bytes => format!("CASE WHEN {quoted} IS NOT NULL THEN hex({quoted}) END"),
            Type::Double => format!("CASE WHEN {quoted} IS NOT NULL THEN printf('%!.17g', {quoted}) END"),
            _ => format!("CAST({quoted} AS TEXT)"),
        }
    }
}
