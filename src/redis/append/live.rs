//! Whether there is a connection, for many callers at once: one of them starts a task that connects, with longer and
//! longer pauses; while it fails, everybody else is told so at once instead of waiting.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tidegate_actors::message::Generation;
use tokio::{sync::watch, time::timeout};

use crate::redis::{
    connection::{CONNECT_TIMEOUT, describe, is_broken},
    server::{Connection, Limits, Server},
};

/// The first pause between attempts to connect; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// A Redis that is back is found within this and a connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One connection, and what was learned over it.
pub(super) struct Live {
    pub(super) connection: Connection,
    /// The newest generation by application, and when it was looked up.
    pub(super) generations: Mutex<HashMap<Arc<str>, (Generation, Instant)>>,
}

#[derive(Clone)]
enum State {
    /// Nobody has asked yet, or the task that connected ended with its runtime.
    Idle,
    /// A first attempt is under way: worth waiting for.
    Connecting,
    Up(Arc<Live>),
    /// Attempts go on; this is why the last one failed.
    Down(String),
}

/// Shared by all clones of an appender.
pub(super) struct Liveness {
    server: Server,
    state: watch::Sender<State>,
}

impl Liveness {
    pub(super) fn new(server: Server) -> Self {
        Self { server, state: watch::Sender::new(State::Idle) }
    }

    /// The connection; waits for a first attempt, and fails at once while Redis is known to be away.
    pub(super) async fn live(self: &Arc<Self>) -> Result<Arc<Live>, String> {
        if let State::Up(live) = &*self.state.borrow() {
            return Ok(Arc::clone(live));
        }
        let mut changes = self.state.subscribe();
        loop {
            let state = changes.borrow_and_update().clone();
            match state {
                State::Up(live) => return Ok(live),
                State::Down(why) => return Err(why),
                State::Idle => self.start(|state| matches!(state, State::Idle)),
                State::Connecting => {}
            }
            if changes.changed().await.is_err() {
                return Err("the node is shutting down".into());
            }
        }
    }

    /// Connects anew, unless somebody else saw to that already.
    pub(super) fn lost(self: &Arc<Self>, live: &Arc<Live>, why: String) {
        tracing::warn!(why, "the connection for new records is lost");
        self.start(|state| matches!(state, State::Up(current) if Arc::ptr_eq(current, live)));
    }

    /// Looks, in the background, whether a connection that let somebody wait is still good.
    pub(super) fn suspect(self: &Arc<Self>, live: Arc<Live>, limit: Duration) {
        let this = self.clone();
        tokio::spawn(async move { this.probe(&live, limit).await });
    }

    /// Whether Redis answers over this connection; if not, it is given up.
    pub(super) async fn probe(self: &Arc<Self>, live: &Arc<Live>, limit: Duration) -> Result<(), String> {
        let mut connection = live.connection.clone();
        let why = match timeout(limit, redis::cmd("PING").query_async::<()>(&mut connection)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if !is_broken(&error) => return Err(describe(&error)),
            Ok(Err(error)) => describe(&error),
            Err(_) => "Redis did not answer within 1 s".into(),
        };
        self.lost(live, why.clone());
        Err(why)
    }

    fn start(self: &Arc<Self>, when: impl FnOnce(&State) -> bool) {
        let mine = self.state.send_if_modified(|state| {
            let mine = when(state);
            if mine {
                *state = State::Connecting;
            }
            mine
        });
        if mine {
            tokio::spawn(Connecting(self.clone()).run());
        }
    }

    async fn attempt(&self) -> Result<Arc<Live>, String> {
        // No limit on answers: whoever asks over this connection has one, and a second timer for each record costs.
        let connected = self.server.connect(Limits { connect: CONNECT_TIMEOUT, response: None }).await;
        let mut connection = connected.map_err(|error| describe(&error))?;
        // A server that is loading its file accepts connections and answers nothing of use; one that is stopped not even that.
        match timeout(CONNECT_TIMEOUT, redis::cmd("PING").query_async::<()>(&mut connection)).await {
            Ok(Ok(())) => Ok(Arc::new(Live { connection, generations: Mutex::default() })),
            Ok(Err(error)) => Err(describe(&error)),
            Err(_) => Err("Redis did not answer within 1 s".into()),
        }
    }
}

/// The task that connects. Dropped with its runtime before it is done, it leaves the next caller to start another.
struct Connecting(Arc<Liveness>);

impl Connecting {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.0.attempt().await {
                Ok(live) => {
                    self.0.state.send_replace(State::Up(live));
                    return;
                }
                Err(why) => self.0.state.send_replace(State::Down(why)),
            };
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.state.send_if_modified(|state| {
            let unfinished = !matches!(state, State::Up(_));
            if unfinished {
                *state = State::Idle;
            }
            unfinished
        });
    }
}
