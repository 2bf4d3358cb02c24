//! The truth beside the world: every record that Redis took, what each destination must have of it, and the invariants
//! that are checked with every transaction and every trim.

use tidegate_actors::{lane::Part, ports::Command};

use crate::{
    database::{Data, Write},
    redis::Redis,
    world::ADDED,
};

/// Applications, topics, keys and destinations are numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) stream: usize,
    pub(crate) topic: usize,
    pub(crate) key: usize,
    /// False once Redis itself has lost it: a failover to a replica that lacked it, or an emptied server.
    pub(crate) alive: bool,
}

/// What a destination was promised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    pub(crate) destination: usize,
    pub(crate) stream: usize,
    pub(crate) topic: usize,
    /// Records from this one on must arrive. Those that came while the route was being added may.
    pub(crate) from: usize,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A record was passed over or trimmed away before a destination had it.
    Lost,
    /// A record was written twice.
    Twice,
    /// A key's records were written in another order than they were taken in.
    Order,
    /// What is retained is not delivered although nothing is in the way.
    Stall,
}

/// A broken invariant.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) kind: Kind,
    pub(crate) what: String,
}

/// The truth.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) records: Vec<Record>,
    pub(crate) promises: Vec<Promise>,
    /// By destination and record: whether it was ever written.
    ever: Vec<Vec<bool>>,
    /// By destination and stream: the database has gone back, and Redis has not heard of it yet.
    behind: Vec<Vec<bool>>,
    replays: Vec<Replay>,
    /// By destination and stream: everything up to this record was given up.
    given_up: Vec<Vec<Option<usize>>>,
    /// By destination: whether its database has ever gone back.
    went_back: Vec<bool>,
    /// Whether the added route begins below its lane, and catches up.
    pub(crate) catches_up: bool,
    pub(crate) violation: Option<Violation>,
}

/// What an operator had sent again.
#[derive(Clone, Debug)]
struct Replay {
    destination: usize,
    stream: usize,
    topic: usize,
    token: String,
    /// What is to be written again.
    left: Vec<usize>,
}

impl Ledger {
    pub(crate) fn new(destinations: usize, streams: usize) -> Self {
        Self {
            ever: vec![Vec::new(); destinations],
            behind: vec![vec![false; streams]; destinations],
            went_back: vec![false; destinations],
            given_up: vec![vec![None; streams]; destinations],
            ..Self::default()
        }
    }

    pub(crate) fn violate(&mut self, kind: Kind, what: String) {
        self.violation.get_or_insert(Violation { kind, what });
    }

    /// Redis took a record.
    pub(crate) fn take(&mut self, stream: usize, topic: usize, key: usize) -> usize {
        self.records.push(Record { stream, topic, key, alive: true });
        self.ever.iter_mut().for_each(|ever| ever.push(false));
        self.records.len() - 1
    }

    /// Whether the destination must have this record.
    pub(crate) fn must_have(&self, destination: usize, record: usize) -> bool {
        let Record { stream, topic, alive, .. } = self.records[record];
        let promised = |promise: &Promise| {
            promise.destination == destination
                && promise.stream == stream
                && promise.topic == topic
                && record >= promise.from
        };
        let given_up = self.given_up[destination][stream].is_some_and(|last| record <= last);
        alive && !given_up && self.promises.iter().any(promised)
    }

    /// An operator gives up what a destination has not got of a stream, up to this record.
    pub(crate) fn give_up(&mut self, destination: usize, stream: usize, last: usize) {
        let given_up = &mut self.given_up[destination][stream];
        *given_up = (*given_up).max(Some(last));
        let here = |replay: &&mut Replay| replay.destination == destination && replay.stream == stream;
        self.replays.iter_mut().filter(here).for_each(|replay| replay.left.retain(|record| *record > last));
    }

    /// A transaction is about to write these records of one stream, in this order.
    pub(crate) fn write(&mut self, destination: usize, write: &Write, data: &mut Data) {
        let part = Part::parse(&write.fence.lane.part);
        let bounded = matches!(part, Some(Part::Replay { instead: None, .. }));
        let again = matches!(part, Some(Part::Replay { .. }));
        for &record in &write.records {
            let Record { stream, topic, key, .. } = self.records[record];
            let key = (stream, topic, key);
            for replay in self.replays.iter_mut().filter(|replay| again && replay.destination == destination) {
                replay.left.retain(|other| *other != record);
            }
            if data.has(record) && again {
                data.put_again(record, key, bounded);
                continue;
            }
            if data.has(record) {
                self.violate(Kind::Twice, format!("record {record} is written to destination {destination} again"));
            } else if let Some(later) = data.last_of_key(key).filter(|later| *later > record && !bounded) {
                let what = format!("record {record} is written to destination {destination} after {later} of its key");
                self.violate(Kind::Order, what);
            }
            data.put(record, key);
            self.ever[destination][record] = true;
        }
        if let Some(part) = data.beyond_main() {
            self.violate(Kind::Order, format!("`{part}` of destination {destination} stands beyond its main row"));
        }
        let highest = (0..=ADDED).filter_map(|topic| {
            let of_topic = write.records.iter().filter(|record| self.records[**record].topic == topic);
            of_topic.max().map(|highest| (topic, *highest))
        });
        for (topic, highest) in highest.collect::<Vec<_>>() {
            self.passed_over(destination, write.stream, topic, highest, data);
        }
    }

