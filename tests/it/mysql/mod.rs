//! What is MySQL's own beside the contract: its sessions, rights, collations, indexes and spellings, on a real MariaDB.

mod rows;
mod sessions;
mod setup;

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, MySqlConnection, Row};
use tidegate::databases::{Connection, kind};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Destination, WriteError},
    transaction::{Cell, Committed, Encoded, Fence, LaneId, Op, Statement, TablePlan, Transaction},
};

use crate::servers::mariadb::MariadbServer;

/// A destination on a database of its own, and a connection to look behind its back.
struct World {
    destination: Box<dyn Destination>,
    root: MySqlConnection,
    at: u64,
}

fn settings(url: &str) -> Connection {
    Connection {
        name: "rooms".into(),
        url: url.parse().unwrap(),
        password: None,
        tls: None,
        connect_timeout: Duration::from_secs(5),
        session_timeout: Duration::from_secs(1),
        home: None,
    }
}

fn open(settings: Connection) -> Box<dyn Destination> {
    (kind("mysql").unwrap().open)(settings)
}

fn lane() -> LaneId {
    LaneId { installation: "inst".into(), destination: "dest".into(), stream: "app".into(), part: "main".into() }
}

fn generation() -> Generation {
    Generation::new("gen")
}

fn text(value: &str) -> Cell {
    Cell::Text(value.into())
}

/// Rows of text.
fn rows(rows: &[&[&str]]) -> Vec<Vec<Cell>> {
    rows.iter().map(|row| row.iter().copied().map(text).collect()).collect()
}

/// Rows of a plan's first columns.
fn statement(plan: &Arc<TablePlan>, op: Op, rows: Vec<Vec<Cell>>) -> Statement {
    let columns = (0..rows[0].len()).collect();
    Statement {
        plan: plan.clone(),
        op,
        must_touch: false,
        columns,
        insert_only: Vec::new(),
        parents: Vec::new(),
        encoded: Encoded::default(),
        rows,
    }
}

impl World {
    async fn new(server: &MariadbServer, ddl: &[&str]) -> Self {
        let database = server.database().await;
        let mut world =
            Self { destination: open(settings(&server.url(&database))), root: server.connect(&database).await, at: 0 };
        for sql in ddl {
            world.sql(sql).await;
        }
        world.destination.take_over("inst", "dest", "me").await.unwrap();
        world.destination.begin_lane(&lane(), &generation(), "me", StreamId::ZERO).await.unwrap();
        world
    }

    async fn sql(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.root).await.unwrap();
    }

    async fn read(&mut self, sql: &str) -> Vec<String> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.root).await.unwrap();
        rows.iter().map(|row| row.try_get::<Option<String>, _>(0).unwrap().unwrap_or("∅".into())).collect()
    }

    async fn plan(&mut self, table: &str, key: &[&str]) -> Arc<TablePlan> {
        let table = self.destination.table(table).await.unwrap();
        let key: Vec<usize> = key.iter().map(|name| table.column(name).unwrap()).collect();
        let names: Vec<String> = key.iter().map(|&place| table.columns[place].name.clone()).collect();
        Arc::new(TablePlan {
            route: "r".into(),
            columns: (0..table.columns.len()).collect(),
            only_unique_key: table.is_only_unique(&names),
            version: None,
            table: Arc::new(table),
            key,
        })
    }

    fn fence(&self) -> Fence {
        Fence {
            lane: lane(),
            generation: generation(),
            owner: "me".into(),
            previous: StreamId::new(self.at, 0),
            new: StreamId::new(self.at + 1, 0),
        }
    }

    async fn write(&mut self, plan: &Arc<TablePlan>, op: Op, rows: Vec<Vec<Cell>>) -> Result<Committed, WriteError> {
        self.commit(statement(plan, op, rows)).await
    }

    async fn commit(&mut self, statement: Statement) -> Result<Committed, WriteError> {
        let transaction = Transaction { statements: vec![statement], ..Transaction::of(self.fence()) };
        let committed = self.destination.commit(&transaction).await?;
        self.at += 1;
        Ok(committed)
    }
}

fn code(outcome: Result<Committed, WriteError>) -> (String, Option<usize>) {
    match outcome {
        Err(WriteError::Reject(rejection)) => (rejection.code, rejection.row),
        other => panic!("not a rejection: {other:?}"),
    }
}
