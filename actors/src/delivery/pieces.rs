//! Writing a batch piece by piece: one transaction each, split by prefixes of the log where rows are bad (delivery rules 7,
//! 10 and 11).

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Delivery, Limits, Trouble,
    cuts::{Attempt, Cuts, Refusals, Written, at_fault},
    database, log, now_ms,
    passed::Passed,
    replay::{sent_again, write_over},
    sides::{Opened, side_of},
};
use crate::{
    compose::{Composed, MappedAhead, Piece, Plans, compose_with},
    failpoint,
    message::{Message, StreamId},
    ports::{Advance, Batch, BatchRecord, DeadLetter, Entry, Fault, Rejection, SidePosition, WriteError},
    transaction::{DeadId, DeadRow, Fence, SideRow, Transaction, Tried, settled},
};

/// What a try to write a piece came to.
pub(super) enum Piecemeal {
    /// The database took it, or not.
    Written(Written),
    /// Tables or rows are others now: the batch is begun anew where the row stands.
    Anew,
    /// A side row can't go on now.
    Waits,
}

impl Delivery {
    /// Writes what of this batch is not written yet. After trouble it can be called again with the same batch.
    ///
    /// # Errors
    /// What has to happen first; everything written so far stays written.
    pub async fn deliver(&mut self, batch: &Batch) -> Result<(), Trouble> {
        self.clear_up().await?;
        let Some(lane) = self.lanes.iter().position(|state| state.lane == batch.lane) else {
            // A side row may have met its main one since this was read.
            let beside = self.lanes.iter().any(|state| state.lane == batch.lane.main());
            return if beside { Ok(()) } else { Err(Trouble::TakeOver("a batch of a lane that is not ours".into())) };
        };
        if batch.after > self.lanes[lane].last_id {
            return Err(Trouble::TakeOver("a batch that does not follow where the lane stands".into()));
        }
        // What cannot be read holds the lane, but not what comes before it.
        let unknown = batch.entries.iter().position(|entry| matches!(entry, Entry::Unknown { .. }));
        let (mut cuts, mut next) = (Cuts::new(batch.entries.len(), unknown), 0);
        loop {
            // Read before the shape is looked at: what is read for the first time is no change.
            if self.plans.is_none() && cuts.refused.is_empty() {
                self.read_tables().await?;
            }
            let (done, shape) = (self.lanes[lane].last_id, self.shape);
            next += batch.entries[next..].iter().take_while(|entry| entry.id() <= done).count();
            let Some(piece) = cuts.piece(next) else { return Ok(()) };
            let (last, attempt) = (batch.entries[piece.end - 1].id(), cuts.attempt(&piece));
            let messages = messages(&batch.entries[piece])?;
            match self.write_piece(lane, &messages, last, &attempt).await? {
                Piecemeal::Written(written) if self.shape == shape => cuts.learn(written),
                Piecemeal::Written(_) | Piecemeal::Anew => cuts = Cuts::new(batch.entries.len(), unknown),
                Piecemeal::Waits => return Ok(()),
            }
        }
    }

    /// Moves a lane that has nothing left to read in an older generation to that generation's end.
    ///
    /// # Errors
    /// Always: at the end there is a take-over, unless something else has to happen first.
    pub async fn finish_generation(&mut self, lane: usize) -> Result<(), Trouble> {
        self.settle().await?;
        if let Some(until) = self.lanes[lane].until.filter(|until| *until > self.lanes[lane].last_id) {
            self.write_nothing(lane, until).await?;
        }
        Err(Trouble::TakeOver("the next generation of the stream begins".into()))
    }

    /// Moves a side row to where there is nothing for it on the way.
    pub(super) async fn pass_beside(&mut self, lane: usize, until: StreamId) -> Result<(), Trouble> {
        self.settle().await?;
        if self.may_go_on(lane) && until > self.lanes[lane].last_id {
            self.write_nothing(lane, until).await?;
        }
        Ok(())
    }

    async fn write_nothing(&mut self, lane: usize, until: StreamId) -> Result<(), Trouble> {
        // At most as often as there are tables: what does not fit any more gets a row of its own.
        while let Piecemeal::Anew = self.write_piece(lane, &[], until, &Attempt::default()).await? {}
        Ok(())
    }

