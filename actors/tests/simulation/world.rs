//! The simulated world and its scheduler: which waiting call is carried out next, what becomes of it, and which fault
//! strikes in between. Everything follows from the seed.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use tidegate_actors::{
    message::StreamId,
    ports::Command,
    route::{DestinationSpec, RouteSpec, Start},
    schema::{ColumnSchema, ColumnType, TableSchema},
    transaction::LaneId,
};

use crate::{chance::Chance, database::Data, ledger::Ledger, mistakes::Mistake, redis::Redis};

pub(crate) const INSTALLATION: &str = "inst";
pub(crate) const TOPICS: [&str; 3] = ["cars", "shops", "parts"];
/// The topic whose route is added on the way.
pub(crate) const ADDED: usize = 2;
pub(crate) const LEASE_MS: u64 = 3_000;
const KEYS: usize = 3;
const MOST_RECORDS: usize = 60;
/// Steps with faults, in most weathers.
const STORM: u64 = 350;

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Redis,
    Database(usize),
    /// A wait.
    Clock,
}

/// Something that waits to be carried out.
pub(crate) trait Call {
    /// Tells the caller that it came to nothing; `cut_off` where that is not certain.
    fn fail(&self, cut_off: bool);
    /// Does it, and says so where there is an answer.
    fn carry_out(self: Box<Self>, world: &mut World, answer: bool);
}

struct Pending {
    node: usize,
    task: usize,
    server: Server,
    what: String,
    call: Box<dyn Call>,
    /// Whether somebody still waits for the answer.
    heard: bool,
}

/// One database with its backup.
#[derive(Default)]
pub(crate) struct Database {
    pub(crate) data: Data,
    /// Tables that do not fit their routes just now.
    pub(crate) unfit: BTreeSet<String>,
    backup: Option<Data>,
    down: bool,
    /// Nodes whose connection broke.
    broken: Vec<usize>,
}

#[derive(Clone, Default)]
struct Node {
    version: u64,
    paused: bool,
    gone: bool,
}

/// How likely what is, in this run: each seed has faults of its own.
#[derive(Clone, Debug, Default)]
struct Weather {
    /// Calls in a thousand that fail in some way.
    calls: u64,
    /// Steps in a thousand with a fault of a server or node.
    faults: u64,
    /// Which of them, by weight.
    weights: [u64; Fault::ALL.len()],
    /// Steps with faults.
    storm: u64,
    /// Messages that the retention keeps.
    keep: usize,
    /// Whether a route is added on the way.
    adds_route: bool,
    /// Whether it begins below its lane.
    below: bool,
    /// Whether a second route leads to each destination from the start.
    two_routes: bool,
    /// Whether a new version of the registry is raised long after some nodes have learned of it.
    raises_late: bool,
    /// Whether operators have something sent again.
    replays: bool,
    /// Whether operators give backlogs up.
    gives_up: bool,
    /// Whether databases stand behind a proxy: a restore breaks no connection.
    proxied: bool,
}

