//! The five databases of a car dealer group: what each keeps of a record, its tables, and a look inside beside Tidegate.
//!
//! Each has two routes from the one topic: `cars` holds the last version of every car, in the database's own choice of
//! columns; `arrivals` only takes rows in, one for each record, and so shows what came twice, too late or not at all. The
//! archive has a third, `history`, with every version of every car: it is the busiest.

use std::{fmt::Write as _, path::Path};

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

use super::servers::Servers;

/// A database, and what it keeps.
pub(super) struct Database {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    /// The columns of `cars`; all of them have `version` too.
    pub(super) keeps: &'static [&'static str],
    /// The column whose sum is checked.
    pub(super) sum: &'static str,
    /// Its address, for Tidegate and for the look inside.
    pub(super) url: String,
}

const CHOICES: [(&str, &[&str], &str); 5] = [
    ("showroom", &["id", "car_name", "stock"], "stock"),
    ("workshop", &["id", "car_name", "mileage"], "mileage"),
    ("web-shop", &["id", "car_name", "price"], "price"),
    ("accounting", &["id", "stock", "price"], "price"),
    ("archive", &["id", "car_name", "stock", "price", "mileage", "branch"], "stock"),
];

/// The one that keeps every version too.
const BUSIEST: &str = "archive";

/// What a database is asked.
pub(super) struct Contents {
    /// The numbers of the records, in the order in which they came.
    pub(super) arrivals: Vec<i64>,
    /// The same of the versions that are kept, where they are.
    pub(super) history: Option<Vec<i64>>,
    /// Id, version and the summed column of each car.
    pub(super) cars: Vec<(i64, i64, i64)>,
}

/// The databases: SQLite files in a folder each, and on the servers where there are some.
pub(super) fn databases(folder: &Path, servers: Option<&Servers>) -> Vec<Database> {
    let place = |name: &'static str| match (servers, name) {
        (Some(servers), "accounting") => ("postgres", servers.postgres_url("accounting")),
        (Some(servers), "web-shop") => ("mysql", servers.mariadb_url("web_shop")),
        _ => ("sqlite", format!("sqlite://{}", folder.join(name).join(format!("{name}.db")).display())),
    };
    let database = |(name, keeps, sum): (&'static str, &'static [&'static str], &'static str)| {
        let (kind, url) = place(name);
        Database { name, kind, keeps, sum, url }
    };
    CHOICES.into_iter().map(database).collect()
}

/// What `tidegate apply` is given.
pub(super) fn manifest(databases: &[Database]) -> String {
    let mut text = "[[application]]\nname = \"dealer-app\"\ntopics = [\"cars\"]\n".to_owned();
    for Database { name, kind, keeps, url, .. } in databases {
        let columns: String = keeps.iter().fold(String::new(), |mut text, column| {
            let _ = writeln!(text, "{column} = \"{column}\"");
            text
        });
        let _ = write!(
            text,
            r#"
[[destination]]
name = "{name}"
kind = "{kind}"
url = "{url}"

[[route]]
name = "{name}-cars"
application = "dealer-app"
topic = "cars"
destination = "{name}"
table = "cars"
key = ["id"]
[route.columns]
{columns}version = "version"

[[route]]
name = "{name}-arrivals"
application = "dealer-app"
topic = "cars"
destination = "{name}"
table = "arrivals"
[route.columns]
no = "no"
"#
        );
        if *name == BUSIEST {
            let _ = write!(
                text,
                r#"
[[route]]
name = "{name}-history"
application = "dealer-app"
topic = "cars"
destination = "{name}"
table = "history"
[route.columns]
no = "no"
id = "id"
version = "version"
stock = "stock"
price = "price"
"#
            );
        }
    }
    text
}

macro_rules! with_connection {
    ($database:expr, $connection:ident => $body:expr) => {
        match $database.kind {
            "postgres" => {
                let mut $connection = sqlx::PgConnection::connect(&$database.url).await?;
                $body
            }
            "mysql" => {
                let url = format!("{}?ssl-mode=DISABLED", $database.url);
                let mut $connection = sqlx::MySqlConnection::connect(&url).await?;
                $body
            }
            _ => {
                let mut $connection = sqlx::SqliteConnection::connect(&$database.url).await?;
                $body
            }
        }
    };
}

impl Database {
    /// Makes the two tables; of a SQLite database the file too.
    pub(super) async fn create(&self) -> anyhow::Result<()> {
        if let Some(path) = self.url.strip_prefix("sqlite://").map(Path::new) {
            std::fs::create_dir_all(path.parent().unwrap_or(path))?;
            std::fs::File::create(path)?;
        }
        let columns: Vec<String> = self
            .keeps
            .iter()
            .map(|column| match *column {
                "id" => "id bigint primary key".to_owned(),
                "car_name" | "branch" => format!("{column} varchar(100)"),
                number => format!("{number} bigint"),
            })
            .collect();
        let seq = match self.kind {
            "postgres" => "bigint generated always as identity primary key",
            "mysql" => "bigint auto_increment primary key",
            _ => "integer primary key autoincrement",
        };
        let mut tables = vec![
            format!("create table cars ({}, version bigint not null)", columns.join(", ")),
            format!("create table arrivals (seq {seq}, no bigint not null)"),
        ];
        if self.name == BUSIEST {
            let history = "no bigint not null, id bigint not null, version bigint not null, stock bigint, price bigint";
            tables.push(format!("create table history (seq {seq}, {history})"));
        }
        for sql in tables {
            let done: Result<(), sqlx::Error> = async {
                with_connection!(self, connection => {
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
                    connection.close().await
                })
            }
            .await;
            done.with_context(|| format!("the tables of {} could not be made", self.name))?;
        }
        Ok(())
    }

    /// How many records have arrived; `None` while it can't be told.
    pub(super) async fn arrived(&self) -> Option<u64> {
        let asked = async {
            let count: i64 = with_connection!(self, connection => {
                sqlx::query_scalar("select count(*) from arrivals").fetch_one(&mut connection).await?
            });
            Ok::<_, sqlx::Error>(count)
        };
        // A server that is being stopped may take its time to say no.
        let answer = tokio::time::timeout(std::time::Duration::from_millis(500), asked).await.ok()?.ok()?;
        u64::try_from(answer).ok()
    }

    /// Everything.
    pub(super) async fn contents(&self) -> anyhow::Result<Contents> {
        let cars_sql = format!("select id, version, {} from cars order by id", self.sum);
        let read: Result<Contents, sqlx::Error> = async {
            with_connection!(self, connection => {
                let arrivals = sqlx::query_scalar("select no from arrivals order by seq").fetch_all(&mut connection).await?;
                let history = if self.name == BUSIEST {
                    Some(sqlx::query_scalar("select no from history order by seq").fetch_all(&mut connection).await?)
                } else {
                    None
                };
                let cars = sqlx::query(AssertSqlSafe(cars_sql)).fetch_all(&mut connection).await?;
                let cars = cars.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?)));
                Ok(Contents { arrivals, history, cars: cars.collect::<Result<_, sqlx::Error>>()? })
            })
        }
        .await;
        read.with_context(|| format!("{} could not be read", self.name))
    }
}
