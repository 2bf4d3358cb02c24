//! The integration tests: contract suites over every kind of database, end to end runs and faults, against real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod broadcast;
mod console;
mod contract;
mod delivery;
mod demo;
mod deploy;
mod e2e;
mod gallery;
mod http;
mod mysql;
mod postgres;
mod records;
mod redis;
mod registry;
mod servers;
mod sqlite;
mod sqlserver;
mod tables;
mod users;
