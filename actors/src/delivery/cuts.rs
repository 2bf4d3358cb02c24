//! Where a batch is cut when the database refuses a part of it: pure, shared by ordered and parallel delivery.
//!
//! A refused piece is halved, or cut around the row that is at fault where that is known, until a message stands alone. Only
//! then is it given up.

use std::{collections::BTreeMap, ops::Range};

use crate::{compose::Composed, ports::Rejection};

/// Rejections of the piece in hand: (message, plan) → why.
pub(super) type Refusals = BTreeMap<(usize, usize), Rejection>;

/// What became of a piece.
pub(super) enum Written {
    /// It is in the database.
    All,
    /// The database refused it; `at` are the messages of the change at fault, and its plan, where that is known. `plans`
    /// are all that had something to do with the piece.
    Refused { at: Option<(Vec<usize>, usize)>, reason: Rejection, plans: Vec<usize> },
}

impl Written {
    /// A refusal of this piece.
    pub(super) fn refused(composed: &Composed, reason: Rejection) -> Self {
        Self::Refused { at: source_of(composed, &reason), reason, plans: composed.plans.clone() }
    }
}

fn source_of(composed: &Composed, reason: &Rejection) -> Option<(Vec<usize>, usize)> {
    let rows = composed.sources.get(reason.statement?)?;
    match (reason.row, rows.as_slice()) {
        (Some(row), _) => rows.get(row).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

/// Goes through a batch piece by piece.
pub(super) struct Cuts {
    /// Where pieces end; the nearest end is the last.
    ends: Vec<usize>,
    next: usize,
    /// What the database refused of the piece in hand.
    pub(super) refused: Refusals,
    suspects: Suspects,
}

impl Cuts {
    /// A batch of this length, with a further end where something stands that cannot be read.
    pub(super) fn new(length: usize, also_at: Option<usize>) -> Self {
        let mut ends = vec![length];
        ends.extend(also_at);
        Self { ends, next: 0, refused: Refusals::new(), suspects: Suspects::default() }
    }

    /// The next piece, where everything below this place is done.
    pub(super) fn piece(&mut self, done: usize) -> Option<Range<usize>> {
        self.next = done;
        self.ends.retain(|end| *end > done);
        self.ends.last().map(|&end| done..end)
    }

    /// What became of the piece that was asked for last.
    pub(super) fn learn(&mut self, written: Written) {
        let (next, Some(&end)) = (self.next, self.ends.last()) else { return };
        match written {
            Written::All => (self.refused, self.suspects) = Default::default(),
            Written::Refused { at: Some((_, plan)), reason, .. } if end - next == 1 => {
                self.refused.insert((0, plan), reason);
            }
            Written::Refused { at: None, reason, plans } if end - next == 1 => {
                self.suspects.accuse(&mut self.refused, plans, reason);
            }
            Written::Refused { at: Some((folded, _)), .. } => {
                // A folded change is unfolded by halves: any of its messages may be the one at fault.
                let cut = next + folded[folded.len() / 2];
                self.ends.extend((folded.len() == 1).then_some(cut + 1));
                self.ends.extend((cut > next).then_some(cut));
            }
            Written::Refused { at: None, .. } => self.ends.push(next + (end - next) / 2),
        }
    }
}

/// Whose fault it is that the commit of a single message is refused (a deferred constraint), where the database does not
/// tell: each route is left out in its turn, and where that is of no use, all are.
#[derive(Default)]
struct Suspects {
    waiting: Option<Vec<usize>>,
    all: Vec<usize>,
}

impl Suspects {
    fn accuse(&mut self, refused: &mut Refusals, plans: Vec<usize>, reason: Rejection) {
        let waiting = self.waiting.get_or_insert_with(|| {
            self.all = plans.into_iter().filter(|plan| !refused.contains_key(&(0, *plan))).collect();
            self.all.iter().copied().rev().collect()
        });
        refused.retain(|(_, plan), _| !self.all.contains(plan));
        match waiting.pop().filter(|_| self.all.len() > 1) {
            Some(next) => drop(refused.insert((0, next), reason)),
            None => refused.extend(self.all.iter().map(|plan| ((0, *plan), reason.clone()))),
        }
    }
}
