//! This node among the others: it beats in Redis, hears who else lives, and works out which destinations it is to write.
//!
//! The heartbeat is a task of its own, so that no actor's work delays it. While Redis is away the last word stands: without
//! Redis nobody can take a lease, and each one ends by itself. Started by [`crate::app`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_actors::{
    delivery::random_token,
    placement::{Assignment, Member},
    route::Topology,
    status::{ActorHealth, ActorKind, StatusBoard},
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    http::health::NodeHealth,
    redis::{Keys, Link, Redis, members},
};

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
            started_ms: u64::try_from(chrono::Utc::now().timestamp_millis()).unwrap_or(0),
            draining: false,
            holds: Default::default(),
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
            self.member.holds = self.holds(&actors);
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

    /// The ids of the destinations whose lease this node holds.
    fn holds(&self, actors: &[ActorHealth]) -> std::collections::BTreeSet<Arc<str>> {
        let topology = self.topology.borrow().clone();
        let leased = |name: &str| {
            actors.iter().any(|actor| {
                actor.kind == ActorKind::Destination && actor.name == name && actor.detail["leased"] == true
            })
        };
        let held = topology.destinations.iter().filter(|destination| leased(&destination.name));
        held.map(|destination| Arc::clone(&destination.id)).collect()
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

#[allow(clippy::cast_precision_loss, reason = "a pause")]
fn pause_after(report: &NodeHealth) -> Duration {
    let bytes = serde_json::to_vec(report).map_or(0, |text| text.len());
    REPORT_EVERY.max(Duration::from_secs_f64(bytes as f64 / REPORT_BYTES_PER_S))
}
