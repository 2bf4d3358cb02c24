//! What the core needs of the event log for a parallel destination: the stream's consumer group, as one consumer sees it.

use std::time::Duration;

use async_trait::async_trait;

use super::{Entry, LogError};
use crate::{
    message::{Generation, StreamId},
    transaction::{DeadId, LaneId},
};

/// Entries that are this consumer's from now on, until it acknowledges them or another one claims them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The entries, in the order of their ids.
    pub entries: Vec<Entry>,
    /// Entries that were handed out once, never acknowledged, and are no longer in the stream.
    pub gone: Vec<StreamId>,
    /// Where to go on: the last id that was looked at, or the cursor of the log.
    pub next: StreamId,
}

impl Claimed {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.gone.is_empty()
    }
}

/// What a consumer has done with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledge {
    /// The generation of the ids, the first one's if they are of several.
    pub generation: Generation,
    /// The registry version that the caller works by: a newer one may have a route more for these entries.
    pub version: u64,
    /// The entries.
    pub ids: Vec<StreamId>,
    /// Ids of the routes that had something to do with them. Payloads of dead letters that an earlier delivery of these
    /// entries left on these routes are void.
    pub routes: Vec<String>,
    /// Payloads that stand: the dead letters of this very delivery.
    pub standing: Vec<DeadId>,
    /// Payloads that were taken back by an operator's command.
    pub void: Vec<DeadId>,
}

/// The group of a parallel destination, by one of its consumers: this node. It has a connection of its own, which is made
/// anew after every error. After an error, or when a future was dropped, entries may have been handed out that nobody has
/// seen: ask for [`GroupReader::own`] from the beginning.
#[async_trait(?Send)]
pub trait GroupReader {
    /// Makes the group where it is missing: where the lane begins the first time, at the trimmed mark if it was lost. True
    /// where it was made. [`LogError::NewVersion`] where the registry is newer than the caller knows: the destination may have
    /// gone, and a group that nobody reads would hold back trimming for good.
    async fn open(&mut self, lane: &LaneId, version: u64) -> Result<bool, LogError>;

    /// Entries that were handed to this consumer before and not acknowledged, above an id.
    async fn own(&mut self, lane: &LaneId, after: StreamId, most: usize) -> Result<Claimed, LogError>;

    /// Takes entries over that any consumer has had in hand for longer than `idle`, from a cursor on. `next` is the cursor
    /// to go on with; zero at the end.
    async fn left(&mut self, lane: &LaneId, cursor: StreamId, idle: Duration, most: usize)
    -> Result<Claimed, LogError>;

    /// Entries that nobody was handed yet; waits up to `block` for the first.
    async fn fresh(
        &mut self,
        lanes: &[LaneId],
        most: usize,
        block: Duration,
    ) -> Result<Vec<(LaneId, Claimed)>, LogError>;

    /// Done with these. [`LogError::NewVersion`], or [`LogError::NewGeneration`] where the ids are of another than they were
    /// taken for: nothing was acknowledged.
    async fn acknowledge(&mut self, lane: &LaneId, done: &Acknowledge) -> Result<(), LogError>;

    /// Forgets other consumers that have nothing in hand and have not been heard of for longer than `idle`; how many.
    async fn forget_departed(&mut self, lane: &LaneId, idle: Duration) -> Result<u64, LogError>;
}
