//! When the next step of a destination may be done, and how large its batches may be: all that ordered and parallel ones have
//! in common.
//!
//! It joins the breaker, the back-offs and the batch size with what the supervisor says and what the node shows of the
//! destination. The two runners ask it between their steps; what a step does, and what trouble costs it, is theirs.

use std::{
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{Control, Shared};
use crate::{
    breaker::{Breaker, BreakerSettings},
    delivery::{Counts, Limits, Trouble},
    ports::{Fault, Observe},
    progress::Progress,
    retry::Backoff,
    route::ByHand,
    status::{DestinationDetail, DestinationStatus, Vitals, rfc3339_ago},
};

/// A write that takes longer than this makes the next batches smaller; one that takes less than a quarter, larger again.
const SLOW_WRITE: Duration = Duration::from_secs(2);
/// No batch is made smaller than this.
const SMALLEST_BATCH: usize = 50;
/// How long one that an operator has stopped looks at nothing, if the supervisor has nothing to say.
const REST: Duration = Duration::from_secs(5);
/// How often a held destination looks whether it may go on, at first and at last.
const HOLD_WAIT: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));

/// The pace of one destination.
pub(super) struct Pace {
    pub(super) control: watch::Receiver<Control>,
    pub(super) breaker: Breaker,
    pub(super) shared: Rc<Shared>,
    pub(super) observer: Arc<dyn Observe>,
    pub(super) limits: Limits,
    /// Entries in the next batch, at most.
    pub(super) batch_entries: usize,
    backoff: Backoff,
    hold_backoff: Backoff,
    /// When the catalogue is looked at again for the sake of tables that wait, and how long after that.
    tables_at: Instant,
    tables_backoff: Backoff,
    commands_at: Instant,
    /// How often the breaker had been closed by hand when we last looked.
    closings: u64,
    /// Weak, so that the actor's own copy is the last to be dropped and tells how it ended.
    vitals: Weak<Vitals>,
}

/// Returns when the supervisor has something to say.
pub(super) async fn told(control: &mut watch::Receiver<Control>) {
    match control.changed().await {
        Ok(()) => control.mark_changed(),
        // The supervisor is gone: the node is shutting down without us. Nothing to learn; do not spin.
        Err(_) => std::future::pending().await,
    }
}

