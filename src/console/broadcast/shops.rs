//! Shops and regions: where terminals stand, by name, title and region.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;

use super::{Tab, Wrong, answer, encoded, filled, present, tabs, text};
use crate::{
    admin::{
        ActError, Role,
        broadcasts::shops::{self as acts, ShopView},
    },
    console::{
        list::{List, ROWS},
        look::Html,
        page::{Frame, Nav, PageContext, PageError},
        texts::broadcast::Broadcast,
    },
    resources::{Document, Shop},
};

const PATH: &str = "/console/shops";

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/shops").route(web::get().to(list)))
        .service(web::resource("/shops/~new").route(web::get().to(show_new)).route(web::post().to(add)))
        .service(web::resource("/shops/{name}").route(web::get().to(show)).route(web::post().to(change)))
        .service(web::resource("/shops/{name}/remove").route(web::post().to(remove)));
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    q: String,
    region: String,
    /// A column; with `-` before it the most first.
    sort: String,
    page: Option<usize>,
}

impl Query {
    fn is_filtered(&self) -> bool {
        !self.q.trim().is_empty() || !self.region.is_empty()
    }
}

/// A shop in the list.
struct Line {
    name: String,
    title: String,
    region: String,
    terminals: u64,
    on: u64,
}

#[derive(Template)]
#[template(path = "broadcast/shops.html")]
struct ListPage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    query: Query,
    regions: Vec<String>,
    rows: Vec<Line>,
    all: usize,
    list: List,
    pager: Html,
    may_edit: bool,
}

fn regions_of(document: &Document) -> Vec<String> {
    let mut all: Vec<String> =
        document.shops.iter().map(|shop| shop.region.clone()).filter(|region| !region.is_empty()).collect();
    all.sort();
    all.dedup();
    all
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let (query, text) = (query.into_inner(), text(&page));
    let (mut views, _) = acts::list(page.admin(), &page.who()).await?;
    let all = views.len();
    let mut regions: Vec<String> =
        views.iter().map(|view| view.shop.region.clone()).filter(|region| !region.is_empty()).collect();
    regions.sort();
    regions.dedup();
    let q = query.q.trim().to_lowercase();
    views.retain(|ShopView { shop, .. }| {
        (query.region.is_empty() || shop.region == query.region)
            && [&shop.name, &shop.title, &shop.region].iter().any(|text| text.to_lowercase().contains(&q))
    });
    let given = [("q", query.q.as_str()), ("region", &query.region)];
    let list = List::new(PATH, &given, &query.sort, "shop", query.page);
    let terminals = |view: &ShopView| view.reach.as_ref().map_or(0, |reach| reach.terminals);
    let on = |view: &ShopView| view.reach.as_ref().map_or(0, |reach| reach.on_now);
    list.order(&mut views, |column, a, b| match column {
        "name" => a.shop.name.cmp(&b.shop.name),
        "region" => a.shop.region.to_lowercase().cmp(&b.shop.region.to_lowercase()),
        "terminals" => terminals(a).cmp(&terminals(b)),
        "on" => on(a).cmp(&on(b)),
        _ => a.shop.title.to_lowercase().cmp(&b.shop.title.to_lowercase()),
    });
    let (views, pager) = list.cut(views, ROWS, page.look());
    let line = |ShopView { shop, reach }: ShopView| {
        let reach = reach.unwrap_or_default();
        Line { name: shop.name, title: shop.title, region: shop.region, terminals: reach.terminals, on: reach.on_now }
    };
    let rows = views.into_iter().map(line).collect();
    page.render(&ListPage {
        frame: page.frame(Nav::Broadcast, text.shops),
        text,
        tabs: tabs(&page, PATH),
        query,
        regions,
        rows,
        all,
        list,
        pager,
        may_edit: page.may(Role::Operator),
    })
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Given {
    name: String,
    title: String,
    region: String,
}

#[derive(Template)]
#[template(path = "broadcast/shop.html")]
struct OnePage {
    frame: Frame,
    text: &'static Broadcast,
    tabs: Vec<Tab>,
    path: String,
    form: Given,
    regions: Vec<String>,
    is_new: bool,
    wrong: Wrong,
}

impl OnePage {
    fn remove_ask(&self) -> String {
        filled(self.text.shop_remove_ask, &[&self.form.title])
    }
}

fn one(
    page: &PageContext,
    status: StatusCode,
    form: Given,
    is_new: bool,
    wrong: Wrong,
) -> Result<HttpResponse, PageError> {
    let text = text(page);
    let title = if is_new { text.shop_new.to_owned() } else { filled(text.shop_edit, &[&form.title]) };
    let shown = OnePage {
        frame: page.frame(Nav::Broadcast, title),
        text,
        tabs: tabs(page, PATH),
        path: if is_new { format!("{PATH}/~new") } else { format!("{PATH}/{}", encoded(&form.name)) },
        form,
        regions: regions_of(&page.admin().document()),
        is_new,
        wrong,
    };
    page.render_with(status, &shown)
}

async fn show_new(page: PageContext) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    one(&page, StatusCode::OK, Given::default(), true, Wrong::default())
}

async fn show(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let (views, _) = acts::list(page.admin(), &page.who()).await?;
    let found = views.into_iter().map(|view| view.shop).find(|shop| shop.name == *name);
    let Shop { name, title, region } = found.ok_or_else(|| PageError::NotFound(String::new()))?;
    one(&page, StatusCode::OK, Given { name, title, region }, false, Wrong::default())
}

async fn add(page: PageContext, given: web::Form<Given>) -> Result<HttpResponse, PageError> {
    save(&page, given.into_inner(), true).await
}

async fn change(
    page: PageContext,
    name: web::Path<String>,
    given: web::Form<Given>,
) -> Result<HttpResponse, PageError> {
    save(&page, Given { name: name.into_inner(), ..given.into_inner() }, false).await
}

async fn save(page: &PageContext, given: Given, is_new: bool) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let shop = Shop { name: given.name.trim().to_owned(), title: given.title.clone(), region: given.region.clone() };
    let outcome = match present(page) {
        Ok(()) => acts::save(page.admin(), &page.who(), &shop, is_new).await,
        Err(away) => Err(away),
    };
    match outcome {
        Ok(()) => Ok(page.done(PATH, filled(text(page).done_shop, &[&given.title]))),
        Err(error @ (ActError::Invalid(_) | ActError::Conflict(_) | ActError::Unavailable(_))) => {
            let (status, wrong) = Wrong::of(page, error)?;
            one(page, status, given, is_new, wrong)
        }
        Err(error) => Err(error.into()),
    }
}

async fn remove(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let outcome = acts::remove(page.admin(), &page.who(), &name).await;
    let path = if outcome.is_ok() { PATH.to_owned() } else { format!("{PATH}/{}", encoded(&name)) };
    answer(&page, &path, outcome, filled(text(&page).done_shop_removed, &[&name]))
}
