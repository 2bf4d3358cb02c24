//! The broadcast actor: reads the log for all terminals of the node, sends what is due, writes the terminals' beats, and forgets
//! what is kept no longer. One per node, on a thread of its own; it is started anew when it ends.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorFutureExt as _, Arbiter, AsyncContext as _, Context, WrapFuture as _};
use redis::streams::{StreamRangeReply, StreamReadReply};
use serde_json::json;
use tidegate_actors::{
    delivery::random_token,
    message::{Position, StreamId},
    ports::GenerationStart,
    status::{ActorKind, StatusBoard, Vitals},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    hub::Hub,
    message::Entry,
    parts::KEPT_DAYS,
    roll::Roll,
    scripts,
    store::{Broadcasts, CastError, odd},
    terminals::Terminal,
    window::{MOST_ENTRIES, Piece, Translated, Window, translate},
};
use crate::{
    http::metrics,
    redis::{Connection, connection::describe, log::parse_generations, server::Limits},
};

/// The actor's name on the board.
const NAME: &str = "terminals";
/// How often it looks at everything beside the log.
const EVERY: Duration = Duration::from_secs(1);
/// How long a read of the log waits for something new.
const BLOCK: Duration = Duration::from_millis(1_000);
/// Longest time for that read.
const READ_WITHIN: Duration = Duration::from_millis(3_000);
/// After the connection for reading broke.
const AGAIN: Duration = Duration::from_millis(200);
/// How often old messages are looked for.
const TRIM_EVERY: Duration = Duration::from_secs(60);
/// Entries that are read in one go.
const PIECE: usize = 500;
/// An actor that shows no progress for so long is given up.
const HUNG_S: f64 = 30.0;

/// Keeps a broadcast actor at work for as long as the node runs.
pub fn start(hub: &Arc<Hub>, board: &StatusBoard) {
    if let Some(clerk) = hub.take_clerk() {
        actix_rt::spawn(clerk.run());
    }
    let place = board.register(ActorKind::Broadcast, NAME);
    let hub = Arc::clone(hub);
    actix_rt::spawn(async move {
        loop {
            let (ends, mut ended) = mpsc::unbounded_channel();
            let vitals = place.begin(&ends);
            drop(ends);
            let arbiter = Arbiter::new();
            let of_actor = Arc::clone(&hub);
            let _ = BroadcastActor::start_in_arbiter(&arbiter.handle(), move |_| BroadcastActor::new(of_actor, vitals));
            loop {
                tokio::select! {
                    _ = ended.recv() => break,
                    () = sleep(EVERY * 5) => {
                        if place.health().last_progress_s > HUNG_S {
                            tracing::error!("the broadcast actor got no further; it is started anew");
                            break;
                        }
                    }
                }
            }
            arbiter.stop();
            place.restarting();
            metrics::actor_restarted(ActorKind::Broadcast.as_str());
            sleep(EVERY).await;
        }
    });
}

/// Brings broadcasts to the node's terminals.
pub struct BroadcastActor {
    hub: Arc<Hub>,
    rounds: Option<Rounds>,
    vitals: Vitals,
}

impl BroadcastActor {
    fn new(hub: Arc<Hub>, vitals: Vitals) -> Self {
        let rounds = Rounds {
            broadcasts: hub.broadcasts.beside(),
            hub: Arc::clone(&hub),
            terminals: None,
            trimmed: None,
            error: None,
        };
        Self { hub, rounds: Some(rounds), vitals }
    }

    fn round(&mut self, context: &mut Context<Self>) {
        let Some(mut rounds) = self.rounds.take() else { return };
        let round = async move {
            let shown = rounds.show().await;
            (rounds, shown)
        };
        context.spawn(round.into_actor(self).map(|(rounds, shown), actor, _| {
            actor.rounds = Some(rounds);
            if shown.up {
                actor.vitals.running()
            } else {
                actor.vitals.waiting()
            }
            actor.vitals.publish(&shown.detail);
        }));
    }
}

impl Actor for BroadcastActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.vitals.running();
        let reader = Reader { hub: Arc::clone(&self.hub), broadcasts: self.hub.broadcasts.beside() };
        context.spawn(reader.run().into_actor(self));
        self.round(context);
        context.run_interval(EVERY, Self::round);
    }
}

/// What a round came to.
struct Shown {
    up: bool,
    detail: serde_json::Value,
}

