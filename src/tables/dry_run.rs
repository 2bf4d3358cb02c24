//! A route on one record, without writing: the row that would be written, cell by cell with where each value came from, or
//! why there is none.

use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_actors::{
    mapping::{Mapped, MappedRow, Mapping, Whence},
    message::Message,
    ports::Rejection,
    route::{ColumnRule, ColumnSource, Columns, RouteSpec},
    schema::{ColumnSchema, ColumnType},
    transaction::{Cell, Op, TablePlan},
};

use super::samples::Samples;

/// A route, compiled against its tables.
pub struct DryRun<'r> {
    route: &'r RouteSpec,
    mapping: Mapping,
}

/// What a record comes to.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A row.
    Row(Row),
    /// Nothing: its topic is another one.
    OtherTopic {
        /// That topic.
        topic: String,
    },
    /// Nothing: the route's filter says no.
    Skipped,
    /// Delivered without writing anything: a delete, by the route's `delete = "ignore"`.
    Nothing,
    /// A dead letter.
    Refused(Refusal),
}

/// Why a record can't be written.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// A stable word.
    pub code: String,
    /// The column, where it is known.
    pub column: Option<String>,
    /// The sentence; it names the field.
    pub message: String,
}

/// A row that would be written.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// `insert`, `upsert`, `update`, `delete`.
    pub operation: &'static str,
    /// The key, as JSON.
    pub key: Option<String>,
    /// Column by column; those that stay as they are, are left out.
    pub cells: Vec<PlacedCell>,
    /// The rows of child tables.
    pub children: Vec<ChildRows>,
}

/// A value in its column.
#[derive(Clone, Debug, Serialize)]
pub struct PlacedCell {
    /// The column.
    pub column: String,
    /// The value as it is sent.
    pub value: Box<RawValue>,
    /// Where it came from.
    pub from: String,
}

/// The rows of one child table.
#[derive(Clone, Debug, Serialize)]
pub struct ChildRows {
    /// The table.
    pub table: String,
    /// The rows; `None` where the record does not speak of them, so that they stay.
    pub rows: Option<Vec<Vec<PlacedCell>>>,
}

impl<'r> DryRun<'r> {
    /// Holds a compiled route.
    #[must_use]
    pub fn new(route: &'r RouteSpec, mapping: Mapping) -> Self {
        Self { route, mapping }
    }

    /// What this message comes to.
    #[must_use]
    pub fn run(&self, message: &Message, whence: Whence<'_>) -> Outcome {
        if *message.topic != *self.route.topic {
            return Outcome::OtherTopic { topic: message.topic.to_string() };
        }
        match self.mapping.apply(message, whence) {
            Ok(Mapped::Row(row)) => Outcome::Row(self.shown(&row, message)),
            Ok(Mapped::Nothing) => Outcome::Nothing,
            Ok(Mapped::Skipped) => Outcome::Skipped,
            Err(Rejection { code, column, message, .. }) => Outcome::Refused(Refusal { code, column, message }),
        }
    }

    fn shown(&self, row: &MappedRow, message: &Message) -> Row {
        let mut record = Samples::default();
        record.add(&message.data, None);
        let plan = &self.mapping.plan;
        let mut cells = Vec::new();
        for (place, cell) in row.cells.iter().enumerate() {
            let only_new = row.insert_only.iter().find(|(of, _)| *of == place).map(|(_, cell)| cell);
            let column = column(plan, place);
            let origin = match (cell, only_new) {
                (Cell::Absent, None) => continue,
                (Cell::Absent, Some(_)) => "default, if the row is new".to_owned(),
                _ => self.origin(column, plan.key.contains(&place), message, &record),
            };
            let cell = if *cell == Cell::Absent { only_new.unwrap_or(cell) } else { cell };
            cells.push(placed(column, cell, origin));
        }
        let children = self.mapping.children.iter().zip(&row.children).zip(&self.route.children);
        let children = children.map(|((plan, rows), spec)| ChildRows {
            table: spec.table.clone(),
            rows: rows.as_ref().map(|rows| {
                let origin = |column: &ColumnSchema| match named(&spec.parent, &column.name) {
                    Some(parent) => format!("the parent's {parent}"),
                    None => described(source(&spec.columns, &column.name), &column.name),
                };
                let shown = |row: &Vec<Cell>| {
                    let cells = row.iter().enumerate().filter(|(_, cell)| **cell != Cell::Absent);
                    cells.map(|(place, cell)| placed(column(plan, place), cell, origin(column(plan, place)))).collect()
                };
                rows.iter().map(shown).collect()
            }),
        });
        let key = row.key.as_ref().map(|key| key.to_string());
        Row { operation: word(row.op), key, cells, children: children.collect() }
    }

