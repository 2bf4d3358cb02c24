//! Writing a batch piece by piece: one transaction each, split by prefixes of the log where rows are bad (delivery rules 7,
//! 10 and 11).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Delivery, Trouble,
    cuts::{Attempt, Cuts, Refusals, Written, at_fault},
    database, log, now_ms,
    passed::Passed,
};
use crate::{
    compose::{Composed, Piece, Plans, compose_with},
    failpoint,
    message::{Message, Position, StreamId},
    ports::{Advance, Batch, BatchRecord, DeadLetter, Entry, Rejection, WriteError},
    transaction::{DeadId, DeadRow, Fence, Statement, Transaction, Tried, settled},
};

impl Delivery {
    /// Writes what of this batch is not written yet. After trouble it can be called again with the same batch.
    ///
    /// # Errors
    /// What has to happen first; everything written so far stays written.
    pub async fn deliver(&mut self, batch: &Batch) -> Result<(), Trouble> {
        self.settle().await?;
        let lane = self
            .lanes
            .iter()
            .position(|state| state.lane == batch.lane)
            .ok_or_else(|| Trouble::TakeOver("a batch of a lane that is not ours".into()))?;
        if batch.after > self.lanes[lane].last_id {
            return Err(Trouble::TakeOver("a batch that does not follow where the lane stands".into()));
        }
        // What cannot be read holds the lane, but not what comes before it.
        let unknown = batch.entries.iter().position(|entry| matches!(entry, Entry::Unknown { .. }));
        let (mut cuts, mut next) = (Cuts::new(batch.entries.len(), unknown), 0);
        loop {
            let done = self.lanes[lane].last_id;
            next += batch.entries[next..].iter().take_while(|entry| entry.id() <= done).count();
            let Some(piece) = cuts.piece(next) else { return Ok(()) };
            let (last, attempt) = (batch.entries[piece.end - 1].id(), cuts.attempt(&piece));
            let messages = messages(&batch.entries[piece])?;
            let written = self.write_piece(lane, &messages, last, &attempt).await?;
            cuts.learn(written);
        }
    }

    /// Moves a lane that has nothing left to read in an older generation to that generation's end.
    ///
    /// # Errors
    /// Always: at the end there is a take-over, unless something else has to happen first.
    pub async fn finish_generation(&mut self, lane: usize) -> Result<(), Trouble> {
        self.settle().await?;
        if let Some(until) = self.lanes[lane].until.filter(|until| *until > self.lanes[lane].last_id) {
            self.write_piece(lane, &[], until, &Attempt::default()).await?;
        }
        Err(Trouble::TakeOver("the next generation of the stream begins".into()))
    }

