//! Logs: deliveries newest first, live; searched in steps that tell how far they are; and a message's whole life.
//!
//! The list's address says all that is asked for. Parts of it, for htmx, are the same address with `part`: `new` (what came since,
//! and what became of what waits on the page), `more` (a search's next step, or the next page), `data` (one delivery's two sides).

mod message;
mod query;

use std::time::Duration;

use actix_web::{HttpResponse, web};
use askama::Template;
use tidegate_actors::message::{MessageId, StreamId};

pub(super) use self::message::{address as message_address, letter_address};
pub(super) use self::query::moment;
use self::query::{Asked, Query};
use super::{
    look::Look,
    page::{Frame, Nav, PageContext, PageError},
    texts::logs::{self as texts, Logs},
};
use crate::admin::{
    ActError,
    compare::Mark,
    deliveries::{self, Bound, Page, Row, State},
    messages,
};

/// Rows of a page.
const ROWS: usize = 50;
/// Rows that are added at once while one looks on; what came beyond that is behind a link.
const MOST_NEW: usize = 50;
/// A view is answered or given up within this.
pub(super) const WITHIN: Duration = Duration::from_millis(1_800);

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/logs").route(web::get().to(list)))
        .service(web::resource("/messages/{application}/{id}").route(web::get().to(message::show)));
}

impl PageContext {
    pub(super) fn logs(&self) -> &'static Logs {
        self.pick(&texts::EN, &texts::ID)
    }
}

/// Waits for a view no longer than a reader would.
pub(super) async fn in_time<T, E: Into<ActError>>(view: impl Future<Output = Result<T, E>>) -> Result<T, PageError> {
    match tokio::time::timeout(WITHIN, view).await {
        Ok(outcome) => outcome.map_err(|error| error.into().into()),
        Err(_) => Err(PageError::Unavailable("no answer from Redis in time".into())),
    }
}

/// A delivery in the list.
struct Line {
    row: Row,
    /// Names its part of the page.
    anchor: String,
    /// The beginning of what was sent.
    sent: String,
    message: String,
}

/// Characters of what was sent that a list shows.
const SHOWN: usize = 90;

impl Line {
    fn of(row: Row) -> Self {
        let whole = row.sent.as_ref().map_or("", |sent| sent.get());
        let mut sent: String = whole.chars().take(SHOWN).collect();
        if sent.len() < whole.len() {
            sent.push('…');
        }
        Self {
            anchor: format!("d-{}-{}", row.id, row.route),
            message: message::address(&row.application, &row.id),
            sent,
            row,
        }
    }

    /// Where its two sides are.
    fn data_address(&self) -> String {
        let query = [
            ("part", "data"),
            ("application", self.row.application.as_str()),
            ("q", self.row.id.as_str()),
            ("route", self.row.route.as_str()),
        ];
        format!("/console/logs?{}", url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish())
    }
}

/// The messages that wait, as the page keeps them.
fn watch<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let waiting = rows.filter(|row| matches!(row.status, State::Pending | State::Held));
    let mut all: Vec<String> = waiting.map(|row| format!("{}~{}", row.application, row.id)).collect();
    all.dedup();
    all.truncate(query::WATCHED);
    all.join(" ")
}

/// How a state looks: never by its colour alone.
pub(super) trait Shows {
    /// The class of its badge.
    fn tone(&self) -> &'static str;
    /// The name of its sign.
    fn icon(&self) -> &'static str;
}

impl Shows for State {
    fn tone(&self) -> &'static str {
        match self {
            Self::Delivered => "good",
            Self::Pending => "note",
            Self::Held | Self::Superseded | Self::Unrouted => "warning",
            Self::Dead => "bad",
            Self::Skipped | Self::Discarded | Self::Abandoned => "plain",
        }
    }

    fn icon(&self) -> &'static str {
        match self {
            Self::Delivered => "check",
            Self::Pending => "clock",
            Self::Held => "held",
            Self::Superseded => "redo",
            Self::Unrouted => "warning",
            Self::Dead => "dead",
            Self::Skipped => "next",
            Self::Discarded | Self::Abandoned => "trash",
        }
    }
}

/// The class of what a mark stands beside.
trait Marked {
    fn class(&self) -> &'static str;
}

