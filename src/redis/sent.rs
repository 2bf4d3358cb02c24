//! What a destination received of one message: computed again from the log and the route of that time, not stored.
//!
//! Folding is a pure function of a batch, and the history knows where each batch began and ended: so the changes of the
//! message's key are read and folded once more, by the same code that delivered them.

use std::sync::Arc;

use redis::{Value, cmd};
use serde_json::value::RawValue;
use tidegate_actors::{
    compose::stays_apart,
    fold::{Change, Tables, fold},
    mapping::{Mapped, MappedRow, Mapping, Whence},
    message::{Generation, Message, StreamId},
    ports::{BatchRecord, Entry, LogError, PlanRecord},
};

use super::{Redis, stream::entry, unavailable};

/// What became of a message in its batch.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Column → value, as the destination received it.
    pub(super) row: Option<Box<RawValue>>,
    /// The later message of the same key that replaced it.
    pub(super) folded_into: Option<StreamId>,
    /// The route's filter said no.
    pub(super) skipped: bool,
    /// The route had nothing to write for it.
    pub(super) nothing: bool,
}

struct OneRoute {
    every_change: bool,
}

impl Tables for OneRoute {
    fn table(&self, _: usize) -> usize {
        0
    }

    fn every_change(&self, _: usize) -> bool {
        self.every_change
    }
}

/// Maps and folds once more what this batch held of the message's key.
pub(super) async fn sent(
    redis: &Redis,
    application: &str,
    generation: &Generation,
    batch: &BatchRecord,
    plan: PlanRecord,
    message: &Message,
) -> Result<Sent, LogError> {
    let PlanRecord { route, table, children } = plan;
    let Ok(mapping) = Mapping::compile(&route, table, children) else { return Ok(Sent::default()) };
    let whence = Whence { application, generation };
    let own = match mapping.apply(message, whence) {
        Ok(Mapped::Row(own)) => own,
        Ok(Mapped::Skipped) => return Ok(Sent { skipped: true, ..Sent::default() }),
        Ok(Mapped::Nothing) => return Ok(Sent { nothing: true, ..Sent::default() }),
        Err(_) => return Ok(Sent::default()),
    };
    if !batch.folded || own.key.is_none() {
        return Ok(Sent { row: Some(mapping.sent(&own)), ..Sent::default() });
    }
    let entries = entries(redis, application, batch).await?;
    let same_key = entries.iter().filter(|other| other.topic == message.topic).filter_map(|other| {
        match mapping.apply(other, whence) {
            Ok(Mapped::Row(row)) if row.key == own.key => Some((other.id, row)),
            _ => None,
        }
    });
    let (ids, rows): (Vec<_>, Vec<_>) = same_key.unzip();
    let changes = rows.into_iter().enumerate().map(|(place, row)| Change {
        plan: 0,
        op: row.op,
        must_touch: row.must_touch,
        cells: row.cells,
        insert_only: row.insert_only,
        key: row.key,
        children: row.children,
        messages: vec![place],
        wave: 0,
    });
    let folded = fold(changes, &OneRoute { every_change: stays_apart(&route, &mapping) });
    let mine = |change: &&Change| change.messages.iter().any(|&place| ids[place] == message.id);
    let Some(change) = folded.iter().find(mine) else {
        return Ok(Sent { row: Some(mapping.sent(&own)), ..Sent::default() });
    };
    let last = change.messages.last().map(|&place| ids[place]);
    let row = MappedRow {
        op: change.op,
        must_touch: change.must_touch,
        cells: change.cells.clone(),
        insert_only: change.insert_only.clone(),
        key: change.key.clone(),
        children: change.children.clone(),
    };
    Ok(match last.filter(|last| *last != message.id) {
        Some(last) => Sent { folded_into: Some(last), ..Sent::default() },
        None => Sent { row: Some(mapping.sent(&row)), ..Sent::default() },
    })
}

/// The batch's messages; those that are trimmed by now are missing.
async fn entries(redis: &Redis, application: &str, batch: &BatchRecord) -> Result<Vec<Message>, LogError> {
    let stream = redis.keys().of(application).stream();
    let (first, last) = (batch.first.to_string(), batch.last.to_string());
    let found: Vec<Value> = redis
        .link()
        .run(async |mut connection| {
            cmd("XRANGE").arg(&stream).arg(&first).arg(&last).query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let message = |value| match entry::parse(value) {
        Some(Entry::Message(message)) => Some(Arc::unwrap_or_clone(message)),
        _ => None,
    };
    Ok(found.into_iter().filter_map(message).collect())
}
