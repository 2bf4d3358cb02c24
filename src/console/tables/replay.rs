//! Sending a route again: from where to where, what that comes to, and how far those are that are under way.
//!
//! The range stands in the page's address, so it can be shared and nothing is kept on the server. What is asked for is counted
//! before anything is done, and once more when it begins.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;
use tidegate_actors::message::StreamId;

use crate::{
    admin::{
        ActError, FieldError, Role,
        replays::{self, Note, Plan, Standing, Underway},
        routes::{self, RouteView},
    },
    console::{
        logs::in_time,
        look::Look,
        page::{Frame, Nav, PageContext, PageError},
        texts::replay::{self as texts, Replay},
    },
    redis::replay::Bound,
    resources::Document,
};

/// Longest time for the records of a range to be counted; some two million are.
const COUNTED_WITHIN: Duration = Duration::from_secs(6);

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/tables/{name}/replay").route(web::get().to(ask)).route(web::post().to(begin)))
        .service(web::resource("/tables/{name}/replays").route(web::get().to(part)))
        .service(web::resource("/tables/{name}/replays/{token}/stop").route(web::post().to(stop)));
}

impl PageContext {
    pub(super) fn replay(&self) -> &'static Replay {
        self.pick(&texts::EN, &texts::ID)
    }
}

/// From where to where, as somebody writes it.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Asked {
    from: String,
    to: String,
}

impl Asked {
    fn range(&self) -> Result<(Bound, Option<Bound>), Vec<FieldError>> {
        let read = |field: &str, text: &str| {
            let text = text.trim();
            // A moment without a zone is UTC, as it is in the logs.
            let forms = [text.to_owned(), format!("{text}Z"), format!("{text}:00Z"), format!("{text}T00:00:00Z")];
            let wrong = |message| FieldError { field: field.to_owned(), code: "bound", message };
            forms
                .iter()
                .find_map(|form| replays::bound(form).ok())
                .map_or_else(|| replays::bound(text).map_err(wrong), Ok)
        };
        let from = read("from", &self.from);
        let to = Some(&self.to).filter(|to| !to.trim().is_empty()).map(|to| read("to", to)).transpose();
        match (from, to) {
            (Ok(from), Ok(to)) => Ok((from, to)),
            (from, to) => Err([from.err(), to.err()].into_iter().flatten().collect()),
        }
    }
}

#[derive(Template)]
#[template(path = "tables/replay.html")]
struct ReplayPage {
    frame: Frame,
    text: &'static Replay,
    name: String,
    asked: Asked,
    plan: Option<Plan>,
    failure: Option<String>,
    wrong: Vec<FieldError>,
}

impl ReplayPage {
    fn wrong(&self, field: &str) -> Option<String> {
        self.wrong.iter().find(|error| error.field == field).map(|error| self.frame.wrong(error))
    }

    /// The page with a range that reaches so far back from now.
    fn since(&self, hours: i64) -> String {
        let from = Utc::now() - TimeDelta::try_hours(hours).unwrap_or_default();
        self.beginning_at(from)
    }

    fn whole(&self) -> String {
        self.beginning_at(DateTime::UNIX_EPOCH)
    }

    fn beginning_at(&self, moment: DateTime<Utc>) -> String {
        let from = moment.to_rfc3339_opts(SecondsFormat::Secs, true);
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("from", &from).finish();
        format!("/console/tables/{}/replay?{query}", self.name)
    }
}

/// A part of the route's page: what is under way.
#[derive(Template)]
#[template(path = "tables/replays.html")]
struct ReplaysPart {
    frame: Look,
    replay: &'static Replay,
    name: String,
    replays: Vec<Underway>,
    may_edit: bool,
    csrf: Arc<str>,
    /// There was one when the page was made.
    ended: bool,
}

/// The moment of a place; none of the very first.
pub(super) trait Moment {
    /// In milliseconds since the Unix epoch.
    fn moment(&self) -> Option<u64>;
}

impl Moment for StreamId {
    fn moment(&self) -> Option<u64> {
        (self.ms > 0).then_some(self.ms)
    }
}

/// What is under way of a route, for its page; nothing while Redis is away.
pub(super) async fn of_route(page: &PageContext, view: &RouteView) -> Vec<Underway> {
    if view.away.is_some() {
        return Vec::new();
    }
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    in_time(replays::underway(&page.admin().redis, &document, &view.spec)).await.unwrap_or_default()
}

async fn ask(page: PageContext, name: web::Path<String>, asked: web::Query<Asked>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let view = routes::one(page.admin(), &page.who(), &name).await?;
    show(&page, StatusCode::OK, view.spec.name, asked.into_inner(), None).await
}

