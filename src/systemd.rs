//! What a node tells systemd (`Type=notify`): that it serves, how it does, that it stops, and that it gets on.
//!
//! The watchdog is fed by progress, not by a timer: a ping is held back while the supervisor or a thread that serves
//! producers does not turn, and systemd then starts the node anew. A database or Redis that is away never holds one back.
//! Without `NOTIFY_SOCKET` all of this does nothing. Called by [`crate::app`].

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tidegate_actors::{
    progress::Progress,
    status::{ActorHealth, ActorKind, StatusBoard},
};

use crate::http::health::Readiness;

/// How often a serving thread shows that it turns.
const TURN_EVERY: Duration = Duration::from_millis(500);
/// How often the node looks at itself, at most.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The threads that serve producers, each with a heartbeat that only its own event loop keeps up. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Turning {
    threads: Arc<Mutex<BTreeMap<u64, Progress>>>,
}

impl Turning {
    /// The calling thread takes part from now on, until its event loop ends.
    pub fn take_part(&self) {
        let progress = Progress::new();
        let number = {
            let mut threads = self.threads();
            let number = threads.last_key_value().map_or(0, |(last, _)| last + 1);
            threads.insert(number, progress.clone());
            number
        };
        let part = Part { all: self.clone(), number };
        actix_rt::spawn(async move {
            // Dropped with the loop itself: a thread that has ended is no thread that hangs.
            let _part = part;
            loop {
                progress.bump();
                tokio::time::sleep(TURN_EVERY).await;
            }
        });
    }

    /// How long ago each of them last turned.
    #[must_use]
    pub fn last(&self) -> Vec<Duration> {
        self.threads().values().map(Progress::last).collect()
    }

    fn threads(&self) -> MutexGuard<'_, BTreeMap<u64, Progress>> {
        // Every change of the map is a single call: a panic leaves it whole.
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Part {
    all: Turning,
    number: u64,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.all.threads().remove(&self.number);
    }
}

/// What the watchdog goes by: only what the node itself is to blame for.
#[derive(Clone, Debug, PartialEq)]
struct Signs {
    /// How long ago the supervisor last looked at its actors; nothing where there is none.
    supervisor: Option<Duration>,
    /// How long ago each thread that serves producers last turned.
    threads: Vec<Duration>,
}

impl Signs {
    fn read(actors: &[ActorHealth], turning: &Turning) -> Self {
        let supervisor = actors.iter().find(|actor| actor.kind == ActorKind::Supervisor);
        let ago = |actor: &ActorHealth| Duration::try_from_secs_f64(actor.last_progress_s).unwrap_or(Duration::MAX);
        Self { supervisor: supervisor.map(ago), threads: turning.last() }
    }

    /// What does not get on, by a limit.
    fn stuck(&self, limit: Duration) -> Option<Stuck> {
        match self.supervisor {
            None => return Some(Stuck::NoSupervisor),
            Some(ago) if ago > limit => return Some(Stuck::Supervisor),
            Some(_) => {}
        }
        if self.threads.is_empty() {
            return Some(Stuck::NoThreads);
        }
        let hung = self.threads.iter().filter(|ago| **ago > limit).count();
        (hung > 0).then_some(Stuck::Threads { hung, of: self.threads.len() })
    }
}

/// Why a ping is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuck {
    NoSupervisor,
    Supervisor,
    NoThreads,
    Threads { hung: usize, of: usize },
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSupervisor => f.write_str("there is no supervisor"),
            Self::Supervisor => f.write_str("the supervisor does not get on"),
            Self::NoThreads => f.write_str("no thread serves producers"),
            Self::Threads { hung, of } => write!(f, "{hung} of {of} threads that serve producers do not turn"),
        }
    }
}

/// What to do about the watchdog at one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Ping,
    NotYet,
    HoldBack(Stuck),
}

/// When systemd hears from the node.
#[derive(Debug)]
struct Watchdog {
    every: Duration,
    last_ping: Instant,
}

impl Watchdog {
    /// For a `WatchdogSec` that was begun at `now`: pings at half of it, as systemd advises.
    fn new(watchdog: Duration, now: Instant) -> Self {
        Self { every: watchdog / 2, last_ping: now }
    }

    /// Something that has not moved for the time between two pings hangs. What was held back is made up for at the first
    /// look at which all get on again.
    fn look(&mut self, now: Instant, signs: &Signs) -> Decision {
        if now.saturating_duration_since(self.last_ping) < self.every {
            return Decision::NotYet;
        }
        match signs.stuck(self.every) {
            Some(stuck) => Decision::HoldBack(stuck),
            None => {
                self.last_ping = now;
                Decision::Ping
            }
        }
    }

