//! How often an actor may be restarted: five times in 30 s, ever more slowly, then not for 30 s, then again.
//!
//! Pure policy for the supervisor, one budget per actor; the time is an argument. An actor is never given up, for its
//! destination's entries wait; but one that cannot live is shown, not spun.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// So many restarts may fall into one [`WINDOW`].
pub const RESTARTS: usize = 5;
/// The stretch of time over which restarts are counted.
pub const WINDOW: Duration = Duration::from_secs(30);
/// How long an actor rests that used up its budget.
pub const COOL_DOWN: Duration = Duration::from_secs(30);
/// The wait before the first restart in a window; each further one waits twice as long.
pub const FIRST_WAIT: Duration = Duration::from_millis(100);

/// One actor's restart budget.
#[derive(Clone, Debug, Default)]
pub struct RestartBudget {
    /// When the restarts of the present window were due, oldest first.
    restarts: VecDeque<Instant>,
    /// The end of the cool-down, once one was ordered.
    cool_until: Option<Instant>,
}

impl RestartBudget {
    /// A full budget.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The actor ended at `now`: when it is to be started again. Counts as one restart.
    pub fn restart_at(&mut self, now: Instant) -> Instant {
        if let Some(until) = self.cool_until.filter(|until| now < *until) {
            return until;
        }
        self.forget(now);
        if self.restarts.len() >= RESTARTS {
            // The restart after the cool-down begins a new window, of which it is the first.
            let until = now + COOL_DOWN;
            self.restarts.clear();
            self.restarts.push_back(until);
            self.cool_until = Some(until);
            return until;
        }
        let doublings = u32::try_from(self.restarts.len()).unwrap_or(u32::MAX);
        let at = now + FIRST_WAIT * 2u32.saturating_pow(doublings);
        self.restarts.push_back(at);
        at
    }

    /// Whether the actor rests because its budget is used up: a reason to raise an alarm.
    #[must_use]
    pub fn is_cooling_down(&self, now: Instant) -> bool {
        self.cool_until.is_some_and(|until| now < until)
    }

    /// Restarts that are left before the next cool-down.
    #[must_use]
    pub fn left(&self, now: Instant) -> usize {
        RESTARTS - self.restarts.iter().filter(|at| now.saturating_duration_since(**at) < WINDOW).count().min(RESTARTS)
    }

    fn forget(&mut self, now: Instant) {
        while self.restarts.front().is_some_and(|at| now.saturating_duration_since(*at) >= WINDOW) {
            self.restarts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// An actor that dies the moment it is started: the waits before each start.
    fn waits_of_a_hopeless_actor(budget: &mut RestartBudget, start: Instant, count: usize) -> Vec<Duration> {
        let mut now = start;
        let mut wait = || {
            let at = budget.restart_at(now);
            let wait = at - now;
            now = at;
            wait
        };
        (0..count).map(|_| wait()).collect()
    }

    #[test]
    fn five_restarts_then_a_rest_then_again() {
        let waits = waits_of_a_hopeless_actor(&mut RestartBudget::new(), Instant::now(), 11);
        let expected = [100, 200, 400, 800, 1600, 30_000, 200, 400, 800, 1600, 30_000].map(ms);
        assert_eq!(waits, expected);
    }

    #[test]
    fn an_actor_that_lives_for_a_while_has_its_budget_back() {
        let start = Instant::now();
        let mut budget = RestartBudget::new();
        waits_of_a_hopeless_actor(&mut budget, start, 4);
        let later = start + WINDOW + WINDOW;
        assert_eq!(budget.left(later), RESTARTS);
        assert_eq!(budget.restart_at(later) - later, FIRST_WAIT);
    }

    #[test]
    fn a_rest_is_shown_and_cannot_be_cut_short() {
        let start = Instant::now();
        let mut budget = RestartBudget::new();
        waits_of_a_hopeless_actor(&mut budget, start, 5);
        let now = start + Duration::from_secs(4);
        assert_eq!(budget.left(now), 0);
        let until = budget.restart_at(now);
        assert!(budget.is_cooling_down(now));
        assert_eq!(budget.restart_at(now + ms(500)), until);
        assert!(!budget.is_cooling_down(until));
    }

    proptest! {
        #[test]
        fn no_window_ever_sees_more_restarts_than_the_budget(lives in proptest::collection::vec(0u64..20_000, 1..60)) {
            let mut budget = RestartBudget::new();
            let mut now = Instant::now();
            let mut starts = Vec::new();
            for life in lives {
                now += ms(life);
                let at = budget.restart_at(now);
                prop_assert!(at > now);
                prop_assert!(at - now <= COOL_DOWN);
                now = at;
                starts.push(at);
            }
            for pair in starts.windows(RESTARTS + 1) {
                prop_assert!(pair[RESTARTS] - pair[0] >= WINDOW, "{} restarts in {:?}", pair.len(), pair[RESTARTS] - pair[0]);
            }
        }
    }
}
