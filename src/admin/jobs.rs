//! Many dead letters redriven or discarded: counted first, then carried out some at a time by the node that was asked, with
//! progress, cancel and result in Redis. So it goes on when the page is closed, and any node shows how far it is.
//!
//! Where its node ends before it, it is shown as ended with what it came to; the dead letters that it did not come to stand as they
//! were, and a new one takes them up. No letter is lost or done twice by that: the commands are the same as for one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use tidegate_actors::{
    delivery::now_ms,
    ports::{Command, LogError},
    transaction::DeadId,
};

use super::{
    ActError, Role, Who,
    dead_letters::{self, Filter, Lot, Outcome},
};
pub use crate::redis::jobs::State;
use crate::{
    redis::{
        Redis,
        jobs::{self, Job},
    },
    registry::Store,
    resources::Document,
};

/// Commands that are handed over at once: what a node has in hand when somebody says stop.
const PORTION: usize = 200;
/// How often it is looked what came of them.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often it is written down how far it is.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Nothing came of any of them for so long: no node writes there.
const PATIENCE: Duration = Duration::from_secs(10);
/// A Redis that is away for longer than this ends the job.
const AWAY_FOR: Duration = Duration::from_secs(120);
/// Reasons that are kept, those of most letters first.
const REASONS: usize = 10;

/// What is to be done with dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Write them after all.
    Redrive {
        /// Also where a later record of the key was written, or an earlier one waits.
        force: bool,
    },
    /// Give them up for good.
    Discard {
        /// Why.
        reason: String,
    },
}

impl Task {
    fn word(&self) -> &'static str {
        match self {
            Self::Redrive { .. } => "redrive",
            Self::Discard { .. } => "discard",
        }
    }

    fn command(&self, dead: DeadId) -> Command {
        match self {
            Self::Redrive { force } => Command::Redrive { dead, force: *force, data: None },
            Self::Discard { reason } => Command::Discard { dead, reason: Some(reason.clone()) },
        }
    }
}

/// What is to be done, to which, and how many were counted.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which; those that are given up from now on are not meant.
    pub filter: Filter,
    /// How many somebody saw and agreed to; more are refused.
    pub counted: usize,
    /// What to do.
    pub task: Task,
}

/// A job as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct View {
    /// Names it.
    pub id: String,
    /// `redrive` or `discard`.
    pub task: String,
    /// Which dead letters, in words.
    pub which: String,
    /// Who began it.
    pub who: String,
    /// The node that carries it out.
    pub node: String,
    /// Where it stands.
    pub state: State,
    /// How many there were.
    pub total: u64,
    /// Written, or given up as asked.
    pub done: u64,
    /// Still dead letters.
    pub refused: u64,
    /// Not written, since later records of their keys were.
    pub superseded: u64,
    /// Why some were refused, the commonest first, with how many.
    pub reasons: Vec<(String, u64)>,
    /// Destinations that no node writes at the moment.
    pub waits_for: Vec<String>,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub begun_ms: u64,
    /// When it ended.
    pub ended_ms: Option<u64>,
}

impl View {
    fn of(job: &Job) -> Self {
        let list = |name: &str| serde_json::from_str(job.text(name)).unwrap_or_default();
        Self {
            id: job.id.clone(),
            task: job.text("task").to_owned(),
            which: job.text("which").to_owned(),
            who: job.text("who").to_owned(),
            node: job.text("node").to_owned(),
            state: job.state,
            total: job.number("total"),
            done: job.number("done"),
            refused: job.number("refused"),
            superseded: job.number("superseded"),
            reasons: serde_json::from_str(job.text("reasons")).unwrap_or_default(),
            waits_for: list("waits_for"),
            begun_ms: job.begun_ms,
            ended_ms: job.ended_ms,
        }
    }

    /// How many of them something came of.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.done + self.refused + self.superseded
    }

    /// Whether it is under way.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        matches!(self.state, State::Running | State::Cancelling)
    }
}

