//! From a destination in the registry to what its driver needs: the address parsed, the password unsealed.

use std::time::Duration;

use url::Url;

use super::secrets::{MasterKey, SecretError};
use crate::{databases::Connection, resources::Destination};

/// Longest time to connect and log in.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A paused writer holds its row no longer than this; its successor waits for it (measured: through in 2.55 s).
const SESSION_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a destination cannot be connected to at all.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The address in the registry is none.
    #[error("the address of destination `{0}` is not one; apply it again")]
    BadAddress(String),
    /// The password cannot be unsealed.
    #[error("the password of destination `{name}` cannot be used: {source}")]
    Password {
        /// The destination.
        name: String,
        /// Why.
        source: SecretError,
    },
}

/// What the driver of this destination needs.
///
/// # Errors
/// See [`ConnectionError`].
pub fn connection(destination: &Destination, key: Option<&MasterKey>) -> Result<Connection, ConnectionError> {
    let name = destination.name.clone();
    let url = Url::parse(&destination.url).map_err(|_| ConnectionError::BadAddress(name.clone()))?;
    let open = |sealed| match key {
        Some(key) => key.open(&destination.id, sealed),
        None => Err(SecretError::NoMasterKey),
    };
    let password = destination.password.as_ref().map(open).transpose();
    Ok(Connection {
        password: password.map_err(|source| ConnectionError::Password { name: name.clone(), source })?,
        name,
        url,
        tls: destination.tls.clone(),
        connect_timeout: CONNECT_TIMEOUT,
        session_timeout: SESSION_TIMEOUT,
        home: None,
    })
}
