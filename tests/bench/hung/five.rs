//! Five destinations of which one can be made to hang and one to be slow, and the load on them.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};

use crate::{
    backlog::{self, Backlog},
    comparison::Outcome,
    databases::{Database, Kind, Servers},
    delivery::Write,
    node::{self, Destination},
    product::{Delivery, Product},
    servers::postgres::PostgresServer,
    shape::Shape,
};

/// The three that are always well come first.
const NAMES: [&str; 5] = ["first", "second", "third", "slow", "hung"];
const OTHERS: usize = 3;
const SLOW: usize = 3;
const HUNG: usize = 4;
/// How long the slow one takes for a statement.
const SECONDS: f64 = 0.5;
/// Between two additions of the steady load.
const TICK: Duration = Duration::from_millis(4);
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(180);

/// What is the matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Well,
    Hung,
    Slow,
}

pub(super) struct Five {
    databases: Vec<Database>,
    /// The server of the one that hangs.
    hangs: PostgresServer,
    product: Product,
    /// The last entry.
    last: String,
    /// Ends the servers, at last.
    _servers: Servers,
}

impl Five {
    /// Two PostgreSQL and one MariaDB that are well, a PostgreSQL that can be slow, and one on a server of its own.
    pub(super) async fn start(mode: &str) -> Self {
        let mut servers = Servers::new();
        let mut databases = Vec::new();
        for kind in [Kind::Postgres, Kind::Postgres, Kind::Mariadb, Kind::Postgres] {
            databases.push(servers.database(kind, Shape::Narrow).await);
        }
        for sql in [
            "CREATE TABLE slowness (seconds double precision)",
            "INSERT INTO slowness VALUES (0)",
            "CREATE FUNCTION slow_down() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(seconds) FROM slowness; RETURN NULL; END $$",
            "CREATE TRIGGER slow_down BEFORE INSERT ON cars FOR EACH STATEMENT EXECUTE FUNCTION slow_down()",
        ] {
            databases[SLOW].run(sql).await;
        }
        let hangs = Servers::start_postgres();
        let url = hangs.url(&hangs.database().await);
        databases.push(Database { kind: Kind::Postgres, shape: Shape::Narrow, url });
        databases[HUNG].run(&Shape::Narrow.create(Kind::Postgres)).await;
        let destination =
            |(name, database): (&&str, &Database)| Destination::new(name, database.kind.word(), &database.url);
        let destinations: Vec<_> = NAMES.iter().zip(&databases).map(destination).collect();
        let product = Product::start(mode, &destinations).await;
        Self { databases, hangs, product, last: String::new(), _servers: servers }
    }

    /// Empties all tables.
    pub(super) async fn empty(&self) {
        for database in &self.databases {
            database.empty(None).await;
        }
    }

    /// From now on, something is the matter.
    pub(super) async fn begin(&self, state: State) {
        match state {
            State::Well => {}
            State::Hung => self.hangs.pause(),
            State::Slow => self.databases[SLOW].run(&format!("UPDATE slowness SET seconds = {SECONDS}")).await,
        }
    }

    /// All is well again; returns when all five have everything.
    pub(super) async fn end(&mut self, state: State) {
        match state {
            State::Well => {}
            State::Hung => self.hangs.resume(),
            State::Slow => self.databases[SLOW].run("UPDATE slowness SET seconds = 0").await,
        }
        backlog::until_passed(&mut self.product.connection, node::APPLICATION, &self.last, &[], LIMIT).await;
        let rows = self.databases[0].contents().await;
        for database in &self.databases {
            assert_eq!(database.contents().await, rows, "{}", database.url);
        }
    }

    /// A backlog: the rate at which the slowest of the others had all of it. Where nothing is the matter it returns when
    /// all five have it, so that the steady load meets nobody who is behind.
    pub(super) async fn backlog(&mut self, state: State, records: usize) -> Outcome {
        let backlog = Backlog {
            application: node::APPLICATION,
            action: Write::Upsert.action(),
            shape: Shape::Narrow,
            first: 1,
            records,
        };
        let names: Vec<String> = NAMES[..OTHERS].iter().map(|name| (*name).to_owned()).collect();
        let prepared = backlog.prepare(&mut self.product.connection).await;
        let (sampler, before) = (self.product.sampler(), self.product.cpu());
        let begun = prepared.release(&mut self.product.connection).await;
        let connection = &mut self.product.connection;
        let ended = backlog::until_passed(connection, node::APPLICATION, &prepared.last, &names, LIMIT).await;
        let after = self.product.cpu();
        let cpu = [after[0] - before[0], after[1] - before[1]];
        if state == State::Well {
            let connection = &mut self.product.connection;
            backlog::until_passed(connection, node::APPLICATION, &prepared.last, &[], LIMIT).await;
        }
        self.last = prepared.last;
        Delivery { seconds: ended - begun, cpu, memory: sampler.stop() }.outcome(records, &[])
    }

    /// A steady load of records whose numbers begin at `first`; the milliseconds from acceptance to commit in the two
    /// others of PostgreSQL, sorted.
    pub(super) async fn steady(&mut self, first: usize, per_second: usize, seconds: u64) -> Vec<f64> {
        let stream = node::stream();
        let mut accepted: HashMap<i64, f64> = HashMap::new();
        let (start, all) = (Instant::now(), per_second * seconds as usize);
        let mut sent = 0;
        while sent < all {
            let due = ((start.elapsed().as_secs_f64() * per_second as f64) as usize).min(all);
            if due > sent {
                let mut pipe = redis::pipe();
                for id in first + sent..first + due {
                    backlog::add(&mut pipe, &stream, Write::Upsert.action(), Shape::Narrow, id);
                }
                let ids: Vec<String> = pipe.query_async(&mut self.product.connection).await.unwrap();
                for (number, id) in ids.iter().enumerate() {
                    accepted.insert((first + sent + number) as i64, backlog::place(id).0 as f64);
                }
                self.last.clone_from(ids.last().unwrap());
                sent = due;
            }
            tokio::time::sleep(TICK).await;
        }
        let names: Vec<String> = NAMES[..OTHERS].iter().map(|name| (*name).to_owned()).collect();
        backlog::until_passed(&mut self.product.connection, node::APPLICATION, &self.last, &names, LIMIT).await;
        let mut times = Vec::new();
        for database in &self.databases[..2] {
            let mut connection = PgConnection::connect(&database.url).await.unwrap();
            let rows: Vec<(i64, f64)> = sqlx::query_as(
                "SELECT id, CAST(extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 AS double precision) \
                 FROM cars WHERE id >= $1",
            )
            .bind(first as i64)
            .fetch_all(&mut connection)
            .await
            .unwrap();
            assert_eq!(rows.len(), all, "rows of the steady load");
            times.extend(rows.iter().map(|(id, committed)| committed - accepted[id]));
        }
        times.sort_by(f64::total_cmp);
        times
    }
}
