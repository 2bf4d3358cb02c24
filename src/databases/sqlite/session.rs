//! One connection to one file, and transactions on it.
//!
//! It notices a file that was moved away or replaced while it was open: SQLite would go on writing into a file that no
//! longer has a name.

use std::{
    fs::Metadata,
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqliteRow, SqliteSynchronous},
};
use tidegate_actors::ports::{Fault, WriteError};

use super::errors;

/// Statement shapes kept prepared: a route has about ten (a statement in each power of two of rows).
const PREPARED_STATEMENTS: usize = 200;

/// How a transaction's work ended.
pub(super) enum End<T> {
    /// Keep what it did.
    Commit(T),
    /// Take it back; the answer counts all the same.
    Undo(T),
}

/// A connection to a file.
pub(super) struct Session {
    connection: SqliteConnection,
    path: PathBuf,
    file: FileId,
    usable: bool,
}

impl Session {
    /// Opens a file that exists.
    pub(super) async fn open(path: PathBuf, timeout: Duration, lock_timeout: Duration) -> Result<Self, WriteError> {
        let file = identity(&path)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(lock_timeout)
            .foreign_keys(true)
            .statement_cache_capacity(PREPARED_STATEMENTS)
            .disable_statement_logging();
        let connection = tokio::time::timeout(timeout, options.connect())
            .await
            .map_err(|_| {
                let timeout_ms = timeout.as_millis();
                let message = format!("{} did not open within {timeout_ms} ms: is its disk reachable?", path.display());
                WriteError::Retry(Fault::lost(message))
            })?
            .map_err(|error| errors::classify(&path, error))?;
        Ok(Self { connection, path, file, usable: true })
    }

    /// Closes the file; whatever goes wrong with that is over.
    pub(super) async fn close(self) {
        let _ = self.connection.close().await;
    }

    /// Whether the file that is open is still the one with its name.
    pub(super) fn is_current(&self) -> bool {
        identity(&self.path).is_ok_and(|now| now == self.file)
    }

    /// Whether the connection is known to be outside of a transaction and in order.
    pub(super) fn is_usable(&self) -> bool {
        self.usable
    }

    /// One transaction, which holds the file's write lock from its beginning.
    pub(super) async fn transact<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<End<T>, WriteError>,
    ) -> Result<T, WriteError> {
        self.usable = false;
        if let Err(error) = self.run("BEGIN IMMEDIATE", SqliteArguments::default()).await {
            self.usable = matches!(&error, WriteError::Retry(fault) if !fault.connection_lost);
            return Err(error);
        }
        let outcome = match work(self).await {
            Ok(End::Commit(value)) => match self.run("COMMIT", SqliteArguments::default()).await {
                Ok(_) if self.is_current() => {
                    self.usable = true;
                    return Ok(value);
                }
                Ok(_) => return Err(self.moved()),
                Err(error) => Err(error),
            },
            Ok(End::Undo(value)) => Ok(value),
            Err(error) => Err(error),
        };
        // A ROLLBACK that fails (SQLite has rolled back by itself after some errors) costs the connection.
        self.usable = self.run("ROLLBACK", SqliteArguments::default()).await.is_ok();
        outcome
    }

    fn moved(&self) -> WriteError {
        let message = format!("{} was replaced while it was being written: opening it anew", self.path.display());
        WriteError::Retry(Fault::lost(message))
    }

    /// Runs one statement; how many rows it wrote.
    pub(super) async fn run(&mut self, sql: &str, arguments: SqliteArguments) -> Result<u64, WriteError> {
        let done = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut self.connection).await;
        done.map(|done| done.rows_affected()).map_err(|error| errors::classify(&self.path, error))
    }

    /// Runs several statements without arguments.
    pub(super) async fn script(&mut self, sql: &'static str) -> Result<(), WriteError> {
        let done = sqlx::raw_sql(sql).execute(&mut self.connection).await;
        done.map(|_| ()).map_err(|error| errors::classify(&self.path, error))
    }

    /// The rows of a query.
    pub(super) async fn rows(&mut self, sql: &str, arguments: SqliteArguments) -> Result<Vec<SqliteRow>, WriteError> {
        let rows = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch_all(&mut self.connection).await;
        rows.map_err(|error| errors::classify(&self.path, error))
    }

    /// A cell that does not read as it should.
    pub(super) fn unreadable(&self, error: sqlx::Error) -> WriteError {
        errors::classify(&self.path, error)
    }

    /// Where the file is, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Device and inode.
type FileId = (u64, u64);

/// Which file has this name.
fn identity(path: &Path) -> Result<FileId, WriteError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(number(&found)),
        Ok(_) => {
            let message = format!("{} is not a file: name the database file in the destination's url", path.display());
            Err(WriteError::Hold(Fault::new(message)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(WriteError::Hold(Fault::new(format!(
            "{0} does not exist and is never created by Tidegate: mount its disk, restore it, or make an empty one with \
             `sqlite3 {0} VACUUM`",
            path.display()
        )))),
        Err(error) => Err(WriteError::Retry(Fault::lost(format!("{} can't be looked at: {error}", path.display())))),
    }
}

#[cfg(unix)]
fn number(found: &Metadata) -> FileId {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino())
}

/// Elsewhere an open file can't be moved away.
#[cfg(not(unix))]
fn number(_: &Metadata) -> FileId {
    (0, 0)
}
