//! What a transaction makes of the broadcasts that stand, worked out before anything is written. Nothing here waits.

use std::collections::{BTreeMap, HashMap};

use tidegate_actors::{
    delivery::random_token,
    ports::{Fault, Rejection, WriteError},
    transaction::{Cell, Committed, LeftOut, Op, Statement, Trial, Tried},
};

use super::row::{Row, Wanted, in_time, refused};
use crate::{
    broadcast::message::{Audience, Content, Entry, Kind, Message, Reach, State, Version},
    resources::Document,
};

const ID_LENGTH: usize = 16;
/// Corrections that are remembered.
const MOST_VERSIONS: usize = 20;

/// What the sheet must know of the world.
pub(super) struct Around<'a> {
    /// Shops and categories, and what routes are called.
    pub(super) document: &'a Document,
    /// How many an audience has.
    pub(super) reach: &'a dyn Fn(&Audience) -> Reach,
    /// Redis's clock.
    pub(super) now_ms: u64,
}

/// A message as it was read and as it is to stand.
#[derive(Clone, Debug)]
pub(super) struct Change {
    /// What stands in Redis, to the byte; empty for a new one.
    pub(super) there: String,
    /// What is to stand.
    pub(super) message: Message,
    dirty: bool,
}

impl Change {
    /// Changes what nobody has yet: all of it may be another one, to whom and when too. What terminals are told, where its time has
    /// come.
    fn put_off(&mut self, around: &Around<'_>, wanted: Wanted) -> Result<Option<Entry>, Rejection> {
        let message = &mut self.message;
        let due_ms = wanted.due_ms.unwrap_or(message.due_ms);
        in_time(&wanted.content, due_ms)?;
        let mut now = Message { audience: wanted.audience, content: wanted.content, ..message.clone() };
        if now.audience != message.audience {
            now.reach = (around.reach)(&now.audience);
        }
        match due_ms {
            Some(_) => now.due_ms = due_ms,
            None => (now.state, now.sent_ms) = (State::Sent, Some(around.now_ms)),
        }
        self.dirty |= now != *message;
        *message = now;
        Ok(due_ms.is_none().then(|| message.entry(Kind::Message)))
    }
}

/// A key's row: the message's id in Redis, and what is to be there.
#[derive(Clone, Debug)]
struct Place {
    there: String,
    now: String,
}

/// All that a transaction has to do with.
#[derive(Clone, Default)]
pub(super) struct Sheet {
    places: HashMap<String, Place>,
    messages: BTreeMap<String, Change>,
    entries: Vec<Entry>,
}

impl Sheet {
    /// What was read of a key: the id under it and the message as it stands.
    pub(super) fn add(&mut self, key: &str, id: String, there: String) {
        if let Ok(message) = serde_json::from_str(&there) {
            self.messages.insert(id.clone(), Change { there, message, dirty: false });
        }
        self.places.insert(key.to_owned(), Place { there: id.clone(), now: id });
    }

    /// The messages that change.
    pub(super) fn messages(&self) -> impl Iterator<Item = (&String, &Change)> {
        self.messages.iter().filter(|(_, change)| change.dirty)
    }

