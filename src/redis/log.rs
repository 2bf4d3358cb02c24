//! The log as the owner of one destination sees it: leases, positions, dead letters, plans and commands.
//!
//! Every call may be repeated; every refusal is decided by Redis, in the script that would have made the change. All of
//! it works in a full Redis. The destination's actor calls it on its own arbiter.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::RedisResult;
use tidegate_actors::{
    message::{Generation, Position, StreamId},
    ports::{
        Abandoned, Advance, Backlog, Command, DeadLetter, EventLog, GenerationStart, LaneView, LogError, PlanRecord,
    },
    transaction::{DeadId, LaneId},
};

use super::{Keys, Link, Redis, dead, history::Filed, odd, random_token, scripts, sides, unavailable};

/// Most values in one write command: Lua unpacks them onto its stack.
const VALUES_PER_CALL: usize = 500;
/// Most bytes in one write command of dead letters.
const BYTES_PER_CALL: usize = 4 << 20;
/// Most commands handed out at once.
const COMMANDS: isize = 100;
/// How long it is remembered what became of a dead letter that is gone: longer than records are retained as a rule.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Commands among which decisions are looked for in one call.
const DECISIONS_AMONG: usize = 1000;

/// [`EventLog`] over Redis.
pub struct RedisLog {
    link: Link,
    keys: Keys,
    group: Arc<str>,
    node: Option<Arc<str>>,
}

impl RedisLog {
    /// A log for the owner of a destination. Its name is that of the consumer group that shows its lag.
    #[must_use]
    pub fn new(redis: &Redis, destination_name: &str) -> Self {
        Self { link: redis.own_link(), keys: redis.keys().clone(), group: destination_name.into(), node: None }
    }

    /// The same, signing the history with the node's name.
    #[must_use]
    pub fn of_node(mut self, node: &Arc<str>) -> Self {
        self.node = Some(Arc::clone(node));
        self
    }

    async fn lease_stream(&self, stream: &str, destination: &str, owner: &str, ttl: Duration) -> RedisResult<bool> {
        let key = self.keys.of(stream).lease(destination);
        let ms = ttl.as_millis().max(1) as u64;
        self.link
            .run(async |mut connection| scripts::LEASE.key(&key).arg(owner).arg(ms).invoke_async(&mut connection).await)
            .await
    }

    async fn release_stream(&self, stream: &str, destination: &str, owner: &str) -> RedisResult<()> {
        let key = self.keys.of(stream).lease(destination);
        self.link
            .run(async |mut connection| scripts::RELEASE.key(&key).arg(owner).invoke_async(&mut connection).await)
            .await
    }

    /// A write command that a full Redis must take.
    async fn write(&self, command: &str, key: &str, values: &[Box<[u8]>]) -> Result<(), LogError> {
        self.link
            .run(async |mut connection| {
                let mut call = scripts::CALL.key(key);
                call.arg(command);
                for value in values {
                    call.arg(&value[..]);
                }
                call.invoke_async::<redis::Value>(&mut connection).await.map(|_| ())
            })
            .await
            .map_err(|error| unavailable(&error))
    }
}

/// Reads `token after,token after`.
pub(crate) fn parse_generations(list: &str) -> Option<Vec<GenerationStart>> {
    list.split(',')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (token, after) = part.split_once(' ')?;
            Some(GenerationStart { generation: Generation::new(token), after: after.parse().ok()? })
        })
        .collect()
}

/// Reads `generation id …`.
pub(crate) fn parse_position(text: &str) -> Option<Position> {
    let mut words = text.split(' ');
    Some(Position { generation: Generation::new(words.next()?), id: words.next()?.parse().ok()? })
}

/// The routes of a destination that began below their lane, among the starts as they are stored (`generation id backfill
/// destination`).
pub(crate) fn backfills(starts: &[(String, String)], destination: &str) -> Vec<String> {
    let marked = |start: &str| {
        let mut words = start.split(' ').skip(2);
        words.next() == Some("backfill") && words.next() == Some(destination)
    };
    starts.iter().filter(|(_, start)| marked(start)).map(|(route, _)| route.clone()).collect()
}

/// Whether a lane, as it is stored, is one of a parallel destination.
pub(crate) fn is_parallel(text: &str) -> bool {
    text.split(' ').nth(4) == Some("parallel")
}

