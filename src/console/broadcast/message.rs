//! One message: who has it, who has confirmed it, who is off, live; and what can still be done about it.

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web,
};
use askama::Template;
use serde::Deserialize;
use tidegate_actors::delivery::now_ms;

use super::{
    Shown, Tab, Wrong, answer, categories_of, compose::to_whom, filled, form::Form, may_act, present, sounds, tabs,
    text,
};
use crate::{
    admin::{
        ActError, Role,
        broadcasts::{
            changes, history,
            receipts::{self, Counts, Only, Order, ReceiptRow, Receipts, Standing},
        },
    },
    broadcast::message::{MOST_TEXT, MOST_TITLE, Message, State, Version},
    console::{
        list::{List, ROWS},
        look::Html,
        page::{Frame, Nav, PageContext, PageError},
        texts::broadcast::Broadcast,
    },
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/broadcast/sent/{id}").route(web::get().to(show)))
        .service(web::resource("/broadcast/sent/{id}/receipts.csv").route(web::get().to(csv)))
        .service(
            web::resource("/broadcast/sent/{id}/correct")
                .route(web::get().to(show_correct))
                .route(web::post().to(correct)),
        )
        .service(web::resource("/broadcast/sent/{id}/recall").route(web::post().to(recall)))
        .service(web::resource("/broadcast/sent/{id}/remind").route(web::post().to(remind)));
}

fn path_of(id: &str) -> String {
    format!("/console/broadcast/sent/{}", super::encoded(id))
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    /// How the terminals stand that are wanted.
    only: String,
    /// In their names, shops and regions.
    q: String,
    /// A column; with `-` before it the latest first.
    sort: String,
    page: Option<usize>,
}

impl Query {
    fn list(&self, path: &str) -> List {
        let given = [("only", self.only.as_str()), ("q", &self.q)];
        List::new(path, &given, &self.sort, "state", self.page)
    }
}

/// What is told of a message beside its text.
struct Facts {
    id: String,
    state: &'static str,
    audience: String,
    by: String,
    created_ms: u64,
    at_ms: u64,
    due_ms: Option<u64>,
    sent_ms: Option<u64>,
    valid_until_ms: Option<u64>,
    corrected_ms: Option<u64>,
    reminded_ms: Option<u64>,
    recalled_ms: Option<u64>,
    recalled_by: Option<String>,
    own_id: Option<String>,
    must_confirm: bool,
}

impl Facts {
    fn of(page: &PageContext, message: &Message) -> Self {
        Self {
            id: message.id.clone(),
            state: message.state.as_str(),
            audience: to_whom(page, &message.audience),
            by: message.by.clone(),
            created_ms: message.created_ms,
            at_ms: message.at_ms(),
            due_ms: message.due_ms,
            sent_ms: message.sent_ms,
            valid_until_ms: message.content.valid_until_ms,
            corrected_ms: message.corrected_ms,
            reminded_ms: message.reminded_ms,
            recalled_ms: message.recalled_ms,
            recalled_by: message.recalled_by.clone(),
            own_id: message.own_id.clone(),
            must_confirm: message.content.must_confirm,
        }
    }
}

/// A terminal in the table.
struct Line {
    name: String,
    shop: String,
    state: &'static str,
    tone: &'static str,
    sign: &'static str,
    on: bool,
    received_ms: Option<u64>,
    confirmed_ms: Option<u64>,
}

impl Line {
    fn of(text: &'static Broadcast, must_confirm: bool, row: ReceiptRow) -> Self {
        let (state, tone, sign) = match row.standing {
            Standing::Confirmed => (text.confirmed, "good", "check"),
            Standing::Received if must_confirm => (text.waits_confirmation, "warning", "clock"),
            Standing::Received => (text.received, "good", "check"),
            Standing::Waiting | Standing::Off => (text.waiting, "", "clock"),
        };
        let shop = if row.region.is_empty() { row.shop_title } else { format!("{} · {}", row.shop_title, row.region) };
        let (received_ms, confirmed_ms) = (row.received_ms, row.confirmed_ms);
        Self { name: row.name, shop, state, tone, sign, on: row.on, received_ms, confirmed_ms }
    }
}

/// A choice of which terminals are shown.
struct Filter {
    word: &'static str,
    href: String,
    label: &'static str,
    count: Option<u64>,
    current: bool,
}

#[derive(Template)]
#[template(path = "broadcast/message.html")]
struct MessagePage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    path: String,
    query: Query,
    facts: Facts,
    shown: Form,
    versions: Vec<Version>,
    counts: Option<Counts>,
    filters: Vec<Filter>,
    found: usize,
    list: List,
    rows: Vec<Line>,
    pager: Html,
    live: bool,
    may_act: bool,
    /// It can be corrected and recalled.
    may_change: bool,
    may_remind: bool,
}

impl MessagePage {
    fn refresh(&self) -> String {
        self.list.at(self.list.page(self.found, ROWS))
    }

    /// What a bar's end stands for; a bar without an end would never be full.
    fn most(&self, counts: &Counts) -> u64 {
        counts.terminals.max(1)
    }

    fn recall_ask(&self) -> String {
        if self.facts.sent_ms.is_none() {
            return self.text.recall_ask_scheduled.to_owned();
        }
        let received = self.counts.map_or(0, |counts| counts.received);
        filled(self.text.recall_ask, &[&self.frame.count(received)])
    }
}

