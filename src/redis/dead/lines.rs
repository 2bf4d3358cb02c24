//! What lists say of dead letters, kept beside them by the scripts that keep and remove them: ten thousand letters are grouped,
//! filtered and paged without a look at their records, which may be long.
//!
//! A node reads the lines of a destination anew only when something of them has changed. A letter without a line (kept by an
//! older version) is looked into.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use redis::cmd;
use tidegate_actors::{
    message::{Generation, Position},
    ports::{DeadLetter, GenerationStart, LogError},
    transaction::DeadId,
};

use super::{
    Redis, field, is_parallel, odd, parse_field, parse_generations, parse_position, sides, summaries, unavailable,
};
use crate::redis::sides::Sides;

/// Lines read in one call: some hundred kilobytes, less than a millisecond of Redis's time.
const LINES_PER_CALL: usize = 1_000;
/// Longest sentence in a line, in bytes; the letter itself has all of it.
const MOST_OF_A_SENTENCE: usize = 500;
/// Between the parts of a line. No name has it, JSON escapes it, and sentences lose it.
const SEPARATOR: char = '\u{1f}';
/// The field that says when anything changed.
const CHANGED: &str = "#";

/// What a list says of a dead letter: all but its record, which may be long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The code of the reason.
    pub code: String,
    /// The column, where it is known.
    pub column: Option<String>,
    /// The reason's sentence.
    pub message: String,
    /// When it was given up, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The key as compact JSON.
    pub key: Option<String>,
    /// Whether a later record of its key was written.
    pub superseded: bool,
    /// Whether it only waits behind another one of its key.
    pub blocked: bool,
    /// What became of the last redrive.
    pub redrive_error: Option<String>,
    /// The route's name at that time.
    pub route_name: String,
    /// How often it was tried.
    pub attempts: u32,
    /// The topic.
    pub topic: String,
    /// The action.
    pub action: String,
    /// The table.
    pub table: String,
}

/// The line of a letter.
pub(crate) fn line(letter: &DeadLetter) -> String {
    let sentence = |text: &str| {
        let end = text.char_indices().map(|(at, _)| at).find(|at| *at >= MOST_OF_A_SENTENCE);
        let shown = &text[..end.unwrap_or(text.len())];
        let plain = shown.chars().map(|c| if c == SEPARATOR { ' ' } else { c }).collect::<String>();
        if end.is_some() { plain + "…" } else { plain }
    };
    let flags = format!(
        "{}{}",
        if letter.superseded_by.is_some() { "s" } else { "" },
        if letter.blocked_by.is_some() { "b" } else { "" }
    );
    let name = |text: &str| text.replace(SEPARATOR, " ");
    [
        letter.at_ms.to_string(),
        letter.attempts.to_string(),
        flags,
        name(&letter.reason.code),
        name(letter.reason.column.as_deref().unwrap_or_default()),
        name(&letter.topic),
        name(&letter.action),
        name(&letter.table),
        name(&letter.route_name),
        name(letter.key.as_deref().unwrap_or_default()),
        sentence(letter.redrive_error.as_deref().unwrap_or_default()),
        sentence(&letter.reason.message),
    ]
    .join("\u{1f}")
}

/// Reads a line back; further parts are a newer version's.
fn parse(line: &str) -> Option<Summary> {
    let mut parts = line.split(SEPARATOR);
    let mut next = || parts.next();
    let (at_ms, attempts, flags) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?);
    let mut text = || next().map(str::to_owned);
    let present = |text: String| Some(text).filter(|text| !text.is_empty());
    Some(Summary {
        at_ms,
        attempts,
        superseded: flags.contains('s'),
        blocked: flags.contains('b'),
        code: text()?,
        column: present(text()?),
        topic: text()?,
        action: text()?,
        table: text()?,
        route_name: text()?,
        key: present(text()?),
        redrive_error: present(text()?),
        message: text()?,
    })
}

