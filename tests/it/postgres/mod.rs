//! What only PostgreSQL has: its types and catalogue, its error classes, its session limits, TLS and rights. What every
//! kind must do stands in the contract suite.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bookkeeping;
mod faults;
mod rows;
mod setup;

use std::{sync::Arc, time::Duration};

use sqlx::{AssertSqlSafe, PgConnection};
use tidegate::databases::{Connection, postgres::KIND};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Destination, Rejection, WriteError},
    transaction::{Cell, Committed, Encoded, Fence, LaneId, Op, Statement, TablePlan, Transaction},
};

use crate::servers::postgres::PostgresServer;

/// The settings for an address, with short limits.
fn settings(url: &str) -> Connection {
    Connection {
        name: "rooms".into(),
        url: url.parse().unwrap(),
        password: None,
        tls: None,
        connect_timeout: Duration::from_secs(10),
        session_timeout: Duration::from_secs(2),
        home: None,
    }
}

fn lane(stream: &str) -> LaneId {
    LaneId {
        installation: "inst00000001".into(),
        destination: "dest00000001".into(),
        stream: stream.into(),
        part: "main".into(),
    }
}

fn generation() -> Generation {
    Generation::new("gen0000001")
}

/// The owner of one lane of a fresh database, and the superuser beside it.
struct Writer {
    server: &'static PostgresServer,
    database: String,
    admin: PgConnection,
    destination: Box<dyn Destination>,
    at: StreamId,
}

impl Writer {
    /// A fresh database with this in it.
    async fn with(sql: &str) -> Self {
        let server = PostgresServer::shared().await;
        let database = server.database().await;
        let destination = (KIND.open)(settings(&server.url(&database)));
        let admin = server.connect(&database).await;
        let mut writer = Self { server, database, admin, destination, at: StreamId::ZERO };
        writer.sql(sql).await;
        writer.destination.take_over("inst00000001", "dest00000001", "me").await.unwrap();
        writer.destination.begin_lane(&lane("app"), &generation(), "me", StreamId::ZERO).await.unwrap();
        writer
    }

    async fn sql(&mut self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.admin).await.unwrap();
    }

    /// One text, as the superuser sees it.
    async fn text(&mut self, sql: &str) -> Option<String> {
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.admin).await.unwrap()
    }

    async fn plan(&mut self, table: &str, key: &[&str]) -> Arc<TablePlan> {
        let table = self.destination.table(table).await.unwrap();
        let columns: Vec<usize> = (0..table.columns.len()).filter(|&index| !table.columns[index].generated).collect();
        let key = key.iter().map(|name| columns.iter().position(|&index| table.columns[index].name == *name).unwrap());
        let key = key.collect();
        Arc::new(TablePlan {
            route: "route".into(),
            table: Arc::new(table),
            columns,
            key,
            only_unique_key: true,
            version: None,
        })
    }

    fn transaction(&self, statements: Vec<Statement>) -> Transaction {
        let fence = Fence {
            lane: lane("app"),
            generation: generation(),
            owner: "me".into(),
            previous: self.at,
            new: StreamId::new(1, self.at.seq + 1),
        };
        Transaction { statements, ..Transaction::of(fence) }
    }

    async fn commit(&mut self, statements: Vec<Statement>) -> Result<Committed, WriteError> {
        let transaction = self.transaction(statements);
        let committed = self.destination.commit(&transaction).await?;
        self.at = transaction.fence.new;
        Ok(committed)
    }

    /// Commits one statement of a table with the key `id`.
    async fn write(
        &mut self,
        op: Op,
        table: &str,
        columns: &[&str],
        rows: &[&[&str]],
    ) -> Result<Committed, WriteError> {
        let plan = self.plan(table, &["id"]).await;
        self.commit(vec![statement(&plan, op, columns, rows)]).await
    }

    /// Writes one row that must be rejected.
    async fn rejected(&mut self, op: Op, table: &str, columns: &[&str], row: &[&str]) -> Rejection {
        match self.write(op, table, columns, &[row]).await {
            Err(WriteError::Reject(rejection)) => {
                assert_eq!((rejection.statement, rejection.row), (Some(0), Some(0)), "{rejection}");
                rejection
            }
            other => panic!("expected a rejection: {other:?}"),
        }
    }
}

/// Rows of texts; `∅` is NULL.
fn statement(plan: &Arc<TablePlan>, op: Op, columns: &[&str], rows: &[&[&str]]) -> Statement {
    let place = |name: &&str| plan.columns.iter().position(|&index| plan.table.columns[index].name == **name).unwrap();
    let cell = |text: &&str| if *text == "∅" { Cell::Null } else { Cell::Text((*text).into()) };
    Statement {
        plan: plan.clone(),
        op,
        must_touch: op == Op::Update,
        columns: columns.iter().map(place).collect(),
        insert_only: Vec::new(),
        parents: Vec::new(),
        encoded: Encoded::default(),
        rows: rows.iter().map(|row| row.iter().map(cell).collect()).collect(),
    }
}
