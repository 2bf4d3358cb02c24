//! A route suggested for a table: which field of the sample records each column takes, and why.
//!
//! Names are compared by [`likeness`], values by the mapping itself; pairs are taken greedily, the most alike first, down to
//! a threshold. Every guess says what it rests on: an operator reads it before it is applied.

mod rules;
mod written;

use serde::Serialize;
use tidegate_actors::{
    route::{ColumnSource, RouteSpec},
    schema::{ColumnSchema, ColumnType, TableSchema},
};

use super::{
    likeness::{Likeness, THRESHOLD, likeness},
    samples::{Sampled, Samples, Shape, written},
};

/// What a suggestion is for.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The route's name.
    pub name: &'a str,
    /// The producing application.
    pub application: &'a str,
    /// The topic.
    pub topic: &'a str,
    /// The destination.
    pub destination: &'a str,
    /// The table, as the route is to call it.
    pub table: &'a str,
}

/// A suggested route, guess by guess.
#[derive(Clone, Debug, Serialize)]
pub struct Suggestion {
    /// The route's name.
    pub name: String,
    /// The producing application.
    pub application: String,
    /// The topic.
    pub topic: String,
    /// The destination.
    pub destination: String,
    /// The table, as the route calls it.
    pub table: String,
    /// How many records it was made from.
    pub records: usize,
    /// The key's columns; empty where none can be fed.
    pub key: Vec<String>,
    /// Which unique key of the table it is, or why there is none.
    pub key_why: String,
    /// A column for each guess, in the table's order.
    pub columns: Vec<Guess>,
    /// Columns that nothing feeds, in the table's order.
    pub open: Vec<Open>,
    /// Paths that no column takes.
    pub unmapped: Vec<Unmapped>,
}

/// A column and what feeds it.
#[derive(Clone, Debug, Serialize)]
pub struct Guess {
    /// The column.
    pub column: String,
    /// Its type.
    #[serde(rename = "type")]
    pub declared: String,
    /// The field's path; `None` where the message's key feeds it.
    pub field: Option<String>,
    /// What stands in the route.
    pub source: ColumnSource,
    /// How alike the names are, from 0 to 1.
    pub likeness: f64,
    /// In what they are alike.
    pub why: String,
    /// What the samples say against it.
    pub remarks: Vec<String>,
}

/// A column that nothing feeds.
#[derive(Clone, Debug, Serialize)]
pub struct Open {
    /// The column.
    pub column: String,
    /// Its type.
    #[serde(rename = "type")]
    pub declared: String,
    /// Whether no row can be inserted without it.
    pub required: bool,
    /// Something other than a field that may be meant, as it would stand in the route.
    pub instead: Option<String>,
    /// A field with a name like it, none of whose values fit.
    pub near_field: Option<String>,
    /// Why they do not.
    pub near: Option<String>,
}

impl Open {
    /// Whether there is more to say of it than its name.
    fn is_told(&self) -> bool {
        self.required || self.instead.is_some() || self.near.is_some()
    }
}

/// A path that no column takes.
#[derive(Clone, Debug, Serialize)]
pub struct Unmapped {
    /// The path.
    pub field: String,
    /// Whether it is a list of objects, which could go into a table of its own.
    pub list_of_objects: bool,
}

/// A pair that may be meant.
struct Pair {
    column: usize,
    path: usize,
    likeness: Likeness,
    fit: rules::Fit,
    /// Name and values together.
    score: f64,
}

/// Destination and table, as a name that no route has.
#[must_use]
pub fn free_name(routes: &[RouteSpec], destination: &str, table: &str) -> String {
    let bare = table.rsplit('.').next().unwrap_or(table);
    let name: String = format!("{destination}-{bare}")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .take(60)
        .collect();
    let taken = |name: &str| routes.iter().any(|route| route.name == name);
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(name)
}