    async fn write_piece(
        &mut self,
        lane: usize,
        messages: &[&Message],
        last: StreamId,
        attempt: &Attempt,
    ) -> Result<Written, Trouble> {
        let Attempt { refused, trials, .. } = attempt;
        if self.plans.is_none() {
            self.read_tables().await?;
        }
        let mut composed = self.compose(lane, messages, refused, trials);
        if may_be_stale(self.plans.as_ref(), &composed, self.limits.catalogue_age) {
            self.read_tables().await?;
            composed = self.compose(lane, messages, refused, trials);
        }
        let (messages, last) = match composed.cut {
            Some(cut) => (&messages[..cut], messages[cut - 1].id),
            None => (messages, last),
        };
        let application = &self.lanes[lane].lane.stream;
        let mut letters = letters(self.plans.as_ref(), &composed, messages, application, self.attempts + 1);
        if !letters.is_empty() {
            let state = &mut self.lanes[lane];
            state.kept.extend(letters.iter().map(|letter| letter.dead.clone()));
            let call = self.log.keep_dead(&state.lane, &letters);
            log(self.limits.log, &self.progress, call).await?;
        }
        self.hold_lease().await?;
        let state = &self.lanes[lane];
        let fence = Fence {
            lane: state.lane.clone(),
            generation: state.generation.clone(),
            owner: Arc::clone(&self.owner),
            previous: state.last_id,
            new: last,
        };
        let transaction = Transaction {
            statements: std::mem::take(&mut composed.statements),
            bury: std::mem::take(&mut composed.bury),
            supersede: std::mem::take(&mut composed.supersede),
            ..Transaction::of(fence)
        };
        failpoint::reach(failpoint::BEFORE_TRANSACTION);
        self.attempts += 1;
        let (started_ms, started) = (now_ms(), Instant::now());
        let call = self.database.commit_trials(&transaction, &composed.trials);
        let outcome = database(self.limits.write, &self.progress, "a transaction", call).await;
        let took = started.elapsed();
        self.counts.last_write = took;
        let nothing = Tried::default();
        let tried = outcome.as_ref().unwrap_or(&nothing);
        let changed = tried_letters(&transaction, &composed, tried, &mut letters);
        let (supersede, bury) = settled(&transaction, &composed.trials, &tried.refused);
        let advance = self.advance_for(lane, messages, &transaction, &composed, tried, &bury, started_ms, took);
        let (previous, unsettled) = (transaction.fence.previous, outcome.is_err() && !composed.trials.is_empty());
        let passed = Passed { lane, previous, advance, bury, letters, supersede, unsettled };
        match outcome {
            Ok(_) => {
                failpoint::reach(failpoint::AFTER_COMMIT);
                if !changed.is_empty() {
                    let call = self.log.keep_dead(&self.lanes[lane].lane, &changed);
                    if let Err(error) = log(self.limits.log, &self.progress, call).await {
                        self.in_doubt = Some(passed);
                        return Err(error.into());
                    }
                }
                self.passed(passed).await?;
                Ok(Written::All)
            }
            Err(WriteError::Reject(reason)) => {
                self.attempts = 0;
                if attempt.may_sift {
                    let call = self.database.sift(&transaction);
                    let found = database(self.limits.write, &self.progress, "a transaction", call).await?;
                    let found = at_fault(&composed, found);
                    if !found.is_empty() {
                        return Ok(Written::Sifted(found));
                    }
                }
                Ok(Written::refused(&composed, reason))
            }
            Err(WriteError::Retry(fault)) => {
                self.in_doubt = Some(passed);
                Err(Trouble::Database(fault))
            }
            Err(WriteError::Fenced) => {
                self.counts.fenced += 1;
                Err(WriteError::Fenced.into())
            }
            Err(WriteError::Hold(fault)) => {
                // The catalogue knows better which route misses what; where it misses nothing any more, the next try shows.
                self.plans = None;
                self.read_tables().await?;
                Err(WriteError::Hold(fault).into())
            }
        }
    }

    /// Nothing is written beyond the lease's end. One that ran out while this node was slow is asked for again: if another
    /// owner came in between, the fence finds out.
    async fn hold_lease(&mut self) -> Result<(), Trouble> {
        if self.lease.holds() {
            return Ok(());
        }
        let asked = self.lease.now();
        let lanes = self.wanted_lanes();
        let call = self.log.lease(&lanes, &self.owner, self.limits.lease);
        if !log(self.limits.log, &self.progress.clone(), call).await? {
            return Err(Trouble::StandBy);
        }
        self.lease.taken(Arc::clone(&self.owner), lanes, asked, self.limits.lease);
        Ok(())
    }

    fn compose(&self, lane: usize, messages: &[&Message], refused: &Refusals, trials: &Refusals) -> Composed {
        let state = &self.lanes[lane];
        let piece = Piece {
            application: &state.lane.stream,
            generation: &state.generation,
            messages,
            starts: &state.starts,
            refused,
            dead: &state.dead,
            fold: messages.len() > 1,
        };
        self.plans.as_ref().map_or_else(Composed::default, |plans| compose_with(&piece, trials, plans))
    }

