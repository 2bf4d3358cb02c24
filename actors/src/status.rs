//! What every actor shows of itself: its state, its heartbeat, and a detail of its own, for `/health/actors`, the console
//! and tests.
//!
//! The supervisor keeps an actor's [`Place`] on the [`StatusBoard`] and gives each incarnation its [`Vitals`]; the actor
//! publishes through them without ever waiting, and their drop tells the supervisor that, and how, the actor ended.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::{breaker::BreakerState, progress::Progress};

/// The kinds of actors there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// Starts, watches and restarts the others.
    Supervisor,
    /// Appends what producers send.
    Ingest,
    /// Reads the log for one destination.
    StreamReader,
    /// Writes one destination.
    Destination,
    /// Trims and tidies.
    Janitor,
    /// Brings broadcasts to terminals.
    Broadcast,
}

impl ActorKind {
    /// The word in `/health/actors` and in the label `kind`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Ingest => "ingest",
            Self::StreamReader => "stream_reader",
            Self::Destination => "destination",
            Self::Janitor => "janitor",
            Self::Broadcast => "broadcast",
        }
    }
}

impl fmt::Display for ActorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an actor is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// Made, but not at work yet.
    Starting,
    /// At work, or ready for it.
    Running,
    /// Kept from its work by something outside: a database that is down, a lease held elsewhere, Redis away.
    Waiting,
    /// Ended, and about to be started anew.
    Restarting,
    /// Ended for good.
    Stopped,
}

/// One entry of `/health/actors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActorHealth {
    /// What it does.
    pub kind: ActorKind,
    /// The destination's name where there is one.
    pub name: String,
    /// Where it is in its life.
    pub state: ActorState,
    /// How often it was started again.
    pub restarts: u64,
    /// How long ago its work last got on, in seconds.
    pub last_progress_s: f64,
    /// What it publishes of itself; for a destination a [`DestinationDetail`].
    pub detail: Value,
}

/// What becomes of a destination just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DestinationStatus {
    /// The database takes what comes.
    Up,
    /// The database is away; its entries wait.
    Down,
    /// An operator stopped it.
    Paused,
    /// A table, a right or a gap waits for somebody to put it right.
    Held,
    /// Another node writes it, or no lease has been won yet.
    #[default]
    Standby,
}

/// The `detail` of a destination in `/health/actors`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DestinationDetail {
    /// What becomes of it just now.
    pub status: DestinationStatus,
    /// Since when it is down (RFC 3339, UTC), see [`rfc3339_ago`]; null while it is not.
    pub down_since: Option<String>,
    /// The circuit breaker.
    pub breaker: BreakerState,
    /// The node that holds its lease, where one is known to.
    pub owner: Option<String>,
    /// Whether that is this node.
    #[serde(default)]
    pub leased: bool,
    /// How often it was taken over; null before the first time.
    pub epoch: Option<u64>,
    /// Messages that wait for it.
    pub backlog: u64,
    /// Age of the oldest of them, in seconds; 0 where none waits.
    pub backlog_age_s: f64,
    /// How long the backlog takes at the present rate, in seconds; null where it cannot be told.
    pub drain_eta_s: Option<f64>,
    /// How long the last answered probe took, in milliseconds; null before the first.
    pub heartbeat_ms: Option<f64>,
    /// How long the oldest message of the last batch took from its acceptance to its commit, in milliseconds; null before the
    /// first.
    #[serde(default)]
    pub arrival_ms: Option<f64>,
    /// What went wrong last; null where nothing did.
    pub last_error: Option<String>,
    /// What it is held for, and what to do; null while it is not held.
    pub held: Option<String>,
    /// Whether it is held until an operator decides where it goes on: after a gap, or in another database.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub undecided: bool,
    /// Who paused it, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<StoppedBy>,
    /// Who opened its breaker by hand, and since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_by_hand: Option<StoppedBy>,
    /// Tables whose records wait for somebody to put something right, while the others go on; empty as a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held_tables: Vec<HeldTable>,
    /// Routes that are on their way to where the destination stands; empty as a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub catching_up: Vec<CatchUp>,
    /// Rows written since the actor started.
    pub rows_written: u64,
    /// Log entries passed since the actor started.
    pub entries_delivered: u64,
    /// Dead letters made since the actor started.
    pub dead_letters_made: u64,
}

/// Who stopped something, and since when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedBy {
    /// Who.
    pub by: String,
    /// Since when (RFC 3339, UTC).
    pub since: String,
}