    /// Where a cell of the route's own table came from.
    fn origin(&self, column: &ColumnSchema, is_key: bool, message: &Message, record: &Samples) -> String {
        if let tidegate_actors::route::DeletePolicy::Soft(soft) = &self.route.delete
            && soft.column.eq_ignore_ascii_case(&column.name)
            && source(&self.route.columns, &column.name).is_none()
        {
            return "the route's `delete`".into();
        }
        let source = source(&self.route.columns, &column.name);
        let Some(path) = field_of(source, &column.name) else { return described(source, &column.name) };
        let is_there = record.paths.iter().any(|sampled| {
            let found = sampled.path();
            found == path || matches!(self.route.columns, Columns::Matching(_)) && found.eq_ignore_ascii_case(path)
        });
        // What is within a list is not told apart here.
        if is_there || path.contains('[') {
            return described(source, &column.name);
        }
        match (is_key && message.key.is_some(), source) {
            (true, _) => "the message's key".into(),
            (false, Some(ColumnSource::Detailed(rule))) if rule.default.is_some() => "default".into(),
            _ => described(source, &column.name),
        }
    }
}

fn column(plan: &TablePlan, place: usize) -> &ColumnSchema {
    &plan.table.columns[plan.columns[place]]
}

fn named<'a, T>(of: &'a std::collections::BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    of.get(name).or_else(|| of.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn source<'a>(columns: &'a Columns, name: &str) -> Option<&'a ColumnSource> {
    match columns {
        Columns::Matching(_) => None,
        Columns::Named(columns) => named(columns, name),
    }
}

/// The path that feeds a column, where a field does.
fn field_of<'a>(source: Option<&'a ColumnSource>, column: &'a str) -> Option<&'a str> {
    match source {
        None => Some(column),
        Some(ColumnSource::Field(field)) => Some(field),
        Some(ColumnSource::Detailed(rule)) if rule.value.is_some() || rule.meta.is_some() || rule.expr.is_some() => {
            None
        }
        Some(ColumnSource::Detailed(rule)) => Some(rule.from.as_deref().unwrap_or(column)),
    }
}

/// A column's source in a phrase: `name: trim, as int`.
fn described(source: Option<&ColumnSource>, column: &str) -> String {
    let rule = match source {
        None => return format!("field {column}"),
        Some(ColumnSource::Field(field)) => return format!("field {field}"),
        Some(ColumnSource::Detailed(rule)) => rule,
    };
    let ColumnRule { value, meta, expr, clean, cast, .. } = rule;
    let mut phrase = match (value, meta, expr) {
        (Some(_), _, _) => "constant".to_owned(),
        (_, Some(meta), _) => format!("meta {}", plain(meta)),
        (_, _, Some(expr)) => format!("expr {expr}"),
        _ => format!("field {}", rule.from.as_deref().unwrap_or(column)),
    };
    let steps = clean.iter().map(step).chain(cast.iter().map(|cast| format!("as {}", plain(cast))));
    let steps: Vec<String> = steps.collect();
    if !steps.is_empty() {
        phrase += &format!(": {}", steps.join(", "));
    }
    phrase
}

/// A cleaning step in a phrase: its name, with its parameter where it is short.
fn step(step: &tidegate_actors::route::CleanStep) -> String {
    match serde_json::to_value(step) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(serde_json::Value::Object(fields)) => fields
            .into_iter()
            .map(|(name, value)| match value {
                serde_json::Value::String(text) => format!("{name} {text}"),
                serde_json::Value::Number(number) => format!("{name} {number}"),
                _ => name,
            })
            .collect(),
        _ => String::new(),
    }
}

fn plain(word: &impl Serialize) -> String {
    serde_json::to_value(word).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn placed(column: &ColumnSchema, cell: &Cell, from: String) -> PlacedCell {
    PlacedCell { column: column.name.clone(), value: json(cell, &column.kind), from }
}

/// The value as JSON: numbers keep every digit, bytes are in hex.
fn json(cell: &Cell, kind: &ColumnType) -> Box<RawValue> {
    let text = match cell {
        Cell::Absent | Cell::Null => "null".to_owned(),
        Cell::Bytes(bytes) => format!("\"{}\"", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        Cell::Text(text) => match kind {
            ColumnType::Int { .. }
            | ColumnType::Decimal { .. }
            | ColumnType::Float { .. }
            | ColumnType::Numeric15
            | ColumnType::Bool
            | ColumnType::Json { .. } => text.to_string(),
            _ => serde_json::Value::from(&**text).to_string(),
        },
    };
    // What is no JSON after all (a number that a database writes in its own way) is shown as a text.
    RawValue::from_string(text)
        .or_else(|_| match cell {
            Cell::Text(text) => RawValue::from_string(serde_json::Value::from(&**text).to_string()),
            _ => Ok(Box::default()),
        })
        .unwrap_or_default()
}

const fn word(op: Op) -> &'static str {
    match op {
        Op::Insert => "insert",
        Op::Upsert => "upsert",
        Op::Update => "update",
        Op::Delete => "delete",
        Op::Replace => "replace",
        Op::Clear => "clear",
    }
}
