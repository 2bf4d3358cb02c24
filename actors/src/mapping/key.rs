//! The key of a row: from the record, from the message's `key`, or from both where they agree.
//!
//! Comparison is by value after casting, so that `42` and `"42"` are one key of an integer column. The door asks here too,
//! before it takes a record ([`key_parts`], [`key_conflict`]).

use std::{borrow::Cow, fmt};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Mapping, ValueRule,
    fields::Slot,
    path::{Path, Step},
    rejection,
    rows::{Origin, Subject},
};
use crate::{
    cast::{self, Value},
    message::Message,
    ports::Rejection,
    route::{ColumnRule, ColumnSource, Columns, Meta, RouteSpec},
    transaction::{Cell, Op},
};

/// What the message's `key` says, for messages.
const MESSAGE_KEY: &str = "the message's `key`";

/// A column of a route's key, as far as it can be told without its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// The column's name, as the route has it.
    pub column: String,
    /// Where its value comes from.
    pub source: KeySource,
    /// Whether the field is found in any case: where columns are matched by name.
    pub any_case: bool,
    /// Whether the route fills it in where a record lacks it.
    pub has_default: bool,
}

/// Where the value of a key column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A field, or the message's `key`.
    Field(Path),
    /// The message's `key` as it is (`meta = "key"`).
    Key,
    /// It is always there: a constant, or what is known of every message.
    Known,
    /// An expression, which only mapping works out; where it can't, for an update or a delete, the message's `key` says it.
    Computed,
}

impl KeyPart {
    /// The field's path as it is written, where there is one.
    #[must_use]
    pub fn field(&self) -> Option<Cow<'_, str>> {
        let KeySource::Field(path) = &self.source else { return None };
        Some(match path.steps() {
            [Step::Name(name)] => Cow::Borrowed(name),
            _ => Cow::Owned(path.to_string()),
        })
    }

    /// Whether the message's `key` can say its value.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.source, KeySource::Field(_) | KeySource::Computed)
    }

    /// The field's value in a record; `None` where it is absent or not fed by a field.
    #[must_use]
    pub fn find<'m>(&self, data: &'m str) -> Option<&'m str> {
        let KeySource::Field(path) = &self.source else { return None };
        let exact = path.find(data);
        let [Step::Name(name)] = path.steps() else { return exact };
        if exact.is_some() || !self.any_case {
            return exact;
        }
        members(data).ok()?.into_iter().find(|(member, _)| member.eq_ignore_ascii_case(name)).map(|(_, raw)| raw)
    }
}

/// The columns of a route's key, in its order.
#[must_use]
pub fn key_parts(route: &RouteSpec) -> Vec<KeyPart> {
    route.key.iter().map(|column| key_part(route, column)).collect()
}

fn key_part(route: &RouteSpec, column: &str) -> KeyPart {
    let own = || KeySource::Field(Path::of_name(column));
    let (mut source, mut has_default) = (own(), false);
    match key_source(route, column) {
        Some(ColumnSource::Field(from)) => source = KeySource::Field(field_path(from)),
        Some(ColumnSource::Detailed(rule)) => {
            has_default = rule.default.is_some();
            source = match rule {
                ColumnRule { meta: Some(Meta::Key), .. } => KeySource::Key,
                ColumnRule { expr: Some(_), .. } => KeySource::Computed,
                ColumnRule { value: Some(_), .. } | ColumnRule { meta: Some(_), .. } => KeySource::Known,
                ColumnRule { from: Some(from), .. } => KeySource::Field(field_path(from)),
                _ => own(),
            };
        }
        None => {}
    }
    let any_case = matches!(route.columns, Columns::Matching(_));
    KeyPart { column: column.to_owned(), source, any_case, has_default }
}

fn key_source<'r>(route: &'r RouteSpec, column: &str) -> Option<&'r ColumnSource> {
    let Columns::Named(named) = &route.columns else { return None };
    let alike = || named.iter().find(|(name, _)| name.eq_ignore_ascii_case(column)).map(|(_, source)| source);
    named.get(column).or_else(alike)
}

