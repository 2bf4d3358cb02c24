//! When each API key was last used: a node notes it at most once a minute for each key, all that came together in one call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tidegate_actors::ports::LogError;

use super::{Redis, scripts, unavailable};

/// A key's use is noted again after so long.
const EVERY_MS: u64 = 60_000;
/// How often what was noted goes to Redis.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// Keys that are remembered between two calls: more than an installation has.
const MOST_KEYS: usize = 10_000;

/// What a node's doors have seen since the last call. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct KeyUse {
    seen: Arc<Mutex<HashMap<String, (u64, bool)>>>,
}

impl KeyUse {
    /// A key was used. The caller asks at most once a minute for each key; several may.
    pub fn seen(&self, key: &str, now_ms: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let room = seen.len() < MOST_KEYS;
        match seen.get_mut(key) {
            Some((at, _)) if now_ms.saturating_sub(*at) < EVERY_MS => {}
            Some(known) => *known = (now_ms, true),
            None if room => drop(seen.insert(key.to_owned(), (now_ms, true))),
            None => {}
        }
    }

    /// Whether a door should tell of a key that it told of at `last_ms`.
    #[must_use]
    pub fn is_due(last_ms: u64, now_ms: u64) -> bool {
        now_ms.saturating_sub(last_ms) >= EVERY_MS
    }

    fn take(&self) -> Vec<(String, u64)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = seen.iter_mut().filter(|(_, (_, fresh))| *fresh);
        fresh.map(|(key, (at, fresh))| (key.clone(), (*at, *fresh = false).0)).collect()
    }

    /// Brings what was seen to Redis, for as long as the node runs. What Redis does not take is lost: it is for the eyes only.
    pub async fn keep(self, redis: Redis) {
        loop {
            tokio::time::sleep(FLUSH_EVERY).await;
            let fresh = self.take();
            if !fresh.is_empty()
                && let Err(error) = note(&redis, &fresh).await
            {
                tracing::debug!(%error, "the use of API keys was not noted");
            }
        }
    }
}

async fn note(redis: &Redis, fresh: &[(String, u64)]) -> Result<(), LogError> {
    let key = redis.keys().used();
    redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::CALL.key(&key);
            call.arg("HSET");
            for (id, at_ms) in fresh {
                call.arg(id).arg(*at_ms);
            }
            call.invoke_async::<u64>(&mut connection).await
        })
        .await
        .map(|_| ())
        .map_err(|error| unavailable(&error))
}

/// When each key was last used, in milliseconds since the Unix epoch, by key id.
///
/// # Errors
/// Redis is away.
pub async fn last(redis: &Redis) -> Result<HashMap<String, u64>, LogError> {
    let key = redis.keys().used();
    redis
        .link()
        .run(async |mut connection| redis::cmd("HGETALL").arg(&key).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_told_of_once_a_minute() {
        let used = KeyUse::default();
        used.seen("a", 1_000);
        used.seen("a", 2_000);
        assert_eq!(used.take(), [("a".to_owned(), 1_000)]);
        used.seen("a", 60_999);
        assert!(used.take().is_empty());
        used.seen("a", 61_000);
        assert_eq!(used.take(), [("a".to_owned(), 61_000)]);
    }
}
