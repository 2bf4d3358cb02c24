//! Many dead letters at once: what will be done with how many, asked once more; then a job with its progress.

use actix_web::{HttpResponse, http::StatusCode, web};
use askama::Template;
use serde::Deserialize;
use tidegate_actors::delivery::now_ms;

use super::{Dead, Query, in_time};
use crate::{
    admin::{
        ActError, Role,
        dead_letters::{self, Filter, Lot},
        jobs::{self, Order, State, Task, View},
    },
    console::{
        logs::Shows,
        look::Look,
        page::{Frame, Nav, PageContext, PageError},
    },
};

/// What a page asks about, and what its form says.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// `redrive` or `discard`.
    task: String,
    application: String,
    destination: String,
    route: String,
    code: String,
    column: String,
    key: String,
    group: String,
    superseded: String,
    from: String,
    to: String,
    /// How many were shown.
    counted: Option<usize>,
    /// When, in milliseconds since the Unix epoch: later ones are not meant.
    until: Option<u64>,
    reason: String,
    force: String,
}

impl Asked {
    fn query(&self) -> Query {
        Query {
            application: self.application.clone(),
            destination: self.destination.clone(),
            route: self.route.clone(),
            code: self.code.clone(),
            column: self.column.clone(),
            key: self.key.clone(),
            group: self.group.clone(),
            superseded: self.superseded.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            sort: String::new(),
            page: None,
        }
    }

    /// What is meant, and nothing that was given up at or after this moment.
    fn filter(&self, until: Option<u64>) -> Filter {
        let filter = self.query().filter();
        Filter { until_ms: [filter.until_ms, until].into_iter().flatten().min(), ..filter }
    }

    fn refuse_wrong_times(&self, page: &PageContext) -> Result<(), PageError> {
        let query = self.query();
        let wrong = query.is_wrong("from") || query.is_wrong("to");
        if wrong { Err(PageError::Bad(page.dead().wrong_time.into())) } else { Ok(()) }
    }

    fn discards(&self) -> bool {
        self.task == "discard"
    }
}

#[derive(Template)]
#[template(path = "dead/many.html")]
struct ManyPage {
    frame: Frame,
    text: &'static Dead,
    asked: Asked,
    query: Query,
    words: String,
    count: usize,
    until: u64,
    destinations: Vec<(String, usize)>,
    mistake: Option<String>,
    failure: Option<String>,
}

impl ManyPage {
    fn back(&self) -> String {
        self.query.address(if self.query.group.is_empty() { "/console/dead" } else { "/console/dead/letters" }, &[])
    }
}

pub(super) async fn ask(page: PageContext, asked: web::Query<Asked>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    asked.refuse_wrong_times(&page)?;
    confirm(&page, StatusCode::OK, asked.into_inner(), None, None).await
}

async fn confirm(
    page: &PageContext,
    status: StatusCode,
    asked: Asked,
    mistake: Option<String>,
    failure: Option<String>,
) -> Result<HttpResponse, PageError> {
    let text = page.dead();
    let query = asked.query();
    let until = now_ms() + 1;
    let filter = asked.filter(Some(until));
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    let lots = match in_time(dead_letters::find(&page.admin().redis, &document, &filter)).await {
        Ok(lots) => lots,
        // Asked already, and Redis is away: the form comes back with what was counted.
        Err(PageError::Unavailable(_)) if failure.is_some() => Vec::new(),
        Err(error) => return Err(error),
    };
    let count = if lots.is_empty() { asked.counted.unwrap_or_default() } else { dead_letters::count(&lots) };
    let destinations = destinations(&lots);
    let title = if asked.discards() { text.many_discard } else { text.many_redrive };
    let title = title.replacen("{}", &page.look().count(count as u64), 1);
    let words = query.filter().words();
    let frame = page.frame(Nav::Dead, title);
    let template = ManyPage { frame, text, asked, query, words, count, until, destinations, mistake, failure };
    page.render_with(status, &template)
}

