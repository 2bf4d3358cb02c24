//! The DestinationActor: one ordered destination, from the lease to the commit, on an arbiter of its own.
//!
//! A thin shell: what a step does stands in [`crate::delivery`], when it may be done in [`crate::breaker`] and
//! [`crate::retry`]. The actor runs the steps one after the other, renews the lease beside them, and publishes how it does.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Context, WrapFuture as _};
use tokio::sync::watch;

use crate::{
    breaker::{Breaker, BreakerSettings},
    delivery::{Delivery, LeaseClock, Limits, Trouble},
    message::StreamId,
    ports::{Backlog, Batch, EventLog, Fault, LogError, Observe, ReadFrom, ReadOutcome},
    retry::Backoff,
    route::DestinationSpec,
    status::{DestinationDetail, DestinationStatus, Vitals, rfc3339_ago},
    stream_reader::{Read, StreamReader},
    transaction::LaneId,
};

/// How often a held destination looks whether it may go on.
const LONGEST_HOLD_WAIT: Duration = Duration::from_secs(3);
/// A write that takes longer than this makes the next batches smaller; one that takes less than a quarter, larger again.
const SLOW_WRITE: Duration = Duration::from_secs(2);
/// No batch is made smaller than this.
const SMALLEST_BATCH: usize = 50;

/// What the supervisor tells a destination's actor.
#[derive(Clone, Debug)]
pub struct Control {
    /// The destination with its routes.
    pub spec: Arc<DestinationSpec>,
    /// The registry's version.
    pub version: u64,
    /// Finish the batch in hand and end.
    pub stop: bool,
}

/// What the steps and the lease's renewal share.
#[derive(Default)]
struct Shared {
    lease: LeaseClock,
    /// The lanes, and where they stand as far as we have seen.
    lanes: RefCell<Vec<(LaneId, Option<StreamId>)>>,
    detail: RefCell<DestinationDetail>,
}

/// Delivers to one destination.
pub struct DestinationActor {
    runner: Option<Runner>,
    shared: Rc<Shared>,
    side: Option<Box<dyn EventLog>>,
    limits: Limits,
    observer: Arc<dyn Observe>,
    vitals: Rc<Vitals>,
    rate: Rate,
}

/// What an actor is built from.
pub struct Parts {
    /// The log, for the steps.
    pub log: Box<dyn EventLog>,
    /// The log again, for the lease and the backlog, so that a slow step does not keep them waiting.
    pub side: Box<dyn EventLog>,
    /// The database.
    pub database: Box<dyn crate::ports::Destination>,
    /// The reader.
    pub reader: Addr<StreamReader>,
    /// The installation's id.
    pub installation: Arc<str>,
    /// What the supervisor says.
    pub control: watch::Receiver<Control>,
    /// Time limits.
    pub limits: Limits,
    /// Where events are counted.
    pub observer: Arc<dyn Observe>,
    /// The actor's place on the board.
    pub vitals: Vitals,
}

impl DestinationActor {
    /// An actor that has not touched anything yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let shared = Rc::new(Shared::default());
        let vitals = Rc::new(parts.vitals);
        let now = Instant::now();
        let control = parts.control.borrow().clone();
        let delivery = Delivery::new(
            parts.log,
            parts.database,
            control.spec,
            parts.installation,
            control.version,
            parts.limits,
            vitals.progress().clone(),
            shared.lease.clone(),
        );
        let runner = Runner {
            delivery,
            reader: parts.reader,
            control: parts.control,
            breaker: Breaker::new(BreakerSettings::default(), now, rand::random()),
            backoff: Backoff::default(),
            hold_backoff: Backoff::new(Duration::from_millis(250), LONGEST_HOLD_WAIT),
            shared: Rc::clone(&shared),
            vitals: Rc::downgrade(&vitals),
            observer: Arc::clone(&parts.observer),
            batch: None,
            ahead: None,
            batch_entries: parts.limits.batch_entries,
            most_entries: parts.limits.batch_entries,
            commands_at: now,
            limits: parts.limits,
        };
        Self {
            runner: Some(runner),
            shared,
            side: Some(parts.side),
            limits: parts.limits,
            observer: parts.observer,
            vitals,
            rate: Rate::default(),
        }
    }

    /// Renews the lease and counts what waits, beside the steps.
    fn keep(&mut self, context: &mut Context<Self>) {
        self.show();
        let Some(mut side) = self.side.take() else { return };
        let (holder, lanes) = (self.shared.lease.holder(), self.shared.lanes.borrow().clone());
        let (lease, limit, ttl) = (self.shared.lease.clone(), self.limits.log, self.limits.lease);
        let kept = async move {
            if let Some((owner, names)) = holder {
                let asked = Instant::now();
                // No answer: it lasts as long as it was granted for.
                if let Ok(Ok(granted)) = tokio::time::timeout(limit, side.lease(&names, &owner, ttl)).await {
                    lease.renewed(&owner, granted, asked, ttl);
                }
            }
            let waiting = tokio::time::timeout(limit, backlog(&mut *side, &lanes)).await;
            let waiting = waiting.ok().and_then(Result::ok);
            (side, waiting)
        };
        context.spawn(kept.into_actor(self).map(|(side, waiting), actor, _| {
            actor.side = Some(side);
            if let Some(waiting) = waiting {
                let mut detail = actor.shared.detail.borrow_mut();
                detail.backlog = waiting.messages;
                detail.backlog_age_s = waiting.oldest_ms.map_or(0.0, age_s);
                drop(detail);
                actor.show();
            }
        }));
    }

    fn show(&mut self) {
        let mut detail = self.shared.detail.borrow_mut();
        detail.drain_eta_s = self.rate.eta(detail.backlog, detail.entries_delivered, Instant::now());
        self.vitals.publish(&*detail);
        self.observer.destination(self.vitals.name(), &detail, detail.dead_letters_made);
    }
}

