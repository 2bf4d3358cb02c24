//! The last quarter of an hour, a point every two seconds: what came in, what was delivered, how long it took, what waits.
//!
//! Each node keeps its own, of what all nodes report: nothing of it is stored. Counters of actors become rates here; an actor
//! that starts anew begins at zero, and what it counted before is not counted twice.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use serde::Serialize;
use tidegate_actors::{
    ingest::TOOK_BOUNDS_US,
    status::{ActorKind, DestinationStatus},
};

use super::overview::Sighting;

/// Points that are kept.
pub(crate) const POINTS: usize = 450;
/// Seconds from one to the next.
pub(crate) const STEP_S: u64 = 2;
/// Destinations that have a line of their own; the rest have tiles.
const MOST_LINES: usize = 24;

/// What was measured at one moment. Rates are per second since the moment before; `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Point {
    /// When, in seconds since the Unix epoch.
    pub(crate) at: u64,
    /// Messages accepted per second.
    pub(crate) ingest: Option<f64>,
    /// Time within which half of the requests were appended, in milliseconds; an upper bound.
    pub(crate) half_ms: Option<f64>,
    /// The same for 99 of 100.
    pub(crate) most_ms: Option<f64>,
    /// Redis's memory in use, in bytes.
    pub(crate) used: Option<u64>,
    /// Its limit.
    pub(crate) limit: Option<u64>,
    /// Destinations by name.
    pub(crate) destinations: BTreeMap<Arc<str>, Line>,
}

/// One destination at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Line {
    /// Rows written per second.
    pub(crate) rate: Option<f64>,
    /// Messages that wait.
    pub(crate) backlog: u64,
    /// How long messages took to arrive, in milliseconds, where some did.
    pub(crate) arrival_ms: Option<f64>,
}

/// The points, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Series {
    points: VecDeque<Point>,
    before: Option<Counters>,
}

/// What actors had counted, by where they are.
#[derive(Clone, Debug, Default)]
struct Counters {
    at_ms: u64,
    messages: HashMap<(String, String), u64>,
    took: HashMap<(String, String), Vec<u64>>,
    rows: HashMap<(String, String), u64>,
}

impl Counters {
    fn of(sighting: &Sighting) -> Self {
        let mut all = Self { at_ms: sighting.at_ms, ..Self::default() };
        for node in sighting.nodes.iter().filter(|node| !node.old) {
            for actor in &node.actors {
                let place = (node.instance.clone(), actor.name.clone());
                let number = |name: &str| actor.detail.get(name).and_then(serde_json::Value::as_u64);
                match actor.kind {
                    ActorKind::Ingest => {
                        let took = actor.detail.get("took").and_then(|took| took.as_array());
                        let took = took.map(|all| all.iter().filter_map(serde_json::Value::as_u64).collect());
                        all.took.insert(place.clone(), took.unwrap_or_default());
                        all.messages.insert(place, number("messages").unwrap_or(0));
                    }
                    ActorKind::Destination => {
                        all.rows.insert(place, number("rows_written").unwrap_or(0));
                    }
                    _ => {}
                }
            }
        }
        all
    }
}

/// What was counted since then. One that has less than before has begun anew; one that was not there was not looked at.
fn since(now: u64, before: Option<u64>) -> u64 {
    match before {
        Some(before) if before <= now => now - before,
        Some(_) => now,
        None => 0,
    }
}

impl Series {
    /// Takes a moment in; the point that it made, unless it is the first, from which nothing can be told yet.
    pub(crate) fn take(&mut self, sighting: &Sighting) -> Option<&Point> {
        let now = Counters::of(sighting);
        let before = self.before.replace(now.clone())?;
        let passed_s = now.at_ms.saturating_sub(before.at_ms) as f64 / 1_000.0;
        let rate = |count: u64| (passed_s > 0.0).then(|| count as f64 / passed_s);
        let messages =
            now.messages.iter().map(|(place, count)| since(*count, before.messages.get(place).copied())).sum();
        let (half_ms, most_ms) = quantiles(&now, &before);
        let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
        for (place, count) in &now.rows {
            *rows.entry(place.1.as_str()).or_default() += since(*count, before.rows.get(place).copied());
        }
        let line = |seen: &super::overview::DestinationSeen| {
            let written = rows.get(seen.name.as_str()).copied().unwrap_or(0);
            let arrival_ms = seen.detail.arrival_ms.filter(|_| written > 0);
            // Between two nodes nobody counts what waits: it has not gone.
            let untold = seen.detail.status == DestinationStatus::Standby;
            let before = self.last().and_then(|point| point.destinations.get(seen.name.as_str())).filter(|_| untold);
            let backlog = before.map_or(seen.detail.backlog, |line| line.backlog);
            let line = Line { rate: rate(written), backlog, arrival_ms };
            (self.known(&seen.name).unwrap_or_else(|| seen.name.as_str().into()), line)
        };
        let point = Point {
            at: sighting.at_ms / 1_000,
            // Without Redis only this node is heard, and nothing comes in anywhere.
            ingest: rate(messages),
            half_ms,
            most_ms,
            used: sighting.memory.as_ref().map(|memory| memory.sample.used_bytes),
            limit: sighting.memory.as_ref().and_then(|memory| memory.sample.limit_bytes),
            destinations: sighting.destinations.iter().map(line).collect(),
        };
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
        self.points.back()
    }

