//! One destination with its log: what producers append, what the owner delivers, and faults between the two.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use tidegate_actors::{
    delivery::{Delivery, LeaseClock, Limits, Trouble},
    message::{Action, Generation, StreamId},
    ports::{
        Batch, DeadLetter, Destination, EntryReader as _, Fault, NewRecord, ReadFrom, ReadOutcome, Rejection,
        WriteError,
    },
    progress::Progress,
    route::{DestinationSpec, RouteSpec},
    schema::TableSchema,
    testing::{MemoryReader, MemoryStreams},
    transaction::{Committed, LaneId, Statement, TakenOver, Transaction, Trial, Tried, WatermarkRow},
};

use crate::contract::{Database, writer::INSTALLATION};

/// The application of every test.
pub(super) const APP: &str = "app";

/// A route from topic `topic` of [`APP`] into a table, by `"matching"` columns.
pub(super) fn route(topic: &str, table: &str, key: &[&str]) -> RouteSpec {
    serde_json::from_value(json!({
        "id": format!("route-{topic}-{table}"), "version": 1, "name": format!("{topic}-to-{table}"), "application": APP,
        "topic": topic, "destination": "rooms", "table": table, "key": key,
    }))
    .unwrap()
}

/// What becomes of a commit.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    /// Refused before anything is done.
    Refused,
    /// Done, and the answer is lost.
    AnswerLost,
    /// Never answered, never done.
    Hangs,
}

/// The fates of the next commits, and how many there have been; shared with the destinations that meet them.
#[derive(Clone, Default)]
pub(super) struct Fates {
    next: Rc<RefCell<VecDeque<Option<Fate>>>>,
    commits: Rc<RefCell<usize>>,
}

impl Fates {
    /// The next commit ends so.
    pub(super) fn next(&self, fate: Fate) {
        self.next.borrow_mut().push_back(Some(fate));
    }

    /// The next commit goes well.
    pub(super) fn well(&self) {
        self.next.borrow_mut().push_back(None);
    }

    /// Transactions that were handed to the database.
    pub(super) fn commits(&self) -> usize {
        *self.commits.borrow()
    }
}

struct Fated {
    inner: Box<dyn Destination>,
    fates: Fates,
}

#[async_trait(?Send)]
impl Destination for Fated {
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
        self.inner.write(statements).await
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        self.commit_trials(transaction, &[]).await.map(|tried| tried.committed)
    }

    async fn commit_trials(&mut self, transaction: &Transaction, trials: &[Trial]) -> Result<Tried, WriteError> {
        *self.fates.commits.borrow_mut() += 1;
        let fate = self.fates.next.borrow_mut().pop_front().flatten();
        match fate {
            None => self.inner.commit_trials(transaction, trials).await,
            Some(Fate::Refused) => Err(WriteError::Retry(Fault::new("busy, says the test"))),
            Some(Fate::AnswerLost) => {
                self.inner.commit_trials(transaction, trials).await?;
                Err(WriteError::Retry(Fault::lost("cut off, says the test")))
            }
            Some(Fate::Hangs) => std::future::pending().await,
        }
    }

    async fn sift(&mut self, transaction: &Transaction) -> Result<Vec<Rejection>, WriteError> {
        self.inner.sift(transaction).await
    }
}

/// A destination, its log and its present owner.
pub(super) struct Scene<'a> {
    database: &'a dyn Database,
    pub(super) streams: MemoryStreams,
    pub(super) spec: DestinationSpec,
    pub(super) limits: Limits,
    pub(super) delivery: Delivery,
    pub(super) fates: Fates,
    reader: MemoryReader,
}

impl<'a> Scene<'a> {
    /// A destination `rooms` with these routes.
    pub(super) fn new(database: &'a dyn Database, routes: Vec<RouteSpec>) -> Self {
        Self::named(database, "dest00000001", routes)
    }

    /// A destination of this id, with a log of its own.
    pub(super) fn named(database: &'a dyn Database, id: &str, routes: Vec<RouteSpec>) -> Self {
        let routes = routes.into_iter().map(Arc::new).collect();
        let spec = DestinationSpec {
            id: id.into(),
            name: "rooms".into(),
            revision: 1,
            mode: Default::default(),
            node: None,
            by_hand: Default::default(),
            routes,
        };
        let limits = Limits { lease: Duration::from_secs(3_600), ..Limits::default() };
        let (streams, fates) = (MemoryStreams::new(), Fates::default());
        let delivery = delivery(database, &streams, &spec, limits, &fates);
        let reader = streams.reader();
        Self { database, streams, spec, limits, delivery, fates, reader }
    }

    /// Another process: it knows what database and log know.
    pub(super) fn successor(&self) -> Delivery {
        delivery(self.database, &self.streams, &self.spec, self.limits, &self.fates)
    }

    /// This process ends without a word, and another begins.
    pub(super) async fn restart(&mut self) {
        self.streams.end_lease(&self.lane());
        self.delivery = self.successor();
        self.delivery.take_over().await.unwrap();
    }

