//! The steps of one destination, one after the other: take over, commands, read, deliver; and what trouble asks for.
//!
//! Spawned by [`super::DestinationActor`] when it starts; it ends when the supervisor says so, with the lease given back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::Addr;
use actix_rt::task::JoinHandle;

use super::pace::{Pace, told};
use crate::{
    compose::MappedAhead,
    delivery::{Delivery, Follows, Trouble, now_ms},
    message::StreamId,
    ports::{Batch, LogError, ReadFrom, ReadOutcome},
    stream_reader::{Read, StreamReader},
    transaction::LaneId,
};

/// How long a node that is not to write looks at nothing, if the supervisor has nothing to say.
const STAND_BY: Duration = Duration::from_secs(5);

/// A read under way, and the mapping of what it brings: both go on while a batch is being written.
pub(super) struct Ahead {
    asked: Vec<ReadFrom>,
    follows: Follows,
    task: JoinHandle<(Result<ReadOutcome, LogError>, Option<MappedAhead>)>,
}

impl Drop for Ahead {
    /// Which tells the reader that nobody waits any more.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The steps of one destination, one after the other.
pub(super) struct Runner {
    pub(super) delivery: Delivery,
    pub(super) reader: Addr<StreamReader>,
    pub(super) pace: Pace,
    pub(super) batch: Option<Batch>,
    pub(super) ahead: Option<Ahead>,
    /// What was written last.
    pub(super) spent: Option<Batch>,
    pub(super) node: Arc<str>,
}

impl Runner {
    pub(super) async fn run(mut self) {
        while !self.pace.must_stop() {
            if let Some(control) = self.pace.news() {
                self.delivery.learn(control.spec, control.version);
            }
            if !self.pace.control.borrow().wanted {
                self.stand_by().await;
                continue;
            }
            if self.pace.is_stopped() {
                self.rest().await;
                continue;
            }
            let step = self.step().await;
            if let Err(trouble) = step {
                self.meet(trouble).await;
            }
            self.publish();
        }
        self.delivery.release().await;
    }

    /// Another node is to write: what is in hand is dropped, the lease given back, and nothing done until that changes.
    async fn stand_by(&mut self) {
        (self.batch, self.ahead) = (None, None);
        if self.pace.shared.lease.holder().is_some() {
            tracing::info!(destination = %self.pace.name(), "handed over");
            self.delivery.release().await;
        }
        self.delivery.stand_down();
        {
            let mut detail = self.pace.shared.detail.borrow_mut();
            (detail.held, detail.last_error, detail.heartbeat_ms) = (None, None, None);
            (detail.backlog, detail.backlog_age_s, detail.drain_eta_s) = (0, 0.0, None);
        }
        self.publish();
        self.pace.wait(STAND_BY).await;
    }

    /// An operator has stopped it: what is in hand is dropped, the lease given back, nothing read and nothing written. As when
    /// another node is to write, what is going on is found out anew by a take-over.
    async fn rest(&mut self) {
        (self.batch, self.ahead) = (None, None);
        if self.pace.shared.lease.holder().is_some() {
            tracing::info!(destination = %self.pace.name(), "stopped by an operator");
            self.delivery.release().await;
        }
        self.delivery.stand_down();
        self.pace.shared.detail.borrow_mut().held = None;
        self.heartbeat().await;
        self.publish();
        self.pace.rest().await;
    }

    async fn step(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        if !self.pace.breaker.may_write() {
            self.wait_for_probe(now).await;
            return Ok(());
        }
        if !self.delivery.is_taken() {
            (self.batch, self.ahead) = (None, None);
            let gaps = self.delivery.counts().gaps;
            let taken = self.delivery.take_over().await;
            if self.delivery.counts().gaps > gaps {
                self.pace.observer.gap(&self.pace.name());
            }
            taken?;
            // The database answered. Whether it takes writes is still to be seen: no failure is forgotten for this.
            self.pace.breaker.on_probe(Instant::now(), Ok(()));
            self.pace.commands_first(now);
            self.pace.shared.detail.borrow_mut().held = None;
            self.publish();
        }
        if self.pace.commands_due(now) {
            self.delivery.carry_out_commands().await?;
            if self.delivery.commands_wait() {
                self.pace.commands_first(now);
            }
        }
        self.delivery.close_met().await?;
        if !self.delivery.waits_beside() {
            self.pace.no_table_waits();
        } else if self.pace.tables_due(now) {
            self.delivery.look_again().await?;
        }
        if self.batch.is_none() {
            self.batch = self.next_batch().await?;
        }
        let Some(batch) = self.batch.take() else {
            self.delivery.tell_log().await?;
            self.heartbeat().await;
            return Ok(());
        };
        if self.ahead.is_none() {
            self.ahead = self.read_after(Some(&batch));
        }
        self.delivery.follow(self.ahead.as_ref().map(|ahead| ahead.follows.clone()).unwrap_or_default());
        let before = (self.delivery.counts(), self.stands(&batch));
        let outcome = self.delivery.deliver(&batch).await;
        self.count(before, &batch);
        if let Err(trouble) = outcome {
            self.batch = Some(batch);
            return Err(trouble);
        }
        self.spent = Some(batch);
        self.pace.went_well();
        match self.delivery.ended() {
            Some(lane) => self.delivery.finish_generation(lane).await,
            None => Ok(()),
        }
    }

