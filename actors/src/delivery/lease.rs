//! Until when the lease of a destination is certainly ours: shared by the delivery, which takes it, and the actor, which
//! renews it beside the steps, also while a step of the take-over itself is slow.

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::transaction::LaneId;

/// Until when the lease is certainly ours, and whose it is. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct LeaseClock(Rc<RefCell<Option<Held>>>);

#[derive(Debug)]
struct Held {
    owner: Arc<str>,
    lanes: Vec<LaneId>,
    until: Instant,
}

impl LeaseClock {
    /// A new acquisition: asked for at `asked`, and granted for `ttl` from some later moment.
    pub fn taken(&self, owner: Arc<str>, lanes: Vec<LaneId>, asked: Instant, ttl: Duration) {
        *self.0.borrow_mut() = Some(Held { owner, lanes, until: asked + ttl });
    }

    /// The answer to a renewal by `owner`; one for an acquisition that was given up meanwhile says nothing.
    pub fn renewed(&self, owner: &str, granted: bool, asked: Instant, ttl: Duration) {
        let mut held = self.0.borrow_mut();
        match held.as_mut().filter(|held| *held.owner == *owner) {
            Some(held) if granted => held.until = asked + ttl,
            Some(_) => *held = None,
            None => {}
        }
    }

    /// The lease is gone.
    pub fn lost(&self) {
        *self.0.borrow_mut() = None;
    }

    /// Whose it is, and for which lanes: what is to be renewed.
    #[must_use]
    pub fn holder(&self) -> Option<(Arc<str>, Vec<LaneId>)> {
        self.0.borrow().as_ref().map(|held| (Arc::clone(&held.owner), held.lanes.clone()))
    }

    /// Whether it is still ours.
    #[must_use]
    pub fn holds(&self, now: Instant) -> bool {
        self.0.borrow().as_ref().is_some_and(|held| now < held.until)
    }
}
