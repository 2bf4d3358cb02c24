//! PostgreSQL as a destination: one connection, one transaction at a time, rows in bulk by array parameters.
//!
//! The core calls it through [`Destination`]. A call takes the connection out and puts it back only when it is in step
//! again, so a call that is dropped half-way leaves nothing behind: the server rolls back what was not committed.

mod at_once;
mod binary;
mod bookkeeping;
mod catalogue;
mod connect;
mod errors;
mod row;
mod sql;
mod transaction;
mod trials;

use async_trait::async_trait;
use sqlx::PgConnection;
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Destination, Fault, Rejection, TableName, WriteError},
    schema::TableSchema,
    transaction::{Committed, LaneId, Statement, TakenOver, Transaction, Trial, Tried, WatermarkRow},
};

pub(crate) use self::connect::options;
use super::{Connection, Kind};

/// PostgreSQL.
pub const KIND: Kind = Kind {
    name: "postgres",
    title: "PostgreSQL",
    port: Some(5432),
    here: false,
    parallel: true,
    refuses: |_| Vec::new(),
    example: r#"[[destination]]
name = "sales"
kind = "postgres"
url = "postgres://writer@10.0.0.5:5432/sales"   # ?search_path=… chooses schemas
password = { env = "SALES_PASSWORD" }
tls = { mode = "verify", ca = "/etc/tidegate/sales-ca.pem" }
"#,
    notes: "PostgreSQL 12 or later. Tidegate's three tables are made in the first schema of the user's search_path, or by a DBA \
            beforehand. A connection pooler between must be in session mode.",
    ddl: bookkeeping::DDL,
    grants: "GRANT CONNECT ON DATABASE {database} TO {user};\n\
             GRANT USAGE ON SCHEMA public TO {user};\n\
             GRANT CREATE ON SCHEMA public TO {user}; -- only where Tidegate makes its own tables\n\
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {user};\n\
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {user}; -- serial columns\n",
    validate: connect::validate,
    open: |connection| Box::new(Postgres { connection, session: None }),
    check: |connection| Box::pin(connect::check(connection)),
};

/// One destination's database.
struct Postgres {
    connection: Connection,
    /// In step with the server and outside any transaction; none before the first call and after a fault.
    session: Option<PgConnection>,
}

impl Postgres {
    /// Runs `work` on the connection, made anew where there is none.
    async fn on_session<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection, &str) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let mut pg = match self.session.take() {
            Some(pg) => pg,
            None => connect::connect(&self.connection).await?,
        };
        let outcome = work(&mut pg, &self.connection.name).await;
        if !matches!(&outcome, Err(WriteError::Retry(fault)) if fault.connection_lost) {
            self.session = Some(pg);
        }
        outcome
    }
}

#[async_trait(?Send)]
impl Destination for Postgres {
    async fn probe(&mut self) -> Result<(), WriteError> {
        self.on_session(async |pg, name| {
            let read_only: bool = sqlx::query_scalar("SELECT current_setting('transaction_read_only')::bool")
                .fetch_one(pg)
                .await
                .map_err(|error| errors::of_ours(name, &error))?;
            if read_only {
                return Err(WriteError::Retry(Fault::new(format!(
                    "{name}: the server takes no writes: point the destination to the primary, or end its read-only mode"
                ))));
            }
            Ok(())
        })
        .await
    }

    async fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> Result<TakenOver, WriteError> {
        self.on_session(async |pg, name| bookkeeping::take_over(pg, name, installation, destination, owner).await).await
    }

    async fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError> {
        self.on_session(async |pg, name| bookkeeping::begin_lane(pg, name, lane, generation, owner, last_id).await)
            .await
    }

    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        self.on_session(async |pg, name| {
            bookkeeping::watermark(pg, lane, generation).await.map_err(|error| errors::of_ours(name, &error))
        })
        .await
    }

    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError> {
        self.on_session(async |pg, destination| catalogue::table(pg, destination, name).await).await
    }

    async fn tables(&mut self) -> Result<Vec<TableName>, WriteError> {
        self.on_session(async |pg, destination| catalogue::tables(pg, destination).await).await
    }

    async fn define(&mut self, statements: &[String]) -> Result<(), WriteError> {
        self.on_session(async |pg, destination| transaction::define(pg, destination, statements).await).await
    }

    async fn write(&mut self, statements: &[Statement]) -> Result<Committed, WriteError> {
        self.on_session(async |pg, name| transaction::write(pg, name, statements).await).await
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        self.commit_trials(transaction, &[]).await.map(|tried| tried.committed)
    }

    async fn commit_trials(&mut self, transaction: &Transaction, trials: &[Trial]) -> Result<Tried, WriteError> {
        self.on_session(async |pg, name| transaction::commit(pg, name, transaction, trials).await).await
    }

    async fn sift(&mut self, transaction: &Transaction) -> Result<Vec<Rejection>, WriteError> {
        self.on_session(async |pg, name| trials::sift(pg, name, transaction).await).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    #[test]
    fn the_example_parses_and_its_settings_are_valid() {
        let document: toml::Table = KIND.example.parse().unwrap();
        let example = &document["destination"][0];
        assert_eq!(example["kind"].as_str(), Some(KIND.name));
        let tls: crate::resources::Tls = example["tls"].clone().try_into().unwrap();
        (KIND.validate)(&Connection {
            name: example["name"].as_str().unwrap().into(),
            url: example["url"].as_str().unwrap().parse().unwrap(),
            password: None,
            tls: Some(tls),
            connect_timeout: Duration::from_secs(5),
            session_timeout: Duration::from_secs(3),
            home: None,
        })
        .unwrap();
    }
}
