//! The installation's resources: applications with their keys, destinations, routes; one versioned document.
//!
//! The registry keeps it in Redis, nodes watch it, `apply` and `export` translate between it and TOML.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
pub use tidegate_actors::route::DeliveryMode as Delivery;
use tidegate_actors::route::RouteSpec;
pub use tidegate_actors::route::{ByHand, Stopped};

pub use crate::{
    alerts::target::{AlertTarget, Alerts, Way},
    broadcast::parts::{Category, Shop, TerminalKey},
    users::record::User,
};

/// Largest limit of an application, in records a second and node.
pub const MOST_RECORDS_PER_S: u32 = 1_000_000;

/// Longest name, in characters.
pub const MOST_NAME_CHARS: usize = 64;

/// What a name of an application, a topic, a destination, a node or a route may be. It stands in keys of Redis, in metrics, and
/// as a part of the console's addresses. There the console's own parts begin with `~`, which no name has; and a browser would
/// take `.` and `..` out of an address.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let right = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    name.chars().count() <= MOST_NAME_CHARS && name.chars().all(right) && !matches!(name, "." | "..")
}

/// Everything an operator has set up, at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Raised by every change.
    pub version: u64,
    /// A random id of this installation, made once (12 lower-case letters and digits).
    pub installation: String,
    /// Producers.
    #[serde(default)]
    pub applications: Vec<Application>,
    /// Databases.
    #[serde(default)]
    pub destinations: Vec<Destination>,
    /// Ways from topics to tables; `application` and `destination` are names in here.
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
    /// Who may sign in to the console.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<User>,
    /// Places that broadcasts are for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shops: Vec<Shop>,
    /// Kinds of broadcasts, beside those that are built in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<Category>,
    /// What the terminals' tokens are made with; made with the first terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal_key: Option<TerminalKey>,
    /// Terminals that may see nothing any more, by id.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub revoked_terminals: BTreeSet<String>,
    /// Terminals that are in another shop than the one their tokens name: id → shop.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub moved_terminals: BTreeMap<String, String>,
    /// What is set for all nodes at once, over their own settings.
    #[serde(default, skip_serializing_if = "Overrides::is_default")]
    pub settings: Overrides,
}

/// What is set for all nodes at once. They follow it without a restart; what is `None` is as each node's own settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrides {
    /// What is kept once every destination has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Kept>,
    /// From which shares of Redis's memory on less is kept, and nothing more is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryMarks>,
    /// Who is told of what.
    #[serde(default)]
    pub alerts: Alerts,
    /// How long broadcasts and their receipts are kept, in days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcasts_kept_days: Option<u32>,
}

impl Overrides {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What is kept once every destination has it; both bounds hold. Neither: as long as there is room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Younger than this is kept, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_s: Option<u64>,
    /// At most this many messages per stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
}

/// Shares of Redis's `maxmemory`, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryMarks {
    /// Above it retained messages are trimmed.
    pub soft_percent: u8,
    /// Above it new records are answered with 503.
    pub hard_percent: u8,
}

/// A producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Application {
    /// Its name, also the name of its stream.
    pub name: String,
    /// Topics listed for it; a topic with a route exists too.
    #[serde(default)]
    pub topics: Vec<String>,
    /// JSON Schemas that the records of a topic must keep to, as JSON text by topic.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<String, String>,
    /// Most records a second that each node takes of it; `None` is as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records_per_s: Option<u32>,
    /// Whether its keys may send broadcasts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broadcasts: bool,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Its keys, revoked ones included until they are pruned.
    #[serde(default)]
    pub keys: Vec<ApiKey>,
}

/// An API key: what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The part of the key that names it (`tg_live_<id>…`), shown in lists.
    pub id: String,
    /// SHA-256 of the whole key, lower-case hex.
    pub digest: String,
    /// When it was created, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When it stops working, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub expires_at_ms: Option<u64>,
    /// When it was revoked, in milliseconds since the Unix epoch.
    #[serde(default)]
    pub revoked_at_ms: Option<u64>,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Random, survives renaming (12 lower-case letters and digits).
    pub id: String,
    /// Its name, unique in the installation.
    pub name: String,
    /// `postgres`, `mysql`, `sqlite` …
    pub kind: String,
    /// Its address, without a password.
    pub url: String,
    /// The password, sealed with the master key; the destination's id is its associated data.
    #[serde(default)]
    pub password: Option<Sealed>,
    /// Ordered or parallel.
    #[serde(default)]
    pub delivery: Delivery,
    /// How the connection is secured; by default verified beyond loopback and off on it.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The node that owns a SQLite file.
    #[serde(default)]
    pub node: Option<String>,
    /// Counts changes of the connection settings.
    #[serde(default)]
    pub revision: u64,
    /// What operators have set by hand; `apply` leaves it as it is.
    #[serde(default, skip_serializing_if = "ByHand::is_default")]
    pub by_hand: ByHand,
}

/// A secret at rest: XChaCha20-Poly1305.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// Which master key it was sealed with (first 8 hex digits of that key's SHA-256).
    pub key: String,
    /// 24 random bytes, base64.
    pub nonce: String,
    /// Cipher text with its tag, base64.
    pub text: String,
}

/// TLS settings of a destination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// How much is asked of the server.
    pub mode: TlsMode,
    /// A PEM file with the certificate authority to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// How much is asked of a database server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// Encrypted, certificate and name checked.
    Verify,
    /// Encrypted, nothing checked.
    Require,
    /// Plain text.
    Off,
}
