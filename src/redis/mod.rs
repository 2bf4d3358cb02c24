//! The event log in Redis: one stream per application, and beside it what the lanes that read it must remember.
//!
//! A record is stored once. What has been acknowledged survives as long as Redis's own files do, is delivered in the order
//! of its ids, and leaves only when every lane has passed it. [`Redis`] is the handle that everything is made from:
//! [`RedisAppender`] for the door, [`RedisLog`] and [`RedisReader`] for the owner of a destination, and the functions
//! of [`registration`], [`lookup`], [`dead`], [`history`] and [`trim`] for the rest.

pub mod abandon;
pub mod append;
pub mod browse;
pub mod checks;
pub mod connection;
pub mod dead;
pub mod fates;
pub mod group;
pub mod health;
pub mod history;
pub mod jobs;
pub mod keys;
pub mod log;
pub mod lookup;
pub mod members;
pub mod memory;
pub(crate) mod patience;
pub mod reader;
pub mod recent;
pub mod registration;
pub mod replay;
mod resp;
pub mod resume;
mod scripts;
mod sent;
pub mod server;
pub mod sides;
pub mod status;
pub mod stream;
pub mod trim;
pub mod used;

use std::sync::Arc;

use tidegate_actors::ports::LogError;

pub use self::{
    append::RedisAppender,
    connection::Link,
    group::RedisGroup,
    keys::{Keys, StreamKeys},
    log::RedisLog,
    reader::RedisReader,
    server::{AddressError, Connection, Server},
};

/// One installation in one Redis: its address, its keys, and a shared connection for short calls. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Redis {
    server: Server,
    keys: Keys,
    link: Arc<Link>,
    /// What this node's readers share.
    pieces: Arc<reader::Pieces>,
    /// What lists say of dead letters, as far as it has been read.
    letters: Arc<dead::lines::Known>,
}

impl Redis {
    /// Nothing connects before the first call.
    ///
    /// # Errors
    /// The address can't be understood.
    pub fn open(url: &str, prefix: &str) -> Result<Self, AddressError> {
        let server = Server::parse(url)?;
        let link = Arc::new(Link::new(server.clone()));
        Ok(Self { server, keys: Keys::new(prefix), link, pieces: Arc::default(), letters: Arc::default() })
    }

    /// The keys of this installation.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Where it is, for a connection of one's own.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The shared connection for short calls.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// A connection of its own, for an owner whose calls must not wait for others'.
    #[must_use]
    pub fn own_link(&self) -> Link {
        Link::new(self.server.clone())
    }
}

/// The token of a new generation.
fn random_token() -> String {
    tidegate_actors::delivery::random_token(10)
}

/// What a failed call means to those who use the log.
fn unavailable(error: &::redis::RedisError) -> LogError {
    LogError::Unavailable(connection::describe(error))
}

/// An answer that none of our scripts gives.
fn odd(what: &str) -> LogError {
    LogError::Unavailable(format!("Redis gave an answer that can't be understood ({what})"))
}
