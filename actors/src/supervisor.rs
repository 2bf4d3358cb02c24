//! The supervisor: owns the factories of all other actors, sees how they end, and builds them anew.
//!
//! Each destination is a unit of a StreamReader and a DestinationActor on an arbiter (a thread) of its own; the janitor is
//! another. A unit of which a part panics, ends or hangs is abandoned as a whole and built fresh on a new arbiter, with a
//! budget: actix's own supervision restarts neither after a panic nor with a pause. An abandoned thread that still runs
//! can do no harm: the database's fence knows its successor.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, ResponseActFuture, WrapFuture as _,
};
use actix_rt::Arbiter;
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::{
    delivery::Limits,
    destination::{Control, DestinationActor, ParallelActor, ParallelParts, Parts},
    janitor::Janitor,
    placement::Assignment,
    ports::World,
    route::{DeliveryMode, DestinationSpec, Topology},
    status::{ActorEnd, ActorKind, EndReason, EndSender, Place, StatusBoard, Vitals},
    stream_reader::StreamReader,
    supervisor_budget::RestartBudget,
};

/// How often the supervisor looks.
const EVERY: Duration = Duration::from_millis(200);

/// Starts and watches everything else.
pub struct Supervisor {
    world: Arc<dyn World>,
    node: Arc<str>,
    topology: watch::Receiver<Arc<Topology>>,
    assignment: watch::Receiver<Assignment>,
    limits: Limits,
    board: StatusBoard,
    units: BTreeMap<Arc<str>, Unit>,
    ends: mpsc::UnboundedReceiver<ActorEnd>,
    report: EndSender,
    vitals: Vitals,
    place: Place,
    stopping: bool,
}

/// What lives and dies together.
struct Unit {
    work: Work,
    places: Vec<Place>,
    control: Option<watch::Sender<Control>>,
    arbiter: Option<Arbiter>,
    /// Actors of the present incarnation that have not ended.
    living: usize,
    budget: RestartBudget,
    restart_at: Option<Instant>,
    /// Set when the unit is to end and not to come back.
    leaving: bool,
}

#[derive(Clone)]
enum Work {
    Destination(Arc<DestinationSpec>),
    Janitor,
}

impl Supervisor {
    /// A supervisor on the node of this name that starts whatever `topology` says, as soon as it is started itself. Every
    /// node has actors for every destination; those in `assignment` are to write, the others stand by.
    #[must_use]
    pub fn new(
        world: Arc<dyn World>,
        node: &str,
        topology: watch::Receiver<Arc<Topology>>,
        assignment: watch::Receiver<Assignment>,
        limits: Limits,
        board: StatusBoard,
    ) -> Self {
        let (report, ends) = mpsc::unbounded_channel();
        let place = board.register(ActorKind::Supervisor, "supervisor");
        let vitals = place.begin(&report);
        let units = BTreeMap::new();
        let node = node.into();
        Self { world, node, topology, assignment, limits, board, units, ends, report, vitals, place, stopping: false }
    }

    fn look(&mut self, _: &mut Context<Self>) {
        self.vitals.progress().bump();
        while let Ok(end) = self.ends.try_recv() {
            self.ended(&end);
        }
        if !self.stopping && (self.topology.has_changed().unwrap_or(false) || self.units.is_empty()) {
            self.reconcile();
        }
        if self.assignment.has_changed().unwrap_or(false) {
            self.assign();
        }
        self.watch_for_hangs();
        self.restart_due();
        self.units.retain(|_, unit| !(unit.leaving && unit.living == 0));
        let cooling = self.units.values().filter(|unit| unit.budget.is_cooling_down(Instant::now())).count();
        self.vitals.publish(&json!({"units": self.units.len(), "resting_after_too_many_restarts": cooling}));
    }

