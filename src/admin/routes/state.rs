//! How routes go: from what the nodes say of the destinations they write, and from what stands beside a destination's main
//! row in Redis.

use std::{collections::HashMap, time::Duration};

use futures_util::future::join_all;
use serde::Serialize;
use tidegate_actors::{
    message::Position,
    ports::LogError,
    route::RouteSpec,
    status::{ActorKind, DestinationDetail, DestinationStatus},
};
use tokio::time::timeout;

use crate::{
    admin::Admin,
    redis::{
        members,
        sides::{self, Sides},
    },
    resources::Document,
};

/// Longest time for all of it.
const WITHIN: Duration = Duration::from_secs(2);

/// How a route goes, in a word; what needs somebody first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StateWord {
    /// Its table, or its whole destination, waits for somebody to put something right.
    Held,
    /// Its database is away; its records wait.
    Down,
    /// An operator stopped its destination.
    Paused,
    /// It is sent what the destination's other routes have already.
    CatchingUp,
    /// Nobody says that they write its destination.
    #[default]
    Unknown,
    /// Its records go where they should.
    Flowing,
}

impl StateWord {
    /// All of them, in the order in which they need somebody.
    pub const ALL: [Self; 6] = [Self::Held, Self::Down, Self::Paused, Self::CatchingUp, Self::Unknown, Self::Flowing];

    /// As addresses and the API have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Down => "down",
            Self::Paused => "paused",
            Self::CatchingUp => "catching_up",
            Self::Unknown => "unknown",
            Self::Flowing => "flowing",
        }
    }

    /// That of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == word)
    }
}

/// How a route goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RouteState {
    /// In a word.
    pub word: StateWord,
    /// What is the matter, and what to do; in English.
    pub why: Option<String>,
    /// Since when (RFC 3339, UTC), as far as is known.
    pub since: Option<String>,
    /// Where a route that catches up is, and where the others are: both as the time of a message, in milliseconds since the
    /// Unix epoch.
    pub catching_up: Option<(u64, Option<u64>)>,
}

/// How each of these routes goes. Where Redis does not answer, nothing is known, and `away` says why.
pub(super) async fn of(
    admin: &Admin,
    document: &Document,
    routes: &[&RouteSpec],
    away: &mut Option<String>,
) -> Vec<RouteState> {
    if routes.is_empty() || away.is_some() {
        return routes.iter().map(|_| RouteState::default()).collect();
    }
    let (why, beside) = match timeout(WITHIN, look(admin, document, routes)).await {
        Ok(Ok(seen)) => (None, Some(seen)),
        Ok(Err(error)) => (Some(error.to_string()), None),
        Err(_) => (Some("Redis does not answer".to_owned()), None),
    };
    *away = why;
    let Some(seen) = beside else { return routes.iter().map(|_| RouteState::default()).collect() };
    routes.iter().map(|route| state(route, &seen)).collect()
}

/// What the nodes and the streams say.
#[derive(Default)]
struct Seen {
    /// By the destination's name.
    told: HashMap<String, DestinationDetail>,
    /// By application and destination.
    beside: HashMap<(String, String), Sides>,
}

async fn look(admin: &Admin, document: &Document, routes: &[&RouteSpec]) -> Result<Seen, LogError> {
    let reports = members::reports(admin.redis.link(), admin.redis.keys()).await?;
    let mut seen = Seen::default();
    for actor in reports.into_iter().filter_map(|report| report.health).flat_map(|health| health.actors) {
        let known = seen.told.get(&actor.name);
        // The one that writes it says most, rather than one that stands by.
        if actor.kind == ActorKind::Destination
            && known.is_none_or(|known| known.status == DestinationStatus::Standby)
            && let Ok(detail) = serde_json::from_value(actor.detail)
        {
            seen.told.insert(actor.name, detail);
        }
    }
    let mut lanes: Vec<(&String, &String)> =
        routes.iter().map(|route| (&route.application, &route.destination)).collect();
    lanes.sort_unstable();
    lanes.dedup();
    let looks = lanes.into_iter().map(async |(application, name)| {
        let destination = document.destinations.iter().find(|one| one.name == *name);
        let sides = match destination {
            Some(destination) => sides::of(&admin.redis, application, &destination.id).await?,
            None => Sides::default(),
        };
        Ok::<_, LogError>(((application.clone(), name.clone()), sides))
    });
    for look in join_all(looks).await {
        let (lane, sides) = look?;
        seen.beside.insert(lane, sides);
    }
    Ok(seen)
}

