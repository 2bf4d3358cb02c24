//! Reads the log for one destination, over a connection of its own.
//!
//! A read never moves anything in Redis, so a dropped or repeated one loses nothing. Entries are only handed out together
//! with a look, taken after them, at the stream's generation, trimmed mark and registry version. The reader's memory is
//! bounded: how many entries are asked for follows from the size of those that came before.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redis::{RedisError, RedisResult, Value};
use tidegate_actors::{
    message::StreamId,
    ports::{Batch, Entry, EntryReader, LogError, ReadFrom, ReadOutcome},
};
use tokio::time::timeout;

use super::{
    Keys, Redis,
    connection::connect,
    log::parse_generations,
    odd, scripts,
    server::{Connection, Server},
    stream::entry::{parse, size_bytes, text},
    unavailable,
};

/// Longest wait in one blocking read: a new generation must be noticed.
const MAX_BLOCK: Duration = Duration::from_secs(5);
/// In a cluster, how long it takes at most until each of several streams has been looked at.
const IN_TURN: Duration = Duration::from_millis(100);
/// Shortest wait at one of them: below it the waiting would cost more than the records.
const SHORTEST_TURN: Duration = Duration::from_millis(10);
/// How much longer than its wait a read may take before its connection is given up.
const GRACE: Duration = Duration::from_secs(5);
/// A batch ends when it has this many bytes.
const BATCH_BYTES: usize = 8 << 20;
/// Entries in the first read of a lane.
const FIRST_COUNT: usize = 16;
/// Most entries in one answer: with records of the largest size (1 MiB), what may be in memory beyond [`BATCH_BYTES`].
const MAX_COUNT: usize = 256;

/// [`EntryReader`] over Redis.
pub struct RedisReader {
    server: Server,
    keys: Keys,
    connection: Option<Connection>,
    /// Which lane is asked first the next time.
    turn: usize,
    /// Entries to ask for, by stream.
    counts: HashMap<Arc<str>, usize>,
}

/// How long to wait at one of several streams in a cluster before the next one has its turn.
pub(super) fn turn_of(streams: usize) -> Duration {
    (IN_TURN / u32::try_from(streams).unwrap_or(u32::MAX).max(1)).max(SHORTEST_TURN)
}

/// What one look at one lane came to.
enum Look {
    Entries(Vec<Entry>),
    Outcome(ReadOutcome),
}

impl RedisReader {
    /// Connects on the first read.
    #[must_use]
    pub fn new(redis: &Redis) -> Self {
        Self {
            server: redis.server().clone(),
            keys: redis.keys().clone(),
            connection: None,
            turn: 0,
            counts: HashMap::new(),
        }
    }

    async fn read_with(
        &mut self,
        connection: &mut Connection,
        lanes: &[ReadFrom],
        max_entries: usize,
        block: Duration,
    ) -> Result<ReadOutcome, LogError> {
        for step in 0..lanes.len() {
            let place = (self.turn + step) % lanes.len();
            if let Some(outcome) = self.collect(connection, &lanes[place], max_entries).await? {
                self.turn = place + 1;
                return Ok(outcome);
            }
        }
        // What is left below an end (of an older generation, or where a side row meets its main one) is there already or never
        // will be: waiting is for what is new, once for each stream.
        let mut waiting: Vec<&ReadFrom> = Vec::new();
        for lane in lanes.iter().filter(|lane| lane.until.is_none()) {
            if !waiting.iter().any(|other| other.lane.stream == lane.lane.stream) {
                waiting.push(lane);
            }
        }
        let exhausted = lanes.iter().any(|lane| lane.until.is_some_and(|until| lane.after < until));
        if exhausted || block.is_zero() {
            return Ok(ReadOutcome::Idle);
        }
        if waiting.is_empty() {
            tokio::time::sleep(block.min(MAX_BLOCK)).await;
            return Ok(ReadOutcome::Idle);
        }
        match self.wait(connection, &waiting, block.min(MAX_BLOCK)).await? {
            Some(place) => {
                let outcome = self.collect(connection, waiting[place], max_entries).await?;
                self.turn =
                    lanes.iter().position(|lane| std::ptr::eq(lane, waiting[place])).map_or(0, |place| place + 1);
                Ok(outcome.unwrap_or(ReadOutcome::Idle))
            }
            None => Ok(ReadOutcome::Idle),
        }
    }

