//! Until when the lease of a destination is certainly ours: shared by the delivery, which takes it, and the actor, which
//! renews it beside the steps, also while a step of the take-over itself is slow.

use std::{
    cell::RefCell,
    fmt,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::transaction::LaneId;

/// Until when the lease is certainly ours, and whose it is. Clones are the same clock.
#[derive(Clone)]
pub struct LeaseClock {
    held: Rc<RefCell<Option<Held>>>,
    now: Rc<dyn Fn() -> Instant>,
}

impl Default for LeaseClock {
    fn default() -> Self {
        Self::counting(Instant::now)
    }
}

impl fmt::Debug for LeaseClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LeaseClock").field(&self.held).finish()
    }
}

#[derive(Debug)]
struct Held {
    owner: Arc<str>,
    lanes: Vec<LaneId>,
    until: Instant,
}

impl LeaseClock {
    /// A clock that takes the time from `now`; a simulation turns it by hand.
    #[must_use]
    pub fn counting(now: impl Fn() -> Instant + 'static) -> Self {
        Self { held: Rc::default(), now: Rc::new(now) }
    }

    /// The time by which leases are counted.
    #[must_use]
    pub fn now(&self) -> Instant {
        (self.now)()
    }

    /// A new acquisition: asked for at `asked`, and granted for `ttl` from some later moment.
    pub fn taken(&self, owner: Arc<str>, lanes: Vec<LaneId>, asked: Instant, ttl: Duration) {
        *self.held.borrow_mut() = Some(Held { owner, lanes, until: asked + ttl });
    }

    /// The answer to a renewal by `owner`; one for an acquisition that was given up meanwhile says nothing.
    pub fn renewed(&self, owner: &str, granted: bool, asked: Instant, ttl: Duration) {
        let mut held = self.held.borrow_mut();
        match held.as_mut().filter(|held| *held.owner == *owner) {
            Some(held) if granted => held.until = asked + ttl,
            Some(_) => *held = None,
            None => {}
        }
    }

    /// The lease is gone.
    pub fn lost(&self) {
        *self.held.borrow_mut() = None;
    }

    /// Whose it is, and for which lanes: what is to be renewed.
    #[must_use]
    pub fn holder(&self) -> Option<(Arc<str>, Vec<LaneId>)> {
        self.held.borrow().as_ref().map(|held| (Arc::clone(&held.owner), held.lanes.clone()))
    }

    /// Whether it is still ours now.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.held.borrow().as_ref().is_some_and(|held| self.now() < held.until)
    }
}