/// What waits on all lanes. One that we have not taken over yet stands where the log last heard of it, or where its first
/// route begins.
async fn backlog(log: &mut dyn EventLog, lanes: &[(LaneId, Option<StreamId>)]) -> Result<Backlog, LogError> {
    let mut sum = Backlog::default();
    for (lane, seen) in lanes {
        let after = match seen {
            Some(id) => *id,
            None => {
                let view = log.view(lane).await?;
                let first = view.starts.iter().map(|(_, start)| start.id).min();
                view.position.map(|position| position.id).or(first).unwrap_or_default()
            }
        };
        let one = log.backlog(lane, after).await?;
        sum.messages += one.messages;
        sum.oldest_ms = [sum.oldest_ms, one.oldest_ms].into_iter().flatten().min();
    }
    Ok(sum)
}

fn age_s(accepted_ms: u64) -> f64 {
    let now = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0);
    Duration::from_millis(now.saturating_sub(accepted_ms)).as_secs_f64()
}

impl Actor for DestinationActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(runner) = self.runner.take() else { return };
        self.vitals.running();
        context.spawn(runner.run().into_actor(self).map(|(), _, context| context.stop()));
        context.run_interval(self.limits.lease / 3, Self::keep);
    }
}

/// Messages a second, smoothed over about ten seconds, for the time until the backlog is drained.
#[derive(Debug, Default)]
struct Rate {
    seen: Option<(Instant, u64)>,
    per_s: f64,
}

impl Rate {
    #[allow(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn eta(&mut self, backlog: u64, delivered: u64, now: Instant) -> Option<f64> {
        match self.seen {
            Some((at, before)) if now - at >= Duration::from_millis(500) => {
                let elapsed = (now - at).as_secs_f64();
                let weight = (elapsed / 10.0).min(1.0);
                let rate = delivered.saturating_sub(before) as f64 / elapsed;
                self.per_s = self.per_s * (1.0 - weight) + rate * weight;
                self.seen = Some((now, delivered));
            }
            Some(_) => {}
            None => self.seen = Some((now, delivered)),
        }
        if backlog == 0 {
            return Some(0.0);
        }
        (self.per_s > 0.1).then(|| (backlog as f64 / self.per_s * 10.0).round() / 10.0)
    }
}

type Ahead = Pin<Box<dyn Future<Output = Result<ReadOutcome, LogError>>>>;

/// The steps of one destination, one after the other.
struct Runner {
    delivery: Delivery,
    reader: Addr<StreamReader>,
    control: watch::Receiver<Control>,
    breaker: Breaker,
    backoff: Backoff,
    hold_backoff: Backoff,
    shared: Rc<Shared>,
    /// Weak, so that the actor's own copy is the last to be dropped and tells how it ended.
    vitals: std::rc::Weak<Vitals>,
    observer: Arc<dyn Observe>,
    batch: Option<Batch>,
    ahead: Option<Ahead>,
    batch_entries: usize,
    most_entries: usize,
    commands_at: Instant,
    limits: Limits,
}

/// Returns when the supervisor has something to say.
async fn told(control: &mut watch::Receiver<Control>) {
    match control.changed().await {
        Ok(()) => control.mark_changed(),
        // The supervisor is gone: the node is shutting down without us. Nothing to learn; do not spin.
        Err(_) => std::future::pending().await,
    }
}

impl Runner {
    async fn run(mut self) {
        while !self.control.borrow().stop {
            self.learn();
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

    async fn step(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        if !self.breaker.may_write() {
            return self.wait_for_probe(now).await;
        }
        if !self.delivery.is_taken() {
            (self.batch, self.ahead) = (None, None);
            self.delivery.take_over().await?;
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
            ReadOutcome::Gap { after, trimmed, .. } => {
                self.observer.gap(&self.name());
                self.delivery.stand_down();
                Err(crate::lane::Gap { after, trimmed }.into())
            }
        }
    }

    fn read_after(&self, batch: Option<&Batch>) -> Ahead {
        let from = |state: &crate::delivery::LaneState| ReadFrom {
            lane: state.lane.clone(),
            after: batch.filter(|batch| batch.lane == state.lane).map_or(state.last_id, Batch::last),
            newest: state.newest.clone(),
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
        let mut detail = self.shared.detail.borrow_mut();
        detail.breaker = self.breaker.state();
        let down = self.breaker.down_since();
        detail.down_since = down.map(|since| rfc3339_ago(since.elapsed()));
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
        detail.owner = taken.then(|| self.delivery.owner().to_string());
        detail.rows_written = counts.rows;
        detail.entries_delivered = counts.entries;
        detail.dead_letters_made = counts.dead;
        let stands = |lane: &LaneId| self.delivery.lanes().iter().find(|state| state.lane == *lane);
        let lanes = self.delivery.wanted_lanes().into_iter().map(|lane| {
            let last = stands(&lane).map(|state| state.last_id);
            (lane, last)
        });
        *self.shared.lanes.borrow_mut() = lanes.collect();
        vitals.publish(&*detail);
        if detail.status == DestinationStatus::Up {
            vitals.running();
        } else {
            vitals.waiting();
        }
    }
}
