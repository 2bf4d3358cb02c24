//! Reads the log for one destination, over a connection of its own, together with the other destinations of the node that stand
//! at the same place.
//!
//! A read never moves anything in Redis, so a dropped or repeated one loses nothing. Entries are only handed out together
//! with a look, taken after all of them by who hands them out, at the stream's generation, trimmed mark and registry version.
//! The reader's memory is bounded: how many entries are asked for follows from the size of those that came before, and what
//! comes beyond a batch's bytes is passed over.

mod line;
mod pieces;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tidegate_actors::{
    message::StreamId,
    ports::{Batch, Entry, EntryReader, LogError, ReadFrom, ReadOutcome},
};
use tokio::time::timeout;

use self::{
    line::{Ask, Line, Standing},
    pieces::{Begin, PATIENCE, Shelf, bytes_of},
};
use super::{Keys, Redis, server::Server, stream::entry::size_bytes, unavailable};

pub(super) use self::pieces::Pieces;

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
/// Entries in the first read of a lane, and how fast they become more while they are small.
const FIRST_COUNT: usize = 16;
const GROWTH: usize = 8;
/// Most entries in one answer: where records of the usual size are suddenly followed by some of the largest (1 MiB), Redis holds
/// this many of them ready, once. Here only [`BATCH_BYTES`] are taken of them.
const MAX_COUNT: usize = 1000;

/// [`EntryReader`] over Redis.
pub struct RedisReader {
    server: Server,
    keys: Keys,
    line: Option<Line>,
    /// Which lane is asked first the next time.
    turn: usize,
    pieces: Arc<Pieces>,
    /// Who we are among those that share them.
    number: u64,
    streams: HashMap<Arc<str>, Stream>,
}

/// What a reader knows of one stream.
struct Stream {
    key: String,
    meta: String,
    shelf: Arc<Shelf>,
    /// Entries to ask for.
    count: usize,
}

/// How long to wait at one of several streams in a cluster before the next one has its turn.
pub(super) fn turn_of(streams: usize) -> Duration {
    (IN_TURN / u32::try_from(streams).unwrap_or(u32::MAX).max(1)).max(SHORTEST_TURN)
}

/// What has been gathered for a batch.
struct Gathered {
    entries: Vec<Entry>,
    bytes: usize,
    after: StreamId,
    until: Option<StreamId>,
    max_entries: usize,
}

impl Gathered {
    fn is_full(&self) -> bool {
        self.entries.len() >= self.max_entries || self.bytes >= BATCH_BYTES
    }

    /// Whether what may be read ends here, by its end.
    fn is_at_end(&self) -> bool {
        self.until.is_some_and(|until| self.after >= until)
    }

    /// How many of these belong to the batch.
    fn fitting(&self, entries: &[Entry]) -> usize {
        let mut bytes = self.bytes;
        let room = self.max_entries - self.entries.len();
        let fits = |entry: &&Entry| {
            let fits = bytes < BATCH_BYTES && self.until.is_none_or(|until| entry.id() <= until);
            bytes += size_bytes(entry);
            fits
        };
        entries.iter().take(room).take_while(fits).count()
    }

    fn add(&mut self, entries: impl Iterator<Item = Entry>, bytes: usize) {
        self.entries.extend(entries);
        self.bytes += bytes;
        self.after = self.entries.last().map_or(self.after, Entry::id);
    }
}

impl RedisReader {
    /// Connects on the first read.
    #[must_use]
    pub fn new(redis: &Redis) -> Self {
        Self {
            server: redis.server().clone(),
            keys: redis.keys().clone(),
            line: None,
            turn: 0,
            pieces: Arc::clone(&redis.pieces),
            number: redis.pieces.reader(),
            streams: HashMap::new(),
        }
    }