/// What is looked at once a second.
struct Rounds {
    hub: Arc<Hub>,
    broadcasts: Broadcasts,
    /// The version of the terminals that is known.
    terminals: Option<String>,
    trimmed: Option<Instant>,
    error: Option<String>,
}

impl Rounds {
    async fn show(&mut self) -> Shown {
        let outcome = self.round().await;
        let error = outcome.as_ref().err().map(ToString::to_string);
        if let Some(why) = error.as_ref().filter(|why| self.error.as_ref() != Some(*why)) {
            tracing::warn!(why, "broadcasts wait");
        }
        self.error = error;
        let connected = self.hub.connected();
        metrics::broadcast_terminals(u32::try_from(connected).unwrap_or(u32::MAX));
        let last = { self.hub.head().window.to };
        let detail = json!({
            "terminals": connected,
            "last_event": (last != StreamId::ZERO).then(|| last.to_string()),
            "lag_ms": outcome.as_ref().ok(),
            "last_error": self.error,
        });
        Shown { up: outcome.is_ok(), detail }
    }

    /// One look at everything; how far this node is behind the log, in milliseconds.
    async fn round(&mut self) -> Result<u64, CastError> {
        let beats = self.hub.take_beats();
        let tick = tick(&self.broadcasts, &beats).await.inspect_err(|_| self.hub.give_beats_back(beats.clone()))?;
        self.hub.set_clock(tick.now_ms);
        if self.terminals.as_ref() != Some(&tick.terminals) {
            let mut all = self.broadcasts.terminals().await?;
            // A record is never taken away: Redis has lost these, and this node has not.
            for lost in self.hub.missing(&all) {
                self.broadcasts.put_terminal("", &lost).await?;
                all.push(Terminal::clone(&lost));
            }
            self.hub.set_roster(all);
            self.terminals = Some(tick.terminals);
        }
        if !tick.due.is_empty() {
            // Terminals may have come and gone since these were written.
            let document = self.hub.document().unwrap_or_default();
            let roll = Roll::call(&self.broadcasts, &document).await?;
            self.broadcasts.send_due(&tick.due, |audience| roll.reach(audience)).await?;
        }
        if self.trimmed.is_none_or(|at| at.elapsed() >= TRIM_EVERY) {
            let days = self.hub.document().and_then(|document| document.settings.broadcasts_kept_days);
            let kept = u64::from(days.unwrap_or(KEPT_DAYS)) * 86_400_000;
            let more = self.broadcasts.trim(tick.now_ms.saturating_sub(kept)).await?;
            self.trimmed = (!more).then(Instant::now);
        }
        let at = { self.hub.head().window.to };
        Ok(if tick.newest > at { tick.now_ms.saturating_sub(tick.newest.ms) } else { 0 })
    }
}

/// How things stand in Redis.
struct Tick {
    now_ms: u64,
    generations: Vec<GenerationStart>,
    trimmed: StreamId,
    terminals: String,
    newest: StreamId,
    due: Vec<String>,
}

async fn tick(broadcasts: &Broadcasts, beats: &[String]) -> Result<Tick, CastError> {
    let keys = broadcasts.keys();
    let token = random_token(10);
    let (now, list, trimmed, terminals, newest, due): (String, String, String, String, String, Vec<String>) =
        broadcasts
            .run(async |mut connection| {
                let mut call = scripts::TICK.key(keys.log());
                call.key(keys.log_meta()).key(keys.scheduled()).key(keys.beats()).key(keys.terminals_version());
                call.arg(&token).arg(beats).invoke_async(&mut connection).await
            })
            .await?;
    Ok(Tick {
        now_ms: now.parse().map_err(|_| odd())?,
        generations: parse_generations(&list).filter(|list| !list.is_empty()).ok_or_else(odd)?,
        trimmed: trimmed.parse().map_err(|_| odd())?,
        // A Redis that was emptied counts from the beginning.
        terminals: format!("{terminals} {}", list.rsplit(',').next().unwrap_or_default()),
        newest: newest.parse().map_err(|_| odd())?,
        due,
    })
}

/// Reads the log into the window.
struct Reader {
    hub: Arc<Hub>,
    broadcasts: Broadcasts,
}

impl Reader {
    async fn run(self) {
        loop {
            if let Err(why) = self.follow().await {
                self.hub.set_up(false);
                tracing::debug!(why, "the log of broadcasts is not read");
            }
            sleep(AGAIN).await;
        }
    }

