//! The IngestActor: appends what producers send, bounded by what is under way.
//!
//! There is one on each HTTP worker, so that a record changes no thread on its way to Redis; the bound is shared by all of
//! them. Mailboxes are no bound (cloned senders go past it), so what is under way is counted before anything is sent.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use actix::{Actor, Addr, AsyncContext as _, Context, Handler, Message, ResponseFuture};
use serde_json::json;

use crate::{
    ports::{AppendError, AppendRequest, Appended, Appender},
    status::{ActorKind, EndSender, Place, StatusBoard, Vitals},
    supervisor_budget::RestartBudget,
};

/// What may be under way at once, over all workers of a node.
#[derive(Debug)]
pub struct Gate {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    most_requests: usize,
    most_bytes: usize,
}

impl Gate {
    /// A gate for so many requests and bytes of their records.
    #[must_use]
    pub fn new(most_requests: usize, most_bytes: usize) -> Arc<Self> {
        Arc::new(Self { requests: AtomicUsize::new(0), bytes: AtomicUsize::new(0), most_requests, most_bytes })
    }

    /// Lets a request in, unless too much is under way. A single request is always let in when nothing else is.
    fn enter(self: &Arc<Self>, bytes: usize) -> Option<Pass> {
        let before = (self.requests.fetch_add(1, Ordering::AcqRel), self.bytes.fetch_add(bytes, Ordering::AcqRel));
        let pass = Pass { gate: Arc::clone(self), bytes };
        let fits = before.0 < self.most_requests && before.1 + bytes <= self.most_bytes;
        (fits || before.0 == 0).then_some(pass)
    }
}

/// A request that was let in; leaving is its drop.
struct Pass {
    gate: Arc<Gate>,
    bytes: usize,
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.requests.fetch_sub(1, Ordering::AcqRel);
        self.gate.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

/// Records of one request, to be appended.
struct Append {
    request: AppendRequest,
    pass: Pass,
}

impl Message for Append {
    type Result = Result<Appended, AppendError>;
}

/// Upper bounds of the times that [`IngestActor`] counts its answers by, in microseconds; a last count is for those above.
pub const TOOK_BOUNDS_US: [u64; 14] =
    [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 1_024_000, 2_048_000];

/// Counts of one actor.
#[derive(Debug, Default)]
struct Counts {
    messages: AtomicU64,
    refused: AtomicU64,
    /// Appends by how long they took.
    took: [AtomicU64; TOOK_BOUNDS_US.len() + 1],
}

impl Counts {
    fn took(&self, time: Duration) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let slot = TOOK_BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.took.get(slot) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Appends on one worker.
pub struct IngestActor {
    appender: Rc<dyn Appender>,
    vitals: Vitals,
    gate: Arc<Gate>,
    counts: Rc<Counts>,
    reachable: Rc<Cell<bool>>,
}

impl Actor for IngestActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.vitals.running();
        context.run_interval(Duration::from_millis(500), |actor, _| {
            if actor.reachable.get() {
                actor.vitals.running();
            } else {
                actor.vitals.waiting();
            }
            actor.vitals.publish(&json!({
                "messages": actor.counts.messages.load(Ordering::Relaxed),
                "refused": actor.counts.refused.load(Ordering::Relaxed),
                "in_flight_requests": actor.gate.requests.load(Ordering::Relaxed),
                "in_flight_bytes": actor.gate.bytes.load(Ordering::Relaxed),
                "took": actor.counts.took.each_ref().map(|count| count.load(Ordering::Relaxed)),
            }));
        });
    }
}

impl Handler<Append> for IngestActor {
    type Result = ResponseFuture<Result<Appended, AppendError>>;

    fn handle(&mut self, append: Append, _: &mut Self::Context) -> Self::Result {
        let (appender, counts) = (Rc::clone(&self.appender), Rc::clone(&self.counts));
        let reachable = Rc::clone(&self.reachable);
        let progress = self.vitals.progress().clone();
        Box::pin(async move {
            let (pass, began) = (append.pass, Instant::now());
            let outcome = appender.append(append.request).await;
            progress.bump();
            match &outcome {
                Ok(appended) => {
                    reachable.set(true);
                    counts.took(began.elapsed());
                    counts.messages.fetch_add(appended.ids.len() as u64, Ordering::Relaxed);
                }
                Err(error) => {
                    if matches!(error, AppendError::Unavailable(_)) {
                        reachable.set(false);
                    }
                    counts.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            drop(pass);
            outcome
        })
    }
}

/// One worker's way to its IngestActor; builds a fresh one when it ended, within a budget.
pub struct IngestHandle {
    make: Box<dyn Fn() -> Rc<dyn Appender>>,
    gate: Arc<Gate>,
    place: Place,
    ends: EndSender,
    actor: RefCell<Option<Addr<IngestActor>>>,
    budget: RefCell<RestartBudget>,
    not_before: Cell<Option<Instant>>,
}

impl IngestHandle {
    /// Starts the actor of the worker with this name. Call it on the worker's own thread.
    #[must_use]
    pub fn start(
        name: &str,
        make: Box<dyn Fn() -> Rc<dyn Appender>>,
        gate: Arc<Gate>,
        board: &StatusBoard,
        ends: EndSender,
    ) -> Self {
        let place = board.register(ActorKind::Ingest, name);
        let handle = Self {
            make,
            gate,
            place,
            ends,
            actor: RefCell::new(None),
            budget: RefCell::new(RestartBudget::new()),
            not_before: Cell::new(None),
        };
        handle.begin();
        handle
    }

    fn begin(&self) -> Addr<IngestActor> {
        let vitals = self.place.begin(&self.ends);
        let actor = IngestActor {
            appender: (self.make)(),
            vitals,
            gate: Arc::clone(&self.gate),
            counts: Rc::default(),
            reachable: Rc::new(Cell::new(true)),
        };
        let address = actor.start();
        *self.actor.borrow_mut() = Some(address.clone());
        address
    }

    fn address(&self) -> Option<Addr<IngestActor>> {
        let living = self.actor.borrow().as_ref().filter(|address| address.connected()).cloned();
        if living.is_some() {
            return living;
        }
        let now = Instant::now();
        let at = self.not_before.get().unwrap_or_else(|| {
            let at = self.budget.borrow_mut().restart_at(now);
            self.not_before.set(Some(at));
            at
        });
        (now >= at).then(|| {
            self.not_before.set(None);
            self.begin()
        })
    }

    /// Appends a request's records; returns only after Redis has answered.
    ///
    /// # Errors
    /// Nothing was appended; see [`AppendError`].
    pub async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError> {
        let bytes = request.records.iter().map(|record| record.data.len()).sum();
        let pass = self.gate.enter(bytes).ok_or(AppendError::Overloaded)?;
        let restarting = || AppendError::Unavailable("the ingest actor is being restarted".into());
        let actor = self.address().ok_or_else(restarting)?;
        actor.send(Append { request, pass }).await.unwrap_or_else(|_| {
            // Its work panicked, or it ended: what it holds may be half broken, so the next request gets a fresh one.
            self.actor.borrow_mut().take_if(|present| *present == actor);
            Err(restarting())
        })
    }
}

#[cfg(test)]
mod tests;
