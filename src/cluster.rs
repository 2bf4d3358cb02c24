//! This node among the others: it beats in Redis, hears who else lives, and works out which destinations it is to write.
//!
//! The heartbeat is a task of its own, so that no actor's work delays it. While Redis is away the last word stands: without
//! Redis nobody can take a lease, and each one ends by itself. Started by [`crate::app`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_actors::{
    delivery::{now_ms, random_token},
    placement::{Assignment, Member},
    route::Topology,
    status::{ActorHealth, ActorKind, StatusBoard},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    http::health::NodeHealth,
    redis::{Keys, Link, Redis, members},
};

/// A destination that this node could not reach for so long is offered to the others …
const CANNOT_AFTER: Duration = Duration::from_secs(10);
/// … and not tried again by this node for so long, as long as another has not tried in vain too.
const CANNOT_FOR: Duration = Duration::from_secs(60);
/// Longest wait for the answer to a heartbeat.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How often the actors' health is told to the others; a large report less often, so that Redis's file does not grow by it.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Most bytes of reports a second.
const REPORT_BYTES_PER_S: f64 = 8.0 * 1024.0;
/// How long the last word to Redis may take when the node ends.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// A node's membership; it ends when this is dropped, and at once with [`Cluster::leave`].
pub struct Cluster {
    instance: Arc<str>,
    assignment: watch::Receiver<Assignment>,
    draining: watch::Sender<bool>,
    link: Arc<Link>,
    keys: Keys,
    task: JoinHandle<()>,
}

struct Heart {
    node: String,
    member: Member,
    begun: Instant,
    lease: Duration,
    topology: watch::Receiver<Arc<Topology>>,
    draining: watch::Receiver<bool>,
    board: StatusBoard,
    assignment: watch::Sender<Assignment>,
    outages: Outages,
    link: Arc<Link>,
    keys: Keys,
}

impl Cluster {
    /// Begins to beat. A node that is silent for as long as a `lease` lasts is taken for dead.
    #[must_use]
    pub fn join(
        redis: &Redis,
        node: &str,
        lease: Duration,
        topology: watch::Receiver<Arc<Topology>>,
        board: StatusBoard,
    ) -> Self {
        let instance: Arc<str> = random_token(12).into();
        let (assignment, assigned) = watch::channel(Assignment::default());
        let (draining, told) = watch::channel(false);
        let (link, keys) = (Arc::new(redis.own_link()), redis.keys().clone());
        let member = Member {
            instance: Arc::clone(&instance),
            node: node.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_ms: now_ms(),
            draining: false,
            holds: Default::default(),
            cannot_reach: Default::default(),
        };
        let heart = Heart {
            node: node.into(),
            member,
            begun: Instant::now(),
            lease,
            topology,
            draining: told,
            board,
            assignment,
            outages: Outages::default(),
            link: Arc::clone(&link),
            keys: keys.clone(),
        };
        let task = actix_rt::spawn(heart.run());
        Self { instance, assignment: assigned, draining, link, keys, task }
    }

    /// This run of the program.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// What this node is to write.
    #[must_use]
    pub fn assignment(&self) -> watch::Receiver<Assignment> {
        self.assignment.clone()
    }

