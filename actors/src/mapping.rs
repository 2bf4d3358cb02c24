//! Mapping: how a record becomes a row of one table: which fields feed which columns, cleaned, cast and checked.
//!
//! A [`Mapping`] is one route compiled once against its tables; it is pure, so the same record always gives the same row,
//! and a record that can't be written is refused with a sentence that names its field and column and never its contents.
//! The delivery actors call [`Mapping::apply`]; the status of a message comes from [`Mapping::sent`].

use std::sync::Arc;

use crate::{
    cast::{self, CastError, Value},
    expression::{Expression, Scope},
    message::{Action, Generation, Message},
    ports::Rejection,
    route::{OnExisting, OnMissing},
    schema::ColumnType,
    transaction::{Cell, Op, TablePlan},
};

mod child_keys;
mod children;
mod compile;
mod fields;
mod fits;
mod key;
mod path;
mod rows;
mod rule;
mod sent;

pub use compile::MappingError;
pub use key::{KeyPart, KeySource, key_conflict, key_parts};
pub use path::{Path, PathError, Step};

use children::Child;
use rows::{Rows, Subject};
use rule::ValueRule;

/// A route compiled against its tables.
#[derive(Debug)]
pub struct Mapping {
    /// What the rows are rows of.
    pub plan: Arc<TablePlan>,
    /// The same for each of the route's child tables; their key is what ties a child to its parent.
    pub children: Vec<Arc<TablePlan>>,
    warnings: Vec<MappingError>,
    filter: Option<Filter>,
    on_missing: OnMissing,
    on_existing: OnExisting,
    deletes: Deletes,
    rows: Rows,
    /// What the message's `key` can say of each column of `plan.key`.
    key: Vec<KeyPart>,
    kids: Vec<Child>,
}

#[derive(Debug)]
struct Filter {
    expression: Expression,
    /// Whether it is asked about deletes too.
    deletes: bool,
}

/// What a delete does.
#[derive(Debug)]
enum Deletes {
    Row,
    Ignore,
    Soft {
        /// Place in the plan's columns.
        column: usize,
        /// What a delete sets; the time the message was received where it is `None`.
        value: Option<Cell>,
        restore: Cell,
    },
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
    /// The route takes it and has nothing to write: a delete where it says `delete = "ignore"`. Delivered, with 0 rows.
    Nothing,
    /// It is none of the route's: its filter says no.
    Skipped,
}

/// Rows of a child table for one message; `None` where the record does not speak of them, so that they stay.
pub type Children = Option<Vec<Vec<Cell>>>;

/// A record as a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedRow {
    /// How it is written; never `Replace`, which only folding makes, nor `Clear`. A soft delete is an `Update`.
    pub op: Op,
    /// Whether it is a rejection if it touches no row.
    pub must_touch: bool,
    /// One for each of `plan.columns`; `Absent` where untouched. A delete has its key, and its version where the record has
    /// one.
    pub cells: Vec<Cell>,
    /// For an upsert: cells that apply only if the row gets inserted, by place in `cells`, which are `Absent` there.
    pub insert_only: Vec<(usize, Cell)>,
    /// The key's cells as a JSON array of texts; equal keys give equal texts, however they were written. `None` where
    /// the route has no key, or the database makes it.
    pub key: Option<Box<str>>,
    /// For each of [`Mapping::children`], its rows, cell by cell as in its plan's `columns`. A delete speaks of none.
    pub children: Vec<Children>,
}

impl Mapping {
    /// The defaults that apply to inserts, by place in `plan.columns`.
    #[must_use]
    pub fn insert_defaults(&self) -> &[(usize, Cell)] {
        &self.rows.defaults
    }

    /// What is doubtful about the route, though it works.
    #[must_use]
    pub fn warnings(&self) -> &[MappingError] {
        &self.warnings
    }

