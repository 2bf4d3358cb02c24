//! Routes as an operator writes them: which table of which destination a topic goes to, and with which mapping.
//!
//! These types are the contract of `tidegate apply`; [`crate::mapping`] compiles them against a table.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

/// A named way from one topic of one application into one table of one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What an insert or an upsert of a row that is there comes to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_existing: OnExisting,
    /// Whether every change is written on its own (triggers, audit tables), without folding.
    #[serde(default, skip_serializing_if = "is_default")]
    pub every_change: bool,
    /// Which records it takes: an expression in the Common Expression Language that is true for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// What a field comes to that no column reads.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unknown_fields: UnknownFields,
    /// What a delete does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub delete: DeletePolicy,
    /// A column that only grows with the record's changes: a change that is older than the row by it writes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version_column: Option<String>,
    /// What a dead letter means for later records of its key.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_dead: OnDead,
    /// Arrays of the record that go into tables of their own, in the same transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildSpec>,
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

/// What an insert or an upsert of a row that is there comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExisting {
    /// As the action says: a dead letter for an insert, an update for an upsert.
    #[default]
    ByAction,
    /// A dead letter.
    Reject,
    /// The row stays as it is: insert if absent.
    Ignore,
    /// An update.
    Update,
}

/// What a field comes to that no column reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// It is left out.
    #[default]
    Ignore,
    /// The record is a dead letter.
    Reject,
}

/// What a delete does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DeletePolicy {
    /// By a word.
    #[default]
    #[serde(serialize_with = "DeletePolicy::row", deserialize_with = "DeletePolicy::is_row")]
    Row,
    /// Nothing: the row stays, the delete is delivered with 0 rows.
    #[serde(serialize_with = "DeletePolicy::ignore", deserialize_with = "DeletePolicy::is_ignore")]
    Ignore,
    /// A column is set instead (soft delete).
    Soft(SoftDelete),
}

impl DeletePolicy {
    fn row<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("row")
    }

    fn ignore<S: serde::Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("ignore")
    }

    fn is_row<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        word(deserializer, "row")
    }

    fn is_ignore<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        word(deserializer, "ignore")
    }
}

fn word<'de, D: serde::Deserializer<'de>>(deserializer: D, wanted: &str) -> Result<(), D::Error> {
    let found = String::deserialize(deserializer)?;
    if found == wanted { Ok(()) } else { Err(serde::de::Error::custom(format!("`{found}` is not `{wanted}`"))) }
}

/// A delete that sets a column and leaves the row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SoftDelete {
    /// The column.
    pub column: String,
    /// What it is set to by a delete; the time the record was received where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// What an insert or an upsert sets it back to; NULL where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<serde_json::Value>,
}

/// What a dead letter means for later records of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDead {
    /// They are written; the dead letter is superseded.
    #[default]
    Skip,
    /// They become dead letters too, until the first one is redriven: the key's records are written in their order or not at
    /// all.
    Block,
}

/// An array of the record that goes into a table of its own: a row for each of its elements, replaced as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChildSpec {
    /// The path of the array.
    pub from: String,
    /// `table` or `schema.table`.
    pub table: String,
    /// Column of the child → key column of the route's own table: what ties a child to its parent.
    pub parent: BTreeMap<String, String>,
    /// Which columns take their value from where; paths begin at the element.
    #[serde(default)]
    pub columns: Columns,
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
#[allow(
    clippy::large_enum_variant,
    reason = "a route has a handful of them, and lives as long as its registry's version"
)]
pub enum ColumnSource {
    /// The field of this name.
    Field(String),
    /// The long form.
    Detailed(ColumnRule),
}

/// The long form of a column's source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnRule {
    /// The field's path (`customer.address.city`, `items[0].sku`, `customer["first.name"]`); the column's own name where this
    /// and the other sources (`value`, `meta`, `expr`) are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// A constant instead of a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<serde_json::Value>,
    /// Something that is known of the message instead of a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta: Option<Meta>,
    /// An expression in the Common Expression Language instead of a field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expr: Option<String>,
    /// Cleaning steps, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clean: Vec<CleanStep>,
    /// A cast that comes before the column's own type.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub cast: Option<Cast>,
    /// How a date, time or timestamp is written (strftime), where it is not ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// The zone of a time that names none: `Asia/Jakarta`, `+07:00`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether a record without the field, or with null in it, is a dead letter; an update may lack it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub required: bool,
    /// The value of an insert that lacks the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    /// The smallest number, date or time that is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<serde_json::Value>,
    /// The greatest number, date or time that is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<serde_json::Value>,
    /// How many characters a text may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<Length>,
    /// A regular expression that a text must match somewhere; anchor it with `^` and `$` for the whole text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The values that are taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<serde_json::Value>,
}

/// What is known of a message beside its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Meta {
    /// The message's id, as its producer was told.
    Id,
    /// The application's name.
    Application,
    /// The topic.
    Topic,
    /// `insert`, `upsert`, `update` or `delete`.
    Action,
    /// The key: its text where it is a string, else as JSON.
    Key,
    /// When it was accepted: an instant, to the millisecond.
    Received,
    /// In a child table: the element's place in its array, from 1.
    Index,
}

/// How many characters a text may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// At least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<u64>,
    /// At most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
}

/// A cleaning step; where it is for texts, other values pass untouched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Every Word Begins With A Capital.
    Title,
    /// ASCII digits only.
    Digits,
    /// Without HTML tags, with its entities resolved.
    StripHtml,
    /// Any of these texts becomes null.
    NullIf(Vec<String>),
    /// Every occurrence of the first text becomes the second.
    Replace([String; 2]),
    /// No more than so many characters.
    Truncate(u32),
    /// A number rounded to so many digits after the point, half away from zero.
    Round(u32),
    /// A value from a table by its text; `"*"` stands for all others, without it they are refused.
    Map(BTreeMap<String, serde_json::Value>),
    /// A number as people write it in this locale (`id-ID`: `Rp 1.500.000,00`) becomes one.
    Number(String),
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

/// Who stopped something, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Who, in the words of the list of changes.
    pub by: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// What operators have set of a destination by hand: it holds on every node, and until they take it back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByHand {
    /// Paused: nothing is written, and what comes waits. Its database is still asked for a sign of life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Stopped>,
    /// Its breaker is open: nothing is written, and its database is left alone altogether.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker_open: Option<Stopped>,
    /// How often its breaker was closed by hand. Each time all waits and failures are forgotten, and the database is asked at
    /// once.
    #[serde(default)]
    pub breaker_closings: u64,
}

impl ByHand {
    /// Whether nothing may be written.
    #[must_use]
    pub fn stops(&self) -> bool {
        self.paused.is_some() || self.breaker_open.is_some()
    }

    /// Whether nothing was ever set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
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
    /// What operators have set by hand.
    pub by_hand: ByHand,
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
