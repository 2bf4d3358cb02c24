//! Deliveries, messages, dead letters, jobs and replays as the admin API has them: from a query or a JSON body to what is
//! answered as JSON. Its listener adds the paths, the bearer and the problem documents.

use serde::{Deserialize, Serialize};
use tidegate_actors::{
    message::{Action, MessageId},
    transaction::DeadId,
};

use super::{
    ActError, Admin, FieldError, Who,
    dead_letters::{self, Filter, Groups, Outcome},
    deliveries::{self, Bound, Condition, Field, Page, State},
    jobs::{self, Order, Task, View},
    json::pretty,
    messages::{self, Letter, Life},
    replays::{self, PlanBody, UnderwayBody},
};
use crate::resources::Document;

/// Most rows of a page.
const MOST_ROWS: usize = 500;

fn document(admin: &Admin) -> std::sync::Arc<Document> {
    admin.documents.borrow().clone().unwrap_or_default()
}

fn wrong(field: &str, code: &'static str, message: impl Into<String>) -> ActError {
    ActError::Invalid(vec![FieldError { field: field.to_owned(), code, message: message.into() }])
}

/// What `GET …/deliveries` is asked.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveriesQuery {
    /// The application's name.
    pub application: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// The destination's name.
    pub destination: Option<String>,
    /// The route's name.
    pub route: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// One of [`State::ALL`] by name.
    pub status: Option<String>,
    /// RFC 3339; accepted at or after this.
    pub from: Option<String>,
    /// RFC 3339; accepted before this.
    pub to: Option<String>,
    /// The message's key.
    pub key: Option<String>,
    /// The message's id.
    pub id: Option<String>,
    /// The producer's own id.
    pub own_id: Option<String>,
    /// `insert`, `upsert`, `update` or `delete`.
    pub action: Option<String>,
    /// A field's path; without it, any field.
    pub path: Option<String>,
    /// The field is this.
    pub value: Option<String>,
    /// The field contains this.
    pub contains: Option<String>,
    /// Where to go on: `next` of the page before.
    pub cursor: Option<String>,
    /// Rows of a page, 50 where it is left out.
    pub limit: Option<usize>,
}

/// A page of deliveries, newest first; [`Page::body`] is what is answered. A search comes back with what one bounded look found:
/// `next` goes on.
///
/// # Errors
/// Something of the query can't be understood; Redis is away.
pub async fn deliveries(admin: &Admin, asked: &DeliveriesQuery) -> Result<Page, ActError> {
    let moment = |field: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => match chrono::DateTime::parse_from_rfc3339(text) {
            Ok(moment) => Ok(u64::try_from(moment.timestamp_millis()).ok()),
            Err(_) => Err(wrong(field, "moment", "write a moment such as 2025-06-01T08:00:00Z")),
        },
    };
    let named = |field: &'static str, text: &Option<String>, known: bool, names: String| match text {
        Some(_) if !known => Err(wrong(field, "unknown_word", format!("`{field}` is one of {names}"))),
        _ => Ok(()),
    };
    let status = asked.status.as_deref().and_then(State::parse);
    named("status", &asked.status, status.is_some(), State::ALL.map(State::as_str).join(", "))?;
    let action = asked.action.as_deref().and_then(Action::parse);
    named("action", &asked.action, action.is_some(), Action::ALL.map(Action::as_str).join(", "))?;
    let id = asked.id.as_deref().map(message_id).transpose()?;
    let condition = match (&asked.value, &asked.contains) {
        (Some(value), None) => Some((Condition::Is, value)),
        (None, Some(value)) => Some((Condition::Contains, value)),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(wrong("contains", "one_of_two", "name `value` or `contains`, not both")),
    };
    let field = condition
        .map(|(how, value)| Field::new(asked.path.as_deref().unwrap_or_default(), how, value))
        .transpose()
        .map_err(|why| wrong("path", "path", why))?;
    let cursor = asked.cursor.as_deref().map(str::parse).transpose();
    let cursor = cursor.map_err(|error: deliveries::BadCursor| wrong("cursor", "cursor", error.to_string()))?;
    let query = deliveries::Query {
        application: asked.application.clone(),
        topic: asked.topic.clone(),
        destination: asked.destination.clone(),
        route: asked.route.clone(),
        table: asked.table.clone(),
        status,
        from_ms: moment("from", &asked.from)?,
        to_ms: moment("to", &asked.to)?,
        key: asked.key.clone(),
        id,
        own_id: asked.own_id.clone(),
        action,
        field,
        since: None,
    };
    let bound = Bound { rows: asked.limit.unwrap_or(Bound::default().rows).clamp(1, MOST_ROWS), ..Bound::default() };
    Ok(deliveries::look(&admin.redis, &document(admin), &query, cursor.as_ref(), bound).await?)
}

