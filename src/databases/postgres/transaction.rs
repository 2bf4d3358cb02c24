//! Writes one batch: the fence first, the rows after, all or nothing.

use std::{cmp::Ordering, collections::HashSet};

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row, postgres::PgArguments, query::Query};
use tidegate_actors::{
    failpoint,
    ports::{Rejection, WriteError},
    transaction::{Committed, LeftOut, Op, Statement, Transaction, Trial, Tried, settled},
};

use super::{
    at_once,
    binary::{Array, Wire},
    bookkeeping, catalogue,
    errors::{of_ours, of_rows},
    sql, trials,
};
use crate::databases::failed_definition;

/// How a transaction is to end.
pub(super) enum Finish<T> {
    /// With COMMIT.
    Commit(T),
    /// With ROLLBACK, although nothing failed.
    Rollback(T),
}

/// Runs `work` between BEGIN and its end; any error rolls back. READ COMMITTED, so that a fence that waited for
/// another writer sees what that one left.
pub(super) async fn in_transaction<T>(
    pg: &mut PgConnection,
    name: &str,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<Finish<T>, WriteError>,
) -> Result<T, WriteError> {
    let ours = |error: sqlx::Error| of_ours(name, &error);
    sqlx::raw_sql("BEGIN ISOLATION LEVEL READ COMMITTED").execute(&mut *pg).await.map_err(ours)?;
    match work(pg).await {
        Ok(Finish::Commit(value)) => {
            // A deferred constraint speaks up here; the server has then rolled back.
            sqlx::raw_sql("COMMIT").execute(pg).await.map_err(|error| of_rows(name, &error, None))?;
            Ok(value)
        }
        Ok(Finish::Rollback(value)) => {
            sqlx::raw_sql("ROLLBACK").execute(pg).await.map_err(ours)?;
            Ok(value)
        }
        Err(WriteError::Retry(fault)) if fault.connection_lost => Err(WriteError::Retry(fault)),
        Err(error) => {
            sqlx::raw_sql("ROLLBACK").execute(pg).await.map_err(ours)?;
            Err(error)
        }
    }
}

/// Carries out statements that define tables, all or none.
pub(super) async fn define(pg: &mut PgConnection, name: &str, statements: &[String]) -> Result<(), WriteError> {
    in_transaction(pg, name, async |pg| {
        for (place, statement) in statements.iter().enumerate() {
            let done = sqlx::raw_sql(AssertSqlSafe(statement.as_str())).execute(&mut *pg).await;
            done.map_err(|error| match of_rows(name, &error, None) {
                WriteError::Retry(fault) => WriteError::Retry(fault),
                other => {
                    let words = other.to_string();
                    let words = words.strip_prefix(&format!("{name}: ")).unwrap_or(&words);
                    WriteError::Hold(failed_definition(name, place, statements.len(), false, words))
                }
            })?;
        }
        Ok(Finish::Commit(()))
    })
    .await
}

/// How upserts are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Upserts {
    /// INSERT … ON CONFLICT wherever the present columns could make a whole row.
    InOne,
    /// UPDATE what is there, then INSERT … ON CONFLICT the rest: an INSERT checks NOT NULL and CHECK on the new row even
    /// where it then updates the old one.
    UpdateFirst,
}

/// Writes one transaction.
pub(super) async fn commit(
    pg: &mut PgConnection,
    name: &str,
    transaction: &Transaction,
    trials: &[Trial],
) -> Result<Tried, WriteError> {
    if let Some(tried) = at_once::commit(pg, name, transaction, trials).await? {
        return Ok(tried);
    }
    let statements = &transaction.statements;
    either_way(pg, statements, async |pg, upserts| attempt(pg, name, transaction, trials, upserts).await).await
}

/// Writes rows alone, without fence or any table of ours.
pub(super) async fn write(
    pg: &mut PgConnection,
    name: &str,
    statements: &[Statement],
) -> Result<Committed, WriteError> {
    either_way(pg, statements, async |pg, upserts| {
        in_transaction(pg, name, async |pg| {
            let untouched = rows(pg, name, statements, upserts).await?;
            Ok(Finish::Commit(Committed { untouched, exhumed: true }))
        })
        .await
    })
    .await
}

