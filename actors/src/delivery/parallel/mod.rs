//! The delivery of one parallel destination on one of its nodes: claim entries, write them by key, acknowledge them.
//!
//! At least once and without order, on any number of nodes at the same time: what is written twice is the same row. An entry
//! is acknowledged after its rows are committed; whoever falls between the two leaves it to be written again. As in
//! [`super::Delivery`], every step succeeds or says in [`Trouble`] what has to happen first. Nothing of ours is in the
//! database: the payload of a dead letter in Redis is the truth about it.

mod commands;
mod write;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Claims, Counts, Limits, Step, Trouble, database, lanes_of, log, random_token};
use crate::{
    compose::{Plans, Starts},
    message::{Action, Generation, Message, Position, StreamId},
    ports::{Acknowledge, Claimed, Destination, Entry, EventLog, GenerationStart, GroupReader},
    progress::Progress,
    route::DestinationSpec,
    transaction::LaneId,
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
    commands_wait: bool,
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
            commands_wait: false,
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
            if log(self.limits.log, &self.progress, self.group.open(&lane, self.version)).await? {
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
                if after == StreamId::ZERO {
                    // Another node, of a newer version, may have taken it since.
                    self.unreadable.retain(|(lane, _), _| *lane != at);
                }
                self.claims.own(at, (!claimed.is_empty()).then_some(claimed.next));
                vec![(at, claimed)]
            }
            Step::Left(at, cursor) => {
                let call = self.group.left(&self.lanes[at].lane, cursor, self.limits.claim_idle, most);
                let claimed = log(limit, &progress, call).await?;
                self.claims.left(at, claimed.next, Instant::now());
                if claimed.next == StreamId::ZERO && !self.unreadable.is_empty() {
                    self.claims.restart();
                }
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
                Entry::Message(message) => {
                    let mut message = Arc::unwrap_or_clone(message);
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
