//! What the registry tells the log: where routes begin, which destinations are gone, and by which version to work.
//!
//! Each is one script and may be repeated. The registry calls [`register_route`] before it publishes a route, so that
//! nothing is trimmed that the route was promised, and the functions that forget after it has published a removal.

use async_trait::async_trait;
use tidegate_actors::{
    message::{Generation, Position},
    ports::LogError,
    route::Start,
};

use super::{Redis, odd, random_token, scripts, unavailable};
use crate::registry::streams::{StreamError, StreamRegistration};

#[async_trait(?Send)]
impl StreamRegistration for Redis {
    async fn register_route(
        &mut self,
        application: &str,
        route_id: &str,
        destination_id: &str,
        start: &Start,
    ) -> Result<(), StreamError> {
        let registered = register_route(self, application, route_id, destination_id, start).await;
        registered.map(|_| ()).map_err(|error| StreamError(error.to_string()))
    }

    async fn register_group(&mut self, application: &str, destination_id: &str) -> Result<(), StreamError> {
        register_group(self, application, destination_id).await.map_err(|error| StreamError(error.to_string()))
    }

    async fn unregister_route(&mut self, application: &str, route_id: &str) -> Result<(), StreamError> {
        unregister_route(self, application, route_id).await.map_err(|error| StreamError(error.to_string()))
    }

    async fn unregister_destination(&mut self, application: &str, destination_id: &str) -> Result<(), StreamError> {
        unregister_destination(self, application, destination_id).await.map_err(|error| StreamError(error.to_string()))
    }

    async fn clear(&mut self, application: &str) -> Result<(), StreamError> {
        clear(self, application).await.map_err(|error| StreamError(error.to_string()))
    }

    async fn set_version(&mut self, application: &str, version: u64) -> Result<(), StreamError> {
        set_version(self, application, version).await.map_err(|error| StreamError(error.to_string()))
    }
}

/// Why a route can't be registered.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RegistrationError {
    /// Redis is away.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The start is neither `now`, `earliest` nor a moment.
    #[error("`{0}` is no start of a route: say `now`, `earliest`, or a moment such as 2025-06-01T00:00:00Z")]
    BadStart(String),
    /// The group of a parallel destination has passed the start already.
    #[error(
        "the route would begin earlier than its parallel destination was handed out to ({0}): its consumer group cannot go \
         back for one route. Let the route start `now`, or make the destination `ordered`, which can catch up"
    )]
    TooEarly(String),
}

/// Registers a route: fixes where it starts and, where the destination has no position on this stream yet, puts it
/// there. A route that begins below where its ordered destination stands is marked as one that has to catch up, and lowers the
/// stored position. A route that is registered already keeps its start.
///
/// # Errors
/// See [`RegistrationError`].
pub async fn register_route(
    redis: &Redis,
    application: &str,
    route_id: &str,
    destination_id: &str,
    start: &Start,
) -> Result<Position, RegistrationError> {
    let wanted = match start {
        Start::Now => "now".to_owned(),
        Start::Earliest => "earliest".to_owned(),
        Start::At(text) => chrono::DateTime::parse_from_rfc3339(text)
            .ok()
            .and_then(|moment| u64::try_from(moment.timestamp_millis()).ok())
            .ok_or_else(|| RegistrationError::BadStart(text.clone()))?
            .to_string(),
    };
    let registered = register(redis, application, route_id, destination_id, &wanted, 0).await?;
    Ok(registered.ok_or_else(|| odd("register"))?)
}

/// Registers a route of a restored registry: a start that is still known stays, any other is the earliest entry there is.
/// Where the destination stands already does not matter: it has begun at the earliest entry, too. `None` where the stream
/// knows a newer `version` of the registry: then nothing is registered, since the route may be gone in it.
///
/// # Errors
/// Redis is away.
pub async fn restore_route(
    redis: &Redis,
    application: &str,
    route_id: &str,
    destination_id: &str,
    version: u64,
) -> Result<Option<Position>, RegistrationError> {
    register(redis, application, route_id, destination_id, "restored", version).await
}

