//! The deliveries that are dead letters: found by what is kept of them, not by going through the stream, and shown even where
//! their messages have been trimmed.

use std::sync::Arc;

use futures_util::future::try_join_all;
use tidegate_actors::{
    message::{MessageId, Position},
    ports::LogError,
    transaction::DeadId,
};

use super::{Bound, Cursor, Page, Query, Row, State};
use crate::{
    admin::messages::message_of,
    redis::{
        Redis,
        dead::{self, Summary, lines},
    },
    resources::{Destination, Document},
};

/// One that is wanted.
struct Found<'a> {
    application: &'a str,
    destination: &'a Destination,
    id: DeadId,
    letter: Arc<Summary>,
}

pub(super) async fn look(
    redis: &Redis,
    document: &Document,
    query: &Query,
    cursor: Option<&Cursor>,
    bound: Bound,
) -> Result<Page, LogError> {
    let pairs = document.applications.iter().flat_map(|application| {
        document.destinations.iter().map(move |destination| (application.name.as_str(), destination))
    });
    let wanted = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let pairs = pairs.filter(|(application, destination)| {
        wanted(&query.application, application) && wanted(&query.destination, &destination.name)
    });
    let all = try_join_all(pairs.map(async |(application, destination)| {
        Ok::<_, LogError>((application, destination, lines::all(redis, application, &destination.id).await?))
    }))
    .await?;
    let mut found: Vec<Found<'_>> = Vec::new();
    for (application, destination, letters) in &all {
        let passing = letters.iter().filter(|(id, letter)| {
            let after = |cursor: &Cursor| {
                (std::cmp::Reverse(id.id), *application) > (std::cmp::Reverse(cursor.id), cursor.application.as_str())
            };
            passes(query, document, id, letter) && cursor.is_none_or(after)
        });
        found.extend(passing.map(|(id, letter)| Found {
            application,
            destination,
            id: id.clone(),
            letter: Arc::clone(letter),
        }));
    }
    found.sort_by(|a, b| (b.id.id, a.application).cmp(&(a.id.id, b.application)));
    let left = found.len() as u64;
    // A message's deliveries are not torn apart.
    let mut end = bound.rows.min(found.len());
    while end > 0
        && end < found.len()
        && (found[end].id.id, found[end].application) == (found[end - 1].id.id, found[end - 1].application)
    {
        end += 1;
    }
    let looked = cursor.map_or(0, |cursor| cursor.looked) + end as u64;
    let of = cursor.map_or(0, |cursor| cursor.looked) + left;
    let newest = found.first().map(|one| one.id.id).unwrap_or_default();
    let next = (end < found.len()).then(|| Cursor {
        id: found[end - 1].id.id,
        application: found[end - 1].application.to_owned(),
        looked,
    });
    found.truncate(end);
    let rows = try_join_all(found.iter().map(|one| row(redis, document, one))).await?;
    Ok(Page { rows: rows.into_iter().flatten().collect(), next, looked, of, newest })
}

fn passes(query: &Query, document: &Document, id: &DeadId, letter: &Summary) -> bool {
    let is = |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
    let key_is = |wanted: &str| {
        letter
            .key
            .as_deref()
            .is_some_and(|key| key == wanted || serde_json::from_str::<String>(key).is_ok_and(|text| text == wanted))
    };
    is(&query.topic, &letter.topic)
        && is(&query.table, &letter.table)
        && query.route.as_deref().is_none_or(|wanted| *wanted == route_name(document, id, letter))
        && query.status.is_none_or(|status| (status == State::Superseded) == letter.superseded)
        && query.from_ms.is_none_or(|from| id.id.ms >= from)
        && query.to_ms.is_none_or(|to| id.id.ms < to)
        && query.key.as_deref().is_none_or(key_is)
        && query.action.is_none_or(|action| letter.action == action.as_str())
        && query.since.is_none_or(|since| id.id > since)
        && query.own_id.is_none()
}

/// The route's present name; the one of its time where it is gone.
fn route_name(document: &Document, id: &DeadId, letter: &Summary) -> String {
    let now = document.routes.iter().find(|route| route.id == *id.route);
    now.map_or(&letter.route_name, |route| &route.name).clone()
}

async fn row(redis: &Redis, document: &Document, found: &Found<'_>) -> Result<Option<Row>, LogError> {
    let Found { application, destination, id, letter } = found;
    let Some(whole) = dead::show(redis, application, &destination.id, id).await? else { return Ok(None) };
    let message = message_of(&whole);
    let of = MessageId(Position { generation: id.generation.clone(), id: id.id });
    Ok(Some(Row::of_letter(application, &of, &message, destination, route_name(document, id, letter), letter)))
}
