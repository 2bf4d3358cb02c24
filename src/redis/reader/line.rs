//! What a reader asks of Redis, and over which wire: one of its own, whose answers it takes apart itself, or in a cluster the
//! crate's, which knows where a slot has gone. Both give the same entries.

use std::time::Duration;

use redis::{RedisError, RedisResult, Value, from_redis_value};
use tidegate_actors::{
    message::StreamId,
    ports::{Entry, GenerationStart, LogError},
};
use tokio::time::timeout;

use crate::redis::{
    connection::{CONNECT_TIMEOUT, connect},
    log::parse_generations,
    odd, scripts,
    server::{Connection, Server, Socket},
    stream::{
        answer::Answer,
        entry::{parse, size_bytes, text},
    },
    unavailable,
};

use super::{GRACE, MAX_BLOCK};

/// Answers in their order: generations, trimmed mark, registry version, last id.
type Meta = (Option<String>, Option<String>, Option<u64>, Option<String>);

/// What is asked about one stream.
pub(super) struct Ask<'a> {
    pub(super) stream: &'a str,
    pub(super) meta: &'a str,
    /// Entries after this.
    pub(super) after: StreamId,
    /// At most so many; 0 for the look alone.
    pub(super) count: usize,
    /// No more is kept once there are so many bytes.
    pub(super) enough_bytes: usize,
    /// How long to wait for the first.
    pub(super) block: Option<Duration>,
}

/// The answer: entries, and what they are worth, as it was found after them.
pub(super) struct Told {
    pub(super) entries: Vec<Entry>,
    pub(super) bytes: usize,
    /// How many came, those included that were not kept.
    pub(super) came: usize,
    pub(super) standing: Standing,
}

/// The stream's standing.
pub(super) struct Standing {
    pub(super) generations: Vec<GenerationStart>,
    pub(super) trimmed: StreamId,
    pub(super) version: u64,
    /// The last id that this server gave.
    pub(super) end: StreamId,
}

/// A connection of one reader's own.
pub(super) enum Line {
    Own(Socket),
    Cluster(Connection),
}

impl Line {
    pub(super) async fn open(server: &Server) -> RedisResult<Self> {
        match server.open(CONNECT_TIMEOUT).await? {
            Some(socket) => Ok(Self::Own(socket)),
            None => Ok(Self::Cluster(connect(server, MAX_BLOCK + GRACE).await?)),
        }
    }

    /// Entries, and a look after them.
    pub(super) async fn ask(&mut self, ask: &Ask<'_>) -> Result<Told, LogError> {
        let limit = ask.block.unwrap_or_default() + GRACE;
        let told = async {
            match self {
                Self::Own(socket) => ask_own(socket, ask).await,
                Self::Cluster(connection) => ask_crate(connection, ask).await,
            }
        };
        timeout(limit, told).await.map_err(|_| slow())?
    }

    /// Waits until one of these streams has something after its id; which one it was.
    pub(super) async fn wait(
        &mut self,
        streams: &[String],
        ids: &[String],
        block: Duration,
    ) -> Result<Option<usize>, LogError> {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(1).arg("BLOCK").arg(block.as_millis().max(1) as u64).arg("STREAMS");
        command.arg(streams).arg(ids);
        let asked = async {
            match self {
                Self::Own(socket) => {
                    socket.send(&command.get_packed_command()).await?;
                    checked(socket.value().await?)
                }
                Self::Cluster(connection) => command.query_async(connection).await,
            }
        };
        let answer = timeout(block + GRACE, asked).await.map_err(|_| slow())?;
        let answer = answer.map_err(|error: RedisError| unavailable(&error))?;
        let Value::Array(found) = answer else { return Ok(None) };
        let Some(Value::Array(first)) = found.into_iter().next() else { return Ok(None) };
        let name = first.first().and_then(text);
        Ok(streams.iter().position(|stream| Some(stream.as_str()) == name))
    }
}

fn pipeline(ask: &Ask<'_>) -> redis::Pipeline {
    let mut pipe = redis::pipe();
    if ask.count > 0 {
        let read = pipe.cmd("XREAD").arg("COUNT").arg(ask.count);
        if let Some(block) = ask.block {
            read.arg("BLOCK").arg(block.as_millis().max(1) as u64);
        }
        read.arg("STREAMS").arg(ask.stream).arg(ask.after.to_string());
    }
    look(&mut pipe, ask);
    pipe
}

