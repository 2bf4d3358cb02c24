//! Writing and acknowledging what is in hand, piece by piece: a bad row is cut out as ordered delivery does.

use std::{collections::BTreeMap, time::Instant};

use super::{ParallelDelivery, Run, Trouble, Wrote};
use crate::{
    compose::{Composed, DeadKeys, Piece, compose},
    delivery::{
        cuts::{Cuts, Refusals, Written},
        database, log,
        pieces::{letters, may_be_stale},
        take_over::compile,
    },
    failpoint,
    message::Message,
    ports::{Acknowledge, WriteError},
    transaction::{Cell, DeadId, Op},
};

impl ParallelDelivery {
    /// Writes and acknowledges what is in hand.
    ///
    /// # Errors
    /// What has to happen first; what is not written yet stays in hand.
    pub async fn deliver(&mut self) -> Result<Wrote, Trouble> {
        let mut wrote = Wrote::default();
        while let Some(mut run) = self.hand.pop_front() {
            let outcome = self.deliver_run(&mut run, &mut wrote).await;
            if let Err(trouble) = outcome {
                self.hand.push_front(run);
                return Err(trouble);
            }
        }
        Ok(wrote)
    }

    async fn deliver_run(&mut self, run: &mut Run, wrote: &mut Wrote) -> Result<(), Trouble> {
        let mut cuts = Cuts::new(run.messages.len(), None);
        while let Some(piece) = cuts.piece(run.done) {
            let end = piece.end;
            let messages: Vec<&Message> = run.messages[piece].iter().collect();
            let before = self.counts.rows;
            let written = self.write_piece(run, &messages, &cuts.refused).await?;
            if matches!(written, Written::All) {
                wrote.rows += self.counts.rows - before;
                wrote.accepted_ms.extend(messages.iter().map(|message| message.id.ms));
                run.done = end;
            }
            cuts.learn(written);
        }
        Ok(())
    }

