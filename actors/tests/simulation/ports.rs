//! The core's ports over the simulated world. Every call becomes something that waits in the world until the scheduler
//! carries it out, refuses it, loses its answer or forgets it.

use std::{
    cell::{Cell as StdCell, RefCell},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use tidegate_actors::{
    lane::Part,
    message::{Action, Generation, Message, StreamId},
    ports::{
        Abandoned, Advance, Backlog, Batch, Command, DeadLetter, Destination, Entry, EventLog, Fault, LaneView,
        LogError, PlanRecord, ReadFrom, ReadOutcome, SidePosition, WriteError,
    },
    schema::TableSchema,
    transaction::{Cell, Committed, DeadId, LaneId, Statement, TakenOver, Transaction, WatermarkRow},
};

use crate::{
    database::Write,
    ledger::Kind,
    mistakes::Mistake,
    redis::Look,
    world::{Call, Handle, Server, World, table},
};

type Slot<T, E> = Rc<RefCell<Option<Result<T, E>>>>;

/// The answer to a call, once the scheduler gives it.
pub(crate) struct Answer<T, E>(Slot<T, E>);

impl<T, E> Future for Answer<T, E> {
    type Output = Result<T, E>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)
    }
}

struct Waiting<T, E, F> {
    slot: Slot<T, E>,
    work: F,
    lost: fn(bool) -> E,
}

impl<T, E, F: FnOnce(&mut World) -> Result<T, E>> Call for Waiting<T, E, F> {
    fn fail(&self, cut_off: bool) {
        *self.slot.borrow_mut() = Some(Err((self.lost)(cut_off)));
    }

    fn carry_out(self: Box<Self>, world: &mut World, answer: bool) {
        let result = (self.work)(world);
        let said = if answer { result } else { Err((self.lost)(true)) };
        *self.slot.borrow_mut() = Some(said);
    }
}

/// One task of one node, as its calls know it.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) world: Handle,
    pub(crate) node: usize,
    pub(crate) task: usize,
}

impl Caller {
    fn submit<T: 'static, E: 'static>(
        &self,
        server: Server,
        what: impl FnOnce() -> String,
        lost: fn(bool) -> E,
        work: impl FnOnce(&mut World) -> Result<T, E> + 'static,
    ) -> Answer<T, E> {
        let slot: Slot<T, E> = Rc::default();
        let call = Box::new(Waiting { slot: Rc::clone(&slot), work, lost });
        self.world.borrow_mut().submit(self.node, self.task, server, what, call);
        Answer(slot)
    }

    fn log<T: 'static>(
        &self,
        what: impl FnOnce() -> String,
        work: impl FnOnce(&mut World) -> Result<T, LogError> + 'static,
    ) -> Answer<T, LogError> {
        let lost = |_| LogError::Unavailable("Redis is away".into());
        self.submit(Server::Redis, what, lost, work)
    }

    /// Waits until the scheduler comes by.
    pub(crate) async fn pause(&self) {
        let _ = self.submit(Server::Clock, || "wakes".into(), |_| (), |_| Ok(())).await;
    }

    /// The reader's call: one look at each lane, in turn.
    pub(crate) fn read(&self, lanes: Vec<ReadFrom>, most: usize) -> Answer<ReadOutcome, LogError> {
        let after: Vec<_> = lanes.iter().map(|from| from.after).collect();
        self.log(
            || format!("reads after {after:?}"),
            move |world| {
                let mistake = world.mistake;
                for from in lanes {
                    let (_, stream) = place(&from.lane);
                    match world.redis.streams[stream].look(&from, most, mistake) {
                        Look::NewVersion => return Ok(ReadOutcome::NewVersion(from.lane)),
                        Look::NewGeneration => return Ok(ReadOutcome::NewGeneration(from.lane)),
                        Look::Gap(trimmed) => {
                            return Ok(ReadOutcome::Gap { lane: from.lane, after: from.after, trimmed });
                        }
                        Look::Entries(items) if items.is_empty() => {}
                        Look::Entries(items) => {
                            let entries = items.iter().map(|item| world.message(item.id, item.record)).collect();
                            return Ok(ReadOutcome::Batch(Batch { lane: from.lane, after: from.after, entries }));
                        }
                    }
                }
                Ok(ReadOutcome::Idle)
            },
        )
    }
}

