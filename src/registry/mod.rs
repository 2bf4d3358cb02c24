//! The registry of applications, destinations and routes.
