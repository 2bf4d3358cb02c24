//! Looking at a destination's tables: connect, ask the catalogue, and never wait for ever.

use std::time::Duration;

use tidegate_actors::{
    ports::{Destination as Database, TableName, WriteError},
    schema::TableSchema,
};
use tokio::time::timeout;

use crate::{
    databases::kind,
    registry::{connection::connection, secrets::MasterKey},
    resources::Destination,
};

/// Longest time for one question to a catalogue, the connection included.
const LONGEST: Duration = Duration::from_secs(15);

/// Why a table was not seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unseen {
    /// The database did not answer, so nothing is known.
    #[error("{0}")]
    Away(String),
    /// It answered: there is no such table that rows can be written to.
    #[error("{0}")]
    NotThere(String),
}

impl From<WriteError> for Unseen {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Retry(fault) => Self::Away(fault.message),
            other => Self::NotThere(other.to_string()),
        }
    }
}

/// The destination's adapter; it connects with the first question.
///
/// # Errors
/// The kind, the address or the password can't be used: a sentence.
pub fn open(destination: &Destination, key: Option<&MasterKey>) -> Result<Box<dyn Database>, String> {
    let kind = kind(&destination.kind)?;
    let connection = connection(destination, key).map_err(|error| error.to_string())?;
    (kind.validate)(&connection)?;
    Ok((kind.open)(connection))
}

/// Every table that rows can be written to.
///
/// # Errors
/// See [`Unseen`].
pub async fn tables(database: &mut dyn Database) -> Result<Vec<TableName>, Unseen> {
    within(database.tables()).await
}

/// One table.
///
/// # Errors
/// See [`Unseen`]; what is missing is named with the nearest there is.
pub async fn table(database: &mut dyn Database, name: &str) -> Result<TableSchema, Unseen> {
    within(database.table(name)).await
}

async fn within<T>(question: impl Future<Output = Result<T, WriteError>>) -> Result<T, Unseen> {
    match timeout(LONGEST, question).await {
        Ok(answer) => answer.map_err(Unseen::from),
        Err(_) => Err(Unseen::Away(format!(
            "the database did not describe its tables within {} s; look at its load",
            LONGEST.as_secs()
        ))),
    }
}

/// What a route would call this table.
#[must_use]
pub fn called(table: &TableName) -> String {
    if table.default_schema || table.schema.is_empty() {
        table.name.clone()
    } else {
        format!("{}.{}", table.schema, table.name)
    }
}
