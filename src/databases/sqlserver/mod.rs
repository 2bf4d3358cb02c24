//! SQL Server 2016 and later and Azure SQL Database as a destination: one connection, one request per transaction.
//!
//! A transaction is one batch with its rows as JSON in a few parameters, so a writer that stands still never leaves one open.
//! The destination's actor calls this through [`Destination`]; a call that is dropped drops its connection.

mod address;
mod batch;
mod bookkeeping;
mod catalogue;
mod check;
mod errors;
mod numbers;
mod own_tables;
mod session;
mod slots;
mod sql;
mod values;
mod words;
mod write;

use async_trait::async_trait;
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Destination, TableName, WriteError},
    schema::TableSchema,
    transaction::{Committed, LaneId, Statement, TakenOver, Transaction, WatermarkRow},
};

use self::{batch::Batch, session::Session, slots::Tables};
use super::{Connection, Kind};

/// SQL Server.
pub const KIND: Kind = Kind {
    name: "sqlserver",
    title: "SQL Server",
    port: Some(1433),
    here: false,
    parallel: true,
    refuses: |_| Vec::new(),
    example: r#"[[destination]]
name = "branches"
kind = "sqlserver"
url = "sqlserver://writer@10.0.0.5:1433/branches"
password = { env = "BRANCHES_PASSWORD" }
tls = { mode = "verify", ca = "/etc/tidegate/branches-ca.pem" }
"#,
    notes: "SQL Server 2016 or later and Azure SQL Database, at compatibility level 130 or later, with a SQL Server login. A \
            named instance needs a port of its own in the address. Fractions of a second beyond the column's digits are cut \
            off; `datetime` keeps three digits, which the server rounds to 1/300 s, and `smalldatetime` keeps no seconds.",
    ddl: own_tables::DDL,
    grants: "CREATE USER [{user}] FOR LOGIN [{user}]; -- in database {database}\n\
             GRANT SELECT, INSERT, UPDATE, DELETE ON SCHEMA::dbo TO [{user}];\n\
             GRANT VIEW DEFINITION ON SCHEMA::dbo TO [{user}]; -- defaults, and which columns hold JSON\n\
             GRANT CREATE TABLE TO [{user}]; -- only where Tidegate makes its own tables\n\
             GRANT ALTER ON SCHEMA::dbo TO [{user}]; -- the same, and where a route writes an IDENTITY column\n",
    validate: address::validate,
    open: |settings| Box::new(SqlServer { settings, session: None, tables: Tables::new() }),
    check: |settings| Box::pin(check::steps(settings)),
};

struct SqlServer {
    settings: Connection,
    /// In step with the server and outside any transaction; none before the first call, while one is under way and after a fault.
    session: Option<Session>,
    /// What is known of the tables that were described or written to.
    tables: Tables,
}

impl SqlServer {
    /// Runs `work` on the session, made anew where there is none.
    async fn on_session<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Session, &str) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.settings).await.map_err(|failure| failure.why)?,
        };
        let outcome = work(&mut session, &self.settings.name).await;
        let lost = matches!(&outcome, Err(WriteError::Retry(fault)) if fault.connection_lost);
        // Whatever went wrong in the batch, the server has rolled it back; this makes certain of it.
        if !lost && (outcome.is_ok() || session.settle_after_failure().await) {
            self.session = Some(session);
        }
        outcome
    }

    /// Looks at the tables of these statements that are not known yet.
    async fn learn_tables(&mut self, statements: &[Statement]) -> Result<(), WriteError> {
        for statement in statements {
            let (schema, table) = (&statement.plan.table.schema, &statement.plan.table.name);
            if !self.tables.contains_key(&(schema.clone(), table.clone())) {
                let found = self
                    .on_session(async |session, name| catalogue::describe(session, name, schema, table).await)
                    .await?;
                self.tables.insert((schema.clone(), table.clone()), found.map(|(_, facts)| facts).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Writes a batch that was composed from these statements.
    async fn carry_out(
        &mut self,
        batch: Result<Batch, WriteError>,
        statements: &[Statement],
    ) -> Result<Committed, WriteError> {
        let batch = batch?;
        let outcome = self.on_session(async |session, name| write::run(session, name, &batch, statements).await).await;
        // What is held may be a table that has changed: it is looked at anew.
        if matches!(outcome, Err(WriteError::Hold(_))) {
            self.tables.clear();
        }
        outcome
    }
}

#[async_trait(?Send)]
impl Destination for SqlServer {
    async fn probe(&mut self) -> Result<(), WriteError> {
        self.on_session(async |session, name| bookkeeping::probe(session, name).await).await
    }

    async fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> Result<TakenOver, WriteError> {
        self.on_session(async |session, name| {
            own_tables::make(session, name).await?;
            bookkeeping::take_over(session, name, installation, destination, owner).await
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
        self.on_session(async |session, name| {
            bookkeeping::begin_lane(session, name, lane, generation, owner, last_id).await
        })
        .await
    }

    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        self.on_session(async |session, name| bookkeeping::watermark(session, name, lane, generation).await).await
    }

    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError> {
        let (schema, facts) =
            self.on_session(async |session, destination| catalogue::table(session, destination, name).await).await?;
        self.tables.insert((schema.schema.clone(), schema.name.clone()), facts);
        Ok(schema)
    }

    async fn tables(&mut self) -> Result<Vec<TableName>, WriteError> {
        self.on_session(async |session, name| catalogue::tables(session, name).await).await
    }

    async fn define(&mut self, statements: &[String]) -> Result<(), WriteError> {
        self.on_session(async |session, name| {
            for statement in statements {
                session.text(statement).await.map_err(|error| errors::of_definition(name, &error))?;
            }
            Ok(())
        })
        .await
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        self.learn_tables(&transaction.statements).await?;
        let batch = write::transaction(transaction, &self.tables);
        self.carry_out(batch, &transaction.statements).await
    }

    async fn write(&mut self, statements: &[Statement]) -> Result<Committed, WriteError> {
        self.learn_tables(statements).await?;
        let batch = write::rows_alone(statements, &self.tables);
        self.carry_out(batch, statements).await
    }
}
