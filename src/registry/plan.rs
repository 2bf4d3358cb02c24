//! What an apply would change: a manifest against the registry's document, in words and as the document that results.
//!
//! Pure: the environment and the folder for `env` and `file` passwords are arguments. Passwords are never shown; a
//! destination that is given the password it has already is left as it is.

mod schemas;

use std::{collections::BTreeMap, fmt, path::Path};

use secrecy::{ExposeSecret, SecretString};
use tidegate_actors::{
    mapping::{Mapping, MappingError},
    route::{OnDead, OnExisting, RouteSpec},
};

use super::{
    describe,
    manifest::{
        ApplicationEntry, DestinationEntry, Manifest, Mistake, Mistaken, PasswordSource, RouteEntry, place_of,
        reader::hint,
    },
    secrets::{MasterKey, SecretError},
};
use crate::{
    databases::{NO_PARALLEL, kind, nearest},
    resources::{Application, Delivery, Destination, Document, Sealed},
};

/// What a plan is made with, beside the manifest and the document.
pub struct Means<'a> {
    /// Seals passwords; `None` refuses them.
    pub master_key: Option<&'a MasterKey>,
    /// An environment variable of the machine where apply runs.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
    /// What relative password files are relative to.
    pub folder: &'a Path,
    /// The time, in milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Whether what the file lacks is removed.
    pub prune: bool,
}

/// What happens to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It becomes another one of the same name, which begins anew.
    Replace,
    /// It goes.
    Remove,
}

/// One change, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happens.
    pub verb: Verb,
    /// `application`, `destination` or `route`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// What changes about it.
    pub details: Vec<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.verb {
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Replace => "replace",
            Verb::Remove => "remove",
        };
        write!(f, "{verb} {} `{}`", self.what, self.name)?;
        if !self.details.is_empty() {
            write!(f, ": {}", self.details.join("; "))?;
        }
        Ok(())
    }
}

/// What an apply comes to.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The document afterwards; its version is still that of the current one.
    pub document: Document,
    /// What changes; nothing where it is empty.
    pub changes: Vec<Change>,
    /// What the file lacks and apply leaves (`route \`old\``).
    pub left: Vec<String>,
    /// What looks like a slip but is allowed.
    pub notes: Vec<String>,
}

/// Compares a manifest with the current document.
///
/// # Errors
/// References that lead nowhere, passwords that cannot be read, sealed or kept: all of them, with their lines.
pub fn plan(manifest: &Manifest, current: &Document, means: &Means<'_>) -> Result<Plan, Mistaken> {
    let mut plan = Plan { document: current.clone(), changes: Vec::new(), left: Vec::new(), notes: Vec::new() };
    let mut mistakes = Vec::new();
    remove(manifest, &mut plan, means.prune);
    for entry in &manifest.applications {
        match schemas::read(manifest, entry, means) {
            Ok(schemas) => apply_application(entry, schemas, &mut plan, means),
            Err(found) => mistakes.extend(found),
        }
    }
    for entry in &manifest.destinations {
        if let Err(mistake) = apply_destination(manifest, entry, current, &mut plan, means) {
            mistakes.push(mistake);
        }
    }
    for entry in &manifest.routes {
        let mut found = check_references(manifest, entry, &plan.document);
        found.extend(unreadable(manifest, entry));
        if found.is_empty() {
            apply_route(entry, &mut plan);
        }
        mistakes.extend(found);
    }
    apply_named("shop", &manifest.shops, &mut plan.document.shops, &mut plan.changes, |shop| &shop.name);
    apply_named("category", &manifest.categories, &mut plan.document.categories, &mut plan.changes, |one| &one.name);
    note_other_keys(&mut plan, means);
    mistakes.sort();
    if mistakes.is_empty() { Ok(plan) } else { Err(Mistaken(mistakes)) }
}

/// A random id: 12 lower-case letters and digits.
#[must_use]
pub fn random_id() -> String {
    tidegate_actors::delivery::random_token(12)
}

