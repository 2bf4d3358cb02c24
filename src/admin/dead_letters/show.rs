//! One dead letter with all there is to know of it: its record, the row it would be, and the reason.

use serde_json::value::RawValue;
use tidegate_actors::{
    mapping::{Mapped, Mapping, Whence},
    message::Action,
    ports::DeadLetter,
    transaction::DeadId,
};

use super::{ActError, Lot, route_name};
use crate::{
    admin::messages::message_of,
    redis::{
        Redis,
        dead::{self, Summary},
    },
    resources::Document,
};

/// A dead letter, looked into.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Whose it is; its one letter is this.
    pub lot: Lot,
    /// The route's present name; the one of its time where it is gone.
    pub route: String,
    /// The letter.
    pub letter: DeadLetter,
    /// The row that its record comes to, by the route and the table as they were known last; or why there is none.
    pub row: Result<Box<RawValue>, String>,
}

/// Looks into one dead letter; none where it is gone.
///
/// # Errors
/// The destination is nobody's, or Redis is away.
pub async fn show(
    redis: &Redis,
    document: &Document,
    application: &str,
    destination: &str,
    id: &DeadId,
) -> Result<Option<Shown>, ActError> {
    let Some(destination) = document.destinations.iter().find(|one| one.name == destination) else {
        return Err(ActError::Unknown(format!("there is no destination `{destination}`")));
    };
    let Some(letter) = dead::show(redis, application, &destination.id, id).await? else { return Ok(None) };
    let summary = Summary {
        code: letter.reason.code.clone(),
        column: letter.reason.column.clone(),
        message: letter.reason.message.clone(),
        at_ms: letter.at_ms,
        key: letter.key.clone(),
        superseded: letter.superseded_by.is_some(),
        blocked: letter.blocked_by.is_some(),
        redrive_error: letter.redrive_error.clone(),
        route_name: letter.route_name.clone(),
        attempts: letter.attempts,
        topic: letter.topic.clone(),
        action: letter.action.clone(),
        table: letter.table.clone(),
    };
    let lot = Lot {
        application: application.to_owned(),
        destination_id: destination.id.clone(),
        destination: destination.name.clone(),
        letters: vec![(id.clone(), summary.into())],
    };
    let row = row(redis, application, &letter).await?;
    let route = route_name(document, id, &letter.route_name).to_owned();
    Ok(Some(Shown { lot, route, letter, row }))
}

/// The row that a letter's record comes to, by the route and the table as the node knew them last; or why there is none.
///
/// # Errors
/// Redis is away.
pub async fn row(
    redis: &Redis,
    application: &str,
    letter: &DeadLetter,
) -> Result<Result<Box<RawValue>, String>, ActError> {
    let Some(plan) = dead::plan(redis, application, &letter.dead.route).await? else {
        return Ok(Err("not known: no version of the route and its table is kept any more".into()));
    };
    let mapping = match Mapping::compile(&plan.route, plan.table, plan.children) {
        Ok(mapping) => mapping,
        Err(errors) => {
            let sentences: Vec<_> = errors.iter().map(ToString::to_string).collect();
            return Ok(Err(format!("none: the route does not fit its table: {}", sentences.join("; "))));
        }
    };
    if Action::parse(&letter.action).is_none() {
        return Ok(Err("none: its action is unknown".into()));
    }
    let whence = Whence { application, generation: &letter.dead.generation };
    Ok(match mapping.apply(&message_of(letter), whence) {
        Ok(Mapped::Row(row)) => Ok(mapping.sent(&row)),
        Ok(Mapped::Skipped) => Err("none: the route's filter leaves this record out".into()),
        Ok(Mapped::Nothing) => Err("none: the route ignores deletes".into()),
        Err(reason) => Err(format!("none: {}", reason.message)),
    })
}
