//! The heartbeat of an actor: not that it answers, but that its work gets on.
//!
//! The work itself bumps a [`Progress`] wherever it got one step further, and marks waits that are known to be slow; the
//! supervisor reads it from another thread and calls an actor hung that did neither for too long.

use std::{
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What the milliseconds count from. An `Instant` does not fit into an atomic; the distance to this one does.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn millis(now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(*START).as_millis()).unwrap_or(u64::MAX)
}

/// When an actor last got on. Clones are the same heartbeat.
#[derive(Clone, Debug)]
pub struct Progress {
    beat: Arc<Beat>,
}

#[derive(Debug)]
struct Beat {
    last_ms: AtomicU64,
    zones: Mutex<Zones>,
}

/// The slow waits under way; more than one where an actor waits for several things at once.
#[derive(Debug, Default)]
struct Zones {
    next: u64,
    until_ms: Vec<(u64, u64)>,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress {
    /// A heartbeat that was just heard.
    #[must_use]
    pub fn new() -> Self {
        let beat = Beat { last_ms: AtomicU64::new(millis(Instant::now())), zones: Mutex::default() };
        Self { beat: Arc::new(beat) }
    }

    /// The work got on.
    pub fn bump(&self) {
        self.bump_at(Instant::now());
    }

    fn bump_at(&self, now: Instant) {
        self.beat.last_ms.fetch_max(millis(now), Ordering::Relaxed);
    }

    /// A wait begins that may take up to `limit` without being a sign of anything (a blocking read, a large commit).
    /// Until the guard is dropped, or the limit is over, the actor isn't hung; the drop is progress.
    #[must_use = "the zone ends when this is dropped"]
    pub fn slow_zone(&self, limit: Duration) -> SlowZone {
        self.slow_zone_at(Instant::now(), limit)
    }

    fn slow_zone_at(&self, now: Instant, limit: Duration) -> SlowZone {
        self.bump_at(now);
        let mut zones = self.zones();
        let ticket = zones.next;
        zones.next += 1;
        zones.until_ms.push((ticket, millis(now + limit)));
        SlowZone { progress: self.clone(), ticket }
    }

    /// How long ago the work last got on.
    #[must_use]
    pub fn last(&self) -> Duration {
        self.ago(Instant::now())
    }

    /// How long before `now` the work last got on.
    #[must_use]
    pub fn ago(&self, now: Instant) -> Duration {
        Duration::from_millis(millis(now).saturating_sub(self.beat.last_ms.load(Ordering::Relaxed)))
    }

    /// Whether nothing moved for longer than `limit`, and no slow wait accounts for it.
    #[must_use]
    pub fn hung(&self, now: Instant, limit: Duration) -> bool {
        let now_ms = millis(now);
        self.ago(now) > limit && self.zones().until_ms.iter().all(|(_, until_ms)| now_ms > *until_ms)
    }

    fn zones(&self) -> MutexGuard<'_, Zones> {
        // A panic cannot leave the list half changed.
        self.beat.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A known slow wait; dropping it ends the wait. See [`Progress::slow_zone`].
#[derive(Debug)]
pub struct SlowZone {
    progress: Progress,
    ticket: u64,
}

impl Drop for SlowZone {
    fn drop(&mut self) {
        self.progress.zones().until_ms.retain(|(ticket, _)| *ticket != self.ticket);
        self.progress.bump();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_actor_that_does_not_get_on_is_hung_after_the_limit() {
        let progress = Progress::new();
        let start = Instant::now();
        progress.bump_at(start);
        assert!(!progress.hung(start + LIMIT, LIMIT));
        assert!(progress.hung(start + LIMIT + s(1), LIMIT));
        progress.bump_at(start + s(9));
        assert!(!progress.hung(start + LIMIT + s(1), LIMIT));
        assert_eq!(progress.ago(start + s(12)), s(3));
    }

    #[test]
    fn a_slow_wait_is_not_hung_before_its_own_limit() {
        let progress = Progress::new();
        let start = Instant::now();
        let zone = progress.slow_zone_at(start, s(30));
        assert!(!progress.hung(start + s(29), LIMIT));
        assert!(progress.hung(start + s(31), LIMIT));
        drop(zone);
        assert!(!progress.hung(Instant::now(), LIMIT), "the end of a wait is progress");
    }

    #[test]
    fn a_wait_that_has_ended_excuses_nothing() {
        let progress = Progress::new();
        let start = Instant::now();
        drop(progress.slow_zone_at(start, s(300)));
        assert!(progress.hung(start + s(60), LIMIT));
    }

    #[test]
    fn waits_may_overlap_and_end_in_any_order() {
        let progress = Progress::new();
        let start = Instant::now();
        let first = progress.slow_zone_at(start, s(100));
        let second = progress.slow_zone_at(start, s(50));
        drop(first);
        assert!(!progress.hung(start + s(49), LIMIT));
        assert!(progress.hung(start + s(51), LIMIT));
        drop(second);
    }

    #[test]
    fn another_thread_sees_it() {
        let progress = Progress::new();
        let seen = progress.clone();
        let zone = progress.slow_zone(s(60));
        let later = Instant::now() + s(30);
        assert!(!std::thread::spawn(move || seen.hung(later, LIMIT)).join().unwrap_or(true));
        drop(zone);
    }

    proptest! {
        #[test]
        fn it_is_hung_exactly_when_the_last_bump_is_older_than_the_limit(
            bumps in proptest::collection::vec(0u64..100_000, 1..20), at in 0u64..200_000, limit in 1u64..50_000,
        ) {
            let progress = Progress::new();
            let start = Instant::now();
            for bump in &bumps {
                progress.bump_at(start + Duration::from_millis(*bump));
            }
            let newest = bumps.iter().max().copied().unwrap_or(0);
            let now = start + Duration::from_millis(at);
            prop_assert_eq!(progress.hung(now, Duration::from_millis(limit)), at.saturating_sub(newest) > limit);
        }
    }
}
