//! A batch, mapped before its turn: what its messages are for the plans, worked out while the database still writes the batch
//! before it.
//!
//! Begun by [`crate::destination`] as soon as a batch has been read, on the destination's own thread, a few messages at a time,
//! so that the transaction under way is never kept waiting for long. Mapping is pure, so it does not matter when it is done;
//! [`super::compose_with`] takes a row from here where there is one for the very same plan, and maps the message itself where
//! there is none.

use std::sync::Arc;

use super::Plans;
use crate::{
    mapping::{Mapped, Whence},
    message::{Generation, Message, StreamId},
    ports::{Batch, Entry, Rejection},
};

/// Messages that are mapped before others have their turn: about a tenth of a millisecond's work.
const IN_ONE_GO: usize = 64;

/// The rows of one batch.
#[derive(Debug)]
pub struct MappedAhead {
    plans: Arc<Plans>,
    application: Arc<str>,
    generation: Generation,
    /// The messages, in order, each with the place of its first row.
    messages: Vec<(StreamId, usize)>,
    /// For each message and each plan of its topic, in their order; `None` once taken.
    rows: Vec<Option<Result<Mapped, Rejection>>>,
    /// Whether rows are copied instead of taken.
    kept: bool,
}

impl MappedAhead {
    /// Maps the messages of a batch, which is read in this generation, for these plans.
    pub async fn map(plans: Arc<Plans>, generation: Generation, batch: &Batch) -> Self {
        let application = Arc::clone(&batch.lane.stream);
        let mut ahead = Self {
            plans,
            application,
            generation,
            messages: Vec::with_capacity(batch.entries.len()),
            rows: Vec::with_capacity(batch.entries.len()),
            kept: false,
        };
        for entries in batch.entries.chunks(IN_ONE_GO) {
            tokio::task::yield_now().await;
            entries.iter().for_each(|entry| ahead.add(entry));
        }
        ahead
    }

    fn add(&mut self, entry: &Entry) {
        let Entry::Message(message) = entry else { return };
        self.messages.push((message.id, self.rows.len()));
        let whence = Whence { application: &self.application, generation: &self.generation };
        for &at in self.plans.of_topic(&self.application, &message.topic) {
            self.rows.push(Some(self.plans.get(at).mapping.apply(message, whence)));
        }
    }

    /// Whether these are rows of these plans for messages of this generation.
    pub(super) fn is_for(&self, plans: &Plans, whence: Whence<'_>) -> bool {
        std::ptr::eq(&*self.plans, plans)
            && *self.application == *whence.application
            && self.generation == *whence.generation
    }

    /// Whether its rows will be wanted more than once.
    pub(crate) fn keep(&mut self, kept: bool) {
        self.kept = kept;
    }

    /// How many rows nobody has taken.
    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.rows.iter().flatten().count()
    }

    /// The rows of these messages, which stand in the batch one after the other.
    pub(super) fn from(&mut self, first: StreamId) -> Rows<'_> {
        let next = self.messages.partition_point(|(id, _)| *id < first);
        Rows { ahead: self, next }
    }
}

/// Rows that are taken in the order of their messages.
pub(super) struct Rows<'a> {
    ahead: &'a mut MappedAhead,
    /// The place of the next message.
    next: usize,
}

impl Rows<'_> {
    /// The place of this message's first row.
    pub(super) fn first_of(&mut self, message: &Message) -> Option<usize> {
        let (id, first) = *self.ahead.messages.get(self.next)?;
        if id != message.id {
            return None;
        }
        self.next += 1;
        Some(first)
    }

    /// The row at this place, if it has not been taken yet.
    pub(super) fn take(&mut self, place: usize) -> Option<Result<Mapped, Rejection>> {
        let row = self.ahead.rows.get_mut(place)?;
        if self.ahead.kept { row.clone() } else { row.take() }
    }
}
