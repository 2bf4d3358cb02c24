//! What an editor of routes needs: the tables of a destination, one table's columns, fields of recent records, a suggestion,
//! what a column would receive, a trial of the whole route, and the statements that make what it lacks. Nothing is written.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_actors::{
    delivery::now_ms,
    mapping::Whence,
    message::{Generation, Message},
    ports::Destination as Database,
    route::{ColumnSource, Columns, RouteSpec},
    schema::TableSchema,
};
use tokio::time::timeout;

use super::{current, destination, unknown};
use crate::{
    admin::{ActError, Admin, FieldError, Role, Who},
    redis::recent,
    registry::manifest::place_of,
    resources::{Destination, Document},
    tables::{
        ddl::{Dialect, Lacking, lacking},
        dry_run::{DryRun, Outcome, Refusal},
        look::{self, Listed, Uncompiled, Unseen},
        preview::{of_key, preview},
        record::{self, Manner},
        samples::{Samples, Shape},
        suggest::{Suggestion, Wanted, free_name, suggest},
    },
};

/// Longest time for a database to describe what an editor asks for.
const DATABASE_WITHIN: Duration = Duration::from_secs(8);
/// Longest time for recent records to be read.
const RECORDS_WITHIN: Duration = Duration::from_secs(4);
/// Tables on one page.
const PER_PAGE: usize = 40;
/// Records that a suggestion rests on.
const SUGGESTED_FROM: usize = 100;
/// Most records of one trial.
const MOST_TRIED: usize = 100;
/// Longest example of a value, in characters.
const EXAMPLE_CHARS: usize = 80;

/// A table of a destination.
pub type TableLine = Listed;

/// A page of a destination's tables.
#[derive(Clone, Debug, Serialize)]
pub struct TablePage {
    /// Those of this page.
    pub tables: Vec<TableLine>,
    /// How many have the searched text in their name.
    pub total: usize,
    /// How many there are at all.
    pub all: usize,
    /// Which page this is, from 1.
    pub page: usize,
    /// How many pages there are; at least 1.
    pub pages: usize,
}

/// What a route is to be for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The producing application.
    pub application: String,
    /// The topic.
    pub topic: String,
    /// The destination.
    pub destination: String,
    /// The table, as the route is to call it.
    pub table: String,
}

impl Place {
    /// That of a route.
    #[must_use]
    pub fn of(route: &RouteSpec) -> Self {
        Self {
            application: route.application.clone(),
            topic: route.topic.clone(),
            destination: route.destination.clone(),
            table: route.table.clone(),
        }
    }
}

/// A field of recent records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its path, as a route writes it.
    pub path: String,
    /// `value`, `object`, `list` or `objects`.
    pub shape: &'static str,
    /// A value of it, as JSON, shortened; `None` where it was always null.
    pub example: Option<String>,
    /// In how many of the records it was.
    pub seen: usize,
    /// In how many of them it was null.
    pub nulls: usize,
}

/// What an editor of columns shows: the table, the fields there are, and what was guessed.
#[derive(Clone, Debug, Serialize)]
pub struct Offer {
    /// The table as it is.
    pub table: TableSchema,
    /// How many recent records it rests on.
    pub records: usize,
    /// Their fields.
    pub fields: Vec<Field>,
    /// The suggested route; `None` where there is no record to suggest it from.
    pub suggestion: Option<Suggestion>,
    /// A name that no route has.
    pub name: String,
    /// The newest of the records.
    #[serde(skip)]
    pub newest: Option<(Message, Generation)>,
}

/// What a column would receive from one record.
#[derive(Clone, Debug, Serialize)]
pub struct Preview {
    /// The column.
    pub column: String,
    /// The value as it is sent; `None`: the record does not speak of it.
    pub value: Option<Box<RawValue>>,
    /// Why there is none.
    pub refusal: Option<Refusal>,
}

/// A route tried on records.
#[derive(Clone, Debug, Serialize)]
pub struct Trial {
    /// The records, newest first, or in the order in which they were given.
    pub records: Vec<TriedRecord>,
    /// How many come to a row.
    pub rows: usize,
    /// How many are passed over: by the filter, or because their delete is ignored.
    pub skipped: usize,
    /// How many become dead letters.
    pub refused: usize,
}