/// The streams that these lanes are on, each once, always in the same order so that two takers meet at the first.
fn streams(lanes: &[LaneId]) -> Vec<(&str, &str)> {
    let mut streams: Vec<_> = lanes.iter().map(|lane| (&*lane.stream, &*lane.destination)).collect();
    streams.sort_unstable();
    streams.dedup();
    streams
}

fn bytes(text: impl AsRef<[u8]>) -> Box<[u8]> {
    text.as_ref().into()
}

#[async_trait(?Send)]
impl EventLog for RedisLog {
    async fn lease(&mut self, lanes: &[LaneId], owner: &str, ttl: Duration) -> Result<bool, LogError> {
        let streams = streams(lanes);
        for (place, (stream, destination)) in streams.iter().enumerate() {
            if self.lease_stream(stream, destination, owner, ttl).await.map_err(|error| unavailable(&error))? {
                continue;
            }
            // All or none: whoever has the first should get the rest too.
            for (stream, destination) in &streams[..place] {
                self.release_stream(stream, destination, owner).await.map_err(|error| unavailable(&error))?;
            }
            return Ok(false);
        }
        Ok(true)
    }

    async fn renew(&mut self, lanes: &[LaneId], owner: &str, ttl: Duration) -> Result<bool, LogError> {
        let ms = ttl.as_millis().max(1) as u64;
        for (stream, destination) in streams(lanes) {
            let key = self.keys.of(stream).lease(destination);
            let renewed: bool = self
                .link
                .run(async |mut connection| {
                    scripts::RENEW.key(&key).arg(owner).arg(ms).invoke_async(&mut connection).await
                })
                .await
                .map_err(|error| unavailable(&error))?;
            if !renewed {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn release(&mut self, lanes: &[LaneId], owner: &str) -> Result<(), LogError> {
        for (stream, destination) in streams(lanes) {
            self.release_stream(stream, destination, owner).await.map_err(|error| unavailable(&error))?;
        }
        Ok(())
    }

    async fn view(&mut self, lane: &LaneId) -> Result<LaneView, LogError> {
        let keys = self.keys.of(&lane.stream);
        let token = random_token();
        type Pairs = Vec<(String, String)>;
        type Raw = (String, String, Option<String>, Option<String>, Pairs, Pairs);
        let (generations, trimmed, position, bind, starts, sides): Raw = self
            .link
            .run(async |mut connection| {
                let mut call = scripts::VIEW.key(keys.stream());
                call.key(keys.meta()).key(keys.lanes()).key(keys.starts()).key(keys.bind()).key(keys.sides());
                call.arg(&token).arg(&*lane.destination).invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        let backfills = backfills(&starts, &lane.destination);
        let starts = starts
            .iter()
            .filter(|(_, start)| start.rsplit(' ').next() == Some(&*lane.destination))
            .map(|(route, start)| Some((route.clone(), parse_position(start)?)))
            .collect::<Option<_>>();
        Ok(LaneView {
            generations: parse_generations(&generations).filter(|list| !list.is_empty()).ok_or_else(|| odd("meta"))?,
            trimmed: trimmed.parse().map_err(|_| odd("trimmed"))?,
            starts: starts.ok_or_else(|| odd("starts"))?,
            position: position.map(|text| parse_position(&text).ok_or_else(|| odd("lanes"))).transpose()?,
            bind,
            backfills,
            sides: sides::parse(sides.iter().map(|(field, side)| (field, side)), &lane.destination).rows,
        })
    }

    async fn bind(&mut self, lane: &LaneId, token: &str) -> Result<(), LogError> {
        self.write("HSETNX", &self.keys.of(&lane.stream).bind(), &[bytes(&*lane.destination), bytes(token)]).await
    }

    async fn rebind(&mut self, lane: &LaneId, owner: &str, token: &str) -> Result<(), LogError> {
        let keys = self.keys.of(&lane.stream);
        let mine: u8 = self
            .link
            .run(async |mut connection| {
                let mut call = scripts::REBIND.key(keys.bind());
                call.key(keys.lease(&lane.destination)).arg(&*lane.destination).arg(owner).arg(token);
                call.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        if mine == 1 { Ok(()) } else { Err(LogError::NotMine) }
    }

    async fn advance(&mut self, advance: &Advance) -> Result<(), LogError> {
        let Advance { lane, owner, version, newest, to, sides, part, known, history, void } = advance;
        let keys = self.keys.of(&lane.stream);
        // A side's batch counts in the generation where the side stands; one that has met its main row, where that does.
        let stands = sides.iter().find(|side| side.part == *part).map_or(to, |side| &side.at);
        let record = match history {
            Some(record) => {
                let filed = Filed { record: record.clone(), node: self.node.clone() };
                serde_json::to_string(&filed).map_err(|_| odd("history"))?
            }
            None => String::new(),
        };
        let entries = history.as_ref().filter(|_| **part == *"main").map_or(0, |record| record.entries);
        let last = history.as_ref().map_or(to.id, |record| record.last).to_string();
        let sides: Vec<_> = sides
            .iter()
            .map(|side| Ok((side, serde_json::to_string(side).map_err(|_| odd("side"))?)))
            .collect::<Result<_, LogError>>()?;
        let answer: String = self
            .link
            .run(async |mut connection| {
                let mut call = scripts::ADVANCE.key(keys.stream());
                call.key(keys.meta()).key(keys.lanes()).key(keys.lease(&lane.destination)).key(keys.starts());
                call.key(keys.history_of(&lane.destination, &stands.generation.0, part));
                call.key(keys.dead(&lane.destination)).key(keys.sides()).key(keys.parts());
                call.key(keys.dead_lines(&lane.destination));
                call.arg(&*lane.destination).arg(&**owner).arg(*version).arg(&*newest.0).arg(&*to.generation.0);
                call.arg(to.id.to_string()).arg(entries).arg(&record).arg(&*self.group);
                call.arg(&**part).arg(&*stands.generation.0).arg(sides.len()).arg(known.len()).arg(&last);
                for (side, json) in &sides {
                    call.arg(&*side.part).arg(format!("{} {}", side.at.generation.0, side.at.id)).arg(json);
                }
                for route in known {
                    call.arg(&**route);
                }
                for letter in void {
                    call.arg(dead::field(letter));
                }
                call.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        match answer.as_str() {
            "OK" => Ok(()),
            "NOT_MINE" => Err(LogError::NotMine),
            "NEW_GENERATION" => Err(LogError::NewGeneration),
            "NEW_VERSION" => Err(LogError::NewVersion),
            "NO_SUCH_ENTRY" => Err(LogError::NoSuchEntry(to.id)),
            _ => Err(odd("advance")),
        }
    }

    async fn backlog(&mut self, lane: &LaneId, after: StreamId) -> Result<Backlog, LogError> {
        let keys = self.keys.of(&lane.stream);
        let (messages, first): (u64, Option<String>) = self
            .link
            .run(async |mut connection| {
                let mut call = scripts::BACKLOG.key(keys.stream());
                call.key(keys.lanes()).arg(&*lane.destination).arg(after.to_string());
                call.invoke_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        let oldest_ms = first.and_then(|id| id.parse::<StreamId>().ok()).map(|id| id.ms);
        Ok(Backlog { messages, oldest_ms })
    }

    async fn keep_dead(&mut self, lane: &LaneId, letters: &[DeadLetter]) -> Result<(), LogError> {
        let keys = self.keys.of(&lane.stream);
        let (key, lines) = (keys.dead(&lane.destination), keys.dead_lines(&lane.destination));
        let (mut values, mut size) = (Vec::new(), 0);
        for (place, letter) in letters.iter().enumerate() {
            let json = serde_json::to_vec(letter).map_err(|_| odd("dead letter"))?;
            let line = dead::lines::line(letter);
            size += json.len() + line.len();
            values.extend([bytes(dead::field(&letter.dead)), json.into_boxed_slice(), bytes(line)]);
            if size >= BYTES_PER_CALL || values.len() >= VALUES_PER_CALL || place + 1 == letters.len() {
                let values = std::mem::take(&mut values);
                self.link
                    .run(async |mut connection| {
                        let mut call = scripts::KEEP.key(&key);
                        call.key(&lines);
                        for value in &values {
                            call.arg(&value[..]);
                        }
                        call.invoke_async::<()>(&mut connection).await
                    })
                    .await
                    .map_err(|error| unavailable(&error))?;
                size = 0;
            }
        }
        Ok(())
    }

    async fn dead(&mut self, lane: &LaneId, dead: &DeadId) -> Result<Option<DeadLetter>, LogError> {
        dead::get(&self.link, &self.keys.of(&lane.stream), &lane.destination, dead).await
    }

    async fn dead_ids(&mut self, lane: &LaneId) -> Result<Vec<DeadId>, LogError> {
        let key = self.keys.of(&lane.stream).dead(&lane.destination);
        let fields: Vec<String> = self
            .link
            .run(async |mut connection| redis::cmd("HKEYS").arg(&key).query_async(&mut connection).await)
            .await
            .map_err(|error| unavailable(&error))?;
        Ok(fields.iter().filter_map(|field| dead::parse_field(field)).collect())
    }

    async fn keep_abandoned(&mut self, lane: &LaneId, abandoned: &Abandoned) -> Result<(), LogError> {
        let json = serde_json::to_vec(abandoned).map_err(|_| odd("abandoned"))?;
        let key = self.keys.of(&lane.stream).abandoned(&lane.destination);
        self.write("HSET", &key, &[bytes(abandoned.field()), json.into_boxed_slice()]).await
    }

    async fn keep_plan(&mut self, lane: &LaneId, digest: &str, plan: &PlanRecord) -> Result<(), LogError> {
        let json = serde_json::to_vec(plan).map_err(|_| odd("plan"))?;
        self.write("HSET", &self.keys.of(&lane.stream).plans(), &[bytes(digest), json.into_boxed_slice()]).await
    }

    async fn commands(&mut self, lane: &LaneId) -> Result<Vec<Command>, LogError> {
        let key = self.keys.of(&lane.stream).commands(&lane.destination);
        let waiting: Vec<Vec<u8>> = self
            .link
            .run(async |mut connection| {
                redis::cmd("LRANGE").arg(&key).arg(0).arg(COMMANDS - 1).query_async(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))?;
        let mut commands = Vec::with_capacity(waiting.len());
        for raw in waiting {
            match serde_json::from_slice(&raw) {
                Ok(command) => commands.push(command),
                // Nobody will ever understand it better, and it would stand at the head of the list for good.
                Err(_) => {
                    tracing::warn!(stream = %lane.stream, "a command that can't be understood was taken off its list");
                    self.write("LREM", &key, &[bytes("1"), raw.into_boxed_slice()]).await?;
                }
            }
        }
        Ok(commands)
    }

    async fn decisions(&mut self, lane: &LaneId) -> Result<Vec<Command>, LogError> {
        // Redrives that were asked for before wait for the decision: they must not stand before it.
        let key = self.keys.of(&lane.stream).commands(&lane.destination);
        let mut decisions = Vec::new();
        for from in (0..).step_by(DECISIONS_AMONG) {
            let last = from + DECISIONS_AMONG - 1;
            let some: Vec<Vec<u8>> = self
                .link
                .run(async |mut connection| {
                    redis::cmd("LRANGE").arg(&key).arg(from).arg(last).query_async(&mut connection).await
                })
                .await
                .map_err(|error| unavailable(&error))?;
            let understood = some.iter().filter_map(|raw| serde_json::from_slice(raw).ok());
            decisions.extend(understood.filter(Command::decides));
            if some.len() < DECISIONS_AMONG {
                break;
            }
        }
        Ok(decisions)
    }

    async fn finish(&mut self, lane: &LaneId, command: &Command) -> Result<(), LogError> {
        let json = serde_json::to_vec(command).map_err(|_| odd("command"))?;
        let keys = self.keys.of(&lane.stream);
        let (field, end) = match command {
            Command::Redrive { dead, .. } => (dead::field(dead), "redriven"),
            Command::Discard { dead, .. } => (dead::field(dead), "discarded"),
            Command::Replay { .. } | Command::Resume { .. } | Command::Abandon { .. } => (String::new(), ""),
        };
        let given_up = if let Command::Abandon { token, .. } = command { token.as_str() } else { "" };
        self.link
            .run(async |mut connection| {
                let mut call = scripts::FINISH.key(keys.commands(&lane.destination));
                call.key(keys.dead(&lane.destination)).key(keys.dead_end(&lane.destination, &field));
                call.key(keys.abandoned(&lane.destination));
                call.arg(&json[..]).arg(&field).arg(end).arg(REMEMBERED.as_millis() as u64).arg(given_up);
                call.invoke_async::<()>(&mut connection).await
            })
            .await
            .map_err(|error| unavailable(&error))
    }
}