    /// The next batch, or none when it is time for something else.
    async fn next_batch(&mut self) -> Result<Option<Batch>, Trouble> {
        if self.delivery.lanes().is_empty() {
            // No routes yet: nothing to read until there are.
            self.pace.wait(self.pace.limits.block).await;
            return Ok(None);
        }
        let mut ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => match self.read_after(None) {
                Some(ahead) => ahead,
                None => return Ok(None),
            },
        };
        let longest = Instant::now() + self.pace.limits.block;
        let wake = self.pace.breaker.probe_at().map_or(longest, |at| at.min(longest));
        let zone = self.pace.progress().map(|progress| progress.slow_zone(self.pace.limits.block * 2));
        let outcome = tokio::select! {
            outcome = &mut ahead.task => Some(outcome),
            () = tokio::time::sleep_until(wake.into()) => None,
            () = told(&mut self.pace.control) => None,
        };
        drop(zone);
        let Some(outcome) = outcome else {
            self.ahead = Some(ahead);
            return Ok(None);
        };
        let (outcome, mapped) = outcome
            .unwrap_or_else(|error| (Err(LogError::Unavailable(format!("the read was given up: {error}"))), None));
        self.delivery.map_ahead(mapped);
        match outcome? {
            ReadOutcome::Batch(batch) => Ok(Some(batch)),
            ReadOutcome::Idle => self.delivery.nothing_more(&ahead.asked).await.map(|()| None),
            ReadOutcome::NewGeneration(lane) => {
                Err(Trouble::TakeOver(format!("the stream of `{}` has a new generation", lane.stream)))
            }
            ReadOutcome::NewVersion(_) => Err(Trouble::NewVersion),
            // The take-over finds it too, and whether somebody has decided.
            ReadOutcome::Gap { lane, .. } => {
                Err(Trouble::TakeOver(format!("the stream of `{}` has a gap", lane.stream)))
            }
        }
    }

    /// Begins to read what comes after this batch; nothing, where it has to be written first.
    fn read_after(&mut self, batch: Option<&Batch>) -> Option<Ahead> {
        // Whoever is on the way to main waits for nothing.
        let block = if self.delivery.catches_up() { Duration::ZERO } else { self.pace.limits.block };
        let asked = self.delivery.reads(batch)?;
        let ahead_of: Vec<_> =
            asked.iter().map(|from| (from.lane.clone(), self.delivery.ahead_of(&from.lane))).collect();
        let (waiting, wanted) = tokio::sync::oneshot::channel();
        let max_entries = self.pace.batch_entries;
        let follows = Follows::default();
        let at_hand = follows.clone();
        let spent = (self.spent.take(), self.delivery.spent());
        let answer = self.reader.send(Read { lanes: asked.clone(), max_entries, block, wanted });
        let task = actix_rt::spawn(async move {
            let _waiting = waiting;
            let outcome = answer
                .await
                .unwrap_or_else(|error| Err(LogError::Unavailable(format!("the reader does not answer: {error}"))));
            // By now the database has the next ones.
            drop(spent);
            let Ok(ReadOutcome::Batch(batch)) = &outcome else { return (outcome, None) };
            let of = ahead_of.into_iter().find(|(lane, _)| *lane == batch.lane).and_then(|(_, of)| of);
            let mapped = match of {
                Some(of) => Some(MappedAhead::map(of, batch).await),
                None => None,
            };
            at_hand.now();
            (outcome, mapped)
        });
        Some(Ahead { asked, follows, task })
    }

    /// Asks an idle database for a sign of life, so that it shows that it is down before a record finds out.
    async fn heartbeat(&mut self) {
        if self.pace.breaker.probe_due(Instant::now()) {
            self.probe().await;
        }
    }

    async fn wait_for_probe(&mut self, now: Instant) {
        (self.ahead, self.batch) = (None, None);
        if self.pace.breaker.probe_due(now) {
            self.probe().await;
        } else {
            self.pace.wait_for_probe(now).await;
        }
    }