/// One record of a trial.
#[derive(Clone, Debug, Serialize)]
pub struct TriedRecord {
    /// The message's id, or `record 3`.
    pub name: String,
    /// When it was accepted, in milliseconds since the Unix epoch; `None` for one that was given.
    pub at_ms: Option<u64>,
    /// What is to be done with its row.
    pub action: &'static str,
    /// The message's key, as JSON.
    pub key: Option<String>,
    /// The record, as JSON.
    pub data: String,
    /// What it comes to.
    pub outcome: Outcome,
}

/// A destination that a route can lead to.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Its address, without a password.
    pub url: String,
    /// How many routes lead there.
    pub routes: usize,
}

/// Every application with its topics: those that are listed, and those that have a route.
///
/// # Errors
/// They may not.
pub async fn sources(admin: &Admin, who: &Who) -> Result<Vec<(String, Vec<String>)>, ActError> {
    who.needs(Role::Viewer)?;
    let (document, _) = super::newest(admin).await?;
    let of = |application: &crate::resources::Application| {
        let routed = document.routes.iter().filter(|route| route.application == application.name);
        let mut topics: Vec<String> =
            application.topics.iter().chain(routed.map(|route| &route.topic)).cloned().collect();
        topics.sort();
        topics.dedup();
        (application.name.clone(), topics)
    };
    Ok(document.applications.iter().map(of).collect())
}

/// Every destination.
///
/// # Errors
/// They may not.
pub async fn targets(admin: &Admin, who: &Who) -> Result<Vec<Target>, ActError> {
    who.needs(Role::Viewer)?;
    let (document, _) = super::newest(admin).await?;
    let of = |one: &Destination| Target {
        name: one.name.clone(),
        kind: one.kind.clone(),
        url: one.url.clone(),
        routes: document.routes.iter().filter(|route| route.destination == one.name).count(),
    };
    Ok(document.destinations.iter().map(of).collect())
}

/// A name for a route to this place that no route has.
///
/// # Errors
/// They may not.
pub async fn name_for(admin: &Admin, who: &Who, place: &Place) -> Result<String, ActError> {
    who.needs(Role::Viewer)?;
    let (document, _) = super::newest(admin).await?;
    Ok(free_name(&document.routes, &place.destination, &place.table))
}

/// The tables of a destination whose name has this text in it, a page of them.
///
/// # Errors
/// They may not; there is no such destination; its database does not answer.
pub async fn tables(
    admin: &Admin,
    who: &Who,
    destination: &str,
    search: &str,
    page: usize,
) -> Result<TablePage, ActError> {
    who.needs(Role::Operator)?;
    let document = current(admin).await?;
    let destination = self::destination(&document, destination)?;
    let mut database = open(admin, destination)?;
    let listed = within(look::listed(&document, destination, database.as_mut())).await?;
    let all = listed.len();
    let search = search.trim().to_lowercase();
    let found: Vec<_> = listed.into_iter().filter(|line| line.table.to_lowercase().contains(&search)).collect();
    let total = found.len();
    let pages = total.div_ceil(PER_PAGE).max(1);
    let page = page.clamp(1, pages);
    let tables = found.into_iter().skip((page - 1) * PER_PAGE).take(PER_PAGE).collect();
    Ok(TablePage { tables, total, all, page, pages })
}

/// One table: its columns with types, defaults and whether they may be NULL, and its unique keys.
///
/// # Errors
/// They may not; there is no such destination or table; its database does not answer.
pub async fn table(admin: &Admin, who: &Who, destination: &str, name: &str) -> Result<TableSchema, ActError> {
    who.needs(Role::Operator)?;
    let document = current(admin).await?;
    let mut database = open(admin, self::destination(&document, destination)?)?;
    within(look::table(database.as_mut(), name)).await
}

