//! Where every destination of a stream stands, for the live table of `tidegate status` and for nodes that do not own them.

use tidegate_actors::{
    message::{Generation, Position, StreamId},
    ports::{Backlog, LogError},
};

use super::{Redis, connection::is_broken, odd, scripts, unavailable};

/// One destination on one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// The destination's id.
    pub destination: String,
    /// Where it stands; its main row, where some tables or routes are behind it.
    pub position: Position,
    /// What waits above that.
    pub backlog: Backlog,
}

/// All destinations that have a position on this application's stream.
///
/// # Errors
/// Redis is away.
pub async fn lanes(redis: &Redis, application: &str) -> Result<Vec<LaneStatus>, LogError> {
    let keys = redis.keys().of(application);
    let rows: Vec<(String, String, String, u64, String)> = redis
        .link()
        .run(async |mut connection| {
            scripts::LANES.key(keys.stream()).key(keys.lanes()).key(keys.sides()).invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    rows.into_iter()
        .map(|(destination, generation, id, messages, first)| {
            let oldest_ms = first.parse::<StreamId>().ok().map(|id| id.ms);
            let id = id.parse().map_err(|_| odd("lanes"))?;
            let position = Position { generation: Generation::new(&generation), id };
            Ok(LaneStatus { destination, position, backlog: Backlog { messages, oldest_ms } })
        })
        .collect()
}

/// When the stream of this application got its last record, in milliseconds since the Unix epoch; `None` before the first.
///
/// # Errors
/// Redis is away.
pub async fn last_record_ms(redis: &Redis, application: &str) -> Result<Option<u64>, LogError> {
    let key = redis.keys().of(application).stream();
    let info: Result<redis::streams::StreamInfoStreamReply, _> = redis
        .link()
        .run(async |mut connection| redis::cmd("XINFO").arg("STREAM").arg(&key).query_async(&mut connection).await)
        .await;
    match info {
        Ok(info) => Ok(info.last_generated_id.parse::<StreamId>().ok().map(|id| id.ms).filter(|ms| *ms > 0)),
        Err(error) if error.detail().is_some_and(|detail| detail.contains("no such key")) => Ok(None),
        Err(error) => Err(unavailable(&error)),
    }
}

/// What came into a stream lately.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Arrivals {
    /// When the last record came, in milliseconds since the Unix epoch; `None` before the first.
    pub last_ms: Option<u64>,
    /// Records a second over the last minute; an estimate where there are many.
    pub per_s: f64,
}

/// Over how long arrivals are counted.
const ARRIVALS_OVER_S: u32 = 60;

/// What came into the streams of these applications lately, in their order.
///
/// # Errors
/// Redis is away.
pub async fn arrivals(redis: &Redis, applications: &[&str]) -> Result<Vec<Arrivals>, LogError> {
    let since = tidegate_actors::delivery::now_ms().saturating_sub(u64::from(ARRIVALS_OVER_S) * 1_000);
    let mut all = Vec::with_capacity(applications.len());
    for application in applications {
        let key = redis.keys().of(application).stream();
        let (last, records): (String, u32) = redis
            .link()
            .run(async |mut connection| scripts::ARRIVALS.key(&key).arg(since).invoke_async(&mut connection).await)
            .await
            .map_err(|error| unavailable(&error))?;
        let last_ms = last.parse::<StreamId>().ok().map(|id| id.ms).filter(|ms| *ms > 0);
        all.push(Arrivals { last_ms, per_s: f64::from(records) / f64::from(ARRIVALS_OVER_S) });
    }
    Ok(all)
}

/// A parallel destination's consumer that has not read for longer than this is not counted as a node that writes it.
const READS_MS: usize = 15_000;

/// Who holds the lease of a destination on this stream: the owner's random token. For a parallel destination, which needs
/// no lease, a node that reads.
///
/// # Errors
/// Redis is away.
pub async fn lease_holder(redis: &Redis, application: &str, destination: &str) -> Result<Option<String>, LogError> {
    let keys = redis.keys().of(application);
    let (lease, stream) = (keys.lease(destination), keys.stream());
    let holder: Option<String> = redis
        .link()
        .run(async |mut connection| redis::cmd("GET").arg(&lease).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    if holder.is_some() {
        return Ok(holder);
    }
    let consumers: Result<redis::streams::StreamInfoConsumersReply, _> = redis
        .link()
        .run(async |mut connection| {
            redis::cmd("XINFO").arg("CONSUMERS").arg(&stream).arg(destination).query_async(&mut connection).await
        })
        .await;
    match consumers {
        Ok(found) => Ok(found.consumers.into_iter().find(|one| one.idle < READS_MS).map(|one| one.name)),
        // Ordered destinations have no group of this name.
        Err(error) if is_broken(&error) => Err(unavailable(&error)),
        Err(_) => Ok(None),
    }
}

/// Whether an entry was handed out by a parallel destination's group and acknowledged since. A group that is not there has
/// handed out nothing.
///
/// # Errors
/// Redis is away.
pub(super) async fn is_acknowledged(
    redis: &Redis,
    application: &str,
    destination: &str,
    entry: StreamId,
) -> Result<bool, LogError> {
    let key = redis.keys().of(application).stream();
    let id = entry.to_string();
    let asked: Result<(redis::streams::StreamInfoGroupsReply, Vec<redis::Value>), _> = redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            pipe.cmd("XINFO").arg("GROUPS").arg(&key);
            pipe.cmd("XPENDING").arg(&key).arg(destination).arg(&id).arg(&id).arg(1);
            pipe.query_async(&mut connection).await
        })
        .await;
    match asked {
        Ok((groups, pending)) => {
            let group = groups.groups.iter().find(|group| group.name == destination);
            let handed_out = group.and_then(|group| group.last_delivered_id.parse::<StreamId>().ok());
            Ok(pending.is_empty() && handed_out.is_some_and(|last| entry <= last))
        }
        Err(error) if error.code() == Some("NOGROUP") || error.to_string().contains("NOGROUP") => Ok(false),
        Err(error) => Err(unavailable(&error)),
    }
}
