//! Giving up a backlog up to a place (`Command::Abandon`), because an operator sees no hope for it: nothing at or below the
//! place is written any more, neither by main nor by what stands beside it.
//!
//! The rows in the destination are moved as a batch moves them, fenced and forward only, and the log is told first which
//! messages that concerns. The command stays on its list until no row stands below its place, so it may be carried out twice
//! and is never half done; it waits for replays to end. Redis may have trimmed what is given up before we come to it: then the take-over finds a gap, to
//! which the command is the answer (`decisions.rs`).

use std::sync::Arc;

use super::{Delivery, LaneState, Trouble, log, sides::side_of};
use crate::{
    failpoint,
    lane::{Part, lies_before},
    message::{Position, StreamId},
    ports::{Abandoned, Command},
    transaction::{SideRow, Transaction},
};

impl Delivery {
    /// Moves the rows of a lane that stand before the place of this command. True: there are none (any more).
    pub(super) async fn abandon(&mut self, main: usize, command: &Command) -> Result<bool, Trouble> {
        let Command::Abandon { to, .. } = command else { return Ok(true) };
        if !self.lanes[main].order.contains(&to.generation) {
            tracing::warn!(destination = %self.spec.name, id = %to.id, "what was to be given up is gone with its generation");
            return Ok(true);
        }
        if self.rows_of(main).any(|at| self.lanes[at].part.is_replay()) {
            // It has written older values over newer ones, which it must come to again: one after the other.
            return Ok(false);
        }
        if lies_before(&self.lanes[main].order, &self.lanes[main].position(), to) {
            self.abandon_all(main, command, to).await?;
            return Err(self.anew("a backlog was given up"));
        }
        let rows: Vec<usize> = self.rows_of(main).collect();
        let mut moved = false;
        for at in rows {
            let Some(target) = self.target(at, to) else { continue };
            self.abandon_row(main, at, command, target).await?;
            moved = true;
        }
        if moved { Err(self.anew("the backlog of what stands beside was given up")) } else { Ok(true) }
    }

    /// Where a row of this generation stands once everything up to a place is given up.
    fn place_in(row: &LaneState, to: &Position) -> Option<StreamId> {
        if row.generation == to.generation { Some(to.id) } else { row.until }
    }

    /// Where a side row goes, if anywhere: never beyond the row that it follows.
    fn target(&self, at: usize, to: &Position) -> Option<StreamId> {
        let row = &self.lanes[at];
        if !lies_before(&row.order, &row.position(), to) {
            return None;
        }
        let target = Self::place_in(row, to)?.min(self.bound(at)?);
        (target > row.last_id).then_some(target)
    }

    /// Main moves, and all that stands beside it ends: it stands no further than main does.
    async fn abandon_all(&mut self, main: usize, command: &Command, to: &Position) -> Result<(), Trouble> {
        let Some(target) = Self::place_in(&self.lanes[main], to) else {
            return Err(self.anew("a generation that follows is not known yet"));
        };
        let place = Position { generation: self.lanes[main].generation.clone(), id: target };
        let beside: Vec<usize> = self.rows_of(main).collect();
        for at in std::iter::once(main).chain(beside.iter().copied()) {
            self.tell(main, at, command, &place).await?;
        }
        let home = self.lanes[main].lane.clone();
        // A route that caught up must not begin again.
        let done = |at: &usize| match &self.lanes[*at] {
            LaneState { part: Part::Route(id), routes, .. } if !routes.is_empty() => Some(SideRow {
                lane: side_of(&home, &Part::Done(Arc::clone(id))),
                generation: place.generation.clone(),
                last_id: target,
            }),
            _ => None,
        };
        let transaction = Transaction {
            open: beside.iter().filter_map(done).collect(),
            close: beside.iter().map(|at| self.lanes[*at].lane.clone()).collect(),
            ..Transaction::of(self.fence(main, target))
        };
        self.hold_lease().await?;
        failpoint::reach(failpoint::BEFORE_TRANSACTION);
        self.commit_still(&transaction, "the giving up of a backlog").await?;
        failpoint::reach(failpoint::AFTER_COMMIT);
        tracing::warn!(destination = %self.spec.name, stream = %home.stream, id = %target, "the backlog was given up");
        Ok(())
    }

    async fn abandon_row(
        &mut self,
        main: usize,
        at: usize,
        command: &Command,
        target: StreamId,
    ) -> Result<(), Trouble> {
        let place = Position { generation: self.lanes[at].generation.clone(), id: target };
        self.tell(main, at, command, &place).await?;
        self.hold_lease().await?;
        let lock = Some(self.fence(main, self.lanes[main].last_id));
        let transaction = Transaction { lock, ..Transaction::of(self.fence(at, target)) };
        self.commit_still(&transaction, "the giving up of a backlog").await?;
        self.lanes[at].last_id = target;
        tracing::warn!(destination = %self.spec.name, part = %self.lanes[at].part, id = %target, "its backlog was given up");
        Ok(())
    }

    /// Tells the log which messages a row is about to pass by.
    async fn tell(&mut self, main: usize, at: usize, command: &Command, to: &Position) -> Result<(), Trouble> {
        let row = &self.lanes[at];
        let Some(told) = abandoned(command, &row.lane.part, row.routes.clone(), row.position(), to.clone()) else {
            return Ok(());
        };
        let home = self.lanes[main].lane.clone();
        Ok(log(self.limits.log, &self.progress, self.log.keep_abandoned(&home, &told)).await?)
    }
}

/// What the log is told of one row that is moved by this command.
pub(super) fn abandoned(
    command: &Command,
    part: &Arc<str>,
    routes: Vec<Arc<str>>,
    after: Position,
    to: Position,
) -> Option<Abandoned> {
    let Command::Abandon { token, by, at_ms, reason, .. } = command else { return None };
    Some(Abandoned {
        token: token.clone(),
        part: Arc::clone(part),
        routes,
        after,
        to,
        ids: Vec::new(),
        by: by.clone(),
        at_ms: *at_ms,
        reason: reason.clone(),
    })
}
