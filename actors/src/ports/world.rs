//! The maker of all adapters, and who keeps house and counts beside them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Destination, EntryReader, EventLog, GroupReader, LogError};
use crate::route::DestinationSpec;

/// Makes the adapters, on the arbiter where they are to live. Nothing connects before its first call.
pub trait World: Send + Sync + 'static {
    /// The log, for the owner of this destination.
    fn log(&self, destination: &DestinationSpec) -> Box<dyn EventLog>;
    /// A reader of the log, for this destination.
    fn reader(&self, destination: &DestinationSpec) -> Box<dyn EntryReader>;
    /// The consumer group of this parallel destination, with this node as the consumer.
    fn group(&self, destination: &DestinationSpec) -> Box<dyn GroupReader>;
    /// The database.
    fn destination(&self, destination: &DestinationSpec) -> Box<dyn Destination>;
    /// The keeper of the log.
    fn housekeeping(&self) -> Box<dyn Housekeeping>;
    /// Where events are counted.
    fn observer(&self) -> Arc<dyn Observe>;
}

/// Keeps the log in order: trims what every lane has committed and the retention no longer wants, minds the memory.
#[async_trait(?Send)]
pub trait Housekeeping {
    /// One round; answers what there is to show.
    async fn tidy(&mut self) -> Result<serde_json::Value, LogError>;
}

/// What is counted while delivering; all methods return at once.
pub trait Observe: Send + Sync {
    /// A transaction was committed: rows, how long it took, and when each of its messages was accepted (milliseconds
    /// since the Unix epoch).
    fn committed(&self, _destination: &str, _rows: u64, _took: Duration, _accepted_ms: &mut dyn Iterator<Item = u64>) {}
    /// The fence refused a transaction.
    fn fenced(&self, _destination: &str) {}
    /// Entries that were never delivered are gone.
    fn gap(&self, _destination: &str) {}
    /// An actor was restarted.
    fn restarted(&self, _kind: crate::status::ActorKind) {}
    /// How a destination does; called about once a second.
    fn destination(&self, _name: &str, _detail: &crate::status::DestinationDetail) {}
    /// A destination is gone from the registry.
    fn forgotten(&self, _name: &str) {}
}

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observe for Unobserved {}
