//! What `status` looks at, all of it in Redis: the registry, the streams, and what every node says of its actors.

use std::{collections::HashMap, time::Instant};

use tidegate_actors::{message::Position, placement::Member, status::DestinationStatus};

use crate::{
    admin::nodes::Nodes,
    cli::now_ms,
    config::Settings,
    redis::{
        Redis, dead, members,
        memory::{self, MemorySample},
        sides::{self, Sides},
        status,
    },
    registry::{Store, alarm::Alarm},
    resources::{Destination, Document},
};

/// Everything at one moment.
pub(super) struct Seen {
    /// The nodes that live, by name.
    pub(super) nodes: Vec<Node>,
    pub(super) destinations: Vec<Row>,
    pub(super) applications: Vec<Producer>,
    pub(super) memory: MemorySample,
    /// What an operator must hear of.
    pub(super) alarms: Vec<Alarm>,
}

/// A node.
pub(super) struct Node {
    pub(super) name: String,
    pub(super) version: String,
    /// How long it has been up, in seconds.
    pub(super) up_s: f64,
    /// It is about to stop.
    pub(super) draining: bool,
    /// The destinations whose lease it holds, by name.
    pub(super) destinations: Vec<String>,
}

/// A destination.
pub(super) struct Row {
    pub(super) name: String,
    pub(super) kind: String,
    /// `up`, `down`, `held`, `paused`, `standby`, or from Redis alone `leased`, `no node`.
    pub(super) state: &'static str,
    /// The node that writes it.
    pub(super) owner: Option<String>,
    /// How often it was taken over.
    pub(super) epoch: Option<u64>,
    pub(super) backlog: u64,
    /// Age of the oldest message that waits, in seconds.
    pub(super) oldest_s: Option<f64>,
    pub(super) eta_s: Option<f64>,
    pub(super) dead: u64,
    pub(super) last_error: Option<String>,
    /// Tables that wait while the rest of the destination goes on.
    pub(super) held: Vec<HeldTable>,
    /// Routes that are behind the rest and on their way.
    pub(super) catching_up: Vec<CatchingUp>,
}

/// A table that waits for its schema.
pub(super) struct HeldTable {
    pub(super) table: String,
    pub(super) why: String,
    /// Since when (RFC 3339, UTC), where its owner says so.
    pub(super) since: Option<String>,
    /// The routes into it, by name.
    pub(super) routes: Vec<String>,
    /// The stream it reads: the application's name.
    pub(super) application: String,
    /// Everything up to here is in the table.
    pub(super) after: Position,
}

/// Routes that catch up beside the rest.
pub(super) struct CatchingUp {
    pub(super) route: String,
    /// `table` (was held), `backfill` or `replay`.
    pub(super) kind: &'static str,
    pub(super) application: String,
    /// Everything up to here is written.
    pub(super) after: Position,
    /// Where the rest stands.
    pub(super) to: Option<Position>,
    /// What it waits for, where it does.
    pub(super) why: Option<String>,
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
    /// What stands beside the main row, by application.
    beside: Vec<(String, Sides)>,
}

impl Looker {
    pub(super) fn new(settings: &Settings) -> anyhow::Result<Self> {
        let redis = Redis::open(settings.redis_url.expose(), &settings.prefix)?;
        let store = Store::open(&settings.redis_url, &settings.prefix)?;
        Ok(Self { redis, store, before: HashMap::new() })
    }

