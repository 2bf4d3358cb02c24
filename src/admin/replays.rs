//! Replays as acts: a route is sent again what lies between two moments or messages. It is planned first, which counts and says
//! what will be done and what cannot; then the node that writes the destination carries it out beside everything else.

use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use tidegate_actors::{
    delivery::random_token,
    message::{Position, StreamId},
    ports::{Command, LogError},
    route::RouteSpec,
};

use super::{ActError, Role, Who};
use crate::{
    databases::nearest,
    redis::{
        Redis, dead,
        replay::{self, Bound, Range, RangeError},
        sides::{self, Sides},
        status,
    },
    registry::Store,
    resources::{Delivery, Destination, Document},
};

/// More records than this take a while.
const MANY: u64 = 100_000;
/// Longest time for the records of a replay to be counted while somebody looks on.
const COUNTED_WITHIN: Duration = Duration::from_millis(150);

/// What is going to be sent again.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The route.
    pub route: RouteSpec,
    /// Where it leads.
    pub destination: Destination,
    /// From where to where.
    pub range: Range,
    /// How many records of its topic lie there.
    pub records: u64,
    /// Names it; random.
    pub token: String,
    /// What will be done, in a sentence.
    pub sentence: String,
    /// What it cannot do, and what to know before.
    pub notes: Vec<Note>,
}

/// What a replay cannot do, or what to know before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// What was accepted up to there is no longer retained.
    Cut(StreamId),
    /// The route begins there: what came before is sent by it for the first time.
    Begins(StreamId),
    /// It waits until the route stands where the others do; why its table is held, if it is.
    Waits(Option<String>),
    /// Inserts are written as upserts.
    Upserts,
    /// The table's triggers run again.
    Triggers {
        /// The table.
        table: String,
        /// For each change, not once for those of a key in a batch.
        each: bool,
    },
    /// Rows that were changed later go back, and stay so.
    GoesBack,
    /// Rows may show an earlier state until it is done.
    Meanwhile,
    /// So many take a while.
    Many(u64),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(up_to) => {
                let what = "what was accepted up to then is no longer retained: it cannot be sent again";
                write!(f, "{}: {what}", moment(*up_to))
            }
            Self::Begins(at) => {
                let what = "the route begins there: what came before is sent by it for the first time";
                write!(f, "{}: {what}", moment(*at))
            }
            Self::Waits(why) => {
                let behind = || "it is behind the others".to_owned();
                let why = why.as_ref().map_or_else(behind, |why| format!("its table is held: {why}"));
                write!(f, "{why}; it is sent again once it stands where the others do")
            }
            Self::Upserts => f.write_str("inserts are written as upserts; updates and deletes are done as they were sent"),
            Self::Triggers { table, each } => {
                let folded = if *each { "" } else { ", once for the changes of one key in one batch" };
                write!(f, "triggers of `{table}` run again{folded}")
            }
            Self::GoesBack => f.write_str(
                "rows that were changed by later records go back to their state at the end of this range, and stay there until \
                 their next change",
            ),
            Self::Meanwhile => {
                f.write_str("until it is done, rows may show an earlier state; the route's new records wait for that")
            }
            Self::Many(records) => {
                write!(f, "{} records take a while; `tidegate status` shows how far it is", thousands(*records))
            }
        }
    }
}

/// A plan as the API tells it.
#[derive(Clone, Debug, Serialize)]
pub struct PlanBody {
    /// The route's name.
    pub route: String,
    /// The destination's name.
    pub destination: String,
    /// The application's name.
    pub application: String,
    /// Everything after this place is sent again.
    pub after: String,
    /// Up to this one; none: on to where it meets the new ones.
    pub up_to: Option<String>,
    /// How many records that are.
    pub records: u64,
    /// Names it.
    pub token: String,
    /// What will be done.
    pub sentence: String,
    /// What it cannot do, and what to know before.
    pub notes: Vec<String>,
}

impl Plan {
    /// As the API tells it.
    #[must_use]
    pub fn body(&self) -> PlanBody {
        let place = |position: &Position| format!("{}-{}", position.generation, position.id);
        PlanBody {
            route: self.route.name.clone(),
            destination: self.destination.name.clone(),
            application: self.route.application.clone(),
            after: place(&self.range.from),
            up_to: self.range.to.as_ref().map(place),
            records: self.records,
            token: self.token.clone(),
            sentence: self.sentence.clone(),
            notes: self.notes.iter().map(ToString::to_string).collect(),
        }
    }