    #[allow(clippy::too_many_arguments, reason = "one place that ties a commit to its record")]
    fn advance_for(
        &self,
        lane: usize,
        messages: &[&Message],
        transaction: &Transaction,
        composed: &Composed,
        tried: &Tried,
        bury: &[DeadRow],
        started_ms: u64,
        took: Duration,
    ) -> Advance {
        let state = &self.lanes[lane];
        let plan = |&at: &usize| {
            let plan = self.plans.as_ref()?.get(at);
            Some((plan.route.id.clone(), plan.route.version, plan.digest.clone()))
        };
        let untouched: Vec<_> = tried
            .committed
            .untouched
            .iter()
            .filter_map(|&(statement, row)| composed.sources.get(statement)?.get(row))
            .flat_map(|(sources, _)| sources.iter().filter_map(|&at| messages.get(at)).map(|message| message.id))
            .collect();
        let buried = |dead: &DeadId| bury.iter().any(|row| row.dead == *dead);
        let rows_of =
            |statements: &[Statement]| -> usize { statements.iter().map(|statement| statement.rows.len()).sum() };
        let given_up = tried.refused.iter().filter_map(|(place, _)| composed.trials.get(*place));
        let given_up: usize = given_up.map(|trial| rows_of(&transaction.statements[trial.statements.clone()])).sum();
        let rows = rows_of(&transaction.statements).saturating_sub(given_up);
        let record = BatchRecord {
            first: messages.first().map_or(transaction.fence.new, |message| message.id),
            last: transaction.fence.new,
            entries: u32::try_from(messages.len()).unwrap_or(u32::MAX),
            rows: u32::try_from(rows.saturating_sub(untouched.len())).unwrap_or(u32::MAX),
            started_ms,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            attempts: self.attempts,
            routes: composed.plans.iter().filter_map(plan).collect(),
            untouched,
            folded: messages.len() > 1,
        };
        Advance {
            lane: state.lane.clone(),
            owner: Arc::clone(&self.owner),
            version: self.version,
            newest: state.newest.clone(),
            to: Position { generation: state.generation.clone(), id: transaction.fence.new },
            sides: Vec::new(),
            part: "main".into(),
            history: (!messages.is_empty()).then_some(record),
            // Payloads of records that could be written after all.
            void: state.kept.iter().filter(|dead| dead.id <= transaction.fence.new && !buried(dead)).cloned().collect(),
        }
    }
}

/// A row is not given up by a catalogue that may have changed since it was read.
pub(super) fn may_be_stale(plans: Option<&Plans>, composed: &Composed, age: Duration) -> bool {
    let Some(plans) = plans else { return true };
    composed.refused.iter().any(|refused| refused.by_mapping && plans.get(refused.plan).read_at.elapsed() > age)
}

/// The payloads of what is given up here.
pub(super) fn letters(
    plans: Option<&Plans>,
    composed: &Composed,
    messages: &[&Message],
    application: &str,
    attempts: u32,
) -> Vec<DeadLetter> {
    let Some(plans) = plans else { return Vec::new() };
    let letter = |(refused, row): (&crate::compose::Refused, &crate::transaction::DeadRow)| {
        let (message, route) = (messages[refused.message], &plans.get(refused.plan).route);
        DeadLetter {
            dead: row.dead.clone(),
            application: application.to_owned(),
            route_name: route.name.clone(),
            topic: message.topic.to_string(),
            action: message.action.as_str().into(),
            key: message.key.as_deref().map(Into::into),
            data: message.data.to_string(),
            table: route.table.clone(),
            reason: refused.reason.clone(),
            attempts,
            at_ms: now_ms(),
            redrive_error: None,
            superseded_by: row.superseded_by,
            blocked_by: refused.blocked_by.clone(),
            edited: None,
        }
    };
    let on_trial = composed.tried.iter().zip(composed.trials.iter().map(|trial| &trial.bury));
    composed.refused.iter().zip(&composed.bury).chain(on_trial).map(letter).collect()
}

/// Leaves of these letters those whose records are given up, now that their trials are over; and those of them for which the
/// database has other words than before.
fn tried_letters(
    transaction: &Transaction,
    composed: &Composed,
    tried: &Tried,
    letters: &mut Vec<DeadLetter>,
) -> Vec<DeadLetter> {
    let on_trial = letters.split_off(transaction.bury.len().min(letters.len()));
    let mut changed = Vec::new();
    for (place, letter) in on_trial.into_iter().enumerate().take(composed.trials.len()) {
        let Some((_, reason)) = tried.refused.iter().find(|(other, _)| *other == place) else { continue };
        let told = |reason: &Rejection| (reason.code.clone(), reason.column.clone(), reason.message.clone());
        let same = told(&letter.reason) == told(reason);
        let letter = DeadLetter { reason: reason.clone(), ..letter };
        changed.extend((!same).then(|| letter.clone()));
        letters.push(letter);
    }
    changed
}

/// The messages of these entries, up to the first that is not one.
fn messages(entries: &[Entry]) -> Result<Vec<&Message>, Trouble> {
    entries
        .iter()
        .map(|entry| match entry {
            Entry::Message(message) => Ok(message),
            Entry::Unknown { id, why } => {
                Err(Trouble::Hold(format!("entry {id} of the stream can't be read by this version: {why}")))
            }
        })
        .collect()
}
