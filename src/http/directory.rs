//! Who may send what: applications by the id of their keys, with the topics and key rules of each, made from the
//! registry's document once per version.
//!
//! Each worker keeps its own index and makes it anew when the document has changed, so that a request reads a pointer
//! and hashes two short texts.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::Arc,
};

use metrics::Counter;
use tidegate_actors::{
    mapping::{KeyPart, key_parts},
    route::RouteSpec,
};
use tokio::sync::watch;

use super::{
    metrics as meter,
    throttle::{Bucket, Throttle},
};
use crate::{
    redis::used::KeyUse,
    registry::topic_schema::TopicSchema,
    resources::{ApiKey, Application, Document},
};

/// The document as the registry publishes it; `None` until the first one has been read.
pub type DocumentReceiver = watch::Receiver<Option<Arc<Document>>>;

/// The index of the newest document.
pub(crate) struct Directory {
    receiver: DocumentReceiver,
    throttle: Throttle,
    used: KeyUse,
    cached: RefCell<Option<(Arc<Document>, Rc<Index>)>>,
}

impl Directory {
    /// A directory that follows this receiver.
    pub(crate) fn new(receiver: DocumentReceiver) -> Self {
        Self { receiver, throttle: Throttle::default(), used: KeyUse::default(), cached: RefCell::new(None) }
    }

    /// From now on with what the node's workers share.
    pub(crate) fn share(&mut self, throttle: Throttle, used: KeyUse) {
        (self.throttle, self.used) = (throttle, used);
        self.cached.take();
    }

    /// A key has opened the door.
    pub(crate) fn opened(&self, id: &str, key: &KeyEntry, now_ms: u64) {
        if KeyUse::is_due(key.told_ms.get(), now_ms) {
            key.told_ms.set(now_ms);
            self.used.seen(id, now_ms);
        }
    }

    /// The index of the newest document, or `None` where no document has come yet.
    pub(crate) fn current(&self) -> Option<Rc<Index>> {
        let newest = self.receiver.borrow();
        let document = newest.as_ref()?;
        let mut cached = self.cached.borrow_mut();
        if let Some((of, index)) = &*cached
            && Arc::ptr_eq(of, document)
        {
            return Some(Rc::clone(index));
        }
        let index = Rc::new(Index::of(document, &self.throttle));
        *cached = Some((Arc::clone(document), Rc::clone(&index)));
        Some(index)
    }
}

/// Applications by key id.
pub(crate) struct Index {
    keys: HashMap<String, KeyEntry>,
}

/// One API key.
pub(crate) struct KeyEntry {
    /// SHA-256 of the whole key.
    pub(crate) digest: [u8; 32],
    expires_at_ms: Option<u64>,
    revoked: bool,
    /// When this worker last told that it was used, in milliseconds since the Unix epoch.
    told_ms: Cell<u64>,
    /// Whose it is.
    pub(crate) application: Rc<KnownApplication>,
}

impl KeyEntry {
    /// Whether the key may be used at this time.
    pub(crate) fn is_active(&self, now_ms: u64) -> bool {
        !self.revoked && self.expires_at_ms.is_none_or(|expires| now_ms < expires)
    }
}

/// A producer, as the door needs it.
pub(crate) struct KnownApplication {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Topics, each with its routes that have a key.
    pub(crate) topics: HashMap<String, Vec<KeyedRoute>>,
    /// What the records of some topics must look like.
    pub(crate) schemas: HashMap<String, TopicSchema>,
    /// Requests that ended in 202.
    pub(crate) accepted: Counter,
    /// Messages taken.
    pub(crate) messages: Counter,
    /// Whether it may send broadcasts.
    pub(crate) broadcasts: bool,
    /// How much of it is taken.
    pub(crate) bucket: Option<Arc<Bucket>>,
}

/// A route that tells rows apart.
pub(crate) struct KeyedRoute {
    /// As the operator wrote it.
    pub(crate) spec: RouteSpec,
    /// Its key.
    pub(crate) key: Vec<KeyPart>,
}

/// Those that compile; one that does not was refused when it was applied.
fn schemas(application: &Application) -> HashMap<String, TopicSchema> {
    let compiled = |(topic, text): (&String, &String)| match TopicSchema::compile(text) {
        Ok(schema) => Some((topic.clone(), schema)),
        Err(why) => {
            tracing::error!(application = %application.name, %topic, %why, "a topic's schema can't be used; apply it again");
            None
        }
    };
    application.schemas.iter().filter_map(compiled).collect()
}

impl Index {
    fn of(document: &Document, throttle: &Throttle) -> Self {
        let mut keys = HashMap::new();
        for application in &document.applications {
            let mut topics: HashMap<_, _> = application.topics.iter().map(|t| (t.clone(), Vec::new())).collect();
            for route in document.routes.iter().filter(|route| route.application == application.name) {
                let routes = topics.entry(route.topic.clone()).or_default();
                if !route.key.is_empty() {
                    routes.push(keyed(route));
                }
            }
            let known = Rc::new(KnownApplication {
                name: application.name.as_str().into(),
                topics,
                schemas: schemas(application),
                accepted: meter::requests(&application.name, 202),
                messages: meter::messages(&application.name),
                broadcasts: application.broadcasts,
                bucket: throttle.of(&application.name, application.records_per_s),
            });
            for key in &application.keys {
                if let Some(digest) = digest(key) {
                    let entry = KeyEntry {
                        digest,
                        expires_at_ms: key.expires_at_ms,
                        revoked: key.revoked_at_ms.is_some(),
                        told_ms: Cell::new(0),
                        application: Rc::clone(&known),
                    };
                    keys.insert(key.id.clone(), entry);
                }
            }
        }
        Self { keys }
    }

    /// The key of this id.
    pub(crate) fn key(&self, id: &str) -> Option<&KeyEntry> {
        self.keys.get(id)
    }
}

fn keyed(route: &RouteSpec) -> KeyedRoute {
    KeyedRoute { spec: route.clone(), key: key_parts(route) }
}

/// The digest's bytes; a key whose digest is no SHA-256 opens nothing.
fn digest(key: &ApiKey) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if key.digest.len() != 64 || !key.digest.is_ascii() {
        return None;
    }
    for (byte, place) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&key.digest[place..place + 2], 16).ok()?;
    }
    Some(bytes)
}