/// Begins it on this node; the job's id.
///
/// # Errors
/// They may not; there are more than were counted, or none; Redis is away.
pub async fn begin(
    redis: &Redis,
    store: &mut Store,
    document: &Document,
    who: &Who,
    node: &str,
    order: Order,
) -> Result<String, ActError> {
    who.needs(Role::Operator)?;
    if matches!(&order.task, Task::Discard { reason } if reason.trim().is_empty()) {
        return Err(dead_letters::no_reason());
    }
    let now = now_ms();
    let filter = Filter { until_ms: Some(order.filter.until_ms.unwrap_or(now + 1)), ..order.filter.clone() };
    let lots = dead_letters::find(redis, document, &filter).await?;
    let total = dead_letters::count(&lots);
    if total == 0 {
        return Err(ActError::Conflict("there are no such dead letters any more".into()));
    }
    if total > order.counted {
        return Err(ActError::Conflict(format!(
            "there are {total} of them by now, and {} were counted; look at them and say so again",
            order.counted
        )));
    }
    let why = match &order.task {
        Task::Redrive { force: true } => ", over later records".to_owned(),
        Task::Redrive { force: false } => String::new(),
        Task::Discard { reason } => format!(": {}", reason.trim()),
    };
    let words = filter.words();
    let destinations: BTreeMap<&str, usize> = lots.iter().fold(BTreeMap::new(), |mut all, lot| {
        *all.entry(lot.destination.as_str()).or_default() += lot.letters.len();
        all
    });
    let destinations: Vec<String> = destinations.iter().map(|(name, many)| format!("{many} of {name}")).collect();
    let note = format!("{} {total} dead letters ({}) with {words}{why}", order.task.word(), destinations.join(", "));
    store.note(&who.to_string(), &[note]).await?;
    let told = [
        ("task", order.task.word().to_owned()),
        ("which", order.filter.words()),
        ("who", who.name.to_string()),
        ("node", node.to_owned()),
        ("total", total.to_string()),
    ];
    let id = jobs::begin(redis, &told).await?;
    let run = Run {
        redis: redis.clone(),
        id: id.clone(),
        task: order.task,
        tally: Tally::default(),
        told: Instant::now(),
        stop: false,
    };
    actix_rt::spawn(run.carry_out(lots));
    Ok(id)
}

/// How a job is.
///
/// # Errors
/// Redis is away.
pub async fn view(redis: &Redis, id: &str) -> Result<Option<View>, ActError> {
    Ok(jobs::get(redis, id).await?.as_ref().map(View::of))
}

/// The newest jobs, newest first.
///
/// # Errors
/// Redis is away.
pub async fn newest(redis: &Redis, most: usize) -> Result<Vec<View>, ActError> {
    Ok(jobs::newest(redis, most).await?.iter().map(View::of).collect())
}

/// Stops one: what its node has in hand is finished, the rest stays as it is.
///
/// # Errors
/// They may not; it has ended already; Redis is away.
pub async fn cancel(redis: &Redis, store: &mut Store, who: &Who, id: &str) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let Some(job) = jobs::get(redis, id).await? else {
        return Err(ActError::Unknown("there is no such job, or it ended more than a week ago".into()));
    };
    if !job.goes_on() || !jobs::cancel(redis, id).await? {
        return Err(ActError::Conflict("it has ended already".into()));
    }
    let note = format!("stop the {} of {} dead letters", job.text("task"), job.number("total"));
    store.note(&who.to_string(), &[note]).await?;
    Ok(())
}

/// How many came to what.
#[derive(Default)]
struct Tally {
    done: u64,
    refused: u64,
    superseded: u64,
    reasons: BTreeMap<String, u64>,
    waits_for: Vec<String>,
}

impl Tally {
    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::Superseded(_) => self.superseded += 1,
            Outcome::Refused(why) => {
                self.refused += 1;
                // Sentences may differ for each: those that come first are enough.
                if self.reasons.len() < 10 * REASONS || self.reasons.contains_key(&why) {
                    *self.reasons.entry(why).or_default() += 1;
                }
            }
        }
    }

    fn told(&self) -> [(&'static str, String); 5] {
        let mut reasons: Vec<(&String, &u64)> = self.reasons.iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(a.1));
        reasons.truncate(REASONS);
        [
            ("done", self.done.to_string()),
            ("refused", self.refused.to_string()),
            ("superseded", self.superseded.to_string()),
            ("reasons", serde_json::to_string(&reasons).unwrap_or_default()),
            ("waits_for", serde_json::to_string(&self.waits_for).unwrap_or_default()),
        ]
    }
}