async fn register(
    redis: &Redis,
    application: &str,
    route_id: &str,
    destination_id: &str,
    wanted: &str,
    version: u64,
) -> Result<Option<Position>, RegistrationError> {
    let keys = redis.keys().of(application);
    let token = random_token();
    let (outcome, generation, id): (String, String, String) = redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::REGISTER.key(keys.stream());
            call.key(keys.meta()).key(keys.lanes()).key(keys.starts()).key(keys.sides());
            call.arg(&token).arg(route_id).arg(destination_id).arg(wanted).arg(version);
            call.invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let id = id.parse().map_err(|_| odd("start"))?;
    match outcome.as_str() {
        "OK" => Ok(Some(Position { generation: Generation::new(&generation), id })),
        "PASSED" => Ok(None),
        "TOO_EARLY" => Err(RegistrationError::TooEarly(format!("at {generation}-{id}"))),
        _ => Err(odd("register").into()),
    }
}

/// Makes the consumer group of a parallel destination, where its lane begins, and marks the lane; to be called after the
/// registration of a route. A group that is there already stays as it is.
///
/// # Errors
/// Redis is away.
pub async fn register_group(redis: &Redis, application: &str, destination_id: &str) -> Result<(), LogError> {
    let keys = redis.keys().of(application);
    let token = random_token();
    redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::GROUP.key(keys.stream());
            // Whoever registers makes the next version: none that is stored is too new.
            call.key(keys.meta()).key(keys.lanes()).arg(&token).arg(destination_id).arg(u64::MAX);
            call.invoke_async::<u8>(&mut connection).await.map(|_| ())
        })
        .await
        .map_err(|error| unavailable(&error))
}

/// Forgets where a route starts.
///
/// # Errors
/// Redis is away.
pub async fn unregister_route(redis: &Redis, application: &str, route_id: &str) -> Result<(), LogError> {
    let keys = redis.keys().of(application);
    redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::UNROUTE.key(keys.starts());
            call.key(keys.sides()).arg(route_id).invoke_async::<u8>(&mut connection).await.map(|_| ())
        })
        .await
        .map_err(|error| unavailable(&error))
}

/// Forgets a destination on this stream: its position, side rows, history, dead letters, commands, lease, bind token and its routes'
/// starts. To be called for each application once no route leads from it to the destination any more; until then its
/// position keeps the stream from being trimmed.
///
/// # Errors
/// Redis is away.
pub async fn unregister_destination(redis: &Redis, application: &str, destination_id: &str) -> Result<(), LogError> {
    let keys = redis.keys().of(application);
    redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::UNREGISTER.key(keys.stream());
            call.key(keys.meta()).key(keys.lanes()).key(keys.bind()).key(keys.lease(destination_id));
            call.key(keys.dead(destination_id)).key(keys.commands(destination_id)).key(keys.starts());
            call.key(keys.sides()).key(keys.parts()).key(keys.dead_lines(destination_id));
            call.key(keys.abandoned(destination_id));
            call.arg(destination_id).arg(keys.history_prefix(destination_id)).invoke_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))
}

/// Empties the stream of an application that is gone. Where a lane is left on it, nothing is done.
///
/// # Errors
/// Redis is away.
pub async fn clear(redis: &Redis, application: &str) -> Result<(), LogError> {
    let keys = redis.keys().of(application);
    redis
        .link()
        .run(async |mut connection| {
            let mut call = scripts::CLEAR.key(keys.stream());
            call.key(keys.meta())
                .key(keys.lanes())
                .key(keys.plans())
                .key(keys.sides())
                .key(keys.parts())
                .invoke_async(&mut connection)
                .await
        })
        .await
        .map_err(|error| unavailable(&error))
}

/// Raises the version by which owners on this stream must work; it never goes back.
///
/// # Errors
/// Redis is away.
pub async fn set_version(redis: &Redis, application: &str, version: u64) -> Result<(), LogError> {
    let key = redis.keys().of(application).meta();
    redis
        .link()
        .run(async |mut connection| scripts::VERSION.key(&key).arg(version).invoke_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))
}
