//! Routes for whoever runs the installation: what there is and how it goes, what each was before, and what an editor needs
//! to make one: tables, columns, a suggestion, a trial.
//!
//! A route is saved through the same reading and planning that `tidegate apply` does with a file, so that what one takes
//! the other takes too, word for word.

mod editor;
mod save;
mod state;
mod versions;

use std::{cmp::Ordering, sync::Arc, time::Duration};

use serde::Serialize;
use tidegate_actors::route::{Columns, RouteSpec};
use tokio::time::timeout;

pub use self::{
    editor::{
        Field, Offer, Place, Preview, TableLine, TablePage, Target, Trial, TriedRecord, ddl, fields_of, name_for,
        offer, previews, sources, table, tables, targets, try_out,
    },
    save::{Draft, Note, Outlook, Removal, Saved, outlook, removal, remove, save, toml},
    state::{RouteState, StateWord},
    versions::{Difference, Version, differences, versions},
};
use super::{ActError, Admin, Role, Who};
use crate::{
    databases::nearest,
    registry::{Store, StoreError},
    resources::{Destination, Document},
};

/// Longest time for the registry to be read.
const WITHIN: Duration = Duration::from_secs(2);
/// Routes on one page.
pub const PAGE: usize = 50;

/// Which routes are asked for, and in which order. Empty texts stand for all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Of this application.
    pub application: String,
    /// Of this topic.
    pub topic: String,
    /// Into this destination.
    pub destination: String,
    /// That are so.
    pub state: Option<StateWord>,
    /// Whose name, topic or table has this in it, in whatever case.
    pub search: String,
    /// By what.
    pub sort: Sort,
    /// The other way round.
    pub descending: bool,
    /// Which page, from 1; 0 is 1.
    pub page: usize,
}

/// What a list is sorted by; then by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// The route's name.
    #[default]
    Name,
    /// Application and topic.
    Source,
    /// Destination and table.
    Destination,
    /// What needs somebody first.
    State,
}

impl Sort {
    /// That of this word; by name where there is none such.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "source" => Self::Source,
            "destination" => Self::Destination,
            "state" => Self::State,
            _ => Self::Name,
        }
    }

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::State => "state",
        }
    }
}

/// A route in a list.
#[derive(Clone, Debug, Serialize)]
pub struct RouteLine {
    /// Its name.
    pub name: String,
    /// The producing application.
    pub application: String,
    /// The topic.
    pub topic: String,
    /// The destination.
    pub destination: String,
    /// The table.
    pub table: String,
    /// The tables of its children.
    pub children: Vec<String>,
    /// How many columns it names; `None`: those that have a field of their name.
    pub columns: Option<usize>,
    /// Its version.
    pub version: u64,
    /// How it goes.
    pub state: RouteState,
}

/// A page of routes.
#[derive(Clone, Debug, Serialize)]
pub struct RouteList {
    /// Those of this page.
    pub routes: Vec<RouteLine>,
    /// How many there are that the filters let through.
    pub total: usize,
    /// How many there are at all.
    pub all: usize,
    /// How many are how, whatever state is asked for; those that the other filters let through.
    pub counts: Vec<(StateWord, usize)>,
    /// Which page this is, from 1.
    pub page: usize,
    /// How many pages there are; at least 1.
    pub pages: usize,
    /// Why nothing is known of how they go: Redis is away.
    pub away: Option<String>,
    /// What one can filter by.
    pub applications: Vec<String>,
    /// What one can filter by.
    pub topics: Vec<String>,
    /// What one can filter by.
    pub destinations: Vec<String>,
}

/// One route, with everything around it.
#[derive(Clone, Debug, Serialize)]
pub struct RouteView {
    /// The route.
    pub spec: RouteSpec,
    /// The destination's kind, where there is one of this name.
    pub kind: Option<String>,
    /// How it goes.
    pub state: RouteState,
    /// What it was, newest first; the present one is the first.
    pub versions: Vec<Version>,
    /// As `apply` would take it.
    pub toml: String,
    /// Why nothing more is known: Redis is away.
    pub away: Option<String>,
}