impl Weather {
    /// Some mistakes need two faults in a row: these then strike often.
    fn turn(&mut self, like: Mistake) {
        let often: &[Fault] = match like {
            Mistake::AdvanceUnchecked => &[Fault::Restore, Fault::TimeJump, Fault::Pause],
            Mistake::ClaimBeforeFence => &[Fault::Restore, Fault::RedisRestart],
            Mistake::MarkAboveWhatWent => &[Fault::Restore],
            Mistake::NoOwner => &[Fault::Restore, Fault::Failover, Fault::Pause, Fault::TimeJump],
            Mistake::ReadIgnoresVersion => &[Fault::RedisFull],
            Mistake::SideOpenedApart => &[Fault::Table, Fault::Crash],
            Mistake::SideUnlocked => &[Fault::Table, Fault::Restore],
            Mistake::PositionWithoutSides => &[Fault::Table],
            Mistake::DoneForgotten | Mistake::DoneUnheard => &[Fault::Crash, Fault::TimeJump],
            Mistake::BackfillNotKept => &[Fault::RedisFull],
            _ => return,
        };
        self.weights = Default::default();
        often.iter().for_each(|fault| self.weights[*fault as usize] = 1);
        let below = matches!(like, Mistake::DoneForgotten | Mistake::DoneUnheard | Mistake::BackfillNotKept);
        (self.faults, self.keep, self.adds_route) = (40, 0, like == Mistake::ReadIgnoresVersion || below);
        // Nothing stands beside the main rows where that is not what shows it.
        (self.two_routes, self.replays, self.gives_up) = (often.contains(&Fault::Table), false, false);
        (self.below, self.keep) = (below, if below { 8 } else { 0 });
        self.raises_late = like == Mistake::DoneUnheard;
        if matches!(like, Mistake::ClaimBeforeFence | Mistake::NoOwner) {
            // A fault must fall into a short moment of a take-over, and nothing shows before something is written again: few
            // faults, then, for a long time, and none that begins the take-over anew by itself.
            (self.faults, self.calls, self.storm, self.proxied) = (20, 0, 2 * STORM, true);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Crash,
    Pause,
    TimeJump,
    RedisRestart,
    Failover,
    RedisEmptied,
    RedisFlushed,
    StreamDeleted,
    RedisFull,
    RedisDown,
    DatabaseRestart,
    DatabaseDown,
    Restore,
    Table,
}

impl Fault {
    const ALL: [Self; 14] = [
        Self::Crash,
        Self::Pause,
        Self::TimeJump,
        Self::RedisRestart,
        Self::Failover,
        Self::RedisEmptied,
        Self::RedisFlushed,
        Self::StreamDeleted,
        Self::RedisFull,
        Self::RedisDown,
        Self::DatabaseRestart,
        Self::DatabaseDown,
        Self::Restore,
        Self::Table,
    ];
}

pub(crate) type Handle = Rc<RefCell<World>>;

/// Everything there is, but for the nodes' own memory.
pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) mistake: Mistake,
    pub(crate) redis: Redis,
    /// What the replica has: an earlier state, and the next record at that time.
    replica: (Redis, usize),
    pub(crate) databases: Vec<Database>,
    pub(crate) ledger: Ledger,
    /// By destination: whether its owner says that it is held.
    pub(crate) held: Vec<bool>,
    pending: Vec<Pending>,
    ready: Vec<usize>,
    nodes: Vec<Node>,
    owners: BTreeMap<usize, String>,
    names: BTreeMap<String, String>,
    specs: Vec<Vec<Arc<DestinationSpec>>>,
    published: u64,
    route_added: u8,
    clock_ms: Rc<Cell<u64>>,
    redis_behind_ms: u64,
    redis_down: bool,
    redis_full: bool,
    producer_knows: Vec<u64>,
    cut_later: Option<(usize, StreamId)>,
    tokens: u64,
    weather: Weather,
    calm: bool,
    step: u64,
    tracing: bool,
}

