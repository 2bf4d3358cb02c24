//! What came beside what a destination received of it: field by field, what was left out, renamed or changed, and what the route
//! added. Pure; what a route says of its columns is all that is asked.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_actors::{
    mapping::Path,
    route::{ChildSpec, ColumnSource, Columns, RouteSpec},
};

/// Most fields and columns that are compared; what is beyond is not shown.
const MOST: usize = 2_000;

/// How a field or a column differs from its other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mark {
    /// The same value under the same name.
    Same,
    /// The same value under another name.
    Renamed,
    /// Another value: cleaned, cast, or worked out from it.
    Changed,
    /// A field that no column reads.
    LeftOut,
    /// A column that no field feeds: a constant, a default, something known of the message.
    Added,
}

/// A field that came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Received {
    /// Its path.
    pub path: String,
    /// Its value, as JSON.
    pub value: String,
    /// What became of it.
    pub mark: Mark,
    /// The columns that it went into.
    pub columns: Vec<String>,
}

/// A column that was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SentColumn {
    /// Its name; of a child table behind the path and place of its element.
    pub column: String,
    /// Its value, as JSON.
    pub value: String,
    /// Where it comes from.
    pub mark: Mark,
    /// The field that it was read from.
    pub path: Option<String>,
}

/// Both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The fields that came, in their order.
    pub received: Vec<Received>,
    /// The columns that were sent, in their order.
    pub sent: Vec<SentColumn>,
}

/// Holds a record against what a route made of it.
#[must_use]
pub fn compare(record: &str, sent: &str, route: &RouteSpec) -> Comparison {
    let mut leaves = Vec::new();
    flatten(record, &Path::default(), &mut leaves);
    let mut columns = Vec::new();
    for (name, value) in members(sent) {
        match route.children.iter().find(|child| child.from == name) {
            Some(child) if value.starts_with('[') => children(record, child, &name, value, &mut columns),
            _ => columns.push(column(record, &route.columns, &Path::default(), name.clone(), &name, value)),
        }
    }
    let received = leaves.iter().map(|(path, value)| {
        let reads = |sources: &[Path]| sources.iter().any(|source| path.steps().starts_with(source.steps()));
        let into = columns.iter().filter(|(_, sources)| reads(sources)).map(|(column, _)| column);
        let into: Vec<&SentColumn> = into.collect();
        let mark = into.iter().map(|column| column.mark).min_by_key(|mark| match mark {
            Mark::Same => 0,
            Mark::Renamed => 1,
            _ => 2,
        });
        Received {
            path: path.to_string(),
            value: (*value).to_owned(),
            mark: mark.map_or(Mark::LeftOut, |mark| if mark == Mark::Added { Mark::Changed } else { mark }),
            columns: into.iter().map(|column| column.column.clone()).collect(),
        }
    });
    let received = received.collect();
    Comparison { received, sent: columns.into_iter().map(|(column, _)| column).collect() }
}

/// The rows of a child table, column by column.
fn children(record: &str, child: &ChildSpec, name: &str, rows: &str, columns: &mut Vec<(SentColumn, Vec<Path>)>) {
    let Ok(array) = Path::parse(name) else { return };
    let Ok(rows) = serde_json::from_str::<Vec<&RawValue>>(rows) else { return };
    for (place, row) in rows.into_iter().enumerate() {
        let element = array.clone().index(place);
        for (name, value) in members(row.get()) {
            if columns.len() >= MOST {
                return;
            }
            let shown = format!("{element}.{name}");
            columns.push(column(record, &child.columns, &element, shown, &name, value));
        }
    }
}

/// One column, and the fields that it was made from. `at`: where its route's paths begin.
fn column(
    record: &str,
    columns: &Columns,
    at: &Path,
    shown: String,
    name: &str,
    value: &str,
) -> (SentColumn, Vec<Path>) {
    let mut sources = sources(record, columns, at, name);
    sources.retain(|source| source.find(record).is_some());
    let [source] = sources.as_slice() else {
        let mark = if sources.is_empty() { Mark::Added } else { Mark::Changed };
        return (SentColumn { column: shown, value: value.to_owned(), mark, path: None }, sources);
    };
    let plain = !matches!(columns, Columns::Named(named) if matches!(named.get(name), Some(ColumnSource::Detailed(rule)) if rule.expr.is_some()));
    let same = plain && source.find(record).is_some_and(|found| is_same(found, value));
    let renamed = *source != at.clone().name(name);
    let mark = match (same, renamed) {
        (true, false) => Mark::Same,
        (true, true) => Mark::Renamed,
        (false, _) => Mark::Changed,
    };
    (SentColumn { column: shown, value: value.to_owned(), mark, path: Some(source.to_string()) }, sources)
}

