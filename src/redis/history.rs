//! The delivery history: one record for each batch, filed under the id of its last message, so that the batch that covers a
//! message is the first at or above the message's id. Each part of a lane has a history of its own.

use redis::{Value, cmd};
use tidegate_actors::{
    message::{Generation, Position},
    ports::{BatchRecord, LogError},
};

use super::{Redis, stream::entry::text, unavailable};

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
