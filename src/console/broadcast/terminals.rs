//! Terminals: which there are and which are on; one-time codes with link and QR code, and those that are open; moving and revoking.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::{Choice, Tab, Wrong, answer, encoded, filled, may_act, present, shops_of, tabs, text};
use crate::{
    admin::{
        ActError, Role,
        broadcasts::{
            codes::{self, CodeView, Codes},
            terminals::{self as acts, Order, PAGE, TerminalState, TerminalView, Terminals},
        },
    },
    console::{
        list::{List, ROWS},
        look::Html,
        me::drawn,
        page::{Frame, Nav, PageContext, PageError},
        texts::broadcast::Broadcast,
    },
};

const PATH: &str = "/console/terminals";

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/terminals").route(web::get().to(list)))
        .service(web::resource("/terminals/~new").route(web::get().to(show_new)).route(web::post().to(make)))
        .service(web::resource("/terminals/~codes/{id}/take-back").route(web::post().to(take_back)))
        .service(web::resource("/terminals/{id}").route(web::get().to(show)))
        .service(web::resource("/terminals/{id}/move").route(web::post().to(move_to)))
        .service(web::resource("/terminals/{id}/revoke").route(web::post().to(revoke)));
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    q: String,
    shop: String,
    /// `on`, `off` or `revoked`.
    state: String,
    /// A column; with `-` before it the latest first.
    sort: String,
    page: Option<usize>,
    /// The same of the open codes, and their page.
    #[serde(rename = "codes-sort")]
    codes_sort: String,
    codes: Option<usize>,
}

impl Query {
    fn is_filtered(&self) -> bool {
        [&self.q, &self.shop, &self.state].iter().any(|value| !value.trim().is_empty())
    }
}

impl Query {
    fn list(&self) -> List {
        let given = [("q", self.q.as_str()), ("shop", &self.shop), ("state", &self.state)];
        List::new(PATH, &given, &self.sort, "shop", self.page)
    }

    /// The open codes below it, which leave it as it is.
    fn list_of_codes(&self) -> List {
        let page = self.page.filter(|page| *page > 1).map(|page| page.to_string()).unwrap_or_default();
        let given = [
            ("q", self.q.as_str()),
            ("shop", &self.shop),
            ("state", &self.state),
            ("sort", &self.sort),
            ("page", &page),
        ];
        List::new(PATH, &given, &self.codes_sort, "ends", self.codes).named("codes-sort", "codes")
    }
}

/// A terminal in the list.
struct Line {
    id: String,
    name: String,
    shop: String,
    shop_title: String,
    region: String,
    state: &'static str,
    tone: &'static str,
    sign: &'static str,
    seen_ms: Option<u64>,
    created_ms: u64,
    by: String,
    revoked_ms: Option<u64>,
}

impl Line {
    fn of(text: &'static Broadcast, view: TerminalView) -> Self {
        let (state, tone, sign) = match (view.revoked_ms, view.on) {
            (Some(_), _) => (text.revoked, "bad", "lock"),
            (None, true) => (text.on, "good", "up"),
            (None, false) => (text.off, "", "down"),
        };
        Self {
            id: view.id,
            name: view.name,
            shop: view.shop,
            shop_title: view.shop_title,
            region: view.region,
            state,
            tone,
            sign,
            seen_ms: view.seen_ms,
            created_ms: view.created_ms,
            by: view.by,
            revoked_ms: view.revoked_ms,
        }
    }
}

#[derive(Template)]
#[template(path = "broadcast/terminals.html")]
struct ListPage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    query: Query,
    shops: Vec<Choice>,
    list: List,
    rows: Vec<Line>,
    pager: Html,
    all: usize,
    on: usize,
    away: Option<String>,
    list_of_codes: List,
    /// A page of the codes that are open and looked for; none for whoever may not make any.
    codes: Vec<CodeView>,
    codes_pager: Html,
    /// How many are open, whatever is looked for.
    codes_open: usize,
    may_act: bool,
}

impl ListPage {
    fn take_back_ask(&self, code: &CodeView) -> String {
        filled(self.text.code_take_back_ask, &[&code.shop_title])
    }

    fn counted(&self) -> String {
        filled(self.text.terminals_count, &[&self.frame.count(self.all as u64), &self.frame.count(self.on as u64)])
    }
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let (query, text) = (query.into_inner(), text(&page));
    let list = query.list();
    let (column, down) = list.sorting();
    let wanted = acts::Query {
        q: query.q.clone(),
        shop: query.shop.clone(),
        state: TerminalState::parse(&query.state),
        order: Order::parse(column),
        down,
        skip: list.skip(PAGE),
        ..acts::Query::default()
    };
    let found = match page.redis_away() {
        Some(why) => Err(ActError::Unavailable(why.to_owned())),
        None => acts::list(page.admin(), &page.who(), &wanted).await,
    };
    let (Terminals { rows, found, all, on }, away) = match found {
        Ok(found) => (found, None),
        Err(ActError::Unavailable(why)) => (Terminals::default(), Some(why)),
        Err(error) => return Err(error.into()),
    };
    let list_of_codes = query.list_of_codes();
    let (column, down) = list_of_codes.sorting();
    let wanted = codes::Query {
        q: query.q.clone(),
        shop: query.shop.clone(),
        order: codes::Order::parse(column),
        down,
        skip: list_of_codes.skip(ROWS),
        limit: ROWS,
    };
    let Codes { codes, found: codes_found, all: codes_open } = if may_act(&page) && away.is_none() {
        codes::list(page.admin(), &page.who(), &wanted).await.unwrap_or_default()
    } else {
        Codes::default()
    };
    let codes_pager = list_of_codes.pager(codes_found, ROWS, page.look());
    let pager = list.pager(found, PAGE, page.look());
    page.render(&ListPage {
        frame: page.frame(Nav::Broadcast, text.terminals),
        text,
        tabs: tabs(&page, PATH),
        query,
        shops: shops_of(&page.admin().document()),
        list,
        rows: rows.into_iter().map(|view| Line::of(text, view)).collect(),
        pager,
        all,
        on,
        away,
        list_of_codes,
        codes,
        codes_pager,
        codes_open,
        may_act: may_act(&page),
    })
}