    /// The name as the last point has it, so that one text serves all points.
    fn known(&self, name: &str) -> Option<Arc<str>> {
        self.points.back()?.destinations.get_key_value(name).map(|(name, _)| Arc::clone(name))
    }

    /// The last point.
    pub(crate) fn last(&self) -> Option<&Point> {
        self.points.back()
    }

    /// What waited for a destination, oldest first, in so many points or fewer.
    pub(crate) fn backlogs(&self, name: &str, points: usize) -> Vec<u64> {
        let every = self.points.len().div_ceil(points.max(1)).max(1);
        let backlog = |point: &Point| point.destinations.get(name).map_or(0, |line| line.backlog);
        // From the newest, so that the last one never moves.
        let mut all: Vec<u64> = self.points.iter().rev().step_by(every).map(backlog).collect();
        all.reverse();
        all
    }

    /// All of it, a column each, for the charts.
    pub(crate) fn columns(&self) -> Columns<'_> {
        let names: Vec<&Arc<str>> =
            self.points.back().map(|point| point.destinations.keys().take(MOST_LINES).collect()).unwrap_or_default();
        let of = |pick: fn(&Point) -> Option<f64>| self.points.iter().map(|point| pick(point).map(rounded)).collect();
        let lines = names.into_iter().map(|name| {
            let line = |point: &Point| point.destinations.get(name).copied();
            Lines {
                name,
                rate: self.points.iter().map(|point| line(point)?.rate.map(rounded)).collect(),
                backlog: self.points.iter().map(|point| Some(line(point)?.backlog)).collect(),
                arrival: self.points.iter().map(|point| line(point)?.arrival_ms.map(rounded)).collect(),
            }
        });
        Columns {
            step: STEP_S,
            points: POINTS,
            at: self.points.iter().map(|point| point.at).collect(),
            ingest: of(|point| point.ingest),
            half: of(|point| point.half_ms),
            most: of(|point| point.most_ms),
            used: self.points.iter().map(|point| point.used).collect(),
            limit: self.points.back().and_then(|point| point.limit),
            lines: lines.collect(),
        }
    }
}

/// The series, a column each.
#[derive(Debug, Serialize)]
pub(crate) struct Columns<'a> {
    step: u64,
    points: usize,
    at: Vec<u64>,
    ingest: Vec<Option<f64>>,
    half: Vec<Option<f64>>,
    most: Vec<Option<f64>>,
    used: Vec<Option<u64>>,
    limit: Option<u64>,
    lines: Vec<Lines<'a>>,
}

#[derive(Debug, Serialize)]
struct Lines<'a> {
    name: &'a str,
    rate: Vec<Option<f64>>,
    backlog: Vec<Option<u64>>,
    arrival: Vec<Option<f64>>,
}

/// To a hundredth: more is noise, and costs.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// Within what time half, and 99 of 100, of the appends since then were answered.
fn quantiles(now: &Counters, before: &Counters) -> (Option<f64>, Option<f64>) {
    let mut counts = vec![0_u64; TOOK_BOUNDS_US.len() + 1];
    for (place, took) in &now.took {
        let Some(then) = before.took.get(place) else { continue };
        // One that began anew has less in one slot or another.
        let anew = took.iter().zip(then).any(|(now, then)| now < then);
        for (slot, count) in counts.iter_mut().enumerate() {
            let (now, then) = (took.get(slot).copied().unwrap_or(0), then.get(slot).copied().unwrap_or(0));
            *count += if anew { now } else { now.saturating_sub(then) };
        }
    }
    (quantile(&counts, 0.5), quantile(&counts, 0.99))
}

