//! Rows that may be refused without the transaction: those on trial, each in a savepoint, and the search for all bad rows of a
//! piece. Called for [`commit_trials`](tidegate_actors::ports::Destination::commit_trials) and
//! [`sift`](tidegate_actors::ports::Destination::sift).

use std::ops::Range;

use sqlx::PgConnection;
use tidegate_actors::{
    ports::{Rejection, WriteError},
    transaction::{LeftOut, Statement, Transaction, Trial, Tried},
};

use super::{
    bookkeeping,
    errors::of_ours,
    transaction::{Finish, Upserts, in_transaction, is_of_partial_upsert, locate, statement_rows},
};

/// Rows that are tried at once: with a bad row or two among them, as one in a hundred makes it, half of them are written twice.
const ROWS: usize = 256;
/// Where the error does not tell the row, so many parts are tried next.
const PARTS: usize = 4;

const SAVE: &str = "SAVEPOINT tidegate_trial";
const BACK: &str = "ROLLBACK TO SAVEPOINT tidegate_trial";
const KEEP: &str = "RELEASE SAVEPOINT tidegate_trial";
const KEEP_AND_SAVE: &str = "RELEASE SAVEPOINT tidegate_trial; SAVEPOINT tidegate_trial";

async fn savepoint(pg: &mut PgConnection, name: &str, command: &'static str) -> Result<(), WriteError> {
    sqlx::raw_sql(command).execute(pg).await.map(drop).map_err(|error| of_ours(name, &error))
}

/// Writes all statements' rows, in order, those on trial only where nothing speaks against them.
pub(super) async fn rows(
    pg: &mut PgConnection,
    name: &str,
    statements: &[Statement],
    trials: &[Trial],
    upserts: Upserts,
) -> Result<Tried, WriteError> {
    let mut tried = Tried::default();
    let mut left_out = LeftOut::new(statements);
    let mut index = 0;
    while index < statements.len() {
        let Some(place) = trials.iter().position(|trial| trial.statements.start == index) else {
            let rows = statement_rows(pg, name, index, &statements[index], &mut left_out, upserts).await?;
            tried.committed.untouched.extend(rows);
            index += 1;
            continue;
        };
        let range = trials[place].statements.clone();
        savepoint(pg, name, SAVE).await?;
        match either_way(pg, name, statements, range.clone(), &mut left_out).await {
            Ok(untouched) => tried.committed.untouched.extend(untouched),
            Err(WriteError::Reject(mut reason)) => {
                savepoint(pg, name, BACK).await?;
                locate(pg, statements, &mut reason).await;
                tried.refused.push((place, reason));
            }
            Err(error) => return Err(error),
        }
        savepoint(pg, name, KEEP).await?;
        index = range.end.max(index + 1);
    }
    Ok(tried)
}

/// Writes these statements behind a savepoint, upserts in the other way where that could turn a rejection into a success.
async fn either_way(
    pg: &mut PgConnection,
    name: &str,
    statements: &[Statement],
    range: Range<usize>,
    left_out: &mut LeftOut,
) -> Result<Vec<(usize, usize)>, WriteError> {
    match all(pg, name, statements, range.clone(), left_out, Upserts::InOne).await {
        Err(WriteError::Reject(reason)) if is_of_partial_upsert(statements, &reason) => {
            savepoint(pg, name, BACK).await?;
            all(pg, name, statements, range, left_out, Upserts::UpdateFirst).await
        }
        outcome => outcome,
    }
}

async fn all(
    pg: &mut PgConnection,
    name: &str,
    statements: &[Statement],
    range: Range<usize>,
    left_out: &mut LeftOut,
    upserts: Upserts,
) -> Result<Vec<(usize, usize)>, WriteError> {
    let mut untouched = Vec::new();
    for index in range {
        untouched.extend(statement_rows(pg, name, index, &statements[index], left_out, upserts).await?);
    }
    Ok(untouched)
}

/// Writes what can be written, by parts where it must be, and takes it back; which rows can not. What a row is refused for is
/// found out once more when it is on trial: an error that names the wrong row costs a trial and nothing else.
pub(super) async fn sift(
    pg: &mut PgConnection,
    name: &str,
    transaction: &Transaction,
) -> Result<Vec<Rejection>, WriteError> {
    in_transaction(pg, name, async |pg| {
        if !bookkeeping::fence(pg, &transaction.fence).await.map_err(|error| of_ours(name, &error))? {
            return Err(WriteError::Fenced);
        }
        let mut found = Vec::new();
        savepoint(pg, name, SAVE).await?;
        for (index, statement) in transaction.statements.iter().enumerate() {
            let mut waiting = parts(0..statement.rows.len(), statement.rows.len().div_ceil(ROWS));
            while let Some(rows) = waiting.pop() {
                let rows_of = statement.rows[rows.clone()].to_vec();
                // Whether a row goes with another one is for its trial to find out.
                let part = [Statement { rows: rows_of, parents: Vec::new(), ..statement.clone() }];
                let reason = match either_way(pg, name, &part, 0..1, &mut LeftOut::new(&part)).await {
                    Ok(_) => {
                        savepoint(pg, name, KEEP_AND_SAVE).await?;
                        continue;
                    }
                    Err(WriteError::Reject(reason)) => reason,
                    Err(error) => return Err(error),
                };
                savepoint(pg, name, BACK).await?;
                let told = reason.row.filter(|_| rows.len() > 1).or((rows.len() == 1).then_some(0));
                match told {
                    Some(row) => {
                        let bad = rows.start + row;
                        found.push(Rejection { statement: Some(index), row: Some(bad), ..reason });
                        let rest = [bad + 1..rows.end, rows.start..bad];
                        waiting.extend(rest.into_iter().filter(|rows| !rows.is_empty()));
                    }
                    None => waiting.extend(parts(rows, PARTS)),
                }
            }
        }
        Ok(Finish::Rollback(found))
    })
    .await
}

/// So many parts of a range, the first of them last.
fn parts(rows: Range<usize>, many: usize) -> Vec<Range<usize>> {
    let size = rows.len().div_ceil(many.max(1)).max(1);
    let starts = rows.clone().step_by(size);
    let mut parts: Vec<_> = starts.map(|start| start..(start + size).min(rows.end)).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_range_are_all_of_it() {
        assert_eq!(parts(0..10, 4), [9..10, 6..9, 3..6, 0..3]);
        assert_eq!(parts(5..6, 4), [5..6]);
        assert_eq!(parts(0..0, 0), Vec::<Range<usize>>::new());
    }
}
