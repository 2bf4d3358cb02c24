//! Appends records to their application's stream: one XADD for one record, one transaction for many, one script where an
//! `Idempotency-Key` or own ids must be looked up first. An answer comes within two seconds, whatever Redis does; an id is
//! given out only after Redis has the record. The ingest actor calls it; clones share one connection.

mod live;
mod request;

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redis::{RedisError, RedisResult};
use tidegate_actors::{
    message::{Generation, MessageId, Position, StreamId},
    ports::{AppendError, AppendRequest, Appended, Appender, NewRecord},
};
use tokio::time::timeout;

use self::{
    live::{Live, Liveness},
    request::Unique,
};
use super::{
    Redis,
    connection::{describe, is_broken, is_full},
    random_token, scripts,
    server::Connection,
    stream::entry::{FORMAT, Packed},
};

/// A whole append, reconnecting included. The contract says 2 s.
const TIME_LIMIT: Duration = Duration::from_millis(1800);
/// How long a connection that let an append wait in vain may take to show that it lives.
const PROBE: Duration = Duration::from_secs(1);
/// How long an `Idempotency-Key` and an own id are remembered.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a generation that was looked up is believed without another look.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often a stream that vanished between two calls is made again.
const TRIES: usize = 3;

/// Application and `Idempotency-Key` of requests.
type KeysUnderWay = Mutex<HashSet<(Arc<str>, Box<str>)>>;

/// [`Appender`] over Redis.
#[derive(Clone)]
pub struct RedisAppender {
    redis: Redis,
    liveness: Arc<Liveness>,
    full: Arc<AtomicBool>,
    /// Those that this node is working on.
    under_way: Arc<KeysUnderWay>,
}

/// What an attempt came to.
enum Attempt {
    Done(Appended),
    /// The stream is not there (any more): make it, with a generation, and try again.
    NoStream,
}

impl RedisAppender {
    /// An appender that refuses while `full` is set: the memory guard's hard mark. One for each node, to be cloned: its
    /// clones know of each other's requests under way.
    #[must_use]
    pub fn new(redis: &Redis, full: Arc<AtomicBool>) -> Self {
        let liveness = Arc::new(Liveness::new(redis.server().clone()));
        Self { redis: redis.clone(), liveness, full, under_way: Arc::default() }
    }

    /// Another appender of the same node with a connection of its own, for another thread.
    #[must_use]
    pub fn beside(&self) -> Self {
        let liveness = Arc::new(Liveness::new(self.redis.server().clone()));
        Self { liveness, ..self.clone() }
    }

    /// The newest generation of the stream. Looked up before the first record of every connection, since a restart and a
    /// failover break connections; and now and then, since emptying Redis by hand does not.
    async fn generation(&self, live: &Live, application: &Arc<str>) -> RedisResult<Generation> {
        if let Some((generation, since)) = lock(&live.generations).get(application)
            && since.elapsed() < LOOK_AGAIN
        {
            return Ok(generation.clone());
        }
        let keys = self.redis.keys().of(application);
        let mut connection = live.connection.clone();
        let mut call = scripts::ENSURE.key(keys.stream());
        call.key(keys.meta()).arg(random_token());
        let token: String = call.invoke_async(&mut connection).await?;
        let generation = Generation::new(&token);
        lock(&live.generations).insert(application.clone(), (generation.clone(), Instant::now()));
        Ok(generation)
    }

    async fn append_over(&self, live: &Live, request: &AppendRequest) -> Result<Appended, Refusal> {
        // A cluster's connection may go on with another node unnoticed, so there the script looks at the generation too.
        let looks_up = self.redis.server().is_cluster()
            || request.idempotency.is_some()
            || request.records.iter().any(|record| record.own_id.is_some());
        let unique = looks_up.then(|| Unique::of(request)).transpose().map_err(Refusal::Answer)?;
        for _ in 0..TRIES {
            let generation = self.generation(live, &request.application).await?;
            let mut connection = live.connection.clone();
            let attempt = match &unique {
                Some(unique) => self.append_known(&mut connection, request, unique).await?,
                None => self.append_plain(&mut connection, request, &generation).await?,
            };
            match attempt {
                Attempt::Done(appended) => return Ok(appended),
                Attempt::NoStream => {
                    lock(&live.generations).remove(&request.application);
                }
            }
        }
        Err(Refusal::Answer(AppendError::Unavailable("the stream is deleted again and again".into())))
    }

    /// Nothing to look up: XADD, in a transaction where there are many.
    async fn append_plain(
        &self,
        connection: &mut Connection,
        request: &AppendRequest,
        generation: &Generation,
    ) -> Result<Attempt, Refusal> {
        let stream = self.redis.keys().of(&request.application).stream();
        let ids: Vec<Option<String>> = match request.records.as_slice() {
            [record] => vec![xadd(&stream, record).query_async(connection).await?],
            records => {
                let mut pipe = redis::pipe();
                pipe.atomic();
                for record in records {
                    pipe.add_command(xadd(&stream, record));
                }
                pipe.query_async(connection).await?
            }
        };
        let Some(ids) = ids.into_iter().collect::<Option<Vec<String>>>() else { return Ok(Attempt::NoStream) };
        let ids = ids
            .iter()
            .map(|id| Some(MessageId(Position { generation: generation.clone(), id: id.parse::<StreamId>().ok()? })))
            .collect::<Option<_>>()
            .ok_or_else(|| Refusal::odd("XADD"))?;
        Ok(Attempt::Done(Appended { ids, replayed: false }))
    }