impl Marked for Mark {
    fn class(&self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Renamed => "renamed",
            Self::Changed => "changed",
            Self::LeftOut => "left-out",
            Self::Added => "added",
        }
    }
}

/// What stands below the rows.
enum Below {
    /// The search goes on by itself.
    Searching { next: String, plain: String, stop: String, looked: u64, of: u64 },
    /// There is more, or there may be.
    More { next: String, looked: u64, of: u64, stopped: bool },
    /// Nothing.
    End,
}

#[derive(Template)]
#[template(path = "logs/list.html")]
struct ListPage {
    frame: Frame,
    text: &'static Logs,
    query: Query,
    mistakes: Vec<(&'static str, String)>,
    applications: Vec<String>,
    topics: Vec<String>,
    destinations: Vec<String>,
    lines: Vec<Line>,
    below: Below,
    newest: StreamId,
    watch: String,
    live: bool,
}

impl ListPage {
    fn mistake(&self, field: &str) -> Option<&str> {
        self.mistakes.iter().find(|(known, _)| *known == field).map(|(_, why)| why.as_str())
    }

    fn newest_address(&self) -> String {
        self.query.address(&[("cursor", "")])
    }

    fn poll(&self) -> String {
        self.query.address(&[("cursor", ""), ("part", "new")])
    }

    fn paused(&self) -> String {
        self.query.address(&[("cursor", ""), ("paused", "1")])
    }

    fn resumed(&self) -> String {
        self.query.address(&[("cursor", ""), ("paused", "")])
    }

