//! The event log in memory: streams with their generations, trimmed marks, leases, positions, dead payloads, history and
//! commands.
//!
//! [`MemoryStreams`] is the log as a test holds it in hand: it appends, trims, loses and looks. The owner of a
//! destination sees it through [`super::MemoryLog`] and [`super::MemoryReader`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use super::{Failure, MemoryLog, MemoryReader, service::Service};
use crate::{
    lane::lies_before,
    message::{Action, Generation, Message, MessageId, Position, StreamId},
    ports::{
        Abandoned, BatchRecord, Command, DeadLetter, Entry, GenerationStart, LogError, NewRecord, PlanRecord,
        SidePosition,
    },
    transaction::{DeadId, LaneId},
};

/// The calls of the log, to order faults for and to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogCall {
    /// [`crate::ports::EventLog::lease`].
    Lease,
    /// [`crate::ports::EventLog::renew`].
    Renew,
    /// [`crate::ports::EventLog::release`].
    Release,
    /// [`crate::ports::EventLog::view`].
    View,
    /// [`crate::ports::EventLog::bind`].
    Bind,
    /// [`crate::ports::EventLog::rebind`].
    Rebind,
    /// [`crate::ports::EventLog::advance`].
    Advance,
    /// [`crate::ports::EventLog::backlog`].
    Backlog,
    /// [`crate::ports::EventLog::keep_dead`].
    KeepDead,
    /// [`crate::ports::EventLog::keep_abandoned`].
    KeepAbandoned,
    /// [`crate::ports::EventLog::dead`] and [`crate::ports::EventLog::dead_ids`].
    Dead,
    /// [`crate::ports::EventLog::keep_plan`].
    KeepPlan,
    /// [`crate::ports::EventLog::commands`].
    Commands,
    /// [`crate::ports::EventLog::finish`].
    Finish,
    /// [`crate::ports::EntryReader::read`], counted once for each look at the streams.
    Read,
    /// Every call of [`crate::ports::GroupReader`] but the last but one; a fresh read counts once for each look.
    Claim,
    /// [`crate::ports::GroupReader::acknowledge`].
    Acknowledge,
}

/// The log in memory. Clones are the same log.
///
/// Its clock stands still until [`MemoryStreams::advance_clock`]: it makes the ids of entries and ends leases.
#[derive(Clone, Debug, Default)]
pub struct MemoryStreams {
    pub(super) service: Service<State, LogCall, LogError>,
}

/// Everything in the log.
#[derive(Debug)]
pub(super) struct State {
    pub(super) now_ms: u64,
    generations_made: u64,
    pub(super) streams: BTreeMap<String, Stream>,
    pub(super) lanes: HashMap<LaneKey, Lane>,
}

impl Default for State {
    fn default() -> Self {
        // Any moment does; this one makes ids that look like ids.
        Self { now_ms: 1_763_775_403_000, generations_made: 0, streams: BTreeMap::new(), lanes: HashMap::new() }
    }
}

/// One application's stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) generations: Vec<GenerationStart>,
    pub(super) entries: BTreeMap<StreamId, Entry>,
    pub(super) last_id: StreamId,
    pub(super) trimmed: StreamId,
    /// The registry's version of what concerns this stream.
    pub(super) version: u64,
}

impl Stream {
    pub(super) fn newest(&self) -> &Generation {
        // Made with one, and never without.
        #[allow(clippy::expect_used)]
        &self.generations.last().expect("a stream has a generation").generation
    }
}

/// What the main and side lanes of a destination on one stream have in common: installation, destination, stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LaneKey([String; 3]);

impl From<&LaneId> for LaneKey {
    fn from(lane: &LaneId) -> Self {
        Self([lane.installation.to_string(), lane.destination.to_string(), lane.stream.to_string()])
    }
}

