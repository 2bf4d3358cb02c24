//! The jobs over many dead letters of the last week: which there are, who began them, and how each went.

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;

use super::{Dead, ROWS, in_time};
use crate::{
    admin::jobs::{self, State, View},
    console::{
        logs::Shows as _,
        page::{Frame, Nav, PageContext, PageError, list_address},
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
    fn with(&self, changes: &[(&str, &str)]) -> String {
        let page = self.page.filter(|page| *page > 1).map(|page| page.to_string()).unwrap_or_default();
        let all = vec![
            ("task", self.task.as_str()),
            ("state", &self.state),
            ("who", &self.who),
            ("sort", &self.sort),
            ("page", &page),
        ];
        list_address("/console/dead/jobs", all, changes)
    }

    fn is_filtered(&self) -> bool {
        ![&self.task, &self.state, &self.who].into_iter().all(String::is_empty)
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

#[derive(Template)]
#[template(path = "dead/jobs.html")]
struct JobsPage {
    frame: Frame,
    text: &'static Dead,
    query: Query,
    jobs: Vec<View>,
    found: usize,
    at: usize,
    pages: usize,
}

impl JobsPage {
    fn states(&self) -> Vec<(&'static str, &'static str)> {
        STATES.iter().map(|(state, word)| (*word, self.text.state(state))).collect()
    }

    fn sorted(&self, column: &str) -> String {
        let sort = if self.query.sort.is_empty() && column == "begun" || self.query.sort == format!("-{column}") {
            column.to_owned()
        } else {
            format!("-{column}")
        };
        self.query.with(&[("sort", &sort), ("page", "")])
    }

    fn aria_sort(&self, column: &str) -> &'static str {
        match self.query.sort.strip_prefix('-') {
            Some(by) if by == column => "descending",
            None if self.query.sort == column => "ascending",
            None if self.query.sort.is_empty() && column == "begun" => "descending",
            _ => "none",
        }
    }

    fn page(&self, page: usize) -> String {
        self.query.with(&[("page", &page.to_string())])
    }

    fn page_of(&self) -> String {
        self.text.page.replacen("{}", &self.at.to_string(), 1).replacen("{}", &self.pages.to_string(), 1)
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
    match query.sort.strip_prefix('-').unwrap_or(&query.sort) {
        "letters" => jobs.sort_by_key(|job| job.total),
        "refused" => jobs.sort_by_key(|job| job.refused),
        "who" => jobs.sort_by(|a, b| a.who.cmp(&b.who)),
        _ => jobs.sort_by_key(|job| job.begun_ms),
    }
    if query.sort.is_empty() || query.sort.starts_with('-') {
        jobs.reverse();
    }
    let found = jobs.len();
    let pages = found.div_ceil(ROWS).max(1);
    let at = query.page.unwrap_or(1).clamp(1, pages);
    let jobs = jobs.into_iter().skip((at - 1) * ROWS).take(ROWS).collect();
    let text = page.dead();
    let frame = page.frame(Nav::Dead, text.jobs_title);
    page.render(&JobsPage { frame, text, query, jobs, found, at, pages })
}
