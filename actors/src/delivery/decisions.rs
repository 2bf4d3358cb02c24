//! What only an operator can decide: where to go on after a gap, or in another database (delivery rules 4 and 9).
//!
//! A take-over that finds one of the two comes here. Without a decision on the lane's list the destination is held, with
//! the command to run; with one, the watermark's rows are moved, then the bind token, then the decision is taken off. Each
//! step may be repeated, and as long as the last one is missing the lane still waits.

use std::{collections::HashSet, sync::Arc};

use super::{Delivery, Trouble, abandon::abandoned, database, log, now_ms, sides::side_of};
use crate::{
    lane::{Gap, Move, Part, lies_before, moves},
    message::Position,
    ports::{Command, DeadLetter, LaneView, Rejection},
    transaction::{DeadId, Fence, LaneId, TakenOver, Transaction},
};

/// The code of a dead letter whose record went with an emptied Redis.
pub(super) const LOST: &str = "lost";

impl Delivery {
    /// Applies the decision there is, or holds and says which one is wanted. What it answers is always trouble: after a
    /// decision was applied, the lane is taken over anew.
    pub(super) async fn decide(
        &mut self,
        lane: &LaneId,
        view: &LaneView,
        taken: &TakenOver,
        foreign: bool,
        gap: Option<Gap>,
    ) -> Result<Trouble, Trouble> {
        let (short, progress) = (self.limits.log, self.progress.clone());
        let mut decisions = log(short, &progress, self.log.decisions(lane)).await?;
        let abandons = decisions.extract_if(.., |command| matches!(command, Command::Abandon { .. })).last();
        // The last one counts: whoever decided it knew of those before.
        let Some(Command::Resume { to }) = decisions.last() else {
            return match (abandons, &gap) {
                (Some(command), Some(_)) if !foreign => {
                    self.decide_by_abandoning(lane, view, taken, &command, gap).await
                }
                _ => Ok(self.undecided(lane, foreign, gap)),
            };
        };
        let applied = match moves(view, &taken.rows, &lane.to_string(), to) {
            Some(steps) => {
                // Everything up to there is passed and everything after it is sent: by main alone.
                self.end_sides(lane, taken).await?;
                for step in steps {
                    self.move_row(lane, step, None).await?;
                }
                if foreign {
                    log(short, &progress, self.log.rebind(lane, &self.owner, &taken.bind)).await?;
                }
                true
            }
            None => false,
        };
        for command in &decisions {
            log(short, &progress, self.log.finish(lane, command)).await?;
        }
        let Position { generation, id } = to;
        if applied {
            tracing::warn!(destination = %self.spec.name, stream = %lane.stream, %generation, %id, "goes on, as was decided");
            return Ok(Trouble::TakeOver(format!("an operator decided to go on after {id}")));
        }
        tracing::warn!(
            destination = %self.spec.name, stream = %lane.stream, %generation, %id,
            "a decision was about a place that is gone meanwhile"
        );
        Ok(self.undecided(lane, foreign, gap))
    }

    /// What is missing was given up: main's rows are moved to that place, forward only. The command stays on its list: what
    /// stands beside main is looked at once main is taken over.
    async fn decide_by_abandoning(
        &mut self,
        lane: &LaneId,
        view: &LaneView,
        taken: &TakenOver,
        command: &Command,
        gap: Option<Gap>,
    ) -> Result<Trouble, Trouble> {
        let (short, progress) = (self.limits.log, self.progress.clone());
        let Command::Abandon { to, .. } = command else { return Ok(self.undecided(lane, false, gap)) };
        let steps = moves(view, &taken.rows, &lane.to_string(), to).unwrap_or_default();
        let forward: Vec<Move> = steps.into_iter().filter(|step| step.from.is_none_or(|from| from < step.to)).collect();
        if forward.is_empty() {
            // More is gone than was given up, or its generation is.
            log(short, &progress, self.log.finish(lane, command)).await?;
            return Ok(self.undecided(lane, false, gap));
        }
        self.end_sides(lane, taken).await?;
        for step in forward {
            let place = |id| Position { generation: step.generation.clone(), id };
            let after = place(step.from.unwrap_or_default());
            if let Some(told) = abandoned(command, &lane.part, Vec::new(), after, place(step.to)) {
                log(short, &progress, self.log.keep_abandoned(lane, &told)).await?;
            }
            self.move_row(lane, step, None).await?;
        }
        tracing::warn!(destination = %self.spec.name, stream = %lane.stream, id = %to.id, "the backlog was given up");
        Ok(Trouble::TakeOver(format!("an operator gave up everything up to {}", to.id)))
    }

    fn undecided(&mut self, lane: &LaneId, foreign: bool, gap: Option<Gap>) -> Trouble {
        if let (Some(gap), false) = (&gap, foreign) {
            self.count_gap(lane, gap);
        }
        let (name, stream) = (&self.spec.name, &lane.stream);
        let command = format!("`tidegate resume {name} --application {stream} --from earliest|last|now`");
        Trouble::Undecided(match gap {
            _ if foreign => format!(
                "this is not the database that destination `{name}` was bound to: point it back to the old one, or say \
                 with {command} from where on this one is to be sent what `{stream}` has"
            ),
            Some(gap) => format!(
                "{gap} to destination `{name}`; nothing more is written until somebody decides with {command} where to \
                 go on"
            ),
            None => format!("destination `{name}` waits for a decision: {command}"),
        })
    }

