//! A destination in memory: tables, watermark, dead letters and bind tokens, with every rule of
//! [`crate::ports::Destination`] and of [`crate::transaction::Transaction`].
//!
//! A [`MemoryDatabase`] is the database as a test holds it in hand: to look into, to break, to restore from a backup.
//! [`MemoryDatabase::open`] gives the connection that a writer holds; open several to let writers race.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use async_trait::async_trait;

use super::{
    Failure,
    service::Service,
    statement::{self, Tables},
    table::MemoryTable,
};
use crate::{
    message::{Generation, StreamId},
    ports::{Destination, Fault, Rejection, TableName, WriteError},
    schema::TableSchema,
    transaction::{
        Cell, Committed, DeadId, DeadRow, Fence, LaneId, LeftOut, SideRow, Statement, TakenOver, Transaction, Trial,
        Tried, WatermarkRow, settled,
    },
};

/// The calls of a destination, to order faults for and to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DatabaseCall {
    /// [`Destination::probe`].
    Probe,
    /// [`Destination::take_over`].
    TakeOver,
    /// [`Destination::begin_lane`].
    BeginLane,
    /// [`Destination::watermark`].
    Watermark,
    /// [`Destination::table`].
    Table,
    /// [`Destination::tables`].
    Tables,
    /// [`Destination::commit`].
    Commit,
    /// [`Destination::sift`].
    Sift,
    /// [`Destination::write`].
    Write,
}

/// A transaction that was committed.
#[derive(Clone, Debug)]
pub struct JournalEntry {
    /// What was written.
    pub transaction: Transaction,
    /// What it came to.
    pub committed: Committed,
}

/// Everything a database held at one moment.
#[derive(Clone, Debug)]
pub struct DatabaseBackup(Data);

/// A database in memory. Clones are the same database.
#[derive(Clone, Debug, Default)]
pub struct MemoryDatabase {
    service: Service<State, DatabaseCall, WriteError>,
}

#[derive(Debug, Default)]
struct State {
    data: Data,
    journal: Vec<JournalEntry>,
}

#[derive(Clone, Debug, Default)]
struct Data {
    tables: Tables,
    /// By lane and generation.
    watermarks: BTreeMap<(String, Generation), WatermarkRow>,
    /// By lane.
    dead: BTreeMap<(String, DeadId), DeadRow>,
    /// By installation and destination.
    binds: BTreeMap<(String, String), String>,
}

impl MemoryDatabase {
    /// An empty database.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection of its own.
    #[must_use]
    pub fn open(&self) -> MemoryDestination {
        MemoryDestination { database: self.clone() }
    }

    /// Makes a table; one of this name is replaced, with its rows.
    pub fn add_table(&self, table: MemoryTable) {
        self.service.with(|state| state.data.tables.insert(statement::qualified(table.schema()), table));
    }

    /// Drops a table; answers with it, rows and all, for [`MemoryDatabase::add_table`] to bring it back.
    pub fn drop_table(&self, name: &str) -> Option<MemoryTable> {
        self.service.with(|state| state.data.tables.remove(name))
    }

    /// Drops a column with the unique keys that had it. The table's checks, computed columns and foreign keys go too.
    pub fn drop_column(&self, table: &str, column: &str) {
        self.service.with(|state| {
            if let Some(table) = state.data.tables.get_mut(table) {
                *table = table.without(column);
            }
        });
    }

    /// A table's rows, in the order in which they were inserted; the cells in the order of its columns.
    #[must_use]
    pub fn rows(&self, table: &str) -> Vec<Vec<Cell>> {
        let rows = |table: &MemoryTable| table.rows().cloned().collect();
        self.service.read(|state| state.data.tables.get(table).map(rows).unwrap_or_default())
    }