/// The time below which this share of what was counted lies, in milliseconds: in its slot as far along as the count says.
fn quantile(counts: &[u64], share: f64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let wanted = all as f64 * share;
    let mut below = 0.0;
    for (slot, count) in counts.iter().enumerate() {
        let count = *count as f64;
        if count > 0.0 && below + count >= wanted {
            let from = slot.checked_sub(1).and_then(|slot| TOOK_BOUNDS_US.get(slot)).copied().unwrap_or(0) as f64;
            let to = TOOK_BOUNDS_US.get(slot).map_or(from * 2.0, |bound| *bound as f64);
            return Some((from + (to - from) * ((wanted - below) / count)) / 1_000.0);
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;
    use tidegate_actors::status::{ActorHealth, ActorState, DestinationDetail};

    use super::*;
    use crate::admin::overview::{DestinationSeen, NodeSeen, State};

    fn actor(kind: ActorKind, name: &str, detail: serde_json::Value) -> ActorHealth {
        ActorHealth { kind, name: name.into(), state: ActorState::Running, restarts: 0, last_progress_s: 0.0, detail }
    }

    fn moment(second: u64, messages: u64, rows: u64) -> Sighting {
        let took: Vec<u64> = (0..15).map(|slot| if slot == 2 { messages } else { 0 }).collect();
        let node = NodeSeen {
            name: "a".into(),
            instance: "i".into(),
            version: String::new(),
            started_ms: 0,
            draining: false,
            writes: Vec::new(),
            here: true,
            old: false,
            actors: vec![
                actor(ActorKind::Ingest, "worker-0", json!({"messages": messages, "took": took})),
                actor(ActorKind::Destination, "rooms", json!({"rows_written": rows})),
            ],
        };
        let detail = DestinationDetail {
            status: DestinationStatus::Up,
            backlog: messages - rows,
            ..DestinationDetail::default()
        };
        let rooms = DestinationSeen {
            id: "d".into(),
            name: "rooms".into(),
            kind: "sqlite".into(),
            state: State::Up,
            told_by: None,
            detail,
            dead: None,
        };
        Sighting { at_ms: second * 1_000, nodes: vec![node], destinations: vec![rooms], ..Sighting::default() }
    }

    #[test]
    fn counters_become_rates_and_one_that_begins_anew_is_not_negative() {
        let mut series = Series::default();
        assert!(series.take(&moment(10, 1_000, 900)).is_none());
        let point = series.take(&moment(12, 1_400, 1_000)).unwrap();
        assert_eq!((point.ingest, point.destinations["rooms"].rate), (Some(200.0), Some(50.0)));
        assert_eq!(point.destinations["rooms"].backlog, 400);
        // All of them took between 500 and 1,000 µs.
        let (half, most) = (point.half_ms.unwrap(), point.most_ms.unwrap());
        assert!((half - 0.75).abs() < 1e-9 && (0.99..1.0).contains(&most), "{half} {most}");
        let point = series.take(&moment(14, 100, 50)).unwrap();
        assert_eq!((point.ingest, point.destinations["rooms"].rate), (Some(50.0), Some(25.0)));
    }

    #[test]
    fn what_waits_stays_while_it_goes_from_node_to_node() {
        let mut series = Series::default();
        series.take(&moment(10, 1_000, 900));
        series.take(&moment(12, 1_400, 1_000));
        let mut between = moment(14, 1_400, 1_000);
        between.destinations[0].detail = DestinationDetail::default();
        assert_eq!(series.take(&between).unwrap().destinations["rooms"].backlog, 400);
        assert_eq!(series.take(&moment(16, 1_400, 1_300)).unwrap().destinations["rooms"].backlog, 100);
    }

    #[test]
    fn a_quarter_of_an_hour_is_kept() {
        let mut series = Series::default();
        for step in 0..(POINTS as u64 + 10) {
            series.take(&moment(step * STEP_S, step, step / 2));
        }
        let columns = series.columns();
        assert_eq!((columns.at.len(), columns.lines.len()), (POINTS, 1));
        assert_eq!(columns.at.last(), Some(&((POINTS as u64 + 9) * STEP_S)));
        let spark = series.backlogs("rooms", 60);
        assert!(spark.len() <= 60 && spark.last() == columns.lines[0].backlog.last().unwrap().as_ref(), "{spark:?}");
    }
}
