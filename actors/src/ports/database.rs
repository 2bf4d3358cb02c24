//! What the core needs of a destination's database, and the three ways in which it can say no.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    message::{Generation, StreamId},
    schema::TableSchema,
    transaction::{Committed, Encoder, LaneId, Statement, TakenOver, Transaction, Trial, Tried, WatermarkRow},
};

/// Why a database did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum WriteError {
    /// The environment: try again, for as long as it takes. Whether a commit took place is unknown until the
    /// watermark is read.
    #[error("{0}")]
    Retry(Fault),
    /// These rows are bad; the transaction was rolled back.
    #[error("{0}")]
    Reject(Rejection),
    /// The table or the rights are wrong; wait until they are right. Rolled back.
    #[error("{0}")]
    Hold(Fault),
    /// The watermark row is not where the fence says, or not mine. Rolled back.
    #[error("the watermark row has another owner or another place")]
    Fenced,
}

/// What went wrong, in words for an operator: which thing, and the remedy. Never a record's contents or a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The sentence.
    pub message: String,
    /// Whether the connection itself is lost (the breaker opens at once) or only this attempt failed.
    pub connection_lost: bool,
}

impl Fault {
    /// A fault of this attempt.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), connection_lost: false }
    }

    /// A fault of the connection.
    #[must_use]
    pub fn lost(message: impl Into<String>) -> Self {
        Self { message: message.into(), connection_lost: true }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why a row can't be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// Place in [`Transaction::statements`], where it is known.
    #[serde(skip)]
    pub statement: Option<usize>,
    /// Place in the statement's rows, where it is known.
    #[serde(skip)]
    pub row: Option<usize>,
    /// A stable word: `unique`, `foreign_key`, `check`, `not_null`, `type`, `range`, `too_long`, `missing_row`,
    /// `required`, `key_conflict`, `other`; of a route's own rules `map`, `min`, `max`, `length`, `pattern`, `one_of`,
    /// `expression`, `unknown_field`.
    pub code: String,
    /// The column, where it is known.
    pub column: Option<String>,
    /// The sentence, with the database's own words where it has some.
    pub message: String,
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

/// The name of a table in a database's catalogue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableName {
    /// The schema (PostgreSQL, SQL Server) or database (MySQL); empty where the kind has none.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Whether the name alone finds it, without the schema.
    pub default_schema: bool,
}

/// One destination's database. One transaction at a time; connects when it must.
#[async_trait(?Send)]
pub trait Destination {
    /// The cheapest question that proves the database answers and takes writes from us.
    async fn probe(&mut self) -> Result<(), WriteError>;

    /// Makes `tidegate_watermark`, `tidegate_dead` and `tidegate_binding` where they are missing; then, in one
    /// transaction, raises `epoch` and sets `owner` on all the destination's rows, and reads them, its dead letters and
    /// its bind token.
    async fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> Result<TakenOver, WriteError>;

    /// Inserts a lane's missing row at `last_id`, in a transaction that first locks the destination's other rows and finds
    /// none with another owner. A row that is there already: [`WriteError::Fenced`].
    async fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError>;

    /// Reads one row, after a lost answer.
    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError>;

    /// Describes a table (`name` or `schema.name`) from the database's catalogue. Missing: [`WriteError::Hold`] that names
    /// the table and the nearest one there is.
    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError>;

    /// Every table that this user can see and that is not ours or the database's own, by schema and name.
    async fn tables(&mut self) -> Result<Vec<TableName>, WriteError> {
        Err(WriteError::Hold(Fault::new("this kind of database does not list its tables")))
    }

    /// Carries out statements that an operator has seen and asked for (`CREATE TABLE`, `ALTER TABLE … ADD`), one after the other.
    async fn define(&mut self, _statements: &[String]) -> Result<(), WriteError> {
        Err(WriteError::Hold(Fault::new("this kind of database does not change its tables")))
    }

    /// How it encodes rows, for those who know them before their turn. Most kinds have nothing to gain from it.
    fn encoder(&self) -> Option<Encoder> {
        None
    }

    /// Writes one transaction.
    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError>;

    /// Writes the transaction's rows as far as the database takes them, each row that it refuses left out, and then takes all
    /// of it back: one rejection, with its statement and row, for each of those. It is how several bad rows are found at the
    /// price of one. Empty where this kind of database has no way to tell.
    async fn sift(&mut self, _transaction: &Transaction) -> Result<Vec<Rejection>, WriteError> {
        Ok(Vec::new())
    }

    /// Writes one transaction as [`Destination::commit`] does, with these parts of it on trial: each in a savepoint of its own,
    /// its dead row in its place where the database refuses it. Asked only of a kind that can [`Destination::sift`].
    async fn commit_trials(&mut self, transaction: &Transaction, trials: &[Trial]) -> Result<Tried, WriteError> {
        if trials.is_empty() {
            return Ok(Tried { committed: self.commit(transaction).await?, refused: Vec::new() });
        }
        Err(WriteError::Hold(Fault::new("this kind of database writes nothing on trial")))
    }

    /// Writes these statements in one transaction of their own, without a fence and without any table of ours: for a
    /// parallel destination. All or nothing, as with [`Destination::commit`]; whether a write took place whose answer was
    /// lost is unknown, and it may be done again.
    async fn write(&mut self, statements: &[Statement]) -> Result<Committed, WriteError>;
}