    /// Other routes, from now on.
    pub(super) fn set_routes(&mut self, routes: Vec<RouteSpec>) {
        self.spec.routes = routes.into_iter().map(Arc::new).collect();
        self.delivery.learn(Arc::new(self.spec.clone()), 0);
    }

    /// The lane of [`APP`].
    pub(super) fn lane(&self) -> LaneId {
        LaneId {
            installation: INSTALLATION.into(),
            destination: self.spec.id.clone(),
            stream: APP.into(),
            part: "main".into(),
        }
    }

    /// Appends a record without a `key` of its own.
    pub(super) fn send(&self, topic: &str, action: Action, data: &Value) -> StreamId {
        let record = NewRecord {
            topic: topic.into(),
            action,
            key: None,
            own_id: None,
            traceparent: None,
            data: data.to_string().into(),
        };
        self.streams.append(APP, record).0.id
    }

    /// What is to be read next, at most so many entries.
    pub(super) async fn read(&mut self, most: usize) -> ReadOutcome {
        read(&mut self.reader, &self.delivery, most).await
    }

    /// The next batch; there must be one.
    pub(super) async fn batch(&mut self) -> Batch {
        match self.read(10_000).await {
            ReadOutcome::Batch(batch) => batch,
            other => panic!("not a batch: {other:?}"),
        }
    }

    /// Takes over where that is needed, and delivers what there is in batches of at most so many. What is held looks at its
    /// tables anew the next time.
    pub(super) async fn drain_by(&mut self, most: usize) -> Result<(), Trouble> {
        let drained = self.drain_what_there_is(most).await;
        if drained.as_ref().is_err_and(Trouble::holds) {
            self.delivery.forget_tables();
        }
        drained
    }

    async fn drain_what_there_is(&mut self, most: usize) -> Result<(), Trouble> {
        if !self.delivery.is_taken() {
            self.delivery.take_over().await?;
        }
        loop {
            match self.delivery.close_met().await {
                Err(Trouble::TakeOver(_)) => self.delivery.take_over().await?,
                other => other?,
            }
            let catches_up = self.delivery.catches_up();
            let asked = self.delivery.reads(None).unwrap_or_default();
            match self.reader.read(&asked, most, Duration::ZERO).await.unwrap() {
                ReadOutcome::Batch(batch) => self.delivery.deliver(&batch).await?,
                ReadOutcome::Idle if !catches_up => return Ok(()),
                ReadOutcome::Idle => self.delivery.nothing_more(&asked).await?,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Delivers what there is in as few batches as there can be.
    pub(super) async fn drain(&mut self) -> Result<(), Trouble> {
        self.drain_by(10_000).await
    }

    /// Where the database has the lane.
    pub(super) async fn watermark(&self) -> StreamId {
        let generation = self.delivery.lanes()[0].generation.clone();
        let row = self.database.open().watermark(&self.lane(), &generation).await.unwrap();
        row.expect("a watermark").last_id
    }

    /// The dead rows in the database: message and route, and what supersedes them.
    pub(super) async fn dead_rows(&self) -> Vec<(StreamId, Option<StreamId>)> {
        // A destination's rows are read by taking it over; nobody here minds another epoch.
        let found = self.database.open().take_over(INSTALLATION, &self.spec.id, self.delivery.owner()).await.unwrap();
        let mut rows: Vec<_> = found.dead.into_iter().map(|(_, row)| (row.dead.id, row.superseded_by)).collect();
        rows.sort_unstable();
        rows
    }

    /// The payloads in the log, in the order of their messages.
    pub(super) fn letters(&self) -> Vec<DeadLetter> {
        self.streams.dead_letters(&self.lane())
    }

    /// Message and code of every payload.
    pub(super) fn codes(&self) -> Vec<(StreamId, String)> {
        self.letters().into_iter().map(|letter| (letter.dead.id, letter.reason.code)).collect()
    }
}

/// What a delivery is to read next.
pub(super) async fn read(reader: &mut MemoryReader, delivery: &Delivery, most: usize) -> ReadOutcome {
    let lanes = delivery.lanes().iter().filter(|state| state.is_main()).map(|state| ReadFrom {
        lane: state.lane.clone(),
        after: state.last_id,
        newest: state.newest.clone(),
        version: delivery.version(),
        until: state.until,
    });
    reader.read(&lanes.collect::<Vec<_>>(), most, Duration::ZERO).await.unwrap()
}

fn delivery(
    database: &dyn Database,
    streams: &MemoryStreams,
    spec: &DestinationSpec,
    limits: Limits,
    fates: &Fates,
) -> Delivery {
    Delivery::new(
        Box::new(streams.log()),
        Box::new(Fated { inner: database.open(), fates: fates.clone() }),
        Arc::new(spec.clone()),
        INSTALLATION.into(),
        0,
        limits,
        Progress::new(),
        LeaseClock::default(),
    )
}
