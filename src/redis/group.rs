//! The consumer group of a parallel destination, by one consumer: this node. The group is named by the destination's id, so
//! that renaming does not lose it.
//!
//! Reads go over a connection of their own, which is dropped with a read that fails or is given up: an abandoned read may
//! still be handed entries, so whoever reads next asks for its own pending ones first. All of it works in a full Redis:
//! XREADGROUP makes the consumer itself, where XGROUP CREATECONSUMER would be refused. In a cluster each stream is read by
//! a command of its own, in turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use redis::{Cmd, RedisError, Value, cmd};
use tidegate_actors::{
    message::StreamId,
    ports::{Acknowledge, Claimed, GroupReader, LogError},
    transaction::LaneId,
};

use super::{
    Keys, Link, Redis,
    connection::connect,
    dead, odd, random_token,
    reader::turn_of,
    scripts,
    server::{Connection, Server},
    stream::entry::{parse, size_bytes, text},
    unavailable,
};

/// Longest wait in one blocking read.
const MAX_BLOCK: Duration = Duration::from_secs(5);
/// How much longer than its wait a read may take before its connection is given up.
const GRACE: Duration = Duration::from_secs(5);
/// No more is read into one batch once it has this many bytes.
const BATCH_BYTES: usize = 8 << 20;
/// Entries in the first read.
const FIRST_COUNT: usize = 16;
/// Most entries in one answer: with records of the largest size (1 MiB), what may be in memory beyond [`BATCH_BYTES`].
const MAX_COUNT: usize = 256;

/// [`GroupReader`] over Redis.
pub struct RedisGroup {
    server: Server,
    keys: Keys,
    link: Link,
    group: Arc<str>,
    consumer: Arc<str>,
    connection: Option<Connection>,
    /// Entries to ask for: grows while they are small.
    count: usize,
    /// Which of the commands that read all streams is next, where it takes several.
    turn: usize,
}

/// New entries of several streams, as they come in.
#[derive(Default)]
struct Fresh {
    lanes: Vec<(LaneId, Claimed)>,
    entries: usize,
    bytes: usize,
}

impl Fresh {
    fn add(&mut self, lane: &LaneId, claimed: Claimed) {
        self.entries += claimed.entries.len();
        self.bytes += claimed.entries.iter().map(size_bytes).sum::<usize>();
        match self.lanes.iter_mut().find(|(known, _)| known == lane) {
            Some((_, known)) => {
                known.entries.extend(claimed.entries);
                known.gone.extend(claimed.gone);
                known.next = claimed.next;
            }
            None => self.lanes.push((lane.clone(), claimed)),
        }
    }

    fn is_enough(&self, most: usize) -> bool {
        self.entries >= most || self.bytes >= BATCH_BYTES
    }
}

impl RedisGroup {
    /// The group of the destination with this id, for the node of this name. Connects on the first call.
    #[must_use]
    pub fn new(redis: &Redis, destination_id: &str, node: &str) -> Self {
        Self {
            server: redis.server().clone(),
            keys: redis.keys().clone(),
            link: redis.own_link(),
            group: destination_id.into(),
            consumer: node.into(),
            connection: None,
            count: FIRST_COUNT,
            turn: 0,
        }
    }