/// Tries one way of writing upserts, and the other where that could turn a rejection into a success.
async fn either_way<T>(
    pg: &mut PgConnection,
    statements: &[Statement],
    attempt: impl AsyncFn(&mut PgConnection, Upserts) -> Result<T, WriteError>,
) -> Result<T, WriteError> {
    let outcome = match attempt(pg, Upserts::InOne).await {
        Err(WriteError::Reject(rejection)) if is_of_partial_upsert(statements, &rejection) => {
            attempt(pg, Upserts::UpdateFirst).await
        }
        outcome => outcome,
    };
    match outcome {
        Err(WriteError::Reject(mut rejection)) => {
            locate(pg, statements, &mut rejection).await;
            Err(WriteError::Reject(rejection))
        }
        outcome => outcome,
    }
}

/// All statements' rows, in order; which of them touched nothing.
async fn rows(
    pg: &mut PgConnection,
    name: &str,
    statements: &[Statement],
    upserts: Upserts,
) -> Result<Vec<(usize, usize)>, WriteError> {
    let mut untouched = Vec::new();
    let mut left_out = LeftOut::new(statements);
    for (index, statement) in statements.iter().enumerate() {
        untouched.extend(statement_rows(pg, name, index, statement, &mut left_out, upserts).await?);
    }
    Ok(untouched)
}

/// One statement's rows; which of them touched nothing.
pub(super) async fn statement_rows(
    pg: &mut PgConnection,
    name: &str,
    index: usize,
    statement: &Statement,
    left_out: &mut LeftOut,
    upserts: Upserts,
) -> Result<Vec<(usize, usize)>, WriteError> {
    let rest = left_out.rest(statement);
    let mut writer = Writer { pg, name, index, statement: &rest.statement };
    let written = async {
        let asked = left_out.asks(index);
        let kept = if asked && writer.statement.only_inserts() { writer.present().await? } else { Vec::new() };
        let rows = writer.write(upserts).await?;
        let newer = if asked { writer.newer().await? } else { Vec::new() };
        Ok((rows, [kept, newer].concat()))
    };
    let (rows, kept) = written.await.map_err(|error| rest.located(error))?;
    let rows: Vec<_> = rows.into_iter().map(|row| rest.place(row)).chain(rest.out.iter().copied()).collect();
    left_out.add(index, kept.into_iter().map(|row| rest.place(row)).chain(rows.iter().copied()));
    Ok(rows.into_iter().map(|row| (index, row)).collect())
}

async fn attempt(
    pg: &mut PgConnection,
    name: &str,
    transaction: &Transaction,
    trials: &[Trial],
    upserts: Upserts,
) -> Result<Tried, WriteError> {
    let ours = |error: sqlx::Error| of_ours(name, &error);
    in_transaction(pg, name, async |pg| {
        if let Some(lock) = &transaction.lock
            && !bookkeeping::lock(pg, lock).await.map_err(ours)?
        {
            return Err(WriteError::Fenced);
        }
        if !bookkeeping::fence(pg, &transaction.fence).await.map_err(ours)? {
            return Err(WriteError::Fenced);
        }
        let lane = &transaction.fence.lane.main();
        if let Some(dead) = &transaction.exhume
            && !bookkeeping::exhume(pg, lane, dead).await.map_err(ours)?
        {
            return Ok(Finish::Rollback(Tried::default()));
        }
        if !bookkeeping::open(pg, &transaction.fence, &transaction.open).await.map_err(ours)? {
            return Err(WriteError::Fenced);
        }
        bookkeeping::close(pg, &transaction.close).await.map_err(ours)?;
        let mut tried = trials::rows(pg, name, &transaction.statements, trials, upserts).await?;
        tried.committed.exhumed = true;
        let (supersede, bury) = settled(transaction, trials, &tried.refused);
        bookkeeping::supersede(pg, lane, &supersede).await.map_err(ours)?;
        bookkeeping::bury(pg, lane, &bury).await.map_err(ours)?;
        failpoint::reach(failpoint::INSIDE_POSTGRES);
        Ok(Finish::Commit(tried))
    })
    .await
}

/// Whether writing upserts the other way could turn this rejection into a success.
pub(super) fn is_of_partial_upsert(statements: &[Statement], rejection: &Rejection) -> bool {
    let statement = rejection.statement.and_then(|index| statements.get(index));
    statement.is_some_and(|statement| {
        statement.op == Op::Upsert
            && matches!(rejection.code.as_str(), "not_null" | "check")
            && statement.columns.len() < statement.plan.table.columns.len()
    })
}

