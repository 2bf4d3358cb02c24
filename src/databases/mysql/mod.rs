//! MySQL 8.0 and MariaDB 10.5 and later as a destination, over one connection.
//!
//! Values go as text, which the strict session reads as the column's type or refuses; rows go in bulk, one transaction
//! after the other, each behind its fence. The destination's actor calls this through [`Destination`].

mod bookkeeping;
mod catalogue;
mod check;
mod errors;
mod literals;
mod session;
mod sql;
#[cfg(test)]
mod sql_tests;
mod write;

use async_trait::async_trait;
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Destination, Rejection, TableName, WriteError},
    schema::TableSchema,
    transaction::{Committed, Encoder, Fence, LaneId, Statement, TakenOver, Transaction, Trial, Tried, WatermarkRow},
};

pub(crate) use self::session::options;
use self::{
    bookkeeping::not_a_row,
    catalogue::Missing,
    session::{Failure, Session},
    write::Tables,
};
use super::{Connection, Kind, failed_definition};

/// MySQL and MariaDB.
pub const KIND: Kind = Kind {
    name: "mysql",
    title: "MySQL and MariaDB",
    port: Some(3306),
    here: false,
    parallel: true,
    refuses: |_| Vec::new(),
    example: r#"[[destination]]
name = "rooms"
kind = "mysql"
url = "mysql://writer@10.0.0.5/cars_room"
password = { env = "ROOMS_PASSWORD" }
delivery = "ordered"
tls = { mode = "verify", ca = "/etc/tidegate/rooms-ca.pem" }
"#,
    notes: "MySQL 8.0 and MariaDB 10.5 and later, tables of a transactional engine (InnoDB). MySQL's \
            caching_sha2_password accounts need TLS here, on loopback too; JSON columns of MySQL keep numbers as doubles; \
            fractions of a second beyond the column's digits are cut off.",
    ddl: bookkeeping::DDL,
    grants: "GRANT CREATE, SELECT, INSERT, UPDATE, DELETE ON `{database}`.* TO '{user}'@'%';\n\
             -- Without CREATE, run the DDL first. SELECT, INSERT, UPDATE and DELETE may be granted table by table: on \
             tidegate_watermark, tidegate_dead, tidegate_binding and the tables that routes write to.\n",
    validate: check::validate,
    open: |settings| Box::new(MySql { settings, session: None, tables: Tables::new() }),
    check: |settings| Box::pin(check::steps(settings)),
};

struct MySql {
    settings: Connection,
    /// Out of here while it is in use, so that a future dropped halfway drops its connection too.
    session: Option<Session>,
    /// What is known of the tables that were described or written to.
    tables: Tables,
}

impl MySql {
    fn name(&self) -> &str {
        &self.settings.name
    }

    /// The session, or a new one where it is gone.
    async fn session(&mut self) -> Result<Session, WriteError> {
        if let Some(mut session) = self.session.take()
            && session.is_there(&self.settings).await
        {
            return Ok(session);
        }
        Session::open(&self.settings).await.map_err(|error| match not_a_row(errors::classify(&error, self.name())) {
            // Whatever went wrong on the way in, there is no connection.
            WriteError::Retry(fault) => WriteError::Retry(tidegate_actors::ports::Fault::lost(fault.message)),
            other => other,
        })
    }

    /// Puts the session back, unless its connection is lost.
    fn put_back<T>(&mut self, mut session: Session, outcome: Result<T, WriteError>) -> Result<T, WriteError> {
        match &outcome {
            Err(WriteError::Retry(fault)) if fault.connection_lost => {}
            _ => {
                session.touch();
                self.session = Some(session);
            }
        }
        outcome
    }

    /// Work outside of a transaction.
    async fn ask<T>(&mut self, work: impl AsyncFnOnce(&mut Session) -> Result<T, Failure>) -> Result<T, WriteError> {
        let mut session = self.session().await?;
        let outcome = work(&mut session).await.map_err(|failure| write::verdict(failure, self.name()));
        self.put_back(session, outcome)
    }

    /// Work within a transaction, which begins behind this fence; committed where the work answers with true.
    async fn transact<T>(
        &mut self,
        fence: Option<&Fence>,
        work: impl AsyncFnOnce(&mut Session) -> Result<(T, bool), Failure>,
    ) -> Result<T, WriteError> {
        let mut session = self.session().await?;
        let attempt = async {
            match fence {
                Some(fence) => bookkeeping::begin_fenced(&mut session, fence).await?,
                None => session.begin("").await.map(drop)?,
            }
            match work(&mut session).await? {
                (answer, true) => session.commit().await.map(|()| answer).map_err(Failure::Sql),
                (answer, false) => session.rollback().await.map(|()| answer).map_err(Failure::Sql),
            }
        };
        let outcome = attempt.await.map_err(|failure| write::verdict(failure, self.name()));
        let lost = matches!(&outcome, Err(WriteError::Retry(fault)) if fault.connection_lost);
        if outcome.is_err() && !lost {
            // A rollback that fails leaves a connection of no use; the server undoes what it had begun.
            if session.rollback().await.is_err() {
                return outcome;
            }
        }
        self.put_back(session, outcome)
    }
}

