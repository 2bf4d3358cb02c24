//! Mapping: how a record becomes a row of one table: which fields feed which columns, cleaned, cast and checked.
//!
//! A [`Mapping`] is one route compiled once against its table; it is pure, so the same record always gives the same row,
//! and a record that can't be written is refused with a sentence that names its field and column and never its contents.
//! The delivery actors call [`Mapping::map`]; the status of a message comes from [`Mapping::sent`].

use std::sync::Arc;

use crate::{
    cast::{self, CastError, Value},
    expression::Expression,
    message::{Action, Generation, Message},
    ports::Rejection,
    route::OnMissing,
    schema::{ColumnSchema, ColumnType},
    transaction::{Cell, Op, TablePlan},
};

mod compile;
mod fields;
mod fits;
mod key;
mod rule;
mod sent;

pub use compile::MappingError;
pub use key::key_conflict;

use fields::FieldTable;
use rule::ValueRule;

/// A route compiled against its table.
#[derive(Debug)]
pub struct Mapping {
    /// What the rows are rows of.
    pub plan: Arc<TablePlan>,
    /// The same for each of the route's child tables; their key is what ties a child to its parent.
    pub children: Vec<Arc<TablePlan>>,
    filter: Option<Expression>,
    route: Box<str>,
    table: Box<str>,
    on_missing: OnMissing,
    /// One for each of `plan.columns`.
    sources: Vec<Source>,
    fields: FieldTable,
    defaults: Vec<(usize, Cell)>,
    /// Places in `plan.columns` that every insert must fill.
    required: Vec<usize>,
}

/// Where a column's value comes from.
#[derive(Debug)]
struct Source {
    /// Place in the table of fields.
    field: usize,
    rule: ValueRule,
}

/// Where a message comes from, as far as the message does not say it itself.
#[derive(Clone, Copy, Debug)]
pub struct Whence<'a> {
    /// The application whose stream it is in.
    pub application: &'a str,
    /// The generation of its id.
    pub generation: &'a Generation,
}

/// What a route makes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// A row.
    Row(MappedRow),
    /// Nothing: the route's filter says no.
    Skipped,
}

/// Rows of a child table for one message; `None` where the record does not speak of them, so that they stay.
pub type Children = Option<Vec<Vec<Cell>>>;

/// A record as a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedRow {
    /// How it is written; never `Replace`, which only folding makes.
    pub op: Op,
    /// Whether it is a rejection if it touches no row.
    pub must_touch: bool,
    /// One for each of `plan.columns`; `Absent` where untouched. A delete has its key alone.
    pub cells: Vec<Cell>,
    /// For an upsert: the defaults of absent cells, by place in `cells`. They apply only if the row gets inserted.
    pub insert_only: Vec<(usize, Cell)>,
    /// The key's cells as a JSON array of texts; equal keys give equal texts, however they were written. `None` where
    /// the route has no key, or the database makes it.
    pub key: Option<Box<str>>,
    /// For each of [`Mapping::children`], its rows, cell by cell as in its plan's `columns`.
    pub children: Vec<Children>,
}

/// Which part of a message a value was found in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    Data,
    Key,
}

impl Mapping {
    /// The defaults that apply to inserts, by place in `plan.columns`.
    #[must_use]
    pub fn insert_defaults(&self) -> &[(usize, Cell)] {
        &self.defaults
    }

    /// What this message is for this table.
    ///
    /// # Errors
    /// The message can't be written to this table, whatever rows are there.
    pub fn apply(&self, message: &Message, whence: Whence<'_>) -> Result<Mapped, Rejection> {
        let scope = crate::expression::Scope::new(message, whence, None);
        if let Some(filter) = &self.filter
            && !filter.truth(&scope).map_err(|error| rejection(error.code, None, error.why.to_string()))?
        {
            return Ok(Mapped::Skipped);
        }
        self.map(message).map(Mapped::Row)
    }

