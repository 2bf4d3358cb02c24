//! Changes of resources in words, for `apply`, its dry run and the audit entries. Passwords are never among them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use tidegate_actors::route::RouteSpec;

use crate::resources::{ByHand, Destination};

/// What is listed now and was not, and the other way round.
pub(super) fn topics(old: &[String], new: &[String]) -> Vec<String> {
    let without = |these: &[String], those: &[String]| {
        these.iter().filter(|topic| !those.contains(topic)).cloned().collect::<Vec<_>>()
    };
    let (added, removed) = (without(new, old), without(old, new));
    let mut details = Vec::new();
    if !added.is_empty() {
        details.push(format!("topics added: {}", added.join(", ")));
    }
    if !removed.is_empty() {
        details.push(format!("topics removed: {}", removed.join(", ")));
    }
    if details.is_empty() && old != new {
        details.push("topics in another order".into());
    }
    details
}

/// Topics whose schema came, went or changed.
pub(super) fn schemas(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<String> {
    let word = |topic: &String| match (old.get(topic), new.get(topic)) {
        (None, Some(_)) => Some(format!("a schema for topic {topic}")),
        (Some(_), None) => Some(format!("no schema for topic {topic} any more")),
        (Some(old), Some(new)) if old != new => Some(format!("another schema for topic {topic}")),
        _ => None,
    };
    let topics: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    topics.into_iter().filter_map(word).collect()
}

/// Another limit of an application.
pub(super) fn limit(old: Option<u32>, new: Option<u32>) -> Option<String> {
    match (old, new) {
        (old, new) if old == new => None,
        (None, Some(new)) => Some(format!("at most {new} records a second and node")),
        (Some(old), Some(new)) => Some(format!("at most {new} records a second and node, not {old}")),
        (Some(old), None) => Some(format!("no limit any more, which was {old} records a second and node")),
        (None, None) => None,
    }
}

/// What operators have set of a destination that goes.
pub(super) fn by_hand(by_hand: &ByHand) -> Vec<String> {
    let ByHand { paused, breaker_open, breaker_closings: _ } = by_hand;
    let paused = paused.as_ref().map(|stopped| format!("which {} has paused", stopped.by));
    let opened = breaker_open.as_ref().map(|stopped| format!("whose breaker {} has opened by hand", stopped.by));
    paused.into_iter().chain(opened).collect()
}

/// Whether an application may send broadcasts.
pub(super) fn broadcasts(old: bool, new: bool) -> Option<String> {
    (old != new).then(|| if new { "may send broadcasts".into() } else { "may send no broadcasts any more".into() })
}

/// What differs between two states of something plain.
pub(super) fn fields(old: &impl Serialize, new: &impl Serialize) -> Vec<String> {
    let (old, new) = (value(old), value(new));
    let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else { return Vec::new() };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    changed.map(|name| format!("{name} {} → {}", shown(&old[name]), shown(&new[name]))).collect()
}

/// What differs between two states of a destination.
pub(super) fn destination(old: &Destination, new: &Destination) -> Vec<String> {
    let mut details = Vec::new();
    let mut differ = |field: &str, old: Value, new: Value| {
        if old != new {
            details.push(format!("{field} {} → {}", shown(&old), shown(&new)));
        }
    };
    differ("kind", value(&old.kind), value(&new.kind));
    differ("url", value(&old.url), value(&new.url));
    differ("delivery", value(&old.delivery), value(&new.delivery));
    differ("tls", value(&old.tls), value(&new.tls));
    differ("node", value(&old.node), value(&new.node));
    match (&old.password, &new.password) {
        (None, Some(_)) => details.push("password added".into()),
        (Some(_), None) => details.push("password removed".into()),
        (Some(old), Some(new)) if old.key != new.key => {
            details.push(format!("password sealed with master key {} instead of {}", new.key, old.key));
        }
        (Some(old), Some(new)) if old != new => details.push("password changed".into()),
        _ => {}
    }
    details
}

/// A new route in a phrase.
pub(super) fn route(route: &RouteSpec) -> String {
    format!(
        "topic `{}` of `{}` into table `{}` of `{}`, from {}",
        route.topic,
        route.application,
        route.table,
        route.destination,
        String::from(route.start.clone())
    )
}

/// What differs between two states of a route.
pub(super) fn route_changes(old: &RouteSpec, new: &RouteSpec) -> Vec<String> {
    let (old, new) = (value(old), value(new));
    let mut details = Vec::new();
    for field in FIELDS {
        let (old, new) = (&old[field], &new[field]);
        if old != new {
            details.push(format!("{field} {} → {}", shown(old), shown(new)));
        }
    }
    for (index, (old, new)) in
        children(&old).zip(children(&new)).enumerate().take_while(|(_, (old, new))| !(old.is_null() && new.is_null()))
    {
        let of = if new.is_null() { old } else { new };
        let from = of["from"].as_str().unwrap_or_default();
        match (old.is_null(), new.is_null()) {
            (true, _) => details.push(format!("child {index} added: {from}")),
            (_, true) => details.push(format!("child {index} removed: {from}")),
            _ if old != new => details.push(format!("child {index} ({from}) changed")),
            _ => {}
        }
    }
    match (old["columns"].as_object(), new["columns"].as_object()) {
        (Some(old), Some(new)) => {
            for (column, source) in new {
                match old.get(column) {
                    None => details.push(format!("column {column} added: {}", shown(source))),
                    Some(was) if was != source => {
                        details.push(format!("column {column} {} → {}", shown(was), shown(source)));
                    }
                    Some(_) => {}
                }
            }
            details
                .extend(old.keys().filter(|column| !new.contains_key(*column)).map(|c| format!("column {c} removed")));
        }
        (None, None) => {}
        (_, Some(new)) => {
            details.push(format!("columns matching → {}", new.keys().cloned().collect::<Vec<_>>().join(", ")));
        }
        (Some(_), None) => details.push("columns → matching".into()),
    }
    details
}

/// The fields of a route that are told as they are.
const FIELDS: [&str; 14] = [
    "application",
    "topic",
    "destination",
    "table",
    "key",
    "start",
    "filter",
    "on_missing",
    "on_existing",
    "delete",
    "version_column",
    "unknown_fields",
    "on_dead",
    "every_change",
];

/// A route's children, then nulls for ever.
fn children(route: &Value) -> impl Iterator<Item = &Value> {
    let listed = route["children"].as_array().map_or(&[][..], Vec::as_slice);
    listed.iter().chain(std::iter::repeat(&Value::Null))
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or(Value::Null)
}

fn shown(value: &Value) -> String {
    match value {
        // Left out is the same as the default, in every field that may be left out.
        Value::Null => "(default)".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
