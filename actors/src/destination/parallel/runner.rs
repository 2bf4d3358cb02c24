//! The steps of one parallel destination, one after the other: open, commands, claim, deliver; and what trouble asks for.
//!
//! Spawned by [`super::ParallelActor`] when it starts; it ends when the supervisor says so. Nothing is claimed for a database
//! that is down, and what is in hand then is let go: it stays pending and another node may have it.

use std::time::{Duration, Instant};

use super::super::pace::Pace;
use crate::{
    delivery::{ParallelDelivery, Trouble},
    status::DestinationStatus,
};

pub(super) struct ParallelRunner {
    pub(super) delivery: ParallelDelivery,
    pub(super) pace: Pace,
    /// So many gaps were told of.
    pub(super) gaps: u64,
}

impl ParallelRunner {
    pub(super) async fn run(mut self) {
        while !self.pace.must_stop() {
            if let Some(control) = self.pace.news() {
                self.delivery.learn(control.spec, control.version);
            }
            if self.pace.is_stopped() {
                self.rest().await;
                continue;
            }
            if let Err(trouble) = self.step().await {
                self.meet(trouble).await;
            }
            self.publish();
        }
        self.delivery.release().await;
    }

    /// An operator has stopped it: nothing is claimed, and what is in hand is let go. It stays pending.
    async fn rest(&mut self) {
        self.delivery.let_go();
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
        if self.delivery.wanted_lanes().is_empty() {
            // No routes yet: nothing to claim until there are.
            self.pace.wait(self.pace.limits.block).await;
            self.heartbeat().await;
            return Ok(());
        }
        if !self.delivery.is_open() {
            self.delivery.open().await?;
            self.publish();
        }
        if self.pace.commands_due(now) {
            self.delivery.carry_out_commands().await?;
            if self.delivery.commands_wait() {
                self.pace.commands_first(now);
            }
        }
        if !self.delivery.has_work() {
            let longest = self.pace.limits.block;
            let block = self
                .pace
                .breaker
                .probe_at()
                .map_or(longest, |at| at.saturating_duration_since(now).clamp(Duration::from_millis(1), longest));
            self.delivery.claim(self.pace.batch_entries, block).await?;
        }
        while self.gaps < self.delivery.counts().gaps {
            self.gaps += 1;
            self.pace.observer.gap(&self.pace.name());
        }
        if !self.delivery.has_work() {
            self.pace.nothing_to_do();
            self.heartbeat().await;
            return Ok(());
        }
        let wrote = self.delivery.deliver().await?;
        self.pace.went_well();
        let took = self.delivery.counts().last_write;
        self.pace.committed(wrote.rows, took, wrote.accepted_ms.into_iter());
        self.pace.size_by(took);
        Ok(())
    }

    /// Asks an idle database for a sign of life, so that it shows that it is down before a record finds out.
    async fn heartbeat(&mut self) {
        if self.pace.breaker.probe_due(Instant::now()) {
            self.probe().await;
        }
    }

    async fn wait_for_probe(&mut self, now: Instant) {
        self.delivery.let_go();
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
        self.pace.probed(began, answer);
    }

    /// Does what trouble asks for: waits, forgets, or makes ready to open anew.
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
                self.delivery.let_go();
                self.look_anew(why).await;
            }
            Trouble::TakeOver(why) => {
                tracing::warn!(
                    destination = %self.pace.name(), reason = %why, "looks at its consumer group anew"
                );
                self.look_anew(why).await;
            }
            Trouble::NewVersion => self.pace.wait(self.pace.limits.block).await,
            Trouble::StandBy => self.pace.wait(self.pace.limits.block / 2).await,
        }
    }

    /// Redis may be another one than before: its groups and generations are looked at anew.
    async fn look_anew(&mut self, why: String) {
        self.delivery.close();
        self.pace.shared.detail.borrow_mut().last_error = Some(why);
        self.publish();
        self.pace.wait_backoff().await;
    }

    fn publish(&self) {
        let down = self.pace.breaker.down_since().map(|since| since.elapsed());
        let lanes = self.delivery.wanted_lanes().into_iter().map(|lane| (lane, Some(Default::default())));
        *self.pace.shared.lanes.borrow_mut() = lanes.collect();
        self.pace.publish(&self.delivery.counts(), down, true, |detail| {
            // Everything but that entry goes on.
            if let Some(why) =
                self.delivery.unreadable().filter(|_| down.is_none() && detail.status == DestinationStatus::Up)
            {
                (detail.status, detail.last_error) = (DestinationStatus::Held, Some(why));
            }
        });
    }
}