/// The table, the fields of the topic's recent records, and a suggestion from both.
///
/// # Errors
/// They may not; there is no such application, destination or table; Redis or the database does not answer.
pub async fn offer(admin: &Admin, who: &Who, place: &Place) -> Result<Offer, ActError> {
    who.needs(Role::Operator)?;
    let document = current(admin).await?;
    let destination = known(&document, place)?;
    let mut database = open(admin, destination)?;
    let (table, recent) = tokio::join!(
        within(look::table(database.as_mut(), &place.table)),
        recent(admin, &place.application, &place.topic, SUGGESTED_FROM)
    );
    let (table, recent) = (table?, recent?);
    let mut samples = Samples::default();
    for (message, _) in recent.iter().filter(|(message, _)| message.data.len() > 2) {
        samples.add(&message.data, message.key.as_deref());
    }
    let name = free_name(&document.routes, &place.destination, &place.table);
    let wanted = Wanted {
        name: &name,
        application: &place.application,
        topic: &place.topic,
        destination: &place.destination,
        table: &place.table,
    };
    let suggestion = (samples.records > 0).then(|| suggest(&wanted, &table, &samples));
    let newest = recent.into_iter().rfind(|(message, _)| message.data.len() > 2);
    Ok(Offer { records: samples.records, fields: fields_of(&samples), suggestion, newest, table, name })
}

/// The fields of records, in the order in which they came.
#[must_use]
pub fn fields_of(samples: &Samples) -> Vec<Field> {
    let field = |sampled: &crate::tables::samples::Sampled| Field {
        path: sampled.path(),
        shape: match sampled.shape {
            Shape::Scalar => "value",
            Shape::Object => "object",
            Shape::List => "list",
            Shape::ListOfObjects => "objects",
        },
        example: sampled.values.last().map(|value| shortened(value)),
        seen: sampled.seen,
        nulls: sampled.nulls,
    };
    samples.paths.iter().map(field).collect()
}

fn shortened(value: &str) -> String {
    match value.char_indices().nth(EXAMPLE_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

/// What each named column of a route would receive from this record, in the table's order. Pure.
#[must_use]
pub fn previews(route: &RouteSpec, table: &TableSchema, message: &Message, generation: &Generation) -> Vec<Preview> {
    let Columns::Named(named) = &route.columns else { return Vec::new() };
    let whence = Whence { application: &route.application, generation };
    let of = |(name, source): (&String, &ColumnSource)| {
        let column = &table.columns[table.column(name)?];
        let (value, refusal) = match preview(column, source, message, whence) {
            Ok(value) => (value, None),
            Err(refusal) => (None, Some(refusal)),
        };
        let value = value.or_else(|| of_key(&route.key, &column.name, message).filter(|_| refusal.is_none()));
        Some(Preview { column: column.name.clone(), value, refusal })
    };
    let mut all: Vec<Preview> = named.iter().filter_map(of).collect();
    all.sort_by_key(|preview| table.column(&preview.column));
    all
}

/// Tries a route on records: those of `given` (JSON objects, one after the other), else the last ones of its topic.
///
/// # Errors
/// They may not; the route does not fit its table, field by field; Redis or the database does not answer.
pub async fn try_out(
    admin: &Admin,
    who: &Who,
    route: &RouteSpec,
    wanted: usize,
    given: Option<&str>,
) -> Result<Trial, ActError> {
    who.needs(Role::Operator)?;
    let document = current(admin).await?;
    let destination = known(&document, &Place::of(route))?;
    let records = match given {
        Some(given) => given_records(given, &route.topic)?,
        None => {
            let recent = recent(admin, &route.application, &route.topic, wanted.clamp(1, MOST_TRIED)).await?;
            let name = |message: &Message, generation: &Generation| format!("{generation}-{}", message.id);
            recent.into_iter().rev().map(|(message, of)| (name(&message, &of), message, of)).collect()
        }
    };
    let mut database = open(admin, destination)?;
    let mapping = match timeout(DATABASE_WITHIN, look::compile(database.as_mut(), route)).await {
        Ok(Ok(mapping)) => mapping,
        Ok(Err(Uncompiled::Unseen(unseen))) => return Err(unseen.into()),
        Ok(Err(Uncompiled::Unfit(errors))) => {
            let error = |error: &tidegate_actors::mapping::MappingError| FieldError {
                field: place_of(error),
                code: "unfit",
                message: error.message.clone(),
            };
            return Err(ActError::Invalid(errors.iter().map(error).collect()));
        }
        Err(_) => return Err(slow()),
    };
    let dry = DryRun::new(route, mapping);
    let mut trial = Trial { records: Vec::with_capacity(records.len()), rows: 0, skipped: 0, refused: 0 };
    for (name, message, generation) in records {
        let outcome = dry.run(&message, Whence { application: &route.application, generation: &generation });
        match &outcome {
            Outcome::Row(_) => trial.rows += 1,
            Outcome::Refused(_) => trial.refused += 1,
            Outcome::Skipped | Outcome::Nothing | Outcome::OtherTopic { .. } => trial.skipped += 1,
        }
        trial.records.push(TriedRecord {
            name,
            at_ms: given.is_none().then_some(message.id.ms),
            action: message.action.as_str(),
            key: message.key.as_deref().map(str::to_owned),
            data: message.data.to_string(),
            outcome,
        });
    }
    Ok(trial)
}

/// Records that somebody typed, as the messages that a node would make of them.
fn given_records(text: &str, topic: &str) -> Result<Vec<(String, Message, Generation)>, ActError> {
    let wrong =
        |message: String| ActError::Invalid(vec![FieldError { field: "records".into(), code: "invalid", message }]);
    let manner = Manner { topic: topic.to_owned(), action: None, now_ms: now_ms() };
    let mut records = Vec::new();
    for (place, raw) in serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>().enumerate() {
        let name = format!("record {}", place + 1);
        let raw = raw.map_err(|error| wrong(format!("{name} is not JSON: {error}")))?;
        let message = record::message(raw.get(), None, place as u64, &manner);
        let message = message.map_err(|why| wrong(format!("{name}: {why}")))?;
        records.push((name, message, Generation::new("preview")));
        if records.len() == MOST_TRIED {
            break;
        }
    }
    if records.is_empty() {
        return Err(wrong("give a record: a JSON object, or several one after the other".into()));
    }
    Ok(records)
}

/// The statements that make what the route lacks.
///
/// # Errors
/// They may not; there is no such destination; the route does not say what its table should have; the database does not
/// answer.
pub async fn ddl(admin: &Admin, who: &Who, route: &RouteSpec) -> Result<Lacking, ActError> {
    who.needs(Role::Operator)?;
    let document = current(admin).await?;
    let destination = destination(&document, &route.destination)?;
    let dialect = Dialect::of(&destination.kind).map_err(ActError::Conflict)?;
    let mut database = open(admin, destination)?;
    let (table, children) = within(look::of_route(database.as_mut(), route)).await?;
    lacking(dialect, route, table.as_ref(), &children).map_err(ActError::Conflict)
}

/// The destination of a route's place, whose application must be there too.
fn known<'d>(document: &'d Document, place: &Place) -> Result<&'d Destination, ActError> {
    let applications = || document.applications.iter().map(|one| one.name.as_str());
    if applications().all(|name| name != place.application) {
        return Err(unknown("application", &place.application, applications()));
    }
    destination(document, &place.destination)
}

