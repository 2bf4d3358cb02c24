//! Dead letters: groups by cause, what is inside one, a letter to look into and act on, and many at once as a job.

mod job_list;
mod letter;
mod many;

use std::{cmp::Ordering, sync::Arc};

use actix_web::{HttpResponse, web};
use askama::Template;
use serde::Deserialize;
use tidegate_actors::transaction::DeadId;

use super::{
    list::{List, ROWS},
    logs::{Shows as _, in_time, letter_address, moment},
    look::Html,
    page::{Frame, Nav, PageContext, PageError},
    texts::dead::{self as texts, Dead},
};
use crate::{
    admin::{
        Role,
        dead_letters::{self, BARS, Filter, Group, Groups, Lot},
        jobs,
    },
    redis::dead::Summary,
    resources::Document,
};

/// Jobs that are shown beside the groups.
const JOBS: usize = 5;

pub(super) fn configure(config: &mut web::ServiceConfig) {
    config
        .service(web::resource("/dead").route(web::get().to(groups)))
        .service(web::resource("/dead/letters").route(web::get().to(letters)))
        .service(
            web::resource("/dead/letter/{application}/{destination}/{route}/{id}")
                .route(web::get().to(letter::show))
                .route(web::post().to(letter::act)),
        )
        .service(web::resource("/dead/many").route(web::get().to(many::ask)).route(web::post().to(many::begin)))
        .service(web::resource("/dead/jobs").route(web::get().to(job_list::show)))
        .service(web::resource("/dead/jobs/{id}").route(web::get().to(many::show)).route(web::post().to(many::cancel)));
}

impl PageContext {
    fn dead(&self) -> &'static Dead {
        self.pick(&texts::EN, &texts::ID)
    }
}

/// Which dead letters an address means.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Query {
    application: String,
    destination: String,
    route: String,
    code: String,
    column: String,
    key: String,
    group: String,
    /// `yes` or `no`.
    superseded: String,
    /// Given up at or after this moment.
    from: String,
    /// Given up before this one.
    to: String,
    /// A column; with `-` before it the largest or latest first.
    sort: String,
    page: Option<usize>,
}

impl Query {
    fn filter(&self) -> Filter {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Filter {
            application: given(&self.application),
            destination: given(&self.destination),
            route: given(&self.route),
            code: given(&self.code),
            column: given(&self.column),
            // What can't be read lets nothing through: what is done with all that is found must not be done with more than was meant.
            since_ms: moment(&self.from).unwrap_or(Some(u64::MAX)),
            until_ms: moment(&self.to).unwrap_or(Some(0)),
            key: given(&self.key),
            superseded: match self.superseded.as_str() {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            },
            group: given(&self.group),
        }
    }

    /// Names and values, for an address or a form's hidden fields.
    fn given(&self) -> Vec<(&'static str, &str)> {
        let mut all = vec![
            ("application", self.application.as_str()),
            ("destination", &self.destination),
            ("route", &self.route),
            ("code", &self.code),
            ("column", &self.column),
            ("key", &self.key),
            ("group", &self.group),
            ("superseded", &self.superseded),
            ("from", &self.from),
            ("to", &self.to),
        ];
        all.retain(|(_, value)| !value.is_empty());
        all
    }

    fn is_filtered(&self) -> bool {
        !self.given().is_empty()
    }

    /// Whether this is no moment.
    fn is_wrong(&self, field: &str) -> bool {
        moment(if field == "from" { &self.from } else { &self.to }).is_err()
    }

    /// Its list at this address, in this order where none is asked for.
    fn list(&self, path: &'static str, usual: &'static str) -> List {
        List::new(path, &self.given(), &self.sort, usual, self.page)
    }