/// Routes go first: they refer to the others.
fn remove(manifest: &Manifest, plan: &mut Plan, prune: bool) {
    let Plan { document, changes, left, .. } = plan;
    let mut lacks = |what: &'static str, name: &str, wanted: bool, details: Vec<String>| {
        if wanted {
            return true;
        }
        if prune {
            changes.push(Change { verb: Verb::Remove, what, name: name.into(), details });
        } else {
            left.push(format!("{what} `{name}`"));
        }
        !prune
    };
    document.routes.retain(|route| {
        lacks("route", &route.name, manifest.routes.iter().any(|entry| entry.spec.name == route.name), Vec::new())
    });
    document.destinations.retain(|destination| {
        let wanted = manifest.destinations.iter().any(|entry| entry.name == destination.name);
        lacks("destination", &destination.name, wanted, describe::by_hand(&destination.by_hand))
    });
    document.applications.retain(|application| {
        let wanted = manifest.applications.iter().any(|entry| entry.name == application.name);
        let keys = match application.keys.iter().filter(|key| key.revoked_at_ms.is_none()).count() {
            0 => Vec::new(),
            1 => vec!["with its API key".into()],
            count => vec![format!("with its {count} API keys")],
        };
        lacks("application", &application.name, wanted, keys)
    });
    document.shops.retain(|shop| {
        lacks("shop", &shop.name, manifest.shops.iter().any(|entry| entry.name == shop.name), Vec::new())
    });
    document.categories.retain(|category| {
        let wanted = manifest.categories.iter().any(|entry| entry.name == category.name);
        lacks("category", &category.name, wanted, Vec::new())
    });
}

/// Shops and categories: what is in the file is as the file says.
fn apply_named<T: Clone + PartialEq + serde::Serialize>(
    what: &'static str,
    wanted: &[T],
    known: &mut Vec<T>,
    changes: &mut Vec<Change>,
    name: impl Fn(&T) -> &str,
) {
    for one in wanted {
        let named = name(one).to_owned();
        match known.iter_mut().find(|known| name(known) == named) {
            Some(known) if known == one => {}
            Some(known) => {
                let details = describe::fields(known, one);
                changes.push(Change { verb: Verb::Update, what, name: named, details });
                known.clone_from(one);
            }
            None => {
                changes.push(Change { verb: Verb::Create, what, name: named, details: Vec::new() });
                known.push(one.clone());
            }
        }
    }
}

fn apply_application(entry: &ApplicationEntry, schemas: BTreeMap<String, String>, plan: &mut Plan, means: &Means<'_>) {
    let Some(known) = plan.document.applications.iter_mut().find(|known| known.name == entry.name) else {
        let mut details =
            if entry.topics.is_empty() { vec![] } else { vec![format!("topics {}", entry.topics.join(", "))] };
        details.extend(describe::schemas(&BTreeMap::new(), &schemas));
        details.extend(describe::limit(None, entry.records_per_s));
        details.extend(describe::broadcasts(false, entry.broadcasts));
        plan.changes.push(Change { verb: Verb::Create, what: "application", name: entry.name.clone(), details });
        plan.document.applications.push(Application {
            name: entry.name.clone(),
            topics: entry.topics.clone(),
            schemas,
            records_per_s: entry.records_per_s,
            broadcasts: entry.broadcasts,
            created_at_ms: means.now_ms,
            keys: Vec::new(),
        });
        return;
    };
    let mut details = describe::topics(&known.topics, &entry.topics);
    details.extend(describe::schemas(&known.schemas, &schemas));
    details.extend(describe::limit(known.records_per_s, entry.records_per_s));
    details.extend(describe::broadcasts(known.broadcasts, entry.broadcasts));
    if !details.is_empty() {
        plan.changes.push(Change { verb: Verb::Update, what: "application", name: entry.name.clone(), details });
    }
    known.topics.clone_from(&entry.topics);
    known.schemas = schemas;
    known.records_per_s = entry.records_per_s;
    known.broadcasts = entry.broadcasts;
}

