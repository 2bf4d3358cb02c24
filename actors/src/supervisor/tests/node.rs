//! A node over a world in memory, whose drivers misbehave when a test says so.

use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use actix::{Actor as _, Addr};
use async_trait::async_trait;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    delivery::Limits,
    message::{Action, Generation, StreamId},
    placement::Assignment,
    ports::{Destination, EntryReader, EventLog, GroupReader, Housekeeping, Observe, World, WriteError},
    route::{DestinationSpec, RouteSpec, Topology},
    schema::TableSchema,
    status::{ActorHealth, ActorKind, StatusBoard},
    supervisor::Supervisor,
    testing::{MemoryStreams, MemoryTable, MemoryWorld},
    transaction::{Committed, LaneId, Statement, TakenOver, Transaction, WatermarkRow},
};

/// What a driver does instead of the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mischief {
    /// It panics with nothing done.
    Panic,
    /// It panics when all is done.
    PanicAfter,
    /// It takes its thread until it is released, then commits.
    Block,
}

/// A thread that a driver has taken.
#[derive(Clone, Default)]
pub(super) struct Blocked(Arc<(Mutex<(bool, bool)>, Condvar)>);

impl Blocked {
    fn block(&self) {
        let (state, changed) = &*self.0;
        let mut now = state.lock().unwrap();
        now.0 = true;
        while !now.1 {
            now = changed.wait(now).unwrap();
        }
    }

    /// Waits until a driver blocks.
    pub(super) async fn wait(&self) {
        until("a driver blocks", || self.0.0.lock().unwrap().0).await;
    }

    /// Lets it go on.
    pub(super) fn release(&self) {
        self.0.0.lock().unwrap().1 = true;
        self.0.1.notify_all();
    }
}

type Plans = Arc<Mutex<HashMap<Arc<str>, VecDeque<Mischief>>>>;

struct OddWorld {
    world: MemoryWorld,
    plans: Plans,
    blocked: Blocked,
}

impl World for OddWorld {
    fn log(&self, destination: &DestinationSpec) -> Box<dyn EventLog> {
        self.world.log(destination)
    }

    fn reader(&self, destination: &DestinationSpec) -> Box<dyn EntryReader> {
        self.world.reader(destination)
    }

    fn group(&self, destination: &DestinationSpec) -> Box<dyn GroupReader> {
        self.world.group(destination)
    }

    fn destination(&self, destination: &DestinationSpec) -> Box<dyn Destination> {
        let inner = self.world.destination(destination);
        Box::new(Odd { inner, id: destination.id.clone(), plans: self.plans.clone(), blocked: self.blocked.clone() })
    }

    fn housekeeping(&self) -> Box<dyn Housekeeping> {
        self.world.housekeeping()
    }

    fn observer(&self) -> Arc<dyn Observe> {
        self.world.observer()
    }
}

struct Odd {
    inner: Box<dyn Destination>,
    id: Arc<str>,
    plans: Plans,
    blocked: Blocked,
}

#[async_trait(?Send)]
impl Destination for Odd {
    async fn probe(&mut self) -> Result<(), WriteError> {
        self.inner.probe().await
    }

    async fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> Result<TakenOver, WriteError> {
        self.inner.take_over(installation, destination, owner).await
    }

    async fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError> {
        self.inner.begin_lane(lane, generation, owner, last_id).await
    }

    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        self.inner.watermark(lane, generation).await
    }

    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError> {
        self.inner.table(name).await
    }

    async fn write(&mut self, statements: &[Statement]) -> Result<Committed, WriteError> {
        let due = self.plans.lock().unwrap().get_mut(&self.id).and_then(VecDeque::pop_front);
        assert_ne!(due, Some(Mischief::Panic), "the test said so");
        self.inner.write(statements).await
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        let due = self.plans.lock().unwrap().get_mut(&self.id).and_then(VecDeque::pop_front);
        match due {
            Some(Mischief::Panic) => panic!("the test said so"),
            Some(Mischief::Block) => self.blocked.block(),
            Some(Mischief::PanicAfter) => {
                self.inner.commit(transaction).await?;
                panic!("the test said so");
            }
            None => {}
        }
        self.inner.commit(transaction).await
    }
}

/// A node.
pub(super) struct Node {
    pub(super) world: MemoryWorld,
    pub(super) supervisor: Addr<Supervisor>,
    pub(super) blocked: Blocked,
    plans: Plans,
    board: StatusBoard,
    topology: watch::Sender<Arc<Topology>>,
    assignment: watch::Sender<Assignment>,
}

impl Node {
    /// A node of its own world, whose clock runs.
    pub(super) fn start(destinations: Vec<DestinationSpec>) -> Self {
        let world = MemoryWorld::new();
        let streams = world.streams().clone();
        actix_rt::spawn(async move {
            let step = Duration::from_millis(20);
            let mut last = Instant::now();
            loop {
                tokio::time::sleep(step).await;
                streams.advance_clock(last.elapsed());
                last = Instant::now();
            }
        });
        Self::over(world, destinations)
    }

    /// Another node of the same world.
    pub(super) fn beside(first: &Self, destinations: Vec<DestinationSpec>) -> Self {
        Self::over(first.world.clone(), destinations)
    }

