//! Where a lane goes on: pure rules over what the log and the database say.
//!
//! The destination's watermark is the truth, the log's position a hint. A take-over walks the stream's generations and
//! finds the one that is not finished yet (delivery rules 2 and 3 in ARCHITECTURE.md).

use crate::{
    message::{Generation, StreamId},
    ports::LaneView,
    transaction::WatermarkRow,
};

/// Where a lane goes on after a take-over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// The generation that is being read.
    pub generation: Generation,
    /// Everything up to here is in the database.
    pub id: StreamId,
    /// Whether the database has no row for this generation yet.
    pub insert: bool,
    /// The last id of this generation, where a newer one follows it.
    pub until: Option<StreamId>,
}

/// Entries that were never delivered are gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "entries after {after} up to {trimmed} were removed from the stream before they were delivered; nothing more is \
     written until an operator decides"
)]
pub struct Gap {
    /// Where the lane stands.
    pub after: StreamId,
    /// Up to where the stream was trimmed.
    pub trimmed: StreamId,
}

/// Finds where a lane goes on.
///
/// # Errors
/// What should come next has been trimmed away.
pub fn resume(view: &LaneView, rows: &[WatermarkRow], lane: &str) -> Result<ResumePoint, Gap> {
    let order = |generation: &Generation| view.generations.iter().position(|known| known.generation == *generation);
    let row = |generation: &Generation| rows.iter().find(|row| row.lane == lane && row.generation == *generation);
    // The lane begins where its first route does. A generation that the stream has forgotten lies before all it knows.
    let (first, floor) = view
        .starts
        .iter()
        .map(|(_, start)| order(&start.generation).map_or((0, StreamId::ZERO), |index| (index, start.id)))
        .min()
        .unwrap_or((0, StreamId::ZERO));
    // A lane that began before all that is known has a row for the first generation that is left: older ones are only
    // forgotten once every lane has arrived here. Without that row its database has gone back behind what was trimmed.
    let forgotten = view.generations.get(first).filter(|oldest| {
        let before = first == 0 && floor < oldest.after && view.trimmed >= oldest.after;
        before && view.generations.iter().all(|known| row(&known.generation).is_none())
    });
    if forgotten.is_some() {
        return Err(Gap { after: floor, trimmed: view.trimmed });
    }
    let mut point = None;
    for (index, current) in view.generations.iter().enumerate().skip(first) {
        let begin = if index == first { floor.max(current.after) } else { current.after };
        let stored = row(&current.generation);
        let id = stored.map_or(begin, |row| row.last_id);
        let until = view.generations.get(index + 1).map(|next| next.after);
        let finished = until.is_some_and(|until| id >= until);
        point = Some(ResumePoint { generation: current.generation.clone(), id, insert: stored.is_none(), until });
        if !finished {
            break;
        }
    }
    // `generations` is never empty, so there is always a point.
    let point =
        point.unwrap_or(ResumePoint { generation: Generation::new(""), id: StreamId::ZERO, insert: true, until: None });
    if view.trimmed > point.id {
        return Err(Gap { after: point.id, trimmed: view.trimmed });
    }
    Ok(point)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{message::Position, ports::GenerationStart};

    fn id(ms: u64) -> StreamId {
        StreamId::new(ms, 0)
    }

    fn view(generations: &[(&str, u64)], start: (&str, u64), trimmed: u64) -> LaneView {
        LaneView {
            generations: generations
                .iter()
                .map(|(token, after)| GenerationStart { generation: Generation::new(token), after: id(*after) })
                .collect(),
            trimmed: id(trimmed),
            starts: vec![("r".into(), Position { generation: Generation::new(start.0), id: id(start.1) })],
            position: None,
            bind: None,
        }
    }

    fn row(generation: &str, last: u64) -> WatermarkRow {
        WatermarkRow {
            lane: "l".into(),
            generation: Generation::new(generation),
            epoch: 1,
            owner: "o".into(),
            last_id: id(last),
        }
    }

    fn at(generation: &str, last: u64, insert: bool, until: Option<u64>) -> Result<ResumePoint, Gap> {
        Ok(ResumePoint { generation: Generation::new(generation), id: id(last), insert, until: until.map(id) })
    }

    #[test]
    fn a_new_lane_begins_where_its_first_route_does() {
        assert_eq!(resume(&view(&[("a", 0)], ("a", 7), 0), &[], "l"), at("a", 7, true, None));
    }

    #[test]
    fn a_known_lane_goes_on_at_its_watermark() {
        assert_eq!(resume(&view(&[("a", 0)], ("a", 7), 5), &[row("a", 9)], "l"), at("a", 9, false, None));
    }

    #[test]
    fn an_older_generation_is_finished_first() {
        let view = view(&[("a", 0), ("b", 20)], ("a", 0), 0);
        assert_eq!(resume(&view, &[row("a", 9)], "l"), at("a", 9, false, Some(20)));
        assert_eq!(resume(&view, &[row("a", 20)], "l"), at("b", 20, true, None));
        assert_eq!(resume(&view, &[row("a", 20), row("b", 25)], "l"), at("b", 25, false, None));
    }

    #[test]
    fn ids_that_a_lagging_replica_hands_out_again_are_read() {
        // Delivered up to 30 in a; the replica that took over had only got to 20, and goes on from there.
        let view = view(&[("a", 0), ("b", 20)], ("a", 0), 0);
        assert_eq!(resume(&view, &[row("a", 30)], "l"), at("b", 20, true, None));
    }

    #[test]
    fn an_emptied_redis_is_read_from_the_start() {
        let view = view(&[("b", 0)], ("a", 7), 0);
        assert_eq!(resume(&view, &[row("a", 30)], "l"), at("b", 0, true, None));
    }

    #[test]
    fn a_database_that_went_back_behind_a_forgotten_generation_is_a_gap() {
        // Generation a ended at 20 and is trimmed; the backup is older than the row of b.
        let gone = resume(&view(&[("b", 20)], ("b", 0), 20), &[row("a", 9)], "l");
        assert_eq!(gone, Err(Gap { after: StreamId::ZERO, trimmed: id(20) }));
        assert_eq!(resume(&view(&[("b", 20)], ("b", 0), 20), &[row("b", 20)], "l"), at("b", 20, false, None));
        assert_eq!(
            resume(&view(&[("b", 20)], ("b", 20), 20), &[], "l"),
            at("b", 20, true, None),
            "a lane that began here"
        );
    }

    #[test]
    fn what_was_trimmed_before_it_was_delivered_is_a_gap() {
        let gone = resume(&view(&[("a", 0)], ("a", 0), 12), &[row("a", 9)], "l");
        assert_eq!(gone, Err(Gap { after: id(9), trimmed: id(12) }));
    }
}
