//! A destination's tables as its own catalogue describes them, in words that all kinds of database share.
//!
//! Drivers fill these in; mapping checks every value against them before any SQL is sent, so that a bad row seldom
//! fails a batch. They are serializable because the table a record was mapped for is kept with its history.

use serde::{Deserialize, Serialize};

/// What a column can hold, as far as it decides how a JSON value becomes a cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ColumnType {
    /// Whole numbers between the two bounds, both included (unsigned 64 bits fit).
    Int {
        /// Smallest value.
        #[serde(with = "bound")]
        min: i128,
        /// Largest value.
        #[serde(with = "bound")]
        max: i128,
    },
    /// Exact decimals. `None`: any number of digits.
    Decimal {
        /// Digits in all.
        precision: Option<u32>,
        /// Digits after the point.
        scale: Option<u32>,
    },
    /// Binary floating point of 32 or 64 bits.
    Float {
        /// 32 or 64.
        bits: u8,
    },
    /// True or false.
    Bool,
    /// Text.
    Text {
        /// Longest value in characters.
        max_chars: Option<u64>,
        /// Longest value in bytes of UTF-8.
        max_bytes: Option<u64>,
        /// Whether U+0000 can be stored.
        nul: bool,
    },
    /// Bytes; base64 in JSON.
    Bytes {
        /// Longest value in bytes.
        max_bytes: Option<u64>,
    },
    /// A calendar date.
    Date,
    /// A time of day.
    Time {
        /// Whether the column keeps an offset.
        zone: bool,
    },
    /// A date and time.
    Timestamp {
        /// Whether the column is an instant. Where it is not, instants are written in UTC.
        zone: bool,
    },
    /// A UUID.
    Uuid,
    /// JSON, kept as text or parsed.
    Json {
        /// Whether the escape `\u0000` can be stored.
        nul: bool,
    },
    /// One of a list of texts.
    Enum {
        /// The values, in the database's order.
        values: Vec<String>,
    },
    /// A numeric column that stores what is exact up to 15 digits only (SQLite's NUMERIC affinity).
    Numeric15,
    /// Anything else: the value's text is handed to the database, which decides.
    Other,
}

/// Bounds are kept as text: inside a tagged enum serde cannot read an `i128` back.
mod bound {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bound: &i128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(bound)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnSchema {
    /// Its name, exactly as the catalogue has it.
    pub name: String,
    /// The type as the database writes it (`numeric(14,2)`); used in casts and in messages.
    pub declared: String,
    /// The type as mapping sees it.
    pub kind: ColumnType,
    /// Whether NULL may be written.
    pub nullable: bool,
    /// Whether an insert may leave it out although it is not nullable (a default, an identity, a generated value).
    pub has_default: bool,
    /// The default as the catalogue writes it, for people; `None` where there is none or the kind does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Whether the database computes it always, so that it can never be written.
    pub generated: bool,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The schema (PostgreSQL) or database (MySQL) it was found in; empty where the kind has none.
    pub schema: String,
    /// Its name, exactly as the catalogue has it.
    pub name: String,
    /// The columns in the table's order.
    pub columns: Vec<ColumnSchema>,
    /// Column names of every unique key that can tell rows apart, the primary key first where there is one.
    pub unique_keys: Vec<Vec<String>>,
}

impl TableSchema {
    /// The place of the column of this name (exact, else without regard to case where that is unambiguous).
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        if let Some(exact) = self.columns.iter().position(|column| column.name == name) {
            return Some(exact);
        }
        let mut alike = self.columns.iter().enumerate().filter(|(_, column)| column.name.eq_ignore_ascii_case(name));
        match (alike.next(), alike.next()) {
            (Some((index, _)), None) => Some(index),
            _ => None,
        }
    }

    /// Whether these columns, in any order, are one of the table's unique keys.
    #[must_use]
    pub fn is_unique(&self, key: &[String]) -> bool {
        self.unique_keys.iter().any(|unique| same_columns(unique, key))
    }

    /// Whether these columns are the table's only unique key. MySQL's `ON DUPLICATE KEY` matches any of them.
    #[must_use]
    pub fn is_only_unique(&self, key: &[String]) -> bool {
        matches!(self.unique_keys.as_slice(), [only] if same_columns(only, key))
    }
}

fn same_columns(left: &[String], right: &[String]) -> bool {
    left.len() == right.len() && left.iter().all(|name| right.iter().any(|other| other.eq_ignore_ascii_case(name)))
}
