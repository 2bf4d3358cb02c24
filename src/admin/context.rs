//! What every act and view works with: Redis, the settings, the registry as this node knows it.

use std::{future::Future, sync::Arc, time::Duration};

use tidegate_actors::ports::LogError;

use super::{ActError, Who};
use crate::{
    config::Settings,
    databases::Home,
    http::DocumentReceiver,
    redis::Redis,
    registry::{Registry, Store, StreamRegistration, secrets::MasterKey},
    resources::Document,
};

/// Longest time for one question to Redis: a page answers within it, whether Redis does or not.
pub const REDIS_WITHIN: Duration = Duration::from_secs(2);

/// What acts and views work with. Cheap to clone; may be used from any thread.
#[derive(Clone)]
pub struct Admin {
    /// The log and all that is beside it.
    pub redis: Redis,
    /// The node's settings.
    pub settings: Arc<Settings>,
    /// The registry, as this node knows it.
    pub documents: DocumentReceiver,
    /// What destinations' passwords are sealed with.
    pub master_key: Option<Arc<MasterKey>>,
    /// This node's name.
    pub node: Arc<str>,
}

impl Admin {
    /// For a command: the registry is read once, now.
    ///
    /// # Errors
    /// The settings lead nowhere, or Redis is away.
    pub async fn for_command(settings: Settings) -> anyhow::Result<Self> {
        let document = Store::open(&settings.redis_url, &settings.prefix)?.load().await?.unwrap_or_default();
        let (_, documents) = tokio::sync::watch::channel(Some(Arc::new(document)));
        Ok(Self { documents, ..Self::before_reading(settings)? })
    }

    /// The same before anything is read: nothing connects yet.
    ///
    /// # Errors
    /// The settings lead nowhere.
    pub fn before_reading(settings: Settings) -> anyhow::Result<Self> {
        let (_, documents) = tokio::sync::watch::channel(None);
        Ok(Self {
            redis: Redis::open(settings.redis_url.expose(), &settings.prefix)?,
            documents,
            master_key: MasterKey::from_settings(&settings)?.map(Arc::new),
            node: settings.node.as_str().into(),
            settings: Arc::new(settings),
        })
    }

    /// What a destination has of this node that leads to no server of its own.
    #[must_use]
    pub fn home(&self) -> Home {
        Home { redis: self.redis.clone(), documents: self.documents.clone() }
    }

    /// The registry, for a change that is signed by `who`.
    ///
    /// # Errors
    /// Its address can't be understood.
    pub fn registry(&self, who: &Who) -> Result<Registry<Box<dyn StreamRegistration>>, ActError> {
        let streams: Box<dyn StreamRegistration> = Box::new(self.redis.clone());
        Ok(Registry::new(self.store()?, streams, who.to_string()))
    }

    /// The registry's place in Redis, to read.
    ///
    /// # Errors
    /// Its address can't be understood.
    pub fn store(&self) -> Result<Store, ActError> {
        Ok(Store::open(&self.settings.redis_url, &self.settings.prefix)?)
    }

    /// The list of changes, for what is no change of the registry itself.
    ///
    /// # Errors
    /// Its address can't be understood, or Redis is away.
    pub async fn note(&self, who: &Who, what: &[String]) -> Result<(), ActError> {
        let mut store = self.store()?;
        Ok(store.note(&who.to_string(), what).await?)
    }

    /// The registry as this node knows it; an empty one before it was read.
    #[must_use]
    pub fn document(&self) -> Arc<Document> {
        self.documents.borrow().clone().unwrap_or_default()
    }

    /// The registry as it stands in Redis now: for forms, which would else show what a click has just changed.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn newest(&self) -> Result<Document, ActError> {
        let mut store = self.store()?;
        match tokio::time::timeout(REDIS_WITHIN, store.load()).await {
            Ok(loaded) => Ok(loaded?.unwrap_or_default()),
            Err(_) => Err(ActError::Unavailable("Redis does not answer".into())),
        }
    }

    /// The registry as it stands in Redis now; where Redis is away as this node knows it, with the reason.
    pub async fn newest_or_known(&self) -> (Document, Option<ActError>) {
        match self.newest().await {
            Ok(document) => (document, None),
            Err(error) => ((*self.document()).clone(), Some(error)),
        }
    }

    /// One question to Redis, within its time.
    ///
    /// # Errors
    /// Redis is away, or slow.
    pub async fn ask<T>(&self, call: impl Future<Output = Result<T, LogError>>) -> Result<T, ActError> {
        match tokio::time::timeout(REDIS_WITHIN, call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(ActError::Unavailable("Redis does not answer".into())),
        }
    }
}