impl From<&crate::route::Stopped> for StoppedBy {
    fn from(stopped: &crate::route::Stopped) -> Self {
        let moment = i64::try_from(stopped.at_ms).ok().and_then(DateTime::from_timestamp_millis);
        let since = moment.unwrap_or(DateTime::UNIX_EPOCH).to_rfc3339_opts(SecondsFormat::Millis, true);
        Self { by: stopped.by.clone(), since }
    }
}

/// A table that waits, while the destination's others go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldTable {
    /// Its name, as its routes say it.
    pub table: String,
    /// What is wrong, and what to do.
    pub why: String,
    /// Since when (RFC 3339, UTC), as far as is known.
    pub since: String,
    /// The names of the routes whose records wait.
    pub routes: Vec<String>,
}

/// A route that is sent what the destination's others have already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchUp {
    /// Its name.
    pub route: String,
    /// Why.
    pub kind: CatchUpKind,
    /// The last message that it has, as generation and stream id.
    pub after: String,
    /// Where it ends.
    pub to: String,
}

/// Why a route catches up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUpKind {
    /// It began below where the destination stood.
    Backfill,
    /// An operator has it sent again.
    Replay,
    /// Its table was held.
    Table,
}

/// A moment so long before now as RFC 3339 in UTC, with milliseconds: what became of an `Instant` for people.
#[must_use]
pub fn rfc3339_ago(ago: Duration) -> String {
    let moment = chrono::TimeDelta::from_std(ago).ok().and_then(|ago| Utc::now().checked_sub_signed(ago));
    moment.unwrap_or(DateTime::UNIX_EPOCH).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// How an actor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// It stopped.
    Stopped,
    /// It panicked.
    Panicked,
}

/// The news that an incarnation of an actor is over; sent once each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorEnd {
    /// Its kind.
    pub kind: ActorKind,
    /// Its name.
    pub name: Arc<str>,
    /// Which incarnation, as in [`Vitals::incarnation`]: one that was replaced already is no news.
    pub incarnation: u64,
    /// How.
    pub reason: EndReason,
}

/// Where incarnations report their ends. Unbounded, and bounded all the same: each incarnation sends one message.
pub type EndSender = mpsc::UnboundedSender<ActorEnd>;

/// Everything that every actor of this node shows. Clones are the same board.
#[derive(Clone, Debug, Default)]
pub struct StatusBoard {
    places: Arc<Mutex<Slots>>,
}

type Slots = BTreeMap<(ActorKind, Arc<str>), Arc<Slot>>;

#[derive(Debug)]
struct Slot {
    kind: ActorKind,
    name: Arc<str>,
    life: Mutex<Life>,
}

/// What the board keeps of the present incarnation.
#[derive(Debug)]
struct Life {
    incarnation: u64,
    state: ActorState,
    progress: Progress,
    detail: watch::Receiver<Value>,
}

impl StatusBoard {
    /// An empty board.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A place for an actor, shown as `starting` until its first incarnation says otherwise. It replaces one of the same
    /// kind and name, and is shown until the returned [`Place`] is dropped.
    #[must_use = "the actor is shown for as long as this is kept"]
    pub fn register(&self, kind: ActorKind, name: &str) -> Place {
        let name: Arc<str> = name.into();
        let life = Life {
            incarnation: 0,
            state: ActorState::Starting,
            progress: Progress::new(),
            detail: watch::channel(Value::Object(serde_json::Map::new())).1,
        };
        let slot = Arc::new(Slot { kind, name: name.clone(), life: Mutex::new(life) });
        self.places().insert((kind, name), slot.clone());
        Place { slot, board: self.clone() }
    }

    /// How every actor does right now, by kind and name. Never waits for an actor.
    #[must_use]
    pub fn snapshot(&self) -> Vec<ActorHealth> {
        let slots: Vec<_> = self.places().values().cloned().collect();
        slots.iter().map(|slot| slot.health()).collect()
    }

    /// What one actor shows just now, without the others.
    #[must_use]
    pub fn detail(&self, kind: ActorKind, name: &str) -> Option<Value> {
        let slot = self.places().get(&(kind, Arc::from(name))).cloned()?;
        let detail = slot.life().detail.borrow().clone();
        Some(detail)
    }

