//! Folding: several changes of one key within a batch become one row, where that is the same as doing them singly.
//!
//! Called by [`crate::delivery`] for every piece of a batch. What may not be folded starts a new *wave*: waves are written
//! one after the other, so that the changes of a key keep their order. An insert followed by a delete is deliberately not
//! folded: where the row exists already, done singly the insert is a dead letter, and a folded delete would hide that.

use std::collections::HashMap;

use crate::transaction::{Cell, Op};

/// One message as one route wants it written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Place of the route's plan among the destination's plans.
    pub plan: usize,
    /// How it is written.
    pub op: Op,
    /// Whether touching no row is a rejection.
    pub must_touch: bool,
    /// One cell for every column of the plan.
    pub cells: Vec<Cell>,
    /// Cells that count only if an upsert inserts: (place in `cells`, value).
    pub insert_only: Vec<(usize, Cell)>,
    /// The key as canonical text; `None` for a route without a key.
    pub key: Option<Box<str>>,
    /// Rows of child tables, as in [`crate::mapping::MappedRow::children`].
    pub children: Vec<crate::mapping::Children>,
    /// Places of the messages it stands for, in the order of the log; the last one is what the others were folded into.
    pub messages: Vec<usize>,
    /// Written after all changes of lower waves.
    pub wave: usize,
}

/// How the changes of one table relate: by name, and whether each change must stay on its own.
pub trait Tables {
    /// The same number for plans that write the same table.
    fn table(&self, plan: usize) -> usize;
    /// The same number for plans that write the same table by the same key columns: only their keys can be compared.
    fn key_space(&self, plan: usize) -> usize {
        self.table(plan)
    }
    /// Whether each change must stay on its own: the route said so, or it has a version column.
    fn every_change(&self, plan: usize) -> bool;
    /// Further tables that the plan's changes write, for which no keys are known: the same number as in [`Self::table`].
    fn child_tables(&self, _plan: usize) -> &[usize] {
        &[]
    }
}

/// Folds changes, given in the order of the log, each with one message and wave 0.
///
/// The result is in the order of first appearance; sort by wave (stably) to write it.
pub fn fold(changes: impl IntoIterator<Item = Change>, tables: &impl Tables) -> Vec<Change> {
    let mut folded: Vec<Change> = Vec::new();
    let mut fronts: HashMap<usize, Front> = HashMap::new();
    for mut change in changes {
        // Children of one route's parents are told apart by their parents.
        let children = tables.child_tables(change.plan);
        let space = Space::Children(change.plan);
        let floor = children.iter().map(|&table| front(&mut fronts, table, space).floor).max().unwrap_or_default();
        let front = front(&mut fronts, tables.table(change.plan), Space::Keys(tables.key_space(change.plan)));
        let floor = floor.max(front.floor);
        change.wave = floor;
        front.top = front.top.max(floor);
        let Some(key) = change.key.clone() else {
            reach(&mut fronts, children, floor);
            folded.push(change);
            continue;
        };
        let place = match front.last_of_key.entry(key) {
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(folded.len());
                reach(&mut fronts, children, floor);
                folded.push(change);
                continue;
            }
            std::collections::hash_map::Entry::Occupied(occupied) => occupied.into_mut(),
        };
        let before = &mut folded[*place];
        let may_fold = before.plan == change.plan && before.wave >= floor && !tables.every_change(change.plan);
        match may_fold.then(|| merged_op(before, &change)).flatten() {
            Some((op, must_touch)) => merge(before, change, op, must_touch),
            None => {
                change.wave = floor.max(before.wave + 1);
                front.top = front.top.max(change.wave);
                *place = folded.len();
                reach(&mut fronts, children, change.wave);
                folded.push(change);
            }
        }
    }
    folded
}

/// By what the changes of a table are told apart.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    /// Their keys, in this key space.
    Keys(usize),
    /// They write the children of this plan's rows.
    Children(usize),
}

/// How far a table's changes have got, when one comes that is told apart so.
fn front(fronts: &mut HashMap<usize, Front>, table: usize, space: Space) -> &mut Front {
    let front = fronts.entry(table).or_insert_with(|| Front::new(space, 0));
    if front.space != space {
        // Whether these changes concern the same rows as those before them cannot be told from the keys.
        *front = Front::new(space, front.top + 1);
    }
    front
}

/// Child tables are written in this wave.
fn reach(fronts: &mut HashMap<usize, Front>, children: &[usize], wave: usize) {
    for table in children {
        if let Some(front) = fronts.get_mut(table) {
            front.top = front.top.max(wave);
        }
    }
}

/// How far the changes of one table have got.
struct Front {
    space: Space,
    /// No change of this key space may be written in a lower wave.
    floor: usize,
    /// The highest wave so far.
    top: usize,
    last_of_key: HashMap<Box<str>, usize>,
}

impl Front {
    fn new(space: Space, floor: usize) -> Self {
        Self { space, floor, top: floor, last_of_key: HashMap::new() }
    }
}

/// What two changes of one key come to, if that is the same as doing them singly whether the row is there or not, or
/// differs only in a way that the database reports (a rejection, an untouched row), upon which they are done singly.
fn merged_op(before: &Change, next: &Change) -> Option<(Op, bool)> {
    let must_touch = before.must_touch || next.must_touch;
    match (before.op, next.op) {
        (Op::Upsert, Op::Upsert | Op::Update) => Some((Op::Upsert, false)),
        (Op::Insert, Op::Upsert | Op::Update) => Some((Op::Insert, false)),
        (Op::Replace, Op::Upsert | Op::Update) => Some((Op::Replace, false)),
        (Op::Update, Op::Update) => Some((Op::Update, must_touch)),
        (Op::Update | Op::Delete, Op::Delete) => Some((Op::Delete, before.must_touch)),
        (Op::Upsert | Op::Replace, Op::Delete) => Some((Op::Delete, false)),
        (Op::Delete, Op::Insert | Op::Upsert) if !before.must_touch => Some((Op::Replace, false)),
        _ => None,
    }
}

fn merge(before: &mut Change, next: Change, op: Op, must_touch: bool) {
    before.messages.extend(next.messages);
    match op {
        // Their parent takes them with it; what a replaced one had is gone too.
        Op::Delete | Op::Replace if before.op != Op::Replace || op == Op::Delete => before.children = next.children,
        _ if before.children.is_empty() => before.children = next.children,
        _ => before.children.iter_mut().zip(next.children).for_each(|(mine, theirs)| {
            if theirs.is_some() {
                *mine = theirs;
            }
        }),
    }
    match op {
        Op::Delete => {
            before.cells = next.cells;
            before.insert_only.clear();
        }
        Op::Replace if before.op == Op::Delete => {
            before.cells = next.cells;
            for (place, cell) in next.insert_only {
                before.cells[place] = cell;
            }
        }
        _ => {
            before.insert_only.retain(|(place, _)| next.cells[*place] == Cell::Absent);
            for (mine, theirs) in before.cells.iter_mut().zip(next.cells) {
                if theirs != Cell::Absent {
                    *mine = theirs;
                }
            }
        }
    }
    before.op = op;
    before.must_touch = must_touch;
}

#[cfg(test)]
mod tests;
