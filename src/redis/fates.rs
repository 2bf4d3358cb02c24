//! What became of many messages at once, for lists: the same that [`super::lookup`] tells of one, with a handful of calls for all of
//! them instead of some for each.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use futures_util::future::try_join_all;
use redis::{Value, cmd};
use serde_json::value::RawValue;
use tidegate_actors::{
    mapping::{Mapped, Mapping, Whence},
    message::{Generation, Message, MessageId, StreamId},
    ports::{Entry, LogError, PlanRecord},
    route::RouteSpec,
    transaction::DeadId,
};

use super::{
    Redis, abandon, browse,
    dead::{self, Summary, lines},
    history::{self, Filed},
    log::parse_position,
    lookup::{Ground, Status, giving_up},
    unavailable,
};
use crate::resources::{Destination, Document};

/// Letters asked for in one call.
const LETTERS_PER_CALL: usize = 500;
/// Most entries that are read to see what was folded into what, for all messages of a call together. Beyond it, what was sent is
/// left for a look at the single message.
const FOLDED_AMONG: usize = 2_000;

/// What became of a dead letter that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Written after all, at this time in milliseconds since the Unix epoch.
    Redriven(u64),
    /// Given up for good, at this time.
    Discarded(u64),
}

/// What a destination received of a message.
#[derive(Clone, Debug, Default)]
pub enum Sent {
    /// This row.
    Row(Box<RawValue>),
    /// A later message of its key in the same batch took its place.
    FoldedInto(StreamId),
    /// Nothing: there was nothing to write.
    Nothing,
    /// It can't be told: not sent yet, or too long ago.
    #[default]
    Unknown,
    /// It would take a look at more entries than a list may.
    Later,
}

/// A message on one route.
#[derive(Clone, Debug)]
pub struct Fate<'a> {
    /// The route as it is now.
    pub route: &'a RouteSpec,
    /// Where it leads.
    pub destination: &'a Destination,
    /// Where the message stands.
    pub status: Status,
    /// Why its table waits.
    pub held: Option<String>,
    /// When it was given up with all that waited, in milliseconds since the Unix epoch.
    pub abandoned_ms: Option<u64>,
    /// Its dead letter.
    pub letter: Option<Summary>,
    /// What became of the dead letter that it was.
    pub end: Option<End>,
    /// The batch it was written in.
    pub batch: Option<Arc<Filed>>,
    /// The route and table of that time.
    pub plan: Option<Arc<PlanRecord>>,
    /// What was sent.
    pub sent: Sent,
}

impl Fate<'_> {
    /// Whether the batch wrote something for the route.
    fn is_named(&self) -> bool {
        self.version().is_some()
    }

    /// Version of the route by which it was sent, and the digest of its plan.
    #[must_use]
    pub fn version(&self) -> Option<(u64, &str)> {
        let routes = &self.batch.as_ref()?.record.routes;
        routes.iter().find(|(id, ..)| *id == self.route.id).map(|(_, version, digest)| (*version, digest.as_str()))
    }
}

/// What became of these messages of one application (each known to be in its generation), for each the routes that want it.
/// `wanted`: which routes are of interest.
///
/// # Errors
/// Redis is away.
pub async fn of<'a>(
    redis: &Redis,
    document: &'a Document,
    application: &str,
    messages: &[(MessageId, Arc<Message>)],
    wanted: impl Fn(&RouteSpec) -> bool,
) -> Result<Vec<Vec<Fate<'a>>>, LogError> {
    let ground = Ground::of(redis, application).await?;
    let of_application: Vec<(&RouteSpec, &Destination)> = document
        .routes
        .iter()
        .filter(|route| route.application == application && wanted(route))
        .filter_map(|route| Some((route, document.destinations.iter().find(|one| one.name == route.destination)?)))
        .collect();
    let mut fates: Vec<Vec<Fate<'a>>> = messages
        .iter()
        .map(|(id, message)| {
            let takes = |(route, _): &&(&RouteSpec, &Destination)| {
                route.topic == *message.topic && !ground.starts_after(&id.0, &route.id)
            };
            of_application
                .iter()
                .filter(takes)
                .map(|(route, destination)| begin(&ground, id, route, destination))
                .collect()
        })
        .collect();
    let look = Look { redis, application, ground: &ground, messages };
    look.parallel(&mut fates).await?;
    look.letters(&mut fates).await?;
    look.batches(&mut fates).await?;
    look.replayed(&mut fates);
    look.abandoned(&mut fates).await?;
    look.plans(&mut fates).await?;
    look.sent(&mut fates).await?;
    Ok(fates)
}