fn apply_destination(
    manifest: &Manifest,
    entry: &DestinationEntry,
    current: &Document,
    plan: &mut Plan,
    means: &Means<'_>,
) -> Result<(), Mistake> {
    if entry.delivery == Delivery::Parallel && kind(&entry.kind).is_ok_and(|kind| !kind.parallel) {
        let message = format!("destination `{}`: {NO_PARALLEL}", entry.name);
        return Err(manifest.mistake(entry.delivery_place, message));
    }
    let place = plan.document.destinations.iter().position(|known| known.name == entry.name);
    let known = place.map(|place| plan.document.destinations[place].clone());
    let id = known.as_ref().map_or_else(random_id, |known| known.id.clone());
    // Where its streams stand is kept in another way by each, and neither can tell what the other has written.
    let routed = current.routes.iter().any(|route| route.destination == entry.name);
    if let Some(known) = known.as_ref().filter(|known| known.delivery != entry.delivery && routed) {
        return Err(manifest.mistake(
            entry.delivery_place,
            format!(
                "destination `{}` is {} and has routes: it can't become {} while it has; give it another name, or remove its \
                 routes in an apply of its own first",
                entry.name,
                word(known.delivery),
                word(entry.delivery)
            ),
        ));
    }
    let password = sealed_password(entry, known.as_ref(), &id, means).map_err(|why| {
        manifest.mistake(entry.password_place, format!("the password of destination `{}`: {why}", entry.name))
    })?;
    let mut wanted = Destination {
        id,
        name: entry.name.clone(),
        kind: entry.kind.clone(),
        url: entry.url.clone(),
        password,
        delivery: entry.delivery,
        tls: entry.tls.clone(),
        node: entry.node.clone(),
        revision: known.as_ref().map_or(1, |known| known.revision),
        // An operator's, who may have paused it in a hurry; no file says anything about it.
        by_hand: known.as_ref().map(|known| known.by_hand.clone()).unwrap_or_default(),
    };
    let (Some(place), Some(known)) = (place, known) else {
        let details = vec![format!("{} at {}", wanted.kind, wanted.url)];
        plan.changes.push(Change { verb: Verb::Create, what: "destination", name: entry.name.clone(), details });
        plan.document.destinations.push(wanted);
        return Ok(());
    };
    let details = describe::destination(&known, &wanted);
    if !details.is_empty() {
        // All of them concern how the destination is reached or claimed: its actors are built anew.
        wanted.revision += 1;
        plan.changes.push(Change { verb: Verb::Update, what: "destination", name: entry.name.clone(), details });
    }
    plan.document.destinations[place] = wanted;
    Ok(())
}

fn word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Ordered => "ordered",
        Delivery::Parallel => "parallel",
    }
}

fn sealed_password(
    entry: &DestinationEntry,
    known: Option<&Destination>,
    id: &str,
    means: &Means<'_>,
) -> Result<Option<Sealed>, String> {
    let Some(source) = &entry.password else { return Ok(None) };
    let kept = known.and_then(|known| known.password.as_ref());
    let password: SecretString = match source {
        PasswordSource::Kept => {
            return kept
                .cloned()
                .map(Some)
                .ok_or_else(|| "the registry keeps none; give it as { env = \"NAME\" } or { file = \"path\" }".into());
        }
        PasswordSource::Text(text) => text.clone(),
        PasswordSource::Env(name) => (means.environment)(name)
            .ok_or_else(|| format!("the environment variable {name} is not set here; set it and apply again"))?
            .into(),
        PasswordSource::File(path) => {
            let path = means.folder.join(path);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("cannot read {}: {error}; check the path and its rights", path.display()))?;
            text.trim_end_matches(['\r', '\n']).to_owned().into()
        }
    };
    if password.expose_secret().is_empty() {
        return Err("it is empty; leave `password` out where there is none".into());
    }
    let key = means.master_key.ok_or_else(|| SecretError::NoMasterKey.to_string())?;
    let unchanged =
        kept.filter(|kept| key.open(id, kept).is_ok_and(|opened| opened.expose_secret() == password.expose_secret()));
    Ok(Some(unchanged.cloned().unwrap_or_else(|| key.seal(id, &password))))
}