    /// Says that this node is about to stop: the others take its destinations, unless there are none.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Ends, with a last word to the others.
    pub async fn leave(self) {
        self.task.abort();
        let left = tokio::time::timeout(LEAVE_WITHIN, members::leave(&self.link, &self.keys, &self.instance)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::debug!("the other nodes were not told; they will notice");
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Heart {
    async fn run(mut self) {
        let every = (self.lease / 6).clamp(Duration::from_millis(50), Duration::from_millis(500));
        let (mut reported, mut pause, mut silent) = (None::<Instant>, Duration::ZERO, false);
        loop {
            let actors = self.board.snapshot();
            self.member.draining = *self.draining.borrow_and_update();
            (self.member.holds, self.member.cannot_reach) = self.standing(&actors);
            let report = reported.is_none_or(|at| at.elapsed() >= pause).then(|| self.report(actors));
            let beat = members::beat(&self.link, &self.keys, &self.member, self.lease, report.as_ref());
            match tokio::time::timeout(ANSWER_WITHIN, beat).await {
                Ok(Ok(members)) => {
                    if silent {
                        tracing::info!("heard by the other nodes again");
                    }
                    silent = false;
                    self.assign(&members);
                    if let Some(report) = report {
                        (reported, pause) = (Some(Instant::now()), pause_after(&report));
                    }
                }
                Ok(Err(error)) if !silent => {
                    tracing::warn!(%error, "no heartbeat to the other nodes");
                    silent = true;
                }
                Err(_) if !silent => {
                    tracing::warn!("no heartbeat to the other nodes: Redis does not answer");
                    silent = true;
                }
                _ => {}
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                // Told at once, since others wait for what this node gives up.
                Ok(()) = self.draining.changed() => self.draining.mark_changed(),
                Ok(()) = self.topology.changed() => {}
            }
        }
    }

    fn assign(&mut self, members: &[Member]) {
        let topology = self.topology.borrow_and_update().clone();
        let assignment = Assignment::of(&self.member.instance, members, &topology);
        self.assignment.send_if_modified(|before| {
            let changed = *before != assignment;
            if before.mine != assignment.mine {
                let nodes = members.len();
                tracing::info!(destinations = assignment.mine.len(), of = topology.destinations.len(), nodes, "placed");
            }
            *before = assignment;
            changed
        });
    }

    /// The destinations whose lease this node holds, and those that it cannot reach, by id.
    fn standing(&mut self, actors: &[ActorHealth]) -> (BTreeSet<Arc<str>>, BTreeMap<Arc<str>, u64>) {
        let topology = self.topology.borrow().clone();
        let mut holds = BTreeSet::new();
        for destination in &topology.destinations {
            let shown = |actor: &&ActorHealth| actor.kind == ActorKind::Destination && *actor.name == *destination.name;
            let Some(detail) = actors.iter().find(shown).map(|actor| &actor.detail) else { continue };
            if detail["leased"] == true {
                holds.insert(Arc::clone(&destination.id));
                let down = detail["status"] == "down";
                self.outages.seen(&destination.id, down, Instant::now(), now_ms());
            }
        }
        (holds, self.outages.cannot_reach(Instant::now()))
    }

    fn report(&self, actors: Vec<ActorHealth>) -> NodeHealth {
        NodeHealth {
            node: self.node.clone(),
            version: self.member.version.clone(),
            uptime_s: self.begun.elapsed().as_secs(),
            actors,
        }
    }
}

/// Which destinations this node could not reach while it was to write them. Pure: the time is an argument.
#[derive(Debug, Default)]
struct Outages(BTreeMap<Arc<str>, Outage>);

#[derive(Debug)]
struct Outage {
    began: Instant,
    since_ms: u64,
    last: Instant,
}

impl Outages {
    /// How a destination does whose lease this node holds.
    fn seen(&mut self, id: &Arc<str>, down: bool, now: Instant, now_ms: u64) {
        if down {
            let outage = self.0.entry(Arc::clone(id)).or_insert(Outage { began: now, since_ms: now_ms, last: now });
            outage.last = now;
        } else {
            self.0.remove(id);
        }
    }

    /// Those that others are to try, with the begin of the outage.
    fn cannot_reach(&mut self, now: Instant) -> BTreeMap<Arc<str>, u64> {
        self.0.retain(|_, outage| now.saturating_duration_since(outage.last) < CANNOT_FOR);
        let long =
            self.0.iter().filter(|(_, outage)| outage.last.saturating_duration_since(outage.began) >= CANNOT_AFTER);
        long.map(|(id, outage)| (Arc::clone(id), outage.since_ms)).collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "a pause")]
fn pause_after(report: &NodeHealth) -> Duration {
    let bytes = serde_json::to_vec(report).map_or(0, |text| text.len());
    REPORT_EVERY.max(Duration::from_secs_f64(bytes as f64 / REPORT_BYTES_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_offered_to_others_after_ten_seconds_and_taken_back_after_a_minute() {
        let (mut outages, id, start) = (Outages::default(), Arc::from("d"), Instant::now());
        let s = |seconds| start + Duration::from_secs(seconds);
        outages.seen(&id, true, s(0), 1_000);
        outages.seen(&id, true, s(9), 10_000);
        assert!(outages.cannot_reach(s(9)).is_empty());
        outages.seen(&id, true, s(10), 11_000);
        assert_eq!(outages.cannot_reach(s(10)).get(&id), Some(&1_000));
        // Another node has it now: nothing is heard of it any more.
        assert_eq!(outages.cannot_reach(s(69)).len(), 1);
        assert!(outages.cannot_reach(s(70)).is_empty());
    }

    #[test]
    fn one_that_answers_again_is_forgotten() {
        let (mut outages, id, start) = (Outages::default(), Arc::from("d"), Instant::now());
        outages.seen(&id, true, start, 0);
        outages.seen(&id, true, start + CANNOT_AFTER, 0);
        outages.seen(&id, false, start + CANNOT_AFTER, 0);
        assert!(outages.cannot_reach(start + CANNOT_AFTER).is_empty());
    }
}
