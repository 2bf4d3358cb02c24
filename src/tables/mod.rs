//! Routes held against real tables: a route suggested for a table, tried on records without writing, checked when it is
//! applied, and the statements that would make what it lacks.
//!
//! Everything but [`look`] and [`fit::check`] is pure. The commands call it; nothing here writes anything.

pub mod ddl;
pub mod dry_run;
pub mod fit;
pub mod likeness;
pub mod look;
pub mod preview;
mod probe;
pub mod record;
pub mod samples;
pub mod suggest;
