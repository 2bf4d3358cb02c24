//! Redis as the rules see it: one state machine that does in Rust what `src/redis/scripts/*.lua` do in the server.
//!
//! A value of [`Redis`] is one server's memory. A clone of an earlier moment is a replica that lags. Nothing waits in
//! here, and nothing fails: what becomes of a call is decided in [`crate::world`].

use std::collections::BTreeMap;

use tidegate_actors::{
    message::{Generation, Position, StreamId},
    ports::{Advance, Command, DeadLetter, GenerationStart, LaneView, LogError, ReadFrom, SidePosition},
    transaction::DeadId,
};

use crate::mistakes::Mistake;

/// One entry of a stream: its id, and the number of its record in the [`crate::ledger`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item {
    pub(crate) id: StreamId,
    pub(crate) record: usize,
}

/// A server's memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redis {
    /// `master_replid`: another one after every restart and failover.
    pub(crate) replid: u64,
    pub(crate) streams: Vec<Stream>,
}

/// All keys of one application.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) exists: bool,
    pub(crate) entries: Vec<Item>,
    pub(crate) last: StreamId,
    stored_replid: Option<u64>,
    pub(crate) generations: Vec<GenerationStart>,
    pub(crate) trimmed: StreamId,
    pub(crate) version: u64,
    /// By destination: the lowest of the main and the side rows, and of backfills that no owner knows of yet.
    pub(crate) lanes: BTreeMap<usize, Position>,
    sides: BTreeMap<usize, Vec<SidePosition>>,
    /// Routes that begin below the lane, and whether an owner knows of them.
    pub(crate) backfills: BTreeMap<String, bool>,
    /// Route id, where it begins, destination.
    pub(crate) starts: Vec<(String, Position, usize)>,
    bind: BTreeMap<usize, String>,
    /// Token, and when it runs out by the server's clock.
    pub(crate) lease: BTreeMap<usize, (String, u64)>,
    pub(crate) dead: BTreeMap<usize, BTreeMap<DeadId, DeadLetter>>,
    pub(crate) commands: BTreeMap<usize, Vec<Command>>,
}

/// What a read finds.
pub(crate) enum Look {
    Entries(Vec<Item>),
    NewGeneration,
    NewVersion,
    Gap(StreamId),
}

impl Stream {
    /// `ensure_generation`.
    pub(crate) fn ensure(&mut self, replid: u64, token: &str, mistake: Mistake) {
        if self.stored_replid == Some(replid) && !self.generations.is_empty() && self.exists {
            return;
        }
        if mistake == Mistake::NoGenerations {
            self.exists = true;
            self.stored_replid = Some(replid);
            if self.generations.is_empty() {
                self.generations = vec![GenerationStart { generation: Generation::new("only"), after: StreamId::ZERO }];
            }
            return;
        }
        let after = if self.exists {
            if self.last < self.trimmed {
                self.trimmed = StreamId::ZERO;
            }
            self.last
        } else {
            (self.exists, self.last, self.trimmed) = (true, StreamId::ZERO, StreamId::ZERO);
            self.generations.iter_mut().for_each(|known| known.after = StreamId::ZERO);
            StreamId::ZERO
        };
        self.generations.push(GenerationStart { generation: Generation::new(token), after });
        self.stored_replid = Some(replid);
    }

    pub(crate) fn newest(&self) -> Option<&Generation> {
        self.generations.last().map(|newest| &newest.generation)
    }

    fn rank(&self, generation: &Generation) -> usize {
        self.generations.iter().position(|known| known.generation == *generation).map_or(0, |place| place + 1)
    }

    /// `abandon.lua`: where nothing stands beside a lane, what is given up may be trimmed at once.
    pub(crate) fn raise(&mut self, destination: usize, to: Position) {
        let beside = self.sides.get(&destination).is_some_and(|sides| !sides.is_empty());
        let untaken = self.backfills.values().any(|known| !known);
        let Some(stands) = self.lanes.get(&destination).cloned().filter(|_| !beside && !untaken) else { return };
        if (self.rank(&stands.generation), stands.id) < (self.rank(&to.generation), to.id) {
            self.lanes.insert(destination, to);
        }
    }

    /// XADD.
    pub(crate) fn add(&mut self, clock_ms: u64, record: usize) -> StreamId {
        let id = if clock_ms > self.last.ms {
            StreamId::new(clock_ms, 0)
        } else {
            StreamId::new(self.last.ms, self.last.seq + 1)
        };
        self.last = id;
        self.entries.push(Item { id, record });
        id
    }

    pub(crate) fn has(&self, record: usize) -> bool {
        self.entries.binary_search_by_key(&record, |item| item.record).is_ok()
    }