    async fn read_with(
        &mut self,
        line: &mut Line,
        lanes: &[ReadFrom],
        max_entries: usize,
        block: Duration,
    ) -> Result<ReadOutcome, LogError> {
        let block = block.min(MAX_BLOCK);
        if let [lane] = lanes
            && lane.until.is_none()
            && !block.is_zero()
        {
            let outcome = self.collect(line, lane, max_entries, Some(block)).await?;
            return Ok(outcome.unwrap_or(ReadOutcome::Idle));
        }
        for step in 0..lanes.len() {
            let place = (self.turn + step) % lanes.len();
            if let Some(outcome) = self.collect(line, &lanes[place], max_entries, None).await? {
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
        let (place, wait) = match waiting.len() {
            0 => {
                tokio::time::sleep(block).await;
                return Ok(ReadOutcome::Idle);
            }
            1 => (0, Some(block)),
            _ => match self.wait(line, &waiting, block).await? {
                Some(place) => (place, None),
                None => return Ok(ReadOutcome::Idle),
            },
        };
        let outcome = self.collect(line, waiting[place], max_entries, wait).await?;
        self.turn = lanes.iter().position(|lane| std::ptr::eq(lane, waiting[place])).map_or(0, |place| place + 1);
        Ok(outcome.unwrap_or(ReadOutcome::Idle))
    }

    fn stream(&mut self, name: &Arc<str>) -> &mut Stream {
        let (keys, pieces) = (&self.keys, &self.pieces);
        self.streams.entry(Arc::clone(name)).or_insert_with(|| {
            let keys = keys.of(name);
            Stream { key: keys.stream(), meta: keys.meta(), shelf: pieces.of(name), count: FIRST_COUNT }
        })
    }

    /// All there is of one lane, up to the limits; `None` where there is nothing, after a wait where one is given.
    ///
    /// What is gathered may come in several answers and from other readers' pieces; one look after the last of them is enough.
    /// It sees the generation that the caller knew before, and a list of generations never goes back: so every part was read in
    /// this generation. And a trimmed mark never goes back within a generation: where it is not above the place where the batch
    /// begins, it was not when any part was read.
    async fn collect(
        &mut self,
        line: &mut Line,
        from: &ReadFrom,
        max_entries: usize,
        block: Option<Duration>,
    ) -> Result<Option<ReadOutcome>, LogError> {
        let number = self.number;
        let stream = self.stream(&from.lane.stream);
        let (shelf, generation) = (Arc::clone(&stream.shelf), &from.newest);
        shelf.stands(number, &from.lane.part, from.after);
        let mut gathered =
            Gathered { entries: Vec::new(), bytes: 0, after: from.after, until: from.until, max_entries };
        let (mut looked, mut patience, mut nothing) = (false, PATIENCE, false);
        while !gathered.is_full() && !gathered.is_at_end() {
            if let Some(stretch) = shelf.after(generation, gathered.after) {
                let fitting = &stretch.entries()[..gathered.fitting(stretch.entries())];
                if !fitting.is_empty() {
                    gathered.add(fitting.iter().cloned(), bytes_of(fitting));
                    looked = false;
                    continue;
                }
            }
            let at_end = nothing || shelf.ends_at(generation, gathered.after);
            if at_end && !gathered.entries.is_empty() {
                break;
            }
            // At the end of the stream everybody waits for himself. Elsewhere one fetches, and the others wait a little for it.
            let fetching = if at_end {
                None
            } else {
                match shelf.begin(generation, gathered.after) {
                    Begin::Fetch(fetching) => Some(fetching),
                    Begin::Wait(mut over) if !patience.is_zero() => {
                        let began = Instant::now();
                        let _ = timeout(patience, over.changed()).await;
                        patience = patience.saturating_sub(began.elapsed());
                        continue;
                    }
                    Begin::Wait(_) => None,
                }
            };
            let room = max_entries - gathered.entries.len();
            let shared = shelf.is_shared(number, gathered.after);
            let count = if shared { stream.count } else { stream.count.min(room) };
            let told = line
                .ask(&Ask {
                    stream: &stream.key,
                    meta: &stream.meta,
                    after: gathered.after,
                    count,
                    enough_bytes: BATCH_BYTES,
                    block: block.filter(|_| at_end),
                })
                .await?;
            if let Some(outcome) = objection(&told.standing, from, &shelf) {
                return Ok(Some(outcome));
            }
            never_had(&told.standing, &gathered, &shelf)?;
            shelf.looked(generation, told.standing.end);
            looked = true;
            if let Some(mean) = told.bytes.checked_div(told.entries.len()) {
                // Slow start, then as many as fit.
                stream.count = (stream.count * GROWTH).min(BATCH_BYTES / mean.max(1)).clamp(1, MAX_COUNT);
                shelf.put(number, generation, gathered.after, &told.entries, told.bytes);
            }
            drop(fetching);
            if told.came == 0 {
                if nothing || block.is_none() || at_end || !gathered.entries.is_empty() {
                    break;
                }
                nothing = true;
                continue;
            }
            nothing = false;
            let fitting = gathered.fitting(&told.entries);
            let all = fitting == told.entries.len();
            let bytes = if all { told.bytes } else { bytes_of(&told.entries[..fitting]) };
            gathered.add(told.entries.into_iter().take(fitting), bytes);
            if !all || told.came < count {
                break;
            }
        }
        if gathered.entries.is_empty() {
            return Ok(None);
        }
        if !looked {
            let (stream, meta, after) = (&*stream.key, &*stream.meta, gathered.after);
            let ask = Ask { stream, meta, after, count: 0, enough_bytes: 0, block: None };
            let standing = line.ask(&ask).await?.standing;
            if let Some(outcome) = objection(&standing, from, &shelf) {
                return Ok(Some(outcome));
            }
            never_had(&standing, &gathered, &shelf)?;
            shelf.looked(generation, standing.end);
        }
        shelf.stands(number, &from.lane.part, gathered.after);
        Ok(Some(ReadOutcome::Batch(Batch { lane: from.lane.clone(), after: from.after, entries: gathered.entries })))
    }

    /// Waits until one of the streams has something; which one it was. The entry itself is read again, with its check.
    async fn wait(&self, line: &mut Line, lanes: &[&ReadFrom], block: Duration) -> Result<Option<usize>, LogError> {
        let streams: Vec<String> = lanes.iter().map(|lane| self.keys.of(&lane.lane.stream).stream()).collect();
        let ids: Vec<String> = lanes.iter().map(|lane| lane.after.to_string()).collect();
        if !self.server.is_cluster() {
            return line.wait(&streams, &ids, block).await;
        }
        // Streams of several applications lie in different slots, which one command can't name together: each gets a
        // short wait in turn.
        let until = Instant::now() + block;
        let turn = turn_of(lanes.len());
        while Instant::now() < until {
            for place in 0..lanes.len() {
                if line.wait(&streams[place..=place], &ids[place..=place], turn).await?.is_some() {
                    return Ok(Some(place));
                }
            }
        }
        Ok(None)
    }
}

impl Drop for RedisReader {
    fn drop(&mut self) {
        for stream in self.streams.values() {
            stream.shelf.leaves(self.number);
        }
    }
}

/// Why what was read must not be handed out.
fn objection(standing: &Standing, from: &ReadFrom, shelf: &Shelf) -> Option<ReadOutcome> {
    if standing.generations.last().is_none_or(|newest| newest.generation != from.newest) {
        shelf.clear();
        return Some(ReadOutcome::NewGeneration(from.lane.clone()));
    }
    if standing.version > from.version {
        return Some(ReadOutcome::NewVersion(from.lane.clone()));
    }
    let (lane, after, trimmed) = (from.lane.clone(), from.after, standing.trimmed);
    (trimmed > after).then_some(ReadOutcome::Gap { lane, after, trimmed })
}

/// A server that gave no such ids never had what was gathered before it was asked: others read it from the one before.
fn never_had(standing: &Standing, gathered: &Gathered, shelf: &Shelf) -> Result<(), LogError> {
    if gathered.entries.is_empty() || gathered.after <= standing.end {
        return Ok(());
    }
    shelf.clear();
    Err(LogError::Unavailable("Redis does not have what it had a moment ago: is a failover under way?".into()))
}

#[async_trait(?Send)]
impl EntryReader for RedisReader {
    async fn read(&mut self, lanes: &[ReadFrom], max_entries: usize, block: Duration) -> Result<ReadOutcome, LogError> {
        // Taken out while in use: when this future is dropped or fails, the connection goes with it and no late answer can
        // meet the next question.
        let mut line = match self.line.take() {
            Some(line) => line,
            None => Line::open(&self.server).await.map_err(|error| unavailable(&error))?,
        };
        let outcome = self.read_with(&mut line, lanes, max_entries.max(1), block).await;
        // A new generation may mean another master: this connection may lead to the one of before.
        if !matches!(outcome, Err(_) | Ok(ReadOutcome::NewGeneration(_))) {
            self.line = Some(line);
        }
        outcome
    }
}