/// As far as positions tell: held, pending, or (for now) delivered.
fn begin<'a>(ground: &Ground, id: &MessageId, route: &'a RouteSpec, destination: &'a Destination) -> Fate<'a> {
    let mut fate = Fate {
        route,
        destination,
        status: Status::Pending,
        held: None,
        abandoned_ms: None,
        letter: None,
        end: None,
        batch: None,
        plan: None,
        sent: Sent::Unknown,
    };
    if ground.is_parallel(&destination.id) {
        return fate;
    }
    let sides = ground.sides_of(&destination.id);
    let mut waits = false;
    for side in sides.carrying(&route.id).filter(|side| !ground.reached(&id.0, &side.at)) {
        if let Some(why) = &side.held {
            fate.status = Status::Held;
            fate.held = Some(why.clone());
        }
        waits = true;
    }
    if waits || sides.untaken(&route.id).is_some_and(|place| !ground.reached(&id.0, place)) {
        return fate;
    }
    let position = sides.main.clone().or_else(|| ground.lane(&destination.id).and_then(parse_position));
    if position.is_some_and(|position| ground.reached(&id.0, &position)) {
        fate.status = Status::Delivered;
    }
    fate
}

/// One look at many messages of one application.
struct Look<'l> {
    redis: &'l Redis,
    application: &'l str,
    ground: &'l Ground,
    messages: &'l [(MessageId, Arc<Message>)],
}

/// The place of a fate: message, then route.
type Place = (usize, usize);

fn places<'f>(fates: &'f [Vec<Fate<'_>>], wanted: impl Fn(&Fate<'_>) -> bool + 'f) -> impl Iterator<Item = Place> + 'f {
    let all =
        fates.iter().enumerate().flat_map(|(at, of)| of.iter().enumerate().map(move |(route, fate)| (at, route, fate)));
    all.filter(move |(.., fate)| wanted(fate)).map(|(at, route, _)| (at, route))
}