impl World {
    /// A world in which `mistake` is made, with the weather in which `like` shows.
    pub(crate) fn new(seed: u64, mistake: Mistake, like: Mistake, tracing: bool) -> Self {
        let mut chance = Chance::new(seed);
        let streams = 1 + usize::from(chance.happens(250));
        let destinations = 1 + usize::from(chance.happens(350));
        let nodes = 2 + usize::from(chance.happens(250));
        let mut weather = Weather {
            calls: [0, 30, 100, 250][chance.place(4)],
            faults: [5, 15, 30, 60][chance.place(4)],
            storm: STORM,
            keep: [0, 0, 2, 8][chance.place(4)],
            adds_route: chance.happens(300),
            ..Weather::default()
        };
        if chance.happens(300) {
            for weight in &mut weather.weights {
                *weight = if chance.happens(450) { 1 + chance.below(4) } else { 0 };
            }
        } else {
            // A few kinds of fault, often: what takes two of them in a row is found sooner.
            weather.faults = 40 + chance.below(60);
            for _ in 0..3 {
                weather.weights[chance.place(Fault::ALL.len())] = 1 + chance.below(3);
            }
        }
        (weather.two_routes, weather.below) = (chance.happens(500), chance.happens(500));
        weather.replays = chance.happens(250);
        weather.gives_up = chance.happens(200);
        if weather.two_routes && chance.happens(300) {
            weather.weights[Fault::Table as usize] += 2;
        }
        weather.turn(like);
        let topics = 1 + usize::from(weather.two_routes);
        let mut world = Self {
            chance,
            mistake,
            redis: Redis { replid: 1, streams: vec![Default::default(); streams] },
            replica: Default::default(),
            databases: (0..destinations).map(|_| Database::default()).collect(),
            ledger: Ledger::new(destinations, streams),
            held: vec![false; destinations],
            pending: Vec::new(),
            ready: Vec::new(),
            nodes: vec![Node { version: 1, ..Node::default() }; nodes],
            owners: BTreeMap::new(),
            names: BTreeMap::new(),
            specs: (1..=2).map(|version| specs(version, destinations, streams, topics)).collect(),
            published: 1,
            route_added: 0,
            clock_ms: Rc::new(Cell::new(10_000_000)),
            redis_behind_ms: 0,
            redis_down: false,
            redis_full: false,
            producer_knows: vec![0; streams],
            cut_later: None,
            tokens: 0,
            weather,
            calm: false,
            step: 0,
            tracing,
        };
        for stream in 0..streams {
            world.ensure(stream);
            for destination in 0..destinations {
                for topic in 0..topics {
                    world.redis.streams[stream].register(&route_id(destination, stream, topic), destination);
                    let promise = crate::ledger::Promise { destination, stream, topic, from: 0 };
                    world.ledger.promises.push(promise);
                }
            }
            world.redis.streams[stream].version = 1;
        }
        world.replica = (world.redis.clone(), 0);
        world
    }

    pub(crate) fn trace(&mut self, what: impl FnOnce() -> String) {
        if self.tracing {
            let mut text = what();
            for (token, name) in &self.names {
                text = text.replace(token, name);
            }
            println!("{:>5} {:>8} ms  {text}", self.step, self.clock_ms.get() - 10_000_000);
        }
    }

    pub(crate) fn redis_clock(&self) -> u64 {
        self.clock_ms.get() - self.redis_behind_ms
    }

    pub(crate) fn token(&mut self, kind: &str) -> String {
        self.tokens += 1;
        format!("{kind}{}", self.tokens)
    }

    pub(crate) fn ensure(&mut self, stream: usize) {
        let token = self.token("g");
        let (replid, mistake) = (self.redis.replid, self.mistake);
        self.redis.streams[stream].ensure(replid, &token, mistake);
    }

    /// What a node knows of the registry.
    pub(crate) fn known(&self, node: usize, destination: usize) -> (u64, Arc<DestinationSpec>) {
        let version = self.nodes[node].version;
        (version, Arc::clone(&self.specs[version as usize - 1][destination]))
    }

    /// Random tokens are called by their order in the trace.
    pub(crate) fn own(&mut self, task: usize, owner: &str) {
        self.owners.insert(task, owner.into());
    }

    pub(crate) fn owner_of(&self, task: usize) -> String {
        self.owners.get(&task).cloned().unwrap_or_default()
    }

    pub(crate) fn submit(
        &mut self,
        node: usize,
        task: usize,
        server: Server,
        what: impl FnOnce() -> String,
        call: Box<dyn Call>,
    ) {
        let what = if self.tracing { what() } else { String::new() };
        self.pending.push(Pending { node, task, server, what, call, heard: true });
    }

    fn wake(&mut self, task: usize) {
        if !self.ready.contains(&task) {
            self.ready.push(task);
        }
    }

