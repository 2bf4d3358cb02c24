//! How the rows of one table come about: for each column where its value comes from, and what is done with it.
//!
//! Called by [`super::Mapping`] for a record, and for each element of an array that has a table of its own. Refusals name
//! the field by its path, with the column and its type, and never what stands in the record.

use std::sync::Arc;

use super::{
    Whence, cast_through,
    fields::{FieldTable, Slot, Unread},
    nearest,
    path::{Path, Step},
    rejection, settle,
};
use crate::{
    cast::{CastError, Value},
    expression::{Expression, Scope},
    mapping::rule::ValueRule,
    message::Message,
    ports::Rejection,
    route::Meta,
    schema::ColumnSchema,
    transaction::{Cell, TablePlan},
};

/// One table of a route, compiled.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) plan: Arc<TablePlan>,
    pub(super) route: Box<str>,
    /// As the route names it.
    pub(super) table: Box<str>,
    /// The array whose elements are the records; `None` for the route's own table.
    pub(super) array: Option<Path>,
    /// One for each of `plan.columns`.
    pub(super) sources: Vec<Source>,
    pub(super) fields: FieldTable,
    pub(super) defaults: Vec<(usize, Cell)>,
    /// Places in `plan.columns` that every insert must fill, as the table says.
    pub(super) needed: Vec<usize>,
    /// The same, as the route says.
    pub(super) required: Vec<usize>,
}

/// Where a column's value comes from, and what is done with it.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) origin: Origin,
    pub(super) rule: ValueRule,
    /// Whether null is refused.
    pub(super) required: bool,
    /// Whether it is filled with the key, and not with the other columns.
    pub(super) is_key: bool,
}

/// Where a column's value comes from.
#[derive(Debug)]
pub(super) enum Origin {
    /// A field, by its node.
    Field(usize),
    /// Always the same.
    Constant(Cell),
    /// What is known of the message.
    Meta(Meta),
    /// Worked out.
    Expression(Expression),
    /// The route's own doing: the parent's key in a child table, the column of a soft delete.
    Policy,
}

/// A record, read, and what is known of it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'s, 'm> {
    pub(super) message: &'m Message,
    pub(super) whence: Whence<'m>,
    /// What expressions see of it.
    pub(super) scope: &'s Scope<'m>,
    pub(super) slots: &'s [Slot<'m>],
    /// The element's place in its array, from 0.
    pub(super) element: Option<usize>,
}

impl<'m> Subject<'_, 'm> {
    fn meta(&self, meta: Meta) -> Result<Option<Value<'m>>, CastError> {
        let text = |text: String| Ok(Some(Value::Text(text.into())));
        match meta {
            Meta::Id => text(format!("{}-{}", self.whence.generation, self.message.id)),
            Meta::Application => text(self.whence.application.to_owned()),
            Meta::Topic => text(self.message.topic.to_string()),
            Meta::Action => Ok(Some(Value::Text(self.message.action.as_str().into()))),
            Meta::Key => self.message.key.as_deref().map(Value::read).transpose(),
            Meta::Received => received(self.message.id.ms).map(Some),
            Meta::Index => Ok(self.element.map(|place| Value::Number((place + 1).to_string().into()))),
        }
    }
}

/// When a message was accepted.
pub(super) fn received(ms: u64) -> Result<Value<'static>, CastError> {
    let moment = i64::try_from(ms).ok().and_then(chrono::DateTime::from_timestamp_millis);
    let moment = moment.ok_or_else(|| CastError::range("is no moment that a calendar has"))?;
    Ok(Value::Text(moment.to_rfc3339_opts(chrono::SecondsFormat::Millis, true).into()))
}

impl Rows {
    pub(super) fn has_expressions(&self) -> bool {
        self.sources.iter().any(|source| matches!(source.origin, Origin::Expression(_)))
    }

    pub(super) fn column(&self, place: usize) -> &ColumnSchema {
        &self.plan.table.columns[self.plan.columns[place]]
    }

    /// The value for this column; `Absent` where the record does not speak of it.
    pub(super) fn cell(&self, place: usize, subject: &Subject<'_, '_>) -> Result<Cell, Rejection> {
        let source = &self.sources[place];
        let column = self.column(place);
        let cell = match &source.origin {
            Origin::Field(node) => match subject.slots[*node] {
                Slot::Raw(raw) | Slot::Alike(raw) => cast_through(raw, &source.rule, &column.kind),
                Slot::Absent | Slot::Entered | Slot::Ambiguous => return Ok(Cell::Absent),
                Slot::Wrong(above, found) => return Err(self.blocked(place, *node, above, found, subject.element)),
            },
            Origin::Constant(cell) => return Ok(cell.clone()),
            Origin::Policy => return Ok(Cell::Absent),
            Origin::Meta(meta) => match subject.meta(*meta) {
                Ok(None) => return Ok(Cell::Absent),
                Ok(Some(value)) => settle(value, &source.rule, &column.kind),
                Err(error) => Err(error),
            },
            Origin::Expression(expression) => {
                expression.value(subject.scope).and_then(|value| settle(value, &source.rule, &column.kind))
            }
        };
        match cell {
            Ok(Cell::Null) => self.null(place, subject.element),
            Ok(cell) => Ok(cell),
            Err(error) => Err(self.refused(place, &self.origin(place, subject.element), &error)),
        }
    }

    /// A value from elsewhere (the message's `key`) for this column.
    pub(super) fn cell_of(&self, place: usize, raw: &str, whence: &str) -> Result<Cell, Rejection> {
        let column = self.column(place);
        match cast_through(raw, &self.sources[place].rule, &column.kind) {
            Ok(Cell::Null) if !column.nullable => Err(self.refused(place, whence, &not_null())),
            Ok(cell) => Ok(cell),
            Err(error) => Err(self.refused(place, whence, &error)),
        }
    }

