//! What stands beside a destination's main row on one stream, as the owner's last advance left it (delivery rules 8 and 9):
//! tables that wait for their schema, routes that catch up, replays, and routes that no owner has taken up yet.
//!
//! For readers only: the rows in the database are the truth.

use std::collections::HashMap;

use tidegate_actors::{
    message::Position,
    ports::{LogError, SidePosition},
};

use super::{Redis, log::parse_position, unavailable};

/// One destination on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    /// Where the main row stands; none while nothing stands beside it.
    pub main: Option<Position>,
    /// The side rows, by part.
    pub rows: Vec<SidePosition>,
    /// Routes (by id) that are registered to begin here, below the main row, and that no owner has taken up yet.
    pub new: Vec<(String, Position)>,
}

impl Sides {
    /// The side rows that carry a route instead of the main row. A replay sends again what was sent already.
    pub fn carrying<'a>(&'a self, route: &'a str) -> impl Iterator<Item = &'a SidePosition> {
        self.of_route(route).filter(|side| !side.part.starts_with("replay "))
    }

    /// The replays of a route that go on to where they meet the main row, which leaves it to them meanwhile: what is above
    /// them was delivered before they began, or waits.
    pub fn replaying<'a>(&'a self, route: &'a str) -> impl Iterator<Item = &'a SidePosition> {
        self.of_route(route).filter(|side| side.part.strip_prefix("replay ").is_some_and(|rest| rest.contains(' ')))
    }

    /// Every side row that has to do with a route.
    pub fn of_route<'a>(&'a self, route: &'a str) -> impl Iterator<Item = &'a SidePosition> {
        self.rows.iter().filter(move |side| side.routes.iter().any(|id| **id == *route))
    }

    /// Where a route begins that no owner has taken up yet.
    #[must_use]
    pub fn untaken(&self, route: &str) -> Option<&Position> {
        self.new.iter().find(|(id, _)| id == route).map(|(_, place)| place)
    }
}

/// Reads the fields that begin with this destination.
pub(super) fn parse<'a>(fields: impl Iterator<Item = (&'a String, &'a String)>, destination: &str) -> Sides {
    let mut sides = Sides::default();
    for (field, value) in fields {
        let Some(name) = field.strip_prefix(destination).and_then(|rest| rest.strip_prefix(' ')) else { continue };
        if name == "main" {
            sides.main = parse_position(value);
        } else if let Some(route) = name.strip_prefix("new ") {
            sides.new.extend(parse_position(value).map(|place| (route.to_owned(), place)));
        } else {
            sides.rows.extend(serde_json::from_str(value).ok());
        }
    }
    sides.rows.sort_by(|one: &SidePosition, two| one.part.cmp(&two.part));
    sides.new.sort_by(|(one, _), (two, _)| one.cmp(two));
    sides
}

/// What stands beside a destination's main row.
///
/// # Errors
/// Redis is away.
pub async fn of(redis: &Redis, application: &str, destination: &str) -> Result<Sides, LogError> {
    let key = redis.keys().of(application).sides();
    let fields: HashMap<String, String> = redis
        .link()
        .run(async |mut connection| redis::cmd("HGETALL").arg(&key).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(parse(fields.iter(), destination))
}

/// The routes (by id) of a stream that are registered to begin below their lane, and that no owner has taken up yet.
///
/// # Errors
/// Redis is away.
pub async fn untaken(redis: &Redis, application: &str) -> Result<Vec<String>, LogError> {
    let key = redis.keys().of(application).sides();
    let fields: Vec<String> = redis
        .link()
        .run(async |mut connection| redis::cmd("HKEYS").arg(&key).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    let route = |field: &String| Some(field.split_once(' ')?.1.strip_prefix("new ")?.to_owned());
    Ok(fields.iter().filter_map(route).collect())
}

/// Where a route began, if that was below where its destination stood then.
///
/// # Errors
/// Redis is away.
pub async fn catches_up_from(redis: &Redis, application: &str, route: &str) -> Result<Option<Position>, LogError> {
    let key = redis.keys().of(application).starts();
    let start: Option<String> = redis
        .link()
        .run(async |mut connection| redis::cmd("HGET").arg(&key).arg(route).query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    Ok(start.filter(|text| text.split(' ').nth(2) == Some("backfill")).as_deref().and_then(parse_position))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use tidegate_actors::message::{Generation, StreamId};

    use super::*;

    fn at(ms: u64) -> Position {
        Position { generation: Generation::new("g"), id: StreamId::new(ms, 0) }
    }

    #[test]
    fn a_destination_sees_its_own_rows_alone() {
        let held = SidePosition {
            part: "table a b".into(),
            routes: vec!["r1".into()],
            at: at(5),
            held: Some("no column `name`".into()),
        };
        let replay = SidePosition { part: "replay t".into(), routes: vec!["r2".into()], at: at(1), held: None };
        let fields: HashMap<String, String> = [
            ("d1 main".to_owned(), "g 9-0".to_owned()),
            ("d1 table a b".to_owned(), serde_json::to_string(&held).unwrap()),
            ("d1 replay t".to_owned(), serde_json::to_string(&replay).unwrap()),
            ("d1 new r3".to_owned(), "g 2-0".to_owned()),
            ("d10 main".to_owned(), "g 7-0".to_owned()),
        ]
        .into();
        let sides = parse(fields.iter(), "d1");
        assert_eq!(sides.main, Some(at(9)));
        assert_eq!(sides.carrying("r1").collect::<Vec<_>>(), [&held]);
        assert_eq!(sides.carrying("r2").next(), None, "a replay carries nothing alone");
        assert_eq!((sides.untaken("r3"), sides.untaken("r1")), (Some(&at(2)), None));
        assert_eq!(parse(fields.iter(), "d2"), Sides::default());
    }
}
