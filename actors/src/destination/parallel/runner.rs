//! The steps of one parallel destination, one after the other: open, commands, claim, deliver; and what trouble asks for.
//!
//! Spawned by [`super::ParallelActor`] when it starts; it ends when the supervisor says so. Nothing is claimed for a database
//! that is down, and what is in hand then is let go: it stays pending and another node may have it.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::super::{
    Control, Shared,
    runner::{SLOW_WRITE, SMALLEST_BATCH, told},
};
use crate::{
    breaker::Breaker,
    delivery::{Limits, ParallelDelivery, Trouble},
    ports::{Fault, Observe},
    retry::Backoff,
    status::{DestinationStatus, Vitals, rfc3339_ago},
};

pub(super) struct ParallelRunner {
    pub(super) delivery: ParallelDelivery,
    pub(super) control: watch::Receiver<Control>,
    pub(super) breaker: Breaker,
    pub(super) backoff: Backoff,
    pub(super) hold_backoff: Backoff,
    pub(super) shared: Rc<Shared>,
    /// Weak, so that the actor's own copy is the last to be dropped and tells how it ended.
    pub(super) vitals: std::rc::Weak<Vitals>,
    pub(super) observer: Arc<dyn Observe>,
    pub(super) batch_entries: usize,
    pub(super) commands_at: Instant,
    pub(super) gaps: u64,
    pub(super) limits: Limits,
}

impl ParallelRunner {
    pub(super) async fn run(mut self) {
        while !self.control.borrow().stop {
            if self.control.has_changed().unwrap_or(false) {
                let control = self.control.borrow_and_update().clone();
                self.delivery.learn(control.spec, control.version);
            }
            if let Err(trouble) = self.step().await {
                self.meet(trouble).await;
            }
            self.publish();
        }
        self.delivery.release().await;
    }

    async fn step(&mut self) -> Result<(), Trouble> {
        let now = Instant::now();
        if !self.breaker.may_write() {
            return self.wait_for_probe(now).await;
        }
        if self.delivery.wanted_lanes().is_empty() {
            // No routes yet: nothing to claim until there are.
            self.wait(self.limits.block).await;
            return self.heartbeat().await;
        }
        if !self.delivery.is_open() {
            self.delivery.open().await?;
            self.publish();
        }
        if now >= self.commands_at {
            self.commands_at = now + self.limits.commands;
            self.delivery.carry_out_commands().await?;
        }
        if !self.delivery.has_work() {
            let block = self.breaker.probe_at().map_or(self.limits.block, |at| {
                at.saturating_duration_since(now).clamp(Duration::from_millis(1), self.limits.block)
            });
            self.delivery.claim(self.batch_entries, block).await?;
        }
        while self.gaps < self.delivery.counts().gaps {
            self.gaps += 1;
            self.observer.gap(&self.name());
        }
        if !self.delivery.has_work() {
            // The log answered: what went wrong before is over.
            self.backoff.reset();
            return self.heartbeat().await;
        }
        let wrote = self.delivery.deliver().await?;
        self.breaker.on_success(Instant::now());
        self.backoff.reset();
        self.hold_backoff.reset();
        {
            let mut detail = self.shared.detail.borrow_mut();
            (detail.held, detail.last_error) = (None, None);
        }
        let took = self.delivery.counts().last_write;
        self.observer.committed(&self.name(), wrote.rows, took, &mut wrote.accepted_ms.into_iter());
        if took > SLOW_WRITE {
            self.shrink();
        } else if took < SLOW_WRITE / 4 {
            self.batch_entries = (self.batch_entries * 2).min(self.limits.batch_entries);
        }
        Ok(())
    }

    /// Asks an idle database for a sign of life, so that it shows that it is down before a record finds out.
    async fn heartbeat(&mut self) -> Result<(), Trouble> {
        if self.breaker.probe_due(Instant::now()) {
            self.probe().await;
        }
        Ok(())
    }

    async fn wait_for_probe(&mut self, now: Instant) -> Result<(), Trouble> {
        self.delivery.let_go();
        if self.breaker.probe_due(now) {
            self.probe().await;
            return Ok(());
        }
        let at = self.breaker.probe_at().unwrap_or(now + self.limits.block);
        self.wait(at.saturating_duration_since(now).min(self.limits.block)).await;
        Ok(())
    }

    async fn probe(&mut self) {
        let began = Instant::now();
        self.breaker.begin_probe(began);
        self.publish();
        let answer = self.delivery.probe().await;
        let now = Instant::now();
        match answer {
            // A database that answers in words is there; the next write finds out whether it takes writes.
            Ok(()) | Err(Trouble::Hold(_)) => {
                self.shared.detail.borrow_mut().heartbeat_ms = Some((now - began).as_secs_f64() * 1_000.0);
                if !self.breaker.may_write() {
                    tracing::info!(destination = %self.name(), "answers again");
                }
                self.breaker.on_probe(now, Ok(()));
            }
            Err(Trouble::Database(fault)) => self.breaker.on_probe(now, Err(fault)),
            Err(other) => self.breaker.on_probe(now, Err(Fault::lost(other.to_string()))),
        }
    }

    /// Does what trouble asks for: waits, forgets, or makes ready to open anew.
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
                if self.shared.detail.borrow().held.as_deref() != Some(&why) {
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
                self.delivery.let_go();
                self.look_anew(why).await;
            }
            Trouble::TakeOver(why) => {
                tracing::warn!(destination = %self.name(), reason = %why, "looks at its consumer group anew");
                self.look_anew(why).await;
            }
            Trouble::NewVersion => self.wait(self.limits.block).await,
            Trouble::StandBy => self.wait(self.limits.block / 2).await,
        }
    }

    /// Redis may be another one than before: its groups and generations are looked at anew.
    async fn look_anew(&mut self, why: String) {
        self.delivery.close();
        self.shared.detail.borrow_mut().last_error = Some(why);
        self.publish();
        self.wait_backoff().await;
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

    fn shrink(&mut self) {
        self.batch_entries = (self.batch_entries / 2).max(SMALLEST_BATCH.min(self.limits.batch_entries));
    }

    fn name(&self) -> Arc<str> {
        Arc::clone(&self.control.borrow().spec.name)
    }

    fn publish(&self) {
        let Some(vitals) = self.vitals.upgrade() else { return };
        let counts = self.delivery.counts();
        let unreadable = self.delivery.unreadable();
        let mut detail = self.shared.detail.borrow_mut();
        detail.breaker = self.breaker.state();
        let down = self.breaker.down_since();
        detail.down_since = down.map(|since| rfc3339_ago(since.elapsed()));
        detail.status = match (detail.held.is_some() || unreadable.is_some(), down) {
            (_, Some(_)) => DestinationStatus::Down,
            (true, None) => DestinationStatus::Held,
            (false, None) => DestinationStatus::Up,
        };
        if down.is_some() {
            detail.last_error = self.breaker.last_error().map(|fault| fault.message.clone());
        } else if unreadable.is_some() {
            detail.last_error = unreadable;
        }
        detail.rows_written = counts.rows;
        detail.entries_delivered = counts.entries;
        detail.dead_letters_made = counts.dead;
        *self.shared.lanes.borrow_mut() =
            self.delivery.wanted_lanes().into_iter().map(|lane| (lane, Some(Default::default()))).collect();
        vitals.publish(&*detail);
        if detail.status == DestinationStatus::Up {
            vitals.running();
        } else {
            vitals.waiting();
        }
    }
}
