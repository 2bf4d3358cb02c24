//! Dead letters by cause: destination, route, code, column, and the shape of the sentence, in which what differs from record to
//! record (numbers, quoted texts) counts for nothing.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

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

/// Tells the causes of many letters: neighbours mostly have the same, and a cause is named once.
pub(super) struct Causes<'a> {
    application: &'a str,
    destination: &'a str,
    known: Vec<Cause>,
    /// Places in `known`, by a digest of what tells causes apart.
    places: HashMap<u64, Vec<usize>>,
    last: Option<(&'a str, &'a Summary, usize)>,
    shape: String,
}

impl<'a> Causes<'a> {
    /// Of one destination's letters on one stream.
    pub(super) fn of(application: &'a str, destination: &'a str) -> Self {
        let (known, places, last, shape) = Default::default();
        Self { application, destination, known, places, last, shape }
    }

    /// The place of this letter's cause among those that [`Causes::get`] knows; the next one where it is new.
    pub(super) fn place(&mut self, route: &'a str, letter: &'a Summary) -> usize {
        let same = |other: &Summary| {
            (&other.code, &other.column, &other.message) == (&letter.code, &letter.column, &letter.message)
        };
        if let Some((last_route, last, place)) = self.last
            && last_route == route
            && same(last)
        {
            return place;
        }
        shape(&letter.message, &mut self.shape);
        let mut digest = DefaultHasher::new();
        (route, &letter.code, &letter.column, &self.shape).hash(&mut digest);
        let places = self.places.entry(digest.finish()).or_default();
        let is = |place: &&usize| {
            self.known.get(**place).is_some_and(|cause| {
                cause.route == route
                    && (&cause.code, &cause.column) == (&letter.code, &letter.column)
                    && cause.shape == self.shape
            })
        };
        let place = places.iter().find(is).copied().unwrap_or_else(|| {
            places.push(self.known.len());
            self.known.push(Cause {
                application: self.application.to_owned(),
                destination: self.destination.to_owned(),
                route: route.to_owned(),
                code: letter.code.clone(),
                column: letter.column.clone(),
                shape: self.shape.clone(),
            });
            self.known.len() - 1
        });
        self.last = Some((route, letter, place));
        place
    }

    /// The causes so far, in the order in which they were met.
    pub(super) fn get(&self) -> &[Cause] {
        &self.known
    }
}

/// Writes the sentence with `…` for quoted texts and `#` for numbers. Our own sentences put names in backquotes, which stay.
fn shape(message: &str, out: &mut String) {
    out.clear();
    // All that matters is ASCII, which no other character has among its bytes.
    let bytes = message.as_bytes();
    let (mut from, mut at, mut begins) = (0, 0, true);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\'' | b'"' if begins => {
                out.push_str(&message[from..=at]);
                out.push('…');
                at += 1;
                // A quotation mark that is doubled or escaped does not end it; one that never ends takes the rest.
                while let Some(&inner) = bytes.get(at) {
                    let is_last = inner == byte && bytes.get(at + 1) != Some(&byte);
                    at += if is_last || (inner != byte && inner != b'\\') { 1 } else { 2 };
                    if is_last {
                        out.push(char::from(byte));
                        break;
                    }
                }
                at = at.min(bytes.len());
                from = at;
            }
            b'0'..=b'9' if begins => {
                out.push_str(&message[from..at]);
                out.push('#');
                while bytes.get(at).is_some_and(|next| next.is_ascii_digit() || *next == b'.') {
                    at += 1;
                }
                (from, begins) = (at, false);
            }
            0..=0x7f => {
                begins = !byte.is_ascii_alphanumeric();
                at += 1;
            }
            _ => {
                let character = message[at..].chars().next().unwrap_or_default();
                begins = !character.is_alphanumeric();
                at += character.len_utf8();
            }
        }
    }
    out.push_str(&message[from..]);
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
        let mut causes = Causes::of(&lot.application, &lot.destination);
        let first = found.len();
        for (id, letter) in &lot.letters {
            let place = first + causes.place(names.name(id, &letter.route_name), letter);
            if place == found.len() {
                let cause = causes.get()[place - first].clone();
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
            }
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

    fn shape(message: &str) -> String {
        let mut out = "what was before".to_owned();
        super::shape(message, &mut out);
        out
    }

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
        for (message, said) in [
            ("Duplicate entry 'B 117' for key 7", "Duplicate entry '…' for key #"),
            ("kolom é'1 dan '1.5.' é1", "kolom é'# dan '…' é1"),
            ("„ü“ 'ends with a \\", "„ü“ '…"),
            ("'it''", "'…"),
            ("", ""),
            ("7", "#"),
        ] {
            assert_eq!(shape(message), said, "{message}");
        }
    }

    #[test]
    fn causes_are_told_apart_by_route_code_column_and_shape() {
        let letter = |code: &str, column: Option<&str>, message: &str| Summary {
            code: code.into(),
            column: column.map(str::to_owned),
            message: message.into(),
            ..Summary::default()
        };
        let all = [
            ("a", letter("null", None, "row 1 is bad"), 0),
            ("a", letter("null", None, "row 1 is bad"), 0),
            ("b", letter("null", None, "row 1 is bad"), 1),
            ("a", letter("null", None, "row 2 is bad"), 0),
            ("a", letter("null", Some("x"), "row 2 is bad"), 2),
            ("a", letter("range", None, "row 2 is bad"), 3),
            ("a", letter("range", None, "row x is bad"), 4),
            ("b", letter("null", None, "row 9 is bad"), 1),
        ];
        let mut causes = Causes::of("app", "rooms");
        for (route, letter, place) in &all {
            assert_eq!(causes.place(route, letter), *place, "{route} {letter:?}");
        }
        let ids: std::collections::HashSet<_> = causes.get().iter().map(Cause::id).collect();
        assert_eq!((causes.get().len(), ids.len()), (5, 5));
    }
}