/// The fields that a column is made from, as the route says.
fn sources(record: &str, columns: &Columns, at: &Path, name: &str) -> Vec<Path> {
    let field = |path: &str| Path::parse(path).map(|path| at.clone().join(&path)).into_iter().collect();
    match columns {
        Columns::Matching(_) => {
            let own = at.clone().name(name);
            if own.find(record).is_some() {
                return vec![own];
            }
            // In another case, where that is one field only.
            let element = if at.steps().is_empty() { Some(record) } else { at.find(record) };
            let names = element.map(members).unwrap_or_default();
            let mut alike = names.into_iter().map(|(name, _)| name).filter(|other| other.eq_ignore_ascii_case(name));
            match (alike.next(), alike.next()) {
                (Some(one), None) => vec![at.clone().name(&one)],
                _ => Vec::new(),
            }
        }
        Columns::Named(named) => match named.get(name) {
            None => Vec::new(),
            Some(ColumnSource::Field(path)) => field(path),
            Some(ColumnSource::Detailed(rule)) if rule.value.is_some() || rule.meta.is_some() => Vec::new(),
            Some(ColumnSource::Detailed(rule)) => match (&rule.expr, &rule.from) {
                (Some(expression), _) => spoken_of(expression, record, at),
                (None, Some(path)) => field(path),
                (None, None) => vec![at.clone().name(name)],
            },
        },
    }
}

/// The fields at the top whose names an expression has as words.
fn spoken_of(expression: &str, record: &str, at: &Path) -> Vec<Path> {
    let words: Vec<&str> = expression.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let element = if at.steps().is_empty() { Some(record) } else { at.find(record) };
    let names = element.map(members).unwrap_or_default();
    names
        .into_iter()
        .filter(|(name, _)| words.contains(&name.as_str()))
        .map(|(name, _)| at.clone().name(&name))
        .collect()
}

/// Whether two JSON values are the same: texts by their characters, all else as it is written.
fn is_same(one: &str, other: &str) -> bool {
    let text = |json: &str| json.starts_with('"').then(|| serde_json::from_str::<String>(json).ok()).flatten();
    match (text(one), text(other)) {
        (Some(one), Some(other)) => one == other,
        (None, None) => one == other || super::json::compact(one) == super::json::compact(other),
        _ => false,
    }
}

/// The members of an object in their order, each value as it is written; none of what is no object.
fn members(json: &str) -> Vec<(String, &str)> {
    super::json::members(json).unwrap_or_default()
}

/// Every value that is no object, with its path. An array of plain values is one; one of objects is gone into.
fn flatten<'j>(json: &'j str, at: &Path, leaves: &mut Vec<(Path, &'j str)>) {
    if leaves.len() >= MOST {
        return;
    }
    let json = json.trim();
    let inner = members(json);
    if !inner.is_empty() {
        for (name, value) in inner {
            flatten(value, &at.clone().name(&name), leaves);
        }
        return;
    }
    if json.starts_with('[')
        && let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json)
        && elements.iter().any(|element| element.get().starts_with('{'))
    {
        for (place, element) in elements.into_iter().enumerate() {
            flatten(element.get(), &at.clone().index(place), leaves);
        }
        return;
    }
    if !at.steps().is_empty() {
        leaves.push((at.clone(), json));
    }
}