fn filters(text: &'static Broadcast, list: &List, query: &Query, counts: &Counts, must_confirm: bool) -> Vec<Filter> {
    let only_received = counts.received - counts.confirmed;
    let mut all = vec![
        ("", text.all, counts.terminals),
        ("missing", text.missing, counts.off + counts.waiting),
        ("off", text.off, counts.off),
        ("received", if must_confirm { text.waits_confirmation } else { text.received }, only_received),
    ];
    if must_confirm {
        all.push(("confirmed", text.confirmed, counts.confirmed));
    }
    let filter = |(word, label, count): (&'static str, &'static str, u64)| Filter {
        word,
        href: list.with("only", word),
        label,
        // They count all terminals, not those that were found.
        count: query.q.trim().is_empty().then_some(count),
        current: query.only == word,
    };
    all.into_iter().map(filter).collect()
}

async fn show(page: PageContext, id: web::Path<String>, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let (query, text) = (query.into_inner(), text(&page));
    let list = query.list(&path_of(&id));
    let (column, down) = list.sorting();
    let wanted = receipts::Query {
        q: query.q.clone(),
        only: Only::parse(&query.only),
        order: Order::parse(column),
        down,
        skip: list.skip(ROWS),
        limit: ROWS,
    };
    let found = receipts::list(page.admin(), &page.who(), &id, &wanted).await?;
    let Receipts { message, counts, found, rows } = found;
    let must_confirm = message.content.must_confirm;
    let rows = rows.into_iter().map(|row| Line::of(text, must_confirm, row)).collect();
    let path = path_of(&message.id);
    let categories = categories_of(&page.admin().document(), page.lang());
    let over = message.content.is_over(now_ms());
    let open = if must_confirm { counts.confirmed < counts.terminals } else { counts.received < counts.terminals };
    page.render(&MessagePage {
        frame: page.frame(Nav::Broadcast, message.content.title.as_str()),
        text,
        tabs: tabs(&page, "/console/broadcast/sent"),
        filters: filters(text, &list, &query, &counts, must_confirm),
        path,
        query,
        facts: Facts::of(&page, &message),
        shown: Form::of(&message, &categories),
        counts: (message.sent_ms.is_some()).then_some(counts),
        found,
        pager: list.pager(found, ROWS, page.look()),
        list,
        rows,
        live: message.state != State::Recalled,
        may_act: may_act(&page),
        may_change: message.state != State::Recalled,
        may_remind: message.state == State::Sent && !over && open,
        versions: message.versions.into_iter().rev().collect(),
    })
}

async fn csv(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    let csv = receipts::csv(page.admin(), &page.who(), &id).await?;
    // An id is letters and digits, or there would be none of it.
    let name = format!("attachment; filename=\"receipts-{}.csv\"", super::encoded(&id));
    Ok(HttpResponse::Ok()
        .content_type("text/csv; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .body(csv))
}

#[derive(Template)]
#[template(path = "broadcast/correct.html")]
struct CorrectPage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    path: String,
    form: Form,
    categories: Vec<Shown>,
    wrong: Wrong,
    sounds: String,
    most_title: usize,
    most_text: usize,
}

async fn show_correct(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let message = history::show(page.admin(), &page.who(), &id).await?.message;
    let categories = categories_of(&page.admin().document(), page.lang());
    let form = Form::of(&message, &categories);
    correction(&page, StatusCode::OK, &id, form, Wrong::default())
}

fn correction(
    page: &PageContext,
    status: StatusCode,
    id: &str,
    form: Form,
    wrong: Wrong,
) -> Result<HttpResponse, PageError> {
    let text = text(page);
    let shown = CorrectPage {
        frame: page.frame(Nav::Broadcast, text.correct_title),
        text,
        tabs: tabs(page, "/console/broadcast/sent"),
        path: path_of(id),
        form,
        categories: categories_of(&page.admin().document(), page.lang()),
        wrong,
        sounds: sounds(),
        most_title: MOST_TITLE,
        most_text: MOST_TEXT,
    };
    page.render_with(status, &shown)
}

async fn correct(
    page: PageContext,
    id: web::Path<String>,
    given: web::Form<Vec<(String, String)>>,
) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let categories = categories_of(&page.admin().document(), page.lang());
    let form = Form::read(given.into_inner(), false, &categories);
    let draft = match form.draft() {
        Ok(draft) => draft,
        Err(fields) => {
            let wrong = Wrong::fields(&page, fields);
            return correction(&page, StatusCode::UNPROCESSABLE_ENTITY, &id, form, wrong);
        }
    };
    let outcome = match present(&page) {
        Ok(()) => changes::correct(page.admin(), &page.who(), &id, &draft).await,
        Err(away) => Err(away),
    };
    match outcome {
        Ok(_) => Ok(page.done(&path_of(&id), text(&page).done_corrected)),
        Err(ActError::Unavailable(why)) => {
            let wrong = Wrong { away: Some(page.look().why(why)), ..Wrong::default() };
            correction(&page, StatusCode::SERVICE_UNAVAILABLE, &id, form, wrong)
        }
        Err(error) => {
            let (status, wrong) = Wrong::of(&page, error)?;
            correction(&page, status, &id, form, wrong)
        }
    }
}

async fn recall(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let outcome = changes::recall(page.admin(), &page.who(), &id).await.map(drop);
    answer(&page, &path_of(&id), outcome, text(&page).done_recalled.to_owned())
}

async fn remind(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let (outcome, many) = match changes::remind(page.admin(), &page.who(), &id).await {
        Ok(many) => (Ok(()), many),
        Err(error) => (Err(error), 0),
    };
    answer(&page, &path_of(&id), outcome, filled(text(&page).done_reminded, &[&page.look().count(many)]))
}
