//! What became of a message: the message itself, and how far it is on each of its routes.
//!
//! Nothing is stored per message. That it was passed follows from the lane's position and from what stands beside it
//! ([`super::sides`]), how it went from the dead letters and the batch that covers it, and what was sent from the message and
//! the table that the batch was mapped for.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, SecondsFormat};
use redis::{Value, cmd};
use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_actors::{
    message::{Generation, Message, MessageId, Position, StreamId},
    ports::{Abandoned, BatchRecord, DeadLetter, Entry, GenerationStart, LogError, PlanRecord, Rejection},
    route::RouteSpec,
    transaction::DeadId,
};

use super::{
    Redis, abandon, dead, history,
    log::{is_parallel, parse_generations, parse_position},
    odd, sent,
    sides::{self, Sides},
    status,
    stream::entry,
    unavailable,
};
use crate::resources::{Destination, Document};

/// Where a message stands on a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits in the stream.
    Pending,
    /// Written.
    Delivered,
    /// Refused; kept as a dead letter.
    Dead,
    /// Its route waits for an operator or a schema. Of a table that is held, the log knows; of a whole destination only the owner:
    /// whoever answers a request puts it in place of `Pending` where the owner says so.
    Held,
    /// The route's filter said no.
    Skipped,
    /// A later record of its key was written: a redrive would come too late.
    Superseded,
    /// An operator gave it up, with all that waited beside it. To producers it was passed over like any other that is not to be
    /// written; the error says by whom.
    #[serde(rename = "skipped")]
    Abandoned,
}

/// A message on its way through one route.
#[derive(Clone, Debug, Serialize)]
pub struct RouteDelivery {
    /// The route's name.
    pub route: String,
    /// The destination's name.
    pub destination: String,
    /// The table.
    pub table: String,
    /// Where it stands.
    pub status: Status,
    /// Which version of the route it was sent by.
    pub route_version: Option<u64>,
    /// What the destination received, after mapping.
    pub sent: Option<Box<RawValue>>,
    /// Rows touched.
    pub rows: Option<u32>,
    /// How often it was tried.
    pub attempts: Option<u32>,
    /// When it was written, RFC 3339 in UTC.
    pub delivered_at: Option<String>,
    /// Why it is dead or held.
    pub error: Option<Rejection>,
    /// The later change of the same key in the same batch that replaced it.
    pub folded_into: Option<String>,
}

/// The message of this id; none where its generation is unknown or it has been trimmed.
///
/// # Errors
/// Redis is away, or the entry is not one that this version understands.
pub async fn message(redis: &Redis, application: &str, id: &MessageId) -> Result<Option<Message>, LogError> {
    let keys = redis.keys().of(application);
    let (stream, meta, entry_id) = (keys.stream(), keys.meta(), id.0.id.to_string());
    let (generations, found): (Option<String>, Vec<Value>) = redis
        .link()
        .run(async |mut connection| {
            let mut pipe = redis::pipe();
            pipe.cmd("HGET").arg(&meta).arg("generations");
            pipe.cmd("XRANGE").arg(&stream).arg(&entry_id).arg(&entry_id).query_async(&mut connection).await
        })
        .await
        .map_err(|error| unavailable(&error))?;
    let generations = parse_generations(generations.as_deref().unwrap_or_default()).ok_or_else(|| odd("meta"))?;
    if !holds(&generations, &id.0) {
        return Ok(None);
    }
    match found.into_iter().next().and_then(entry::parse) {
        None => Ok(None),
        Some(Entry::Message(message)) => Ok(Some(Arc::unwrap_or_clone(message))),
        Some(Entry::Unknown { id, why }) => Err(LogError::Unavailable(format!("entry {id} can't be read: {why}"))),
    }
}

/// Whether an id lies in its generation: above where that starts, and not above where the next one does.
pub(super) fn holds(generations: &[GenerationStart], position: &Position) -> bool {
    let Some(place) = generations.iter().position(|start| start.generation == position.generation) else {
        return false;
    };
    let end = generations.get(place + 1).map_or(StreamId::new(u64::MAX, u64::MAX), |next| next.after);
    position.id > generations[place].after && position.id <= end
}

