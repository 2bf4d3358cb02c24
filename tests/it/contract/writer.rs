//! The owner of one lane, as the suite plays it: takes over, keeps its place, builds transactions from plain texts.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Destination, WriteError},
    transaction::{
        Cell, Committed, DeadId, DeadRow, Encoded, Fence, LaneId, Op, Statement, TablePlan, TakenOver, Transaction,
    },
};

use super::{
    Database,
    table::{Table, canonical},
};

/// The installation of every test.
pub(crate) const INSTALLATION: &str = "inst00000001";
/// The destination of every test.
pub(crate) const DESTINATION: &str = "dest00000001";

/// A lane of the destination under test.
pub(crate) fn lane(stream: &str) -> LaneId {
    LaneId {
        installation: INSTALLATION.into(),
        destination: DESTINATION.into(),
        stream: stream.into(),
        part: "main".into(),
    }
}

/// The generation of every test.
pub(crate) fn generation() -> Generation {
    Generation::new("gen0000001")
}

/// Names a dead letter of the route with this id.
pub(crate) fn dead(seq: u64, route: &str) -> DeadId {
    DeadId { generation: generation(), id: StreamId::new(1, seq), route: route.into() }
}

/// A dead row that nothing supersedes.
pub(crate) fn dead_row(seq: u64, route: &str, table: &str, key: Option<&str>) -> DeadRow {
    DeadRow { dead: dead(seq, route), table: table.into(), key: key.map(Into::into), superseded_by: None }
}

/// The owner of one lane of the destination.
pub(crate) struct Writer {
    /// The connection.
    pub(crate) destination: Box<dyn Destination>,
    /// Its token.
    pub(crate) owner: Arc<str>,
    /// Its lane.
    pub(crate) lane: LaneId,
    /// Where it believes the lane to stand.
    pub(crate) at: StreamId,
    /// What its take-over found.
    pub(crate) found: TakenOver,
}

impl Writer {
    /// Takes the destination over; the lane `main` of stream `app` is begun at 0-0 where it is missing.
    pub(crate) async fn take(database: &dyn Database, owner: &str) -> Self {
        let mut destination = database.open();
        let found = destination.take_over(INSTALLATION, DESTINATION, owner).await.expect("take over");
        let lane = lane("app");
        let mut at = StreamId::ZERO;
        match found.rows.iter().find(|row| row.lane == lane.to_string()) {
            Some(row) => at = row.last_id,
            None => destination.begin_lane(&lane, &generation(), owner, at).await.expect("begin the lane"),
        }
        Self { destination, owner: owner.into(), lane, at, found }
    }

    /// Describes a table and how it is written: the route `route-<table>` with this key.
    pub(crate) async fn plan(&mut self, table: &Table, key: &[&str]) -> Plan {
        plan(self.destination.as_mut(), table, key).await
    }

    /// A transaction from where the lane stands to the next entry.
    pub(crate) fn transaction(&self, statements: Vec<Statement>) -> Transaction {
        let fence = Fence {
            lane: self.lane.clone(),
            generation: generation(),
            owner: self.owner.clone(),
            previous: self.at,
            new: StreamId::new(self.at.ms.max(1), self.at.seq + 1),
        };
        Transaction { statements, ..Transaction::of(fence) }
    }

    /// A transaction that locks the lane's row and moves nothing, as a redrive does.
    pub(crate) fn standing(&self, exhume: DeadId, statements: Vec<Statement>) -> Transaction {
        let mut transaction = self.transaction(statements);
        transaction.fence.new = self.at;
        transaction.exhume = Some(exhume);
        transaction
    }

    /// Commits, and moves on where that worked.
    pub(crate) async fn commit(&mut self, transaction: Transaction) -> Result<Committed, WriteError> {
        let committed = self.destination.commit(&transaction).await?;
        self.at = transaction.fence.new;
        Ok(committed)
    }

    /// Commits these statements.
    pub(crate) async fn write(&mut self, statements: Vec<Statement>) -> Result<Committed, WriteError> {
        let transaction = self.transaction(statements);
        self.commit(transaction).await
    }