fn message_id(text: &str) -> Result<MessageId, ActError> {
    text.parse().map_err(|_| wrong("id", "message_id", "an id is such as k3v9x0q2ab-1763775403123-0"))
}

/// A message's whole life.
///
/// # Errors
/// It is not there (any more); Redis is away.
pub async fn message(admin: &Admin, application: &str, id: &str) -> Result<Life, ActError> {
    let life = messages::life(&admin.redis, &document(admin), application, &message_id(id)?).await?;
    life.ok_or_else(|| ActError::Unknown("there is no message of this id, or it is no longer retained".into()))
}

/// Dead letters by cause.
///
/// # Errors
/// A name of the filter is nobody's; Redis is away.
pub async fn groups(admin: &Admin, filter: &Filter) -> Result<Groups, ActError> {
    let document = document(admin);
    let lots = dead_letters::find(&admin.redis, &document, filter).await?;
    Ok(dead_letters::groups(&document, &lots))
}

/// A dead letter in a list.
#[derive(Clone, Debug, Serialize)]
pub struct LetterLine {
    /// The message's id.
    pub id: String,
    /// The application's name.
    pub application: String,
    /// The destination's name.
    pub destination: String,
    /// The route's name.
    pub route: String,
    /// The route's id: with the three above it names the letter.
    pub route_id: String,
    /// The topic.
    pub topic: String,
    /// The action.
    pub action: String,
    /// The table.
    pub table: String,
    /// The key as compact JSON.
    pub key: Option<String>,
    /// The code.
    pub code: String,
    /// The column.
    pub column: Option<String>,
    /// The reason.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// A later record of its key was written.
    pub superseded: bool,
    /// It only waits behind another of its key.
    pub blocked: bool,
    /// What became of the last redrive.
    pub redrive_error: Option<String>,
}

/// Dead letters, oldest first within each destination and route; and how many the filter lets through.
#[derive(Clone, Debug, Serialize)]
pub struct Letters {
    /// Those of this page.
    pub dead_letters: Vec<LetterLine>,
    /// All of them.
    pub count: usize,
}

/// A page of dead letters.
///
/// # Errors
/// A name of the filter is nobody's; Redis is away.
pub async fn letters(admin: &Admin, filter: &Filter, skip: usize, limit: usize) -> Result<Letters, ActError> {
    let document = document(admin);
    let lots = dead_letters::find(&admin.redis, &document, filter).await?;
    let all = lots.iter().flat_map(|lot| lot.letters.iter().map(move |(id, letter)| (lot, id, letter)));
    let line =
        |(lot, id, letter): (&dead_letters::Lot, &DeadId, &std::sync::Arc<crate::redis::dead::Summary>)| LetterLine {
            id: dead_letters::name(id),
            application: lot.application.clone(),
            destination: lot.destination.clone(),
            route: dead_letters::route_name(&document, id, &letter.route_name).to_owned(),
            route_id: id.route.to_string(),
            topic: letter.topic.clone(),
            action: letter.action.clone(),
            table: letter.table.clone(),
            key: letter.key.clone(),
            code: letter.code.clone(),
            column: letter.column.clone(),
            reason: letter.message.clone(),
            attempts: letter.attempts,
            at_ms: letter.at_ms,
            superseded: letter.superseded,
            blocked: letter.blocked,
            redrive_error: letter.redrive_error.clone(),
        };
    let page = all.skip(skip).take(limit.clamp(1, MOST_ROWS)).map(line).collect();
    Ok(Letters { dead_letters: page, count: dead_letters::count(&lots) })
}

