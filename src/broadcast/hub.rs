//! What a node's terminals are served from: the newest part of the log, who the terminals are, and whether Redis is there.
//!
//! The [`super::actor`] fills it; streams and requests of terminals read it, on any thread. Nobody waits for anybody here:
//! there is no queue per terminal, only a place in the log, and one bell for all.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};

use tidegate_actors::{
    delivery::now_ms,
    message::{Position, StreamId},
    ports::GenerationStart,
};
use tokio::sync::{Semaphore, watch};

use super::{
    message::Message,
    parts::TerminalKey,
    receipts::{Clerk, Desk},
    store::{Broadcasts, CastError},
    terminals::{Claim, Terminal, TokenKey},
    window::{Next, Translated, Window, translate},
};
use crate::{
    admin::Admin,
    resources::{Document, Shop},
};

/// Terminals that are looked up in Redis at the same time, for what they missed.
const CATCHING_UP: usize = 16;
/// Broadcasts whose audience is remembered for receipts.
const MOST_KNOWN: usize = 5_000;

/// Answers a second that terminals are spread for, and the least and most milliseconds that they are given.
const ANSWERS_A_SECOND: u64 = 5_000;
const ANSWER_WITHIN_MS: (u64, u64) = (250, 5_000);

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No token of ours.
    NotEnrolled,
    /// It may see nothing any more.
    Revoked,
    /// Whether it may is not known now.
    Unavailable(String),
}

/// The log as far as this node has read it.
#[derive(Default)]
pub(super) struct Head {
    pub(super) generations: Vec<GenerationStart>,
    pub(super) trimmed: StreamId,
    pub(super) window: Window,
}

/// The shops of a document, by name, for as long as that is the newest.
type Shops = (Arc<Document>, Arc<BTreeMap<String, Shop>>);

/// What a node's terminals are served from.
pub struct Hub {
    pub(super) admin: Admin,
    pub(super) broadcasts: Broadcasts,
    pub(super) head: RwLock<Head>,
    roster: RwLock<HashMap<String, Arc<Terminal>>>,
    key: Mutex<Option<(TerminalKey, Arc<TokenKey>)>>,
    shops: Mutex<Option<Shops>>,
    known: Mutex<HashMap<String, Arc<Message>>>,
    bell: watch::Sender<u64>,
    up: AtomicBool,
    beats: Mutex<HashSet<String>>,
    desk: Desk,
    clerk: Mutex<Option<Clerk>>,
    connected: AtomicUsize,
    /// How far Redis's clock is ahead of this node's, in milliseconds.
    ahead_ms: AtomicI64,
    pub(super) catching_up: Semaphore,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hub")
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change behind it is one call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// An empty one, until its [`super::actor`] has read the log.
    #[must_use]
    pub fn new(admin: Admin) -> Arc<Self> {
        let broadcasts = Broadcasts::new(&admin.redis);
        let (desk, clerk) = Desk::new(broadcasts.clone());
        Arc::new(Self {
            admin,
            broadcasts,
            head: RwLock::default(),
            roster: RwLock::default(),
            key: Mutex::default(),
            shops: Mutex::default(),
            known: Mutex::default(),
            bell: watch::Sender::new(0),
            up: AtomicBool::new(false),
            beats: Mutex::default(),
            desk,
            clerk: Mutex::new(Some(clerk)),
            connected: AtomicUsize::new(0),
            ahead_ms: AtomicI64::new(0),
            catching_up: Semaphore::new(CATCHING_UP),
        })
    }

    /// Who writes receipts; handed out once.
    pub(super) fn take_clerk(&self) -> Option<Clerk> {
        locked(&self.clerk).take()
    }

    /// Where they are kept.
    #[must_use]
    pub fn broadcasts(&self) -> &Broadcasts {
        &self.broadcasts
    }

