//! From changes to statements: rows that are written alike go together, wave by wave.
//!
//! The rows of child tables are replaced as a whole in the wave of their parent. First what hangs on parents that go is
//! cleared, then the parents are written, then the children of those that stay are cleared and written anew. So a foreign key
//! holds at every step, and whoever writes the same parent waits for its row before it touches a child. A child whose parent
//! may turn out to be missing, newer, or not to be changed names it ([`Statement::parents`]).

use std::sync::Arc;

use super::{Composed, Plan, Plans};
use crate::{
    fold::Change,
    route::OnExisting,
    transaction::{Cell, Encoded, Op, Statement, TablePlan},
};

/// A statement is only looked for among so many of the last ones: beyond it a new one is begun, so that a batch whose
/// rows all differ in their columns costs no quadratic search.
const STATEMENTS_SEARCHED: usize = 32;

/// Groups changes, which are in the order of their waves.
pub(super) fn group(changes: Vec<Change>, plans: &Plans, composed: &mut Composed) {
    let mut grouping = Grouping { composed, stages: Vec::new(), stage: 0 };
    if !changes.iter().any(|change| plans.get(change.plan).has_children()) {
        for change in changes {
            grouping.stage = change.wave;
            let plan = &plans.get(change.plan).mapping.plan;
            grouping.change(plan, change);
        }
        return;
    }
    let mut changes = changes.into_iter().peekable();
    while let Some(first) = changes.next() {
        let of_wave = first.wave;
        let mut wave = vec![first];
        while let Some(next) = changes.next_if(|change| change.wave == of_wave) {
            wave.push(next);
        }
        grouping.wave(wave, plans);
    }
}

struct Grouping<'a> {
    composed: &'a mut Composed,
    /// For each statement the stage that it is of: rows of another one never join it.
    stages: Vec<usize>,
    stage: usize,
}

/// A row on its way into a statement.
struct Row<'a> {
    plan: &'a Arc<TablePlan>,
    op: Op,
    must_touch: bool,
    cells: Vec<Cell>,
    /// Places in `cells` that only an insert writes.
    insert_only: &'a [usize],
    /// Its messages and plan; none for what stands for no message of its own.
    source: Option<(Vec<usize>, usize)>,
    parent: Option<(usize, usize)>,
}

/// A parent whose children are written after it.
struct Parent<'a> {
    plan: &'a Plan,
    op: Op,
    keys: Vec<Option<Vec<Cell>>>,
    children: Vec<crate::mapping::Children>,
    source: (Vec<usize>, usize),
    at: Option<(usize, usize)>,
}

