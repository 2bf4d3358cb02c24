//! The Lua scripts. All but the one that takes new records in are flagged `allow-oom`: a full Redis must be able to
//! empty itself (Redis, *Scripting with Lua*, Script flags).

use std::sync::LazyLock;

use redis::Script;

macro_rules! code {
    ($file:literal) => {
        concat!(
            "#!lua flags=allow-oom\n",
            include_str!("scripts/generation.lua"),
            include_str!(concat!("scripts/", $file))
        )
    };
}

macro_rules! draining {
    ($name:ident, $file:literal) => {
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| Script::new(code!($file)));
    };
}

/// The text of [`STANDING`], for the reader's own connection.
pub(crate) const STANDING_CODE: &str = code!("standing.lua");

draining!(ENSURE, "ensure.lua");
draining!(VIEW, "view.lua");
draining!(STANDING, "standing.lua");
draining!(ADVANCE, "advance.lua");
draining!(BACKLOG, "backlog.lua");
draining!(LANES, "lanes.lua");
draining!(REGISTER, "register.lua");
draining!(UNREGISTER, "unregister.lua");
draining!(UNROUTE, "unroute.lua");
draining!(TRIM, "trim.lua");
draining!(LEASE, "lease.lua");
draining!(RENEW, "renew.lua");
draining!(RELEASE, "release.lua");
draining!(MEMBERS, "members.lua");
draining!(LEAVE, "leave.lua");
draining!(REPORTS, "reports.lua");
draining!(VERSION, "version.lua");
draining!(CLEAR, "clear.lua");
draining!(REBIND, "rebind.lua");
draining!(RESOLVE, "resolve.lua");
draining!(CALL, "call.lua");
draining!(SUMMARIES, "summaries.lua");
draining!(COUNT, "count.lua");
draining!(ABANDON, "abandon.lua");
draining!(BACKLOG_TO, "backlog_to.lua");
draining!(ARRIVALS, "arrivals.lua");
draining!(HEALTH, "health.lua");
draining!(KEEP, "keep.lua");
draining!(FINISH, "finish.lua");
draining!(BATCHES, "batches.lua");
draining!(BROWSE, "browse.lua");
draining!(JOB, "job.lua");
draining!(GROUP, "group.lua");
draining!(ACKNOWLEDGE, "acknowledge.lua");
draining!(DEPARTED, "departed.lua");

macro_rules! appending {
    ($newest:literal) => {
        concat!(
            "#!lua\n",
            include_str!(concat!("scripts/newest_", $newest, ".lua")),
            include_str!("scripts/append.lua")
        )
    };
}

/// Takes new records in, and so is refused by a full Redis.
pub(crate) static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(appending!("known")));

/// The same where the server may be another than a moment ago: a generation that is not its own is made anew first.
pub(crate) static APPEND_IN_CLUSTER: LazyLock<Script> = LazyLock::new(|| Script::new(appending!("checked")));
