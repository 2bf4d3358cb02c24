//! What was just read of each stream, for the other destinations of this node that stand at the same place: so that a record is
//! fetched and taken apart once and not once for each.
//!
//! A piece is all that a stream held between two ids, kept with the generation in which its reader's own look, taken after it,
//! said that nothing of it was missing. Entries never change and ids only grow in one generation, so within it a piece stays
//! true; whether it may still be handed out is for a look of whoever hands it out (delivery rule 4). Readers run on threads of
//! their own: every section under the lock is a few comparisons, and nobody waits for another longer than [`PATIENCE`].

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tidegate_actors::{
    message::{Generation, StreamId},
    ports::Entry,
};
use tokio::sync::watch;

use crate::redis::stream::entry::size_bytes;

/// Longest wait for another reader that is fetching the same.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);
/// Most bytes of one stream's pieces, and of all.
const STREAM_BYTES: usize = 8 << 20;
const NODE_BYTES: usize = 32 << 20;
/// Fewer entries are cheaper to read again than to keep.
const FEWEST: usize = 16;
/// A reader that was not seen for this long stands still: nothing is kept for it. Longer than a blocking read.
const STANDS_STILL: Duration = Duration::from_secs(10);

/// All of a node's.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    shelves: Mutex<HashMap<Arc<str>, Arc<Shelf>>>,
    bytes: Arc<AtomicUsize>,
    readers: AtomicU64,
}

impl Pieces {
    /// A number for a reader.
    pub(super) fn reader(&self) -> u64 {
        self.readers.fetch_add(1, Ordering::Relaxed)
    }