/// Suggests a route for this table and these records.
#[must_use]
pub fn suggest(wanted: &Wanted<'_>, table: &TableSchema, samples: &Samples) -> Suggestion {
    let (mut pairs, misfits): (Vec<_>, Vec<_>) =
        pairs(wanted, table, samples).into_iter().partition(|pair| pair.fit.share > 0.0);
    pairs.sort_by(|a, b| {
        b.score
            .total_cmp(&a.score)
            .then(a.column.cmp(&b.column))
            .then_with(|| depth(samples, a).cmp(&depth(samples, b)))
    });
    let mut fed: Vec<Option<Pair>> = table.columns.iter().map(|_| None).collect();
    let mut taken = vec![false; samples.paths.len()];
    for pair in pairs {
        if fed[pair.column].is_none() && !taken[pair.path] {
            taken[pair.path] = true;
            let column = pair.column;
            fed[column] = Some(pair);
        }
    }
    let (key, key_why, from_key) = key(table, samples, &fed);
    let mut suggestion = Suggestion {
        name: wanted.name.into(),
        application: wanted.application.into(),
        topic: wanted.topic.into(),
        destination: wanted.destination.into(),
        table: wanted.table.into(),
        records: samples.records,
        key,
        key_why,
        columns: Vec::new(),
        open: Vec::new(),
        unmapped: Vec::new(),
    };
    for (place, (column, pair)) in table.columns.iter().zip(fed).enumerate() {
        let misfit = misfits.iter().filter(|pair| pair.column == place && !taken[pair.path]);
        let misfit = misfit.max_by(|a, b| a.likeness.score.total_cmp(&b.likeness.score));
        match pair {
            Some(pair) => suggestion.columns.push(guess(column, &samples.paths[pair.path], &pair, samples)),
            None if from_key.contains(&column.name) => suggestion.columns.push(Guess {
                column: column.name.clone(),
                declared: column.declared.clone(),
                field: None,
                source: ColumnSource::Field(column.name.clone()),
                likeness: 1.0,
                why: "the message's key".into(),
                remarks: Vec::new(),
            }),
            None if column.generated => {}
            None => suggestion.open.push(Open {
                column: column.name.clone(),
                declared: column.declared.clone(),
                required: !column.nullable && !column.has_default,
                instead: instead(column),
                near_field: misfit.map(|pair| samples.paths[pair.path].path()),
                near: misfit.map(|pair| {
                    let (path, score) = (samples.paths[pair.path].path(), pair.likeness.score);
                    format!("{score:.2}: `{path}` is like it, but {}", pair.fit.remarks.join("; "))
                }),
            }),
        }
    }
    suggestion.unmapped = unmapped(samples, &taken);
    suggestion
}

fn pairs(wanted: &Wanted<'_>, table: &TableSchema, samples: &Samples) -> Vec<Pair> {
    let context = [wanted.table, wanted.topic];
    let mut pairs = Vec::new();
    for (column_place, column) in table.columns.iter().enumerate().filter(|(_, column)| !column.generated) {
        for (path_place, path) in samples.paths.iter().enumerate() {
            let likeness = likeness(&path.names, &column.name, &context);
            if likeness.score < THRESHOLD {
                continue;
            }
            let fit = rules::fit(column, path);
            // Some values that do not fit may be the samples' fault; when none does, it is another thing.
            let values = if fit.share > 0.0 { 0.6 + 0.4 * fit.share } else { 0.0 };
            let score = likeness.score * values * shape(path.shape, &column.kind);
            if score >= THRESHOLD * 0.7 || fit.share == 0.0 {
                pairs.push(Pair { column: column_place, path: path_place, likeness, fit, score });
            }
        }
    }
    pairs
}

fn depth(samples: &Samples, pair: &Pair) -> (usize, usize) {
    (samples.paths[pair.path].names.len(), pair.path)
}

/// What is against a value of this shape in such a column although the column takes it.
fn shape(shape: Shape, kind: &ColumnType) -> f64 {
    match (shape, kind) {
        (Shape::Scalar, ColumnType::Json { .. }) => 0.9,
        (Shape::Scalar, _) | (Shape::Object | Shape::List, ColumnType::Json { .. } | ColumnType::Other) => 1.0,
        (Shape::ListOfObjects, ColumnType::Json { .. }) => 0.95,
        // The JSON text of an object in a text column is seldom what is meant: one of its parts rather is.
        _ => 0.7,
    }
}

