//! What is SQL Server's own beside the contract: log-in, requests, answers, errors and lost connections over its protocol. No
//! server is needed: the other end is `mssql-mock-tds` with scripted answers.

mod answers;
mod handshake;
mod logins;
mod losses;
mod wire;

use std::{sync::Arc, time::Duration};

use secrecy::SecretString;
use tidegate::{
    databases::{Connection, kind},
    resources::{Tls, TlsMode},
};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Destination, WriteError},
    transaction::{Cell, Encoded, Fence, LaneId, Op, Statement, TablePlan, Transaction},
};

use wire::{Deed, Of, Wire, answer, set};

/// In no error and no log.
const PASSWORD: &str = "canary-Passw0rd!";

fn settings(port: u16) -> Connection {
    Connection {
        name: "branches".into(),
        url: format!("sqlserver://writer@127.0.0.1:{port}/shop").parse().unwrap(),
        password: Some(SecretString::from(PASSWORD)),
        tls: Some(Tls { mode: TlsMode::Off, ca: None }),
        connect_timeout: Duration::from_secs(2),
        session_timeout: Duration::from_millis(200),
        home: None,
    }
}

fn open(settings: Connection) -> Box<dyn Destination> {
    (kind("sqlserver").unwrap().open)(settings)
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

/// What each part of a column is, as the catalogue is asked for it.
const COLUMN: [Of; 13] = [
    Of::Text,
    Of::Text,
    Of::Int,
    Of::Int,
    Of::Int,
    Of::Int,
    Of::Int,
    Of::Int,
    Of::Int,
    Of::Text,
    Of::Text,
    Of::Int,
    Of::Int,
];

/// A table of cars: `id bigint` (the key), `plate nvarchar(20)`, `price decimal(14,2) DEFAULT 0`, as the catalogue tells.
fn cars() -> Vec<u8> {
    let object = set(&[("name", Of::Text), ("name", Of::Text), ("", Of::Text)], &[&["dbo", "cars", "U"]]);
    let columns = set(
        &COLUMN.map(|of| ("", of)),
        &[
            &["id", "bigint", "8", "19", "0", "0", "0", "0", "0", "∅", "∅", "∅", "0"],
            &["plate", "nvarchar", "40", "0", "0", "1", "0", "0", "0", "∅", "Latin1_General_CI_AS", "1252", "0"],
            &["price", "decimal", "9", "14", "2", "1", "0", "0", "1", "((0))", "∅", "∅", "0"],
        ],
    );
    let keys = set(&[("", Of::Int), ("", Of::Text), ("", Of::Int), ("", Of::Text)], &[&["1", "id", "0", "PK_cars"]]);
    answer(&[object, columns, keys], None)
}

/// No row untouched, or these (statement, row).
fn written(untouched: &[[&str; 2]]) -> Vec<u8> {
    let rows: Vec<&[&str]> = untouched.iter().map(|row| &row[..]).collect();
    answer(&[set(&[("step", Of::Int), ("place", Of::Int)], &rows)], None)
}

/// A destination at the other end of a wire that knows the table of cars.
async fn world() -> (Wire, Box<dyn Destination>, Arc<TablePlan>) {
    let wire = Wire::start();
    wire.always("TIDEGATE TABLE */", Deed::Answer(cars()));
    wire.always("TIDEGATE WRITE", Deed::Answer(written(&[])));
    let mut destination = open(settings(wire.port));
    let table = destination.table("cars").await.unwrap();
    let plan = TablePlan {
        route: "r".into(),
        table: Arc::new(table),
        columns: vec![0, 1, 2],
        key: vec![0],
        only_unique_key: true,
        version: None,
    };
    (wire, destination, Arc::new(plan))
}

/// Rows of `id` and `plate`.
fn statement(plan: &Arc<TablePlan>, op: Op, rows: &[[&str; 2]]) -> Statement {
    Statement {
        plan: plan.clone(),
        op,
        must_touch: false,
        columns: vec![0, 1],
        insert_only: Vec::new(),
        parents: Vec::new(),
        encoded: Encoded::default(),
        rows: rows.iter().map(|row| row.iter().copied().map(text).collect()).collect(),
    }
}

fn transaction(statements: Vec<Statement>) -> Transaction {
    let fence = Fence {
        lane: lane(),
        generation: generation(),
        owner: "me".into(),
        previous: StreamId::new(1, 0),
        new: StreamId::new(1, 1),
    };
    Transaction { statements, ..Transaction::of(fence) }
}

/// Whether a failure says that the connection is lost; what it says. The password is in none.
fn retried(error: WriteError) -> (bool, String) {
    match error {
        WriteError::Retry(fault) => {
            assert!(!fault.message.contains(PASSWORD), "{}", fault.message);
            (fault.connection_lost, fault.message)
        }
        other => panic!("not a thing to try again: {other:?}"),
    }
}