/// The registry as it is now; as this node knows it where Redis does not answer, and why it does not.
pub(super) async fn newest(admin: &Admin) -> Result<(Arc<Document>, Option<String>), ActError> {
    let mut store = Store::of(&admin.redis);
    let away = match timeout(WITHIN, store.load()).await {
        Ok(Ok(document)) => return Ok((Arc::new(document.unwrap_or_default()), None)),
        Ok(Err(error @ StoreError::Unreadable { .. })) => return Err(error.into()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "Redis does not answer".to_owned(),
    };
    let known = admin.documents.borrow().clone();
    Ok((known.unwrap_or_default(), Some(away)))
}

/// The registry as it is now.
async fn current(admin: &Admin) -> Result<Arc<Document>, ActError> {
    let (document, away) = newest(admin).await?;
    if let Some(why) = away {
        return Err(ActError::Unavailable(why));
    }
    // What is made in an emptied Redis would be another installation.
    let knows_one = admin.documents.borrow().as_ref().is_some_and(|known| !known.installation.is_empty());
    if document.installation.is_empty() && knows_one {
        return Err(ActError::Unavailable("Redis has lost the registry; it is being restored: try again".into()));
    }
    Ok(document)
}

/// The routes that the filters let through, a page of them.
///
/// # Errors
/// They may not; the registry can't be understood.
pub async fn list(admin: &Admin, who: &Who, filters: &Filters) -> Result<RouteList, ActError> {
    who.needs(Role::Viewer)?;
    let (document, mut away) = newest(admin).await?;
    let search = filters.search.to_lowercase();
    let is = |wanted: &str, has: &str| wanted.is_empty() || wanted == has;
    let routes: Vec<&RouteSpec> = document
        .routes
        .iter()
        .filter(|route| is(&filters.application, &route.application) && is(&filters.topic, &route.topic))
        .filter(|route| is(&filters.destination, &route.destination))
        .filter(|route| [&route.name, &route.topic, &route.table].iter().any(|of| of.to_lowercase().contains(&search)))
        .collect();
    let states = state::of(admin, &document, &routes, &mut away).await;
    let mut lines: Vec<RouteLine> = routes.iter().zip(states).map(|(route, state)| line(route, state)).collect();
    let counts = StateWord::ALL.map(|word| (word, lines.iter().filter(|line| line.state.word == word).count()));
    lines.retain(|line| filters.state.is_none_or(|state| line.state.word == state));
    lines.sort_by(|a, b| {
        let order = order(filters.sort, a, b).then_with(|| a.name.cmp(&b.name));
        if filters.descending { order.reverse() } else { order }
    });
    let total = lines.len();
    let pages = total.div_ceil(PAGE).max(1);
    let page = filters.page.clamp(1, pages);
    let distinct = |of: fn(&RouteSpec) -> &String| {
        let mut names: Vec<String> = document.routes.iter().map(|route| of(route).clone()).collect();
        names.sort();
        names.dedup();
        names
    };
    Ok(RouteList {
        routes: lines.into_iter().skip((page - 1) * PAGE).take(PAGE).collect(),
        total,
        all: document.routes.len(),
        counts: counts.into(),
        page,
        pages,
        away,
        applications: distinct(|route| &route.application),
        topics: distinct(|route| &route.topic),
        destinations: distinct(|route| &route.destination),
    })
}

fn line(route: &RouteSpec, state: RouteState) -> RouteLine {
    RouteLine {
        name: route.name.clone(),
        application: route.application.clone(),
        topic: route.topic.clone(),
        destination: route.destination.clone(),
        table: route.table.clone(),
        children: route.children.iter().map(|child| child.table.clone()).collect(),
        columns: match &route.columns {
            Columns::Matching(_) => None,
            Columns::Named(named) => Some(named.len()),
        },
        version: route.version,
        state,
    }
}

fn order(by: Sort, a: &RouteLine, b: &RouteLine) -> Ordering {
    match by {
        Sort::Name => Ordering::Equal,
        Sort::Source => (&a.application, &a.topic).cmp(&(&b.application, &b.topic)),
        Sort::Destination => (&a.destination, &a.table).cmp(&(&b.destination, &b.table)),
        Sort::State => a.state.word.cmp(&b.state.word),
    }
}

/// One route, how it goes, and what it was.
///
/// # Errors
/// They may not; there is none of this name.
pub async fn one(admin: &Admin, who: &Who, name: &str) -> Result<RouteView, ActError> {
    who.needs(Role::Viewer)?;
    let (document, mut away) = newest(admin).await?;
    let spec = route(&document, name)?.clone();
    let mut states = state::of(admin, &document, &[&spec], &mut away).await;
    let kept = match &away {
        None => versions::versions(admin, who, &spec.name).await?,
        Some(_) => Vec::new(),
    };
    let kind = document.destinations.iter().find(|one| one.name == spec.destination).map(|one| one.kind.clone());
    Ok(RouteView {
        kind,
        state: states.pop().unwrap_or_default(),
        versions: versions::with_the_present(kept, &spec),
        toml: toml(&spec),
        spec,
        away,
    })
}

/// The route of this name.
fn route<'d>(document: &'d Document, name: &str) -> Result<&'d RouteSpec, ActError> {
    let found = document.routes.iter().find(|route| route.name == name);
    found.ok_or_else(|| unknown("route", name, document.routes.iter().map(|route| route.name.as_str())))
}

/// The destination of this name.
fn destination<'d>(document: &'d Document, name: &str) -> Result<&'d Destination, ActError> {
    let found = document.destinations.iter().find(|one| one.name == name);
    found.ok_or_else(|| unknown("destination", name, document.destinations.iter().map(|one| one.name.as_str())))
}

fn unknown<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> ActError {
    let hint = nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    ActError::Unknown(format!("there is no {what} `{name}`{hint}"))
}