    /// `lease.lua`.
    pub(crate) fn take_lease(&mut self, destination: usize, owner: &str, clock_ms: u64, ttl_ms: u64) -> bool {
        let held = self.lease.get(&destination).filter(|(_, until)| clock_ms < *until);
        if held.is_some_and(|(holder, _)| holder != owner) {
            return false;
        }
        self.lease.insert(destination, (owner.into(), clock_ms + ttl_ms));
        true
    }

    /// `release.lua`.
    pub(crate) fn give_back(&mut self, destination: usize, owner: &str) {
        if self.lease.get(&destination).is_some_and(|(holder, _)| holder == owner) {
            self.lease.remove(&destination);
        }
    }

    /// `view.lua`; the generation is made sure of before.
    pub(crate) fn view(&self, destination: usize, mistake: Mistake) -> LaneView {
        let mut generations = self.generations.clone();
        let position = self.lanes.get(&destination).cloned();
        if mistake == Mistake::TakeOverJumpsToTheNewest {
            generations.drain(..generations.len().saturating_sub(1));
        }
        if mistake == Mistake::StartAtNow && position.is_none() {
            generations.iter_mut().for_each(|known| known.after = self.last);
        }
        let starts = self.starts.iter().filter(|(_, _, of)| *of == destination);
        LaneView {
            generations,
            trimmed: if mistake == Mistake::NoGapCheck { StreamId::ZERO } else { self.trimmed },
            starts: starts.map(|(route, start, _)| (route.clone(), start.clone())).collect(),
            position,
            bind: self.bind.get(&destination).cloned(),
            backfills: self
                .backfills
                .keys()
                .filter(|route| self.starts.iter().any(|(id, _, of)| id == *route && *of == destination))
                .cloned()
                .collect(),
            sides: self.sides.get(&destination).cloned().unwrap_or_default(),
        }
    }

    /// HSETNX.
    pub(crate) fn bind(&mut self, destination: usize, token: &str) {
        self.bind.entry(destination).or_insert_with(|| token.into());
    }

    /// `advance.lua`.
    pub(crate) fn advance(
        &mut self,
        destination: usize,
        advance: &Advance,
        clock_ms: u64,
        mistake: Mistake,
    ) -> Result<(), LogError> {
        let unchecked = mistake == Mistake::AdvanceUnchecked;
        let lease = self.lease.get(&destination).filter(|(_, until)| clock_ms < *until);
        if !unchecked && lease.is_none_or(|(holder, _)| *holder != *advance.owner) {
            return Err(LogError::NotMine);
        }
        if !self.exists || (!unchecked && self.newest() != Some(&advance.newest)) {
            return Err(LogError::NewGeneration);
        }
        if self.version > advance.version {
            return Err(LogError::NewVersion);
        }
        let id = advance.to.id;
        let known = self.lanes.get(&destination) == Some(&advance.to)
            || id == self.trimmed
            || self.generations.iter().any(|known| known.after == id)
            || self.entries.iter().any(|item| item.id == id)
            || self.starts.iter().any(|(_, start, _)| *start == advance.to);
        if !known && !unchecked {
            return Err(LogError::NoSuchEntry(id));
        }
        for route in &advance.known {
            self.backfills.entry(route.to_string()).and_modify(|known| *known = true);
        }
        let mut lowest = advance.to.clone();
        let unknown = self.starts.iter().filter(|(route, _, of)| {
            *of == destination && self.backfills.get(route) == Some(&false) && mistake != Mistake::BackfillNotKept
        });
        let others = unknown.map(|(_, start, _)| start).chain(advance.sides.iter().map(|side| &side.at));
        for other in others.filter(|_| mistake != Mistake::PositionWithoutSides) {
            if (self.rank(&other.generation), other.id) < (self.rank(&lowest.generation), lowest.id) {
                lowest = other.clone();
            }
        }
        self.lanes.insert(destination, lowest);
        self.sides.insert(destination, advance.sides.clone());
        for dead in &advance.void {
            self.dead.entry(destination).or_default().remove(dead);
        }
        Ok(())
    }

    /// XREAD, then the look at generation and mark that gives its entries their worth.
    pub(crate) fn look(&self, from: &ReadFrom, most: usize, mistake: Mistake) -> Look {
        let ReadFrom { after, newest, version, until, .. } = from;
        let after = *after;
        if mistake != Mistake::ReadIgnoresGeneration && self.newest() != Some(newest) {
            return Look::NewGeneration;
        }
        if mistake != Mistake::ReadIgnoresVersion && self.version > *version {
            return Look::NewVersion;
        }
        if mistake != Mistake::NoGapCheck && self.trimmed > after {
            return Look::Gap(self.trimmed);
        }
        let beyond = mistake == Mistake::SideBeyondMain && !from.lane.is_main();
        let until = (*until).filter(|_| mistake != Mistake::UntilIgnored && !beyond);
        let wanted = |item: &&Item| item.id > after && until.is_none_or(|until| item.id <= until);
        Look::Entries(self.entries.iter().filter(wanted).take(most).copied().collect())
    }

