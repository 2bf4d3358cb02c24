//! How one statement changes the tables in memory, and how its changes are taken back.
//!
//! [`super::MemoryDatabase`] writes a transaction's statements one after another with [`write()`], and calls [`undo()`] when
//! one of them fails. Foreign keys are looked after here, for they concern two tables.

use std::collections::BTreeMap;

use super::{
    order::is_greater,
    table::{MemoryTable, Reference, Refusal, Row},
};
use crate::{
    ports::{Fault, Rejection, WriteError},
    schema::TableSchema,
    transaction::{Cell, Op, Statement},
};

/// The tables of a database by name (`schema.name` where there is a schema).
pub(super) type Tables = BTreeMap<String, MemoryTable>;

/// How to take one change back: the table, the row's number, and what was there.
pub(super) struct Undo(String, u64, Option<Row>);

/// Takes changes back, the last one first.
pub(super) fn undo(tables: &mut Tables, changes: Vec<Undo>) {
    for Undo(name, id, before) in changes.into_iter().rev() {
        if let Some(table) = tables.get_mut(&name) {
            table.put(id, before);
        }
    }
}

/// A table's name among [`Tables`].
pub(super) fn qualified(schema: &TableSchema) -> String {
    if schema.schema.is_empty() { schema.name.clone() } else { format!("{}.{}", schema.schema, schema.name) }
}

/// Writes one statement, the `index`th of its transaction. Answers with the places of the rows that touched nothing and
/// need not have, and of those that stay as they are.
pub(super) fn write(
    tables: &mut Tables,
    index: usize,
    statement: &Statement,
    changes: &mut Vec<Undo>,
) -> Result<(Vec<usize>, Vec<usize>), WriteError> {
    let name = qualified(&statement.plan.table);
    let table = tables.get(&name).ok_or_else(|| hold(format!("table `{name}` is gone; make it again")))?;
    let mut columns = Vec::with_capacity(statement.columns.len());
    for column in statement.written() {
        let place = table.schema().columns.iter().position(|other| other.name == column.name);
        let gone = || hold(format!("table `{name}` has no column `{}`; add it or change the route", column.name));
        let place = place.ok_or_else(gone)?;
        if table.schema().columns[place].generated {
            return Err(hold(format!("column `{}` of table `{name}` is computed; leave it out", column.name)));
        }
        columns.push(place);
    }
    let mut writer = Writer { tables, name, statement, columns, changes };
    let (mut untouched, mut kept) = (Vec::new(), Vec::new());
    for (place, cells) in statement.rows.iter().enumerate() {
        let touched = writer.row(cells).map_err(|refusal| {
            WriteError::Reject(Rejection {
                statement: Some(index),
                row: Some(place),
                code: refusal.code.into(),
                column: refusal.column,
                message: refusal.message,
            })
        })?;
        match touched {
            Touched::Nothing => untouched.push(place),
            Touched::Kept => kept.push(place),
            Touched::Written => {}
        }
    }
    Ok((untouched, kept))
}

fn hold(message: String) -> WriteError {
    WriteError::Hold(Fault::new(message))
}

/// What a row came to.
enum Touched {
    /// It is written.
    Written,
    /// What is there stays as it is.
    Kept,
    /// There is nothing.
    Nothing,
}

struct Writer<'a> {
    tables: &'a mut Tables,
    name: String,
    statement: &'a Statement,
    /// Places in the table of the statement's columns.
    columns: Vec<usize>,
    changes: &'a mut Vec<Undo>,
}