fn open(admin: &Admin, destination: &Destination) -> Result<Box<dyn Database>, ActError> {
    if let Some(node) = destination.node.as_ref().filter(|node| **node != *admin.node) {
        return Err(ActError::Conflict(format!(
            "`{}` is a file on node `{node}`, and this is `{}`: use the console of that node",
            destination.name, admin.node
        )));
    }
    look::open(destination, admin.master_key.as_deref()).map_err(ActError::Conflict)
}

async fn within<T>(question: impl Future<Output = Result<T, Unseen>>) -> Result<T, ActError> {
    timeout(DATABASE_WITHIN, question).await.map_err(|_| slow())?.map_err(ActError::from)
}

fn slow() -> ActError {
    ActError::Unavailable(format!(
        "the database did not describe its tables within {} s; look at its load",
        DATABASE_WITHIN.as_secs()
    ))
}

async fn recent(
    admin: &Admin,
    application: &str,
    topic: &str,
    wanted: usize,
) -> Result<Vec<(Message, Generation)>, ActError> {
    let read = timeout(RECORDS_WITHIN, recent::messages(&admin.redis, application, topic, wanted)).await;
    Ok(read.map_err(|_| ActError::Unavailable("Redis did not find the topic's last records in time".into()))??)
}

impl From<Unseen> for ActError {
    fn from(unseen: Unseen) -> Self {
        match unseen {
            Unseen::Away(why) => Self::Unavailable(why),
            Unseen::NotThere(why) => Self::Unknown(why),
        }
    }
}
