//! The adapters as the core's actors get them: the log in Redis, the databases of the registry, the janitor's work, the
//! counters.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use serde_json::json;
use tidegate_actors::{
    breaker::BreakerState,
    message::{Generation, StreamId},
    ports::{
        Destination, EntryReader, EventLog, Fault, GroupReader, Housekeeping, LogError, Observe, World, WriteError,
    },
    route::{DestinationSpec, Topology},
    schema::TableSchema,
    status::{ActorKind, DestinationDetail, DestinationStatus},
    transaction::{Committed, LaneId, Statement, TakenOver, Transaction, WatermarkRow},
};
use tokio::sync::watch;

use crate::{
    databases,
    http::{DocumentReceiver, metrics},
    redis::{
        Redis, RedisGroup, RedisLog, RedisReader, dead,
        health::{self, HealthChange},
        memory::{self, MemoryGuard, Pressure},
        registration, sides,
        trim::{self, Retention},
    },
    registry::{alarm::Alarm, connection::connection, secrets::MasterKey, watch::WatchState},
    resources::{Document, Overrides},
};

/// What a node's actors are made from.
pub struct NodeWorld {
    /// This node's name: the consumer in the groups of parallel destinations.
    pub node: Arc<str>,
    /// The log.
    pub redis: Redis,
    /// The registry.
    pub documents: DocumentReceiver,
    /// How it relates to what Redis has, and what an operator must hear of.
    pub registry: (watch::Receiver<WatchState>, watch::Receiver<Vec<Alarm>>),
    /// What destinations' passwords are sealed with.
    pub master_key: Option<Arc<MasterKey>>,
    /// What is kept after every destination has it, where the registry does not say.
    pub retention: Retention,
    /// Shares of Redis's memory, where the registry does not say: trim above the first, refuse above the second.
    pub memory_marks: (f64, f64),
    /// Set by the janitor above the second mark, read by the appenders.
    pub full: Arc<AtomicBool>,
}

/// The part of the registry's document that the actors work by.
#[must_use]
pub fn topology(document: &Document) -> Topology {
    let spec = |destination: &crate::resources::Destination| {
        let routes = document.routes.iter().filter(|route| route.destination == destination.name);
        Arc::new(DestinationSpec {
            id: destination.id.as_str().into(),
            name: destination.name.as_str().into(),
            revision: destination.revision,
            mode: destination.delivery,
            node: destination.node.as_deref().map(Into::into),
            by_hand: destination.by_hand.clone(),
            routes: routes.cloned().map(Arc::new).collect(),
        })
    };
    Topology {
        version: document.version,
        installation: document.installation.as_str().into(),
        destinations: document.destinations.iter().map(spec).collect(),
    }
}

impl World for NodeWorld {
    fn log(&self, destination: &DestinationSpec) -> Box<dyn EventLog> {
        Box::new(RedisLog::new(&self.redis, &destination.name).of_node(&self.node))
    }

    fn reader(&self, _: &DestinationSpec) -> Box<dyn EntryReader> {
        Box::new(RedisReader::new(&self.redis))
    }

    fn group(&self, destination: &DestinationSpec) -> Box<dyn GroupReader> {
        Box::new(RedisGroup::new(&self.redis, &destination.id, &self.node))
    }

    fn destination(&self, destination: &DestinationSpec) -> Box<dyn Destination> {
        let document = self.documents.borrow().clone();
        let known =
            document.as_ref().and_then(|document| document.destinations.iter().find(|one| one.id == *destination.id));
        let opened = known.ok_or_else(|| "it is no longer in the registry".to_owned()).and_then(|known| {
            let kind = databases::kind(&known.kind)?;
            let mut connection = connection(known, self.master_key.as_deref()).map_err(|error| error.to_string())?;
            connection.home = Some(databases::Home { redis: self.redis.clone(), documents: self.documents.clone() });
            Ok((kind.open)(connection))
        });
        opened.unwrap_or_else(|why| Box::new(Unusable(why)))
    }

