//! The one connection of a destination: how it is made, what is asked of the session, and its transactions.
//!
//! A session that is used is out of its owner's hands until the use has ended well, so that a future dropped halfway takes
//! its connection with it.

use std::{net::IpAddr, time::Duration};

use secrecy::ExposeSecret;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection as _, MySqlConnection, Row,
    mysql::{MySqlConnectOptions, MySqlQueryResult, MySqlSslMode},
};
use tidegate_actors::ports::{Fault, WriteError};
use tokio::time::{Instant, timeout};

use super::errors;
use crate::{databases::Connection, resources::TlsMode};

/// Prepared statements that the server keeps for us.
const STATEMENTS: usize = 64;
/// A connection that was idle for longer is asked whether it is still there before a transaction relies on it.
const FRESH: Duration = Duration::from_secs(1);
/// Most bytes of one statement's values, unless one row has more: a paused or slow network then holds little.
pub(super) const MAX_STATEMENT_BYTES: usize = 4 << 20;

/// Why a piece of work failed.
pub(super) enum Failure {
    /// The driver's error, to be classified.
    Sql(sqlx::Error),
    /// A verdict.
    Told(WriteError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl Failure {
    /// The verdict.
    pub(super) fn verdict(self, destination: &str) -> WriteError {
        match self {
            Self::Sql(error) => errors::classify(&error, destination),
            Self::Told(verdict) => verdict,
        }
    }
}

/// A connection that is logged in and set up.
pub(super) struct Session {
    pub(super) connection: MySqlConnection,
    /// Most bytes the server takes in one packet.
    pub(super) max_packet_bytes: usize,
    idle_seconds: u64,
    used: Instant,
}

impl Session {
    /// Connects, logs in and sets the session up, within the time allowed.
    pub(super) async fn open(settings: &Connection) -> Result<Self, sqlx::Error> {
        let limit = settings.connect_timeout;
        let attempt = timeout(limit, async {
            let mut connection = options(settings)?.connect().await?;
            let seconds = whole_seconds(settings.session_timeout);
            sqlx::raw_sql(AssertSqlSafe(set_up(seconds))).execute(&mut connection).await?;
            let row = sqlx::query("SELECT CAST(@@max_allowed_packet AS UNSIGNED)").fetch_one(&mut connection).await?;
            let max_packet_bytes = usize::try_from(row.try_get::<u64, _>(0)?).unwrap_or(usize::MAX);
            Ok(Self { connection, max_packet_bytes, idle_seconds: seconds, used: Instant::now() })
        });
        attempt.await.unwrap_or_else(|_| {
            let words = format!("no answer within {} s", limit.as_secs_f32());
            Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, words)))
        })
    }

    /// Whether it can be relied on: used a moment ago, or it answers.
    pub(super) async fn is_there(&mut self, settings: &Connection) -> bool {
        self.used.elapsed() < FRESH
            || matches!(timeout(settings.connect_timeout, self.connection.ping()).await, Ok(Ok(())))
    }

    /// Notes that it was just used.
    pub(super) fn touch(&mut self) {
        self.used = Instant::now();
    }

    /// Most bytes of values to put into one statement.
    pub(super) fn statement_bytes(&self) -> usize {
        MAX_STATEMENT_BYTES.min(self.max_packet_bytes / 2)
    }

    /// Begins a transaction with this statement, if any; how many rows that matched. In it the server ends the session by itself
    /// when nothing comes for a while. Outside of one the server's own patience counts, since an idle session then holds nothing.
    pub(super) async fn begin(&mut self, first: &str) -> Result<u64, sqlx::Error> {
        let sql = format!("SET SESSION wait_timeout={}; START TRANSACTION; {first}", self.idle_seconds);
        let outcome = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await?;
        Ok(outcome.rows_affected())
    }

    /// Commits.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.text("COMMIT; SET SESSION wait_timeout=DEFAULT").await
    }

    /// Rolls back.
    pub(super) async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        self.text("ROLLBACK; SET SESSION wait_timeout=DEFAULT").await
    }

    /// Statements without parameters, sent as they are.
    pub(super) async fn text(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        self.literal(sql.to_owned()).await
    }

    /// One statement with its values in it as literals.
    pub(super) async fn literal(&mut self, sql: String) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.connection).await.map(drop)
    }

    /// Most bytes of one statement, the packet around it left out.
    pub(super) fn most_bytes(&self) -> usize {
        self.max_packet_bytes.saturating_sub(1_024)
    }

    /// One prepared statement; how many rows it matched.
    pub(super) async fn execute(
        &mut self,
        query: sqlx::query::Query<'_, sqlx::MySql, sqlx::mysql::MySqlArguments>,
    ) -> Result<u64, sqlx::Error> {
        // The driver sets CLIENT_FOUND_ROWS, so an UPDATE counts what it matched, changed or not.
        query.execute(&mut self.connection).await.map(|result: MySqlQueryResult| result.rows_affected())
    }
}

/// A time in whole seconds, at least one: what MySQL's settings take.
fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

/// What a session must be like, whatever the server's defaults are: strict, in UTC, reading what is committed, and ended
/// by the server when we stand still in the middle of something.
fn set_up(seconds: u64) -> String {
    format!(
        "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,\
         NO_ZERO_IN_DATE,NO_AUTO_VALUE_ON_ZERO', time_zone='+00:00', autocommit=1, foreign_key_checks=1, \
         unique_checks=1, sql_safe_updates=0, sql_auto_is_null=0, net_read_timeout={seconds}, \
         net_write_timeout={seconds}, lock_wait_timeout={seconds}, innodb_lock_wait_timeout={seconds}; \
         SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
    )
}

/// Whether the address is this machine's own.
pub(super) fn is_loopback(url: &url::Url) -> bool {
    let host = url.host_str().unwrap_or("").trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// How the connection is secured.
pub(super) fn tls_mode(settings: &Connection) -> TlsMode {
    match &settings.tls {
        Some(tls) => tls.mode,
        None if is_loopback(&settings.url) => TlsMode::Off,
        None => TlsMode::Verify,
    }
}

/// What the driver needs to reach the server; the bench's bare client connects with the same.
pub(crate) fn options(settings: &Connection) -> Result<MySqlConnectOptions, sqlx::Error> {
    let mut options = MySqlConnectOptions::from_url(&settings.url)?
        .statement_cache_capacity(STATEMENTS)
        .ssl_mode(match tls_mode(settings) {
            TlsMode::Verify => MySqlSslMode::VerifyIdentity,
            TlsMode::Require => MySqlSslMode::Required,
            TlsMode::Off => MySqlSslMode::Disabled,
        })
        .disable_statement_logging();
    if let Some(ca) = settings.tls.as_ref().and_then(|tls| tls.ca.as_ref()) {
        options = options.ssl_ca(ca);
    }
    if let Some(password) = &settings.password {
        options = options.password(password.expose_secret());
    }
    Ok(options)
}

/// A broken rule of our own tables, for an operator.
pub(super) fn broken(destination: &str, what: &str) -> Failure {
    Failure::Told(WriteError::Hold(Fault::new(format!("`{destination}`: {what}"))))
}
