//! Whether routes fit the tables they are for, before they are applied: by the same compilation that delivery uses.
//!
//! What can never work is refused; what may be meant is doubtful; a table that is not there yet, or a database that does not
//! answer, leaves the route to be held until it fits. [`crate::admin::transfer`] calls it for files, [`crate::admin::routes`] for a single route.

use std::time::Duration;

use futures_util::future::join_all;
use tidegate_actors::{
    mapping::{Mapping, MappingError},
    ports::Destination as Database,
    route::{Columns, RouteSpec},
    schema::TableSchema,
};
use tokio::time::timeout;

use super::look::{self, Unseen};
use crate::{
    registry::{manifest::place_of, secrets::MasterKey},
    resources::{Destination, Document},
};

/// Longest time for one destination, all its routes together.
const LONGEST: Duration = Duration::from_secs(5);

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It can't work.
    Refused,
    /// It works, and may not be what is meant; or it works once the table is there.
    Doubtful,
    /// It could not be looked at.
    Unchecked,
}

/// Something about a route and its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The route's name.
    pub route: String,
    /// How bad it is.
    pub severity: Severity,
    /// What of the route it is about, as names along the way: `columns.price`, `key`, `table`; empty for all of it.
    pub at: String,
    /// The sentence; it begins with the route.
    pub message: String,
}

impl Finding {
    fn of(route: &RouteSpec, severity: Severity, at: &str, what: impl std::fmt::Display) -> Self {
        let message = format!("route `{}`: {what}", route.name);
        Self { route: route.name.clone(), severity, at: at.into(), message }
    }

    fn refused(route: &RouteSpec, error: &MappingError) -> Self {
        let at = place_of(error);
        Self { route: route.name.clone(), severity: Severity::Refused, at, message: error.to_string() }
    }
}

/// Looks at the tables of these routes, all destinations at the same time. `node` is this machine's name: a file that
/// belongs to another one can't be looked at here.
pub async fn check(document: &Document, routes: &[&RouteSpec], key: Option<&MasterKey>, node: &str) -> Vec<Finding> {
    let checks = document.destinations.iter().map(|destination| {
        let routes: Vec<&RouteSpec> =
            routes.iter().copied().filter(|route| route.destination == destination.name).collect();
        check_destination(destination, routes, key, node)
    });
    join_all(checks).await.concat()
}

async fn check_destination(
    destination: &Destination,
    routes: Vec<&RouteSpec>,
    key: Option<&MasterKey>,
    node: &str,
) -> Vec<Finding> {
    if routes.is_empty() {
        return Vec::new();
    }
    if let Some(other) = destination.node.as_ref().filter(|owner| *owner != node) {
        let why = format!("`{}` is a file on node `{other}`", destination.name);
        return routes.into_iter().map(|route| unchecked(route, &why)).collect();
    }
    let mut database = match look::open(destination, key) {
        Ok(database) => database,
        Err(why) => return routes.into_iter().map(|route| unchecked(route, &why)).collect(),
    };
    let mut findings = Vec::new();
    let looked = timeout(LONGEST, async {
        for (place, route) in routes.iter().enumerate() {
            match check_route(route, database.as_mut()).await {
                Ok(found) => findings.push(found),
                // Who does not answer for one table does not for the others.
                Err(why) => {
                    findings.extend(routes[place..].iter().map(|route| vec![unchecked(route, &why)]));
                    break;
                }
            }
        }
    });
    if looked.await.is_err() {
        let why = format!("`{}` did not describe its tables within {} s", destination.name, LONGEST.as_secs());
        findings.extend(routes[findings.len()..].iter().map(|route| vec![unchecked(route, &why)]).collect::<Vec<_>>());
    }
    findings.concat()
}

fn unchecked(route: &RouteSpec, why: &str) -> Finding {
    let what = format!("not checked: {why}; the route is held until it fits");
    Finding::of(route, Severity::Unchecked, "table", what)
}

/// What there is to say of a route; or why the database does not answer.
async fn check_route(route: &RouteSpec, database: &mut dyn Database) -> Result<Vec<Finding>, String> {
    let table = match look::table(database, &route.table).await {
        Ok(table) => table,
        Err(Unseen::NotThere(why)) => return Ok(vec![missing(route, "table", &why)]),
        Err(Unseen::Away(why)) => return Err(why),
    };
    let (mut children, mut findings) = (Vec::new(), Vec::new());
    for (place, child) in route.children.iter().enumerate() {
        match look::table(database, &child.table).await {
            Ok(table) => children.push(table),
            Err(Unseen::NotThere(why)) => findings.push(missing(route, &format!("children[{place}].table"), &why)),
            Err(Unseen::Away(why)) => return Err(why),
        }
    }
    // What is wrong with the route's own table is told whether or not its children's are there.
    let whole = findings.is_empty();
    let seen = if whole { route.clone() } else { RouteSpec { children: Vec::new(), ..route.clone() } };
    findings.extend(judge(&seen, &table, if whole { children } else { Vec::new() }));
    Ok(findings)
}