    pub(super) async fn look(&mut self) -> anyhow::Result<Seen> {
        let document = self.store.load().await?.unwrap_or_default();
        let (reports, waiting, applications, memory) = tokio::join!(
            members::reports(self.redis.link(), self.redis.keys()),
            waiting(&self.redis, &document),
            producers(&self.redis, &document),
            memory::sample(&self.redis),
        );
        let (reports, waiting, applications, memory) = (reports?, waiting?, applications?, memory?);
        let now = now_ms()?;
        let nodes = reports.iter().map(|report| node(&report.member, &document, now)).collect();
        let cluster = Nodes { all: reports.into_iter().filter_map(|report| report.health).collect() };
        let told = cluster.destinations();
        let mut destinations = Vec::with_capacity(document.destinations.len());
        for (Destination { name, kind, .. }, waiting) in document.destinations.iter().zip(waiting) {
            let eta_s = self.eta(name, waiting.messages);
            let mut row = Row {
                name: name.clone(),
                kind: kind.clone(),
                state: if waiting.leased { "leased" } else { "no node" },
                owner: None,
                epoch: None,
                backlog: waiting.messages,
                oldest_s: waiting.oldest_ms.map(|ms| crate::cli::table::age_s(ms, now)),
                eta_s,
                dead: waiting.dead,
                last_error: None,
                held: Vec::new(),
                catching_up: Vec::new(),
            };
            for (application, sides) in &waiting.beside {
                row.stands_beside(&document, application, sides);
            }
            if let Some((_, detail)) = told.get(name.as_str()) {
                (row.owner, row.epoch) = (detail.owner.clone(), detail.epoch);
                row.state = state(detail.status, waiting.leased);
                row.eta_s = if waiting.messages == 0 { Some(0.0) } else { detail.drain_eta_s.or(eta_s) };
                row.last_error = detail.held.clone().or_else(|| detail.last_error.clone());
                for held in &mut row.held {
                    let told = detail.held_tables.iter().find(|told| told.table == held.table);
                    held.since = told.map(|told| told.since.clone());
                }
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
        Ok(Seen { nodes, destinations, applications, memory, alarms })
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

impl Row {
    /// Adds what stands beside the main row on one stream.
    fn stands_beside(&mut self, document: &Document, application: &str, sides: &Sides) {
        let name = |id: &str| {
            let known = document.routes.iter().find(|route| route.id == id);
            known.map_or_else(|| id.to_owned(), |route| route.name.clone())
        };
        for side in &sides.rows {
            let routes = side.routes.iter().map(|id| name(id));
            let (after, application) = (side.at.clone(), application.to_owned());
            let table = side.part.strip_prefix("table ");
            if let (Some(table), Some(why)) = (table, &side.held) {
                let (table, why, routes) = (table.to_owned(), why.clone(), routes.collect());
                self.held.push(HeldTable { table, why, since: None, routes, application, after });
                continue;
            }
            let kind = match () {
                () if table.is_some() => "table",
                () if side.part.starts_with("replay ") => "replay",
                () => "backfill",
            };
            let (to, why) = (sides.main.clone(), side.held.clone());
            let mark = |route| {
                let (application, after, to, why) = (application.clone(), after.clone(), to.clone(), why.clone());
                CatchingUp { route, kind, application, after, to, why }
            };
            self.catching_up.extend(routes.map(mark));
        }
        for (id, after) in &sides.new {
            self.catching_up.push(CatchingUp {
                route: name(id),
                kind: "backfill",
                application: application.to_owned(),
                after: after.clone(),
                to: sides.main.clone(),
                why: None,
            });
        }
    }
}

fn node(member: &Member, document: &Document, now_ms: u64) -> Node {
    let name = |id: &std::sync::Arc<str>| {
        let known = document.destinations.iter().find(|destination| *destination.id == **id);
        known.map(|destination| destination.name.clone())
    };
    let mut destinations: Vec<_> = member.holds.iter().filter_map(name).collect();
    destinations.sort();
    Node {
        name: member.node.to_string(),
        version: member.version.clone(),
        up_s: crate::cli::table::age_s(member.started_ms, now_ms),
        draining: member.draining,
        destinations,
    }
}

/// Where nobody says that it writes a destination, the lease tells whether somebody does.
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
            let beside = sides::of(redis, &application.name, &destination.id).await?;
            if beside != Sides::default() {
                waiting.beside.push((application.name.clone(), beside));
            }
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
