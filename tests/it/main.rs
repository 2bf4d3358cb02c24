//! The integration tests: contract suites over every kind of database, end to end runs and faults, against real servers.

mod redis;
mod servers;