fn look(pipe: &mut redis::Pipeline, ask: &Ask<'_>) {
    pipe.cmd("EVALSHA").arg(scripts::STANDING.get_hash()).arg(2).arg(ask.stream).arg(ask.meta);
}

async fn ask_own(socket: &mut Socket, ask: &Ask<'_>) -> Result<Told, LogError> {
    let in_words = |error: RedisError| unavailable(&error);
    socket.send(&pipeline(ask).get_packed_pipeline()).await.map_err(in_words)?;
    let mut answer = Answer::new(ask.count, ask.enough_bytes);
    while ask.count > 0 && !answer.take(&mut socket.buffer)? {
        socket.more().await.map_err(in_words)?;
    }
    let mut standing = checked(socket.value().await.map_err(in_words)?);
    if standing.as_ref().is_err_and(lacks_script) {
        // A server that has not met the script yet; only it can say so.
        let mut pipe = redis::pipe();
        pipe.cmd("SCRIPT").arg("LOAD").arg(scripts::STANDING_CODE);
        look(&mut pipe, ask);
        socket.send(&pipe.get_packed_pipeline()).await.map_err(in_words)?;
        checked(socket.value().await.map_err(in_words)?).map_err(in_words)?;
        standing = checked(socket.value().await.map_err(in_words)?);
    }
    let meta = from_redis_value(standing.map_err(in_words)?).map_err(|_| odd("meta"))?;
    let Answer { entries, bytes, came, .. } = answer;
    Ok(Told { entries, bytes, came, standing: standing_of(meta)? })
}

async fn ask_crate(connection: &mut Connection, ask: &Ask<'_>) -> Result<Told, LogError> {
    let pipe = pipeline(ask);
    let asked = async |connection: &mut Connection| -> RedisResult<(Value, Meta)> {
        if ask.count > 0 {
            return pipe.query_async(connection).await;
        }
        let (meta,) = pipe.query_async(connection).await?;
        Ok((Value::Nil, meta))
    };
    let answer = match asked(connection).await {
        Err(error) if lacks_script(&error) => {
            let loaded = scripts::STANDING.load_async(connection).await;
            loaded.map_err(|error| unavailable(&error))?;
            asked(connection).await
        }
        answer => answer,
    };
    let (read, meta) = answer.map_err(|error| unavailable(&error))?;
    let mut entries = entries_of(read)?;
    let (came, mut bytes) = (entries.len(), 0);
    entries.retain(|entry| {
        let kept = bytes < ask.enough_bytes;
        bytes += if kept { size_bytes(entry) } else { 0 };
        kept
    });
    Ok(Told { entries, bytes, came, standing: standing_of(meta)? })
}

fn standing_of((generations, trimmed, version, end): Meta) -> Result<Standing, LogError> {
    let id = |text: Option<String>| text.as_deref().map_or(Ok(StreamId::ZERO), str::parse);
    Ok(Standing {
        generations: parse_generations(generations.as_deref().unwrap_or_default()).ok_or_else(|| odd("meta"))?,
        trimmed: id(trimmed).map_err(|_| odd("trimmed"))?,
        version: version.unwrap_or(0),
        end: id(end).map_err(|_| odd("last id"))?,
    })
}

/// An answer that is an error, as one.
fn checked(value: Value) -> RedisResult<Value> {
    match value {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

fn lacks_script(error: &RedisError) -> bool {
    let all = error.clone().into_server_errors();
    error.code() == Some("NOSCRIPT") || all.is_some_and(|all| all.iter().any(|(_, error)| error.code() == "NOSCRIPT"))
}

fn slow() -> LogError {
    LogError::Unavailable("Redis did not answer in time".into())
}

/// Reads `[[stream, [entry, …]]]`, or nil.
fn entries_of(answer: Value) -> Result<Vec<Entry>, LogError> {
    let Value::Array(mut streams) = answer else { return Ok(Vec::new()) };
    let Some(Value::Array(mut parts)) = streams.pop() else { return Ok(Vec::new()) };
    let Some(Value::Array(entries)) = parts.pop() else { return Err(odd("XREAD")) };
    entries.into_iter().map(|entry| parse(entry).ok_or_else(|| odd("an entry"))).collect()
}
