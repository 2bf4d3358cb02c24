//! One run: nodes are started, disturbed for a while, then left in peace until everything is delivered.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use tidegate_actors::delivery::LeaseClock;

use super::{Handle, World, lane_texts};
use crate::{
    ledger::{Kind, Violation},
    mistakes::Mistake,
    node,
    ports::Caller,
};

/// Steps without faults, after which everything must be delivered.
const PEACE: u64 = 25_000;

/// What a run came to.
pub(crate) struct Run {
    pub(crate) steps: u64,
    pub(crate) written: usize,
    pub(crate) violation: Option<Violation>,
}

struct Task {
    id: usize,
    node: usize,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

struct Nodes {
    world: Handle,
    tasks: Vec<Task>,
    started: usize,
    epoch: Instant,
}

impl Nodes {
    fn start(&mut self, node: usize) {
        let (destinations, streams) = {
            let world = self.world.borrow();
            (world.databases.len(), world.redis.streams.len())
        };
        for destination in 0..destinations {
            let clock: Rc<Cell<u64>> = Rc::clone(&self.world.borrow().clock_ms);
            let epoch = self.epoch;
            let lease = LeaseClock::counting(move || epoch + Duration::from_millis(clock.get()));
            let (steps, side) = (self.caller(node), self.caller(node));
            let lanes = lane_texts(destination, streams);
            self.spawn(&steps, Box::pin(node::run(steps.clone(), destination, lanes, lease.clone())));
            self.spawn(&side, Box::pin(node::keep(side.clone(), lease)));
        }
    }

    fn caller(&mut self, node: usize) -> Caller {
        self.started += 1;
        Caller { world: Rc::clone(&self.world), node, task: self.started }
    }

    fn spawn(&mut self, caller: &Caller, future: Pin<Box<dyn Future<Output = ()>>>) {
        self.tasks.push(Task { id: caller.task, node: caller.node, future });
        self.world.borrow_mut().wake(caller.task);
    }

    fn poll(&mut self, id: usize) {
        if let Some(task) = self.tasks.iter_mut().find(|task| task.id == id) {
            let _ = task.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    fn kill(&mut self, node: usize) {
        self.tasks.retain(|task| task.node != node);
    }

    fn step(&mut self) {
        let polled = {
            let mut killed = Vec::new();
            let world = &mut *self.world.borrow_mut();
            world.step += 1;
            let passed = world.chance.below(40);
            world.clock_ms.set(world.clock_ms.get() + passed);
            if !world.calm {
                let faults = world.weather.faults;
                if world.chance.happens(faults)
                    && let Some(fault) = world.pick_fault()
                {
                    world.strike(fault, &mut killed);
                } else if world.chance.happens(150) {
                    world.everyday();
                }
            } else if world.chance.happens(30) {
                world.trim();
            }
            let back = (0..world.nodes.len()).find(|&node| world.nodes[node].gone);
            if !killed.is_empty() {
                Some(Next::Kill(killed))
            } else if let Some(node) = back.filter(|_| world.calm || world.chance.happens(30)) {
                (world.nodes[node].gone, world.nodes[node].paused) = (false, false);
                world.trace(|| format!("n{node} starts"));
                Some(Next::Start(node))
            } else {
                world.choose(&self.tasks).map(Next::Poll)
            }
        };
        match polled {
            Some(Next::Kill(nodes)) => nodes.into_iter().for_each(|node| self.kill(node)),
            Some(Next::Start(node)) => self.start(node),
            Some(Next::Poll(task)) => self.poll(task),
            None => {}
        }
    }
}

enum Next {
    Kill(Vec<usize>),
    Start(usize),
    Poll(usize),
}

impl World {
    /// A task that goes on, or a call that is served.
    fn choose(&mut self, tasks: &[Task]) -> Option<usize> {
        let awake = |id: usize| tasks.iter().any(|task| task.id == id && !self.nodes[task.node].paused);
        let able: Vec<usize> = self.ready.iter().copied().filter(|id| awake(*id)).collect();
        let choice = self.chance.place(able.len() + self.pending.len());
        match able.get(choice) {
            Some(&id) => {
                self.ready.retain(|other| *other != id);
                Some(id)
            }
            None if !self.pending.is_empty() => {
                self.serve(choice - able.len());
                None
            }
            None => None,
        }
    }
}

/// Runs one seed, with a mistake, in the weather in which `like` shows.
pub(crate) fn run(seed: u64, mistake: Mistake, like: Mistake, tracing: bool) -> Run {
    let world = Rc::new(RefCell::new(World::new(seed, mistake, like, tracing)));
    let count = world.borrow().nodes.len();
    let mut nodes = Nodes { world: Rc::clone(&world), tasks: Vec::new(), started: 0, epoch: Instant::now() };
    (0..count).for_each(|node| nodes.start(node));
    let broken = || world.borrow().ledger.violation.is_some();
    let storm = world.borrow().weather.storm;
    while world.borrow().step < storm && !broken() {
        nodes.step();
    }
    world.borrow_mut().calm_down();
    let mut quiet = 0;
    while !broken() && quiet < 5 {
        (0..16).for_each(|_| nodes.step());
        quiet = if world.borrow().satisfied() { quiet + 1 } else { 0 };
        if world.borrow().step > storm + PEACE {
            world.borrow_mut().not_delivered();
        }
    }
    let result = world.borrow();
    let written = result.ledger.records.iter().enumerate();
    let written = written.filter(|(record, _)| result.databases.iter().any(|database| database.data.has(*record)));
    Run { steps: result.step, written: written.count(), violation: result.ledger.violation.clone() }
}

impl World {
    fn not_delivered(&mut self) {
        self.owes();
        for at in 0..self.databases.len() {
            let done = self.databases[at].data.is_plain() && self.nothing_asked(at);
            let data = &self.databases[at].data;
            let gap = self.ledger.gap(at, &self.redis, data).is_some();
            let held = self.held[at] && (gap || self.ledger.may_be_gap(at, &self.redis, data));
            if !done && !held {
                self.ledger.violate(Kind::Stall, format!("side rows or commands of destination {at} never end"));
            }
        }
        for at in 0..self.databases.len() {
            let data = &self.databases[at].data;
            if let Some(record) = self.ledger.gap(at, &self.redis, data).filter(|_| !self.held[at]) {
                let what = format!("record {record} is gone from the stream, and destination {at} does not know");
                self.ledger.violate(Kind::Lost, what);
            }
        }
    }
}
