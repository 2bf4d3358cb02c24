//! A statement's columns on their way: how each is held in the batch's own table, and how a text becomes its type there.
//!
//! JSON gives every cell as `nvarchar(max)`; it is converted once, into a table variable whose columns have the types and
//! collations of the real ones. So keys are compared as the real columns compare them, by their index, and nothing is cut:
//! a text that is too long for its column is refused at that assignment at the latest.

use std::collections::HashMap;

use tidegate_actors::{schema::ColumnSchema, transaction::Statement};

use super::batch::quote;

/// What [`Facts`] are kept under: schema and name.
pub(super) type Tables = HashMap<(String, String), Facts>;

/// What a write must know of a table beside its schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The column that counts by itself.
    pub(super) identity: Option<String>,
    /// Collation of every column that has one, and its code page (65001 is UTF-8, 0 is Unicode only).
    pub(super) collations: HashMap<String, (String, i32)>,
}

/// UTF-8 as a code page.
const UTF8: i32 = 65_001;

/// A type's family, as far as writing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Numbers, dates, times, UUIDs: converted to the declared type by name.
    Plain,
    /// True or false.
    Bit,
    /// `nchar`, `nvarchar`: lengths in UTF-16 units.
    Wide,
    /// `char`, `varchar`, `text`: bytes of a code page.
    Narrow,
    /// `char`, `varchar` in UTF-8: lengths in bytes.
    Utf8,
    /// Bytes.
    Bytes,
    /// Dates with times, and times: fractions of a second up to this many digits.
    Clock(usize),
    /// `smalldatetime`: whole minutes.
    Minutes,
    /// `sql_variant`, which takes no `max`.
    Variant,
    /// XML, geography, hierarchyid, JSON …: the server turns the text into it when it is assigned.
    Other,
}

/// One column of a statement.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    /// The column.
    pub(super) column: &'a ColumnSchema,
    /// Its name in brackets.
    pub(super) name: String,
    /// Its family.
    pub(super) family: Family,
    /// Longest value, in the family's units; `None` for any.
    pub(super) length: Option<usize>,
    /// Type and collation of the batch's own column.
    pub(super) held_as: String,
    /// Whether it is of the key.
    pub(super) key: bool,
}

/// The word before the parenthesis and the number in it: `nvarchar(20)`, `varbinary(max)`, `datetime2(3)`.
fn parts(declared: &str) -> (&str, Option<usize>) {
    match declared.split_once('(') {
        Some((word, rest)) => (word, rest.trim_end_matches(')').parse().ok()),
        None => (declared, None),
    }
}

impl<'a> Slot<'a> {
    fn new(column: &'a ColumnSchema, facts: &Facts, key: bool) -> Self {
        let declared = column.declared.as_str();
        let (word, number) = parts(declared);
        let (collation, page) = match facts.collations.get(&column.name) {
            Some((collation, page)) if is_word(collation) => (format!(" COLLATE {collation}"), *page),
            _ => (String::new(), 0),
        };
        let narrow = if page == UTF8 { Family::Utf8 } else { Family::Narrow };
        let (family, length, held_as) = match word {
            "nchar" | "nvarchar" => (Family::Wide, number, format!("{declared}{collation}")),
            "ntext" => (Family::Wide, None, format!("nvarchar(max){collation}")),
            "char" | "varchar" => (narrow, number, format!("{declared}{collation}")),
            "text" => (Family::Narrow, None, format!("varchar(max){collation}")),
            "binary" | "varbinary" => (Family::Bytes, number, declared.to_owned()),
            "image" => (Family::Bytes, None, "varbinary(max)".to_owned()),
            "bit" => (Family::Bit, None, declared.to_owned()),
            "time" | "datetime2" | "datetimeoffset" => (Family::Clock(number.unwrap_or(7)), None, declared.to_owned()),
            "datetime" => (Family::Clock(3), None, declared.to_owned()),
            "smalldatetime" => (Family::Minutes, None, declared.to_owned()),
            "tinyint" | "smallint" | "int" | "bigint" | "decimal" | "numeric" | "money" | "smallmoney" | "float"
            | "real" | "date" | "uniqueidentifier" => (Family::Plain, None, declared.to_owned()),
            "sql_variant" => (Family::Variant, Some(4_000), "nvarchar(4000)".to_owned()),
            _ => (Family::Other, None, "nvarchar(max)".to_owned()),
        };
        Self { column, name: quote(&column.name), family, length, held_as, key }
    }

    /// The columns of a statement, in the order of its rows' cells.
    pub(super) fn of(statement: &'a Statement, facts: &Facts) -> Vec<Self> {
        let key = statement.key_cells();
        statement.written().enumerate().map(|(at, column)| Slot::new(column, facts, key.contains(&at))).collect()
    }

    /// The expression that makes this column's type of the text that JSON gave.
    pub(super) fn converted(&self, text: &str) -> String {
        match self.family {
            Family::Plain | Family::Bit | Family::Clock(_) | Family::Minutes => {
                format!("CONVERT({}, {text})", self.held_as)
            }
            // Style 2: hexadecimal digits without a prefix.
            Family::Bytes => format!("CONVERT(varbinary(max), {text}, 2)"),
            Family::Wide | Family::Narrow | Family::Utf8 | Family::Variant | Family::Other => text.to_owned(),
        }
    }
}

/// A collation's name goes into the T-SQL as it is.
fn is_word(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
