//! The stream's format: what an entry looks like, and how it is read back.

pub(crate) mod answer;
pub mod entry;
