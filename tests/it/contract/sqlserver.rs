//! SQL Server under the contract suite, where `TIDEGATE_TEST_SQLSERVER_URL` names a server: a database of its own on it.

use async_trait::async_trait;
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tidegate::{databases::kind, resources::TlsMode};
use tidegate_actors::ports::Destination;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use super::{
    Ability, Database, Subject,
    elsewhere::{Elsewhere, fresh_name, on_its_own_thread},
    table::{self, Column, Dialect, Table, Type},
};

const VARIABLE: &str = "TIDEGATE_TEST_SQLSERVER_URL";

/// The kind.
pub(crate) struct SqlServer;

#[async_trait(?Send)]
impl Subject for SqlServer {
    async fn fresh() -> Box<dyn Database> {
        let server = Elsewhere::of(VARIABLE).unwrap();
        let name = fresh_name();
        execute(&server, "master", &format!("CREATE DATABASE [{name}]")).await;
        Box::new(OneDatabase { server, name })
    }

    fn absent() -> Option<String> {
        Elsewhere::absent(VARIABLE, "sqlserver://sa:password@127.0.0.1:1433/master")
    }
}

struct OneDatabase {
    server: Elsewhere,
    name: String,
}

impl Drop for OneDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        on_its_own_thread(async move || {
            let drop =
                format!("ALTER DATABASE [{name}] SET SINGLE_USER WITH ROLLBACK IMMEDIATE; DROP DATABASE [{name}]");
            execute(&server, "master", &drop).await;
        });
    }
}

async fn connect(server: &Elsewhere, database: &str) -> Client<Compat<TcpStream>> {
    let mut config = Config::new();
    let host = server.url.host_str().unwrap().trim_matches(['[', ']']).to_owned();
    config.host(&host);
    config.database(database);
    config.encryption(EncryptionLevel::NotSupported);
    config.trust_cert();
    config.authentication(AuthMethod::sql_server(server.url.username(), server.password()));
    let tcp = TcpStream::connect((host.as_str(), server.url.port().unwrap_or(1433))).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    Client::connect(config, tcp.compat_write()).await.unwrap()
}

async fn execute(server: &Elsewhere, database: &str, sql: &str) {
    let mut client = connect(server, database).await;
    client.simple_query(sql).await.unwrap().into_results().await.unwrap();
}

#[async_trait(?Send)]
impl Database for OneDatabase {
    fn open(&self) -> Box<dyn Destination> {
        (kind("sqlserver").unwrap().open)(self.server.settings(&self.name, TlsMode::Off))
    }

    fn can(&self, ability: Ability) -> bool {
        !matches!(ability, Ability::Unsigned | Ability::Enum)
    }

    async fn create(&self, table: &Table) {
        for sql in table::create(&SqlServer, table) {
            execute(&self.server, &self.name, &sql).await;
        }
    }

    async fn drop_table(&self, table: &str) {
        execute(&self.server, &self.name, &format!("DROP TABLE {}", SqlServer.quote(table))).await;
    }

    async fn drop_column(&self, table: &str, column: &str) {
        let sql = format!("ALTER TABLE {} DROP COLUMN {}", SqlServer.quote(table), SqlServer.quote(column));
        execute(&self.server, &self.name, &sql).await;
    }

    async fn rows(&self, table: &Table) -> Vec<Vec<Option<String>>> {
        let mut client = connect(&self.server, &self.name).await;
        let rows = client.simple_query(table::select(&SqlServer, table)).await.unwrap();
        let text = |row: &tiberius::Row, at| row.get::<&str, _>(at).map(str::to_owned);
        let rows = rows.into_first_result().await.unwrap();
        rows.iter().map(|row| (0..table.columns.len()).map(|at| text(row, at)).collect()).collect()
    }
}

impl Dialect for SqlServer {
    fn quote(&self, name: &str) -> String {
        format!("[{}]", name.replace(']', "]]"))
    }

    fn type_of(&self, of: Type) -> String {
        match of {
            Type::SmallInt => "smallint".into(),
            Type::Int => "int".into(),
            Type::BigInt => "bigint".into(),
            Type::UnsignedBig => "decimal(20,0)".into(),
            Type::Identity => "bigint IDENTITY(1,1)".into(),
            Type::Decimal(precision, scale) => format!("decimal({precision},{scale})"),
            Type::Double => "float".into(),
            Type::Bool => "bit".into(),
            Type::Text | Type::Json => "nvarchar(max)".into(),
            Type::Varchar(chars) => format!("nvarchar({chars})"),
            Type::Enum => "nvarchar(20)".into(),
            Type::Bytes => "varbinary(max)".into(),
            Type::Date => "date".into(),
            Type::Time => "time(6)".into(),
            Type::Timestamp => "datetime2(6)".into(),
            Type::Instant => "datetimeoffset(6)".into(),
            Type::Uuid => "uniqueidentifier".into(),
        }
    }

    fn text_of(&self, of: Type, quoted: &str) -> String {
        match of {
            Type::Bytes => format!("CONVERT(nvarchar(max), CONVERT(varchar(max), {quoted}, 2))"),
            // 17 digits, which every double is read back from.
            Type::Double => format!("CONVERT(nvarchar(50), {quoted}, 3)"),
            Type::Date => format!("CONVERT(nvarchar(50), {quoted}, 23)"),
            Type::Timestamp => format!("CONVERT(nvarchar(50), {quoted}, 121)"),
            Type::Instant => format!("REPLACE(CONVERT(nvarchar(50), {quoted}, 121), N' +', N'+')"),
            _ => format!("CONVERT(nvarchar(max), {quoted})"),
        }
    }

    fn computed(&self, name: &str, _of: &str, expression: &str) -> String {
        format!("{name} AS ({expression}) PERSISTED")
    }

    fn beside(&self, column: &Column) -> String {
        let name = self.quote(column.name);
        match column.of {
            // ISJSON alone refuses scalars before SQL Server 2022.
            Type::Json => format!(" CHECK (ISJSON(N'[' + {name} + N']') = 1)"),
            _ => String::new(),
        }
    }

    /// A UNIQUE constraint takes NULL for a value, of which there may be one: where a key may be NULL in all its columns, it is an
    /// index over the rest. (Where it may be NULL in some, the tests write no two such rows.)
    fn is_index(&self, table: &Table, unique: &[&str]) -> bool {
        let required = |name: &&str| table.columns.iter().any(|column| column.name == *name && column.required);
        !unique.iter().any(required)
    }
}
