//! The ParallelActor: one parallel destination on one of its nodes, on an arbiter of its own.
//!
//! Shown as a `destination` like the ordered ones, and as thin: what a step does stands in
//! [`crate::delivery::ParallelDelivery`], when it may be done in [`crate::breaker`] and [`crate::retry`]. It runs on every
//! node at the same time and needs no lease.

mod runner;

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, WrapFuture as _};
use tokio::sync::watch;

use super::{Control, Rate, Shared, backlog, pace::Pace};
use crate::{
    delivery::{Limits, ParallelDelivery},
    ports::{EventLog, GroupReader, Observe},
    status::Vitals,
};
use runner::ParallelRunner;

/// How often what waits is counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// Delivers to one parallel destination.
pub struct ParallelActor {
    runner: Option<ParallelRunner>,
    shared: Rc<Shared>,
    side: Option<Box<dyn EventLog>>,
    limits: Limits,
    observer: Arc<dyn Observe>,
    vitals: Rc<Vitals>,
    rate: Rate,
}

/// What an actor is built from.
pub struct ParallelParts {
    /// The log, for the steps.
    pub log: Box<dyn EventLog>,
    /// The log again, for the backlog.
    pub side: Box<dyn EventLog>,
    /// The consumer group.
    pub group: Box<dyn GroupReader>,
    /// The database.
    pub database: Box<dyn crate::ports::Destination>,
    /// The installation's id.
    pub installation: Arc<str>,
    /// What the supervisor says.
    pub control: watch::Receiver<Control>,
    /// Time limits.
    pub limits: Limits,
    /// Where events are counted.
    pub observer: Arc<dyn Observe>,
    /// The actor's place on the board.
    pub vitals: Vitals,
}

impl ParallelActor {
    /// An actor that has not touched anything yet.
    #[must_use]
    pub fn new(parts: ParallelParts) -> Self {
        let shared = Rc::new(Shared::default());
        let vitals = Rc::new(parts.vitals);
        let control = parts.control.borrow().clone();
        let delivery = ParallelDelivery::new(
            parts.log,
            parts.group,
            parts.database,
            control.spec,
            parts.installation,
            control.version,
            parts.limits,
            vitals.progress().clone(),
        );
        let runner = ParallelRunner {
            delivery,
            pace: Pace::new(parts.control, parts.limits, &shared, &vitals, &parts.observer),
            gaps: 0,
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

    /// Counts what waits, beside the steps.
    fn count(&mut self, context: &mut Context<Self>) {
        self.show();
        let Some(mut side) = self.side.take() else { return };
        let (lanes, limit) = (self.shared.lanes.borrow().clone(), self.limits.log);
        let counted = async move {
            let waiting = tokio::time::timeout(limit, backlog(&mut *side, &lanes)).await;
            (side, waiting.ok().and_then(Result::ok))
        };
        context.spawn(counted.into_actor(self).map(|(side, waiting), actor, _| {
            actor.side = Some(side);
            if let Some(waiting) = waiting {
                actor.shared.counted(waiting);
                actor.show();
            }
        }));
    }

    fn show(&mut self) {
        self.shared.show(&mut self.rate, &self.vitals, &*self.observer);
    }
}

impl Actor for ParallelActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(runner) = self.runner.take() else { return };
        self.vitals.running();
        context.spawn(runner.run().into_actor(self).map(|(), _, context| context.stop()));
        context.run_interval(COUNT_EVERY, Self::count);
    }
}