    /// A table's rows as text: NULL is `None`, bytes are in lower-case hex.
    #[must_use]
    pub fn texts(&self, table: &str) -> Vec<Vec<Option<String>>> {
        let text = |cell| match cell {
            Cell::Absent | Cell::Null => None,
            Cell::Text(text) => Some(text.into()),
            Cell::Bytes(bytes) => Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()),
        };
        self.rows(table).into_iter().map(|row| row.into_iter().map(text).collect()).collect()
    }

    /// Every transaction that was committed, in order.
    #[must_use]
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.service.read(|state| state.journal.clone())
    }

    /// Every row of the watermark, by lane and generation.
    #[must_use]
    pub fn watermarks(&self) -> Vec<WatermarkRow> {
        self.service.read(|state| state.data.watermarks.values().cloned().collect())
    }

    /// Every dead letter with its lane.
    #[must_use]
    pub fn dead(&self) -> Vec<(String, DeadRow)> {
        let pair = |((lane, _), row): (&(String, DeadId), &DeadRow)| (lane.clone(), row.clone());
        self.service.read(|state| state.data.dead.iter().map(pair).collect())
    }

    /// Everything as it is now.
    #[must_use]
    pub fn backup(&self) -> DatabaseBackup {
        self.service.read(|state| DatabaseBackup(state.data.clone()))
    }

    /// Goes back to a backup. The journal, which is the test's own, goes on.
    pub fn restore(&self, backup: &DatabaseBackup) {
        self.service.with(|state| state.data = backup.0.clone());
    }

    /// The next commit fails so; several wait in line.
    pub fn fail_next(&self, failure: Failure) {
        self.fail_next_call(DatabaseCall::Commit, failure);
    }

    /// The next call of this name fails so; several wait in line.
    pub fn fail_next_call(&self, call: DatabaseCall, failure: Failure) {
        self.service.fail_next(call, failure);
    }

    /// While it is down every call is [`WriteError::Retry`] with a lost connection; ordered failures wait for their turn.
    pub fn set_down(&self, down: bool) {
        self.service.set_down(down);
    }

    /// While it hangs, calls are taken and not answered; when it wakes, those that still wait are carried out.
    pub fn set_hanging(&self, hanging: bool) {
        self.service.set_hanging(hanging);
    }

    /// Every call takes so long, by the runtime's clock.
    pub fn set_latency(&self, latency: Duration) {
        self.service.set_latency(latency);
    }

    /// How often it was called so, failures included.
    #[must_use]
    pub fn calls(&self, call: DatabaseCall) -> u64 {
        self.service.calls(call)
    }

    /// Waits until the condition holds of this database; looks again after every change and call.
    ///
    /// # Panics
    /// It still doesn't after half a minute: the test has failed.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        self.service.expect(|| condition(self)).await;
    }
}

/// A connection to a [`MemoryDatabase`].
#[derive(Debug)]
pub struct MemoryDestination {
    database: MemoryDatabase,
}

#[async_trait(?Send)]
impl Destination for MemoryDestination {
    async fn probe(&mut self) -> Result<(), WriteError> {
        self.database.service.call(DatabaseCall::Probe, |_| Ok(())).await
    }

    async fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> Result<TakenOver, WriteError> {
        let work = |state: &mut State| Ok(state.data.take_over(installation, destination, owner));
        self.database.service.call(DatabaseCall::TakeOver, work).await
    }

    async fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError> {
        let work = |state: &mut State| state.data.begin_lane(lane, generation, owner, last_id);
        self.database.service.call(DatabaseCall::BeginLane, work).await
    }

    async fn watermark(&mut self, lane: &LaneId, generation: &Generation) -> Result<Option<WatermarkRow>, WriteError> {
        let key = (lane.to_string(), generation.clone());
        let work = |state: &mut State| Ok(state.data.watermarks.get(&key).cloned());
        self.database.service.call(DatabaseCall::Watermark, work).await
    }

    async fn table(&mut self, name: &str) -> Result<TableSchema, WriteError> {
        self.database.service.call(DatabaseCall::Table, |state| state.data.table(name)).await
    }

    async fn tables(&mut self) -> Result<Vec<TableName>, WriteError> {
        let name = |table: &MemoryTable| {
            let TableSchema { schema, name, .. } = table.schema().clone();
            TableName { schema, name, default_schema: true }
        };
        let work = |state: &mut State| Ok(state.data.tables.values().map(name).collect());
        self.database.service.call(DatabaseCall::Tables, work).await
    }

    async fn write(&mut self, statements: &[Statement]) -> Result<Committed, WriteError> {
        let work = |state: &mut State| {
            let untouched = state.data.write(statements)?;
            Ok(Committed { untouched, exhumed: true })
        };
        self.database.service.call(DatabaseCall::Write, work).await
    }

    async fn commit(&mut self, transaction: &Transaction) -> Result<Committed, WriteError> {
        self.commit_trials(transaction, &[]).await.map(|tried| tried.committed)
    }