    /// All there is of one lane, up to the limits; `None` where there is nothing.
    async fn collect(
        &mut self,
        connection: &mut Connection,
        from: &ReadFrom,
        max_entries: usize,
    ) -> Result<Option<ReadOutcome>, LogError> {
        let (mut entries, mut bytes, mut after): (Vec<Entry>, usize, StreamId) = (Vec::new(), 0, from.after);
        let mut count = self.counts.get(&from.lane.stream).copied().unwrap_or(FIRST_COUNT);
        while entries.len() < max_entries && bytes < BATCH_BYTES {
            let asked = count.min(max_entries - entries.len()).max(1);
            let mut chunk = match self.look(connection, from, after, asked).await? {
                Look::Entries(chunk) => chunk,
                Look::Outcome(outcome) => return Ok(Some(outcome)),
            };
            let got = chunk.len();
            if let Some(until) = from.until {
                chunk.retain(|entry| entry.id() <= until);
            }
            let chunk_bytes: usize = chunk.iter().map(size_bytes).sum();
            if let Some(last) = chunk.last() {
                after = last.id();
                // Slow start, then as many as fit.
                let fits = BATCH_BYTES / (chunk_bytes / chunk.len()).max(1);
                count = (count * 2).min(fits).clamp(1, MAX_COUNT);
            }
            let ends = chunk.len() < asked || got < asked;
            bytes += chunk_bytes;
            entries.append(&mut chunk);
            if ends {
                break;
            }
        }
        self.counts.insert(from.lane.stream.clone(), count);
        if entries.is_empty() {
            return Ok(None);
        }
        Ok(Some(ReadOutcome::Batch(Batch { lane: from.lane.clone(), after: from.after, entries })))
    }

    /// Entries first, and what they are worth after them: a generation or a trim in between is seen.
    async fn look(
        &self,
        connection: &mut Connection,
        from: &ReadFrom,
        after: StreamId,
        count: usize,
    ) -> Result<Look, LogError> {
        let keys = self.keys.of(&from.lane.stream);
        let mut pipe = redis::pipe();
        pipe.cmd("XREAD").arg("COUNT").arg(count).arg("STREAMS").arg(keys.stream()).arg(after.to_string());
        pipe.cmd("EVALSHA").arg(scripts::STANDING.get_hash()).arg(2).arg(keys.stream()).arg(keys.meta());
        type Meta = (Option<String>, Option<String>, Option<u64>);
        let ask = async |connection: &mut Connection| -> RedisResult<(Value, Meta)> {
            match pipe.query_async(connection).await {
                // A server that has not met the script yet; only it can say so.
                Err(error) if lacks_script(&error) => {
                    scripts::STANDING.load_async(connection).await?;
                    pipe.query_async(connection).await
                }
                answer => answer,
            }
        };
        let answer = timeout(GRACE, ask(connection)).await.map_err(|_| slow())?;
        let (read, meta) = answer.map_err(|error: RedisError| unavailable(&error))?;
        let generations = parse_generations(meta.0.as_deref().unwrap_or_default()).ok_or_else(|| odd("meta"))?;
        if generations.last().is_none_or(|newest| newest.generation != from.newest) {
            return Ok(Look::Outcome(ReadOutcome::NewGeneration(from.lane.clone())));
        }
        if meta.2.unwrap_or(0) > from.version {
            return Ok(Look::Outcome(ReadOutcome::NewVersion(from.lane.clone())));
        }
        let trimmed: StreamId = meta.1.as_deref().map_or(Ok(StreamId::ZERO), str::parse).map_err(|_| odd("trimmed"))?;
        if trimmed > from.after {
            let (lane, after) = (from.lane.clone(), from.after);
            return Ok(Look::Outcome(ReadOutcome::Gap { lane, after, trimmed }));
        }
        Ok(Look::Entries(entries_of(read)?))
    }

