//! Giving up what waits for a destination: what that would be, the order to do so, and what is told of it afterwards.
//!
//! `admin` asks here; the owner of an ordered destination moves its rows when it comes to the command.

use std::collections::HashMap;

use tidegate_actors::{
    message::{Generation, Position, StreamId},
    ports::{Abandoned, Command, LogError},
};

use super::{Redis, odd, random_token, scripts, unavailable};

/// What waits for a destination on one stream, and how much of it lies at or below a place. Numbers of many entries are
/// estimates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacklogTo {
    /// The place.
    pub to: Position,
    /// Entries that wait.
    pub waiting: u64,
    /// Those of them at or below the place.
    pub given_up: u64,
    /// The first that waits.
    pub oldest: Option<StreamId>,
    /// Whether a table or a route stands behind the others: what waits for it is not counted.
    pub beside: bool,
    /// Whether the destination is parallel.
    pub parallel: bool,
}

/// Looks at a destination's backlog up to an id; `None`: all of it.
///
/// # Errors
/// Redis is away.
pub async fn look(
    redis: &Redis,
    application: &str,
    destination: &str,
    to: Option<StreamId>,
) -> Result<BacklogTo, LogError> {
    let keys = redis.keys().of(application);
    let (token, to) = (random_token(), to.map(|id| id.to_string()).unwrap_or_default());
    type Raw = (String, String, u64, u64, String, u8, u8);
    let (generation, id, waiting, given_up, oldest, beside, parallel): Raw = redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::BACKLOG_TO.key(keys.stream());
            call.key(keys.meta()).key(keys.lanes()).key(keys.sides()).arg(&token).arg(destination).arg(&to);
            call.invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let to = Position { generation: Generation::new(&generation), id: id.parse().map_err(|_| odd("backlog"))? };
    let oldest = oldest.parse().ok();
    Ok(BacklogTo { to, waiting, given_up, oldest, beside: beside == 1, parallel: parallel == 1 })
}

/// What became of an order to give up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// The owner does it.
    Queued,
    /// It is done.
    Done,
    /// The place is of a generation that is gone.
    Gone,
}

/// Orders that everything up to a command's place is given up.
///
/// # Errors
/// Redis is away: whether it was ordered is not known; once more does no harm.
pub async fn order(
    redis: &Redis,
    application: &str,
    destination: &str,
    command: &Command,
) -> Result<Ordered, LogError> {
    let Command::Abandon { token, to, by, at_ms, reason } = command else { return Ok(Ordered::Gone) };
    let told = Abandoned {
        token: token.clone(),
        part: "main".into(),
        routes: Vec::new(),
        after: to.clone(),
        to: to.clone(),
        ids: Vec::new(),
        by: by.clone(),
        at_ms: *at_ms,
        reason: reason.clone(),
    };
    let json = serde_json::to_string(command).map_err(|_| odd("command"))?;
    let told = serde_json::to_string(&told).map_err(|_| odd("abandoned"))?;
    let keys = redis.keys().of(application);
    let answer: String = redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::ABANDON.key(keys.stream());
            call.key(keys.meta()).key(keys.lanes()).key(keys.sides());
            call.key(keys.commands(destination)).key(keys.abandoned(destination));
            call.arg(destination).arg(&*to.generation.0).arg(to.id.to_string()).arg(&json).arg(&told);
            call.invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    match answer.as_str() {
        "QUEUED" => Ok(Ordered::Queued),
        "DONE" => Ok(Ordered::Done),
        "GONE" => Ok(Ordered::Gone),
        _ => Err(odd("abandon")),
    }
}

/// What was given up of a destination on one stream, newest first.
///
/// # Errors
/// Redis is away.
pub async fn told(redis: &Redis, application: &str, destination: &str) -> Result<Vec<Abandoned>, LogError> {
    let key = redis.keys().of(application).abandoned(destination);
    let fields: HashMap<String, String> = redis
        .link()
        .run(async |mut connection| redis::cmd("HGETALL").arg(&key).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    let mut all: Vec<Abandoned> = fields.values().filter_map(|json| serde_json::from_str(json).ok()).collect();
    all.sort_by(|a: &Abandoned, b| b.at_ms.cmp(&a.at_ms).then_with(|| a.part.cmp(&b.part)));
    Ok(all)
}
