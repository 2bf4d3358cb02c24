//! A route without its tables: what is wrong with it whatever they turn out to be.
//!
//! It is compiled against tables that have every column it names and take anything, so that a path, an expression or a pattern
//! that can't be read is told when the route is applied, even while its database is away.

use super::{Mapping, MappingError};
use crate::{
    route::{Columns, DeletePolicy, RouteSpec},
    schema::{ColumnSchema, ColumnType, TableSchema},
};

impl Mapping {
    /// What is wrong with this route whatever its tables are.
    #[must_use]
    pub fn check(route: &RouteSpec) -> Vec<MappingError> {
        let soft = match &route.delete {
            DeletePolicy::Soft(soft) => Some(&soft.column),
            DeletePolicy::Row | DeletePolicy::Ignore => None,
        };
        let others = route.key.iter().chain(&route.version_column).chain(soft);
        let table = imagined(&route.table, &route.columns, others, vec![route.key.clone()]);
        let children =
            route.children.iter().map(|child| imagined(&child.table, &child.columns, child.parent.keys(), Vec::new()));
        Self::compile(route, table, children.collect()).err().unwrap_or_default()
    }
}

fn imagined<'a>(
    name: &str,
    columns: &'a Columns,
    others: impl Iterator<Item = &'a String>,
    unique_keys: Vec<Vec<String>>,
) -> TableSchema {
    let named = match columns {
        Columns::Named(named) => named.keys().collect(),
        Columns::Matching(_) => Vec::new(),
    };
    let mut columns: Vec<ColumnSchema> = Vec::new();
    for name in named.into_iter().chain(others) {
        if !columns.iter().any(|known| known.name.eq_ignore_ascii_case(name)) {
            columns.push(ColumnSchema {
                name: name.clone(),
                declared: "text".into(),
                kind: ColumnType::Text { max_chars: None, max_bytes: None, nul: true },
                nullable: true,
                has_default: false,
                default: None,
                generated: false,
            });
        }
    }
    if columns.is_empty() {
        // `"matching"`, without a key: whatever the table has.
        return imagined(name, &Columns::default(), [&"any".to_owned()].into_iter(), unique_keys);
    }
    TableSchema { schema: String::new(), name: name.into(), columns, unique_keys }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn told(changes: &Value) -> Vec<String> {
        let mut route = json!({
            "name": "r", "application": "a", "topic": "t", "destination": "d", "table": "cars", "key": ["id"],
            "columns": {"id": "id"},
        });
        route.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let route: RouteSpec = serde_json::from_value(route).unwrap();
        Mapping::check(&route).iter().map(|error| format!("{}: {}", error.place, error.message)).collect()
    }

    #[test]
    fn a_route_that_can_be_read_is_not_to_blame_for_tables_that_nobody_has_seen() {
        for good in [
            json!({}),
            json!({"columns": "matching"}),
            json!({"columns": "matching", "key": []}),
            json!({"columns": {"id": "a.b[0]", "at": {"as": "timestamp", "zone": "Asia/Jakarta"}}, "version_column": "at"}),
            json!({"delete": {"column": "gone"}, "children": [{"from": "lines", "table": "l", "parent": {"car": "id"},
                "columns": {"sku": "sku"}}]}),
        ] {
            assert_eq!(told(&good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn what_can_never_be_read_is_told_with_its_place() {
        for (wrong, place) in [
            (json!({"columns": {"id": "a..b"}}), "columns.id"),
            (json!({"columns": {"id": {"pattern": "("}}}), "columns.id"),
            (json!({"columns": {"id": {"expr": "data."}}}), "columns.id"),
            (json!({"columns": {"id": {"as": "timestamp", "zone": "Asia/Jakrta"}}}), "columns.id"),
            (json!({"filter": "data.x =="}), "filter"),
        ] {
            let told = told(&wrong);
            assert!(told.len() == 1 && told[0].starts_with(place), "{wrong}: {told:?}");
        }
    }
}
