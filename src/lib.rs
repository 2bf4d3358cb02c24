//! Tidegate: takes a record once over HTTP and sees to it that every database that wants it has it.
//!
//! This crate holds the adapters and the edges; the rules of delivery live in `tidegate_actors`.

pub mod admin;
pub mod alerts;
pub mod app;
pub mod broadcast;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod console;
pub mod databases;
pub mod http;
pub mod redis;
pub mod registry;
pub mod resources;
pub mod systemd;
pub mod tables;
pub mod terminal;
pub mod users;
pub mod world;
