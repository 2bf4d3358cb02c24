//! Deliveries, newest first over all applications and destinations: what came, what each destination received of it, and how that
//! went. Nothing is stored per message; a page is worked out from the stream, the lanes' positions, their history and the dead
//! letters, with a handful of calls.
//!
//! A look is bounded, in rows, entries and time: one that finds little comes back with what it has and a [`Cursor`] to go on
//! from, so a search by a rare key or by a field's value is a row of looks, which tells how far it is and is given up by not going
//! on. Records that come in meanwhile stand above the cursor and move nothing.

mod field;
mod merge;
mod of_dead;
mod row;

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use serde::Serialize;
use tidegate_actors::{
    message::{Action, Message, MessageId, StreamId},
    ports::{Entry, LogError},
    route::RouteSpec,
};

use self::merge::Merge;
pub use self::{
    field::{Condition, Field},
    row::{Problem, Row, State, explain_waiting, host},
};
use crate::{
    redis::{Redis, browse, fates, lookup},
    resources::Document,
};

/// Which deliveries are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The application, by name.
    pub application: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// The destination, by name.
    pub destination: Option<String>,
    /// The route, by name.
    pub route: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// Where they stand.
    pub status: Option<State>,
    /// Accepted at or after this, in milliseconds since the Unix epoch.
    pub from_ms: Option<u64>,
    /// Accepted before this.
    pub to_ms: Option<u64>,
    /// The message's key, as JSON or the text of a string.
    pub key: Option<String>,
    /// The message's id.
    pub id: Option<MessageId>,
    /// The producer's own id.
    pub own_id: Option<String>,
    /// The action.
    pub action: Option<Action>,
    /// A field of the record.
    pub field: Option<Field>,
    /// Only what came after this: what is new since a page was shown.
    pub since: Option<StreamId>,
}

impl Query {
    /// Whether a route is of interest.
    fn wants(&self, document: &Document, route: &RouteSpec) -> bool {
        let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        is(&self.application, &route.application)
            && is(&self.topic, &route.topic)
            && is(&self.destination, &route.destination)
            && is(&self.route, &route.name)
            && is(&self.table, &route.table)
            && document.destinations.iter().any(|one| one.name == route.destination)
    }

    /// Whether a message that no route wants is of no interest.
    fn names_a_route(&self) -> bool {
        self.destination.is_some() || self.route.is_some() || self.table.is_some()
    }

    /// Whether a look goes through entries that do not match.
    #[must_use]
    pub fn searches(&self) -> bool {
        self.field.is_some()
            || self.key.is_some()
            || self.own_id.is_some()
            || self.action.is_some()
            || self.status.is_some()
    }
}

/// How much one look may do.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Rows of a page; a message's deliveries are not torn apart, so it may be some more.
    pub rows: usize,
    /// Entries looked at.
    pub entries: u64,
    /// Time after which no further entries are looked at.
    pub time: Duration,
}

impl Default for Bound {
    fn default() -> Self {
        Self { rows: 50, entries: 10_000, time: Duration::from_millis(40) }
    }
}

/// Where to go on: below this entry of this application, in the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The last entry that was dealt with.
    pub id: StreamId,
    /// Its application.
    pub application: String,
    /// How many entries were looked at so far.
    pub looked: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}~{}", self.id, self.looked, self.application)
    }
}

/// A text that is no cursor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("this is no place in the list: leave `cursor` out to begin at the newest")]
pub struct BadCursor;

impl FromStr for Cursor {
    type Err = BadCursor;

    fn from_str(text: &str) -> Result<Self, BadCursor> {
        let mut parts = text.splitn(3, '~');
        let mut next = || parts.next().ok_or(BadCursor);
        Ok(Self {
            id: next()?.parse().map_err(|_| BadCursor)?,
            looked: next()?.parse().map_err(|_| BadCursor)?,
            application: next()?.to_owned(),
        })
    }
}

/// What a look came to.
#[derive(Debug, Default)]
pub struct Page {
    /// Newest first.
    pub rows: Vec<Row>,
    /// Where to go on; none at the end.
    pub next: Option<Cursor>,
    /// Entries looked at so far, with those of the looks before.
    pub looked: u64,
    /// Entries there are.
    pub of: u64,
    /// The newest entry there is, below which the page begins: what comes later is above it.
    pub newest: StreamId,
}

