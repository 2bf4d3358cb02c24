//! `tidegate route suggest`: a route for a table from what its records look like.

use std::{io::Write, process::ExitCode};

use clap::Args;

use super::records::RecordArgs;
use crate::{
    cli::{known, settings, tables::destination},
    config::Flags,
    registry::{Store, secrets::MasterKey},
    tables::{
        look,
        samples::Samples,
        suggest::{Wanted, free_name, suggest},
    },
};

/// Records of the stream that are looked at where nothing is said.
const RECENT: usize = 100;
/// Most records of a file that are looked at: more of them say nothing new.
const MOST: usize = 10_000;

/// Suggest a route from a table and sample records: a [[route]] block for `tidegate apply`, with a comment for each guess
///
/// Fields and columns are matched by the likeness of their names and by their values; what is not mapped is named. The
/// records come from a file, or from what the stream still has. It writes nothing.
#[derive(Args)]
pub(super) struct Suggest {
    /// The application whose records they are
    #[arg(long)]
    application: String,
    /// The topic
    #[arg(long)]
    topic: String,
    /// The destination
    #[arg(long)]
    destination: String,
    /// The table, or schema.table
    #[arg(long)]
    table: String,
    #[command(flatten)]
    records: RecordArgs,
    /// One JSON object instead of TOML
    #[arg(long)]
    json: bool,
}

impl Suggest {
    pub(super) async fn run(self, flags: &Flags) -> anyhow::Result<ExitCode> {
        let settings = settings(flags)?;
        let key = MasterKey::from_settings(&settings)?;
        let document = Store::open(&settings.redis_url, &settings.prefix)?.load().await?.unwrap_or_default();
        let applications = document.applications.iter().map(|one| one.name.as_str());
        known("application", &self.application, applications)?;
        let destination = destination(&document, &self.destination)?;
        let mut samples = Samples::default();
        let mut input = self.records.open(&settings, &self.application, &self.topic, Some(RECENT)).await?;
        while let Some(tried) = input.next()? {
            let message = tried.message.map_err(|why| anyhow::anyhow!("{}: {why}", tried.name))?;
            if *message.topic == *self.topic && message.data.len() > 2 {
                samples.add(&message.data, message.key.as_deref());
            }
            if samples.records == MOST {
                break;
            }
        }
        if samples.records == 0 {
            anyhow::bail!("there is no record of topic `{}` with fields to suggest a route from", self.topic);
        }
        let mut database = look::open(destination, key.as_ref()).map_err(anyhow::Error::msg)?;
        let table = look::table(database.as_mut(), &self.table).await?;
        let name = free_name(&document.routes, &self.destination, &self.table);
        let wanted = Wanted {
            name: &name,
            application: &self.application,
            topic: &self.topic,
            destination: &self.destination,
            table: &self.table,
        };
        let suggestion = suggest(&wanted, &table, &samples);
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&suggestion)?)?;
        } else {
            write!(out, "{suggestion}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