    /// Carries out, refuses or forgets one waiting call.
    fn serve(&mut self, place: usize) {
        let Pending { node, task, server, what, call, heard } = self.pending.swap_remove(place);
        if server == Server::Clock {
            call.carry_out(self, true);
            return self.wake(task);
        }
        let away = match server {
            Server::Redis => self.redis_down,
            Server::Database(at) => {
                let broken = &mut self.databases[at].broken;
                let cut = broken.iter().position(|cut| *cut == node).map(|found| broken.swap_remove(found)).is_some();
                cut || self.databases[at].down
            }
            Server::Clock => false,
        };
        if away {
            self.trace(|| format!("n{node} {what}: away"));
            if heard {
                let known = self.chance.happens(600);
                call.fail(known);
                self.wake(task);
            }
            return;
        }
        let fails = !self.calm && heard && self.chance.happens(self.weather.calls);
        match if fails { self.chance.below(4) } else { 9 } {
            0 => {
                self.trace(|| format!("n{node} {what}: refused"));
                call.fail(false);
            }
            1 => {
                self.trace(|| format!("n{node} {what}: never arrives"));
                let known = self.chance.happens(600);
                call.fail(known);
            }
            2 => {
                self.trace(|| format!("n{node} {what}: no answer in time, still under way"));
                let known = self.chance.happens(600);
                call.fail(known);
                self.pending.push(Pending { node, task, server, what, call, heard: false });
            }
            3 => {
                self.trace(|| format!("n{node} {what}: done, and the answer is lost"));
                call.carry_out(self, false);
            }
            _ => {
                self.trace(|| format!("n{node} {what}{}", if heard { "" } else { ": long given up, done now" }));
                call.carry_out(self, true);
            }
        }
        if heard {
            self.wake(task);
        }
    }

