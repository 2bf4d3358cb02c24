//! Giving a hopeless backlog up to a moment: counted first, then ordered, and noted with who did it and why.

use chrono::{DateTime, NaiveDateTime};
use serde::Serialize;
use tidegate_actors::{
    delivery::{now_ms, random_token},
    message::{MessageId, StreamId},
    ports::Command,
};

use super::{chosen, find};
use crate::{
    admin::{ActError, Admin, FieldError, Role, Who, fields::wrong},
    redis::abandon::{self, Ordered},
};

/// Longest reason, in characters.
const MOST_REASON_CHARS: usize = 500;

/// Up to where a backlog is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// All that waits at this moment.
    Now,
    /// What came before a moment, in milliseconds since the Unix epoch.
    Moment(u64),
    /// Up to and with this message; concerns its application's stream alone.
    Message(MessageId),
    /// Up to a place that was shown before, on one stream.
    Place(MessageId),
}

impl Until {
    /// A moment, a message's id, or `now`.
    ///
    /// # Errors
    /// It is none of them.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        let text = text.trim();
        if text.is_empty() || text == "now" {
            return Ok(Self::Now);
        }
        // What a browser's field for a moment gives has no zone and perhaps no seconds: it is taken as UTC.
        let moment = DateTime::parse_from_rfc3339(text).map(|moment| moment.timestamp_millis()).or_else(|_| {
            let naive = |form| NaiveDateTime::parse_from_str(text, form);
            let moment = naive("%Y-%m-%dT%H:%M:%S").or_else(|_| naive("%Y-%m-%dT%H:%M"));
            moment.map(|moment| moment.and_utc().timestamp_millis())
        });
        if let Some(ms) = moment.ok().and_then(|ms| u64::try_from(ms).ok()) {
            if ms > now_ms() {
                let message = "this lies in the future; what has not come yet can't be given up";
                return Err(wrong("until", "in_the_future", message));
            }
            return Ok(Self::Moment(ms));
        }
        text.parse().map(Self::Message).map_err(|_| {
            wrong("until", "not_a_moment", "give a moment such as 2026-05-01T08:00:00Z, a message's id, or `now`")
        })
    }
}

/// What would be given up on one stream. Numbers of many records are estimates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Abandonment {
    /// The application.
    pub application: String,
    /// Records that wait.
    pub waiting: u64,
    /// Those that would be given up.
    pub given_up: u64,
    /// When the oldest of them came, in milliseconds since the Unix epoch.
    pub oldest_ms: Option<u64>,
    /// The last that would be given up: generation and stream id.
    pub to: String,
    /// Whether tables or routes stand behind the others: what waits for them is not counted, and goes as well.
    pub beside: bool,
    #[serde(skip)]
    place: tidegate_actors::message::Position,
}

/// What became of it on one stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Given {
    /// The application.
    pub application: String,
    /// Records that were given up, as they were counted.
    pub given_up: u64,
    /// Whether it is done; else the node that writes the destination does it as soon as its database answers. Its memory in
    /// Redis is free for the rest in both cases.
    pub done: bool,
}

/// What giving up a destination's backlog would be, stream by stream.
///
/// # Errors
/// They may not, there is no such destination, nothing leads there, or Redis is away.
pub async fn look(
    admin: &Admin,
    who: &Who,
    name: &str,
    only: Option<&str>,
    until: &Until,
) -> Result<Vec<Abandonment>, ActError> {
    who.needs(Role::Operator)?;
    let document = admin.newest().await?;
    let id = &find(&document, name)?.id;
    let streams = chosen(&document, name, only)?;
    if matches!(until, Until::Message(_) | Until::Place(_)) && streams.len() > 1 {
        let message = format!("a message is one application's; say which of {} is meant", streams.join(", "));
        return Err(ActError::Invalid(vec![wrong("application", "missing", message)]));
    }
    let to = match until {
        Until::Now => None,
        Until::Moment(ms) => Some(StreamId::new(ms.saturating_sub(1), u64::MAX)),
        Until::Message(MessageId(position)) | Until::Place(MessageId(position)) => Some(position.id),
    };
    let mut found = Vec::with_capacity(streams.len());
    for application in streams {
        let backlog = admin.ask(abandon::look(&admin.redis, &application, id, to)).await?;
        if let Until::Place(place) = until
            && place.0.generation != backlog.to.generation
        {
            let message = format!("the stream of `{application}` is another one by now; look again what waits");
            return Err(ActError::Conflict(message));
        }
        if let Until::Message(message) = until
            && (message.0.generation != backlog.to.generation || message.0.id != backlog.to.id)
        {
            return Err(ActError::Unknown(format!("message {message} is not in the stream of `{application}`")));
        }
        found.push(Abandonment {
            application,
            waiting: backlog.waiting,
            given_up: backlog.given_up,
            oldest_ms: backlog.oldest.map(|id| id.ms),
            to: MessageId(backlog.to.clone()).to_string(),
            beside: backlog.beside,
            place: backlog.to,
        });
    }
    Ok(found)
}

/// Gives up what [`look`] has shown.
///
/// # Errors
/// They may not, a reason is too long, or Redis is away: then some streams may be done, and once more does no harm.
pub async fn abandon(
    admin: &Admin,
    who: &Who,
    name: &str,
    seen: &[Abandonment],
    reason: Option<&str>,
) -> Result<Vec<Given>, ActError> {
    who.needs(Role::Operator)?;
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.chars().count() > MOST_REASON_CHARS) {
        let message = format!("at most {MOST_REASON_CHARS} characters");
        return Err(ActError::Invalid(vec![wrong("reason", "too_long", message)]));
    }
    let document = admin.newest().await?;
    let id = &find(&document, name)?.id;
    let mut given = Vec::with_capacity(seen.len());
    for Abandonment { application, given_up, to, place, .. } in seen {
        // Noted first: what is done must not be without its entry.
        let because = reason.map_or(String::new(), |reason| format!(", because: {reason}"));
        let what = format!(
            "give up the backlog of destination `{name}` from `{application}` up to {to}: about {given_up} records{because}"
        );
        admin.note(who, &[what]).await?;
        let command = Command::Abandon {
            token: random_token(12),
            to: place.clone(),
            by: who.to_string(),
            at_ms: now_ms(),
            reason: reason.map(str::to_owned),
        };
        let done = match admin.ask(abandon::order(&admin.redis, application, id, &command)).await? {
            Ordered::Queued => false,
            Ordered::Done => true,
            Ordered::Gone => {
                return Err(ActError::Conflict(format!(
                    "the stream of `{application}` is another one by now; look again what waits"
                )));
            }
        };
        given.push(Given { application: application.clone(), given_up: *given_up, done });
    }
    Ok(given)
}
