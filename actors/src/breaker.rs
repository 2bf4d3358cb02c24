//! The circuit breaker of one destination: whether a write may be tried now, and when to ask the database again.
//!
//! Pure policy: the time is an argument and nothing waits in here. The destination's actor reports what became of its
//! writes and probes, and asks [`Breaker::may_write`] and [`Breaker::probe_due`] before it does either.

use std::time::{Duration, Instant};

use rand::{SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use crate::{ports::Fault, retry::Backoff};

/// The three states of a circuit breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Writes go through.
    #[default]
    Closed,
    /// No writes; a probe comes in a while.
    Open,
    /// No writes; a probe is under way.
    HalfOpen,
}

impl BreakerState {
    /// The word in `/health/actors` and the console.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The breaker's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// So many failures in a row open it, even if the connection was never lost.
    pub failures_to_open: u32,
    /// A closed breaker is probed when the database was not heard of for this long: the heartbeat of an idle destination.
    pub heartbeat: Duration,
    /// A probe that has not answered by then has failed.
    pub probe_limit: Duration,
    /// The first wait between two probes of an open breaker; it doubles from there.
    pub first_probe_after: Duration,
    /// The longest wait between two probes, jitter included. With `probe_limit` it is 5 s at most: so long can a database
    /// be back without being noticed.
    pub longest_probe_wait: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures_to_open: 5,
            heartbeat: Duration::from_secs(2),
            probe_limit: Duration::from_secs(2),
            first_probe_after: Duration::from_millis(200),
            longest_probe_wait: Duration::from_secs(3),
        }
    }
}

/// Why the breaker is not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    ConnectionLost,
    FailuresInARow,
    Operator,
}

/// One destination's circuit breaker.
///
/// closed → open on a lost connection or `failures_to_open` failures in a row → half-open while the heartbeat's probe is
/// under way → closed when it succeeds, open again when it does not.
#[derive(Clone, Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    state: BreakerState,
    /// When `state` was entered.
    since: Instant,
    /// When it last left closed; `None` while closed.
    opened: Option<(Instant, Cause)>,
    failures: u32,
    last_error: Option<Fault>,
    /// When the database last answered, or the breaker was made.
    heard: Instant,
    /// When the probe under way was begun, in whatever state.
    probing: Option<Instant>,
    /// When an open breaker is probed next.
    next_probe: Instant,
    backoff: Backoff,
    jitter: StdRng,
}

impl Breaker {
    /// A closed breaker. `seed` decides the jitter between probes: random in a node, fixed in a test.
    #[must_use]
    pub fn new(settings: BreakerSettings, now: Instant, seed: u64) -> Self {
        Self {
            settings,
            state: BreakerState::Closed,
            since: now,
            opened: None,
            failures: 0,
            last_error: None,
            heard: now,
            probing: None,
            next_probe: now,
            backoff: Backoff::new(settings.first_probe_after, settings.longest_probe_wait),
            jitter: StdRng::seed_from_u64(seed),
        }
    }

    /// Its numbers.
    #[must_use]
    pub fn settings(&self) -> &BreakerSettings {
        &self.settings
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        self.state
    }

    /// When it came to its present state.
    #[must_use]
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Since when nothing may be written (open and half-open are one stretch); `None` while closed.
    #[must_use]
    pub fn down_since(&self) -> Option<Instant> {
        self.opened.map(|(since, _)| since)
    }

    /// Failures in a row since the last success, those of an open breaker's probes not counted.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// What went wrong last, also after it was overcome.
    #[must_use]
    pub fn last_error(&self) -> Option<&Fault> {
        self.last_error.as_ref()
    }