    /// Everything under way to a server is cut off: nothing of it arrives any more.
    fn cut_off(&mut self, server: Server) {
        let (cut, rest): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|pending| pending.server == server);
        self.pending = rest;
        for pending in cut.into_iter().filter(|pending| pending.heard) {
            let known = self.chance.happens(600);
            pending.call.fail(known);
            self.wake(pending.task);
        }
        if let Server::Database(at) = server {
            self.databases[at].broken = (0..self.nodes.len()).collect();
        }
    }

    /// The everyday: records, trims, replication, backups, learning.
    fn everyday(&mut self) {
        if self.weather.adds_route && self.chance.happens(100) {
            return self.add_route();
        }
        if self.weather.replays && self.chance.happens(60) {
            return self.send_again();
        }
        if self.weather.gives_up && self.chance.happens(40) {
            return self.give_up();
        }
        match self.chance.below(20) {
            0..=9 => self.append(),
            10..=12 => self.trim(),
            13..=14 => self.replicate(),
            15 | 17 => {
                let at = self.chance.place(self.databases.len());
                if self.databases[at].data.bind.is_some() {
                    self.trace(|| format!("d{at} is backed up"));
                    self.databases[at].backup = Some(self.databases[at].data.clone());
                }
            }
            16 => {
                let node = self.chance.place(self.nodes.len());
                if self.nodes[node].version != self.published {
                    self.trace(|| format!("n{node} learns of the new route"));
                    self.nodes[node].version = self.published;
                }
            }
            18 => self.restore_registry(),
            _ => {}
        }
    }

    fn append(&mut self) {
        if self.redis_down || self.redis_full || self.ledger.records.len() >= MOST_RECORDS {
            return;
        }
        let stream = self.chance.place(self.redis.streams.len());
        for _ in 0..1 + self.chance.below(3) {
            let often = if self.weather.two_routes { 1 } else { 0 };
            let topic = [0, 0, 0, 0, 0, often, often, 1, ADDED, ADDED][self.chance.place(10)];
            self.append_to(stream, topic);
        }
    }

    fn append_to(&mut self, stream: usize, topic: usize) {
        let sure = self.producer_knows[stream] == self.redis.replid && self.redis.streams[stream].exists;
        if !sure && (self.mistake != Mistake::AppendWithoutGeneration || !self.redis.streams[stream].exists) {
            self.ensure(stream);
        }
        self.producer_knows[stream] = self.redis.replid;
        let key = self.chance.place(KEYS);
        let record = self.ledger.take(stream, topic, key);
        let clock = self.redis_clock();
        let id = self.redis.streams[stream].add(clock, record);
        self.trace(|| format!("record {record} ({}, key {key}) is taken into s{stream} as {id}", TOPICS[topic]));
    }

    fn trim(&mut self) {
        if self.redis_down {
            return;
        }
        if let Some((stream, limit)) = self.cut_later.take() {
            return self.cut(stream, limit);
        }
        let (stream, node) = (self.chance.place(self.redis.streams.len()), self.chance.place(self.nodes.len()));
        let registered: Vec<usize> = (0..self.databases.len()).collect();
        let (version, keep, replid) = (self.nodes[node].version, self.weather.keep, self.redis.replid);
        let limit = self.redis.streams[stream].trim_limit(replid, &registered, version, keep, self.mistake);
        match limit {
            Some(limit) if self.mistake == Mistake::TrimInTwoSteps => self.cut_later = Some((stream, limit)),
            Some(limit) => self.cut(stream, limit),
            None => {}
        }
    }

    fn cut(&mut self, stream: usize, limit: StreamId) {
        let gone = self.redis.streams[stream].cut(limit, self.mistake);
        if !gone.is_empty() {
            self.trace(|| format!("s{stream} is trimmed below {limit}: records {gone:?} go"));
            let databases: Vec<&Data> = self.databases.iter().map(|database| &database.data).collect();
            self.ledger.trimmed(&gone, &databases);
        }
    }

    fn replicate(&mut self) {
        if !self.redis_down {
            self.trace(|| "the replica catches up".into());
            self.replica = (self.redis.clone(), self.ledger.records.len());
        }
    }

    /// A route is added: registered, published, then the version is raised; other things happen in between.
    fn add_route(&mut self) {
        if self.redis_down {
            return;
        }
        match self.route_added {
            // An emptied Redis has lost the registry: nothing can be added before it is restored.
            0 if self.redis.streams[0].starts.iter().any(|(route, _, _)| *route == route_id(0, 0, 0)) => {
                self.ensure(0);
                let below = self.weather.below && self.register_below();
                if below || self.redis.streams[0].register(&route_id(0, 0, ADDED), 0) {
                    self.trace(|| "a route of topic parts is registered on s0 for d0".into());
                    self.route_added = 1;
                }
            }
            1 => {
                self.trace(|| "the new route is published".into());
                (self.published, self.route_added) = (2, 2);
            }
            2 if self.weather.raises_late && !self.calm => {}
            2 => {
                self.trace(|| "the new version is raised".into());
                self.raise_version();
                self.route_added = 3;
            }
            _ => {}
        }
    }

    /// Everything from its start on is promised to a route that begins below its lane, at once.
    fn register_below(&mut self) -> bool {
        let stream = &self.redis.streams[0];
        let retained = stream.entries.len();
        let place = self.chance.place(retained + 1);
        let id = if place == 0 { stream.trimmed } else { stream.entries[place - 1].id };
        if !self.redis.streams[0].register_below(&route_id(0, 0, ADDED), 0, id) {
            return false;
        }
        self.trace(|| format!("it begins after {id}"));
        let from = self.redis.streams[0].entries.get(place).map_or(self.ledger.records.len(), |item| item.record);
        self.ledger.promises.push(crate::ledger::Promise { destination: 0, stream: 0, topic: ADDED, from });
        self.ledger.catches_up = true;
        true
    }

    /// An operator has a route sent again, up to where it is, or up to an entry.
    fn send_again(&mut self) {
        if self.redis_down {
            return;
        }
        let (at, stream) = (self.chance.place(self.databases.len()), self.chance.place(self.redis.streams.len()));
        let topic = self.chance.place(1 + usize::from(self.weather.two_routes));
        let of = &self.redis.streams[stream];
        if of.entries.is_empty() || of.commands.get(&at).is_some_and(|waiting| waiting.len() > 1) {
            return;
        }
        let first = self.chance.place(of.entries.len());
        let last = first + self.chance.place(of.entries.len() - first);
        let bounded = self.chance.happens(400);
        let of = &self.redis.streams[stream];
        let from = if first == 0 { of.trimmed } else { of.entries[first - 1].id };
        let (Some(from), Some(to)) = (of.position_of(from), of.position_of(of.entries[last].id)) else { return };
        let wanted = of.entries[first..].iter().take_while(|item| !bounded || item.id <= to.id);
        let data = &self.databases[at].data;
        let left = wanted
            .map(|item| item.record)
            .filter(|record| self.ledger.records[*record].topic == topic && data.has(*record));
        let left: Vec<usize> = left.collect();
        let token = self.token("again");
        self.trace(|| format!("d{at} is to be sent {left:?} again, as {token}"));
        self.ledger.replay(at, stream, topic, &token, left);
        let route = route_id(at, stream, topic);
        let command = Command::Replay { token, route, from, to: bounded.then_some(to) };
        self.redis.streams[stream].commands.entry(at).or_default().push(command);
    }

    /// An operator gives up what waits for a destination up to an entry: the command and the position in one script.
    fn give_up(&mut self) {
        if self.redis_down {
            return;
        }
        let (at, stream) = (self.chance.place(self.databases.len()), self.chance.place(self.redis.streams.len()));
        let of = &self.redis.streams[stream];
        if of.entries.is_empty() || of.commands.get(&at).is_some_and(|waiting| waiting.len() > 1) {
            return;
        }
        let place = self.chance.place(of.entries.len());
        let item = self.redis.streams[stream].entries[place];
        let Some(to) = self.redis.streams[stream].position_of(item.id) else { return };
        let token = self.token("given");
        self.trace(|| format!("d{at} is given up to record {} of s{stream}, as {token}", item.record));
        self.ledger.give_up(at, stream, item.record);
        let command = Command::Abandon { token, to: to.clone(), by: "operator".into(), at_ms: 1, reason: None };
        self.redis.streams[stream].commands.entry(at).or_default().push(command);
        self.redis.streams[stream].raise(at, to);
    }

    /// From now on the added route must get its records.
    fn raise_version(&mut self) {
        let from = self.ledger.records.len();
        self.redis.streams.iter_mut().for_each(|stream| stream.version = stream.version.max(2));
        if self.ledger.promises.iter().all(|promise| promise.topic != ADDED) {
            self.ledger.promises.push(crate::ledger::Promise { destination: 0, stream: 0, topic: ADDED, from });
        }
    }

    /// A registry that was lost with an emptied Redis is written back: its routes begin where the streams do.
    fn restore_registry(&mut self) {
        if self.redis_down {
            return;
        }
        for stream in 0..self.redis.streams.len() {
            self.ensure(stream);
            for destination in 0..self.databases.len() {
                let now = self.mistake == Mistake::RegistryRestoredAtNow;
                for topic in 0..1 + usize::from(self.weather.two_routes) {
                    self.redis.streams[stream].register_again(&route_id(destination, stream, topic), destination, now);
                }
            }
            let version = self.redis.streams[stream].version;
            self.redis.streams[stream].version = version.max(1);
        }
        if self.route_added == 3 {
            self.raise_version();
        }
    }

    /// Redis has gone back, and with it what was registered last.
    fn redis_went_back(&mut self, before: usize) {
        self.ledger.redis_lost(before);
        let added = route_id(0, 0, ADDED);
        let known = self.redis.streams[0].starts.iter().any(|(route, _, _)| *route == added);
        // A route that begins below its lane is promised everything from its registration on, others from the version on.
        let promised = known && self.redis.streams[0].backfills.contains_key(&added);
        if !promised && (self.redis.streams[0].version < 2 || self.ledger.catches_up) {
            self.ledger.promises.retain(|promise| promise.topic != ADDED);
        }
        self.ledger.replays_lost(&self.redis);
        self.replica = (self.redis.clone(), self.ledger.records.len());
    }

    fn redis_starts(&mut self) {
        self.cut_off(Server::Redis);
        self.redis.replid += 1_000;
        self.redis.replid += self.tokens;
    }

    fn strike(&mut self, fault: Fault, tasks: &mut Vec<usize>) {
        match fault {
            Fault::Crash => {
                let node = self.chance.place(self.nodes.len());
                if std::mem::replace(&mut self.nodes[node].gone, true) {
                    return;
                }
                self.trace(|| format!("n{node} is killed"));
                tasks.push(node);
                let mut chance = self.chance.clone();
                self.pending.retain_mut(|pending| {
                    if pending.node != node {
                        return true;
                    }
                    pending.heard = false;
                    pending.server != Server::Clock && chance.happens(700)
                });
                self.chance = chance;
            }
            Fault::Pause => {
                let node = self.chance.place(self.nodes.len());
                let paused = !self.nodes[node].paused;
                self.trace(|| format!("n{node} {}", if paused { "is paused" } else { "is woken" }));
                self.nodes[node].paused = paused;
            }
            Fault::TimeJump => {
                let by = 1_000 + self.chance.below(4_000);
                self.trace(|| format!("{by} ms pass"));
                self.clock_ms.set(self.clock_ms.get() + by);
            }
            Fault::RedisRestart => {
                self.trace(|| "Redis restarts".into());
                self.redis_starts();
            }
            Fault::Failover => {
                let (replica, before) = self.replica.clone();
                let replid = self.redis.replid;
                self.redis = Redis { replid, ..replica };
                self.redis_starts();
                self.redis_behind_ms = self.chance.below(6_000);
                self.trace(|| format!("Redis fails over to a replica that has the records before {before}"));
                self.redis_went_back(before);
            }
            Fault::RedisEmptied => {
                self.trace(|| "Redis restarts empty".into());
                self.redis.streams.iter_mut().for_each(|stream| *stream = Default::default());
                self.redis_starts();
                self.redis_behind_ms = self.chance.below(6_000);
                self.redis_went_back(0);
            }
            Fault::RedisFlushed => {
                self.trace(|| "Redis is emptied by hand".into());
                self.redis.streams.iter_mut().for_each(|stream| *stream = Default::default());
                self.redis_went_back(0);
            }
            Fault::StreamDeleted => {
                let at = self.chance.place(self.redis.streams.len());
                self.trace(|| format!("s{at} is deleted by hand"));
                let stream = &mut self.redis.streams[at];
                (stream.exists, stream.last) = (false, StreamId::ZERO);
                stream.entries.clear();
                self.redis_behind_ms = self.chance.below(6_000);
                self.ledger.stream_lost(at);
                // What was deleted comes back from nowhere: the deletion has reached the replica.
                self.replica = (self.redis.clone(), self.ledger.records.len());
            }
            Fault::RedisFull => {
                self.redis_full = !self.redis_full;
                let full = self.redis_full;
                self.trace(|| format!("Redis {}", if full { "is full" } else { "has room again" }));
            }
            Fault::RedisDown => {
                self.redis_down = !self.redis_down;
                let down = self.redis_down;
                self.trace(|| format!("Redis {}", if down { "is cut off" } else { "can be reached again" }));
            }
            Fault::DatabaseRestart => {
                let at = self.chance.place(self.databases.len());
                self.trace(|| format!("d{at} restarts"));
                self.cut_off(Server::Database(at));
            }
            Fault::DatabaseDown => {
                let at = self.chance.place(self.databases.len());
                self.databases[at].down = !self.databases[at].down;
                let down = self.databases[at].down;
                self.trace(|| format!("d{at} {}", if down { "goes down" } else { "is up again" }));
                self.cut_off(Server::Database(at));
            }
            Fault::Table => self.turn_table(),
            Fault::Restore => {
                let at = self.chance.place(self.databases.len());
                if let Some(backup) = self.databases[at].backup.clone() {
                    self.trace(|| format!("d{at} is restored from its backup"));
                    self.databases[at].data = backup;
                    // Behind a proxy no connection breaks.
                    if self.chance.happens(700) && !self.weather.proxied {
                        self.cut_off(Server::Database(at));
                    }
                    self.ledger.restored(at);
                }
            }
        }
    }

    /// A table is dropped or altered, or put right again.
    fn turn_table(&mut self) {
        let at = self.chance.place(self.databases.len());
        let stream = self.chance.place(self.redis.streams.len());
        let name = format!("{}{stream}", TOPICS[self.chance.place(TOPICS.len())]);
        let unfit = &mut self.databases[at].unfit;
        let fits = unfit.remove(&name);
        if !fits {
            unfit.insert(name.clone());
        }
        self.trace(|| format!("table {name} of d{at} {}", if fits { "fits again" } else { "does not fit any more" }));
    }

    fn pick_fault(&mut self) -> Option<Fault> {
        let sum: u64 = self.weather.weights.iter().sum();
        let mut at = self.chance.below(sum);
        let weighted = Fault::ALL.iter().zip(self.weather.weights);
        for (fault, weight) in weighted {
            if at < weight {
                return Some(*fault);
            }
            at -= weight;
        }
        None
    }

    /// Faults end, and what was begun is finished.
    fn calm_down(&mut self) {
        self.calm = true;
        (self.redis_down, self.redis_full) = (false, false);
        self.databases.iter_mut().for_each(|database| {
            database.down = false;
            database.unfit.clear();
        });
        while self.route_added == 1 || self.route_added == 2 {
            self.add_route();
        }
        let published = self.published;
        self.nodes.iter_mut().for_each(|node| (node.paused, node.version) = (false, published));
        self.trace(|| "no more faults".into());
        // One more record for each lane: a watermark that has gone back behind a proxy is only found by writing.
        for stream in 0..self.redis.streams.len() {
            self.append_to(stream, 0);
        }
    }

    /// Whether every destination has what it must have, or is held for a true gap.
    fn satisfied(&self) -> bool {
        (0..self.databases.len()).all(|at| {
            let data = &self.databases[at].data;
            match self.ledger.gap(at, &self.redis, data) {
                Some(_) => self.held[at],
                None if self.held[at] && self.ledger.may_be_gap(at, &self.redis, data) => true,
                None => self.ledger.owed(at, &self.redis, data).is_none() && data.is_plain() && self.nothing_asked(at),
            }
        })
    }

    fn nothing_asked(&self, at: usize) -> bool {
        self.redis.streams.iter().all(|stream| stream.commands.get(&at).is_none_or(Vec::is_empty))
    }
}

