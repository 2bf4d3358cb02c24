//! Watermarks and dead rows as they are kept in hashes beside the broadcasts.
//!
//! A watermark's field is `generation lane`, its value `epoch id ms owner`. A dead row's field is `generation id route lane`, its
//! value what else there is of it, as JSON.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tidegate_actors::{
    message::{Generation, StreamId},
    ports::{Fault, WriteError},
    transaction::{DeadId, DeadRow, LaneId, TakenOver, WatermarkRow},
};

/// What else there is of a dead row.
#[derive(Serialize, Deserialize)]
struct Body {
    table: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
}

/// A watermark's field.
pub(super) fn row_field(lane: &LaneId, generation: &Generation) -> String {
    format!("{} {lane}", generation.0)
}

/// A dead row's field.
pub(super) fn dead_field(lane: &LaneId, dead: &DeadId) -> String {
    format!("{} {} {} {lane}", dead.generation.0, dead.id, dead.route)
}

/// A dead row's value.
pub(super) fn dead_body(row: &DeadRow) -> String {
    let body = Body {
        table: row.table.to_string(),
        key: row.key.as_deref().map(Into::into),
        by: row.superseded_by.map(|by| by.to_string()),
    };
    serde_json::to_string(&body).unwrap_or_default()
}

/// What a take-over reads.
pub(super) fn taken_over(
    bind: String,
    rows: HashMap<String, String>,
    dead: HashMap<String, String>,
) -> Result<TakenOver, WriteError> {
    let rows = rows.iter().map(|(field, value)| watermark(field, value)).collect::<Result<_, _>>()?;
    let mut letters = dead.iter().map(|(field, value)| dead_row(field, value)).collect::<Result<Vec<_>, _>>()?;
    letters.sort_by(|(lane, one), (other, two)| (lane, &one.dead).cmp(&(other, &two.dead)));
    Ok(TakenOver { rows, dead: letters, bind })
}

/// A watermark.
pub(super) fn watermark(field: &str, value: &str) -> Result<WatermarkRow, WriteError> {
    let read = || {
        let (generation, lane) = field.split_once(' ')?;
        let mut parts = value.splitn(4, ' ');
        let (epoch, last_id, _, owner) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        Some(WatermarkRow {
            lane: lane.into(),
            generation: Generation::new(generation),
            epoch: epoch.parse().ok()?,
            owner: owner.into(),
            last_id: last_id.parse().ok()?,
        })
    };
    read().ok_or_else(by_hand)
}

fn dead_row(field: &str, value: &str) -> Result<(String, DeadRow), WriteError> {
    let read = || {
        let mut parts = field.splitn(4, ' ');
        let (generation, id, route, lane) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let body: Body = serde_json::from_str(value).ok()?;
        let superseded_by: Option<StreamId> = match body.by {
            Some(by) => Some(by.parse().ok()?),
            None => None,
        };
        let dead = DeadId { generation: Generation::new(generation), id: id.parse().ok()?, route: route.into() };
        let row = DeadRow { dead, table: body.table.into(), key: body.key.map(Into::into), superseded_by };
        Some((lane.to_owned(), row))
    };
    read().ok_or_else(by_hand)
}

fn by_hand() -> WriteError {
    WriteError::Hold(Fault::new("what Redis keeps of this destination's places was changed by hand"))
}
