//! A stream looked through from its newest entry down, for people: some entries at a time, those that match what the head of an
//! entry says. No call keeps Redis for more than about a millisecond or two, however long the stream or its records are.

use redis::{Value, cmd};
use tidegate_actors::{
    message::{Action, StreamId},
    ports::{Entry, GenerationStart, LogError},
};

use super::{
    Redis,
    log::{is_parallel, parse_generations, parse_position},
    odd, scripts,
    stream::entry::{self, text},
    unavailable,
};

/// Most entries of which one call looks at the heads.
pub const ENTRIES_PER_CALL: usize = 1_000;
/// Most bytes that one call looks at; the entries that take it beyond are still looked at.
const BYTES_PER_CALL: usize = 1 << 20;

/// What the head of an entry must say; empty or none: anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// One of these topics; all, where there is none.
    pub topics: Vec<String>,
    /// The key, as compact JSON, or its text where it is a string.
    pub key: Option<String>,
    /// The producer's own id.
    pub own_id: Option<String>,
    /// The action.
    pub action: Option<Action>,
}

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Down from this entry; from the newest, where it is none.
    pub from: Option<End>,
    /// Nothing at or below this.
    pub above: StreamId,
}

/// The upper end of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This entry and what is below.
    At(StreamId),
    /// What is below this entry.
    Below(StreamId),
}

/// What one call found.
#[derive(Debug, Default)]
pub struct Found {
    /// The entries that match, newest first.
    pub entries: Vec<Entry>,
    /// How many were looked at.
    pub looked: u64,
    /// The last that was looked at; none: the span ended.
    pub last: Option<StreamId>,
}

/// Looks at some entries of a span.
///
/// # Errors
/// Redis is away.
pub async fn some(
    redis: &Redis,
    application: &str,
    span: Span,
    head: &Head,
    look_at: usize,
    wanted: usize,
) -> Result<Found, LogError> {
    let stream = redis.keys().of(application).stream();
    let from = match span.from {
        None => "+".to_owned(),
        Some(End::At(id)) => id.to_string(),
        // Nothing is below the lowest id, and Redis refuses to look there.
        Some(End::Below(StreamId::ZERO)) => return Ok(Found::default()),
        Some(End::Below(id)) => format!("({id}"),
    };
    let to = if span.above == StreamId::ZERO { "-".to_owned() } else { format!("({}", span.above) };
    let answer: Vec<Value> = redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::BROWSE.key(&stream);
            call.arg(&from).arg(&to).arg(look_at.min(ENTRIES_PER_CALL)).arg(wanted).arg(BYTES_PER_CALL);
            call.arg(head.key.as_deref().unwrap_or_default()).arg(head.own_id.as_deref().unwrap_or_default());
            call.arg(head.action.map(entry::action_letter).unwrap_or_default());
            for topic in &head.topics {
                call.arg(topic);
            }
            call.invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let mut parts = answer.into_iter();
    let Some(Value::Int(looked)) = parts.next() else { return Err(odd("browse")) };
    let last = parts.next().as_ref().and_then(text).and_then(|id| id.parse().ok());
    Ok(Found { looked: u64::try_from(looked).unwrap_or(0), last, entries: parts.filter_map(entry::parse).collect() })
}

/// What there is to look through of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// How many entries it has.
    pub entries: u64,
    /// Its generations, oldest first.
    pub generations: Vec<GenerationStart>,
}

/// How long a stream is, and its generations.
///
/// # Errors
/// Redis is away.
pub async fn extent(redis: &Redis, application: &str) -> Result<Extent, LogError> {
    let keys = redis.keys().of(application);
    let (stream, meta) = (keys.stream(), keys.meta());
    let (entries, generations): (u64, Option<String>) = redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            pipe.cmd("XLEN").arg(&stream).cmd("HGET").arg(&meta).arg("generations");
            pipe.query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let generations = parse_generations(generations.as_deref().unwrap_or_default()).ok_or_else(|| odd("meta"))?;
    Ok(Extent { entries, generations })
}

/// Above which entry something may wait for one of these destinations: their lowest place, or the beginning where that can't be
/// told.
///
/// # Errors
/// Redis is away.
pub async fn waits_above(redis: &Redis, application: &str, destinations: &[&str]) -> Result<StreamId, LogError> {
    if destinations.is_empty() {
        return Ok(StreamId::ZERO);
    }
    let keys = redis.keys().of(application);
    let (lanes, meta) = (keys.lanes(), keys.meta());
    let (lanes, generations): (Vec<Option<String>>, Option<String>) = redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            pipe.cmd("HMGET").arg(&lanes).arg(destinations).cmd("HGET").arg(&meta).arg("generations");
            pipe.query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let generations = parse_generations(generations.as_deref().unwrap_or_default()).ok_or_else(|| odd("meta"))?;
    let newest = generations.last().map(|start| &start.generation);
    let place = |lane: &Option<String>| {
        let lane = lane.as_deref().filter(|lane| !is_parallel(lane))?;
        parse_position(lane).filter(|place| Some(&place.generation) == newest).map(|place| place.id)
    };
    Ok(lanes.iter().map(|lane| place(lane).unwrap_or(StreamId::ZERO)).min().unwrap_or(StreamId::ZERO))
}

/// These entries of a stream; one that is trimmed is missing.
///
/// # Errors
/// Redis is away.
pub async fn these(redis: &Redis, application: &str, ids: &[StreamId]) -> Result<Vec<Entry>, LogError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let stream = redis.keys().of(application).stream();
    let found: Vec<Vec<Value>> = redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            for id in ids {
                let id = id.to_string();
                pipe.cmd("XRANGE").arg(&stream).arg(&id).arg(&id);
            }
            pipe.query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(found.into_iter().flatten().filter_map(entry::parse).collect())
}

/// The entries from one to another, oldest first, at most so many.
///
/// # Errors
/// Redis is away.
pub async fn between(
    redis: &Redis,
    application: &str,
    first: StreamId,
    last: StreamId,
    most: usize,
) -> Result<Vec<Entry>, LogError> {
    let stream = redis.keys().of(application).stream();
    let (first, last) = (first.to_string(), last.to_string());
    let found: Vec<Value> = redis
        .link()
        .run(async |mut connection| {
            let mut command = cmd("XRANGE");
            command.arg(&stream).arg(&first).arg(&last).arg("COUNT").arg(most).query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(found.into_iter().filter_map(entry::parse).collect())
}
