//! Broadcasts: what head office writes, every shop sees, and it shows who has.
//!
//! A broadcast is an entry of one log in Redis, which every node reads once and fans out to its terminals. Beside the log stand
//! the messages as they are now, the terminals, and who has received and confirmed what. [`store::Broadcasts`] is the handle;
//! [`hub::Hub`] is what a node's terminals are served from, fed by the [`actor`].

pub mod actor;
pub mod codes;
pub mod hub;
pub mod keys;
pub mod message;
pub mod parts;
pub mod receipts;
pub(crate) mod roll;
mod scripts;
pub mod store;
pub mod stream;
pub mod terminals;
mod window;
