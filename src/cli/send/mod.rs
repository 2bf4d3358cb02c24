//! `tidegate send`: the records of a file, in order, each once.

mod post;
pub(super) mod read;

use std::{
    io::{IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    post::{Door, Sent},
    read::{Envelope, Records},
};
use super::table::of;
use crate::config::Flags;

/// Send the records of a file to a node: NDJSON or CSV
///
/// NDJSON: each line is a record, a JSON object; one JSON list of them will do. CSV: the first line names the fields, every value is a string. Records go
/// out in order, 500 at a time, and each such piece only once: sending the same file again within 24 hours sends nothing
/// twice, so after an error or Ctrl-C simply run the same command again. While the node is away or busy it waits and
/// tries again; it stops at a record that is refused, with the line of the file.
#[derive(Args)]
pub(super) struct Send {
    /// The topic
    topic: String,
    /// The file; `-` reads standard input
    file: PathBuf,
    /// What the file holds [default: by its ending: .csv, else NDJSON]
    #[arg(long)]
    format: Option<Format>,
    /// A node, or the load balancer before them
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", env = "TIDEGATE_URL")]
    url: String,
    /// The API key; better in the environment, since others can see flags
    #[arg(long, value_name = "KEY", env = "TIDEGATE_API_KEY", hide_env_values = true)]
    key: String,
    /// The field that is the record's key; several make a composite key
    #[arg(long, value_name = "FIELD")]
    key_field: Vec<String>,
    /// What to do with the row [default: upsert with a key, insert without]
    #[arg(long)]
    action: Option<ActionName>,
    /// CSV: an empty value is null
    #[arg(long)]
    empty_as_null: bool,
    /// Give up after this long without getting anything through: `30s`, `10m`
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Send the file anew although it was sent already
    #[arg(long)]
    again: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Format {
    /// One JSON object a line, or one JSON list of them
    Ndjson,
    /// Comma separated values with a header line
    Csv,
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum ActionName {
    Insert,
    Upsert,
    Update,
    Delete,
}

/// Whether a file is read as CSV: as asked, else by its ending.
pub(super) fn is_csv(format: Option<Format>, file: &std::path::Path) -> bool {
    match format {
        Some(format) => matches!(format, Format::Csv),
        None => file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")),
    }
}

impl Send {
    pub(super) async fn run(self, _: &Flags) -> anyhow::Result<ExitCode> {
        let envelope = Envelope {
            topic: self.topic.clone(),
            action: self.action.and_then(|action| action.to_possible_value()).map(|value| value.get_name().to_owned()),
            key_fields: self.key_field.clone(),
        };
        let csv = is_csv(self.format, &self.file);
        let mut records = Records::open(&self.file, csv, self.empty_as_null, envelope)?;
        let mut door = Door::new(&self.url, &self.key, self.patience, self.again)?;
        let bar = bar(records.size_bytes());
        let mut all = Sent::default();
        while let Some(batch) = records.next_batch()? {
            match door.send(&batch, &bar).await {
                Ok(sent) => all.add(&sent),
                Err(error) => {
                    bar.finish_and_clear();
                    if all.records > 0 {
                        bail!(
                            "{error}\n{} before them were accepted; mended, run the same command again: it goes on there.",
                            of(all.records, "record")
                        );
                    }
                    return Err(error);
                }
            }
            bar.set_position(records.read_bytes());
            bar.set_message(format!("{} sent", of(all.records, "record")));
        }
        bar.finish_and_clear();
        self.tell(&all)?;
        Ok(ExitCode::SUCCESS)
    }

    fn tell(&self, all: &Sent) -> std::io::Result<()> {
        let new = all.records - all.replayed;
        let before = match all.replayed {
            0 => String::new(),
            replayed => format!("; {} had been sent before and were not sent again", of(replayed, "record")),
        };
        writeln!(std::io::stdout(), "{} sent to topic {}{before}.", of(new, "record"), self.topic)
    }
}

fn bar(size_bytes: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match size_bytes {
        Some(size) => (ProgressBar::new(size), "{bar:24} {percent:>3} %  {msg}  {bytes_per_sec}  {eta} left {prefix}"),
        None => (ProgressBar::new_spinner(), "{spinner}  {msg}  {bytes_per_sec} {prefix}"),
    };
    bar.enable_steady_tick(Duration::from_millis(250));
    ProgressStyle::with_template(template).map(|style| bar.clone().with_style(style)).unwrap_or(bar)
}
