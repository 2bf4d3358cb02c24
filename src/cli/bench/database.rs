//! The database that is delivered into: a SQLite file in the bench's folder, or a real one of the operator's. A bare client
//! makes the table, writes the rows of the limit, counts, and in the end takes away all that the bench has left there.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail, ensure};
use secrecy::SecretString;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, MySqlConnection, PgConnection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tidegate_actors::transaction::LaneId;
use url::Url;

use super::records::Row;
use crate::{
    databases::{self, Connection, kind, mysql, postgres},
    resources::{Tls, TlsMode},
};

/// The bench's own table. A name that does not begin as those of Tidegate's own tables do.
pub(super) const TABLE: &str = "bench_of_tidegate";
/// Tidegate's own tables.
const OURS: [&str; 3] = ["tidegate_watermark", "tidegate_dead", "tidegate_binding"];
/// Rows in a transaction of the limit.
pub(super) const IN_ONE: usize = 2_000;
/// Longest time for the database to take everything back at the end.
const CLEAN_WITHIN: Duration = Duration::from_secs(30);

/// Where rows go, and how to get there.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) kind: &'static databases::Kind,
    pub(super) connection: Connection,
}

/// What an operator says of a database of theirs.
pub(super) struct Theirs<'a> {
    pub(super) url: &'a str,
    pub(super) password: Option<SecretString>,
    pub(super) tls: Option<TlsMode>,
    pub(super) ca: Option<&'a Path>,
}

impl Place {
    /// A new SQLite file.
    pub(super) fn file(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("bench.db");
        std::fs::File::create(&path)?;
        let url = Url::from_file_path(&path).map_err(|()| anyhow::anyhow!("TMPDIR is no absolute path"))?;
        let url = url.as_str().replacen("file:", "sqlite:", 1);
        Self::new("sqlite", Url::parse(&url)?, None, None)
    }

    /// A database of the operator's, tried step by step.
    pub(super) async fn find(theirs: Theirs<'_>) -> anyhow::Result<Self> {
        let url = Url::parse(theirs.url).context("--into is no address; write postgres://user@host:5432/database")?;
        ensure!(
            url.password().is_none(),
            "--into has a password in it, which others can see; put it into TIDEGATE_BENCH_PASSWORD"
        );
        let kind = match url.scheme() {
            "postgres" | "postgresql" => "postgres",
            "mysql" => "mysql",
            other => {
                bail!("--into takes postgres:// and mysql:// addresses, not {other}://; without it SQLite is measured")
            }
        };
        let ca = theirs.ca.map(|path| path.display().to_string());
        let tls = match (theirs.tls, ca) {
            (None, None) => None,
            (mode, ca) => Some(Tls { mode: mode.unwrap_or(TlsMode::Verify), ca }),
        };
        let place = Self::new(kind, url, theirs.password, tls)?;
        (place.kind.validate)(&place.connection).map_err(|wrong| anyhow::anyhow!("--into can't be used: {wrong}"))?;
        for step in databases::check::check(place.kind, &place.connection).await {
            if let Err(wrong) = step.outcome {
                let hint = match &place.connection.password {
                    None if step.step == "login" => {
                        "; a password is read from TIDEGATE_BENCH_PASSWORD, which is not set"
                    }
                    _ => "",
                };
                bail!("--into can't be used: {} {}: {wrong}{hint}", step.step, step.subject);
            }
        }
        Ok(place)
    }

    fn new(name: &str, url: Url, password: Option<SecretString>, tls: Option<Tls>) -> anyhow::Result<Self> {
        Ok(Self {
            kind: kind(name).map_err(anyhow::Error::msg)?,
            connection: Connection {
                name: "bench".into(),
                url,
                password,
                tls,
                connect_timeout: Duration::from_secs(5),
                // The bare client's: as long as anything here may take.
                session_timeout: CLEAN_WITHIN,
                home: None,
            },
        })
    }

