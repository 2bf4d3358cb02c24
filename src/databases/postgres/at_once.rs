//! The usual transaction in one statement: the watermark moves in a WITH, and the rows go in where it did. One trip to the server
//! instead of four, and no lock is ever held while it waits for us.
//!
//! PostgreSQL takes one statement for one transaction. That the rows read whether the watermark moved makes it move first;
//! where another writer holds its row, it is looked at again as that one leaves it (READ COMMITTED), and if it is not ours any
//! more nothing is inserted. Whatever is refused here is written again the long way, which tells what it is.

use sqlx::{PgConnection, Row as _};
use tidegate_actors::{
    failpoint,
    ports::WriteError,
    transaction::{Committed, Fence, Op, Statement, Transaction, Trial, Tried},
};

use super::{
    errors::of_rows,
    sql,
    transaction::{bound, makes_whole_rows},
};

/// Writes the transaction if it is of the usual kind and nothing is refused; else none, and nothing was done.
pub(super) async fn commit(
    pg: &mut PgConnection,
    name: &str,
    transaction: &Transaction,
    trials: &[Trial],
) -> Result<Option<Tried>, WriteError> {
    let Some((statement, upsert)) = usual(transaction).filter(|_| trials.is_empty()) else { return Ok(None) };
    if failpoint::is_wanted(failpoint::INSIDE_POSTGRES) {
        return Ok(None);
    }
    let Transaction { fence, .. } = transaction;
    let Fence { lane, generation, owner, previous, new } = fence;
    let places: Vec<usize> = (0..statement.columns.len()).collect();
    let rows: Vec<usize> = (0..statement.rows.len()).collect();
    let query = bound(statement, |statement, wires| sql::fenced_insert(statement, wires, upsert), &places, &rows)
        .bind(new.to_string())
        .bind(lane.to_string())
        .bind(&*generation.0)
        .bind(&**owner)
        .bind(previous.to_string());
    let committed = Tried { committed: Committed { untouched: Vec::new(), exhumed: true }, refused: Vec::new() };
    match query.fetch_one(pg).await.and_then(|row| row.try_get::<i64, _>(0)) {
        Ok(1) => Ok(Some(committed)),
        Ok(_) => Err(WriteError::Fenced),
        Err(error) => match of_rows(name, &error, None) {
            WriteError::Retry(fault) => Err(WriteError::Retry(fault)),
            _ => Ok(None),
        },
    }
}

/// The only statement of a transaction that does nothing beside it, and whether it is an upsert.
fn usual(transaction: &Transaction) -> Option<(&Statement, bool)> {
    let Transaction { lock: None, fence: _, open, close, statements, bury, supersede, exhume: None } = transaction
    else {
        return None;
    };
    let beside = open.is_empty() && close.is_empty() && bury.is_empty() && supersede.is_empty();
    let [statement] = &statements[..] else { return None };
    let whole = !statement.rows.is_empty() && !statement.columns.is_empty() && statement.parents.is_empty();
    let upsert = match statement.op {
        Op::Insert => false,
        Op::Upsert if makes_whole_rows(statement) => true,
        _ => return None,
    };
    (beside && whole).then_some((statement, upsert))
}
