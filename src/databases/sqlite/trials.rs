//! Rows that may be refused without the transaction: those on trial, each in a savepoint, and the search for all bad rows of a
//! piece. Called for [`commit_trials`](tidegate_actors::ports::Destination::commit_trials) and
//! [`sift`](tidegate_actors::ports::Destination::sift).
//!
//! A statement that a constraint refuses leaves no trace (SQLite, *The ON CONFLICT Clause*, ABORT). A trigger's RAISE(ROLLBACK)
//! ends the transaction with its savepoints, which shows when one is to be released: then the whole is refused.

use std::ops::Range;

use sqlx::sqlite::SqliteArguments;
use tidegate_actors::{
    ports::{Rejection, WriteError},
    transaction::{LeftOut, Statement, Trial, Tried},
};

use super::{session::Session, statements};

/// Writes all statements' rows, in order, those on trial only where nothing speaks against them.
pub(super) async fn rows(
    session: &mut Session,
    statements: &[Statement],
    trials: &[Trial],
) -> Result<Tried, WriteError> {
    let mut tried = Tried::default();
    let mut left_out = LeftOut::new(statements);
    let mut index = 0;
    while index < statements.len() {
        let Some(place) = trials.iter().position(|trial| trial.statements.start == index) else {
            let rows = statements::rows_of(session, index, &statements[index], &mut left_out).await?;
            tried.committed.untouched.extend(rows);
            index += 1;
            continue;
        };
        let range = trials[place].statements.clone();
        session.run("SAVEPOINT tidegate_trial", SqliteArguments::default()).await?;
        match all(session, statements, range.clone(), &mut left_out).await {
            Ok(untouched) => tried.committed.untouched.extend(untouched),
            Err(WriteError::Reject(reason)) => {
                if session.run("ROLLBACK TO tidegate_trial", SqliteArguments::default()).await.is_err() {
                    return Err(WriteError::Reject(reason));
                }
                tried.refused.push((place, reason));
            }
            Err(error) => return Err(error),
        }
        session.run("RELEASE tidegate_trial", SqliteArguments::default()).await?;
        index = range.end.max(index + 1);
    }
    Ok(tried)
}

async fn all(
    session: &mut Session,
    statements: &[Statement],
    range: Range<usize>,
    left_out: &mut LeftOut,
) -> Result<Vec<(usize, usize)>, WriteError> {
    let mut untouched = Vec::new();
    for index in range {
        untouched.extend(statements::rows_of(session, index, &statements[index], left_out).await?);
    }
    Ok(untouched)
}

/// Writes what can be written; which rows can not. Where a trigger ends the transaction, none are told.
pub(super) async fn sift(session: &mut Session, statements: &[Statement]) -> Result<Vec<Rejection>, WriteError> {
    let mut found = Vec::new();
    session.run("SAVEPOINT tidegate_sift", SqliteArguments::default()).await?;
    for (index, statement) in statements.iter().enumerate() {
        statements::sift(session, index, statement, &mut found).await?;
    }
    match session.run("RELEASE tidegate_sift", SqliteArguments::default()).await {
        Ok(_) => Ok(found),
        Err(_) => Ok(Vec::new()),
    }
}
