//! Following the registry: a task that hands every new document to whoever listens, within a second and without a restart.
//!
//! It reads the stream of changes over a connection of its own, and looks at the version anyway once a block of the read
//! has passed. Whatever happens to Redis, the last document stays; [`WatchState`] says what is the matter. Where Redis lost
//! the document, or went back to an older one, this is who puts it back (with a [`Restorer`]).

use std::{sync::Arc, time::Duration};

use redis::streams::StreamReadReply;
use serde::Serialize;
use tidegate_actors::delivery::now_ms;
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use super::{
    alarm::Alarm,
    restore::{Offered, Restorer},
    snapshot::Snapshot,
    store::{Standing, Store, StoreError},
};
use crate::{redis::Connection, resources::Document};

/// Longest wait for a change before the version is looked at anyway.
const BLOCK: Duration = Duration::from_millis(900);
/// How soon it is looked again while the document is being restored.
const SOON: Duration = Duration::from_millis(100);
/// Longest wait for an answer: the block, and what a busy server may take.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(900 + 5000);
/// Pause before connecting anew: short, because it is all that stands between Redis's return and work.
const RECONNECT: Duration = Duration::from_millis(250);

/// How the watched document relates to what is in Redis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum WatchState {
    /// Redis has not answered yet.
    Loading,
    /// The document is what Redis has; `None` where nothing was ever applied.
    Current,
    /// Redis cannot be read; the document is the last that was known.
    Away {
        /// What happened.
        why: String,
    },
    /// Redis has no document, although there was one; the document is the last that was known, and is being put back.
    Emptied,
    /// Redis has an older version than this node knows (a replica that lagged behind took over); being put back.
    Behind {
        /// The version that Redis has.
        there: u64,
        /// The version that this node knows.
        known: u64,
    },
    /// Redis has another installation. It is not touched, and this node does nothing until somebody decides.
    Foreign {
        /// The installation that Redis has.
        there: String,
        /// The one that this node belongs to.
        known: String,
    },
    /// Redis has a document that this node does not understand.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
}

impl WatchState {
    /// Why this node may not take records now, although Redis answers; `None` where it may.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        match self {
            Self::Loading | Self::Current | Self::Away { .. } | Self::Unreadable { .. } => None,
            Self::Emptied => Some("Redis has lost the registry; it is being restored".into()),
            Self::Behind { there, known } => Some(format!(
                "Redis has gone back to version {there} of the registry; version {known} is being restored"
            )),
            Self::Foreign { there, known } => Some(format!(
                "Redis has the registry of another installation ({there}), this node belongs to {known}; it takes and \
                 delivers nothing. If `redis_url` and `prefix` are right and the new installation is meant, remove \
                 `registry.snapshot` from this node's `state_dir` and restart it"
            )),
        }
    }
}

