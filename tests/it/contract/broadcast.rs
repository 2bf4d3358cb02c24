//! Broadcasts under the contract suite, as far as it speaks of places, side rows and dead letters. Their one table is none that a test
//! can make: rows of a test's table of an id and a name are written as broadcasts, the id as `key` and the name as `title`.
//!
//! What can't apply: `operations`, `bulk`, `types`, `catalogue` and `definition` make tables of other shapes; `versions` and
//! `children` need columns of their own; `rejections` speak of constraints, and an insert of a key that stands is a
//! correction here, so that `sides::a_transaction_that_fails_opens_and_closes_nothing` has
//! nothing that fails. All of these have tests of their own, in words of this table (`broadcast::destination`).

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tidegate::{
    broadcast::{keys::BroadcastKeys, message::Message, message::State},
    databases::{Connection, Home, kind},
    redis::{Keys, Redis},
    resources::Document,
};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Destination, WriteError},
    schema::TableSchema,
    transaction::{Cell, Committed, Encoded, LaneId, Op, Statement, TablePlan, TakenOver, Transaction, WatermarkRow},
};

use super::{Ability, Database, Subject, table::Table};
use crate::servers::redis::RedisServer;

/// The kind.
pub(crate) struct Shops;

#[async_trait(?Send)]
impl Subject for Shops {
    async fn fresh() -> Box<dyn Database> {
        Box::new(Inside { server: RedisServer::start().await })
    }
}

struct Inside {
    server: RedisServer,
}

/// A destination in this Redis, of a node that knows this document.
pub(crate) fn open(server: &RedisServer, document: Document) -> Box<dyn Destination> {
    let (_, documents) = tokio::sync::watch::channel(Some(Arc::new(document)));
    (kind("broadcast").unwrap().open)(Connection {
        name: "shops".into(),
        url: "broadcast://shops".parse().unwrap(),
        password: None,
        tls: None,
        connect_timeout: Duration::from_secs(5),
        session_timeout: Duration::from_secs(3),
        home: Some(Home { redis: Redis::open(&server.url(), "tidegate").unwrap(), documents }),
    })
}

/// Every broadcast that there is, in any order.
pub(crate) async fn messages(server: &RedisServer) -> Vec<Message> {
    let key = BroadcastKeys::of(&Keys::new("tidegate")).messages();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let all: Vec<String> = redis::cmd("HVALS").arg(&key).query_async(&mut connection).await.unwrap();
    all.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

#[async_trait(?Send)]
impl Database for Inside {
    fn open(&self) -> Box<dyn Destination> {
        Box::new(AsTable(open(&self.server, Document::default())))
    }

    fn can(&self, _: Ability) -> bool {
        false
    }

    async fn create(&self, table: &Table) {
        let names: Vec<_> = table.columns.iter().map(|column| column.name).collect();
        assert_eq!(names, ["id", "name"], "a broadcast has no other columns that a test could make");
    }

    async fn drop_table(&self, _: &str) {
        unreachable!("the table is always there");
    }

    async fn drop_column(&self, _: &str, _: &str) {
        unreachable!("its columns are always there");
    }

    async fn rows(&self, _: &Table) -> Vec<Vec<Option<String>>> {
        let standing = messages(&self.server).await.into_iter().filter(|message| message.state == State::Sent);
        standing.map(|message| vec![message.own_id, Some(message.content.title)]).collect()
    }
}

/// A destination whose table has an id and a name.
struct AsTable(Box<dyn Destination>);

impl AsTable {
    async fn statement(&mut self, statement: &Statement) -> Statement {
        let table = self.0.table("broadcasts").await.unwrap();
        let place = |name: &str| table.column(name).unwrap();
        let named = |name: &str| match name {
            "id" => place("key"),
            "name" => place("title"),
            other => panic!("{other}"),
        };
        let mut columns: Vec<usize> = statement.written().map(|column| named(&column.name)).collect();
        let mut insert_only = statement.insert_only.clone();
        let mut rows = statement.rows.clone();
        if matches!(statement.op, Op::Insert | Op::Upsert | Op::Replace) {
            for (column, value) in [("audience", "all"), ("text", "…")] {
                insert_only.extend((statement.op == Op::Upsert).then_some(columns.len()));
                columns.push(place(column));
                rows.iter_mut().for_each(|row| row.push(Cell::Text(value.into())));
            }
        }
        let key = if statement.plan.key.is_empty() { Vec::new() } else { vec![place("key")] };
        let plan = TablePlan {
            route: statement.plan.route.clone(),
            columns: (0..table.columns.len()).collect(),
            table: Arc::new(table),
            key,
            only_unique_key: true,
            version: None,
        };
        Statement {
            plan: Arc::new(plan),
            op: statement.op,
            must_touch: statement.must_touch,
            columns,
            insert_only,
            parents: statement.parents.clone(),
            encoded: Encoded::default(),
            rows,
        }
    }
}

#[async_trait(?Send)]
impl Destination for AsTable {
    async fn probe(&mut self) -> Result<(), WriteError> {
        self.0.probe().await
    }

    async fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> Result<TakenOver, WriteError> {
        self.0.take_over(installation, destination, owner).await
    }

    async fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError> {
        self.0.begin_lane(lane, generation, owner, last_id).await
    }

    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        self.0.watermark(lane, generation).await
    }

    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError> {
        let of = self.0.table("broadcasts").await?;
        let column = |from: &str, name: &str| {
            let mut column = of.columns[of.column(from).unwrap()].clone();
            column.name = name.into();
            column
        };
        let columns = vec![column("key", "id"), column("title", "name")];
        Ok(TableSchema { schema: String::new(), name: name.into(), columns, unique_keys: vec![vec!["id".into()]] })
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        let mut statements = Vec::new();
        for statement in &transaction.statements {
            statements.push(self.statement(statement).await);
        }
        self.0.commit(&Transaction { statements, ..transaction.clone() }).await
    }

    async fn write(&mut self, _: &[Statement]) -> Result<Committed, WriteError> {
        unreachable!("its suite makes tables of other shapes");
    }
}
