//! SQLite as a destination: a file on the node that the destination names.
//!
//! Every write is one BEGIN IMMEDIATE transaction whose first statement is the fence; a call that is dropped half-way
//! takes its connection with it, so no transaction is left open. The file is never created: one that is missing is a
//! Hold. Called by the destination's actor through the [`Destination`] port, and by `check`.

mod bookkeeping;
mod catalogue;
mod errors;
mod session;
mod sql;
mod statements;
mod trials;
mod values;

use std::path::PathBuf;

use async_trait::async_trait;
use futures_util::future::LocalBoxFuture;
use tidegate_actors::{
    failpoint,
    message::{Generation, StreamId},
    ports::{Destination, Fault, Rejection, TableName, WriteError},
    schema::TableSchema,
    transaction::{Committed, LaneId, Statement, TakenOver, Transaction, Trial, Tried, WatermarkRow, settled},
};

use self::session::{End, Session};
use super::{CheckStep, Connection, Kind, failed_definition};

/// SQLite.
pub const KIND: Kind = Kind {
    name: "sqlite",
    title: "SQLite",
    port: None,
    here: false,
    parallel: true,
    refuses: |_| Vec::new(),
    example: r#"[[destination]]
name = "rooms"
kind = "sqlite"
url = "sqlite:///srv/rooms.db"
node = "a"
"#,
    notes: "The file belongs to the node named by `node`, on a local disk. It must exist: Tidegate never creates it, so that a \
            disk that is not mounted is noticed. It is switched to a write-ahead log and every commit is synced; when a \
            backup is put in its place, remove the files `-wal` and `-shm` beside it too.",
    ddl: bookkeeping::DDL,
    grants: "",
    validate,
    open: |settings| Box::new(Sqlite { settings, session: None }),
    check: |settings| check(settings),
};

fn validate(settings: &Connection) -> Result<(), String> {
    path(settings)?;
    if settings.password.is_some() {
        return Err("a SQLite file has no password: protect it by the file's permissions".into());
    }
    if settings.tls.is_some() {
        return Err("a SQLite file has no TLS: leave `tls` out".into());
    }
    Ok(())
}

/// The file that the address names.
fn path(settings: &Connection) -> Result<PathBuf, String> {
    let wrong = || format!("`{}` does not name a file: write sqlite:///srv/rooms.db, with three slashes", settings.url);
    let url = &settings.url;
    if url.scheme() != "sqlite" || url.host_str().is_some_and(|host| !host.is_empty()) || url.path().ends_with('/') {
        return Err(wrong());
    }
    url.to_file_path().map_err(|()| wrong())
}

/// A file, opened on first use.
struct Sqlite {
    settings: Connection,
    session: Option<Session>,
}

impl Sqlite {
    /// Takes the session out for the length of a call: a call that is dropped drops it, which rolls back.
    async fn session(&mut self) -> Result<Session, WriteError> {
        match self.session.take() {
            Some(session) if session.is_current() => return Ok(session),
            Some(session) => session.close().await,
            None => {}
        }
        let path = path(&self.settings).map_err(|why| WriteError::Hold(Fault::new(why)))?;
        Session::open(path, self.settings.connect_timeout, self.settings.session_timeout).await
    }

    /// Does some work in one transaction that holds the write lock from its beginning.
    async fn transact<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session) -> Result<End<T>, WriteError>,
    ) -> Result<T, WriteError> {
        let mut session = self.session().await?;
        let outcome = session.transact(work).await;
        if session.is_usable() {
            self.session = Some(session);
        }
        outcome
    }
}

#[async_trait(?Send)]
impl Destination for Sqlite {
    async fn probe(&mut self) -> Result<(), WriteError> {
        self.transact(async |_| Ok(End::Undo(()))).await
    }

    async fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> Result<TakenOver, WriteError> {
        self.transact(async |session| bookkeeping::take_over(session, installation, destination, owner).await).await
    }

