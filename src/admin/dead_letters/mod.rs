//! Dead letters as operators deal with them: found, grouped by cause, shown, edited, redriven and discarded. The console, the
//! admin API and `tidegate dead` call these.
//!
//! Everything here goes by what is kept beside the letters ([`crate::redis::dead::lines`]); a record is read only where it is
//! shown. An act is asked of the node that writes the destination, which does it between two batches.

mod acts;
mod filter;
mod groups;
mod show;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::try_join_all;
use tidegate_actors::{message::MessageId, ports::DeadLetter, transaction::DeadId};

pub(super) use self::acts::no_reason;
use self::groups::Causes;
pub use self::{
    acts::{Outcome, Settled, discard, edit, hand_over, record_of, redrive, settled, withdraw},
    filter::Filter,
    groups::{BARS, Cause, Group, Groups, groups},
    show::{Shown, row, show},
};
use super::ActError;
use crate::{
    databases::nearest,
    redis::{
        Redis,
        dead::{self, Summary, lines},
    },
    resources::Document,
};

/// Dead letters of one destination on one stream.
#[derive(Clone, Debug, Default)]
pub struct Lot {
    /// The application's name.
    pub application: String,
    /// The destination's id.
    pub destination_id: String,
    /// The destination's name.
    pub destination: String,
    /// Which, with what a list says of each.
    pub letters: Vec<(DeadId, Arc<Summary>)>,
}

impl Lot {
    /// Those from one place to another.
    #[must_use]
    pub fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self { letters: self.letters[range].to_vec(), ..self.bare() }
    }

    /// None of them.
    fn bare(&self) -> Self {
        Self {
            application: self.application.clone(),
            destination_id: self.destination_id.clone(),
            destination: self.destination.clone(),
            letters: Vec::new(),
        }
    }

    /// Their ids.
    #[must_use]
    pub fn ids(&self) -> Vec<DeadId> {
        self.letters.iter().map(|(id, _)| id.clone()).collect()
    }
}

/// How many they are together.
#[must_use]
pub fn count(lots: &[Lot]) -> usize {
    lots.iter().map(|lot| lot.letters.len()).sum()
}

/// What a dead letter is called: `generation-ms-seq`.
#[must_use]
pub fn name(dead: &DeadId) -> String {
    format!("{}-{}", dead.generation, dead.id)
}

/// The present name of a dead letter's route; the one of its time where it is gone.
#[must_use]
pub fn route_name<'a>(document: &'a Document, dead: &DeadId, of_its_time: &'a str) -> &'a str {
    let now = document.routes.iter().find(|route| route.id == *dead.route);
    now.map_or(of_its_time, |route| &route.name)
}

/// The names of routes by their ids: many letters ask for few.
struct RouteNames<'a>(HashMap<&'a str, &'a str>);

impl<'a> RouteNames<'a> {
    fn of(document: &'a Document) -> Self {
        Self(document.routes.iter().map(|route| (route.id.as_str(), route.name.as_str())).collect())
    }

    /// As [`route_name`].
    fn name<'n>(&'n self, dead: &DeadId, of_its_time: &'n str) -> &'n str {
        self.0.get(&*dead.route).copied().unwrap_or(of_its_time)
    }
}