fn state(route: &RouteSpec, seen: &Seen) -> RouteState {
    let Some(detail) = seen.told.get(&route.destination) else { return RouteState::default() };
    let since = detail.down_since.clone();
    let word = |word| RouteState { word, why: detail.last_error.clone(), since: since.clone(), catching_up: None };
    match detail.status {
        DestinationStatus::Held => {
            return RouteState { word: StateWord::Held, why: detail.held.clone(), since: None, catching_up: None };
        }
        DestinationStatus::Down => return word(StateWord::Down),
        DestinationStatus::Paused => return RouteState { why: None, ..word(StateWord::Paused) },
        DestinationStatus::Up | DestinationStatus::Standby => {}
    }
    let sides = seen.beside.get(&(route.application.clone(), route.destination.clone()));
    let rows: Vec<_> = sides.iter().flat_map(|sides| sides.of_route(&route.id)).collect();
    if let Some(held) = rows.iter().find_map(|side| side.held.clone()) {
        let told = detail.held_tables.iter().find(|table| table.routes.contains(&route.name));
        let since = told.map(|table| table.since.clone());
        return RouteState { word: StateWord::Held, why: Some(held), since, catching_up: None };
    }
    let main = sides.and_then(|sides| sides.main.as_ref()).map(|main| main.id.ms);
    let at = |position: &Position| RouteState {
        word: StateWord::CatchingUp,
        why: None,
        since: None,
        catching_up: Some((position.id.ms, main)),
    };
    if let Some(side) = rows.first() {
        return at(&side.at);
    }
    if let Some(begins) = sides.and_then(|sides| sides.untaken(&route.id)) {
        return at(begins);
    }
    match detail.status {
        DestinationStatus::Up => RouteState { word: StateWord::Flowing, ..RouteState::default() },
        _ => RouteState::default(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_actors::{
        message::{Generation, StreamId},
        ports::SidePosition,
    };

    use super::*;

    fn seen(detail: DestinationDetail, sides: Sides) -> Seen {
        Seen {
            told: [("sales".to_owned(), detail)].into(),
            beside: [(("shop".to_owned(), "sales".to_owned()), sides)].into(),
        }
    }

    type Told = (StateWord, Option<String>, Option<(u64, Option<u64>)>);

    fn told(seen: &Seen) -> Told {
        let (id, name) = ("r1".into(), "cars".into());
        let route =
            RouteSpec { id, name, application: "shop".into(), destination: "sales".into(), ..RouteSpec::default() };
        let state = state(&route, seen);
        (state.word, state.why, state.catching_up)
    }

    #[test]
    fn a_route_goes_as_its_destination_does_unless_its_own_table_waits() {
        let at = |ms| Position { generation: Generation::new("g"), id: StreamId::new(ms, 0) };
        let detail = |status| DestinationDetail {
            status,
            last_error: Some("no route to host".into()),
            ..DestinationDetail::default()
        };
        let up = || detail(DestinationStatus::Up);
        let side = |route: &str, held: Option<&str>| Sides {
            main: Some(at(9)),
            rows: vec![SidePosition {
                part: "table cars".into(),
                routes: vec![route.into()],
                at: at(4),
                held: held.map(Into::into),
            }],
            new: Vec::new(),
        };
        assert_eq!(told(&Seen::default()).0, StateWord::Unknown);
        assert_eq!(told(&seen(up(), Sides::default())), (StateWord::Flowing, None, None));
        assert_eq!(told(&seen(detail(DestinationStatus::Standby), Sides::default())).0, StateWord::Unknown);
        let down = told(&seen(detail(DestinationStatus::Down), side("r1", None)));
        assert_eq!(down, (StateWord::Down, Some("no route to host".into()), None));
        assert_eq!(told(&seen(up(), side("r1", Some("no column")))), (StateWord::Held, Some("no column".into()), None));
        assert_eq!(told(&seen(up(), side("r1", None))), (StateWord::CatchingUp, None, Some((4, Some(9)))));
        assert_eq!(told(&seen(up(), side("r2", Some("no column")))).0, StateWord::Flowing, "another's table");
        let new = Sides { new: vec![("r1".into(), at(2))], ..Sides::default() };
        assert_eq!(told(&seen(up(), new)), (StateWord::CatchingUp, None, Some((2, None))));
    }
}