    fn housekeeping(&self) -> Box<dyn Housekeeping> {
        let (soft, hard) = self.memory_marks;
        Box::new(Keeper {
            redis: self.redis.clone(),
            documents: self.documents.clone(),
            registry: self.registry.clone(),
            own: (self.retention, self.memory_marks),
            guard: MemoryGuard::new(soft, hard, Arc::clone(&self.full)),
            plans_swept: None,
            plans_unused: BTreeMap::new(),
            strangers: Strangers::default(),
        })
    }

    fn observer(&self) -> Arc<dyn Observe> {
        Arc::new(Counters {
            redis: self.redis.clone(),
            node: Arc::clone(&self.node),
            documents: self.documents.clone(),
            told: Mutex::default(),
        })
    }
}

/// A destination whose settings lead nowhere on this node: held, with the reason, until they are mended.
struct Unusable(String);

impl Unusable {
    fn held<T>(&self) -> Result<T, WriteError> {
        Err(WriteError::Hold(Fault::new(self.0.clone())))
    }
}

#[async_trait(?Send)]
impl Destination for Unusable {
    async fn probe(&mut self) -> Result<(), WriteError> {
        self.held()
    }

    async fn take_over(&mut self, _: &str, _: &str, _: &str) -> Result<TakenOver, WriteError> {
        self.held()
    }

    async fn begin_lane(&mut self, _: &LaneId, _: &Generation, _: &str, _: StreamId) -> Result<(), WriteError> {
        self.held()
    }

    async fn watermark(&mut self, _: &LaneId, _: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        self.held()
    }

    async fn table(&mut self, _: &str) -> Result<TableSchema, WriteError> {
        self.held()
    }

    async fn commit(&mut self, _: &Transaction) -> Result<Committed, WriteError> {
        self.held()
    }

    async fn write(&mut self, _: &[Statement]) -> Result<Committed, WriteError> {
        self.held()
    }
}

/// The janitor's work.
struct Keeper {
    redis: Redis,
    documents: DocumentReceiver,
    registry: (watch::Receiver<WatchState>, watch::Receiver<Vec<Alarm>>),
    /// Retention and memory marks of this node's own settings.
    own: (Retention, (f64, f64)),
    guard: MemoryGuard,
    plans_swept: Option<Instant>,
    plans_unused: BTreeMap<String, HashSet<String>>,
    strangers: Strangers,
}

/// Lanes, and routes below their lane, that the registry does not know: one that is just being registered is known in a moment; one whose removal was
/// cut off is forgotten after [`STRANGER_FOR`], since it would keep its stream from being trimmed for good.
#[derive(Debug, Default)]
struct Strangers(BTreeMap<(String, String), Instant>);

/// What the names of routes among the strangers begin with: no destination's id does.
const ROUTE: &str = "route ";

/// Much longer than an `apply` takes from registering a lane to publishing it.
const STRANGER_FOR: Duration = Duration::from_secs(10 * 60);

impl Strangers {
    /// The lanes of a stream that nobody knew at this look; which of them are to be forgotten.
    fn seen(&mut self, application: &str, unlisted: &[String], now: Instant) -> Vec<String> {
        self.0.retain(|(of, destination), _| of != application || unlisted.contains(destination));
        let mut long = Vec::new();
        for destination in unlisted {
            let first = *self.0.entry((application.to_owned(), destination.clone())).or_insert(now);
            if now.saturating_duration_since(first) >= STRANGER_FOR {
                long.push(destination.clone());
            }
        }
        long
    }
}

/// Retention and memory marks as they hold now: what is set for all nodes, else this node's own.
fn in_force(set: &Overrides, own: (Retention, (f64, f64))) -> (Retention, (f64, f64)) {
    let kept =
        set.retention.map(|kept| Retention { time: kept.age_s.map(Duration::from_secs), messages: kept.messages });
    let marks = set.memory.map(|marks| (f64::from(marks.soft_percent) / 100.0, f64::from(marks.hard_percent) / 100.0));
    (kept.unwrap_or(own.0), marks.unwrap_or(own.1))
}

/// How often plans that no history needs any more are looked for.
const SWEEP_PLANS_EVERY: Duration = Duration::from_secs(60 * 60);

