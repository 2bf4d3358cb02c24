//! The integration tests: contract suites over every kind of database, end to end runs and faults, against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod contract;
mod http;
mod postgres;
mod redis;
mod registry;
mod servers;
mod sqlite;
