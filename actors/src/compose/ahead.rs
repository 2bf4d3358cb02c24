//! A batch, mapped and composed before its turn: what its messages are for the plans, worked out while the database still writes
//! the batch before it.
//!
//! Begun by [`crate::destination`] as soon as a batch has been read, on the destination's own thread, a few messages at a time,
//! so that the transaction under way is never kept waiting for long. Both are pure, so it does not matter when they are done, as
//! long as what they are made from is the same: else [`super::compose_with`] takes what rows there are for the very same plans, and
//! maps the other messages itself.

use std::{collections::BTreeMap, sync::Arc};

use super::{Composed, DeadKeys, Piece, Plans, Starts, compose_with};
use crate::{
    mapping::{Mapped, Whence},
    message::{Generation, Message, StreamId},
    ports::{Batch, Entry, Rejection},
    transaction::Encoder,
};

/// Messages that are mapped before others have their turn: about a tenth of a millisecond's work.
const IN_ONE_GO: usize = 64;

/// What a batch is to be mapped for: how things stand when it is read.
#[derive(Clone, Debug)]
pub struct AheadOf {
    /// The plans.
    pub plans: Arc<Plans>,
    /// The generation that its lane reads.
    pub generation: Generation,
    /// Where its lane's routes begin, if no dead letter stands in the way of composing it too.
    pub starts: Option<Starts>,
    /// How the database's driver encodes what is composed.
    pub encoder: Option<Encoder>,
}

/// The rows of one batch.
#[derive(Debug)]
pub struct MappedAhead {
    of: AheadOf,
    application: Arc<str>,
    /// All of it as one piece, as it comes out where no dead letter stands and no row has been refused.
    composed: Option<Composed>,
    /// The messages, in order, each with the place of its first row.
    messages: Vec<(StreamId, usize)>,
    /// For each message and each plan of its topic, in their order; `None` once taken.
    rows: Vec<Option<Result<Mapped, Rejection>>>,
    /// Whether rows are copied instead of taken.
    kept: bool,
}

impl MappedAhead {
    /// Maps the messages of a batch, and composes it as one piece.
    pub async fn map(of: AheadOf, batch: &Batch) -> Self {
        let mut ahead = Self {
            of,
            application: Arc::clone(&batch.lane.stream),
            composed: None,
            messages: Vec::with_capacity(batch.entries.len()),
            rows: Vec::with_capacity(batch.entries.len()),
            kept: false,
        };
        for entries in batch.entries.chunks(IN_ONE_GO) {
            tokio::task::yield_now().await;
            entries.iter().for_each(|entry| ahead.add(entry));
        }
        if ahead.of.starts.is_some() && ahead.messages.len() == batch.entries.len() {
            tokio::task::yield_now().await;
            ahead.compose(batch);
            ahead.encode().await;
        }
        ahead
    }

    /// Encodes what was composed. What is on trial is written row by row.
    async fn encode(&mut self) {
        let composed = self.composed.as_mut().filter(|composed| composed.trials.is_empty());
        let (Some(encoder), Some(composed)) = (&self.of.encoder, composed) else { return };
        for statement in &mut composed.statements {
            tokio::task::yield_now().await;
            statement.encoded = encoder.encode(statement);
        }
    }

    fn compose<'b>(&mut self, batch: &'b Batch) {
        let AheadOf { plans, generation, starts, .. } = self.of.clone();
        let message = |entry: &'b Entry| if let Entry::Message(message) = entry { Some(&**message) } else { None };
        let messages: Vec<&Message> = batch.entries.iter().filter_map(message).collect();
        let application = Arc::clone(&self.application);
        let piece = Piece {
            application: &application,
            generation: &generation,
            messages: &messages,
            starts: &starts.unwrap_or_default(),
            refused: &BTreeMap::new(),
            dead: &DeadKeys::new(),
            fold: messages.len() > 1,
        };
        self.composed = Some(compose_with(&piece, &BTreeMap::new(), &plans, Some(self)));
    }

    /// This piece, where it is the whole batch, and nothing speaks against what it was composed to.
    pub(crate) fn composed(&mut self, piece: &Piece<'_>, plans: &Plans) -> Option<Composed> {
        let whence = Whence { application: piece.application, generation: piece.generation };
        let ends = |of: Option<&&Message>| of.map(|message| message.id);
        let whole = piece.messages.len() == self.messages.len()
            && ends(piece.messages.first()) == self.messages.first().map(|(id, _)| *id)
            && ends(piece.messages.last()) == self.messages.last().map(|(id, _)| *id);
        let plain = piece.refused.is_empty() && piece.dead.is_empty() && self.of.starts.as_ref() == Some(piece.starts);
        if whole && plain && self.is_for(plans, whence) { self.composed.take() } else { None }
    }

    fn add(&mut self, entry: &Entry) {
        let Entry::Message(message) = entry else { return };
        self.messages.push((message.id, self.rows.len()));
        let whence = Whence { application: &self.application, generation: &self.of.generation };
        for &at in self.of.plans.of_topic(&self.application, &message.topic) {
            self.rows.push(Some(self.of.plans.get(at).mapping.apply(message, whence)));
        }
    }

    /// Whether these are rows of these plans for messages of this generation.
    pub(super) fn is_for(&self, plans: &Plans, whence: Whence<'_>) -> bool {
        std::ptr::eq(&*self.of.plans, plans)
            && *self.application == *whence.application
            && self.of.generation == *whence.generation
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
