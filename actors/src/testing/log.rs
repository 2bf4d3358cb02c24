//! The log's two ports over [`MemoryStreams`]: [`EventLog`] with the refusals of its one script, and [`EntryReader`] with
//! its generation and gap checks.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    MemoryStreams,
    streams::{LogCall, State},
};
use crate::{
    lane::lies_before,
    message::{Position, StreamId},
    ports::{
        Abandoned, Advance, Backlog, Batch, BatchRecord, Command, DeadLetter, EntryReader, EventLog, LaneView,
        LogError, PlanRecord, ReadFrom, ReadOutcome,
    },
    transaction::{DeadId, LaneId},
};

/// At most so many commands are handed out at a time.
const COMMANDS: usize = 100;

/// The log as the owner of a destination sees it.
#[derive(Debug)]
pub struct MemoryLog {
    streams: MemoryStreams,
}

impl MemoryLog {
    pub(super) fn new(streams: MemoryStreams) -> Self {
        Self { streams }
    }

    async fn call<T>(
        &self,
        call: LogCall,
        work: impl FnOnce(&mut State) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.streams.service.call(call, work).await
    }
}

#[async_trait(?Send)]
impl EventLog for MemoryLog {
    async fn lease(&mut self, lanes: &[LaneId], owner: &str, ttl: Duration) -> Result<bool, LogError> {
        let work = |state: &mut State| {
            let now_ms = state.now_ms;
            let until_ms = now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            let free = |lane: &LaneId| {
                let lease = state.lanes.get(&lane.into()).and_then(|lane| lane.lease.as_ref());
                lease.is_none_or(|(other, until_ms)| other == owner || now_ms >= *until_ms)
            };
            if !lanes.iter().all(free) {
                return Ok(false);
            }
            for lane in lanes {
                state.lane(lane).lease = Some((owner.into(), until_ms));
            }
            Ok(true)
        };
        self.call(LogCall::Lease, work).await
    }

