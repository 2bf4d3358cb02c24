//! The steps of one destination, one after the other: take over, commands, read, deliver; and what trouble asks for.
//!
//! Spawned by [`super::DestinationActor`] when it starts; it ends when the supervisor says so, with the lease given back.

use std::{
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::Addr;
use tokio::sync::watch;

use super::{Control, Shared};
use crate::{
    breaker::Breaker,
    delivery::{Delivery, Limits, Trouble, now_ms},
    message::StreamId,
    ports::{Batch, Fault, LogError, Observe, ReadFrom, ReadOutcome},
    retry::Backoff,
    status::{DestinationStatus, Vitals, rfc3339_ago},
    stream_reader::{Read, StreamReader},
    transaction::LaneId,
};

/// A write that takes longer than this makes the next batches smaller; one that takes less than a quarter, larger again.
pub(super) const SLOW_WRITE: Duration = Duration::from_secs(2);
/// No batch is made smaller than this.
pub(super) const SMALLEST_BATCH: usize = 50;

/// How long a node that is not to write looks at nothing, if the supervisor has nothing to say.
const STAND_BY: Duration = Duration::from_secs(5);

type Ahead = Pin<Box<dyn Future<Output = Result<ReadOutcome, LogError>>>>;

/// The steps of one destination, one after the other.
pub(super) struct Runner {
    pub(super) delivery: Delivery,
    pub(super) reader: Addr<StreamReader>,
    pub(super) control: watch::Receiver<Control>,
    pub(super) breaker: Breaker,
    pub(super) backoff: Backoff,
    pub(super) hold_backoff: Backoff,
    pub(super) shared: Rc<Shared>,
    /// Weak, so that the actor's own copy is the last to be dropped and tells how it ended.
    pub(super) vitals: std::rc::Weak<Vitals>,
    pub(super) observer: Arc<dyn Observe>,
    pub(super) batch: Option<Batch>,
    pub(super) ahead: Option<Ahead>,
    pub(super) batch_entries: usize,
    pub(super) most_entries: usize,
    pub(super) commands_at: Instant,
    pub(super) limits: Limits,
    pub(super) node: Arc<str>,
}

/// Returns when the supervisor has something to say.
pub(super) async fn told(control: &mut watch::Receiver<Control>) {
    match control.changed().await {
        Ok(()) => control.mark_changed(),
        // The supervisor is gone: the node is shutting down without us. Nothing to learn; do not spin.
        Err(_) => std::future::pending().await,
    }
}

impl Runner {
    pub(super) async fn run(mut self) {
        while !self.control.borrow().stop {
            self.learn();
            if !self.control.borrow().wanted {
                self.stand_by().await;
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

    fn learn(&mut self) {
        if self.control.has_changed().unwrap_or(false) {
            let control = self.control.borrow_and_update().clone();
            self.delivery.learn(control.spec, control.version);
        }
    }

    /// Another node is to write: what is in hand is dropped, the lease given back, and nothing done until that changes.
    async fn stand_by(&mut self) {
        (self.batch, self.ahead) = (None, None);
        if self.shared.lease.holder().is_some() {
            tracing::info!(destination = %self.name(), "handed over");
            self.delivery.release().await;
        }
        self.delivery.stand_down();
        {
            let mut detail = self.shared.detail.borrow_mut();
            (detail.held, detail.last_error, detail.heartbeat_ms) = (None, None, None);
            (detail.backlog, detail.backlog_age_s, detail.drain_eta_s) = (0, 0.0, None);
        }
        self.publish();
        self.wait(STAND_BY).await;
    }

    async fn step(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        if !self.breaker.may_write() {
            return self.wait_for_probe(now).await;
        }
        if !self.delivery.is_taken() {
            (self.batch, self.ahead) = (None, None);
            let gaps = self.delivery.counts().gaps;
            let taken = self.delivery.take_over().await;
            if self.delivery.counts().gaps > gaps {
                self.observer.gap(&self.name());
            }
            taken?;
            // The database answered. Whether it takes writes is still to be seen: no failure is forgotten for this.
            self.breaker.on_probe(Instant::now(), Ok(()));
            self.commands_at = now;
            self.shared.detail.borrow_mut().held = None;
            self.publish();
        }
        if now >= self.commands_at {
            self.commands_at = now + self.limits.commands;
            self.delivery.carry_out_commands().await?;
        }
        if self.batch.is_none() {
            self.batch = self.next_batch().await?;
        }
        let Some(batch) = self.batch.take() else { return self.heartbeat().await };
        if self.ahead.is_none() {
            self.ahead = Some(self.read_after(Some(&batch)));
        }
        let before = (self.delivery.counts(), self.stands(&batch));
        let outcome = self.delivery.deliver(&batch).await;
        self.count(before, &batch);
        if let Err(trouble) = outcome {
            self.batch = Some(batch);
            return Err(trouble);
        }
        self.went_well();
        let ended = self.delivery.lanes().iter().position(|lane| lane.until.is_some_and(|until| lane.last_id >= until));
        match ended {
            Some(lane) => self.delivery.finish_generation(lane).await,
            None => Ok(()),
        }
    }

    /// The next batch, or none when it is time for something else.
    async fn next_batch(&mut self) -> Result<Option<Batch>, Trouble> {
        if self.delivery.lanes().is_empty() {
            // No routes yet: nothing to read until there are.
            self.wait(self.limits.block).await;
            return Ok(None);
        }
        let mut ahead = match self.ahead.take() {
            Some(ahead) => ahead,
            None => self.read_after(None),
        };
        let longest = Instant::now() + self.limits.block;
        let wake = self.breaker.probe_at().map_or(longest, |at| at.min(longest));
        let zone = self.vitals.upgrade().map(|vitals| vitals.progress().slow_zone(self.limits.block * 2));
        let outcome = tokio::select! {
            outcome = &mut ahead => Some(outcome),
            () = tokio::time::sleep_until(wake.into()) => None,
            () = told(&mut self.control) => None,
        };
        drop(zone);
        let Some(outcome) = outcome else {
            self.ahead = Some(ahead);
            return Ok(None);
        };
        match outcome? {
            ReadOutcome::Batch(batch) => Ok(Some(batch)),
            ReadOutcome::Idle => match self.delivery.lanes().iter().position(|lane| lane.until.is_some()) {
                Some(lane) => self.delivery.finish_generation(lane).await.map(|()| None),
                None => Ok(None),
            },
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

    fn read_after(&self, batch: Option<&Batch>) -> Ahead {
        let from = |state: &crate::delivery::LaneState| ReadFrom {
            lane: state.lane.clone(),
            after: batch.filter(|batch| batch.lane == state.lane).map_or(state.last_id, Batch::last),
            newest: state.newest.clone(),
            version: self.delivery.version(),
            until: state.until,
        };
        let lanes = self.delivery.lanes().iter().map(from).collect();
        // Dropped together with the future, which tells the reader that nobody waits any more.
        let (waiting, wanted) = tokio::sync::oneshot::channel();
        let (max_entries, block) = (self.batch_entries, self.limits.block);
        let asked = self.reader.send(Read { lanes, max_entries, block, wanted });
        Box::pin(async move {
            let _waiting = waiting;
            asked
                .await
                .unwrap_or_else(|error| Err(LogError::Unavailable(format!("the reader does not answer: {error}"))))
        })
    }

    /// Asks an idle database for a sign of life, so that it shows that it is down before a record finds out.
    async fn heartbeat(&mut self) -> Result<(), Trouble> {
        if !self.breaker.probe_due(Instant::now()) {
            return Ok(());
        }
        self.probe().await
    }

    async fn wait_for_probe(&mut self, now: Instant) -> Result<(), Trouble> {
        (self.ahead, self.batch) = (None, None);
        if self.breaker.probe_due(now) {
            return self.probe().await;
        }
        let at = self.breaker.probe_at().unwrap_or(now + self.limits.block);
        self.wait(at.saturating_duration_since(now).min(self.limits.block)).await;
        Ok(())
    }

    async fn probe(&mut self) -> Result<(), Trouble> {
        let began = Instant::now();
        self.breaker.begin_probe(began);
        self.publish();
        let answer = self.delivery.probe().await;
        let now = Instant::now();
        match answer {
            // A database that answers in words is there; the next write finds out whether it takes writes.
            Ok(()) | Err(Trouble::Hold(_)) => {
                self.shared.detail.borrow_mut().heartbeat_ms = Some((now - began).as_secs_f64() * 1_000.0);
                let was_down = !self.breaker.may_write();
                self.breaker.on_probe(now, Ok(()));
                if was_down {
                    tracing::info!(destination = %self.name(), "answers again");
                    // The lease may have run out meanwhile, and the database may have been restored.
                    self.delivery.stand_down();
                }
                Ok(())
            }
            Err(trouble) => {
                let fault = match trouble {
                    Trouble::Database(fault) => fault,
                    other => Fault::lost(other.to_string()),
                };
                self.breaker.on_probe(now, Err(fault));
                Ok(())
            }
        }
    }

    /// Does what trouble asks for: waits, forgets, or makes ready to take over.
    async fn meet(&mut self, trouble: Trouble) {
        let now = Instant::now();
        if !matches!(trouble, Trouble::Hold(_)) {
            self.shared.detail.borrow_mut().held = None;
        }
        match trouble {
            Trouble::Database(fault) => {
                if self.breaker.may_write() {
                    tracing::warn!(destination = %self.name(), error = %fault, "could not write");
                }
                self.breaker.on_failure(now, &fault);
                self.shrink();
                self.publish();
                if self.breaker.may_write() {
                    self.wait_backoff().await;
                }
            }
            Trouble::Hold(why) => {
                let first = self.shared.detail.borrow().held.as_deref() != Some(&why);
                if first {
                    tracing::error!(destination = %self.name(), reason = %why, "held");
                }
                self.breaker.on_success(now);
                {
                    let mut detail = self.shared.detail.borrow_mut();
                    detail.last_error = Some(why.clone());
                    detail.held = Some(why);
                }
                self.delivery.forget_tables();
                self.publish();
                let wait = self.hold_backoff.next(&mut rand::rng());
                self.wait(wait).await;
            }
            Trouble::Log(why) => {
                (self.ahead, self.batch) = (None, self.batch.take());
                self.shared.detail.borrow_mut().last_error = Some(why);
                self.publish();
                self.wait_backoff().await;
            }
            Trouble::NewVersion => self.wait(self.limits.block).await,
            Trouble::TakeOver(why) => {
                tracing::info!(destination = %self.name(), reason = %why, "takes over anew");
                self.delivery.stand_down();
                (self.ahead, self.batch) = (None, None);
                self.wait_backoff().await;
            }
            Trouble::StandBy => {
                self.delivery.stand_down();
                (self.ahead, self.batch) = (None, None);
                self.shared.lease.lost();
                self.publish();
                self.wait(self.limits.block / 2).await;
            }
        }
    }

    async fn wait_backoff(&mut self) {
        let wait = self.backoff.next(&mut rand::rng());
        self.wait(wait).await;
    }

    /// Waits, but not longer than until the supervisor has something to say.
    async fn wait(&mut self, time: Duration) {
        let progress = self.vitals.upgrade().map(|vitals| vitals.progress().clone());
        let zone = progress.map(|progress| progress.slow_zone(time + Duration::from_secs(1)));
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = told(&mut self.control) => {}
        }
        drop(zone);
    }

    fn went_well(&mut self) {
        self.breaker.on_success(Instant::now());
        self.backoff.reset();
        self.hold_backoff.reset();
        let mut detail = self.shared.detail.borrow_mut();
        detail.held = None;
        detail.last_error = None;
    }

    /// Where the lane of this batch stands.
    fn stands(&self, batch: &Batch) -> Option<StreamId> {
        self.delivery.lanes().iter().find(|state| state.lane == batch.lane).map(|state| state.last_id)
    }

    /// Counts what a delivery came to, and makes the next batches smaller or larger by how long the database took.
    fn count(&mut self, (before, from): (crate::delivery::Counts, Option<StreamId>), batch: &Batch) {
        let after = self.delivery.counts();
        if after.fenced > before.fenced {
            self.observer.fenced(&self.name());
        }
        if after.entries == before.entries {
            return;
        }
        let done = self.stands(batch);
        let new = |id: &StreamId| Some(*id) > from && Some(*id) <= done;
        let written = batch.entries.iter().map(crate::ports::Entry::id).filter(new);
        self.observer.committed(&self.name(), after.rows - before.rows, after.last_write, &mut written.map(|id| id.ms));
        if after.last_write > SLOW_WRITE {
            self.shrink();
        } else if after.last_write < SLOW_WRITE / 4 {
            self.batch_entries = (self.batch_entries * 2).min(self.most_entries);
        }
    }

    fn shrink(&mut self) {
        self.batch_entries = (self.batch_entries / 2).max(SMALLEST_BATCH.min(self.most_entries));
    }

    fn name(&self) -> Arc<str> {
        Arc::clone(&self.control.borrow().spec.name)
    }

    fn publish(&self) {
        let Some(vitals) = self.vitals.upgrade() else { return };
        let counts = self.delivery.counts();
        let taken = self.delivery.is_taken();
        let (wanted, holder, known_down_ms) = {
            let control = self.control.borrow();
            (control.wanted, control.holder.clone(), control.down_since_ms)
        };
        let mut detail = self.shared.detail.borrow_mut();
        detail.breaker = self.breaker.state();
        let down = self.breaker.down_since().filter(|_| wanted);
        // Another node may have found out before it was handed over.
        let known = known_down_ms.map(|since| Duration::from_millis(now_ms().saturating_sub(since)));
        detail.down_since = down.map(|since| rfc3339_ago(known.unwrap_or_default().max(since.elapsed())));
        detail.status = match (&detail.held, down) {
            (_, Some(_)) => DestinationStatus::Down,
            (Some(_), None) => DestinationStatus::Held,
            (None, None) if taken => DestinationStatus::Up,
            (None, None) => DestinationStatus::Standby,
        };
        if down.is_some() {
            detail.last_error = self.breaker.last_error().map(|fault| fault.message.clone());
        }
        detail.epoch = (counts.epoch > 0).then_some(counts.epoch);
        detail.leased = self.shared.lease.holds();
        let holder =
            if detail.leased { Some(&self.node) } else { holder.as_ref().filter(|holder| **holder != self.node) };
        detail.owner = holder.map(ToString::to_string);
        detail.rows_written = counts.rows;
        detail.entries_delivered = counts.entries;
        detail.dead_letters_made = counts.dead;
        let stands = |lane: &LaneId| self.delivery.lanes().iter().find(|state| state.lane == *lane);
        let lanes = self.delivery.wanted_lanes().into_iter().map(|lane| {
            let last = stands(&lane).map(|state| state.last_id);
            (lane, last)
        });
        // Whoever is to write it counts what waits; the others need not ask.
        *self.shared.lanes.borrow_mut() = lanes.filter(|_| wanted).collect();
        vitals.publish(&*detail);
        if detail.status == DestinationStatus::Up {
            vitals.running();
        } else {
            vitals.waiting();
        }
    }
}
