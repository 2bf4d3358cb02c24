//! The names of all keys of broadcasts. They share one hash tag and differ by their names from those of an application's
//! stream, so that an application called `broadcasts` does no harm.

use std::sync::Arc;

use crate::redis::Keys;

/// The keys of one installation's broadcasts.
#[derive(Clone, Debug)]
pub struct BroadcastKeys {
    base: Arc<str>,
}

impl BroadcastKeys {
    /// Those of this installation.
    #[must_use]
    pub fn of(keys: &Keys) -> Self {
        Self { base: format!("{}:{{broadcasts}}:", keys.prefix()).into() }
    }

    fn with(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }

    /// Stream: what terminals are told, in order; field `m` is a [`super::message::Entry`] as JSON.
    #[must_use]
    pub fn log(&self) -> String {
        self.with("log")
    }

    /// Hash: `replid`, `generations`, `trimmed`, as beside an application's stream.
    #[must_use]
    pub fn log_meta(&self) -> String {
        self.with("log-meta")
    }

    /// Hash: id → [`super::message::Message`] as JSON.
    #[must_use]
    pub fn messages(&self) -> String {
        self.with("messages")
    }

    /// Sorted set: id, scored by when it was sent or is to be.
    #[must_use]
    pub fn order(&self) -> String {
        self.with("order")
    }

    /// Sorted set: id, scored by when it is to be sent.
    #[must_use]
    pub fn scheduled(&self) -> String {
        self.with("scheduled")
    }

    /// Hash: terminal → `received_ms confirmed_ms`, without the second where it was not confirmed.
    #[must_use]
    pub fn receipts(&self, id: &str) -> String {
        self.with(&format!("receipts:{id}"))
    }

    /// Hash: `received` and `confirmed` → how many terminals have.
    #[must_use]
    pub fn tally(&self, id: &str) -> String {
        self.with(&format!("tally:{id}"))
    }

    /// Hash: id → [`super::terminals::Terminal`] as JSON.
    #[must_use]
    pub fn terminals(&self) -> String {
        self.with("terminals")
    }

    /// Number: raised by every change of the terminals.
    #[must_use]
    pub fn terminals_version(&self) -> String {
        self.with("terminals-version")
    }

    /// String with a time limit: what is enrolled by the one-time code of this digest, as JSON.
    #[must_use]
    pub fn code(&self, digest: &str) -> String {
        self.with(&format!("codes:{digest}"))
    }

    /// Hash: id → `expires_ms key JSON` of each one-time code that may still be open.
    #[must_use]
    pub fn offers(&self) -> String {
        self.with("offers")
    }

    /// Number with a time limit: wrong codes from this address.
    #[must_use]
    pub fn tries(&self, address: &str) -> String {
        self.with(&format!("tries:{address}"))
    }

    /// Sorted set: terminal, scored by its last beat, by Redis's clock.
    #[must_use]
    pub fn beats(&self) -> String {
        self.with("beats")
    }

    /// String with a time limit: an image's bytes.
    #[must_use]
    pub fn image(&self, digest: &str) -> String {
        self.with(&format!("image:{digest}"))
    }

    /// String with a time limit: `digest id` of what was sent under this name (an own id, or an `Idempotency-Key`).
    #[must_use]
    pub fn named(&self, digest: &str) -> String {
        self.with(&format!("named:{digest}"))
    }

    /// Hash: the key of a row that a route wrote → the id of its message.
    #[must_use]
    pub fn rows(&self) -> String {
        self.with("rows")
    }

    /// Hash: `generation lane` → `epoch id ms owner`: how far a destination of the kind `broadcast` is.
    #[must_use]
    pub fn watermarks(&self, installation: &str, destination: &str) -> String {
        self.with(&format!("watermarks:{installation}/{destination}"))
    }

    /// Hash: `generation id route lane` → what such a destination gave up, as JSON.
    #[must_use]
    pub fn dead(&self, installation: &str, destination: &str) -> String {
        self.with(&format!("dead:{installation}/{destination}"))
    }

    /// Hash: such a destination → its bind token.
    #[must_use]
    pub fn bindings(&self) -> String {
        self.with("bindings")
    }
}