    /// One read over the own connection.
    async fn ask(&mut self, command: &Cmd) -> Result<Value, LogError> {
        // Taken out while in use: when this future is dropped or fails, the connection goes with it and no late answer can
        // meet the next question.
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.server, MAX_BLOCK + GRACE).await.map_err(|error| unavailable(&error))?,
        };
        let answer: Value = command.query_async(&mut connection).await.map_err(|error| refused(&error))?;
        self.connection = Some(connection);
        Ok(answer)
    }

    fn read(&self, count: usize) -> Cmd {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(&*self.group).arg(&*self.consumer).arg("COUNT").arg(count);
        command
    }

    /// One command for new entries of lanes whose streams may be named together; whether there may be more.
    async fn ask_fresh(
        &mut self,
        lanes: &[LaneId],
        most: usize,
        wait: Option<Duration>,
        fresh: &mut Fresh,
    ) -> Result<bool, LogError> {
        let names: Vec<String> = lanes.iter().map(|lane| self.keys.of(&lane.stream).stream()).collect();
        let asked = self.count.min(most.saturating_sub(fresh.entries)).max(1);
        let mut command = self.read(asked);
        if let Some(wait) = wait {
            command.arg("BLOCK").arg(wait.as_millis().max(1) as u64);
        }
        command.arg("STREAMS").arg(&names).arg(vec![">"; names.len()]);
        let answer = self.ask(&command).await?;
        let mut full = false;
        for (name, claimed) in by_stream(answer)? {
            let Some(lane) = names.iter().position(|known| *known == name).map(|at| &lanes[at]) else { continue };
            full |= claimed.entries.len() >= asked;
            self.adapt(&claimed, asked);
            fresh.add(lane, claimed);
        }
        Ok(full)
    }

    /// How many entries the next answer may have, once this one is known.
    fn adapt(&mut self, claimed: &Claimed, asked: usize) {
        let bytes: usize = claimed.entries.iter().map(size_bytes).sum();
        let Some(size) = bytes.checked_div(claimed.entries.len()) else { return };
        let room = BATCH_BYTES / size.max(1);
        let more = if claimed.entries.len() == asked { self.count * 2 } else { self.count };
        self.count = more.min(room).clamp(1, MAX_COUNT);
    }
}

/// What a refused read means: a group that is gone is made again.
fn refused(error: &RedisError) -> LogError {
    if error.code() == Some("NOGROUP") { LogError::NoGroup } else { unavailable(error) }
}

/// Entries of an answer. One without fields is no longer in the stream.
fn claimed(entries: Vec<Value>) -> Result<Claimed, LogError> {
    let mut claimed = Claimed::default();
    for entry in entries {
        let Value::Array(parts) = &entry else { return Err(odd("an entry")) };
        if let [id, Value::Nil] = parts.as_slice() {
            let id = text(id).and_then(|id| id.parse().ok()).ok_or_else(|| odd("an entry"))?;
            claimed.gone.push(id);
            claimed.next = id;
            continue;
        }
        let entry = parse(entry).ok_or_else(|| odd("an entry"))?;
        claimed.next = entry.id();
        claimed.entries.push(entry);
    }
    Ok(claimed)
}

/// Reads `[[stream, [entry, …]], …]`, or nil.
fn by_stream(answer: Value) -> Result<Vec<(String, Claimed)>, LogError> {
    let Value::Array(streams) = answer else { return Ok(Vec::new()) };
    let mut found = Vec::with_capacity(streams.len());
    for stream in streams {
        let Value::Array(mut parts) = stream else { return Err(odd("XREADGROUP")) };
        let Some(Value::Array(entries)) = parts.pop() else { return Err(odd("XREADGROUP")) };
        let name = parts.first().and_then(text).ok_or_else(|| odd("XREADGROUP"))?.to_owned();
        found.push((name, claimed(entries)?));
    }
    Ok(found)
}