    /// What the owner is asked for.
    #[must_use]
    pub fn command(&self) -> Command {
        Command::Replay {
            token: self.token.clone(),
            route: self.route.id.clone(),
            from: self.range.from.clone(),
            to: self.range.to.clone(),
        }
    }
}

/// Where a replay stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No node has taken it up yet.
    Queued,
    /// Under way.
    Running {
        /// Everything up to here is sent.
        at: StreamId,
        /// Why it waits, where it does.
        held: Option<String>,
    },
    /// It has ended, or (within the first moments) is about to show.
    Gone,
}

/// Reads one end: a moment (RFC 3339) or a message's id.
///
/// # Errors
/// It is neither.
pub fn bound(text: &str) -> Result<Bound, String> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        let ms = u64::try_from(moment.timestamp_millis()).map_err(|_| "a moment before 1970".to_owned())?;
        return Ok(Bound::Moment(ms));
    }
    text.parse().map(Bound::Message).map_err(|_| {
        "neither a moment such as 2025-06-01T08:00:00Z nor a message's id such as k3v9x0q2ab-1763775403123-0".to_owned()
    })
}

/// Counts, and works out what will be done. `seen` hears how many have been counted.
///
/// # Errors
/// The route can't be sent again, or not that; Redis is away.
pub async fn plan(
    redis: &Redis,
    document: &Document,
    route: &str,
    from: &Bound,
    to: Option<&Bound>,
    seen: impl FnMut(u64),
) -> Result<Plan, ActError> {
    let (route, destination) = replayable(document, route)?;
    let range = replay::range(redis, &route.application, &destination.id, &route.id, from, to).await;
    let range = range.map_err(|error| match error {
        RangeError::Log(error) => error.into(),
        error => ActError::Conflict(error.to_string()),
    })?;
    let end = range.to.as_ref().unwrap_or(&range.stands).id;
    let records = replay::count(redis, &route.application, &route.topic, (range.from.id, end), seen).await?;
    let beside = sides::of(redis, &route.application, &destination.id).await?;
    Ok(Plan {
        token: random_token(12),
        sentence: sentence(route, destination, &range, records),
        notes: notes(route, &range, records, &beside),
        route: route.clone(),
        destination: destination.clone(),
        range,
        records,
    })
}

/// Asks the owner for it.
///
/// # Errors
/// They may not; there is nothing to send; Redis is away.
pub async fn begin(redis: &Redis, store: &mut Store, who: &Who, plan: &Plan) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    if plan.records == 0 {
        return Err(ActError::Conflict("there is nothing to send again".into()));
    }
    store.note(&who.to_string(), &[format!("replay: {}", plan.sentence)]).await?;
    Ok(dead::push(redis, &plan.route.application, &plan.destination.id, &plan.command()).await?)
}

/// How far it is.
///
/// # Errors
/// Redis is away.
pub async fn standing(redis: &Redis, plan: &Plan) -> Result<Standing, LogError> {
    let (application, destination) = (&plan.route.application, &plan.destination.id);
    let waits = dead::waiting(redis, application, destination).await?.contains(&plan.command());
    let beside = sides::of(redis, application, destination).await?;
    Ok(match beside.rows.iter().find(|side| replays(&side.part, &plan.token)) {
        Some(side) => Standing::Running { at: side.at.id, held: side.held.clone() },
        None if waits => Standing::Queued,
        None => Standing::Gone,
    })
}

/// A replay of a route that is not over yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Underway {
    /// Names it.
    pub token: String,
    /// Everything after this is sent again.
    pub after: StreamId,
    /// Up to this one; none: on to where it meets the new ones.
    pub up_to: Option<StreamId>,
    /// Where it stands; never [`Standing::Gone`].
    pub standing: Standing,
    /// How many records are sent, and how many there are; none where counting them would take too long.
    pub counted: Option<(u64, u64)>,
    /// How far it is, from 0 to 1: by the records, else by the time in which they were accepted.
    pub share: f64,
    /// It can be stopped: nobody has taken it up yet, or it ends at a place.
    pub may_stop: bool,
}