    fn is_empty(&self) -> bool {
        self.lines.is_empty() && matches!(self.below, Below::End)
    }
}

/// Rows that are added below those that are there.
#[derive(Template)]
#[template(path = "logs/more.html")]
struct MorePart {
    frame: Look,
    text: &'static Logs,
    lines: Vec<Line>,
    below: Below,
}

/// Rows that are added above, and those whose state has changed.
#[derive(Template)]
#[template(path = "logs/new.html")]
struct NewPart {
    frame: Look,
    text: &'static Logs,
    lines: Vec<Line>,
    changed: Vec<Line>,
    newest: StreamId,
    watch: String,
}

/// The two sides of one delivery.
#[derive(Template)]
#[template(path = "logs/data.html")]
struct DataPart {
    text: &'static Logs,
    way: Option<messages::Way>,
    data: String,
    application: String,
}

impl DataPart {
    fn address(&self, id: &str) -> String {
        message::address(&self.application, id)
    }
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let query = query.into_inner();
    match query.part.as_str() {
        "new" => return new(page, query).await,
        "more" => return more(page, query).await,
        "stop" => return stop(&page, query),
        "data" => return data(page, query).await,
        _ => {}
    }
    let text = page.logs();
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    let mut mistakes = Vec::new();
    let found = match query.asked(text) {
        Ok(Asked { query: asked, cursor }) => {
            let bound = Bound { rows: ROWS, ..Bound::default() };
            in_time(deliveries::look(&page.admin().redis, &document, &asked, cursor.as_ref(), bound)).await?
        }
        Err(wrong) => {
            mistakes = wrong;
            Page::default()
        }
    };
    let below = below(&query, &found, found.rows.len(), mistakes.is_empty());
    let mut topics: Vec<String> = document.routes.iter().map(|route| route.topic.clone()).collect();
    topics.extend(document.applications.iter().flat_map(|one| one.topics.iter().cloned()));
    topics.sort_unstable();
    topics.dedup();
    let frame = page.frame(Nav::Logs, text.title);
    page.render(&ListPage {
        frame,
        text,
        applications: document.applications.iter().map(|one| one.name.clone()).collect(),
        topics,
        destinations: document.destinations.iter().map(|one| one.name.clone()).collect(),
        live: query.paused.is_empty() && query.cursor.is_empty() && mistakes.is_empty(),
        mistakes,
        watch: watch(found.rows.iter()),
        lines: found.rows.into_iter().map(Line::of).collect(),
        below,
        newest: found.newest,
        query,
    })
}

/// What stands below, after `rows` of the page have been found.
fn below(query: &Query, found: &Page, rows: usize, ask: bool) -> Below {
    let Some(next) = found.next.as_ref().filter(|_| ask) else { return Below::End };
    let cursor = next.to_string();
    let (looked, of) = (found.looked, found.of);
    if rows < ROWS && query.searches() {
        let rows = rows.to_string();
        return Below::Searching {
            next: query.address(&[("cursor", &cursor), ("part", "more"), ("found", &rows)]),
            plain: query.address(&[("cursor", &cursor), ("part", ""), ("found", "")]),
            stop: query.address(&[("cursor", &cursor), ("part", "stop"), ("found", &format!("{looked}~{of}"))]),
            looked,
            of,
        };
    }
    Below::More { next: query.address(&[("cursor", &cursor), ("part", ""), ("found", "")]), looked, of, stopped: false }
}

/// A search's next step.
async fn more(page: PageContext, query: Query) -> Result<HttpResponse, PageError> {
    let text = page.logs();
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    let Asked { query: asked, cursor } = query.asked(text).map_err(|_| PageError::Bad(String::new()))?;
    let before: usize = query.found.parse().unwrap_or_default();
    let bound = Bound { rows: ROWS.saturating_sub(before).max(1), ..Bound::default() };
    let found = in_time(deliveries::look(&page.admin().redis, &document, &asked, cursor.as_ref(), bound)).await?;
    let below = below(&query, &found, before + found.rows.len(), true);
    let lines = found.rows.into_iter().map(Line::of).collect();
    page.render(&MorePart { frame: page.look(), text, lines, below })
}

/// A search that was stopped; it can go on from there.
fn stop(page: &PageContext, query: Query) -> Result<HttpResponse, PageError> {
    let (looked, of) = query.found.split_once('~').unwrap_or_default();
    let below = Below::More {
        next: query.address(&[("part", ""), ("found", "")]),
        looked: looked.parse().unwrap_or_default(),
        of: of.parse().unwrap_or_default(),
        stopped: true,
    };
    page.render(&MorePart { frame: page.look(), text: page.logs(), lines: Vec::new(), below })
}

/// What came since the page was shown, and what became of what waits on it.
async fn new(page: PageContext, query: Query) -> Result<HttpResponse, PageError> {
    let text = page.logs();
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    let Asked { query: mut asked, .. } = query.asked(text).map_err(|_| PageError::Bad(String::new()))?;
    let since: StreamId = query.since.parse().map_err(|_| PageError::Bad(String::new()))?;
    asked.since = Some(since);
    let redis = &page.admin().redis;
    let bound = Bound { rows: MOST_NEW, ..Bound::default() };
    let found = in_time(deliveries::look(redis, &document, &asked, None, bound)).await?;
    let watched: Vec<(String, MessageId)> =
        query.watched().filter_map(|(application, id)| Some((application.to_owned(), id.parse().ok()?))).collect();
    asked.since = None;
    asked.status = None;
    let now = in_time(deliveries::these(redis, &document, &asked, &watched)).await?;
    let watch = watch(found.rows.iter().chain(&now));
    let changed = now.into_iter().filter(|row| !matches!(row.status, State::Pending | State::Held)).map(Line::of);
    let lines: Vec<Line> = found.rows.into_iter().map(Line::of).collect();
    let changed: Vec<Line> = changed.collect();
    if lines.is_empty() && changed.is_empty() && found.newest <= since {
        return Ok(HttpResponse::NoContent().finish());
    }
    page.render(&NewPart { frame: page.look(), text, lines, changed, newest: found.newest.max(since), watch })
}

/// The two sides of one delivery.
async fn data(page: PageContext, query: Query) -> Result<HttpResponse, PageError> {
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    let id: MessageId = query.q.parse().map_err(|_| PageError::Bad(String::new()))?;
    let redis = &page.admin().redis;
    let life = in_time(messages::life(redis, &document, &query.application, &id)).await?;
    let life = life.ok_or_else(|| PageError::NotFound(page.logs().gone.to_owned()))?;
    let way = life.ways.into_iter().find(|way| way.row.route == query.route);
    let data = crate::admin::json::pretty(&life.data);
    page.render(&DataPart { text: page.logs(), way, data, application: life.application })
}