/// Destination and stream of a lane: their names end in their numbers.
fn place(lane: &LaneId) -> (usize, usize) {
    let number = |name: &str| name.bytes().last().map_or(0, |digit| usize::from(digit - b'0'));
    (number(&lane.destination), number(&lane.stream))
}

impl World {
    fn message(&self, id: StreamId, record: usize) -> Entry {
        let truth = self.ledger.records[record];
        Entry::Message(Arc::new(Message {
            id,
            topic: crate::world::TOPICS[truth.topic].into(),
            action: Action::Upsert,
            key: None,
            own_id: None,
            traceparent: None,
            data: format!("{{\"id\":{},\"v\":{record}}}", truth.key).into(),
        }))
    }
}

/// [`EventLog`] of one node.
pub(crate) struct SimLog(pub(crate) Caller);

#[async_trait(?Send)]
impl EventLog for SimLog {
    async fn lease(&mut self, lanes: &[LaneId], owner: &str, ttl: Duration) -> Result<bool, LogError> {
        let mut taken: Vec<LaneId> = Vec::new();
        for lane in lanes {
            let ((destination, stream), token) = (place(lane), owner.to_owned());
            let ttl_ms = ttl.as_millis() as u64;
            let call = self.0.log(
                || format!("leases d{destination}/s{stream} as {owner}"),
                move |world| {
                    let clock = world.redis_clock();
                    Ok(world.redis.streams[stream].take_lease(destination, &token, clock, ttl_ms))
                },
            );
            if !call.await? {
                self.release(&taken, owner).await?;
                return Ok(false);
            }
            taken.push(lane.clone());
        }
        Ok(true)
    }

    async fn renew(&mut self, lanes: &[LaneId], owner: &str, ttl: Duration) -> Result<bool, LogError> {
        // The steps take a lease that ran out again by themselves; whether it is renewed beside them makes no difference.
        self.lease(lanes, owner, ttl).await
    }

    async fn release(&mut self, lanes: &[LaneId], owner: &str) -> Result<(), LogError> {
        for lane in lanes {
            let ((destination, stream), token) = (place(lane), owner.to_owned());
            let call = self.0.log(
                || format!("releases d{destination}/s{stream} as {owner}"),
                move |world| {
                    world.redis.streams[stream].give_back(destination, &token);
                    Ok(())
                },
            );
            call.await?;
        }
        Ok(())
    }

    async fn view(&mut self, lane: &LaneId) -> Result<LaneView, LogError> {
        let (destination, stream) = place(lane);
        let call = self.0.log(
            || format!("views d{destination}/s{stream}"),
            move |world| {
                world.ensure(stream);
                Ok(world.redis.streams[stream].view(destination, world.mistake))
            },
        );
        call.await
    }

    async fn bind(&mut self, lane: &LaneId, token: &str) -> Result<(), LogError> {
        let ((destination, stream), token) = (place(lane), token.to_owned());
        let call = self.0.log(
            || format!("binds d{destination}/s{stream}"),
            move |world| {
                world.redis.streams[stream].bind(destination, &token);
                Ok(())
            },
        );
        call.await
    }

    async fn rebind(&mut self, _: &LaneId, _: &str, _: &str) -> Result<(), LogError> {
        // No operator decides anything here.
        Ok(())
    }

    async fn advance(&mut self, advance: &Advance) -> Result<(), LogError> {
        let ((destination, stream), advance) = (place(&advance.lane), advance.clone());
        let (to, owner) = (advance.to.clone(), advance.owner.clone());
        let call = self.0.log(
            || format!("moves d{destination}/s{stream} to {}-{} as {owner}", to.generation, to.id),
            move |world| world.advance(destination, stream, &advance),
        );
        call.await
    }

    async fn backlog(&mut self, _: &LaneId, _: StreamId) -> Result<Backlog, LogError> {
        Ok(Backlog::default())
    }

    async fn keep_dead(&mut self, lane: &LaneId, letters: &[DeadLetter]) -> Result<(), LogError> {
        let ((destination, stream), letters) = (place(lane), letters.to_vec());
        let call = self.0.log(|| format!("keeps {} dead letters of d{destination}/s{stream}", letters.len()), {
            let letters = letters.clone();
            move |world: &mut World| {
                let kept = world.redis.streams[stream].dead.entry(destination).or_default();
                kept.extend(letters.into_iter().map(|letter| (letter.dead.clone(), letter)));
                Ok(())
            }
        });
        call.await
    }

