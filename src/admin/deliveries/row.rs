//! One delivery as lists show it.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;
use tidegate_actors::{
    message::{Message, MessageId, Position},
    status::{ActorKind, DestinationDetail, DestinationStatus},
};

use crate::{
    redis::{
        Redis,
        dead::Summary,
        fates::{End, Fate, Sent},
        lookup, members,
    },
    resources::Destination,
};

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits in the stream.
    Pending,
    /// Written.
    Delivered,
    /// Refused; kept as a dead letter.
    Dead,
    /// Its table or destination waits for an operator or a schema.
    Held,
    /// The route's filter said no.
    Skipped,
    /// A dead letter whose key got a later record.
    Superseded,
    /// A dead letter that was given up for good.
    Discarded,
    /// An operator gave it up, with all that waited beside it.
    Abandoned,
    /// No route wants it.
    Unrouted,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Delivered,
        Self::Dead,
        Self::Held,
        Self::Skipped,
        Self::Superseded,
        Self::Discarded,
        Self::Abandoned,
        Self::Unrouted,
    ];

    /// Its name, as it is shown in addresses and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Held => "held",
            Self::Skipped => "skipped",
            Self::Superseded => "superseded",
            Self::Discarded => "discarded",
            Self::Abandoned => "abandoned",
            Self::Unrouted => "unrouted",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// Why a delivery is dead, held or waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// A stable word: a dead letter's code, `held`, `destination_down`.
    pub code: String,
    /// The column, where it is known.
    pub column: Option<String>,
    /// The sentence.
    pub message: String,
}

/// One delivery.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The message's id.
    pub id: String,
    /// The producer's own.
    pub own_id: Option<String>,
    /// The application's name.
    pub application: String,
    /// The topic.
    pub topic: String,
    /// The key as compact JSON.
    pub key: Option<String>,
    /// What was to be done.
    pub action: &'static str,
    /// The route's name; empty where no route wants the message, as are the next three.
    pub route: String,
    /// The destination's name.
    pub destination: String,
    /// Where its database is: host and port, or the file.
    pub host: String,
    /// The table.
    pub table: String,
    /// Where it stands.
    pub status: State,
    /// What came, as the bytes that came in.
    pub data: String,
    /// What the destination received; none where nothing was sent (yet) or it can't be told.
    pub sent: Option<Box<RawValue>>,
    /// What was sent is told by a look at the single message.
    pub sent_later: bool,
    /// When it was accepted, in milliseconds since the Unix epoch.
    pub accepted_ms: u64,
    /// When its write was done.
    pub sent_ms: Option<u64>,
    /// How long the write of its batch took, in microseconds.
    pub took_us: Option<u64>,
    /// How often it was tried.
    pub attempts: Option<u32>,
    /// Rows touched.
    pub rows: Option<u32>,
    /// Why it is dead, held or waits.
    pub error: Option<Problem>,
    /// The later message of its key that took its place in the same batch.
    pub folded_into: Option<String>,
    /// It was a dead letter and was written after all.
    pub redriven: bool,
}

impl Row {
    fn bare(application: &str, id: &MessageId, message: &Message) -> Self {
        Self {
            id: id.to_string(),
            own_id: message.own_id.as_deref().map(str::to_owned),
            application: application.to_owned(),
            topic: message.topic.to_string(),
            key: message.key.as_deref().map(str::to_owned),
            action: message.action.as_str(),
            route: String::new(),
            destination: String::new(),
            host: String::new(),
            table: String::new(),
            status: State::Unrouted,
            data: message.data.to_string(),
            sent: None,
            sent_later: false,
            accepted_ms: message.id.ms,
            sent_ms: None,
            took_us: None,
            attempts: None,
            rows: None,
            error: None,
            folded_into: None,
            redriven: false,
        }
    }

    /// A message that no route wants.
    pub(super) fn unrouted(application: &str, id: &MessageId, message: &Message) -> Self {
        Self::bare(application, id, message)
    }

