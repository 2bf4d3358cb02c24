//! The janitor's work on a stream: removing what every lane has passed and the retention no longer wants.
//!
//! One script decides and removes, so that no lane can be claimed or registered in between. A destination without a
//! position of the newest generation forbids trimming altogether. The janitor calls [`round`] every now and then.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use redis::cmd;
use tidegate_actors::ports::LogError;

use super::{Redis, history, log::parse_generations, odd, scripts, unavailable};
use crate::resources::Document;

/// How often one round goes on with a stream that still has something to remove: by number it goes in small steps.
const STEPS: usize = 50;

/// Plans are a kilobyte or two each and change with their table only: fewer than this are not worth a sweep.
const PLANS_WORTH_A_SWEEP: usize = 1000;

/// How long delivered records stay: by time or by number, whichever is less. Neither: as long as there is room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The time.
    pub time: Option<Duration>,
    /// The number of messages of a stream.
    pub messages: Option<u64>,
}

impl Retention {
    /// Nothing that was delivered everywhere: what memory pressure asks for.
    pub const NONE: Self = Self { time: Some(Duration::ZERO), messages: None };
}

/// What trimming a stream came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Entries that were removed.
    pub removed: u64,
    /// Why nothing may be removed now: a destination's id, `GENERATION` or `VERSION`.
    pub held_by: Option<String>,
    /// Destinations that have a position here and are not in the list: just being registered, or forgotten by an
    /// unregistration that was cut off. They count like the others.
    pub unlisted: Vec<String>,
}

/// Trims one stream. `registered` are the ids of the destinations that a route leads to from this application, by the
/// registry's `version`.
///
/// # Errors
/// Redis is away.
pub async fn stream(
    redis: &Redis,
    application: &str,
    registered: &[&str],
    version: u64,
    retention: Retention,
) -> Result<Trimmed, LogError> {
    let mut outcome = Trimmed::default();
    if retention == Retention::default() {
        return Ok(outcome);
    }
    let keys = redis.keys().of(application);
    let ms = retention.time.map_or(-1, |time| i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
    let messages = retention.messages.map_or(-1, |messages| i64::try_from(messages).unwrap_or(i64::MAX));
    for _ in 0..STEPS {
        let answer: Vec<redis::Value> = redis
            .link()
            .run(async |mut connection| {
                let mut call = scripts::TRIM.key(keys.stream());
                call.key(keys.meta()).key(keys.lanes()).key(keys.starts()).key(keys.parts());
                call.arg(version).arg(ms).arg(messages).arg(keys.histories_prefix()).arg(registered);
                call.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        let mut parts = answer.into_iter();
        let mut number = || match parts.next() {
            Some(redis::Value::Int(number)) => Ok(number),
            _ => Err(odd("trim")),
        };
        let (removed, more) = (number()?, number()?);
        let mut texts = parts.filter_map(|part| super::stream::entry::text(&part).map(str::to_owned));
        outcome.removed += u64::try_from(removed).unwrap_or(0);
        outcome.held_by = texts.next().filter(|why| !why.is_empty());
        outcome.unlisted = texts.collect();
        if more == 0 {
            break;
        }
    }
    Ok(outcome)
}

/// Trims the streams of all applications. An application that fails does not keep the others from their turn.
pub async fn round(
    redis: &Redis,
    document: &Document,
    retention: Retention,
) -> Vec<(String, Result<Trimmed, LogError>)> {
    let mut outcomes = Vec::with_capacity(document.applications.len());
    for application in &document.applications {
        let registered = registered(document, &application.name);
        let outcome = stream(redis, &application.name, &registered, document.version, retention).await;
        outcomes.push((application.name.clone(), outcome));
    }
    outcomes
}

/// The ids of the destinations that a route leads to from this application.
#[must_use]
pub fn registered<'a>(document: &'a Document, application: &str) -> Vec<&'a str> {
    let wanted =
        |name: &str| document.routes.iter().any(|route| route.application == application && route.destination == name);
    document.destinations.iter().filter(|one| wanted(&one.name)).map(|one| one.id.as_str()).collect()
}

/// Forgets table schemas that no batch in the history was mapped for. Where there are many only, and only those that the
/// sweep before found unused too (`unused` carries them): a schema is kept before the first batch that uses it. To be
/// called about once an hour.
///
/// # Errors
/// Redis is away.
pub async fn sweep_plans(redis: &Redis, application: &str, unused: &mut HashSet<String>) -> Result<usize, LogError> {
    let keys = redis.keys().of(application);
    let (plans, lanes, meta, parts) = (keys.plans(), keys.lanes(), keys.meta(), keys.parts());
    type Raw = (Vec<String>, Vec<String>, Option<String>, HashMap<String, String>);
    let (kept, destinations, generations, parts): Raw = redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            pipe.cmd("HKEYS").arg(&plans).cmd("HKEYS").arg(&lanes);
            pipe.cmd("HGET").arg(&meta).arg("generations");
            pipe.cmd("HGETALL").arg(&parts).query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    if kept.len() < PLANS_WORTH_A_SWEEP {
        unused.clear();
        return Ok(0);
    }
    let mut unreferenced: HashSet<String> = kept.into_iter().collect();
    let generations = parse_generations(generations.as_deref().unwrap_or_default()).ok_or_else(|| odd("meta"))?;
    for destination in &destinations {
        for start in &generations {
            let parts = parts.keys().filter_map(|field| field.strip_prefix(destination)?.strip_prefix(' '));
            for part in std::iter::once("main").chain(parts) {
                history::each(redis, application, destination, &start.generation, part, |record| {
                    for (_, _, digest) in &record.routes {
                        unreferenced.remove(digest);
                    }
                })
                .await?;
            }
        }
    }
    let gone: Vec<&String> = unreferenced.intersection(unused).collect();
    for some in gone.chunks(500) {
        redis
            .link()
            .run(async |mut connection| cmd("HDEL").arg(&plans).arg(some).query_async::<()>(&mut connection).await)
            .await
            .map_err(|error| unavailable(&error))?;
    }
    let swept = gone.len();
    *unused = unreferenced;
    Ok(swept)
}
