//! The DestinationActor: one ordered destination, from the lease to the commit, on an arbiter of its own.
//!
//! A thin shell: what a step does stands in [`crate::delivery`], when it may be done in [`crate::breaker`] and
//! [`crate::retry`]. The actor runs the steps one after the other, renews the lease beside them, and publishes how it does.

mod pace;
mod parallel;
mod runner;

use std::{
    cell::RefCell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Context, WrapFuture as _};
use tokio::sync::watch;

use crate::{
    delivery::{Delivery, LeaseClock, Limits, now_ms},
    message::StreamId,
    placement::Assignment,
    ports::{Backlog, EventLog, LogError, Observe},
    route::DestinationSpec,
    status::{DestinationDetail, DestinationStatus, Vitals},
    stream_reader::StreamReader,
    transaction::LaneId,
};
use pace::Pace;
pub use parallel::{ParallelActor, ParallelParts};
use runner::Runner;

/// What the supervisor tells a destination's actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The destination with its routes.
    pub spec: Arc<DestinationSpec>,
    /// The registry's version.
    pub version: u64,
    /// Whether this node is the one to write it: if not, the lease is given back between batches.
    pub wanted: bool,
    /// The node that holds the lease, where that is known and another.
    pub holder: Option<Arc<str>>,
    /// Since when it is down as far as other nodes know, in milliseconds since the Unix epoch.
    pub down_since_ms: Option<u64>,
    /// Finish the batch in hand and end.
    pub stop: bool,
}

impl Control {
    /// For an actor that is not to write yet.
    #[must_use]
    pub fn new(spec: Arc<DestinationSpec>, version: u64) -> Self {
        Self { spec, version, wanted: false, holder: None, down_since_ms: None, stop: false }
    }

    /// Takes over what concerns the destination of this id.
    pub fn assign(&mut self, id: &str, assignment: &Assignment) {
        self.wanted = assignment.mine.contains(id);
        self.holder = assignment.holders.get(id).cloned();
        self.down_since_ms = assignment.down_since_ms.get(id).copied();
    }
}

/// What the steps and the lease's renewal share.
#[derive(Default)]
struct Shared {
    lease: LeaseClock,
    /// The lanes, and where they stand as far as we have seen.
    lanes: RefCell<Vec<(LaneId, Option<StreamId>)>>,
    detail: RefCell<DestinationDetail>,
}

impl Shared {
    /// What waits, as it was counted just now. Where the destination was handed over meanwhile, it is not ours to show.
    fn counted(&self, waiting: Backlog) {
        if self.lanes.borrow().is_empty() {
            return;
        }
        let mut detail = self.detail.borrow_mut();
        detail.backlog = waiting.messages;
        detail.backlog_age_s = waiting.oldest_ms.map_or(0.0, age_s);
    }

    /// Shows how the destination does.
    fn show(&self, rate: &mut Rate, vitals: &Vitals, observer: &dyn Observe) {
        let mut detail = self.detail.borrow_mut();
        let eta = rate.eta(detail.backlog, detail.entries_delivered, Instant::now());
        // What is down or held does not drain; when it will, nobody knows.
        detail.drain_eta_s = eta.filter(|_| detail.status == DestinationStatus::Up || detail.backlog == 0);
        vitals.publish(&*detail);
        observer.destination(vitals.name(), &detail);
    }
}

/// Delivers to one destination.
pub struct DestinationActor {
    runner: Option<Runner>,
    shared: Rc<Shared>,
    side: Option<Box<dyn EventLog>>,
    limits: Limits,
    observer: Arc<dyn Observe>,
    vitals: Rc<Vitals>,
    rate: Rate,
}

/// What an actor is built from.
pub struct Parts {
    /// The log, for the steps.
    pub log: Box<dyn EventLog>,
    /// The log again, for the lease and the backlog, so that a slow step does not keep them waiting.
    pub side: Box<dyn EventLog>,
    /// The database.
    pub database: Box<dyn crate::ports::Destination>,
    /// The reader.
    pub reader: Addr<StreamReader>,
    /// The installation's id.
    pub installation: Arc<str>,
    /// This node's name.
    pub node: Arc<str>,
    /// What the supervisor says.
    pub control: watch::Receiver<Control>,
    /// Time limits.
    pub limits: Limits,
    /// Where events are counted.
    pub observer: Arc<dyn Observe>,
    /// The actor's place on the board.
    pub vitals: Vitals,
}

