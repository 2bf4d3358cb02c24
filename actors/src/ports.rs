//! What the core needs of the world: an event log to read from, a database to write to, and a maker of both.
//!
//! Adapters implement these traits; the feature `testing` has them in memory. Futures are not `Send`: everything of
//! one destination lives on its own arbiter. The core puts a time limit on every call and drops the future when it runs
//! out, so an implementation must not keep a connection that is out of step.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    message::{Generation, Message, Position, StreamId},
    route::{DestinationSpec, OnMissing},
    schema::TableSchema,
    transaction::{Committed, DeadId, LaneId, TakenOver, Transaction, WatermarkRow},
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
    /// `required`, `key_conflict`, `other`.
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

/// One ordered destination's database. One transaction at a time; connects when it must.
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

    /// Writes one transaction.
    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError>;
}

/// Why the log did not answer as hoped.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    /// Redis is away, busy or full; try again.
    #[error("{0}")]
    Unavailable(String),
    /// The lease is another's, or ran out.
    #[error("the lease of this destination is held elsewhere")]
    NotMine,
    /// The stream has a newer generation: take over anew.
    #[error("the stream has a newer generation")]
    NewGeneration,
    /// The registry has a newer version of what concerns this stream: learn it first.
    #[error("the registry has moved on")]
    NewVersion,
    /// The id is not in the stream (any more).
    #[error("entry {0} is not in the stream")]
    NoSuchEntry(StreamId),
}

/// One generation of a stream and the id it starts after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStart {
    /// Its token.
    pub generation: Generation,
    /// Entries of this generation have greater ids than this.
    pub after: StreamId,
}

/// Everything the log knows of one lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneView {
    /// Oldest first, newest last; never empty.
    pub generations: Vec<GenerationStart>,
    /// Everything up to here has been trimmed away, in the newest generation.
    pub trimmed: StreamId,
    /// Where each route of the destination on this stream begins, by route id.
    pub starts: Vec<(String, Position)>,
    /// The lane's position as last advanced, if any.
    pub position: Option<Position>,
    /// The bind token of the destination's database, once there is one.
    pub bind: Option<String>,
}

/// A claim of a lane, or its advance: both are one script with the same refusals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advance {
    /// The lane.
    pub lane: LaneId,
    /// The lease's token.
    pub owner: Arc<str>,
    /// The registry version that the caller works by.
    pub version: u64,
    /// The newest generation, as the caller knows it.
    pub newest: Generation,
    /// The place to move to (may be lower than the stored one). Its generation is the newest, or nothing is stored.
    pub to: Position,
    /// What was delivered on the way there; none for a claim.
    pub history: Option<BatchRecord>,
    /// Dead letters whose payloads turned out void (their message was written after all), or were taken back.
    pub void: Vec<DeadId>,
}

/// One batch in the delivery history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchRecord {
    /// First message.
    pub first: StreamId,
    /// Last message.
    pub last: StreamId,
    /// Entries read, whether a route wanted them or not.
    pub entries: u32,
    /// Rows written.
    pub rows: u32,
    /// When the write began, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// How long the write took, in microseconds.
    pub took_us: u64,
    /// How often it was tried, this time included.
    pub attempts: u32,
    /// Route id, route version, and the digest under which [`EventLog::keep_plan`] keeps the route with its table.
    pub routes: Vec<(String, u64, String)>,
    /// Messages whose update or delete touched no row.
    pub untouched: Vec<StreamId>,
    /// Whether changes of one key were folded (a redrive or a piece of one message is not).
    pub folded: bool,
}

/// A route and the table it was compiled for, as they were at one time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRecord {
    /// The route.
    pub route: crate::route::RouteSpec,
    /// Its table.
    pub table: TableSchema,
}

/// A dead letter's payload, as it is kept in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Which message and route.
    pub dead: DeadId,
    /// The lane's stream: the application's name.
    pub application: String,
    /// The route's name at that time.
    pub route_name: String,
    /// The topic.
    pub topic: String,
    /// The action.
    pub action: String,
    /// The key as compact JSON.
    pub key: Option<String>,
    /// The record.
    pub data: String,
    /// The table.
    pub table: String,
    /// Why.
    pub reason: Rejection,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What became of the last redrive, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redrive_error: Option<String>,
    /// The later record that makes it obsolete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<StreamId>,
}

/// What an operator asks of a destination, taken up between batches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Command {
    /// Write a dead letter after all.
    Redrive {
        /// Which.
        dead: DeadId,
        /// Even where a later record of the key was written.
        #[serde(default)]
        force: bool,
    },
    /// Give a dead letter up for good.
    Discard {
        /// Which.
        dead: DeadId,
    },
}

