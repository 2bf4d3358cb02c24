//! Writing a batch piece by piece: one transaction each, split by prefixes of the log where rows are bad (delivery rules 7,
//! 10 and 11).

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Delivery, InDoubt, Trouble, database, log, now_ms};
use crate::{
    compose::{Composed, Piece, compose},
    message::{Message, Position, StreamId},
    ports::{Advance, Batch, BatchRecord, DeadLetter, Entry, LogError, Rejection, WriteError},
    transaction::{Committed, DeadId, Fence, Transaction},
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
        // Where pieces end: a refused piece is halved, or cut around the row that is at fault where that is known.
        let mut ends = vec![batch.entries.len()];
        let mut refused = Refusals::new();
        let mut next = 0;
        loop {
            let done = self.lanes[lane].last_id;
            next += batch.entries[next..].iter().take_while(|entry| entry.id() <= done).count();
            ends.retain(|end| *end > next);
            let Some(&end) = ends.last() else { return Ok(()) };
            let messages = messages(&batch.entries[next..end])?;
            match self.write_piece(lane, &messages, batch.entries[end - 1].id(), &refused).await? {
                Written::All => refused.clear(),
                Written::Refused { at: Some(source), reason } if messages.len() == 1 => {
                    refused.insert(source, reason);
                }
                // The commit itself was refused (a deferred constraint): no statement of the message can be told apart.
                Written::Refused { at: None, reason } if messages.len() == 1 => {
                    let plans = self.plans.as_ref().map_or(0, |plans| plans.all().len());
                    refused.extend((0..plans).map(|plan| ((0, plan), reason.clone())));
                }
                Written::Refused { at: Some((message, _)), .. } => {
                    ends.push(next + message + 1);
                    ends.extend((message > 0).then_some(next + message));
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

    /// Clears up what the last call left: a transaction in doubt, a position that Redis has not heard of.
    pub(super) async fn settle(&mut self) -> Result<(), Trouble> {
        if !self.taken {
            return Err(Trouble::TakeOver("not taken over".into()));
        }
        if let Some(doubt) = self.in_doubt.clone() {
            let state = &self.lanes[doubt.lane];
            let call = self.database.watermark(&state.lane, &state.generation);
            let row = database(self.limits.setup, &self.progress.clone(), "the watermark", call).await?;
            match row {
                Some(row) if row.owner == *self.owner && row.last_id == doubt.new => {
                    self.in_doubt = None;
                    self.lanes[doubt.lane].last_id = doubt.new;
                    self.attempts = 0;
                    self.unsent = doubt.advance;
                }
                Some(row) if row.owner == *self.owner && row.last_id == doubt.previous => self.in_doubt = None,
                _ => return Err(Trouble::TakeOver("the watermark has moved".into())),
            }
        }
        self.send_advance().await
    }

    /// Tells Redis how far we are. Refusals that only concern display are not worth stopping for.
    pub(super) async fn send_advance(&mut self) -> Result<(), Trouble> {
        let Some(mut advance) = self.unsent.clone() else { return Ok(()) };
        advance.version = self.version;
        match log(self.limits.log, &self.progress.clone(), self.log.advance(&advance)).await {
            Ok(()) => {}
            Err(LogError::NoSuchEntry(id)) => {
                tracing::warn!(destination = %self.spec.name, %id, "a delivered entry is no longer in its stream");
            }
            Err(error) => return Err(error.into()),
        }
        self.unsent = None;
        Ok(())
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
            let call = self.log.keep_dead(&self.lanes[lane].lane, &letters);
            log(self.limits.log, &self.progress.clone(), call).await?;
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
        self.attempts += 1;
        let (started_ms, started) = (now_ms(), Instant::now());
        let call = self.database.commit(&transaction);
        let outcome = database(self.limits.write, &self.progress.clone(), "a transaction", call).await;
        let took = started.elapsed();
        self.counts.last_write = took;
        match outcome {
            Ok(committed) => {
                self.committed(lane, messages, &transaction, &composed, &committed, started_ms, took);
                self.note_dead(&transaction, letters).await?;
                self.send_advance().await?;
                Ok(Written::All)
            }
            Err(WriteError::Reject(reason)) => {
                self.attempts = 0;
                Ok(Written::Refused { at: source_of(&composed, &reason), reason })
            }
            Err(WriteError::Retry(fault)) => {
                let advance = self.advance_for(lane, messages, &transaction, &composed, &[], started_ms, took);
                self.in_doubt =
                    Some(InDoubt { lane, previous: transaction.fence.previous, new: last, advance: Some(advance) });
                Err(Trouble::Database(fault))
            }
            Err(WriteError::Fenced) => {
                self.counts.fenced += 1;
                Err(WriteError::Fenced.into())
            }
            Err(error @ WriteError::Hold(_)) => Err(error.into()),
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
        self.lease.granted(asked, self.limits.lease);
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
            dead: &self.dead,
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
            void: Vec::new(),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "one place that ties a commit to its record")]
    fn committed(
        &mut self,
        lane: usize,
        messages: &[&Message],
        transaction: &Transaction,
        composed: &Composed,
        committed: &Committed,
        started_ms: u64,
        took: Duration,
    ) {
        let advance = self.advance_for(lane, messages, transaction, composed, &committed.untouched, started_ms, took);
        self.counts.rows += advance.history.as_ref().map_or(0, |record| u64::from(record.rows));
        self.counts.entries += messages.len() as u64;
        self.counts.dead += transaction.bury.len() as u64;
        self.lanes[lane].last_id = transaction.fence.new;
        self.attempts = 0;
        self.unsent = Some(advance);
    }

    /// Remembers which dead keys stand, and marks the payloads of those that became obsolete.
    async fn note_dead(&mut self, transaction: &Transaction, letters: Vec<DeadLetter>) -> Result<(), Trouble> {
        for (row, letter) in transaction.bury.iter().zip(letters) {
            tracing::warn!(
                destination = %self.spec.name, route = %letter.route_name, id = %row.dead.id,
                column = letter.reason.column.as_deref(), code = %letter.reason.code, "dead letter"
            );
            if let (Some(key), None) = (&row.key, row.superseded_by) {
                self.dead.entry((row.table.clone(), key.clone())).or_default().push(row.dead.clone());
            }
        }
        let mut obsolete: Vec<(DeadId, StreamId)> = Vec::new();
        for supersede in &transaction.supersede {
            let gone = self.dead.remove(&(supersede.table.clone(), supersede.key.clone())).unwrap_or_default();
            obsolete.extend(gone.into_iter().map(|dead| (dead, supersede.by)));
        }
        let lane = transaction.fence.lane.clone();
        for (dead, by) in obsolete {
            let found = log(self.limits.log, &self.progress.clone(), self.log.dead(&lane, &dead)).await?;
            if let Some(mut letter) = found {
                letter.superseded_by = Some(by);
                log(self.limits.log, &self.progress.clone(), self.log.keep_dead(&lane, &[letter])).await?;
            }
        }
        Ok(())
    }
}

/// What became of a piece.
enum Written {
    /// It is in the database.
    All,
    /// The database refused it; `at` is the (message, plan) at fault, where it is known.
    Refused { at: Option<(usize, usize)>, reason: Rejection },
}

fn source_of(composed: &Composed, reason: &Rejection) -> Option<(usize, usize)> {
    let rows = composed.sources.get(reason.statement?)?;
    let row = match (reason.row, rows.as_slice()) {
        (Some(row), _) => rows.get(row)?,
        (None, [only]) => only,
        (None, _) => return None,
    };
    Some((*row.0.first()?, row.1))
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