fn guess(column: &ColumnSchema, path: &Sampled, pair: &Pair, samples: &Samples) -> Guess {
    let field = path.path();
    let mut remarks = pair.fit.remarks.clone();
    let missing = samples.records - path.seen;
    if missing > 0 && !column.nullable && !column.has_default {
        remarks.push(format!("missing in {missing} of {}: those inserts fail without a `default`", samples.records));
    }
    if path.nulls > 0 && !column.nullable {
        remarks.push(format!("null in {} of {}, and the column is NOT NULL", path.nulls, samples.records));
    }
    Guess {
        column: column.name.clone(),
        declared: column.declared.clone(),
        source: pair.fit.source(&field),
        field: Some(field),
        likeness: pair.likeness.score,
        why: pair.likeness.why.into(),
        remarks,
    }
}

/// The first unique key that is fed, by fields or by the messages' keys; why it is this one; and which of its columns the
/// message's key feeds.
fn key(table: &TableSchema, samples: &Samples, fed: &[Option<Pair>]) -> (Vec<String>, String, Vec<String>) {
    let is_fed =
        |name: &String| table.columns.iter().zip(fed).any(|(column, pair)| column.name == *name && pair.is_some());
    for unique in &table.unique_keys {
        let missing: Vec<&String> = unique.iter().filter(|name| !is_fed(name)).collect();
        if missing.is_empty() {
            return (unique.clone(), "a unique key of the table".into(), Vec::new());
        }
        let in_key = |name: &String| samples.key_parts.iter().any(|part| part.eq_ignore_ascii_case(name));
        let scalar = samples.scalar_keys > 0 && unique.len() == 1;
        if scalar || missing.iter().all(|name| in_key(name)) {
            let from_key = missing.into_iter().cloned().collect();
            return (unique.clone(), "a unique key of the table; the message's `key` feeds it".into(), from_key);
        }
    }
    let why = if table.unique_keys.is_empty() {
        "the table has no unique key".to_owned()
    } else {
        let keys: Vec<_> = table.unique_keys.iter().map(|key| format!("({})", key.join(", "))).collect();
        format!("no field feeds a unique key of the table: {}", keys.join(", "))
    };
    (Vec::new(), why, Vec::new())
}

/// What may be meant by a column that no field is like.
fn instead(column: &ColumnSchema) -> Option<String> {
    let words = super::likeness::words(&column.name);
    let has = |word: &str| words.iter().any(|other| other == word);
    let meta = |name: &str| Some(format!("{{ meta = \"{name}\" }}"));
    let is_text = matches!(column.kind, ColumnType::Text { .. });
    match column.kind {
        ColumnType::Timestamp { .. } if has("received") || has("created") || has("inserted") || has("updated") => {
            meta("received")
        }
        _ if is_text && has("message") && has("id") => meta("id"),
        _ if is_text && (has("application") || has("source")) => meta("application"),
        _ if is_text && has("topic") => meta("topic"),
        _ if is_text && has("action") => meta("action"),
        _ => None,
    }
}

/// Paths that nothing takes: those above or below one that is taken are spoken for.
fn unmapped(samples: &Samples, taken: &[bool]) -> Vec<Unmapped> {
    let paths = || samples.paths.iter().zip(taken);
    let left = paths().filter(|(path, taken)| {
        let related = || {
            paths().any(|(other, other_taken)| {
                *other_taken && (path.names.starts_with(&other.names) || other.names.starts_with(&path.names))
            })
        };
        // An object is told by its parts.
        !**taken && path.shape != Shape::Object && !related()
    });
    left.map(|(path, _)| Unmapped { field: written(&path.names), list_of_objects: path.shape == Shape::ListOfObjects })
        .collect()
}

#[cfg(test)]
mod tests;
