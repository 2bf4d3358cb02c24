//! How many records a second an application may send to this node, with a burst of one second: a token bucket for each
//! application that has a limit, shared by the node's workers.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _, clock::DefaultClock};

/// One application's bucket.
pub(crate) struct Bucket {
    per_s: NonZeroU32,
    limiter: DefaultDirectRateLimiter,
}

/// Why records are not taken now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Throttled {
    /// They are, after so long.
    After(Duration),
    /// More in one request than may come in a second: never.
    MoreThanABurst(u32),
}

impl Bucket {
    /// Takes so many records, all or none.
    pub(crate) fn take(&self, records: usize) -> Result<(), Throttled> {
        let Some(records) = u32::try_from(records).ok().and_then(NonZeroU32::new) else { return Ok(()) };
        match self.limiter.check_n(records) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(Throttled::After(not_until.wait_time_from(DefaultClock::default().now()))),
            Err(_) => Err(Throttled::MoreThanABurst(self.per_s.get())),
        }
    }
}

/// The buckets of a node. Clones are the same.
#[derive(Clone, Default)]
pub struct Throttle {
    buckets: Arc<Mutex<HashMap<String, Arc<Bucket>>>>,
}

impl Throttle {
    /// The bucket of an application; the one that there is, where its limit is the same.
    pub(crate) fn of(&self, application: &str, per_s: Option<u32>) -> Option<Arc<Bucket>> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(per_s) = per_s.and_then(NonZeroU32::new) else {
            buckets.remove(application);
            return None;
        };
        if let Some(known) = buckets.get(application).filter(|known| known.per_s == per_s) {
            return Some(Arc::clone(known));
        }
        // A quota's burst is as large as what comes in its second.
        let bucket = Arc::new(Bucket { per_s, limiter: RateLimiter::direct(Quota::per_second(per_s)) });
        buckets.insert(application.to_owned(), Arc::clone(&bucket));
        Some(bucket)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_of_records_is_taken_at_once_and_the_next_waits() {
        let throttle = Throttle::default();
        let bucket = throttle.of("a", Some(10)).unwrap();
        assert_eq!(bucket.take(10), Ok(()));
        let Err(Throttled::After(wait)) = bucket.take(1) else { unreachable!() };
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
        assert_eq!(bucket.take(11), Err(Throttled::MoreThanABurst(10)), "it would wait for ever");
    }

    #[test]
    fn workers_share_a_bucket_and_another_limit_is_another_one() {
        let throttle = Throttle::default();
        let (one, other) = (throttle.of("a", Some(10)).unwrap(), throttle.of("a", Some(10)).unwrap());
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &throttle.of("a", Some(20)).unwrap()));
        assert!(throttle.of("a", None).is_none());
        assert!(throttle.of("b", None).is_none());
    }
}
