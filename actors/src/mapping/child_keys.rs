//! The keys by which a parent's children are found, from the parent's own key: what is cleared before they are written anew.

use super::{Mapping, settle_cell};
use crate::transaction::Cell;

impl Mapping {
    /// For each of [`Self::children`] the cells of its plan's key, in the key's order, from the cells of the parent's row.
    /// `None` where they can't be told, since the parent's key is not whole or is no value of the child's column: then
    /// there are no such children.
    #[must_use]
    pub fn child_keys(&self, cells: &[Cell]) -> Vec<Option<Vec<Cell>>> {
        let key_of = |(child, plan): (&super::Child, &std::sync::Arc<crate::transaction::TablePlan>)| {
            let tied = |place: &usize| {
                let &(_, parent) = child.ties.iter().find(|(mine, _)| mine == place)?;
                let cell = cells.get(parent).filter(|cell| **cell != Cell::Null)?;
                settle_cell(cell, &self.rows.column(parent).kind, &child.rows.column(*place).kind).ok().flatten()
            };
            plan.key.iter().map(tied).collect()
        };
        self.kids.iter().zip(&self.children).map(key_of).collect()
    }
}