    /// Looked up and added in one script.
    async fn append_known(
        &self,
        connection: &mut Connection,
        request: &AppendRequest,
        unique: &Unique,
    ) -> Result<Attempt, Refusal> {
        let keys = self.redis.keys().of(&request.application);
        let script = if self.redis.server().is_cluster() { &scripts::APPEND_IN_CLUSTER } else { &scripts::APPEND };
        let mut call = script.key(keys.stream());
        call.key(keys.meta());
        match &request.idempotency {
            Some((key, digest)) => call.key(keys.idempotency(key)).arg(1).arg(request::hex(digest)),
            None => call.arg(0).arg(""),
        };
        call.arg(REMEMBERED.as_secs()).arg(FORMAT);
        for (&place, digest) in unique.first.iter().zip(&unique.digests) {
            let record = &request.records[place];
            if let Some(id) = &record.own_id {
                call.key(keys.own(id));
            }
            call.arg(record.own_id.as_deref().unwrap_or_default()).arg(digest).arg(Packed(record));
        }
        let (outcome, answer): (String, String) = call.invoke_async(connection).await?;
        match outcome.as_str() {
            "OK" | "REPLAYED" => {
                let ids = request::expand(&answer).ok_or_else(|| Refusal::odd("ids"))?;
                let ids = unique.spread(&ids).ok_or_else(|| Refusal::odd("ids"))?;
                Ok(Attempt::Done(Appended { ids, replayed: outcome == "REPLAYED" }))
            }
            "NO_STREAM" => Ok(Attempt::NoStream),
            "KEY_REUSED" => Err(Refusal::Answer(AppendError::KeyReused)),
            "ID_REUSED" => {
                let place = answer.parse::<usize>().ok().and_then(|place| unique.first.get(place).copied());
                Err(Refusal::Answer(AppendError::IdReused { index: place.ok_or_else(|| Refusal::odd("index"))? }))
            }
            _ => Err(Refusal::odd("append")),
        }
    }
}

/// Why an attempt did not come to ids.
enum Refusal {
    Redis(RedisError),
    Answer(AppendError),
}

impl Refusal {
    fn odd(what: &str) -> Self {
        Self::Answer(AppendError::Unavailable(format!("Redis gave an answer that can't be understood ({what})")))
    }
}

impl From<RedisError> for Refusal {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

fn xadd(stream: &str, record: &NewRecord) -> redis::Cmd {
    let value = Packed(record);
    let mut command = redis::Cmd::with_capacity(6, stream.len() + 20 + value.most_bytes());
    command.arg("XADD").arg(stream).arg("NOMKSTREAM").arg("*").arg(FORMAT).arg(value);
    command
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Marks a key as under way until it is dropped, with the request's future if need be.
struct UnderWay<'a>(&'a KeysUnderWay, (Arc<str>, Box<str>));

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        lock(self.0).remove(&self.1);
    }
}

#[async_trait(?Send)]
impl Appender for RedisAppender {
    async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError> {
        if request.records.is_empty() {
            return Ok(Appended { ids: Vec::new(), replayed: false });
        }
        if self.full.load(Ordering::Relaxed) {
            return Err(AppendError::Full);
        }
        let _under_way = match &request.idempotency {
            Some((key, _)) => {
                let key = (request.application.clone(), key.clone());
                if !lock(&self.under_way).insert(key.clone()) {
                    return Err(AppendError::KeyUnderWay);
                }
                Some(UnderWay(&self.under_way, key))
            }
            None => None,
        };
        let mut used = None;
        let outcome = timeout(TIME_LIMIT, async {
            let live = self.liveness.live().await.map_err(|why| Refusal::Answer(AppendError::Unavailable(why)))?;
            let live = used.insert(live);
            self.append_over(live, &request).await
        })
        .await;
        match outcome {
            Ok(Ok(appended)) => Ok(appended),
            Ok(Err(Refusal::Answer(error))) => Err(error),
            Ok(Err(Refusal::Redis(error))) if is_full(&error) => Err(AppendError::Full),
            Ok(Err(Refusal::Redis(error))) => {
                if let (true, Some(live)) = (is_broken(&error), &used) {
                    self.liveness.lost(live, describe(&error));
                }
                Err(AppendError::Unavailable(describe(&error)))
            }
            Err(_) => {
                if let Some(live) = used {
                    self.liveness.suspect(live, PROBE);
                }
                Err(AppendError::Unavailable("Redis did not answer within 1.8 s".into()))
            }
        }
    }

    async fn ping(&self) -> Result<(), AppendError> {
        let live = match timeout(PROBE, self.liveness.live()).await {
            Ok(live) => live.map_err(AppendError::Unavailable)?,
            Err(_) => return Err(AppendError::Unavailable("Redis did not answer within 1 s".into())),
        };
        self.liveness.probe(&live, PROBE).await.map_err(AppendError::Unavailable)
    }
}