/// A job on its node.
struct Run {
    redis: Redis,
    id: String,
    task: Task,
    tally: Tally,
    told: Instant,
    stop: bool,
}

impl Run {
    async fn carry_out(mut self, lots: Vec<Lot>) {
        if let Err(error) = self.all(lots).await {
            tracing::warn!(job = %self.id, %error, "dead letters were not all dealt with");
            self.tally.reasons.insert(error.to_string(), 1);
        }
        let told = self.tally.told();
        let ended = patient(async || jobs::end(&self.redis, &self.id, &told).await).await;
        if let Err(error) = ended {
            tracing::warn!(job = %self.id, %error, "that a job has ended could not be written down");
        }
    }

    /// Some of each destination at a time, so that one that nobody writes keeps no other waiting.
    async fn all(&mut self, mut lots: Vec<Lot>) -> Result<(), LogError> {
        // From the end is cheap; the order of the log is kept.
        lots.iter_mut().for_each(|lot| lot.letters.reverse());
        let mut in_hand: Vec<(Vec<DeadId>, Instant)> = lots.iter().map(|_| (Vec::new(), Instant::now())).collect();
        loop {
            for (lot, (in_hand, moved)) in lots.iter_mut().zip(&mut in_hand) {
                // Before nothing is left, so that the node need not wait for more.
                if in_hand.len() <= PORTION / 2 && !lot.letters.is_empty() && !self.stop {
                    let from = lot.letters.len().saturating_sub(PORTION - in_hand.len());
                    let more: Vec<DeadId> = lot.letters.drain(from..).rev().map(|(id, _)| id).collect();
                    *moved = Instant::now();
                    patient(async || {
                        dead_letters::hand_over(&self.redis, lot, &more, |id| self.task.command(id)).await
                    })
                    .await?;
                    in_hand.extend(more);
                }
            }
            if in_hand.iter().all(|(ids, _)| ids.is_empty()) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
            let mut waits_for = Vec::new();
            for (lot, (in_hand, moved)) in lots.iter().zip(&mut in_hand).filter(|(_, (ids, _))| !ids.is_empty()) {
                let of = &*in_hand;
                let settled = patient(async || {
                    let mut left = of.clone();
                    let settled = dead_letters::settled(&self.redis, lot, &mut left).await?;
                    Ok((settled, left))
                })
                .await?;
                let (settled, left) = settled;
                *in_hand = left;
                if !settled.is_empty() {
                    *moved = Instant::now();
                } else if moved.elapsed() > PATIENCE {
                    waits_for.push(lot.destination.clone());
                }
                settled.into_iter().for_each(|(_, outcome)| self.tally.count(outcome));
            }
            self.tally.waits_for = waits_for;
            self.tell().await;
            if self.stop {
                self.give_back(&lots, &mut in_hand).await?;
            }
        }
    }

    /// Says how far it is, and hears whether to stop.
    async fn tell(&mut self) {
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        // Redis away: told the next time.
        if let Ok(on) = jobs::go_on(&self.redis, &self.id, &self.tally.told()).await {
            self.stop |= !on;
        }
    }

    /// What nobody has taken up is taken off the lists; what is in hand is waited for.
    async fn give_back(&self, lots: &[Lot], in_hand: &mut [(Vec<DeadId>, Instant)]) -> Result<(), LogError> {
        for (lot, (ids, _)) in lots.iter().zip(in_hand).filter(|(_, (ids, _))| !ids.is_empty()) {
            let of = &*ids;
            patient(async || dead_letters::withdraw(&self.redis, lot, of, |id| self.task.command(id)).await).await?;
            ids.clear();
        }
        Ok(())
    }
}

/// Again and again, while Redis is away.
async fn patient<T>(call: impl AsyncFn() -> Result<T, LogError>) -> Result<T, LogError> {
    let began = Instant::now();
    loop {
        match call().await {
            Err(LogError::Unavailable(_)) if began.elapsed() < AWAY_FOR => tokio::time::sleep(TELL_EVERY).await,
            outcome => return outcome,
        }
    }
}
