//! Dead letters' payloads, and the commands about them. The row in the destination's `tidegate_dead` is the truth; a payload
//! above the lane's position is not (yet) a dead letter. The owner keeps them; operators list them and ask for a redrive.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use redis::{Value, cmd};
use tidegate_actors::{
    message::Generation,
    ports::{Command, DeadLetter, LogError, PlanRecord},
    transaction::DeadId,
};

pub mod lines;

use self::lines::Passed;
pub use self::lines::Summary;
use super::{
    Link, Redis, StreamKeys,
    log::{is_parallel, parse_generations, parse_position},
    odd, scripts, sides, unavailable,
};

/// How many payloads are asked for at once: each may be a megabyte.
const PAYLOADS_PER_CALL: usize = 20;
/// How many commands go into one call: a script takes some thousand arguments.
const COMMANDS_PER_CALL: usize = 500;

/// The field of a dead letter: `generation id route`.
pub(crate) fn field(dead: &DeadId) -> String {
    format!("{} {} {}", dead.generation, dead.id, dead.route)
}

/// Reads a field back.
pub(crate) fn parse_field(field: &str) -> Option<DeadId> {
    let mut words = field.splitn(3, ' ');
    Some(DeadId {
        generation: Generation::new(words.next()?),
        id: words.next()?.parse().ok()?,
        route: Arc::from(words.next()?),
    })
}

