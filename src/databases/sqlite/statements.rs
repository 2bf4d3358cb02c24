//! Rows into tables: many rows in each statement, in powers of two, so that a route needs few prepared statements.
//!
//! Where rows are refused together they are tried one by one, so that a rejection names its row. That is cheap here, and
//! the transaction is rolled back in any case.

use sqlx::{Row as _, sqlite::SqliteArguments};
use tidegate_actors::{
    ports::{Rejection, WriteError},
    transaction::{LeftOut, Op, Statement},
};

use super::{errors, session::Session, sql::Form};

/// Rows in one SQL statement where bad rows are expected: what is written with one is written once more without it.
const SIFTED_ROWS: usize = 64;

/// All statements' rows, in order; which of them touched nothing.
pub(super) async fn rows(session: &mut Session, statements: &[Statement]) -> Result<Vec<(usize, usize)>, WriteError> {
    let mut untouched = Vec::new();
    let mut left_out = LeftOut::new(statements);
    for (index, statement) in statements.iter().enumerate() {
        untouched.extend(rows_of(session, index, statement, &mut left_out).await?);
    }
    Ok(untouched)
}

/// One statement's rows.
pub(super) async fn rows_of(
    session: &mut Session,
    index: usize,
    statement: &Statement,
    left_out: &mut LeftOut,
) -> Result<Vec<(usize, usize)>, WriteError> {
    let rest = left_out.rest(statement);
    let written = async {
        let (form, asked) = (Form::of(&rest.statement), left_out.asks(index));
        let kept = if asked && rest.statement.only_inserts() { form.present(session).await? } else { Vec::new() };
        let rows = write(session, index, &rest.statement).await?;
        let newer = if asked { form.newer(session).await? } else { Vec::new() };
        Ok((rows, [kept, newer].concat()))
    };
    let (rows, kept) = written.await.map_err(|error| rest.located(error))?;
    let rows: Vec<_> = rows.into_iter().map(|row| rest.place(row)).chain(rest.out.iter().copied()).collect();
    left_out.add(index, kept.into_iter().map(|row| rest.place(row)).chain(rows.iter().copied()));
    Ok(rows.into_iter().map(|row| (index, row)).collect())
}

/// Writes the rows; the places of those that touched nothing and need not have.
async fn write(session: &mut Session, index: usize, statement: &Statement) -> Result<Vec<usize>, WriteError> {
    let form = Form::of(statement);
    let mut untouched = Vec::new();
    let mut done = 0;
    while done < statement.rows.len() {
        let size = form.rows_at_once(statement.rows.len() - done);
        let rows = done..done + size;
        let outcome = match form.write(session, rows.clone()).await {
            Err(WriteError::Reject(rejection)) if rejection.row.is_none() => {
                form.single_out(session, rows, rejection).await
            }
            outcome => outcome,
        };
        untouched.extend(outcome.map_err(|error| form.located(index, error))?);
        done += size;
    }
    match untouched.first() {
        Some(&row) if statement.must_touch && matches!(statement.op, Op::Update | Op::Delete) => {
            Err(WriteError::Reject(form.missing_row(index, row)))
        }
        _ => Ok(untouched),
    }
}

/// Writes the rows that can be written, and notes those that can not: by halves, until they stand alone.
pub(super) async fn sift(
    session: &mut Session,
    index: usize,
    statement: &Statement,
    found: &mut Vec<Rejection>,
) -> Result<(), WriteError> {
    let form = Form::of(statement);
    let mut done = 0;
    while done < statement.rows.len() {
        let size = form.rows_at_once((statement.rows.len() - done).min(SIFTED_ROWS));
        let mut waiting: Vec<_> = std::iter::once(done..done + size).collect();
        while let Some(rows) = waiting.pop() {
            let rejection = match form.write(session, rows.clone()).await {
                Ok(missing) if statement.must_touch && matches!(statement.op, Op::Update | Op::Delete) => {
                    found.extend(missing.into_iter().map(|row| form.missing_row(index, row)));
                    continue;
                }
                Ok(_) => continue,
                Err(WriteError::Reject(rejection)) => rejection,
                Err(error) => return Err(error),
            };
            let middle = rows.start + rows.len() / 2;
            match rows.len() {
                1 => found.push(form.told(index, rows.start, rejection)),
                _ => waiting.extend([middle..rows.end, rows.start..middle]),
            }
        }
        done += size;
    }
    Ok(())
}