    fn look_every(&self) -> Duration {
        (self.every / 4).min(LOOK_EVERY)
    }
}

/// The line that `systemctl status` shows.
fn status_line(listen: SocketAddr, obstacle: Option<&str>, actors: &[ActorHealth]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for actor in actors.iter().filter(|actor| actor.kind == ActorKind::Destination) {
        *counts.entry(actor.detail["status"].as_str().unwrap_or("starting")).or_default() += 1;
    }
    let node = match obstacle {
        None => format!("serving on {listen}"),
        // One line each: a line break would begin another assignment.
        Some(reason) => format!("not ready on {listen}: {}", reason.replace(['\n', '\r'], " ")),
    };
    let counted: Vec<_> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    if counted.is_empty() { node } else { format!("{node}; destinations: {}", counted.join(", ")) }
}

/// What a node shows of itself to systemd.
pub struct Observed {
    /// The producers' listener.
    pub listen: SocketAddr,
    /// Its actors.
    pub board: StatusBoard,
    /// Whether a load balancer sends requests here.
    pub readiness: Arc<Readiness>,
    /// The threads that serve.
    pub turning: Turning,
}

/// The way to systemd while the node runs; the pings end when it is dropped.
pub struct Notifier {
    task: actix_rt::task::JoinHandle<()>,
}

impl Notifier {
    /// The listeners are open: says so, and begins to feed the watchdog where systemd wants that.
    #[must_use = "the pings end when this is dropped"]
    pub fn ready(observed: Observed) -> Self {
        tell(&[NotifyState::Ready]);
        let mut usec = 0;
        let watchdog = sd_notify::watchdog_enabled(false, &mut usec)
            .then(|| Watchdog::new(Duration::from_micros(usec), Instant::now()));
        Self { task: actix_rt::spawn(report(observed, watchdog)) }
    }

    /// The node was told to stop. Pings go on until this is dropped: while it drains, it still serves.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn report(observed: Observed, mut watchdog: Option<Watchdog>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let every = watchdog.as_ref().map_or(LOOK_EVERY, Watchdog::look_every);
    let (mut said, mut held_back) = (String::new(), None);
    loop {
        let actors = observed.board.snapshot();
        let line = status_line(observed.listen, observed.readiness.obstacle().as_deref(), &actors);
        if line != said {
            tell(&[NotifyState::Status(&line)]);
            said = line;
        }
        if let Some(watchdog) = &mut watchdog {
            let decision = watchdog.look(Instant::now(), &Signs::read(&actors, &observed.turning));
            match decision {
                Decision::Ping => tell(&[NotifyState::Watchdog]),
                Decision::HoldBack(stuck) if held_back != Some(decision) => {
                    tracing::error!("systemd's watchdog is not fed: {stuck}");
                }
                _ => {}
            }
            if decision != Decision::NotYet {
                held_back = Some(decision);
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// Whether a failure to reach systemd has been told.
static SILENT: AtomicBool = AtomicBool::new(false);

fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, news)
        && !SILENT.swap(true, Ordering::Relaxed)
    {
        tracing::warn!(%error, "systemd can't be reached at NOTIFY_SOCKET");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;
    use serde_json::json;
    use tidegate_actors::status::ActorState;

    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn signs(supervisor: u64, threads: &[u64]) -> Signs {
        Signs { supervisor: Some(s(supervisor)), threads: threads.iter().map(|ago| s(*ago)).collect() }
    }

    #[test]
    fn pings_come_at_half_the_interval_while_all_get_on() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(s(30), start);
        let well = signs(0, &[0, 1]);
        assert_eq!(watchdog.look(start + s(14), &well), Decision::NotYet);
        assert_eq!(watchdog.look(start + s(15), &well), Decision::Ping);
        assert_eq!(watchdog.look(start + s(29), &well), Decision::NotYet);
        assert_eq!(watchdog.look(start + s(30), &well), Decision::Ping);
        assert!(watchdog.look_every() <= s(1), "a ping is late by a second at most");
    }

    #[test]
    fn a_ping_is_held_back_for_whatever_does_not_get_on() {
        let start = Instant::now();
        let now = start + s(20);
        let look = |signs: &Signs| Watchdog::new(s(30), start).look(now, signs);
        assert_eq!(look(&signs(16, &[0, 0])), Decision::HoldBack(Stuck::Supervisor));
        assert_eq!(look(&signs(0, &[0, 16])), Decision::HoldBack(Stuck::Threads { hung: 1, of: 2 }));
        assert_eq!(look(&signs(0, &[])), Decision::HoldBack(Stuck::NoThreads));
        let nobody = Signs { supervisor: None, threads: vec![s(0)] };
        assert_eq!(look(&nobody), Decision::HoldBack(Stuck::NoSupervisor));
        assert_eq!(look(&signs(15, &[15])), Decision::Ping);
    }

    #[test]
    fn a_ping_that_was_held_back_comes_at_the_first_look_at_which_all_is_well() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(s(30), start);
        assert!(matches!(watchdog.look(start + s(15), &signs(20, &[0])), Decision::HoldBack(_)));
        assert_eq!(watchdog.look(start + s(16), &signs(0, &[0])), Decision::Ping);
        assert_eq!(watchdog.look(start + s(17), &signs(0, &[0])), Decision::NotYet);
    }

    proptest! {
        /// As systemd sees it: a node that gets on is never killed, one that does not always is.
        #[test]
        fn no_two_pings_are_further_apart_than_the_watchdog_unless_something_hangs(
            seconds in 2u64..120, hangs_at in proptest::option::of(0u64..300),
        ) {
            let start = Instant::now();
            let mut watchdog = Watchdog::new(s(seconds), start);
            let step = watchdog.look_every();
            let (mut now, mut last) = (start, start);
            while now < start + s(600) {
                now += step;
                let stood = hangs_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(start + s(at)));
                if watchdog.look(now, &Signs { supervisor: Some(Duration::ZERO), threads: vec![stood] }) == Decision::Ping {
                    last = now;
                }
                if hangs_at.is_none() {
                    prop_assert!(now - last < s(seconds));
                }
            }
            if hangs_at.is_some() {
                prop_assert!(now - last > s(seconds));
            }
        }
    }