/// The lines of some letters, in their order; `None` for one that is no dead letter or has no line.
///
/// # Errors
/// Redis is away.
pub(crate) async fn of(
    redis: &Redis,
    application: &str,
    destination: &str,
    fields: &[String],
) -> Result<Vec<Option<Summary>>, LogError> {
    if fields.is_empty() {
        return Ok(Vec::new());
    }
    let key = redis.keys().of(application).dead_lines(destination);
    let lines: Vec<Option<String>> = redis
        .link()
        .run(async |mut connection| cmd("HMGET").arg(&key).arg(fields).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(lines.into_iter().map(|line| parse(&line?)).collect())
}

/// The dead letters of one destination on one stream with what is said of each, oldest first.
pub type Letters = Arc<Vec<(DeadId, Arc<Summary>)>>;

/// The lines as a node has read them, by application and destination. Those of destinations that have none are not kept.
#[derive(Debug, Default)]
pub struct Known(Mutex<HashMap<(String, String), (State, Letters)>>);

/// By which it is seen that lines have not changed: when they did, how many letters and how many lines there are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    changed: Option<String>,
    letters: u64,
    lines: u64,
}

/// Which letters count: a payload above the place that its lane has passed is not (yet) one.
pub(super) struct Passed {
    order: Vec<GenerationStart>,
    position: Option<Position>,
    sides: Sides,
}

impl Passed {
    /// From the lane, the generations and what stands beside the lane, as they are stored.
    pub(super) fn new(lane: Option<&str>, generations: Option<&str>, sides: Sides) -> Result<Self, LogError> {
        let order = parse_generations(generations.unwrap_or_default()).ok_or_else(|| odd("meta"))?;
        // A payload of a parallel destination is the truth itself: there is no row, and no position that it would wait for.
        let position = lane.filter(|lane| !is_parallel(lane)).and_then(parse_position);
        Ok(Self { order, position, sides })
    }

    fn rank(&self, generation: &Generation) -> Option<usize> {
        self.order.iter().position(|start| start.generation == *generation)
    }

    /// Whether this one counts.
    pub(super) fn holds(&self, dead: &DeadId) -> bool {
        let place = |position: &Position| {
            if dead.generation == position.generation {
                return dead.id <= position.id;
            }
            (self.rank(&dead.generation), dead.id) <= (self.rank(&position.generation), position.id)
        };
        // A route that is carried beside the lane has passed what its side row has.
        self.sides.main.as_ref().or(self.position.as_ref()).is_none_or(place)
            && self.sides.carrying(&dead.route).all(|side| place(&side.at))
    }

    /// In the order of the log.
    pub(super) fn sort<T>(&self, all: &mut [T], id: impl Fn(&T) -> &DeadId) {
        let ranks: HashMap<&Generation, usize> =
            self.order.iter().enumerate().map(|(rank, start)| (&start.generation, rank)).collect();
        all.sort_by(|a, b| {
            let (a, b) = (id(a), id(b));
            (ranks.get(&a.generation), a.id, &a.route).cmp(&(ranks.get(&b.generation), b.id, &b.route))
        });
    }
}

/// All dead letters of one destination on one stream, oldest first, with what lists say of them.
///
/// # Errors
/// Redis is away.
pub async fn all(redis: &Redis, application: &str, destination: &str) -> Result<Letters, LogError> {
    let keys = redis.keys().of(application);
    let (dead, lines, lanes, meta, beside) =
        (keys.dead(destination), keys.dead_lines(destination), keys.lanes(), keys.meta(), keys.sides());
    type Raw = (u64, u64, Option<String>, Option<String>, Option<String>, HashMap<String, String>);
    let (letters, counted, changed, lane, generations, beside): Raw = redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            pipe.cmd("HLEN").arg(&dead).cmd("HLEN").arg(&lines).cmd("HGET").arg(&lines).arg(CHANGED);
            pipe.cmd("HGET").arg(&lanes).arg(destination).cmd("HGET").arg(&meta).arg("generations");
            pipe.cmd("HGETALL").arg(&beside).query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let of = (application.to_owned(), destination.to_owned());
    let known = &redis.letters.0;
    if letters == 0 {
        known.lock().unwrap_or_else(PoisonError::into_inner).remove(&of);
        return Ok(Letters::default());
    }
    let passed = Passed::new(lane.as_deref(), generations.as_deref(), sides::parse(beside.iter(), destination))?;
    let state = State { changed, letters, lines: counted };
    let cached = known.lock().unwrap_or_else(PoisonError::into_inner).get(&of).cloned();
    let all = match cached {
        Some((then, all)) if then == state && state.changed.is_some() => all,
        _ => {
            let mut all = read(redis, application, destination, &state).await?;
            passed.sort(&mut all, |(id, _)| id);
            let all = Arc::new(all);
            known.lock().unwrap_or_else(PoisonError::into_inner).insert(of, (state, Arc::clone(&all)));
            all
        }
    };
    if all.iter().all(|(id, _)| passed.holds(id)) {
        return Ok(all);
    }
    Ok(Arc::new(all.iter().filter(|(id, _)| passed.holds(id)).cloned().collect()))
}

