//! What is kept of a user, as a part of the registry's document: so it is versioned, restored and audited as all else is.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{admin::Role, resources::Sealed};

/// Somebody who may sign in to the console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Their name, unique; lower-case letters, digits and `-_.@`.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Their password, as Argon2id left it.
    pub password: PasswordHash,
    /// When they were added, in milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// When the password was last set, in milliseconds since the Unix epoch.
    pub password_at_ms: u64,
    /// A random word that every session of theirs carries; with another one those sessions are over.
    pub epoch: String,
    /// The language they chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lang: Option<Lang>,
    /// The second factor of their signing in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<SecondFactor>,
}

/// A time-based one-time password (RFC 6238).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondFactor {
    /// The secret that the person's device shares, sealed with the master key.
    pub secret: Sealed,
    /// SHA-256 of the recovery codes that are left, lower-case hex.
    pub recovery: Vec<String>,
    /// When it was turned on, in milliseconds since the Unix epoch.
    pub since_ms: u64,
}

/// A password's hash as a PHC string. It does not print itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl PasswordHash {
    pub(super) fn new(phc: String) -> Self {
        Self(phc)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

/// A language of the console.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Indonesian.
    Id,
}

impl Lang {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::En, Self::Id];

    /// Its code, as in HTML's `lang`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Id => "id",
        }
    }

    /// The language of this code.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lang| lang.as_str() == code)
    }
}
