//! Where a batch is cut when the database refuses a part of it: pure, shared by ordered and parallel delivery.
//!
//! Changes that the database names as those at fault are written again within their piece, each on trial. Where it names none, or
//! a trial is of no use, a refused piece is halved, or cut around the row that is at fault where that is known, until a message
//! stands alone. Only then is it given up.

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
    /// The database refused it, and these changes of it are at fault.
    Sifted(Vec<(Vec<usize>, usize, Rejection)>),
}

impl Written {
    /// A refusal of this piece.
    pub(super) fn refused(composed: &Composed, reason: Rejection) -> Self {
        Self::Refused { at: source_of(composed, &reason), reason, plans: composed.plans.clone() }
    }
}

/// The changes that these rejections are about; none where one of them does not say.
pub(super) fn at_fault(composed: &Composed, found: Vec<Rejection>) -> Vec<(Vec<usize>, usize, Rejection)> {
    let place = |reason: Rejection| source_of(composed, &reason).map(|(messages, plan)| (messages, plan, reason));
    found.into_iter().map(place).collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn source_of(composed: &Composed, reason: &Rejection) -> Option<(Vec<usize>, usize)> {
    let rows = composed.sources.get(reason.statement?)?;
    match (reason.row, rows.as_slice()) {
        (Some(row), _) => rows.get(row).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

/// A piece is sifted so often before it is halved: a row may be found at fault only once others are on trial.
const SIFTS: u32 = 3;

/// Goes through a batch piece by piece.
pub(super) struct Cuts {
    /// Where pieces end; the nearest end is the last.
    ends: Vec<usize>,
    next: usize,
    /// What the database refused of the piece in hand.
    pub(super) refused: Refusals,
    suspects: Suspects,
    /// Changes to be written on trial, and what the database said of them: places in the batch.
    on_trial: Refusals,
    /// How often the piece in hand was sifted.
    sifts: u32,
}

/// How a piece is to be written this time.
#[derive(Default)]
pub(super) struct Attempt {
    /// What is given up.
    pub(super) refused: Refusals,
    /// What is written on trial; places in the piece.
    pub(super) trials: Refusals,
    /// Whether the database is to be asked for the rows at fault, should it refuse the piece.
    pub(super) may_sift: bool,
}

impl Cuts {
    /// A batch of this length, with a further end where something stands that cannot be read.
    pub(super) fn new(length: usize, also_at: Option<usize>) -> Self {
        let mut ends = vec![length];
        ends.extend(also_at);
        Self {
            ends,
            next: 0,
            refused: Refusals::new(),
            suspects: Suspects::default(),
            on_trial: Refusals::new(),
            sifts: 0,
        }
    }

    /// The next piece, where everything below this place is done.
    pub(super) fn piece(&mut self, done: usize) -> Option<Range<usize>> {
        self.next = done;
        self.ends.retain(|end| *end > done);
        self.ends.last().map(|&end| done..end)
    }

    /// How this piece is to be written.
    pub(super) fn attempt(&self, piece: &Range<usize>) -> Attempt {
        // A message alone is its own trial.
        let places = self.on_trial.range((piece.start, 0)..(piece.end, 0)).filter(|_| piece.len() > 1);
        let trials = places.map(|((place, plan), reason)| ((place - piece.start, *plan), reason.clone()));
        Attempt {
            refused: self.refused.clone(),
            trials: trials.collect(),
            may_sift: self.sifts < SIFTS && piece.len() > 1,
        }
    }

    /// What became of the piece that was asked for last.
    pub(super) fn learn(&mut self, written: Written) {
        let (next, Some(&end)) = (self.next, self.ends.last()) else { return };
        match written {
            Written::All => {
                (self.refused, self.suspects) = Default::default();
                self.sifts = 0;
            }
            Written::Sifted(found) => {
                let known = (self.on_trial.len(), self.ends.len());
                for (messages, plan, reason) in found {
                    match messages[..] {
                        [only] => drop(self.on_trial.insert((next + only, plan), reason)),
                        // A folded change is unfolded by halves, as below.
                        _ => self.ends.push(next + messages[messages.len() / 2]),
                    }
                }
                self.ends.sort_unstable_by(|one, other| other.cmp(one));
                self.ends.dedup();
                self.sifts += 1;
                if (self.on_trial.len(), self.ends.len()) == known {
                    // Nothing that was not on trial before.
                    self.sifts = SIFTS;
                }
            }
            Written::Refused { at: Some((_, plan)), reason, .. } if end - next == 1 => {
                self.refused.insert((0, plan), reason);
            }
            Written::Refused { at: None, reason, plans } if end - next == 1 => {
                self.suspects.accuse(&mut self.refused, plans, reason);
            }
            Written::Refused { at: Some((folded, _)), .. } => {
                self.on_trial.clear();
                // A folded change is unfolded by halves: any of its messages may be the one at fault.
                let cut = next + folded[folded.len() / 2];
                self.ends.extend((folded.len() == 1).then_some(cut + 1));
                self.ends.extend((cut > next).then_some(cut));
            }
            Written::Refused { at: None, .. } => {
                self.on_trial.clear();
                self.ends.push(next + (end - next) / 2);
            }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn reason() -> Rejection {
        Rejection { statement: None, row: None, code: "check".into(), column: None, message: "no".into() }
    }

    fn refused() -> Written {
        Written::Refused { at: None, reason: reason(), plans: vec![0] }
    }

    #[test]
    fn what_is_at_fault_is_tried_and_what_was_folded_is_halved_first() {
        let mut cuts = Cuts::new(10, None);
        let piece = cuts.piece(0).unwrap();
        assert!(cuts.attempt(&piece).may_sift && cuts.attempt(&piece).trials.is_empty());
        cuts.learn(Written::Sifted(vec![(vec![2], 0, reason()), (vec![1, 5, 8], 1, reason())]));
        let piece = cuts.piece(0).unwrap();
        assert_eq!(piece, 0..5);
        assert_eq!(cuts.attempt(&piece).trials.keys().collect::<Vec<_>>(), [&(2, 0)]);
        cuts.learn(Written::All);
        assert_eq!(cuts.piece(5), Some(5..10), "the rest, whole");
    }

    #[test]
    fn what_sifting_does_not_help_is_halved_down_to_one_message() {
        let mut cuts = Cuts::new(8, None);
        let mut pieces = Vec::new();
        loop {
            let piece = cuts.piece(0).unwrap();
            pieces.push(piece.end);
            if piece.len() == 1 {
                break;
            }
            if cuts.attempt(&piece).may_sift {
                cuts.learn(Written::Sifted(vec![(vec![0], 0, reason())]));
            } else {
                cuts.learn(refused());
            }
        }
        assert_eq!(pieces, [8, 8, 8, 4, 2, 1], "it is on trial, it is so still, and then the halves");
        let piece = cuts.piece(0).unwrap();
        cuts.learn(refused());
        assert_eq!(cuts.attempt(&piece).refused.keys().collect::<Vec<_>>(), [&(0, 0)]);
    }
}
