//! The world in memory keeps the promises of the ports it stands in for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod database;
mod faults;
mod fencing;
mod log;
mod rows;

use std::sync::Arc;

use super::*;
use crate::{
    message::{Generation, StreamId},
    ports::WriteError,
    transaction::{Cell, DeadId, DeadRow, Encoded, Fence, LaneId, Op, Statement, TablePlan, Transaction},
};

/// A lane of the only destination.
fn lane(stream: &str) -> LaneId {
    LaneId { installation: "inst".into(), destination: "dest".into(), stream: stream.into(), part: "main".into() }
}

fn generation() -> Generation {
    Generation::new("gen1")
}

fn id(seq: u64) -> StreamId {
    StreamId::new(1, seq)
}

fn text(value: &str) -> Cell {
    match value {
        "∅" => Cell::Null,
        value => Cell::Text(value.into()),
    }
}

/// How a table is written: every column that can be, by this key.
fn plan(database: &MemoryDatabase, table: &str, key: &[&str]) -> Arc<TablePlan> {
    let table = answer(database.open().table(table)).unwrap();
    let columns: Vec<usize> = (0..table.columns.len()).filter(|place| !table.columns[*place].generated).collect();
    let place = |name: &&str| columns.iter().position(|column| table.columns[*column].name == **name).unwrap();
    let key_places = key.iter().map(place).collect();
    let names: Vec<String> = key.iter().map(|&name| name.into()).collect();
    let only_unique_key = table.is_only_unique(&names);
    Arc::new(TablePlan {
        route: "route".into(),
        table: Arc::new(table),
        columns,
        key: key_places,
        only_unique_key,
        version: None,
    })
}

/// Runs a future that has nothing to wait for.
fn answer<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Rows of these columns; `∅` is NULL.
fn statement(plan: &Arc<TablePlan>, op: Op, columns: &[&str], rows: &[&[&str]]) -> Statement {
    let place =
        |name: &&str| plan.columns.iter().position(|column| plan.table.columns[*column].name == **name).unwrap();
    Statement {
        plan: plan.clone(),
        op,
        must_touch: op == Op::Update,
        columns: columns.iter().map(place).collect(),
        insert_only: Vec::new(),
        parents: Vec::new(),
        encoded: Encoded::default(),
        rows: rows.iter().map(|row| row.iter().map(|cell| text(cell)).collect()).collect(),
    }
}

/// A transaction of owner `one` from `previous` to `new`.
fn transaction(previous: u64, new: u64, statements: Vec<Statement>) -> Transaction {
    let at = |seq| if seq == 0 { StreamId::ZERO } else { id(seq) };
    let fence = Fence {
        lane: lane("app"),
        generation: generation(),
        owner: "one".into(),
        previous: at(previous),
        new: at(new),
    };
    Transaction { statements, ..Transaction::of(fence) }
}

/// A database with one lane that `one` has begun.
fn taken() -> (MemoryDatabase, MemoryDestination) {
    let database = MemoryDatabase::new();
    let mut destination = database.open();
    answer(async {
        destination.take_over("inst", "dest", "one").await.unwrap();
        destination.begin_lane(&lane("app"), &generation(), "one", StreamId::ZERO).await.unwrap();
    });
    (database, destination)
}

fn dead(seq: u64) -> DeadId {
    DeadId { generation: generation(), id: id(seq), route: "route".into() }
}

fn dead_row(seq: u64, key: &str) -> DeadRow {
    DeadRow { dead: dead(seq), table: "cars".into(), key: Some(key.into()), superseded_by: None }
}

/// A table's rows, each as `a|b|c`, sorted.
fn shown(database: &MemoryDatabase, table: &str) -> Vec<String> {
    let line =
        |row: Vec<Option<String>>| row.into_iter().map(|cell| cell.unwrap_or("∅".into())).collect::<Vec<_>>().join("|");
    let mut rows: Vec<_> = database.texts(table).into_iter().map(line).collect();
    rows.sort();
    rows
}

/// The statement, row, code and column of a rejection.
fn rejected<T: std::fmt::Debug>(result: Result<T, WriteError>) -> (usize, usize, String, Option<String>) {
    match result {
        Err(WriteError::Reject(rejection)) => {
            (rejection.statement.unwrap(), rejection.row.unwrap(), rejection.code, rejection.column)
        }
        other => panic!("not a rejection: {other:?}"),
    }
}