    async fn write_piece(
        &mut self,
        lane: usize,
        messages: &[&Message],
        last: StreamId,
        attempt: &Attempt,
    ) -> Result<Piecemeal, Trouble> {
        let Attempt { refused, .. } = attempt;
        if self.plans.is_none() {
            let shape = self.shape;
            self.read_tables().await?;
            if self.shape != shape && !refused.is_empty() {
                return Ok(Piecemeal::Anew);
            }
        }
        let (is_main, main, replays) = {
            let state = &self.lanes[lane];
            (state.is_main(), state.main, state.part.is_replay())
        };
        if let Some(why) = self.nothing_fits().filter(|_| is_main) {
            return Err(Trouble::Hold(why));
        }
        if !is_main && self.why_it_waits(lane).is_some() {
            return Ok(Piecemeal::Waits);
        }
        let again = if replays { sent_again(messages) } else { Vec::new() };
        let again: Vec<&Message> = again.iter().collect();
        let messages = if replays { &again[..] } else { messages };
        let mut opens = if is_main { self.to_open(lane) } else { Vec::new() };
        // Beside side rows, a row that refers to one that is not there may only have to wait: nothing is given up on trial.
        let alone = !self.lanes.iter().any(|row| !row.is_main()) && opens.is_empty();
        let nothing = Refusals::new();
        let trials = if alone { &attempt.trials } else { &nothing };
        let mut ahead = self.ahead.take();
        // Bad rows mean that the piece is composed more than once.
        ahead.as_mut().into_iter().for_each(|ahead| ahead.keep(self.bad_rows));
        let mut composed = self.compose(lane, messages, refused, trials, &opens, ahead.as_mut());
        self.ahead = ahead;
        if may_be_stale(self.plans.as_deref(), &composed, self.limits.catalogue_age) {
            let shape = self.shape;
            self.read_tables().await?;
            if self.shape != shape {
                return Ok(Piecemeal::Anew);
            }
            opens = if is_main { self.to_open(lane) } else { Vec::new() };
            composed = self.compose(lane, messages, refused, trials, &opens, None);
        }
        if replays {
            write_over(&mut composed.statements);
        }
        let (messages, last) = match composed.cut {
            Some(cut) => (&messages[..cut], messages[cut - 1].id),
            None => (messages, last),
        };
        let may_sift = attempt.may_sift && alone;
        let home = self.lanes[main].lane.clone();
        if may_sift && self.bad_rows && trials.is_empty() {
            // Where the last piece had bad rows, this one is likely to have some: a try without a look would be in vain.
            self.hold_lease().await?;
            let statements = std::mem::take(&mut composed.statements);
            let looked_at = Transaction { statements, ..Transaction::of(self.fence(lane, last)) };
            if let Some(found) = self.sift(&looked_at, &composed).await? {
                return Ok(Piecemeal::Written(found));
            }
            composed.statements = looked_at.statements;
        }
        let mut letters = letters(self.plans.as_deref(), &composed, messages, &home.stream, self.attempts + 1);
        if !letters.is_empty() {
            if !replays {
                self.lanes[lane].kept.extend(letters.iter().map(|letter| letter.dead.clone()));
            }
            let call = self.log.keep_dead(&home, &letters);
            log(self.limits.log, &self.progress, call).await?;
        }
        self.hold_lease().await?;
        let side_row = |opened: &Opened| SideRow {
            lane: side_of(&home, &opened.part),
            generation: opened.at.generation.clone(),
            last_id: opened.at.id,
        };
        let transaction = Transaction {
            lock: (!is_main).then(|| self.fence(main, self.lanes[main].last_id)),
            open: opens.iter().map(side_row).collect(),
            statements: std::mem::take(&mut composed.statements),
            bury: std::mem::take(&mut composed.bury),
            supersede: std::mem::take(&mut composed.supersede),
            ..Transaction::of(self.fence(lane, last))
        };
        failpoint::reach(failpoint::BEFORE_TRANSACTION);
        self.attempts += 1;
        let (started_ms, started) = (now_ms(), Instant::now());
        // Of the batch before, Redis hears meanwhile.
        let unsent = self.next_unsent();
        let (Limits { write, log: limit, .. }, progress) = (self.limits, &self.progress);
        let writing = async {
            let call = self.database.commit_trials(&transaction, &composed.trials);
            let outcome = database(write, progress, "a transaction", call).await;
            (outcome, started.elapsed())
        };
        let telling = async {
            let advance = unsent.as_ref()?;
            Some(log(limit, progress, self.log.advance(advance)).await)
        };
        let ((outcome, took), told) = tokio::join!(writing, telling);
        // Where it could not be told, it is tried again after this.
        let _ = told.map(|answer| self.told(answer));
        self.counts.last_write = took;
        let nothing = Tried::default();
        let tried = outcome.as_ref().unwrap_or(&nothing);
        let changed = tried_letters(&transaction, &composed, tried, &mut letters);
        let (supersede, bury) = settled(&transaction, &composed.trials, &tried.refused);
        let advance = self.advance_for(lane, messages, &transaction, &composed, &opens, tried, &bury, started_ms, took);
        let unsettled = outcome.is_err() && !composed.trials.is_empty();
        let Fence { previous, new, .. } = transaction.fence;
        let passed = Passed { lane, previous, new, advance, bury, letters, supersede, opened: opens, unsettled };
        match outcome {
            Ok(_) => {
                failpoint::reach(failpoint::AFTER_COMMIT);
                if !passed.opened.is_empty() {
                    failpoint::reach(failpoint::AFTER_SIDE_OPEN);
                }
                if !changed.is_empty() {
                    let call = self.log.keep_dead(&home, &changed);
                    if let Err(error) = log(self.limits.log, &self.progress, call).await {
                        self.in_doubt = Some(passed);
                        return Err(error.into());
                    }
                }
                self.spent = transaction.statements;
                self.passed(passed).await?;
                Ok(Piecemeal::Written(Written::All))
            }
            Err(WriteError::Reject(reason)) => {
                self.attempts = 0;
                if may_sift && let Some(found) = self.sift(&transaction, &composed).await? {
                    return Ok(Piecemeal::Written(found));
                }
                let refers = reason.code == "foreign_key";
                let written = Written::refused(&composed, reason);
                Ok(if refers && self.wait_for_others(lane, messages, &written, !passed.opened.is_empty()) {
                    if is_main { Piecemeal::Anew } else { Piecemeal::Waits }
                } else {
                    Piecemeal::Written(written)
                })
            }
            Err(WriteError::Retry(fault)) => {
                self.in_doubt = Some(passed);
                Err(Trouble::Database(fault))
            }
            Err(WriteError::Fenced) => {
                self.counts.fenced += 1;
                Err(WriteError::Fenced.into())
            }
            Err(WriteError::Hold(fault)) => self.held(lane, fault).await,
        }
    }