/// A replay that is not over, as the API tells it.
#[derive(Clone, Debug, Serialize)]
pub struct UnderwayBody {
    /// Names it.
    pub token: String,
    /// `queued`, `running` or `held`.
    pub state: &'static str,
    /// Why it waits, where it does.
    pub why: Option<String>,
    /// When the first of what is sent again was accepted, as a moment: everything after it.
    pub after: String,
    /// Up to this one; none: on to where it meets the new ones.
    pub up_to: Option<String>,
    /// How many records are sent; none where counting them would take too long.
    pub sent: Option<u64>,
    /// How many there are.
    pub records: Option<u64>,
    /// How far it is, from 0 to 1.
    pub share: f64,
    /// It can be stopped.
    pub may_stop: bool,
}

impl Underway {
    /// As the API tells it.
    #[must_use]
    pub fn body(&self) -> UnderwayBody {
        let (state, why) = match &self.standing {
            Standing::Running { held: Some(why), .. } => ("held", Some(why.clone())),
            Standing::Running { held: None, .. } => ("running", None),
            Standing::Queued | Standing::Gone => ("queued", None),
        };
        UnderwayBody {
            token: self.token.clone(),
            state,
            why,
            after: moment(self.after),
            up_to: self.up_to.map(moment),
            sent: self.counted.map(|(sent, _)| sent),
            records: self.counted.map(|(_, all)| all),
            share: self.share,
            may_stop: self.may_stop,
        }
    }
}

/// The replays of the route of this name that wait or are under way, oldest first.
///
/// # Errors
/// There is no such route; Redis is away.
pub async fn of_route(redis: &Redis, document: &Document, route: &str) -> Result<Vec<Underway>, ActError> {
    Ok(underway(redis, document, named(document, route)?).await?)
}

/// The replays of a route that wait or are under way, oldest first.
///
/// # Errors
/// Redis is away.
pub async fn underway(redis: &Redis, document: &Document, route: &RouteSpec) -> Result<Vec<Underway>, LogError> {
    let Some(destination) = document.destinations.iter().find(|one| one.name == route.destination) else {
        return Ok(Vec::new());
    };
    let waiting = dead::waiting(redis, &route.application, &destination.id).await?;
    let mut all = Vec::new();
    for command in waiting {
        let Command::Replay { token, route: of, from, to } = command else { continue };
        if of != route.id {
            continue;
        }
        // Only now: most routes have none.
        let beside = sides::of(redis, &route.application, &destination.id).await?;
        let side = beside.rows.iter().find(|side| replays(&side.part, &token));
        let standing =
            side.map_or(Standing::Queued, |side| Standing::Running { at: side.at.id, held: side.held.clone() });
        let end = match (&to, &beside.main) {
            (Some(to), _) => to.id,
            (None, Some(main)) => main.id,
            (None, None) => {
                let lanes = status::lanes(redis, &route.application).await?;
                let lane = lanes.into_iter().find(|lane| lane.destination == destination.id);
                lane.map_or(from.id, |lane| lane.position.id)
            }
        };
        let at =
            if let Standing::Running { at, .. } = &standing { (*at).clamp(from.id, end.max(from.id)) } else { from.id };
        let many = async |range| replay::count(redis, &route.application, &route.topic, range, |_| ()).await;
        let counted = async { Ok::<_, LogError>((many((from.id, at)).await?, many((at, end)).await?)) };
        let counted = match tokio::time::timeout(COUNTED_WITHIN, counted).await {
            Ok(counted) => Some(counted?).map(|(sent, left)| (sent, sent + left)),
            Err(_) => None,
        };
        let share = match counted {
            Some((sent, all)) if all > 0 => part_of(sent, all),
            _ => part_of(at.ms.saturating_sub(from.id.ms), end.ms.saturating_sub(from.id.ms)),
        };
        let may_stop = to.is_some() || standing == Standing::Queued;
        all.push(Underway { token, after: from.id, up_to: to.map(|to| to.id), standing, counted, share, may_stop });
    }
    Ok(all)
}

#[allow(clippy::cast_precision_loss, reason = "for a bar")]
fn part_of(some: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { (some as f64 / all as f64).min(1.0) }
}