    /// `trim.lua`, its first half: below which id everything may go, if anything.
    pub(crate) fn trim_limit(
        &self,
        replid: u64,
        registered: &[usize],
        version: u64,
        keep: usize,
        mistake: Mistake,
    ) -> Option<StreamId> {
        let newest = self.newest()?;
        if !self.exists || self.stored_replid != Some(replid) || self.version > version {
            return None;
        }
        let mut limit = StreamId::new(u64::MAX, 0);
        for destination in registered.iter().chain(self.lanes.keys()) {
            match self.lanes.get(destination) {
                Some(position) if position.generation == *newest => limit = limit.min(position.id),
                Some(position) if mistake == Mistake::PositionWithoutGeneration => limit = limit.min(position.id),
                None if mistake == Mistake::TrimIgnoresMissing => {}
                Some(_) if mistake == Mistake::TrimIgnoresMissing => {}
                _ => return None,
            }
        }
        // What the retention still wants.
        let kept = self.entries.len().checked_sub(keep).and_then(|place| self.entries.get(place));
        let surplus = self.entries.len() > keep;
        Some(limit.min(kept.filter(|_| surplus).map_or(if surplus { limit } else { StreamId::ZERO }, |item| item.id)))
    }

    /// `trim.lua`, its second half. Answers with the records that are gone.
    pub(crate) fn cut(&mut self, limit: StreamId, mistake: Mistake) -> Vec<usize> {
        let last = self.entries.iter().take_while(|item| item.id < limit).last().map(|item| item.id);
        let gone: Vec<usize> = self.entries.iter().take_while(|item| item.id < limit).map(|item| item.record).collect();
        let Some(last) = last else { return gone };
        self.entries.drain(..gone.len());
        self.trimmed = if mistake == Mistake::MarkAboveWhatWent { just_below(limit).min(self.last) } else { last };
        gone
    }

    /// `register.lua`, for a route that starts now.
    pub(crate) fn register(&mut self, route: &str, destination: usize) -> bool {
        if self.starts.iter().any(|(known, _, _)| known == route) {
            return true;
        }
        let id = self.last;
        let of = self.generations.iter().rev().find(|known| id >= known.after).or(self.generations.first());
        let Some(generation) = of.map(|known| known.generation.clone()) else { return false };
        let start = Position { generation, id };
        match self.lanes.get(&destination) {
            None => drop(self.lanes.insert(destination, start.clone())),
            Some(lane) => {
                let (mine, theirs) = (self.rank(&start.generation), self.rank(&lane.generation));
                if mine < theirs || (mine == theirs && id < lane.id) {
                    return false;
                }
            }
        }
        self.starts.push((route.into(), start, destination));
        true
    }

    /// The generation that an id belongs to.
    pub(crate) fn position_of(&self, id: StreamId) -> Option<Position> {
        let of = self.generations.iter().rev().find(|known| id >= known.after).or(self.generations.first())?;
        Some(Position { generation: of.generation.clone(), id })
    }

    /// `register.lua`, for a route that starts at an entry that is there, or at the earliest.
    pub(crate) fn register_below(&mut self, route: &str, destination: usize, id: StreamId) -> bool {
        let Some(start) = self.position_of(id) else { return false };
        if self.starts.iter().any(|(known, _, _)| known == route) {
            return true;
        }
        let lowest = self.lanes.get(&destination).cloned();
        let lower = |lane: &Position| (self.rank(&start.generation), start.id) < (self.rank(&lane.generation), lane.id);
        if lowest.as_ref().is_none_or(lower) {
            self.lanes.insert(destination, start.clone());
        }
        self.starts.push((route.into(), start, destination));
        self.backfills.insert(route.into(), false);
        true
    }

    /// What was registered before this server was emptied: it begins where the stream does.
    pub(crate) fn register_again(&mut self, route: &str, destination: usize, now: bool) {
        if self.starts.iter().any(|(known, _, _)| known == route) {
            return;
        }
        if now {
            self.register(route, destination);
        } else if let Some(first) = self.generations.first() {
            let start = Position { generation: first.generation.clone(), id: first.after };
            self.lanes.entry(destination).or_insert_with(|| start.clone());
            self.starts.push((route.into(), start, destination));
        }
    }
}

fn just_below(id: StreamId) -> StreamId {
    match (id.ms, id.seq) {
        (0, 0) => StreamId::ZERO,
        (ms, 0) => StreamId::new(ms - 1, u64::MAX),
        (ms, seq) => StreamId::new(ms, seq - 1),
    }
}
