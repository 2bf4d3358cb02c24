//! The console and what is under it: acts and views against real servers, pages over HTTP, and stories in a real browser.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod chromium;
mod routes;
