//! Where a destination may go on by an operator's decision, resolved to a place in its stream at once: by the time the
//! owner gets to it, `now` would be another moment. [`crate::admin::destinations`] calls it; the place goes into a
//! [`Command::Resume`](tidegate_actors::ports::Command::Resume).

use tidegate_actors::{
    message::{Generation, Position, StreamId},
    ports::LogError,
};

use super::{Redis, odd, random_token, scripts, unavailable};

/// What an operator may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Where Redis last knew the destination to be, or the oldest entry that is left above that.
    Last,
    /// The oldest entry that is retained.
    Earliest,
    /// After the newest entry.
    Now,
}

/// What that means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The place.
    pub to: Position,
    /// Retained entries above it: they will be sent.
    pub sent: u64,
    /// Retained entries above where Redis last knew the destination to be; `None` where it does not know.
    pub waiting: Option<u64>,
    /// Everything up to here has been removed from the stream.
    pub trimmed: StreamId,
}

/// Finds the place; `None` where it should be the last position and Redis does not know one. Numbers of many entries are
/// estimates.
///
/// # Errors
/// Redis is away.
pub async fn resolve(
    redis: &Redis,
    application: &str,
    destination: &str,
    from: From,
) -> Result<Option<Resolved>, LogError> {
    let keys = redis.keys().of(application);
    let word = match from {
        From::Last => "last",
        From::Earliest => "earliest",
        From::Now => "now",
    };
    let token = random_token();
    let (outcome, generation, id, sent, waiting, trimmed): (String, String, String, u64, i64, String) = redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::RESOLVE.key(keys.stream());
            call.key(keys.meta()).key(keys.lanes()).arg(&token).arg(destination).arg(word);
            call.invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    if outcome != "OK" {
        return Ok(None);
    }
    let id = id.parse().map_err(|_| odd("resume"))?;
    let trimmed = trimmed.parse().map_err(|_| odd("resume"))?;
    let to = Position { generation: Generation::new(&generation), id };
    Ok(Some(Resolved { to, sent, waiting: u64::try_from(waiting).ok(), trimmed }))
}