    /// A message on one route.
    pub(crate) fn of(application: &str, id: &MessageId, message: &Message, fate: &Fate<'_>) -> Self {
        let mut row = Self {
            route: fate.route.name.clone(),
            destination: fate.destination.name.clone(),
            host: host(fate.destination),
            table: fate.route.table.clone(),
            status: match fate.status {
                lookup::Status::Pending => State::Pending,
                lookup::Status::Delivered => State::Delivered,
                lookup::Status::Dead => State::Dead,
                lookup::Status::Held => State::Held,
                lookup::Status::Skipped => State::Skipped,
                lookup::Status::Superseded => State::Superseded,
                lookup::Status::Abandoned => State::Abandoned,
            },
            ..Self::bare(application, id, message)
        };
        if let Some(why) = &fate.held {
            row.error = Some(Problem { code: "held".into(), column: None, message: why.clone() });
        }
        if let Some(at_ms) = fate.abandoned_ms {
            let message = format!("an operator gave up what waited for destination `{}`", fate.destination.name);
            row.error = Some(Problem { code: "abandoned".into(), column: None, message });
            (row.sent_ms, row.rows) = (Some(at_ms), Some(0));
            return row;
        }
        if let Some(letter) = &fate.letter {
            row.is_dead(letter);
            return row;
        }
        if let Some(batch) = fate.batch.as_ref().filter(|_| fate.status != lookup::Status::Pending) {
            let record = &batch.record;
            row.sent_ms = Some(record.started_ms + record.took_us / 1_000);
            row.took_us = Some(record.took_us);
            row.attempts = Some(record.attempts);
            row.rows = Some(u32::from(!record.untouched.contains(&id.0.id)));
        }
        match &fate.sent {
            Sent::Row(sent) => row.sent = Some(sent.clone()),
            Sent::FoldedInto(later) => {
                let later = Position { generation: id.0.generation.clone(), id: *later };
                row.folded_into = Some(MessageId(later).to_string());
                row.rows = Some(0);
            }
            Sent::Nothing => row.rows = Some(0),
            Sent::Later => row.sent_later = true,
            Sent::Unknown => {}
        }
        match fate.end {
            Some(End::Redriven(at_ms)) => {
                // Its batch is the one that gave it up; what was written later, perhaps from an edited record, is not kept.
                (row.redriven, row.sent_ms, row.took_us) = (true, Some(at_ms), None);
                (row.sent, row.sent_later, row.folded_into, row.rows) = (None, false, None, None);
            }
            Some(End::Discarded(_)) => {
                row.status = State::Discarded;
                (row.sent, row.sent_later, row.sent_ms, row.took_us, row.rows) = (None, false, None, None, Some(0));
            }
            None => {}
        }
        row
    }

    /// What its dead letter says.
    pub(super) fn is_dead(&mut self, letter: &Summary) {
        self.status = if letter.superseded { State::Superseded } else { State::Dead };
        self.attempts = Some(letter.attempts);
        self.rows = Some(0);
        self.sent_ms = Some(letter.at_ms);
        let message = letter.redrive_error.as_ref().unwrap_or(&letter.message).clone();
        self.error = Some(Problem { code: letter.code.clone(), column: letter.column.clone(), message });
    }

    /// For a dead letter whose message may be gone.
    pub(super) fn of_letter(
        application: &str,
        id: &MessageId,
        message: &Message,
        destination: &Destination,
        route: String,
        letter: &Summary,
    ) -> Self {
        let mut row = Self {
            route,
            destination: destination.name.clone(),
            host: host(destination),
            table: letter.table.clone(),
            ..Self::bare(application, id, message)
        };
        row.is_dead(letter);
        row
    }
}

/// Where a destination's database is: host and port, or the file. Never a user or a password.
#[must_use]
pub fn host(destination: &Destination) -> String {
    let Ok(url) = url::Url::parse(&destination.url) else { return String::new() };
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) if !host.is_empty() => format!("{host}:{port}"),
        (Some(host), None) if !host.is_empty() => host.to_owned(),
        _ => url.path().to_owned(),
    }
}

/// Why what is pending is pending: its destination is held, or does not answer. Where nobody says so, it is pending.
pub async fn explain_waiting(redis: &Redis, rows: &mut [Row]) {
    if !rows.iter().any(|row| row.status == State::Pending) {
        return;
    }
    let Ok(reports) = members::reports(redis.link(), redis.keys()).await else { return };
    let mut told: HashMap<Arc<str>, DestinationDetail> = HashMap::new();
    for actor in reports.iter().filter_map(|report| report.health.as_ref()).flat_map(|health| &health.actors) {
        if actor.kind != ActorKind::Destination {
            continue;
        }
        let Ok(detail) = serde_json::from_value::<DestinationDetail>(actor.detail.clone()) else { continue };
        let known = told.get(actor.name.as_str());
        if known.is_none_or(|known| known.status == DestinationStatus::Standby) {
            told.insert(actor.name.as_str().into(), detail);
        }
    }
    for row in rows.iter_mut().filter(|row| row.status == State::Pending) {
        let Some(detail) = told.get(row.destination.as_str()) else { continue };
        let problem =
            |code: &str, message: &str| Some(Problem { code: code.into(), column: None, message: message.to_owned() });
        if let Some(held) = &detail.held {
            row.status = State::Held;
            row.error = problem("held", held);
        } else if detail.down_since.is_some() {
            row.error = problem("destination_down", detail.last_error.as_deref().unwrap_or_default());
        }
    }
}
