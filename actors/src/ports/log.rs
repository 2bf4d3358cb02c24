//! What the core needs of the event log: positions and leases for the owner of a destination, and a reader of entries.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Rejection;
use crate::{
    message::{Generation, Message, Position, StreamId},
    schema::TableSchema,
    transaction::{DeadId, LaneId},
};

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
    /// The consumer group of a parallel destination is not there (any more): make it again.
    #[error("the consumer group is gone")]
    NoGroup,
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
    /// Routes (ids among `starts`) that began below where the lane stood when they were added: they catch up beside it
    /// (delivery rule 9).
    pub backfills: Vec<String>,
    /// The side rows that the last advance told of: a hint at which routes each has carried, no more.
    pub sides: Vec<SidePosition>,
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
    /// The lane's side rows, all that stand once this is done (delivery rule 8). The stored position is the lowest of these and
    /// `to`; each is kept beside it, for those who ask about a message.
    pub sides: Vec<SidePosition>,
    /// What was delivered on the way there; none for a claim.
    pub history: Option<BatchRecord>,
    /// The part of the lane that `history` belongs to: `main`, or a side row's.
    pub part: Arc<str>,
    /// The ids of the lane's routes, as far as `version` knows them: a route that begins below the lane keeps the stored position
    /// low by itself until its owner knows of it.
    pub known: Vec<Arc<str>>,
    /// Dead letters whose payloads turned out void (their message was written after all), or were taken back.
    pub void: Vec<DeadId>,
}

/// Where a side row stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidePosition {
    /// The lane's part.
    pub part: Arc<str>,
    /// The ids of the routes that it carries instead of the main row.
    pub routes: Vec<Arc<str>>,
    /// Everything of these routes up to here is in the database.
    pub at: Position,
    /// Why it waits, where it does.
    pub held: Option<String>,
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
    /// The tables of its children, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<TableSchema>,
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
    /// The first dead letter of its key, where it was given up only because that one stands (`on_dead = "block"`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<DeadId>,
    /// The record as an operator edited it for the last redrive, where the database refused that too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<String>,
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
        /// The record to write instead of the one that was refused, as an operator has edited it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<String>,
    },
    /// Give a dead letter up for good.
    Discard {
        /// Which.
        dead: DeadId,
        /// Why, in the operator's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Send one route again what lies after `from`, beside the main row.
    Replay {
        /// Random; names the side row, so that a command that is read twice is carried out once.
        token: String,
        /// The route's id.
        route: String,
        /// Everything after this is sent again.
        from: Position,
        /// The last entry that is sent again; `None`: up to where the main row stands when they meet.
        to: Option<Position>,
    },
    /// Give up everything up to a place: nothing at or below it is written any more.
    Abandon {
        /// Random; names what is told of it.
        token: String,
        /// The place.
        to: Position,
        /// Who gave it up.
        by: String,
        /// When, in milliseconds since the Unix epoch.
        at_ms: u64,
        /// Why, in the operator's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Go on from this place. Only a lane that waits for such a decision is moved, so a second one does nothing.
    Resume {
        /// Everything up to here is passed, everything after it is sent.
        to: Position,
    },
}

impl Command {
    /// The place that a decision is about.
    #[must_use]
    pub fn place(&self) -> Option<&Position> {
        match self {
            Self::Resume { to } | Self::Abandon { to, .. } => Some(to),
            Self::Redrive { .. } | Self::Discard { .. } | Self::Replay { .. } => None,
        }
    }

    /// Whether it says where a lane with a gap goes on.
    #[must_use]
    pub fn decides(&self) -> bool {
        matches!(self, Self::Resume { .. } | Self::Abandon { .. })
    }
}

/// Messages that were given up: passed without being written, by an operator's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandoned {
    /// Which command it was.
    pub token: String,
    /// The part of the lane whose row was moved.
    pub part: Arc<str>,
    /// The ids of the routes that the row carried; empty for all that lead to the destination.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Arc<str>>,
    /// Messages above this,
    pub after: Position,
    /// up to and with this.
    pub to: Position,
    /// These too, which a parallel destination's nodes had in hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<StreamId>,
    /// Who.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Abandoned {
    /// What names it among the others of its lane: told again, it takes its own place.
    #[must_use]
    pub fn field(&self) -> String {
        format!("{} {} {}", self.token, self.after.generation, self.part)
    }
}

/// The event log as the owner of one destination sees it. Short calls only; reading is [`EntryReader`].
#[async_trait(?Send)]
pub trait EventLog {
    /// Takes the lease on these lanes for `ttl` (again, where it is ours); false when another holds one of them.
    async fn lease(&mut self, lanes: &[LaneId], owner: &str, ttl: Duration) -> Result<bool, LogError>;

    /// Prolongs the lease on these lanes to `ttl` from now; false when one of them is not ours (any more). Never takes
    /// one: a renewal that arrives late must not bring back a lease that was given up.
    async fn renew(&mut self, lanes: &[LaneId], owner: &str, ttl: Duration) -> Result<bool, LogError>;

    /// Gives the lease back.
    async fn release(&mut self, lanes: &[LaneId], owner: &str) -> Result<(), LogError>;

    /// Makes sure the stream's generation is that of the server we speak to, and tells all there is about the lane.
    async fn view(&mut self, lane: &LaneId) -> Result<LaneView, LogError>;

    /// Stores the bind token of the lane's database, once.
    async fn bind(&mut self, lane: &LaneId, token: &str) -> Result<(), LogError>;

    /// Replaces the bind token, by an operator's decision; refused unless the lease is this owner's.
    async fn rebind(&mut self, lane: &LaneId, owner: &str, token: &str) -> Result<(), LogError>;

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

    /// Keeps which messages are given up, before the transaction that passes them by; what was kept under the same
    /// [field](Abandoned::field) is replaced.
    async fn keep_abandoned(&mut self, lane: &LaneId, abandoned: &Abandoned) -> Result<(), LogError>;

    /// Keeps what is needed to tell later what a destination was sent: a route and its table under their digest.
    async fn keep_plan(&mut self, lane: &LaneId, digest: &str, plan: &PlanRecord) -> Result<(), LogError>;

    /// The commands that wait, oldest first, at most 100.
    async fn commands(&mut self, lane: &LaneId) -> Result<Vec<Command>, LogError>;

    /// Those of them that decide where a lane goes on, however many others stand before them.
    async fn decisions(&mut self, lane: &LaneId) -> Result<Vec<Command>, LogError> {
        let mut waiting = self.commands(lane).await?;
        waiting.retain(Command::decides);
        Ok(waiting)
    }

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
    /// The registry version that the caller works by.
    pub version: u64,
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
    /// A message; shared by all destinations of a node that were handed it.
    Message(Arc<Message>),
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
    /// The registry has a newer version of what concerns this lane's stream: learn it first. An owner that does not know of
    /// a route yet must not pass what was accepted after the route was added.
    NewVersion(LaneId),
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