/// What the log keeps of a destination on one stream.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// The consumer group of a parallel destination.
    pub(super) group: Option<super::group::Group>,
    /// The owner's token, and when it runs out by the log's clock.
    pub(super) lease: Option<(String, u64)>,
    /// The lowest of the main and the side rows, and of backfills that no owner knows of yet.
    pub(super) position: Option<Position>,
    pub(super) sides: Vec<SidePosition>,
    pub(super) starts: Vec<(String, Position)>,
    /// Routes that began below the lane; with `true` once an owner knows of them.
    pub(super) backfills: Vec<(String, bool)>,
    pub(super) bind: Option<String>,
    /// With the generation of the ids, and the lane's part.
    pub(super) history: Vec<(Generation, String, BatchRecord)>,
    pub(super) dead: BTreeMap<DeadId, DeadLetter>,
    pub(super) abandoned: BTreeMap<String, Abandoned>,
    pub(super) plans: BTreeMap<String, PlanRecord>,
    pub(super) commands: Vec<Command>,
}

impl State {
    /// The stream of this name; made with its first generation when it is first spoken of.
    pub(super) fn stream(&mut self, name: &str) -> &mut Stream {
        if !self.streams.contains_key(name) {
            let first = GenerationStart { generation: self.token(), after: StreamId::ZERO };
            let stream = Stream {
                generations: vec![first],
                entries: BTreeMap::new(),
                last_id: StreamId::ZERO,
                trimmed: StreamId::ZERO,
                version: 0,
            };
            self.streams.insert(name.into(), stream);
        }
        #[allow(clippy::expect_used)]
        self.streams.get_mut(name).expect("it was just put there")
    }

    pub(super) fn lane(&mut self, lane: &LaneId) -> &mut Lane {
        self.lanes.entry(lane.into()).or_default()
    }

    /// The generations of a stream, oldest first.
    pub(super) fn order(&mut self, stream: &str) -> Vec<Generation> {
        self.stream(stream).generations.iter().map(|known| known.generation.clone()).collect()
    }

    /// Ascending, so that a test's output reads in order.
    fn token(&mut self) -> Generation {
        self.generations_made += 1;
        Generation::new(&format!("gen{:07}", self.generations_made))
    }

    fn add(&mut self, stream: &str, entry: impl FnOnce(StreamId) -> Entry) -> MessageId {
        let now_ms = self.now_ms;
        let stream = self.stream(stream);
        let last = stream.last_id;
        let id = if now_ms > last.ms { StreamId::new(now_ms, 0) } else { StreamId::new(last.ms, last.seq + 1) };
        stream.last_id = id;
        stream.entries.insert(id, entry(id));
        MessageId(Position { generation: stream.newest().clone(), id })
    }
}

impl MemoryStreams {
    /// A log without streams.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The log as a destination's owner sees it.
    #[must_use]
    pub fn log(&self) -> MemoryLog {
        MemoryLog::new(self.clone())
    }

    /// A reader with a connection of its own.
    #[must_use]
    pub fn reader(&self) -> MemoryReader {
        MemoryReader::new(self.clone())
    }

    /// The consumer group of a parallel destination, as this consumer sees it.
    #[must_use]
    pub fn group(&self, consumer: &str) -> super::MemoryGroup {
        super::MemoryGroup::new(self.clone(), consumer)
    }

    /// What a parallel destination's consumers have in hand on this lane.
    #[must_use]
    pub fn pending(&self, lane: &LaneId) -> Vec<StreamId> {
        self.of_lane(lane, |lane| lane.group.as_ref().map(super::group::Group::pending).unwrap_or_default())
    }

    /// Takes the lane's consumer group away, as an operator's hand may.
    pub fn destroy_group(&self, lane: &LaneId) {
        self.service.with(|state| state.lane(lane).group = None);
    }

    /// Appends a record.
    pub fn append(&self, stream: &str, record: NewRecord) -> MessageId {
        let NewRecord { topic, action, key, own_id, traceparent, data } = record;
        let entry = |id| Entry::Message(Arc::new(Message { id, topic, action, key, own_id, traceparent, data }));
        self.service.with(|state| state.add(stream, entry))
    }

