//! A terminal's stream of events: a place in the log and the bell. What was missed and what is new are one path; what lies
//! below the window is read from Redis in pieces, and one that has no place is told everything valid that it has not received.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use redis::streams::StreamRangeReply;
use serde_json::json;
use tidegate_actors::message::{MessageId, Position, StreamId};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    hub::{Hub, Step},
    message::{Entry, Kind, Message, State},
    store::{CastError, Page},
    terminals::Terminal,
    window::{Piece, Translated, event, translate},
};

/// A stream that has nothing to say gives a sign of life, lest a balancer takes it for dead.
const SIGN_EVERY: Duration = Duration::from_secs(15);
/// A stream ends after this, and the terminal asks again with its cursor.
const LASTS: Duration = Duration::from_secs(600);
/// After something could not be read from Redis.
const AGAIN: Duration = Duration::from_millis(500);
/// A node has read an entry of the log within this after it was written, or it is behind all the same.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Entries that are read in one go.
const PIECE: usize = 200;
/// Most messages that one without a place is told of, the newest.
const MOST_MISSED: usize = 500;
/// Broadcasts that are looked at for that.
const MOST_LOOKED_AT: usize = 10_000;

/// One terminal's stream.
pub struct TerminalStream {
    hub: Arc<Hub>,
    terminal: Arc<Terminal>,
    bell: watch::Receiver<u64>,
    stopped: watch::Receiver<bool>,
    ends: Instant,
    /// Where it stands; nothing before it is known.
    at: Option<Position>,
    cursor: Option<Position>,
    said_hello: bool,
    up: bool,
    queue: VecDeque<Bytes>,
    /// Told already when it had no place, and maybe above the place that it has now.
    already: HashSet<String>,
    /// When it found its place.
    begun: Instant,
    over: bool,
}

impl TerminalStream {
    /// A stream for this terminal, from behind its cursor.
    #[must_use]
    pub fn new(hub: &Arc<Hub>, terminal: Arc<Terminal>, cursor: Option<&str>, stopped: watch::Receiver<bool>) -> Self {
        hub.connect();
        hub.beat(&terminal.id);
        let cursor = cursor.map(str::trim).filter(|cursor| !cursor.is_empty());
        // One that is no cursor of ours is one of a log that nobody remembers.
        let cursor = cursor.map(|text| match text.parse::<MessageId>() {
            Ok(MessageId(at)) => at,
            Err(_) => Position { generation: tidegate_actors::message::Generation::new(""), id: StreamId::ZERO },
        });
        Self {
            hub: Arc::clone(hub),
            terminal,
            bell: hub.bell(),
            stopped,
            ends: Instant::now() + LASTS,
            at: None,
            cursor,
            said_hello: false,
            up: hub.is_up(),
            queue: VecDeque::new(),
            already: HashSet::new(),
            begun: Instant::now(),
            over: false,
        }
    }