    /// What this message is for this table.
    ///
    /// # Errors
    /// The message can't be written to this table, whatever rows are there.
    pub fn apply(&self, message: &Message, whence: Whence<'_>) -> Result<Mapped, Rejection> {
        // What one expression reads of the record, the others need not read again.
        let scope = Scope::new(message, whence, None);
        if let Some(filter) = &self.filter
            && (filter.deletes || message.action != Action::Delete)
        {
            match filter.expression.truth(&scope) {
                Ok(true) => {}
                Ok(false) => return Ok(Mapped::Skipped),
                Err(error) => return Err(self.unfiltered(&error)),
            }
        }
        if message.action == Action::Delete && matches!(self.deletes, Deletes::Ignore) {
            return Ok(Mapped::Nothing);
        }
        self.map(message, whence, &scope).map(Mapped::Row)
    }

    /// The key of the row that this message concerns, as in [`MappedRow::key`], whatever else is wrong with it; `None` where it
    /// can't be told.
    #[must_use]
    pub fn key(&self, message: &Message, whence: Whence<'_>) -> Option<Box<str>> {
        let mut slots = Vec::with_capacity(self.rows.fields.len());
        self.rows.fields.read(&message.data, &mut slots, true).ok()?;
        let scope = Scope::new(message, whence, None);
        let subject = Subject { message, whence, scope: &scope, slots: &slots, element: None };
        let mut cells = vec![Cell::Absent; self.rows.sources.len()];
        self.fill_key(Op::Delete, true, &subject, &mut cells).ok()?;
        self.key_text(&cells)
    }

    fn map<'m>(&self, message: &'m Message, whence: Whence<'m>, scope: &Scope<'m>) -> Result<MappedRow, Rejection> {
        let (op, must_touch) = self.op(message.action)?;
        let rows = &self.rows;
        let is_delete = message.action == Action::Delete;
        let mut slots = Vec::with_capacity(rows.fields.len());
        rows.fields.read(&message.data, &mut slots, is_delete).map_err(|unread| rows.unread(&unread, None))?;
        let subject = Subject { message, whence, scope, slots: &slots, element: None };
        let mut cells = vec![Cell::Absent; rows.sources.len()];
        if !is_delete {
            for (place, source) in rows.sources.iter().enumerate() {
                if !source.is_key {
                    cells[place] = rows.cell(place, &subject)?;
                }
            }
        }
        if !self.plan.key.is_empty() {
            self.fill_key(op, is_delete, &subject, &mut cells)?;
        }
        if let Some(version) = self.plan.version {
            self.version(version, is_delete, &subject, &mut cells)?;
        }
        let mut insert_only = Vec::new();
        if is_delete {
            self.soft_delete(message, &mut cells)?;
        } else {
            if message.action != Action::Update {
                rows.check_required(&cells, None)?;
            }
            if matches!(op, Op::Insert | Op::Upsert) {
                self.new_row(op, message.action, &mut cells, &mut insert_only);
            }
            if op == Op::Insert {
                rows.check_needed(&cells, None)?;
            }
        }
        let children = if self.kids.is_empty() || is_delete {
            vec![None; self.kids.len()]
        } else {
            self.children_of(&subject, &cells)?
        };
        let key = self.key_text(&cells);
        Ok(MappedRow { op, must_touch, cells, insert_only, key, children })
    }

    fn op(&self, action: Action) -> Result<(Op, bool), Rejection> {
        let keyless = self.plan.key.is_empty();
        match action {
            Action::Insert if matches!(self.on_existing, OnExisting::Ignore | OnExisting::Update) => {
                Ok((Op::Upsert, false))
            }
            Action::Insert => Ok((Op::Insert, false)),
            Action::Upsert if keyless || self.on_existing == OnExisting::Reject => Ok((Op::Insert, false)),
            Action::Upsert => Ok((Op::Upsert, false)),
            Action::Update | Action::Delete if keyless => Err(rejection(
                "required",
                None,
                format!(
                    "route `{}` has no `key`, so it only inserts: `{}` can't find its row in table `{}`; give the route a `key`",
                    self.rows.route,
                    action.as_str(),
                    self.rows.table
                ),
            )),
            Action::Update => Ok(match self.on_missing {
                OnMissing::Reject => (Op::Update, true),
                OnMissing::Ignore => (Op::Update, false),
                OnMissing::Insert => (Op::Upsert, false),
            }),
            Action::Delete if matches!(self.deletes, Deletes::Soft { .. }) => Ok((Op::Update, false)),
            Action::Delete => Ok((Op::Delete, false)),
        }
    }

    /// The column that only grows: every record says it; a delete may.
    fn version(
        &self,
        place: usize,
        is_delete: bool,
        subject: &Subject<'_, '_>,
        cells: &mut [Cell],
    ) -> Result<(), Rejection> {
        if is_delete {
            cells[place] = match self.rows.cell(place, subject) {
                Ok(Cell::Null) => Cell::Absent,
                Err(rejection) if matches!(&*rejection.code, "not_null" | "required") => Cell::Absent,
                other => other?,
            };
            return Ok(());
        }
        if matches!(cells[place], Cell::Absent | Cell::Null) {
            let why = format!(
                "is the `version_column` of route `{}`, which every record but a delete needs",
                self.rows.route
            );
            return Err(self.rows.missing(place, None, &why));
        }
        Ok(())
    }

    /// A soft delete's own column.
    fn soft_delete(&self, message: &Message, cells: &mut [Cell]) -> Result<(), Rejection> {
        let Deletes::Soft { column, value, .. } = &self.deletes else { return Ok(()) };
        cells[*column] = match value {
            Some(value) => value.clone(),
            None => {
                let kind = &self.rows.column(*column).kind;
                let cell = rows::received(message.id.ms).and_then(|moment| cast::to_cell(moment, kind));
                cell.map_err(|error| self.rows.refused(*column, "the time the message was received", &error))?
            }
        };
        Ok(())
    }

    /// What a row that may be new gets beside what the record says.
    fn new_row(&self, op: Op, action: Action, cells: &mut [Cell], insert_only: &mut Vec<(usize, Cell)>) {
        for (place, default) in &self.rows.defaults {
            if cells[*place] != Cell::Absent {
                continue;
            }
            if op == Op::Insert {
                cells[*place] = default.clone();
            } else {
                insert_only.push((*place, default.clone()));
            }
        }
        if let Deletes::Soft { column, restore, .. } = &self.deletes {
            if action == Action::Update {
                insert_only.push((*column, restore.clone()));
            } else {
                cells[*column] = restore.clone();
            }
        }
        if self.on_existing == OnExisting::Ignore && action != Action::Update {
            for (place, cell) in cells.iter_mut().enumerate() {
                if *cell != Cell::Absent && !self.rows.sources[place].is_key {
                    insert_only.push((place, std::mem::replace(cell, Cell::Absent)));
                }
            }
        }
    }

    #[cold]
    fn unfiltered(&self, error: &CastError) -> Rejection {
        let message = format!(
            "the filter of route `{}` can't be worked out for this record: {}; it was meant for table `{}`",
            self.rows.route, error.why, self.rows.table
        );
        rejection(error.code, None, message)
    }
}