    async fn connect(&self) -> anyhow::Result<Bare> {
        let connection = &self.connection;
        let attempt = async {
            anyhow::Ok(match self.kind.name {
                "postgres" => Bare::Postgres(postgres::options(connection)?.connect().await?),
                "mysql" => Bare::Mysql(mysql::options(connection)?.connect().await?),
                _ => {
                    // As Tidegate has it.
                    let path = connection.url.to_file_path().unwrap_or_default();
                    let options = SqliteConnectOptions::new()
                        .filename(path)
                        .journal_mode(SqliteJournalMode::Wal)
                        .synchronous(SqliteSynchronous::Full)
                        .busy_timeout(Duration::from_secs(10))
                        .disable_statement_logging();
                    Bare::Sqlite(options.connect().await?)
                }
            })
        };
        let title = self.kind.title;
        tokio::time::timeout(connection.connect_timeout, attempt)
            .await
            .with_context(|| format!("{title} did not answer in time"))?
            .with_context(|| format!("{title} takes no connection"))
    }
}

/// A connection that knows nothing of Tidegate.
enum Bare {
    Postgres(PgConnection),
    Mysql(MySqlConnection),
    Sqlite(SqliteConnection),
}

macro_rules! on {
    ($bare:expr, $connection:ident => $body:expr) => {
        match $bare {
            Bare::Postgres($connection) => $body,
            Bare::Mysql($connection) => $body,
            Bare::Sqlite($connection) => $body,
        }
    };
}

impl Bare {
    async fn run(&mut self, sql: String) -> Result<(), sqlx::Error> {
        on!(self, connection => sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop))
    }

    async fn number(&mut self, sql: String) -> Result<i64, sqlx::Error> {
        on!(self, connection => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(connection).await)
    }
}

/// Rows that are ready in memory, in the form in which this kind of database takes them best.
pub(super) enum Batch {
    Columns(Vec<i64>, Vec<String>, Vec<i32>, Vec<i64>),
    Text(String),
    Rows(String, Vec<Row>),
}

/// The table in its place.
pub(super) struct Database {
    place: Place,
    bare: Bare,
    /// Which of Tidegate's tables stood there before.
    before: Vec<&'static str>,
}

impl Database {
    /// Connects, and looks at what stands there.
    pub(super) async fn open(place: &Place) -> anyhow::Result<Self> {
        let mut database = Self { place: place.clone(), bare: place.connect().await?, before: Vec::new() };
        if database.has(TABLE).await? {
            bail!(
                "{} has a table `{TABLE}` already: another bench writes it, or one was killed; drop it and run this again",
                place.kind.title
            );
        }
        for table in OURS {
            if database.has(table).await? {
                database.before.push(table);
            }
        }
        Ok(database)
    }

    /// Makes the table.
    pub(super) async fn create(&mut self) -> anyhow::Result<()> {
        let (id, text) = match self.place.kind.name {
            "mysql" => ("bigint", "varchar(100)"),
            // Of its own spelling: it is the row's number then.
            "sqlite" => ("integer", "text"),
            _ => ("bigint", "text"),
        };
        let sql = format!("CREATE TABLE {TABLE} (id {id} PRIMARY KEY, car_name {text}, stock int, price bigint)");
        self.bare.run(sql).await.with_context(|| format!("the table `{TABLE}` could not be made"))
    }

    async fn has(&mut self, table: &str) -> anyhow::Result<bool> {
        let sql = match self.place.kind.name {
            "postgres" => format!("SELECT count(to_regclass('{table}'))"),
            "mysql" => format!(
                "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '{table}'"
            ),
            _ => format!("SELECT count(*) FROM sqlite_master WHERE name = '{table}'"),
        };
        Ok(self.bare.number(sql).await? > 0)
    }

    /// Takes all rows away, so that every turn finds the same.
    pub(super) async fn empty(&mut self) -> anyhow::Result<()> {
        let sql = match self.place.kind.name {
            "sqlite" => format!("DELETE FROM {TABLE}; PRAGMA wal_checkpoint(TRUNCATE)"),
            _ => format!("TRUNCATE TABLE {TABLE}"),
        };
        self.bare.run(sql).await.with_context(|| format!("the table `{TABLE}` could not be emptied"))
    }

    pub(super) async fn rows(&mut self) -> anyhow::Result<u64> {
        let rows = self.bare.number(format!("SELECT count(*) FROM {TABLE}")).await?;
        Ok(u64::try_from(rows).unwrap_or_default())
    }