    /// What to send next; `None` ends it.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.queue.pop_front() {
                return Some(bytes);
            }
            if self.over || *self.stopped.borrow() || Instant::now() >= self.ends {
                return None;
            }
            self.bell.borrow_and_update();
            self.look();
            if !self.queue.is_empty() {
                continue;
            }
            let outcome = match &mut self.at {
                None => self.begin().await,
                Some(at) => {
                    let region = region(&self.hub, &self.terminal.shop);
                    let step = self.hub.next(at, &self.terminal, &region);
                    match step {
                        Step::Send(_, Some(new)) if self.is_told(&new) => Ok(true),
                        Step::Send(bytes, _) => return Some(bytes),
                        Step::Gap => {
                            self.tell("gap", &json!({}));
                            Ok(true)
                        }
                        Step::Anew => {
                            self.at = None;
                            self.cursor = None;
                            self.tell("gap", &json!({}));
                            Ok(true)
                        }
                        Step::Below(from) => self.read(from).await.map(|()| true),
                        Step::Wait => Ok(false),
                    }
                }
            };
            let pause = match outcome {
                Ok(true) => continue,
                Ok(false) => SIGN_EVERY,
                Err(error) => {
                    tracing::debug!(terminal = %self.terminal.id, %error, "what a terminal missed could not be read");
                    AGAIN
                }
            };
            let rested = tokio::select! {
                rung = self.bell.changed() => {
                    rung.ok()?;
                    false
                }
                _ = self.stopped.changed() => return None,
                () = sleep(pause) => true,
            };
            if rested && pause == SIGN_EVERY {
                return Some(self.sign());
            }
        }
    }

    /// Whether it may still see anything, and what else has changed beside the log.
    fn look(&mut self) {
        if !std::mem::replace(&mut self.said_hello, true) {
            self.up = self.hub.is_up();
            self.queue.push_back("retry: 1000\n".into());
            self.hello();
        }
        let known = match self.hub.terminal(&self.terminal.id) {
            Some(known) => known,
            // Redis has lost the record, and it is made anew with the next request.
            None => return self.look_at_registry(),
        };
        if known.is_revoked() {
            self.end();
        } else if !Arc::ptr_eq(&known, &self.terminal) {
            let moved = known.shop != self.terminal.shop;
            self.terminal = known;
            // It says so on its screen.
            if moved {
                self.hello();
            }
        }
        self.look_at_redis();
    }

    fn look_at_registry(&mut self) {
        let revoked =
            self.hub.document().is_some_and(|document| document.revoked_terminals.contains(&self.terminal.id));
        if revoked {
            self.end();
        }
        self.look_at_redis();
    }

    fn look_at_redis(&mut self) {
        let up = self.hub.is_up();
        if std::mem::replace(&mut self.up, up) != up && !self.over {
            self.tell("redis", &json!({"up": up}));
        }
    }

    fn hello(&mut self) {
        let hello = json!({
            "terminal": shown(&self.hub, &self.terminal),
            "node": self.hub.node(),
            "redis": self.up,
            "answer_within_ms": self.hub.answer_within_ms(),
        });
        self.tell("hello", &hello);
    }

    fn end(&mut self) {
        self.tell("revoked", &json!({}));
        self.over = true;
    }

    fn tell(&mut self, name: &str, data: &serde_json::Value) {
        self.queue.push_back(format!("event: {name}\ndata: {data}\n\n").into());
    }

    /// A comment, and where it stands: so what was for others need not be looked at again.
    fn sign(&self) -> Bytes {
        match &self.at {
            Some(at) => format!(": still here\nid: {}\n\n", MessageId(at.clone())).into(),
            None => Bytes::from_static(b": still here\n\n"),
        }
    }

    /// Whether this was told when it had no place.
    fn is_told(&mut self, id: &str) -> bool {
        if self.already.is_empty() {
            return false;
        }
        if self.begun.elapsed() > SEEN_WITHIN {
            self.already = HashSet::new();
            return false;
        }
        self.already.remove(id)
    }

    /// Finds out where it stands; false while nobody knows.
    async fn begin(&mut self) -> Result<bool, CastError> {
        let (newest, to, trimmed, translated) = {
            let head = self.hub.head();
            let Some(newest) = head.generations.last() else { return Ok(false) };
            let translated = self.cursor.as_ref().map(|cursor| translate(&head.generations, cursor));
            (newest.generation.clone(), head.window.to, head.trimmed, translated)
        };
        let here = |id| Position { generation: newest.clone(), id };
        match translated {
            Some(Translated::At(id)) if id >= trimmed => {
                self.at = Some(here(id));
                return Ok(true);
            }
            Some(Translated::At(id) | Translated::Lost(id)) => {
                self.tell("gap", &json!({}));
                self.at = Some(here(id));
                return Ok(true);
            }
            Some(Translated::Unknown) => {
                self.tell("gap", &json!({}));
                self.cursor = None;
            }
            None => {}
        }
        let missed = {
            let _turn = self.hub.catching_up.acquire().await;
            missed(&self.hub, &self.terminal).await?
        };
        for message in &missed {
            // Without an id: one whose stream breaks in between asks again as one that has no place.
            self.queue.push_back(event(None, &message.entry(Kind::Message)));
        }
        self.begun = Instant::now();
        self.already = missed.into_iter().map(|message| message.id).collect();
        self.queue.push_back(format!("id: {}\n\n", MessageId(here(to))).into());
        self.at = Some(here(to));
        Ok(true)
    }

    /// Reads the next piece below the window.
    async fn read(&mut self, from: StreamId) -> Result<(), CastError> {
        let Some(at) = self.at.clone() else { return Ok(()) };
        let hub = Arc::clone(&self.hub);
        let _turn = hub.catching_up.acquire().await;
        let log = self.hub.broadcasts.keys().log();
        let found: StreamRangeReply = self
            .hub
            .broadcasts
            .run(async |mut connection| {
                let mut call = redis::cmd("XRANGE");
                call.arg(&log).arg(format!("({}", at.id)).arg(from.to_string()).arg("COUNT").arg(PIECE);
                call.query_async(&mut connection).await
            })
            .await?;
        let last = if found.ids.len() < PIECE { Some(from) } else { None };
        let mut pieces = Vec::new();
        for one in found.ids {
            let Ok(id) = one.id.parse::<StreamId>() else { continue };
            let Some(entry) = one.get::<String>("m").and_then(|text| serde_json::from_str::<Entry>(&text).ok()) else {
                continue;
            };
            pieces.push(Piece::new(&Position { generation: at.generation.clone(), id }, entry));
        }
        let end = last.or(pieces.last().map(|piece| piece.id)).unwrap_or(from);
        let region = region(&self.hub, &self.terminal.shop);
        let now = self.hub.now_ms();
        pieces.retain(|piece| piece.is_for(&self.terminal.id, &self.terminal.shop, &region, now));
        // What was recalled since is not shown for a moment first.
        let ids: Vec<String> =
            pieces.iter().filter(|piece| piece.says()).map(|piece| piece.message.to_string()).collect();
        let gone: HashSet<String> = if ids.is_empty() {
            HashSet::new()
        } else {
            let (_, found) = self.hub.broadcasts.load(&ids).await?;
            ids.into_iter().zip(found).filter(|(_, one)| !one.as_ref().is_some_and(is_out)).map(|(id, _)| id).collect()
        };
        for piece in pieces {
            let told = piece.is_new() && self.is_told(&piece.message);
            let recalled = piece.says() && gone.contains(&*piece.message);
            if !told && !recalled {
                self.queue.push_back(piece.bytes);
            }
        }
        self.at = Some(Position { id: end, ..at });
        Ok(())
    }
}