/// All that the filter lets through, destination by destination; within one by route, oldest first.
///
/// # Errors
/// A name in the filter is nobody's, or Redis is away.
pub async fn find(redis: &Redis, document: &Document, filter: &Filter) -> Result<Vec<Lot>, ActError> {
    known("destination", filter.destination.as_deref(), document.destinations.iter().map(|one| one.name.as_str()))?;
    known("application", filter.application.as_deref(), document.applications.iter().map(|one| one.name.as_str()))?;
    let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let destinations: Vec<_> = document.destinations.iter().filter(|one| is(&filter.destination, &one.name)).collect();
    let ids: Vec<&str> = destinations.iter().map(|one| one.id.as_str()).collect();
    let applications = document.applications.iter().filter(|one| is(&filter.application, &one.name));
    let counted = try_join_all(applications.map(async |application| {
        Ok::<_, ActError>((&application.name, lines::counts(redis, &application.name, &ids).await?))
    }))
    .await?;
    let some = counted.into_iter().flat_map(|(application, counts)| {
        let some = destinations.iter().zip(counts).filter(|(_, count)| *count > 0);
        some.map(move |(destination, _)| (application, *destination))
    });
    let found = try_join_all(some.map(async |(application, destination)| {
        Ok::<_, ActError>((application, destination, lines::all(redis, application, &destination.id).await?))
    }))
    .await?;
    let names = RouteNames::of(document);
    let mut lots = Vec::new();
    let mut gone_routes: HashSet<&str> = HashSet::new();
    for (application, destination, letters) in &found {
        let mut passing: Vec<(&str, &(DeadId, Arc<Summary>))> = Vec::new();
        let (mut causes, mut of_group) = (Causes::of(application, &destination.name), Vec::new());
        for line in letters.iter() {
            let (id, letter) = line;
            let route = names.name(id, &letter.route_name);
            if filter.route.is_some() {
                gone_routes.insert(route);
            }
            if !filter.passes(application, &destination.name, route, letter) {
                continue;
            }
            if let Some(group) = &filter.group {
                let place = causes.place(route, letter);
                // A cause is named when it is met first.
                of_group.extend(causes.get()[of_group.len()..].iter().map(|cause| cause.id() == *group));
                if !of_group[place] {
                    continue;
                }
            }
            passing.push((route, line));
        }
        if passing.is_empty() {
            continue;
        }
        // Stable: within a route they stay in the order of the log.
        passing.sort_by_key(|(route, _)| *route);
        let passing = passing.into_iter().map(|(_, line)| line.clone()).collect();
        lots.push(Lot {
            application: (*application).clone(),
            destination_id: destination.id.clone(),
            destination: destination.name.clone(),
            letters: passing,
        });
    }
    if filter.route.is_some() {
        let routes = document.routes.iter().map(|one| one.name.as_str());
        known("route", filter.route.as_deref(), routes.chain(gone_routes.iter().copied()))?;
    }
    lots.sort_by(|a, b| (&a.destination, &a.application).cmp(&(&b.destination, &b.application)));
    Ok(lots)
}

/// Those of these ids, of whichever destinations and routes the filter names; every id must be one.
///
/// # Errors
/// One is no dead letter, or Redis is away.
pub async fn find_ids(
    redis: &Redis,
    document: &Document,
    texts: &[String],
    filter: &Filter,
) -> Result<Vec<Lot>, ActError> {
    let mut wanted = Vec::with_capacity(texts.len());
    for text in texts {
        let id: MessageId = text.parse().map_err(|_| {
            ActError::Unknown(format!(
                "`{text}` is not an id; `tidegate dead list` shows them, such as k3v9x0q2ab-1763775403123-0"
            ))
        })?;
        wanted.push(id);
    }
    let is = |dead: &DeadId, id: &MessageId| dead.generation == id.0.generation && dead.id == id.0.id;
    let mut lots = find(redis, document, filter).await?;
    for id in &wanted {
        if !lots.iter().any(|lot| lot.letters.iter().any(|(dead, _)| is(dead, id))) {
            return Err(ActError::Unknown(format!(
                "there is no dead letter `{id}` here; `tidegate dead list` shows those there are"
            )));
        }
    }
    for lot in &mut lots {
        lot.letters.retain(|(dead, _)| wanted.iter().any(|id| is(dead, id)));
    }
    lots.retain(|lot| !lot.letters.is_empty());
    Ok(lots)
}

/// The letters of a lot, with their records.
///
/// # Errors
/// Redis is away.
pub async fn read(redis: &Redis, lot: &Lot) -> Result<Vec<DeadLetter>, ActError> {
    Ok(dead::letters(redis, &lot.application, &lot.destination_id, &lot.ids()).await?)
}

/// A name that was asked for must be one there is.
fn known<'a>(what: &str, name: Option<&str>, names: impl Iterator<Item = &'a str> + Clone) -> Result<(), ActError> {
    let Some(name) = name.filter(|name| !names.clone().any(|known| known == *name)) else { return Ok(()) };
    let hint = nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    Err(ActError::Unknown(format!("there is no {what} `{name}`{hint}")))
}