/// Names one dead letter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LetterName {
    /// The application's name.
    pub application: String,
    /// The destination's name.
    pub destination: String,
    /// The route's id.
    pub route_id: String,
    /// The message's id.
    pub id: String,
}

/// A dead letter, looked into.
#[derive(Clone, Debug, Serialize)]
pub struct LetterBody {
    /// The record, a field a line.
    pub data: String,
    /// The row it would be.
    pub row: Option<Box<serde_json::value::RawValue>>,
    /// Why there is none.
    pub row_error: Option<String>,
    /// The code.
    pub code: String,
    /// The column.
    pub column: Option<String>,
    /// The rest.
    #[serde(flatten)]
    pub letter: Letter,
}

async fn shown(admin: &Admin, name: &LetterName) -> Result<dead_letters::Shown, ActError> {
    let id = message_id(&name.id)?;
    let dead = DeadId { generation: id.0.generation, id: id.0.id, route: name.route_id.as_str().into() };
    let shown = dead_letters::show(&admin.redis, &document(admin), &name.application, &name.destination, &dead).await?;
    shown.ok_or_else(|| ActError::Unknown("this dead letter is gone: it was redriven or discarded".into()))
}

/// One dead letter with its record, the row it would be, and the reason.
///
/// # Errors
/// It is gone; Redis is away.
pub async fn letter(admin: &Admin, name: &LetterName) -> Result<LetterBody, ActError> {
    let shown = shown(admin, name).await?;
    Ok(LetterBody {
        data: pretty(&shown.letter.data),
        code: shown.letter.reason.code.clone(),
        column: shown.letter.reason.column.clone(),
        letter: Letter::of(&shown.letter, &shown.lot.destination_id),
        row: shown.row.as_ref().ok().cloned(),
        row_error: shown.row.err(),
    })
}

/// What is to be done with one dead letter.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
pub enum LetterAct {
    /// Write it after all.
    Redrive {
        /// Also over later records of its key.
        #[serde(default)]
        force: bool,
    },
    /// Write it with another record.
    Edit {
        /// The record, as JSON text.
        data: String,
        /// Also over later records of its key.
        #[serde(default)]
        force: bool,
    },
    /// Give it up for good.
    Discard {
        /// Why.
        #[serde(default)]
        reason: Option<String>,
    },
}

/// Asks for it. It is carried out by the node that writes the destination; the letter tells what came of it.
///
/// # Errors
/// They may not; it is gone; the record is none; Redis is away.
pub async fn act(admin: &Admin, who: &Who, name: &LetterName, act: &LetterAct) -> Result<(), ActError> {
    let shown = shown(admin, name).await?;
    let (redis, mut store, lots) = (&admin.redis, admin.store()?, std::slice::from_ref(&shown.lot));
    match act {
        LetterAct::Redrive { force } => dead_letters::redrive(redis, &mut store, who, lots, *force).await,
        LetterAct::Edit { data, force } => {
            dead_letters::edit(redis, &mut store, who, &shown.lot, &shown.letter, data, *force).await
        }
        LetterAct::Discard { reason } => dead_letters::discard(redis, &mut store, who, lots, reason.as_deref()).await,
    }
}

/// What came of an act, where that is known: an answer's word and why.
#[must_use]
pub fn told(outcome: &Outcome) -> (&'static str, Option<&str>) {
    match outcome {
        Outcome::Done => ("done", None),
        Outcome::Refused(why) => ("refused", Some(why)),
        Outcome::Superseded(why) => ("superseded", Some(why)),
    }
}