/// The event log as the owner of one destination sees it. Short calls only; reading is [`EntryReader`].
#[async_trait(?Send)]
pub trait EventLog {
    /// Takes or renews the lease on these lanes for `ttl`; false when another holds one of them.
    async fn lease(&mut self, lanes: &[LaneId], owner: &str, ttl: Duration) -> Result<bool, LogError>;

    /// Gives the lease back.
    async fn release(&mut self, lanes: &[LaneId], owner: &str) -> Result<(), LogError>;

    /// Makes sure the stream's generation is that of the server we speak to, and tells all there is about the lane.
    async fn view(&mut self, lane: &LaneId) -> Result<LaneView, LogError>;

    /// Stores the bind token of the lane's database, once.
    async fn bind(&mut self, lane: &LaneId, token: &str) -> Result<(), LogError>;

    /// Claims or advances; idempotent.
    async fn advance(&mut self, advance: &Advance) -> Result<(), LogError>;

    /// Entries above the lane's position, and the time of the oldest of them in milliseconds since the Unix epoch.
    async fn backlog(&mut self, lane: &LaneId, after: StreamId) -> Result<Backlog, LogError>;

    /// Keeps payloads of dead letters, before the transaction that passes them.
    async fn keep_dead(&mut self, lane: &LaneId, letters: &[DeadLetter]) -> Result<(), LogError>;

    /// One payload.
    async fn dead(&mut self, lane: &LaneId, dead: &DeadId) -> Result<Option<DeadLetter>, LogError>;

    /// Which payloads are kept for this lane.
    async fn dead_ids(&mut self, lane: &LaneId) -> Result<Vec<DeadId>, LogError>;

    /// Keeps what is needed to tell later what a destination was sent: a route and its table under their digest.
    async fn keep_plan(&mut self, lane: &LaneId, digest: &str, plan: &PlanRecord) -> Result<(), LogError>;

    /// The commands that wait, oldest first, at most 100.
    async fn commands(&mut self, lane: &LaneId) -> Result<Vec<Command>, LogError>;

    /// Takes a command off the list.
    async fn finish(&mut self, lane: &LaneId, command: &Command) -> Result<(), LogError>;
}

/// What waits for a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// Entries above the position.
    pub messages: u64,
    /// When the oldest of them was accepted, in milliseconds since the Unix epoch.
    pub oldest_ms: Option<u64>,
}

/// Where to read a lane from, and how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadFrom {
    /// The lane.
    pub lane: LaneId,
    /// Read what comes after this.
    pub after: StreamId,
    /// The generation the caller believes the newest.
    pub newest: Generation,
    /// Read nothing above this: the end of an older generation.
    pub until: Option<StreamId>,
}

/// A contiguous piece of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The lane it was read for.
    pub lane: LaneId,
    /// What it was read after.
    pub after: StreamId,
    /// The entries, in order; never empty. An entry that could not be understood is an error with its id.
    pub entries: Vec<Entry>,
}

impl Batch {
    /// Where the lane stands once all of it is written.
    #[must_use]
    pub fn last(&self) -> StreamId {
        self.entries.last().map_or(self.after, Entry::id)
    }
}

/// One stream entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A message.
    Message(Message),
    /// Something else that stands in the stream: a format version of the future, or a hand-made entry. It holds the lane.
    Unknown {
        /// Its id.
        id: StreamId,
        /// What is wrong with it.
        why: String,
    },
}

impl Entry {
    /// The entry's id.
    #[must_use]
    pub fn id(&self) -> StreamId {
        match self {
            Self::Message(message) => message.id,
            Self::Unknown { id, .. } => *id,
        }
    }
}

/// What a read came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Entries of one of the lanes.
    Batch(Batch),
    /// Nothing new within the time allowed.
    Idle,
    /// The stream of this lane has another generation than the caller believes: discard and take over anew.
    NewGeneration(LaneId),
    /// Entries that were never delivered are gone: everything up to `trimmed` was removed, the lane stands at `after`.
    Gap {
        /// The lane.
        lane: LaneId,
        /// Where it stands.
        after: StreamId,
        /// The trimmed mark.
        trimmed: StreamId,
    },
}