impl DestinationActor {
    /// An actor that has not touched anything yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let shared = Rc::new(Shared::default());
        let vitals = Rc::new(parts.vitals);
        let control = parts.control.borrow().clone();
        let delivery = Delivery::new(
            parts.log,
            parts.database,
            control.spec,
            parts.installation,
            control.version,
            parts.limits,
            vitals.progress().clone(),
            shared.lease.clone(),
        );
        let runner = Runner {
            delivery,
            reader: parts.reader,
            pace: Pace::new(parts.control, parts.limits, &shared, &vitals, &parts.observer),
            batch: None,
            ahead: None,
            spent: None,
            node: parts.node,
        };
        Self {
            runner: Some(runner),
            shared,
            side: Some(parts.side),
            limits: parts.limits,
            observer: parts.observer,
            vitals,
            rate: Rate::default(),
        }
    }

    /// Renews the lease and counts what waits, beside the steps.
    fn keep(&mut self, context: &mut Context<Self>) {
        self.show();
        let (holder, lanes) = (self.shared.lease.holder(), self.shared.lanes.borrow().clone());
        if holder.is_none() && lanes.is_empty() {
            return;
        }
        let Some(mut side) = self.side.take() else { return };
        let (lease, limit, ttl) = (self.shared.lease.clone(), self.limits.log, self.limits.lease);
        let kept = async move {
            if let Some((owner, names)) = holder {
                let asked = lease.now();
                // No answer: it lasts as long as it was granted for.
                if let Ok(Ok(granted)) = tokio::time::timeout(limit, side.renew(&names, &owner, ttl)).await {
                    lease.renewed(&owner, granted, asked, ttl);
                }
            }
            let waiting = tokio::time::timeout(limit, backlog(&mut *side, &lanes)).await;
            let waiting = waiting.ok().and_then(Result::ok);
            (side, waiting)
        };
        context.spawn(kept.into_actor(self).map(|(side, waiting), actor, _| {
            actor.side = Some(side);
            if let Some(waiting) = waiting {
                actor.shared.counted(waiting);
                actor.show();
            }
        }));
    }

    fn show(&mut self) {
        // A step that waits for a log which does not answer shows nothing new; that the lease has run out meanwhile is so
        // all the same.
        if !self.shared.lease.holds() {
            let mut detail = self.shared.detail.borrow_mut();
            if detail.leased {
                (detail.leased, detail.owner) = (false, None);
            }
        }
        self.shared.show(&mut self.rate, &self.vitals, &*self.observer);
    }
}

/// What waits on all lanes. One that we have not taken over yet stands where the log last heard of it, or where its first
/// route begins.
async fn backlog(log: &mut dyn EventLog, lanes: &[(LaneId, Option<StreamId>)]) -> Result<Backlog, LogError> {
    let mut sum = Backlog::default();
    for (lane, seen) in lanes {
        let after = match seen {
            Some(id) => *id,
            None => {
                let view = log.view(lane).await?;
                let first = view.starts.iter().map(|(_, start)| start.id).min();
                view.position.map(|position| position.id).or(first).unwrap_or_default()
            }
        };
        let one = log.backlog(lane, after).await?;
        sum.messages += one.messages;
        sum.oldest_ms = [sum.oldest_ms, one.oldest_ms].into_iter().flatten().min();
    }
    Ok(sum)
}

fn age_s(accepted_ms: u64) -> f64 {
    Duration::from_millis(now_ms().saturating_sub(accepted_ms)).as_secs_f64()
}

impl Actor for DestinationActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(runner) = self.runner.take() else { return };
        self.vitals.running();
        context.spawn(runner.run().into_actor(self).map(|(), _, context| context.stop()));
        context.run_interval(self.limits.lease / 3, Self::keep);
    }
}

/// Messages a second, smoothed over about ten seconds, for the time until the backlog is drained.
#[derive(Debug, Default)]
struct Rate {
    seen: Option<(Instant, u64)>,
    per_s: f64,
}

impl Rate {
    #[allow(clippy::cast_precision_loss, reason = "an estimate for people")]
    fn eta(&mut self, backlog: u64, delivered: u64, now: Instant) -> Option<f64> {
        match self.seen {
            Some((at, before)) if now - at >= Duration::from_millis(500) => {
                let elapsed = (now - at).as_secs_f64();
                let weight = (elapsed / 10.0).min(1.0);
                let rate = delivered.saturating_sub(before) as f64 / elapsed;
                self.per_s = self.per_s * (1.0 - weight) + rate * weight;
                self.seen = Some((now, delivered));
            }
            Some(_) => {}
            None => self.seen = Some((now, delivered)),
        }
        if backlog == 0 {
            return Some(0.0);
        }
        (self.per_s > 0.1).then(|| (backlog as f64 / self.per_s * 10.0).round() / 10.0)
    }
}