    /// Waits until one of the streams has something; which one it was. The entry itself is read again, with its check.
    async fn wait(
        &self,
        connection: &mut Connection,
        lanes: &[&ReadFrom],
        block: Duration,
    ) -> Result<Option<usize>, LogError> {
        if !self.server.is_cluster() || lanes.len() == 1 {
            return self.wait_for_any(connection, lanes, block).await;
        }
        // Streams of several applications lie in different slots, which one command can't name together: each gets a
        // short wait in turn.
        let until = Instant::now() + block;
        let turn = turn_of(lanes.len());
        while Instant::now() < until {
            for (place, lane) in lanes.iter().enumerate() {
                if self.wait_for_any(connection, &[lane], turn).await?.is_some() {
                    return Ok(Some(place));
                }
            }
        }
        Ok(None)
    }

    /// The same with one command.
    async fn wait_for_any(
        &self,
        connection: &mut Connection,
        lanes: &[&ReadFrom],
        block: Duration,
    ) -> Result<Option<usize>, LogError> {
        let streams: Vec<String> = lanes.iter().map(|lane| self.keys.of(&lane.lane.stream).stream()).collect();
        let ids: Vec<String> = lanes.iter().map(|lane| lane.after.to_string()).collect();
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("BLOCK").arg(block.as_millis().max(1) as u64).arg("STREAMS");
        command.arg(&streams).arg(&ids);
        let answer = timeout(block + GRACE, command.query_async(connection)).await.map_err(|_| slow())?;
        let answer: Value = answer.map_err(|error: RedisError| unavailable(&error))?;
        let Value::Array(found) = answer else { return Ok(None) };
        let Some(Value::Array(first)) = found.into_iter().next() else { return Ok(None) };
        let name = first.first().and_then(text);
        Ok(streams.iter().position(|stream| Some(stream.as_str()) == name))
    }
}

fn lacks_script(error: &RedisError) -> bool {
    let all = error.clone().into_server_errors();
    error.code() == Some("NOSCRIPT") || all.is_some_and(|all| all.iter().any(|(_, error)| error.code() == "NOSCRIPT"))
}

fn slow() -> LogError {
    LogError::Unavailable("Redis did not answer in time".into())
}

/// Reads `[[stream, [entry, …]]]`, or nil.
fn entries_of(answer: Value) -> Result<Vec<Entry>, LogError> {
    let Value::Array(mut streams) = answer else { return Ok(Vec::new()) };
    let Some(Value::Array(mut parts)) = streams.pop() else { return Ok(Vec::new()) };
    let Some(Value::Array(entries)) = parts.pop() else { return Err(odd("XREAD")) };
    entries.into_iter().map(|entry| parse(entry).ok_or_else(|| odd("an entry"))).collect()
}

#[async_trait(?Send)]
impl EntryReader for RedisReader {
    async fn read(&mut self, lanes: &[ReadFrom], max_entries: usize, block: Duration) -> Result<ReadOutcome, LogError> {
        // Taken out while in use: when this future is dropped or fails, the connection goes with it and no late answer can
        // meet the next question.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.server, MAX_BLOCK + GRACE).await.map_err(|error| unavailable(&error))?,
        };
        let outcome = self.read_with(&mut connection, lanes, max_entries.max(1), block).await;
        // A new generation may mean another master: this connection may lead to the one of before.
        if !matches!(outcome, Err(_) | Ok(ReadOutcome::NewGeneration(_))) {
            self.connection = Some(connection);
        }
        outcome
    }
}