/// Reads the log for one destination, over a connection of its own.
#[async_trait(?Send)]
pub trait EntryReader {
    /// The next batch of any of these lanes (round robin among those that have some), at most `max_entries`; waits up to
    /// `block` for one. Dropping the future is safe.
    async fn read(&mut self, lanes: &[ReadFrom], max_entries: usize, block: Duration) -> Result<ReadOutcome, LogError>;
}

/// Makes the adapters, on the arbiter where they are to live. Nothing connects before its first call.
pub trait World: Send + Sync + 'static {
    /// The log, for the owner of this destination.
    fn log(&self, destination: &DestinationSpec) -> Box<dyn EventLog>;
    /// A reader of the log, for this destination.
    fn reader(&self, destination: &DestinationSpec) -> Box<dyn EntryReader>;
    /// The database.
    fn destination(&self, destination: &DestinationSpec) -> Box<dyn Destination>;
    /// The keeper of the log.
    fn housekeeping(&self) -> Box<dyn Housekeeping>;
    /// Where events are counted.
    fn observer(&self) -> Arc<dyn Observe>;
}

/// Keeps the log in order: trims what every lane has committed and the retention no longer wants, minds the memory.
#[async_trait(?Send)]
pub trait Housekeeping {
    /// One round; answers what there is to show.
    async fn tidy(&mut self) -> Result<serde_json::Value, LogError>;
}

/// What is counted while delivering; all methods return at once.
pub trait Observe: Send + Sync {
    /// A transaction was committed: rows, how long it took, and when each of its messages was accepted (milliseconds
    /// since the Unix epoch).
    fn committed(&self, _destination: &str, _rows: u64, _took: Duration, _accepted_ms: &mut dyn Iterator<Item = u64>) {}
    /// The fence refused a transaction.
    fn fenced(&self, _destination: &str) {}
    /// Entries that were never delivered are gone.
    fn gap(&self, _destination: &str) {}
    /// An actor was restarted.
    fn restarted(&self, _kind: &str) {}
    /// How a destination does; called about once a second.
    fn destination(&self, _name: &str, _detail: &crate::status::DestinationDetail, _dead: u64) {}
    /// A destination is gone from the registry.
    fn forgotten(&self, _name: &str) {}
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observe for Unobserved {}

/// What an update of a row that isn't there comes to, seen from a driver: whether it must touch.
#[must_use]
pub fn update_must_touch(on_missing: OnMissing) -> bool {
    on_missing == OnMissing::Reject
}

/// A record that was accepted at the door and is to be appended to its application's stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// The kind of record.
    pub topic: Box<str>,
    /// What to do with the row.
    pub action: crate::message::Action,
    /// The key as compact JSON, names sorted.
    pub key: Option<Box<str>>,
    /// The producer's own id, unique within the application.
    pub own_id: Option<Box<str>>,
    /// W3C trace context.
    pub traceparent: Option<Box<str>>,
    /// The record as the bytes that came in.
    pub data: Box<str>,
}

/// Records of one request: all of them are appended, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendRequest {
    /// The application's name.
    pub application: Arc<str>,
    /// The records, in order.
    pub records: Vec<NewRecord>,
    /// The request's `Idempotency-Key` with the SHA-256 of its body.
    pub idempotency: Option<(Box<str>, [u8; 32])>,
}

/// What an append came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The messages' ids, in order.
    pub ids: Vec<crate::message::MessageId>,
    /// Whether all of this is the answer to an earlier request with the same `Idempotency-Key`.
    pub replayed: bool,
}

/// Why records were not appended.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AppendError {
    /// Redis is away or too slow. Whether the records are in is unknown only if the request was cut off in the middle.
    #[error("the event log is not reachable: {0}")]
    Unavailable(String),
    /// Redis has no memory left, or the memory guard's hard mark is passed.
    #[error("the event log is full")]
    Full,
    /// Too much is under way already.
    #[error("too many records are under way")]
    Overloaded,
    /// The `Idempotency-Key` belongs to a request with another body.
    #[error("this Idempotency-Key was used with another body")]
    KeyReused,
    /// The first request with this `Idempotency-Key` is still under way.
    #[error("a request with this Idempotency-Key is still under way")]
    KeyUnderWay,
    /// A message's own id belongs to a message with other contents.
    #[error("message {index}: its id belongs to another message")]
    IdReused {
        /// Place in the request.
        index: usize,
    },
}

/// Appends to the log; cheap to clone inside, so many appends run at once.
#[async_trait(?Send)]
pub trait Appender {
    /// Appends; returns only after Redis has answered.
    async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError>;
    /// Whether the log answers right now.
    async fn ping(&self) -> Result<(), AppendError>;
}
