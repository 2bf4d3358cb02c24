//! Which rows of a transaction are passed over because a row that they go with was ([`Statement::parents`]).
//!
//! Every driver asks it before each statement and tells it after: a child of a row that is not there, or that is newer than
//! its change, is not written. Where no statement has parents it costs a look at each statement and nothing more.

use std::{borrow::Cow, collections::HashSet};

use super::Statement;
use crate::ports::WriteError;

/// The rows that were left out so far.
#[derive(Debug)]
pub struct LeftOut {
    /// The statements that later rows go with.
    asked: Vec<usize>,
    rows: HashSet<(usize, usize)>,
}

impl LeftOut {
    /// Nothing is left out yet.
    #[must_use]
    pub fn new(statements: &[Statement]) -> Self {
        let mut asked: Vec<usize> = statements.iter().flat_map(|statement| &statement.parents).map(|at| at.0).collect();
        asked.sort_unstable();
        asked.dedup();
        Self { asked, rows: HashSet::new() }
    }

    /// Whether later rows go with rows of this statement, so that it matters which of them its guard leaves alone.
    #[must_use]
    pub fn asks(&self, statement: usize) -> bool {
        self.asked.binary_search(&statement).is_ok()
    }

    /// Remembers rows of a statement that were untouched or left alone by its guard.
    pub fn add(&mut self, statement: usize, rows: impl IntoIterator<Item = usize>) {
        if self.asks(statement) {
            self.rows.extend(rows.into_iter().map(|row| (statement, row)));
        }
    }

    /// What is to be written of a statement.
    #[must_use]
    pub fn rest<'s>(&self, statement: &'s Statement) -> Rest<'s> {
        let out = |row: &usize| statement.parents.get(*row).is_some_and(|parent| self.rows.contains(parent));
        if self.rows.is_empty() || !(0..statement.parents.len()).any(|row| out(&row)) {
            return Rest { statement: Cow::Borrowed(statement), places: None, out: Vec::new() };
        }
        let (out, places): (Vec<_>, Vec<_>) = (0..statement.rows.len()).partition(out);
        Rest { statement: Cow::Owned(statement.of_rows(&places)), places: Some(places), out }
    }
}

/// What is to be written of a statement.
#[derive(Debug)]
pub struct Rest<'s> {
    /// The statement with the rows that are left.
    pub statement: Cow<'s, Statement>,
    /// Where they stood, unless all are left.
    places: Option<Vec<usize>>,
    /// The rows that are passed over.
    pub out: Vec<usize>,
}

impl Rest<'_> {
    /// Where a row of [`Self::statement`] stands in the whole one.
    #[must_use]
    pub fn place(&self, row: usize) -> usize {
        self.places.as_ref().and_then(|places| places.get(row)).copied().unwrap_or(row)
    }

    /// A verdict on [`Self::statement`] as one on the whole.
    #[must_use]
    pub fn located(&self, mut error: WriteError) -> WriteError {
        if let WriteError::Reject(rejection) = &mut error {
            rejection.row = rejection.row.map(|row| self.place(row));
        }
        error
    }
}
