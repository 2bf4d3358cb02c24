//! Long work that somebody began and may look at later from any node: what it is, how far it is, and what came of it. The node
//! that began it says every now and then that it is still at it; one that has fallen silent has ended with its node.

use std::{collections::HashMap, time::Duration};

use redis::cmd;
use serde::Serialize;
use tidegate_actors::ports::LogError;

use super::{Redis, random_token, scripts, unavailable};

/// How long a job is remembered.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How many are remembered.
const MOST: usize = 200;
/// A job whose node has said nothing for this long has ended with it.
pub const SILENT_AFTER: Duration = Duration::from_secs(15);

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Under way.
    Running,
    /// Somebody said stop; what is in hand is finished.
    Cancelling,
    /// All of it was tried.
    Done,
    /// Stopped before its end.
    Cancelled,
    /// Its node went away before its end.
    Abandoned,
}

/// A job as it stands in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Job {
    /// Random.
    pub id: String,
    /// Where it stands.
    pub state: State,
    /// When it was begun, in milliseconds since the Unix epoch.
    pub begun_ms: u64,
    /// When it ended; none while it has not.
    pub ended_ms: Option<u64>,
    /// What whoever runs it says of it, by name.
    pub told: HashMap<String, String>,
}

impl Job {
    /// A number it tells; 0 where it tells none.
    #[must_use]
    pub fn number(&self, name: &str) -> u64 {
        self.told.get(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// A text it tells; empty where it tells none.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.told.get(name).map_or("", String::as_str)
    }

    /// Whether it is under way.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        matches!(self.state, State::Running | State::Cancelling)
    }
}

async fn tell(redis: &Redis, what: &str, id: &str, told: &[(&str, String)]) -> Result<String, LogError> {
    let (job, all) = (redis.keys().job(id), redis.keys().jobs());
    redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::JOB.key(&job);
            call.key(&all).arg(what).arg(id).arg(REMEMBERED.as_millis() as u64).arg(MOST);
            for (name, value) in told {
                call.arg(name).arg(value);
            }
            call.invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))
}

/// Writes down that a job begins; its id.
///
/// # Errors
/// Redis is away.
pub async fn begin(redis: &Redis, told: &[(&str, String)]) -> Result<String, LogError> {
    let id = random_token();
    tell(redis, "begin", &id, told).await?;
    Ok(id)
}

/// Says how far it is, and that its node is still at it; false where it is to stop.
///
/// # Errors
/// Redis is away.
pub async fn go_on(redis: &Redis, id: &str, told: &[(&str, String)]) -> Result<bool, LogError> {
    Ok(tell(redis, "go_on", id, told).await? == "running")
}

/// Says that it has ended, and how.
///
/// # Errors
/// Redis is away.
pub async fn end(redis: &Redis, id: &str, told: &[(&str, String)]) -> Result<(), LogError> {
    tell(redis, "end", id, told).await.map(|_| ())
}

/// Asks its node to stop it; false where there is nothing to stop.
///
/// # Errors
/// Redis is away.
pub async fn cancel(redis: &Redis, id: &str) -> Result<bool, LogError> {
    Ok(tell(redis, "cancel", id, &[]).await? == "cancelling")
}

/// One job.
///
/// # Errors
/// Redis is away.
pub async fn get(redis: &Redis, id: &str) -> Result<Option<Job>, LogError> {
    Ok(read(redis, &[id.to_owned()]).await?.pop())
}

/// The newest jobs, newest first.
///
/// # Errors
/// Redis is away.
pub async fn newest(redis: &Redis, most: usize) -> Result<Vec<Job>, LogError> {
    let all = redis.keys().jobs();
    let last = isize::try_from(most).unwrap_or(isize::MAX) - 1;
    let ids: Vec<String> = redis
        .link()
        .run(async |mut connection| cmd("ZREVRANGE").arg(&all).arg(0).arg(last).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    read(redis, &ids).await
}

async fn read(redis: &Redis, ids: &[String]) -> Result<Vec<Job>, LogError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    type Raw = (Vec<HashMap<String, String>>, (u64, u64));
    let (found, (seconds, micros)): Raw = redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            for id in ids {
                pipe.cmd("HGETALL").arg(redis.keys().job(id));
            }
            let found = pipe.query_async(&mut connection).await?;
            Ok((found, cmd("TIME").query_async(&mut connection).await?))
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let now_ms = seconds * 1_000 + micros / 1_000;
    Ok(ids.iter().zip(found).filter_map(|(id, told)| job(id, told, now_ms)).collect())
}

fn job(id: &str, mut told: HashMap<String, String>, now_ms: u64) -> Option<Job> {
    let mut number = |name: &str| told.remove(name).and_then(|text| text.parse::<u64>().ok());
    let (begun_ms, ended_ms, beat_ms) = (number("begun_ms"), number("ended_ms"), number("beat_ms"));
    let silent = beat_ms.is_none_or(|beat| now_ms.saturating_sub(beat) > SILENT_AFTER.as_millis() as u64);
    let state = match told.remove("state")?.as_str() {
        "running" | "cancelling" if silent => State::Abandoned,
        "running" => State::Running,
        "cancelling" => State::Cancelling,
        "cancelled" => State::Cancelled,
        _ => State::Done,
    };
    Some(Job { id: id.to_owned(), state, begun_ms: begun_ms?, ended_ms, told })
}
