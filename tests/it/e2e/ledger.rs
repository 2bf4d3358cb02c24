//! The ledger: what was acknowledged to the producer, held against what every database has.
//!
//! Each destination has two routes from the same topic: `cars` is upserted by key and must hold the last version of
//! each key; `events` only inserts and must hold every acknowledged message once, each key's versions in order.

use std::collections::BTreeMap;

use sqlx::{Connection, Row};

use crate::servers::proxy::Proxy;

/// Key → how many versions of it were acknowledged (they count from 1).
pub(crate) type Acknowledged = BTreeMap<i64, i64>;

/// The two tables of a destination, in a dialect that all three kinds read. `events.seq` is the order of arrival.
pub(crate) fn tables(kind: &str) -> Vec<String> {
    let seq = match kind {
        "postgres" => "bigint generated always as identity primary key",
        "mysql" => "bigint auto_increment primary key",
        _ => "integer primary key autoincrement",
    };
    vec![
        "create table cars (id bigint primary key, version bigint not null, car_name varchar(200), stock int)".into(),
        format!("create table events (seq {seq}, id bigint not null, version bigint not null)"),
    ]
}

/// A database as the test looks at it, beside the product.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The destination's name.
    pub(crate) name: String,
    /// Its kind.
    pub(crate) kind: &'static str,
    /// Its address, with whatever password it has.
    pub(crate) url: String,
}

impl Target {
    /// Makes the tables.
    pub(crate) async fn create_tables(&self) {
        for sql in tables(self.kind) {
            self.execute(&sql).await;
        }
    }

    /// Runs one statement.
    pub(crate) async fn execute(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match self.kind {
            "postgres" => {
                let mut connection = sqlx::PgConnection::connect(&self.url).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
            "mysql" => {
                let mut connection = sqlx::MySqlConnection::connect(&self.url).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
            _ => {
                let mut connection = sqlx::SqliteConnection::connect(&self.url).await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// Pairs of numbers that a query answers; an error (the server is down, the file locked) is `None`.
    pub(crate) async fn pairs(&self, sql: &str) -> Option<Vec<(i64, i64)>> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        macro_rules! ask {
            ($connection:ty) => {{
                let mut connection = <$connection>::connect(&self.url).await.ok()?;
                let rows = sqlx::query(sql).fetch_all(&mut connection).await.ok()?;
                Some(rows.iter().map(|row| (row.get::<i64, _>(0), row.get::<i64, _>(1))).collect())
            }};
        }
        match self.kind {
            "postgres" => ask!(sqlx::PgConnection),
            "mysql" => ask!(sqlx::MySqlConnection),
            _ => ask!(sqlx::SqliteConnection),
        }
    }

    /// The texts that a query answers in its only column, joined by line ends; an error is `None`.
    pub(crate) async fn text(&self, sql: &str) -> Option<String> {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        macro_rules! ask {
            ($connection:ty) => {{
                let mut connection = <$connection>::connect(&self.url).await.ok()?;
                let rows = sqlx::query(sql).fetch_all(&mut connection).await.ok()?;
                rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>()
            }};
        }
        let rows = match self.kind {
            "postgres" => ask!(sqlx::PgConnection),
            "mysql" => ask!(sqlx::MySqlConnection),
            _ => ask!(sqlx::SqliteConnection),
        };
        Some(rows.join("\n"))
    }

    /// The same database by way of a proxy: what the destination is registered with.
    pub(crate) fn through(&self, proxy: &Proxy) -> Self {
        let mut url: url::Url = self.url.parse().unwrap();
        url.set_port(Some(proxy.port())).unwrap();
        Self { url: url.to_string(), ..self.clone() }
    }

    /// The port of its server.
    pub(crate) fn port(&self) -> u16 {
        self.url.parse::<url::Url>().unwrap().port().unwrap()
    }

    /// How often the destination has changed hands, as the database knows it; none before the first take-over.
    pub(crate) async fn epoch(&self) -> Option<i64> {
        let integer = if self.kind == "mysql" { "signed" } else { "bigint" };
        let sql = format!("select cast(epoch as {integer}), cast(epoch as {integer}) from tidegate_watermark");
        self.pairs(&sql).await?.into_iter().map(|(epoch, _)| epoch).max()
    }

    /// How many messages have arrived; `None` where it can't be told now.
    pub(crate) async fn arrived(&self) -> Option<i64> {
        self.pairs("select count(*), count(*) from events").await.map(|rows| rows[0].0)
    }

    /// Holds the database against what was acknowledged.
    pub(crate) async fn check(&self, acknowledged: &Acknowledged) {
        let events = self.pairs("select id, version from events order by seq").await.expect("the database answers");
        let mut seen: BTreeMap<i64, i64> = BTreeMap::new();
        for (id, version) in events {
            let last = seen.entry(id).or_default();
            assert_eq!(version, *last + 1, "{}: key {id}: version {version} came after {last}", self.name);
            *last = version;
        }
        assert_eq!(seen, *acknowledged, "{}: every acknowledged message, once, in the order of its key", self.name);
        let cars = self.pairs("select id, version from cars order by id").await.expect("the database answers");
        let cars: BTreeMap<i64, i64> = cars.into_iter().collect();
        assert_eq!(cars, *acknowledged, "{}: the last version of each key", self.name);
    }
}
