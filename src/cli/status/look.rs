//! What `status` looks at: the registry and the streams in Redis, and the nodes' own word where one can be asked.

use std::{collections::HashMap, time::Instant};

use tidegate_actors::status::DestinationStatus;

use crate::{
    cli::{health, now_ms},
    config::Settings,
    redis::{
        Redis, dead,
        memory::{self, MemorySample},
        status,
    },
    registry::{Store, alarm::Alarm},
    resources::{Destination, Document},
};

/// Everything at one moment.
pub(super) struct Seen {
    /// The node that answered, if any: its name and how long it has been up, in seconds.
    pub(super) node: Option<(String, u64)>,
    /// Where it was asked.
    pub(super) admin: String,
    pub(super) destinations: Vec<Row>,
    pub(super) applications: Vec<Producer>,
    pub(super) memory: MemorySample,
    /// What an operator must hear of.
    pub(super) alarms: Vec<Alarm>,
}

/// A destination.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) kind: String,
    /// `up`, `down`, `held`, `paused`, `standby`, or from Redis alone `leased`, `no node`.
    pub(super) state: &'static str,
    /// The node that says so.
    pub(super) node: Option<String>,
    pub(super) backlog: u64,
    /// Age of the oldest message that waits, in seconds.
    pub(super) oldest_s: Option<f64>,
    pub(super) eta_s: Option<f64>,
    pub(super) dead: u64,
    pub(super) last_error: Option<String>,
}

/// An application.
pub(super) struct Producer {
    pub(super) name: String,
    /// How long ago its last record was taken, in seconds.
    pub(super) last_s: Option<f64>,
    pub(super) last_ms: Option<u64>,
}

/// Looks again and again.
pub(super) struct Looker {
    settings: Settings,
    redis: Redis,
    store: Store,
    before: HashMap<String, (Instant, u64)>,
}

/// What the streams say of one destination.
#[derive(Default)]
struct Waiting {
    messages: u64,
    oldest_ms: Option<u64>,
    dead: u64,
    leased: bool,
}

impl Looker {
    pub(super) fn new(settings: Settings) -> anyhow::Result<Self> {
        let redis = Redis::open(settings.redis_url.expose(), &settings.prefix)?;
        let store = Store::open(&settings.redis_url, &settings.prefix)?;
        Ok(Self { settings, redis, store, before: HashMap::new() })
    }

    pub(super) async fn look(&mut self) -> anyhow::Result<Seen> {
        let document = self.store.load().await?.unwrap_or_default();
        let (cluster, waiting, applications, memory) = tokio::join!(
            health::ask(self.settings.admin, self.settings.admin_token.as_ref()),
            waiting(&self.redis, &document),
            producers(&self.redis, &document),
            memory::sample(&self.redis),
        );
        let (waiting, applications, memory) = (waiting?, applications?, memory?);
        let now = now_ms()?;
        let cluster = cluster.unwrap_or_default();
        let told = cluster.destinations();
        let mut destinations = Vec::with_capacity(document.destinations.len());
        for (Destination { name, kind, .. }, waiting) in document.destinations.iter().zip(waiting) {
            let eta_s = self.eta(name, waiting.messages);
            let mut row = Row {
                name: name.clone(),
                kind: kind.clone(),
                state: if waiting.leased { "leased" } else { "no node" },
                node: None,
                backlog: waiting.messages,
                oldest_s: waiting.oldest_ms.map(|ms| crate::cli::table::age_s(ms, now)),
                eta_s,
                dead: waiting.dead,
                last_error: None,
            };
            if let Some((node, detail)) = told.get(name.as_str()) {
                row.node = Some((*node).to_owned());
                row.state = state(detail.status, waiting.leased);
                row.eta_s = if waiting.messages == 0 { Some(0.0) } else { detail.drain_eta_s.or(eta_s) };
                row.last_error = detail.held.clone().or_else(|| detail.last_error.clone());
            }
            destinations.push(row);
        }
        destinations.sort_by(|a, b| a.name.cmp(&b.name));
        let restored = self.store.restored().await?;
        let restored = restored.and_then(|(at, what)| Alarm::past(at, now, what));
        let mut alarms = cluster.alarms();
        // Redis knows best whether what is over was acknowledged.
        alarms.retain(|alarm| !alarm.over);
        alarms.extend(restored);
        let node = cluster.nodes.first().map(|node| (node.node.clone(), node.uptime_s));
        Ok(Seen { node, admin: self.settings.admin.to_string(), destinations, applications, memory, alarms })
    }

    /// How long the backlog takes at the rate since the last look, where it became less.
    #[allow(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn eta(&mut self, name: &str, backlog: u64) -> Option<f64> {
        let now = Instant::now();
        let before = self.before.insert(name.to_owned(), (now, backlog));
        if backlog == 0 {
            return Some(0.0);
        }
        let (then, had) = before.filter(|(_, had)| *had > backlog)?;
        let rate = (had - backlog) as f64 / (now - then).as_secs_f64().max(0.001);
        Some(backlog as f64 / rate)
    }
}

/// The node that answers may only stand by for another that it knows nothing of.
fn state(status: DestinationStatus, leased: bool) -> &'static str {
    match status {
        DestinationStatus::Up => "up",
        DestinationStatus::Down => "down",
        DestinationStatus::Paused => "paused",
        DestinationStatus::Held => "held",
        DestinationStatus::Standby if leased => "leased",
        DestinationStatus::Standby => "standby",
    }
}

/// What waits for each destination of the document, over all streams.
async fn waiting(redis: &Redis, document: &Document) -> anyhow::Result<Vec<Waiting>> {
    let mut all: Vec<Waiting> = document.destinations.iter().map(|_| Waiting::default()).collect();
    for application in &document.applications {
        let lanes = status::lanes(redis, &application.name).await?;
        for (destination, waiting) in document.destinations.iter().zip(&mut all) {
            let routed = |route: &tidegate_actors::route::RouteSpec| {
                route.application == application.name && route.destination == destination.name
            };
            if let Some(lane) = lanes.iter().find(|lane| lane.destination == destination.id) {
                waiting.messages += lane.backlog.messages;
                waiting.oldest_ms = [waiting.oldest_ms, lane.backlog.oldest_ms].into_iter().flatten().min();
            } else if !document.routes.iter().any(routed) {
                continue;
            }
            waiting.dead += dead::count(redis, &application.name, &destination.id).await?;
            waiting.leased |= status::lease_holder(redis, &application.name, &destination.id).await?.is_some();
        }
    }
    Ok(all)
}

async fn producers(redis: &Redis, document: &Document) -> anyhow::Result<Vec<Producer>> {
    let now = now_ms()?;
    let mut all = Vec::with_capacity(document.applications.len());
    for application in &document.applications {
        let last_ms = status::last_record_ms(redis, &application.name).await?;
        let last_s = last_ms.map(|ms| crate::cli::table::age_s(ms, now));
        all.push(Producer { name: application.name.clone(), last_s, last_ms });
    }
    Ok(all)
}
