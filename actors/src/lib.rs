//! The core of Tidegate: messages, routes, mapping, folding, the delivery rules and the actors that carry them out.
//!
//! No driver and no HTTP in here; what the core needs of the world stands in [`ports`].

mod cast;
mod clean;
pub mod mapping;
pub mod message;
pub mod ports;
pub mod route;
pub mod schema;
pub mod transaction;