    async fn write_piece(&mut self, run: &Run, messages: &[&Message], refused: &Refusals) -> Result<Written, Trouble> {
        if self.plans.is_none() {
            self.read_tables().await?;
        }
        let mut composed = self.compose(run, messages, refused);
        if may_be_stale(self.plans.as_ref(), &composed, self.limits.catalogue_age) {
            self.read_tables().await?;
            composed = self.compose(run, messages, refused);
        }
        let lane = self.lanes[run.lane].lane.clone();
        let letters = letters(self.plans.as_ref(), &composed, messages, &lane.stream, self.attempts + 1);
        if !letters.is_empty() {
            log(self.limits.log, &self.progress, self.log.keep_dead(&lane, &letters)).await?;
        }
        let mut rows = 0;
        if !composed.statements.is_empty() {
            sort_by_key(&mut composed);
            self.attempts += 1;
            failpoint::reach(failpoint::BEFORE_TRANSACTION);
            let started = Instant::now();
            let call = self.database.write(&composed.statements);
            let outcome = database(self.limits.write, &self.progress, "a transaction", call).await;
            self.counts.last_write = started.elapsed();
            match outcome {
                Ok(committed) => {
                    failpoint::reach(failpoint::AFTER_COMMIT);
                    rows = composed.rows_written(&committed.untouched);
                }
                Err(WriteError::Reject(reason)) => {
                    self.attempts = 0;
                    return Ok(Written::refused(&composed, reason));
                }
                Err(WriteError::Hold(fault)) => {
                    // The catalogue knows better which route misses what.
                    self.plans = None;
                    self.read_tables().await?;
                    return Err(WriteError::Hold(fault).into());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let routes = self.routes(&composed);
        let standing: Vec<DeadId> = letters.iter().map(|letter| letter.dead.clone()).collect();
        let ids = messages.iter().map(|message| message.id).collect();
        let done = Acknowledge {
            generation: run.generation.clone(),
            version: self.version,
            ids,
            routes,
            standing,
            void: Vec::new(),
        };
        log(self.limits.log, &self.progress, self.group.acknowledge(&lane, &done)).await?;
        failpoint::reach(failpoint::AFTER_ADVANCE);
        self.attempts = 0;
        self.counts.rows += rows as u64;
        self.counts.entries += messages.len() as u64;
        self.counts.dead += letters.len() as u64;
        for letter in &letters {
            tracing::warn!(
                destination = %self.spec.name, route = %letter.route_name, id = %letter.dead.id,
                column = letter.reason.column.as_deref(), code = %letter.reason.code, "dead letter"
            );
        }
        Ok(Written::All)
    }

    fn compose(&self, run: &Run, messages: &[&Message], refused: &Refusals) -> Composed {
        let piece = Piece {
            application: &self.lanes[run.lane].lane.stream,
            generation: &run.generation,
            messages,
            starts: &run.starts,
            refused,
            // Without order nothing is older or newer than a dead letter.
            dead: &DeadKeys::new(),
            fold: messages.len() > 1,
        };
        self.plans.as_ref().map_or_else(Composed::default, |plans| compose(&piece, plans))
    }

    fn routes(&self, composed: &Composed) -> Vec<String> {
        let Some(plans) = &self.plans else { return Vec::new() };
        composed.plans.iter().map(|&plan| plans.get(plan).route.id.clone()).collect()
    }

    pub(super) async fn read_tables(&mut self) -> Result<(), Trouble> {
        let lanes: Vec<_> = self.lanes.iter().map(|lane| &lane.lane).collect();
        let (log, database) = (&mut *self.log, &mut *self.database);
        let kept = &mut std::collections::HashSet::new();
        let (plans, unfit) = compile(&self.spec, &lanes, log, database, self.limits, &self.progress, kept).await?;
        // There is no order to keep per table, and no row of ours to wait in: the entries wait in the group.
        if let Some(unfit) = unfit.into_iter().next() {
            return Err(Trouble::Hold(unfit.why));
        }
        self.plans = Some(plans);
        Ok(())
    }
}

/// Puts the rows of each statement in the order of their keys, so that two nodes lock the same rows in the same order. Rows
/// of one key keep theirs, statements keep their order, and rows that go with others go with them where they stand then.
fn sort_by_key(composed: &mut Composed) {
    let mut moved: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in 0..composed.statements.len() {
        let (statement, sources) = (&mut composed.statements[at], &mut composed.sources[at]);
        for (of, row) in &mut statement.parents {
            *row = moved.get(of).and_then(|places| places.get(*row)).copied().unwrap_or(*row);
        }
        let key = statement.key_cells();
        if key.is_empty() || statement.rows.len() < 2 || statement.op == Op::Insert {
            continue;
        }
        let rows = &statement.rows;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|&one, &two| {
            key.iter().map(|&at| rank(&rows[one][at])).cmp(key.iter().map(|&at| rank(&rows[two][at])))
        });
        arrange(&mut statement.rows, &order);
        // What is cleared stands for no message, and mostly goes with no row.
        arrange(&mut statement.parents, &order);
        arrange(sources, &order);
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(now, before)| places[*before] = now);
        moved.insert(at, places);
    }
}

/// Puts a list in this order, unless there is nothing to put.
fn arrange<T: Default>(list: &mut Vec<T>, order: &[usize]) {
    if list.len() == order.len() {
        *list = order.iter().map(|&at| std::mem::take(&mut list[at])).collect();
    }
}

/// Any total order does, as long as every node has the same.
fn rank(cell: &Cell) -> &[u8] {
    match cell {
        Cell::Absent | Cell::Null => &[],
        Cell::Text(text) => text.as_bytes(),
        Cell::Bytes(bytes) => bytes,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::Arc;

    use super::*;
    use crate::{
        schema::TableSchema,
        transaction::{Encoded, Statement, TablePlan},
    };

    #[test]
    fn rows_are_put_in_the_order_of_their_keys_with_their_sources_and_one_key_keeps_its_order() {
        let table = TableSchema { schema: String::new(), name: "cars".into(), columns: vec![], unique_keys: vec![] };
        let plan = TablePlan {
            route: "r".into(),
            table: Arc::new(table),
            columns: vec![0, 1],
            key: vec![1],
            only_unique_key: true,
            version: None,
        };
        let text = |text: &str| Cell::Text(text.into());
        let rows = [("first", "b"), ("second", "a"), ("third", "b"), ("fourth", "a")];
        let statement = Statement {
            plan: Arc::new(plan),
            op: Op::Upsert,
            must_touch: false,
            columns: vec![0, 1],
            insert_only: vec![],
            parents: vec![],
            encoded: Encoded::default(),
            rows: rows.iter().map(|(value, key)| vec![text(value), text(key)]).collect(),
        };
        let sources = vec![(0..4).map(|at| (vec![at], 0)).collect()];
        let mut composed = Composed { statements: vec![statement], sources, ..Composed::default() };
        sort_by_key(&mut composed);
        assert_eq!(composed.statements.len(), 1);
        let order: Vec<_> = composed.statements[0].rows.iter().map(|row| row[0].clone()).collect();
        assert_eq!(order, ["second", "fourth", "first", "third"].map(text));
        assert_eq!(composed.sources[0].iter().map(|(at, _)| at[0]).collect::<Vec<_>>(), [1, 3, 0, 2]);
    }

    /// The parents first, then what is cleared, then the children: each in an order of its own, and each child with its parent.
    #[test]
    fn children_stay_behind_their_parents_and_with_them() {
        let table = TableSchema { schema: String::new(), name: "t".into(), columns: vec![], unique_keys: vec![] };
        let plan = TablePlan {
            route: "r".into(),
            table: Arc::new(table),
            columns: vec![0],
            key: vec![0],
            only_unique_key: true,
            version: None,
        };
        let plan = Arc::new(plan);
        let statement = |op, keys: [&str; 3], parents: Vec<(usize, usize)>| Statement {
            plan: Arc::clone(&plan),
            op,
            must_touch: false,
            columns: vec![0],
            insert_only: vec![],
            parents,
            encoded: Encoded::default(),
            rows: keys.map(|key| vec![Cell::Text(key.into())]).to_vec(),
        };
        let of = || vec![(0, 0), (0, 1), (0, 2)];
        let statements = vec![
            statement(Op::Upsert, ["c", "a", "b"], vec![]),
            statement(Op::Clear, ["c", "a", "b"], of()),
            statement(Op::Insert, ["c1", "a1", "b1"], of()),
        ];
        let sources: Vec<Vec<_>> = (0..3).map(|_| (0..3).map(|row| (vec![row], 0)).collect()).collect();
        let sources = vec![sources[0].clone(), vec![], sources[2].clone()];
        let mut composed = Composed { statements, sources, ..Composed::default() };
        sort_by_key(&mut composed);
        let [parents, cleared, children] = &composed.statements[..] else { panic!() };
        let keys = |statement: &Statement| -> Vec<_> { statement.rows.iter().map(|row| row[0].clone()).collect() };
        let text = |text: &str| Cell::Text(text.into());
        assert_eq!((parents.op, cleared.op, children.op), (Op::Upsert, Op::Clear, Op::Insert));
        assert_eq!(keys(parents), ["a", "b", "c"].map(text));
        assert_eq!(keys(cleared), ["a", "b", "c"].map(text));
        assert_eq!(cleared.parents, [(0, 0), (0, 1), (0, 2)]);
        assert_eq!(keys(children), ["c1", "a1", "b1"].map(text));
        assert_eq!(children.parents, [(0, 2), (0, 0), (0, 1)]);
        assert_eq!(composed.sources[0].iter().map(|(at, _)| at[0]).collect::<Vec<_>>(), [1, 2, 0]);
        assert!(composed.sources[1].is_empty());
    }
}