/// Adds what the error alone did not tell, where there is only one row it can be about.
pub(super) async fn locate(pg: &mut PgConnection, statements: &[Statement], rejection: &mut Rejection) {
    if rejection.statement.is_none()
        && let [statement] = statements
        && statement.rows.len() == 1
    {
        (rejection.statement, rejection.row) = (Some(0), Some(0));
    }
    let statement = rejection.statement.and_then(|index| statements.get(index));
    if let (None, Some(0), Some(statement)) = (&rejection.column, rejection.row, statement)
        && let Some(constraint) = constraint_name(&rejection.message)
    {
        rejection.column = catalogue::constraint_column(pg, &statement.plan.table, constraint).await;
    }
}

/// The constraint that the database's words end with in quotation marks.
fn constraint_name(message: &str) -> Option<&str> {
    message.rsplit('"').nth(1)
}

/// A statement's SQL, with the values of these places in these rows bound to it.
pub(super) fn bound(
    statement: &Statement,
    text: impl FnOnce(&Statement, &[Wire]) -> String,
    places: &[usize],
    rows: &[usize],
) -> Query<'static, Postgres, PgArguments> {
    let arrays = Array::of_columns(statement, places, rows);
    let wires: Vec<_> = arrays.iter().map(|array| array.wire).collect();
    let query = sqlx::query(AssertSqlSafe(text(statement, &wires)));
    arrays.into_iter().fold(query, Query::bind)
}

/// The places where it is so.
fn where_it_is(numbered: &[bool], so: bool) -> Vec<usize> {
    (0..numbered.len()).filter(|&place| numbered[place] == so).collect()
}

/// Whether every column that an INSERT can't do without is present.
pub(super) fn makes_whole_rows(statement: &Statement) -> bool {
    let table = &statement.plan.table;
    table.columns.iter().all(|column| {
        column.nullable || column.has_default || statement.written().any(|written| written.name == column.name)
    })
}

/// Writes one statement.
struct Writer<'a> {
    pg: &'a mut PgConnection,
    name: &'a str,
    index: usize,
    statement: &'a Statement,
}

