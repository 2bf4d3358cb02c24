//! The HTTP listeners: the producer API with its documentation, health for the load balancer, and the operator's
//! health and metrics.
//!
//! Handlers decide about form; what happens to an accepted record is behind [`Ingest`] and [`Lookup`], of which each
//! worker thread has its own. [`server`] turns a bound listener and a shutdown signal into a running server.

mod admin;
mod auth;
mod batch;
mod body;
mod broadcasts;
mod cloudevents;
mod directory;
mod envelope;
pub mod health;
mod json;
mod key;
pub mod metrics;
mod pages;
mod problem;
mod producer;
mod request_id;
pub mod server;
#[cfg(test)]
mod tests;
pub mod throttle;

use std::{rc::Rc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_actors::{
    message::{Message, MessageId},
    ports::{AppendError, AppendRequest, Appended},
};

use self::directory::Directory;
pub use self::{
    broadcasts::{Casting, Post},
    directory::DocumentReceiver,
    throttle::Throttle,
};
use crate::redis::used::KeyUse;

/// Appends the records of one request; answers only once Redis has them.
#[async_trait(?Send)]
pub trait Ingest {
    /// Appends all of them, or none.
    async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError>;
}

/// Finds messages that were accepted.
#[async_trait(?Send)]
pub trait Lookup {
    /// A message of this application with its deliveries, as the producer API shows it.
    async fn message(&self, application: &str, id: &MessageId) -> Result<Found, AppendError>;
    /// What the message with this id of the producer's own is called here.
    async fn by_own_id(&self, application: &str, own_id: &str) -> Result<Option<MessageId>, AppendError>;
}

/// What a search for a message came to.
#[derive(Clone, Debug)]
pub enum Found {
    /// The message as [`message_body`] writes it: text, because numbers keep every digit.
    Message(Box<RawValue>),
    /// There is none of this id, or it is no longer retained.
    Nothing,
    /// It is another application's.
    Foreign,
}

/// What `GET /v1/messages/{id}` answers: the message, and its deliveries as the log tells them.
///
/// # Errors
/// The record or its key is no JSON, which an entry that came through the door always is.
pub fn message_body(
    id: &MessageId,
    message: &Message,
    deliveries: &impl Serialize,
) -> Result<Box<RawValue>, serde_json::Error> {
    #[derive(Serialize)]
    struct Body<'a, D> {
        id: String,
        own_id: Option<&'a str>,
        topic: &'a str,
        action: &'a str,
        key: Option<&'a RawValue>,
        data: &'a RawValue,
        accepted_at: Option<String>,
        deliveries: &'a D,
    }
    let accepted_at = i64::try_from(message.id.ms).ok().and_then(chrono::DateTime::from_timestamp_millis);
    serde_json::value::to_raw_value(&Body {
        id: id.to_string(),
        own_id: message.own_id.as_deref(),
        topic: &message.topic,
        action: message.action.as_str(),
        key: message.key.as_deref().map(serde_json::from_str).transpose()?,
        data: serde_json::from_str(&message.data)?,
        accepted_at: accepted_at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
        deliveries,
    })
}

/// Bounds of what a producer may send.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Longest body, in bytes, packed and unpacked.
    pub body_bytes: usize,
    /// Longest message, in bytes as it was sent.
    pub record_bytes: usize,
    /// Most messages of a request.
    pub records: usize,
    /// Deepest nesting of `data`, which is itself the first level.
    pub depth: usize,
    /// Most fields of `data`, all levels together.
    pub fields: usize,
    /// Longest time a body may take to arrive.
    pub body_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 10 * 1024 * 1024,
            record_bytes: 1024 * 1024,
            records: 10_000,
            depth: 64,
            fields: 2_000,
            body_time: Duration::from_secs(30),
        }
    }
}

/// What the producer API of one worker thread works with.
pub struct ProducerState {
    directory: Directory,
    ingest: Rc<dyn Ingest>,
    lookup: Rc<dyn Lookup>,
    casting: Option<Rc<dyn Casting>>,
    limits: Limits,
    duration: ::metrics::Histogram,
}

impl ProducerState {
    /// A state for this thread. Metrics are recorded if [`metrics::install`] was called before.
    #[must_use]
    pub fn new(documents: DocumentReceiver, ingest: Rc<dyn Ingest>, lookup: Rc<dyn Lookup>, limits: Limits) -> Self {
        let duration = metrics::ingest_duration();
        Self { directory: Directory::new(documents), ingest, lookup, casting: None, limits, duration }
    }

    /// The same with what all workers of the node share: the applications' limits, and who notes that a key was used.
    #[must_use]
    pub fn sharing(mut self, throttle: Throttle, used: KeyUse) -> Self {
        self.directory.share(throttle, used);
        self
    }

    /// The same with who sends broadcasts.
    #[must_use]
    pub fn casting(mut self, casting: Rc<dyn Casting>) -> Self {
        self.casting = Some(casting);
        self
    }
}