/// How many dead letters each of these destinations has on one stream.
///
/// # Errors
/// Redis is away.
pub async fn counts(redis: &Redis, application: &str, destinations: &[&str]) -> Result<Vec<u64>, LogError> {
    if destinations.is_empty() {
        return Ok(Vec::new());
    }
    let keys = redis.keys().of(application);
    redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            for destination in destinations {
                pipe.cmd("HLEN").arg(keys.dead(destination));
            }
            pipe.query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))
}

async fn read(
    redis: &Redis,
    application: &str,
    destination: &str,
    state: &State,
) -> Result<Vec<(DeadId, Arc<Summary>)>, LogError> {
    let keys = redis.keys().of(application);
    let (dead, lines) = (keys.dead(destination), keys.dead_lines(destination));
    let mut found: HashMap<String, Summary> = HashMap::new();
    let mut cursor = 0_u64;
    loop {
        let (next, pairs): (u64, Vec<(String, String)>) = redis
            .link()
            .run(async |mut connection| {
                let mut command = cmd("HSCAN");
                command.arg(&lines).arg(cursor).arg("COUNT").arg(LINES_PER_CALL).query_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        found.extend(pairs.into_iter().filter_map(|(field, line)| Some((field, parse(&line)?))));
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    let whole = |(field, summary): (String, Summary)| Some((parse_field(&field)?, Arc::new(summary)));
    if state.changed.is_some() && state.lines == state.letters + 1 {
        return Ok(found.into_iter().filter_map(whole).collect());
    }
    // Another version kept or removed some.
    let fields: Vec<String> = redis
        .link()
        .run(async |mut connection| cmd("HKEYS").arg(&dead).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    let (mut all, mut unknown) = (Vec::with_capacity(fields.len()), Vec::new());
    for name in fields {
        match (found.remove(&name), parse_field(&name)) {
            (_, None) => {}
            (Some(summary), Some(id)) => all.push((id, Arc::new(summary))),
            (None, Some(id)) => unknown.push(id),
        }
    }
    let told = summaries(redis, application, destination, &unknown).await?;
    all.extend(unknown.into_iter().zip(told).filter_map(|(id, summary)| Some((id, Arc::new(summary?)))));
    Ok(all)
}

/// The fields of these.
pub(crate) fn fields(ids: &[DeadId]) -> Vec<String> {
    ids.iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tidegate_actors::{message::StreamId, ports::Rejection};

    use super::*;

    #[test]
    fn a_line_says_what_the_letter_does() {
        let dead = DeadId { generation: Generation::new("g"), id: StreamId::new(5, 0), route: "r1".into() };
        let mut letter = DeadLetter {
            dead: dead.clone(),
            application: "car-app".into(),
            route_name: "rooms-cars".into(),
            topic: "cars".into(),
            action: "upsert".into(),
            key: Some("{\"a\":\"b\\u001fc\"}".into()),
            data: "{}".into(),
            table: "cars".into(),
            reason: Rejection {
                statement: None,
                row: None,
                code: "unique".into(),
                column: None,
                message: "a\u{1f}b\nc".into(),
            },
            attempts: 2,
            at_ms: 7,
            redrive_error: None,
            superseded_by: Some(StreamId::new(6, 0)),
            blocked_by: None,
            edited: None,
        };
        let told = parse(&line(&letter)).unwrap();
        assert_eq!((told.at_ms, told.attempts, told.superseded, told.blocked), (7, 2, true, false));
        assert_eq!((told.message.as_str(), told.column, told.redrive_error), ("a b\nc", None, None));
        assert_eq!((told.key.as_deref(), told.route_name.as_str()), (letter.key.as_deref(), "rooms-cars"));
        letter.reason.message = "ü".repeat(400);
        let told = parse(&line(&letter)).unwrap().message;
        assert!(told.len() < 510 && told.ends_with('…'), "{told}");
        assert_eq!(parse(&(line(&letter) + "\u{1f}more")).unwrap().message, told, "a newer version may say more");
        assert_eq!(parse("5"), None);
    }
}