impl MySql {
    /// Looks at the tables of these statements that are not known yet.
    async fn learn_tables(&mut self, statements: &[Statement]) -> Result<(), WriteError> {
        for statement in statements {
            let (schema, table) = (&statement.plan.table.schema, &statement.plan.table.name);
            if !self.tables.contains_key(&(schema.clone(), table.clone())) {
                let (_, facts) = self
                    .ask(async |session| Ok(catalogue::describe(&mut session.connection, schema, table).await?))
                    .await?;
                self.tables.insert((schema.clone(), table.clone()), facts);
            }
        }
        Ok(())
    }

    /// Puts back what is known of the tables. What is held may be a table that has changed: it is looked at anew.
    fn keep_tables<T>(&mut self, tables: Tables, outcome: &Result<T, WriteError>) {
        if !matches!(outcome, Err(WriteError::Hold(_))) {
            self.tables = tables;
        }
    }
}

#[async_trait(?Send)]
impl Destination for MySql {
    async fn probe(&mut self) -> Result<(), WriteError> {
        self.ask(async |session| {
            // Matches no row, but a read-only server refuses it.
            match session.text("UPDATE tidegate_watermark SET epoch = epoch WHERE lane = ''").await {
                // Not taken over yet.
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42S02") => Ok(()),
                other => Ok(other?),
            }
        })
        .await
    }

    async fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> Result<TakenOver, WriteError> {
        self.ask(bookkeeping::make_tables).await?;
        let name = self.settings.name.clone();
        self.transact(None, async |session| {
            bookkeeping::take_over(session, installation, destination, owner, &name).await.map(|found| (found, true))
        })
        .await
    }

    async fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError> {
        self.transact(None, async |session| {
            bookkeeping::begin_lane(session, lane, generation, owner, last_id).await.map(|()| ((), true))
        })
        .await
    }

    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        let name = self.settings.name.clone();
        self.ask(async |session| bookkeeping::watermark(session, lane, generation, &name).await).await
    }

    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError> {
        let destination = self.settings.name.clone();
        let (schema, facts) = self
            .ask(async |session| {
                catalogue::table(&mut session.connection, name, &destination).await.map_err(|missing| match missing {
                    Missing::Sql(error) => Failure::Sql(error),
                    Missing::Told(verdict) => Failure::Told(verdict),
                })
            })
            .await?;
        self.tables.insert((schema.schema.clone(), schema.name.clone()), facts);
        Ok(schema)
    }

    async fn tables(&mut self) -> Result<Vec<TableName>, WriteError> {
        self.ask(async |session| Ok(catalogue::tables(&mut session.connection).await?)).await
    }

    /// Each statement counts by itself: MySQL commits before and after every one of them.
    async fn define(&mut self, statements: &[String]) -> Result<(), WriteError> {
        let name = self.settings.name.clone();
        self.tables.clear();
        self.ask(async |session| {
            for (place, statement) in statements.iter().enumerate() {
                session.text(statement).await.map_err(|error| match errors::classify(&error, &name) {
                    WriteError::Retry(fault) => Failure::Told(WriteError::Retry(fault)),
                    other => {
                        let words = other.to_string();
                        let words = words.strip_prefix(&format!("`{name}`: ")).unwrap_or(&words);
                        Failure::Told(WriteError::Hold(failed_definition(&name, place, statements.len(), true, words)))
                    }
                })?;
            }
            Ok(())
        })
        .await
    }

    fn encoder(&self) -> Option<Encoder> {
        Some(Encoder::new(literals::encode))
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        self.commit_trials(transaction, &[]).await.map(|tried| tried.committed)
    }

    async fn commit_trials(&mut self, transaction: &Transaction, trials: &[Trial]) -> Result<Tried, WriteError> {
        self.learn_tables(&transaction.statements).await?;
        let (tables, name) = (std::mem::take(&mut self.tables), self.settings.name.clone());
        // Another row is to be locked before its own.
        let fence = transaction.lock.is_none().then_some(&transaction.fence);
        let outcome = self
            .transact(fence, async |session| {
                let tried = write::transaction(session, &tables, transaction, trials, &name).await?;
                let keep = tried.committed.exhumed;
                Ok((tried, keep))
            })
            .await;
        self.keep_tables(tables, &outcome);
        outcome
    }

    async fn sift(&mut self, transaction: &Transaction) -> Result<Vec<Rejection>, WriteError> {
        self.learn_tables(&transaction.statements).await?;
        let (tables, name) = (std::mem::take(&mut self.tables), self.settings.name.clone());
        let outcome = self
            .transact(Some(&transaction.fence), async |session| {
                Ok((write::sift(session, &tables, transaction, &name).await?, false))
            })
            .await;
        self.keep_tables(tables, &outcome);
        outcome
    }

    async fn write(&mut self, statements: &[Statement]) -> Result<Committed, WriteError> {
        self.learn_tables(statements).await?;
        let (tables, name) = (std::mem::take(&mut self.tables), self.settings.name.clone());
        let outcome = self
            .transact(None, async |session| {
                let untouched = write::rows(session, &tables, statements, &name).await?;
                Ok((Committed { untouched, exhumed: true }, true))
            })
            .await;
        self.keep_tables(tables, &outcome);
        outcome
    }
}