    /// Those of one stream.
    pub(super) fn of(&self, stream: &Arc<str>) -> Arc<Shelf> {
        let mut shelves = lock(&self.shelves);
        let new = || Arc::new(Shelf { held: Mutex::default(), node_bytes: Arc::clone(&self.bytes) });
        Arc::clone(shelves.entry(Arc::clone(stream)).or_insert_with(new))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stretch of a stream.
#[derive(Clone, Debug)]
struct Piece {
    after: StreamId,
    last: StreamId,
    entries: Arc<[Entry]>,
    bytes: usize,
}

/// Where a reader will go on, and when that was last heard.
#[derive(Debug)]
struct Place {
    reader: u64,
    part: Arc<str>,
    at: StreamId,
    seen: Instant,
}

/// Somebody is fetching what comes after this.
#[derive(Debug)]
struct Mark {
    number: u64,
    generation: Generation,
    after: StreamId,
    began: Instant,
    /// Ends with it.
    over: watch::Receiver<()>,
}

#[derive(Debug, Default)]
struct Held {
    /// Of the pieces and the end.
    generation: Option<Generation>,
    /// The last that came in is the last here.
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// The last id that a server is known to have given.
    end: StreamId,
    places: Vec<Place>,
    marks: Vec<Mark>,
    numbers: u64,
}

impl Held {
    fn is_of(&self, generation: &Generation) -> bool {
        self.generation.as_ref() == Some(generation)
    }

    /// Lets go of what nobody will come by any more.
    fn tidy(&mut self, now: Instant, node_bytes: &AtomicUsize) {
        self.places.retain(|place| now.duration_since(place.seen) < STANDS_STILL);
        let places = &self.places;
        let wanted = |piece: &Piece| places.iter().any(|place| place.at < piece.last);
        let mut gone = 0;
        self.pieces.retain(|piece| {
            let wanted = wanted(piece);
            gone += if wanted { 0 } else { piece.bytes };
            wanted
        });
        self.bytes -= gone;
        node_bytes.fetch_sub(gone, Ordering::Relaxed);
    }

    fn let_go(&mut self, node_bytes: &AtomicUsize) {
        node_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        (self.pieces, self.bytes) = (VecDeque::new(), 0);
    }
}

/// One stream's.
#[derive(Debug)]
pub(super) struct Shelf {
    held: Mutex<Held>,
    node_bytes: Arc<AtomicUsize>,
}

/// What to do about entries that nobody has here.
pub(super) enum Begin {
    /// Fetch them; whoever comes meanwhile waits a little.
    Fetch(Fetching),
    /// Somebody is at it; this ends with it.
    Wait(watch::Receiver<()>),
}

impl Shelf {
    fn held(&self) -> MutexGuard<'_, Held> {
        lock(&self.held)
    }

    /// Where a reader will go on with this part of its lane.
    pub(super) fn stands(&self, reader: u64, part: &Arc<str>, at: StreamId) {
        let (held, seen) = (&mut *self.held(), Instant::now());
        match held.places.iter_mut().find(|place| place.reader == reader && place.part == *part) {
            Some(place) => (place.at, place.seen) = (at, seen),
            None => held.places.push(Place { reader, part: Arc::clone(part), at, seen }),
        }
        held.tidy(seen, &self.node_bytes);
    }

    /// It reads no more.
    pub(super) fn leaves(&self, reader: u64) {
        let held = &mut *self.held();
        held.places.retain(|place| place.reader != reader);
        held.tidy(Instant::now(), &self.node_bytes);
    }

    /// Whether another reader will come by what lies after this.
    pub(super) fn is_shared(&self, reader: u64, after: StreamId) -> bool {
        self.held().places.iter().any(|place| place.reader != reader && place.at <= after)
    }

    /// Whether this is the end of the stream, as far as anybody here knows.
    pub(super) fn ends_at(&self, generation: &Generation, after: StreamId) -> bool {
        let held = self.held();
        held.is_of(generation) && after >= held.end
    }

    /// A look has said so.
    pub(super) fn looked(&self, generation: &Generation, end: StreamId) {
        let held = &mut *self.held();
        if !held.is_of(generation) {
            held.let_go(&self.node_bytes);
            held.generation = Some(generation.clone());
            held.end = end;
        }
        held.end = held.end.max(end);
    }

    /// What lies after this, as far as it is here without a gap: the rest of a piece.
    pub(super) fn after(&self, generation: &Generation, after: StreamId) -> Option<Stretch> {
        let held = self.held();
        if !held.is_of(generation) {
            return None;
        }
        let found = held.pieces.iter().filter(|piece| piece.after <= after && after < piece.last);
        let piece = found.max_by_key(|piece| piece.last)?.clone();
        drop(held);
        let from = piece.entries.partition_point(|entry| entry.id() <= after);
        Some(Stretch { entries: piece.entries, from })
    }

    /// Puts a piece here that a look was taken after, in the generation that it saw.
    pub(super) fn put(&self, reader: u64, generation: &Generation, after: StreamId, entries: &[Entry], bytes: usize) {
        let Some(last) = entries.last().map(Entry::id) else { return };
        if entries.len() < FEWEST || bytes > STREAM_BYTES {
            return;
        }
        {
            let held = self.held();
            let known = held.pieces.iter().any(|piece| piece.after <= after && last <= piece.last);
            let wanted = held.places.iter().any(|place| place.reader != reader && place.at < last);
            if !held.is_of(generation) || known || !wanted {
                return;
            }
        }
        // Outside of the lock, since it takes a while.
        let piece = Piece { after, last, entries: entries.into(), bytes };
        let held = &mut *self.held();
        if !held.is_of(generation) {
            return;
        }
        held.pieces.push_back(piece);
        held.bytes += bytes;
        let mut all = self.node_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        while held.bytes > STREAM_BYTES || all > NODE_BYTES {
            let Some(oldest) = held.pieces.pop_front() else { break };
            held.bytes -= oldest.bytes;
            all = self.node_bytes.fetch_sub(oldest.bytes, Ordering::Relaxed) - oldest.bytes;
        }
    }

    /// Forgets all pieces.
    pub(super) fn clear(&self) {
        let held = &mut *self.held();
        held.let_go(&self.node_bytes);
        (held.generation, held.end) = (None, StreamId::ZERO);
    }

    /// Who fetches what comes after this: the caller, or somebody who has just begun to.
    pub(super) fn begin(self: &Arc<Self>, generation: &Generation, after: StreamId) -> Begin {
        let (held, now) = (&mut *self.held(), Instant::now());
        let fresh = |mark: &&Mark| now.duration_since(mark.began) < PATIENCE;
        let same = |mark: &&Mark| mark.after == after && mark.generation == *generation;
        if let Some(mark) = held.marks.iter().filter(fresh).find(same) {
            return Begin::Wait(mark.over.clone());
        }
        let (over, waits) = watch::channel(());
        held.numbers += 1;
        let number = held.numbers;
        held.marks.push(Mark { number, generation: generation.clone(), after, began: now, over: waits });
        Begin::Fetch(Fetching { shelf: Arc::clone(self), number, _over: over })
    }
}

impl Drop for Shelf {
    fn drop(&mut self) {
        self.held().let_go(&self.node_bytes);
    }
}

/// While this lives, others wait for it; when it goes, in whatever way, they go on.
#[derive(Debug)]
pub(super) struct Fetching {
    shelf: Arc<Shelf>,
    number: u64,
    _over: watch::Sender<()>,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        self.shelf.held().marks.retain(|mark| mark.number != self.number);
    }
}

/// Part of a piece.
#[derive(Debug)]
pub(super) struct Stretch {
    entries: Arc<[Entry]>,
    from: usize,
}

impl Stretch {
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries[self.from..]
    }
}

/// What all of them take in memory.
pub(super) fn bytes_of(entries: &[Entry]) -> usize {
    entries.iter().map(size_bytes).sum()
}
