//! The policy `on_dead = "block"` (delivery rule 10): while a dead letter of a key stands, nothing newer of that key is written
//! over the gap.
//!
//! Called by [`super::compose_with`] for every row. What stands is what the database's own rows said at the take-over, and what
//! was given up since, in this piece too. The key is the table's, so it counts whichever route gave the record up.

use super::{Piece, Plan, Refused};
use crate::{
    mapping::MappedRow,
    ports::Rejection,
    route::OnDead,
    transaction::{DeadId, DeadRow},
};

/// The row, or that it has to wait behind a dead letter of its key.
pub(super) fn checked(
    piece: &Piece<'_>,
    bury: &[DeadRow],
    plan: &Plan,
    row: MappedRow,
    message: usize,
    at: usize,
) -> Result<Option<MappedRow>, Box<Refused>> {
    let waits = match (plan.route.on_dead, &row.key) {
        (OnDead::Block, Some(key)) => first(piece, bury, &plan.route.table, key),
        _ => None,
    };
    let Some(first) = waits.filter(|first| first.id != piece.messages[message].id) else { return Ok(Some(row)) };
    Err(Box::new(Refused { message, plan: at, reason: reason(&first), by_mapping: false, blocked_by: Some(first) }))
}

/// The first dead letter of this key that stands.
fn first(piece: &Piece<'_>, bury: &[DeadRow], table: &str, key: &str) -> Option<DeadId> {
    if piece.dead.is_empty() && bury.is_empty() {
        return None;
    }
    let before = piece.dead.get(&(table.into(), key.into())).and_then(|standing| standing.first()).cloned();
    let here = |row: &&DeadRow| row.superseded_by.is_none() && &*row.table == table && row.key.as_deref() == Some(key);
    before.or_else(|| bury.iter().find(here).map(|row| row.dead.clone()))
}

/// Why a record waits behind this one.
pub(crate) fn reason(first: &DeadId) -> Rejection {
    Rejection {
        statement: None,
        row: None,
        code: "blocked".into(),
        column: None,
        message: format!(
            "an earlier record of this key ({}-{}) is a dead letter, and the route's `on_dead` is `block`: redrive or discard \
             that one first",
            first.generation, first.id
        ),
    }
}
