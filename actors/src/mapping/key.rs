//! The key of a row: from the record, from the message's `key`, or from both where they agree.
//!
//! Comparison is by value after casting, so that `42` and `"42"` are one key of an integer column.

use serde_json::value::RawValue;

use super::{Mapping, Origin, ValueRule, fields::members, rejection};
use crate::{
    cast::{self, Value},
    message::Message,
    ports::Rejection,
    route::{ColumnSource, Columns, RouteSpec},
    transaction::{Cell, Op},
};

/// A message's `key`, read.
pub(super) enum Given<'m> {
    /// One value.
    Scalar(&'m str),
    /// Values by name.
    Named(Vec<(String, &'m str)>),
}

impl<'m> Given<'m> {
    fn read(key: &'m str) -> Option<Self> {
        if key.trim_start().starts_with('{') {
            return members(key).ok().map(Self::Named);
        }
        serde_json::from_str::<&RawValue>(key).ok().map(|raw| Self::Scalar(raw.get()))
    }

    /// The value for each of the key's columns, given the names of column and field.
    fn values(&self, columns: &[(&str, &str)]) -> Vec<Option<&'m str>> {
        let members = match self {
            Self::Scalar(raw) if columns.len() == 1 => return vec![Some(raw)],
            Self::Scalar(_) => return vec![None; columns.len()],
            Self::Named(members) => members,
        };
        let member = |name: &str| {
            let exact = members.iter().find(|(member, _)| member == name);
            exact.or_else(|| members.iter().find(|(member, _)| member.eq_ignore_ascii_case(name))).map(|(_, raw)| *raw)
        };
        // Names are columns'; but a key that has all the fields and not all the columns is spoken of in fields.
        let by_field = columns.iter().all(|(_, field)| member(field).is_some())
            && !columns.iter().all(|(column, _)| member(column).is_some());
        let value = |(column, field): &(&str, &str)| {
            if by_field { member(field) } else { member(column).or_else(|| member(field)) }
        };
        columns.iter().map(value).collect()
    }
}

impl Mapping {
    /// Fills in the key's cells and refuses what is missing, null or contradictory.
    pub(super) fn fill_key(
        &self,
        op: Op,
        message: &Message,
        values: &[Option<&str>],
        cells: &mut [Cell],
    ) -> Result<(), Rejection> {
        let key = &self.plan.key;
        let given = match message.key.as_deref() {
            None => vec![None; key.len()],
            Some(text) => {
                let given = Given::read(text).ok_or_else(|| {
                    rejection(
                        "type",
                        None,
                        "the message's `key` is neither a string, a number nor an object".to_owned(),
                    )
                })?;
                let names: Vec<_> = key.iter().map(|&place| self.names(place)).collect();
                given.values(&names)
            }
        };
        for (&place, given) in key.iter().zip(given) {
            let raw = values[self.sources[place].field];
            if op == Op::Delete
                && let Some(raw) = raw
            {
                cells[place] = self.cell(place, raw, Origin::Data)?;
            }
            if let Some(given) = given {
                let cell = self.cell(place, given, Origin::Key)?;
                let kind = &self.column(place).kind;
                if cells[place] == Cell::Absent {
                    cells[place] = cell;
                } else if cast::comparable(&cells[place], kind) != cast::comparable(&cell, kind) {
                    return Err(self.conflict(place));
                }
            }
            if cells[place] == Cell::Absent && matches!(op, Op::Insert | Op::Upsert) {
                // A key's default is what the row is found by, so it can't wait until the row turns out to be missing.
                let default = self.defaults.iter().find(|(default, _)| *default == place);
                cells[place] = default.map_or(Cell::Absent, |(_, cell)| cell.clone());
            }
            match cells[place] {
                Cell::Null => return Err(self.null_key(place)),
                Cell::Absent if op != Op::Insert => return Err(self.missing_key(place, message)),
                _ => {}
            }
        }
        Ok(())
    }

    /// The key as one text.
    pub(super) fn key_text(&self, cells: &[Cell]) -> Option<Box<str>> {
        let (first, rest) = self.plan.key.split_first()?;
        let mut out = String::with_capacity(40);
        out.push('[');
        self.push_key_cell(&mut out, *first, cells)?;
        for place in rest {
            out.push(',');
            self.push_key_cell(&mut out, *place, cells)?;
        }
        out.push(']');
        Some(out.into())
    }

    fn push_key_cell(&self, out: &mut String, place: usize, cells: &[Cell]) -> Option<()> {
        let cell = &cells[place];
        if matches!(cell, Cell::Absent | Cell::Null) {
            return None;
        }
        super::sent::push_string(out, &cast::comparable(cell, &self.column(place).kind));
        Some(())
    }

    fn names(&self, place: usize) -> (&str, &str) {
        (&self.column(place).name, self.fields.name(self.sources[place].field))
    }

    #[cold]
    fn conflict(&self, place: usize) -> Rejection {
        let (column, field) = self.names(place);
        let message = format!(
            "field `{field}` and the message's `key` give two different values for key column `{column}` of table `{}`",
            self.table
        );
        rejection("key_conflict", Some(column), message)
    }

    #[cold]
    fn null_key(&self, place: usize) -> Rejection {
        let (column, field) = self.names(place);
        let message = format!(
            "field `{field}` for key column `{column}` of table `{}` is null, and a key that is null finds no row",
            self.table
        );
        rejection("not_null", Some(column), message)
    }

    #[cold]
    fn missing_key(&self, place: usize, message: &Message) -> Rejection {
        let (column, field) = self.names(place);
        let scalar = message.key.as_deref().is_some_and(|key| !key.starts_with('{'));
        let remedy = if scalar && self.plan.key.len() > 1 {
            let names: Vec<_> = self.plan.key.iter().map(|&place| format!("`{}`", self.names(place).0)).collect();
            format!("; `key` is one value and the route's key has {}: send an object with them", names.join(", "))
        } else {
            format!(": send `key` or field `{field}`")
        };
        let message = format!(
            "{} needs a key, and key column `{column}` of table `{}` has no value{remedy}",
            message.action.as_str(),
            self.table
        );
        rejection("required", Some(column), message)
    }
}

/// The key column for which `data` and `key` certainly give two different values, whatever the column's type is.
///
/// For the door, which does not know the table: `42` and `"42"`, a UUID in another case, and the same instant in another
/// zone count as the same; mapping has the last word. Anything that can't be read is no conflict here.
#[must_use]
pub fn key_conflict(route: &RouteSpec, data: &str, key: &str) -> Option<String> {
    let given = Given::read(key)?;
    let data = members(data).ok()?;
    let source = |column: &String| match &route.columns {
        Columns::Named(named) => named
            .get(column)
            .or_else(|| named.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, source)| source)),
        Columns::Matching(_) => None,
    };
    let rule = |column| match source(column) {
        Some(ColumnSource::Detailed(rule)) => Some(rule),
        _ => None,
    };
    let field = |column| match source(column) {
        Some(ColumnSource::Field(field)) => field,
        Some(ColumnSource::Detailed(rule)) => rule.from.as_ref().unwrap_or(column),
        None => column,
    };
    let names: Vec<_> = route.key.iter().map(|column| (column.as_str(), field(column).as_str())).collect();
    for (column, given) in route.key.iter().zip(given.values(&names)) {
        let field = field(column);
        let exact = data.iter().find(|(name, _)| name == field);
        let found = match route.columns {
            Columns::Matching(_) => exact.or_else(|| data.iter().find(|(name, _)| name.eq_ignore_ascii_case(field))),
            Columns::Named(_) => exact,
        };
        let (Some(given), Some((_, found))) = (given, found) else { continue };
        let read = |raw| {
            let value = Value::read(raw).ok()?;
            match rule(column) {
                Some(rule) => ValueRule::compile(rule).ok()?.apply(value).ok(),
                None => Some(value),
            }
        };
        if let (Some(left), Some(right)) = (read(found), read(given))
            && cast::certainly_different(&left, &right)
        {
            return Some(column.clone());
        }
    }
    None
}
