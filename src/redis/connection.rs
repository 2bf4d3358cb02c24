//! A connection that is made when it is first needed and again after it broke. Used by everything but the appender and the
//! reader, whose needs are their own.

use std::{sync::Mutex, time::Duration};

use redis::{ErrorKind, RedisError, RedisResult, ServerErrorKind};

use super::{
    patience,
    server::{Connection, Limits, Server, sentence},
};

/// Longest time to connect and log in.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time for the answer to a short call. The crate's default of 500 ms is less than a slow disk may take.
pub(crate) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Connects, with an end to every wait.
pub(crate) async fn connect(server: &Server, response_timeout: Duration) -> RedisResult<Connection> {
    server.connect(Limits { connect: CONNECT_TIMEOUT, response: Some(response_timeout) }).await
}

/// Whether the connection is of no more use. A server that became a replica, gave the slot away, lost its replicas or is still
/// loading its file counts too: where the stream is now, and its generation, must be looked at anew.
pub(crate) fn is_broken(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || error.code() == Some("NOREPLICAS")
        || matches!(
            error.kind(),
            ErrorKind::ClusterConnectionNotFound
                | ErrorKind::Server(
                    ServerErrorKind::ReadOnly
                        | ServerErrorKind::BusyLoading
                        | ServerErrorKind::MasterDown
                        | ServerErrorKind::Moved
                        | ServerErrorKind::Ask
                        | ServerErrorKind::ClusterDown
                        | ServerErrorKind::TryAgain
                )
        )
}

/// Whether Redis refused because it has no memory left; in a transaction, because it refused one of its commands.
pub(crate) fn is_full(error: &RedisError) -> bool {
    error.code() == Some("OOM")
        || error.detail().is_some_and(|detail| detail.contains("OOM command not allowed"))
        || error.clone().into_server_errors().is_some_and(|all| all.iter().any(|(_, error)| error.code() == "OOM"))
}

/// The error in words. Redis's own words name commands and keys, never values.
pub(crate) fn describe(error: &RedisError) -> String {
    if error.is_timeout() {
        return "Redis did not answer in time".into();
    }
    if error.is_connection_refusal() {
        return "nothing listens at Redis's address: is it running?".into();
    }
    if let Some(sentence) = sentence(error) {
        return format!("Redis: {sentence}");
    }
    let text = error.to_string();
    format!("Redis: {}", text.chars().take(200).collect::<String>())
}

/// A lazily made connection for short calls that may be repeated.
pub struct Link {
    server: Server,
    current: Mutex<Option<Connection>>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({})", self.server)
    }
}

impl Link {
    /// Connects on first use.
    #[must_use]
    pub fn new(server: Server) -> Self {
        Self { server, current: Mutex::new(None) }
    }

    fn current(&self) -> Option<Connection> {
        self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn set(&self, connection: Option<Connection>) {
        *self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = connection;
    }

    /// Makes the call; once more over a new connection where the old one had broken while nobody looked. So it must be one
    /// that may be repeated. One that is given up before its answer takes the connection with it: whoever gives up a little
    /// sooner than it would would else ask over a dead one for ever.
    ///
    /// # Errors
    /// Redis can't be reached or refuses.
    pub async fn run<T, F>(&self, call: F) -> RedisResult<T>
    where
        F: AsyncFn(Connection) -> RedisResult<T>,
    {
        patience::may_ask()?;
        let unanswered = Unanswered(self);
        let outcome = patience::ask(self.attempts(call)).await;
        std::mem::forget(unanswered);
        if outcome.as_ref().is_err_and(RedisError::is_timeout) {
            self.set(None);
        }
        outcome
    }

    async fn attempts<T, F>(&self, call: F) -> RedisResult<T>
    where
        F: AsyncFn(Connection) -> RedisResult<T>,
    {
        if let Some(connection) = self.current() {
            match call(connection).await {
                Err(error) if is_broken(&error) => {
                    self.set(None);
                    if error.is_timeout() {
                        return Err(error);
                    }
                }
                outcome => return outcome,
            }
        }
        let connection = connect(&self.server, RESPONSE_TIMEOUT).await?;
        self.set(Some(connection.clone()));
        let outcome = call(connection).await;
        if outcome.as_ref().is_err_and(is_broken) {
            self.set(None);
        }
        outcome
    }
}

/// Gives the link's connection up when it is dropped.
struct Unanswered<'a>(&'a Link);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.set(None);
    }
}