impl Look<'_> {
    fn is_parallel(&self, fate: &Fate<'_>) -> bool {
        self.ground.is_parallel(&fate.destination.id)
    }

    fn dead_id(&self, fates: &[Vec<Fate<'_>>], (at, route): Place) -> DeadId {
        let id = &self.messages[at].0.0;
        DeadId { generation: id.generation.clone(), id: id.id, route: fates[at][route].route.id.as_str().into() }
    }

    /// What a parallel destination's group has handed out and heard back of.
    async fn parallel(&self, fates: &mut [Vec<Fate<'_>>]) -> Result<(), LogError> {
        let ours: Vec<Place> = places(fates, |fate| self.is_parallel(fate)).collect();
        if ours.is_empty() {
            return Ok(());
        }
        let key = self.redis.keys().of(self.application).stream();
        let groups: redis::streams::StreamInfoGroupsReply = self
            .redis
            .link()
            .run(async |mut connection| cmd("XINFO").arg("GROUPS").arg(&key).query_async(&mut connection).await)
            .await
            .map_err(|error| unavailable(&error))?;
        let handed_out: HashMap<&str, StreamId> = groups
            .groups
            .iter()
            .filter_map(|group| Some((group.name.as_str(), group.last_delivered_id.parse().ok()?)))
            .collect();
        let asked: Vec<(Place, &str, StreamId)> = ours
            .into_iter()
            .filter_map(|place @ (at, route)| {
                let (group, last) = handed_out.get_key_value(fates[at][route].destination.id.as_str())?;
                let id = self.messages[at].0.0.id;
                (id <= *last).then_some((place, *group, id))
            })
            .collect();
        if asked.is_empty() {
            return Ok(());
        }
        let pending: Vec<Vec<Value>> = self
            .redis
            .link()
            .run(async |mut connection| {
                let mut pipe = redis::pipe();
                for (_, group, id) in &asked {
                    let id = id.to_string();
                    pipe.cmd("XPENDING").arg(&key).arg(group).arg(&id).arg(&id).arg(1);
                }
                pipe.query_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        for (((at, route), ..), pending) in asked.into_iter().zip(pending) {
            if pending.is_empty() {
                fates[at][route].status = Status::Delivered;
            }
        }
        Ok(())
    }

    /// Dead letters of what was passed (a payload of a parallel destination is the truth itself), and what became of those that
    /// are gone.
    async fn letters(&self, fates: &mut [Vec<Fate<'_>>]) -> Result<(), LogError> {
        let mut asked: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
        let passed = |fate: &Fate<'_>| fate.status == Status::Delivered || self.is_parallel(fate);
        for (at, route) in places(fates, passed) {
            asked.entry(&fates[at][route].destination.id).or_default().push((at, route));
        }
        let destinations: Vec<&str> = asked.keys().copied().collect();
        let counts = lines::counts(self.redis, self.application, &destinations).await?;
        let keys = self.redis.keys().of(self.application);
        let mut found: Vec<(Place, Summary)> = Vec::new();
        let mut ends: Vec<(Place, End)> = Vec::new();
        for ((destination, places), count) in asked.iter().zip(counts) {
            for some in places.chunks(LETTERS_PER_CALL) {
                let ids: Vec<DeadId> = some.iter().map(|place| self.dead_id(fates, *place)).collect();
                let fields = lines::fields(&ids);
                let of: Vec<String> = fields.iter().map(|field| keys.dead_end(destination, field)).collect();
                let became: Vec<Option<String>> = self
                    .redis
                    .link()
                    .run(async |mut connection| cmd("MGET").arg(&of).query_async(&mut connection).await)
                    .await
                    .map_err(|error| unavailable(&error))?;
                let end = |(place, text): (&Place, Option<String>)| Some((*place, parse_end(&text?)?));
                ends.extend(some.iter().zip(became).filter_map(end));
                if count == 0 {
                    continue;
                }
                let mut told = lines::of(self.redis, self.application, destination, &fields).await?;
                if told.iter().all(Option::is_none) {
                    // None of them, or kept by a version that wrote no lines.
                    told = dead::summaries(self.redis, self.application, destination, &ids).await?;
                }
                found.extend(some.iter().zip(told).filter_map(|(place, told)| Some((*place, told?))));
            }
        }
        for ((at, route), end) in ends {
            fates[at][route].end = Some(end);
        }
        for ((at, route), letter) in found {
            let parallel = self.is_parallel(&fates[at][route]);
            let fate = &mut fates[at][route];
            fate.status = if letter.superseded && !parallel { Status::Superseded } else { Status::Dead };
            fate.letter = Some(letter);
            fate.end = None;
        }
        Ok(())
    }

    /// The batches of what was delivered in order: the main row's, or, where that skipped the route, a part's; where none names
    /// the route (nothing was to be written), the main row's.
    async fn batches(&self, fates: &mut [Vec<Fate<'_>>]) -> Result<(), LogError> {
        let written = |fate: &Fate<'_>| fate.status == Status::Delivered && !self.is_parallel(fate);
        let all: Vec<Place> = places(fates, written).collect();
        self.find(fates, &all, |_| vec!["main".to_owned()]).await?;
        let unnamed: Vec<Place> = all.into_iter().filter(|(at, route)| !fates[*at][*route].is_named()).collect();
        self.find(fates, &unnamed, |destination| {
            self.ground.parts_of(destination).into_iter().map(str::to_owned).collect()
        })
        .await
    }

    async fn find(
        &self,
        fates: &mut [Vec<Fate<'_>>],
        places: &[Place],
        parts: impl Fn(&str) -> Vec<String>,
    ) -> Result<(), LogError> {
        let mut asked: BTreeMap<(&str, &Generation), Vec<StreamId>> = BTreeMap::new();
        for (at, route) in places {
            let id = &self.messages[*at].0.0;
            asked.entry((&fates[*at][*route].destination.id, &id.generation)).or_default().push(id.id);
        }
        let calls = asked.into_iter().flat_map(|((destination, generation), mut ids)| {
            ids.sort_unstable_by(|a, b| b.cmp(a));
            ids.dedup();
            let ids = Arc::new(ids);
            parts(destination).into_iter().map(move |part| (destination, generation, part, Arc::clone(&ids)))
        });
        let found = try_join_all(calls.map(async |(destination, generation, part, ids)| {
            let filed = history::covering(self.redis, self.application, destination, &part, generation, &ids).await?;
            let filed: Vec<Arc<Filed>> = filed.into_iter().map(Arc::new).collect();
            Ok::<_, LogError>(((destination, generation), part, filed))
        }))
        .await?;
        for (of, part, filed) in found {
            for (at, route) in places {
                let (id, fate) = (&self.messages[*at].0.0, &mut fates[*at][*route]);
                if (fate.destination.id.as_str(), &id.generation) != of || fate.is_named() {
                    continue;
                }
                let Some(batch) = filed.iter().find(|batch| batch.covers(id.id)) else { continue };
                let before = fate.batch.replace(Arc::clone(batch));
                if part != "main" && !fate.is_named() {
                    fate.batch = before;
                }
            }
        }
        Ok(())
    }

    /// What is above a replay that has its route to itself waits, unless it was written before.
    fn replayed(&self, fates: &mut [Vec<Fate<'_>>]) {
        for (at, of) in fates.iter_mut().enumerate() {
            for fate in of.iter_mut().filter(|fate| fate.status == Status::Delivered) {
                let (id, sides) = (&self.messages[at].0.0, self.ground.sides_of(&fate.destination.id));
                let replayed = sides.replaying(&fate.route.id).any(|side| !self.ground.reached(id, &side.at));
                if replayed && !fate.is_named() {
                    fate.status = Status::Pending;
                    fate.batch = None;
                }
            }
        }
    }

    /// What no batch tells of may have been given up.
    async fn abandoned(&self, fates: &mut [Vec<Fate<'_>>]) -> Result<(), LogError> {
        let mut asked: BTreeMap<String, Vec<Place>> = BTreeMap::new();
        for (at, route) in places(fates, |fate| fate.status == Status::Delivered && !fate.is_named()) {
            asked.entry(fates[at][route].destination.id.clone()).or_default().push((at, route));
        }
        for (destination, places) in asked {
            let told = abandon::told(self.redis, self.application, &destination).await?;
            for (at, route) in places {
                let (fate, id) = (&mut fates[at][route], &self.messages[at].0.0);
                if let Some(told) = giving_up(self.ground, &told, &fate.route.id, id) {
                    (fate.status, fate.batch, fate.abandoned_ms) = (Status::Abandoned, None, Some(told.at_ms));
                }
            }
        }
        Ok(())
    }

    /// The routes and tables that the batches were mapped for, each once.
    async fn plans(&self, fates: &mut [Vec<Fate<'_>>]) -> Result<(), LogError> {
        let digests: HashSet<String> = fates
            .iter()
            .flatten()
            .filter(|fate| fate.status == Status::Delivered)
            .filter_map(|fate| fate.version().map(|(_, digest)| digest.to_owned()))
            .collect();
        if digests.is_empty() {
            return Ok(());
        }
        let key = self.redis.keys().of(self.application).plans();
        let digests: Vec<String> = digests.into_iter().collect();
        let found: Vec<Option<Vec<u8>>> = self
            .redis
            .link()
            .run(async |mut connection| cmd("HMGET").arg(&key).arg(&digests).query_async(&mut connection).await)
            .await
            .map_err(|error| unavailable(&error))?;
        let plans: HashMap<String, Arc<PlanRecord>> = digests
            .into_iter()
            .zip(found)
            .filter_map(|(digest, json)| Some((digest, Arc::new(serde_json::from_slice(&json?).ok()?))))
            .collect();
        for fate in fates.iter_mut().flatten() {
            fate.plan = fate.version().and_then(|(_, digest)| plans.get(digest)).cloned();
        }
        Ok(())
    }

    /// What was sent: mapped once more; of a batch that folded, only where no other message of the key was in it.
    async fn sent(&self, fates: &mut [Vec<Fate<'_>>]) -> Result<(), LogError> {
        let mut mappings: HashMap<*const PlanRecord, Option<Mapping>> = HashMap::new();
        for plan in fates.iter().flatten().filter_map(|fate| fate.plan.as_ref()) {
            mappings.entry(Arc::as_ptr(plan)).or_insert_with(|| {
                let PlanRecord { route, table, children } = PlanRecord::clone(plan);
                Mapping::compile(&route, table, children).ok()
            });
        }
        let mapping = |fate: &Fate<'_>| mappings.get(&Arc::as_ptr(fate.plan.as_ref()?))?.as_ref();
        let mut keyed: Vec<(Place, Box<str>)> = Vec::new();
        for (at, (id, message)) in self.messages.iter().enumerate() {
            let whence = Whence { application: self.application, generation: &id.0.generation };
            for route in 0..fates[at].len() {
                let fate = &fates[at][route];
                let Some(mapping) = mapping(fate) else { continue };
                let folded = fate.batch.as_ref().is_some_and(|batch| batch.record.folded);
                let (sent, status) = match mapping.apply(message, whence) {
                    Ok(Mapped::Row(row)) => {
                        let key = row.key.clone().filter(|_| folded);
                        keyed.extend(key.map(|key| ((at, route), key)));
                        (Sent::Row(mapping.sent(&row)), Status::Delivered)
                    }
                    Ok(Mapped::Skipped) => (Sent::Nothing, Status::Skipped),
                    Ok(Mapped::Nothing) => (Sent::Nothing, Status::Delivered),
                    Err(_) => (Sent::Unknown, Status::Delivered),
                };
                (fates[at][route].sent, fates[at][route].status) = (sent, status);
            }
        }
        if keyed.is_empty() {
            return Ok(());
        }
        self.fold(fates, keyed, &mappings).await
    }

    /// Looks for other messages of the same key in the batches of these: where there are some, what was sent is theirs together.
    async fn fold(
        &self,
        fates: &mut [Vec<Fate<'_>>],
        keyed: Vec<(Place, Box<str>)>,
        mappings: &HashMap<*const PlanRecord, Option<Mapping>>,
    ) -> Result<(), LogError> {
        let range =
            |(at, route): Place| fates[at][route].batch.as_ref().map(|batch| (batch.record.first, batch.record.last));
        let mut ranges: Vec<(StreamId, StreamId)> = keyed.iter().filter_map(|(place, _)| range(*place)).collect();
        ranges.sort_unstable();
        let mut spans: Vec<(StreamId, StreamId)> = Vec::new();
        for (first, last) in ranges {
            match spans.last_mut() {
                Some(span) if first <= span.1 => span.1 = span.1.max(last),
                _ => spans.push((first, last)),
            }
        }
        let mut read: Vec<Arc<Message>> = Vec::new();
        let mut whole = true;
        for (first, last) in spans {
            let left = FOLDED_AMONG.saturating_sub(read.len());
            if left == 0 {
                whole = false;
                break;
            }
            let some = browse::between(self.redis, self.application, first, last, left).await?;
            whole &= some.len() < left || some.last().is_some_and(|entry| entry.id() == last);
            read.extend(some.into_iter().filter_map(|entry| match entry {
                Entry::Message(message) => Some(message),
                Entry::Unknown { .. } => None,
            }));
        }
        // Keys of what was read, by plan; a plan's messages are mapped once for all.
        let mut keys: HashMap<*const PlanRecord, HashMap<Box<str>, Vec<StreamId>>> = HashMap::new();
        for ((at, route), key) in keyed {
            let fate = &fates[at][route];
            let (Some(plan), Some(batch)) = (&fate.plan, &fate.batch) else { continue };
            let Some(Some(mapping)) = mappings.get(&Arc::as_ptr(plan)) else { continue };
            let (id, generation) = (self.messages[at].0.0.id, &self.messages[at].0.0.generation);
            let of_plan = keys.entry(Arc::as_ptr(plan)).or_insert_with(|| {
                let whence = Whence { application: self.application, generation };
                let mut by_key: HashMap<Box<str>, Vec<StreamId>> = HashMap::new();
                for message in read.iter().filter(|message| *message.topic == *plan.route.topic) {
                    if let Some(key) = mapping.key(message, whence) {
                        by_key.entry(key).or_default().push(message.id);
                    }
                }
                by_key
            });
            let others = of_plan.get(&key).into_iter().flatten();
            let alone = !others.clone().any(|other| *other != id && batch.covers(*other));
            let seen_whole = whole || read.last().is_some_and(|last| last.id >= batch.record.last);
            if !alone || !seen_whole {
                fates[at][route].sent = Sent::Later;
            }
        }
        Ok(())
    }
}

fn parse_end(text: &str) -> Option<End> {
    let (what, ms) = text.split_once(' ')?;
    let ms = ms.parse().ok()?;
    match what {
        "redriven" => Some(End::Redriven(ms)),
        "discarded" => Some(End::Discarded(ms)),
        _ => None,
    }
}
