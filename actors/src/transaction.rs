//! What one batch becomes for one database: a fence, statements with their rows, and the dead letters it passes.
//!
//! Mapping makes [`Cell`]s, folding makes [`crate::fold::Change`]s, [`crate::compose`] groups them into a [`Transaction`], and a
//! driver writes it: the watermark first, the rows after, all or nothing.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    message::{Generation, StreamId},
    schema::TableSchema,
};

mod encoded;
mod left_out;

pub use encoded::{Encoded, Encoder};
pub use left_out::{LeftOut, Rest};

/// Names a lane: what one watermark row stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LaneId {
    /// The installation's random id.
    pub installation: Arc<str>,
    /// The destination's random id.
    pub destination: Arc<str>,
    /// The stream: the application's name.
    pub stream: Arc<str>,
    /// `main`, or a side row's (see [`crate::lane::Part`]).
    pub part: Arc<str>,
}

impl LaneId {
    /// What all lanes of a destination begin with. Ids are letters and digits, so it is safe in a LIKE.
    #[must_use]
    pub fn prefix(installation: &str, destination: &str) -> String {
        format!("{installation}/{destination}/")
    }

    /// Whether this is the lane's main row.
    #[must_use]
    pub fn is_main(&self) -> bool {
        &*self.part == crate::lane::Part::MAIN
    }

    /// The lane's main row. Dead letters of its side rows are kept under it too.
    #[must_use]
    pub fn main(&self) -> Self {
        Self { part: "main".into(), ..self.clone() }
    }
}

/// `installation/destination/stream/part`, the text in the `lane` column.
impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.installation, self.destination, self.stream, self.part)
    }
}

/// One value for one column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cell {
    /// The record does not speak of this column: untouched, or the column's default on insert.
    Absent,
    /// NULL.
    Null,
    /// The value's canonical text, whatever the column's type: digits for numbers; `true` or `false`; `2025-06-01`;
    /// `08:00:00.5` (with `+07:00` where the column keeps an offset); `2025-06-01 08:00:00.5`, always in UTC, with
    /// `+00:00` where the column is an instant; lower-case hyphenated UUIDs; JSON text.
    Text(Box<str>),
    /// Bytes, for columns of [`crate::schema::ColumnType::Bytes`].
    Bytes(Box<[u8]>),
}

/// One route compiled against its table: which columns it writes, and which of them are the key.
#[derive(Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// The route's id.
    pub route: Arc<str>,
    /// The table as it was found.
    pub table: Arc<TableSchema>,
    /// Places in `table.columns`, in the order of the cells of every row of this plan.
    pub columns: Vec<usize>,
    /// Places in `columns` of the key; empty for a route that inserts only.
    pub key: Vec<usize>,
    /// Whether the key is the table's only unique key.
    pub only_unique_key: bool,
    /// Place in `columns` of the column that only grows: a row whose stored value is greater keeps all it has.
    pub version: Option<usize>,
}

/// How a row is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// INSERT; a duplicate key is a rejection.
    Insert,
    /// INSERT, or UPDATE of the present cells where the key exists. It never matches another unique key than the route's.
    Upsert,
    /// UPDATE of the present cells by key.
    Update,
    /// DELETE by key.
    Delete,
    /// DELETE by key, then INSERT: what a delete followed by an insert of the same key folds into.
    Replace,
    /// DELETE of every row that has these values in the key's columns, which need not be unique; how many there were is not
    /// told. What goes before a parent's children are written anew.
    Clear,
}