impl Pace {
    pub(super) fn new(
        control: watch::Receiver<Control>,
        limits: Limits,
        shared: &Rc<Shared>,
        vitals: &Rc<Vitals>,
        observer: &Arc<dyn Observe>,
    ) -> Self {
        let now = Instant::now();
        let mut breaker = Breaker::new(BreakerSettings::default(), now, rand::random());
        let by_hand = control.borrow().spec.by_hand.clone();
        if by_hand.breaker_open.is_some() {
            breaker.force_open(now);
        }
        Self {
            control,
            breaker,
            closings: by_hand.breaker_closings,
            shared: Rc::clone(shared),
            observer: Arc::clone(observer),
            limits,
            batch_entries: limits.batch_entries,
            backoff: Backoff::default(),
            hold_backoff: Backoff::new(HOLD_WAIT.0, HOLD_WAIT.1),
            tables_at: now,
            tables_backoff: Backoff::new(HOLD_WAIT.0, HOLD_WAIT.1),
            commands_at: now,
            vitals: Rc::downgrade(vitals),
        }
    }

    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.control.borrow().spec.name)
    }

    pub(super) fn must_stop(&self) -> bool {
        self.control.borrow().stop
    }

    /// What the supervisor said since it was last asked for.
    pub(super) fn news(&mut self) -> Option<Control> {
        if !self.control.has_changed().unwrap_or(false) {
            return None;
        }
        let control = self.control.borrow_and_update().clone();
        self.obey(&control.spec.by_hand);
        Some(control)
    }

    /// The breaker does as operators say.
    fn obey(&mut self, by_hand: &ByHand) {
        let now = Instant::now();
        let closed = std::mem::replace(&mut self.closings, by_hand.breaker_closings) != by_hand.breaker_closings;
        match (by_hand.breaker_open.is_some(), self.breaker.is_forced()) {
            (true, false) => self.breaker.force_open(now),
            (true, true) => return,
            (false, true) => self.breaker.release(now),
            (false, false) if closed => self.breaker.release(now),
            (false, false) => return,
        }
        self.backoff.reset();
        self.hold_backoff.reset();
    }

    /// Whether an operator has stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        self.control.borrow().spec.by_hand.stops()
    }

    /// Waits while it is stopped: until the next sign of life is to be asked for, if any is, or there is something to hear.
    pub(super) async fn rest(&mut self) {
        let now = Instant::now();
        let probe = self.breaker.probe_at().map(|at| at.saturating_duration_since(now));
        self.wait(probe.map_or(REST, |wait| wait.clamp(Duration::from_millis(1), REST))).await;
    }

    pub(super) fn progress(&self) -> Option<Progress> {
        self.vitals.upgrade().map(|vitals| vitals.progress().clone())
    }

    /// Whether it is time to look for commands; it is again after a while.
    pub(super) fn commands_due(&mut self, now: Instant) -> bool {
        let due = now >= self.commands_at;
        if due {
            self.commands_at = now + self.limits.commands;
        }
        due
    }

    /// Whether it is time to look at tables that wait; it is again after a while that grows while they do.
    pub(super) fn tables_due(&mut self, now: Instant) -> bool {
        let due = now >= self.tables_at;
        if due {
            self.tables_at = now + self.tables_backoff.next(&mut rand::rng());
        }
        due
    }

    /// No table waits: the next one that does is looked at soon.
    pub(super) fn no_table_waits(&mut self) {
        self.tables_backoff.reset();
    }

    /// Commands are looked for next.
    pub(super) fn commands_first(&mut self, now: Instant) {
        self.commands_at = now;
    }

    /// Waits, but not longer than until the supervisor has something to say.
    pub(super) async fn wait(&mut self, time: Duration) {
        let zone = self.progress().map(|progress| progress.slow_zone(time + Duration::from_secs(1)));
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            () = told(&mut self.control) => {}
        }
        drop(zone);
    }

    pub(super) async fn wait_backoff(&mut self) {
        let wait = self.backoff.next(&mut rand::rng());
        self.wait(wait).await;
    }

    /// Waits while the breaker is open, for a while or until the next probe is due.
    pub(super) async fn wait_for_probe(&mut self, now: Instant) {
        let at = self.breaker.probe_at().unwrap_or(now + self.limits.block);
        self.wait(at.saturating_duration_since(now).min(self.limits.block)).await;
    }

    /// Before a probe; when it began.
    pub(super) fn begin_probe(&mut self) -> Instant {
        let now = Instant::now();
        self.breaker.begin_probe(now);
        now
    }

    /// What a probe came to; true where the database was down before it.
    pub(super) fn probed(&mut self, began: Instant, answer: Result<(), Trouble>) -> bool {
        let now = Instant::now();
        let fault = match answer {
            // A database that answers in words is there; the next write finds out whether it takes writes.
            Ok(()) | Err(Trouble::Hold(_) | Trouble::Undecided(_)) => {
                self.shared.detail.borrow_mut().heartbeat_ms = Some((now - began).as_secs_f64() * 1_000.0);
                let was_down = !self.breaker.may_write();
                self.breaker.on_probe(now, Ok(()));
                if was_down {
                    tracing::info!(destination = %self.name(), "answers again");
                }
                return was_down;
            }
            Err(Trouble::Database(fault)) => fault,
            Err(other) => Fault::lost(other.to_string()),
        };
        self.breaker.on_probe(now, Err(fault));
        false
    }

    /// A write failed for a reason that may pass.
    pub(super) fn failed(&mut self, fault: &Fault) {
        if self.breaker.may_write() {
            tracing::warn!(destination = %self.name(), error = %fault, "could not write");
        }
        self.breaker.on_failure(Instant::now(), fault);
        self.shrink();
    }

    /// After a failure: an open breaker has a wait of its own.
    pub(super) async fn wait_after_failure(&mut self) {
        if self.breaker.may_write() {
            self.wait_backoff().await;
        }
    }

    /// It must not go on before something is put right, or decided (`undecided`). The database answered, though.
    pub(super) fn hold(&mut self, why: String, undecided: bool) {
        if self.shared.detail.borrow().held.as_deref() != Some(&why) {
            tracing::error!(destination = %self.name(), reason = %why, "held");
        }
        self.breaker.on_success(Instant::now());
        let mut detail = self.shared.detail.borrow_mut();
        detail.last_error = Some(why.clone());
        (detail.held, detail.undecided) = (Some(why), undecided);
    }

    pub(super) async fn wait_while_held(&mut self) {
        let wait = self.hold_backoff.next(&mut rand::rng());
        self.wait(wait).await;
    }

    /// A batch was written.
    pub(super) fn went_well(&mut self) {
        self.breaker.on_success(Instant::now());
        self.backoff.reset();
        self.hold_backoff.reset();
        let mut detail = self.shared.detail.borrow_mut();
        (detail.held, detail.last_error) = (None, None);
    }

    /// The log answered, and there was nothing to write.
    pub(super) fn nothing_to_do(&mut self) {
        self.backoff.reset();
    }

    /// Tells that a batch was committed, and shows how long its oldest message took to get there.
    pub(super) fn committed(&self, rows: u64, took: Duration, accepted_ms: impl Iterator<Item = u64>) {
        let mut accepted_ms = accepted_ms.peekable();
        if let Some(oldest) = accepted_ms.peek() {
            self.shared.detail.borrow_mut().arrival_ms = Some(super::age_s(*oldest) * 1_000.0);
        }
        self.observer.committed(&self.name(), rows, took, &mut accepted_ms);
    }

    /// Makes the next batches smaller or larger by how long the database took.
    pub(super) fn size_by(&mut self, took: Duration) {
        if took > SLOW_WRITE {
            self.shrink();
        } else if took < SLOW_WRITE / 4 {
            self.batch_entries = (self.batch_entries * 2).min(self.limits.batch_entries);
        }
    }

    fn shrink(&mut self) {
        self.batch_entries = (self.batch_entries / 2).max(SMALLEST_BATCH.min(self.limits.batch_entries));
    }

    /// Shows how it does: `down` for how long, and whether it is `ready` to write; `rest` adds what is particular.
    pub(super) fn publish(
        &self,
        counts: &Counts,
        down: Option<Duration>,
        ready: bool,
        rest: impl FnOnce(&mut DestinationDetail),
    ) {
        let Some(vitals) = self.vitals.upgrade() else { return };
        let mut detail = self.shared.detail.borrow_mut();
        let by_hand = self.control.borrow().spec.by_hand.clone();
        // One that is left alone is neither up nor down as far as anybody knows.
        let down = down.filter(|_| !self.breaker.is_forced());
        detail.breaker = self.breaker.state();
        detail.undecided &= detail.held.is_some();
        detail.paused = by_hand.paused.as_ref().map(Into::into);
        detail.breaker_by_hand = by_hand.breaker_open.as_ref().map(Into::into);
        detail.down_since = down.map(rfc3339_ago);
        detail.status = match (&detail.held, down) {
            _ if by_hand.stops() => DestinationStatus::Paused,
            (_, Some(_)) => DestinationStatus::Down,
            (Some(_), None) => DestinationStatus::Held,
            (None, None) if ready => DestinationStatus::Up,
            (None, None) => DestinationStatus::Standby,
        };
        if down.is_some() {
            detail.last_error = self.breaker.last_error().map(|fault| fault.message.clone());
        }
        detail.rows_written = counts.rows;
        detail.entries_delivered = counts.entries;
        detail.dead_letters_made = counts.dead;
        rest(&mut detail);
        vitals.publish(&*detail);
        if detail.status == DestinationStatus::Up {
            vitals.running();
        } else {
            vitals.waiting();
        }
    }
}