    /// Asks the database for all rows of a piece that it refuses.
    async fn sift(&mut self, transaction: &Transaction, composed: &Composed) -> Result<Option<Written>, Trouble> {
        let call = self.database.sift(transaction);
        let found = database(self.limits.write, &self.progress, "a transaction", call).await?;
        let found = at_fault(composed, found);
        self.bad_rows = !found.is_empty();
        Ok(self.bad_rows.then_some(Written::Sifted(found)))
    }

    /// The database says that something about tables or rights is wrong. The catalogue knows better which route misses what;
    /// where it misses nothing any more, the next try shows.
    async fn held(&mut self, lane: usize, fault: Fault) -> Result<Piecemeal, Trouble> {
        let shape = self.shape;
        self.plans = None;
        self.read_tables().await?;
        if !self.lanes[lane].is_main() {
            // Main and the other side rows need not wait for this one.
            self.lanes[lane].beside.waits = Some(fault.message);
            return Ok(Piecemeal::Waits);
        }
        if self.shape != shape { Ok(Piecemeal::Anew) } else { Err(WriteError::Hold(fault).into()) }
    }

    /// Why the whole destination waits, where none of its routes fits its table: there is nothing to go on with.
    fn nothing_fits(&self) -> Option<String> {
        let none = self.fitting.is_empty() && !self.unfit.is_empty();
        none.then(|| {
            let mut all: Vec<&str> = self.unfit.values().map(String::as_str).collect();
            all.dedup();
            all.truncate(3);
            all.join("; ")
        })
    }

    /// A row refers to one that is not there. While a side row may still bring that one, nothing is given up: in main the
    /// table that refers gets a row of its own, and a side row waits. False: it is a dead letter like any other, or cut further.
    fn wait_for_others(&mut self, lane: usize, messages: &[&Message], written: &Written, opens: bool) -> bool {
        let Written::Refused { at, plans, .. } = written else { return false };
        let Some(last) = messages.last() else { return false };
        let Some(others) = self.still_to_come(lane, last.id).or_else(|| opens.then(|| "what waits with it".into()))
        else {
            return false;
        };
        if !self.lanes[lane].is_main() {
            // Alone, so that everything before it is written.
            let alone = messages.len() == 1;
            if alone {
                self.lanes[lane].beside.blocked_at = Some(last.id);
            }
            return alone;
        }
        let at_fault: Vec<usize> = match at {
            Some((_, plan)) => vec![*plan],
            None if messages.len() == 1 => plans.clone(),
            None => return false,
        };
        let Some(known) = &self.plans else { return false };
        let tables: Vec<Arc<str>> = at_fault.iter().map(|plan| known.get(*plan).route.table.as_str().into()).collect();
        let why = format!("its rows refer to some that are not there and may yet come by {others}");
        self.lanes[lane].to_hold.extend(tables.into_iter().map(|table| (table, why.clone())));
        true
    }

