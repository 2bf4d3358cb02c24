//! Everything at one moment, as the first screen and the one of the actors show it: nodes, destinations, alarms, memory.
//!
//! A [`Watcher`] looks again and again. While Redis is away it goes on with what this node knows by itself, and with what the
//! others said last, marked as old. It reads and changes nothing.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_actors::{
    delivery::now_ms,
    placement::Member,
    status::{ActorHealth, ActorKind, DestinationDetail, DestinationStatus, StatusBoard},
};

use super::{Admin, nodes::Nodes};
use crate::{
    http::health::{NodeHealth, Readiness},
    redis::{
        dead,
        members::{self, Report},
        memory::{self, MemorySample},
    },
    registry::alarm::Alarm,
    resources::Document,
};

/// Longest wait for what Redis knows of the nodes.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// How often dead letters are counted, a call for each stream and destination: while somebody looks, and while nobody does.
const COUNT_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(30));

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sighting {
    /// When, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    /// Why Redis could not be asked.
    pub(crate) away: Option<String>,
    /// The nodes, by name.
    pub(crate) nodes: Vec<NodeSeen>,
    /// The destinations, those that need somebody first, then by name.
    pub(crate) destinations: Vec<DestinationSeen>,
    /// What an operator must hear of.
    pub(crate) alarms: Vec<Alarm>,
    /// Redis's memory; `None` where it can't be asked.
    pub(crate) memory: Option<MemorySeen>,
}

/// Redis's memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct MemorySeen {
    /// Used, and the limit where there is one.
    pub(crate) sample: MemorySample,
    /// Used by limit.
    pub(crate) share: Option<f64>,
    /// Until it is full at the present rate, in seconds.
    pub(crate) full_in_s: Option<f64>,
    /// What is done about it: `none`, `soft`, `hard`.
    pub(crate) pressure: String,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct NodeSeen {
    /// Its name.
    pub(crate) name: String,
    /// This run of it.
    pub(crate) instance: String,
    /// The version it runs.
    pub(crate) version: String,
    /// When it started, in milliseconds since the Unix epoch.
    pub(crate) started_ms: u64,
    /// It is about to stop.
    pub(crate) draining: bool,
    /// The destinations whose lease it holds, by name.
    pub(crate) writes: Vec<String>,
    /// It made this page.
    pub(crate) here: bool,
    /// What it last said, for it can't be heard now.
    pub(crate) old: bool,
    /// Its actors.
    pub(crate) actors: Vec<ActorHealth>,
}

/// What becomes of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// The database is away.
    Down,
    /// Something waits for somebody to put it right.
    Held,
    /// No node says anything of it.
    Silent,
    /// An operator stopped it.
    Paused,
    /// No node writes it just now.
    Standby,
    /// The database takes what comes.
    Up,
}

impl State {
    /// Its word, as in the commands.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Held => "held",
            Self::Silent => "silent",
            Self::Paused => "paused",
            Self::Standby => "standby",
            Self::Up => "up",
        }
    }

    /// Whether somebody should look after it.
    pub(crate) fn needs_somebody(self) -> bool {
        matches!(self, Self::Down | Self::Held | Self::Silent)
    }
}

/// A destination.
#[derive(Clone, Debug)]
pub(crate) struct DestinationSeen {
    /// Its id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// `postgres`, `mysql` …
    pub(crate) kind: String,
    /// What becomes of it.
    pub(crate) state: State,
    /// The node that told.
    pub(crate) told_by: Option<String>,
    /// What the node that writes it says of it.
    pub(crate) detail: DestinationDetail,
    /// Dead letters that wait for a person, where they were counted.
    pub(crate) dead: Option<u64>,
}

/// Looks again and again.
pub(crate) struct Watcher {
    admin: Admin,
    board: StatusBoard,
    readiness: Arc<Readiness>,
    /// This run of the program among the members.
    instance: String,
    started_ms: u64,
    heard: Vec<Report>,
    dead: HashMap<String, u64>,
    counted: Option<Instant>,
}

impl Watcher {
    /// For the node that calls itself `instance` among the members.
    pub(crate) fn new(admin: Admin, board: StatusBoard, readiness: Arc<Readiness>, instance: &str) -> Self {
        Self {
            admin,
            board,
            readiness,
            instance: instance.to_owned(),
            started_ms: now_ms(),
            heard: Vec::new(),
            dead: HashMap::new(),
            counted: None,
        }
    }

    /// Looks, for somebody who is there (`seen`) or for the series alone.
    pub(crate) async fn look(&mut self, seen: bool) -> Sighting {
        let every = if seen { COUNT_EVERY.0 } else { COUNT_EVERY.1 };
        let document = self.admin.documents.borrow().clone().unwrap_or_default();
        let (away, sample) = match self.readiness.redis_obstacle() {
            Some(why) => (Some(why), None),
            None => self.ask().await,
        };
        if away.is_none() && self.counted.is_none_or(|at| at.elapsed() >= every) {
            self.counted = Some(Instant::now());
            // What could not be counted keeps its last figure.
            let _ = tokio::time::timeout(ANSWER_WITHIN, self.count(&document)).await;
        }
        let nodes = self.nodes(&document, away.is_some());
        let healths = nodes.iter().map(|node| NodeHealth {
            node: node.name.clone(),
            version: node.version.clone(),
            uptime_s: 0,
            actors: node.actors.clone(),
        });
        let healths = Nodes { all: healths.collect() };
        let (full_in_s, pressure) = healths.memory();
        let memory = sample.map(|sample| MemorySeen {
            sample,
            share: share(sample),
            full_in_s,
            pressure: pressure.unwrap_or_else(|| "none".into()),
        });
        Sighting {
            at_ms: now_ms(),
            away,
            destinations: self.destinations(&document, &healths),
            alarms: healths.alarms(),
            memory,
            nodes,
        }
    }

