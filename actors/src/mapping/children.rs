//! The rows of a route's child tables: one for each element of an array, tied to its parent by the parent's key.

use super::{
    Children, Mapping,
    fields::Slot,
    rejection,
    rows::{Origin, Rows, Subject},
    settle_cell,
};
use crate::{ports::Rejection, transaction::Cell};

/// One child table, compiled.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) rows: Rows,
    /// The array's node in the record's tree of fields.
    pub(super) node: usize,
    /// What ties a row to its parent: (place in the child's plan, place in the parent's).
    pub(super) ties: Vec<(usize, usize)>,
    /// The name under which its rows are shown.
    pub(super) shown: Box<str>,
}

impl Mapping {
    /// The rows of every child table that the record speaks of, given its own row.
    pub(super) fn children_of(&self, subject: &Subject<'_, '_>, cells: &[Cell]) -> Result<Vec<Children>, Rejection> {
        self.kids.iter().map(|child| self.rows_of(child, subject, cells)).collect()
    }

    fn rows_of(&self, child: &Child, subject: &Subject<'_, '_>, cells: &[Cell]) -> Result<Children, Rejection> {
        let array = match subject.slots[child.node] {
            Slot::Raw(raw) | Slot::Alike(raw) => raw,
            Slot::Wrong(above, found) => {
                let wanted = self.rows.fields.wanted_kind(above, child.node);
                let path = self.rows.fields.path(above);
                return Err(child.no_array(&path.to_string(), found, wanted));
            }
            Slot::Absent | Slot::Entered | Slot::Ambiguous => return Ok(None),
        };
        let found = match array.as_bytes().first() {
            Some(b'[') => "",
            Some(b'n') => return Ok(Some(Vec::new())),
            Some(b'{') => "an object",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "a boolean",
            _ => "a number",
        };
        if !found.is_empty() {
            return Err(child.no_array(&self.rows.fields.path(child.node).to_string(), found, "an array"));
        }
        let mut template = vec![Cell::Absent; child.rows.sources.len()];
        for &(place, parent) in &child.ties {
            template[place] = self.tie(child, place, parent, &cells[parent])?;
        }
        let has_expressions = child.rows.has_expressions();
        let mut rows = Vec::new();
        let mut refused = None;
        let outcome = child.rows.fields.read_each(array, |place, slots| {
            if place == 0 {
                rows.clear();
            }
            let of_element;
            let scope = if has_expressions {
                // The element itself is there where an expression speaks of it.
                let raw = if let Some(Slot::Raw(raw)) = slots.first() { raw } else { "null" };
                of_element = subject.scope.of_element(raw, place + 1);
                &of_element
            } else {
                subject.scope
            };
            let subject = Subject { scope, slots, element: Some(place), ..*subject };
            match child.row(&subject, &template) {
                Ok(row) => rows.push(row),
                Err(rejection) => refused = Some(rejection),
            }
            refused.is_none()
        });
        if let Some(rejection) = refused {
            return Err(rejection);
        }
        outcome.map_err(|(place, unread)| child.rows.unread(&unread, Some(place)))?;
        Ok(Some(rows))
    }

    /// A cell of the parent's key as one of the child's column.
    fn tie(&self, child: &Child, place: usize, parent: usize, cell: &Cell) -> Result<Cell, Rejection> {
        let (mine, theirs) = (child.rows.column(place), self.rows.column(parent));
        let tied = format!("column `{}` ({}) of table `{}`", mine.name, mine.declared, child.rows.table);
        match settle_cell(cell, &theirs.kind, &mine.kind) {
            Ok(Some(cell)) => Ok(cell),
            Ok(None) => Err(rejection(
                "required",
                Some(&theirs.name),
                format!(
                    "key column `{}` of table `{}` has no value before the row is there, and {tied} needs it: send it",
                    theirs.name, self.rows.table
                ),
            )),
            Err(error) => Err(rejection(
                error.code,
                Some(&mine.name),
                format!("key column `{}` of table `{}` for {tied} {}", theirs.name, self.rows.table, error.why),
            )),
        }
    }
}

impl Child {
    fn row(&self, subject: &Subject<'_, '_>, template: &[Cell]) -> Result<Vec<Cell>, Rejection> {
        let mut cells = template.to_vec();
        for (place, source) in self.rows.sources.iter().enumerate() {
            if !matches!(source.origin, Origin::Policy) {
                cells[place] = self.rows.cell(place, subject)?;
            }
        }
        self.rows.check_required(&cells, subject.element)?;
        for (place, default) in &self.rows.defaults {
            if cells[*place] == Cell::Absent {
                cells[*place] = default.clone();
            }
        }
        self.rows.check_needed(&cells, subject.element)?;
        Ok(cells)
    }

    #[cold]
    fn no_array(&self, path: &str, found: &str, wanted: &str) -> Rejection {
        let message = format!("field `{path}` for table `{}` is {found}, where {wanted} is expected", self.rows.table);
        rejection("type", None, message)
    }
}