    /// Where the database has the lane.
    pub(crate) async fn watermark(&mut self) -> Option<StreamId> {
        self.destination.watermark(&self.lane, &generation()).await.expect("the watermark").map(|row| row.last_id)
    }
}

/// Describes a table and how it is written: the route `route-<table>` with this key.
pub(crate) async fn plan(destination: &mut dyn Destination, table: &Table, key: &[&str]) -> Plan {
    let schema = destination.table(table.name).await.expect("the table's description");
    let writable: Vec<usize> = (0..schema.columns.len()).filter(|&index| !schema.columns[index].generated).collect();
    let key: Vec<usize> = key
        .iter()
        .map(|name| {
            let column = schema.column(name).expect("a key column");
            writable.iter().position(|&index| index == column).expect("a writable key column")
        })
        .collect();
    let names: Vec<String> = key.iter().map(|&place| schema.columns[writable[place]].name.clone()).collect();
    let only_unique_key = schema.is_only_unique(&names);
    Plan(Arc::new(TablePlan {
        route: format!("route-{}", table.name).into(),
        table: Arc::new(schema),
        columns: writable,
        key,
        only_unique_key,
        version: None,
    }))
}

/// A table and how it is written.
#[derive(Clone)]
pub(crate) struct Plan(pub(crate) Arc<TablePlan>);

impl Plan {
    /// With a column that only grows.
    pub(crate) fn guarded(self, version: &str) -> Self {
        let table = &self.0.table;
        let column = table.column(version).expect("a column");
        let version = self.0.columns.iter().position(|&index| index == column);
        Self(Arc::new(TablePlan {
            route: self.0.route.clone(),
            table: table.clone(),
            columns: self.0.columns.clone(),
            key: self.0.key.clone(),
            only_unique_key: self.0.only_unique_key,
            version,
        }))
    }

    /// Rows of these columns. For a delete, name the key alone.
    pub(crate) fn statement(&self, op: Op, columns: &[&str], rows: Vec<Vec<Cell>>) -> Statement {
        let places = columns
            .iter()
            .map(|name| {
                let column = self.0.table.column(name).unwrap_or_else(|| panic!("a column {name}"));
                self.0.columns.iter().position(|&index| index == column).expect("a writable column")
            })
            .collect();
        Statement {
            plan: self.0.clone(),
            op,
            must_touch: op == Op::Update,
            columns: places,
            insert_only: Vec::new(),
            parents: Vec::new(),
            encoded: Encoded::default(),
            rows,
        }
    }

    /// Rows of these columns, as texts.
    pub(crate) fn texts(&self, op: Op, columns: &[&str], rows: &[&[&str]]) -> Statement {
        self.statement(op, columns, rows.iter().map(|row| row.iter().copied().map(text).collect()).collect())
    }
}

/// A cell of text.
pub(crate) fn text(value: &str) -> Cell {
    Cell::Text(value.into())
}

/// What a table holds: its rows in one spelling, sorted; NULL is `∅`, cells are joined by `|`.
pub(crate) async fn contents(database: &dyn Database, table: &Table) -> Vec<String> {
    let spell = |row: Vec<Option<String>>| {
        let cells = row.into_iter().zip(&table.columns);
        let cells = cells.map(|(cell, column)| cell.map_or("∅".to_owned(), |text| canonical(column.of, &text)));
        cells.collect::<Vec<_>>().join("|")
    };
    let mut rows: Vec<String> = database.rows(table).await.into_iter().map(spell).collect();
    rows.sort();
    rows
}

/// The rows as a map from the first column to the rest.
pub(crate) async fn by_first(database: &dyn Database, table: &Table) -> BTreeMap<String, String> {
    let split = |row: String| {
        let (first, rest) = row.split_once('|').unwrap_or((&row, ""));
        (first.to_owned(), rest.to_owned())
    };
    contents(database, table).await.into_iter().map(split).collect()
}