    /// What came before this record and must be there. Where all stand together, that is so for every topic; what waits or
    /// catches up beside them has an order of its own.
    fn passed_over(&mut self, destination: usize, stream: usize, topic: usize, highest: usize, data: &Data) {
        let together = data.is_plain() && !self.catches_up;
        let skipped = (0..highest).find(|&earlier| {
            let Record { stream: of, topic: other, .. } = self.records[earlier];
            of == stream && (other == topic || together) && !data.has(earlier) && self.must_have(destination, earlier)
        });
        if let Some(skipped) = skipped {
            let what = format!("record {skipped} was passed over: destination {destination} has got {highest} already");
            self.violate(Kind::Lost, what);
        }
    }

    /// An operator has these records of a route sent again.
    pub(crate) fn replay(&mut self, destination: usize, stream: usize, topic: usize, token: &str, left: Vec<usize>) {
        self.replays.push(Replay { destination, stream, topic, token: token.into(), left });
    }

    /// What Redis has forgotten of replays is not asked for any more.
    pub(crate) fn replays_lost(&mut self, redis: &Redis) {
        let stands = |replay: &Replay| {
            let mut waiting = redis.streams[replay.stream].commands.get(&replay.destination).into_iter().flatten();
            waiting.any(|command| matches!(command, Command::Replay { token, .. } if *token == replay.token))
        };
        self.replays.retain(stands);
    }

    /// A command was taken off its list.
    pub(crate) fn finished(&mut self, destination: usize, command: &Command, redis: &Redis, data: &Data) {
        let Command::Replay { token, to, .. } = command else { return };
        let Some(found) = self.replays.iter().position(|replay| replay.token == *token) else { return };
        let Replay { stream, topic, left, .. } = self.replays.remove(found);
        if let Some(record) = left.iter().find(|record| redis.streams[stream].has(**record)) {
            let what = format!("the replay {token} ended without record {record} of destination {destination}");
            self.violate(Kind::Lost, what);
        }
        if to.is_none()
            && let Some(key) = data.out_of_date(stream, topic)
        {
            let what = format!("the replay {token} left {key:?} of destination {destination} as it was before");
            self.violate(Kind::Order, what);
        }
    }

    /// The database has gone back to a backup.
    pub(crate) fn restored(&mut self, destination: usize) {
        self.behind[destination].fill(true);
        self.went_back[destination] = true;
        // What was written again is gone with the rest; how far the replay has got, too.
        self.replays.retain(|replay| replay.destination != destination);
    }

    /// Redis was told where a lane stands; `beyond` where that is more than the database has.
    pub(crate) fn advanced(&mut self, destination: usize, stream: usize, beyond: bool) {
        self.behind[destination][stream] &= beyond;
    }

    /// Entries were trimmed.
    pub(crate) fn trimmed(&mut self, gone: &[usize], databases: &[&Data]) {
        for &record in gone {
            for (destination, data) in databases.iter().enumerate() {
                if data.has(record) || !self.must_have(destination, record) {
                    continue;
                }
                let behind = self.behind[destination][self.records[record].stream] && self.ever[destination][record];
                if !behind {
                    let what = format!("record {record} was trimmed before destination {destination} had it");
                    self.violate(Kind::Lost, what);
                }
            }
        }
    }

    /// Redis went back to what it was when `before` was the next record, or to nothing.
    pub(crate) fn redis_lost(&mut self, before: usize) {
        self.records[before..].iter_mut().for_each(|record| record.alive = false);
    }

    /// A stream is gone.
    pub(crate) fn stream_lost(&mut self, stream: usize) {
        self.records.iter_mut().filter(|record| record.stream == stream).for_each(|record| record.alive = false);
    }

    /// A record that the destination lacks and that still can be sent, if there is one.
    pub(crate) fn owed(&self, destination: usize, redis: &Redis, data: &Data) -> Option<usize> {
        let lacks = |record: &usize| self.must_have(destination, *record) && !data.has(*record);
        (0..self.records.len()).filter(lacks).find(|&record| redis.streams[self.records[record].stream].has(record))
    }

    /// A record that the destination lacks and that is in the stream no more, if there is one.
    pub(crate) fn gap(&self, destination: usize, redis: &Redis, data: &Data) -> Option<usize> {
        let lacks = |record: &usize| self.must_have(destination, *record) && !data.has(*record);
        (0..self.records.len()).filter(lacks).find(|&record| !redis.streams[self.records[record].stream].has(record))
    }

    /// Whether entries are gone that the destination has not passed yet: it cannot know that none of them was for it.
    pub(crate) fn may_be_gap(&self, destination: usize, redis: &Redis, data: &Data) -> bool {
        let gone = |&record: &usize| {
            let Record { stream, alive, .. } = self.records[record];
            let passed = |later: usize| self.records[later].stream == stream && data.has(later);
            let behind = !(record..self.records.len()).any(passed);
            alive && !redis.streams[stream].has(record) && behind
        };
        // A side row that is back with a backup may stand below what was trimmed since.
        let beside = || data.side_below(|stream| redis.streams[stream].trimmed);
        if self.went_back[destination] && beside() {
            return true;
        }
        self.promises.iter().any(|promise| promise.destination == destination)
            && (0..self.records.len()).any(|r| gone(&r))
    }
}
