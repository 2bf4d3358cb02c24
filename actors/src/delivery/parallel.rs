//! The delivery of one parallel destination on one of its nodes: claim entries, write them by key, acknowledge them.
//!
//! At least once and without order, on any number of nodes at the same time: what is written twice is the same row. An entry
//! is acknowledged after its rows are committed; whoever falls between the two leaves it to be written again. As in
//! [`super::Delivery`], every step succeeds or says in [`Trouble`] what has to happen first. Nothing of ours is in the
//! database: the payload of a dead letter in Redis is the truth about it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Claims, Counts, Limits, Step, Trouble,
    commands::compose_one,
    cuts::{Cuts, Refusals, Written},
    database, lanes_of, log,
    pieces::{letters, may_be_stale},
    random_token,
    take_over::compile,
};
use crate::{
    compose::{Composed, DeadKeys, Piece, Plans, Starts, compose},
    message::{Action, Generation, Message, Position, StreamId},
    ports::{
        Acknowledge, Claimed, Command, DeadLetter, Destination, Entry, EventLog, GenerationStart, GroupReader,
        Rejection, WriteError,
    },
    progress::Progress,
    route::DestinationSpec,
    transaction::{Cell, DeadId, LaneId, Op},
};

/// A consumer that has not been heard of for so long and has nothing in hand is forgotten.
const DEPARTED: Duration = Duration::from_secs(60 * 60);

/// One lane, once its group is known to be there.
struct ParallelLane {
    lane: LaneId,
    generations: Vec<GenerationStart>,
    starts: Vec<(String, Position)>,
}

impl ParallelLane {
    /// The place of the generation that an entry belongs to: ids of one stream only rise.
    fn generation_of(&self, id: StreamId) -> usize {
        self.generations.iter().rposition(|start| start.after < id).unwrap_or(0)
    }
}

/// Messages of one lane and generation that are ours to write, in the order of their ids.
struct Run {
    lane: usize,
    generation: Generation,
    starts: Starts,
    messages: Vec<Message>,
    /// So many of them are written and acknowledged.
    done: usize,
}

/// A parallel destination on this node.
pub struct ParallelDelivery {
    log: Box<dyn EventLog>,
    group: Box<dyn GroupReader>,
    database: Box<dyn Destination>,
    spec: Arc<DestinationSpec>,
    installation: Arc<str>,
    version: u64,
    limits: Limits,
    progress: Progress,
    /// Under which this node carries out commands: one at a time.
    token: Arc<str>,
    open: bool,
    lanes: Vec<ParallelLane>,
    claims: Claims,
    hand: VecDeque<Run>,
    plans: Option<Plans>,
    attempts: u32,
    counts: Counts,
    unreadable: BTreeMap<(usize, StreamId), String>,
    forget_at: Instant,
}

/// What a step wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrote {
    /// Rows.
    pub rows: u64,
    /// When each of the messages was accepted, in milliseconds since the Unix epoch.
    pub accepted_ms: Vec<u64>,
}

impl ParallelDelivery {
    /// A delivery that has touched nothing yet.
    #[must_use]
    #[allow(clippy::too_many_arguments, reason = "each is a thing of its own, and there is one caller")]
    pub fn new(
        log: Box<dyn EventLog>,
        group: Box<dyn GroupReader>,
        database: Box<dyn Destination>,
        spec: Arc<DestinationSpec>,
        installation: Arc<str>,
        version: u64,
        limits: Limits,
        progress: Progress,
    ) -> Self {
        let now = Instant::now();
        Self {
            log,
            group,
            database,
            spec,
            installation,
            version,
            limits,
            progress,
            token: random_token(20).into(),
            open: false,
            lanes: Vec::new(),
            claims: Claims::new(0, limits.claim_idle / 2, now),
            hand: VecDeque::new(),
            plans: None,
            attempts: 0,
            counts: Counts::default(),
            unreadable: BTreeMap::new(),
            forget_at: now + DEPARTED,
        }
    }