/// What is no path is told where the route is compiled.
fn field_path(from: &str) -> Path {
    Path::parse(from).unwrap_or_else(|_| Path::of_name(from))
}

/// A message's `key`, read.
enum Given<'m> {
    /// One value.
    Scalar(&'m str),
    /// Values by name, and whether the names are the fields'.
    Named(Vec<(String, &'m str)>, bool),
}

impl<'m> Given<'m> {
    fn read(key: &'m str, parts: &[KeyPart]) -> Option<Self> {
        if !key.trim_start().starts_with('{') {
            return serde_json::from_str::<&RawValue>(key).ok().map(|raw| Self::Scalar(raw.get()));
        }
        let members = members(key).ok()?;
        // Names are columns'; but a key that has all the fields and not all the columns is spoken of in fields.
        let has = |name: &str| member(&members, name).is_some();
        let mut open = parts.iter().filter(|part| part.is_open());
        let by_field = open.clone().all(|part| part.field().is_some_and(|field| has(&field)))
            && !open.all(|part| has(&part.column));
        Some(Self::Named(members, by_field))
    }

    /// What it says of one of the key's columns. One value alone is that of the only column that it can be.
    fn value(&self, parts: &[KeyPart], at: usize) -> Option<&'m str> {
        let part = &parts[at];
        match self {
            _ if part.source == KeySource::Key => None,
            Self::Scalar(raw) => {
                let alone = part.is_open() && parts.iter().filter(|part| part.is_open()).count() == 1;
                alone.then_some(*raw)
            }
            Self::Named(members, by_field) => {
                let field = || part.field().and_then(|field| member(members, &field));
                if *by_field && part.is_open() { field() } else { member(members, &part.column).or_else(field) }
            }
        }
    }
}

fn member<'m>(members: &[(String, &'m str)], name: &str) -> Option<&'m str> {
    let exact = members.iter().find(|(member, _)| member == name);
    exact.or_else(|| members.iter().find(|(member, _)| member.eq_ignore_ascii_case(name))).map(|(_, raw)| *raw)
}

