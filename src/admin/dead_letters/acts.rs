//! Redrive, edit and discard: written down with somebody's name, handed to the node that writes the destination, and followed
//! until it is known what came of each.

use serde_json::value::RawValue;
use tidegate_actors::{
    ports::{Command, DeadLetter, LogError},
    transaction::DeadId,
};

use super::{ActError, Lot, count, name};
use crate::{
    admin::{FieldError, Role, Who, compare::changed_fields, json::compact},
    redis::{Redis, dead},
    registry::Store,
};

/// What a record may have at most, as at the door.
const MAX_RECORD_BYTES: usize = 1 << 20;
/// Ids that are named in the list of changes.
const NAMED: usize = 20;

/// What came of one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The dead letter is gone: written, or given up as asked.
    Done,
    /// The database or a rule said no, in these words.
    Refused(String),
    /// A later record of its key was written.
    Superseded(String),
}

/// One whose command has been carried out.
pub type Settled = (DeadId, Outcome);

/// Asks for these to be written after all; `force`: also where a later record of the key was written, or an earlier one waits.
///
/// # Errors
/// They may not; Redis is away.
pub async fn redrive(redis: &Redis, store: &mut Store, who: &Who, lots: &[Lot], force: bool) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let how = if force { ", over later records" } else { "" };
    store.note(&who.to_string(), &noted("redrive", lots, how)).await?;
    for lot in lots {
        hand_over(redis, lot, &lot.ids(), |dead| Command::Redrive { dead, force, data: None }).await?;
    }
    Ok(())
}

/// Asks for one to be written with another record.
///
/// # Errors
/// They may not; the record is none, or too long; Redis is away.
pub async fn edit(
    redis: &Redis,
    store: &mut Store,
    who: &Who,
    lot: &Lot,
    letter: &DeadLetter,
    text: &str,
    force: bool,
) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let record = record_of(text)?;
    let fields = changed_fields(letter.edited.as_ref().unwrap_or(&letter.data), &record);
    let what = if fields.is_empty() { "as it is".to_owned() } else { format!("edited: {}", fields.join(", ")) };
    let dead = &letter.dead;
    let note = format!("redrive dead letter {} of destination {} with its record {what}", name(dead), lot.destination);
    store.note(&who.to_string(), &[note]).await?;
    let command = |dead| Command::Redrive { dead, force, data: Some(record.clone()) };
    hand_over(redis, lot, std::slice::from_ref(dead), command).await?;
    Ok(())
}

/// Asks for these to be given up for good.
///
/// # Errors
/// They may not; more than one and no reason; Redis is away.
pub async fn discard(
    redis: &Redis,
    store: &mut Store,
    who: &Who,
    lots: &[Lot],
    reason: Option<&str>,
) -> Result<(), ActError> {
    who.needs(Role::Operator)?;
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    if count(lots) > 1 && reason.is_none() {
        return Err(no_reason());
    }
    // Before it is done: what is gone must have somebody's name to it.
    let why = format!(": {}", reason.unwrap_or("no reason given"));
    store.note(&who.to_string(), &noted("discard", lots, &why)).await?;
    for lot in lots {
        let command = |dead| Command::Discard { dead, reason: reason.map(str::to_owned) };
        hand_over(redis, lot, &lot.ids(), command).await?;
    }
    Ok(())
}

/// Many are given up with a reason only.
pub(in crate::admin) fn no_reason() -> ActError {
    ActError::Invalid(vec![FieldError {
        field: "reason".into(),
        code: "dead_reason_missing",
        message: "say why these are discarded: it is all that is left of them".into(),
    }])
}

/// The lines of the list of changes.
fn noted(what: &str, lots: &[Lot], how: &str) -> Vec<String> {
    let line = |lot: &Lot| {
        let ids: Vec<String> = lot.letters.iter().take(NAMED).map(|(id, _)| name(id)).collect();
        let more = lot.letters.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let many = match lot.letters.len() {
            1 => "1 dead letter".to_owned(),
            many => format!("{many} dead letters"),
        };
        let how: String = how.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{what} {many} of destination {}{how} ({}{more})", lot.destination, ids.join(", "))
    };
    lots.iter().map(line).collect()
}

/// Puts commands on the destination's list, in order.
///
/// # Errors
/// Redis is away; some may have been taken.
pub async fn hand_over(
    redis: &Redis,
    lot: &Lot,
    ids: &[DeadId],
    command: impl Fn(DeadId) -> Command,
) -> Result<(), LogError> {
    let commands: Vec<Command> = ids.iter().cloned().map(command).collect();
    dead::push_all(redis, &lot.application, &lot.destination_id, &commands).await
}

/// Takes commands off the list again that nobody has taken up; one that is in hand is carried out all the same.
///
/// # Errors
/// Redis is away.
pub async fn withdraw(
    redis: &Redis,
    lot: &Lot,
    ids: &[DeadId],
    command: impl Fn(DeadId) -> Command,
) -> Result<(), LogError> {
    let commands: Vec<Command> = ids.iter().cloned().map(command).collect();
    dead::withdraw(redis, &lot.application, &lot.destination_id, &commands).await.map(|_| ())
}

/// Takes those out of `ids` whose command is off the list, and tells what came of each.
///
/// # Errors
/// Redis is away.
pub async fn settled(redis: &Redis, lot: &Lot, ids: &mut Vec<DeadId>) -> Result<Vec<Settled>, LogError> {
    let waiting = dead::waited_for(redis, &lot.application, &lot.destination_id).await?;
    let (left, off): (Vec<_>, Vec<_>) = ids.drain(..).partition(|id| waiting.contains(id));
    *ids = left;
    // What is still a dead letter was refused.
    let standing = dead::summaries(redis, &lot.application, &lot.destination_id, &off).await?;
    let outcome = |letter: Option<dead::Summary>| match letter {
        None => Outcome::Done,
        Some(letter) => {
            let why = letter.redrive_error.unwrap_or(letter.message);
            if letter.superseded { Outcome::Superseded(why) } else { Outcome::Refused(why) }
        }
    };
    Ok(off.into_iter().zip(standing).map(|(id, letter)| (id, outcome(letter))).collect())
}

/// The record that a text is, without the white space around its parts, its numbers as they are written.
///
/// # Errors
/// It is none, or too long.
pub fn record_of(text: &str) -> Result<String, ActError> {
    let wrong =
        |code, message: String| Err(ActError::Invalid(vec![FieldError { field: "data".into(), code, message }]));
    if text.len() > MAX_RECORD_BYTES {
        return wrong("record_too_long", "the record is longer than 1 MiB".into());
    }
    let raw: &RawValue = match serde_json::from_str(text.trim()) {
        Ok(raw) => raw,
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            return wrong(
                "record_no_json",
                format!("that is not JSON (line {line}, column {column}); nothing was written"),
            );
        }
    };
    if !raw.get().starts_with('{') {
        return wrong("record_no_object", "a record is a JSON object: {\"id\": 1, …}; nothing was written".into());
    }
    Ok(compact(raw.get()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_record_is_an_object_and_keeps_its_digits() {
        assert_eq!(record_of(" {\"id\": 1.50,\n\"a\": \"b c\"}\n").unwrap(), r#"{"id":1.50,"a":"b c"}"#);
        for (wrong, why) in
            [("{\"id\": }", "line 1, column 8"), ("[1]", "object"), ("", "not JSON"), ("{} {}", "not JSON")]
        {
            let error = record_of(wrong).unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }
}