fn destinations(lots: &[Lot]) -> Vec<(String, usize)> {
    let mut all: Vec<(String, usize)> = Vec::new();
    for lot in lots {
        match all.iter_mut().find(|(name, _)| *name == lot.destination) {
            Some((_, many)) => *many += lot.letters.len(),
            None => all.push((lot.destination.clone(), lot.letters.len())),
        }
    }
    all
}

pub(super) async fn begin(page: PageContext, form: web::Form<Asked>) -> Result<HttpResponse, PageError> {
    page.needs(Role::Operator)?;
    let asked = form.into_inner();
    asked.refuse_wrong_times(&page)?;
    let admin = page.admin();
    let document = admin.documents.borrow().clone().unwrap_or_default();
    let task = if asked.discards() {
        Task::Discard { reason: asked.reason.clone() }
    } else {
        Task::Redrive { force: !asked.force.is_empty() }
    };
    let filter = asked.filter(asked.until);
    let order = Order { filter, counted: asked.counted.unwrap_or_default(), task };
    let began = async {
        let mut store = admin.store()?;
        jobs::begin(&admin.redis, &mut store, &document, &page.who(), &admin.node, order).await
    };
    match began.await {
        Ok(id) => Ok(page.see(&format!("/console/dead/jobs/{id}"))),
        Err(ActError::Invalid(_)) => {
            let mistake = Some(page.dead().reason_missing.to_owned());
            confirm(&page, StatusCode::UNPROCESSABLE_ENTITY, asked, mistake, None).await
        }
        Err(error @ ActError::Conflict(_)) => {
            confirm(&page, StatusCode::CONFLICT, asked, None, Some(error.to_string())).await
        }
        Err(error @ ActError::Unavailable(_)) => {
            confirm(&page, StatusCode::SERVICE_UNAVAILABLE, asked, None, Some(error.to_string())).await
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Template)]
#[template(path = "dead/job.html")]
struct JobPage {
    frame: Frame,
    text: &'static Dead,
    job: View,
    may_act: bool,
}

/// The part that is fetched again while it goes on.
#[derive(Template)]
#[template(path = "dead/progress.html")]
struct ProgressPart {
    frame: Look,
    text: &'static Dead,
    job: View,
    may_act: bool,
    csrf: std::sync::Arc<str>,
}

pub(super) async fn show(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    let text = page.dead();
    let job = in_time(jobs::view(&page.admin().redis, &id)).await?;
    let job = job.ok_or_else(|| PageError::NotFound(text.job_gone.to_owned()))?;
    let may_act = page.may(Role::Operator);
    if page.is_htmx() {
        return page.render(&ProgressPart { frame: page.look(), text, job, may_act, csrf: page.csrf() });
    }
    let frame = page.frame(Nav::Dead, format!("{}: {}", text.task(&job.task), page.look().count(job.total)));
    let frame = frame.below("/console/dead/jobs", text.jobs_title);
    page.render(&JobPage { frame, text, job, may_act })
}

pub(super) async fn cancel(page: PageContext, id: web::Path<String>) -> Result<HttpResponse, PageError> {
    let admin = page.admin();
    let mut store = admin.store()?;
    let here = format!("/console/dead/jobs/{id}");
    match jobs::cancel(&admin.redis, &mut store, &page.who(), &id).await {
        Ok(()) => Ok(page.done(&here, page.dead().cancelled)),
        Err(error @ ActError::Conflict(_)) => Ok(page.failed(&here, error.to_string())),
        Err(error) => Err(error.into()),
    }
}

impl Shows for State {
    fn tone(&self) -> &'static str {
        match self {
            Self::Running => "note",
            Self::Cancelling | Self::Cancelled => "warning",
            Self::Done => "good",
            Self::Abandoned => "bad",
        }
    }

    fn icon(&self) -> &'static str {
        match self {
            Self::Running => "refresh",
            Self::Cancelling | Self::Cancelled => "stop",
            Self::Done => "check",
            Self::Abandoned => "alert",
        }
    }
}
