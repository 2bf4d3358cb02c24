//! The consumer group of a parallel destination over [`MemoryStreams`], with every rule of [`GroupReader`].

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use async_trait::async_trait;

use super::{
    MemoryStreams,
    streams::{LogCall, State},
};
use crate::{
    message::StreamId,
    ports::{Acknowledge, Claimed, GroupReader, LogError},
    transaction::{DeadId, LaneId},
};

/// A group: how far it was handed out, and what was not acknowledged: by whom it is held, and since when.
#[derive(Debug, Default)]
pub(super) struct Group {
    delivered: StreamId,
    pending: BTreeMap<StreamId, (String, u64)>,
}

impl Group {
    pub(super) fn pending(&self) -> Vec<StreamId> {
        self.pending.keys().copied().collect()
    }
}

/// One consumer of the groups in a [`MemoryStreams`].
#[derive(Debug)]
pub struct MemoryGroup {
    streams: MemoryStreams,
    consumer: String,
}

impl MemoryGroup {
    pub(super) fn new(streams: MemoryStreams, consumer: &str) -> Self {
        Self { streams, consumer: consumer.into() }
    }

    async fn call<T>(
        &self,
        call: LogCall,
        work: impl FnOnce(&mut State) -> Result<T, LogError>,
    ) -> Result<T, LogError> {
        self.streams.service.call(call, work).await
    }
}

impl State {
    fn group(&mut self, lane: &LaneId) -> Result<&mut Group, LogError> {
        self.lane(lane).group.as_mut().ok_or(LogError::NoGroup)
    }

    /// Hands entries out: those that are in the stream, and those that are not any more.
    fn claimed(&mut self, lane: &LaneId, ids: &[StreamId]) -> Claimed {
        let stream = self.stream(&lane.stream);
        let mut claimed = Claimed::default();
        for id in ids {
            match stream.entries.get(id) {
                Some(entry) => claimed.entries.push(entry.clone()),
                None => claimed.gone.push(*id),
            }
        }
        claimed
    }

    fn fresh(&mut self, lanes: &[LaneId], consumer: &str, most: usize) -> Result<Vec<(LaneId, Claimed)>, LogError> {
        let now_ms = self.now_ms;
        let mut all = Vec::new();
        for lane in lanes {
            let after = self.group(lane)?.delivered;
            let above = (Bound::Excluded(after), Bound::Unbounded);
            let ids: Vec<_> = self.stream(&lane.stream).entries.range(above).take(most).map(|(id, _)| *id).collect();
            let group = self.group(lane)?;
            group.delivered = ids.last().copied().unwrap_or(after);
            group.pending.extend(ids.iter().map(|id| (*id, (consumer.to_owned(), now_ms))));
            if let Some(last) = ids.last() {
                all.push((lane.clone(), Claimed { next: *last, ..self.claimed(lane, &ids) }));
            }
        }
        Ok(all)
    }

    fn has_fresh(&mut self, lanes: &[LaneId]) -> bool {
        lanes.iter().any(|lane| match self.group(lane).map(|group| group.delivered) {
            Ok(after) => self.stream(&lane.stream).entries.keys().next_back().is_some_and(|last| *last > after),
            // An error is an answer too.
            Err(_) => true,
        })
    }
}

#[async_trait(?Send)]
impl GroupReader for MemoryGroup {
    async fn open(&mut self, lane: &LaneId, version: u64) -> Result<bool, LogError> {
        let work = |state: &mut State| {
            if state.stream(&lane.stream).version > version {
                return Err(LogError::NewVersion);
            }
            let trimmed = state.stream(&lane.stream).trimmed;
            let lane = state.lane(lane);
            if lane.group.is_some() {
                return Ok(false);
            }
            let first = lane.starts.iter().map(|(_, start)| start.id).min();
            // Made before: it was lost since.
            let delivered = first.filter(|_| lane.position.is_none()).unwrap_or(trimmed);
            lane.position = lane.starts.first().map(|(_, start)| start.clone());
            lane.group = Some(Group { delivered, pending: BTreeMap::new() });
            Ok(true)
        };
        self.call(LogCall::Claim, work).await
    }

    async fn own(&mut self, lane: &LaneId, after: StreamId, most: usize) -> Result<Claimed, LogError> {
        let consumer = self.consumer.clone();
        let work = |state: &mut State| {
            let above = (Bound::Excluded(after), Bound::Unbounded);
            let mine = state.group(lane)?.pending.range(above).filter(|(_, (holder, _))| *holder == consumer);
            let ids: Vec<_> = mine.take(most).map(|(id, _)| *id).collect();
            Ok(Claimed { next: ids.last().copied().unwrap_or(after), ..state.claimed(lane, &ids) })
        };
        self.call(LogCall::Claim, work).await
    }

    async fn left(
        &mut self,
        lane: &LaneId,
        cursor: StreamId,
        idle: Duration,
        most: usize,
    ) -> Result<Claimed, LogError> {
        let consumer = self.consumer.clone();
        let work = |state: &mut State| {
            let now_ms = state.now_ms;
            let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
            let pending = &mut state.group(lane)?.pending;
            let mut looked: Vec<_> = pending.range_mut(cursor..).take(most + 1).collect();
            let next = if looked.len() > most { looked.pop().map(|(id, _)| *id) } else { None };
            let mut ids = Vec::new();
            for (id, (holder, since_ms)) in looked {
                if now_ms.saturating_sub(*since_ms) >= idle_ms {
                    (*holder, *since_ms) = (consumer.clone(), now_ms);
                    ids.push(*id);
                }
            }
            Ok(Claimed { next: next.unwrap_or(StreamId::ZERO), ..state.claimed(lane, &ids) })
        };
        self.call(LogCall::Claim, work).await
    }

    async fn fresh(
        &mut self,
        lanes: &[LaneId],
        most: usize,
        block: Duration,
    ) -> Result<Vec<(LaneId, Claimed)>, LogError> {
        let service = &self.streams.service;
        let woken = service.until(|| service.is_down() || service.peek(|state| state.has_fresh(lanes)));
        if tokio::time::timeout(block, woken).await.is_err() {
            return Ok(Vec::new());
        }
        let consumer = self.consumer.clone();
        self.call(LogCall::Claim, |state| state.fresh(lanes, &consumer, most)).await
    }

    async fn acknowledge(&mut self, lane: &LaneId, done: &Acknowledge) -> Result<(), LogError> {
        let work = |state: &mut State| {
            if state.stream(&lane.stream).version > done.version {
                return Err(LogError::NewVersion);
            }
            if let Some(first) = done.ids.first() {
                let known = &state.stream(&lane.stream).generations;
                let of = known.iter().rposition(|start| start.after < *first).unwrap_or(0);
                if known[of].generation != done.generation {
                    return Err(LogError::NewGeneration);
                }
            }
            let lane = state.lane(lane);
            if let Some(group) = &mut lane.group {
                done.ids.iter().for_each(|id| drop(group.pending.remove(id)));
            }
            for id in &done.ids {
                for route in &done.routes {
                    let dead = DeadId { generation: done.generation.clone(), id: *id, route: route.as_str().into() };
                    if !done.standing.contains(&dead) {
                        lane.dead.remove(&dead);
                    }
                }
            }
            done.void.iter().for_each(|dead| drop(lane.dead.remove(dead)));
            Ok(())
        };
        self.call(LogCall::Acknowledge, work).await
    }

    async fn forget_departed(&mut self, _: &LaneId, _: Duration) -> Result<u64, LogError> {
        // A consumer without pending entries leaves no trace here.
        Ok(0)
    }
}
