//! `tidegate dead`: the records that a database refused. They are listed and shown from Redis; a redrive or a discard is
//! asked of the node that writes the destination, which does it between two batches.

mod ask;
mod edit;
mod filter;
mod group;
mod list;
mod show;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidegate_actors::{ports::DeadLetter, transaction::DeadId};

use self::filter::Filter;
use super::{person, settings};
use crate::{
    admin::{
        Role, Who,
        dead_letters::{self, Lot},
    },
    config::{Flags, Settings},
    redis::Redis,
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
                edit::edit(&letters, &id, &filter, data.as_deref(), force, json, &settings).await
            }
            Action::Redrive { which, force, yes, json } => {
                ask::redrive(&letters, &which, force, yes, json, &settings).await
            }
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

impl Letters {
    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let document = Store::open(&settings.redis_url, &settings.prefix)?.load().await?.unwrap_or_default();
        Ok(Self { redis: Redis::open(settings.redis_url.expose(), &settings.prefix)?, document })
    }

    /// All that the filter lets through, destination by destination.
    async fn find(&self, filter: &Filter) -> anyhow::Result<Vec<Lot>> {
        Ok(dead_letters::find(&self.redis, &self.document, &filter.asked()).await?)
    }

    /// Those of these ids; every id must be one.
    async fn find_ids(&self, texts: &[String], filter: &Filter) -> anyhow::Result<Vec<Lot>> {
        Ok(dead_letters::find_ids(&self.redis, &self.document, texts, &filter.asked()).await?)
    }

    /// The payloads of a lot.
    async fn read(&self, lot: &Lot) -> anyhow::Result<Vec<DeadLetter>> {
        Ok(dead_letters::read(&self.redis, lot).await?)
    }

    /// The present name of a dead letter's route; the one of its time where it is gone.
    fn route<'a>(&'a self, id: &DeadId, of_its_time: &'a str) -> &'a str {
        dead_letters::route_name(&self.document, id, of_its_time)
    }
}

/// Who acts, for the list of changes: whoever runs a command may do what it does.
fn who(settings: &Settings, command: &str) -> Who {
    let name = person(settings).into();
    Who { name, role: Role::Admin, from: format!("tidegate dead {command}").into() }
}
