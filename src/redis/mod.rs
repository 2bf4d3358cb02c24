//! The event log and the registry in Redis.
