//! The delivery of one ordered destination: take over, write pieces of the log, advance, carry out commands.
//!
//! This is the part of a [`crate::destination`] actor that talks to the world, without actix: every method is one step that
//! either succeeds or says in [`Trouble`] what has to happen first. Calling it again after trouble is always right.

mod abandon;
mod claims;
mod commands;
mod cuts;
mod decisions;
mod lease;
mod parallel;
mod passed;
mod pieces;
mod replay;
mod sides;
mod take_over;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

pub use claims::{Claims, Step};
pub use lease::LeaseClock;
pub use parallel::ParallelDelivery;

use crate::{
    compose::{AheadOf, DeadKeys, MappedAhead, Plans, Starts},
    lane::{Gap, Part},
    message::{Generation, Position, StreamId},
    ports::{Advance, Destination, EventLog, Fault, LogError, WriteError},
    progress::Progress,
    route::DestinationSpec,
    transaction::{DeadId, DeadRow, LaneId, Statement},
};

/// Time limits of everything that is asked of the world.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One transaction.
    pub write: Duration,
    /// Taking over, reading a watermark or the catalogue; connecting is part of it.
    pub setup: Duration,
    /// A probe.
    pub probe: Duration,
    /// One call to the log.
    pub log: Duration,
    /// How long a lease lasts.
    pub lease: Duration,
    /// A read of the log, or any other wait, ends after this long to look around.
    pub block: Duration,
    /// How often commands are looked for.
    pub commands: Duration,
    /// An actor that neither gets on nor is in a wait known to be slow for this long hangs.
    pub hung: Duration,
    /// A catalogue read longer ago than this is read again before a row is given up because of it.
    pub catalogue_age: Duration,
    /// Most entries in one batch.
    pub batch_entries: usize,
    /// How long a consumer of a parallel destination may have an entry in hand before another one takes it over.
    pub claim_idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            write: Duration::from_secs(30),
            setup: Duration::from_secs(15),
            probe: Duration::from_secs(5),
            log: Duration::from_secs(5),
            lease: Duration::from_secs(3),
            block: Duration::from_secs(1),
            commands: Duration::from_secs(1),
            hung: Duration::from_secs(20),
            catalogue_age: Duration::from_secs(5),
            batch_entries: 2_000,
            claim_idle: Duration::from_secs(30),
        }
    }
}

/// What has to happen before delivery can go on.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Trouble {
    /// The database is away or busy: wait, then try again.
    #[error("{0}")]
    Database(Fault),
    /// The table, the rights or a route are wrong: wait until that is mended.
    #[error("{0}")]
    Hold(String),
    /// An operator must decide where it goes on: wait until they have.
    #[error("{0}")]
    Undecided(String),
    /// The log is away: wait, then try again.
    #[error("{0}")]
    Log(String),
    /// The registry has moved on: learn it, then try again.
    #[error("the registry has moved on")]
    NewVersion,
    /// Ownership or generation is in doubt: take over anew.
    #[error("taking over anew: {0}")]
    TakeOver(String),
    /// Another node holds the lease.
    #[error("another node writes this destination")]
    StandBy,
}

impl Trouble {
    /// Whether it holds the destination until somebody puts something right, or decides.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self, Self::Hold(_) | Self::Undecided(_))
    }
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Unavailable(why) => Self::Log(why),
            LogError::NotMine => Self::StandBy,
            LogError::NewVersion => Self::NewVersion,
            LogError::NewGeneration | LogError::NoSuchEntry(_) | LogError::NoGroup => Self::TakeOver(error.to_string()),
        }
    }
}

impl From<WriteError> for Trouble {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Retry(fault) => Self::Database(fault),
            WriteError::Hold(fault) => Self::Hold(fault.message),
            WriteError::Reject(rejection) => Self::Hold(rejection.message),
            WriteError::Fenced => Self::TakeOver(error.to_string()),
        }
    }
}

/// One row of a lane, once it is taken over: its main row, or one beside it.
#[derive(Debug)]
pub struct LaneState {
    /// Its name.
    pub lane: LaneId,
    /// What it stands for.
    pub part: Part,
    /// The place of its main row among the lanes; its own where it is one.
    main: usize,
    /// The generation that is being read.
    pub generation: Generation,
    /// The newest generation of the stream.
    pub newest: Generation,
    /// Everything up to here is in the database.
    pub last_id: StreamId,
    /// The end of this generation, where a newer one follows.
    pub until: Option<StreamId>,
    /// The stream's generations, oldest first, and where the log says that routes begin.
    order: Arc<[Generation]>,
    registered: Arc<[(String, Position)]>,
    /// Where routes begin in this generation, whoever carries them.
    begins: Starts,
    /// The same without those that another row carries.
    starts: Starts,
    /// The ids of the routes that this row carries.
    routes: Vec<Arc<str>>,
    /// What is particular to a side row.
    beside: sides::Beside,
    /// In a main row: tables that get a side row with the next piece although they fit, and why.
    to_hold: BTreeMap<Arc<str>, String>,
    /// Dead letters that stand: a later record of their key makes them obsolete.
    dead: DeadKeys,
    /// Dead letters that are obsolete, and by what. The rows say so; payloads may not yet.
    superseded: HashMap<DeadId, StreamId>,
    /// Payloads that were kept for what is about to be given up.
    kept: Vec<DeadId>,
}

