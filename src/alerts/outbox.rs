//! What is to be sent, in Redis: an alarm that begins or ends and the letters about it are written together by one script, so
//! each change is told once, whichever node noticed it, and is still told if that node dies.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use redis::Script;
use serde::{Deserialize, Serialize};
use tidegate_actors::ports::LogError;

use super::{event::Event, firing::Firing};
use crate::redis::{Redis, connection::describe};

/// Most that waits to be sent; more is not taken, so that a receiver that is away for good fills nothing.
const MOST_WAITING: usize = 1_000;
/// Longest time for an answer of Redis.
const WITHIN: Duration = Duration::from_secs(2);

/// Replaces a field that still holds what was read, and adds others elsewhere. KEYS: hash, outbox. ARGV: field, what was read
/// or '', what it becomes or '', most fields of the outbox, then pairs for it.
static CHANGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "#!lua flags=allow-oom
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
if ARGV[3] == '' then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
for i = 5, #ARGV, 2 do
  if redis.call('HLEN', KEYS[2]) < tonumber(ARGV[4]) then redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
return 1
",
    )
});

/// Takes the turn for a while, where nobody has it. KEYS: turn. ARGV: who, milliseconds.
static TURN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "#!lua flags=allow-oom
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
",
    )
});

/// Something that waits to be sent to one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// The target's id.
    pub(crate) target: String,
    /// What to tell.
    pub(crate) event: Event,
    /// Attempts so far.
    pub(crate) attempts: u32,
    /// Not before this, in milliseconds since the Unix epoch.
    pub(crate) next_ms: u64,
    /// When it was put here, in milliseconds since the Unix epoch.
    pub(crate) since_ms: u64,
    /// What came of the last attempt.
    #[serde(default)]
    pub(crate) last_error: Option<String>,
}

/// The hashes in Redis. All names share the registry's slot.
pub(crate) struct Outbox<'a> {
    pub(crate) redis: &'a Redis,
}

impl Outbox<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}:{{registry}}:{name}", self.redis.keys().prefix())
    }

    /// Whether it is this node's turn to look and send, for so long.
    pub(super) async fn turn(&self, instance: &str, lasts: Duration) -> Result<bool, LogError> {
        let key = self.key("alerts-turn");
        let ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        self.ask(async |mut connection| TURN.key(&key).arg(instance).arg(ms).invoke_async(&mut connection).await).await
    }

    /// The alarms that were told, by key: as stored, and as read.
    pub(super) async fn told(&self) -> Result<BTreeMap<String, (String, Option<Firing>)>, LogError> {
        let all = self.all("alarms").await?;
        Ok(all
            .into_iter()
            .map(|(key, text)| {
                let firing = serde_json::from_str(&text).ok();
                (key, (text, firing))
            })
            .collect())
    }

    /// What waits, by id: as stored, and as read.
    pub(crate) async fn waiting(&self) -> Result<BTreeMap<String, (String, Option<Waiting>)>, LogError> {
        let all = self.all("outbox").await?;
        Ok(all
            .into_iter()
            .map(|(id, text)| {
                let waiting = serde_json::from_str(&text).ok();
                (id, (text, waiting))
            })
            .collect())
    }

    /// An alarm begins (`now`) or ends, and these are told of it; false where somebody else was faster.
    pub(super) async fn note(
        &self,
        alarm: &str,
        before: &str,
        now: Option<&Firing>,
        letters: &[Waiting],
    ) -> Result<bool, LogError> {
        let now = now.map(encode).unwrap_or_default();
        let letters: Vec<(String, String)> =
            letters.iter().map(|letter| (format!("{} {}", letter.event.id, letter.target), encode(letter))).collect();
        self.change("alarms", alarm, before, &now, &letters).await
    }

    /// What waits becomes this, or is gone; false where somebody else was faster.
    pub(super) async fn replace(&self, id: &str, before: &str, now: Option<&Waiting>) -> Result<bool, LogError> {
        let now = now.map(encode).unwrap_or_default();
        self.change("outbox", id, before, &now, &[]).await
    }

    async fn change(
        &self,
        hash: &str,
        field: &str,
        before: &str,
        now: &str,
        letters: &[(String, String)],
    ) -> Result<bool, LogError> {
        let (hash, outbox) = (self.key(hash), self.key("outbox"));
        self.ask(async |mut connection| {
            let mut call = CHANGE.key(&hash);
            call.key(&outbox).arg(field).arg(before).arg(now).arg(MOST_WAITING);
            for (id, letter) in letters {
                call.arg(id).arg(letter);
            }
            call.invoke_async(&mut connection).await
        })
        .await
    }

    async fn all(&self, hash: &str) -> Result<BTreeMap<String, String>, LogError> {
        let key = self.key(hash);
        self.ask(async |mut connection| redis::cmd("HGETALL").arg(&key).query_async(&mut connection).await).await
    }

    async fn ask<T>(
        &self,
        call: impl AsyncFn(crate::redis::Connection) -> redis::RedisResult<T>,
    ) -> Result<T, LogError> {
        match tokio::time::timeout(WITHIN, self.redis.link().run(call)).await {
            Ok(outcome) => outcome.map_err(|error| LogError::Unavailable(describe(&error))),
            Err(_) => Err(LogError::Unavailable("Redis did not answer in time".into())),
        }
    }
}

fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