    /// An address with all of it, and some more.
    fn address(&self, path: &str, more: &[(&str, &str)]) -> String {
        let mut all = self.given();
        all.extend(Some(("sort", self.sort.as_str())).filter(|(_, sort)| !sort.is_empty()));
        all.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        let more = more.iter().copied().filter(|(_, value)| !value.is_empty());
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).extend_pairs(more).finish();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

/// The choices of the filters.
struct Choices {
    applications: Vec<String>,
    destinations: Vec<String>,
    routes: Vec<String>,
}

impl Choices {
    fn of(document: &Document) -> Self {
        Self {
            applications: document.applications.iter().map(|one| one.name.clone()).collect(),
            destinations: document.destinations.iter().map(|one| one.name.clone()).collect(),
            routes: document.routes.iter().map(|one| one.name.clone()).collect(),
        }
    }
}

#[derive(Template)]
#[template(path = "dead/groups.html")]
struct GroupsPage {
    frame: Frame,
    text: &'static Dead,
    query: Query,
    choices: Choices,
    list: List,
    /// A page of them.
    found: Groups,
    pager: Html,
    jobs: Vec<jobs::View>,
    may_act: bool,
}

/// The order of groups where none is asked for.
const GROUPS_USUAL: &str = "-count";
/// The same of letters.
const LETTERS_USUAL: &str = "-at";

impl GroupsPage {
    fn inside(&self, group: &Group) -> String {
        self.query.address("/console/dead/letters", &[("group", &group.id), ("sort", "")])
    }

    fn many(&self, task: &str) -> String {
        self.query.address("/console/dead/many", &[("task", task)])
    }

    /// What a group's bars say, for whoever does not see them.
    fn bars(&self, group: &Group) -> String {
        let most = group.bars.iter().max().copied().unwrap_or_default();
        format!("{}: {}", self.text.over_time, self.frame.count(most))
    }

    /// Place, top and height of each bar in a picture of 96 by 24.
    fn shapes(&self, group: &Group) -> Vec<(usize, u64, u64)> {
        let most = group.bars.iter().max().copied().unwrap_or_default().max(1);
        let height = |number: u64| if number == 0 { 0 } else { (number * 22 / most).max(2) };
        group
            .bars
            .iter()
            .enumerate()
            .map(|(place, number)| (place * 4, 24 - height(*number), height(*number)))
            .collect()
    }

    fn until(&self) -> u64 {
        self.found.from_ms + self.found.bar_ms * BARS as u64
    }
}

async fn groups(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let query = query.into_inner();
    let text = page.dead();
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    let redis = &page.admin().redis;
    let lots = in_time(dead_letters::find(redis, &document, &query.filter())).await?;
    let mut found = dead_letters::groups(&document, &lots);
    let list = query.list("/console/dead", GROUPS_USUAL);
    // Those that are alike stay as they were, those with the most letters first.
    list.order(&mut found.groups, |column, a: &Group, b: &Group| match column {
        "cause" => a.cause.code.cmp(&b.cause.code),
        "destination" => a.cause.destination.cmp(&b.cause.destination),
        "first" => a.first_ms.cmp(&b.first_ms),
        "last" => a.last_ms.cmp(&b.last_ms),
        _ => a.count.cmp(&b.count),
    });
    let (groups, pager) = list.cut(std::mem::take(&mut found.groups), ROWS, page.look());
    found.groups = groups;
    let jobs = in_time(jobs::newest(redis, JOBS)).await?;
    let frame = page.frame(Nav::Dead, text.title);
    let (choices, may_act) = (Choices::of(&document), page.may(Role::Operator));
    page.render(&GroupsPage { frame, text, query, choices, list, found, pager, jobs, may_act })
}

/// A letter in a list.
struct Line {
    id: String,
    application: String,
    destination: String,
    route: String,
    letter: Arc<Summary>,
    address: String,
}

#[derive(Template)]
#[template(path = "dead/letters.html")]
struct LettersPage {
    frame: Frame,
    text: &'static Dead,
    query: Query,
    choices: Choices,
    group: Option<Group>,
    lines: Vec<Line>,
    list: List,
    count: usize,
    pager: Html,
    may_act: bool,
}

impl LettersPage {
    fn many(&self, task: &str) -> String {
        self.query.address("/console/dead/many", &[("task", task)])
    }

    fn counted(&self, text: &str) -> String {
        text.replacen("{}", &self.frame.count(self.count as u64), 1)
    }

    /// Whether anything but the group is asked for.
    fn has_filter(&self) -> bool {
        self.query.given().iter().any(|(name, _)| *name != "group")
    }