/// Rows of one plan that are written alike.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Where they go.
    pub plan: Arc<TablePlan>,
    /// How.
    pub op: Op,
    /// Whether a row that touches nothing makes the whole transaction a rejection (`Update`, and `Delete` that stands
    /// for an update too). Where it is false, untouched rows are reported in [`Committed::untouched`].
    pub must_touch: bool,
    /// Places in `plan.columns` that are present in every row; for `Delete` the key, and the version that guards it.
    pub columns: Vec<usize>,
    /// Places in `columns` that an `Upsert` writes only where it inserts (defaults of the route); empty for other ops.
    pub insert_only: Vec<usize>,
    /// For each row the (statement, row) of the same transaction that it goes with. Where that row was untouched, or what
    /// is there stays as it is (its guard says so, or it [only inserts](Self::only_inserts)), this one is passed over and told
    /// as untouched. Empty, as it mostly is: every row is written.
    pub parents: Vec<(usize, usize)>,
    /// The rows as the driver sends them, where they were worked out before their turn.
    pub encoded: Encoded,
    /// A row is as long as `columns`, cell by cell in their order, and has no `Cell::Absent`.
    pub rows: Vec<Vec<Cell>>,
}

impl Statement {
    /// The same for these of its rows alone, whichever rows they go with.
    #[must_use]
    pub fn of_rows(&self, places: &[usize]) -> Self {
        Self {
            plan: Arc::clone(&self.plan),
            op: self.op,
            must_touch: self.must_touch,
            columns: self.columns.clone(),
            insert_only: self.insert_only.clone(),
            parents: Vec::new(),
            encoded: Encoded::default(),
            rows: places.iter().map(|&row| self.rows[row].clone()).collect(),
        }
    }

    /// The places in `self.columns` (and so in each row) of the key's columns, in the key's order.
    #[must_use]
    pub fn key_cells(&self) -> Vec<usize> {
        let place = |key: &usize| self.columns.iter().position(|column| column == key);
        self.plan.key.iter().filter_map(place).collect()
    }

    /// The place in `self.columns` (and so in each row) of the column that only grows, where this statement is guarded by it:
    /// an `Upsert`, `Update` or `Delete` whose rows have it leaves a row alone whose stored value is greater, and counts that
    /// row as touched. Where either value is NULL, nothing is greater. A default that only an insert writes guards nothing.
    #[must_use]
    pub fn guard(&self) -> Option<usize> {
        let version = self.plan.version?;
        let guarded = matches!(self.op, Op::Upsert | Op::Update | Op::Delete);
        let place = self.columns.iter().position(|at| *at == version)?;
        (guarded && !self.insert_only.contains(&place)).then_some(place)
    }

    /// Whether it is an `Upsert` that changes nothing where the row is there (insert if absent).
    #[must_use]
    pub fn only_inserts(&self) -> bool {
        let kept = |(at, place): (usize, &usize)| self.plan.key.contains(place) || self.insert_only.contains(&at);
        self.op == Op::Upsert && self.columns.iter().enumerate().all(kept)
    }

    /// The table's columns that the rows' cells are for, in order.
    pub fn written(&self) -> impl Iterator<Item = &crate::schema::ColumnSchema> {
        self.columns.iter().map(|&place| &self.plan.table.columns[self.plan.columns[place]])
    }
}

/// Who may write a lane, and from where to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lane.
    pub lane: LaneId,
    /// The generation its ids count in.
    pub generation: Generation,
    /// The random token of this acquisition.
    pub owner: Arc<str>,
    /// Where the row must stand.
    pub previous: StreamId,
    /// Where it stands afterwards (the same for a redrive, which locks the row and moves nothing).
    pub new: StreamId,
}

/// Names one dead letter: a message that one route could not write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeadId {
    /// The generation of `id`.
    pub generation: Generation,
    /// The message.
    pub id: StreamId,
    /// The route's id.
    pub route: Arc<str>,
}

/// A row of `tidegate_dead`: the truth that a message was passed without being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRow {
    /// Which message and route.
    pub dead: DeadId,
    /// The table it was meant for.
    pub table: Box<str>,
    /// The key's cells as text, where the route has a key and it could be told.
    pub key: Option<Box<str>>,
    /// A later record of that key that was written: the dead one must not be written over it.
    pub superseded_by: Option<StreamId>,
}

/// A later record of a dead key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supersede {
    /// The table.
    pub table: Box<str>,
    /// The key, as in [`DeadRow::key`].
    pub key: Box<str>,
    /// The later record.
    pub by: StreamId,
}

