//! What a destination's state was, and since when: a short list in Redis that whoever writes it keeps, and that the console
//! shows.

use serde::{Deserialize, Serialize};
use tidegate_actors::ports::LogError;

use super::{Redis, odd, scripts, unavailable};

/// Changes that are kept of each destination.
const KEPT: usize = 200;

/// One change of a destination's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChange {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What it is since then: `up`, `down`, `paused`, `held`.
    pub status: String,
    /// Why, where there is something to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The node that told.
    pub node: String,
}

/// Keeps a change, unless it is none.
///
/// # Errors
/// Redis is away.
pub async fn tell(redis: &Redis, destination: &str, change: &HealthChange) -> Result<(), LogError> {
    let key = redis.keys().health(destination);
    let json = serde_json::to_string(change).map_err(|_| odd("health"))?;
    redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::HEALTH.key(&key);
            call.arg(&change.status).arg(&json).arg(KEPT).invoke_async::<u8>(&mut connection).await
        })
        .await
        .map(|_| ())
        .map_err(|error| unavailable(&error))
}

/// The changes that are kept, newest first.
///
/// # Errors
/// Redis is away.
pub async fn changes(redis: &Redis, destination: &str) -> Result<Vec<HealthChange>, LogError> {
    let key = redis.keys().health(destination);
    let all: Vec<String> = redis
        .link()
        .run(async |mut connection| redis::cmd("LRANGE").arg(&key).arg(0).arg(-1).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(all.iter().filter_map(|json| serde_json::from_str(json).ok()).collect())
}

/// A destination is gone: so is what is kept of it.
///
/// # Errors
/// Redis is away.
pub async fn forget(redis: &Redis, destination: &str) -> Result<(), LogError> {
    let key = redis.keys().health(destination);
    redis
        .link()
        .run(async |mut connection| redis::cmd("DEL").arg(&key).query_async::<u64>(&mut connection).await)
        .await
        .map(|_| ())
        .map_err(|error| unavailable(&error))
}