    async fn renew(&mut self, lanes: &[LaneId], owner: &str, ttl: Duration) -> Result<bool, LogError> {
        let work = |state: &mut State| {
            let now_ms = state.now_ms;
            let until_ms = now_ms.saturating_add(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            for lane in lanes {
                let lease = &mut state.lane(lane).lease;
                match lease {
                    Some((holder, until)) if holder == owner && now_ms < *until => *until = until_ms,
                    _ => return Ok(false),
                }
            }
            Ok(true)
        };
        self.call(LogCall::Renew, work).await
    }

    async fn release(&mut self, lanes: &[LaneId], owner: &str) -> Result<(), LogError> {
        let work = |state: &mut State| {
            for lane in lanes {
                let lease = &mut state.lane(lane).lease;
                lease.take_if(|(other, _)| other == owner);
            }
            Ok(())
        };
        self.call(LogCall::Release, work).await
    }

    async fn view(&mut self, lane: &LaneId) -> Result<LaneView, LogError> {
        let work = |state: &mut State| {
            let stream = state.stream(&lane.stream);
            let (generations, trimmed) = (stream.generations.clone(), stream.trimmed);
            let lane = state.lane(lane);
            let (starts, position, bind) = (lane.starts.clone(), lane.position.clone(), lane.bind.clone());
            let backfills = lane.backfills.iter().map(|(route, _)| route.clone()).collect();
            Ok(LaneView { generations, trimmed, starts, position, bind, backfills, sides: lane.sides.clone() })
        };
        self.call(LogCall::View, work).await
    }

    async fn bind(&mut self, lane: &LaneId, token: &str) -> Result<(), LogError> {
        let work = |state: &mut State| {
            state.lane(lane).bind.get_or_insert_with(|| token.into());
            Ok(())
        };
        self.call(LogCall::Bind, work).await
    }

    async fn rebind(&mut self, lane: &LaneId, owner: &str, token: &str) -> Result<(), LogError> {
        let work = |state: &mut State| {
            let now_ms = state.now_ms;
            let lane = state.lane(lane);
            if !lane.lease.as_ref().is_some_and(|(other, until_ms)| other == owner && now_ms < *until_ms) {
                return Err(LogError::NotMine);
            }
            lane.bind = Some(token.into());
            Ok(())
        };
        self.call(LogCall::Rebind, work).await
    }

    async fn advance(&mut self, advance: &Advance) -> Result<(), LogError> {
        self.call(LogCall::Advance, |state| state.advance(advance)).await
    }

    async fn backlog(&mut self, lane: &LaneId, after: StreamId) -> Result<Backlog, LogError> {
        let work = |state: &mut State| {
            let mut waiting = state.stream(&lane.stream).entries.range(above(after)).map(|(id, _)| *id);
            let oldest_ms = waiting.next().map(|id| id.ms);
            Ok(Backlog { messages: waiting.count() as u64 + u64::from(oldest_ms.is_some()), oldest_ms })
        };
        self.call(LogCall::Backlog, work).await
    }

    async fn keep_dead(&mut self, lane: &LaneId, letters: &[DeadLetter]) -> Result<(), LogError> {
        let work = |state: &mut State| {
            let letters = letters.iter().map(|letter| (letter.dead.clone(), letter.clone()));
            state.lane(lane).dead.extend(letters);
            Ok(())
        };
        self.call(LogCall::KeepDead, work).await
    }

    async fn dead(&mut self, lane: &LaneId, dead: &DeadId) -> Result<Option<DeadLetter>, LogError> {
        self.call(LogCall::Dead, |state| Ok(state.lane(lane).dead.get(dead).cloned())).await
    }

    async fn dead_ids(&mut self, lane: &LaneId) -> Result<Vec<DeadId>, LogError> {
        self.call(LogCall::Dead, |state| Ok(state.lane(lane).dead.keys().cloned().collect())).await
    }

    async fn keep_abandoned(&mut self, lane: &LaneId, abandoned: &Abandoned) -> Result<(), LogError> {
        let work = |state: &mut State| {
            state.lane(lane).abandoned.insert(abandoned.field(), abandoned.clone());
            Ok(())
        };
        self.call(LogCall::KeepAbandoned, work).await
    }

    async fn keep_plan(&mut self, lane: &LaneId, digest: &str, plan: &PlanRecord) -> Result<(), LogError> {
        let work = |state: &mut State| {
            state.lane(lane).plans.insert(digest.into(), plan.clone());
            Ok(())
        };
        self.call(LogCall::KeepPlan, work).await
    }

    async fn commands(&mut self, lane: &LaneId) -> Result<Vec<Command>, LogError> {
        let work = |state: &mut State| Ok(state.lane(lane).commands.iter().take(COMMANDS).cloned().collect());
        self.call(LogCall::Commands, work).await
    }

    async fn finish(&mut self, lane: &LaneId, command: &Command) -> Result<(), LogError> {
        let work = |state: &mut State| {
            let commands = &mut state.lane(lane).commands;
            if let Some(place) = commands.iter().position(|other| other == command) {
                commands.remove(place);
            }
            Ok(())
        };
        self.call(LogCall::Finish, work).await
    }
}

/// The ids above this one.
fn above(id: StreamId) -> (std::ops::Bound<StreamId>, std::ops::Bound<StreamId>) {
    (std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded)
}

impl State {
    /// Claim and advance: refused as a whole, or done as a whole.
    fn advance(&mut self, advance: &Advance) -> Result<(), LogError> {
        let now_ms = self.now_ms;
        let lease = self.lane(&advance.lane).lease.as_ref();
        if !lease.is_some_and(|(owner, until_ms)| **owner == *advance.owner && now_ms < *until_ms) {
            return Err(LogError::NotMine);
        }
        let stream = self.stream(&advance.lane.stream);
        if *stream.newest() != advance.newest {
            return Err(LogError::NewGeneration);
        }
        if stream.version > advance.version {
            return Err(LogError::NewVersion);
        }
        // Places that are known need not be entries (any more): the trimmed mark, the stream's last id, where a generation or a route begins,
        // and where the lane stands already.
        let id = advance.to.id;
        let in_stream = id == stream.trimmed
            || id == stream.last_id
            || stream.entries.contains_key(&id)
            || stream.generations.iter().any(|start| start.after == id);
        let order = self.order(&advance.lane.stream);
        let lane = self.lane(&advance.lane);
        let stands = lane.position.as_ref() == Some(&advance.to);
        if !in_stream && !stands && !lane.starts.iter().any(|(_, start)| *start == advance.to) {
            return Err(LogError::NoSuchEntry(id));
        }
        let knows = |route: &str| advance.known.iter().any(|known| **known == *route);
        lane.backfills.iter_mut().for_each(|(route, known)| *known |= knows(route));
        let unknown = |(route, _): &&(String, Position)| lane.backfills.contains(&(route.clone(), false));
        let waiting = lane.starts.iter().filter(unknown).map(|(_, start)| start);
        let all = waiting.chain(advance.sides.iter().map(|side| &side.at)).chain([&advance.to]).cloned();
        lane.position = all.reduce(|low, other| if lies_before(&order, &other, &low) { other } else { low });
        lane.sides = advance.sides.clone();
        if let Some(record) = &advance.history {
            // The same batch again, whose first answer was lost, or the past of a destination that was restored: the
            // record of the first time stays.
            let part = advance.part.to_string();
            let of_part = advance.sides.iter().find(|side| *side.part == *part);
            let generation = &of_part.map_or(&advance.to, |side| &side.at).generation;
            let later = |(of, other_part, other): &(_, String, BatchRecord)| {
                of == generation && *other_part == part && other.last >= record.last
            };
            if !lane.history.iter().any(later) {
                lane.history.push((generation.clone(), part, record.clone()));
            }
        }
        for dead in &advance.void {
            lane.dead.remove(dead);
        }
        Ok(())
    }

