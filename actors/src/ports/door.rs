//! What the core needs to take records in: an appender to the event log.

use std::sync::Arc;

use async_trait::async_trait;

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
