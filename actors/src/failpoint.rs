//! Failpoints: named places of a delivery where a fault test ends or stops the node it runs in.
//!
//! Code that passes such a place calls [`reach`]; with the feature `failpoints` of the crate `fail`, which only tests have,
//! the environment variable `FAILPOINTS` says what happens there. Without it a call is nothing at all.
//!
//! `FAILPOINTS="after-commit=20*off->1*return"` ends the process when it comes by for the 21st time, as `kill -9` would;
//! `return(stop)` stops it, as SIGSTOP does, until somebody continues it.

/// Before the transaction of a piece, when everything for it is ready.
pub const BEFORE_TRANSACTION: &str = "before-transaction";
/// In a transaction on PostgreSQL: watermark moved, rows written, not committed.
pub const INSIDE_POSTGRES: &str = "inside-postgres";
/// The same on MySQL and MariaDB.
pub const INSIDE_MYSQL: &str = "inside-mysql";
/// The same on SQLite.
pub const INSIDE_SQLITE: &str = "inside-sqlite";
/// The database has answered the commit; the log does not know of it: neither position nor acknowledgement.
pub const AFTER_COMMIT: &str = "after-commit";
/// The log knows of the commit: the position has been moved on, or the entries are acknowledged.
pub const AFTER_ADVANCE: &str = "after-advance";
/// A take-over has its lease, and nothing else yet.
pub const AFTER_LEASE: &str = "after-lease";
/// A take-over has raised the epoch in the database.
pub const AFTER_FENCE: &str = "after-fence";
/// A take-over has inserted a lane's missing watermark row.
pub const AFTER_BEGIN_LANE: &str = "after-begin-lane";
/// A take-over is about to claim the position in the log.
pub const BEFORE_CLAIM: &str = "before-claim";
/// A side row was opened in the transaction that moved on, or by a command; the log does not know of it.
pub const AFTER_SIDE_OPEN: &str = "after-side-open";
/// A side row has met its main one and is about to be deleted.
pub const BEFORE_SIDE_CLOSE: &str = "before-side-close";
/// A side row is deleted; the log does not know of it.
pub const AFTER_SIDE_CLOSE: &str = "after-side-close";

/// Keeps what `FAILPOINTS` said in force while it lives.
pub struct Scenario(#[allow(dead_code, reason = "kept for its end")] fail::FailScenario<'static>);

/// What the environment says; for the program's start. `None` in a program without failpoints.
#[must_use = "failpoints are off again when this is dropped"]
pub fn from_environment() -> Option<Scenario> {
    fail::has_failpoints().then(|| Scenario(fail::FailScenario::setup()))
}

/// Passes a place: nothing, unless a test wants something there.
#[inline]
pub fn reach(place: &str) {
    if fail::has_failpoints() {
        let _ = fail::eval(place, |action| act(place, action.as_deref()));
    }
}

/// Whether a test wants something there: who passes it only now and then does so always.
#[must_use]
pub fn is_wanted(place: &str) -> bool {
    fail::has_failpoints() && fail::list().iter().any(|(name, _)| name == place)
}

fn act(place: &str, action: Option<&str>) {
    let process = std::process::id().to_string();
    if action != Some("stop") {
        tracing::warn!(place, process, "ends here, as a test wants it");
        std::process::abort();
    }
    tracing::warn!(place, process, "stops here, as a test wants it");
    // The signal reaches one thread first and the others a moment later: the script ends only once it sees this one stopped,
    // so nothing that follows is done before the process is continued.
    let script =
        "kill -STOP $0; for _ in $(seq 1000); do grep -q '^State:.T' /proc/$1/status && exit; sleep 0.01; done";
    let thread = std::fs::read_link("/proc/thread-self").unwrap_or_else(|_| process.clone().into());
    let stopped = std::process::Command::new("sh").args(["-c", script, &process]).arg(thread).status();
    tracing::warn!(place, ok = stopped.is_ok_and(|status| status.success()), "goes on");
}
