//! One message's whole life: what came, and on every route where it stands, what was sent beside what came, the batch that
//! carried it and the node that wrote it, its dead letter, and what was done about that.

use std::sync::Arc;

use serde::Serialize;
use tidegate_actors::{
    message::{Action, Message, MessageId},
    ports::{DeadLetter, LogError},
    transaction::DeadId,
};

use super::{
    ActError,
    compare::{Comparison, compare},
    deliveries::{Row, explain_waiting},
};
use crate::{
    redis::{Redis, dead, fates, history::Filed, lookup},
    registry::store::{AuditEntry, Store},
    resources::Document,
};

/// Changes among which those about a message are looked for.
const CHANGES: usize = 1_000;

/// A message with all its ways.
#[derive(Clone, Debug, Serialize)]
pub struct Life {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub application: String,
    /// The producer's own id.
    pub own_id: Option<String>,
    /// The topic.
    pub topic: String,
    /// What was to be done.
    pub action: &'static str,
    /// The key as compact JSON.
    pub key: Option<String>,
    /// W3C trace context, as it came.
    pub traceparent: Option<String>,
    /// The record, as the bytes that came in.
    pub data: String,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub accepted_ms: u64,
    /// It is no longer in the stream: what is told is what its dead letters say.
    pub trimmed: bool,
    /// Its deliveries, by route.
    pub ways: Vec<Way>,
}

/// A message on one route.
#[derive(Clone, Debug, Serialize)]
pub struct Way {
    /// As lists have it.
    #[serde(flatten)]
    pub row: Row,
    /// Version of the route by which it was sent.
    pub route_version: Option<u64>,
    /// The batch that carried it.
    pub batch: Option<Batch>,
    /// What came beside what was sent.
    pub comparison: Option<Comparison>,
    /// Its dead letter.
    pub letter: Option<Letter>,
}

/// The batch that carried a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Batch {
    /// The id of its first message, without the generation.
    pub first: String,
    /// The id of its last message.
    pub last: String,
    /// Entries read, whether a route wanted them or not.
    pub entries: u32,
    /// Rows written.
    pub rows: u32,
    /// When the write began, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// How often it was tried.
    pub attempts: u32,
    /// The node that wrote it.
    pub node: Option<String>,
}

impl Batch {
    fn of(filed: &Filed) -> Self {
        let record = &filed.record;
        Self {
            first: record.first.to_string(),
            last: record.last.to_string(),
            entries: record.entries,
            rows: record.rows,
            started_ms: record.started_ms,
            took_us: record.took_us,
            attempts: record.attempts,
            node: filed.node.as_deref().map(str::to_owned),
        }
    }
}

/// What a dead letter says beyond its row in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// The route's id, which names the letter together with the message's id.
    pub route_id: String,
    /// The destination's id.
    pub destination_id: String,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The reason's sentence.
    pub reason: String,
    /// What became of the last redrive.
    pub redrive_error: Option<String>,
    /// The record as it was edited for that.
    pub edited: Option<String>,
    /// The later message that makes it obsolete.
    pub superseded_by: Option<String>,
    /// The message that it waits behind.
    pub blocked_by: Option<String>,
}

impl Letter {
    /// From the letter as it is kept.
    #[must_use]
    pub fn of(letter: &DeadLetter, destination_id: &str) -> Self {
        Self {
            route_id: letter.dead.route.to_string(),
            destination_id: destination_id.to_owned(),
            at_ms: letter.at_ms,
            reason: letter.reason.message.clone(),
            redrive_error: letter.redrive_error.clone(),
            edited: letter.edited.clone(),
            superseded_by: letter.superseded_by.map(|by| format!("{}-{by}", letter.dead.generation)),
            blocked_by: letter.blocked_by.as_ref().map(|by| format!("{}-{}", by.generation, by.id)),
        }
    }
}