    async fn probe(&mut self) {
        let began = self.pace.begin_probe();
        self.publish();
        let answer = self.delivery.probe().await;
        if self.pace.probed(began, answer) {
            // The lease may have run out meanwhile, and the database may have been restored.
            self.delivery.stand_down();
        }
    }

    /// Does what trouble asks for: waits, forgets, or makes ready to take over.
    async fn meet(&mut self, trouble: Trouble) {
        if !trouble.holds() {
            self.pace.shared.detail.borrow_mut().held = None;
        }
        let undecided = matches!(trouble, Trouble::Undecided(_));
        match trouble {
            Trouble::Database(fault) => {
                self.pace.failed(&fault);
                self.publish();
                self.pace.wait_after_failure().await;
            }
            Trouble::Hold(why) | Trouble::Undecided(why) => {
                self.pace.hold(why, undecided);
                self.delivery.forget_tables();
                self.publish();
                self.pace.wait_while_held().await;
            }
            Trouble::Log(why) => {
                (self.ahead, self.batch) = (None, self.batch.take());
                self.pace.shared.detail.borrow_mut().last_error = Some(why);
                self.publish();
                self.pace.wait_backoff().await;
            }
            Trouble::NewVersion => self.pace.wait(self.pace.limits.block).await,
            Trouble::TakeOver(why) => {
                tracing::info!(destination = %self.pace.name(), reason = %why, "takes over anew");
                self.delivery.stand_down();
                (self.ahead, self.batch) = (None, None);
                self.pace.wait_backoff().await;
            }
            Trouble::StandBy => {
                self.delivery.stand_down();
                (self.ahead, self.batch) = (None, None);
                self.pace.shared.lease.lost();
                self.publish();
                self.pace.wait(self.pace.limits.block / 2).await;
            }
        }
    }

    /// Where the lane of this batch stands.
    fn stands(&self, batch: &Batch) -> Option<StreamId> {
        self.delivery.lanes().iter().find(|state| state.lane == batch.lane).map(|state| state.last_id)
    }

    /// Counts what a delivery came to, and makes the next batches smaller or larger by how long the database took.
    fn count(&mut self, (before, from): (crate::delivery::Counts, Option<StreamId>), batch: &Batch) {
        let after = self.delivery.counts();
        if after.fenced > before.fenced {
            self.pace.observer.fenced(&self.pace.name());
        }
        if (after.entries, after.rows) == (before.entries, before.rows) {
            return;
        }
        // What a side row reads, main has passed long ago: how old it was then is not how long it took.
        let done = if batch.lane.is_main() { self.stands(batch) } else { None };
        let new = |id: &StreamId| Some(*id) > from && Some(*id) <= done;
        let written = batch.entries.iter().map(crate::ports::Entry::id).filter(new);
        self.pace.committed(after.rows - before.rows, after.last_write, written.map(|id| id.ms));
        self.pace.size_by(after.last_write);
    }

    fn publish(&self) {
        let counts = self.delivery.counts();
        let (wanted, holder, known_down_ms) = {
            let control = self.pace.control.borrow();
            (control.wanted, control.holder.clone(), control.down_since_ms)
        };
        // Another node may have found out before it was handed over.
        let known = known_down_ms.map(|since| Duration::from_millis(now_ms().saturating_sub(since)));
        let down = self.pace.breaker.down_since().filter(|_| wanted);
        let down = down.map(|since| known.unwrap_or_default().max(since.elapsed()));
        let stands = |lane: &LaneId| self.delivery.lanes().iter().find(|state| state.lane == *lane);
        let lanes = self.delivery.wanted_lanes().into_iter().map(|lane| {
            let last = stands(&lane).map(|state| state.last_id);
            (lane, last)
        });
        // Whoever is to write it counts what waits; the others need not ask.
        *self.pace.shared.lanes.borrow_mut() = lanes.filter(|_| wanted).collect();
        self.pace.publish(&counts, down, self.delivery.is_taken(), |detail| {
            detail.epoch = (counts.epoch > 0).then_some(counts.epoch);
            detail.leased = self.pace.shared.lease.holds();
            let holder =
                if detail.leased { Some(&self.node) } else { holder.as_ref().filter(|holder| **holder != self.node) };
            detail.owner = holder.map(ToString::to_string);
            let taken = self.delivery.is_taken();
            detail.held_tables = if taken { self.delivery.held_tables() } else { Vec::new() };
            detail.catching_up = if taken { self.delivery.catching_up() } else { Vec::new() };
        });
    }
}