    /// So many rows from this one on, made ready.
    pub(super) fn batches(&self, first: u64, records: u64) -> Vec<Batch> {
        let rows: Vec<Row> = (first..first + records).map(Row::of).collect();
        let mut batches = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let some: Vec<Row> = rows.by_ref().take(IN_ONE).collect();
            batches.push(self.batch(some));
        }
        batches
    }

    fn batch(&self, rows: Vec<Row>) -> Batch {
        let head = format!("INSERT INTO {TABLE} (id, car_name, stock, price) VALUES ");
        match self.place.kind.name {
            "postgres" => {
                let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
                for row in rows {
                    columns.0.push(row.id);
                    columns.1.push(row.car_name);
                    columns.2.push(row.stock);
                    columns.3.push(row.price);
                }
                Batch::Columns(columns.0, columns.1, columns.2, columns.3)
            }
            "mysql" => {
                let values: Vec<String> = rows
                    .iter()
                    // The names are our own and need no escaping.
                    .map(|Row { id, car_name, stock, price }| format!("({id},'{car_name}',{stock},{price})"))
                    .collect();
                Batch::Text(head + &values.join(","))
            }
            _ => Batch::Rows(head + &vec!["(?,?,?,?)"; rows.len()].join(","), rows),
        }
    }

    /// One statement, which is a transaction.
    pub(super) async fn insert(&mut self, batch: Batch) -> Result<(), sqlx::Error> {
        match (&mut self.bare, batch) {
            (Bare::Postgres(connection), Batch::Columns(ids, names, stocks, prices)) => {
                let sql = format!(
                    "INSERT INTO {TABLE} (id, car_name, stock, price) \
                     SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::bigint[])"
                );
                let query = sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(names).bind(stocks).bind(prices);
                query.execute(connection).await.map(drop)
            }
            (Bare::Sqlite(connection), Batch::Rows(sql, rows)) => {
                let bound = rows.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, row| {
                    query.bind(row.id).bind(row.car_name).bind(row.stock).bind(row.price)
                });
                bound.execute(connection).await.map(drop)
            }
            (bare, Batch::Text(sql)) => bare.run(sql).await,
            _ => Ok(()),
        }
    }
}

/// What the bench makes in a database of the operator's, for as long as it is there.
pub(super) struct Left {
    place: Place,
    /// Which of Tidegate's tables stood there before; none of them is dropped.
    before: Vec<&'static str>,
    /// The installation and the destination, once they have ids.
    pub(super) ids: Option<(String, String)>,
}

impl Database {
    pub(super) fn left(&self) -> Left {
        Left { place: self.place.clone(), before: self.before.clone(), ids: None }
    }
}

impl Left {
    /// Drops the table, and of Tidegate's own tables what is the bench's: its rows, and the tables that were not there
    /// before and that nobody else has used since. The node must have ended.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        let title = self.place.kind.title;
        let what = || {
            format!(
                "{title} still has what the bench made; drop the table `{TABLE}`{}",
                if self.before.is_empty() {
                    ", and tidegate_watermark, tidegate_dead and tidegate_binding"
                } else {
                    ""
                }
            )
        };
        tokio::time::timeout(CLEAN_WITHIN, self.clean_now()).await.with_context(what)?.with_context(what)
    }

    async fn clean_now(&self) -> anyhow::Result<()> {
        let mut database =
            Database { place: self.place.clone(), bare: self.place.connect().await?, before: Vec::new() };
        database.bare.run(format!("DROP TABLE IF EXISTS {TABLE}")).await?;
        for table in OURS {
            if !database.has(table).await? {
                continue;
            }
            if let Some((installation, destination)) = &self.ids {
                // Ids are letters and digits.
                let ours = match table {
                    "tidegate_binding" => format!("destination = '{destination}'"),
                    _ => format!("lane LIKE '{}%'", LaneId::prefix(installation, destination)),
                };
                database.bare.run(format!("DELETE FROM {table} WHERE {ours}")).await?;
            }
            let is_new = !self.before.contains(&table);
            if is_new && database.bare.number(format!("SELECT count(*) FROM {table}")).await? == 0 {
                database.bare.run(format!("DROP TABLE {table}")).await?;
            }
        }
        Ok(())
    }
}
