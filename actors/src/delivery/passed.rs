//! What follows a commit: where the lane stands, which dead letters stand, and what Redis is told (delivery rules 5, 7 and
//! 10).

use super::{Delivery, Trouble, database, log, sides::Opened};
use crate::{
    failpoint,
    message::StreamId,
    ports::{Advance, DeadLetter, LogError},
    transaction::{DeadId, DeadRow, Supersede},
};

/// What a transaction comes to once it is known to be in the database.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub(super) lane: usize,
    /// Where the lane stood before it.
    pub(super) previous: StreamId,
    pub(super) advance: Advance,
    pub(super) bury: Vec<DeadRow>,
    pub(super) letters: Vec<DeadLetter>,
    pub(super) supersede: Vec<Supersede>,
    /// Which of its trials the database took is not known: only its rows tell.
    pub(super) unsettled: bool,
    /// Where the row stands after it.
    pub(super) new: StreamId,
    /// Side rows that it opened.
    pub(super) opened: Vec<Opened>,
}

impl Delivery {
    /// Clears up what the last call left: a transaction in doubt, a position that Redis has not heard of.
    pub(super) async fn settle(&mut self) -> Result<(), Trouble> {
        self.clear_up().await?;
        self.send_advance().await
    }

    /// A transaction in doubt alone: of the last position Redis may hear while the next transaction is under way.
    pub(super) async fn clear_up(&mut self) -> Result<(), Trouble> {
        if !self.taken {
            return Err(Trouble::TakeOver("not taken over".into()));
        }
        if let Some(doubt) = &self.in_doubt {
            let state = &self.lanes[doubt.lane];
            let call = self.database.watermark(&state.lane, &state.generation);
            let row = database(self.limits.setup, &self.progress, "the watermark", call).await?;
            match row.filter(|row| row.owner == *self.owner).map(|row| row.last_id) {
                Some(last) if last == doubt.new && doubt.unsettled => {
                    return Err(Trouble::TakeOver("which rows were refused is for the database to say".into()));
                }
                Some(last) if last == doubt.new => {
                    if let Some(passed) = self.in_doubt.take() {
                        return self.passed(passed).await;
                    }
                }
                Some(last) if last == doubt.previous => self.in_doubt = None,
                _ => return Err(Trouble::TakeOver("the watermark has moved".into())),
            }
        }
        // More than one, and something went wrong.
        if self.unsent.len() > 1 { self.send_advance().await } else { Ok(()) }
    }

    /// Goes on from a transaction that is in the database.
    pub(super) async fn passed(&mut self, passed: Passed) -> Result<(), Trouble> {
        let Passed { lane, advance, bury, letters, supersede, new, opened, .. } = passed;
        if let Some(record) = &advance.history {
            self.counts.rows += u64::from(record.rows);
            // What a side row reads has been counted by main.
            self.counts.entries += if self.lanes[lane].is_main() { u64::from(record.entries) } else { 0 };
        }
        self.counts.dead += bury.len() as u64;
        self.attempts = 0;
        let row = &mut self.lanes[lane];
        row.last_id = new;
        row.kept.retain(|dead| dead.id > new);
        row.beside.blocked_at = row.beside.blocked_at.filter(|id| *id > new);
        row.to_hold.clear();
        let main = row.main;
        self.opened(main, opened);
        self.unsent.push_back(advance);
        // In the order of the transaction: what is given up here is not older than what was written here. Dead letters of side
        // rows stand with those of their main row.
        let (lane, state) = (main, &mut self.lanes[main]);
        let mut obsolete: Vec<(DeadId, StreamId)> = Vec::new();
        for Supersede { table, key, by } in supersede {
            let gone = state.dead.remove(&(table, key)).unwrap_or_default();
            obsolete.extend(gone.into_iter().map(|dead| (dead, by)));
        }
        state.superseded.extend(obsolete.iter().cloned());
        let mut given_up: Vec<_> = bury.into_iter().zip(letters).collect();
        given_up.sort_by_key(|(row, _)| row.dead.id);
        for (row, letter) in given_up {
            tracing::warn!(
                destination = %self.spec.name, route = %letter.route_name, id = %row.dead.id,
                column = letter.reason.column.as_deref(), code = %letter.reason.code, "dead letter"
            );
            state.stands(row);
        }
        self.mark_superseded(lane, obsolete).await?;
        if self.follows.is_at_hand() && self.unsent.len() == 1 { Ok(()) } else { self.send_advance().await }
    }

    /// Says so in the payloads of those that became obsolete: for people; the rows have it already.
    pub(super) async fn mark_superseded(
        &mut self,
        lane: usize,
        obsolete: Vec<(DeadId, StreamId)>,
    ) -> Result<(), Trouble> {
        let lane = self.lanes[lane].lane.clone();
        for (dead, by) in obsolete {
            let found = log(self.limits.log, &self.progress, self.log.dead(&lane, &dead)).await?;
            if let Some(mut letter) = found {
                letter.superseded_by = Some(by);
                log(self.limits.log, &self.progress, self.log.keep_dead(&lane, &[letter])).await?;
            }
        }
        Ok(())
    }

    /// Tells Redis how far we are. Refusals that only concern display are not worth stopping for.
    pub(super) async fn send_advance(&mut self) -> Result<(), Trouble> {
        while let Some(advance) = self.next_unsent() {
            let told = log(self.limits.log, &self.progress, self.log.advance(&advance)).await;
            self.told(told)?;
        }
        Ok(())
    }

    /// What Redis is to be told next.
    pub(super) fn next_unsent(&self) -> Option<Advance> {
        self.unsent.front().map(|advance| Advance { version: self.version, ..advance.clone() })
    }

    /// Redis was told [what was next](Self::next_unsent), and this is what it said.
    pub(super) fn told(&mut self, answer: Result<(), LogError>) -> Result<(), Trouble> {
        match answer {
            Ok(()) => {}
            Err(LogError::NoSuchEntry(id)) => {
                tracing::warn!(destination = %self.spec.name, %id, "a delivered entry is no longer in its stream");
            }
            Err(error) => return Err(error.into()),
        }
        self.unsent.pop_front();
        failpoint::reach(failpoint::AFTER_ADVANCE);
        Ok(())
    }
}