/// The names of the fields that differ between two records, for the list of changes, which has no contents.
#[must_use]
pub fn changed_fields(before: &str, after: &str) -> Vec<String> {
    let of = |record| {
        let mut leaves = Vec::new();
        flatten(record, &Path::default(), &mut leaves);
        leaves.into_iter().map(|(path, value)| (path.to_string(), value)).collect::<BTreeMap<_, _>>()
    };
    let (before, after) = (of(before), of(after));
    let differs = |path: &&String| match (before.get(*path), after.get(*path)) {
        (Some(one), Some(other)) => !is_same(one, other),
        _ => true,
    };
    let mut names: Vec<String> = before.keys().chain(after.keys()).filter(differs).cloned().collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn route(columns: &str, children: &str) -> RouteSpec {
        RouteSpec {
            columns: serde_json::from_str(columns).unwrap(),
            children: serde_json::from_str(children).unwrap(),
            ..RouteSpec::default()
        }
    }

    #[test]
    fn each_field_says_what_became_of_it() {
        let record = r#"{"id": 42, "name": " Toyota Avanza ", "price": 250000000.50, "notes": null,
            "owner": {"name": "Siti", "phone": "0812"}, "tags": ["new"],
            "items": [{"sku": "a", "qty": 2}, {"sku": "b", "qty": 1}]}"#;
        let sent = r#"{"car_id":42,"name":"Toyota Avanza","price":250000000.50,"owner_name":"Siti","total":500000001.00,
            "source":"web","items":[{"sku":"a","quantity":2,"line":1},{"sku":"b","quantity":1,"line":2}]}"#;
        let route = route(
            r#"{"car_id": "id", "name": {"clean": ["trim"]}, "price": "price", "owner_name": "owner.name",
                "total": {"expr": "price * 2"}, "source": {"value": "web"}}"#,
            r#"[{"from": "items", "table": "lines", "parent": {"car_id": "car_id"},
                "columns": {"sku": "sku", "quantity": "qty", "line": {"meta": "index"}}}]"#,
        );
        let compared = compare(record, sent, &route);
        let word = |mark: Mark| serde_json::to_value(mark).unwrap().as_str().unwrap().to_owned();
        let received = compared
            .received
            .iter()
            .map(|one| format!("{} = {}: {} [{}]", one.path, one.value, word(one.mark), one.columns.join(", ")));
        let sent = compared.sent.iter().map(|one| {
            format!("{} = {}: {} [{}]", one.column, one.value, word(one.mark), one.path.as_deref().unwrap_or_default())
        });
        let lines: Vec<String> = received.chain(["--".to_owned()]).chain(sent).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        id = 42: renamed [car_id]
        name = " Toyota Avanza ": changed [name]
        price = 250000000.50: same [price, total]
        notes = null: left_out []
        owner.name = "Siti": renamed [owner_name]
        owner.phone = "0812": left_out []
        tags = ["new"]: left_out []
        items[0].sku = "a": same [items[0].sku]
        items[0].qty = 2: renamed [items[0].quantity]
        items[1].sku = "b": same [items[1].sku]
        items[1].qty = 1: renamed [items[1].quantity]
        --
        car_id = 42: renamed [id]
        name = "Toyota Avanza": changed [name]
        price = 250000000.50: same [price]
        owner_name = "Siti": renamed [owner.name]
        total = 500000001.00: changed [price]
        source = "web": added []
        items[0].sku = "a": same [items[0].sku]
        items[0].quantity = 2: renamed [items[0].qty]
        items[0].line = 1: added []
        items[1].sku = "b": same [items[1].sku]
        items[1].quantity = 1: renamed [items[1].qty]
        items[1].line = 2: added []
        "#);
    }

    #[test]
    fn names_that_match_in_another_case_are_renamed() {
        let route = route(r#""matching""#, "[]");
        let compared =
            compare(r#"{"ID":1,"Name":"a","x":"\u0041"}"#, r#"{"id":1,"name":"a","x":"A","at":"2025"}"#, &route);
        let marks: Vec<_> = compared.sent.iter().map(|one| (one.column.as_str(), one.mark)).collect();
        assert_eq!(marks, [("id", Mark::Renamed), ("name", Mark::Renamed), ("x", Mark::Same), ("at", Mark::Added)]);
    }

    #[test]
    fn what_an_edit_changed_is_told_by_name() {
        let names = changed_fields(r#"{"a":1,"b":{"c":"x"},"d":2}"#, r#"{"a": 1.0,"b":{"c":"x"},"e":2}"#);
        assert_eq!(names, ["a", "d", "e"]);
    }
}