    fn null(&self, place: usize, element: Option<usize>) -> Result<Cell, Rejection> {
        if !self.column(place).nullable {
            return Err(self.refused(place, &self.origin(place, element), &not_null()));
        }
        if self.sources[place].required {
            let why = format!("is null, and route `{}` requires it", self.route);
            return Err(self.refused(place, &self.origin(place, element), &CastError { code: "required", why }));
        }
        Ok(Cell::Null)
    }

    /// Refuses a row that lacks what the route requires of every new row.
    pub(super) fn check_required(&self, cells: &[Cell], element: Option<usize>) -> Result<(), Rejection> {
        match self.required.iter().find(|place| cells[**place] == Cell::Absent) {
            None => Ok(()),
            Some(place) => Err(self.missing(*place, element, &format!("is required by route `{}`", self.route))),
        }
    }

    /// Refuses a new row that lacks what the table requires.
    pub(super) fn check_needed(&self, cells: &[Cell], element: Option<usize>) -> Result<(), Rejection> {
        match self.needed.iter().find(|place| cells[**place] == Cell::Absent) {
            None => Ok(()),
            Some(place) => Err(self.missing(*place, element, "is NOT NULL and has no default")),
        }
    }

    /// What a column's value comes from, in words, with the path of its element.
    #[cold]
    pub(super) fn origin(&self, place: usize, element: Option<usize>) -> String {
        match &self.sources[place].origin {
            Origin::Field(node) => format!("field `{}`", self.path(*node, element)),
            Origin::Constant(_) => "the constant".to_owned(),
            Origin::Policy => "the route's own value".to_owned(),
            origin => {
                let what = match origin {
                    Origin::Meta(Meta::Key) => "the message's `key`",
                    Origin::Meta(Meta::Id) => "the message's id",
                    Origin::Meta(Meta::Action) => "the message's action",
                    Origin::Meta(Meta::Received) => "the time the message was received",
                    Origin::Meta(Meta::Application) => "the application's name",
                    Origin::Meta(Meta::Topic) => "the topic",
                    Origin::Meta(Meta::Index) => "the element's place",
                    _ => "the expression",
                };
                match (&self.array, element) {
                    (Some(array), Some(place)) => format!("{what} of `{}`", array.clone().index(place)),
                    _ => what.to_owned(),
                }
            }
        }
    }

    /// A field's path from the record on.
    #[cold]
    pub(super) fn path(&self, node: usize, element: Option<usize>) -> Path {
        let path = self.fields.path(node);
        match (&self.array, element) {
            (Some(array), Some(place)) => array.clone().index(place).join(&path),
            _ => path,
        }
    }

    #[cold]
    pub(super) fn refused(&self, place: usize, origin: &str, error: &CastError) -> Rejection {
        let column = self.column(place);
        rejection(
            error.code,
            Some(&column.name),
            format!(
                "{origin} for column `{}` ({}) of table `{}` {}",
                column.name, column.declared, self.table, error.why
            ),
        )
    }

    /// A field can't be there, as what should hold it is something else.
    #[cold]
    fn blocked(&self, place: usize, node: usize, above: usize, found: &str, element: Option<usize>) -> Rejection {
        let wanted = self.fields.wanted_kind(above, node);
        let why = format!("is {found}, where {wanted} is expected");
        let field = format!("field `{}`", self.path(above, element));
        self.refused(place, &field, &CastError { code: "type", why })
    }

    #[cold]
    pub(super) fn missing(&self, place: usize, element: Option<usize>, why: &str) -> Rejection {
        let column = self.column(place);
        rejection(
            "required",
            Some(&column.name),
            format!(
                "{} is missing: column `{}` ({}) of table `{}` {why}",
                self.origin(place, element),
                column.name,
                column.declared,
                self.table
            ),
        )
    }

    /// Why a record, or an element of an array, can't be read.
    #[cold]
    pub(super) fn unread(&self, unread: &Unread, element: Option<usize>) -> Rejection {
        let label = &self.table;
        match unread {
            Unread::Broken(line, column) => {
                let what = match &self.array {
                    Some(array) => format!("field `{array}` is not an array"),
                    None => "the record is not a JSON object".to_owned(),
                };
                let message =
                    format!("{what} that can be read (line {line}, column {column}); it was meant for table `{label}`");
                rejection("type", None, message)
            }
            Unread::Twice(node) => {
                let path = self.path(*node, element);
                let message = format!("field `{path}` stands in the record twice; it was meant for table `{label}`");
                rejection("type", None, message)
            }
            Unread::Ambiguous(node) => {
                let name = self.fields.path(*node);
                let column = if let Some(Step::Name(name)) = name.steps().last() { Some(&**name) } else { None };
                let place = self.path(*node, element);
                let message = format!(
                    "two fields differ from column `{name}` of table `{label}` in case only: name one of them `{place}`"
                );
                rejection("type", column, message)
            }
            Unread::Unknown(node, name) => {
                let path = self.path(*node, element).name(name);
                let near = nearest(name, self.fields.names(*node));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                let message = format!(
                    "field `{path}` is unknown: no column of table `{label}` reads it, and route `{}` has \
                     `unknown_fields = \"reject\"`{hint}",
                    self.route
                );
                rejection("unknown_field", None, message)
            }
        }
    }
}

fn not_null() -> CastError {
    CastError { code: "not_null", why: "is null, and the column is NOT NULL".into() }
}