    async fn dead(&mut self, lane: &LaneId, dead: &DeadId) -> Result<Option<DeadLetter>, LogError> {
        let ((destination, stream), dead) = (place(lane), dead.clone());
        let call = self.0.log(|| format!("looks for dead letter {} of d{destination}/s{stream}", dead.id), {
            let dead = dead.clone();
            move |world: &mut World| {
                Ok(world.redis.streams[stream].dead.get(&destination).and_then(|kept| kept.get(&dead)).cloned())
            }
        });
        call.await
    }

    async fn dead_ids(&mut self, lane: &LaneId) -> Result<Vec<DeadId>, LogError> {
        let (destination, stream) = place(lane);
        let call = self.0.log(
            || format!("lists the dead letters of d{destination}/s{stream}"),
            move |world| {
                let kept = world.redis.streams[stream].dead.get(&destination);
                Ok(kept.map(|kept| kept.keys().cloned().collect()).unwrap_or_default())
            },
        );
        call.await
    }

    async fn keep_abandoned(&mut self, _: &LaneId, _: &Abandoned) -> Result<(), LogError> {
        // For the eyes only.
        Ok(())
    }

    async fn keep_plan(&mut self, _: &LaneId, _: &str, _: &PlanRecord) -> Result<(), LogError> {
        // Only history needs it: nothing to go wrong here.
        Ok(())
    }

    async fn commands(&mut self, lane: &LaneId) -> Result<Vec<Command>, LogError> {
        let (destination, stream) = place(lane);
        let call = self.0.log(
            || format!("looks for commands of d{destination}/s{stream}"),
            move |world| Ok(world.redis.streams[stream].commands.get(&destination).cloned().unwrap_or_default()),
        );
        call.await
    }

    async fn finish(&mut self, lane: &LaneId, command: &Command) -> Result<(), LogError> {
        let ((destination, stream), command) = (place(lane), command.clone());
        let call = self.0.log(
            || format!("finishes a command of d{destination}/s{stream}"),
            move |world| {
                let waiting = world.redis.streams[stream].commands.entry(destination).or_default();
                if let Some(found) = waiting.iter().position(|other| *other == command) {
                    waiting.remove(found);
                    world.ledger.finished(destination, &command, &world.redis, &world.databases[destination].data);
                }
                Ok(())
            },
        );
        call.await
    }
}

impl World {
    fn advance(&mut self, destination: usize, stream: usize, advance: &Advance) -> Result<(), LogError> {
        let (clock, mistake) = (self.redis_clock(), self.mistake);
        self.redis.streams[stream].advance(destination, advance, clock, mistake)?;
        let place = (stream, Part::MAIN.to_owned(), advance.to.generation.clone());
        let row = self.databases[destination].data.rows.get(&place);
        let rows = &self.databases[destination].data.rows;
        let less = |side: &SidePosition| {
            let row = rows.get(&(stream, side.part.to_string(), side.at.generation.clone()));
            row.is_none_or(|row| row.last < side.at.id)
        };
        // A side row that is back with a backup, and that Redis is not told of.
        let untold = rows.keys().any(|(of, part, _)| {
            let beside = *of == stream && part != Part::MAIN && !part.starts_with("done ");
            beside && !advance.sides.iter().any(|side| *side.part == **part)
        });
        let beyond = untold || row.is_none_or(|row| row.last < advance.to.id) || advance.sides.iter().any(less);
        self.ledger.advanced(destination, stream, beyond);
        Ok(())
    }
}

/// [`Destination`] of one node.
pub(crate) struct SimDatabase {
    caller: Caller,
    destination: usize,
    lanes: Rc<[String]>,
    epoch: Rc<StdCell<u64>>,
    last_write: Option<(StreamId, StreamId)>,
}

fn lost(cut_off: bool) -> WriteError {
    WriteError::Retry(if cut_off { Fault::lost("cut off") } else { Fault::new("busy") })
}

impl SimDatabase {
    pub(crate) fn new(caller: Caller, destination: usize, lanes: Rc<[String]>) -> Self {
        Self { caller, destination, lanes, epoch: Rc::default(), last_write: None }
    }

    fn call<T: 'static>(
        &self,
        what: impl FnOnce() -> String,
        work: impl FnOnce(&mut World) -> Result<T, WriteError> + 'static,
    ) -> Answer<T, WriteError> {
        self.caller.submit(Server::Database(self.destination), what, lost, work)
    }

    fn mistake(&self) -> Mistake {
        self.caller.world.borrow().mistake
    }
}