#[async_trait(?Send)]
impl GroupReader for RedisGroup {
    async fn open(&mut self, lane: &LaneId, version: u64) -> Result<bool, LogError> {
        let keys = self.keys.of(&lane.stream);
        let token = random_token();
        let made: u8 = self
            .link
            .run(async |mut connection| {
                let mut call = scripts::GROUP.key(keys.stream());
                call.key(keys.meta()).key(keys.lanes()).arg(&token).arg(&*self.group).arg(version);
                call.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        if made == 2 { Err(LogError::NewVersion) } else { Ok(made == 1) }
    }

    async fn own(&mut self, lane: &LaneId, after: StreamId, most: usize) -> Result<Claimed, LogError> {
        let asked = self.count.min(most).max(1);
        let mut command = self.read(asked);
        command.arg("STREAMS").arg(self.keys.of(&lane.stream).stream()).arg(after.to_string());
        let answer = self.ask(&command).await?;
        let claimed = by_stream(answer)?.pop().map(|(_, claimed)| claimed).unwrap_or_default();
        self.adapt(&claimed, asked);
        Ok(claimed)
    }

    async fn left(
        &mut self,
        lane: &LaneId,
        cursor: StreamId,
        idle: Duration,
        most: usize,
    ) -> Result<Claimed, LogError> {
        let asked = self.count.min(most).max(1);
        let mut command = cmd("XAUTOCLAIM");
        command.arg(self.keys.of(&lane.stream).stream()).arg(&*self.group).arg(&*self.consumer);
        command.arg(idle.as_millis() as u64).arg(cursor.to_string()).arg("COUNT").arg(asked);
        let Value::Array(parts) = self.ask(&command).await? else { return Err(odd("XAUTOCLAIM")) };
        let mut parts = parts.into_iter();
        let next = parts.next().as_ref().and_then(text).and_then(|id| id.parse().ok());
        let Some(Value::Array(entries)) = parts.next() else { return Err(odd("XAUTOCLAIM")) };
        let mut claimed = claimed(entries)?;
        self.adapt(&claimed, asked);
        claimed.next = next.ok_or_else(|| odd("XAUTOCLAIM"))?;
        if let Some(Value::Array(gone)) = parts.next() {
            claimed.gone.extend(gone.iter().filter_map(|id| text(id)?.parse::<StreamId>().ok()));
        }
        Ok(claimed)
    }

    async fn fresh(
        &mut self,
        lanes: &[LaneId],
        most: usize,
        block: Duration,
    ) -> Result<Vec<(LaneId, Claimed)>, LogError> {
        // Streams of several applications lie in different slots of a cluster, which one command can't name together.
        let together = if self.server.is_cluster() { 1 } else { lanes.len().max(1) };
        let commands: Vec<&[LaneId]> = lanes.chunks(together).collect();
        let block = block.min(MAX_BLOCK);
        let until = Instant::now() + block;
        // Several commands: a look at each of them first, then a short wait at each in turn.
        let mut wait = (commands.len() == 1).then_some(block);
        let mut fresh = Fresh::default();
        loop {
            let mut full = false;
            for _ in 0..commands.len() {
                let lanes = commands[self.turn % commands.len()];
                self.turn = (self.turn + 1) % commands.len();
                let wait = wait.filter(|_| fresh.lanes.is_empty());
                full |= self.ask_fresh(lanes, most, wait, &mut fresh).await?;
                if fresh.is_enough(most) {
                    return Ok(fresh.lanes);
                }
            }
            if !full && (commands.len() <= 1 || !fresh.lanes.is_empty() || Instant::now() >= until) {
                return Ok(fresh.lanes);
            }
            wait = Some(turn_of(commands.len()));
        }
    }

    async fn acknowledge(&mut self, lane: &LaneId, done: &Acknowledge) -> Result<(), LogError> {
        let keys = self.keys.of(&lane.stream);
        let answer: String = self
            .link
            .run(async |mut connection| {
                let mut call = scripts::ACKNOWLEDGE.key(keys.stream());
                call.key(keys.meta()).key(keys.dead(&lane.destination)).key(keys.dead_lines(&lane.destination));
                call.arg(&*self.group).arg(done.version).arg(&*done.generation.0);
                call.arg(done.ids.len()).arg(done.routes.len()).arg(done.standing.len());
                for id in &done.ids {
                    call.arg(id.to_string());
                }
                call.arg(&done.routes);
                for letter in done.standing.iter().chain(&done.void) {
                    call.arg(dead::field(letter));
                }
                call.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        match answer.as_str() {
            "OK" => Ok(()),
            "NEW_VERSION" => Err(LogError::NewVersion),
            "NEW_GENERATION" => Err(LogError::NewGeneration),
            _ => Err(odd("acknowledge")),
        }
    }

    async fn forget_departed(&mut self, lane: &LaneId, idle: Duration) -> Result<u64, LogError> {
        let stream = self.keys.of(&lane.stream).stream();
        self.link
            .run(async |mut connection| {
                let mut call = scripts::DEPARTED.key(&stream);
                call.arg(&*self.group).arg(&*self.consumer).arg(idle.as_millis() as u64);
                call.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| refused(&error))
    }
}