    fn places(&self) -> MutexGuard<'_, Slots> {
        // Every change of the map is a single call: a panic leaves it whole.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn health(&self) -> ActorHealth {
        let life = self.life();
        ActorHealth {
            kind: self.kind,
            name: self.name.to_string(),
            state: life.state,
            restarts: life.incarnation.saturating_sub(1),
            last_progress_s: life.progress.last().as_secs_f64(),
            detail: life.detail.borrow().clone(),
        }
    }
}

/// An actor's place on the board, kept by its supervisor across restarts.
#[derive(Debug)]
pub struct Place {
    slot: Arc<Slot>,
    board: StatusBoard,
}

impl Place {
    /// The next incarnation begins, in state `starting`. Any but the first counts as a restart; from here on the board
    /// shows this one, whatever an abandoned earlier one still does.
    #[must_use = "the actor keeps this for as long as it lives"]
    pub fn begin(&self, ends: &EndSender) -> Vitals {
        let mut life = self.slot.life();
        // The last detail stands until the new incarnation has one.
        let (detail, receiver) = watch::channel(life.detail.borrow().clone());
        let progress = Progress::new();
        *life = Life {
            incarnation: life.incarnation + 1,
            state: ActorState::Starting,
            progress: progress.clone(),
            detail: receiver,
        };
        let incarnation = life.incarnation;
        Vitals { slot: self.slot.clone(), incarnation, progress, detail, ends: ends.clone() }
    }

    /// The supervisor waits before it begins the next incarnation.
    pub fn restarting(&self) {
        self.slot.life().state = ActorState::Restarting;
    }

    /// The supervisor will not begin another incarnation.
    pub fn stopped(&self) {
        self.slot.life().state = ActorState::Stopped;
    }

    /// The present incarnation's heartbeat, for [`Progress::hung`].
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.slot.life().progress.clone()
    }

    /// The number of the present incarnation, from 1; 0 before the first.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.slot.life().incarnation
    }

    /// What the present incarnation publishes, to wait for changes.
    #[must_use]
    pub fn detail(&self) -> watch::Receiver<Value> {
        self.slot.life().detail.clone()
    }

    /// How the actor does.
    #[must_use]
    pub fn health(&self) -> ActorHealth {
        self.slot.health()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = self.board.places();
        let key = (self.slot.kind, self.slot.name.clone());
        // Another registration may have taken the name over.
        if places.get(&key).is_some_and(|slot| Arc::ptr_eq(slot, &self.slot)) {
            places.remove(&key);
        }
    }
}

/// What a running actor holds: it publishes through them, and their drop reports its end.
///
/// Keep them in the actor itself, not in a task it spawned: a panic is told from an ordinary stop by whether they are
/// dropped while the thread unwinds.
#[derive(Debug)]
pub struct Vitals {
    slot: Arc<Slot>,
    incarnation: u64,
    progress: Progress,
    detail: watch::Sender<Value>,
    ends: EndSender,
}

impl Vitals {
    /// The actor's kind.
    #[must_use]
    pub fn kind(&self) -> ActorKind {
        self.slot.kind
    }

    /// The actor's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.slot.name
    }

    /// Which incarnation this is, from 1.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The heartbeat; clone it into the tasks that do the work.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// At work, or ready for it. Is progress.
    pub fn running(&self) {
        self.enter(ActorState::Running);
    }

    /// Kept from work by something outside. Is progress.
    pub fn waiting(&self) {
        self.enter(ActorState::Waiting);
    }

    /// Shows `detail` (a [`DestinationDetail`], or any serializable struct) to whoever looks. Never waits.
    pub fn publish(&self, detail: &impl Serialize) {
        // A detail that cannot be shown is shown as that; it must not end an actor.
        let value = serde_json::to_value(detail).unwrap_or_else(|error| Value::String(error.to_string()));
        self.detail.send_replace(value);
    }

    fn enter(&self, state: ActorState) {
        self.progress.bump();
        let mut life = self.slot.life();
        if life.incarnation == self.incarnation {
            life.state = state;
        }
    }
}

impl Drop for Vitals {
    fn drop(&mut self) {
        self.enter(ActorState::Stopped);
        let reason = if std::thread::panicking() { EndReason::Panicked } else { EndReason::Stopped };
        let end =
            ActorEnd { kind: self.slot.kind, name: self.slot.name.clone(), incarnation: self.incarnation, reason };
        // No supervisor any more: the node is shutting down, and nobody needs to know.
        let _ = self.ends.send(end);
    }
}

#[cfg(test)]
mod tests;