/// A raw JSON value through cleaning, cast and column type.
fn cast_through(raw: &str, rule: &ValueRule, kind: &ColumnType) -> Result<Cell, CastError> {
    match kind {
        _ if !rule.is_plain() => settle(Value::read(raw)?, rule, kind),
        ColumnType::Json { nul } => cast::json_cell(raw, *nul),
        kind => cast::to_cell(Value::read(raw)?, kind),
    }
}

/// A value through cleaning, cast and column type.
fn settle(value: Value<'_>, rule: &ValueRule, kind: &ColumnType) -> Result<Cell, CastError> {
    cast::to_cell(rule.apply(value)?, kind)
}

/// A cell of one column as one of another; `None` where it has no value.
fn settle_cell(cell: &Cell, from: &ColumnType, to: &ColumnType) -> Result<Option<Cell>, CastError> {
    let value = match cell {
        Cell::Absent | Cell::Null => return Ok(None),
        Cell::Bytes(bytes) => Value::Text(cast::encode_base64(bytes).into()),
        Cell::Text(text) => match from {
            ColumnType::Int { .. } | ColumnType::Decimal { .. } | ColumnType::Float { .. } | ColumnType::Numeric15 => {
                Value::Number((&**text).into())
            }
            ColumnType::Bool => Value::Bool(&**text == "true"),
            _ => Value::Text((&**text).into()),
        },
    };
    cast::to_cell(value, to).map(Some)
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