    /// Appends a record of this topic with this data and no key.
    pub fn append_json(&self, stream: &str, topic: &str, action: Action, data: &serde_json::Value) -> MessageId {
        let record = NewRecord {
            topic: topic.into(),
            action,
            key: None,
            own_id: None,
            traceparent: None,
            data: data.to_string().into(),
        };
        self.append(stream, record)
    }

    /// Appends something that nobody understands.
    pub fn append_unknown(&self, stream: &str, why: &str) -> MessageId {
        self.service.with(|state| state.add(stream, |id| Entry::Unknown { id, why: why.into() }))
    }

    /// The newest generation of a stream.
    #[must_use]
    pub fn generation(&self, stream: &str) -> Generation {
        self.service.peek(|state| state.stream(stream).newest().clone())
    }

    /// The server was restarted with all it had: a new generation that starts after the last entry.
    pub fn new_generation(&self, stream: &str) -> Generation {
        self.service.with(|state| {
            let generation = state.token();
            let stream = state.stream(stream);
            stream.generations.push(GenerationStart { generation: generation.clone(), after: stream.last_id });
            generation
        })
    }

    /// The server came back empty: entries, positions, leases, dead payloads, history, commands and bind tokens of this
    /// stream are gone, and its first generation is a new one. The registry, which is restored from elsewhere, keeps its
    /// version and the routes' starts are set anew by [`MemoryStreams::set_start`].
    pub fn lose(&self, stream: &str) -> Generation {
        self.service.with(|state| {
            let lost = state.streams.remove(stream);
            state.lanes.retain(|LaneKey([_, _, of]), _| of != stream);
            let fresh = state.stream(stream);
            fresh.version = lost.map_or(0, |lost| lost.version);
            fresh.newest().clone()
        })
    }

    /// Removes every entry below `keep_from`, which itself stays, and moves the trimmed mark. Nobody is asked: below the
    /// lowest position it is the janitor's work, above it a fault.
    pub fn trim(&self, stream: &str, keep_from: StreamId) {
        self.service.with(|state| {
            let stream = state.stream(stream);
            let kept = stream.entries.split_off(&keep_from);
            if let Some((last, _)) = stream.entries.last_key_value() {
                stream.trimmed = stream.trimmed.max(*last);
            }
            stream.entries = kept;
        });
    }

    /// The entries that are in the stream.
    #[must_use]
    pub fn entries(&self, stream: &str) -> Vec<Entry> {
        self.service
            .read(|state| state.streams.get(stream).map(|stream| stream.entries.values().cloned().collect()))
            .unwrap_or_default()
    }

    /// The registry changed what concerns this stream: owners that work by a lower version are refused.
    pub fn set_version(&self, stream: &str, version: u64) {
        self.service.with(|state| state.stream(stream).version = version);
    }

    /// Where a route begins.
    pub fn set_start(&self, lane: &LaneId, route: &str, start: Position) {
        self.service.with(|state| {
            let starts = &mut state.lane(lane).starts;
            starts.retain(|(other, _)| other != route);
            starts.push((route.into(), start));
        });
    }

    /// A route that begins below where the lane stands: it catches up beside it.
    pub fn set_backfill(&self, lane: &LaneId, route: &str, start: Position) {
        self.set_start(lane, route, start.clone());
        self.service.with(|state| {
            let order = state.order(&lane.stream);
            let lane = state.lane(lane);
            lane.backfills.push((route.into(), false));
            let lower = lane.position.as_ref().is_none_or(|position| lies_before(&order, &start, position));
            lane.position = if lower { Some(start) } else { lane.position.take() };
        });
    }

    /// Where the side rows stand, as last advanced.
    #[must_use]
    pub fn sides(&self, lane: &LaneId) -> Vec<SidePosition> {
        self.of_lane(lane, |lane| lane.sides.clone())
    }