    async fn ask(&mut self) -> (Option<String>, Option<MemorySample>) {
        let redis = &self.admin.redis;
        let asked = async { tokio::join!(members::reports(redis.link(), redis.keys()), memory::sample(redis)) };
        match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok((Ok(reports), sample)) => {
                self.heard = reports;
                (None, sample.ok())
            }
            Ok((Err(error), _)) => (Some(error.to_string()), None),
            Err(_) => (Some("Redis did not answer in time".into()), None),
        }
    }

    async fn count(&mut self, document: &Document) {
        let mut all = HashMap::new();
        for destination in &document.destinations {
            let mut sum = 0;
            for application in &document.applications {
                let counted = dead::count(&self.admin.redis, &application.name, &destination.id).await;
                let Ok(letters) = counted else { return };
                sum += letters;
            }
            all.insert(destination.id.clone(), sum);
        }
        self.dead = all;
    }

    /// The nodes: this one by its own board, the others as they were last heard.
    fn nodes(&self, document: &Document, away: bool) -> Vec<NodeSeen> {
        let mut nodes: Vec<NodeSeen> = Vec::with_capacity(self.heard.len().max(1));
        for Report { member, health } in &self.heard {
            let here = *member.instance == self.instance;
            let actors = match health {
                _ if here => self.board.snapshot(),
                Some(health) => health.actors.clone(),
                None => Vec::new(),
            };
            nodes.push(node(member, document, actors, here, away && !here));
        }
        if !nodes.iter().any(|node| node.here) {
            let member = Member {
                instance: self.instance.as_str().into(),
                node: Arc::clone(&self.admin.node),
                version: env!("CARGO_PKG_VERSION").into(),
                started_ms: self.started_ms,
                draining: self.readiness.is_draining(),
                holds: Default::default(),
                cannot_reach: Default::default(),
            };
            nodes.push(node(&member, document, self.board.snapshot(), true, false));
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
        }
        for node in nodes.iter_mut().filter(|node| node.here && node.writes.is_empty()) {
            let leased = |actor: &&ActorHealth| actor.kind == ActorKind::Destination && actor.detail["leased"] == true;
            node.writes = node.actors.iter().filter(leased).map(|actor| actor.name.clone()).collect();
        }
        nodes
    }

    fn destinations(&self, document: &Document, healths: &Nodes) -> Vec<DestinationSeen> {
        let mut told = healths.destinations();
        let seen = |destination: &crate::resources::Destination| {
            let told = told.remove(destination.name.as_str());
            let (told_by, detail) =
                told.map_or((None, DestinationDetail::default()), |(node, detail)| (Some(node.to_owned()), detail));
            DestinationSeen {
                id: destination.id.clone(),
                name: destination.name.clone(),
                kind: destination.kind.clone(),
                state: state(told_by.as_deref(), &detail),
                told_by,
                dead: self.dead.get(&destination.id).copied(),
                detail,
            }
        };
        let mut all: Vec<DestinationSeen> = document.destinations.iter().map(seen).collect();
        all.sort_by(|a, b| (a.state.min(State::Paused), &a.name).cmp(&(b.state.min(State::Paused), &b.name)));
        all
    }
}

fn state(told_by: Option<&str>, detail: &DestinationDetail) -> State {
    match (told_by, detail.status) {
        (None, _) => State::Silent,
        (_, DestinationStatus::Down) => State::Down,
        (_, DestinationStatus::Held) => State::Held,
        // The rest goes on, and still somebody has to put a table right.
        (_, DestinationStatus::Up) if !detail.held_tables.is_empty() => State::Held,
        (_, DestinationStatus::Up) => State::Up,
        (_, DestinationStatus::Paused) => State::Paused,
        (_, DestinationStatus::Standby) => State::Standby,
    }
}

#[allow(clippy::cast_precision_loss, reason = "a share")]
fn share(sample: MemorySample) -> Option<f64> {
    sample.limit_bytes.map(|limit| sample.used_bytes as f64 / limit as f64)
}

fn node(member: &Member, document: &Document, actors: Vec<ActorHealth>, here: bool, old: bool) -> NodeSeen {
    let name = |id: &Arc<str>| {
        let known = document.destinations.iter().find(|destination| *destination.id == **id);
        known.map(|destination| destination.name.clone())
    };
    let mut writes: Vec<_> = member.holds.iter().filter_map(name).collect();
    writes.sort();
    NodeSeen {
        name: member.node.to_string(),
        instance: member.instance.to_string(),
        version: member.version.clone(),
        started_ms: member.started_ms,
        draining: member.draining,
        writes,
        here,
        old,
        actors,
    }
}

impl Sighting {
    /// Those that somebody should look after.
    pub(crate) fn in_need(&self) -> usize {
        self.destinations.iter().filter(|destination| destination.state.needs_somebody()).count()
    }

    /// Messages that wait, over all destinations.
    pub(crate) fn backlog(&self) -> u64 {
        self.destinations.iter().map(|destination| destination.detail.backlog).sum()
    }
}

#[cfg(test)]
mod tests {
    use tidegate_actors::status::HeldTable;

    use super::*;

    #[test]
    fn a_destination_that_goes_on_beside_a_held_table_needs_somebody_all_the_same() {
        let mut detail = DestinationDetail { status: DestinationStatus::Up, ..DestinationDetail::default() };
        assert_eq!(state(Some("a"), &detail), State::Up);
        detail.held_tables.push(HeldTable::default());
        assert_eq!(state(Some("a"), &detail), State::Held);
        assert_eq!(state(None, &detail), State::Silent);
        assert!(State::Silent.needs_somebody() && !State::Standby.needs_somebody());
    }
}