impl Drop for TerminalStream {
    fn drop(&mut self) {
        self.hub.disconnect();
    }
}

fn is_out(message: &Message) -> bool {
    message.state == State::Sent
}

fn region(hub: &Hub, shop: &str) -> String {
    hub.shops().get(shop).map(|shop| shop.region.clone()).unwrap_or_default()
}

/// A terminal as it is told of itself.
#[must_use]
pub fn shown(hub: &Hub, terminal: &Terminal) -> serde_json::Value {
    let shops = hub.shops();
    let shop = shops.get(&terminal.shop);
    let title = shop.map_or(terminal.shop.as_str(), |shop| shop.title.as_str());
    let region = shop.map_or("", |shop| shop.region.as_str());
    json!({
        "id": terminal.id,
        "name": terminal.title(),
        "shop": {"name": terminal.shop, "title": title, "region": region},
    })
}

/// What a terminal has missed since it was enrolled: valid still, and not received by it (or not confirmed, where it must be);
/// the oldest first.
async fn missed(hub: &Hub, terminal: &Terminal) -> Result<Vec<Message>, CastError> {
    let region = region(hub, &terminal.shop);
    let now = hub.now_ms();
    let (mut found, mut looked, mut before) = (Vec::new(), 0, None);
    while found.len() < MOST_MISSED && looked < MOST_LOOKED_AT {
        let Page { messages, next } = hub.broadcasts.page(before.as_ref(), terminal.created_ms, PIECE).await?;
        looked += PIECE;
        let mine: Vec<Message> = messages
            .into_iter()
            .filter(|one| is_out(one) && !one.content.is_over(now) && one.audience.has(&terminal.shop, &region))
            .collect();
        let ids: Vec<&str> = mine.iter().map(|message| message.id.as_str()).collect();
        let receipts = hub.broadcasts.receipts_of(&terminal.id, &ids).await?;
        for (message, receipt) in mine.into_iter().zip(receipts) {
            let open = match receipt {
                None => true,
                Some(receipt) => message.content.must_confirm && receipt.confirmed_ms.is_none(),
            };
            if open && found.len() < MOST_MISSED {
                found.push(message);
            }
        }
        match next {
            Some(place) => before = Some(place),
            None => break,
        }
    }
    found.reverse();
    Ok(found)
}