/// A running watch; it ends when this is dropped.
pub struct Watch {
    /// The document to work by; `None` until the first was loaded, from Redis or from the snapshot, and while Redis has
    /// another installation.
    pub documents: watch::Receiver<Option<Arc<Document>>>,
    /// The same for those who let producers in: `None` as well while the document is being put back into Redis, so that
    /// nobody is refused for good by what is not the whole truth.
    pub door: watch::Receiver<Option<Arc<Document>>>,
    /// How it relates to Redis.
    pub state: watch::Receiver<WatchState>,
    /// What an operator must hear of.
    pub alarms: watch::Receiver<Vec<Alarm>>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to watch, on the current Tokio runtime. With a snapshot, its document counts until Redis answers, and every
/// new one is written into it. With a restorer, a document that Redis lost is put back.
#[must_use]
pub fn watch(store: Store, snapshot: Option<Snapshot>, restorer: Option<Restorer>) -> Watch {
    let known = snapshot.as_ref().and_then(|snapshot| {
        snapshot.read().unwrap_or_else(|error| {
            tracing::error!(%error, "the snapshot of the registry is of no use");
            None
        })
    });
    let known = known.map(Arc::new);
    let (documents, documents_read) = watch::channel(known.clone());
    let (door, door_read) = watch::channel(known.clone());
    let (state, state_read) = watch::channel(WatchState::Loading);
    let (alarms, alarms_read) = watch::channel(Vec::new());
    let follower = Follower {
        store,
        snapshot,
        restorer,
        known,
        digest: None,
        registered: None,
        lost: false,
        documents,
        door,
        state,
        alarms,
    };
    let task = tokio::spawn(follower.run());
    Watch { documents: documents_read, door: door_read, state: state_read, alarms: alarms_read, task }
}

struct Follower {
    store: Store,
    snapshot: Option<Snapshot>,
    restorer: Option<Restorer>,
    /// The newest document of this node's installation.
    known: Option<Arc<Document>>,
    /// The digest of that document in Redis, once it was read there.
    digest: Option<String>,
    /// The last restore whose routes this node has registered.
    registered: Option<u64>,
    /// Whether Redis was seen without the document since its routes were last registered.
    lost: bool,
    documents: watch::Sender<Option<Arc<Document>>>,
    door: watch::Sender<Option<Arc<Document>>>,
    state: watch::Sender<WatchState>,
    alarms: watch::Sender<Vec<Alarm>>,
}

/// When to look again.
enum Next {
    /// After a change, or a block.
    Block,
    /// While something is under way.
    Soon,
}

impl Follower {
    async fn run(mut self) {
        loop {
            let error = match self.store.connect(RESPONSE_TIMEOUT).await {
                Ok(mut connection) => match self.follow(&mut connection).await {
                    Ok(never) => match never {},
                    Err(error) => error,
                },
                Err(error) => error,
            };
            self.now(WatchState::Away { why: error.to_string() }, None);
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn follow(&mut self, connection: &mut Connection) -> Result<std::convert::Infallible, StoreError> {
        let changes = self.store.changes_key();
        // Before the document is looked at, so that no change falls between the two.
        let newest: Vec<(String, redis::Value)> = redis::cmd("XREVRANGE")
            .arg(&[changes.as_str(), "+", "-", "COUNT", "1"])
            .query_async(connection)
            .await
            .map_err(|error| self.store.unavailable(&error))?;
        let mut last = newest.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id);
        loop {
            if let Next::Soon = self.look(connection).await? {
                tokio::time::sleep(SOON).await;
                continue;
            }
            let read: Option<StreamReadReply> = redis::cmd("XREAD")
                .arg(&["COUNT", "100", "BLOCK"])
                .arg(u64::try_from(BLOCK.as_millis()).unwrap_or(1))
                .arg(&["STREAMS", changes.as_str(), last.as_str()])
                .query_async(connection)
                .await
                .map_err(|error| self.store.unavailable(&error))?;
            let entries = read.into_iter().flat_map(|read| read.keys).flat_map(|stream| stream.ids);
            if let Some(entry) = entries.last() {
                last = entry.id;
            }
        }
    }

    /// Holds what Redis has against what this node knows, and does what follows from it.
    async fn look(&mut self, connection: &mut Connection) -> Result<Next, StoreError> {
        let standing = self.store.standing(connection).await?;
        let restored = standing.as_ref().and_then(|standing| standing.restored.clone());
        let (standing, known) = match (standing, self.known.clone()) {
            (None, None) => {
                self.now(WatchState::Current, None);
                return Ok(Next::Block);
            }
            (None, Some(known)) => return self.put_back(connection, &known, WatchState::Emptied).await,
            (Some(standing), known) => (standing, known),
        };
        if let Some(known) = known {
            if standing.installation != known.installation {
                if standing.supersedes.as_ref() != Some(&known.installation) {
                    let (there, known) = (standing.installation, known.installation.clone());
                    self.documents.send_replace(None);
                    self.now(WatchState::Foreign { there, known }, None);
                    return Ok(Next::Block);
                }
                tracing::warn!(from = %known.installation, to = %standing.installation, "follows the new installation");
            } else if standing.version < known.version {
                let state = WatchState::Behind { there: standing.version, known: known.version };
                return self.put_back(connection, &known, state).await;
            } else if standing.version == known.version
                && standing.digest == self.digest
                && !self.must_register(&standing)
            {
                self.tell(&known);
                self.now(WatchState::Current, restored);
                return Ok(Next::Block);
            }
        }
        let body: Option<String> = redis::cmd("HGET")
            .arg(&[self.store.document_key().as_str(), "body"])
            .query_async(connection)
            .await
            .map_err(|error| self.store.unavailable(&error))?;
        match body.map(|body| self.store.parse(&body)).transpose() {
            // Gone between the two reads: the next look tells.
            Ok(None) => Ok(Next::Soon),
            Ok(Some(document)) => {
                if self.must_register(&standing) && !self.register(&document, &standing).await {
                    return Ok(Next::Soon);
                }
                self.publish(document, standing.digest).await;
                self.now(WatchState::Current, restored);
                Ok(Next::Block)
            }
            Err(error) => {
                self.now(WatchState::Unreadable { why: error.to_string() }, None);
                Ok(Next::Block)
            }
        }
    }

    /// Redis has less than this node knows. It is only believed once Redis has taken an offer, which a replica without
    /// its data would refuse.
    async fn put_back(
        &mut self,
        connection: &mut Connection,
        known: &Arc<Document>,
        state: WatchState,
    ) -> Result<Next, StoreError> {
        let Some(restorer) = &self.restorer else {
            self.now(state, None);
            return Ok(Next::Block);
        };
        let offered = self.store.offer(connection, known, &restorer.node).await?;
        self.lost = true;
        self.tell(known);
        self.now(state, None);
        if offered == Offered::Restored {
            tracing::error!("the registry was put back into Redis, from the newest version that a node knew");
        }
        Ok(Next::Soon)
    }

    /// Whether the streams may not know the routes of what stands there.
    fn must_register(&self, standing: &Standing) -> bool {
        let restored = standing.restored.as_ref().map(|(at, _)| *at);
        let recent = restored.is_some_and(|at| Alarm::past(at, now_ms(), "").is_some());
        self.restorer.is_some() && (self.lost || (recent && restored != self.registered))
    }

    /// Registers the routes before anybody works by the document. Every node does it, so that it is done whoever fails.
    async fn register(&mut self, document: &Document, standing: &Standing) -> bool {
        let Some(restorer) = &self.restorer else { return true };
        // On a thread of its own: the calls to the streams cannot be moved between threads, and this task may be.
        let (restorer, document, runtime) = (restorer.clone(), document.clone(), Handle::current());
        let registered = tokio::task::spawn_blocking(move || runtime.block_on(restorer.register(&document))).await;
        if let Err(error) = registered.map_err(|error| error.to_string()).and_then(|done| done) {
            tracing::warn!(error, "the streams have not learned of the restored registry yet");
            return false;
        }
        self.registered = standing.restored.as_ref().map(|(at, _)| *at);
        self.lost = false;
        true
    }

    /// Hands the document to those who work by it, where they do not have it.
    fn tell(&self, document: &Arc<Document>) {
        self.documents.send_if_modified(|told| {
            let differs = told.as_ref() != Some(document);
            if differs {
                *told = Some(document.clone());
            }
            differs
        });
    }

    async fn publish(&mut self, document: Document, digest: Option<String>) {
        self.digest = digest;
        if let Some(known) = self.known.clone().filter(|known| **known == document) {
            self.tell(&known);
            return;
        }
        let document = Arc::new(document);
        tracing::info!(version = document.version, "the registry has a new version");
        self.known = Some(document.clone());
        self.tell(&document);
        let Some(snapshot) = self.snapshot.clone() else { return };
        let written = tokio::task::spawn_blocking(move || snapshot.write(&document)).await;
        match written {
            Ok(Err(error)) => tracing::error!(%error, "the snapshot of the registry was not written"),
            Err(error) => tracing::error!(%error, "the snapshot of the registry was not written"),
            Ok(Ok(())) => {}
        }
    }

    /// Says once what has changed, and opens or closes the door. The door follows the documents: nobody is let in by one
    /// that is not worked by.
    fn now(&self, state: WatchState, restored: Option<(u64, String)>) {
        let obstacle = state.obstacle();
        let admitted = if obstacle.is_some() { None } else { self.documents.borrow().clone() };
        let differs = |told: &Option<Arc<Document>>| match (told, &admitted) {
            (Some(told), Some(admitted)) => !Arc::ptr_eq(told, admitted),
            (told, admitted) => told.is_some() != admitted.is_some(),
        };
        self.door.send_if_modified(|told| {
            let differs = differs(told);
            if differs {
                told.clone_from(&admitted);
            }
            differs
        });
        let changed = self.state.send_if_modified(|before| {
            let changed = *before != state;
            if changed {
                match (&state, &obstacle) {
                    (_, Some(why)) => tracing::error!(why, "the registry in Redis is not this node's"),
                    (WatchState::Away { why }, _) => tracing::warn!(%why, "the registry cannot be read"),
                    (WatchState::Unreadable { why }, _) => tracing::error!(%why, "the registry cannot be understood"),
                    _ => {}
                }
                *before = state.clone();
            }
            changed
        });
        let past = restored.and_then(|(at, what)| Alarm::past(at, now_ms(), what));
        self.alarms.send_if_modified(|alarms| {
            let told = match (obstacle, &state) {
                // It began when it was first told.
                (Some(_), _) if !changed && !alarms.is_empty() => return false,
                (Some(why), _) => vec![Alarm::at(now_ms(), why)],
                // What Redis said last still holds.
                (None, WatchState::Away { .. } | WatchState::Loading) => return false,
                (None, _) => past.into_iter().collect(),
            };
            let changed = *alarms != told;
            *alarms = told;
            changed
        });
    }
}
