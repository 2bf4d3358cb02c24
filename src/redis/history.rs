//! The delivery history: one record for each batch, filed under the id of its last message, so that the batch that covers a
//! message is the first at or above the message's id. Each part of a lane has a history of its own.

use std::sync::Arc;

use redis::{Value, cmd};
use serde::{Deserialize, Serialize};
use tidegate_actors::{
    message::{Generation, Position, StreamId},
    ports::{BatchRecord, LogError},
};

use super::{Redis, scripts, stream::entry::text, unavailable};

/// A batch as it is filed: with the node that wrote it. `first` comes first, by which `batches.lua` goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filed {
    /// The batch.
    #[serde(flatten)]
    pub record: BatchRecord,
    /// The node; none where an older version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Arc<str>>,
}

impl Filed {
    /// Whether the message is one of the batch's.
    #[must_use]
    pub fn covers(&self, message: StreamId) -> bool {
        self.record.first <= message && message <= self.record.last
    }
}

/// The batches that cover these messages of one generation (highest id first), each once, highest first; one call for all.
///
/// # Errors
/// Redis is away.
pub async fn covering(
    redis: &Redis,
    application: &str,
    destination: &str,
    part: &str,
    generation: &Generation,
    messages: &[StreamId],
) -> Result<Vec<Filed>, LogError> {
    let key = redis.keys().of(application).history_of(destination, &generation.0, part);
    let found: Vec<String> = redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::BATCHES.key(&key);
            for id in messages {
                call.arg(id.to_string());
            }
            call.invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(found.iter().filter_map(|json| serde_json::from_str(json).ok()).collect())
}

/// The batch that covers a message, where the history still has it.
///
/// # Errors
/// Redis is away.
pub async fn batch_of(
    redis: &Redis,
    application: &str,
    destination: &str,
    part: &str,
    message: &Position,
) -> Result<Option<BatchRecord>, LogError> {
    let key = redis.keys().of(application).history_of(destination, &message.generation.0, part);
    let from = message.id.to_string();
    let found: Value = redis
        .link()
        .run(async |mut connection| {
            cmd("XRANGE").arg(&key).arg(&from).arg("+").arg("COUNT").arg(1).query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let Value::Array(mut entries) = found else { return Ok(None) };
    let record = entries.pop().and_then(record);
    Ok(record.filter(|record| record.first <= message.id && message.id <= record.last))
}

/// The newest batches of a destination in one generation, newest first.
///
/// # Errors
/// Redis is away.
pub async fn recent(
    redis: &Redis,
    application: &str,
    destination: &str,
    generation: &str,
    limit: usize,
) -> Result<Vec<BatchRecord>, LogError> {
    let key = redis.keys().of(application).history(destination, generation);
    let found: Vec<Value> = redis
        .link()
        .run(async |mut connection| {
            cmd("XREVRANGE").arg(&key).arg("+").arg("-").arg("COUNT").arg(limit).query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(found.into_iter().filter_map(record).collect())
}

/// Hands every batch of a destination in one generation to `with`, oldest first.
pub(crate) async fn each(
    redis: &Redis,
    application: &str,
    destination: &str,
    generation: &Generation,
    part: &str,
    mut with: impl FnMut(BatchRecord),
) -> Result<(), LogError> {
    const STEP: usize = 500;
    let key = redis.keys().of(application).history_of(destination, &generation.0, part);
    let mut from = "-".to_owned();
    loop {
        let found: Vec<Value> = redis
            .link()
            .run(async |mut connection| {
                cmd("XRANGE").arg(&key).arg(&from).arg("+").arg("COUNT").arg(STEP).query_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        let read = found.len();
        if let Some(Value::Array(parts)) = found.last()
            && let Some(id) = parts.first().and_then(text)
        {
            from = format!("({id}");
        }
        found.into_iter().filter_map(record).for_each(&mut with);
        if read < STEP {
            return Ok(());
        }
    }
}

/// Reads one `[id, ["r", json]]`.
fn record(entry: Value) -> Option<BatchRecord> {
    let Value::Array(parts) = entry else { return None };
    let Value::Array(fields) = parts.into_iter().nth(1)? else { return None };
    serde_json::from_str(text(fields.get(1)?)?).ok()
}