/// The page, with what was asked for counted; over it why it was not begun.
async fn show(
    page: &PageContext,
    status: StatusCode,
    name: String,
    asked: Asked,
    refused: Option<ActError>,
) -> Result<HttpResponse, PageError> {
    let (mut plan, mut wrong) = (None, Vec::new());
    let is_refused = refused.is_some();
    let mut failure = refused.map(|error| error.to_string());
    let mut status = status;
    if !asked.from.trim().is_empty() && !is_refused {
        match planned(page, &name, &asked).await {
            Ok(found) => plan = Some(found),
            Err(ActError::Invalid(fields)) => (status, wrong) = (StatusCode::UNPROCESSABLE_ENTITY, fields),
            Err(error @ (ActError::Conflict(_) | ActError::Unavailable(_))) => {
                let of = |error: &ActError| {
                    if matches!(error, ActError::Conflict(_)) {
                        StatusCode::CONFLICT
                    } else {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                };
                (status, failure) = (of(&error), Some(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let text = page.replay();
    let frame = page.frame(Nav::Tables, text.title.replace("{}", &name));
    let frame = frame.below(format!("/console/tables/{name}"), name.as_str());
    page.render_with(status, &ReplayPage { frame, text, name, asked, plan, failure, wrong })
}

async fn planned(page: &PageContext, name: &str, asked: &Asked) -> Result<Plan, ActError> {
    let (from, to) = asked.range().map_err(ActError::Invalid)?;
    let admin = page.admin();
    let document = document(page);
    let plan = replays::plan(&admin.redis, &document, name, &from, to.as_ref(), |_| ());
    let plan = tokio::time::timeout(COUNTED_WITHIN, plan).await;
    plan.unwrap_or_else(|_| Err(ActError::Conflict(page.replay().too_many.to_owned())))
}

fn document(page: &PageContext) -> Arc<Document> {
    page.admin().documents.borrow().clone().unwrap_or_default()
}

async fn begin(page: PageContext, name: web::Path<String>, form: web::Form<Asked>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let admin = page.admin();
    let asked = form.into_inner();
    let begun = async {
        let plan = planned(&page, &name, &asked).await?;
        let mut store = admin.store()?;
        in_time_of_act(replays::begin(&admin.redis, &mut store, &page.who(), &plan)).await
    };
    let status = match begun.await {
        Ok(()) => return Ok(page.done(&format!("/console/tables/{name}"), page.replay().begun)),
        Err(error @ ActError::Conflict(_)) => (StatusCode::CONFLICT, error),
        Err(error @ ActError::Unavailable(_)) => (StatusCode::SERVICE_UNAVAILABLE, error),
        Err(error) => return Err(error.into()),
    };
    show(&page, status.0, name.into_inner(), asked, Some(status.1)).await
}

async fn in_time_of_act<T>(act: impl Future<Output = Result<T, ActError>>) -> Result<T, ActError> {
    match tokio::time::timeout(crate::console::logs::WITHIN, act).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ActError::Unavailable("no answer from Redis in time".into())),
    }
}

/// How far they are, fetched again and again while there are some.
async fn part(page: PageContext, name: web::Path<String>) -> Result<HttpResponse, PageError> {
    let document = page.admin().documents.borrow().clone();
    let document = document.ok_or_else(|| PageError::Unavailable("Redis does not answer".into()))?;
    let spec = document.routes.iter().find(|route| route.name == *name);
    let spec = spec.ok_or_else(|| PageError::NotFound(format!("there is no route `{name}`")))?;
    let replays = in_time(replays::underway(&page.admin().redis, &document, spec)).await?;
    let (replay, name, csrf) = (page.replay(), name.into_inner(), page.csrf());
    let ended = replays.is_empty();
    let may_edit = page.may(Role::Operator);
    page.render(&ReplaysPart { frame: page.look(), replay, name, replays, may_edit, csrf, ended })
}

async fn stop(page: PageContext, path: web::Path<(String, String)>) -> Result<HttpResponse, PageError> {
    let (name, token) = path.into_inner();
    let back = format!("/console/tables/{name}");
    let admin = page.admin();
    let mut store = admin.store()?;
    let (document, who) = (document(&page), page.who());
    let stopped = replays::stop(&admin.redis, &mut store, &document, &who, &name, &token);
    match in_time_of_act(stopped).await {
        Ok(()) => Ok(page.done(&back, page.replay().stopped)),
        Err(error @ (ActError::Conflict(_) | ActError::Unavailable(_))) => Ok(page.failed(&back, error.to_string())),
        Err(error) => Err(error.into()),
    }
}