/// A row of `tidegate_watermark` beside a lane's main one (delivery rule 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideRow {
    /// The lane, whose part is not `main`.
    pub lane: LaneId,
    /// The generation of `last_id`.
    pub generation: Generation,
    /// Everything of this part up to here is in the database.
    pub last_id: StreamId,
}

/// One transaction of one lane. Written in this order: `lock`, fence, `exhume`, `open`, `close`, statements, `supersede`,
/// `bury` (so that what is given up here is never taken for older than what is written here).
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Where `fence` is a side row's: the main row, which must be mine and stand there; checked and locked first, moved nowhere
    /// (`previous` and `new` are the same).
    pub lock: Option<Fence>,
    /// `UPDATE tidegate_watermark SET last_id = new … WHERE lane, generation, owner = mine AND last_id = previous`.
    pub fence: Fence,
    /// Side rows to insert, with this owner and epoch; one that is there already is [`crate::ports::WriteError::Fenced`].
    pub open: Vec<SideRow>,
    /// Lanes whose rows, of all generations, are deleted: side lanes that have met their main one.
    pub close: Vec<LaneId>,
    /// The rows.
    pub statements: Vec<Statement>,
    /// Dead letters that this transaction passes.
    pub bury: Vec<DeadRow>,
    /// Dead letters that this transaction's records make obsolete (only rows not superseded yet).
    pub supersede: Vec<Supersede>,
    /// The dead row that a redrive or a discard takes back. Not there: nothing is written at all.
    pub exhume: Option<DeadId>,
}

impl Transaction {
    /// One that moves the watermark and does nothing else.
    #[must_use]
    pub fn of(fence: Fence) -> Self {
        Self {
            lock: None,
            fence,
            open: Vec::new(),
            close: Vec::new(),
            statements: Vec::new(),
            bury: Vec::new(),
            supersede: Vec::new(),
            exhume: None,
        }
    }
}

/// A part of a transaction that is written on trial, in a savepoint: a change that the database refused among others, and that
/// is given up only if it refuses it alone, after all that stands before it (delivery rule 11).
#[derive(Clone, Debug)]
pub struct Trial {
    /// Places in [`Transaction::statements`]. Those before it are written before it, those after it after it.
    pub statements: std::ops::Range<usize>,
    /// Its dead row, where the database refuses it.
    pub bury: DeadRow,
    /// What it makes obsolete, where the database takes it.
    pub supersede: Option<Supersede>,
}

/// What a transaction with trials came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// As without trials.
    pub committed: Committed,
    /// Places of the trials that the database refused, and why; all others are written.
    pub refused: Vec<(usize, crate::ports::Rejection)>,
}

/// The bookkeeping of a transaction whose trials came to this.
#[must_use]
pub fn settled(
    transaction: &Transaction,
    trials: &[Trial],
    refused: &[(usize, crate::ports::Rejection)],
) -> (Vec<Supersede>, Vec<DeadRow>) {
    let (mut supersede, mut bury) = (transaction.supersede.clone(), transaction.bury.clone());
    for (place, trial) in trials.iter().enumerate() {
        if refused.iter().any(|(other, _)| *other == place) {
            bury.push(trial.bury.clone());
        } else {
            supersede.extend(trial.supersede.clone());
        }
    }
    (supersede, bury)
}

/// What a commit came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// (statement, row) of updates and deletes that touched no row and need not have.
    pub untouched: Vec<(usize, usize)>,
    /// False where `exhume` found no row: nothing was written.
    pub exhumed: bool,
}

/// A row of `tidegate_watermark`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkRow {
    /// The lane's text.
    pub lane: String,
    /// The generation.
    pub generation: Generation,
    /// Counts take-overs.
    pub epoch: u64,
    /// The token of the last one.
    pub owner: String,
    /// Everything up to here is in the database.
    pub last_id: StreamId,
}

/// What a take-over found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// The destination's rows, now all mine.
    pub rows: Vec<WatermarkRow>,
    /// Dead letters of the destination with their lanes.
    pub dead: Vec<(String, DeadRow)>,
    /// The bind token of this database for this destination; made on first use.
    pub bind: String,
}