/// The message with this id of the producer's own, if it came within the last 24 hours.
///
/// # Errors
/// Redis is away.
pub async fn by_own_id(redis: &Redis, application: &str, own_id: &str) -> Result<Option<MessageId>, LogError> {
    let key = redis.keys().of(application).own(own_id);
    let stored: Option<String> = redis
        .link()
        .run(async |mut connection| cmd("GET").arg(&key).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    stored.map(|text| text.split(' ').nth(1).and_then(|id| id.parse().ok()).ok_or_else(|| odd("own id"))).transpose()
}

/// What all routes of a stream stand by.
pub(super) struct Ground {
    pub(super) generations: Vec<GenerationStart>,
    lanes: HashMap<String, String>,
    starts: HashMap<String, String>,
    sides: HashMap<String, String>,
    parts: Vec<String>,
}

impl Ground {
    pub(super) async fn of(redis: &Redis, application: &str) -> Result<Self, LogError> {
        let keys = redis.keys().of(application);
        let (meta, lanes, starts) = (keys.meta(), keys.lanes(), keys.starts());
        let (sides, parts) = (keys.sides(), keys.parts());
        type Texts = HashMap<String, String>;
        type Raw = (Option<String>, Texts, Texts, Texts, Vec<String>);
        let (generations, lanes, starts, sides, parts): Raw = redis
            .link()
            .run(async |mut connection| {
                let mut pipe = redis::pipe();
                pipe.cmd("HGET").arg(&meta).arg("generations");
                pipe.cmd("HGETALL").arg(&lanes).cmd("HGETALL").arg(&starts);
                pipe.cmd("HGETALL").arg(&sides).cmd("HKEYS").arg(&parts).query_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        let generations = parse_generations(generations.as_deref().unwrap_or_default()).ok_or_else(|| odd("meta"))?;
        Ok(Self { generations, lanes, starts, sides, parts })
    }

    /// Whether a message is at or below a place. An unknown generation is older than all that are known.
    pub(super) fn reached(&self, message: &Position, place: &Position) -> bool {
        let rank = |wanted: &Generation| self.generations.iter().position(|start| start.generation == *wanted);
        (rank(&message.generation), message.id) <= (rank(&place.generation), place.id)
    }

    /// Where a destination's lane and what is beside it stand.
    pub(super) fn sides_of(&self, destination: &str) -> Sides {
        sides::parse(self.sides.iter(), destination)
    }

    /// A destination's lane, as it is stored.
    pub(super) fn lane(&self, destination: &str) -> Option<&str> {
        self.lanes.get(destination).map(String::as_str)
    }

    /// Whether a destination is a parallel one here.
    pub(super) fn is_parallel(&self, destination: &str) -> bool {
        self.lane(destination).is_some_and(is_parallel)
    }

    /// Whether a route begins above a message.
    pub(super) fn starts_after(&self, message: &Position, route: &str) -> bool {
        let start = self.starts.get(route).and_then(|text| parse_position(text));
        start.is_some_and(|start| self.reached(message, &start))
    }

    /// The parts of a destination's lane that have a history, those of a replay last: what it sent was sent before.
    pub(super) fn parts_of(&self, destination: &str) -> Vec<&str> {
        let part =
            |field: &'_ str| field.strip_prefix(destination).and_then(|rest| rest.strip_prefix(' ')).map(str::len);
        let parts = self.parts.iter().filter_map(|field| Some(&field[field.len() - part(field)?..]));
        let mut parts: Vec<&str> = parts.collect();
        parts.sort_by_key(|part| (part.starts_with("replay "), *part));
        parts
    }
}

/// How far a message is on every route that wants it. A route that starts after it is not listed.
///
/// # Errors
/// Redis is away.
pub async fn deliveries(
    redis: &Redis,
    document: &Document,
    application: &str,
    id: &MessageId,
    message: &Message,
) -> Result<Vec<RouteDelivery>, LogError> {
    let ground = Ground::of(redis, application).await?;
    let mut deliveries = Vec::new();
    for route in &document.routes {
        if route.application != application || route.topic != *message.topic {
            continue;
        }
        let Some(destination) = document.destinations.iter().find(|one| one.name == route.destination) else {
            continue;
        };
        if ground.starts_after(&id.0, &route.id) {
            continue;
        }
        deliveries.push(delivery(redis, &ground, application, route, destination, id, message).await?);
    }
    Ok(deliveries)
}

async fn delivery(
    redis: &Redis,
    ground: &Ground,
    application: &str,
    route: &RouteSpec,
    destination: &Destination,
    id: &MessageId,
    message: &Message,
) -> Result<RouteDelivery, LogError> {
    let mut delivery = RouteDelivery {
        route: route.name.clone(),
        destination: destination.name.clone(),
        table: route.table.clone(),
        status: Status::Pending,
        route_version: None,
        sent: None,
        rows: None,
        attempts: None,
        delivered_at: None,
        error: None,
        folded_into: None,
    };
    if ground.is_parallel(&destination.id) {
        return parallel(redis, ground, application, route, destination, id, delivery).await;
    }
    let sides = ground.sides_of(&destination.id);
    let mut waits = false;
    // The route is carried beside the lane: what is above that place waits, wherever the main row stands.
    let behind = sides.carrying(&route.id).filter(|side| !ground.reached(&id.0, &side.at));
    for side in behind {
        if let Some(why) = &side.held {
            let (code, message) = ("held".into(), why.clone());
            delivery.status = Status::Held;
            delivery.error = Some(Rejection { statement: None, row: None, code, column: None, message });
        }
        waits = true;
    }
    if waits || sides.untaken(&route.id).is_some_and(|place| !ground.reached(&id.0, place)) {
        return Ok(delivery);
    }
    let stored = || ground.lanes.get(&destination.id).and_then(|text| parse_position(text));
    let position = sides.main.clone().or_else(stored);
    if !position.is_some_and(|position| ground.reached(&id.0, &position)) {
        return Ok(delivery);
    }
    let dead_id = DeadId { generation: id.0.generation.clone(), id: id.0.id, route: route.id.as_str().into() };
    let letter = dead::show(redis, application, &destination.id, &dead_id).await?;
    if let Some(DeadLetter { reason, attempts, superseded_by, .. }) = letter {
        delivery.status = if superseded_by.is_some() { Status::Superseded } else { Status::Dead };
        delivery.attempts = Some(attempts);
        delivery.rows = Some(0);
        delivery.error = Some(reason);
        return Ok(delivery);
    }
    delivery.status = Status::Delivered;
    let parts = ground.parts_of(&destination.id);
    let batch = batch(redis, application, route, &destination.id, &parts, &id.0).await?;
    let replayed = sides.replaying(&route.id).any(|side| !ground.reached(&id.0, &side.at));
    if replayed && !batch.as_ref().is_some_and(|batch| names(batch, route)) {
        delivery.status = Status::Pending;
        return Ok(delivery);
    }
    if !batch.as_ref().is_some_and(|batch| names(batch, route)) {
        // No batch tells of it: it may have been given up.
        let told = abandon::told(redis, application, &destination.id).await?;
        if given_up(ground, &told, route, &id.0, &mut delivery) {
            return Ok(delivery);
        }
    }
    let Some(batch) = batch else { return Ok(delivery) };
    delivery.rows = Some(u32::from(!batch.untouched.contains(&id.0.id)));
    delivery.attempts = Some(batch.attempts);
    delivery.delivered_at = delivered_at(&batch);
    let Some((_, version, digest)) = batch.routes.iter().find(|(id, ..)| *id == route.id) else { return Ok(delivery) };
    delivery.route_version = Some(*version);
    if let Some(plan) = plan(redis, application, digest).await? {
        let sent = sent::sent(redis, application, &id.0.generation, &batch, plan, message).await?;
        if sent.skipped {
            delivery.status = Status::Skipped;
        }
        if sent.skipped || sent.nothing {
            delivery.rows = Some(0);
        }
        delivery.sent = sent.row;
        if let Some(later) = sent.folded_into {
            let later = Position { generation: id.0.generation.clone(), id: later };
            delivery.folded_into = Some(MessageId(later).to_string());
            delivery.rows = Some(0);
        }
    }
    Ok(delivery)
}

/// The batch in which a route was sent a message: one of the main row's or, where that skipped the route, one of a part's.
/// Where none names the route (nothing was to be written), the main row's.
async fn batch(
    redis: &Redis,
    application: &str,
    route: &RouteSpec,
    destination: &str,
    parts: &[&str],
    message: &Position,
) -> Result<Option<BatchRecord>, LogError> {
    let main = history::batch_of(redis, application, destination, "main", message).await?;
    if main.as_ref().is_some_and(|batch| names(batch, route)) {
        return Ok(main);
    }
    for part in parts {
        let found = history::batch_of(redis, application, destination, part, message).await?;
        if let Some(batch) = found.filter(|batch| names(batch, route)) {
            return Ok(Some(batch));
        }
    }
    Ok(main)
}

/// Whether something was written for the route in this batch.
fn names(batch: &BatchRecord, route: &RouteSpec) -> bool {
    batch.routes.iter().any(|(id, ..)| *id == route.id)
}

/// The same on a route of a parallel destination: its group knows what was handed out and what is acknowledged, and nobody
/// when. A payload that is kept is the truth: no row says the same.
async fn parallel(
    redis: &Redis,
    ground: &Ground,
    application: &str,
    route: &RouteSpec,
    destination: &Destination,
    id: &MessageId,
    mut delivery: RouteDelivery,
) -> Result<RouteDelivery, LogError> {
    let dead_id = DeadId { generation: id.0.generation.clone(), id: id.0.id, route: route.id.as_str().into() };
    if let Some(letter) = dead::show(redis, application, &destination.id, &dead_id).await? {
        delivery.status = Status::Dead;
        delivery.attempts = Some(letter.attempts);
        delivery.rows = Some(0);
        delivery.error = Some(letter.reason);
    } else if status::is_acknowledged(redis, application, &destination.id, id.0.id).await? {
        delivery.status = Status::Delivered;
        let told = abandon::told(redis, application, &destination.id).await?;
        given_up(ground, &told, route, &id.0, &mut delivery);
    }
    Ok(delivery)
}

/// What gave a message up on a route, where an operator did.
pub(super) fn giving_up<'a>(
    ground: &Ground,
    told: &'a [Abandoned],
    route: &str,
    id: &Position,
) -> Option<&'a Abandoned> {
    told.iter().find(|told| {
        let between = ground.reached(id, &told.to) && !ground.reached(id, &told.after);
        let in_hand = told.to.generation == id.generation && told.ids.contains(&id.id);
        (told.routes.is_empty() || told.routes.iter().any(|one| **one == *route)) && (between || in_hand)
    })
}

/// Says so where an operator gave a message up.
fn given_up(
    ground: &Ground,
    told: &[Abandoned],
    route: &RouteSpec,
    id: &Position,
    delivery: &mut RouteDelivery,
) -> bool {
    let Some(told) = giving_up(ground, told, &route.id, id) else { return false };
    let moment = i64::try_from(told.at_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    let moment = moment.to_rfc3339_opts(SecondsFormat::Secs, true);
    let message = format!("an operator gave up what waited for destination `{}` at {moment}", delivery.destination);
    delivery.status = Status::Abandoned;
    delivery.rows = Some(0);
    delivery.error = Some(Rejection { statement: None, row: None, code: "abandoned".into(), column: None, message });
    true
}

/// When the batch's write was done.
fn delivered_at(batch: &BatchRecord) -> Option<String> {
    let micros = batch.started_ms.checked_mul(1000)?.checked_add(batch.took_us)?;
    let moment = DateTime::from_timestamp_micros(i64::try_from(micros).ok()?)?;
    Some(moment.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// The route and table that a batch was mapped for.
async fn plan(redis: &Redis, application: &str, digest: &str) -> Result<Option<PlanRecord>, LogError> {
    let key = redis.keys().of(application).plans();
    let json: Option<Vec<u8>> = redis
        .link()
        .run(async |mut connection| cmd("HGET").arg(&key).arg(digest).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(json.and_then(|json| serde_json::from_slice(&json).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_counts_in_its_own_generation_only() {
        let start = |token, ms| GenerationStart { generation: Generation::new(token), after: StreamId::new(ms, 0) };
        let generations = [start("a", 0), start("b", 100)];
        let at = |token, ms| Position { generation: Generation::new(token), id: StreamId::new(ms, 0) };
        for (position, held) in
            [(at("a", 100), true), (at("a", 101), false), (at("b", 100), false), (at("b", 101), true)]
        {
            assert_eq!(holds(&generations, &position), held, "{position:?}");
        }
        assert!(!holds(&generations, &at("c", 50)));
    }
}
