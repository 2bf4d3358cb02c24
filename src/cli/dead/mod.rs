//! `tidegate dead`: the records that a database refused. They are listed and shown from Redis; a redrive or a discard is
//! asked of the node that writes the destination, which does it between two batches.

mod ask;
mod list;

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use tidegate_actors::{message::MessageId, ports::DeadLetter, transaction::DeadId};

use super::settings;
use crate::{
    config::{Flags, Settings},
    databases::nearest,
    redis::{Redis, dead},
    registry::Store,
    resources::Document,
};

/// List, show, redrive and discard dead letters: records that a database refused
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
        /// At most this many
        #[arg(long, default_value_t = 100, value_name = "NUMBER")]
        limit: usize,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show one dead letter with its record and its reason
    Show {
        /// Its id, as `dead list` shows it
        id: String,
        #[command(flatten)]
        filter: Filter,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Write dead letters after all
    ///
    /// The record is mapped anew, by the route and the table as they are now, and written in one transaction. One whose key
    /// got a later record meanwhile is refused, unless --force writes the old one over it. Exit status: 0 when all were
    /// written or are queued, 1 when one was refused.
    Redrive {
        #[command(flatten)]
        which: Which,
        /// Also where a later record of the key was written
        #[arg(long)]
        force: bool,
    },
    /// Give dead letters up for good
    Discard {
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
struct Filter {
    /// Only this destination's
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// Only this route's
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
}

#[derive(Args)]
struct Which {
    /// Their ids, as `dead list` shows them
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Vec<String>,
    /// Every dead letter (of --destination, of --route)
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Dead {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let letters = Letters::open(&settings(flags)?).await?;
        match self.action {
            Action::List { filter, limit, json } => list::list(&letters, &filter, limit, json).await,
            Action::Show { id, filter, json } => list::show(&letters, &id, &filter, json).await,
            Action::Redrive { which, force } => ask::redrive(&letters, &which, force).await,
            Action::Discard { which, yes } => ask::discard(&letters, &which, yes).await,
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
                if !ids.is_empty() {
                    lots.push(Lot {
                        application: application.name.clone(),
                        destination: (destination.id.clone(), destination.name.clone()),
                        ids,
                    });
                }
            }
        }
        let routes = self.document.routes.iter().map(|one| one.name.as_str());
        known("route", filter.route.as_deref(), routes.chain(gone_routes.iter().map(String::as_str)))?;
        lots.sort_by(|a, b| (&a.destination.1, &a.application).cmp(&(&b.destination.1, &b.application)));
        Ok(lots)
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
        }
        lots.retain(|lot| !lot.ids.is_empty());
        Ok(lots)
    }

    /// The payloads of the first `limit` of a lot.
    async fn read(&self, lot: &Lot, limit: usize) -> anyhow::Result<Vec<DeadLetter>> {
        let ids = &lot.ids[..lot.ids.len().min(limit)];
        Ok(dead::letters(&self.redis, &lot.application, &lot.destination.0, ids).await?)
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