    fn map(&self, message: &Message) -> Result<MappedRow, Rejection> {
        let (op, must_touch) = self.op(message.action)?;
        let values = self.fields.read(&message.data, &self.table)?;
        let mut cells = vec![Cell::Absent; self.sources.len()];
        if op != Op::Delete {
            for (place, source) in self.sources.iter().enumerate() {
                if let Some(raw) = values[source.field] {
                    cells[place] = self.cell(place, raw, Origin::Data)?;
                }
            }
        }
        if !self.plan.key.is_empty() {
            self.fill_key(op, message, &values, &mut cells)?;
        }
        let mut insert_only = Vec::new();
        if matches!(op, Op::Insert | Op::Upsert) {
            for (place, default) in &self.defaults {
                if cells[*place] != Cell::Absent {
                    continue;
                }
                if op == Op::Insert {
                    cells[*place] = default.clone();
                } else {
                    insert_only.push((*place, default.clone()));
                }
            }
        }
        if op == Op::Insert
            && let Some(place) = self.required.iter().find(|place| cells[**place] == Cell::Absent)
        {
            return Err(self.missing(*place));
        }
        let key = self.key_text(&cells);
        Ok(MappedRow { op, must_touch, cells, insert_only, key, children: Vec::new() })
    }

    fn op(&self, action: Action) -> Result<(Op, bool), Rejection> {
        let keyless = self.plan.key.is_empty();
        match action {
            Action::Insert => Ok((Op::Insert, false)),
            Action::Upsert if keyless => Ok((Op::Insert, false)),
            Action::Upsert => Ok((Op::Upsert, false)),
            Action::Update | Action::Delete if keyless => Err(rejection(
                "required",
                None,
                format!(
                    "route `{}` has no `key`, so it only inserts: `{}` can't find its row in table `{}`; give the route a `key`",
                    self.route,
                    action.as_str(),
                    self.table
                ),
            )),
            Action::Update => Ok(match self.on_missing {
                OnMissing::Reject => (Op::Update, true),
                OnMissing::Ignore => (Op::Update, false),
                OnMissing::Insert => (Op::Upsert, false),
            }),
            Action::Delete => Ok((Op::Delete, false)),
        }
    }

    /// One value through its column's rule and type.
    fn cell(&self, place: usize, raw: &str, origin: Origin) -> Result<Cell, Rejection> {
        let source = &self.sources[place];
        let column = self.column(place);
        let cell = cast_through(raw, &source.rule, &column.kind);
        match cell {
            Ok(Cell::Null) if !column.nullable => Err(self.refused(
                place,
                origin,
                &CastError { code: "not_null", why: "is null, and the column is NOT NULL".into() },
            )),
            Ok(cell) => Ok(cell),
            Err(error) => Err(self.refused(place, origin, &error)),
        }
    }

    fn column(&self, place: usize) -> &ColumnSchema {
        &self.plan.table.columns[self.plan.columns[place]]
    }

    #[cold]
    fn refused(&self, place: usize, origin: Origin, error: &CastError) -> Rejection {
        let column = self.column(place);
        let found = match origin {
            Origin::Data => format!("field `{}`", self.fields.name(self.sources[place].field)),
            Origin::Key => "the message's `key`".to_owned(),
        };
        rejection(
            error.code,
            Some(&column.name),
            format!(
                "{found} for column `{}` ({}) of table `{}` {}",
                column.name, column.declared, self.table, error.why
            ),
        )
    }

    #[cold]
    fn missing(&self, place: usize) -> Rejection {
        let column = self.column(place);
        rejection(
            "required",
            Some(&column.name),
            format!(
                "field `{}` is missing: column `{}` ({}) of table `{}` is NOT NULL and has no default",
                self.fields.name(self.sources[place].field),
                column.name,
                column.declared,
                self.table
            ),
        )
    }
}

/// A raw JSON value through cleaning, cast and column type.
fn cast_through(raw: &str, rule: &ValueRule, kind: &ColumnType) -> Result<Cell, CastError> {
    if let (ColumnType::Json { nul }, true) = (kind, rule.is_plain()) {
        return cast::json_cell(raw, *nul);
    }
    cast::to_cell(rule.apply(Value::read(raw)?)?, kind)
}

#[cold]
fn rejection(code: &str, column: Option<&str>, message: String) -> Rejection {
    Rejection { statement: None, row: None, code: code.to_owned(), column: column.map(str::to_owned), message }
}

/// The candidate most like `name`, where one is near enough to be a slip of the pen.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Similarity is quadratic in the length, and no name is longer than this.
    let name: String = name.chars().take(128).flat_map(char::to_lowercase).collect();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
