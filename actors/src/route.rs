//! Routes as an operator writes them: which table of which destination a topic goes to, and with which mapping.
//!
//! These types are the contract of `tidegate apply`; [`crate::mapping`] compiles them against a table.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A named way from one topic of one application into one table of one destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSpec {
    /// Random, survives renaming; given by the registry.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Counts the route's changes from 1; given by the registry.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub version: u64,
    /// Its name, unique in the installation.
    pub name: String,
    /// The producing application's name.
    pub application: String,
    /// The kind of record.
    pub topic: String,
    /// The destination's name.
    pub destination: String,
    /// `table` or `schema.table`.
    pub table: String,
    /// The columns that tell rows apart; without them the route inserts only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,
    /// Where the route begins to read.
    #[serde(default)]
    pub start: Start,
    /// What an update of a row that isn't there comes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_missing: OnMissing,
    /// Whether every change is written on its own (triggers, audit tables), without folding.
    #[serde(default, skip_serializing_if = "is_default")]
    pub every_change: bool,
    /// Which columns take their value from where.
    #[serde(default)]
    pub columns: Columns,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where a new route begins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Start {
    /// Records accepted from now on.
    #[default]
    Now,
    /// Everything the stream still retains.
    Earliest,
    /// Records accepted at or after this moment (RFC 3339).
    At(String),
}

impl From<String> for Start {
    fn from(text: String) -> Self {
        match text.as_str() {
            "now" => Self::Now,
            "earliest" => Self::Earliest,
            _ => Self::At(text),
        }
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        match start {
            Start::Now => "now".into(),
            Start::Earliest => "earliest".into(),
            Start::At(text) => text,
        }
    }
}

/// What an update of a row that isn't there comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMissing {
    /// A dead letter.
    #[default]
    Reject,
    /// Delivered with 0 rows.
    Ignore,
    /// An insert.
    Insert,
}

/// The columns of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Columns {
    /// `"matching"`: every column that has a field of its name.
    Matching(Matching),
    /// Column by column, in the order of their names.
    Named(std::collections::BTreeMap<String, ColumnSource>),
}

impl Default for Columns {
    fn default() -> Self {
        Self::Matching(Matching::Matching)
    }
}

/// The one word that stands for "every column that has a field of its name".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Matching {
    /// `"matching"`.
    Matching,
}

/// Where a column's value comes from: a field's name alone, or with cleaning, cast and default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ColumnSource {
    /// The field of this name.
    Field(String),
    /// The long form.
    Detailed(ColumnRule),
}

/// The long form of a column's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnRule {
    /// The field's name; the column's own where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Cleaning steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clean: Vec<CleanStep>,
    /// A cast that comes before the column's own type.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub cast: Option<Cast>,
    /// The value of an insert that lacks the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
}

/// A cleaning step for text; other values pass untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanStep {
    /// No white space at either end.
    Trim,
    /// Every run of white space becomes one space.
    Collapse,
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
    /// Empty text becomes null.
    NullIfEmpty,
}

/// What a value is read as before it goes to its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cast {
    /// A whole number.
    Int,
    /// A decimal, digit by digit.
    Decimal,
    /// A floating-point number.
    Float,
    /// True or false; also `1`, `0`, `"yes"`, `"no"`, `"on"`, `"off"`.
    Bool,
    /// Text.
    Text,
    /// A calendar date.
    Date,
    /// A time of day.
    Time,
    /// An instant, or a date and time.
    Timestamp,
    /// A UUID.
    Uuid,
    /// JSON text.
    Json,
    /// Base64 text.
    Bytes,
}

/// How a destination's entries are claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryMode {
    /// One writer at a time, in order, exactly once.
    #[default]
    Ordered,
    /// Any number of writers, no order, at least once.
    Parallel,
}

/// A destination as the actors see it: without its address and secrets, which only its driver needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DestinationSpec {
    /// Random, survives renaming.
    pub id: Arc<str>,
    /// The name that people use.
    pub name: Arc<str>,
    /// Changes whenever its connection settings do: its actors are then built anew.
    pub revision: u64,
    /// How its entries are claimed.
    pub mode: DeliveryMode,
    /// The only node that may write it, where it belongs to one (a SQLite file).
    pub node: Option<Arc<str>>,
    /// The routes that lead here.
    pub routes: Vec<Arc<RouteSpec>>,
}

/// Everything that is to be delivered, at one version of the registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The registry's version.
    pub version: u64,
    /// The installation's random id; part of every lane's name.
    pub installation: Arc<str>,
    /// Every destination.
    pub destinations: Vec<Arc<DestinationSpec>>,
}
