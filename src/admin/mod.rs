//! What operators do and see, once: the console, the admin API and the commands are three ways to the same functions.
//!
//! An *act* changes something. It is given [`Who`] does it, refuses whoever may not, and leaves one entry in the list of
//! changes. A *view* reads. Both speak to Redis directly, so they work on any node and, for the commands, before any runs.

pub mod alerts;
pub mod api;
pub mod applications;
pub mod audit;
pub mod broadcasts;
pub mod compare;
mod context;
pub mod dead_letters;
pub mod deliveries;
pub mod destinations;
pub(crate) mod fields;
pub mod jobs;
pub mod json;
pub mod messages;
pub(crate) mod nodes;
pub(crate) mod overview;
pub mod replays;
pub mod routes;
pub(crate) mod series;
pub mod settings;
pub mod transfer;
pub mod users;

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use tidegate_actors::ports::LogError;

pub use self::context::{Admin, REDIS_WITHIN};
use crate::registry::{ChangeError, StoreError};

/// What somebody may do; each role of an operator may do all that those before it may. `Broadcaster` is apart: broadcasts and
/// their terminals only, which an operator may write and make too, and a viewer only sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees everything but secrets, does nothing.
    Viewer,
    /// Writes to shops, and sees what became of it. Nothing else.
    Broadcaster,
    /// Does everything but what is an admin's.
    Operator,
    /// Users, settings, export and import too.
    Admin,
}

impl Role {
    /// All of them, the one that may least first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Broadcaster, Self::Operator, Self::Admin];

    /// Its name, as it is stored and given in commands.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Broadcaster => "broadcaster",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// Whether this role may do what that one is needed for.
    #[must_use]
    pub fn may(self, needed: Self) -> bool {
        match needed {
            Self::Viewer => self != Self::Broadcaster,
            Self::Broadcaster => self != Self::Viewer,
            Self::Operator => matches!(self, Self::Operator | Self::Admin),
            Self::Admin => self == Self::Admin,
        }
    }
}

/// Who does something: for permission, and for the list of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The user's name; `admin token` for the admin API's bearer, `name@node` for a command.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// Where from: an address, or the command (`tidegate key`).
    pub from: Arc<str>,
}

/// As the list of changes has it.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.from)
    }
}

impl Who {
    /// Refuses whoever may not.
    ///
    /// # Errors
    /// [`ActError::Forbidden`].
    pub fn needs(&self, role: Role) -> Result<(), ActError> {
        if self.role.may(role) { Ok(()) } else { Err(ActError::Forbidden { needs: role }) }
    }
}

/// What is wrong with one field of what was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name in the form and in the API's body.
    pub field: String,
    /// A stable word for it, by which the console finds its text in the reader's language.
    pub code: &'static str,
    /// What is wrong and what to give instead, in English.
    pub message: String,
}

/// Why an act did not take place. The messages are for people, in English, and never tell a secret.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// They may not.
    #[error("this needs the role `{}`", needs.as_str())]
    Forbidden {
        /// The role that may.
        needs: Role,
    },
    /// It is not there (any more).
    #[error("{0}")]
    Unknown(String),
    /// What was given is wrong.
    #[error("{}", .0.first().map_or("something that was given is wrong", |first| first.message.as_str()))]
    Invalid(Vec<FieldError>),
    /// It can't be done as things stand, and what to do about it.
    #[error("{0}")]
    Conflict(String),
    /// Redis or a database is away: nothing was changed, try again.
    #[error("{0}")]
    Unavailable(String),
}

impl From<LogError> for ActError {
    fn from(error: LogError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<StoreError> for ActError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl<E: Into<Self>> From<ChangeError<E>> for ActError {
    fn from(error: ChangeError<E>) -> Self {
        match error {
            ChangeError::Refused(why) => why.into(),
            ChangeError::Contended => Self::Conflict("others change the same all the time; try again".into()),
            ChangeError::Store(error) => error.into(),
            ChangeError::Unregistered(error) => Self::Unavailable(format!("{error}; nothing was changed")),
            ChangeError::HalfDone(error) => Self::Unavailable(format!(
                "{error}; it is changed already: do the same again, so that the streams learn of it"
            )),
        }
    }
}