/// Many dead letters at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManyBody {
    /// Which.
    #[serde(default)]
    pub filter: Filter,
    /// How many were counted; more are refused.
    pub counted: usize,
    /// `redrive` or `discard`.
    pub task: String,
    /// For a redrive: also over later records.
    #[serde(default)]
    pub force: bool,
    /// For a discard: why.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Begins it; the job.
///
/// # Errors
/// They may not; there are more than were counted; Redis is away.
pub async fn many(admin: &Admin, who: &Who, body: ManyBody) -> Result<View, ActError> {
    let task = match body.task.as_str() {
        "redrive" => Task::Redrive { force: body.force },
        "discard" => Task::Discard { reason: body.reason.unwrap_or_default() },
        _ => return Err(wrong("task", "unknown_word", "`task` is `redrive` or `discard`")),
    };
    let order = Order { filter: body.filter, counted: body.counted, task };
    let mut store = admin.store()?;
    let id = jobs::begin(&admin.redis, &mut store, &document(admin), who, &admin.node, order).await?;
    job(admin, &id).await
}

/// The latest jobs, newest first.
///
/// # Errors
/// Redis is away.
pub async fn jobs(admin: &Admin, limit: usize) -> Result<Vec<View>, ActError> {
    jobs::newest(&admin.redis, limit.clamp(1, MOST_ROWS)).await
}

/// How a job is.
///
/// # Errors
/// There is none; Redis is away.
pub async fn job(admin: &Admin, id: &str) -> Result<View, ActError> {
    let view = jobs::view(&admin.redis, id).await?;
    view.ok_or_else(|| ActError::Unknown("there is no such job, or it ended more than a week ago".into()))
}

/// Stops a job.
///
/// # Errors
/// They may not; it has ended; Redis is away.
pub async fn cancel(admin: &Admin, who: &Who, id: &str) -> Result<View, ActError> {
    jobs::cancel(&admin.redis, &mut admin.store()?, who, id).await?;
    job(admin, id).await
}

/// What is to be sent again.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayBody {
    /// The route's name.
    pub route: String,
    /// From this moment (RFC 3339), or from this message on, itself included.
    pub from: String,
    /// Up to this moment or message; without it, up to now and on.
    #[serde(default)]
    pub to: Option<String>,
    /// Count and say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// Plans a replay and, unless it is a dry run, asks the owner for it.
///
/// # Errors
/// They may not; the route can't be sent again, or not that; Redis is away.
pub async fn replay(admin: &Admin, who: &Who, body: &ReplayBody) -> Result<PlanBody, ActError> {
    let bound = |field: &str, text: &str| replays::bound(text).map_err(|why| wrong(field, "bound", why));
    let (from, to) = (bound("from", &body.from)?, body.to.as_deref().map(|to| bound("to", to)).transpose()?);
    if !body.dry_run {
        who.needs(super::Role::Operator)?;
    }
    let plan = replays::plan(&admin.redis, &document(admin), &body.route, &from, to.as_ref(), |_| ()).await?;
    if !body.dry_run {
        replays::begin(&admin.redis, &mut admin.store()?, who, &plan).await?;
    }
    Ok(plan.body())
}

/// The replays of a route that wait or are under way.
///
/// # Errors
/// There is no such route; Redis is away.
pub async fn replays_of(admin: &Admin, route: &str) -> Result<Vec<UnderwayBody>, ActError> {
    let all = replays::of_route(&admin.redis, &document(admin), route).await?;
    Ok(all.iter().map(replays::Underway::body).collect())
}

/// Stops a replay.
///
/// # Errors
/// They may not; it is over, or can't be stopped any more; Redis is away.
pub async fn stop_replay(admin: &Admin, who: &Who, route: &str, token: &str) -> Result<(), ActError> {
    replays::stop(&admin.redis, &mut admin.store()?, &document(admin), who, route, token).await
}
