//! MySQL proper under the contract suite, where `TIDEGATE_TEST_MYSQL_URL` names a server: a database of its own on it. Tables
//! are spelled as for MariaDB, but for what only one of the two has.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, ConnectOptions as _, MySqlConnection, Row as _, mysql::MySqlConnectOptions};
use tidegate::{databases::kind, resources::TlsMode};
use tidegate_actors::ports::Destination;

use super::{
    Ability, Database, Subject,
    elsewhere::{Elsewhere, fresh_name, on_its_own_thread},
    mariadb::Mariadb,
    table::{self, Dialect, Table, Type},
};

const VARIABLE: &str = "TIDEGATE_TEST_MYSQL_URL";

/// The kind.
pub(crate) struct MySql;

#[async_trait(?Send)]
impl Subject for MySql {
    async fn fresh() -> Box<dyn Database> {
        let server = Elsewhere::of(VARIABLE).unwrap();
        let name = fresh_name();
        execute(&server, None, format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4")).await;
        Box::new(OneDatabase { server, name })
    }

    fn absent() -> Option<String> {
        Elsewhere::absent(VARIABLE, "mysql://root:password@127.0.0.1:3306")
    }
}

struct OneDatabase {
    server: Elsewhere,
    name: String,
}

impl Drop for OneDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        on_its_own_thread(async move || execute(&server, None, format!("DROP DATABASE `{name}`")).await);
    }
}

async fn connect(server: &Elsewhere, database: Option<&str>) -> MySqlConnection {
    let mut options = MySqlConnectOptions::from_url(&server.url).unwrap();
    if let Some(database) = database {
        options = options.database(database);
    }
    options.connect().await.unwrap()
}

async fn execute(server: &Elsewhere, database: Option<&str>, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connect(server, database).await).await.unwrap();
}

#[async_trait(?Send)]
impl Database for OneDatabase {
    fn open(&self) -> Box<dyn Destination> {
        // caching_sha2_password needs it, and MySQL 8 has a certificate from its first start.
        (kind("mysql").unwrap().open)(self.server.settings(&self.name, TlsMode::Require))
    }

    fn can(&self, ability: Ability) -> bool {
        // A `timestamp` is an instant inside, but takes and shows the session's time.
        ability != Ability::Instant
    }

    async fn create(&self, table: &Table) {
        for sql in table::create(&MySql, table) {
            execute(&self.server, Some(&self.name), sql).await;
        }
    }

    async fn drop_table(&self, table: &str) {
        execute(&self.server, Some(&self.name), format!("DROP TABLE {}", MySql.quote(table))).await;
    }

    async fn drop_column(&self, table: &str, column: &str) {
        let sql = format!("ALTER TABLE {} DROP COLUMN {}", MySql.quote(table), MySql.quote(column));
        execute(&self.server, Some(&self.name), sql).await;
    }

    async fn rows(&self, table: &Table) -> Vec<Vec<Option<String>>> {
        let mut connection = connect(&self.server, Some(&self.name)).await;
        let rows = sqlx::query(AssertSqlSafe(table::select(&MySql, table))).fetch_all(&mut connection).await.unwrap();
        rows.iter().map(|row| (0..table.columns.len()).map(|index| row.get(index)).collect()).collect()
    }
}

impl Dialect for MySql {
    fn quote(&self, name: &str) -> String {
        Mariadb.quote(name)
    }

    fn type_of(&self, of: Type) -> String {
        match of {
            // There is no type for it.
            Type::Uuid => "char(36)".into(),
            _ => Mariadb.type_of(of),
        }
    }

    fn text_of(&self, of: Type, quoted: &str) -> String {
        Mariadb.text_of(of, quoted)
    }

    fn options(&self) -> &'static str {
        Mariadb.options()
    }
}
