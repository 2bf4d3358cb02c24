//! Writing a batch piece by piece: one transaction each, split by prefixes of the log where rows are bad (delivery rules 7,
//! 10 and 11).

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Delivery, Trouble, database, log, now_ms, passed::Passed};
use crate::{
    compose::{Composed, Piece, compose},
    failpoint,
    message::{Message, Position, StreamId},
    ports::{Advance, Batch, BatchRecord, DeadLetter, Entry, Rejection, WriteError},
    transaction::{DeadId, Fence, Transaction},
};

/// Rejections of the piece in hand: (message, plan) → why.
type Refusals = BTreeMap<(usize, usize), Rejection>;

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
        // Where pieces end: a refused piece is halved, or cut around the row that is at fault where that is known. What
        // cannot be read holds the lane, but not what comes before it.
        let mut ends = vec![batch.entries.len()];
        ends.extend(batch.entries.iter().position(|entry| matches!(entry, Entry::Unknown { .. })));
        let mut refused = Refusals::new();
        let mut suspects = Suspects::default();
        let mut next = 0;
        loop {
            let done = self.lanes[lane].last_id;
            next += batch.entries[next..].iter().take_while(|entry| entry.id() <= done).count();
            ends.retain(|end| *end > next);
            let Some(&end) = ends.last() else { return Ok(()) };
            let messages = messages(&batch.entries[next..end])?;
            match self.write_piece(lane, &messages, batch.entries[end - 1].id(), &refused).await? {
                Written::All => (refused, suspects) = Default::default(),
                Written::Refused { at: Some((_, plan)), reason, .. } if messages.len() == 1 => {
                    refused.insert((0, plan), reason);
                }
                Written::Refused { at: None, reason, plans } if messages.len() == 1 => {
                    suspects.accuse(&mut refused, plans, reason);
                }
                Written::Refused { at: Some((folded, _)), .. } => {
                    // A folded change is unfolded by halves: any of its messages may be the one at fault.
                    let cut = next + folded[folded.len() / 2];
                    ends.extend((folded.len() == 1).then_some(cut + 1));
                    ends.extend((cut > next).then_some(cut));
                }
                Written::Refused { at: None, .. } => ends.push(next + messages.len() / 2),
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
            self.write_piece(lane, &[], until, &Refusals::new()).await?;
        }
        Err(Trouble::TakeOver("the next generation of the stream begins".into()))
    }

    async fn write_piece(
        &mut self,
        lane: usize,
        messages: &[&Message],
        last: StreamId,
        refused: &Refusals,
    ) -> Result<Written, Trouble> {
        if self.plans.is_none() {
            self.read_tables().await?;
        }
        let mut composed = self.compose(lane, messages, refused);
        if self.catalogue_may_be_stale(&composed) {
            self.read_tables().await?;
            composed = self.compose(lane, messages, refused);
        }
        let letters = self.letters(lane, messages, &composed);
        if !letters.is_empty() {
            let state = &mut self.lanes[lane];
            state.kept.extend(letters.iter().map(|letter| letter.dead.clone()));
            let call = self.log.keep_dead(&state.lane, &letters);
            log(self.limits.log, &self.progress, call).await?;
        }
        self.hold_lease().await?;
        let state = &self.lanes[lane];
        let transaction = Transaction {
            fence: Fence {
                lane: state.lane.clone(),
                generation: state.generation.clone(),
                owner: Arc::clone(&self.owner),
                previous: state.last_id,
                new: last,
            },
            statements: std::mem::take(&mut composed.statements),
            bury: std::mem::take(&mut composed.bury),
            supersede: std::mem::take(&mut composed.supersede),
            exhume: None,
        };
        failpoint::reach(failpoint::BEFORE_TRANSACTION);
        self.attempts += 1;
        let (started_ms, started) = (now_ms(), Instant::now());
        let call = self.database.commit(&transaction);
        let outcome = database(self.limits.write, &self.progress, "a transaction", call).await;
        let took = started.elapsed();
        self.counts.last_write = took;
        let untouched = outcome.as_ref().map_or(&[][..], |committed| &committed.untouched);
        let advance = self.advance_for(lane, messages, &transaction, &composed, untouched, started_ms, took);
        let Transaction { fence, bury, supersede, .. } = transaction;
        let passed = Passed { lane, previous: fence.previous, advance, bury, letters, supersede };
        match outcome {
            Ok(_) => {
                failpoint::reach(failpoint::AFTER_COMMIT);
                self.passed(passed).await?;
                Ok(Written::All)
            }
            Err(WriteError::Reject(reason)) => {
                self.attempts = 0;
                Ok(Written::Refused { at: source_of(&composed, &reason), reason, plans: composed.plans })
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
        let asked = Instant::now();
        if self.lease.holds(asked) {
            return Ok(());
        }
        let lanes = self.wanted_lanes();
        let call = self.log.lease(&lanes, &self.owner, self.limits.lease);
        if !log(self.limits.log, &self.progress.clone(), call).await? {
            return Err(Trouble::StandBy);
        }
        self.lease.taken(Arc::clone(&self.owner), lanes, asked, self.limits.lease);
        Ok(())
    }

    fn compose(&self, lane: usize, messages: &[&Message], refused: &Refusals) -> Composed {
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
        self.plans.as_ref().map_or_else(Composed::default, |plans| compose(&piece, plans))
    }

    /// A row is not given up by a catalogue that may have changed since it was read.
    fn catalogue_may_be_stale(&self, composed: &Composed) -> bool {
        let Some(plans) = &self.plans else { return true };
        composed
            .refused
            .iter()
            .any(|refused| refused.by_mapping && plans.get(refused.plan).read_at.elapsed() > self.limits.catalogue_age)
    }

    fn letters(&self, lane: usize, messages: &[&Message], composed: &Composed) -> Vec<DeadLetter> {
        let Some(plans) = &self.plans else { return Vec::new() };
        let letter = |(refused, row): (&crate::compose::Refused, &crate::transaction::DeadRow)| {
            let (message, route) = (messages[refused.message], &plans.get(refused.plan).route);
            DeadLetter {
                dead: row.dead.clone(),
                application: self.lanes[lane].lane.stream.to_string(),
                route_name: route.name.clone(),
                topic: message.topic.to_string(),
                action: message.action.as_str().into(),
                key: message.key.as_deref().map(Into::into),
                data: message.data.to_string(),
                table: route.table.clone(),
                reason: refused.reason.clone(),
                attempts: self.attempts + 1,
                at_ms: now_ms(),
                redrive_error: None,
                superseded_by: row.superseded_by,
            }
        };
        composed.refused.iter().zip(&composed.bury).map(letter).collect()
    }

    #[allow(clippy::too_many_arguments, reason = "one place that ties a commit to its record")]
    fn advance_for(
        &self,
        lane: usize,
        messages: &[&Message],
        transaction: &Transaction,
        composed: &Composed,
        untouched: &[(usize, usize)],
        started_ms: u64,
        took: Duration,
    ) -> Advance {
        let state = &self.lanes[lane];
        let plan = |&at: &usize| {
            let plan = self.plans.as_ref()?.get(at);
            Some((plan.route.id.clone(), plan.route.version, plan.digest.clone()))
        };
        let untouched: Vec<_> = untouched
            .iter()
            .filter_map(|&(statement, row)| composed.sources.get(statement)?.get(row))
            .flat_map(|(sources, _)| sources.iter().filter_map(|&at| messages.get(at)).map(|message| message.id))
            .collect();
        let buried = |dead: &DeadId| transaction.bury.iter().any(|row| row.dead == *dead);
        let rows: usize = transaction.statements.iter().map(|statement| statement.rows.len()).sum();
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
            history: (!messages.is_empty()).then_some(record),
            // Payloads of records that could be written after all.
            void: state.kept.iter().filter(|dead| dead.id <= transaction.fence.new && !buried(dead)).cloned().collect(),
        }
    }
}

