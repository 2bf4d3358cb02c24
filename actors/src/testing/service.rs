//! A service in memory: state behind a lock, faults that a test orders, and a way to wait for changes.
//!
//! [`super::MemoryDatabase`] and [`super::MemoryStreams`] are built on it. Calls of an adapter go through
//! [`Service::call`] and may fail; what a test does with its own hands goes through [`Service::with`] and never does.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::ports::{Fault, LogError, WriteError};

/// How long a test waits for what should be a matter of milliseconds, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// What becomes of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure<E = WriteError> {
    /// Nothing is done, and this is the answer.
    Refuse(E),
    /// Nothing is done, and no answer ever comes.
    Hang,
    /// It is done, and the answer is lost with the connection.
    LoseReply,
    /// It is done, and no answer ever comes.
    HangAfter,
}

/// The error of a caller whose connection broke.
pub trait Lost {
    /// That error.
    fn lost() -> Self;
}

impl Lost for WriteError {
    fn lost() -> Self {
        Self::Retry(Fault::lost("the database in memory closed the connection; it is down because a test said so"))
    }
}

impl Lost for LogError {
    fn lost() -> Self {
        Self::Unavailable("the log in memory is down because a test said so".into())
    }
}

/// A service: its state `S`, the names `C` of its calls, and their error `E`.
pub(super) struct Service<S, C, E> {
    shared: Arc<Shared<S, C, E>>,
}

struct Shared<S, C, E> {
    inner: Mutex<Inner<S, C, E>>,
    /// Raised after every change, to wake whoever waits for one.
    changes: watch::Sender<u64>,
}

struct Inner<S, C, E> {
    state: S,
    down: bool,
    hanging: bool,
    latency: Duration,
    failures: HashMap<C, VecDeque<Failure<E>>>,
    calls: HashMap<C, u64>,
}

impl<S, C, E> Clone for Service<S, C, E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: Default, C, E> Default for Service<S, C, E> {
    fn default() -> Self {
        let inner = Inner {
            state: S::default(),
            down: false,
            hanging: false,
            latency: Duration::ZERO,
            failures: HashMap::new(),
            calls: HashMap::new(),
        };
        Self { shared: Arc::new(Shared { inner: Mutex::new(inner), changes: watch::Sender::new(0) }) }
    }
}

impl<S, C, E> fmt::Debug for Service<S, C, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(in memory)")
    }
}

impl<S, C: Copy + Eq + Hash, E: Lost> Service<S, C, E> {
    /// Reads or changes the state beside all faults.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut S) -> T) -> T {
        let result = work(&mut self.inner().state);
        self.changed();
        result
    }

    /// Reads the state beside all faults.
    pub(super) fn read<T>(&self, work: impl FnOnce(&S) -> T) -> T {
        work(&self.inner().state)
    }

    /// Looks at the state with code that may make what it looks for; wakes nobody.
    pub(super) fn peek<T>(&self, work: impl FnOnce(&mut S) -> T) -> T {
        work(&mut self.inner().state)
    }

    /// One call of an adapter, with whatever fault is due.
    pub(super) async fn call<T>(&self, call: C, work: impl FnOnce(&mut S) -> Result<T, E>) -> Result<T, E> {
        let (failure, latency) = {
            let mut inner = self.inner();
            *inner.calls.entry(call).or_default() += 1;
            let due = if inner.down {
                Some(Failure::Refuse(E::lost()))
            } else {
                inner.failures.get_mut(&call).and_then(VecDeque::pop_front)
            };
            (due, inner.latency)
        };
        self.changed();
        match &failure {
            Some(Failure::Refuse(_)) | None => {}
            Some(Failure::Hang) => std::future::pending().await,
            Some(Failure::LoseReply | Failure::HangAfter) => {}
        }
        if let Some(Failure::Refuse(error)) = failure {
            return Err(error);
        }
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        }
        self.until_awake().await;
        let result = {
            let mut inner = self.inner();
            if inner.down {
                return Err(E::lost());
            }
            work(&mut inner.state)
        };
        self.changed();
        match failure {
            Some(Failure::LoseReply) => Err(E::lost()),
            Some(Failure::HangAfter) => std::future::pending().await,
            _ => result,
        }
    }

    /// Waits until `condition` holds; looks again after every change.
    pub(super) async fn until(&self, condition: impl Fn() -> bool) {
        let mut changes = self.shared.changes.subscribe();
        while !condition() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits for a test until `condition` holds, and fails the test where it never does.
    pub(super) async fn expect(&self, condition: impl Fn() -> bool) {
        let waited = tokio::time::timeout(PATIENCE, self.until(condition)).await;
        assert!(waited.is_ok(), "what the test waits for did not come about in {PATIENCE:?}");
    }

    pub(super) fn is_down(&self) -> bool {
        self.inner().down
    }

    pub(super) fn set_down(&self, down: bool) {
        self.inner().down = down;
        self.changed();
    }

    pub(super) fn set_hanging(&self, hanging: bool) {
        self.inner().hanging = hanging;
        self.changed();
    }

    pub(super) fn set_latency(&self, latency: Duration) {
        self.inner().latency = latency;
    }

    pub(super) fn fail_next(&self, call: C, failure: Failure<E>) {
        self.inner().failures.entry(call).or_default().push_back(failure);
    }

    pub(super) fn calls(&self, call: C) -> u64 {
        self.inner().calls.get(&call).copied().unwrap_or_default()
    }

    async fn until_awake(&self) {
        self.until(|| !self.inner().hanging).await;
    }

    fn changed(&self) {
        self.shared.changes.send_modify(|version| *version += 1);
    }

    fn inner(&self) -> MutexGuard<'_, Inner<S, C, E>> {
        // A test that panicked while it held the lock has failed already; the others may go on.
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
