//! Broadcasts in Redis: published, changed, looked up. Every change compares what stands there with what was read and writes
//! the message, its place and the log's entry in one script, so whoever is second finds out, and nothing is sent twice.

use std::{sync::Arc, time::Duration};

use redis::RedisResult;
use sha2::{Digest, Sha256};
use tidegate_actors::{delivery::random_token, ports::LogError};

use super::{
    keys::BroadcastKeys,
    message::{Audience, Entry, Kind, Message, Reach, State},
    scripts,
};
use crate::redis::{
    Connection, Link, Redis,
    connection::{describe, is_full},
};

/// How long an own id and an `Idempotency-Key` are remembered.
const NAMES: Duration = Duration::from_secs(24 * 60 * 60);
/// How often a change is tried anew because somebody else was faster.
const ATTEMPTS: usize = 8;
/// Broadcasts that are forgotten in one go.
const FORGOTTEN_AT_ONCE: usize = 100;
/// Longest wait for an answer.
const WITHIN: Duration = Duration::from_millis(1_800);

/// Why something could not be stored or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CastError {
    /// Redis is away or slow.
    #[error("{0}")]
    Unavailable(String),
    /// Redis has no room for a new broadcast.
    #[error("Redis is full; nothing was sent")]
    Full,
    /// The name of this kind stands for something else.
    #[error("this {0} belongs to another broadcast")]
    NameUsed(&'static str),
    /// There is no such broadcast.
    #[error("there is no such broadcast, or it is no longer kept")]
    Unknown,
    /// It can't be done as it stands.
    #[error("{0}")]
    Refused(String),
}

impl From<LogError> for CastError {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// What became of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The broadcast's id.
    pub id: String,
    /// It was there already, by its name.
    pub replayed: bool,
}

/// A name under which a broadcast is taken once: what it stands for is told apart by a digest.
#[derive(Clone, Debug)]
pub struct Named {
    kind: &'static str,
    key: String,
    digest: String,
}

/// A page of the history.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Newest first.
    pub messages: Vec<Message>,
    /// Where the next page begins; `None` where there is no more.
    pub next: Option<Place>,
}

/// A place in the order of all broadcasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    ms: u64,
    id: String,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.ms, self.id)
    }
}

impl std::str::FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (ms, id) = text.split_once('-').ok_or(())?;
        Ok(Self { ms: ms.parse().map_err(drop)?, id: id.to_owned() })
    }
}

impl Place {
    /// The place of this broadcast.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        Self { ms: message.at_ms(), id: message.id.clone() }
    }
}

/// Broadcasts of one installation. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Broadcasts {
    redis: Redis,
    own: Option<Arc<Link>>,
    keys: BroadcastKeys,
}

impl Broadcasts {
    /// Those in this Redis.
    #[must_use]
    pub fn new(redis: &Redis) -> Self {
        Self { redis: redis.clone(), own: None, keys: BroadcastKeys::of(redis.keys()) }
    }