    /// The keys that change: key, the id that stands there, the one that is to.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let changed = self.places.iter().filter(|(_, place)| place.there != place.now);
        changed.map(|(key, place)| (key.as_str(), place.there.as_str(), place.now.as_str()))
    }

    /// What terminals are told, in order.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Carries all statements out, those on trial only where nothing speaks against them.
    pub(super) fn carry_out(
        &mut self,
        around: &Around<'_>,
        statements: &[Statement],
        trials: &[Trial],
    ) -> Result<Tried, WriteError> {
        let mut tried = Tried { committed: Committed { untouched: Vec::new(), exhumed: true }, refused: Vec::new() };
        let mut left_out = LeftOut::new(statements);
        let mut index = 0;
        while index < statements.len() {
            let trial = trials.iter().position(|trial| trial.statements.start == index);
            let until = trial.map_or(index + 1, |place| trials[place].statements.end.max(index + 1));
            // As a savepoint.
            let before = trial.map(|_| (self.clone(), tried.committed.untouched.len()));
            for (at, statement) in statements.iter().enumerate().take(until).skip(index) {
                match self.statement(around, at, statement, &mut left_out) {
                    Ok(untouched) => tried.committed.untouched.extend(untouched),
                    Err(WriteError::Reject(reason)) => {
                        let (Some(place), Some((sheet, known))) = (trial, before) else {
                            return Err(WriteError::Reject(reason));
                        };
                        *self = sheet;
                        tried.committed.untouched.truncate(known);
                        tried.refused.push((place, reason));
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
            index = until;
        }
        Ok(tried)
    }

    /// Every row that is refused.
    pub(super) fn sift(&mut self, around: &Around<'_>, statements: &[Statement]) -> Vec<Rejection> {
        let mut found = Vec::new();
        for (index, statement) in statements.iter().enumerate() {
            for (row, cells) in statement.rows.iter().enumerate() {
                if let Err(WriteError::Reject(reason)) = self.row(around, statement, cells) {
                    found.push(Rejection { statement: Some(index), row: Some(row), ..reason });
                }
            }
        }
        found
    }

    /// One statement; the places of rows that touched nothing and need not have.
    fn statement(
        &mut self,
        around: &Around<'_>,
        index: usize,
        statement: &Statement,
        left_out: &mut LeftOut,
    ) -> Result<Vec<(usize, usize)>, WriteError> {
        let rest = left_out.rest(statement);
        let (mut untouched, mut kept) = (rest.out.clone(), Vec::new());
        for (row, cells) in rest.statement.rows.iter().enumerate() {
            let place = rest.place(row);
            match self.row(around, &rest.statement, cells) {
                Ok(Outcome::Written) => {}
                Ok(Outcome::Kept) => kept.push(place),
                Ok(Outcome::Missing) if statement.must_touch => {
                    let message = "no broadcast stands under this key";
                    let reason = refused("missing_row", "", message);
                    return Err(WriteError::Reject(Rejection { statement: Some(index), row: Some(place), ..reason }));
                }
                Ok(Outcome::Missing) => untouched.push(place),
                Err(WriteError::Reject(reason)) => {
                    return Err(WriteError::Reject(Rejection { statement: Some(index), row: Some(place), ..reason }));
                }
                Err(error) => return Err(error),
            }
        }
        left_out.add(index, kept.into_iter().chain(untouched.iter().copied()));
        Ok(untouched.into_iter().map(|row| (index, row)).collect())
    }

    fn row(&mut self, around: &Around<'_>, statement: &Statement, cells: &[Cell]) -> Result<Outcome, WriteError> {
        let by = || {
            let route = around.document.routes.iter().find(|route| route.id == *statement.plan.route);
            format!("route {}", route.map_or(&*statement.plan.route, |route| &route.name))
        };
        let all = Row::of(statement, cells, false).map_err(WriteError::Reject)?;
        if statement.op == Op::Clear && (all.key.is_none() || cells.len() > 1) {
            let message = "broadcasts can be children only by their `key`; write them by a route of their own";
            return Err(WriteError::Hold(Fault::new(message)));
        }
        let stands = all.key.and_then(|key| self.standing(key));
        if let Some((id, at)) = stands.as_ref().zip(statement.guard())
            && let Some(change) = self.messages.get(id)
            && all.is_older(
                &change.message,
                &statement.plan.table.columns[statement.plan.columns[statement.columns[at]]].name,
            )
        {
            return Ok(Outcome::Kept);
        }
        match (statement.op, stands) {
            (Op::Insert | Op::Upsert, Some(id)) => {
                if statement.only_inserts() {
                    return Ok(Outcome::Kept);
                }
                let row = Row::of(statement, cells, true).map_err(WriteError::Reject)?;
                self.change(around, &id, &row, by)
            }
            (Op::Update, Some(id)) => self.change(around, &id, &all, by),
            (Op::Insert | Op::Upsert, None) => self.make(around, &all, &by()),
            (Op::Update | Op::Delete, None) => Ok(Outcome::Missing),
            (Op::Delete | Op::Clear, Some(id)) => Ok(self.recall(around, &id, all.key, by())),
            (Op::Replace, stands) => {
                all.wanted(None, around.document, around.now_ms).map_err(WriteError::Reject)?;
                if let Some(id) = stands {
                    self.recall(around, &id, all.key, by());
                }
                self.make(around, &all, &by())
            }
            // Clearing is by the parent's key, and a key that nothing stands under has nothing to clear.
            (Op::Clear, None) => Ok(Outcome::Written),
        }
    }

    /// The id of what stands under a key: sent or to be sent, and not taken back by somebody since.
    fn standing(&self, key: &str) -> Option<String> {
        let id = &self.places.get(key)?.now;
        let change = self.messages.get(id)?;
        (change.message.state != State::Recalled).then(|| id.clone())
    }

    fn make(&mut self, around: &Around<'_>, row: &Row<'_>, by: &str) -> Result<Outcome, WriteError> {
        let wanted = row.wanted(None, around.document, around.now_ms).map_err(WriteError::Reject)?;
        self.send(around, row.key, wanted, by)
    }

    fn send(
        &mut self,
        around: &Around<'_>,
        key: Option<&str>,
        wanted: Wanted,
        by: &str,
    ) -> Result<Outcome, WriteError> {
        let Wanted { audience, content, due_ms } = wanted;
        let due_ms = due_ms.flatten();
        in_time(&content, due_ms).map_err(WriteError::Reject)?;
        let message = Message {
            id: random_token(ID_LENGTH),
            state: if due_ms.is_some() { State::Scheduled } else { State::Sent },
            reach: (around.reach)(&audience),
            audience,
            content,
            by: by.to_owned(),
            application: None,
            own_id: key.map(Into::into),
            created_ms: around.now_ms,
            due_ms,
            sent_ms: due_ms.is_none().then_some(around.now_ms),
            corrected_ms: None,
            recalled_ms: None,
            recalled_by: None,
            reminded_ms: None,
            versions: Vec::new(),
        };
        if let Some(key) = key {
            let place = self.places.entry(key.to_owned());
            place.or_insert_with(|| Place { there: String::new(), now: String::new() }).now.clone_from(&message.id);
        }
        self.entries.extend(due_ms.is_none().then(|| message.entry(Kind::Message)));
        self.messages.insert(message.id.clone(), Change { there: String::new(), message, dirty: true });
        Ok(Outcome::Written)
    }

    fn change(
        &mut self,
        around: &Around<'_>,
        id: &str,
        row: &Row<'_>,
        by: impl Fn() -> String,
    ) -> Result<Outcome, WriteError> {
        let Some(change) = self.messages.get_mut(id) else { return Ok(Outcome::Missing) };
        let before = (&change.message.audience, &change.message.content);
        let wanted = row.wanted(Some(before), around.document, around.now_ms).map_err(WriteError::Reject)?;
        if change.message.state == State::Scheduled {
            let entry = change.put_off(around, wanted).map_err(WriteError::Reject)?;
            self.entries.extend(entry);
            return Ok(Outcome::Written);
        }
        if wanted.audience != change.message.audience {
            // A correction reaches those that have the message, so others get one of their own.
            self.recall(around, id, row.key, by());
            return self.send(around, row.key, wanted, &by());
        }
        if wanted.content == change.message.content {
            return Ok(Outcome::Written);
        }
        let earlier: Content = std::mem::replace(&mut change.message.content, wanted.content);
        change.message.versions.push(Version { content: earlier, until_ms: around.now_ms, by: by() });
        if change.message.versions.len() > MOST_VERSIONS {
            change.message.versions.remove(0);
        }
        change.message.corrected_ms = Some(around.now_ms);
        change.dirty = true;
        self.entries.push(change.message.entry(Kind::Correct));
        Ok(Outcome::Written)
    }

    fn recall(&mut self, around: &Around<'_>, id: &str, key: Option<&str>, by: String) -> Outcome {
        if let Some(place) = key.and_then(|key| self.places.get_mut(key)) {
            place.now.clear();
        }
        let Some(change) = self.messages.get_mut(id) else { return Outcome::Missing };
        let was_sent = change.message.state == State::Sent;
        change.message.state = State::Recalled;
        change.message.recalled_ms = Some(around.now_ms);
        change.message.recalled_by = Some(by);
        change.dirty = true;
        // Nobody has what was only to be sent.
        self.entries.extend(was_sent.then(|| change.message.entry(Kind::Recall)));
        Outcome::Written
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It is as the row says.
    Written,
    /// What stands there stays as it is.
    Kept,
    /// Nothing stands there.
    Missing,
}
