//! One column with one rule, to try values on: whether a column takes a value is for the mapping itself to say.

use std::collections::BTreeMap;

use tidegate_actors::{
    mapping::{Mapped, Mapping, Whence},
    message::{Action, Generation, Message, StreamId},
    ports::Rejection,
    route::{ColumnRule, ColumnSource, Columns, RouteSpec},
    schema::{ColumnSchema, TableSchema},
};

/// The field that a value is tried under.
const FIELD: &str = "value";

/// A column with a rule.
pub(super) struct Probe {
    mapping: Mapping,
    generation: Generation,
}

impl Probe {
    /// `None` where the rule itself can't work.
    pub(super) fn new(column: &ColumnSchema, rule: &ColumnRule) -> Option<Self> {
        let column = ColumnSchema { nullable: true, generated: false, ..column.clone() };
        let rule = ColumnRule { from: Some(FIELD.into()), required: false, default: None, ..rule.clone() };
        let columns = BTreeMap::from([(column.name.clone(), ColumnSource::Detailed(rule))]);
        let route = RouteSpec { columns: Columns::Named(columns), ..RouteSpec::default() };
        let table =
            TableSchema { schema: String::new(), name: String::new(), columns: vec![column], unique_keys: Vec::new() };
        let mapping = Mapping::compile(&route, table, Vec::new()).ok()?;
        Some(Self { mapping, generation: Generation::new("") })
    }

    /// Whether the column takes this value, as raw JSON.
    pub(super) fn try_on(&self, raw: &str) -> Result<(), Rejection> {
        let message = Message {
            id: StreamId::ZERO,
            topic: "".into(),
            action: Action::Insert,
            key: None,
            own_id: None,
            traceparent: None,
            data: format!("{{\"{FIELD}\":{raw}}}").into(),
        };
        let whence = Whence { application: "", generation: &self.generation };
        self.mapping.apply(&message, whence).map(|mapped| debug_assert!(matches!(mapped, Mapped::Row(_))))
    }

    /// Whether it takes it.
    pub(super) fn takes(&self, raw: &str) -> bool {
        self.try_on(raw).is_ok()
    }
}