    /// The same over a connection of its own.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self { own: Some(Arc::new(self.redis.own_link())), ..self.clone() }
    }

    /// The names of their keys.
    #[must_use]
    pub fn keys(&self) -> &BroadcastKeys {
        &self.keys
    }

    /// Where they are.
    #[must_use]
    pub fn redis(&self) -> &Redis {
        &self.redis
    }

    /// One call, within its time.
    pub(super) async fn run<T>(&self, call: impl AsyncFn(Connection) -> RedisResult<T>) -> Result<T, CastError> {
        let link = self.own.as_deref().unwrap_or_else(|| self.redis.link());
        match tokio::time::timeout(WITHIN, link.run(call)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_full(&error) => Err(CastError::Full),
            Ok(Err(error)) => Err(CastError::Unavailable(describe(&error))),
            Err(_) => Err(CastError::Unavailable("Redis did not answer in time".into())),
        }
    }

    /// A name under which something is taken once: `of` is whose it is, `stands_for` what it names.
    #[must_use]
    pub fn name(&self, kind: &'static str, of: &str, name: &str, stands_for: &[u8]) -> Named {
        let key = self.keys.named(&digest(&[kind.as_bytes(), of.as_bytes(), name.as_bytes()]));
        Named { kind, key, digest: digest(&[stands_for]) }
    }

    /// The broadcasts of these ids, and the time now by Redis's clock; `None` for those that are not there.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn load(&self, ids: &[String]) -> Result<(u64, Vec<Option<Message>>), CastError> {
        let (now, raw) = self.load_raw(ids).await?;
        Ok((now, raw.iter().map(|text| serde_json::from_str(text).ok()).collect()))
    }

    async fn load_raw(&self, ids: &[String]) -> Result<(u64, Vec<String>), CastError> {
        let messages = self.keys.messages();
        let mut all: Vec<String> = self
            .run(async |mut connection| scripts::LOAD.key(&messages).arg(ids).invoke_async(&mut connection).await)
            .await?;
        if all.is_empty() {
            return Err(odd());
        }
        let now = all.remove(0).parse().map_err(|_| odd())?;
        Ok((now, all))
    }

    /// One broadcast.
    ///
    /// # Errors
    /// Redis is away, or there is none of this id.
    pub async fn get(&self, id: &str) -> Result<Message, CastError> {
        let (_, mut found) = self.load(&[id.to_owned()]).await?;
        found.pop().flatten().ok_or(CastError::Unknown)
    }

    /// The time now by Redis's clock, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn now(&self) -> Result<u64, CastError> {
        Ok(self.load_raw(&[]).await?.0)
    }

    /// Takes a new broadcast in, and sends it at once unless it is scheduled. What it was named by is remembered for a day.
    ///
    /// # Errors
    /// Redis is away or full, or a name stands for something else.
    pub async fn publish(&self, message: &Message, names: &[Named]) -> Result<Published, CastError> {
        let entry = (message.state == State::Sent).then(|| message.entry(Kind::Message));
        match self.write(&scripts::PUBLISH, message, "", entry.as_ref(), names).await? {
            Written::Done => Ok(Published { id: message.id.clone(), replayed: false }),
            Written::Replayed(id) => Ok(Published { id, replayed: true }),
            Written::Changed(_) => Err(CastError::Refused("this id is taken; send it again".into())),
        }
    }

    /// Changes a broadcast: `edit` is given it and the time now, and says what terminals are to be told. Tried anew where
    /// somebody else was faster.
    ///
    /// # Errors
    /// Redis is away, there is none of this id, or what `edit` says.
    pub async fn change(
        &self,
        id: &str,
        mut edit: impl FnMut(&mut Message, u64) -> Result<Option<Entry>, CastError>,
    ) -> Result<Message, CastError> {
        let (now, mut raw) = self.load_raw(&[id.to_owned()]).await?;
        let mut there = raw.pop().unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let mut message: Message = match serde_json::from_str(&there) {
                Ok(message) => message,
                Err(_) if there.is_empty() => return Err(CastError::Unknown),
                Err(_) => return Err(odd()),
            };
            let entry = edit(&mut message, now)?;
            match self.write(&scripts::CHANGE, &message, &there, entry.as_ref(), &[]).await? {
                Written::Changed(newer) => there = newer,
                _ => return Ok(message),
            }
        }
        Err(CastError::Refused("others change the same broadcast all the time; try again".into()))
    }

    async fn write(
        &self,
        script: &redis::Script,
        message: &Message,
        there: &str,
        entry: Option<&Entry>,
        names: &[Named],
    ) -> Result<Written, CastError> {
        let keys = &self.keys;
        let body = serde_json::to_string(message).map_err(|_| odd())?;
        let entry = entry.map(serde_json::to_string).transpose().map_err(|_| odd())?.unwrap_or_default();
        let due = message.due_ms.filter(|_| message.state == State::Scheduled);
        let (token, ttl) = (random_token(10), u64::try_from(NAMES.as_millis()).unwrap_or(u64::MAX));
        let (outcome, with): (String, String) = self
            .run(async |mut connection| {
                let mut call = script.key(keys.log());
                call.key(keys.log_meta()).key(keys.messages()).key(keys.order()).key(keys.scheduled());
                for name in names {
                    call.key(&name.key);
                }
                call.arg(&token).arg(&message.id).arg(there).arg(&body).arg(&entry).arg(message.at_ms());
                call.arg(due.map_or(String::new(), |due| due.to_string())).arg(ttl);
                for name in names {
                    call.arg(&name.digest);
                }
                call.invoke_async(&mut connection).await
            })
            .await?;
        match outcome.as_str() {
            "OK" => Ok(Written::Done),
            "REPLAYED" => Ok(Written::Replayed(with)),
            "CHANGED" => Ok(Written::Changed(with)),
            "REUSED" => {
                let name = with.parse::<usize>().ok().and_then(|place| names.get(place));
                Err(name.map_or_else(odd, |name| CastError::NameUsed(name.kind)))
            }
            _ => Err(odd()),
        }
    }

    /// Sends what is due, once, whoever else looks at the same time.
    pub(super) async fn send_due(
        &self,
        ids: &[String],
        reach: impl Fn(&Audience) -> Reach,
    ) -> Result<usize, CastError> {
        let mut sent = 0;
        for id in ids {
            let mut mine = false;
            let changed = self
                .change(id, |message, now| {
                    mine = message.state == State::Scheduled && message.due_ms.is_some_and(|due| due <= now);
                    if !mine {
                        return Ok(None);
                    }
                    message.state = State::Sent;
                    message.reach = reach(&message.audience);
                    // Where it stands in the order is when it really was sent.
                    message.sent_ms = Some(now);
                    Ok(Some(message.entry(Kind::Message)))
                })
                .await;
            match changed {
                Ok(_) => sent += usize::from(mine),
                // Forgotten meanwhile.
                Err(CastError::Unknown) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Broadcasts from a place on, the newest first: `many` at most.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn page(&self, before: Option<&Place>, since_ms: u64, many: usize) -> Result<Page, CastError> {
        let (order, messages) = (self.keys.order(), self.keys.messages());
        let from = before.map_or_else(|| "+inf".to_owned(), |place| place.ms.to_string());
        // Those of one millisecond stand in the order of their ids, the highest first; what was shown of them is read again.
        let read = many + if before.is_some() { 50 } else { 1 };
        let raw: Vec<String> = self
            .run(async |mut connection| {
                let mut call = scripts::PAGE.key(&order);
                call.key(&messages).arg(&from).arg(since_ms).arg(read).invoke_async(&mut connection).await
            })
            .await?;
        let whole = raw.len() / 3 < read;
        let rest = raw.chunks_exact(3).filter_map(|three| {
            let place = Place { ms: three[1].parse::<f64>().ok()? as u64, id: three[0].clone() };
            let shown = before.is_some_and(|before| place.ms == before.ms && place.id >= before.id);
            (!shown).then(|| (place, serde_json::from_str::<Message>(&three[2]).ok()))
        });
        let rest: Vec<(Place, Option<Message>)> = rest.collect();
        let more = rest.len() > many || !whole;
        let next =
            if more { rest.get(many.min(rest.len()).saturating_sub(1)).map(|(place, _)| place.clone()) } else { None };
        Ok(Page { messages: rest.into_iter().take(many).filter_map(|(_, message)| message).collect(), next })
    }

    /// How many have received and confirmed each of these.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn tallies(&self, ids: &[&str]) -> Result<Vec<(u64, u64)>, CastError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = ids.iter().map(|id| self.keys.tally(id)).collect();
        let all: Vec<String> = self
            .run(async |mut connection| {
                let mut call = scripts::TALLIES.key(&keys[0]);
                for key in &keys[1..] {
                    call.key(key);
                }
                call.invoke_async(&mut connection).await
            })
            .await?;
        let read = |text: &String| {
            let (received, confirmed) = text.split_once(' ').unwrap_or_default();
            (received.parse().unwrap_or(0), confirmed.parse().unwrap_or(0))
        };
        Ok(all.iter().map(read).collect())
    }

    /// Forgets what is older, a piece at a time; answers whether there may be more.
    pub(super) async fn trim(&self, cutoff_ms: u64) -> Result<bool, CastError> {
        let keys = &self.keys;
        let (order, token) = (keys.order(), random_token(10));
        let ids: Vec<String> = self
            .run(async |mut connection| {
                let mut call = redis::cmd("ZRANGEBYSCORE");
                call.arg(&order).arg("-inf").arg(format!("({cutoff_ms}")).arg("LIMIT").arg(0).arg(FORGOTTEN_AT_ONCE);
                call.query_async(&mut connection).await
            })
            .await?;
        if !ids.is_empty() {
            // The keys of rows that routes wrote go first: one that leads nowhere is taken for none.
            let (_, found) = self.load(&ids).await?;
            let named = found.into_iter().flatten().filter_map(|message| Some([message.own_id?, message.id]));
            let (named, rows): (Vec<[String; 2]>, _) = (named.collect(), keys.rows());
            if !named.is_empty() {
                self.run(async |mut connection| {
                    scripts::FORGET_ROWS
                        .key(&rows)
                        .arg(named.concat())
                        .invoke_async::<redis::Value>(&mut connection)
                        .await
                })
                .await?;
            }
            self.run(async |mut connection| {
                let mut call = scripts::FORGET.key(keys.messages());
                call.key(&order);
                for id in &ids {
                    call.key(keys.receipts(id)).key(keys.tally(id));
                }
                call.arg(&ids).invoke_async::<redis::Value>(&mut connection).await
            })
            .await?;
        }
        let _: u64 = self
            .run(async |mut connection| {
                let mut call = scripts::TRIM.key(keys.log());
                call.key(keys.log_meta()).arg(&token).arg(format!("{cutoff_ms}-0"));
                call.invoke_async(&mut connection).await
            })
            .await?;
        Ok(ids.len() == FORGOTTEN_AT_ONCE)
    }

    /// Keeps an image; its name is its digest.
    ///
    /// # Errors
    /// Redis is away or full.
    pub async fn keep_image(&self, bytes: &[u8], for_days: u32) -> Result<String, CastError> {
        let digest = digest(&[bytes]);
        let (key, ttl) = (self.keys.image(&digest), u64::from(for_days.saturating_add(1)) * 86_400_000);
        self.run(async |mut connection| {
            scripts::IMAGE.key(&key).arg(bytes).arg(ttl).invoke_async::<redis::Value>(&mut connection).await
        })
        .await?;
        Ok(digest)
    }

    /// An image.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn image(&self, digest: &str) -> Result<Option<Vec<u8>>, CastError> {
        let key = self.keys.image(digest);
        self.run(async |mut connection| redis::cmd("GET").arg(&key).query_async(&mut connection).await).await
    }
}

enum Written {
    Done,
    Replayed(String),
    Changed(String),
}

pub(super) fn odd() -> CastError {
    CastError::Unavailable("Redis gave an answer that can't be understood".into())
}

/// SHA-256 of these parts, told apart by their lengths, lower-case hex; of a single part, its own.
pub(super) fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        if parts.len() > 1 {
            hasher.update((part.len() as u64).to_be_bytes());
        }
        hasher.update(part);
    }
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What kind of image these bytes are, by how they begin; `None` for what no terminal is sent.
#[must_use]
pub fn image_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}
