//! Sending a route again (`Command::Replay`): a side row that reads once more what lies after a place, beside the main one.
//!
//! The command stays on its list until the row has come to its end, and the row goes after it: so a replay is neither lost
//! nor carried out twice, whoever dies when.

use std::sync::Arc;

use super::{Delivery, Trouble, log, sides::side_of};
use crate::{
    failpoint,
    lane::{Part, ResumePoint, lies_before, resume},
    message::{Action, Message, Position},
    ports::{Command, LaneView, SidePosition},
    transaction::{Op, SideRow, Statement, Transaction},
};

impl Delivery {
    /// Opens a replay's row, where it is not there yet. True: the command has nothing (more) to ask for.
    pub(super) async fn replay(&mut self, main: usize, command: &Command) -> Result<bool, Trouble> {
        let Command::Replay { token, route: id, from, to } = command else { return Ok(true) };
        let lane = self.lanes[main].lane.clone();
        let named = |row: usize| matches!(&self.lanes[row].part, Part::Replay { token: of, .. } if **of == **token);
        if self.rows_of(main).any(named) {
            return Ok(false);
        }
        let name = Arc::clone(&self.spec.name);
        let refused = |why: &str| {
            tracing::warn!(destination = %name, route = %id, reason = why, "a replay is not carried out");
            Ok(true)
        };
        let of_lane = |route: &&Arc<crate::route::RouteSpec>| route.id == *id && *route.application == *lane.stream;
        let Some(route) = self.spec.routes.iter().find(of_lane) else {
            return refused("there is no such route any more");
        };
        if route.key.is_empty() {
            return refused("the route has no key: sent again, its rows would be there twice");
        }
        if self.rows_of(main).any(|row| self.lanes[row].routes.iter().any(|carried| **carried == **id)) {
            // It waits, catches up, or is being sent again already: one after the other.
            return Ok(false);
        }
        let part = Part::Replay { token: token.as_str().into(), instead: to.is_none().then(|| id.as_str().into()) };
        // First the position goes back, then the row is opened where the stream still begins: nothing is trimmed in between.
        let (mut view, mut point) = (self.newest_view(main).await?, None);
        for _ in 0..2 {
            let Some(begins) = begin(&view, id, from) else { return refused("nothing of it is left in the stream") };
            let at = Position { generation: begins.generation.clone(), id: begins.id };
            let state = &self.lanes[main];
            let ended = |to: &Position| !lies_before(&state.order, &at, to);
            if ended(&state.position()) || to.as_ref().is_some_and(ended) {
                return Ok(true);
            }
            let mut claim = self.advance_of(main);
            claim.sides.push(SidePosition {
                part: part.text(),
                routes: vec![id.as_str().into()],
                at: at.clone(),
                held: None,
            });
            self.unsent.push_back(claim);
            self.send_advance().await?;
            view = self.newest_view(main).await?;
            if view.trimmed <= at.id {
                point = Some(at);
                break;
            }
        }
        let Some(at) = point else { return Ok(false) };
        self.hold_lease().await?;
        let row = SideRow { lane: side_of(&lane, &part), generation: at.generation.clone(), last_id: at.id };
        let fence = self.fence(main, self.lanes[main].last_id);
        let transaction = Transaction { open: vec![row], ..Transaction::of(fence) };
        self.commit_still(&transaction, "the beginning of a replay").await?;
        failpoint::reach(failpoint::AFTER_SIDE_OPEN);
        Err(self.anew("a route is sent again"))
    }

    /// Whether an operator has taken a bounded replay back: the row that it has is closed by the next take-over. One that goes on
    /// to main carries its route alone and comes to its end in any case.
    pub(super) fn is_stopped(&self, main: usize, waiting: &[Command]) -> bool {
        let waits =
            |named: &str| waiting.iter().any(|one| matches!(one, Command::Replay { token, .. } if *token == *named));
        self.rows_of(main).any(|at| {
            let row = &self.lanes[at];
            let stands = row.beside.replay.is_some();
            matches!(&row.part, Part::Replay { token, instead: None } if stands && !waits(token))
        })
    }

    /// The lane as the log has it, of the generation that we know.
    async fn newest_view(&mut self, main: usize) -> Result<LaneView, Trouble> {
        let view = log(self.limits.log, &self.progress, self.log.view(&self.lanes[main].lane)).await?;
        if view.generations.last().is_none_or(|newest| newest.generation != self.lanes[main].newest) {
            return Err(Trouble::TakeOver("the next generation of the stream begins".into()));
        }
        Ok(view)
    }
}

/// Where a replay begins: what has been trimmed meanwhile can't be sent again; the rest can.
fn begin(view: &LaneView, route: &str, from: &Position) -> Option<ResumePoint> {
    let at =
        |start: Position| resume(&LaneView { starts: vec![(route.to_owned(), start)], ..view.clone() }, &[], route);
    at(from.clone()).ok().or_else(|| {
        let of = view.generations.iter().rev().find(|known| known.after <= view.trimmed)?;
        at(Position { generation: of.generation.clone(), id: view.trimmed }).ok()
    })
}

/// Messages that were delivered before: what was inserted then is there.
pub(super) fn sent_again(messages: &[&Message]) -> Vec<Message> {
    let again = |message: &&Message| {
        let action = if message.action == Action::Insert { Action::Upsert } else { message.action };
        Message { action, ..(*message).clone() }
    };
    messages.iter().map(again).collect()
}

/// Statements that meet what the same records wrote before: an insert finds its row, and an update may find a row that a
/// later record has deleted.
pub(super) fn write_over(statements: &mut [Statement]) {
    for statement in statements {
        if statement.op == Op::Insert && !statement.plan.key.is_empty() {
            statement.op = Op::Upsert;
        }
        statement.must_touch = false;
    }
}