    /// What was removed before a side row had read it is for an operator to decide, too. The decision moves such rows to the
    /// place, but never beyond main.
    pub(super) async fn decide_beside(
        &mut self,
        main: usize,
        taken: &TakenOver,
        gaps: Vec<(LaneId, LaneView, Gap)>,
    ) -> Result<Trouble, Trouble> {
        let (short, progress) = (self.limits.log, self.progress.clone());
        let (lane, place) = (self.lanes[main].lane.clone(), self.lanes[main].position());
        let order = Arc::clone(&self.lanes[main].order);
        let decisions = log(short, &progress, self.log.decisions(&lane)).await?;
        let (Some(command), Some(to)) = (decisions.last(), decisions.last().and_then(Command::place)) else {
            return Ok(self.undecided(&lane, false, gaps.into_iter().next().map(|(.., gap)| gap)));
        };
        let to = if lies_before(&order, &place, to) { &place } else { to };
        let mut moved = false;
        for (side, view, _) in &gaps {
            for step in moves(view, &taken.rows, &side.to_string(), to).unwrap_or_default() {
                let lock = Some(self.fence(main, place.id));
                let told = |id| Position { generation: step.generation.clone(), id };
                let after = told(step.from.unwrap_or_default());
                if let Some(told) = abandoned(command, &side.part, Vec::new(), after, told(step.to)) {
                    log(short, &progress, self.log.keep_abandoned(&lane, &told)).await?;
                }
                self.move_row(side, step, lock).await?;
                moved = true;
            }
        }
        for command in decisions.iter().filter(|command| !moved || matches!(command, Command::Resume { .. })) {
            log(short, &progress, self.log.finish(&lane, command)).await?;
        }
        Ok(Trouble::TakeOver(format!("an operator decided to go on after {}", to.id)))
    }

    /// Deletes the side rows of a lane whose main row is about to be moved by a decision.
    async fn end_sides(&mut self, lane: &LaneId, taken: &TakenOver) -> Result<(), Trouble> {
        let text = lane.to_string();
        let Some(row) = taken.rows.iter().find(|row| row.lane == text) else { return Ok(()) };
        let prefix = text.strip_suffix(Part::MAIN).unwrap_or(&text);
        let parts = taken.rows.iter().filter_map(|row| Part::parse(row.lane.strip_prefix(prefix)?));
        let mut close: Vec<LaneId> =
            parts.filter(|part| !matches!(part, Part::Main | Part::Done(_))).map(|part| side_of(lane, &part)).collect();
        close.dedup();
        if close.is_empty() {
            return Ok(());
        }
        let fence = Fence {
            lane: lane.clone(),
            generation: row.generation.clone(),
            owner: Arc::clone(&self.owner),
            previous: row.last_id,
            new: row.last_id,
        };
        let transaction = Transaction { close, ..Transaction::of(fence) };
        self.commit_still(&transaction, "the end of side rows").await
    }

    async fn move_row(&mut self, lane: &LaneId, step: Move, lock: Option<Fence>) -> Result<(), Trouble> {
        let (setup, progress) = (self.limits.setup, self.progress.clone());
        let Move { generation, from, to } = step;
        let Some(previous) = from else {
            let call = self.database.begin_lane(lane, &generation, &self.owner, to);
            return Ok(database(setup, &progress, "the beginning of a lane", call).await?);
        };
        let owner = Arc::clone(&self.owner);
        let fence = Fence { lane: lane.clone(), generation, owner, previous, new: to };
        let transaction = Transaction { lock, ..Transaction::of(fence) };
        let call = self.database.commit(&transaction);
        database(setup, &progress, "the move of a watermark", call).await?;
        Ok(())
    }

    /// Counts a gap once, however often it is met.
    pub(super) fn count_gap(&mut self, lane: &LaneId, gap: &Gap) {
        let met = Some((lane.clone(), gap.clone()));
        if self.gap != met {
            self.gap = met;
            self.counts.gaps += 1;
        }
    }

    /// Dead rows whose payloads are gone with an emptied Redis get one that says so: they are still to be seen and
    /// discarded.
    pub(super) async fn mourn(&mut self, lane: &LaneId, taken: &TakenOver, kept: &[DeadId]) -> Result<(), Trouble> {
        let kept: HashSet<&DeadId> = kept.iter().collect();
        let of = lane.to_string();
        let lost = taken.dead.iter().filter(|(lane, row)| *lane == of && !kept.contains(&row.dead));
        let letter = |(_, row): &(String, crate::transaction::DeadRow)| DeadLetter {
            dead: row.dead.clone(),
            application: lane.stream.to_string(),
            route_name: row.dead.route.to_string(),
            topic: String::new(),
            action: String::new(),
            key: row.key.as_ref().and_then(|key| serde_json::to_string(key).ok()),
            data: String::new(),
            table: row.table.to_string(),
            reason: Rejection {
                statement: None,
                row: None,
                code: LOST.into(),
                column: None,
                message: "its record is lost: Redis was emptied after it was refused; send it again from its source, \
                          and discard this"
                    .into(),
            },
            attempts: 0,
            at_ms: if row.dead.id.ms > 0 { row.dead.id.ms } else { now_ms() },
            redrive_error: None,
            superseded_by: row.superseded_by,
            blocked_by: None,
            edited: None,
        };
        let letters: Vec<DeadLetter> = lost.map(letter).collect();
        if letters.is_empty() {
            return Ok(());
        }
        tracing::warn!(destination = %self.spec.name, letters = letters.len(), "dead letters whose records are lost");
        Ok(log(self.limits.log, &self.progress, self.log.keep_dead(lane, &letters)).await?)
    }
}
