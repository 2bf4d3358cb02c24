//! A record on its way: what a producer sent, as it stands in the log, and how it is named there.
//!
//! Everything here is plain data. The log's adapter makes [`Message`]s from stream entries; mapping and folding
//! read them; nothing ever changes one.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// The id of a stream entry: milliseconds of Redis's clock, then a sequence number (Redis, *Entry IDs*).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// Milliseconds since the Unix epoch, by the clock of the Redis server.
    pub ms: u64,
    /// Number within the millisecond.
    pub seq: u64,
}

impl StreamId {
    /// The id below every entry; "from the beginning".
    pub const ZERO: Self = Self { ms: 0, seq: 0 };

    /// An id from its two parts.
    #[must_use]
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// A text that is not `milliseconds-sequence`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a stream id: expected milliseconds-sequence, such as 1763775403123-0")]
pub struct BadStreamId(String);

impl FromStr for StreamId {
    type Err = BadStreamId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadStreamId(text.chars().take(64).collect());
        let (ms, seq) = text.split_once('-').ok_or_else(bad)?;
        Ok(Self { ms: ms.parse().map_err(|_| bad())?, seq: seq.parse().map_err(|_| bad())? })
    }
}

impl Serialize for StreamId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One incarnation of a stream in Redis: a random token, made anew when a stream is created or its server restarted.
///
/// Ids are only comparable within one generation: a replica whose clock is behind hands out ids that were already
/// delivered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub Arc<str>);

impl Generation {
    /// A generation with this token (lower-case letters and digits).
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(token.into())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A place in a stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The incarnation in which the id counts.
    pub generation: Generation,
    /// The last entry at or before this place.
    pub id: StreamId,
}

/// What a producer is told a message is called: generation and stream id, `k3v9x0q2ab-1763775403123-0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(pub Position);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.generation, self.0.id)
    }
}

impl FromStr for MessageId {
    type Err = BadStreamId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (generation, id) = text.split_once('-').ok_or_else(|| BadStreamId(text.chars().take(64).collect()))?;
        Ok(Self(Position { generation: Generation::new(generation), id: id.parse()? }))
    }
}

/// What is to be done with the row that a record describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// A new row; one that is there already is a rejection.
    Insert,
    /// A new row, or the given fields of the one that is there.
    Upsert,
    /// The given fields of a row that is there.
    Update,
    /// No row any more.
    Delete,
}

impl Action {
    /// Every action, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Insert, Self::Upsert, Self::Update, Self::Delete];

    /// The name in the producer API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Upsert => "upsert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// The action of this name, if there is one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// One record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The entry's id.
    pub id: StreamId,
    /// The kind of record.
    pub topic: Box<str>,
    /// What to do with the row.
    pub action: Action,
    /// The key as compact JSON: a string, a number, or an object with sorted names; `None` where none was sent.
    pub key: Option<Box<str>>,
    /// The producer's own id.
    pub own_id: Option<Box<str>>,
    /// W3C trace context, as it came.
    pub traceparent: Option<Box<str>>,
    /// The record: a JSON object as the bytes that came in, `{}` where a delete had none.
    pub data: Box<str>,
}