    async fn commit_trials(&mut self, transaction: &Transaction, trials: &[Trial]) -> Result<Tried, WriteError> {
        let work = |state: &mut State| {
            let (tried, written) = state.data.commit(transaction, trials)?;
            if written {
                let (supersede, bury) = settled(transaction, trials, &tried.refused);
                let transaction = Transaction { supersede, bury, ..transaction.clone() };
                state.journal.push(JournalEntry { transaction, committed: tried.committed.clone() });
            }
            Ok(tried)
        };
        self.database.service.call(DatabaseCall::Commit, work).await
    }

    async fn sift(&mut self, transaction: &Transaction) -> Result<Vec<Rejection>, WriteError> {
        let work = |state: &mut State| state.data.clone().sift(&transaction.statements);
        self.database.service.call(DatabaseCall::Sift, work).await
    }
}

impl Data {
    fn take_over(&mut self, installation: &str, destination: &str, owner: &str) -> TakenOver {
        let prefix = LaneId::prefix(installation, destination);
        let mut found = TakenOver::default();
        for row in self.watermarks.values_mut().filter(|row| row.lane.starts_with(&prefix)) {
            row.epoch += 1;
            row.owner = owner.into();
            found.rows.push(row.clone());
        }
        let dead = self.dead.iter().filter(|((lane, _), _)| lane.starts_with(&prefix));
        found.dead = dead.map(|((lane, _), row)| (lane.clone(), row.clone())).collect();
        let bind = self.binds.entry((installation.into(), destination.into()));
        found.bind = bind.or_insert_with(|| format!("{:016x}", rand::random::<u64>())).clone();
        found
    }

    fn begin_lane(
        &mut self,
        lane: &LaneId,
        generation: &Generation,
        owner: &str,
        last_id: StreamId,
    ) -> Result<(), WriteError> {
        let key = (lane.to_string(), generation.clone());
        let prefix = LaneId::prefix(&lane.installation, &lane.destination);
        let others = || self.watermarks.values().filter(|row| row.lane.starts_with(&prefix));
        if self.watermarks.contains_key(&key) || others().any(|row| row.owner != owner) {
            return Err(WriteError::Fenced);
        }
        let epoch = others().map(|row| row.epoch).max().unwrap_or(1);
        let row =
            WatermarkRow { lane: key.0.clone(), generation: generation.clone(), epoch, owner: owner.into(), last_id };
        self.watermarks.insert(key, row);
        Ok(())
    }

    fn table(&self, name: &str) -> Result<TableSchema, WriteError> {
        let mut found = self.tables.iter().filter(|(full, table)| *full == name || table.schema().name == name);
        if let Some((_, table)) = found.next() {
            return Ok(table.schema().clone());
        }
        let nearest =
            self.tables.keys().map(|other| (slips(other, name), other)).min().filter(|(slips, _)| *slips <= 2);
        let hint = nearest.map_or(String::new(), |(_, nearest)| format!("; did you mean `{nearest}`?"));
        Err(WriteError::Hold(Fault::new(format!("there is no table `{name}`{hint}"))))
    }

    /// The rows, all or none; which of them touched nothing.
    fn write(&mut self, statements: &[Statement]) -> Result<Vec<(usize, usize)>, WriteError> {
        Ok(self.write_trials(statements, &[])?.committed.untouched)
    }