mod running;
pub(crate) use running::{Run, run};

/// A table as the databases describe it.
pub(crate) fn table(name: &str) -> TableSchema {
    let column = |name: &str, nullable| ColumnSchema {
        name: name.into(),
        declared: "bigint".into(),
        kind: ColumnType::Int { min: i128::from(i64::MIN), max: i128::from(i64::MAX) },
        nullable,
        has_default: false,
        default: None,
        generated: false,
    };
    TableSchema {
        schema: String::new(),
        name: name.into(),
        columns: vec![column("id", false), column("v", true)],
        unique_keys: vec![vec!["id".into()]],
    }
}

fn route_id(destination: usize, stream: usize, topic: usize) -> String {
    format!("r{destination}{stream}{topic}")
}

/// The destinations at one version of the registry: the second has one more route.
fn specs(version: u64, destinations: usize, streams: usize, topics: usize) -> Vec<Arc<DestinationSpec>> {
    let route = |destination: usize, stream: usize, topic: usize| {
        Arc::new(RouteSpec {
            id: route_id(destination, stream, topic),
            version: 1,
            name: route_id(destination, stream, topic),
            application: format!("s{stream}"),
            topic: TOPICS[topic].into(),
            destination: format!("d{destination}"),
            table: format!("{}{stream}", TOPICS[topic]),
            key: vec!["id".into()],
            start: Start::Now,
            // Each record must be seen on its own.
            every_change: true,
            ..RouteSpec::default()
        })
    };
    let spec = |destination: usize| {
        let of_stream = |stream: usize| (0..topics).map(move |topic| route(destination, stream, topic));
        let mut routes: Vec<_> = (0..streams).flat_map(of_stream).collect();
        if version == 2 && destination == 0 {
            routes.push(route(0, 0, ADDED));
        }
        Arc::new(DestinationSpec {
            id: format!("d{destination}").into(),
            name: format!("d{destination}").into(),
            revision: 1,
            mode: Default::default(),
            node: None,
            by_hand: Default::default(),
            routes,
        })
    };
    (0..destinations).map(spec).collect()
}

/// The lanes' texts, by stream.
fn lane_texts(destination: usize, streams: usize) -> Rc<[String]> {
    let text = |stream: usize| {
        let lane = LaneId {
            installation: INSTALLATION.into(),
            destination: format!("d{destination}").into(),
            stream: format!("s{stream}").into(),
            part: "main".into(),
        };
        lane.to_string()
    };
    (0..streams).map(text).collect()
}