    fn actor(kind: ActorKind, last_progress_s: f64, detail: serde_json::Value) -> ActorHealth {
        ActorHealth { kind, name: "x".into(), state: ActorState::Waiting, restarts: 9, last_progress_s, detail }
    }

    #[test]
    fn databases_redis_and_other_actors_never_count() {
        let actors = [
            actor(ActorKind::Supervisor, 0.1, json!({})),
            actor(ActorKind::Destination, 9_999.0, json!({"status": "down"})),
            actor(ActorKind::StreamReader, 9_999.0, json!({})),
            actor(ActorKind::Ingest, 9_999.0, json!({})),
            actor(ActorKind::Janitor, 9_999.0, json!({})),
        ];
        let turning = Turning::default();
        turning.threads().insert(0, Progress::new());
        assert_eq!(Signs::read(&actors, &turning).stuck(s(15)), None);
    }

    #[test]
    fn the_line_says_whether_it_serves_and_how_the_destinations_are() {
        let listen = "0.0.0.0:8080".parse().unwrap();
        let of = |status| actor(ActorKind::Destination, 0.0, json!({"status": status}));
        let actors = [of("up"), of("down"), of("up"), actor(ActorKind::Supervisor, 0.0, json!({}))];
        assert_eq!(status_line(listen, None, &actors), "serving on 0.0.0.0:8080; destinations: 1 down, 2 up");
        let line = status_line(listen, Some("Redis\nREADY=1"), &[]);
        assert_eq!(line, "not ready on 0.0.0.0:8080: Redis READY=1", "nothing in it can be taken for another message");
    }

    #[test]
    fn a_thread_whose_loop_is_blocked_is_seen_and_one_that_ended_is_not() {
        let turning = Turning::default();
        let seen = turning.clone();
        let (blocked, is_blocked) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                turning.take_part();
                tokio::time::sleep(TURN_EVERY).await;
                blocked.send(()).unwrap();
                // What a request must never do.
                let _ = released.recv();
            });
        });
        is_blocked.recv().unwrap();
        let limit = TURN_EVERY * 2;
        let begun = Instant::now();
        let stuck = || Signs { supervisor: Some(Duration::ZERO), threads: seen.last() }.stuck(limit);
        while stuck() != Some(Stuck::Threads { hung: 1, of: 1 }) {
            assert!(begun.elapsed() < s(20), "the blocked thread was not noticed: {:?}", stuck());
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(release);
        thread.join().unwrap();
        assert_eq!(stuck(), Some(Stuck::NoThreads), "its loop has ended, and nobody else takes part");
    }
}