    /// Row by row, those that are refused left out; which these are.
    fn sift(&mut self, statements: &[Statement]) -> Result<Vec<Rejection>, WriteError> {
        let mut found = Vec::new();
        for (index, whole) in statements.iter().enumerate() {
            for (place, row) in whole.rows.iter().enumerate() {
                let alone = Statement { rows: vec![row.clone()], ..whole.clone() };
                match self.write(&[alone]) {
                    Ok(_) => {}
                    Err(WriteError::Reject(reason)) => {
                        found.push(Rejection { statement: Some(index), row: Some(place), ..reason });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(found)
    }

    /// All statements' rows, those on trial only where nothing speaks against them; all or none of the others.
    fn write_trials(&mut self, statements: &[Statement], trials: &[Trial]) -> Result<Tried, WriteError> {
        let (mut tried, mut changes) = (Tried::default(), Vec::new());
        let mut left_out = LeftOut::new(statements);
        let mut index = 0;
        while index < statements.len() {
            let on_trial = trials.iter().position(|trial| trial.statements.start == index);
            let end = on_trial.map_or(index + 1, |place| trials[place].statements.end.max(index + 1));
            let mut own = Vec::new();
            match (self.write_part(statements, index..end, &mut left_out, &mut own), on_trial) {
                (Ok(untouched), _) => {
                    changes.append(&mut own);
                    tried.committed.untouched.extend(untouched);
                }
                (Err(WriteError::Reject(reason)), Some(place)) => {
                    statement::undo(&mut self.tables, own);
                    tried.refused.push((place, reason));
                }
                (Err(error), _) => {
                    changes.append(&mut own);
                    statement::undo(&mut self.tables, changes);
                    return Err(error);
                }
            }
            index = end;
        }
        Ok(tried)
    }

    /// Some of the statements; what they change is for the caller to keep or to undo.
    fn write_part(
        &mut self,
        statements: &[Statement],
        which: Range<usize>,
        left_out: &mut LeftOut,
        changes: &mut Vec<statement::Undo>,
    ) -> Result<Vec<(usize, usize)>, WriteError> {
        let mut untouched = Vec::new();
        for index in which {
            let rest = left_out.rest(&statements[index]);
            let (rows, kept) = statement::write(&mut self.tables, index, &rest.statement, changes)
                .map_err(|error| rest.located(error))?;
            let rows: Vec<_> = rows.into_iter().map(|row| rest.place(row)).chain(rest.out.iter().copied()).collect();
            left_out.add(index, kept.into_iter().map(|row| rest.place(row)).chain(rows.iter().copied()));
            untouched.extend(rows.into_iter().map(|row| (index, row)));
        }
        Ok(untouched)
    }

    /// All of it, or nothing. Answers also whether anything was written.
    fn commit(&mut self, transaction: &Transaction, trials: &[Trial]) -> Result<(Tried, bool), WriteError> {
        let mine = |fence: &Fence| {
            let row = self.watermarks.get(&(fence.lane.to_string(), fence.generation.clone()));
            row.is_some_and(|row| row.owner == *fence.owner && row.last_id == fence.previous)
        };
        let Fence { lane, generation, owner, new, .. } = &transaction.fence;
        if !transaction.lock.iter().all(mine) || !mine(&transaction.fence) {
            return Err(WriteError::Fenced);
        }
        let place = |row: &SideRow| (row.lane.to_string(), row.generation.clone());
        if transaction.open.iter().any(|row| self.watermarks.contains_key(&place(row))) {
            return Err(WriteError::Fenced);
        }
        let key = (lane.to_string(), generation.clone());
        let epoch = self.watermarks.get(&key).map_or(1, |row| row.epoch);
        // Dead letters of side rows stand with those of their main row.
        let lane = lane.main().to_string();
        if let Some(dead) = &transaction.exhume
            && !self.dead.contains_key(&(lane.clone(), dead.clone()))
        {
            return Ok((Tried::default(), false));
        }
        let owner = owner.to_string();
        let mut tried = self.write_trials(&transaction.statements, trials)?;
        tried.committed.exhumed = true;
        let (supersede, bury) = settled(transaction, trials, &tried.refused);
        // From here on nothing can fail.
        if let Some(dead) = &transaction.exhume {
            self.dead.remove(&(lane.clone(), dead.clone()));
        }
        for later in &supersede {
            let of_lane = self.dead.iter_mut().filter(|((dead_lane, _), _)| *dead_lane == lane);
            for (_, row) in of_lane {
                let same = row.table == later.table && row.key.as_ref() == Some(&later.key);
                if same && row.superseded_by.is_none() {
                    row.superseded_by = Some(later.by);
                }
            }
        }
        for row in &bury {
            self.dead.insert((lane.clone(), row.dead.clone()), row.clone());
        }
        if let Some(row) = self.watermarks.get_mut(&key) {
            row.last_id = *new;
        }
        for row in &transaction.open {
            let SideRow { generation, last_id, .. } = row.clone();
            let lane = row.lane.to_string();
            let row = WatermarkRow { lane, generation, epoch, owner: owner.clone(), last_id };
            self.watermarks.insert((row.lane.clone(), row.generation.clone()), row);
        }
        for lane in transaction.close.iter().map(ToString::to_string) {
            self.watermarks.retain(|(of, _), _| *of != lane);
        }
        Ok((tried, true))
    }
}

/// Letters to add, drop or change to make one name of the other, without regard to case.
fn slips(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (place, letter) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], place + 1);
        for (column, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
