//! The registry of applications, destinations and routes: one versioned document in Redis.
//!
//! Every change goes through [`Registry::change`], which commands and the admin API share: it is refused or complete, is
//! written down with who made it, and reaches every node that [`watch`](watch::watch)es within a second.

pub mod alarm;
pub mod connection;
mod describe;
pub mod differences;
pub mod export;
pub mod keys;
pub mod manifest;
pub mod plan;
pub mod restore;
pub mod secrets;
pub mod snapshot;
pub mod store;
pub mod streams;
pub(crate) mod topic_schema;
pub mod versions;
pub mod watch;

use std::time::Duration;

use crate::resources::Document;

pub use self::{
    store::{Store, StoreError},
    streams::{StreamError, StreamRegistration},
};

/// How long the nodes of an installation may take to say that they know a registry that Redis lost. One that has to connect
/// anew takes most of it.
const NODES_WAKE: Duration = Duration::from_millis(800);
/// How long after that the registry may take to be restored. An offer ends by itself before that.
const LONGEST_RESTORE: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How often a change is made anew because somebody else was faster.
const MAX_ATTEMPTS: usize = 8;

/// The registry, with the streams that must learn of its changes.
pub struct Registry<S> {
    store: Store,
    streams: S,
    who: String,
}

/// What an edit made of a document.
pub struct Edit<T> {
    /// The document afterwards; version and installation are the registry's to set.
    pub document: Document,
    /// What changed, in words, for the audit; empty where nothing did.
    pub what: Vec<String>,
    /// Whatever the caller wants handed through.
    pub value: T,
}

/// Why a change did not take place.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError<E> {
    /// The edit itself said no.
    #[error("{0}")]
    Refused(E),
    /// Redis could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stream could not learn of it; the registry is as it was.
    #[error("{0}; nothing was changed")]
    Unregistered(StreamError),
    /// The registry is changed, and a stream has yet to learn of it.
    #[error("{0}; the registry is changed already: run the same command again, so that the streams learn of it")]
    HalfDone(StreamError),
    /// Others change it all the time.
    #[error("the registry was changed by others {MAX_ATTEMPTS} times meanwhile; try again")]
    Contended,
}

impl<S: StreamRegistration> Registry<S> {
    /// A registry whose changes are signed with `who`.
    pub fn new(store: Store, streams: S, who: impl Into<String>) -> Self {
        Self { store, streams, who: who.into() }
    }

    /// The document; an empty one of version 0 where there is none yet.
    ///
    /// # Errors
    /// Redis cannot be read.
    pub async fn document(&mut self) -> Result<Document, StoreError> {
        Ok(self.store.load().await?.unwrap_or_default())
    }

    /// The document, which a node may be about to restore. Where there is none, the nodes that run are woken, and while one
    /// of them has a document on offer, it is waited for.
    ///
    /// # Errors
    /// Redis cannot be read; an offer that was made is not published.
    pub async fn settled(&mut self) -> Result<Document, StoreError> {
        let begun = std::time::Instant::now();
        let mut knocked = false;
        loop {
            if let Some(document) = self.store.load().await? {
                return Ok(document);
            }
            if !std::mem::replace(&mut knocked, true) {
                self.store.knock().await?;
            }
            let offered = self.store.is_offered().await?;
            if begun.elapsed() > if offered { LONGEST_RESTORE } else { NODES_WAKE } {
                // Once more: the offer may be gone because it has just been published.
                return self.document().await;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// An operator has taken note of what was restored: the alarm is over.
    ///
    /// # Errors
    /// Redis cannot be written.
    pub async fn acknowledge(&mut self) -> Result<(), StoreError> {
        self.store.acknowledge().await
    }

    /// What this registry makes takes the place of that installation, whose nodes are to follow it.
    pub fn supersede(&mut self, installation: String) {
        self.store.supersede(installation);
    }

    /// Reads, edits, writes; again from the start where somebody else wrote in between. New routes are registered with
    /// their streams before anybody can read them, removed ones are forgotten after.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn change<T, E>(
        &mut self,
        mut edit: impl FnMut(&Document) -> Result<Edit<T>, E>,
    ) -> Result<T, ChangeError<E>> {
        for _ in 0..MAX_ATTEMPTS {
            let current = self.document().await?;
            let Edit { mut document, what, value } = edit(&current).map_err(ChangeError::Refused)?;
            if what.is_empty() {
                // An earlier change may have ended half done.
                streams::set_versions(&mut self.streams, &current).await.map_err(ChangeError::HalfDone)?;
                return Ok(value);
            }
            document.version = current.version + 1;
            document.installation =
                if current.installation.is_empty() { plan::random_id() } else { current.installation.clone() };
            if let Err(error) = streams::register_new(&mut self.streams, &current, &document).await {
                // What cannot be taken back now only keeps a stream from being trimmed.
                let _ = streams::forget_gone(&mut self.streams, &document, &current).await;
                return Err(ChangeError::Unregistered(error));
            }
            let outcome = self.store.replace(&current, &document, &self.who, &what).await;
            match outcome {
                Ok(true) => {
                    // The version first: a node that works by the old one must not put back what is forgotten.
                    let half_done = ChangeError::HalfDone;
                    streams::set_versions(&mut self.streams, &document).await.map_err(half_done)?;
                    streams::set_versions_of_gone(&mut self.streams, &current, &document).await.map_err(half_done)?;
                    streams::forget_gone(&mut self.streams, &current, &document).await.map_err(half_done)?;
                    streams::clear_gone(&mut self.streams, &current, &document).await.map_err(half_done)?;
                    return Ok(value);
                }
                Ok(false) => {
                    let others = self.document().await?;
                    streams::forget_gone(&mut self.streams, &document, &others).await.map_err(ChangeError::HalfDone)?;
                }
                // Whether it was written is not known, so what it needs stays registered.
                Err(error) => return Err(error.into()),
            }
        }
        Err(ChangeError::Contended)
    }
}