impl Writer<'_> {
    /// Writes all rows; returns those that touched nothing and need not have.
    async fn write(&mut self, upserts: Upserts) -> Result<Vec<usize>, WriteError> {
        let all: Vec<usize> = (0..self.statement.rows.len()).collect();
        if all.is_empty() {
            return Ok(Vec::new());
        }
        match self.statement.op {
            Op::Insert => self.insert(false, &all).await.map(|()| Vec::new()),
            Op::Upsert if upserts == Upserts::InOne && makes_whole_rows(self.statement) => {
                self.insert(true, &all).await.map(|()| Vec::new())
            }
            Op::Upsert => {
                let missing = self.untouched(sql::update, &self.every_place()).await?;
                let missing = self.but_newer(missing).await?;
                if !missing.is_empty() {
                    self.insert(true, &missing).await?;
                }
                Ok(Vec::new())
            }
            Op::Update => {
                let missing = self.untouched(sql::update, &self.every_place()).await?;
                let missing = self.but_newer(missing).await?;
                self.refuse_hidden_repetition(&missing).await?;
                self.must_have_touched(missing)
            }
            Op::Delete => {
                let missing = self.untouched(sql::delete, &sql::found_by(self.statement)).await?;
                let missing = self.but_newer(missing).await?;
                self.must_have_touched(missing)
            }
            Op::Clear => self.clear(&all).await.map(|()| Vec::new()),
            Op::Replace => {
                self.clear(&all).await?;
                self.insert(false, &all).await.map(|()| Vec::new())
            }
        }
    }

    fn every_place(&self) -> Vec<usize> {
        (0..self.statement.columns.len()).collect()
    }

    async fn insert(&mut self, upsert: bool, rows: &[usize]) -> Result<(), WriteError> {
        // Without a column there is no array to carry the number of rows.
        let times = if self.statement.columns.is_empty() { rows.len() } else { 1 };
        for _ in 0..times {
            let text = |statement: &Statement, wires: &[Wire]| sql::insert(statement, wires, upsert);
            self.execute(text, &self.every_place(), rows).await?;
        }
        Ok(())
    }

    async fn clear(&mut self, rows: &[usize]) -> Result<(), WriteError> {
        self.execute(sql::clear, &self.statement.key_cells(), rows).await
    }

    /// Runs a statement over these rows, with these places as its parameters.
    async fn execute(
        &mut self,
        text: impl FnOnce(&Statement, &[Wire]) -> String,
        places: &[usize],
        rows: &[usize],
    ) -> Result<(), WriteError> {
        let outcome = bound(self.statement, text, places, rows).execute(&mut *self.pg).await;
        outcome.map(drop).map_err(|error| of_rows(self.name, &error, Some((self.index, self.statement))))
    }

    /// The rows that are there.
    async fn present(&mut self) -> Result<Vec<usize>, WriteError> {
        if self.statement.rows.is_empty() {
            return Ok(Vec::new());
        }
        self.numbers(sql::present, &self.every_place()).await.map(|there| where_it_is(&there, true))
    }

    /// The rows that the guard left alone, asked after the statement itself.
    async fn newer(&mut self) -> Result<Vec<usize>, WriteError> {
        if self.statement.guard().is_none() || self.statement.rows.is_empty() {
            return Ok(Vec::new());
        }
        let text = |statement: &Statement, wires: &[Wire]| sql::newer(statement, wires).unwrap_or_default();
        self.numbers(text, &sql::found_by(self.statement)).await.map(|newer| where_it_is(&newer, true))
    }

    /// Of these untouched rows those that are not merely older than what is there. Without any there is nothing to ask.
    async fn but_newer(&mut self, mut untouched: Vec<usize>) -> Result<Vec<usize>, WriteError> {
        if !untouched.is_empty() && self.statement.guard().is_some() {
            let newer = self.newer().await?.into_iter().collect::<HashSet<_>>();
            untouched.retain(|row| !newer.contains(row));
        }
        Ok(untouched)
    }

    /// Runs a statement over all rows that answers with the numbers of those it touched; returns the others.
    async fn untouched(
        &mut self,
        text: impl FnOnce(&Statement, &[Wire]) -> String,
        places: &[usize],
    ) -> Result<Vec<usize>, WriteError> {
        self.numbers(text, places).await.map(|touched| where_it_is(&touched, false))
    }

    /// Runs a statement over all rows that answers with the numbers of some; which they are.
    async fn numbers(
        &mut self,
        text: impl FnOnce(&Statement, &[Wire]) -> String,
        places: &[usize],
    ) -> Result<Vec<bool>, WriteError> {
        let rows: Vec<usize> = (0..self.statement.rows.len()).collect();
        let answer = bound(self.statement, text, places, &rows).fetch_all(&mut *self.pg).await;
        let answer = answer.map_err(|error| of_rows(self.name, &error, Some((self.index, self.statement))))?;
        let mut numbered = vec![false; rows.len()];
        for row in &answer {
            let number: i64 = row.try_get(0).map_err(|error| of_ours(self.name, &error))?;
            let place = usize::try_from(number - 1).ok();
            if let Some(place) = place.and_then(|place| numbered.get_mut(place)) {
                *place = true;
            }
        }
        Ok(numbered)
    }

    /// UPDATE … FROM writes one of several rows for the same key and passes over the others without a word. Folding
    /// leaves no two rows with the same key, but only the database knows which keys it holds for the same (collations).
    async fn refuse_hidden_repetition(&mut self, untouched: &[usize]) -> Result<(), WriteError> {
        if untouched.is_empty() || self.statement.rows.len() == 1 {
            return Ok(());
        }
        let absent = self.untouched(sql::present, &self.every_place()).await?;
        match absent.len().cmp(&untouched.len()) {
            Ordering::Less => Err(self.reject(
                None,
                "other",
                "two changes of one batch are for the same row, or a trigger keeps one back",
            )),
            _ => Ok(()),
        }
    }

    fn must_have_touched(&self, untouched: Vec<usize>) -> Result<Vec<usize>, WriteError> {
        match untouched.first() {
            Some(&row) if self.statement.must_touch => {
                Err(self.reject(Some(row), "missing_row", "no row has this key"))
            }
            _ => Ok(untouched),
        }
    }

    fn reject(&self, row: Option<usize>, code: &str, message: &str) -> WriteError {
        let table = &self.statement.plan.table;
        WriteError::Reject(Rejection {
            statement: Some(self.index),
            row,
            code: code.into(),
            column: None,
            message: format!("{}.{}: {message}", table.schema, table.name),
        })
    }
}