#[async_trait(?Send)]
impl Destination for SimDatabase {
    async fn probe(&mut self) -> Result<(), WriteError> {
        let destination = self.destination;
        self.call(|| format!("probes d{destination}"), |_| Ok(())).await
    }

    async fn take_over(&mut self, _: &str, _: &str, owner: &str) -> Result<TakenOver, WriteError> {
        let (at, lanes, token) = (self.destination, Rc::clone(&self.lanes), owner.to_owned());
        let first = (self.mistake() != Mistake::ClaimBeforeFence).then(|| token.clone());
        let call = self.call(
            || format!("takes d{at} over as {owner}"),
            move |world| {
                world.make_bind(at);
                if world.mistake == Mistake::PositionAsTruth {
                    world.believe_positions(at);
                }
                Ok(world.databases[at].data.take_over(&lanes, first.as_deref()))
            },
        );
        let taken = call.await?;
        if self.mistake() == Mistake::ClaimBeforeFence {
            // Later: others get their turn.
            for _ in 0..6 {
                self.caller.pause().await;
            }
            let lanes = Rc::clone(&self.lanes);
            let fence = move |world: &mut World| Ok(world.databases[at].data.take_over(&lanes, Some(&token)));
            self.call(|| format!("fences d{at}"), fence).await?;
        }
        self.epoch.set(taken.rows.iter().map(|row| row.epoch).max().unwrap_or(1));
        let mut taken = taken;
        let lags = self.caller.world.borrow().known(self.caller.node, at).0 < 2;
        if self.mistake() == Mistake::DoneUnheard && lags {
            taken.rows.retain(|row| !row.lane.contains("/done "));
        }
        if self.mistake() == Mistake::SideRowsUnread {
            taken.rows.retain(|row| row.lane.ends_with("/main") || row.lane.contains("/done "));
        }
        Ok(taken)
    }

    async fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError> {
        let ((at, stream), token) = (place(lane), owner.to_owned());
        let (of, part) = (generation.clone(), lane.part.to_string());
        let call = self.call(
            || format!("begins d{at}/s{stream}/{} at {generation}-{last_id} as {owner}", lane.part),
            move |world| {
                let mistake = world.mistake;
                world.databases[at].data.begin_lane((stream, part, of), &token, last_id, mistake)
            },
        );
        call.await
    }

    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        let ((at, stream), generation, text) = (place(lane), generation.clone(), lane.to_string());
        let (of, last_write, part) = (generation.clone(), self.last_write, lane.part.to_string());
        let call = self.call(
            || format!("asks for the watermark of d{at}/s{stream}"),
            move |world| {
                let found = world.databases[at].data.rows.get(&(stream, part, of.clone())).cloned();
                Ok(found.map(|row| {
                    let mut told = WatermarkRow {
                        lane: text,
                        generation: of,
                        epoch: row.epoch,
                        owner: row.owner,
                        last_id: row.last,
                    };
                    if let (Mistake::LostReplyAsFailure, Some((previous, new))) = (world.mistake, last_write)
                        && told.last_id == new
                    {
                        told.last_id = previous;
                    }
                    told
                }))
            },
        );
        let mut row = call.await?;
        if self.mistake() == Mistake::NoOwner
            && let Some(row) = row.as_mut()
        {
            row.owner = self.caller.world.borrow().owner_of(self.caller.task);
        }
        Ok(row)
    }

    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError> {
        let (at, wanted) = (self.destination, name.to_owned());
        let call = self.call(
            || format!("describes {name} of d{at}"),
            move |world| {
                if world.databases[at].unfit.contains(&wanted) {
                    return Err(WriteError::Hold(Fault::new(format!("there is no table `{wanted}`"))));
                }
                Ok(table(&wanted))
            },
        );
        call.await
    }

    async fn write(&mut self, _: &[Statement]) -> Result<Committed, WriteError> {
        Err(WriteError::Hold(Fault::new("only ordered delivery is simulated")))
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        let (at, stream) = place(&transaction.fence.lane);
        let tables = transaction.statements.iter().map(|statement| statement.plan.table.name.clone());
        let apart = self.mistake() == Mistake::SideOpenedApart;
        let write = Write {
            stream,
            lock: transaction.lock.clone(),
            fence: transaction.fence.clone(),
            open: if apart { Vec::new() } else { transaction.open.clone() },
            close: transaction.close.iter().map(|lane| lane.part.to_string()).collect(),
            epoch: self.epoch.get(),
            records: records(transaction),
            tables: tables.collect(),
        };
        self.last_write = Some((write.fence.previous, write.fence.new));
        self.caller.world.borrow_mut().own(self.caller.task, &write.fence.owner);
        let later = (self.mistake() == Mistake::WatermarkOutside).then(|| write.clone());
        let call = self.call(
            || {
                let (fence, records) = (&transaction.fence, &write.records);
                format!(
                    "writes {records:?} to d{at}/s{stream}/{}, {} from {} to {} as {}, opens {:?}, closes {:?}",
                    fence.lane.part,
                    fence.generation,
                    fence.previous,
                    fence.new,
                    fence.owner,
                    transaction
                        .open
                        .iter()
                        .map(|row| format!("{} at {}", row.lane.part, row.last_id))
                        .collect::<Vec<_>>(),
                    write.close
                )
            },
            {
                let write = write.clone();
                move |world: &mut World| world.write(at, &write)
            },
        );
        let mut outcome = call.await;
        if let (Ok(_), Some(write)) = (&outcome, later) {
            let moved = move |world: &mut World| {
                let place = (stream, write.fence.lane.part.to_string(), write.fence.generation.clone());
                if let Some(row) = world.databases[at].data.rows.get_mut(&place)
                    && row.owner == *write.fence.owner
                {
                    row.last = write.fence.new;
                }
                Ok(Committed { exhumed: true, ..Committed::default() })
            };
            outcome = self.call(|| format!("moves the watermark of d{at}/s{stream}"), moved).await;
        }
        if apart && outcome.is_ok() {
            for row in &transaction.open {
                self.begin_lane(&row.lane, &row.generation, &transaction.fence.owner, row.last_id).await?;
            }
        }
        if self.mistake() == Mistake::LostReplyAsSuccess && matches!(outcome, Err(WriteError::Retry(_))) {
            return Ok(Committed { exhumed: true, ..Committed::default() });
        }
        outcome
    }
}