impl Grouping<'_> {
    /// One wave with children.
    fn wave(&mut self, wave: Vec<Change>, plans: &Plans) {
        self.clear_what_goes(&wave, plans);
        self.stage += 1;
        let mut parents: Vec<Parent<'_>> = Vec::new();
        for mut change in wave {
            let plan = plans.get(change.plan);
            let children = std::mem::take(&mut change.children);
            if !children.iter().any(Option::is_some) || change.op == Op::Delete {
                self.change(&plan.mapping.plan, change);
                continue;
            }
            let keys = plan.mapping.child_keys(&change.cells);
            let (op, source, may_stay) = (change.op, (change.messages.clone(), change.plan), may_stay(plan, &change));
            let at = self.change(&plan.mapping.plan, change);
            parents.push(Parent { plan, op, keys, children, source, at: may_stay.then_some(at) });
        }
        self.stage += 1;
        // What was replaced is cleared already.
        for parent in parents.iter().filter(|parent| parent.op != Op::Replace) {
            let spoken_of = parent.children.iter().map(Option::is_some);
            let keys = parent.keys.iter().zip(spoken_of).map(|(key, spoken_of)| key.as_ref().filter(|_| spoken_of));
            self.clear(parent.plan, keys, parent.at);
        }
        self.stage += 1;
        for parent in parents {
            for (plan, rows) in parent.plan.mapping.children.iter().zip(parent.children) {
                for cells in rows.into_iter().flatten() {
                    let source = Some(parent.source.clone());
                    let row = Row {
                        plan,
                        op: Op::Insert,
                        must_touch: false,
                        cells,
                        insert_only: &[],
                        source,
                        parent: parent.at,
                    };
                    let (statement, _) = self.add(row);
                    self.composed.of_children.insert(statement);
                }
            }
        }
        self.stage += 1;
    }

    /// Clears the children of the parents that are deleted or replaced. Whether a guarded delete will happen has to be known
    /// before: its row is touched first, with the delete's version.
    fn clear_what_goes(&mut self, wave: &[Change], plans: &Plans) {
        let goes = |change: &&Change| matches!(change.op, Op::Delete | Op::Replace);
        let going = wave.iter().filter(goes).map(|change| (change, plans.get(change.plan)));
        let going: Vec<_> = going.filter(|(_, plan)| plan.has_children()).collect();
        let touched = going.iter().map(|(change, plan)| {
            let plan = &plan.mapping.plan;
            let guarded = change.op == Op::Delete && plan.version.is_some_and(|at| change.cells[at] != Cell::Absent);
            guarded.then(|| {
                let kept = |place: &usize| plan.key.contains(place) || plan.version == Some(*place);
                let cell = |place| if kept(&place) { change.cells[place].clone() } else { Cell::Absent };
                let cells = (0..change.cells.len()).map(cell).collect();
                let row = Row {
                    plan,
                    op: Op::Update,
                    must_touch: false,
                    cells,
                    insert_only: &[],
                    source: None,
                    parent: None,
                };
                self.add(row)
            })
        });
        let touched: Vec<_> = touched.collect();
        self.stage += 1;
        for ((change, plan), parent) in going.iter().zip(touched) {
            let keys = plan.mapping.child_keys(&change.cells);
            self.clear(plan, keys.iter().map(Option::as_ref), parent);
        }
    }

    /// Clears the children that have these keys: one for each child plan.
    fn clear<'k>(
        &mut self,
        plan: &Plan,
        keys: impl Iterator<Item = Option<&'k Vec<Cell>>>,
        parent: Option<(usize, usize)>,
    ) {
        for (plan, key) in plan.mapping.children.iter().zip(keys) {
            let Some(key) = key else { continue };
            let mut cells = vec![Cell::Absent; plan.columns.len()];
            for (&place, cell) in plan.key.iter().zip(key) {
                cells[place] = cell.clone();
            }
            let row = Row { plan, op: Op::Clear, must_touch: false, cells, insert_only: &[], source: None, parent };
            let (statement, _) = self.add(row);
            self.composed.of_children.insert(statement);
        }
    }

    /// A change's own row: answers with where it is.
    fn change(&mut self, plan: &Arc<TablePlan>, mut change: Change) -> (usize, usize) {
        let insert_only: Vec<_> = match change.op {
            Op::Upsert => change.insert_only.iter().map(|(place, _)| *place).collect(),
            _ => Vec::new(),
        };
        for (place, cell) in change.insert_only {
            change.cells[place] = cell;
        }
        let source = Some((change.messages, change.plan));
        let Change { op, must_touch, cells, .. } = change;
        self.add(Row { plan, op, must_touch, cells, insert_only: &insert_only, source, parent: None })
    }

    /// Puts a row with those that are written alike.
    fn add(&mut self, mut row: Row<'_>) -> (usize, usize) {
        let plan = row.plan;
        let finds = |place: &usize| plan.key.contains(place) || plan.version == Some(*place);
        let written = |place: &usize| row.cells[*place] != Cell::Absent && (row.op != Op::Delete || finds(place));
        let fits = |statement: &Statement| {
            let only = statement.columns.iter().copied().filter(|place| row.insert_only.contains(place));
            Arc::ptr_eq(&statement.plan, plan)
                && statement.op == row.op
                && statement.must_touch == row.must_touch
                && statement.parents.is_empty() == row.parent.is_none()
                && statement.columns.iter().copied().eq((0..row.cells.len()).filter(written))
                && statement.insert_only.iter().map(|&at| statement.columns[at]).eq(only)
        };
        let statements = &mut self.composed.statements;
        let found = (0..statements.len())
            .rev()
            .take(STATEMENTS_SEARCHED)
            .take_while(|&at| self.stages[at] == self.stage)
            .find(|&at| fits(&statements[at]));
        let at = found.unwrap_or_else(|| {
            let columns: Vec<_> = (0..row.cells.len()).filter(written).collect();
            let only = columns.iter().enumerate().filter(|(_, place)| row.insert_only.contains(place));
            statements.push(Statement {
                plan: Arc::clone(plan),
                op: row.op,
                must_touch: row.must_touch,
                insert_only: only.map(|(at, _)| at).collect(),
                columns,
                parents: Vec::new(),
                encoded: Encoded::default(),
                rows: Vec::new(),
            });
            self.composed.sources.push(Vec::new());
            self.stages.push(self.stage);
            statements.len() - 1
        });
        let statement = &mut statements[at];
        let cells = if statement.columns.len() == row.cells.len() {
            row.cells
        } else {
            statement.columns.iter().map(|&place| std::mem::replace(&mut row.cells[place], Cell::Absent)).collect()
        };
        statement.rows.push(cells);
        statement.parents.extend(row.parent);
        self.composed.sources[at].extend(row.source);
        (at, statement.rows.len() - 1)
    }
}

/// Whether the row that is there may stay as it is, or may be missing: its children then stay too.
fn may_stay(plan: &Plan, change: &Change) -> bool {
    let only = |place: usize| change.insert_only.iter().any(|(only, _)| *only == place);
    let guarded = plan.mapping.plan.version.is_some_and(|at| change.cells[at] != Cell::Absent && !only(at));
    match change.op {
        Op::Update => guarded || !change.must_touch,
        Op::Upsert => guarded || plan.route.on_existing == OnExisting::Ignore,
        _ => false,
    }
}
