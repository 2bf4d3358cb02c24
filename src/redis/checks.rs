//! Connection checks of destinations: how often somebody asked for one, and what was found good, for a while.

use redis::Script;
use std::sync::LazyLock;
use tidegate_actors::ports::LogError;

use super::{Redis, unavailable};

/// How long a good check may be saved for.
const GOOD_FOR_S: u64 = 15 * 60;

/// Counts within a minute. KEYS: the counter.
static COUNT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"#!lua flags=allow-oom
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], 60) end
return count
",
    )
});

/// Keeps a text for a while. KEYS: one. ARGV: the text, seconds.
static KEEP: LazyLock<Script> =
    LazyLock::new(|| Script::new("#!lua flags=allow-oom\nredis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])\n"));

/// One more check by this user; how many it were within the minute.
///
/// # Errors
/// Redis is away.
pub async fn count(redis: &Redis, user: &str) -> Result<u64, LogError> {
    let key = redis.keys().checks_of(user);
    redis
        .link()
        .run(async |mut connection| COUNT.key(&key).invoke_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))
}

/// Remembers what was found good, under a token.
///
/// # Errors
/// Redis is away.
pub async fn keep(redis: &Redis, token: &str, digest: &str) -> Result<(), LogError> {
    let key = redis.keys().checked(token);
    redis
        .link()
        .run(async |mut connection| KEEP.key(&key).arg(digest).arg(GOOD_FOR_S).invoke_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))
}

/// What was found good under a token.
///
/// # Errors
/// Redis is away.
pub async fn kept(redis: &Redis, token: &str) -> Result<Option<String>, LogError> {
    let key = redis.keys().checked(token);
    redis
        .link()
        .run(async |mut connection| redis::cmd("GET").arg(&key).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))
}
