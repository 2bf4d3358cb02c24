//! The records that a route is tried on or suggested from: a file as `tidegate send` reads it, or what the stream still has.

use std::path::PathBuf;

use anyhow::bail;
use clap::{Args, ValueEnum as _};
use tidegate_actors::message::{Action, Generation, Message};

use crate::{
    cli::{
        now_ms,
        send::{
            ActionName, Format, is_csv,
            read::{Envelope, Records},
        },
    },
    config::Settings,
    redis::{Redis, recent},
    tables::record::{self, Manner},
};

/// Where records come from.
#[derive(Args)]
pub(super) struct RecordArgs {
    /// A file of records: NDJSON, one JSON list, or CSV; whole messages (topic, action, key, data) or bare records
    #[arg(long, value_name = "FILE", conflicts_with = "recent")]
    pub(super) records: Option<PathBuf>,
    /// The last records of the topic that the stream still has
    #[arg(long, value_name = "NUMBER")]
    pub(super) recent: Option<usize>,
    /// What the file holds [default: by its ending: .csv, else NDJSON]
    #[arg(long)]
    format: Option<Format>,
    /// The field of a bare record that is its key, as with `send`; several make a composite key
    #[arg(long, value_name = "FIELD")]
    key_field: Vec<String>,
    /// What to do with a bare record [default: upsert with a key, insert without]
    #[arg(long)]
    action: Option<ActionName>,
    /// CSV: an empty value is null
    #[arg(long)]
    empty_as_null: bool,
}

/// A message, or why there is none.
pub(super) struct Tried {
    /// `line 3`, or the message's id.
    pub(super) name: String,
    pub(super) message: Result<Message, String>,
    pub(super) generation: Generation,
}

/// Records, one by one.
#[allow(clippy::large_enum_variant, reason = "a command has one of them")]
pub(super) enum Input {
    File { records: Records, manner: Manner, sequence: u64, word: &'static str },
    Stream(std::vec::IntoIter<(Message, Generation)>),
}

impl RecordArgs {
    /// Opens the file, or reads the stream; `default` is how many of its records where nothing is said.
    pub(super) async fn open(
        &self,
        settings: &Settings,
        application: &str,
        topic: &str,
        default: Option<usize>,
    ) -> anyhow::Result<Input> {
        if let Some(file) = &self.records {
            let envelope = Envelope { topic: topic.into(), action: None, key_fields: self.key_field.clone() };
            let csv = is_csv(self.format, file);
            let records = Records::open(file, csv, self.empty_as_null, envelope)?;
            let action = self.action.and_then(|action| action.to_possible_value());
            let action = action.and_then(|action| Action::parse(action.get_name()));
            let manner = Manner { topic: topic.into(), action, now_ms: now_ms()? };
            let word = records.place();
            return Ok(Input::File { records, manner, sequence: 0, word });
        }
        let Some(wanted) = self.recent.or(default) else {
            bail!("say which records: --records FILE, or --recent NUMBER for the last ones of the stream")
        };
        let redis = Redis::open(settings.redis_url.expose(), &settings.prefix)?;
        let found = recent::messages(&redis, application, topic, wanted).await?;
        if found.is_empty() {
            bail!(
                "the stream of `{application}` has no record of topic `{topic}` any more; give some with --records FILE"
            );
        }
        Ok(Input::Stream(found.into_iter()))
    }
}

impl Input {
    /// The next one.
    ///
    /// # Errors
    /// The file can't be read on.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Tried>> {
        match self {
            Self::Stream(messages) => Ok(messages.next().map(|(message, generation)| Tried {
                name: format!("{generation}-{}", message.id),
                message: Ok(message),
                generation,
            })),
            Self::File { records, manner, sequence, word } => {
                let Some((line, data)) = records.next_record()? else { return Ok(None) };
                *sequence += 1;
                let key = if record::is_whole(data.get()) { Ok(None) } else { records.key(&data, line) };
                let message = match key {
                    Ok(key) => record::message(data.get(), key.as_ref().map(|key| key.get()), *sequence, manner),
                    Err(error) => Err(error.to_string()),
                };
                let generation = Generation::new("preview");
                Ok(Some(Tried { name: format!("{word} {line}"), message, generation }))
            }
        }
    }
}