impl LaneState {
    /// Whether it is a main row.
    #[must_use]
    pub fn is_main(&self) -> bool {
        self.part == Part::Main
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { generation: self.generation.clone(), id: self.last_id }
    }

    /// A dead row is in the database.
    fn stands(&mut self, row: DeadRow) {
        match (row.key, row.superseded_by) {
            (_, Some(by)) => drop(self.superseded.insert(row.dead, by)),
            (Some(key), None) => self.dead.entry((row.table, key)).or_default().push(row.dead),
            (None, None) => {}
        }
    }
}

/// How far a delivery has got; for status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows written since the actor started.
    pub rows: u64,
    /// Log entries passed.
    pub entries: u64,
    /// Dead letters made.
    pub dead: u64,
    /// Writes that the fence refused.
    pub fenced: u64,
    /// Gaps found.
    pub gaps: u64,
    /// How long the last transaction took.
    pub last_write: Duration,
    /// The highest epoch that was taken.
    pub epoch: u64,
}

/// Whether the next batch has been read and composed. Clones are the same word.
#[derive(Clone, Debug, Default)]
pub struct Follows(Arc<AtomicBool>);

impl Follows {
    /// It is at hand.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_at_hand(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// One ordered destination on its owner.
pub struct Delivery {
    log: Box<dyn EventLog>,
    database: Box<dyn Destination>,
    spec: Arc<DestinationSpec>,
    installation: Arc<str>,
    version: u64,
    limits: Limits,
    progress: Progress,
    lease: LeaseClock,
    owner: Arc<str>,
    lanes: Vec<LaneState>,
    taken: bool,
    plans: Option<Arc<Plans>>,
    /// The next batch's rows, where they were mapped before its turn.
    ahead: Option<MappedAhead>,
    /// Whether the database refused rows of the piece before.
    bad_rows: bool,
    /// Routes that their tables do not fit, and why, as of the last look at the catalogue.
    unfit: BTreeMap<String, String>,
    /// The routes that have a plan, in the order of the plans; and how often that changed.
    fitting: Vec<String>,
    shape: u64,
    /// Digests of plans that the log keeps.
    kept_plans: HashSet<String>,
    /// The ids of routes that the registry had and has no more: what the log still says of them means nothing.
    removed: HashSet<String>,
    /// Whether side rows are read next, while some catch up.
    sides_next: bool,
    in_doubt: Option<passed::Passed>,
    /// What Redis has not heard of yet, in order: the last batch's, and before it one's that could not be told.
    unsent: VecDeque<Advance>,
    /// Whether the next batch is at hand: then Redis hears of this one while the database writes that one.
    follows: Follows,
    /// Rows that are written: whoever has time may free them.
    spent: Vec<Statement>,
    /// The gap that was counted last.
    gap: Option<(LaneId, Gap)>,
    attempts: u32,
    commands_wait: bool,
    counts: Counts,
}

impl Delivery {
    /// A delivery that has touched nothing yet.
    #[must_use]
    #[allow(clippy::too_many_arguments, reason = "each is a thing of its own, and there is one caller")]
    pub fn new(
        log: Box<dyn EventLog>,
        database: Box<dyn Destination>,
        spec: Arc<DestinationSpec>,
        installation: Arc<str>,
        version: u64,
        limits: Limits,
        progress: Progress,
        lease: LeaseClock,
    ) -> Self {
        Self {
            log,
            database,
            spec,
            installation,
            version,
            limits,
            progress,
            lease,
            owner: random_token(20).into(),
            lanes: Vec::new(),
            taken: false,
            plans: None,
            ahead: None,
            bad_rows: false,
            unfit: BTreeMap::new(),
            fitting: Vec::new(),
            shape: 0,
            kept_plans: HashSet::new(),
            removed: HashSet::new(),
            sides_next: false,
            in_doubt: None,
            unsent: VecDeque::new(),
            follows: Follows::default(),
            spent: Vec::new(),
            gap: None,
            attempts: 0,
            commands_wait: false,
            counts: Counts::default(),
        }
    }

    /// Learns another version of the registry; changed routes mean a new take-over, so that they begin between batches.
    pub fn learn(&mut self, spec: Arc<DestinationSpec>, version: u64) {
        if self.spec.routes != spec.routes {
            self.taken = false;
            self.plans = None;
        }
        let gone = self.spec.routes.iter().filter(|old| spec.routes.iter().all(|route| route.id != old.id));
        self.removed.extend(gone.map(|route| route.id.clone()));
        self.spec = spec;
        self.version = version;
    }

    /// The registry's version that it works by.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the lanes are ours, as far as we know.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.taken
    }