    /// This node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.admin.node
    }

    /// The registry as this node knows it; `None` before it was read.
    #[must_use]
    pub fn document(&self) -> Option<Arc<Document>> {
        self.admin.documents.borrow().clone()
    }

    pub(super) fn ring(&self) {
        self.bell.send_modify(|rung| *rung = rung.wrapping_add(1));
    }

    /// Rings whenever there may be something new for any terminal.
    pub(super) fn bell(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }

    pub(super) fn head(&self) -> RwLockReadGuard<'_, Head> {
        self.head.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change_head(&self, change: impl FnOnce(&mut Head)) {
        change(&mut self.head.write().unwrap_or_else(PoisonError::into_inner));
        self.ring();
    }

    /// Whether Redis answers, as the log's reader sees it.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    pub(super) fn set_up(&self, up: bool) {
        if self.up.swap(up, Ordering::AcqRel) != up {
            self.ring();
        }
    }

    /// The time now by Redis's clock, as it was last heard, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        now_ms().saturating_add_signed(self.ahead_ms.load(Ordering::Relaxed))
    }

    pub(super) fn set_clock(&self, redis_ms: u64) {
        let ahead = i64::try_from(redis_ms).unwrap_or(0) - i64::try_from(now_ms()).unwrap_or(0);
        self.ahead_ms.store(ahead, Ordering::Relaxed);
    }

    /// How many terminals are connected to this node.
    #[must_use]
    pub fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn connect(&self) {
        self.connected.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn disconnect(&self) {
        self.connected.fetch_sub(1, Ordering::Relaxed);
    }

    /// A terminal has given a sign of life.
    pub fn beat(&self, terminal: &str) {
        locked(&self.beats).insert(terminal.to_owned());
    }

    pub(super) fn take_beats(&self) -> Vec<String> {
        std::mem::take(&mut *locked(&self.beats)).into_iter().collect()
    }

    pub(super) fn give_beats_back(&self, beats: Vec<String>) {
        locked(&self.beats).extend(beats);
    }

    /// Where receipts are handed in.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Shops by name.
    #[must_use]
    pub fn shops(&self) -> Arc<BTreeMap<String, Shop>> {
        let Some(document) = self.document() else { return Arc::default() };
        let mut kept = locked(&self.shops);
        if let Some((of, shops)) = &*kept
            && Arc::ptr_eq(of, &document)
        {
            return Arc::clone(shops);
        }
        let shops: BTreeMap<String, Shop> =
            document.shops.iter().map(|shop| (shop.name.clone(), shop.clone())).collect();
        let shops = Arc::new(shops);
        *kept = Some((document, Arc::clone(&shops)));
        shops
    }

    /// All terminals, anew.
    pub(super) fn set_roster(&self, all: Vec<Terminal>) {
        let all = all.into_iter().map(|terminal| (terminal.id.clone(), Arc::new(terminal))).collect();
        *self.roster.write().unwrap_or_else(PoisonError::into_inner) = all;
        self.ring();
    }

    /// Terminals that this node knows and that are not among these.
    pub(super) fn missing(&self, all: &[Terminal]) -> Vec<Arc<Terminal>> {
        let there: HashSet<&str> = all.iter().map(|terminal| terminal.id.as_str()).collect();
        let roster = self.roster.read().unwrap_or_else(PoisonError::into_inner);
        roster.values().filter(|terminal| !there.contains(terminal.id.as_str())).cloned().collect()
    }

    /// Within how many milliseconds terminals answer a message, each at a moment of its own: with all of them connected to few nodes,
    /// each answer is a connection that costs its node 20 KiB for as long as it is open.
    #[must_use]
    pub fn answer_within_ms(&self) -> u64 {
        let terminals = self.roster.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        (terminals * 1_000 / ANSWERS_A_SECOND).clamp(ANSWER_WITHIN_MS.0, ANSWER_WITHIN_MS.1)
    }

    /// One more, or as it is now.
    pub fn learn(&self, terminal: &Terminal) {
        let mut roster = self.roster.write().unwrap_or_else(PoisonError::into_inner);
        roster.insert(terminal.id.clone(), Arc::new(terminal.clone()));
    }

    /// A terminal as this node knows it, with what the registry has decided of it.
    #[must_use]
    pub fn terminal(&self, id: &str) -> Option<Arc<Terminal>> {
        let found = self.roster.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()?;
        let Some(document) = self.document() else { return Some(found) };
        let decided = document.revoked_terminals.contains(id)
            || document.moved_terminals.get(id).is_some_and(|shop| *shop != found.shop);
        Some(if decided { Arc::new(Terminal::clone(&found).settled(&document)) } else { found })
    }

    /// The key of the tokens. It is made with the first code, so one that this node does not know yet is asked for.
    ///
    /// # Errors
    /// The registry is not known, or the key is sealed with another master key.
    pub async fn token_key(&self) -> Result<Option<Arc<TokenKey>>, String> {
        let known = self.document().and_then(|document| document.terminal_key.clone());
        let kept = match known {
            Some(key) => Some(key),
            None => self.admin.newest().await.map_err(|error| error.to_string())?.terminal_key,
        };
        let Some(kept) = kept else { return Ok(None) };
        let mut cached = locked(&self.key);
        if let Some((of, key)) = &*cached
            && *of == kept
        {
            return Ok(Some(Arc::clone(key)));
        }
        let opened = TokenKey::open(&kept, self.admin.master_key.as_deref());
        let key = Arc::new(opened.map_err(|error| format!("the key of the terminals can't be used: {error}"))?);
        *cached = Some((kept, Arc::clone(&key)));
        Ok(Some(key))
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn authenticate(&self, token: &str) -> Result<Arc<Terminal>, Refused> {
        let key = self.token_key().await.map_err(Refused::Unavailable)?;
        let claim: Claim = key.and_then(|key| key.read(token)).ok_or(Refused::NotEnrolled)?;
        let terminal = match self.terminal(&claim.id) {
            Some(terminal) => terminal,
            None => {
                let document = self.document().unwrap_or_default();
                let found = self.broadcasts.recognise(&claim, &document).await;
                let found = found.map_err(|error| Refused::Unavailable(error.to_string()))?;
                self.learn(&found);
                Arc::new(found)
            }
        };
        if terminal.is_revoked() { Err(Refused::Revoked) } else { Ok(terminal) }
    }

    /// The broadcasts of these ids that are for this shop: what others are sent is not there for it.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn for_shop(&self, ids: &[String], shop: &str) -> Result<HashSet<String>, CastError> {
        let (mut found, mut missing) = (HashMap::new(), Vec::new());
        {
            let known = locked(&self.known);
            for id in ids {
                match known.get(id) {
                    Some(message) => drop(found.insert(id.clone(), Arc::clone(message))),
                    None => missing.push(id.clone()),
                }
            }
        }
        if !missing.is_empty() {
            let (_, loaded) = self.broadcasts.load(&missing).await?;
            let mut known = locked(&self.known);
            if known.len() + loaded.len() > MOST_KNOWN {
                known.clear();
            }
            for message in loaded.into_iter().flatten() {
                let message = Arc::new(message);
                known.insert(message.id.clone(), Arc::clone(&message));
                found.insert(message.id.clone(), message);
            }
        }
        let shops = self.shops();
        let region = shops.get(shop).map_or("", |shop| shop.region.as_str());
        Ok(found.into_values().filter(|one| one.audience.has(shop, region)).map(|one| one.id.clone()).collect())
    }

    /// What comes next for a terminal that stands here; where it stands is moved on.
    pub(super) fn next(&self, at: &mut Position, terminal: &Terminal, region: &str) -> Step {
        let head = self.head();
        let Some(newest) = head.generations.last() else { return Step::Wait };
        if newest.generation != at.generation {
            match translate(&head.generations, at) {
                Translated::At(id) => *at = Position { generation: newest.generation.clone(), id },
                Translated::Lost(id) => {
                    *at = Position { generation: newest.generation.clone(), id };
                    return Step::Gap;
                }
                Translated::Unknown => return Step::Anew,
            }
        }
        let now = self.now_ms();
        match head.window.after(at.id, |piece| piece.is_for(&terminal.id, &terminal.shop, region, now)) {
            Next::Send(id, bytes, new) => {
                at.id = id;
                Step::Send(bytes, new)
            }
            Next::Nothing(id) => {
                at.id = id;
                Step::Wait
            }
            Next::Below(from) => Step::Below(from),
        }
    }
}

/// What is to be done next for a terminal.
pub(super) enum Step {
    /// Send this; with the broadcast's id where it is new.
    Send(bytes::Bytes, Option<Arc<str>>),
    /// Say that something was lost, and go on.
    Gap,
    /// Say that something was lost, and begin as one that has no place.
    Anew,
    /// Read what lies below from Redis, up to this.
    Below(StreamId),
    /// Wait for the bell.
    Wait,
}
