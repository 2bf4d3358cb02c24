//! The registry of applications, destinations and routes.
mod describe;
pub mod export;
pub mod keys;
pub mod manifest;
pub mod plan;
pub mod secrets;