    /// The rows of all lanes, once taken over: main rows first, then side rows.
    #[must_use]
    pub fn lanes(&self) -> &[LaneState] {
        &self.lanes
    }

    /// The token of this acquisition.
    #[must_use]
    pub fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// How far it has got.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The lanes that this destination's routes ask for.
    #[must_use]
    pub fn wanted_lanes(&self) -> Vec<LaneId> {
        lanes_of(&self.spec, &self.installation)
    }

    /// Forgets what it believes to own; the next step takes over.
    pub fn stand_down(&mut self) {
        self.taken = false;
    }

    /// Forgets the catalogue, so that the next piece reads it anew (after a hold).
    pub fn forget_tables(&mut self) {
        self.plans = None;
    }

    /// What a lane's next batch can be mapped for before its turn. None while its routes are spread over several rows, whose
    /// batches are short.
    #[must_use]
    pub fn ahead_of(&self, lane: &LaneId) -> Option<AheadOf> {
        let alone = self.lanes.iter().all(LaneState::is_main);
        let state = self.lanes.iter().find(|state| state.lane == *lane && alone)?;
        // Where rows are bad, or dead letters stand, what a piece comes to is known only when its turn comes.
        let starts = (state.dead.is_empty() && !self.bad_rows).then(|| state.starts.clone());
        Some(AheadOf {
            plans: Arc::clone(self.plans.as_ref()?),
            generation: state.generation.clone(),
            starts,
            encoder: self.database.encoder(),
        })
    }

    /// Gives it the rows of the batch that is delivered next. They are used as far as they still hold.
    pub fn map_ahead(&mut self, ahead: Option<MappedAhead>) {
        self.ahead = ahead;
    }

    /// Rows that are written. Freeing them takes a while, for which the database need not wait.
    pub fn spent(&mut self) -> Vec<Statement> {
        std::mem::take(&mut self.spent)
    }

    /// By this it knows whether another batch follows at once.
    pub fn follow(&mut self, follows: Follows) {
        self.follows = follows;
    }

    /// Tells Redis what it has not heard of yet: where no batch followed after all.
    ///
    /// # Errors
    /// What has to happen first.
    pub async fn tell_log(&mut self) -> Result<(), Trouble> {
        if self.taken && self.in_doubt.is_none() { self.send_advance().await } else { Ok(()) }
    }

    /// Asks the database for a sign of life.
    ///
    /// # Errors
    /// It does not give one within the limit.
    pub async fn probe(&mut self) -> Result<(), Trouble> {
        let (limit, progress) = (self.limits.probe, self.progress.clone());
        Ok(database(limit, &progress, "a probe", self.database.probe()).await?)
    }

    /// Gives the lease back, so that another node need not wait for its end.
    pub async fn release(&mut self) {
        // Whoever takes over finds out all the same.
        let _ = self.tell_log().await;
        // Routes may have changed since the lease was taken.
        let lanes = self.lease.holder().map_or_else(|| self.wanted_lanes(), |(_, lanes)| lanes);
        let released = tokio::time::timeout(self.limits.log, self.log.release(&lanes, &self.owner)).await;
        if !matches!(released, Ok(Ok(()))) {
            tracing::debug!(destination = %self.spec.name, "the lease was not given back and will run out");
        }
        self.lease.lost();
        self.taken = false;
    }
}

/// The lanes that a destination's routes ask for.
fn lanes_of(spec: &DestinationSpec, installation: &Arc<str>) -> Vec<LaneId> {
    let mut streams: Vec<&str> = spec.routes.iter().map(|route| route.application.as_str()).collect();
    streams.sort_unstable();
    streams.dedup();
    let lane = |stream: &str| LaneId {
        installation: Arc::clone(installation),
        destination: Arc::clone(&spec.id),
        stream: stream.into(),
        part: "main".into(),
    };
    streams.into_iter().map(lane).collect()
}

/// Runs one call to the database under its time limit.
async fn database<T>(
    limit: Duration,
    progress: &Progress,
    what: &str,
    call: impl Future<Output = Result<T, WriteError>>,
) -> Result<T, WriteError> {
    progress.bump();
    let _zone = progress.slow_zone(limit);
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(WriteError::Retry(Fault::lost(format!("no answer to {what} within {} s", limit.as_secs())))),
    }
}

/// Runs one call to the log under its time limit.
async fn log<T>(
    limit: Duration,
    progress: &Progress,
    call: impl Future<Output = Result<T, LogError>>,
) -> Result<T, LogError> {
    progress.bump();
    let _zone = progress.slow_zone(limit);
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => answer,
        Err(_) => Err(LogError::Unavailable(format!("no answer from Redis within {} s", limit.as_secs()))),
    }
}

/// Random lower-case letters and digits.
#[must_use]
pub fn random_token(length: usize) -> String {
    use rand::Rng as _;
    const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = rand::rng();
    (0..length).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn now_ms() -> u64 {
    u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0)
}
