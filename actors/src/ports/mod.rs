//! What the core needs of the world: an event log to read from, a database to write to, and a maker of both.
//!
//! Adapters implement these traits; the feature `testing` has them in memory. Futures are not `Send`: everything of
//! one destination lives on its own arbiter. The core puts a time limit on every call and drops the future when it runs
//! out, so an implementation must not keep a connection that is out of step.

mod database;
mod door;
mod group;
mod log;
mod world;

pub use database::{Destination, Fault, Rejection, TableName, WriteError};
pub use door::{AppendError, AppendRequest, Appended, Appender, NewRecord};
pub use group::{Acknowledge, Claimed, GroupReader};
pub use log::{
    Abandoned, Advance, Backlog, Batch, BatchRecord, Command, DeadLetter, Entry, EntryReader, EventLog,
    GenerationStart, LaneView, LogError, PlanRecord, ReadFrom, ReadOutcome, SidePosition,
};
pub use world::{Housekeeping, Observe, Unobserved, World};
