//! Servers that no test starts: an environment variable names them, and each test makes a database of its own there and drops
//! it at its end. Without the variable the tests pass with a line that says that nothing was tested.

use std::time::Duration;

use secrecy::SecretString;
use tidegate::{
    databases::Connection,
    resources::{Tls, TlsMode},
};
use url::Url;

/// A server that somebody else runs.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    /// Its address, with the password of a user who may make and drop databases.
    pub(crate) url: Url,
}

impl Elsewhere {
    /// The server that this variable names.
    pub(crate) fn of(variable: &str) -> Option<Self> {
        let url = std::env::var(variable).ok()?;
        Some(Self { url: url.parse().unwrap_or_else(|error| panic!("{variable}: {error}")) })
    }

    /// What to print where it does not.
    pub(crate) fn absent(variable: &str, example: &str) -> Option<String> {
        match Self::of(variable) {
            Some(_) => None,
            None => Some(format!("{variable} is not set ({example})")),
        }
    }

    /// The password in the address.
    pub(crate) fn password(&self) -> String {
        let text = format!("x={}", self.url.password().unwrap_or_default().replace('+', "%2B"));
        url::form_urlencoded::parse(text.as_bytes()).next().map_or(String::new(), |(_, value)| value.into_owned())
    }

    /// The settings of a destination on one of its databases.
    pub(crate) fn settings(&self, database: &str, tls: TlsMode) -> Connection {
        let mut url = self.url.clone();
        url.set_path(&format!("/{database}"));
        let _ = url.set_password(None);
        url.set_query(None);
        Connection {
            name: "rooms".into(),
            url,
            password: Some(SecretString::from(self.password())),
            tls: Some(Tls { mode: tls, ca: None }),
            connect_timeout: Duration::from_secs(10),
            session_timeout: Duration::from_secs(3),
            home: None,
        }
    }
}

/// A name that no other test has.
pub(crate) fn fresh_name() -> String {
    format!("tidegate_test_{:012x}", rand::random_range(0..1_u64 << 48))
}

/// Runs work on a thread and a runtime of its own: what a value does when it is dropped.
pub(crate) fn on_its_own_thread(work: impl AsyncFnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work());
    });
    let _ = thread.join();
}
