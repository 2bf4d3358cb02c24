//! The web terminal's files, built in.

use actix_web::web;

/// Where they are.
pub(super) fn configure(_config: &mut web::ServiceConfig) {}
