//! The part of a lane that one watermark row stands for: the main row, or a row beside it (delivery rules 8 and 9).
//!
//! It is the last piece of the text in the column `lane`, read back in every take-over; only the core looks into it.

use std::{fmt, sync::Arc};

/// What a watermark row of a lane stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Everything that no other row carries: `main`.
    Main,
    /// A table that was held: every route into it that has no row of its own. `table cars`.
    Table(Arc<str>),
    /// A route that began below its lane and catches up: `route r1`.
    Route(Arc<str>),
    /// That route has caught up: a marker that is never read and never moved, so that it is not begun again. `done r1`.
    Done(Arc<str>),
    /// A command to send a route again, by its token: `replay k3v9`, or `replay k3v9 r1`.
    Replay {
        /// The command's token.
        token: Arc<str>,
        /// The route, where the main row leaves it to this one until they meet. It must be told without the command: what
        /// main has skipped is not lost with it.
        instead: Option<Arc<str>>,
    },
}

impl Part {
    /// The word for the main row.
    pub const MAIN: &'static str = "main";

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == Self::MAIN {
            return Some(Self::Main);
        }
        let (kind, name) = text.split_once(' ').filter(|(_, name)| !name.is_empty())?;
        Some(match kind {
            "table" => Self::Table(name.into()),
            "route" => Self::Route(name.into()),
            "done" => Self::Done(name.into()),
            "replay" => match name.split_once(' ') {
                Some((token, route)) => Self::Replay { token: token.into(), instead: Some(route.into()) },
                None => Self::Replay { token: name.into(), instead: None },
            },
            _ => return None,
        })
    }

    /// Whether it is a replay.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        matches!(self, Self::Replay { .. })
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> Arc<str> {
        self.to_string().into()
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Main => f.write_str(Self::MAIN),
            Self::Table(name) => write!(f, "table {name}"),
            Self::Route(id) => write!(f, "route {id}"),
            Self::Done(id) => write!(f, "done {id}"),
            Self::Replay { token, instead: None } => write!(f, "replay {token}"),
            Self::Replay { token, instead: Some(route) } => write!(f, "replay {token} {route}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read_back_from_its_text() {
        let parts = [
            Part::Main,
            Part::Table("shop.big cars/old".into()),
            Part::Route("r1".into()),
            Part::Done("r1".into()),
            Part::Replay { token: "k3v9".into(), instead: None },
            Part::Replay { token: "k3v9".into(), instead: Some("r1".into()) },
        ];
        for part in parts {
            assert_eq!(Part::parse(&part.to_string()), Some(part));
        }
    }

    #[test]
    fn a_part_of_a_later_version_is_not_taken_for_another() {
        for text in ["", "table", "table ", "shard 3", "mainly"] {
            assert_eq!(Part::parse(text), None, "{text}");
        }
    }
}
