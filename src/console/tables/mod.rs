//! Tables: the routes that bring records into tables; how they go, what each was, and making, changing and removing one.
//!
//! The list and a route's own page read only; the editor's steps are in [`steps`], and what is being written in [`draft`].

mod column;
mod draft;
mod replay;
mod steps;

use std::sync::Arc;

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;
use tidegate_actors::route::{ColumnSource, Columns};

pub(super) use self::draft::STEP_NAMES;
use self::{
    draft::{Draft, Pick, summary, word},
    replay::Moment as _,
};
use super::{
    list::List,
    look::Html,
    page::{Frame, Nav, PageContext, PageError},
    texts::{
        replay::Replay,
        tables::{self as texts, Tables},
    },
};
use crate::admin::{
    ActError, Role,
    replays::{Standing, Underway},
    routes::{self, Filters, Removal, RouteList, RouteView, Sort, StateWord, Version},
};

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/tables").route(web::get().to(list)))
        .service(
            web::resource("/tables/~new/{step}").route(web::get().to(steps::show)).route(web::post().to(steps::take)),
        )
        .service(web::resource("/tables/{name}").route(web::get().to(one)))
        .service(web::resource("/tables/{name}/edit").route(web::get().to(edit)))
        .service(web::resource("/tables/{name}/again/{place}").route(web::get().to(again)))
        .service(web::resource("/tables/{name}/remove").route(web::get().to(ask_removal)).route(web::post().to(remove)))
        .configure(replay::configure);
}

impl PageContext {
    pub(super) fn tables(&self) -> &'static Tables {
        self.pick(&texts::EN, &texts::ID)
    }
}

/// What the list is asked for.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Query {
    application: String,
    topic: String,
    destination: String,
    state: String,
    q: String,
    /// A column; with `-` before it the other way round.
    sort: String,
    page: Option<usize>,
}

impl Query {
    fn filters(&self) -> Filters {
        Filters {
            application: self.application.clone(),
            topic: self.topic.clone(),
            destination: self.destination.clone(),
            state: StateWord::parse(&self.state),
            search: self.q.trim().to_owned(),
            sort: Sort::of(self.sort.trim_start_matches('-')),
            descending: self.sort.starts_with('-'),
            page: self.page.unwrap_or(1),
        }
    }

    fn list(&self) -> List {
        let given = [
            ("application", self.application.as_str()),
            ("topic", &self.topic),
            ("destination", &self.destination),
            ("state", &self.state),
            ("q", &self.q),
        ];
        List::new("/console/tables", &given, &self.sort, "name", self.page)
    }
}

#[derive(Template)]
#[template(path = "tables/list.html")]
struct ListPage {
    frame: Frame,
    text: &'static Tables,
    query: Query,
    sorted: List,
    list: RouteList,
    pager: Html,
    may_edit: bool,
}

impl ListPage {
    fn in_state(&self, state: &StateWord) -> String {
        let wanted = if self.query.state == state.as_str() { "" } else { state.as_str() };
        self.sorted.with("state", wanted)
    }
}

async fn list(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let list = routes::list(page.admin(), &page.who(), &query.filters()).await?;
    let text = page.tables();
    let frame = page.frame(Nav::Tables, text.title);
    let may_edit = page.may(Role::Operator);
    let sorted = query.list();
    let pager = sorted.pager(list.total, routes::PAGE, page.look());
    page.render(&ListPage { frame, text, query: query.into_inner(), sorted, list, pager, may_edit })
}

/// Versions on a page: each shows all that it changed.
const VERSIONS: usize = 20;

/// Which versions of a route are looked for.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct VersionQuery {
    /// In who made it, and in what it changed.
    q: String,
    page: Option<usize>,
}

impl VersionQuery {
    fn lets_through(&self, version: &Version) -> bool {
        let q = self.q.trim().to_lowercase();
        let holds = |text: &str| text.to_lowercase().contains(&q);
        q.is_empty()
            || version.who.as_deref().is_some_and(holds)
            || version.differences.iter().any(|one| {
                holds(&one.what) || [&one.before, &one.after].into_iter().flatten().any(|value| holds(value))
            })
    }
}

#[derive(Template)]
#[template(path = "tables/route.html")]
struct RoutePage {
    frame: Frame,
    text: &'static Tables,
    view: RouteView,
    query: VersionQuery,
    /// A page of the versions that are looked for, each with its place among all.
    versions: Vec<(usize, Version)>,
    pager: Html,
    columns: Vec<ColumnLine>,
    facts: Vec<(&'static str, String)>,
    may_edit: bool,
    replay: &'static Replay,
    replays: Vec<Underway>,
    csrf: Arc<str>,
    /// Nothing has just come to its end.
    ended: bool,
}

/// A column of a route, in words.
struct ColumnLine {
    name: String,
    is_key: bool,
    from: String,
    rule: String,
}

impl RoutePage {
    /// A version in one line for whoever looks for one.
    fn who<'a>(&self, version: &'a Version) -> &'a str {
        version.who.as_deref().unwrap_or(self.text.unknown_who)
    }
}

