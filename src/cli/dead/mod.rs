//! `tidegate dead`: the records that a database refused. They are listed and shown from Redis; a redrive or a discard is
//! asked of the node that writes the destination, which does it between two batches.

mod ask;
mod edit;
mod filter;
mod group;
mod list;
mod show;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use tidegate_actors::{message::MessageId, ports::DeadLetter, transaction::DeadId};

use self::filter::Filter;
use super::{person, settings};
use crate::{
    config::{Flags, Settings},
    databases::nearest,
    redis::{
        Redis,
        dead::{self, Summary},
    },
    registry::Store,
    resources::Document,
};

/// List, show, edit, redrive and discard dead letters: records that a database refused
///
/// A record that a database will not take (a missing value, a duplicate, text too long) becomes a dead letter with the
/// reason; the records around it are written. Mend the table, the route or the data, then redrive.
#[derive(Args)]
pub(super) struct Dead {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List dead letters, oldest first within each destination and route
    List {
        #[command(flatten)]
        filter: Filter,
        /// A line for each cause (destination, route, code, column) instead of each dead letter
        #[arg(long)]
        group: bool,
        /// At most this many
        #[arg(long, default_value_t = 100, value_name = "NUMBER")]
        limit: usize,
        /// Pass over this many first
        #[arg(long, default_value_t = 0, value_name = "NUMBER")]
        skip: usize,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one dead letter: its record, the row it would be, and the database's words
    Show {
        /// Its id, as `dead list` shows it
        id: String,
        #[command(flatten)]
        filter: Filter,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Edit the record of one dead letter and write that
    ///
    /// Opens $VISUAL or $EDITOR on the record, or takes it from --data. What was sent stays as it was: where the edited record is
    /// refused too, the dead letter keeps the original, and the edit beside it.
    Edit {
        /// Its id, as `dead list` shows it
        id: String,
        #[command(flatten)]
        filter: Filter,
        /// The record: a file, or - for standard input
        #[arg(long, value_name = "FILE")]
        data: Option<std::path::PathBuf>,
        /// Also where a later record of the key was written, or an earlier one waits
        #[arg(long)]
        force: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Write dead letters after all
    ///
    /// The record is mapped anew, by the route and the table as they are now, and written in one transaction. One whose key
    /// got a later record meanwhile is refused, unless --force writes the old one over it. Where the route is `on_dead =
    /// "block"`, those that wait behind it are written too, in their order, up to the first that fails. Exit status: 0 when all
    /// were written or are queued, 1 when one was not.
    Redrive {
        #[command(flatten)]
        which: Which,
        /// Also where a later record of the key was written, or an earlier one waits
        #[arg(long)]
        force: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Give dead letters up for good
    ///
    /// Those that wait behind one (`on_dead = "block"`) stay: the next of them is the first of its key then, and is redriven
    /// or discarded like any other. Who discarded what, and why, is in the list of changes.
    Discard {
        #[command(flatten)]
        which: Which,
        /// Why; needed for more than one
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
struct Which {
    /// Their ids, as `dead list` shows them
    id: Vec<String>,
    /// Every dead letter that the options let through; not needed beside any of them but --destination
    #[arg(long, conflicts_with = "id")]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Dead {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let settings = settings(flags)?;
        let letters = Letters::open(&settings).await?;
        match self.action {
            Action::List { filter, group: true, json, .. } => group::list(&letters, &filter, json).await,
            Action::List { filter, limit, skip, json, .. } => list::list(&letters, &filter, skip, limit, json).await,
            Action::Show { id, filter, json } => show::show(&letters, &id, &filter, json).await,
            Action::Edit { id, filter, data, force, json } => {
                edit::edit(&letters, &id, &filter, data.as_deref(), force, json).await
            }
            Action::Redrive { which, force, yes, json } => ask::redrive(&letters, &which, force, yes, json).await,
            Action::Discard { which, reason, yes, json } => {
                ask::discard(&letters, &which, reason, yes, json, &settings).await
            }
        }
    }
}

/// The dead letters of an installation.
struct Letters {
    redis: Redis,
    document: Document,
}

/// Dead letters of one destination on one stream.
struct Lot {
    application: String,
    /// The destination's id and name.
    destination: (String, String),
    ids: Vec<DeadId>,
    /// What a list says of each; empty where nobody has looked yet.
    summaries: Vec<Summary>,
}

impl Letters {
    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let document = Store::open(&settings.redis_url, &settings.prefix)?.load().await?.unwrap_or_default();
        Ok(Self { redis: Redis::open(settings.redis_url.expose(), &settings.prefix)?, document })
    }

    /// The name of a dead letter's route; its id where the route is gone.
    fn route_name<'a>(&'a self, dead: &'a DeadId) -> &'a str {
        self.document.routes.iter().find(|route| route.id == *dead.route).map_or(&dead.route, |route| &route.name)
    }

    /// All that the filter lets through, destination by destination.
    async fn find(&self, filter: &Filter) -> anyhow::Result<Vec<Lot>> {
        let destinations = self.document.destinations.iter().map(|one| one.name.as_str());
        known("destination", filter.destination.as_deref(), destinations)?;
        let mut lots = Vec::new();
        let mut gone_routes = Vec::new();
        for destination in &self.document.destinations {
            if filter.destination.as_ref().is_some_and(|name| *name != destination.name) {
                continue;
            }
            for application in &self.document.applications {
                let mut ids = dead::ids(&self.redis, &application.name, &destination.id).await?;
                gone_routes.extend(ids.iter().map(|id| self.route_name(id).to_owned()));
                ids.retain(|id| filter.route.as_deref().is_none_or(|name| name == self.route_name(id)));
                // Stable: within a route they stay in the order of the log.
                ids.sort_by_cached_key(|id| self.route_name(id).to_owned());
                let mut lot = Lot {
                    application: application.name.clone(),
                    destination: (destination.id.clone(), destination.name.clone()),
                    ids,
                    summaries: Vec::new(),
                };
                if filter.looks_inside() {
                    self.look_inside(&mut lot, |summary| filter.passes(summary)).await?;
                }
                if !lot.ids.is_empty() {
                    lots.push(lot);
                }
            }
        }
        let routes = self.document.routes.iter().map(|one| one.name.as_str());
        known("route", filter.route.as_deref(), routes.chain(gone_routes.iter().map(String::as_str)))?;
        lots.sort_by(|a, b| (&a.destination.1, &a.application).cmp(&(&b.destination.1, &b.application)));
        Ok(lots)
    }

    /// Learns what a list says of each of a lot, and leaves those that pass.
    async fn look_inside(&self, lot: &mut Lot, passes: impl Fn(&Summary) -> bool) -> anyhow::Result<()> {
        let found = dead::summaries(&self.redis, &lot.application, &lot.destination.0, &lot.ids).await?;
        let both = std::mem::take(&mut lot.ids).into_iter().zip(found);
        let passing = both.filter_map(|(id, summary)| summary.filter(&passes).map(|summary| (id, summary)));
        (lot.ids, lot.summaries) = passing.unzip();
        Ok(())
    }

    /// Those of these ids; every id must be one.
    async fn find_ids(&self, texts: &[String], filter: &Filter) -> anyhow::Result<Vec<Lot>> {
        let mut wanted = Vec::with_capacity(texts.len());
        for text in texts {
            let id: MessageId = text.parse().ok().with_context(|| {
                format!("`{text}` is not an id; `tidegate dead list` shows them, such as k3v9x0q2ab-1763775403123-0")
            })?;
            wanted.push(id);
        }
        let is = |dead: &DeadId, id: &MessageId| dead.generation == id.0.generation && dead.id == id.0.id;
        let mut lots = self.find(filter).await?;
        for id in &wanted {
            if !lots.iter().any(|lot| lot.ids.iter().any(|dead| is(dead, id))) {
                bail!("there is no dead letter `{id}` here; `tidegate dead list` shows those there are");
            }
        }
        for lot in &mut lots {
            lot.ids.retain(|dead| wanted.iter().any(|id| is(dead, id)));
            lot.summaries.clear();
        }
        lots.retain(|lot| !lot.ids.is_empty());
        Ok(lots)
    }

    /// The payloads of a lot.
    async fn read(&self, lot: &Lot) -> anyhow::Result<Vec<DeadLetter>> {
        Ok(dead::letters(&self.redis, &lot.application, &lot.destination.0, &lot.ids).await?)
    }
}

impl Lot {
    /// Those from one place to another.
    fn part(&self, range: std::ops::Range<usize>) -> Self {
        Self {
            application: self.application.clone(),
            destination: self.destination.clone(),
            summaries: self.summaries.get(range.clone()).unwrap_or_default().to_vec(),
            ids: self.ids[range].to_vec(),
        }
    }
}

/// A name that was asked for must be one there is.
fn known<'a>(what: &str, name: Option<&str>, names: impl Iterator<Item = &'a str> + Clone) -> anyhow::Result<()> {
    let Some(name) = name.filter(|name| !names.clone().any(|known| known == *name)) else { return Ok(()) };
    let hint = nearest(name, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    bail!("there is no {what} `{name}`{hint}")
}

/// What a dead letter is called: `generation-ms-seq`.
fn name(dead: &DeadId) -> String {
    format!("{}-{}", dead.generation, dead.id)
}