/// One payload.
pub(crate) async fn get(
    link: &Link,
    keys: &StreamKeys,
    destination: &str,
    dead: &DeadId,
) -> Result<Option<DeadLetter>, LogError> {
    let (key, field) = (keys.dead(destination), field(dead));
    let json: Option<Vec<u8>> = link
        .run(async |mut connection| cmd("HGET").arg(&key).arg(&field).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    json.map(|json| serde_json::from_slice(&json).map_err(|_| odd("dead letter"))).transpose()
}

/// Dead letters of one destination on one stream, oldest first, at most `limit`; and how many there are in all.
///
/// # Errors
/// Redis is away.
pub async fn list(
    redis: &Redis,
    application: &str,
    destination: &str,
    limit: usize,
) -> Result<(Vec<DeadLetter>, usize), LogError> {
    let mut found = ids(redis, application, destination).await?;
    let all = found.len();
    found.truncate(limit);
    Ok((letters(redis, application, destination, &found).await?, all))
}

/// Which dead letters there are of one destination on one stream, oldest first.
///
/// # Errors
/// Redis is away.
pub async fn ids(redis: &Redis, application: &str, destination: &str) -> Result<Vec<DeadId>, LogError> {
    let keys = redis.keys().of(application);
    let (dead_key, lanes, meta, sides) = (keys.dead(destination), keys.lanes(), keys.meta(), keys.sides());
    type Raw = (Vec<String>, Option<String>, Option<String>, HashMap<String, String>);
    let (fields, lane, generations, sides): Raw = redis
        .link()
        .run(async |mut connection| {
            redis::pipe()
                .cmd("HKEYS")
                .arg(&dead_key)
                .cmd("HGET")
                .arg(&lanes)
                .arg(destination)
                .cmd("HGET")
                .arg(&meta)
                .arg("generations")
                .cmd("HGETALL")
                .arg(&sides)
                .query_async(&mut connection)
                .await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let passed = Passed::new(lane.as_deref(), generations.as_deref(), sides::parse(sides.iter(), destination))?;
    let mut found: Vec<DeadId> = fields.iter().filter_map(|field| parse_field(field)).collect();
    found.retain(|dead| passed.holds(dead));
    passed.sort(&mut found, |dead| dead);
    Ok(found)
}

/// The payloads of these, in their order; one that is gone meanwhile is left out.
///
/// # Errors
/// Redis is away.
pub async fn letters(
    redis: &Redis,
    application: &str,
    destination: &str,
    ids: &[DeadId],
) -> Result<Vec<DeadLetter>, LogError> {
    let key = redis.keys().of(application).dead(destination);
    let mut letters = Vec::with_capacity(ids.len());
    for some in ids.chunks(PAYLOADS_PER_CALL) {
        let names: Vec<String> = some.iter().map(field).collect();
        let payloads: Vec<Option<Vec<u8>>> = redis
            .link()
            .run(async |mut connection| cmd("HMGET").arg(&key).arg(&names).query_async(&mut connection).await)
            .await
            .map_err(|error| unavailable(&error))?;
        letters.extend(payloads.into_iter().flatten().filter_map(|json| serde_json::from_slice(&json).ok()));
    }
    Ok(letters)
}

/// How many letters a script looks at in one go: Redis does nothing else meanwhile, and each may be a megabyte.
const SUMMARIES_PER_CALL: usize = 50;

/// What a list says of these, in their order; `None` for one that is gone meanwhile.
///
/// # Errors
/// Redis is away.
pub async fn summaries(
    redis: &Redis,
    application: &str,
    destination: &str,
    ids: &[DeadId],
) -> Result<Vec<Option<Summary>>, LogError> {
    let key = redis.keys().of(application).dead(destination);
    let mut summaries = Vec::with_capacity(ids.len());
    for some in ids.chunks(SUMMARIES_PER_CALL) {
        let names: Vec<String> = some.iter().map(field).collect();
        let told: Vec<Option<Vec<Option<String>>>> = redis
            .link()
            .run(async |mut connection| {
                let mut call = scripts::SUMMARIES.key(&key);
                for name in &names {
                    call.arg(name);
                }
                call.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        summaries.extend(told.into_iter().map(|told| told.map(summary)));
    }
    Ok(summaries)
}

fn summary(told: Vec<Option<String>>) -> Summary {
    let mut told = told.into_iter();
    let mut next = || told.next().flatten();
    Summary {
        code: next().unwrap_or_default(),
        column: next(),
        message: next().unwrap_or_default(),
        at_ms: next().and_then(|ms| ms.parse().ok()).unwrap_or_default(),
        key: next(),
        superseded: next().as_deref() == Some("1"),
        blocked: next().as_deref() == Some("1"),
        redrive_error: next(),
        route_name: next().unwrap_or_default(),
        attempts: next().and_then(|attempts| attempts.parse().ok()).unwrap_or_default(),
        topic: next().unwrap_or_default(),
        action: next().unwrap_or_default(),
        table: next().unwrap_or_default(),
    }
}

/// The latest version of a route that a destination was written by, with its tables; `None` where none is kept any more.
///
/// # Errors
/// Redis is away.
pub async fn plan(redis: &Redis, application: &str, route: &str) -> Result<Option<PlanRecord>, LogError> {
    let key = redis.keys().of(application).plans();
    let kept: Vec<Vec<u8>> = redis
        .link()
        .run(async |mut connection| cmd("HVALS").arg(&key).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    let plans = kept.iter().filter_map(|json| serde_json::from_slice::<PlanRecord>(json).ok());
    Ok(plans.filter(|plan| plan.route.id == route).max_by_key(|plan| plan.route.version))
}

/// One dead letter.
///
/// # Errors
/// Redis is away.
pub async fn show(
    redis: &Redis,
    application: &str,
    destination: &str,
    dead: &DeadId,
) -> Result<Option<DeadLetter>, LogError> {
    get(redis.link(), &redis.keys().of(application), destination, dead).await
}

/// How many payloads are kept for a destination on one stream.
///
/// # Errors
/// Redis is away.
pub async fn count(redis: &Redis, application: &str, destination: &str) -> Result<u64, LogError> {
    let key = redis.keys().of(application).dead(destination);
    redis
        .link()
        .run(async |mut connection| cmd("HLEN").arg(&key).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))
}

/// Asks the owner of the destination to carry out a command, between batches. A full Redis takes it too.
///
/// # Errors
/// Redis is away.
pub async fn push(redis: &Redis, application: &str, destination: &str, command: &Command) -> Result<(), LogError> {
    push_all(redis, application, destination, std::slice::from_ref(command)).await
}

/// The same for many, in order.
///
/// # Errors
/// Redis is away; some may have been taken.
pub async fn push_all(
    redis: &Redis,
    application: &str,
    destination: &str,
    commands: &[Command],
) -> Result<(), LogError> {
    let key = redis.keys().of(application).commands(destination);
    for some in commands.chunks(COMMANDS_PER_CALL) {
        let texts: Vec<Vec<u8>> =
            some.iter().map(serde_json::to_vec).collect::<Result<_, _>>().map_err(|_| odd("command"))?;
        redis
            .link()
            .run(async |mut connection| {
                // Said twice (a lost answer), done once: the second finds the dead row gone.
                let mut call = scripts::CALL.key(&key);
                call.arg("RPUSH");
                for text in &texts {
                    call.arg(&text[..]);
                }
                call.invoke_async::<Value>(&mut connection).await.map(|_| ())
            })
            .await
            .map_err(|error| unavailable(&error))?;
    }
    Ok(())
}

/// Takes commands off the list again, as far as they are still there; how many were. A full Redis takes it too.
///
/// # Errors
/// Redis is away; some may be off.
pub async fn withdraw(
    redis: &Redis,
    application: &str,
    destination: &str,
    commands: &[Command],
) -> Result<usize, LogError> {
    let key = redis.keys().of(application).commands(destination);
    let mut gone = 0;
    for command in commands {
        let text = serde_json::to_vec(command).map_err(|_| odd("command"))?;
        gone += redis
            .link()
            .run(async |mut connection| {
                let mut call = scripts::CALL.key(&key);
                call.arg("LREM").arg(1).arg(&text[..]).invoke_async::<usize>(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
    }
    Ok(gone)
}

/// The dead letters that commands wait for which the owner has not carried out yet.
///
/// # Errors
/// Redis is away.
pub async fn waited_for(redis: &Redis, application: &str, destination: &str) -> Result<HashSet<DeadId>, LogError> {
    let waiting = waiting(redis, application, destination).await?;
    Ok(waiting
        .into_iter()
        .filter_map(|command| match command {
            Command::Redrive { dead, .. } | Command::Discard { dead, .. } => Some(dead),
            Command::Resume { .. } | Command::Replay { .. } | Command::Abandon { .. } => None,
        })
        .collect())
}

/// The commands that the owner has not carried out yet, oldest first.
///
/// # Errors
/// Redis is away.
pub async fn waiting(redis: &Redis, application: &str, destination: &str) -> Result<Vec<Command>, LogError> {
    let key = redis.keys().of(application).commands(destination);
    let texts: Vec<Vec<u8>> = redis
        .link()
        .run(async |mut connection| cmd("LRANGE").arg(&key).arg(0).arg(-1).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(texts.iter().filter_map(|text| serde_json::from_slice(text).ok()).collect())
}
