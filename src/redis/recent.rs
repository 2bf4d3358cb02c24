//! The last records of a topic that a stream still retains, for whoever wants to look at some. Nothing is moved.

use std::sync::Arc;

use redis::{Value, cmd};
use tidegate_actors::{
    message::{Generation, Message, StreamId},
    ports::{Entry, GenerationStart, LogError},
};

use super::{Redis, log::parse_generations, odd, stream::entry, unavailable};

/// Entries of one answer.
const PAGE: usize = 500;
/// Most entries that are looked through: a rare topic of a busy application may be further back.
const MOST_ENTRIES: usize = 100_000;

/// The last `wanted` messages of a topic, oldest first, each with the generation of its id. Entries that can't be read are
/// passed over.
///
/// # Errors
/// Redis is away.
pub async fn messages(
    redis: &Redis,
    application: &str,
    topic: &str,
    wanted: usize,
) -> Result<Vec<(Message, Generation)>, LogError> {
    let keys = redis.keys().of(application);
    let (stream, meta) = (keys.stream(), keys.meta());
    let generations: Option<String> = redis
        .link()
        .run(async |mut connection| cmd("HGET").arg(&meta).arg("generations").query_async(&mut connection).await)
        .await
        .map_err(|error| unavailable(&error))?;
    let generations = parse_generations(generations.as_deref().unwrap_or_default()).ok_or_else(|| odd("meta"))?;
    let mut found = Vec::new();
    let (mut end, mut looked) = ("+".to_owned(), 0);
    while found.len() < wanted && looked < MOST_ENTRIES {
        let page: Vec<Value> = redis
            .link()
            .run(async |mut connection| {
                let mut command = cmd("XREVRANGE");
                command.arg(&stream).arg(&end).arg("-").arg("COUNT").arg(PAGE);
                command.query_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        let entries: Vec<Entry> = page.into_iter().filter_map(entry::parse).collect();
        let Some(last) = entries.last() else { break };
        end = format!("({}", last.id());
        looked += entries.len();
        let ended = entries.len() < PAGE;
        for entry in entries {
            if let Entry::Message(message) = entry
                && *message.topic == *topic
                && found.len() < wanted
            {
                let generation = generation_of(&generations, message.id);
                found.push((Arc::unwrap_or_clone(message), generation));
            }
        }
        if ended {
            break;
        }
    }
    found.reverse();
    Ok(found)
}

/// The generation that an id lies in: the last one that starts before it.
pub(crate) fn generation_of(generations: &[GenerationStart], id: StreamId) -> Generation {
    let start = generations.iter().rev().find(|start| start.after < id).or(generations.first());
    start.map_or_else(|| Generation::new("unknown"), |start| start.generation.clone())
}