    /// Learns another version of the registry. With other routes everything in hand is claimed anew.
    pub fn learn(&mut self, spec: Arc<DestinationSpec>, version: u64) {
        if self.spec.routes != spec.routes {
            self.plans = None;
            self.close();
        }
        self.spec = spec;
        self.version = version;
    }

    /// The lanes that the routes ask for.
    #[must_use]
    pub fn wanted_lanes(&self) -> Vec<LaneId> {
        lanes_of(&self.spec, &self.installation)
    }

    /// How far it has got.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the groups are known to be there.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Whether messages are in hand.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.hand.is_empty()
    }

    /// An entry that this version cannot read, and why. It stays pending; everything else goes on.
    #[must_use]
    pub fn unreadable(&self) -> Option<String> {
        let ((_, id), why) = self.unreadable.first_key_value()?;
        Some(format!("entry {id} of the stream can't be read by this version: {why}"))
    }

    /// Looks at the groups anew before anything else is asked for.
    pub fn close(&mut self) {
        self.open = false;
        self.hand.clear();
    }

    /// Lets go of what is in hand; it stays pending and is asked for first.
    pub fn let_go(&mut self) {
        self.hand.clear();
        self.claims.restart();
    }

    /// Forgets the catalogue, so that it is read anew.
    pub fn forget_tables(&mut self) {
        self.plans = None;
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// It does not give one within the limit.
    pub async fn probe(&mut self) -> Result<(), Trouble> {
        Ok(database(self.limits.probe, &self.progress, "a probe", self.database.probe()).await?)
    }

    /// Makes sure that the groups are there, and learns where the routes begin.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn open(&mut self) -> Result<(), Trouble> {
        self.close();
        self.unreadable.clear();
        self.lanes.clear();
        for lane in self.wanted_lanes() {
            if log(self.limits.log, &self.progress, self.group.open(&lane)).await? {
                tracing::warn!(
                    destination = %self.spec.name, stream = %lane.stream,
                    "the consumer group was not there and was made; what the stream still holds may be written again"
                );
            }
            let view = log(self.limits.log, &self.progress, self.log.view(&lane)).await?;
            self.lanes.push(ParallelLane { lane, generations: view.generations, starts: view.starts });
        }
        self.claims = Claims::new(self.lanes.len(), self.limits.claim_idle / 2, Instant::now());
        self.open = true;
        Ok(())
    }

    /// Claims what is to be done next, at most so many entries, and takes it in hand; waits up to `block` for new ones.
    ///
    /// # Errors
    /// Redis is away, or a group is gone.
    pub async fn claim(&mut self, most: usize, block: Duration) -> Result<(), Trouble> {
        let (limit, progress) = (self.limits.log, self.progress.clone());
        let taken = match self.claims.next(Instant::now()) {
            Step::Own(at, after) => {
                let call = self.group.own(&self.lanes[at].lane, after, most);
                let claimed = log(limit, &progress, call).await?;
                self.claims.own(at, (!claimed.is_empty()).then_some(claimed.next));
                vec![(at, claimed)]
            }
            Step::Left(at, cursor) => {
                let call = self.group.left(&self.lanes[at].lane, cursor, self.limits.claim_idle, most);
                let claimed = log(limit, &progress, call).await?;
                self.claims.left(at, claimed.next, Instant::now());
                if !claimed.is_empty() {
                    tracing::info!(
                        destination = %self.spec.name, entries = claimed.entries.len(),
                        "takes over what a consumer left"
                    );
                }
                vec![(at, claimed)]
            }
            Step::Fresh => {
                self.forget_departed().await?;
                let lanes: Vec<LaneId> = self.lanes.iter().map(|lane| lane.lane.clone()).collect();
                // A block is not time lost: the limit is for what comes on top of it.
                let fresh = log(limit + block, &progress, self.group.fresh(&lanes, most, block)).await?;
                let place = |lane: &LaneId| lanes.iter().position(|known| known == lane);
                fresh.into_iter().filter_map(|(lane, claimed)| Some((place(&lane)?, claimed))).collect()
            }
        };
        for (lane, claimed) in taken {
            self.take(lane, claimed).await?;
        }
        Ok(())
    }

    /// Takes entries in hand. What is gone from the stream can only be counted.
    async fn take(&mut self, at: usize, claimed: Claimed) -> Result<(), Trouble> {
        if !claimed.gone.is_empty() {
            self.counts.gaps += 1;
            tracing::error!(
                destination = %self.spec.name, stream = %self.lanes[at].lane.stream, entries = claimed.gone.len(),
                "entries that were never written are gone from the stream"
            );
            let generation =
                self.lanes[at].generations[self.lanes[at].generation_of(claimed.gone[0])].generation.clone();
            let ids = claimed.gone;
            let done = Acknowledge {
                generation,
                version: self.version,
                ids,
                routes: Vec::new(),
                standing: Vec::new(),
                void: Vec::new(),
            };
            log(self.limits.log, &self.progress, self.group.acknowledge(&self.lanes[at].lane, &done)).await?;
        }
        let mut runs: BTreeMap<usize, Vec<Message>> = BTreeMap::new();
        for entry in claimed.entries {
            match entry {
                Entry::Message(mut message) => {
                    // It may come twice: then the second time finds the row there.
                    if message.action == Action::Insert {
                        message.action = Action::Upsert;
                    }
                    runs.entry(self.lanes[at].generation_of(message.id)).or_default().push(message);
                }
                Entry::Unknown { id, why } => {
                    self.unreadable.insert((at, id), why);
                }
            }
        }
        let lane = &self.lanes[at];
        let order: Vec<_> = lane.generations.iter().map(|known| known.generation.clone()).collect();
        for (place, messages) in runs {
            let generation = order[place].clone();
            let starts = Starts::new(&lane.starts, &order, &generation);
            self.hand.push_back(Run { lane: at, generation, starts, messages, done: 0 });
        }
        Ok(())
    }

    /// Writes and acknowledges what is in hand.
    ///
    /// # Errors
    /// What has to happen first; what is not written yet stays in hand.
    pub async fn deliver(&mut self) -> Result<Wrote, Trouble> {
        let mut wrote = Wrote::default();
        while let Some(mut run) = self.hand.pop_front() {
            let outcome = self.deliver_run(&mut run, &mut wrote).await;
            if let Err(trouble) = outcome {
                self.hand.push_front(run);
                return Err(trouble);
            }
        }
        Ok(wrote)
    }

    async fn deliver_run(&mut self, run: &mut Run, wrote: &mut Wrote) -> Result<(), Trouble> {
        let mut cuts = Cuts::new(run.messages.len(), None);
        while let Some(piece) = cuts.piece(run.done) {
            let end = piece.end;
            let messages: Vec<&Message> = run.messages[piece].iter().collect();
            let before = self.counts.rows;
            let written = self.write_piece(run, &messages, &cuts.refused).await?;
            if matches!(written, Written::All) {
                wrote.rows += self.counts.rows - before;
                wrote.accepted_ms.extend(messages.iter().map(|message| message.id.ms));
                run.done = end;
            }
            cuts.learn(written);
        }
        Ok(())
    }

    async fn write_piece(&mut self, run: &Run, messages: &[&Message], refused: &Refusals) -> Result<Written, Trouble> {
        if self.plans.is_none() {
            self.read_tables().await?;
        }
        let mut composed = self.compose(run, messages, refused);
        if may_be_stale(self.plans.as_ref(), &composed, self.limits.catalogue_age) {
            self.read_tables().await?;
            composed = self.compose(run, messages, refused);
        }
        let lane = self.lanes[run.lane].lane.clone();
        let letters = letters(self.plans.as_ref(), &composed, messages, &lane.stream, self.attempts + 1);
        if !letters.is_empty() {
            log(self.limits.log, &self.progress, self.log.keep_dead(&lane, &letters)).await?;
        }
        let mut untouched = 0;
        if !composed.statements.is_empty() {
            sort_by_key(&mut composed);
            self.attempts += 1;
            let started = Instant::now();
            let call = self.database.write(&composed.statements);
            let outcome = database(self.limits.write, &self.progress, "a transaction", call).await;
            self.counts.last_write = started.elapsed();
            match outcome {
                Ok(committed) => untouched = committed.untouched.len(),
                Err(WriteError::Reject(reason)) => {
                    self.attempts = 0;
                    return Ok(Written::refused(&composed, reason));
                }
                Err(WriteError::Hold(fault)) => {
                    // The catalogue knows better which route misses what.
                    self.plans = None;
                    self.read_tables().await?;
                    return Err(WriteError::Hold(fault).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let routes = self.routes(&composed);
        let standing: Vec<DeadId> = letters.iter().map(|letter| letter.dead.clone()).collect();
        let ids = messages.iter().map(|message| message.id).collect();
        let done = Acknowledge {
            generation: run.generation.clone(),
            version: self.version,
            ids,
            routes,
            standing,
            void: Vec::new(),
        };
        log(self.limits.log, &self.progress, self.group.acknowledge(&lane, &done)).await?;
        self.attempts = 0;
        self.counts.rows += composed.rows().saturating_sub(untouched) as u64;
        self.counts.entries += messages.len() as u64;
        self.counts.dead += letters.len() as u64;
        for letter in &letters {
            tracing::warn!(
                destination = %self.spec.name, route = %letter.route_name, id = %letter.dead.id,
                column = letter.reason.column.as_deref(), code = %letter.reason.code, "dead letter"
            );
        }
        Ok(Written::All)
    }

    fn compose(&self, run: &Run, messages: &[&Message], refused: &Refusals) -> Composed {
        let piece = Piece {
            application: &self.lanes[run.lane].lane.stream,
            generation: &run.generation,
            messages,
            starts: &run.starts,
            refused,
            // Without order nothing is older or newer than a dead letter.
            dead: &DeadKeys::new(),
            fold: messages.len() > 1,
        };
        self.plans.as_ref().map_or_else(Composed::default, |plans| compose(&piece, plans))
    }

    fn routes(&self, composed: &Composed) -> Vec<String> {
        let Some(plans) = &self.plans else { return Vec::new() };
        composed.plans.iter().map(|&plan| plans.get(plan).route.id.clone()).collect()
    }

    async fn read_tables(&mut self) -> Result<(), Trouble> {
        let lanes: Vec<_> = self.lanes.iter().map(|lane| &lane.lane).collect();
        let (log, database) = (&mut *self.log, &mut *self.database);
        self.plans = Some(compile(&self.spec, &lanes, log, database, self.limits, &self.progress).await?);
        Ok(())
    }

    async fn forget_departed(&mut self) -> Result<(), Trouble> {
        if Instant::now() < self.forget_at {
            return Ok(());
        }
        self.forget_at = Instant::now() + DEPARTED;
        for at in 0..self.lanes.len() {
            let call = self.group.forget_departed(&self.lanes[at].lane, DEPARTED);
            log(self.limits.log, &self.progress, call).await?;
        }
        Ok(())
    }

    /// Carries out redrives and discards, where no other node is at it. Twice is harmless.
    ///
    /// # Errors
    /// What has to happen first; the command in hand stays on the list.
    pub async fn carry_out_commands(&mut self) -> Result<(), Trouble> {
        for at in 0..self.lanes.len() {
            let lane = self.lanes[at].lane.clone();
            let (limit, progress) = (self.limits.log, self.progress.clone());
            let waiting = log(limit, &progress, self.log.commands(&lane)).await?;
            let mine = std::slice::from_ref(&lane);
            if waiting.is_empty()
                || !log(limit, &progress, self.log.lease(mine, &self.token, self.limits.lease)).await?
            {
                continue;
            }
            for command in waiting {
                match &command {
                    Command::Redrive { dead, .. } => self.redrive(&lane, dead).await?,
                    Command::Discard { dead } => self.void(&lane, dead).await?,
                    // There is no position of its own that could have a gap.
                    Command::Resume { .. } => {}
                }
                log(limit, &progress, self.log.finish(&lane, &command)).await?;
            }
            log(limit, &progress, self.log.release(mine, &self.token)).await?;
        }
        Ok(())
    }

    async fn redrive(&mut self, lane: &LaneId, dead: &DeadId) -> Result<(), Trouble> {
        let found = log(self.limits.log, &self.progress, self.log.dead(lane, dead)).await?;
        let Some(letter) = found else { return Ok(()) };
        // The table may have been mended since the record was refused.
        self.read_tables().await?;
        let statements = match compose_one(&lane.stream, self.plans.as_ref(), &letter) {
            Ok(statements) => statements,
            Err(reason) => return self.redrive_failed(lane, letter, reason).await,
        };
        let call = self.database.write(&statements);
        match database(self.limits.write, &self.progress, "a redrive", call).await {
            Ok(_) => self.void(lane, dead).await,
            Err(WriteError::Reject(reason)) => self.redrive_failed(lane, letter, reason).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn redrive_failed(&mut self, lane: &LaneId, letter: DeadLetter, reason: Rejection) -> Result<(), Trouble> {
        let why = Some(reason.message.clone());
        let letter = DeadLetter { attempts: letter.attempts + 1, redrive_error: why, reason, ..letter };
        Ok(log(self.limits.log, &self.progress, self.log.keep_dead(lane, &[letter])).await?)
    }

    /// Removes a dead letter's payload.
    async fn void(&mut self, lane: &LaneId, dead: &DeadId) -> Result<(), Trouble> {
        let done = Acknowledge {
            generation: dead.generation.clone(),
            version: self.version,
            ids: Vec::new(),
            routes: Vec::new(),
            standing: Vec::new(),
            void: vec![dead.clone()],
        };
        Ok(log(self.limits.log, &self.progress, self.group.acknowledge(lane, &done)).await?)
    }

    /// Gives back what it holds.
    pub async fn release(&mut self) {
        let lanes = self.wanted_lanes();
        let released = tokio::time::timeout(self.limits.log, self.log.release(&lanes, &self.token)).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::debug!(destination = %self.spec.name, "the lease for commands was not given back and will run out");
        }
        self.close();
    }
}

/// Puts the rows of each statement in the order of their keys, so that two nodes lock the same rows in the same order. Rows
/// of one key keep theirs.
fn sort_by_key(composed: &mut Composed) {
    for (statement, sources) in composed.statements.iter_mut().zip(&mut composed.sources) {
        let key = statement.key_cells();
        if key.is_empty() || statement.rows.len() < 2 || statement.op == Op::Insert {
            continue;
        }
        let mut rows: Vec<_> = std::mem::take(&mut statement.rows).into_iter().zip(std::mem::take(sources)).collect();
        rows.sort_by(|(one, _), (two, _)| {
            key.iter().map(|&at| rank(&one[at])).cmp(key.iter().map(|&at| rank(&two[at])))
        });
        let (sorted, of) = rows.into_iter().unzip();
        statement.rows = sorted;
        *sources = of;
    }
}

/// Any total order does, as long as every node has the same.
fn rank(cell: &Cell) -> &[u8] {
    match cell {
        Cell::Absent | Cell::Null => &[],
        Cell::Text(text) => text.as_bytes(),
        Cell::Bytes(bytes) => bytes,
    }
}
