//! How the text of each setting becomes its value. Every parser answers with "is …; give …": what is wrong, and the remedy.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use secrecy::{ExposeSecret, SecretString};

use crate::redis::Server;

/// Redis's address. It may carry a password, so it prints without it.
#[derive(Clone)]
pub struct RedisUrl {
    url: SecretString,
    shown: String,
}

impl RedisUrl {
    /// The whole address, for the driver alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.url.expose_secret()
    }

    /// Whether it asks for TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.shown.starts_with("rediss") || self.shown.starts_with("valkeys")
    }

    /// Adds a parameter with the path of a file, so that the address says all that it takes to connect.
    pub(super) fn add(&mut self, parameter: &str, file: &Path) {
        let url = self.url.expose_secret();
        let joint = if url.contains('?') { '&' } else { '?' };
        let encoded = |byte: u8| match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        let path: String = file.to_string_lossy().bytes().map(encoded).collect();
        self.url = format!("{url}{joint}{parameter}={path}").into();
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({})", self.shown)
    }
}

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        redis_url(text)
    }
}

pub(super) fn redis_url(text: &str) -> Result<RedisUrl, String> {
    let shown = Server::parse(text).map_err(|error| error.0)?.to_string();
    Ok(RedisUrl { url: text.to_owned().into(), shown })
}

/// What is kept once every destination has it; both bounds hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Younger than this is kept.
    pub age: Option<Duration>,
    /// At most this many messages per stream.
    pub messages: Option<u64>,
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const REMEDY: &str =
            "give a time such as `24h`, a number of messages such as `1000000`, or both: `24h,1000000`";
        let mut retention = Self { age: None, messages: None };
        for part in text.split(',').map(str::trim) {
            let twice = if let Ok(messages) = part.replace('_', "").parse::<u64>() {
                retention.messages.replace(messages).is_some()
            } else {
                let age = humantime::parse_duration(part)
                    .map_err(|_| format!("is neither a time nor a number of messages; {REMEDY}"))?;
                retention.age.replace(age).is_some()
            };
            if twice {
                return Err(format!("has two parts of one sort; {REMEDY}"));
            }
        }
        Ok(retention)
    }
}

/// Where destinations that are given in the console or the admin API may lead on or beside this machine. Files of resources
/// may say anything: whoever applies them has the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalDestinations {
    /// Neither to this machine nor to link-local and metadata addresses.
    Deny,
    /// To this machine.
    Loopback,
    /// Anywhere.
    All,
}

impl FromStr for LocalDestinations {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "deny" => Ok(Self::Deny),
            "loopback" => Ok(Self::Loopback),
            "all" => Ok(Self::All),
            _ => Err("is not a rule; give deny, loopback or all".into()),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: one object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("is not a form of log; give text or json".into()),
        }
    }
}

pub(super) fn prefix(text: &str) -> Result<String, String> {
    // Braces would move Redis Cluster's hash tag; a colon ends the prefix.
    if !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Ok(text.to_owned());
    }
    Err("is not a prefix; give 1 to 64 letters, digits, `-`, `_` or `.`, such as tidegate".into())
}

pub(super) fn name(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        return Ok(text.to_owned());
    }
    Err("is not a node's name; give 1 to 64 letters, digits, `-`, `_` or `.`, such as node-a".into())
}

/// The host's name, with what a node's name cannot hold replaced.
pub(super) fn host_name() -> String {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    let node: String =
        host.chars().take(64).map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect();
    if node.is_empty() { "node".into() } else { node }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let full = match text.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => text.replacen("localhost:", "127.0.0.1:", 1),
    };
    full.parse().map_err(|_| "is not an address with a port; give one such as 127.0.0.1:8080 or 0.0.0.0:8080".into())
}

pub(super) fn token(text: &str) -> Result<SecretString, String> {
    if text.len() < 16 {
        return Err("is too short to be safe; give 16 or more random characters".into());
    }
    Ok(text.to_owned().into())
}

pub(super) fn master_key(text: &str) -> Result<SecretString, String> {
    crate::registry::secrets::MasterKey::parse(text).map_err(|error| error.to_string())?;
    Ok(text.trim().to_owned().into())
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("is empty; give a path, or leave the setting out".into());
    }
    Ok(text.into())
}

/// systemd names the unit's own folder; a person's node keeps its state where such things are kept.
pub(super) fn default_state_dir(environment: &[(String, String)]) -> PathBuf {
    let variable = |name: &str| {
        environment
            .iter()
            .find(|(given, value)| given == name && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    };
    variable("STATE_DIRECTORY")
        .or_else(|| variable("XDG_STATE_HOME").map(|home| home.join("tidegate")))
        .or_else(|| variable("HOME").map(|home| home.join(".local/state/tidegate")))
        .unwrap_or_else(|| "/var/lib/tidegate".into())
}

pub(super) fn seconds(text: &str, least: u64, most: u64) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("is not a whole number of seconds from {least} to {most}; give one of those")),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("is not a share of the memory; give a number above 0 and up to 1, such as 0.70".into()),
    }
}

pub(super) fn in_flight(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if (1..=1_000_000).contains(&number) => Ok(number),
        _ => Err("is not a number from 1 to 1000000; give one such as 1024".into()),
    }
}