#[derive(Template)]
#[template(path = "broadcast/terminal_new.html")]
struct NewPage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    shops: Vec<Choice>,
    shop: String,
    name: String,
    wrong: Wrong,
    may_shops: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Given {
    shop: String,
    name: String,
}

async fn show_new(page: PageContext, given: web::Query<Given>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    new(&page, StatusCode::OK, given.into_inner(), Wrong::default())
}

fn new(page: &PageContext, status: StatusCode, given: Given, wrong: Wrong) -> Result<HttpResponse, PageError> {
    let text = text(page);
    let shown = NewPage {
        frame: page.frame(Nav::Broadcast, text.enrol),
        text,
        tabs: tabs(page, PATH),
        shops: shops_of(&page.admin().document()),
        shop: given.shop,
        name: given.name,
        wrong,
        may_shops: page.may(Role::Operator),
    };
    page.render_with(status, &shown)
}

#[derive(Template)]
#[template(path = "broadcast/terminal_code.html")]
struct CodePage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    shop: String,
    shop_name: String,
    name: String,
    code: String,
    link: String,
    /// Where the code is typed.
    place: String,
    ends_ms: u64,
    modules: String,
    size: i32,
}

impl CodePage {
    fn step_type(&self) -> String {
        filled(self.text.code_step_type, &[&self.place])
    }
}

async fn make(page: PageContext, given: web::Form<Given>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let (given, text) = (given.into_inner(), text(&page));
    let made = match present(&page) {
        Ok(()) => acts::make_code(page.admin(), &page.who(), &given.shop, &given.name).await,
        Err(away) => Err(away),
    };
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            let (status, wrong) = Wrong::of(&page, error)?;
            return new(&page, status, given, wrong);
        }
    };
    let place = format!("{}/terminal", page.origin());
    let code = made.code.expose_secret().to_owned();
    let link = format!("{place}#code={code}");
    let (modules, size) = drawn(&link.clone().into())?;
    let shops = shops_of(&page.admin().document());
    let shop =
        shops.into_iter().find(|shop| shop.name == given.shop).map_or_else(|| given.shop.clone(), |shop| shop.title);
    page.render(&CodePage {
        frame: page.frame(Nav::Broadcast, text.enrol),
        text,
        tabs: tabs(&page, PATH),
        shop,
        shop_name: encoded(&given.shop),
        name: given.name,
        code,
        link,
        place,
        ends_ms: made.expires_ms,
        modules,
        size,
    })
}

#[derive(Template)]
#[template(path = "broadcast/terminal.html")]
struct OnePage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    row: Line,
    shops: Vec<Choice>,
    wrong: Wrong,
    may_act: bool,
}

impl OnePage {
    fn revoke_ask(&self) -> String {
        filled(self.text.revoke_ask, &[&self.row.name])
    }
}

async fn show(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    one(&page, StatusCode::OK, &id, Wrong::default()).await
}

async fn one(page: &PageContext, status: StatusCode, id: &str, wrong: Wrong) -> Result<HttpResponse, PageError> {
    let text = text(page);
    let view = acts::show(page.admin(), &page.who(), id).await?;
    let shown = OnePage {
        frame: page.frame(Nav::Broadcast, view.name.as_str()),
        text,
        tabs: tabs(page, PATH),
        row: Line::of(text, view),
        shops: shops_of(&page.admin().document()),
        wrong,
        may_act: may_act(page),
    };
    page.render_with(status, &shown)
}

async fn named(page: &PageContext, id: &str) -> Result<String, PageError> {
    Ok(acts::show(page.admin(), &page.who(), id).await?.name)
}

async fn move_to(page: PageContext, id: web::Path<String>, given: web::Form<Given>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let name = named(&page, &id).await?;
    let outcome = acts::move_to(page.admin(), &page.who(), &id, &given.shop).await;
    answer(&page, &format!("{PATH}/{}", encoded(&id)), outcome, filled(text(&page).done_moved, &[&name]))
}

async fn revoke(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    let name = named(&page, &id).await?;
    let outcome = acts::revoke(page.admin(), &page.who(), &id).await;
    let path = if outcome.is_ok() { PATH.to_owned() } else { format!("{PATH}/{}", encoded(&id)) };
    answer(&page, &path, outcome, filled(text(&page).done_revoked, &[&name]))
}

async fn take_back(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Broadcaster)?;
    match codes::take_back(page.admin(), &page.who(), &id).await {
        Ok(code) => Ok(page.done(PATH, filled(text(&page).done_code_taken_back, &[&code.shop_title]))),
        // Used in the meantime, or its day is over: the list says which terminal came of it.
        Err(ActError::Unknown(why)) => {
            Ok(page.failed(PATH, format!("{} {}.", text(&page).not_saved, page.look().why(why))))
        }
        Err(error) => answer(&page, PATH, Err(error), String::new()),
    }
}
