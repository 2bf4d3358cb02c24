//! The jobs over many dead letters of the last week: which there are, who began them, and how each went.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Dead, in_time};
use crate::{
    admin::jobs::{self, State, View},
    console::{
        list::{List, ROWS},
        logs::Shows as _,
        look::Html,
        page::{Frame, Nav, PageContext, PageError},
    },
};

/// More than are remembered.
const MOST: usize = 500;

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    task: String,
    state: String,
    who: String,
    sort: String,
    page: Option<usize>,
}

impl Query {
    fn list(&self) -> List {
        let given = [("task", self.task.as_str()), ("state", &self.state), ("who", &self.who)];
        List::new("/console/dead/jobs", &given, &self.sort, "-begun", self.page)
    }
}

/// The states as an address has them.
const STATES: [(State, &str); 5] = [
    (State::Running, "running"),
    (State::Cancelling, "cancelling"),
    (State::Done, "done"),
    (State::Cancelled, "cancelled"),
    (State::Abandoned, "abandoned"),
];

/// What goes on comes first.
fn place(state: &State) -> usize {
    STATES.iter().position(|(known, _)| known == state).unwrap_or_default()
}

#[derive(Template)]
#[template(path = "dead/jobs.html")]
struct JobsPage {
    frame: Frame,
    text: &'static Dead,
    query: Query,
    list: List,
    jobs: Vec<View>,
    pager: Html,
}

impl JobsPage {
    fn states(&self) -> Vec<(&'static str, &'static str)> {
        STATES.iter().map(|(state, word)| (*word, self.text.state(state))).collect()
    }
}

pub(super) async fn show(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let query = query.into_inner();
    let mut jobs = in_time(jobs::newest(&page.admin().redis, MOST)).await?;
    let who = query.who.trim().to_lowercase();
    let state = STATES.iter().find(|(_, word)| *word == query.state).map(|(state, _)| *state);
    jobs.retain(|job| {
        (query.task.is_empty() || job.task == query.task)
            && state.is_none_or(|state| job.state == state)
            && job.who.to_lowercase().contains(&who)
    });
    let list = query.list();
    list.order(&mut jobs, |column, a, b| match column {
        "task" => a.task.cmp(&b.task),
        "state" => place(&a.state).cmp(&place(&b.state)),
        "letters" => a.total.cmp(&b.total),
        "refused" => a.refused.cmp(&b.refused),
        "who" => a.who.cmp(&b.who),
        _ => a.begun_ms.cmp(&b.begun_ms),
    });
    let (jobs, pager) = list.cut(jobs, ROWS, page.look());
    let text = page.dead();
    let frame = page.frame(Nav::Dead, text.jobs_title);
    page.render(&JobsPage { frame, text, query, list, jobs, pager })
}