    async fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError> {
        self.transact(async |session| bookkeeping::begin_lane(session, lane, generation, owner, last_id).await).await
    }

    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        // In a transaction of its own: it waits for a commit that an abandoned call may still have under way.
        self.transact(async |session| bookkeeping::watermark(session, lane, generation).await).await
    }

    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError> {
        self.transact(async |session| catalogue::table(session, name).await.map(End::Undo)).await
    }

    async fn tables(&mut self) -> Result<Vec<TableName>, WriteError> {
        self.transact(async |session| catalogue::tables(session).await.map(End::Undo)).await
    }

    async fn define(&mut self, statements: &[String]) -> Result<(), WriteError> {
        self.transact(async |session| {
            for (place, statement) in statements.iter().enumerate() {
                session.run(statement, Default::default()).await.map_err(|error| match error {
                    WriteError::Retry(fault) => WriteError::Retry(fault),
                    other => {
                        let (file, words) = (session.path().display().to_string(), other.to_string());
                        let words = words.strip_prefix(&format!("{file}: ")).unwrap_or(&words);
                        WriteError::Hold(failed_definition(&file, place, statements.len(), false, words))
                    }
                })?;
            }
            Ok(End::Commit(()))
        })
        .await
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        self.commit_trials(transaction, &[]).await.map(|tried| tried.committed)
    }

    async fn commit_trials(&mut self, transaction: &Transaction, trials: &[Trial]) -> Result<Tried, WriteError> {
        self.transact(async |session| {
            if let Some(lock) = &transaction.lock {
                bookkeeping::lock(session, lock).await?;
            }
            bookkeeping::fence(session, &transaction.fence).await?;
            let lane = &transaction.fence.lane.main();
            if let Some(dead) = &transaction.exhume
                && !bookkeeping::exhume(session, lane, dead).await?
            {
                return Ok(End::Undo(Tried::default()));
            }
            bookkeeping::open(session, &transaction.fence, &transaction.open).await?;
            bookkeeping::close(session, &transaction.close).await?;
            let mut tried = trials::rows(session, &transaction.statements, trials).await?;
            tried.committed.exhumed = true;
            let (supersede, bury) = settled(transaction, trials, &tried.refused);
            bookkeeping::supersede(session, lane, &supersede).await?;
            bookkeeping::bury(session, lane, &bury).await?;
            failpoint::reach(failpoint::INSIDE_SQLITE);
            Ok(End::Commit(tried))
        })
        .await
    }

    async fn sift(&mut self, transaction: &Transaction) -> Result<Vec<Rejection>, WriteError> {
        self.transact(async |session| {
            bookkeeping::fence(session, &transaction.fence).await?;
            trials::sift(session, &transaction.statements).await.map(End::Undo)
        })
        .await
    }

    async fn write(&mut self, statements: &[Statement]) -> Result<Committed, WriteError> {
        self.transact(async |session| {
            let untouched = statements::rows(session, statements).await?;
            Ok(End::Commit(Committed { untouched, exhumed: true }))
        })
        .await
    }
}

/// Opens the file, then takes and gives back its write lock.
fn check(settings: &Connection) -> LocalBoxFuture<'_, Vec<CheckStep>> {
    Box::pin(async move {
        let subject = path(settings).map_or_else(|_| settings.url.to_string(), |path| path.display().to_string());
        let step = |step, outcome: Result<String, String>| CheckStep { step, subject: subject.clone(), outcome };
        let mut file = Sqlite { settings: settings.clone(), session: None };
        let opened = match validate(settings) {
            Ok(()) => file.session().await.map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        match opened {
            Err(why) => vec![step("login", Err(why))],
            Ok(session) => {
                file.session = Some(session);
                let rights = file.probe().await.map(|()| "takes writes".to_owned()).map_err(|error| error.to_string());
                vec![step("login", Ok("opened, write-ahead log on".into())), step("rights", rights)]
            }
        }
    })
}

#[cfg(test)]
mod tests;
