#![allow(clippy::unwrap_used, clippy::panic)]
use proptest::prelude::*;

use super::*;

/// One table; its changes are folded or all stay on their own.
struct OneTable {
    every_change: bool,
}

const FOLDED: OneTable = OneTable { every_change: false };
const APART: OneTable = OneTable { every_change: true };

impl Tables for OneTable {
    fn table(&self, _: usize) -> usize {
        0
    }
    fn every_change(&self, _: usize) -> bool {
        self.every_change
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

/// Two columns and the rows of a child table.
type Row = Option<([Cell; 2], Vec<Vec<Cell>>)>;

/// A version as the guard compares it: the second column, where it is a number.
fn version(cell: &Cell) -> Option<u32> {
    match cell {
        Cell::Text(text) => text.parse().ok(),
        _ => None,
    }
}

/// Does one change to one row as a database does; `Err` is a rejection, `Ok(false)` an untouched row. A second column that
/// is a number is a version.
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
        Some((fresh, change.children.iter().flatten().flatten().cloned().collect()))
    };
    let update = |(row, children): &mut ([Cell; 2], Vec<Vec<Cell>>)| {
        for (column, slot) in row.iter_mut().enumerate() {
            if change.cells[column + 1] != Cell::Absent {
                *slot = change.cells[column + 1].clone();
            }
        }
        if let [Some(rows)] = &*change.children {
            children.clone_from(rows);
        }
    };
    let stored = row.as_ref().and_then(|(cells, _)| version(&cells[1]));
    let guarded = matches!(change.op, Op::Upsert | Op::Update | Op::Delete);
    if guarded && stored.zip(version(&change.cells[2])).is_some_and(|(stored, given)| stored > given) {
        return Ok(true);
    }
    match (change.op, row.as_mut()) {
        (Op::Insert, Some(_)) => return Err(()),
        (Op::Insert | Op::Upsert, None) | (Op::Replace, _) => *row = insert(change),
        (Op::Upsert | Op::Update, Some(there)) => update(there),
        (Op::Update | Op::Delete, None) if change.must_touch => return Err(()),
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
fn with_folding(start: &Row, ops: &[Change], tables: &OneTable) -> (Row, Vec<usize>) {
    let mut waves = fold(ops.to_vec(), tables);
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
    let starts = [None, Some(([text("a"), text("b")], Vec::new()))];
    every_sequence(&kinds, &starts, &FOLDED, |place, (op, fields)| change(*op, place, *fields));
}

fn text(text: &str) -> Cell {
    Cell::Text(text.into())
}

/// Every sequence of up to four of these kinds of changes, from each start, against doing them singly.
fn every_sequence<K>(kinds: &[K], starts: &[Row], tables: &OneTable, change: impl Fn(usize, &K) -> Change) {
    for length in 1..=4_u32 {
        for number in 0..kinds.len().pow(length) {
            let kind = |place: u32| &kinds[number / kinds.len().pow(place) % kinds.len()];
            let ops: Vec<_> = (0..length).map(|place| change(place as usize, kind(place))).collect();
            for start in starts {
                assert_eq!(with_folding(start, &ops, tables), singly(start, &ops), "{start:?} {ops:?}");
            }
        }
    }
}

/// `on_existing = "ignore"`: upserts of which every column is for new rows only, among all other actions.
#[test]
fn every_sequence_of_up_to_four_actions_with_inserts_if_absent_folds_to_what_doing_them_singly_gives() {
    let ignore = [(Op::Upsert, 1, true), (Op::Upsert, 2, true), (Op::Upsert, 3, true)];
    let other = [Op::Insert, Op::Upsert, Op::Update].into_iter().flat_map(|op| [(op, 1, false), (op, 2, false)]);
    let kinds: Vec<_> = ignore.into_iter().chain(other).chain([(Op::Delete, 0, false)]).collect();
    let starts = [None, Some(([text("a"), text("b")], Vec::new()))];
    every_sequence(&kinds, &starts, &FOLDED, |place, (op, fields, ignore)| {
        let mut made = change(*op, place, *fields);
        if *ignore {
            let cells = made.cells.iter_mut().enumerate().skip(1).filter(|(_, cell)| **cell != Cell::Absent);
            let moved: Vec<_> = cells.map(|(at, cell)| (at, std::mem::replace(cell, Cell::Absent))).collect();
            made.insert_only.extend(moved);
        }
        made
    });
}

/// With a version column: changes that carry an older one, a newer one, or none.
#[test]
fn every_sequence_of_up_to_four_versioned_actions_is_written_as_if_singly() {
    let versions = [Cell::Absent, text("1"), text("2")];
    let kinds: Vec<(Op, bool, Cell)> =
        [(Op::Insert, false), (Op::Upsert, false), (Op::Update, true), (Op::Delete, false)]
            .into_iter()
            .flat_map(|(op, must)| versions.clone().map(|version| (op, must, version)))
            .collect();
    let starts = [Cell::Null, text("1"), text("3")].map(|version| Some(([text("a"), version], Vec::new())));
    let starts: Vec<Row> = starts.into_iter().chain([None]).collect();
    every_sequence(&kinds, &starts, &APART, |place, (op, must_touch, version)| {
        let mut made = change(*op, place, 1);
        (made.must_touch, made.cells[2]) = (*must_touch, version.clone());
        made.insert_only.clear();
        made
    });
}

/// With a child table: changes that speak of the children and changes that don't.
#[test]
fn every_sequence_of_up_to_four_actions_with_children_folds_to_what_doing_them_singly_gives() {
    let kinds: Vec<(Op, bool, Option<u8>)> =
        [(Op::Insert, false), (Op::Upsert, false), (Op::Update, true), (Op::Update, false)]
            .into_iter()
            .flat_map(|(op, must)| [None, Some(0), Some(2)].map(|children| (op, must, children)))
            .chain([(Op::Delete, false, None)])
            .collect();
    let starts = [None, Some(([text("a"), text("b")], vec![vec![text("c")]]))];
    every_sequence(&kinds, &starts, &FOLDED, |place, (op, must_touch, children)| {
        let mut made = change(*op, place, 1);
        made.must_touch = *must_touch;
        let rows = |many: u8| (0..many).map(|child| vec![text(&format!("{place}.{child}"))]).collect();
        made.children = vec![children.map(rows)];
        made
    });
}

/// Two routes: 0 writes table 0 and its children in table 1, 1 writes table 1 itself.
struct Family;

impl Tables for Family {
    fn table(&self, plan: usize) -> usize {
        plan
    }
    fn every_change(&self, _: usize) -> bool {
        false
    }
    fn child_tables(&self, plan: usize) -> &[usize] {
        if plan == 0 { &[1] } else { &[] }
    }
}

#[test]
fn a_child_table_that_another_route_writes_keeps_the_order_of_both() {
    let of = |plan: usize, key: &str, message: usize| {
        let mut made = change(Op::Upsert, message, 1);
        (made.plan, made.key) = (plan, Some(key.into()));
        made
    };
    let changes =
        [of(0, "a", 0), of(0, "b", 1), of(1, "x", 2), of(1, "y", 3), of(0, "a", 4), of(0, "c", 5), of(1, "x", 6)];
    let folded = fold(changes, &Family);
    let waves: Vec<_> = folded.iter().map(|change| (change.messages.clone(), change.wave)).collect();
    let wanted = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)].map(|(message, wave)| (vec![message], wave));
    assert_eq!(waves, wanted);
}

#[test]
fn an_update_heavy_batch_of_one_key_becomes_one_row() {
    let ops: Vec<_> = (0..100).map(|place| change(Op::Upsert, place, 1)).collect();
    let folded = fold(ops, &FOLDED);
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
        let mut seen: Vec<_> = fold(changes, &FOLDED).into_iter().flat_map(|change| change.messages).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..ops.len()).collect::<Vec<_>>());
    }
}