/// Stops a replay: what it has sent stays as it is, the rest is not sent. One that goes on to the new records is stopped only
/// before anybody has taken it up, since rows would stay in an earlier state.
///
/// # Errors
/// They may not; it is over, or can't be stopped any more; Redis is away.
pub async fn stop(
    redis: &Redis,
    store: &mut Store,
    document: &Document,
    who: &Who,
    route: &str,
    token: &str,
) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let (route, destination) = replayable(document, route)?;
    let waiting = dead::waiting(redis, &route.application, &destination.id).await?;
    let meant = |command: &&Command| matches!(command, Command::Replay { token: named, route: of, .. } if named == token && *of == route.id);
    let Some(command) = waiting.iter().find(meant) else {
        return Err(ended());
    };
    let beside = sides::of(redis, &route.application, &destination.id).await?;
    let is_taken_up = beside.rows.iter().any(|side| replays(&side.part, token));
    if is_taken_up && matches!(command, Command::Replay { to: None, .. }) {
        return Err(ActError::Conflict(
            "this replay goes on to where it meets the new records: stopped on the way, rows would stay in an earlier state. Let \
             it come to its end, or pause the destination; nothing was changed"
                .into(),
        ));
    }
    store.note(&who.to_string(), &[format!("stop the replay {token} of route `{}`", route.name)]).await?;
    // Meanwhile it may have come to its end, or somebody else may have stopped it.
    match dead::withdraw(redis, &route.application, &destination.id, std::slice::from_ref(command)).await? {
        0 => Err(ended()),
        _ => Ok(()),
    }
}

fn ended() -> ActError {
    ActError::Conflict("this replay has ended already".into())
}

fn named<'a>(document: &'a Document, name: &str) -> Result<&'a RouteSpec, ActError> {
    document.routes.iter().find(|one| one.name == name).ok_or_else(|| {
        let names = document.routes.iter().map(|one| one.name.as_str());
        let hint = nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        ActError::Unknown(format!("there is no route `{name}`{hint}"))
    })
}

/// The route and where it leads, if it can be replayed at all.
fn replayable<'a>(document: &'a Document, name: &str) -> Result<(&'a RouteSpec, &'a Destination), ActError> {
    let route = named(document, name)?;
    if route.key.is_empty() {
        return Err(ActError::Conflict(format!(
            "route `{}` has no `key`: each record sent again would be one row more. Give the route a key, or delete the rows \
             and make a new route with `start`; nothing was changed",
            route.name
        )));
    }
    let Some(destination) = document.destinations.iter().find(|one| one.name == route.destination) else {
        let why = format!("route `{}` leads to `{}`, which is not there", route.name, route.destination);
        return Err(ActError::Conflict(why));
    };
    if destination.delivery == Delivery::Parallel {
        return Err(ActError::Conflict(format!(
            "`{}` is a parallel destination: its consumer group cannot go back for one route; nothing was changed",
            destination.name
        )));
    }
    Ok((route, destination))
}

/// Whether this part of a lane is the replay of this token: `replay TOKEN`, or `replay TOKEN ROUTE`.
fn replays(part: &str, token: &str) -> bool {
    part.strip_prefix("replay ").is_some_and(|rest| rest.split(' ').next() == Some(token))
}

/// What is going to happen, in one sentence.
fn sentence(route: &RouteSpec, destination: &Destination, range: &Range, records: u64) -> String {
    let Range { from, to, .. } = range;
    let end =
        to.as_ref().map_or("on to where it meets the new ones".to_owned(), |to| format!("up to {}", moment(to.id)));
    format!(
        "route `{}`: {} of topic `{}` accepted after {}, {end}, will be sent to table `{}` of `{}` again",
        route.name,
        if records == 1 { "1 record".to_owned() } else { format!("{} records", thousands(records)) },
        route.topic,
        moment(from.id),
        route.table,
        destination.name,
    )
}

/// What it cannot do, and what to know before.
fn notes(route: &RouteSpec, range: &Range, records: u64, beside: &Sides) -> Vec<Note> {
    let Range { to, trimmed, cut, begins, .. } = range;
    let plain = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    let mut notes = Vec::new();
    notes.extend(cut.then_some(Note::Cut(*trimmed)));
    notes.extend(begins.as_ref().map(|begins| Note::Begins(begins.id)));
    if records == 0 {
        return notes;
    }
    let waits = beside.of_route(&route.id).next();
    notes.extend(waits.map(|side| Note::Waits(side.held.as_deref().map(plain))));
    notes.push(Note::Upserts);
    notes.push(Note::Triggers { table: route.table.clone(), each: route.every_change });
    notes.push(if to.is_some() { Note::GoesBack } else { Note::Meanwhile });
    notes.extend((records > MANY).then_some(Note::Many(records)));
    notes
}

fn moment(id: StreamId) -> String {
    let moment = i64::try_from(id.ms).ok().and_then(DateTime::<Utc>::from_timestamp_millis);
    match moment.filter(|_| id != StreamId::ZERO) {
        Some(moment) => moment.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => "the beginning".to_owned(),
    }
}

/// `1,234`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
