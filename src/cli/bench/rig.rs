//! What is measured on: one Redis, one node, one database, and the turns of product and limit. Every turn looks afterwards
//! whether all its records are where they should be.

use std::{
    cell::RefCell,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use redis::aio::MultiplexedConnection;
use secrecy::ExposeSecret as _;
use tidegate_actors::message::StreamId;

use super::{
    Plan, Step,
    database::{Database, Left, Place, TABLE},
    figures::{Cpu, Turn},
    load::{self, Done, Task, Wire},
    machine, records,
    wiring::{DELIVERED, INTO, PASSWORD, WAITING, info, manifest, position},
};
use crate::{
    cli::stage::Stage,
    redis::Keys,
    registry::{Store, secrets::MasterKey},
};

/// Records in one request of NDJSON, and in one pipeline of its limit.
pub(super) const IN_ONE: u64 = 500;
/// Connections that send them.
pub(super) const SENDERS: usize = 16;
/// Where the limits write.
const PLAIN: &str = "bench:plain";
/// The copy of a stream that is filled.
const COPY: &str = "bench:copy";
/// Records of one round trip while it is filled.
const STORED: u64 = 5_000;
/// What every command of the stage begins its keys with: the default.
const PREFIX: &str = "tidegate";
/// Between two looks at the destination.
const LOOK: Duration = Duration::from_millis(2);

/// Everything that runs.
pub(super) struct Rig {
    plan: Plan,
    redis: MultiplexedConnection,
    redis_port: u16,
    node_port: u16,
    node_log: PathBuf,
    /// The processes of node and Redis.
    node: u32,
    server: u32,
    key: String,
    waiting: String,
    delivered: String,
    lanes: String,
    database: Database,
    /// The next record for the database.
    next: u64,
}

impl Rig {
    /// Starts everything; `left` learns what is to be taken away from a database that stays.
    pub(super) async fn start(
        stage: &mut Stage,
        place: &Place,
        appendfsync: &str,
        plan: Plan,
        left: Option<&RefCell<Option<Left>>>,
    ) -> anyhow::Result<Self> {
        let server = stage.start_redis(appendfsync).await?;
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let client = redis::Client::open(stage.redis_url())?;
        let mut redis = client.get_multiplexed_async_connection_with_config(&config).await?;
        // A rewrite of the file in the middle of a turn would be measured with it.
        let mut set = redis::cmd("CONFIG");
        set.arg("SET").arg("auto-aof-rewrite-percentage").arg(0).query_async::<()>(&mut redis).await?;

        let mut database = Database::open(place).await?;
        if let Some(left) = left {
            left.replace(Some(database.left()));
        }
        database.create().await?;
        if let Some(password) = &place.connection.password {
            stage.settings.push((PASSWORD, password.expose_secret().to_owned()));
            stage.settings.push(("TIDEGATE_MASTER_KEY", MasterKey::generate().to_text().expose_secret().to_owned()));
        }
        std::fs::write(stage.folder.join("bench.toml"), manifest(place))?;
        stage.run(&["apply", "bench.toml", "--no-check"]).await?;
        stage.settings.retain(|(name, _)| *name != PASSWORD);
        if let Some(left) = left {
            let url = stage.redis_url().parse().map_err(anyhow::Error::msg)?;
            let document = Store::open(&url, PREFIX)?.load().await?.unwrap_or_default();
            let into = document.destinations.iter().find(|destination| destination.name == INTO);
            if let (Some(left), Some(into)) = (left.borrow_mut().as_mut(), into) {
                left.ids = Some((document.installation.clone(), into.id.clone()));
            }
        }
        let key = stage.run(&["key", "create", WAITING]).await?.trim().to_owned();
        stage.start_nodes(None).await?;
        let keys = Keys::new(PREFIX);
        let rig = Self {
            plan,
            redis,
            redis_port: stage.redis_port,
            node_port: stage.listen,
            node_log: stage.node_log(0),
            node: stage.nodes[0].id().context("the node has no process")?,
            server,
            key,
            waiting: keys.of(WAITING).stream(),
            delivered: keys.of(DELIVERED).stream(),
            lanes: keys.of(DELIVERED).lanes(),
            database,
            next: 1,
        };
        rig.within(Duration::from_secs(60), "take over the database", async |redis, lanes| {
            position(redis, lanes).await.map(|position| position.is_some())
        })
        .await?;
        Ok(rig)
    }

    /// Everybody has met everything once before it counts.
    pub(super) async fn warm_up(&mut self) -> anyhow::Result<()> {
        let short =
            Plan { records: 2_000, stored: 500, turn: self.plan.turn.min(Duration::from_millis(300)), ..self.plan };
        let plan = std::mem::replace(&mut self.plan, short);
        for step in Step::ALL {
            for product in [true, false] {
                self.turn(step, product).await?;
            }
        }
        self.plan = plan;
        Ok(())
    }

    /// One turn of one side.
    pub(super) async fn turn(&mut self, step: Step, product: bool) -> anyhow::Result<Turn> {
        match (step, product) {
            (Step::Single | Step::Lines, _) => self.ingest(step, product).await,
            (Step::Delivery, true) => self.deliver().await,
            (Step::Delivery, false) => self.insert().await,
            (Step::Memory, _) => self.store(product).await,
        }
    }

    /// Processor time since, by record.
    fn cpu(&self, before: &Used, records: u64) -> Cpu {
        let now = self.used();
        #[allow(clippy::cast_precision_loss, reason = "no run counts that far")]
        let us = |before: Option<Duration>, now: Option<Duration>| {
            Some(now?.saturating_sub(before?).as_secs_f64() * 1e6 / records as f64)
        };
        Cpu { node: us(before.node, now.node), redis: us(before.redis, now.redis), bench: us(before.bench, now.bench) }
    }

    fn used(&self) -> Used {
        let [node, redis, bench] = [self.node, self.server, process::id()].map(machine::cpu);
        Used { node, redis, bench }
    }

    /// Records into Redis, through the node or bare.
    async fn ingest(&mut self, step: Step, product: bool) -> anyhow::Result<Turn> {
        self.forget().await?;
        let (in_one, connections) = if step == Step::Single { (1, self.plan.connections) } else { (IN_ONE, SENDERS) };
        let stream = if product { self.waiting.clone() } else { PLAIN.to_owned() };
        let time = self.plan.turn;
        let (before, done): (Used, Done);
        if product || step == Step::Lines {
            let task = self.task(step, product);
            let port = if product { self.node_port } else { self.redis_port };
            let mut wires = Wire::open_all(port, connections).await?;
            before = self.used();
            done = in_time(load::send(&mut wires, &task, time), time).await?;
        } else {
            let command = records::plain(PLAIN, 1);
            before = self.used();
            done = in_time(load::command(&self.redis, &command, connections, time), time).await?;
        }
        let records = done.requests * in_one;
        let mut cpu = self.cpu(&before, records);
        if !product {
            cpu.node = None;
        }
        let there: u64 = redis::cmd("XLEN").arg(&stream).query_async(&mut self.redis).await?;
        ensure!(there >= records, "{records} records were acknowledged, but {there} are in Redis");
        #[allow(clippy::cast_precision_loss, reason = "no run counts that far")]
        Ok(Turn { figure: records as f64 / done.time.as_secs_f64(), cpu })
    }

    fn task(&self, step: Step, product: bool) -> Task {
        if step == Step::Single {
            return Task::post(&self.key, "application/json", &records::message(1));
        }
        self.many(1..=IN_ONE, product)
    }

    /// These records in one request, or in one pipeline.
    fn many(&self, numbers: std::ops::RangeInclusive<u64>, product: bool) -> Task {
        if product {
            let lines: String = numbers.map(|no| records::message(no) + "\n").collect();
            return Task::post(&self.key, "application/x-ndjson", &lines);
        }
        let (mut pipe, mut replies) = (redis::pipe(), 0);
        for no in numbers {
            records::append_plain(&mut pipe, PLAIN, no);
            replies += 1;
        }
        Task::Pipeline(pipe.get_packed_pipeline(), replies)
    }

    /// Bytes of Redis for records that wait: what its memory grows by.
    async fn store(&mut self, product: bool) -> anyhow::Result<Turn> {
        self.forget().await?;
        let port = if product { self.node_port } else { self.redis_port };
        let mut wire = Wire::open(port).await?;
        // The connection's own buffers are there before it counts.
        wire.send(&self.many(1..=IN_ONE, product)).await?;
        let (before, cpu) = (self.memory().await?, self.used());
        let mut sent = 0;
        while sent < self.plan.stored {
            wire.send(&self.many(sent + 1..=sent + IN_ONE, product)).await?;
            sent += IN_ONE;
        }
        let mut cpu = self.cpu(&cpu, sent);
        if !product {
            cpu.node = None;
        }
        let after = self.memory().await?;
        #[allow(clippy::cast_precision_loss, reason = "no run counts that far")]
        Ok(Turn { figure: (after - before) / sent as f64, cpu })
    }

    /// Memory in use once buffers are given back: the least of some looks.
    async fn memory(&mut self) -> anyhow::Result<f64> {
        let mut least = f64::INFINITY;
        for _ in 0..20 {
            let used: f64 = info(&mut self.redis, "memory", "used_memory").await?.parse()?;
            least = least.min(used);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(least)
    }

    /// What was taken in goes, and Redis's file is small again.
    async fn forget(&mut self) -> anyhow::Result<()> {
        for stream in [self.waiting.as_str(), PLAIN] {
            let mut trim = redis::cmd("XTRIM");
            trim.arg(stream).arg("MAXLEN").arg(0).query_async::<i64>(&mut self.redis).await?;
        }
        redis::cmd("BGREWRITEAOF").query_async::<()>(&mut self.redis).await?;
        let start = Instant::now();
        loop {
            let busy = [
                info(&mut self.redis, "persistence", "aof_rewrite_in_progress").await?,
                info(&mut self.redis, "persistence", "aof_rewrite_scheduled").await?,
            ];
            if busy == ["0", "0"] {
                return Ok(());
            }
            ensure!(
                start.elapsed() < Duration::from_secs(60),
                "Redis does not get its file rewritten; is the disk full?"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A backlog that appears at one moment, until the node has told Redis that all of it is committed.
    ///
    /// The records are added to a copy of the stream that nobody reads, and the copy then takes the stream's place.
    /// Filling costs nothing of the measured time so. The last entry before them stays: what goes by hand is taken for
    /// lost, unless it lay below everybody's place.
    async fn deliver(&mut self) -> anyhow::Result<Turn> {
        self.database.empty().await?;
        let (first, records) = (self.next, self.plan.records);
        self.next += records;
        let mut before_them = redis::pipe();
        before_them.cmd("XTRIM").arg(&self.delivered).arg("MAXLEN").arg(1).ignore();
        before_them.cmd("COPY").arg(&self.delivered).arg(COPY).arg("REPLACE").ignore();
        before_them.query_async::<()>(&mut self.redis).await?;
        let end = first + records;
        for start in (first..end).step_by(usize::try_from(STORED).unwrap_or(usize::MAX)) {
            let mut pipe = redis::pipe();
            (start..end.min(start + STORED)).for_each(|no| records::append(&mut pipe, COPY, no));
            pipe.query_async::<()>(&mut self.redis).await?;
        }
        let mut newest = redis::cmd("XREVRANGE");
        newest.arg(COPY).arg("+").arg("-").arg("COUNT").arg(1);
        let newest: Vec<(String, redis::Value)> = newest.query_async(&mut self.redis).await?;
        let last: StreamId = match newest.first() {
            Some((id, _)) => id.parse().map_err(|_| anyhow::anyhow!("Redis gave an id that is none"))?,
            None => bail!("the copy of the stream is empty"),
        };

        let before = self.used();
        let start = Instant::now();
        redis::cmd("RENAME").arg(COPY).arg(&self.delivered).query_async::<()>(&mut self.redis).await?;
        let limit = Duration::from_secs(120 + records / 200);
        self.within(limit, "deliver the backlog", async |redis, lanes| {
            position(redis, lanes).await.map(|position| position.is_some_and(|position| position >= last))
        })
        .await?;
        let (time, mut cpu) = (start.elapsed(), self.cpu(&before, records));
        // It only waited and looked.
        cpu.bench = None;
        let rows = self.database.rows().await?;
        ensure!(rows == records, "{records} records were delivered, but `{TABLE}` has {rows} rows");
        #[allow(clippy::cast_precision_loss, reason = "no run counts that far")]
        Ok(Turn { figure: records as f64 / time.as_secs_f64(), cpu })
    }

    /// The same rows by a bare client.
    async fn insert(&mut self) -> anyhow::Result<Turn> {
        self.database.empty().await?;
        let (first, records) = (self.next, self.plan.records);
        self.next += records;
        let batches = self.database.batches(first, records);
        let (before, start) = (self.used(), Instant::now());
        for batch in batches {
            self.database.insert(batch).await.context("the bare client could not write")?;
        }
        let (time, cpu) = (start.elapsed(), self.cpu(&before, records));
        let rows = self.database.rows().await?;
        ensure!(rows == records, "{records} rows were written, but `{TABLE}` has {rows}");
        #[allow(clippy::cast_precision_loss, reason = "no run counts that far")]
        Ok(Turn { figure: records as f64 / time.as_secs_f64(), cpu: Cpu { bench: cpu.bench, ..Cpu::default() } })
    }

    /// Waits until this is so.
    async fn within(
        &self,
        limit: Duration,
        what: &str,
        mut question: impl AsyncFnMut(&mut MultiplexedConnection, &str) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let (start, mut redis) = (Instant::now(), self.redis.clone());
        while !question(&mut redis, &self.lanes).await? {
            if start.elapsed() > limit {
                let said = std::fs::read_to_string(&self.node_log).unwrap_or_default();
                let lines: Vec<&str> = said.lines().collect();
                let tail = lines[lines.len().saturating_sub(5)..].join("\n");
                bail!("the node did not {what} within {} s; it said:\n{tail}", limit.as_secs());
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }
}

/// Processor time so far.
struct Used {
    node: Option<Duration>,
    redis: Option<Duration>,
    bench: Option<Duration>,
}

/// A load that does not come to its end is an error.
async fn in_time(load: impl Future<Output = anyhow::Result<Done>>, time: Duration) -> anyhow::Result<Done> {
    let limit = time + Duration::from_secs(60);
    let done = tokio::time::timeout(limit, load).await;
    done.with_context(|| format!("an answer did not come within {} s", limit.as_secs()))?
}
