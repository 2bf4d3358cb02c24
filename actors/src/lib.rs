//! The core of Tidegate: messages, routes, mapping, folding, the delivery rules and the actors that carry them out.
//!
//! No driver and no HTTP in here; what the core needs of the world stands in [`ports`].

pub mod breaker;
mod cast;
mod clean;
pub mod compose;
pub mod delivery;
pub mod destination;
mod expression;
pub mod failpoint;
mod fnv;
pub mod fold;
pub mod ingest;
pub mod janitor;
pub mod lane;
pub mod mapping;
pub mod message;

pub mod placement;
pub mod plain;
pub mod ports;
pub mod progress;
pub mod retry;
pub mod route;
pub mod schema;
pub mod status;
pub mod stream_reader;
pub mod supervisor;
pub mod supervisor_budget;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transaction;
