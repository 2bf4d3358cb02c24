//! What a route was: every version that is kept, who made it, and what differs between two of them.

use serde::Serialize;
use serde_json::Value;
use tidegate_actors::route::RouteSpec;
use tokio::time::timeout;

use super::WITHIN;
use crate::{
    admin::{ActError, Admin, Role, Who},
    registry::{Store, versions::RouteVersion},
};

/// One version of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Version {
    /// The route's version; of a removal, that of the route that went. Made anew it begins at 1 again.
    pub number: u64,
    /// When, in milliseconds since the Unix epoch; `None` where it is not known.
    pub at_ms: Option<u64>,
    /// Who; `None` where it was there before versions were kept.
    pub who: Option<String>,
    /// The registry's version that it came with.
    pub registry: Option<u64>,
    /// The route; `None`: it was removed.
    pub spec: Option<RouteSpec>,
    /// What differs from the version before; empty for the first that is kept.
    pub differences: Vec<Difference>,
}

/// One thing that differs between two versions of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What: `table`, `columns.price`, `children[0].table`.
    pub what: String,
    /// What it was; `None`: it was not there.
    pub before: Option<String>,
    /// What it is; `None`: it is not there any more.
    pub after: Option<String>,
}

/// The versions of a route that are kept, newest first; also of one that was removed.
///
/// # Errors
/// They may not; Redis is away.
pub async fn versions(admin: &Admin, who: &Who, name: &str) -> Result<Vec<Version>, ActError> {
    who.needs(Role::Viewer)?;
    let mut store = Store::of(&admin.redis);
    let kept = timeout(WITHIN, store.route_versions(name)).await;
    let kept = kept.map_err(|_| ActError::Unavailable("Redis does not answer".into()))??;
    Ok(numbered(&kept))
}

fn numbered(kept: &[RouteVersion]) -> Vec<Version> {
    let version = |(place, version): (usize, &RouteVersion)| {
        let before = kept.get(place + 1).and_then(|before| before.spec.as_ref());
        let spec = version.spec.clone();
        Version {
            number: spec.as_ref().or(before).map_or(0, |spec| spec.version),
            at_ms: Some(version.at_ms).filter(|at| *at > 0),
            who: Some(version.who.clone()).filter(|who| !who.is_empty()),
            registry: Some(version.registry).filter(|registry| *registry > 0),
            differences: match (before, &spec) {
                (Some(before), Some(now)) => differences(before, now),
                _ => Vec::new(),
            },
            spec,
        }
    };
    kept.iter().enumerate().map(version).collect()
}

/// The versions, the first of which is the present route, also where nothing of it is kept.
pub(super) fn with_the_present(mut kept: Vec<Version>, spec: &RouteSpec) -> Vec<Version> {
    if kept.first().and_then(|newest| newest.spec.as_ref()) != Some(spec) {
        let before = kept.first().and_then(|newest| newest.spec.as_ref());
        let differences = before.map_or_else(Vec::new, |before| differences(before, spec));
        let (number, spec) = (spec.version, Some(spec.clone()));
        kept.insert(0, Version { number, at_ms: None, who: None, registry: None, spec, differences });
    }
    kept
}

/// What differs between two routes; ids and versions apart.
#[must_use]
pub fn differences(before: &RouteSpec, after: &RouteSpec) -> Vec<Difference> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    parts(before, &mut old);
    parts(after, &mut new);
    let mut all: Vec<Difference> = Vec::new();
    for (what, now) in &new {
        let was = old.iter().find(|(other, _)| other == what).map(|(_, was)| was);
        if was != Some(now) {
            all.push(Difference { what: what.clone(), before: was.cloned(), after: Some(now.clone()) });
        }
    }
    let gone = old.into_iter().filter(|(what, _)| !new.iter().any(|(other, _)| other == what));
    all.extend(gone.map(|(what, was)| Difference { what, before: Some(was), after: None }));
    all
}

/// Every part of a route with its value in words, in the order in which people read it.
fn parts(route: &RouteSpec, into: &mut Vec<(String, String)>) {
    // A route is always an object.
    let Ok(Value::Object(fields)) = serde_json::to_value(route) else { return };
    for (name, value) in &fields {
        match (name.as_str(), value) {
            ("id" | "version" | "columns" | "children", _) => {}
            _ => into.push((name.clone(), shown(value))),
        }
    }
    columns("columns", &fields["columns"], into);
    for (place, child) in route.children.iter().enumerate() {
        let Ok(Value::Object(child)) = serde_json::to_value(child) else { continue };
        for (name, value) in &child {
            if name != "columns" {
                into.push((format!("children[{place}].{name}"), shown(value)));
            }
        }
        columns(&format!("children[{place}].columns"), &child["columns"], into);
    }
}

fn columns(at: &str, value: &Value, into: &mut Vec<(String, String)>) {
    match value {
        Value::Object(named) => into.extend(named.iter().map(|(column, of)| (format!("{at}.{column}"), shown(of)))),
        other => into.push((at.to_owned(), shown(other))),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn route(version: u64, more: Value) -> RouteSpec {
        let mut value = json!({ "name": "cars", "application": "shop", "topic": "cars", "destination": "sales",
            "table": "cars", "version": version, "columns": { "id": "id", "price": "price" } });
        value.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(value).unwrap()
    }

    fn told(before: &RouteSpec, after: &RouteSpec) -> Vec<String> {
        let word = |of: Option<String>| of.unwrap_or_else(|| "-".into());
        let told = differences(before, after).into_iter();
        told.map(|one| format!("{}: {} → {}", one.what, word(one.before), word(one.after))).collect()
    }

    #[test]
    fn two_versions_differ_part_by_part() {
        let old = route(1, json!({}));
        assert!(told(&old, &route(2, json!({}))).is_empty(), "a version alone is no difference");
        let new = route(
            2,
            json!({ "table": "vehicles", "key": ["id"], "filter": "data.id > 0",
            "columns": { "id": "id", "price": { "from": "harga", "as": "int" }, "name": "name" } }),
        );
        assert_eq!(
            told(&old, &new),
            [
                "filter: - → data.id > 0",
                "key: - → [\"id\"]",
                "table: cars → vehicles",
                "columns.name: - → name",
                "columns.price: price → {\"as\":\"int\",\"from\":\"harga\"}",
            ]
        );
        let matching = route(3, json!({ "columns": "matching" }));
        assert_eq!(told(&old, &matching), ["columns: - → matching", "columns.id: id → -", "columns.price: price → -"]);
    }

    #[test]
    fn the_present_route_is_the_first_version_whatever_is_kept() {
        let (first, second) = (route(1, json!({})), route(2, json!({ "table": "vehicles" })));
        assert_eq!(with_the_present(Vec::new(), &first).len(), 1);
        let kept =
            |spec: &RouteSpec| RouteVersion { at_ms: 5, who: "ana".into(), registry: 3, spec: Some(spec.clone()) };
        let both = numbered(&[kept(&second), kept(&first)]);
        assert_eq!((both[0].differences.len(), both[1].differences.len()), (1, 0));
        assert_eq!(with_the_present(both.clone(), &second), both);
        let restored = with_the_present(both, &first);
        assert_eq!((restored.len(), restored[0].who.clone(), restored[0].number), (3, None, 1));
    }
}