impl World {
    fn write(&mut self, destination: usize, write: &Write) -> Result<Committed, WriteError> {
        let database = &mut self.databases[destination];
        // The watermark comes first; what is rolled back leaves nothing.
        if let Some(gone) = write.tables.iter().find(|table| database.unfit.contains(*table)) {
            let fenced = !database.data.clone().fence(write, self.mistake);
            let why = || WriteError::Hold(Fault::new(format!("there is no table `{gone}`")));
            return Err(if fenced { WriteError::Fenced } else { why() });
        }
        if !database.data.fence(write, self.mistake) {
            return Err(WriteError::Fenced);
        }
        self.ledger.write(destination, write, &mut database.data);
        Ok(Committed { exhumed: true, ..Committed::default() })
    }

    fn make_bind(&mut self, destination: usize) {
        if self.databases[destination].data.bind.is_none() {
            let token = self.token("bind");
            self.databases[destination].data.bind = Some(token);
        }
    }

    fn believe_positions(&mut self, destination: usize) {
        for ((stream, _, generation), row) in &mut self.databases[destination].data.rows {
            let position = self.redis.streams[*stream].lanes.get(&destination);
            if let Some(position) = position.filter(|position| position.generation == *generation) {
                row.last = position.id;
            }
        }
    }
}

/// The numbers of the records that a transaction writes, in the order of its statements.
fn records(transaction: &Transaction) -> Vec<usize> {
    let mut records = Vec::new();
    for statement in &transaction.statements {
        let Some(place) = statement.written().position(|column| column.name == "v") else { continue };
        let number = |row: &Vec<Cell>| match &row[place] {
            Cell::Text(text) => text.parse::<usize>().ok(),
            _ => None,
        };
        records.extend(statement.rows.iter().filter_map(number));
    }
    records
}

impl World {
    /// What is left to be said where a lane neither gets on nor is held for a reason.
    pub(crate) fn owes(&mut self) {
        for destination in 0..self.databases.len() {
            let data = &self.databases[destination].data;
            if let Some(record) = self.ledger.owed(destination, &self.redis, data) {
                let what = format!("destination {destination} is not sent record {record}, which is in the stream");
                self.ledger.violate(Kind::Stall, what);
            }
        }
    }
}