/// What became of a piece.
enum Written {
    /// It is in the database.
    All,
    /// The database refused it; `at` are the messages of the change at fault, and its plan, where that is known. `plans`
    /// are all that had something to do with the piece.
    Refused { at: Option<(Vec<usize>, usize)>, reason: Rejection, plans: Vec<usize> },
}

/// Whose fault it is that the commit of a single message is refused (a deferred constraint), where the database does not
/// tell: each route is left out in its turn, and where that is of no use, all are.
#[derive(Default)]
struct Suspects {
    waiting: Option<Vec<usize>>,
    all: Vec<usize>,
}

impl Suspects {
    fn accuse(&mut self, refused: &mut Refusals, plans: Vec<usize>, reason: Rejection) {
        let waiting = self.waiting.get_or_insert_with(|| {
            self.all = plans.into_iter().filter(|plan| !refused.contains_key(&(0, *plan))).collect();
            self.all.iter().copied().rev().collect()
        });
        refused.retain(|(_, plan), _| !self.all.contains(plan));
        match waiting.pop().filter(|_| self.all.len() > 1) {
            Some(next) => drop(refused.insert((0, next), reason)),
            None => refused.extend(self.all.iter().map(|plan| ((0, *plan), reason.clone()))),
        }
    }
}

fn source_of(composed: &Composed, reason: &Rejection) -> Option<(Vec<usize>, usize)> {
    let rows = composed.sources.get(reason.statement?)?;
    match (reason.row, rows.as_slice()) {
        (Some(row), _) => rows.get(row).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
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