    /// What one look at the streams finds; [`ReadOutcome::Idle`] where there is nothing (yet).
    fn read(&mut self, lanes: &[ReadFrom], turn: usize, max_entries: usize) -> ReadOutcome {
        for from in lanes {
            let stream = self.stream(&from.lane.stream);
            if *stream.newest() != from.newest {
                return ReadOutcome::NewGeneration(from.lane.clone());
            }
            if stream.version > from.version {
                return ReadOutcome::NewVersion(from.lane.clone());
            }
            if stream.trimmed > from.after {
                let (lane, after, trimmed) = (from.lane.clone(), from.after, stream.trimmed);
                return ReadOutcome::Gap { lane, after, trimmed };
            }
        }
        for place in 0..lanes.len() {
            let from = &lanes[(turn + place) % lanes.len()];
            let entries = self.stream(&from.lane.stream).entries.range(above(from.after));
            let wanted = entries.take_while(|(id, _)| from.until.is_none_or(|until| **id <= until));
            let entries: Vec<_> = wanted.take(max_entries.max(1)).map(|(_, entry)| entry.clone()).collect();
            if !entries.is_empty() {
                return ReadOutcome::Batch(Batch { lane: from.lane.clone(), after: from.after, entries });
            }
        }
        ReadOutcome::Idle
    }
}

/// Reads [`MemoryStreams`] for one destination.
#[derive(Debug)]
pub struct MemoryReader {
    streams: MemoryStreams,
    /// Which lane is asked first, so that none is left out while another has plenty.
    turn: usize,
}

impl MemoryReader {
    pub(super) fn new(streams: MemoryStreams) -> Self {
        Self { streams, turn: 0 }
    }
}

#[async_trait(?Send)]
impl EntryReader for MemoryReader {
    async fn read(&mut self, lanes: &[ReadFrom], max_entries: usize, block: Duration) -> Result<ReadOutcome, LogError> {
        let turn = self.turn;
        let look = |state: &mut State| Ok(state.read(lanes, turn, max_entries));
        let service = &self.streams.service;
        let mut outcome = service.call(LogCall::Read, look).await?;
        let deadline = tokio::time::Instant::now() + block;
        // The rest of an older generation is there already or never will be.
        let exhausted = lanes.iter().any(|from| from.until.is_some_and(|until| from.after < until));
        while outcome == ReadOutcome::Idle && !exhausted {
            // Looked at beside all faults: only a call that finds something, or that the server ends, is one.
            let woken = service.until(|| {
                service.is_down() || service.peek(|state| state.read(lanes, turn, max_entries)) != ReadOutcome::Idle
            });
            if tokio::time::timeout_at(deadline, woken).await.is_err() {
                return Ok(ReadOutcome::Idle);
            }
            outcome = service.call(LogCall::Read, look).await?;
        }
        if let ReadOutcome::Batch(batch) = &outcome {
            let place = lanes.iter().position(|from| from.lane == batch.lane).unwrap_or_default();
            self.turn = (place + 1) % lanes.len();
        }
        Ok(outcome)
    }
}