    /// Makes the units what the registry says.
    fn reconcile(&mut self) {
        let topology = self.topology.borrow_and_update().clone();
        // A parallel destination is written by every node, unless it is a file of another's.
        let elsewhere = |spec: &DestinationSpec| {
            spec.mode == DeliveryMode::Parallel && spec.node.as_ref().is_some_and(|node| *node != self.node)
        };
        let here: Vec<_> = topology.destinations.iter().filter(|spec| !elsewhere(spec)).cloned().collect();
        let wanted: HashSet<Arc<str>> = here.iter().map(|spec| Arc::clone(&spec.id)).collect();
        for (id, unit) in &mut self.units {
            if let Work::Destination(spec) = &unit.work
                && !wanted.contains(id)
                && !unit.leaving
            {
                self.world.observer().forgotten(&spec.name);
                unit.leave();
            }
        }
        if !self.units.contains_key("janitor") {
            self.add("janitor".into(), Work::Janitor);
        }
        for spec in &here {
            let same = match self.units.get_mut(&spec.id) {
                Some(unit) => match &unit.work {
                    Work::Destination(old) => old.revision == spec.revision && old.name == spec.name && !unit.leaving,
                    Work::Janitor => true,
                },
                None => {
                    self.add(Arc::clone(&spec.id), Work::Destination(Arc::clone(spec)));
                    continue;
                }
            };
            let Some(unit) = self.units.get_mut(&spec.id) else { continue };
            if same {
                unit.work = Work::Destination(Arc::clone(spec));
                if let Some(control) = &unit.control {
                    let (spec, version) = (Arc::clone(spec), topology.version);
                    control.send_modify(|control| (control.spec, control.version) = (spec, version));
                }
            } else {
                // Other connection settings: the old actors finish their batch, then new ones are built.
                unit.leave();
                self.topology.mark_changed();
            }
        }
    }

    /// Tells every destination's actor whether it is to write.
    fn assign(&mut self) {
        let assignment = self.assignment.borrow_and_update().clone();
        for (id, unit) in &self.units {
            let Some(control) = &unit.control else { continue };
            control.send_if_modified(|control| {
                let before = control.clone();
                control.assign(id, &assignment);
                *control != before
            });
        }
    }

    fn add(&mut self, id: Arc<str>, work: Work) {
        let places = match &work {
            // It reads for itself: the entries are its own from the moment they are read.
            Work::Destination(spec) if spec.mode == DeliveryMode::Parallel => {
                vec![self.board.register(ActorKind::Destination, &spec.name)]
            }
            Work::Destination(spec) => {
                vec![
                    self.board.register(ActorKind::StreamReader, &spec.name),
                    self.board.register(ActorKind::Destination, &spec.name),
                ]
            }
            Work::Janitor => vec![self.board.register(ActorKind::Janitor, "janitor")],
        };
        let unit = Unit {
            work,
            places,
            control: None,
            arbiter: None,
            living: 0,
            budget: RestartBudget::new(),
            restart_at: None,
            leaving: false,
        };
        self.units.insert(Arc::clone(&id), unit);
        self.begin(&id);
    }

    /// Builds a unit's actors on a fresh arbiter.
    fn begin(&mut self, id: &Arc<str>) {
        let Some(unit) = self.units.get_mut(id) else { return };
        unit.restart_at = None;
        let arbiter = Arbiter::new();
        let world = Arc::clone(&self.world);
        let mut vitals: Vec<_> = unit.places.iter().map(|place| place.begin(&self.report)).collect();
        unit.living = vitals.len();
        let started = match &unit.work {
            Work::Janitor => arbiter.spawn_fn(move || {
                if let Some(vitals) = vitals.pop() {
                    Janitor::new(world.housekeeping(), vitals).start();
                }
            }),
            Work::Destination(spec) => {
                let topology = self.topology.borrow().clone();
                let mut control = Control::new(Arc::clone(spec), topology.version);
                control.assign(id, &self.assignment.borrow());
                let (sender, control) = watch::channel(control);
                unit.control = Some(sender);
                let (spec, limits) = (Arc::clone(spec), self.limits);
                let (installation, node) = (Arc::clone(&topology.installation), Arc::clone(&self.node));
                if spec.mode == DeliveryMode::Parallel {
                    arbiter.spawn_fn(move || {
                        let Some(vitals) = vitals.pop() else { return };
                        let parts = ParallelParts {
                            log: world.log(&spec),
                            side: world.log(&spec),
                            group: world.group(&spec),
                            database: world.destination(&spec),
                            installation,
                            control,
                            limits,
                            observer: world.observer(),
                            vitals,
                        };
                        ParallelActor::new(parts).start();
                    })
                } else {
                    arbiter.spawn_fn(move || {
                        let (Some(writer), Some(reader)) = (vitals.pop(), vitals.pop()) else { return };
                        let reader = StreamReader::new(world.reader(&spec), reader).start();
                        let parts = Parts {
                            log: world.log(&spec),
                            side: world.log(&spec),
                            database: world.destination(&spec),
                            reader,
                            installation,
                            node,
                            control,
                            limits,
                            observer: world.observer(),
                            vitals: writer,
                        };
                        DestinationActor::new(parts).start();
                    })
                }
            }
        };
        if !started {
            tracing::error!(unit = %id, "its arbiter ended before it began");
        }
        unit.arbiter = Some(arbiter);
    }