/// The whole life of a message; none where it is not of this application, or neither it nor a dead letter of it is retained.
///
/// # Errors
/// Redis is away.
pub async fn life(
    redis: &Redis,
    document: &Document,
    application: &str,
    id: &MessageId,
) -> Result<Option<Life>, LogError> {
    let (message, trimmed) = match lookup::message(redis, application, id).await? {
        Some(message) => (message, false),
        None => match of_letter(redis, document, application, id).await? {
            Some(message) => (message, true),
            None => return Ok(None),
        },
    };
    let message = Arc::new(message);
    let of = [(id.clone(), Arc::clone(&message))];
    let fates = fates::of(redis, document, application, &of, |_| true).await?.pop().unwrap_or_default();
    let mut rows: Vec<Row> = fates.iter().map(|fate| Row::of(application, id, &message, fate)).collect();
    if rows.iter().any(|row| row.sent_later) {
        // Exactly, by reading the batches of each.
        let told = lookup::deliveries(redis, document, application, id, &message).await?;
        for row in rows.iter_mut().filter(|row| row.sent_later) {
            if let Some(told) = told.iter().find(|told| told.route == row.route) {
                (row.sent, row.folded_into, row.rows) = (told.sent.clone(), told.folded_into.clone(), told.rows);
                row.sent_later = false;
            }
        }
    }
    explain_waiting(redis, &mut rows).await;
    let mut ways = Vec::with_capacity(rows.len());
    for (row, fate) in rows.into_iter().zip(&fates) {
        let route_id = fate.route.id.as_str().into();
        let dead = DeadId { generation: id.0.generation.clone(), id: id.0.id, route: route_id };
        let letter = match fate.letter {
            Some(_) => dead::show(redis, application, &fate.destination.id, &dead).await?,
            None => None,
        };
        let comparison = row.sent.as_ref().map(|sent| {
            let route = fate.plan.as_ref().map_or(fate.route, |plan| &plan.route);
            compare(&message.data, sent.get(), route)
        });
        ways.push(Way {
            route_version: fate.version().map(|(version, _)| version),
            batch: fate.batch.as_deref().map(Batch::of),
            comparison,
            letter: letter.map(|letter| Letter::of(&letter, &fate.destination.id)),
            row,
        });
    }
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    Ok(Some(Life {
        id: id.to_string(),
        application: application.to_owned(),
        own_id: text(&message.own_id),
        topic: message.topic.to_string(),
        action: message.action.as_str(),
        key: text(&message.key),
        traceparent: text(&message.traceparent),
        data: message.data.to_string(),
        accepted_ms: id.0.id.ms,
        trimmed,
        ways,
    }))
}

/// The message as a dead letter of it has it, where the stream does not any more.
async fn of_letter(
    redis: &Redis,
    document: &Document,
    application: &str,
    id: &MessageId,
) -> Result<Option<Message>, LogError> {
    for route in document.routes.iter().filter(|route| route.application == application) {
        let Some(destination) = document.destinations.iter().find(|one| one.name == route.destination) else {
            continue;
        };
        let dead = DeadId { generation: id.0.generation.clone(), id: id.0.id, route: route.id.as_str().into() };
        if let Some(letter) = dead::show(redis, application, &destination.id, &dead).await? {
            return Ok(Some(message_of(&letter)));
        }
    }
    Ok(None)
}

/// The message that a dead letter was.
pub(crate) fn message_of(letter: &DeadLetter) -> Message {
    Message {
        id: letter.dead.id,
        topic: letter.topic.as_str().into(),
        action: Action::parse(&letter.action).unwrap_or(Action::Upsert),
        key: letter.key.as_deref().map(Into::into),
        own_id: None,
        traceparent: None,
        data: letter.data.as_str().into(),
    }
}

/// What was done about a message, newest first, as the list of changes has it.
///
/// # Errors
/// Redis is away.
pub async fn changes(store: &mut Store, id: &str) -> Result<Vec<AuditEntry>, ActError> {
    let mut all = store.changes(CHANGES).await?;
    all.retain(|entry| entry.what.contains(id));
    Ok(all)
}