fn check_references(manifest: &Manifest, entry: &RouteEntry, document: &Document) -> Vec<Mistake> {
    let route = &entry.spec;
    let mut found = Vec::new();
    if !document.applications.iter().any(|application| application.name == route.application) {
        let names: Vec<&str> = document.applications.iter().map(|application| application.name.as_str()).collect();
        found.push(manifest.mistake(entry.application_place, unknown("application", &route.application, &names)));
    }
    match document.destinations.iter().find(|destination| destination.name == route.destination) {
        None => {
            // A destination with a mistake of its own is in the file, and was reported.
            if !manifest.destinations.iter().any(|entry| entry.name == route.destination) {
                let names: Vec<&str> = document.destinations.iter().map(|known| known.name.as_str()).collect();
                found.push(
                    manifest.mistake(entry.destination_place, unknown("destination", &route.destination, &names)),
                );
            }
        }
        Some(destination) if destination.delivery == Delivery::Parallel && route.key.is_empty() => {
            found.push(manifest.mistake(
                entry.destination_place,
                format!(
                    "destination `{}` is parallel, so a record may come twice; give route `{}` a key",
                    destination.name, route.name
                ),
            ));
        }
        Some(destination) if destination.delivery == Delivery::Parallel => {
            // There is no order that could be kept, and an insert may find the row that it made itself.
            let wrong = match (route.on_dead, route.on_existing) {
                (OnDead::Block, _) => {
                    Some(("on_dead", "`on_dead = \"block\"` keeps an order that a parallel destination has not"))
                }
                (_, OnExisting::Reject) => Some((
                    "on_existing",
                    "`on_existing = \"reject\"` would refuse a record that comes twice, as it may with a parallel destination",
                )),
                _ => None,
            };
            found.extend(wrong.map(|(field, why)| {
                let message =
                    format!("route `{}`: {why}; leave it out, or make `{}` ordered", route.name, destination.name);
                manifest.mistake(entry.places.find(field), message)
            }));
        }
        Some(_) => {}
    }
    let of_route = document.destinations.iter().find(|destination| destination.name == route.destination);
    if let Some(Ok(kind)) = of_route.map(|destination| kind(&destination.kind)) {
        found.extend(
            (kind.refuses)(route).into_iter().map(|(field, why)| {
                manifest.mistake(entry.places.find(field), format!("route `{}`: {why}", route.name))
            }),
        );
    }
    found
}

/// Paths, expressions, patterns and the like that can't be read, whatever the route's tables are.
fn unreadable(manifest: &Manifest, entry: &RouteEntry) -> Vec<Mistake> {
    let mistake = |error: &MappingError| manifest.mistake(entry.places.find(&place_of(error)), error.to_string());
    Mapping::check(&entry.spec).iter().map(mistake).collect()
}

fn unknown(what: &str, name: &str, names: &[&str]) -> String {
    if names.is_empty() {
        return format!("there is no {what} `{name}`; add a [[{what}]] of this name");
    }
    format!("there is no {what} `{name}`; {}", hint(name, names))
}

fn apply_route(entry: &RouteEntry, plan: &mut Plan) {
    note_topic(entry, plan);
    let name = entry.spec.name.clone();
    let fresh = RouteSpec { id: random_id(), version: 1, ..entry.spec.clone() };
    let Some(known) = plan.document.routes.iter_mut().find(|known| known.name == name) else {
        let details = vec![describe::route(&fresh)];
        plan.changes.push(Change { verb: Verb::Create, what: "route", name, details });
        plan.document.routes.push(fresh);
        return;
    };
    let mut wanted = RouteSpec { id: known.id.clone(), version: known.version, ..entry.spec.clone() };
    let mut details = describe::route_changes(known, &wanted);
    if details.is_empty() {
        return;
    }
    // Another stream or another database is another place to begin at: the old place means nothing there.
    if known.application != wanted.application || known.destination != wanted.destination {
        details.push(format!("it begins anew at {}", String::from(fresh.start.clone())));
        plan.changes.push(Change { verb: Verb::Replace, what: "route", name, details });
        *known = fresh;
        return;
    }
    if known.start != wanted.start {
        details.push("a route's start counts when it is created, so this one goes on from where it is".into());
    }
    wanted.version += 1;
    plan.changes.push(Change { verb: Verb::Update, what: "route", name, details });
    *known = wanted;
}

/// A topic exists by having a route, so one that is nearly a listed one is told but not refused.
fn note_topic(entry: &RouteEntry, plan: &mut Plan) {
    let RouteSpec { name, application, topic, .. } = &entry.spec;
    let listed = plan.document.applications.iter().find(|known| known.name == *application).map(|known| &known.topics);
    let Some(listed) = listed.filter(|listed| !listed.contains(topic)) else { return };
    if let Some(near) = nearest(topic, listed.iter().map(String::as_str)) {
        plan.notes.push(format!(
            "route `{name}` makes topic `{topic}` of `{application}` exist, which is not listed; was `{near}` meant?"
        ));
    }
}

/// A node has one master key: passwords sealed with two of them cannot all be used.
fn note_other_keys(plan: &mut Plan, means: &Means<'_>) {
    let Some(key) = means.master_key else { return };
    for destination in &plan.document.destinations {
        if let Some(sealed) = destination.password.as_ref().filter(|sealed| sealed.key != key.id()) {
            plan.notes.push(format!(
                "the password of destination `{}` is sealed with master key {}, and the one given here is {}: a node that has \
                 this one cannot use it until it is applied again",
                destination.name,
                sealed.key,
                key.id()
            ));
        }
    }
}

#[cfg(test)]
mod tests;