#[async_trait(?Send)]
impl Housekeeping for Keeper {
    async fn tidy(&mut self) -> Result<serde_json::Value, LogError> {
        let sample = memory::sample(&self.redis).await?;
        let set = self.documents.borrow().as_ref().map(|document| document.settings.clone()).unwrap_or_default();
        let (kept, marks) = in_force(&set, self.own);
        self.guard.set_marks(marks);
        let memory = self.guard.observe(Instant::now(), sample);
        if let Some(ratio) = memory.ratio {
            metrics::redis_memory(ratio);
        }
        let (state, alarms) = (&self.registry.0, self.registry.1.borrow().clone());
        // What must stay follows from the document that all nodes work by. Where Redis lost it, nothing is removed.
        let whole = state.borrow().obstacle().is_none();
        let Some(document) = self.documents.borrow().clone().filter(|_| whole) else {
            return Ok(json!({"memory_ratio": memory.ratio, "alarms": alarms}));
        };
        // Under pressure nothing is retained: only what some destination still has to get.
        let retention = match memory.pressure {
            Pressure::None => kept,
            Pressure::Soft | Pressure::Hard => Retention { time: Some(Duration::ZERO), messages: Some(0) },
        };
        let mut streams = BTreeMap::new();
        for (application, outcome) in trim::round(&self.redis, &document, retention).await {
            let trimmed = match outcome {
                Ok(trimmed) => trimmed,
                // In a cluster the other streams may be well.
                Err(error) => {
                    streams.insert(application, json!({"last_error": error.to_string()}));
                    continue;
                }
            };
            // Those that no route leads to any more hold the stream as well: forgetting them was cut off.
            // So do routes that were to begin below their lane, and were never published.
            let known = |route: &String| document.routes.iter().any(|known| known.id == *route);
            let untaken = sides::untaken(&self.redis, &application).await?;
            let unpublished = untaken.into_iter().filter(|route| !known(route)).map(|route| format!("{ROUTE}{route}"));
            let unlisted: Vec<String> = trimmed.unlisted.iter().cloned().chain(unpublished).collect();
            for stranger in self.strangers.seen(&application, &unlisted, Instant::now()) {
                if let Some(route) = stranger.strip_prefix(ROUTE) {
                    registration::unregister_route(&self.redis, &application, route).await?;
                    tracing::warn!(%application, %route, "forgot a route that was registered and never published");
                    continue;
                }
                registration::unregister_destination(&self.redis, &application, &stranger).await?;
                tracing::warn!(%application, destination = %stranger, "forgot a lane that no route leads to any more");
            }
            streams.insert(
                application,
                json!({"removed": trimmed.removed, "held_by": trimmed.held_by, "unlisted": trimmed.unlisted}),
            );
        }
        if self.plans_swept.is_none_or(|swept| swept.elapsed() >= SWEEP_PLANS_EVERY) {
            for application in &document.applications {
                let unused = self.plans_unused.entry(application.name.clone()).or_default();
                trim::sweep_plans(&self.redis, &application.name, unused).await?;
            }
            self.plans_swept = Some(Instant::now());
        }
        for destination in &document.destinations {
            let mut letters = 0;
            for application in &document.applications {
                letters += dead::count(&self.redis, &application.name, &destination.id).await?;
            }
            metrics::dead_letters(&destination.name, u32::try_from(letters).unwrap_or(u32::MAX));
        }
        Ok(json!({
            "memory_ratio": memory.ratio,
            "memory_pressure": format!("{:?}", memory.pressure).to_lowercase(),
            "memory_full_in_s": memory.full_in.map(|time| time.as_secs()),
            "streams": streams,
            "alarms": alarms,
        }))
    }
}

/// Counts what the actors do in the process's metrics.
struct Counters {
    redis: Redis,
    node: Arc<str>,
    documents: DocumentReceiver,
    /// What each destination's state was when it was last told of.
    told: Mutex<BTreeMap<String, DestinationStatus>>,
}

