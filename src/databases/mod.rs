//! Destination databases: one file per kind, and the table of kinds from which the command line, the documentation and
//! the error for an unknown kind are made.
//!
//! A new kind is one file with its settings, example, `open`, catalogue, write, error classes and tests, and two lines here.

pub mod broadcast;
pub mod check;
pub mod mysql;
pub mod postgres;
pub mod sqlite;
pub mod sqlserver;

use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use secrecy::SecretString;
use tidegate_actors::{
    ports::{Destination, Fault},
    route::RouteSpec,
};

use crate::{http::DocumentReceiver, redis::Redis, resources::Tls};

/// What a driver needs to reach its database. The password has been unsealed and prints as nothing.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The destination's name, for messages.
    pub name: String,
    /// The address, without a password.
    pub url: url::Url,
    /// The password.
    pub password: Option<SecretString>,
    /// How the connection is secured; `None` is verified beyond loopback and off on it.
    pub tls: Option<Tls>,
    /// Longest time to connect and log in.
    pub connect_timeout: Duration,
    /// After this long in an idle transaction or waiting for a lock, the database ends our session by itself.
    pub session_timeout: Duration,
    /// What a node has beside every address; `None` where no node asks.
    pub home: Option<Home>,
}

/// What a node has itself, for a kind that is no server of its own.
#[derive(Clone, Debug)]
pub struct Home {
    /// This installation's Redis.
    pub redis: Redis,
    /// The registry, as the node knows it.
    pub documents: DocumentReceiver,
}

/// One step of a connection check.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CheckStep {
    /// `name`, `tcp`, `tls`, `login`, `rights`, `table`, `columns`.
    pub step: &'static str,
    /// What was looked at (`10.0.0.5:5432`, `public.cars`).
    pub subject: String,
    /// `Ok(what was found)` or `Err(what is wrong and what to do)`.
    pub outcome: Result<String, String>,
}

/// A kind of database.
pub struct Kind {
    /// The word in `kind = "…"`.
    pub name: &'static str,
    /// The product's name for people.
    pub title: &'static str,
    /// The default port; `None` for a file, and for what is here.
    pub port: Option<u16>,
    /// Whether it is this installation's own Redis: no server, no file, no user and no password.
    pub here: bool,
    /// Whether all nodes may write at once, without order and perhaps twice (`delivery = "parallel"`); see [`NO_PARALLEL`].
    pub parallel: bool,
    /// What of a route makes no sense with this kind, whatever its table: the field, and why and what to do.
    pub refuses: fn(&RouteSpec) -> Vec<(&'static str, String)>,
    /// A `[[destination]]` block in TOML that parses.
    pub example: &'static str,
    /// What an operator or DBA should know, in one or two sentences.
    pub notes: &'static str,
    /// The statements that make our own tables, for a DBA who wants to run them.
    pub ddl: &'static str,
    /// The rights the writer needs, as statements with `{user}`, `{database}` placeholders.
    pub grants: &'static str,
    /// Checks the settings without connecting.
    pub validate: fn(&Connection) -> Result<(), String>,
    /// Makes the adapter; connects on first use.
    pub open: fn(Connection) -> Box<dyn Destination>,
    /// The steps `tls`, `login` and `rights` (after `name` and `tcp`, which [`check`](self) does for all kinds), ending with the first
    /// that fails.
    pub check: for<'a> fn(&'a Connection) -> LocalBoxFuture<'a, Vec<CheckStep>>,
}

/// Why a kind is not written by all nodes at once.
pub const NO_PARALLEL: &str = "people read what comes there: it must come in order and once, which parallel delivery does not \
                               promise; make it ordered";

/// Every kind there is.
pub static KINDS: &[Kind] = &[postgres::KIND, mysql::KIND, sqlserver::KIND, sqlite::KIND, broadcast::KIND];

impl Kind {
    /// Whether it is a file on one node.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.port.is_none() && !self.here
    }
}

/// The kind of this name, or a sentence with the nearest right one.
///
/// # Errors
/// The name is none of [`KINDS`].
pub fn kind(name: &str) -> Result<&'static Kind, String> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let names: Vec<_> = KINDS.iter().map(|kind| kind.name).collect();
        let nearest = nearest(name, names.iter().copied());
        let hint = nearest.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        format!("`{name}` is not a kind of database{hint} (there are {})", names.join(", "))
    })
}

/// Whether a table is one that Tidegate makes for itself.
pub(crate) fn is_ours(table: &str) -> bool {
    table.to_ascii_lowercase().starts_with("tidegate_")
}

/// What an operator is told when one of several statements fails.
pub(crate) fn failed_definition(destination: &str, place: usize, all: usize, standing: bool, words: &str) -> Fault {
    let rest = match (place, standing) {
        (0, _) | (_, false) => "nothing was changed".to_owned(),
        (1, true) => "the first stands".to_owned(),
        (done, true) => format!("the first {done} stand"),
    };
    Fault::new(format!("{destination}: statement {} of {all} failed, {rest}: {words}", place + 1))
}

/// The candidate most like `name`, where one is near enough to be a slip of the pen.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
