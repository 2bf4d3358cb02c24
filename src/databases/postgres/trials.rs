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

/// Rows that are tried at once: with one bad row in a hundred, every other try is in vain, and half of its rows are written twice.
const ROWS: usize = 64;

const SAVE: &str = "SAVEPOINT tidegate_trial";
const BACK: &str = "ROLLBACK TO SAVEPOINT tidegate_trial";
const KEEP: &str = "RELEASE SAVEPOINT tidegate_trial";
const BACK_AND_KEEP: &str = "ROLLBACK TO SAVEPOINT tidegate_trial; RELEASE SAVEPOINT tidegate_trial";
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
            Ok(untouched) => {
                tried.committed.untouched.extend(untouched);
                savepoint(pg, name, KEEP).await?;
            }
            Err(WriteError::Reject(mut reason)) => {
                savepoint(pg, name, BACK_AND_KEEP).await?;
                locate(pg, statements, &mut reason).await;
                tried.refused.push((place, reason));
            }
            Err(error) => return Err(error),
        }
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
            let places: Vec<usize> = (0..statement.rows.len()).collect();
            let mut waiting = parts(&places, places.len().div_ceil(ROWS));
            while let Some(mut places) = waiting.pop() {
                let Some(mut reason) = refused(pg, name, statement, &places).await? else { continue };
                // What is left to write once the bad row is out.
                let mut rest: Vec<usize> = Vec::new();
                let bad = loop {
                    match reason.row.filter(|row| *row < places.len()).or((places.len() == 1).then_some(0)) {
                        Some(row) => break places.remove(row),
                        // It is among these: in their first half, or else in their second.
                        None => {
                            let second = places.split_off(places.len() / 2);
                            match refused(pg, name, statement, &places).await? {
                                Some(again) => {
                                    rest.splice(..0, second);
                                    reason = again;
                                }
                                None => places = second,
                            }
                        }
                    }
                };
                found.push(Rejection { statement: Some(index), row: Some(bad), ..reason });
                places.extend(rest);
                waiting.extend((!places.is_empty()).then_some(places));
            }
        }
        Ok(Finish::Rollback(found))
    })
    .await
}

/// Writes these rows behind the savepoint, and sets it anew; or why they are refused, and then all is as before.
async fn refused(
    pg: &mut PgConnection,
    name: &str,
    statement: &Statement,
    places: &[usize],
) -> Result<Option<Rejection>, WriteError> {
    // Whether a row goes with another one is for its trial to find out.
    let part = [statement.of_rows(places)];
    match either_way(pg, name, &part, 0..1, &mut LeftOut::new(&part)).await {
        Ok(_) => savepoint(pg, name, KEEP_AND_SAVE).await.map(|()| None),
        Err(WriteError::Reject(reason)) => savepoint(pg, name, BACK).await.map(|()| Some(reason)),
        Err(error) => Err(error),
    }
}

/// So many parts of these, the first of them last.
fn parts(places: &[usize], many: usize) -> Vec<Vec<usize>> {
    let size = places.len().div_ceil(many.max(1)).max(1);
    let mut parts: Vec<_> = places.chunks(size).map(<[usize]>::to_vec).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_all_there_is() {
        let places: Vec<usize> = (0..10).collect();
        assert_eq!(parts(&places, 4), [vec![9], vec![6, 7, 8], vec![3, 4, 5], vec![0, 1, 2]]);
        assert_eq!(parts(&[5], 4), [vec![5]]);
        assert!(parts(&[], 0).is_empty());
    }
}