    /// Reads over one connection until it breaks.
    async fn follow(&self) -> Result<(), String> {
        let limits = Limits { connect: Duration::from_secs(1), response: None };
        let connected = self.broadcasts.redis().server().connect(limits).await;
        let mut connection = connected.map_err(|error| describe(&error))?;
        // Every connection may be to another server than the last.
        self.settle(&mut connection).await?;
        let log = self.broadcasts.keys().log();
        let mut settled = Instant::now();
        loop {
            let at = { self.hub.head().window.to };
            let mut call = redis::cmd("XREAD");
            call.arg("COUNT").arg(PIECE).arg("BLOCK").arg(u64::try_from(BLOCK.as_millis()).unwrap_or(1_000));
            call.arg("STREAMS").arg(&log).arg(at.to_string());
            let read = timeout(READ_WITHIN, call.query_async::<Option<StreamReadReply>>(&mut connection)).await;
            let read = match read {
                Ok(Ok(read)) => read,
                Ok(Err(error)) => return Err(describe(&error)),
                Err(_) => return Err("Redis does not answer".into()),
            };
            self.hub.set_up(true);
            let found: Vec<_> = read.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids).collect();
            // In a cluster a connection goes on with another server unnoticed; and somebody may have emptied this one.
            if settled.elapsed() >= EVERY {
                self.settle(&mut connection).await?;
                settled = Instant::now();
                let stands = self.hub.head().window.to;
                if stands != at {
                    continue;
                }
            }
            if !found.is_empty() {
                self.hub.change_head(|head| {
                    let Some(newest) = head.generations.last().cloned() else { return };
                    for piece in found.iter().filter_map(|one| piece(one, &newest)) {
                        head.window.push(piece);
                    }
                });
            }
        }
    }

    /// Finds out which log this is, and fills the window where it is another one than before.
    async fn settle(&self, connection: &mut Connection) -> Result<(), String> {
        let tick = match timeout(READ_WITHIN, tick(&self.broadcasts, &[])).await {
            Ok(Ok(tick)) => tick,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("Redis does not answer".into()),
        };
        self.hub.set_clock(tick.now_ms);
        let goes_on = {
            let head = self.hub.head();
            match head.generations.last() {
                None => false,
                Some(newest) => {
                    let at = Position { generation: newest.generation.clone(), id: head.window.to };
                    translate(&tick.generations, &at) == Translated::At(at.id)
                }
            }
        };
        if goes_on {
            let changed = {
                let head = self.hub.head();
                head.generations != tick.generations || head.trimmed != tick.trimmed
            };
            if changed {
                self.hub.change_head(|head| {
                    head.generations = tick.generations;
                    head.trimmed = tick.trimmed;
                });
            }
            return Ok(());
        }
        let window = self.newest(connection, &tick).await?;
        self.hub.change_head(|head| {
            head.generations = tick.generations;
            head.trimmed = tick.trimmed;
            head.window = window;
        });
        Ok(())
    }

    /// A window of the newest entries.
    async fn newest(&self, connection: &mut Connection, tick: &Tick) -> Result<Window, String> {
        let log = self.broadcasts.keys().log();
        let mut call = redis::cmd("XREVRANGE");
        call.arg(&log).arg("+").arg("-").arg("COUNT").arg(MOST_ENTRIES);
        let read = timeout(READ_WITHIN * 3, call.query_async::<StreamRangeReply>(connection)).await;
        let found = match read {
            Ok(Ok(found)) => found.ids,
            Ok(Err(error)) => return Err(describe(&error)),
            Err(_) => return Err("Redis does not answer".into()),
        };
        // Where the log is shorter than the window, nothing lies below: a cursor of before it was trimmed is told of a gap.
        let below = match found.last() {
            Some(oldest) if found.len() == MOST_ENTRIES => oldest.id.parse().unwrap_or(StreamId::ZERO),
            _ => StreamId::ZERO,
        };
        let mut window = Window::behind(below);
        let Some(newest) = tick.generations.last() else { return Ok(window) };
        for piece in found.iter().rev().filter_map(|one| piece(one, newest)) {
            window.push(piece);
        }
        Ok(window)
    }
}

fn piece(one: &redis::streams::StreamId, newest: &GenerationStart) -> Option<Piece> {
    let id: StreamId = one.id.parse().ok()?;
    let entry = one.get::<String>("m").and_then(|text| serde_json::from_str::<Entry>(&text).ok());
    if entry.is_none() {
        tracing::error!(%id, "an entry of the log of broadcasts can't be understood; it is passed over");
    }
    Some(Piece::new(&Position { generation: newest.generation.clone(), id }, entry?))
}
