//! Which entries a consumer of a parallel destination asks for next: its own that it has not acknowledged, then what others
//! left, then new ones. Pure: the time is an argument.
//!
//! After an error nobody knows what was handed out, so everything begins with the own ones again. A look through what
//! others left goes on from the cursor of the answer before it, to the end: beginning anew each time would never reach
//! entries further on.

use std::time::{Duration, Instant};

use crate::message::StreamId;

/// What to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Own entries of this lane, above an id.
    Own(usize, StreamId),
    /// What other consumers left on this lane, from a cursor on.
    Left(usize, StreamId),
    /// New entries of any lane.
    Fresh,
}

/// Where a consumer stands in asking.
#[derive(Clone, Debug)]
pub struct Claims {
    lanes: Vec<Lane>,
    /// How long after a look through what others left the next one begins.
    every: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    /// Own entries above this are still to be asked for; none: all were.
    own: Option<StreamId>,
    /// The cursor of a look that has not come to its end; zero before its first step.
    cursor: StreamId,
    /// When the next look begins, or goes on.
    look_at: Instant,
}

impl Claims {
    /// A consumer that has asked for nothing yet.
    #[must_use]
    pub fn new(lanes: usize, every: Duration, now: Instant) -> Self {
        let lane = Lane { own: Some(StreamId::ZERO), cursor: StreamId::ZERO, look_at: now };
        Self { lanes: vec![lane; lanes], every }
    }

    /// What to ask for now.
    #[must_use]
    pub fn next(&self, now: Instant) -> Step {
        let mut lanes = self.lanes.iter().enumerate();
        if let Some((at, after)) = lanes.find_map(|(at, lane)| Some((at, lane.own?))) {
            return Step::Own(at, after);
        }
        let due = self.lanes.iter().position(|lane| now >= lane.look_at);
        due.map_or(Step::Fresh, |at| Step::Left(at, self.lanes[at].cursor))
    }

    /// The answer to [`Step::Own`]: the last id it showed, none where it showed nothing.
    pub fn own(&mut self, lane: usize, last: Option<StreamId>) {
        self.lanes[lane].own = last;
    }

    /// The answer to [`Step::Left`]: its cursor, zero at the end.
    pub fn left(&mut self, lane: usize, cursor: StreamId, now: Instant) {
        self.lanes[lane].cursor = cursor;
        if cursor == StreamId::ZERO {
            self.lanes[lane].look_at = now + self.every;
        }
    }

    /// Something may have been handed out that nobody has seen. A look that is under way goes on where it was.
    pub fn restart(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.own = Some(StreamId::ZERO));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(15);

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    #[test]
    fn own_entries_come_first_then_what_others_left_then_new_ones() {
        let now = Instant::now();
        let mut claims = Claims::new(2, EVERY, now);
        assert_eq!(claims.next(now), Step::Own(0, StreamId::ZERO));
        claims.own(0, Some(id(5)));
        assert_eq!(claims.next(now), Step::Own(0, id(5)), "until nothing is left of them");
        claims.own(0, None);
        assert_eq!(claims.next(now), Step::Own(1, StreamId::ZERO));
        claims.own(1, None);
        assert_eq!(claims.next(now), Step::Left(0, StreamId::ZERO));
        claims.left(0, StreamId::ZERO, now);
        assert_eq!(claims.next(now), Step::Left(1, StreamId::ZERO));
        claims.left(1, StreamId::ZERO, now);
        assert_eq!(claims.next(now), Step::Fresh);
        assert_eq!(claims.next(now + EVERY), Step::Left(0, StreamId::ZERO), "and again after a while");
    }

    #[test]
    fn a_look_goes_on_from_its_cursor_to_the_end() {
        let now = Instant::now();
        let mut claims = Claims::new(1, EVERY, now);
        claims.own(0, None);
        claims.left(0, id(7), now);
        assert_eq!(claims.next(now), Step::Left(0, id(7)));
        claims.restart();
        assert_eq!(claims.next(now), Step::Own(0, StreamId::ZERO), "after an error the own ones first");
        claims.own(0, None);
        assert_eq!(claims.next(now), Step::Left(0, id(7)), "and the look goes on where it was");
        claims.left(0, StreamId::ZERO, now);
        assert_eq!(claims.next(now), Step::Fresh);
    }

    #[test]
    fn a_destination_without_lanes_asks_for_nothing() {
        let now = Instant::now();
        let mut claims = Claims::new(0, EVERY, now);
        claims.restart();
        assert_eq!(claims.next(now), Step::Fresh);
    }
}