/// A page of deliveries, or a step of a search for them.
///
/// # Errors
/// Redis is away.
pub async fn look(
    redis: &Redis,
    document: &Document,
    query: &Query,
    cursor: Option<&Cursor>,
    bound: Bound,
) -> Result<Page, LogError> {
    if let Some(id) = &query.id {
        return of_id(redis, document, query, id).await;
    }
    if matches!(query.status, Some(State::Dead | State::Superseded)) && query.field.is_none() {
        return of_dead::look(redis, document, query, cursor, bound).await;
    }
    let mut merge = Merge::begin(redis, document, query, cursor, bound).await?;
    let mut page = Page {
        of: merge.entries,
        newest: merge.newest.max(query.since.unwrap_or_default()),
        looked: cursor.map_or(0, |cursor| cursor.looked),
        ..Page::default()
    };
    let before = page.looked;
    loop {
        let mut some: Vec<(String, MessageId, Arc<Message>)> = Vec::new();
        let (mut planned, mut ended) = (0, false);
        while page.rows.len() + planned < bound.rows {
            match merge.next().await? {
                merge::Next::Message(application, id, message) => {
                    if query.field.as_ref().is_some_and(|field| !field.matches(&message.data)) {
                        continue;
                    }
                    let takes = |route: &&RouteSpec| {
                        route.application == application
                            && route.topic == *message.topic
                            && query.wants(document, route)
                    };
                    planned += document.routes.iter().filter(takes).count().max(1);
                    some.push((application, id, message));
                }
                merge::Next::Later => break,
                merge::Next::End => {
                    ended = true;
                    break;
                }
            }
        }
        let stopped = ended || page.rows.len() + planned < bound.rows;
        page.rows.extend(rows(redis, document, query, some).await?);
        page.looked = (before + merge.looked).min(page.of.max(before));
        if stopped || page.rows.len() >= bound.rows || !merge.may_fetch() {
            if !ended {
                page.next = merge.place(page.looked);
            }
            break;
        }
    }
    if page.next.is_none() {
        page.looked = page.of;
    }
    explain_waiting(redis, &mut page.rows).await;
    Ok(page)
}

/// The deliveries of messages of several applications, in their order, those that are wanted.
async fn rows(
    redis: &Redis,
    document: &Document,
    query: &Query,
    messages: Vec<(String, MessageId, Arc<Message>)>,
) -> Result<Vec<Row>, LogError> {
    let mut by_application: HashMap<&str, Vec<(MessageId, Arc<Message>)>> = HashMap::new();
    for (application, id, message) in &messages {
        by_application.entry(application).or_default().push((id.clone(), Arc::clone(message)));
    }
    let looks = by_application.into_iter().map(async |(application, messages)| {
        let found = fates::of(redis, document, application, &messages, |route| query.wants(document, route)).await?;
        Ok::<_, LogError>((application, found.into_iter().collect::<std::collections::VecDeque<_>>()))
    });
    let mut fates: HashMap<&str, _> = try_join_all(looks).await?.into_iter().collect();
    let mut rows = Vec::new();
    for (application, id, message) in &messages {
        let of =
            fates.get_mut(application.as_str()).and_then(std::collections::VecDeque::pop_front).unwrap_or_default();
        if of.is_empty() && !query.names_a_route() {
            rows.push(Row::unrouted(application, id, message));
        }
        rows.extend(of.iter().map(|fate| Row::of(application, id, message, fate)));
    }
    rows.retain(|row| query.status.is_none_or(|status| row.status == status));
    Ok(rows)
}

/// The deliveries of one message, of whichever application it is.
async fn of_id(redis: &Redis, document: &Document, query: &Query, id: &MessageId) -> Result<Page, LogError> {
    let named = |name: &str| query.application.as_deref().is_none_or(|wanted| wanted == name);
    let applications = document.applications.iter().map(|one| one.name.as_str()).filter(|name| named(name));
    let found = try_join_all(applications.map(async |application| {
        let message = lookup::message(redis, application, id).await?;
        Ok::<_, LogError>(message.map(|message| (application.to_owned(), id.clone(), Arc::new(message))))
    }));
    let found: Vec<_> = found.await?.into_iter().flatten().collect();
    let mut page = Page { of: found.len() as u64, looked: found.len() as u64, newest: id.0.id, ..Page::default() };
    page.rows = rows(redis, document, query, found).await?;
    explain_waiting(redis, &mut page.rows).await;
    Ok(page)
}

/// How the deliveries of these messages are now; those of messages that are gone are missing.
///
/// # Errors
/// Redis is away.
pub async fn these(
    redis: &Redis,
    document: &Document,
    query: &Query,
    messages: &[(String, MessageId)],
) -> Result<Vec<Row>, LogError> {
    let mut by_application: HashMap<&str, Vec<&MessageId>> = HashMap::new();
    for (application, id) in messages {
        by_application.entry(application).or_default().push(id);
    }
    let mut found = Vec::new();
    for (application, ids) in by_application {
        let entries: Vec<StreamId> = ids.iter().map(|id| id.0.id).collect();
        for entry in browse::these(redis, application, &entries).await? {
            let Entry::Message(message) = entry else { continue };
            let Some(id) = ids.iter().find(|id| id.0.id == message.id) else { continue };
            found.push((application.to_owned(), MessageId::clone(id), message));
        }
    }
    let mut rows = rows(redis, document, query, found).await?;
    explain_waiting(redis, &mut rows).await;
    Ok(rows)
}

/// What a page says of itself, for the API.
#[derive(Serialize)]
pub struct PageBody<'a> {
    /// Newest first.
    pub deliveries: &'a [Row],
    /// Where to go on; null at the end.
    pub next: Option<String>,
    /// Entries looked at so far.
    pub looked: u64,
    /// Entries there are.
    pub of: u64,
}

impl Page {
    /// As the API answers.
    #[must_use]
    pub fn body(&self) -> PageBody<'_> {
        PageBody {
            deliveries: &self.rows,
            next: self.next.as_ref().map(ToString::to_string),
            looked: self.looked,
            of: self.of,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let cursor = Cursor { id: StreamId::new(5, 1), application: "car~app".into(), looked: 12 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for wrong in ["", "5-1", "5-1~x~a", "x~1~a"] {
            assert_eq!(wrong.parse::<Cursor>(), Err(BadCursor), "{wrong}");
        }
    }
}
