//! Following the registry: a task that hands every new document to whoever listens, within a second and without a restart.
//!
//! It reads the stream of changes over a connection of its own, and looks at the version anyway once a block of the read
//! has passed. Whatever happens to Redis, the last document stays; [`WatchState`] says what is the matter.

use std::{sync::Arc, time::Duration};

use redis::streams::StreamReadReply;
use serde::Serialize;
use tokio::{sync::watch, task::JoinHandle};

use super::{
    snapshot::Snapshot,
    store::{Edition, Store, StoreError},
};
use crate::{redis::Connection, resources::Document};

/// Longest wait for a change before the version is looked at anyway.
const BLOCK: Duration = Duration::from_millis(900);
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
    /// Redis has no document, although there was one; the document is the last that was known.
    Emptied,
    /// Redis has a document that this node does not understand.
    Unreadable {
        /// What is wrong with it.
        why: String,
    },
}

/// A running watch; it ends when this is dropped.
pub struct Watch {
    /// The document; `None` until the first was loaded, from Redis or from the snapshot.
    pub documents: watch::Receiver<Option<Arc<Document>>>,
    /// How it relates to Redis.
    pub state: watch::Receiver<WatchState>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to watch, on the current Tokio runtime. With a snapshot, its document counts until Redis answers, and every
/// new one is written into it.
#[must_use]
pub fn watch(store: Store, snapshot: Option<Snapshot>) -> Watch {
    let known = snapshot.as_ref().and_then(|snapshot| {
        snapshot.read().unwrap_or_else(|error| {
            tracing::error!(%error, "the snapshot of the registry is of no use");
            None
        })
    });
    let (documents, documents_read) = watch::channel(known.map(Arc::new));
    let (state, state_read) = watch::channel(WatchState::Loading);
    let follower = Follower { store, snapshot, documents, state };
    Watch { documents: documents_read, state: state_read, task: tokio::spawn(follower.run()) }
}

struct Follower {
    store: Store,
    snapshot: Option<Snapshot>,
    documents: watch::Sender<Option<Arc<Document>>>,
    state: watch::Sender<WatchState>,
}

impl Follower {
    async fn run(self) {
        loop {
            let error = match self.store.connect(RESPONSE_TIMEOUT).await {
                Ok(mut connection) => match self.follow(&mut connection).await {
                    Ok(never) => match never {},
                    Err(error) => error,
                },
                Err(error) => error,
            };
            self.now(WatchState::Away { why: error.to_string() });
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn follow(&self, connection: &mut Connection) -> Result<std::convert::Infallible, StoreError> {
        let changes = self.store.changes_key();
        let failed = |error| self.store.unavailable(&error);
        // Before the document is looked at, so that no change falls between the two.
        let newest: Vec<(String, redis::Value)> = redis::cmd("XREVRANGE")
            .arg(&[changes.as_str(), "+", "-", "COUNT", "1"])
            .query_async(connection)
            .await
            .map_err(failed)?;
        let mut last = newest.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id);
        loop {
            self.look(connection).await?;
            let read: Option<StreamReadReply> = redis::cmd("XREAD")
                .arg(&["COUNT", "100", "BLOCK"])
                .arg(u64::try_from(BLOCK.as_millis()).unwrap_or(1))
                .arg(&["STREAMS", changes.as_str(), last.as_str()])
                .query_async(connection)
                .await
                .map_err(failed)?;
            let entries = read.into_iter().flat_map(|read| read.keys).flat_map(|stream| stream.ids);
            if let Some(entry) = entries.last() {
                last = entry.id;
            }
        }
    }

    /// Publishes the document where it is another than the last.
    async fn look(&self, connection: &mut Connection) -> Result<(), StoreError> {
        let failed = |error| self.store.unavailable(&error);
        let key = self.store.document_key();
        let (version, installation): (Option<u64>, Option<String>) = redis::cmd("HMGET")
            .arg(&[key.as_str(), "version", "installation"])
            .query_async(connection)
            .await
            .map_err(failed)?;
        let there: Option<Edition> = version.zip(installation);
        let known = self.documents.borrow().as_ref().map(|known| (known.version, known.installation.clone()));
        if there.is_none() {
            self.now(if known.is_some() { WatchState::Emptied } else { WatchState::Current });
            return Ok(());
        }
        if there == known {
            self.now(WatchState::Current);
            return Ok(());
        }
        let body: Option<String> =
            redis::cmd("HGET").arg(&[key.as_str(), "body"]).query_async(connection).await.map_err(failed)?;
        match body.map(|body| self.store.parse(&body)).transpose() {
            // Gone between the two reads: the next look tells.
            Ok(None) => {}
            Ok(Some(document)) => self.publish(document).await,
            Err(error) => self.now(WatchState::Unreadable { why: error.to_string() }),
        }
        Ok(())
    }

    async fn publish(&self, document: Document) {
        let document = Arc::new(document);
        tracing::info!(version = document.version, "the registry has a new version");
        self.documents.send_replace(Some(document.clone()));
        self.now(WatchState::Current);
        let Some(snapshot) = self.snapshot.clone() else { return };
        let written = tokio::task::spawn_blocking(move || snapshot.write(&document)).await;
        match written {
            Ok(Err(error)) => tracing::error!(%error, "the snapshot of the registry was not written"),
            Err(error) => tracing::error!(%error, "the snapshot of the registry was not written"),
            Ok(Ok(())) => {}
        }
    }

    /// Says once what has changed.
    fn now(&self, state: WatchState) {
        self.state.send_if_modified(|before| {
            let changed = *before != state;
            if changed {
                match &state {
                    WatchState::Emptied => {
                        tracing::error!("Redis has no registry any more; this node goes on with the last one it knew")
                    }
                    WatchState::Away { why } => tracing::warn!(%why, "the registry cannot be read"),
                    WatchState::Unreadable { why } => tracing::error!(%why, "the registry cannot be understood"),
                    WatchState::Loading | WatchState::Current => {}
                }
                *before = state;
            }
            changed
        });
    }
}