impl Writer<'_> {
    /// Writes one row.
    fn row(&mut self, cells: &[Cell]) -> Result<Touched, Refusal> {
        let op = self.statement.op;
        let mut found = if op == Op::Insert { Vec::new() } else { self.find(cells) };
        let there = found.len();
        found.retain(|id| !self.is_newer(*id, cells));
        if found.len() < there || (there > 0 && self.statement.only_inserts()) {
            return Ok(Touched::Kept);
        }
        match op {
            Op::Insert => self.insert(cells)?,
            Op::Upsert if found.is_empty() => self.insert(cells)?,
            Op::Upsert | Op::Update => {
                let mut cells = cells.to_vec();
                for place in &self.statement.insert_only {
                    cells[*place] = Cell::Absent;
                }
                for id in &found {
                    self.update(*id, &cells)?;
                }
            }
            Op::Delete | Op::Clear => {
                for id in &found {
                    self.store(*id, None)?;
                }
            }
            Op::Replace => {
                for id in &found {
                    self.store(*id, None)?;
                }
                self.insert(cells)?;
            }
        }
        let touched = !found.is_empty() || !matches!(op, Op::Update | Op::Delete);
        if !touched && self.statement.must_touch {
            let message = format!("table `{}` has no row with this key", self.name);
            return Err(Refusal { code: "missing_row", column: None, message });
        }
        Ok(if touched { Touched::Written } else { Touched::Nothing })
    }

    /// Whether the row that is there has a greater version than these cells.
    fn is_newer(&self, id: u64, cells: &[Cell]) -> bool {
        let Some(guard) = self.statement.guard() else { return false };
        let column = self.columns[guard];
        let table = self.tables.get(&self.name);
        let stored = table.and_then(|table| Some((table.row(id)?.get(column)?, &table.schema().columns[column].kind)));
        stored.is_some_and(|(stored, kind)| is_greater(kind, stored, &cells[guard]))
    }

    fn find(&self, cells: &[Cell]) -> Vec<u64> {
        let key = self.statement.key_cells();
        let columns: Vec<usize> = key.iter().map(|place| self.columns[*place]).collect();
        let wanted: Row = key.iter().map(|place| cells[*place].clone()).collect();
        self.tables.get(&self.name).map(|table| table.find(&columns, &wanted)).unwrap_or_default()
    }

    fn insert(&mut self, cells: &[Cell]) -> Result<(), Refusal> {
        let Some(table) = self.tables.get_mut(&self.name) else { return Ok(()) };
        let row = table.new_row(&self.columns, cells);
        let id = table.new_id();
        self.store(id, Some(row))
    }

    fn update(&mut self, id: u64, cells: &[Cell]) -> Result<(), Refusal> {
        let Some(mut row) = self.tables.get(&self.name).and_then(|table| table.row(id)).cloned() else {
            return Ok(());
        };
        for (column, cell) in self.columns.iter().zip(cells).filter(|(_, cell)| **cell != Cell::Absent) {
            row[*column] = cell.clone();
        }
        self.store(id, Some(row))
    }

    /// Puts or removes a row by all the rules.
    fn store(&mut self, id: u64, mut row: Option<Row>) -> Result<(), Refusal> {
        let Some(table) = self.tables.get(&self.name) else { return Ok(()) };
        if let Some(row) = &mut row {
            table.compute(row);
            table.admit(id, row)?;
        }
        self.check_references(id, row.as_ref())?;
        if let Some(table) = self.tables.get_mut(&self.name) {
            let before = table.put(id, row);
            self.changes.push(Undo(self.name.clone(), id, before));
        }
        Ok(())
    }

    fn check_references(&self, id: u64, row: Option<&Row>) -> Result<(), Refusal> {
        let Some(table) = self.tables.get(&self.name) else { return Ok(()) };
        for Reference { column, table: to, other } in &table.references {
            let Some(value) = row.map(|row| &row[*column]).filter(|value| **value != Cell::Null) else { continue };
            if !self.tables.get(to).is_some_and(|parent| parent.has(other, value)) {
                let column = &table.schema().columns[*column].name;
                let message = format!("table `{to}` has no row for column `{column}` of table `{}`", self.name);
                return Err(Refusal::new("foreign_key", Some(column), message));
            }
        }
        let Some(before) = table.row(id) else { return Ok(()) };
        for (name, child) in self.tables.iter() {
            for reference in child.references.iter().filter(|reference| reference.table == self.name) {
                let Some(place) = table.schema().columns.iter().position(|column| column.name == reference.other)
                else {
                    continue;
                };
                let kept = row.is_some_and(|row| row[place] == before[place]);
                let column = &child.schema().columns[reference.column].name;
                if !kept && child.has(column, &before[place]) {
                    let message = format!("table `{name}` still refers to this row in column `{column}`");
                    return Err(Refusal::new("foreign_key", Some(&reference.other), message));
                }
            }
        }
        Ok(())
    }
}