    /// Nothing is written beyond the lease's end. One that ran out while this node was slow is asked for again: if another
    /// owner came in between, the fence finds out.
    pub(super) async fn hold_lease(&mut self) -> Result<(), Trouble> {
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

    fn compose(
        &self,
        lane: usize,
        messages: &[&Message],
        refused: &Refusals,
        trials: &Refusals,
        opens: &[Opened],
        mut ahead: Option<&mut MappedAhead>,
    ) -> Composed {
        let state = &self.lanes[lane];
        let without = (!opens.is_empty()).then(|| self.starts_without(lane, opens));
        let piece = Piece {
            application: &state.lane.stream,
            generation: &state.generation,
            messages,
            starts: without.as_ref().unwrap_or(&state.starts),
            refused,
            dead: &self.lanes[state.main].dead,
            fold: messages.len() > 1,
        };
        let Some(plans) = self.plans.as_deref() else { return Composed::default() };
        let composed = ahead.as_mut().filter(|_| trials.is_empty()).and_then(|ahead| ahead.composed(&piece, plans));
        composed.unwrap_or_else(|| compose_with(&piece, trials, plans, ahead))
    }

    #[allow(clippy::too_many_arguments, reason = "one place that ties a commit to its record")]
    fn advance_for(
        &self,
        lane: usize,
        messages: &[&Message],
        transaction: &Transaction,
        composed: &Composed,
        opens: &[Opened],
        tried: &Tried,
        bury: &[DeadRow],
        started_ms: u64,
        took: Duration,
    ) -> Advance {
        let state = &self.lanes[lane];
        let plan = |&at: &usize| {
            let plan = self.plans.as_deref()?.get(at);
            Some((plan.route.id.clone(), plan.route.version, plan.digest.clone()))
        };
        let given_up = tried.refused.iter().filter_map(|(place, _)| composed.trials.get(*place));
        let given_up: usize = given_up.map(|trial| composed.rows_in(trial.statements.clone())).sum();
        let untouched = &tried.committed.untouched;
        let rows = composed.rows_written(untouched).saturating_sub(given_up);
        let messages_of = composed.untouched_messages(untouched);
        let untouched: Vec<_> = messages_of.filter_map(|at| messages.get(at)).map(|message| message.id).collect();
        let buried = |dead: &DeadId| bury.iter().any(|row| row.dead == *dead);
        let record = BatchRecord {
            first: messages.first().map_or(transaction.fence.new, |message| message.id),
            last: transaction.fence.new,
            entries: u32::try_from(messages.len()).unwrap_or(u32::MAX),
            rows: u32::try_from(rows).unwrap_or(u32::MAX),
            started_ms,
            took_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            attempts: self.attempts,
            routes: composed.plans.iter().filter_map(plan).collect(),
            untouched,
            folded: messages.len() > 1,
        };
        let mut advance = self.advance_of(state.main);
        if state.is_main() {
            advance.to.id = transaction.fence.new;
            advance.sides.extend(opens.iter().map(|opened| SidePosition {
                part: opened.part.text(),
                routes: self.routes_into(state.main, &opened.part),
                at: opened.at.clone(),
                held: self.why_it_opens(state.main, &opened.part),
            }));
        } else {
            advance.part = Arc::clone(&state.lane.part);
            let mine = advance.sides.iter_mut().find(|side| side.part == advance.part);
            mine.into_iter().for_each(|side| side.at.id = transaction.fence.new);
        }
        advance.history = (!messages.is_empty()).then_some(record);
        // Payloads of records that could be written after all.
        advance.void =
            state.kept.iter().filter(|dead| dead.id <= transaction.fence.new && !buried(dead)).cloned().collect();
        advance
    }
}

/// Mapping holds every value against the catalogue, so a type that the database refuses all the same means that the table is
/// another one by now; unless this was read a moment ago.
const JUST_READ: Duration = Duration::from_millis(250);

/// A row is not given up by a catalogue that may have changed since it was read, whether mapping refused it or the database did,
/// now or on trial; least of all for a column that the catalogue did not have then.
pub(super) fn may_be_stale(plans: Option<&Plans>, composed: &Composed, age: Duration) -> bool {
    let Some(plans) = plans else { return true };
    composed.refused.iter().chain(&composed.tried).any(|refused| {
        let plan = plans.get(refused.plan);
        let unknown = |column: &String| plan.mapping.plan.table.column(column).is_none();
        let lacking = refused.reason.code == "not_null" && refused.reason.column.as_ref().is_some_and(unknown);
        let odd = refused.reason.code == "type" && !refused.by_mapping;
        lacking || plan.read_at.elapsed() > if odd { JUST_READ.min(age) } else { age }
    })
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
            Entry::Message(message) => Ok(&**message),
            Entry::Unknown { id, why } => {
                Err(Trouble::Hold(format!("entry {id} of the stream can't be read by this version: {why}")))
            }
        })
        .collect()
}
