//! The rows of a route's child tables.

use super::Mapping;
use crate::transaction::Cell;

impl Mapping {
    /// For each child plan the cells of its key, from the cells of the parent's row; `None` where they can't be told.
    #[must_use]
    pub fn child_keys(&self, _cells: &[Cell]) -> Vec<Option<Vec<Cell>>> {
        vec![None; self.children.len()]
    }
}
