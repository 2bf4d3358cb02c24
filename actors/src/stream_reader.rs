//! The StreamReader actor: reads the log for one destination, over a connection of its own, when it is asked to.
//!
//! Its [`crate::destination::DestinationActor`] asks for a batch only while it may write one, and for one more while that is
//! being written: so at most one batch is ahead, and nothing at all is read for a database that is down.

use std::{rc::Rc, time::Duration};

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, ResponseActFuture, WrapFuture as _,
};
use serde_json::json;
use tokio::sync::{Mutex, oneshot};

use crate::{
    ports::{EntryReader, LogError, ReadFrom, ReadOutcome},
    status::Vitals,
};

/// What a read may take beyond the time it was told to wait: connecting, and a large answer.
const READ_MARGIN: Duration = Duration::from_secs(8);

/// Asks for the next batch.
#[derive(Debug, Message)]
#[rtype(result = "Result<ReadOutcome, LogError>")]
pub struct Read {
    /// The lanes and where they stand.
    pub lanes: Vec<ReadFrom>,
    /// Most entries wanted.
    pub max_entries: usize,
    /// How long to wait for the first one.
    pub block: Duration,
    /// Ends when nobody waits for the answer any more; the read is then given up.
    pub wanted: oneshot::Receiver<()>,
}

/// Reads for one destination.
pub struct StreamReader {
    reader: Rc<Mutex<Box<dyn EntryReader>>>,
    vitals: Vitals,
    entries: u64,
    last_error: Option<String>,
}

impl StreamReader {
    /// A reader that has not connected yet.
    #[must_use]
    pub fn new(reader: Box<dyn EntryReader>, vitals: Vitals) -> Self {
        Self { reader: Rc::new(Mutex::new(reader)), vitals, entries: 0, last_error: None }
    }

    fn publish(&self) {
        self.vitals.publish(&json!({"entries_read": self.entries, "last_error": self.last_error}));
    }
}

impl Actor for StreamReader {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.vitals.running();
        self.publish();
        // Not being asked is no hang: only a read that does not come back is.
        context.run_interval(Duration::from_millis(500), |actor, _| {
            if actor.reader.try_lock().is_ok() {
                actor.vitals.progress().bump();
            }
        });
    }
}

impl Handler<Read> for StreamReader {
    type Result = ResponseActFuture<Self, Result<ReadOutcome, LogError>>;

    fn handle(&mut self, mut ask: Read, _: &mut Self::Context) -> Self::Result {
        let reader = Rc::clone(&self.reader);
        let limit = ask.block + READ_MARGIN;
        let zone = self.vitals.progress().slow_zone(limit);
        let read = async move {
            let read = async { reader.lock().await.read(&ask.lanes, ask.max_entries, ask.block).await };
            let outcome = tokio::select! {
                biased;
                _ = &mut ask.wanted => Ok(ReadOutcome::Idle),
                outcome = tokio::time::timeout(limit, read) => {
                    outcome.unwrap_or_else(|_| Err(LogError::Unavailable("no answer from Redis to a read".into())))
                }
            };
            drop(zone);
            outcome
        };
        Box::pin(read.into_actor(self).map(|outcome, actor, _| {
            match &outcome {
                Ok(ReadOutcome::Batch(batch)) => actor.entries += batch.entries.len() as u64,
                Ok(_) => {}
                Err(error) => actor.last_error = Some(error.to_string()),
            }
            if outcome.is_ok() {
                actor.last_error = None;
                actor.vitals.running();
            } else {
                actor.vitals.waiting();
            }
            actor.publish();
            outcome
        }))
    }
}