    /// Whether an operator opened it: then only an operator closes it.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        matches!(self.opened, Some((_, Cause::Operator)))
    }

    /// Whether a write may be tried.
    #[must_use]
    pub fn may_write(&self) -> bool {
        self.state == BreakerState::Closed
    }

    /// Whether a probe is to be begun now: call [`Breaker::begin_probe`], ask the database with a time limit of
    /// [`BreakerSettings::probe_limit`], and report to [`Breaker::on_probe`].
    #[must_use]
    pub fn probe_due(&self, now: Instant) -> bool {
        self.probe_at().is_some_and(|at| now >= at)
    }

    /// When [`Breaker::probe_due`] will become true if nothing else happens; `None` if an operator opened the breaker.
    #[must_use]
    pub fn probe_at(&self) -> Option<Instant> {
        if self.is_forced() {
            return None;
        }
        // A probe whose result was never reported must not be the last one.
        let after_lost_probe = self.probing.map(|begun| begun + self.settings.probe_limit);
        Some(after_lost_probe.unwrap_or(match self.state {
            BreakerState::Closed => self.heard + self.settings.heartbeat,
            BreakerState::Open | BreakerState::HalfOpen => self.next_probe,
        }))
    }

    /// A probe begins: an open breaker becomes half-open.
    pub fn begin_probe(&mut self, now: Instant) {
        if self.is_forced() {
            return;
        }
        self.probing = Some(now);
        if self.state == BreakerState::Open {
            self.enter(BreakerState::HalfOpen, now);
        }
    }

    /// A probe ended, or its time ran out (then with a [`Fault::lost`]).
    pub fn on_probe(&mut self, now: Instant, result: Result<(), Fault>) {
        self.probing = None;
        if self.is_forced() {
            return;
        }
        match (result, self.state) {
            (Ok(()), BreakerState::Closed) => self.heard = now,
            (Ok(()), BreakerState::Open | BreakerState::HalfOpen) => self.close(now),
            (Err(fault), BreakerState::Closed) => self.on_failure(now, &fault),
            (Err(fault), BreakerState::Open | BreakerState::HalfOpen) => {
                self.last_error = Some(fault);
                self.wait_for_next_probe(now);
                if self.state == BreakerState::HalfOpen {
                    self.enter(BreakerState::Open, now);
                }
            }
        }
    }

    /// A write, or anything else that proves more than a probe, succeeded.
    pub fn on_success(&mut self, now: Instant) {
        if self.is_forced() {
            return;
        }
        self.failures = 0;
        self.backoff.reset();
        if self.state == BreakerState::Closed {
            self.heard = now;
        } else {
            self.close(now);
            self.failures = 0;
        }
    }

    /// A write failed for a reason of the environment. A lost connection opens the breaker at once.
    pub fn on_failure(&mut self, now: Instant, fault: &Fault) {
        self.last_error = Some(fault.clone());
        if self.state != BreakerState::Closed {
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let cause = if fault.connection_lost {
            Cause::ConnectionLost
        } else if self.failures >= self.settings.failures_to_open {
            Cause::FailuresInARow
        } else {
            // It answered, if only to refuse.
            self.heard = now;
            return;
        };
        self.open(now, cause);
    }

    /// An operator stops all writing; it stays so until [`Breaker::release`].
    pub fn force_open(&mut self, now: Instant) {
        self.open(now, Cause::Operator);
    }

    /// An operator has the database asked at once, also where the breaker opened by itself: failures and waits are forgotten.
    /// It closes when the probe, which is due now, succeeds.
    pub fn release(&mut self, now: Instant) {
        self.failures = 0;
        self.backoff.reset();
        self.probing = None;
        self.next_probe = now;
        let Some((since, _)) = self.opened else { return };
        self.opened = Some((since, Cause::ConnectionLost));
        if self.state != BreakerState::Open {
            self.enter(BreakerState::Open, now);
        }
    }

    fn open(&mut self, now: Instant, cause: Cause) {
        let since = self.opened.map_or(now, |(since, _)| since);
        self.opened = Some((since, cause));
        self.probing = None;
        self.wait_for_next_probe(now);
        if self.state != BreakerState::Open {
            self.enter(BreakerState::Open, now);
        }
    }

    fn close(&mut self, now: Instant) {
        // A database that answers probes and fails every write must not get all its failures anew each time: one more
        // opens the breaker again. The wait between probes goes on growing too, until a write succeeds.
        self.failures = match self.opened {
            Some((_, Cause::FailuresInARow)) => self.settings.failures_to_open.saturating_sub(1),
            _ => 0,
        };
        self.opened = None;
        self.probing = None;
        self.heard = now;
        self.enter(BreakerState::Closed, now);
    }

    fn wait_for_next_probe(&mut self, now: Instant) {
        self.next_probe = now + self.backoff.next(&mut self.jitter);
    }

    fn enter(&mut self, state: BreakerState, now: Instant) {
        self.state = state;
        self.since = now;
    }
}

#[cfg(test)]
mod tests;
