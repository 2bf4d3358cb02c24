//! What each route was before it was changed: every version of it, with who made it, kept in the change itself.
//!
//! The list of changes says in words what was done; these are the routes themselves, so that two can be compared and an
//! earlier one brought back. They go by the route's name, so a route that was removed and made anew has one past.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use tidegate_actors::{delivery::now_ms, route::RouteSpec};

use crate::resources::Document;

/// Most versions that are kept of a route.
pub const MAX_VERSIONS: usize = 50;
/// How long those of a removed route stay.
const REMOVED_STAYS_S: u64 = 90 * 24 * 60 * 60;

/// A route as it was from one change on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteVersion {
    /// When, in milliseconds since the Unix epoch; 0 where it is not known.
    pub at_ms: u64,
    /// Who made it; empty where it was there before versions were kept.
    pub who: String,
    /// The registry's version that it came with; 0 where it is not known.
    pub registry: u64,
    /// The route; `None`: it was removed.
    pub spec: Option<RouteSpec>,
}

/// What is kept of one route that a change touches.
pub(super) struct Kept {
    /// Its name.
    pub(super) route: String,
    /// What it was, for where nothing is kept of it yet.
    before: Option<RouteVersion>,
    now: RouteVersion,
}

impl Kept {
    /// As the script takes it: what it was, what it is, and when that goes.
    pub(super) fn encoded(&self) -> serde_json::Result<[String; 3]> {
        let before = self.before.as_ref().map(serde_json::to_string).transpose()?.unwrap_or_default();
        let goes = if self.now.spec.is_none() { REMOVED_STAYS_S.to_string() } else { String::new() };
        Ok([before, serde_json::to_string(&self.now)?, goes])
    }
}

/// The routes that differ between two documents.
pub(super) fn of_change(old: &Document, new: &Document, who: &str) -> Vec<Kept> {
    let named = |document: &'_ Document, name: &str| document.routes.iter().find(|route| route.name == name).cloned();
    let names: BTreeSet<&String> = old.routes.iter().chain(&new.routes).map(|route| &route.name).collect();
    let (at_ms, who) = (now_ms(), who.to_owned());
    let kept = names.into_iter().filter_map(|name| {
        let (before, now) = (named(old, name), named(new, name));
        let before = before.map(|spec| RouteVersion { at_ms: 0, who: String::new(), registry: 0, spec: Some(spec) });
        let is_same = before.as_ref().and_then(|before| before.spec.as_ref()) == now.as_ref();
        let now = RouteVersion { at_ms, who: who.clone(), registry: new.version, spec: now };
        (!is_same).then(|| Kept { route: name.clone(), before, now })
    });
    kept.collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_what_differs_is_kept_and_what_goes_stays_for_a_while() {
        let route =
            |name: &str, table: &str| RouteSpec { name: name.into(), table: table.into(), ..RouteSpec::default() };
        let document = |version, routes| Document { version, routes, ..Document::default() };
        let old = document(4, vec![route("same", "t"), route("changed", "t"), route("gone", "t")]);
        let new = document(5, vec![route("same", "t"), route("changed", "u"), route("new", "t")]);
        let kept = of_change(&old, &new, "ana (tidegate apply)");
        let told: Vec<_> = kept
            .iter()
            .map(|kept| {
                let table = |of: Option<&RouteVersion>| of.and_then(|of| of.spec.clone()).map(|spec| spec.table);
                let [.., goes] = kept.encoded().unwrap();
                (kept.route.as_str(), table(kept.before.as_ref()), table(Some(&kept.now)), !goes.is_empty())
            })
            .collect();
        let (t, u) = (Some("t".to_owned()), Some("u".to_owned()));
        assert_eq!(told, [("changed", t.clone(), u, false), ("gone", t.clone(), None, true), ("new", None, t, false)]);
        assert_eq!((kept[0].now.registry, kept[0].now.who.as_str()), (5, "ana (tidegate apply)"));
    }
}
