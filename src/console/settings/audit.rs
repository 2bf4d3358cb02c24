//! The list of changes: who, when, from where, what was and what is.

use actix_web::{HttpResponse, web};
use askama::Template;
use chrono::{NaiveDate, NaiveTime};
use serde::Deserialize;

use super::{Tab, tabs, text};
use crate::{
    admin::{
        Role,
        audit::{self, Filter, Page},
    },
    console::{
        page::{Frame, Nav, PageContext, PageError, REDIS_WITHIN},
        texts::settings::Settings,
    },
    registry::Store,
};

/// Entries of one page.
const PAGE: usize = 50;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config.service(web::resource("/settings/audit").route(web::get().to(list)));
}

#[derive(Template)]
#[template(path = "settings/audit.html")]
struct List {
    frame: Frame,
    text: &'static Settings,
    tabs: Vec<Tab>,
    found: Page,
    query: Query,
    newest: Option<String>,
    next: Option<String>,
}

#[derive(Default, Deserialize)]
struct Query {
    #[serde(default)]
    who: String,
    #[serde(default)]
    what: String,
    /// Days in UTC, as `2025-11-22`.
    #[serde(default)]
    since: String,
    #[serde(default)]
    until: String,
    below: Option<String>,
}

/// When a day begins, in milliseconds since the Unix epoch; `later` days after it.
fn day(text: &str, later: u64) -> Option<u64> {
    let day = text.trim().parse::<NaiveDate>().ok()?.checked_add_days(chrono::Days::new(later))?;
    u64::try_from(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis()).ok()
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Admin)?;
    let query = query.into_inner();
    let part = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = Filter {
        who: part(&query.who),
        what: part(&query.what),
        since_ms: day(&query.since, 0),
        until_ms: day(&query.until, 1),
    };
    let mut store = Store::of(&page.admin().redis);
    let below = query.below.as_deref();
    let who = page.who();
    let looked = audit::changes(&mut store, &who, &filter, below, PAGE);
    let found = match tokio::time::timeout(REDIS_WITHIN, looked).await {
        Ok(found) => found?,
        Err(_) => return Err(PageError::Unavailable("Redis did not answer in time".into())),
    };
    let filtered = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("who", &query.who)
        .append_pair("what", &query.what)
        .append_pair("since", &query.since)
        .append_pair("until", &query.until)
        .finish();
    let newest = query.below.is_some().then(|| format!("?{filtered}"));
    let next = found.next.as_ref().map(|id| format!("?{filtered}&below={id}"));
    let (text, frame) = (text(&page), page.frame(Nav::Settings, text(&page).audit));
    page.render(&List { frame, text, tabs: tabs(text, "audit"), found, query, newest, next })
}
