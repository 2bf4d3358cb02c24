//! Delivery of a backlog that waits: into one PostgreSQL, MariaDB or SQLite, inserts and upserts, small and large records,
//! each against a bare writer of the same rows; then into five databases; then by two nodes in parallel mode.

mod five;
mod one;
mod parallel;

use tidegate_actors::message::Action;

use crate::{
    Options,
    databases::{Database, Kind, Servers},
    shape::Shape,
};

/// How a row is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Insert,
    /// Half of the rows are there.
    Upsert,
}

impl Write {
    fn word(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Upsert => "upsert",
        }
    }

    pub(crate) fn action(self) -> Action {
        match self {
            Self::Insert => Action::Insert,
            Self::Upsert => Action::Upsert,
        }
    }

    /// Empties a table for so many records.
    pub(crate) async fn prepare(self, database: &Database, records: usize) {
        database.empty((self == Self::Upsert).then_some(records)).await;
    }
}

pub(crate) async fn run(options: &Options) {
    let known = ["postgres", "mariadb", "sqlite", "five", "parallel"];
    if let Some(into) = &options.into {
        assert!(known.contains(&into.as_str()), "--into takes {}", known.join(", "));
    }
    let into = |word: &str| options.into.as_deref().is_none_or(|into| into == word);
    let writes = [Write::Insert, Write::Upsert].into_iter();
    let writes: Vec<_> = writes.filter(|write| options.op.as_deref().is_none_or(|op| op == write.word())).collect();
    let shapes = [Shape::Narrow, Shape::Wide].into_iter();
    let shapes: Vec<_> = shapes.filter(|shape| options.bytes.is_none_or(|bytes| bytes == *shape)).collect();
    let mut servers = Servers::new();
    for (kind, word) in Kind::ALL.into_iter().zip(known) {
        for (write, shape) in writes.iter().flat_map(|write| shapes.iter().map(move |shape| (*write, *shape))) {
            if into(word) {
                one::run(options, &mut servers, (kind, word), write, shape).await;
            }
        }
    }
    for shape in &shapes {
        if into("five") && writes.contains(&Write::Upsert) {
            five::run(options, &mut servers, *shape).await;
        }
    }
    if into("parallel") && writes.contains(&Write::Upsert) && shapes.contains(&Shape::Narrow) {
        parallel::run(options, &mut servers).await;
    }
}