    fn ended(&mut self, end: &ActorEnd) {
        let Some((id, unit)) = self.units.iter_mut().find(|(_, unit)| {
            unit.places.iter().any(|place| {
                let health = place.health();
                health.kind == end.kind && health.name == *end.name && place.incarnation() == end.incarnation
            })
        }) else {
            return;
        };
        unit.living = unit.living.saturating_sub(1);
        if unit.leaving || self.stopping {
            // The writer has finished; its reader has nothing more to do.
            if end.kind == ActorKind::Destination || unit.living == 0 {
                unit.living = 0;
                unit.abandon();
            }
            return;
        }
        if unit.restart_at.is_some() {
            return;
        }
        let how = match end.reason {
            EndReason::Panicked => "panicked",
            EndReason::Stopped => "ended",
        };
        tracing::error!(unit = %id, kind = %end.kind, name = %end.name, "an actor {how} and is restarted");
        unit.restart_after(Instant::now());
        self.world.observer().restarted(end.kind);
    }

    fn watch_for_hangs(&mut self) {
        let (now, hung) = (Instant::now(), self.limits.hung);
        for (id, unit) in &mut self.units {
            if unit.restart_at.is_some() || unit.living == 0 {
                continue;
            }
            let Some(hung) = unit.places.iter().find(|place| place.progress().hung(now, hung)) else { continue };
            let kind = hung.health().kind;
            tracing::error!(unit = %id, %kind, "an actor hangs; it is abandoned and built anew");
            unit.living = 0;
            if unit.leaving {
                unit.abandon();
            } else {
                unit.restart_after(now);
                self.world.observer().restarted(kind);
            }
        }
    }

    fn restart_due(&mut self) {
        let now = Instant::now();
        let due = |unit: &Unit| !unit.leaving && unit.restart_at.is_some_and(|at| now >= at);
        let ids: Vec<_> = self.units.iter().filter(|(_, unit)| due(unit)).map(|(id, _)| Arc::clone(id)).collect();
        if !self.stopping {
            ids.iter().for_each(|id| self.begin(id));
        }
    }
}

impl Unit {
    /// Asks the actors to finish what they have in hand and to end.
    fn leave(&mut self) {
        self.leaving = true;
        self.restart_at = None;
        match &self.control {
            Some(control) if self.living > 0 => control.send_modify(|control| control.stop = true),
            _ => {
                self.living = 0;
                self.abandon();
            }
        }
    }

    fn abandon(&mut self) {
        if let Some(arbiter) = self.arbiter.take() {
            arbiter.stop();
        }
    }

    fn restart_after(&mut self, now: Instant) {
        self.abandon();
        self.restart_at = Some(self.budget.restart_at(now));
        self.places.iter().for_each(Place::restarting);
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.vitals.running();
        self.look(context);
        context.run_interval(EVERY, Self::look);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.place.stopped();
    }
}

/// Ends everything: batches in hand are finished. Answers how many units had not ended within the time.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct Drain {
    /// How long to wait.
    pub within: Duration,
}

impl Handler<Drain> for Supervisor {
    type Result = ResponseActFuture<Self, usize>;

    fn handle(&mut self, drain: Drain, context: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        self.units.values_mut().for_each(Unit::leave);
        let (sender, mut receiver) = watch::channel(self.units.len());
        context.run_interval(Duration::from_millis(50), move |actor, context| {
            actor.look(context);
            sender.send_replace(actor.units.len());
        });
        let waited = async move {
            let all = receiver.wait_for(|left| *left == 0);
            let _ = tokio::time::timeout(drain.within, all).await;
            *receiver.borrow()
        };
        Box::pin(waited.into_actor(self).map(|left, _, _| left))
    }
}

#[cfg(test)]
mod tests;
