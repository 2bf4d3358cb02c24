//! How long to wait before the next try: exponential back-off with jitter, which never gives up.
//!
//! Pure policy for whoever retries calls to the environment (a database, Redis); it neither sleeps nor reads a clock.
//! This is the only file that knows the `backoff` crate; the crate computes the growth, the randomness is handed in so
//! that a test with a seeded generator sees the same waits every time.

use std::time::Duration;

use backoff::{ExponentialBackoff, backoff::Backoff as _};
use rand::Rng;

/// The first wait, before jitter.
pub const INITIAL: Duration = Duration::from_millis(100);
/// No wait is longer than this, jitter included.
pub const MAX: Duration = Duration::from_secs(5);
/// Each wait is this much longer than the one before it.
const MULTIPLIER: f64 = 2.0;
/// A wait is spread by this share to either side, so that those who failed together do not come back together.
const JITTER: f64 = 0.5;

/// A row of growing waits: 100 ms, then double each time, ±50 %, never above 5 s.
///
/// ```
/// # use tidegate_actors::retry::Backoff;
/// let mut backoff = Backoff::default();
/// let wait = backoff.next(&mut rand::rng()); // 50 to 150 ms, then 100 to 300 ms, …
/// backoff.reset(); // after a success
/// # assert!(wait.as_millis() >= 50 && wait.as_millis() <= 150);
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    growth: ExponentialBackoff,
    max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(INITIAL, MAX)
    }
}

impl Backoff {
    /// Waits that begin near `initial` and are never longer than `max`, jitter included.
    #[must_use]
    pub fn new(initial: Duration, max: Duration) -> Self {
        // The growth stops below `max` by the width of the jitter, so that the longest waits are still spread.
        let longest = max.div_f64(1.0 + JITTER);
        let growth = ExponentialBackoff {
            current_interval: initial.min(longest),
            initial_interval: initial.min(longest),
            randomization_factor: 0.0,
            multiplier: MULTIPLIER,
            max_interval: longest,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { growth, max }
    }

    /// How long to wait before the next try; every call waits longer, up to the bound.
    pub fn next(&mut self, rng: &mut impl Rng) -> Duration {
        // Without a `max_elapsed_time` the crate never answers `None`.
        let interval = self.growth.next_backoff().unwrap_or(self.max);
        interval.mul_f64(rng.random_range(1.0 - JITTER..=1.0 + JITTER)).min(self.max)
    }

    /// Begins again with the shortest wait; call it after a success.
    pub fn reset(&mut self) {
        self.growth.reset();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    fn waits(backoff: &mut Backoff, seed: u64, count: usize) -> Vec<Duration> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..count).map(|_| backoff.next(&mut rng)).collect()
    }

    #[test]
    fn waits_double_from_a_tenth_of_a_second_within_their_jitter() {
        let bare = [100, 200, 400, 800, 1600, 3200, 3333, 3333];
        for seed in 0..50 {
            for (wait, bare) in waits(&mut Backoff::default(), seed, bare.len()).into_iter().zip(bare) {
                let ms = wait.as_millis();
                assert!(ms >= bare / 2 && ms <= bare + bare / 2 + 1, "{ms} ms is not {bare} ms ±50 %");
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_waits_and_another_seed_gives_others() {
        let of = |seed| waits(&mut Backoff::default(), seed, 20);
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn the_longest_waits_are_still_spread() {
        let longest = waits(&mut Backoff::default(), 1, 200).split_off(10);
        let (min, max) = (longest.iter().min().unwrap(), longest.iter().max().unwrap());
        assert!(*max - *min > Duration::from_secs(2), "waits between {min:?} and {max:?} only");
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_bound_and_none_is_the_last(
            seed: u64, initial in 1u64..10_000, max in 1u64..60_000, tries in 1usize..300,
        ) {
            let mut backoff = Backoff::new(Duration::from_millis(initial), Duration::from_millis(max));
            for wait in waits(&mut backoff, seed, tries) {
                prop_assert!(wait <= Duration::from_millis(max));
                prop_assert!(wait > Duration::ZERO);
            }
        }

        #[test]
        fn a_reset_begins_again_with_the_shortest_wait(seed: u64, tries in 1usize..50) {
            let mut backoff = Backoff::default();
            waits(&mut backoff, seed, tries);
            backoff.reset();
            let wait = waits(&mut backoff, seed, 1)[0];
            prop_assert!(wait >= INITIAL / 2 && wait <= INITIAL * 3 / 2);
        }
    }
}
