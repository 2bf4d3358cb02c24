//! What a route says of existing rows, deletes and versions, and which of these don't go together.

use super::{
    Compiler,
    table::{Built, Target},
};
use crate::{
    cast::to_cell,
    mapping::{
        Deletes, Path, cast_through,
        rows::{Origin, received},
        rule::ValueRule,
    },
    route::{DeletePolicy, OnExisting, SoftDelete},
    schema::{ColumnSchema, ColumnType},
    transaction::Cell,
};

impl Compiler<'_> {
    fn soft(&self) -> Option<&SoftDelete> {
        if let DeletePolicy::Soft(soft) = &self.route.delete { Some(soft) } else { None }
    }

    /// The place in the table of the column that a soft delete sets.
    pub(super) fn soft_column(&mut self, target: &Target<'_>) -> Option<usize> {
        let name = self.soft()?.column.clone();
        let place = Path::of_name("delete").name("column");
        let index = self.column(target, &name, "delete.column", place.clone())?;
        if self.route.key.iter().any(|key| target.table.column(key) == Some(index)) {
            let message = format!(
                "`delete` can't set column `{name}`, which is in `key`: take a column that tells nothing apart"
            );
            self.error(Some(&name), place, message);
            return None;
        }
        Some(index)
    }

    /// What a delete does.
    pub(super) fn deletes(&mut self, target: &Target<'_>, soft: Option<usize>, built: &Built) -> Option<Deletes> {
        let spec = match &self.route.delete {
            DeletePolicy::Row => return Some(Deletes::Row),
            DeletePolicy::Ignore => return Some(Deletes::Ignore),
            DeletePolicy::Soft(soft) => soft.clone(),
        };
        let at = Path::of_name("delete");
        if self.route.key.is_empty() {
            let message = "`delete` sets a column of the deleted row, and without a `key` no row can be found: give the \
                           route a `key`, or say `delete = \"ignore\"`";
            self.error(Some(&spec.column), at.clone(), message.to_owned());
        }
        let index = soft?;
        let column = &target.table.columns[index];
        let cell = |json: &serde_json::Value| match cast_through(&json.to_string(), &ValueRule::default(), &column.kind)
        {
            Ok(Cell::Null) if !column.nullable => Err("is null, and the column is NOT NULL".to_owned()),
            Ok(cell) => Ok(cell),
            Err(error) => Err(error.why),
        };
        let value = match &spec.value {
            Some(value) => cell(value).map(Some).map_err(|why| {
                self.error(
                    Some(&column.name),
                    at.clone().name("value"),
                    format!("the `value` {} {why}", target.of(column)),
                );
            }),
            None => {
                let moment = received(1_763_775_403_123).and_then(|moment| to_cell(moment, &column.kind));
                moment.map(|_| None).map_err(|error| {
                    let message = format!(
                        "without a `value` a delete sets the time the message was received, which {} {}: give `delete` a \
                         `value`{}",
                        target.of(column),
                        error.why,
                        if column.kind == ColumnType::Bool { ", such as `true`" } else { "" }
                    );
                    self.error(Some(&column.name), at.clone(), message);
                })
            }
        };
        let restore = match &spec.restore {
            Some(restore) => cell(restore).map_err(|why| {
                self.error(
                    Some(&column.name),
                    at.clone().name("restore"),
                    format!("the `restore` {} {why}", target.of(column)),
                );
            }),
            None if !column.nullable => {
                let example = if column.kind == ColumnType::Bool { ", such as `false`" } else { "" };
                let message = format!(
                    "column `{}` ({}) of table `{}` is NOT NULL, so an insert can't set it back to NULL: give `delete` a \
                     `restore`{example}",
                    column.name, column.declared, target.label
                );
                self.error(Some(&column.name), at.clone(), message);
                Err(())
            }
            None => Ok(Cell::Null),
        };
        let place = built.columns.iter().position(|column| *column == index)?;
        Some(Deletes::Soft { column: place, value: value.ok()?, restore: restore.ok()? })
    }

    pub(super) fn check_on_existing(&mut self) {
        let word = match self.route.on_existing {
            OnExisting::Ignore => "ignore",
            OnExisting::Update => "update",
            OnExisting::ByAction | OnExisting::Reject => return,
        };
        if self.route.key.is_empty() {
            let message =
                format!("`on_existing = \"{word}\"` needs a `key`: without one, whether a row is there can't be told");
            self.error(None, Path::of_name("on_existing"), message);
        }
    }

    /// The place among the written columns of the one that only grows.
    pub(super) fn version(&mut self, target: &Target<'_>, built: &Built) -> Option<usize> {
        let name = self.route.version_column.clone()?;
        let at = Path::of_name("version_column");
        let index = self.column(target, &name, "version_column", at.clone())?;
        let column = &target.table.columns[index];
        let mut refuse = |message: String| self.error(Some(&column.name), at.clone(), message);
        let place = built.columns.iter().position(|column| *column == index);
        let Some(place) = place else {
            refuse(format!("`version_column` is `{name}`, which the route does not write: add `{name}` to `columns`"));
            return None;
        };
        match &built.sources[place] {
            source if matches!(source.origin, Origin::Policy) => {
                refuse(format!("`version_column` is `{name}`, which `delete` sets: a version comes from the record"));
            }
            source if source.is_key => {
                refuse(format!(
                    "`version_column` is `{name}`, which is in `key`: a version is another one for the same key"
                ));
            }
            source if matches!(source.origin, Origin::Constant(_)) => {
                refuse(format!(
                    "`version_column` is `{name}`, which is always the same: a version grows with every change"
                ));
            }
            _ => {}
        }
        if built.defaults.iter().any(|(default, _)| *default == place) {
            refuse(format!(
                "`version_column` is `{name}`, which has a `default`: a record that lacks its version can't be put in order"
            ));
        }
        match column.kind {
            ColumnType::Json { .. } | ColumnType::Bool | ColumnType::Bytes { .. } | ColumnType::Other => {
                refuse(format!(
                    "`version_column` is `{name}` ({}), whose values have no order that can be told: take a number or a timestamp",
                    column.declared
                ))
            }
            _ => {}
        }
        if self.route.key.is_empty() {
            let message = "`version_column` compares with the row that is there, and without a `key` there is none: give the route a `key`";
            self.error(None, at.clone(), message.to_owned());
        }
        if self.route.on_existing == OnExisting::Ignore {
            let message = "`version_column` does not go with `on_existing = \"ignore\"`, which never writes over a row: take out one of the two";
            self.error(None, at.clone(), message.to_owned());
        }
        self.doubt_version(target, column);
        Some(place)
    }

    fn doubt_version(&mut self, target: &Target<'_>, column: &ColumnSchema) {
        if matches!(column.kind, ColumnType::Text { .. } | ColumnType::Enum { .. }) {
            let message = format!(
                "`version_column` `{}` of table `{}` is {}, which is compared as text (`10` comes before `9`): better take a \
                 number or a timestamp",
                column.name, target.label, column.declared
            );
            self.warn(Some(&column.name), Path::of_name("version_column"), message);
        }
    }

    /// What does not go with child tables.
    pub(super) fn check_with_children(&mut self) {
        let route = self.route;
        let ignored_delete = route.delete == DeletePolicy::Ignore;
        let clashes = [
            (route.key.is_empty(), "key", "`children` are tied to their parent by its key: give the route a `key`"),
            (
                ignored_delete,
                "delete",
                "`children` do not go with `delete = \"ignore\"`; say \"row\" (they go with their parent) or name a column to set \
                 (they stay)",
            ),
        ];
        for (clash, field, message) in clashes {
            if clash {
                self.error(None, Path::of_name(field), message.to_owned());
            }
        }
    }
}
