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
    /// Whether the route said `every_change`.
    fn every_change(&self, plan: usize) -> bool;
}

/// Folds changes, given in the order of the log, each with one message and wave 0.
///
/// The result is in the order of first appearance; sort by wave (stably) to write it.
pub fn fold(changes: impl IntoIterator<Item = Change>, tables: &impl Tables) -> Vec<Change> {
    let mut folded: Vec<Change> = Vec::new();
    let mut fronts: HashMap<usize, Front> = HashMap::new();
    for mut change in changes {
        let space = tables.key_space(change.plan);
        let front = fronts.entry(tables.table(change.plan)).or_insert_with(|| Front::new(space, 0));
        if front.space != space {
            // Whether these changes concern the same rows as those before them cannot be told from the keys.
            *front = Front::new(space, front.top + 1);
        }
        change.wave = front.floor;
        let Some(key) = change.key.clone() else {
            folded.push(change);
            continue;
        };
        let place = match front.last_of_key.entry(key) {
            std::collections::hash_map::Entry::Vacant(vacant) => {
                vacant.insert(folded.len());
                folded.push(change);
                continue;
            }
            std::collections::hash_map::Entry::Occupied(occupied) => occupied.into_mut(),
        };
        let before = &mut folded[*place];
        let may_fold = before.plan == change.plan && !tables.every_change(change.plan);
        match may_fold.then(|| merged_op(before, &change)).flatten() {
            Some((op, must_touch)) => merge(before, change, op, must_touch),
            None => {
                change.wave = before.wave + 1;
                front.top = front.top.max(change.wave);
                *place = folded.len();
                folded.push(change);
            }
        }
    }
    folded
}

/// How far the changes of one table have got.
struct Front {
    space: usize,
    /// No change of this key space may be written in a lower wave.
    floor: usize,
    /// The highest wave so far.
    top: usize,
    last_of_key: HashMap<Box<str>, usize>,
}

impl Front {
    fn new(space: usize, floor: usize) -> Self {
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
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    struct OneTable;
    impl Tables for OneTable {
        fn table(&self, _: usize) -> usize {
            0
        }
        fn every_change(&self, _: usize) -> bool {
            false
        }
    }

    const DEFAULT: &str = "default";

    fn change(op: Op, message: usize, fields: u8) -> Change {
        let cell = |bit: u8| {
            if op != Op::Delete && fields & bit != 0 { Cell::Text(format!("v{message}").into()) } else { Cell::Absent }
        };
        let cells = vec![Cell::Text("k".into()), cell(1), cell(2)];
        let mut insert_only = Vec::new();
        let mut cells = cells;
        if cells[2] == Cell::Absent {
            match op {
                Op::Upsert => insert_only.push((2, Cell::Text(DEFAULT.into()))),
                Op::Insert => cells[2] = Cell::Text(DEFAULT.into()),
                _ => {}
            }
        }
        let must_touch = op == Op::Update;
        Change {
            plan: 0,
            op,
            must_touch,
            cells,
            insert_only,
            key: Some("k".into()),
            children: vec![],
            messages: vec![message],
            wave: 0,
        }
    }

    type Row = Option<[Cell; 2]>;

    /// Does one change to one row as a database does; `Err` is a rejection, `Ok(false)` an untouched row.
    fn apply(row: &mut Row, change: &Change) -> Result<bool, ()> {
        let insert = |change: &Change| {
            let mut fresh = [Cell::Null, Cell::Null];
            for (column, slot) in fresh.iter_mut().enumerate() {
                let only = change.insert_only.iter().find(|(place, _)| *place == column + 1).map(|(_, cell)| cell);
                let cell = only.unwrap_or(&change.cells[column + 1]);
                if *cell != Cell::Absent {
                    *slot = cell.clone();
                }
            }
            Some(fresh)
        };
        let update = |row: &mut [Cell; 2]| {
            for (column, slot) in row.iter_mut().enumerate() {
                if change.cells[column + 1] != Cell::Absent {
                    *slot = change.cells[column + 1].clone();
                }
            }
        };
        match (change.op, row.as_mut()) {
            (Op::Insert, Some(_)) => return Err(()),
            (Op::Insert | Op::Upsert, None) | (Op::Replace, _) => *row = insert(change),
            (Op::Upsert | Op::Update, Some(there)) => update(there),
            (Op::Update, None) if change.must_touch => return Err(()),
            (Op::Delete, None) if change.must_touch => return Err(()),
            (Op::Update | Op::Delete | Op::Clear, None) => return Ok(false),
            (Op::Delete | Op::Clear, Some(_)) => *row = None,
        }
        Ok(true)
    }

    fn singly(start: &Row, ops: &[Change]) -> (Row, Vec<usize>) {
        let mut row = start.clone();
        let mut dead = Vec::new();
        for change in ops {
            if apply(&mut row, change).is_err() {
                dead.extend(&change.messages);
            }
        }
        (row, dead)
    }

    /// As delivery does it: all waves in one transaction; a rejection means all of it is done singly.
    fn with_folding(start: &Row, ops: &[Change]) -> (Row, Vec<usize>) {
        let mut waves = fold(ops.to_vec(), &OneTable);
        waves.sort_by_key(|change| change.wave);
        let mut row = start.clone();
        if waves.iter().all(|change| apply(&mut row, change).is_ok()) { (row, Vec::new()) } else { singly(start, ops) }
    }

    #[test]
    fn every_sequence_of_up_to_four_actions_folds_to_what_doing_them_singly_gives() {
        let kinds: Vec<(Op, u8)> = [Op::Insert, Op::Upsert, Op::Update]
            .into_iter()
            .flat_map(|op| [(op, 1), (op, 2), (op, 3)])
            .chain([(Op::Delete, 0)])
            .collect();
        let starts: [Row; 2] = [None, Some([Cell::Text("a".into()), Cell::Text("b".into())])];
        for length in 1..=4_u32 {
            for number in 0..kinds.len().pow(length) {
                let ops: Vec<_> = (0..length)
                    .map(|place| {
                        let (op, fields) = kinds[number / kinds.len().pow(place) % kinds.len()];
                        change(op, place as usize, fields)
                    })
                    .collect();
                for start in &starts {
                    assert_eq!(with_folding(start, &ops), singly(start, &ops), "{start:?} {ops:?}");
                }
            }
        }
    }

    #[test]
    fn an_update_heavy_batch_of_one_key_becomes_one_row() {
        let ops: Vec<_> = (0..100).map(|place| change(Op::Upsert, place, 1)).collect();
        let folded = fold(ops, &OneTable);
        assert_eq!(folded.len(), 1);
        assert_eq!(folded[0].messages.len(), 100);
        assert_eq!(folded[0].cells[1], Cell::Text("v99".into()));
    }

    proptest! {
        #[test]
        fn no_message_is_left_out_and_none_stands_twice(ops in proptest::collection::vec((0_u8..4, 0_u8..4, 0_u8..3), 0..40)) {
            let list = [Op::Insert, Op::Upsert, Op::Update, Op::Delete];
            let changes = ops.iter().enumerate().map(|(place, (op, fields, key))| {
                let mut made = change(list[usize::from(*op)], place, *fields);
                made.key = Some(format!("{key}").into());
                made
            });
            let mut seen: Vec<_> = fold(changes, &OneTable).into_iter().flat_map(|change| change.messages).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..ops.len()).collect::<Vec<_>>());
        }
    }
}
