//! Who is told of what: kept in the registry, so every node knows it and every change of it is audited.

use serde::{Deserialize, Serialize};

use crate::resources::Sealed;

/// What somebody may be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmKind {
    /// A destination has been down for some time.
    DestinationDown,
    /// A destination, or one of its tables, waits for somebody to put something right.
    DestinationHeld,
    /// A destination has more dead letters than it should.
    DeadLetters,
    /// Redis's memory is nearly full.
    RedisMemory,
    /// Records were removed before a destination had them.
    StreamGap,
    /// Redis had lost the registry, and it was put back.
    RegistryRestored,
}

impl AlarmKind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::DestinationDown,
        Self::DestinationHeld,
        Self::DeadLetters,
        Self::RedisMemory,
        Self::StreamGap,
        Self::RegistryRestored,
    ];

    /// Its name, as it is stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DestinationDown => "destination_down",
            Self::DestinationHeld => "destination_held",
            Self::DeadLetters => "dead_letters",
            Self::RedisMemory => "redis_memory",
            Self::StreamGap => "stream_gap",
            Self::RegistryRestored => "registry_restored",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// From when on something is an alarm, and who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alerts {
    /// How long a destination must be down, in seconds.
    #[serde(default = "minute")]
    pub down_after_s: u32,
    /// More dead letters of one destination than this.
    #[serde(default)]
    pub dead_above: u64,
    /// Share of Redis's memory, in percent.
    #[serde(default = "eighty")]
    pub memory_percent: u8,
    /// Who is told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<AlertTarget>,
}

fn minute() -> u32 {
    60
}

fn eighty() -> u8 {
    80
}

impl Default for Alerts {
    fn default() -> Self {
        Self { down_after_s: minute(), dead_above: 0, memory_percent: eighty(), targets: Vec::new() }
    }
}

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertTarget {
    /// Random, survives renaming (12 lower-case letters and digits).
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// What they are told of.
    pub kinds: Vec<AlarmKind>,
    /// Which way.
    pub way: Way,
}

/// How somebody is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Way {
    /// A POST with a signed JSON body.
    Webhook {
        /// Where to: `https://…`.
        url: String,
        /// What the body is signed with, sealed with the master key.
        secret: Sealed,
    },
    /// A letter over SMTP.
    Email {
        /// The mail server.
        host: String,
        /// Its port: 465 for TLS, 587 for STARTTLS, 25 without.
        port: u16,
        /// How the connection is secured.
        tls: MailTls,
        /// The user, where the server asks for one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Their password, sealed with the master key.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        password: Option<Sealed>,
        /// Whom it is from.
        from: String,
        /// Whom it is for.
        to: Vec<String>,
    },
}

/// How a connection to a mail server is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// From the start.
    #[default]
    Tls,
    /// Begun in the clear, secured before anything is said.
    Starttls,
    /// Not at all: for a server on this machine.
    Off,
}

impl MailTls {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Tls, Self::Starttls, Self::Off];

    /// Its name, as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Starttls => "starttls",
            Self::Off => "off",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }
}

impl AlertTarget {
    /// What its secret is bound to when it is sealed.
    #[must_use]
    pub fn sealed_for(id: &str) -> String {
        format!("alert/{id}")
    }

    /// Where it leads, without what could be a secret.
    #[must_use]
    pub fn shown(&self) -> String {
        match &self.way {
            Way::Webhook { url, .. } => url::Url::parse(url)
                .map_or_else(|_| "…".into(), |url| format!("{}/…", url.origin().ascii_serialization())),
            Way::Email { to, host, port, .. } => format!("{} ({host}:{port})", to.join(", ")),
        }
    }
}
