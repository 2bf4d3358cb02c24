//! Where a lane goes on: pure rules over what the log and the database say.
//!
//! The destination's watermark is the truth, the log's position a hint. A take-over walks the stream's generations and
//! finds the one that is not finished yet (delivery rules 2 and 3 in ARCHITECTURE.md).

mod part;

use std::cmp::Ordering;

pub use part::Part;

use crate::{
    message::{Generation, Position, StreamId},
    ports::{GenerationStart, LaneView},
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

/// What every sentence about a gap says, by which it is told from other things that a destination is held for.
pub const GAP_SAYS: &str = "were removed from the stream before they were delivered";

/// Entries that were never delivered are gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entries after {after} {} {}", up_to(*trimmed), GAP_SAYS)]
pub struct Gap {
    /// Where the lane stands.
    pub after: StreamId,
    /// Up to where the stream was trimmed.
    pub trimmed: StreamId,
}

/// A mark in people's words: one just below an entry is named by that entry.
fn up_to(mark: StreamId) -> String {
    match mark.seq {
        u64::MAX => format!("and before {}", StreamId::new(mark.ms.saturating_add(1), 0)),
        _ => format!("up to {mark}"),
    }
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
    // A route that catches up beside the lane may begin in an older generation than the lane ever read.
    let oldest_row = view.generations.iter().position(|known| row(&known.generation).is_some());
    let first = oldest_row.map_or(first, |oldest| first.max(oldest));
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

/// One change of a lane's rows on its way to a place that an operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which generation's row.
    pub generation: Generation,
    /// Where the row stands; `None`: it is missing.
    pub from: Option<StreamId>,
    /// Where it is to stand.
    pub to: StreamId,
}

/// How the rows of a lane come to say that everything up to `to` is passed and nothing after it; `None` where the place is
/// of a generation that the stream does not know (any more), or trimmed away meanwhile.
///
/// The oldest generation comes last: as long as it is not moved, a gap stays a gap, and a crash in between leaves the
/// lane waiting with the decision still on its list.
#[must_use]
pub fn moves(view: &LaneView, rows: &[WatermarkRow], lane: &str, to: &Position) -> Option<Vec<Move>> {
    let place = view.generations.iter().position(|known| known.generation == to.generation)?;
    if to.id < view.trimmed {
        return None;
    }
    let step = |(index, known): (usize, &GenerationStart)| {
        let row = rows.iter().find(|row| row.lane == lane && row.generation == known.generation);
        let stands = row.map(|row| row.last_id);
        let end = view.generations.get(index + 1).map(|next| next.after);
        let target = match index.cmp(&place) {
            // Passed as a whole.
            Ordering::Less => stands.max(end)?,
            Ordering::Equal => to.id,
            // To be read from its beginning; a row that is missing says so already.
            Ordering::Greater => stands.map(|_| known.after)?,
        };
        (stands != Some(target)).then(|| Move { generation: known.generation.clone(), from: stands, to: target })
    };
    Some(view.generations.iter().enumerate().rev().filter_map(step).collect())
}

/// The lane as one of its side rows sees it: it begins where its oldest row is, and nowhere else.
#[must_use]
pub fn beside(view: &LaneView, rows: &[WatermarkRow], lane: &str) -> LaneView {
    let of_lane =
        |known: &GenerationStart| rows.iter().find(|row| row.lane == lane && row.generation == known.generation);
    let oldest = view.generations.iter().find_map(of_lane).or_else(|| rows.iter().find(|row| row.lane == lane));
    let start = oldest.map(|row| Position { generation: row.generation.clone(), id: row.last_id });
    LaneView { starts: start.map(|start| (lane.to_owned(), start)).into_iter().collect(), ..view.clone() }
}

/// The lane as its main row sees it: routes that catch up beside it do not say where it begins, unless there are no
/// others.
#[must_use]
pub fn mainly(view: &LaneView) -> LaneView {
    let starts: Vec<_> = view.starts.iter().filter(|(route, _)| !view.backfills.contains(route)).cloned().collect();
    LaneView { starts: if starts.is_empty() { view.starts.clone() } else { starts }, ..view.clone() }
}

/// Whether one place of a stream lies before another. A generation that the stream has forgotten lies before all it
/// knows.
#[must_use]
pub fn lies_before(order: &[Generation], one: &Position, other: &Position) -> bool {
    let place = |position: &Position| order.iter().position(|known| *known == position.generation);
    (place(one), one.id) < (place(other), other.id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
            backfills: Vec::new(),
            sides: Vec::new(),
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
    fn an_emptied_redis_whose_routes_begin_anew_sends_nothing_twice() {
        // The routes were registered again at the earliest entry, before or after the lane had got somewhere.
        let mut view = view(&[("b", 0)], ("b", 0), 0);
        assert_eq!(resume(&view, &[row("a", 30)], "l"), at("b", 0, true, None));
        assert_eq!(resume(&view, &[row("a", 30), row("b", 7)], "l"), at("b", 7, false, None));
        view.starts.clear();
        assert_eq!(resume(&view, &[row("a", 30), row("b", 7)], "l"), at("b", 7, false, None));
    }

    #[test]
    fn a_stream_that_went_back_sends_nothing_twice_by_a_restored_route() {
        // The replica had not heard of the route: it begins at the earliest entry, its destination where its rows say.
        let view = view(&[("a", 0), ("b", 20)], ("a", 0), 0);
        assert_eq!(resume(&view, &[row("a", 30)], "l"), at("b", 20, true, None));
        assert_eq!(resume(&view, &[row("a", 15)], "l"), at("a", 15, false, Some(20)));
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
    fn a_side_row_goes_on_where_it_stands_and_follows_the_generations() {
        let stream = view(&[("a", 0), ("b", 20), ("c", 40)], ("a", 0), 0);
        let of = |rows: &[WatermarkRow]| resume(&beside(&stream, rows, "l"), rows, "l");
        assert_eq!(of(&[row("b", 25)]), at("b", 25, false, Some(40)), "it never was in a");
        assert_eq!(of(&[row("b", 40)]), at("c", 40, true, None));
        assert_eq!(of(&[row("a", 15)]), at("a", 15, false, Some(20)));
        let emptied = view(&[("z", 0)], ("z", 0), 0);
        let rows = [row("b", 25)];
        assert_eq!(resume(&beside(&emptied, &rows, "l"), &rows, "l"), at("z", 0, true, None));
    }

    #[test]
    fn a_route_that_catches_up_does_not_take_its_lane_back() {
        let mut stream = view(&[("a", 0), ("b", 20)], ("b", 22), 0);
        stream.starts.push(("late".into(), Position { generation: Generation::new("a"), id: id(3) }));
        stream.backfills = vec!["late".into()];
        assert_eq!(resume(&mainly(&stream), &[], "l"), at("b", 22, true, None), "a database that knows nothing yet");
        // The other routes are gone meanwhile.
        stream.starts.remove(0);
        assert_eq!(resume(&mainly(&stream), &[row("b", 30)], "l"), at("b", 30, false, None));
    }

    #[test]
    fn what_was_trimmed_before_it_was_delivered_is_a_gap() {
        let gone = resume(&view(&[("a", 0)], ("a", 0), 12), &[row("a", 9)], "l");
        assert_eq!(gone, Err(Gap { after: id(9), trimmed: id(12) }));
    }

    #[test]
    fn a_decision_moves_the_row_it_is_about() {
        let view = view(&[("a", 0)], ("a", 0), 12);
        let place = |generation: &str, last| Position { generation: Generation::new(generation), id: id(last) };
        let step = |generation: &str, from: Option<u64>, to| Move {
            generation: Generation::new(generation),
            from: from.map(id),
            to: id(to),
        };
        assert_eq!(moves(&view, &[row("a", 9)], "l", &place("a", 12)), Some(vec![step("a", Some(9), 12)]));
        // Applied already, or on a database that knows nothing yet.
        assert_eq!(moves(&view, &[row("a", 12)], "l", &place("a", 12)), Some(vec![]));
        assert_eq!(moves(&view, &[], "l", &place("a", 20)), Some(vec![step("a", None, 20)]));
        // Of a time that is gone.
        assert_eq!(moves(&view, &[], "l", &place("z", 20)), None);
        assert_eq!(moves(&view, &[row("a", 9)], "l", &place("a", 11)), None);
    }

    #[test]
    fn a_decision_passes_older_generations_last_and_reads_newer_ones_from_their_start() {
        let view = view(&[("a", 0), ("b", 20), ("c", 40)], ("a", 0), 12);
        let to = Position { generation: Generation::new("b"), id: id(25) };
        let moved = moves(&view, &[row("a", 9), row("c", 44)], "l", &to).unwrap();
        let told: Vec<_> = moved.iter().map(|step| (&*step.generation.0, step.from, step.to)).collect();
        assert_eq!(told, [("c", Some(id(44)), id(40)), ("b", None, id(25)), ("a", Some(id(9)), id(20))]);
        assert_eq!(
            resume(&view, &[row("a", 20), row("b", 25), row("c", 40)], "l"),
            at("b", 25, false, Some(40)),
            "and there it goes on"
        );
    }
}
