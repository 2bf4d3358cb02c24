//! What was sent: the newest first, by category, state, shop and words, a page at a time.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use tidegate_actors::delivery::now_ms;

use super::{Choice, Shown, Tab, categories_of, compose::to_whom, may_act, shops_of, tabs, text};
use crate::{
    admin::{
        ActError,
        broadcasts::history::{self, Row},
    },
    broadcast::message::{Message, State},
    console::{
        logs::moment,
        page::{Frame, Nav, PageContext, PageError, list_address},
        texts::broadcast::Broadcast,
    },
};

const PATH: &str = "/console/broadcast/sent";

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/broadcast/sent").route(web::get().to(list)));
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    q: String,
    category: String,
    state: String,
    shop: String,
    /// Sent at or after this moment.
    from: String,
    /// Sent before this one.
    to: String,
    before: String,
}

impl Query {
    fn with(&self, changes: &[(&str, &str)]) -> String {
        let all = vec![
            ("q", self.q.as_str()),
            ("category", &self.category),
            ("state", &self.state),
            ("shop", &self.shop),
            ("from", &self.from),
            ("to", &self.to),
            ("before", &self.before),
        ];
        list_address(PATH, all, changes)
    }

    fn is_filtered(&self) -> bool {
        let all = [&self.q, &self.category, &self.state, &self.shop, &self.from, &self.to];
        all.iter().any(|value| !value.trim().is_empty())
    }

    /// Whether this is no moment.
    fn is_wrong(&self, field: &str) -> bool {
        moment(if field == "from" { &self.from } else { &self.to }).is_err()
    }
}

/// How a message stands, for people: its word, its badge's class and its sign.
pub(super) fn standing(
    text: &'static Broadcast,
    message: &Message,
    now_ms: u64,
) -> (&'static str, &'static str, &'static str) {
    match message.state {
        State::Scheduled => (text.scheduled, "note", "clock"),
        State::Recalled => (text.recalled, "bad", "close"),
        State::Sent if message.content.is_over(now_ms) => (text.over, "plain", "clock"),
        State::Sent => (text.sent_state, "good", "check"),
    }
}

/// A message in the list.
struct Line {
    path: String,
    title: String,
    category: String,
    colour: &'static str,
    icon: &'static str,
    state: &'static str,
    tone: &'static str,
    sign: &'static str,
    corrected: bool,
    audience: String,
    by: String,
    at_ms: u64,
    counted: bool,
    must_confirm: bool,
    terminals: u64,
    received: u64,
    confirmed: u64,
}

impl Line {
    fn of(page: &PageContext, categories: &[Shown], row: Row) -> Self {
        let Row { message, received, confirmed } = row;
        let category = Shown::find(categories, &message.content.category);
        let (state, tone, sign) = standing(text(page), &message, now_ms());
        Self {
            path: format!("{PATH}/{}", message.id),
            title: message.content.title.clone(),
            category: category.title,
            colour: category.colour,
            icon: category.icon,
            state,
            tone,
            sign,
            corrected: message.corrected_ms.is_some(),
            audience: to_whom(page, &message.audience),
            by: message.by.clone(),
            at_ms: message.at_ms(),
            counted: message.sent_ms.is_some(),
            must_confirm: message.content.must_confirm,
            // Terminals that came later may have it too.
            terminals: message.reach.terminals.max(received),
            received,
            confirmed,
        }
    }
}

#[derive(Template)]
#[template(path = "broadcast/sent.html")]
struct SentPage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    query: Query,
    categories: Vec<Shown>,
    states: [(&'static str, &'static str); 3],
    shops: Vec<Choice>,
    lines: Vec<Line>,
    next: Option<String>,
    away: Option<String>,
    may_act: bool,
}

impl SentPage {
    fn first(&self) -> String {
        self.query.with(&[("before", "")])
    }
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let (query, text) = (query.into_inner(), text(&page));
    let document = page.admin().document();
    let categories = categories_of(&document, page.lang());
    let wanted = history::Query {
        q: query.q.clone(),
        state: State::parse(&query.state),
        category: query.category.clone(),
        shop: query.shop.clone(),
        // What can't be read lets nothing through, and is told beside the field.
        since_ms: moment(&query.from).unwrap_or(Some(u64::MAX)),
        until_ms: moment(&query.to).unwrap_or(Some(0)),
        before: query.before.clone(),
    };
    let found = match page.redis_away() {
        Some(why) => Err(ActError::Unavailable(why.to_owned())),
        None => history::list(page.admin(), &page.who(), &wanted).await,
    };
    let (rows, next, away) = match found {
        Ok(found) => (found.rows, found.next, None),
        Err(ActError::Unavailable(why)) => (Vec::new(), None, Some(why)),
        Err(error) => return Err(error.into()),
    };
    let lines = rows.into_iter().map(|row| Line::of(&page, &categories, row)).collect();
    let next = next.map(|place| query.with(&[("before", &place)]));
    page.render(&SentPage {
        frame: page.frame(Nav::Broadcast, text.sent),
        text,
        tabs: tabs(&page, PATH),
        query,
        categories,
        states: [("sent", text.sent_state), ("scheduled", text.scheduled), ("recalled", text.recalled)],
        shops: shops_of(&document),
        lines,
        next,
        away,
        may_act: may_act(&page),
    })
}
