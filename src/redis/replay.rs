//! A piece of a stream that a route is to be sent again: from where to where, and how many records of its topic that are.
//! The command line asks here before it hands the owner a [`Command::Replay`](tidegate_actors::ports::Command::Replay).

use tidegate_actors::{
    message::{Generation, MessageId, Position, StreamId},
    ports::{GenerationStart, LogError},
};

use super::{
    Redis,
    log::{parse_generations, parse_position},
    lookup, odd, resume, scripts, status, unavailable,
};

/// Entries looked at in one call: a thousand of a kilobyte take Redis a millisecond or two.
const LOOKED_AT: usize = 1000;

/// What an operator may say of one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// A moment, in milliseconds since the Unix epoch.
    Moment(u64),
    /// A message.
    Message(MessageId),
}

/// What lies between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Everything after this.
    pub from: Position,
    /// Up to and with this; `None`: up to where the destination stands.
    pub to: Option<Position>,
    /// Where the destination's main row stands: what is above was not sent yet, and will be in any case.
    pub stands: Position,
    /// Everything up to here is no longer in the stream.
    pub trimmed: StreamId,
    /// What was asked for lies partly below that.
    pub cut: bool,
    /// The route begins above what was asked for: what lies before is sent for the first time.
    pub begins: Option<Position>,
}

/// Why there is nothing to replay.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RangeError {
    /// Redis is away.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No node has ever taken the lane.
    #[error("Redis knows no position of this destination on the stream of `{0}`: nothing was sent yet")]
    NoPosition(String),
    /// Of another incarnation of Redis.
    #[error("message {0} is not of this stream (was Redis emptied since?)")]
    Unknown(MessageId),
    /// The ends are the wrong way round.
    #[error("`--to` lies before `--from`: nothing is between them")]
    Backwards,
}

/// Resolves both ends to places in the stream, clamped to what is there.
///
/// # Errors
/// See [`RangeError`].
pub async fn range(
    redis: &Redis,
    application: &str,
    destination: &str,
    route: &str,
    from: &Bound,
    to: Option<&Bound>,
) -> Result<Range, RangeError> {
    // For its newest generation and its trimmed mark; makes sure that both are this server's.
    let earliest = resume::resolve(redis, application, destination, resume::From::Earliest).await?;
    let trimmed = earliest.map_or(StreamId::ZERO, |place| place.trimmed);
    let keys = redis.keys().of(application);
    let (meta, starts) = (keys.meta(), keys.starts());
    let (generations, start): (Option<String>, Option<String>) = redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            pipe.cmd("HGET").arg(&meta).arg("generations");
            pipe.cmd("HGET").arg(&starts).arg(route).query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let generations = parse_generations(generations.as_deref().unwrap_or_default()).ok_or_else(|| odd("meta"))?;
    let lanes = status::lanes(redis, application).await?;
    let lane = lanes.into_iter().find(|lane| lane.destination == destination);
    let stands = lane.ok_or_else(|| RangeError::NoPosition(application.to_owned()))?.position;

    let known = |bound: &Bound| match bound {
        Bound::Message(message) if !lookup::holds(&generations, &message.0) => {
            Err(RangeError::Unknown(message.clone()))
        }
        _ => Ok(()),
    };
    known(from)?;
    let mut after = match from {
        Bound::Moment(ms) => below(StreamId::new(*ms, 0)),
        Bound::Message(message) => below(message.0.id),
    };
    let cut = after < trimmed;
    after = after.max(trimmed);
    let start = start.as_deref().and_then(parse_position);
    let begins =
        start.filter(|start| start.id > after && generations.iter().any(|one| one.generation == start.generation));
    let upto = match to {
        None => None,
        Some(bound) => {
            known(bound)?;
            let id = match bound {
                Bound::Moment(ms) => below(StreamId::new(*ms, 0)),
                Bound::Message(message) => message.0.id,
            };
            Some(id).filter(|id| *id < stands.id)
        }
    };
    if upto.is_some_and(|upto| upto < after) {
        return Err(RangeError::Backwards);
    }
    let place = |id: StreamId| Position { generation: generation_of(&generations, id), id };
    Ok(Range { from: place(after), to: upto.map(place), stands, trimmed, cut, begins })
}

/// How many records of a topic lie in a range, up to where the destination stands. In small steps; `seen` hears of each.
///
/// # Errors
/// Redis is away.
pub async fn count(
    redis: &Redis,
    application: &str,
    topic: &str,
    range: (StreamId, StreamId),
    mut seen: impl FnMut(u64),
) -> Result<u64, LogError> {
    let stream = redis.keys().of(application).stream();
    let (mut after, end) = range;
    let mut records = 0;
    while after < end {
        let (some, last): (u64, String) = redis
            .link()
            .run(async |mut connection| {
                let mut call = scripts::COUNT.key(&stream);
                call.arg(after.to_string()).arg(end.to_string()).arg(topic).arg(LOOKED_AT);
                call.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        records += some;
        seen(records);
        let Ok(last) = last.parse() else { break };
        after = last;
    }
    Ok(records)
}

/// The place just below an id.
fn below(id: StreamId) -> StreamId {
    match (id.ms, id.seq) {
        (0, 0) => StreamId::ZERO,
        (ms, 0) => StreamId::new(ms - 1, u64::MAX),
        (ms, seq) => StreamId::new(ms, seq - 1),
    }
}

/// Ids of one stream only rise: one belongs to the last generation that starts at or below it.
fn generation_of(generations: &[GenerationStart], id: StreamId) -> Generation {
    let start = generations.iter().rev().find(|start| start.after <= id).or(generations.first());
    start.map_or_else(|| Generation::new(""), |start| start.generation.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_below_an_id_is_the_one_before_it() {
        assert_eq!(below(StreamId::new(5, 3)), StreamId::new(5, 2));
        assert_eq!(below(StreamId::new(5, 0)), StreamId::new(4, u64::MAX));
        assert_eq!(below(StreamId::ZERO), StreamId::ZERO);
    }
}