impl Counters {
    /// Keeps a change of a destination's state. What Redis does not take now is told again with the next change: it is for the
    /// eyes only.
    fn tell(&self, name: &str, detail: &DestinationDetail) {
        let status = detail.status;
        if status == DestinationStatus::Standby {
            return;
        }
        let before = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), status);
        if before == Some(status) {
            return;
        }
        let document = self.documents.borrow().clone();
        let known = document.as_ref().and_then(|document| document.destinations.iter().find(|one| one.name == name));
        let Some(id) = known.map(|one| one.id.clone()) else { return };
        let stopped = detail.paused.as_ref().or(detail.breaker_by_hand.as_ref());
        let why = match status {
            DestinationStatus::Paused => stopped.map(|stopped| format!("by {}", stopped.by)),
            DestinationStatus::Held => detail.held.clone().or_else(|| detail.last_error.clone()),
            DestinationStatus::Down => detail.last_error.clone(),
            DestinationStatus::Up | DestinationStatus::Standby => None,
        };
        let status = serde_json::to_value(status).ok().and_then(|word| word.as_str().map(str::to_owned));
        let change = HealthChange {
            at_ms: u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0),
            status: status.unwrap_or_default(),
            why,
            node: self.node.to_string(),
        };
        let redis = self.redis.clone();
        actix_rt::spawn(async move {
            let told = tokio::time::timeout(TELL_WITHIN, health::tell(&redis, &id, &change)).await;
            if !matches!(told, Ok(Ok(()))) {
                tracing::debug!("a change of a destination's state was not kept");
            }
        });
    }
}

/// Longest time for Redis to keep a change.
const TELL_WITHIN: Duration = Duration::from_secs(2);

impl Observe for Counters {
    fn committed(&self, destination: &str, rows: u64, took: Duration, accepted_ms: &mut dyn Iterator<Item = u64>) {
        metrics::delivered(destination, rows, took);
        let now = u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0);
        // Entries of one millisecond waited alike; most of a batch shares a few of them.
        let mut last = None;
        for accepted in accepted_ms {
            if last != Some(accepted) {
                metrics::end_to_end(destination, Duration::from_millis(now.saturating_sub(accepted)));
                last = Some(accepted);
            }
        }
    }

    fn fenced(&self, destination: &str) {
        metrics::fence_rejection(destination);
    }

    fn gap(&self, _: &str) {
        metrics::stream_gap();
    }

    fn restarted(&self, kind: ActorKind) {
        metrics::actor_restarted(kind.as_str());
    }

    fn destination(&self, name: &str, detail: &DestinationDetail) {
        self.tell(name, detail);
        metrics::backlog(name, detail.backlog, Duration::from_secs_f64(detail.backlog_age_s.max(0.0)));
        metrics::destination_up(name, detail.status == DestinationStatus::Up);
        let beside: usize = detail.held_tables.iter().map(|table| table.routes.len()).sum();
        let whole = usize::from(detail.held.is_some());
        metrics::held_routes(name, u32::try_from(beside.max(whole)).unwrap_or(u32::MAX));
        let state = match detail.breaker {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        metrics::breaker_state(name, state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{Kept, MemoryMarks};

    #[test]
    fn what_is_set_for_all_nodes_goes_over_a_nodes_own_settings() {
        let own = (Retention { time: Some(Duration::from_secs(86_400)), messages: None }, (0.7, 0.85));
        assert_eq!(in_force(&Overrides::default(), own), own);
        let set = Overrides {
            retention: Some(Kept { age_s: None, messages: Some(5) }),
            memory: Some(MemoryMarks { soft_percent: 50, hard_percent: 60 }),
            ..Overrides::default()
        };
        assert_eq!(in_force(&set, own), (Retention { time: None, messages: Some(5) }, (0.5, 0.6)));
    }

    #[test]
    fn a_lane_that_nobody_knows_for_ten_minutes_is_forgotten_and_one_that_becomes_known_is_not() {
        let (mut strangers, start) = (Strangers::default(), Instant::now());
        let both = ["left".to_owned(), "new".to_owned()];
        assert!(strangers.seen("app", &both, start).is_empty());
        // The new one is published; the same name on another stream is another lane.
        assert!(strangers.seen("app", &both[..1], start + Duration::from_secs(1)).is_empty());
        assert!(strangers.seen("other", &both, start + STRANGER_FOR).is_empty());
        assert_eq!(strangers.seen("app", &both, start + STRANGER_FOR), ["left"]);
    }
}