    fn cleared(&self) -> String {
        let (group, sort) = (self.query.group.clone(), self.query.sort.clone());
        Query { group, sort, ..Query::default() }.address("/console/dead/letters", &[])
    }
}

/// One page in this order: what stands before and after it is not sorted.
fn page_of<T>(all: &mut [T], at: usize, order: impl Fn(&T, &T) -> Ordering) -> &[T] {
    let begin = (at - 1) * ROWS;
    if begin > 0 && begin < all.len() {
        all.select_nth_unstable_by(begin, &order);
    }
    let rest = all.get_mut(begin..).unwrap_or_default();
    if rest.len() > ROWS {
        rest.select_nth_unstable_by(ROWS - 1, &order);
    }
    let many = rest.len().min(ROWS);
    let shown = &mut rest[..many];
    shown.sort_unstable_by(&order);
    shown
}

async fn letters(page: PageContext, query: web::Query<Query>) -> Result<HttpResponse, PageError> {
    let query = query.into_inner();
    let text = page.dead();
    let document = page.admin().documents.borrow().clone().unwrap_or_default();
    let lots = in_time(dead_letters::find(&page.admin().redis, &document, &query.filter())).await?;
    let group = (!query.group.is_empty()).then(|| dead_letters::groups(&document, &lots).groups.pop()).flatten();
    let mut all: Vec<(&Lot, &DeadId, &Arc<Summary>)> =
        lots.iter().flat_map(|lot| lot.letters.iter().map(move |(id, letter)| (lot, id, letter))).collect();
    let count = all.len();
    let list = query.list("/console/dead/letters", LETTERS_USUAL);
    let (at, pager) = (list.page(count, ROWS), list.pager(count, ROWS, page.look()));
    let (column, down) = list.sorting();
    type Place<'a> = (&'a Lot, &'a DeadId, &'a Arc<Summary>);
    let by = |a: &Place<'_>, b: &Place<'_>| match column {
        "key" => a.2.key.cmp(&b.2.key),
        "destination" => (&a.0.destination, &a.2.route_name).cmp(&(&b.0.destination, &b.2.route_name)),
        "reason" => (&a.2.code, &a.2.column, &a.2.message).cmp(&(&b.2.code, &b.2.column, &b.2.message)),
        "attempts" => a.2.attempts.cmp(&b.2.attempts),
        _ => (a.2.at_ms, a.1).cmp(&(b.2.at_ms, b.1)),
    };
    let latest = |a: &Place<'_>, b: &Place<'_>| (b.2.at_ms, b.1).cmp(&(a.2.at_ms, a.1));
    let all = page_of(&mut all, at, |a, b| if down { by(b, a) } else { by(a, b) }.then_with(|| latest(a, b)));
    let line = |(lot, id, letter): &(&Lot, &DeadId, &Arc<Summary>)| {
        let name = dead_letters::name(id);
        Line {
            address: letter_address(&lot.application, &lot.destination, &id.route, &name),
            id: name,
            application: lot.application.clone(),
            destination: lot.destination.clone(),
            route: dead_letters::route_name(&document, id, &letter.route_name).to_owned(),
            letter: Arc::clone(letter),
        }
    };
    let lines = all.iter().map(line).collect();
    let frame = page.frame(Nav::Dead, text.inside);
    let (choices, may_act) = (Choices::of(&document), page.may(Role::Operator));
    page.render(&LettersPage { frame, text, query, choices, group, lines, list, count, pager, may_act })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_what_the_whole_sorted_list_has_there() {
        // Each once, in no order.
        let all: Vec<usize> = (0..173).map(|n| n * 71 % 173).collect();
        for at in 1..=4 {
            let sorted: Vec<usize> = (0..173).skip((at - 1) * ROWS).take(ROWS).collect();
            assert_eq!(page_of(&mut all.clone(), at, Ord::cmp), sorted, "page {at}");
        }
        assert_eq!(page_of(&mut [2, 1], 1, Ord::cmp), [1, 2]);
        assert!(page_of(&mut Vec::<u8>::new(), 1, Ord::cmp).is_empty());
    }
}
