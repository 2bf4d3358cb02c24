//! The world in memory: databases, the event log and the maker of both, for tests that need no server.
//!
//! They keep every promise of [`crate::ports`], fail on command, and let a test wait for what it wants to see. Every
//! handle is cheap to clone and may be used from any thread; a clone is the same database, the same log.

mod database;
mod group;
mod log;
mod order;
mod service;
mod statement;
mod streams;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use database::{DatabaseBackup, DatabaseCall, JournalEntry, MemoryDatabase, MemoryDestination};
pub use group::MemoryGroup;
pub use log::{MemoryLog, MemoryReader};
pub use service::{Failure, Lost};
pub use streams::{LogCall, MemoryStreams};
pub use table::MemoryTable;

use async_trait::async_trait;

use crate::{
    ports::{Destination, EntryReader, EventLog, GroupReader, Housekeeping, LogError, Observe, Unobserved, World},
    route::DestinationSpec,
};

/// A world in memory: one log, and a database for each destination id.
#[derive(Clone, Debug, Default)]
pub struct MemoryWorld {
    streams: MemoryStreams,
    databases: Arc<Mutex<BTreeMap<Arc<str>, MemoryDatabase>>>,
}

impl MemoryWorld {
    /// A world without streams and with empty databases.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The log.
    #[must_use]
    pub fn streams(&self) -> &MemoryStreams {
        &self.streams
    }

    /// The database behind the destination of this id; empty when it is first asked for.
    #[must_use]
    pub fn database(&self, destination_id: &str) -> MemoryDatabase {
        self.databases().entry(destination_id.into()).or_default().clone()
    }

    /// Points the destination of this id to another database. Adapters made before keep theirs, as connections do.
    pub fn point(&self, destination_id: &str, database: MemoryDatabase) {
        self.databases().insert(destination_id.into(), database);
    }

    fn databases(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, MemoryDatabase>> {
        self.databases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World for MemoryWorld {
    fn log(&self, _destination: &DestinationSpec) -> Box<dyn EventLog> {
        Box::new(self.streams.log())
    }

    fn reader(&self, _destination: &DestinationSpec) -> Box<dyn EntryReader> {
        Box::new(self.streams.reader())
    }

    fn group(&self, _destination: &DestinationSpec) -> Box<dyn GroupReader> {
        Box::new(self.streams.group("node"))
    }

    fn destination(&self, destination: &DestinationSpec) -> Box<dyn Destination> {
        Box::new(self.database(&destination.id).open())
    }

    fn housekeeping(&self) -> Box<dyn Housekeeping> {
        Box::new(NothingToTidy)
    }

    fn observer(&self) -> Arc<dyn Observe> {
        Arc::new(Unobserved)
    }
}

/// Trims nothing: tests say themselves when the log is trimmed.
struct NothingToTidy;

#[async_trait(?Send)]
impl Housekeeping for NothingToTidy {
    async fn tidy(&mut self) -> Result<serde_json::Value, LogError> {
        Ok(serde_json::Value::Null)
    }
}