    /// The position as last advanced: the lowest of the main and the side rows.
    #[must_use]
    pub fn position(&self, lane: &LaneId) -> Option<Position> {
        self.of_lane(lane, |lane| lane.position.clone())
    }

    /// Whose lease it is, whether it ran out or not.
    #[must_use]
    pub fn owner(&self, lane: &LaneId) -> Option<String> {
        self.of_lane(lane, |lane| lane.lease.as_ref().map(|(owner, _)| owner.clone()))
    }

    /// Takes the lease away, as if it had run out.
    pub fn end_lease(&self, lane: &LaneId) {
        self.service.with(|state| state.lane(lane).lease = None);
    }

    /// The batches that this part of the lane delivered, in order.
    #[must_use]
    pub fn history(&self, lane: &LaneId) -> Vec<BatchRecord> {
        let of_part =
            |(_, part, record): &(Generation, String, BatchRecord)| (**part == *lane.part).then(|| record.clone());
        self.of_lane(lane, |lane| lane.history.iter().filter_map(of_part).collect())
    }

    /// The payloads of dead letters that are kept.
    #[must_use]
    pub fn dead_letters(&self, lane: &LaneId) -> Vec<DeadLetter> {
        self.of_lane(lane, |lane| lane.dead.values().cloned().collect())
    }

    /// What the log was told of messages that are given up.
    #[must_use]
    pub fn abandoned(&self, lane: &LaneId) -> Vec<Abandoned> {
        self.of_lane(lane, |lane| lane.abandoned.values().cloned().collect())
    }

    /// The tables that are kept for the history, by digest.
    #[must_use]
    pub fn plans(&self, lane: &LaneId) -> BTreeMap<String, PlanRecord> {
        self.of_lane(lane, |lane| lane.plans.clone())
    }

    /// An operator asks for something.
    pub fn command(&self, lane: &LaneId, command: Command) {
        self.service.with(|state| state.lane(lane).commands.push(command));
    }

    /// Takes back the commands that are like this.
    pub fn withdraw(&self, lane: &LaneId, meant: impl Fn(&Command) -> bool) {
        self.service.with(|state| state.lane(lane).commands.retain(|command| !meant(command)));
    }

    /// The commands that still wait.
    #[must_use]
    pub fn waiting_commands(&self, lane: &LaneId) -> Vec<Command> {
        self.of_lane(lane, |lane| lane.commands.clone())
    }

    /// Moves the log's clock on.
    pub fn advance_clock(&self, by: Duration) {
        self.service.with(|state| state.now_ms += u64::try_from(by.as_millis()).unwrap_or(u64::MAX));
    }

    /// While it is down every call is [`LogError::Unavailable`], also those that were waiting.
    pub fn set_down(&self, down: bool) {
        self.service.set_down(down);
    }

    /// While it hangs, calls are taken and not answered; when it wakes, those that still wait are carried out.
    pub fn set_hanging(&self, hanging: bool) {
        self.service.set_hanging(hanging);
    }

    /// Every call takes so long, by the runtime's clock.
    pub fn set_latency(&self, latency: Duration) {
        self.service.set_latency(latency);
    }

    /// The next call of this name fails so; several wait in line.
    pub fn fail_next(&self, call: LogCall, failure: Failure<LogError>) {
        self.service.fail_next(call, failure);
    }

    /// How often it was called so, failures included.
    #[must_use]
    pub fn calls(&self, call: LogCall) -> u64 {
        self.service.calls(call)
    }

    /// Waits until the condition holds of this log; looks again after every change and call.
    ///
    /// # Panics
    /// It still doesn't after half a minute: the test has failed.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        self.service.expect(|| condition(self)).await;
    }

    fn of_lane<T: Default>(&self, lane: &LaneId, look: impl FnOnce(&Lane) -> T) -> T {
        self.service.read(|state| state.lanes.get(&lane.into()).map(look).unwrap_or_default())
    }
}
