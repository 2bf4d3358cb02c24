//! Dead letters by cause: destination, route, code, column, and the shape of the sentence, in which what differs from record to
//! record (numbers, quoted texts) counts for nothing.

use std::collections::HashMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tidegate_actors::delivery::now_ms;

use super::{Lot, RouteNames, name};
use crate::{redis::dead::Summary, resources::Document};

/// Bars of the histogram.
pub const BARS: usize = 24;
/// The least time that the histogram shows, in milliseconds: an hour.
const LEAST_MS: u64 = 3_600_000;
/// Examples of a group.
const EXAMPLES: usize = 3;

/// What dead letters have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Cause {
    /// The application's name.
    pub application: String,
    /// The destination's name.
    pub destination: String,
    /// The route's name.
    pub route: String,
    /// The code.
    pub code: String,
    /// The column, where it is known.
    pub column: Option<String>,
    /// The sentence without what differs from record to record.
    pub shape: String,
}

impl Cause {
    pub(super) fn of(application: &str, destination: &str, route: &str, letter: &Summary) -> Self {
        Self {
            application: application.to_owned(),
            destination: destination.to_owned(),
            route: route.to_owned(),
            code: letter.code.clone(),
            column: letter.column.clone(),
            shape: shape(&letter.message),
        }
    }

    /// Names it in an address.
    #[must_use]
    pub fn id(&self) -> String {
        let mut digest = Sha256::new();
        let column = self.column.as_deref().unwrap_or_default();
        for part in [&self.application, &self.destination, &self.route, &self.code, column, &self.shape] {
            digest.update(part);
            digest.update([0]);
        }
        digest.finalize()[..6].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The sentence with `…` for quoted texts and `#` for numbers. Our own sentences put names in backquotes, which stay.
fn shape(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut characters = message.chars().peekable();
    let mut before = ' ';
    while let Some(character) = characters.next() {
        let begins = !before.is_alphanumeric();
        match character {
            '\'' | '"' if begins => {
                out.push(character);
                out.push('…');
                // A quotation mark that is doubled or escaped does not end it; one that never ends takes the rest.
                while let Some(inner) = characters.next() {
                    match inner {
                        '\\' => {
                            characters.next();
                        }
                        _ if inner == character && characters.peek() == Some(&character) => {
                            characters.next();
                        }
                        _ if inner == character => {
                            out.push(character);
                            break;
                        }
                        _ => {}
                    }
                }
            }
            '0'..='9' if begins => {
                out.push('#');
                while characters.peek().is_some_and(|next| next.is_ascii_digit() || *next == '.') {
                    characters.next();
                }
            }
            _ => out.push(character),
        }
        before = character;
    }
    out
}

/// Dead letters of one cause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Names it in an address and in [`super::Filter::group`].
    pub id: String,
    /// What they have in common.
    #[serde(flatten)]
    pub cause: Cause,
    /// How many there are.
    pub count: u64,
    /// How many of them are superseded.
    pub superseded: u64,
    /// When the first was given up, in milliseconds since the Unix epoch.
    pub first_ms: u64,
    /// When the last was.
    pub last_ms: u64,
    /// How many were given up in each part of the histogram's time.
    pub bars: Vec<u64>,
    /// Some of them, by id, the oldest first.
    pub examples: Vec<String>,
    /// The sentence of the first.
    pub message: String,
}

/// All groups, those with the most letters first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Groups {
    /// The groups.
    pub groups: Vec<Group>,
    /// How many dead letters there are in all.
    pub count: u64,
    /// When the histogram begins, in milliseconds since the Unix epoch.
    pub from_ms: u64,
    /// How long one of its bars is, in milliseconds.
    pub bar_ms: u64,
}

/// These dead letters by cause.
#[must_use]
pub fn groups(document: &Document, lots: &[Lot]) -> Groups {
    let now = now_ms();
    let first = lots.iter().flat_map(|lot| &lot.letters).map(|(_, letter)| letter.at_ms).min().unwrap_or(now);
    let last = lots.iter().flat_map(|lot| &lot.letters).map(|(_, letter)| letter.at_ms).max().unwrap_or(now);
    let from_ms = first.min(now.saturating_sub(LEAST_MS));
    let bar_ms = (now.max(last) - from_ms) / BARS as u64 + 1;
    let names = RouteNames::of(document);
    let mut found: Vec<Group> = Vec::new();
    let mut count = 0;
    for lot in lots {
        // Sentences repeat, so a shape is worked out once for each.
        let mut known: HashMap<(&str, &str, Option<&str>, &str), usize> = HashMap::new();
        for (id, letter) in &lot.letters {
            let route = names.name(id, &letter.route_name);
            let cause = (route, letter.code.as_str(), letter.column.as_deref(), letter.message.as_str());
            let place = *known.entry(cause).or_insert_with(|| {
                let cause = Cause::of(&lot.application, &lot.destination, route, letter);
                if let Some(place) = found.iter().position(|group| group.cause == cause) {
                    return place;
                }
                found.push(Group {
                    id: cause.id(),
                    cause,
                    count: 0,
                    superseded: 0,
                    first_ms: letter.at_ms,
                    last_ms: letter.at_ms,
                    bars: vec![0; BARS],
                    examples: Vec::new(),
                    message: letter.message.clone(),
                });
                found.len() - 1
            });
            let group = &mut found[place];
            group.count += 1;
            group.superseded += u64::from(letter.superseded);
            group.first_ms = group.first_ms.min(letter.at_ms);
            group.last_ms = group.last_ms.max(letter.at_ms);
            let bar = usize::try_from((letter.at_ms - from_ms) / bar_ms).unwrap_or(BARS);
            group.bars[bar.min(BARS - 1)] += 1;
            if group.examples.len() < EXAMPLES {
                group.examples.push(name(id));
            }
            count += 1;
        }
    }
    found.sort_by(|a, b| (b.count, b.last_ms, &a.cause).cmp(&(a.count, a.last_ms, &b.cause)));
    Groups { groups: found, count, from_ms, bar_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_record_to_record_counts_for_nothing() {
        for (message, same) in [
            ("Duplicate entry 'B 117' for key 'plates'", "Duplicate entry 'B 17' for key 'plates'"),
            ("value 41 is out of range (0 to 40)", "value 1.5 is out of range (0 to 40)"),
            ("Key (plate)=(12)", "Key (plate)=(7)"),
            ("it's wrong: 'it''s'", "it's wrong: 'a\\'b'"),
        ] {
            assert_eq!(shape(message), shape(same), "{message}");
        }
        for (message, other) in [
            ("column `a1` is too long", "column `a2` is too long"),
            ("field `a` is missing", "field `b` is missing"),
            ("it's wrong", "it's right"),
        ] {
            assert_ne!(shape(message), shape(other), "{message}");
        }
        assert_eq!(shape("Duplicate entry 'B 117' for key 7"), "Duplicate entry '…' for key #");
    }
}