fn missing(route: &RouteSpec, at: &str, why: &str) -> Finding {
    Finding::of(route, Severity::Doubtful, at, format!("{why}; the route is held until the table is there"))
}

/// Holds a route against its tables.
#[must_use]
pub fn judge(route: &RouteSpec, table: &TableSchema, children: Vec<TableSchema>) -> Vec<Finding> {
    match Mapping::compile(route, table.clone(), children) {
        Ok(mapping) => {
            let mut doubts = doubts(route, table);
            doubts.extend(
                mapping
                    .warnings()
                    .iter()
                    .map(|warning| Finding { severity: Severity::Doubtful, ..Finding::refused(route, warning) }),
            );
            doubts
        }
        Err(errors) => errors.iter().map(|error| Finding::refused(route, error)).collect(),
    }
}

/// What works and may not be meant.
fn doubts(route: &RouteSpec, table: &TableSchema) -> Vec<Finding> {
    let mut doubts = Vec::new();
    if route.key.is_empty()
        && let Some(unique) =
            table.unique_keys.iter().find(|unique| unique.iter().all(|name| writes(route, table, name)))
    {
        let names: Vec<_> = unique.iter().map(|name| format!("\"{name}\"")).collect();
        let what = format!(
            "it has no key, so every record is an insert, and a second one of the same {} is a dead letter; to update rows, \
             write key = [{}]",
            unique.join(", "),
            names.join(", ")
        );
        doubts.push(Finding::of(route, Severity::Doubtful, "", what));
    }
    for name in &route.key {
        let nullable = table.column(name).is_some_and(|place| table.columns[place].nullable);
        if nullable {
            let what = format!(
                "key column `{name}` of table `{}` may be NULL, and a row whose key is NULL is never found again; make it \
                 NOT NULL",
                route.table
            );
            doubts.push(Finding::of(route, Severity::Doubtful, "key", what));
        }
    }
    doubts
}

fn writes(route: &RouteSpec, table: &TableSchema, column: &str) -> bool {
    match &route.columns {
        Columns::Matching(_) => true,
        Columns::Named(named) => named.keys().any(|name| table.column(name) == table.column(column)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use tidegate_actors::{
        route::{Cast, ColumnRule, ColumnSource},
        schema::{ColumnSchema, ColumnType},
    };

    use super::*;

    fn column(name: &str, kind: ColumnType) -> ColumnSchema {
        let (name, declared) = (name.to_owned(), "date".to_owned());
        ColumnSchema { name, declared, kind, nullable: true, has_default: false, default: None, generated: false }
    }

    fn table() -> TableSchema {
        TableSchema {
            schema: "public".into(),
            name: "cars".into(),
            columns: vec![
                column("id", ColumnType::Int { min: 0, max: 100 }),
                column("sold", ColumnType::Date),
                column("state", ColumnType::Enum { values: vec!["new".into(), "used".into()] }),
            ],
            unique_keys: vec![vec!["id".into()]],
        }
    }

    fn route(key: &[&str], columns: &[(&str, Option<Cast>)]) -> RouteSpec {
        let source = |cast: &Option<Cast>| {
            ColumnSource::Detailed(ColumnRule { from: Some("f".into()), cast: *cast, ..ColumnRule::default() })
        };
        let columns: BTreeMap<_, _> = columns.iter().map(|(name, cast)| ((*name).to_owned(), source(cast))).collect();
        RouteSpec {
            name: "r".into(),
            table: "cars".into(),
            key: key.iter().map(|&name| name.into()).collect(),
            columns: Columns::Named(columns),
            ..RouteSpec::default()
        }
    }

    fn found(route: &RouteSpec) -> Vec<(Severity, String)> {
        judge(route, &table(), Vec::new()).into_iter().map(|finding| (finding.severity, finding.at)).collect()
    }

    #[test]
    fn casts_that_can_never_fit_are_refused_and_others_are_not() {
        let refused = |cast, column: &str| {
            found(&route(&[], &[(column, Some(cast))])).iter().any(|(s, _)| *s == Severity::Refused)
        };
        for (cast, column, expected) in [
            (Cast::Bool, "sold", true),
            (Cast::Int, "sold", true),
            (Cast::Date, "sold", false),
            (Cast::Text, "sold", false),
            (Cast::Text, "state", false),
            (Cast::Date, "state", false),
            (Cast::Text, "id", false),
            (Cast::Uuid, "id", true),
            (Cast::Int, "id", false),
        ] {
            assert_eq!(refused(cast, column), expected, "{cast:?} into {column}");
        }
    }

    #[test]
    fn a_finding_says_what_of_the_route_it_is_about() {
        let doubtful = |at: &str| (Severity::Doubtful, at.to_owned());
        let refused = |at: &str| (Severity::Refused, at.to_owned());
        assert_eq!(found(&route(&[], &[("id", None)])), [doubtful("")]);
        assert_eq!(found(&route(&["id"], &[("id", None)])), [doubtful("key")]);
        assert_eq!(found(&route(&["sold"], &[("sold", None)])), [refused("key")]);
        assert_eq!(found(&route(&["id"], &[("id", None), ("pric", None)])), [refused("columns.pric")]);
    }
}
