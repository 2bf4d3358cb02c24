//! Looking at a destination's tables: connect, ask the catalogue, and never wait for ever.

use std::time::Duration;

use serde::Serialize;
use tidegate_actors::{
    mapping::{Mapping, MappingError},
    ports::{Destination as Database, TableName, WriteError},
    route::RouteSpec,
    schema::TableSchema,
};
use tokio::time::timeout;

use crate::{
    databases::kind,
    registry::{connection::connection, secrets::MasterKey},
    resources::{Destination, Document},
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

/// Why a route can't be compiled against its tables.
#[derive(Debug, thiserror::Error)]
pub enum Uncompiled {
    /// A table was not seen.
    #[error(transparent)]
    Unseen(#[from] Unseen),
    /// They do not fit.
    #[error("the route does not fit its table")]
    Unfit(Vec<MappingError>),
}

/// A table of a destination, with what leads to it.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    /// As a route calls it.
    pub table: String,
    /// Schema and name.
    #[serde(flatten)]
    pub name: TableName,
    /// The routes that write to it.
    pub routes: Vec<String>,
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

/// Every table that rows can be written to, with the routes of the document that lead there.
///
/// # Errors
/// See [`Unseen`].
pub async fn listed(
    document: &Document,
    destination: &Destination,
    database: &mut dyn Database,
) -> Result<Vec<Listed>, Unseen> {
    let listed = |name: TableName| {
        let full = format!("{}.{}", name.schema, name.name);
        let is_it = |table: &str| {
            table.eq_ignore_ascii_case(&full) || name.default_schema && table.eq_ignore_ascii_case(&name.name)
        };
        let routes = document.routes.iter().filter(|route| route.destination == destination.name);
        let writing =
            routes.filter(|route| is_it(&route.table) || route.children.iter().any(|child| is_it(&child.table)));
        let routes = writing.map(|route| route.name.clone()).collect();
        Listed { table: called(&name), routes, name }
    };
    Ok(tables(database).await?.into_iter().map(listed).collect())
}

/// The route against its tables as they are.
///
/// # Errors
/// See [`Uncompiled`].
pub async fn compile(database: &mut dyn Database, route: &RouteSpec) -> Result<Mapping, Uncompiled> {
    let own = table(database, &route.table).await?;
    let mut children = Vec::new();
    for child in &route.children {
        children.push(table(database, &child.table).await?);
    }
    Mapping::compile(route, own, children).map_err(Uncompiled::Unfit)
}

/// The route's table and those of its children, where they are.
///
/// # Errors
/// The database does not answer, or can't describe a table that it has.
pub async fn of_route(
    database: &mut dyn Database,
    route: &RouteSpec,
) -> Result<(Option<TableSchema>, Vec<Option<TableSchema>>), Unseen> {
    // First, so that a database that does not answer, or whose file is missing, is not taken for one without the table.
    let there = tables(database).await?;
    let own = if_there(database, &there, &route.table).await?;
    let mut children = Vec::new();
    for child in &route.children {
        children.push(if_there(database, &there, &child.table).await?);
    }
    Ok((own, children))
}

async fn if_there(database: &mut dyn Database, there: &[TableName], name: &str) -> Result<Option<TableSchema>, Unseen> {
    // What is there and can't be described is told, not made once more.
    let listed = there
        .iter()
        .any(|table| name.eq_ignore_ascii_case(&called(table)) || name == format!("{}.{}", table.schema, table.name));
    match table(database, name).await {
        Ok(table) => Ok(Some(table)),
        Err(Unseen::NotThere(_)) if !listed => Ok(None),
        Err(unseen) => Err(unseen),
    }
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