async fn one(
    page: PageContext,
    name: web::Path<String>,
    query: web::Query<VersionQuery>,
) -> Result<HttpResponse, PageError> {
    let view = routes::one(page.admin(), &page.who(), &name).await?;
    let text = page.tables();
    let spec = &view.spec;
    let is_key = |column: &String| spec.key.iter().any(|key| key.eq_ignore_ascii_case(column));
    let columns = match &spec.columns {
        Columns::Matching(_) => Vec::new(),
        Columns::Named(named) => {
            let line = |(name, source): (&String, &ColumnSource)| ColumnLine {
                name: name.clone(),
                is_key: is_key(name),
                from: from_in_words(text, source, name),
                rule: match Pick::of(Some(source), name) {
                    Pick::Constant | Pick::Expression => String::new(),
                    _ => summary(Some(source)),
                },
            };
            named.iter().map(line).collect()
        }
    };
    let mut facts = vec![(text.start, String::from(spec.start.clone()))];
    if !spec.key.is_empty() {
        facts.push((text.key, spec.key.join(", ")));
    }
    let mut also = |name, is_set: bool, value: String| facts.extend(is_set.then_some((name, value)));
    also(text.filter, spec.filter.is_some(), spec.filter.clone().unwrap_or_default());
    also(text.on_missing, spec.on_missing != Default::default(), word(&spec.on_missing));
    also(text.on_existing, spec.on_existing != Default::default(), word(&spec.on_existing));
    let delete = serde_json::to_value(&spec.delete).map_or(String::new(), |value| match value {
        serde_json::Value::String(word) => word,
        other => other.to_string(),
    });
    also(text.delete, spec.delete != Default::default(), delete);
    also(text.on_dead, spec.on_dead != Default::default(), word(&spec.on_dead));
    also(text.unknown_fields, spec.unknown_fields != Default::default(), word(&spec.unknown_fields));
    also(text.version_column, spec.version_column.is_some(), spec.version_column.clone().unwrap_or_default());
    also(text.every_change, spec.every_change, text.yes.into());
    let children: Vec<_> = spec.children.iter().map(|child| format!("{} → {}", child.from, child.table)).collect();
    also(text.children, !children.is_empty(), children.join(", "));
    let frame = page.frame(Nav::Tables, spec.name.clone());
    let may_edit = page.may(Role::Operator);
    let (replay, replays, csrf) = (page.replay(), replay::of_route(&page, &view).await, page.csrf());
    let query = query.into_inner();
    let list = List::new(format!("/console/tables/{}", view.spec.name), &[("q", &query.q)], "", "", query.page);
    let versions = view.versions.iter().cloned().enumerate().filter(|(_, version)| query.lets_through(version));
    let (versions, pager) = list.cut(versions.collect(), VERSIONS, page.look());
    page.render(&RoutePage {
        frame,
        text,
        query,
        versions,
        pager,
        columns,
        facts,
        may_edit,
        replay,
        replays,
        csrf,
        ended: false,
        view,
    })
}

/// Where a column's value comes from, in words.
fn from_in_words(text: &'static Tables, source: &ColumnSource, column: &str) -> String {
    match Pick::of(Some(source), column) {
        Pick::Field(path) => path,
        Pick::Meta(meta) => text.meta(meta).to_owned(),
        Pick::Constant => format!("{}: {}", text.constant, summary(Some(source))),
        Pick::Expression => format!("{}: {}", text.expression, summary(Some(source))),
        Pick::Nothing => String::new(),
    }
}

/// Begins an edit of a route as it is.
async fn edit(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let view = routes::one(page.admin(), &page.who(), &name).await?;
    let draft = Draft::of(&view.spec, view.spec.version).write()?;
    Ok(page.see(&format!("/console/tables/~new/fields?d={draft}")))
}

/// Begins an edit of a route that makes it what it was in one of its versions.
async fn again(page: PageContext, path: web::Path<(String, usize)>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let (name, place) = path.into_inner();
    let view = routes::one(page.admin(), &page.who(), &name).await?;
    let version = view.versions.get(place).and_then(|version| version.spec.as_ref());
    let version = version.ok_or_else(|| PageError::NotFound(format!("there is no such version of `{name}`")))?;
    let draft = Draft::of(version, view.spec.version).write()?;
    Ok(page.see(&format!("/console/tables/~new/save?d={draft}")))
}

#[derive(Template)]
#[template(path = "tables/remove.html")]
struct RemovePage {
    frame: Frame,
    text: &'static Tables,
    removal: Removal,
    failure: Option<String>,
}

async fn ask_removal(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let removal = routes::removal(page.admin(), &page.who(), &name).await?;
    removal_page(&page, StatusCode::OK, removal, None)
}

fn removal_page(
    page: &PageContext,
    status: StatusCode,
    removal: Removal,
    failure: Option<String>,
) -> Result<HttpResponse, PageError> {
    let text = page.tables();
    let title = text.remove_title.replace("{}", &removal.name);
    let of = format!("/console/tables/{}", removal.name);
    let frame = page.frame(Nav::Tables, title).below(of, removal.name.as_str());
    page.render_with(status, &RemovePage { frame, text, removal, failure })
}

#[derive(Deserialize)]
struct Confirmed {
    version: u64,
}

async fn remove(
    page: PageContext,
    name: web::Path<String>,
    form: web::Form<Confirmed>,
) -> Result<HttpResponse, PageError> {
    match routes::remove(page.admin(), &page.who(), &name, form.version).await {
        Ok(()) => Ok(page.done("/console/tables", page.tables().removed.replace("{}", &name))),
        Err(error @ ActError::Conflict(_)) => {
            let removal = routes::removal(page.admin(), &page.who(), &name).await?;
            removal_page(&page, StatusCode::CONFLICT, removal, Some(error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}
