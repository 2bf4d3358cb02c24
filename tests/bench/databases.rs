//! Private database servers for the benchmarks, with the servers' usual settings, and databases in them that have the one
//! table that is written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, SqliteConnection};

use crate::{
    servers::{mariadb::MariadbServer, postgres::PostgresServer, temp_dir},
    shape::Shape,
};

/// A kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Postgres,
    Mariadb,
    Sqlite,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Postgres, Self::Mariadb, Self::Sqlite];

    /// The product's word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mariadb => "mysql",
            Self::Sqlite => "sqlite",
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Mariadb => "MariaDB",
            Self::Sqlite => "SQLite",
        }
    }
}

/// A PostgreSQL with the servers' usual settings, and these.
pub(crate) fn usual_postgres(more: &[(&str, &str)]) -> PostgresServer {
    let server = PostgresServer::private();
    server.stop();
    server.configure(&[&[("shared_buffers", "128MB"), ("timezone", "UTC"), ("datestyle", "ISO")], more].concat());
    server.start();
    server
}

/// A MariaDB with the servers' usual settings.
pub(crate) fn usual_mariadb() -> MariadbServer {
    let server = MariadbServer::private();
    server.stop();
    server.start_with(&["--innodb-buffer-pool-size=128M", "--innodb-log-file-size=96M"]);
    server
}

/// Servers, each started when it is first needed, and a folder for files.
pub(crate) struct Servers {
    postgres: Option<PostgresServer>,
    mariadb: Option<MariadbServer>,
    files: tempfile::TempDir,
    made: usize,
}

impl Servers {
    pub(crate) fn new() -> Self {
        Self { postgres: None, mariadb: None, files: temp_dir(), made: 0 }
    }

    pub(crate) fn postgres(&mut self) -> &PostgresServer {
        self.postgres.get_or_insert_with(Self::start_postgres)
    }

    /// A PostgreSQL that knows when each row was committed.
    pub(crate) fn start_postgres() -> PostgresServer {
        usual_postgres(&[("track_commit_timestamp", "on")])
    }

    pub(crate) fn mariadb(&mut self) -> &MariadbServer {
        self.mariadb.get_or_insert_with(usual_mariadb)
    }

    /// A new database with an empty table.
    pub(crate) async fn database(&mut self, kind: Kind, shape: Shape) -> Database {
        let url = match kind {
            Kind::Postgres => {
                let server = self.postgres();
                server.url(&server.database().await)
            }
            Kind::Mariadb => {
                let server = self.mariadb();
                server.url(&server.database().await)
            }
            Kind::Sqlite => {
                self.made += 1;
                let path = self.files.path().join(format!("{}.db", self.made));
                std::fs::File::create(&path).unwrap();
                format!("sqlite://{}", path.display())
            }
        };
        let database = Database { kind, shape, url };
        database.run(&shape.create(kind)).await;
        database
    }

    /// Processes of the servers of these kinds that have one.
    pub(crate) fn process(&self, kind: Kind) -> Option<u32> {
        let first_line = |path: PathBuf| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().next().unwrap().trim().parse().unwrap()
        };
        match kind {
            Kind::Postgres => self.postgres.as_ref().map(|server| first_line(server.dir().join("data/postmaster.pid"))),
            Kind::Mariadb => self.mariadb.as_ref().map(|server| first_line(server.dir().join("pid"))),
            Kind::Sqlite => None,
        }
    }
}

/// A database with the table.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    /// As the product is told it.
    pub(crate) url: String,
}

impl Database {
    /// The server's port.
    pub(crate) fn port(&self) -> u16 {
        url::Url::parse(&self.url).unwrap().port().unwrap()
    }

    /// The database's name on its server.
    pub(crate) fn name(&self) -> String {
        url::Url::parse(&self.url).unwrap().path().trim_start_matches('/').to_owned()
    }

    /// Runs statements, one after the other, on a connection of their own.
    pub(crate) async fn run(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                connection.execute(sql).await.unwrap();
                connection.close().await.unwrap();
            }
            Kind::Mariadb => {
                let mut connection = self.mariadb().await;
                connection.execute(sql).await.unwrap();
                connection.close().await.unwrap();
            }
            Kind::Sqlite => {
                let mut connection = self.sqlite().await;
                connection.execute(sql).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }

    /// The first column of the only row, which must be a text.
    pub(crate) async fn text(&self, sql: &str) -> String {
        let sql = AssertSqlSafe(sql.to_owned());
        match self.kind {
            Kind::Postgres => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let text = sqlx::query_scalar(sql).fetch_one(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                text
            }
            Kind::Mariadb => sqlx::query_scalar(sql).fetch_one(&mut self.mariadb().await).await.unwrap(),
            Kind::Sqlite => sqlx::query_scalar(sql).fetch_one(&mut self.sqlite().await).await.unwrap(),
        }
    }

    async fn mariadb(&self) -> MySqlConnection {
        MySqlConnection::connect(&format!("{}?ssl-mode=DISABLED", self.url)).await.unwrap()
    }

    async fn sqlite(&self) -> SqliteConnection {
        let mut connection = SqliteConnection::connect(&self.url).await.unwrap();
        connection.execute("PRAGMA busy_timeout = 10000").await.unwrap();
        connection
    }

    /// Empties the table, puts every second of so many rows into it where that is asked for, and lets the server write
    /// down what it has, so that it is not busy with it in the measurement.
    pub(crate) async fn empty(&self, preload: Option<usize>) {
        self.run(if self.kind == Kind::Sqlite { "DELETE FROM cars" } else { "TRUNCATE TABLE cars" }).await;
        if let Some(records) = preload {
            self.run(&self.shape.preload(self.kind, records)).await;
        }
        match self.kind {
            Kind::Postgres => self.run("CHECKPOINT").await,
            Kind::Sqlite => self.run("PRAGMA wal_checkpoint(TRUNCATE)").await,
            Kind::Mariadb => {}
        }
    }

    /// How many rows there are, and the sum of a column that shows that values arrived.
    pub(crate) async fn contents(&self) -> (i64, i64) {
        let sql = match self.kind {
            Kind::Mariadb => "SELECT CAST(concat(count(*), ' ', COALESCE(sum(stock), 0)) AS CHAR) FROM cars",
            _ => "SELECT CAST(count(*) AS text) || ' ' || CAST(COALESCE(sum(stock), 0) AS text) FROM cars",
        };
        let text = self.text(sql).await;
        let (count, sum) = text.split_once(' ').unwrap();
        (count.parse().unwrap(), sum.parse().unwrap())
    }

    /// Something that differs where any value of any row differs.
    pub(crate) async fn digest(&self) -> String {
        let wide = self.shape == Shape::Wide;
        match self.kind {
            Kind::Postgres => self.text("SELECT md5(string_agg(md5(cars::text), '' ORDER BY id)) FROM cars").await,
            Kind::Mariadb => {
                let more = if wide { ", source, sent_at, note" } else { "" };
                let row = format!("md5(concat_ws('|', id, car_name, stock, price{more}))");
                self.text(&format!("SELECT CAST(sum(conv(left({row}, 12), 16, 10)) AS CHAR) FROM cars")).await
            }
            Kind::Sqlite => {
                let more = if wide { ", length(note), source, sent_at, min(note), max(note)" } else { "" };
                self.text(&format!(
                    "SELECT concat_ws('|', sum(id), sum(id * stock), total(price), total(price * stock), \
                     sum(length(car_name) * stock), min(typeof(price)), max(typeof(price)), min(car_name), \
                     max(car_name){more}) FROM cars"
                ))
                .await
            }
        }
    }
}