impl Form<'_> {
    /// A rejection of this row, with all that is known.
    fn told(&self, index: usize, row: usize, rejection: Rejection) -> Rejection {
        let columns = self.statement.plan.table.columns.iter().map(|column| column.name.as_str());
        let column = rejection.column.or_else(|| errors::checked_column(&rejection.message, columns));
        Rejection { statement: Some(index), row: Some(row), column, ..rejection }
    }

    /// The same of a row that the rejection itself names.
    fn located(&self, index: usize, error: WriteError) -> WriteError {
        match error {
            WriteError::Reject(rejection) => {
                let row = rejection.row;
                WriteError::Reject(Rejection { row, ..self.told(index, 0, rejection) })
            }
            error => error,
        }
    }

    fn missing_row(&self, index: usize, row: usize) -> Rejection {
        Rejection {
            statement: Some(index),
            row: Some(row),
            code: "missing_row".to_owned(),
            column: None,
            message: format!("{} has no row of this key", self.statement.plan.table.name),
        }
    }

    /// Writes some rows; the places of those that touched nothing.
    async fn write(&self, session: &mut Session, rows: std::ops::Range<usize>) -> Result<Vec<usize>, WriteError> {
        let all = self.every_place();
        let count = rows.len();
        match self.statement.op {
            Op::Insert => {
                session.run(&self.insert(count), self.bind(&rows, &all)?).await?;
            }
            Op::Upsert if self.update_first => {
                if !self.missing(session, &rows).await?.is_empty() {
                    session.run(&self.insert(count), self.bind(&rows, &all)?).await?;
                } else {
                    session.run(&self.update(count), self.bind(&rows, &all)?).await?;
                }
            }
            Op::Upsert => {
                session.run(&self.upsert(count), self.bind(&rows, &all)?).await?;
            }
            Op::Clear => {
                session.run(&self.clear(count), self.bind(&rows, &self.key)?).await?;
            }
            Op::Replace => {
                session.run(&self.clear(count), self.bind(&rows, &self.key)?).await?;
                session.run(&self.insert(count), self.bind(&rows, &all)?).await?;
            }
            Op::Update => {
                let unique = self.key_is_unique();
                let missing = if unique { Vec::new() } else { self.missing(session, &rows).await? };
                let touched = session.run(&self.update(count), self.bind(&rows, &all)?).await?;
                return match usize::try_from(touched) {
                    Ok(touched) if unique && touched < count => self.missing(session, &rows).await,
                    _ => Ok(missing),
                };
            }
            Op::Delete => {
                let missing = self.missing(session, &rows).await?;
                if missing.len() < count {
                    session.run(&self.delete(count), self.bind(&rows, &self.found_by())?).await?;
                }
                return Ok(missing);
            }
        }
        Ok(Vec::new())
    }

    /// Tries rows that were refused together one by one; the first that is refused alone is the bad one.
    async fn single_out(
        &self,
        session: &mut Session,
        rows: std::ops::Range<usize>,
        refused: Rejection,
    ) -> Result<Vec<usize>, WriteError> {
        if rows.len() == 1 {
            return Err(WriteError::Reject(Rejection { row: Some(rows.start), ..refused }));
        }
        // A trigger may have rolled the whole transaction back: then this opens one, and the end takes that back too.
        session.run("SAVEPOINT tidegate_single_out", SqliteArguments::default()).await?;
        for row in rows {
            match self.write(session, row..row + 1).await {
                Ok(_) => {}
                Err(WriteError::Reject(rejection)) => {
                    return Err(WriteError::Reject(Rejection { row: Some(row), ..rejection }));
                }
                Err(error) => return Err(error),
            }
        }
        Err(WriteError::Reject(refused))
    }

    /// The places of rows whose key the table does not have.
    async fn missing(&self, session: &mut Session, rows: &std::ops::Range<usize>) -> Result<Vec<usize>, WriteError> {
        let found = session.rows(&self.select_missing(rows.len()), self.bind(rows, &self.key)?).await?;
        let mut places = Vec::with_capacity(found.len());
        for row in &found {
            let place: i64 = row.try_get(0).map_err(|error| session.unreadable(error))?;
            places.push(rows.start + usize::try_from(place).unwrap_or(0));
        }
        places.sort_unstable();
        Ok(places)
    }

    /// The rows that are there.
    async fn present(&self, session: &mut Session) -> Result<Vec<usize>, WriteError> {
        let (mut missing, mut done) = (Vec::new(), 0);
        while done < self.statement.rows.len() {
            let rows = done..done + self.rows_at_once(self.statement.rows.len() - done);
            missing.extend(self.missing(session, &rows).await?);
            done = rows.end;
        }
        Ok((0..self.statement.rows.len()).filter(|row| missing.binary_search(row).is_err()).collect())
    }

    /// The rows that the guard left alone, asked after the statement itself: the others have the version that was written.
    async fn newer(&self, session: &mut Session) -> Result<Vec<usize>, WriteError> {
        let (mut newer, mut done) = (Vec::new(), 0);
        while self.statement.guard().is_some() && done < self.statement.rows.len() {
            let rows = done..done + self.rows_at_once(self.statement.rows.len() - done);
            let found = session.rows(&self.select_newer(rows.len()), self.bind(&rows, &self.found_by())?).await?;
            for row in &found {
                let place: i64 = row.try_get(0).map_err(|error| session.unreadable(error))?;
                newer.push(rows.start + usize::try_from(place).unwrap_or(0));
            }
            done = rows.end;
        }
        Ok(newer)
    }
}
