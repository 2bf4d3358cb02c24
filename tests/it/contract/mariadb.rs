//! MariaDB under the contract suite: a database of its own on the shared server.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Row as _};
use tidegate::databases::{Connection, kind};
use tidegate_actors::ports::Destination;

use super::{
    Ability, Database, Subject,
    table::{self, Dialect, ENUM, Table, Type},
};
use crate::servers::mariadb::MariadbServer;

/// The kind.
pub(crate) struct Mariadb;

#[async_trait(?Send)]
impl Subject for Mariadb {
    async fn fresh() -> Box<dyn Database> {
        let server = MariadbServer::shared().await;
        Box::new(OneDatabase { server, name: server.database().await })
    }
}

struct OneDatabase {
    server: &'static MariadbServer,
    name: String,
}

impl OneDatabase {
    async fn execute(&self, sql: String) {
        let mut connection = self.server.connect(&self.name).await;
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    }
}

#[async_trait(?Send)]
impl Database for OneDatabase {
    fn open(&self) -> Box<dyn Destination> {
        (kind("mysql").unwrap().open)(Connection {
            name: "rooms".into(),
            url: self.server.url(&self.name).parse().unwrap(),
            password: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            session_timeout: Duration::from_secs(3),
            home: None,
        })
    }

    fn can(&self, ability: Ability) -> bool {
        // A `timestamp` is an instant inside, but takes and shows the session's time.
        ability != Ability::Instant
    }

    async fn create(&self, table: &Table) {
        for sql in table::create(&Mariadb, table) {
            self.execute(sql).await;
        }
    }

    async fn drop_table(&self, table: &str) {
        self.execute(format!("DROP TABLE {}", Mariadb.quote(table))).await;
    }

    async fn drop_column(&self, table: &str, column: &str) {
        self.execute(format!("ALTER TABLE {} DROP COLUMN {}", Mariadb.quote(table), Mariadb.quote(column))).await;
    }

    async fn rows(&self, table: &Table) -> Vec<Vec<Option<String>>> {
        let sql = table::select(&Mariadb, table);
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut self.server.connect(&self.name).await).await.unwrap();
        rows.iter().map(|row| (0..table.columns.len()).map(|index| row.get(index)).collect()).collect()
    }
}

impl Dialect for Mariadb {
    fn quote(&self, name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn type_of(&self, of: Type) -> String {
        match of {
            Type::SmallInt => "smallint".into(),
            Type::Int => "int".into(),
            Type::BigInt => "bigint".into(),
            Type::UnsignedBig => "bigint unsigned".into(),
            Type::Identity => "bigint AUTO_INCREMENT".into(),
            Type::Decimal(precision, scale) => format!("decimal({precision},{scale})"),
            Type::Double => "double".into(),
            Type::Bool => "boolean".into(),
            Type::Text => "longtext".into(),
            Type::Varchar(chars) => format!("varchar({chars})"),
            Type::Bytes => "longblob".into(),
            Type::Date => "date".into(),
            Type::Time => "time(6)".into(),
            Type::Timestamp | Type::Instant => "datetime(6)".into(),
            Type::Uuid => "uuid".into(),
            Type::Json => "json".into(),
            Type::Enum => {
                let values: Vec<_> = ENUM.iter().map(|value| format!("'{}'", value.replace('\'', "''"))).collect();
                format!("enum({})", values.join(","))
            }
        }
    }

    fn text_of(&self, of: Type, quoted: &str) -> String {
        match of {
            Type::Bytes => format!("HEX({quoted})"),
            _ => format!("CAST({quoted} AS CHAR)"),
        }
    }

    fn options(&self) -> &'static str {
        " ENGINE=InnoDB"
    }
}