impl Mapping {
    /// Fills in the key's cells and refuses what is missing, null or contradictory.
    pub(super) fn fill_key(
        &self,
        op: Op,
        is_delete: bool,
        subject: &Subject<'_, '_>,
        cells: &mut [Cell],
    ) -> Result<(), Rejection> {
        let message = subject.message;
        let given = match message.key.as_deref() {
            None => None,
            Some(text) => Some(Given::read(text, &self.key).ok_or_else(|| {
                rejection("type", None, format!("{MESSAGE_KEY} is neither a string, a number nor an object"))
            })?),
        };
        let may_lack = is_delete || message.action == crate::message::Action::Update;
        for (at, &place) in self.plan.key.iter().enumerate() {
            let given = given.as_ref().and_then(|given| given.value(&self.key, at));
            let computed = matches!(self.rows.sources[place].origin, Origin::Expression(_));
            cells[place] = match self.rows.cell(place, subject) {
                Ok(Cell::Null) | Err(_) if computed && may_lack && given.is_some() => Cell::Absent,
                other => other?,
            };
            // Mostly the record says it in the same letters.
            let said = |given: &&str| match self.rows.sources[place].origin {
                Origin::Field(node) => matches!(subject.slots[node], Slot::Raw(raw) if raw == *given),
                _ => false,
            };
            let given = given.filter(|given| !said(given));
            if let Some(given) = given.filter(|_| !computed || cells[place] == Cell::Absent) {
                let cell = self.rows.cell_of(place, given, MESSAGE_KEY)?;
                let kind = &self.rows.column(place).kind;
                if cells[place] == Cell::Absent {
                    cells[place] = cell;
                } else if cast::comparable(&cells[place], kind) != cast::comparable(&cell, kind) {
                    return Err(self.conflict(place));
                }
            }
            if cells[place] == Cell::Absent && !is_delete && matches!(op, Op::Insert | Op::Upsert) {
                // A key's default is what the row is found by, so it can't wait until the row turns out to be missing.
                let default = self.rows.defaults.iter().find(|(default, _)| *default == place);
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
        let length = |place: &usize| if let Cell::Text(text) = &cells[*place] { text.len() + 3 } else { 40 };
        let mut out = String::with_capacity(self.plan.key.iter().map(length).sum::<usize>() + 1);
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
        super::sent::push_string(out, &cast::comparable(cell, &self.rows.column(place).kind));
        Some(())
    }

    #[cold]
    fn conflict(&self, place: usize) -> Rejection {
        let (column, origin) = (&self.rows.column(place).name, self.rows.origin(place, None));
        let message = format!(
            "{origin} and the message's `key` give two different values for key column `{column}` of table `{}`",
            self.rows.table
        );
        rejection("key_conflict", Some(column), message)
    }

    #[cold]
    fn null_key(&self, place: usize) -> Rejection {
        let (column, origin) = (&self.rows.column(place).name, self.rows.origin(place, None));
        let message = format!(
            "{origin} for key column `{column}` of table `{}` is null, and a key that is null finds no row",
            self.rows.table
        );
        rejection("not_null", Some(column), message)
    }

    #[cold]
    fn missing_key(&self, place: usize, message: &Message) -> Rejection {
        let column = &self.rows.column(place).name;
        let scalar = message.key.as_deref().is_some_and(|key| !key.starts_with('{'));
        let open: Vec<_> =
            self.key.iter().filter(|part| part.is_open()).map(|part| format!("`{}`", part.column)).collect();
        let remedy = if scalar && open.len() > 1 {
            format!("; `key` is one value and the route's key has {}: send an object with them", open.join(", "))
        } else if let Origin::Field(_) = self.rows.sources[place].origin {
            format!(": send `key` or {}", self.rows.origin(place, None))
        } else {
            ": send `key`".to_owned()
        };
        let message = format!(
            "{} needs a key, and key column `{column}` of table `{}` has no value{remedy}",
            message.action.as_str(),
            self.rows.table
        );
        rejection("required", Some(column), message)
    }
}

/// The key column for which `data` and `key` certainly give two different values, whatever the column's type is.
///
/// For the door, which does not know the table: `42` and `"42"`, a UUID in another case, and the same instant in another
/// zone count as the same; mapping has the last word. Anything that can't be read is no conflict here, nor is a column that
/// is fed by something else than a field.
#[must_use]
pub fn key_conflict(route: &RouteSpec, data: &str, key: &str) -> Option<String> {
    let parts = key_parts(route);
    let given = Given::read(key, &parts)?;
    for (at, part) in parts.iter().enumerate() {
        let (Some(given), Some(found)) = (given.value(&parts, at), part.find(data)) else { continue };
        let rule = match key_source(route, &part.column) {
            Some(ColumnSource::Detailed(rule)) => match ValueRule::compile(rule) {
                Ok(rule) => Some(rule),
                Err(_) => continue,
            },
            _ => None,
        };
        let read = |raw| {
            let value = Value::read(raw).ok()?;
            match &rule {
                Some(rule) => rule.apply(value).ok(),
                None => Some(value),
            }
        };
        if let (Some(left), Some(right)) = (read(found), read(given))
            && cast::certainly_different(&left, &right)
        {
            return Some(part.column.clone());
        }
    }
    None
}

/// The members of an object in their order, values as raw JSON.
fn members(object: &str) -> Result<Vec<(String, &str)>, serde_json::Error> {
    struct Members;

    impl<'m> Visitor<'m> for Members {
        type Value = Vec<(String, &'m str)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'m>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((name, value)) = map.next_entry::<String, &'m RawValue>()? {
                members.push((name, value.get()));
            }
            Ok(members)
        }
    }

    let mut json = serde_json::Deserializer::from_str(object);
    let members = json.deserialize_map(Members)?;
    json.end()?;
    Ok(members)
}