    fn over(world: MemoryWorld, destinations: Vec<DestinationSpec>) -> Self {
        let (plans, blocked, board) = (Plans::default(), Blocked::default(), StatusBoard::new());
        for id in ["a", "b"] {
            if world.database(id).journal().is_empty() {
                world.database(id).add_table(MemoryTable::of_text("cars", &[], &["id"]));
            }
        }
        let (topology, told) = watch::channel(made(destinations));
        let odd = OddWorld { world: world.clone(), plans: plans.clone(), blocked: blocked.clone() };
        let limits = Limits {
            write: Duration::from_millis(400),
            setup: Duration::from_secs(5),
            log: Duration::from_millis(500),
            lease: Duration::from_millis(600),
            block: Duration::from_millis(100),
            commands: Duration::from_millis(100),
            hung: Duration::from_millis(700),
            ..Limits::default()
        };
        let everything = ["a", "b"].map(Arc::from).into();
        let (assignment, assigned) = watch::channel(Assignment { mine: everything, ..Assignment::default() });
        let supervisor = Supervisor::new(Arc::new(odd), "node", told, assigned, limits, board.clone()).start();
        Self { world, supervisor, blocked, plans, board, topology, assignment }
    }

    pub(super) fn set(&self, destinations: Vec<DestinationSpec>) {
        self.topology.send_replace(made(destinations));
    }

    /// This node is to write these destinations and no other.
    pub(super) fn assign(&self, destinations: &[&str]) {
        let mine = destinations.iter().map(|id| Arc::from(*id)).collect();
        self.assignment.send_replace(Assignment { mine, ..Assignment::default() });
    }

    pub(super) fn set_version(&self, version: u64, destinations: Vec<DestinationSpec>) {
        let topology = made(destinations);
        self.topology.send_replace(Arc::new(Topology { version, ..(*topology).clone() }));
    }

    pub(super) fn streams(&self) -> &MemoryStreams {
        self.world.streams()
    }

    pub(super) fn lane(&self, destination: &str) -> LaneId {
        LaneId {
            installation: "inst".into(),
            destination: destination.into(),
            stream: "app".into(),
            part: "main".into(),
        }
    }

    /// Appends a record for each id.
    pub(super) fn send(&self, ids: Range<u32>) {
        for id in ids {
            self.streams().append_json("app", "cars", Action::Insert, &json!({"id": id.to_string()}));
        }
    }

    /// The driver of this destination does so at its next commit; several wait in line.
    pub(super) fn misbehave(&self, destination: &str, mischief: Mischief) {
        self.plans.lock().unwrap().entry(destination.into()).or_default().push_back(mischief);
    }

    /// Waits until so many rows are there.
    pub(super) async fn delivered(&self, destination: &str, rows: usize) {
        let database = self.world.database(destination);
        let what = format!("{rows} rows in {destination}");
        until(&what, || database.rows("cars").len() >= rows).await;
        assert_eq!(database.rows("cars").len(), rows, "nothing twice");
    }

    /// The ids in the table, in the order in which they were written.
    pub(super) fn ids(&self, destination: &str) -> Vec<u32> {
        let rows = self.world.database(destination).texts("cars").into_iter();
        rows.map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect()
    }

    /// How an actor does.
    pub(super) fn health(&self, kind: ActorKind, name: &str) -> ActorHealth {
        self.find(kind, name).expect("it is on the board")
    }

    fn find(&self, kind: ActorKind, name: &str) -> Option<ActorHealth> {
        self.board.snapshot().into_iter().find(|health| health.kind == kind && health.name == name)
    }

    /// What a destination shows.
    pub(super) fn shown(&self, name: &str) -> Value {
        self.find(ActorKind::Destination, name).map_or(Value::Null, |health| health.detail)
    }

    /// Waits until a destination shows this.
    pub(super) async fn detail(&self, name: &str, condition: impl Fn(&Value) -> bool) {
        let began = Instant::now();
        while !condition(&self.shown(name)) {
            let waited = began.elapsed() < Duration::from_secs(30);
            assert!(waited, "waited in vain: {:?}", self.find(ActorKind::Destination, name));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the supervisor shows this.
    pub(super) async fn supervisor_shows(&self, condition: impl Fn(&Value) -> bool) {
        let shown = || self.find(ActorKind::Supervisor, "supervisor").map_or(Value::Null, |health| health.detail);
        until("the supervisor shows it", || condition(&shown())).await;
    }

    /// Waits until an actor is off the board.
    pub(super) async fn gone(&self, kind: ActorKind, name: &str) {
        until("it is gone", || self.find(kind, name).is_none()).await;
    }
}

fn made(destinations: Vec<DestinationSpec>) -> Arc<Topology> {
    let destinations = destinations.into_iter().map(Arc::new).collect();
    Arc::new(Topology { version: 0, installation: "inst".into(), destinations })
}

/// A destination.
pub(super) fn spec(id: &str, routes: Vec<RouteSpec>) -> DestinationSpec {
    DestinationSpec {
        id: id.into(),
        name: id.into(),
        revision: 1,
        mode: Default::default(),
        node: None,
        by_hand: Default::default(),
        routes: routes.into_iter().map(Arc::new).collect(),
    }
}

/// The route of topic `cars` into table `cars` of this destination; without a key, so that what comes twice is seen.
pub(super) fn route(destination: &str) -> RouteSpec {
    serde_json::from_value(json!({
        "id": format!("route-{destination}"), "version": 1, "name": format!("cars-to-{destination}"),
        "application": "app", "topic": "cars", "destination": destination, "table": "cars",
    }))
    .unwrap()
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a test in an actix system of its own.
pub(super) fn in_system(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}
