//! Settings of a node and of every command: flags, then `TIDEGATE_…` in the environment, then `tidegate.toml`.
//!
//! [`Settings::load`] answers with complete, checked settings, or with one sentence that names the setting, where its
//! value came from and what to give instead. Secrets among them do not print themselves.

mod flags;
mod networks;
mod sources;
mod values;

use std::{ffi::OsString, net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::SecretString;

pub use self::{
    flags::Flags,
    networks::Networks,
    sources::SettingError,
    values::{LocalDestinations, LogFormat, RedisUrl, Retention},
};
use self::{sources::Sources, values as value};

/// Everything that can be set. The documentation of each stands with its flag, in [`Flags`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Redis is.
    pub redis_url: RedisUrl,
    /// What every key in Redis begins with.
    pub prefix: String,
    /// This node's name, unique in the installation.
    pub node: String,
    /// The producers' listener.
    pub listen: SocketAddr,
    /// The operations listener.
    pub admin: SocketAddr,
    /// What the operations listener asks for wherever it is set: for the actors' health and the metrics; probes need nothing. There
    /// must be one beyond loopback, and the admin API acts for nobody else.
    pub admin_token: Option<SecretString>,
    /// The web console's listener.
    pub console: SocketAddr,
    /// Where destinations given in the console may lead on or beside this machine, where that was said.
    pub local_destinations: Option<LocalDestinations>,
    /// The console's certificate chain and its key, in PEM; both or neither.
    pub console_tls: Option<(PathBuf, PathBuf)>,
    /// The proxies in front of the console; empty where there is none.
    pub console_proxy: Networks,
    /// Loopback, link-local and metadata addresses that alerts may go to all the same.
    pub alerts_allow: Networks,
    /// Where the node keeps its snapshot.
    pub state_dir: PathBuf,
    /// The text of the master key itself; see [`crate::registry::secrets::MasterKey::from_settings`].
    pub master_key: Option<SecretString>,
    /// A file that holds it.
    pub master_key_file: Option<PathBuf>,
    /// How long a lease lasts.
    pub lease: Duration,
    /// How long the node goes on serving after it has said that it is not ready.
    pub drain_delay: Duration,
    /// What is kept after every destination has it.
    pub retention: Retention,
    /// Share of Redis's memory above which retained history is trimmed.
    pub memory_soft: f64,
    /// Share of Redis's memory above which new records are refused.
    pub memory_hard: f64,
    /// How many appends to Redis may be under way at once.
    pub max_in_flight: usize,
    /// How log lines look.
    pub log: LogFormat,
}

impl Settings {
    /// Reads flags, environment and file.
    ///
    /// # Errors
    /// The first setting that is wrong or unknown, with its source and the remedy.
    pub fn load(flags: &Flags) -> Result<Self, SettingError> {
        Self::load_from(flags, std::env::vars_os())
    }

    /// The same with a given environment.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_from(
        flags: &Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingError> {
        let environment: Vec<(String, String)> = environment
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let all = Sources::open(flags, &environment)?;
        let settings = Self {
            redis_url: redis(&all)?,
            prefix: all.read("prefix", value::prefix)?,
            node: match all.optional("node", value::name)? {
                Some(node) => node,
                None => value::host_name(),
            },
            listen: all.read("listen", value::address)?,
            admin: all.read("admin", value::address)?,
            admin_token: all.optional("admin_token", value::token)?,
            console: all.read("console", value::address)?,
            local_destinations: all.optional("local_destinations", str::parse)?,
            console_tls: console_tls(&all)?,
            console_proxy: all.optional("console_proxy", str::parse)?.unwrap_or_default(),
            alerts_allow: all.optional("alerts_allow", str::parse)?.unwrap_or_default(),
            state_dir: match all.optional("state_dir", value::path)? {
                Some(path) => path,
                None => value::default_state_dir(&environment),
            },
            master_key: all.optional("master_key", value::master_key)?,
            master_key_file: all.optional("master_key_file", value::path)?,
            lease: all.read("lease_s", |text| value::seconds(text, 1, 60))?,
            drain_delay: all.read("drain_delay_s", |text| value::seconds(text, 0, 3600))?,
            retention: all.read("retention", str::parse)?,
            memory_soft: all.read("memory_soft", value::share)?,
            memory_hard: all.read("memory_hard", value::share)?,
            max_in_flight: all.read("max_in_flight", value::in_flight)?,
            log: all.read("log", str::parse)?,
        };
        if settings.memory_soft >= settings.memory_hard {
            return Err(all.wrong("memory_soft", "is not below `memory_hard`; give a smaller share, such as 0.70"));
        }
        // Each names the other, so one is given by a more telling source: let that one win, refuse a tie.
        if settings.master_key.is_some() && settings.master_key_file.is_some() {
            return all.settle_master_key(settings);
        }
        Ok(settings)
    }

    /// Where destinations given in the console may lead on or beside this machine. By default to it only where everybody who can
    /// give one is on it already.
    #[must_use]
    pub fn local_destinations(&self) -> LocalDestinations {
        let here = self.admin.ip().is_loopback() && self.console.ip().is_loopback() && self.console_proxy.is_empty();
        let by_default = if here { LocalDestinations::Loopback } else { LocalDestinations::Deny };
        self.local_destinations.unwrap_or(by_default)
    }

    /// Whether a listener would be open to the network without what the design asks for there.
    ///
    /// # Errors
    /// The admin listener is beyond loopback and there is no token; the console is, and neither speaks TLS nor has a proxy that
    /// does.
    pub fn refuse_unsafe_listeners(&self) -> Result<(), SettingError> {
        if !self.admin.ip().is_loopback() && self.admin_token.is_none() {
            return Err(SettingError::new(format!(
                "setting `admin` is `{}`, which other machines reach, and there is no `admin_token`; \
                 set TIDEGATE_ADMIN_TOKEN to 16 or more random characters, or listen on 127.0.0.1",
                self.admin
            )));
        }
        if !self.console.ip().is_loopback() && self.console_tls.is_none() && self.console_proxy.is_empty() {
            return Err(SettingError::new(format!(
                "setting `console` is `{}`, which other machines reach, and passwords would cross the network in the clear; \
                 give `console_cert` and `console_key`, or name the proxy that speaks TLS for it in `console_proxy`, or listen \
                 on 127.0.0.1",
                self.console
            )));
        }
        Ok(())
    }
}

/// Redis's address with the files that TLS to it needs.
fn redis(all: &Sources) -> Result<RedisUrl, SettingError> {
    let mut url = all.read("redis_url", value::redis_url)?;
    let mut given = Vec::new();
    for (setting, parameter) in [("redis_ca", "ca"), ("redis_cert", "cert"), ("redis_key", "key")] {
        if let Some(file) = all.optional(setting, value::path)? {
            if !url.is_tls() {
                return Err(
                    all.wrong(setting, "is for TLS, which `redis_url` does not ask for; begin that with rediss://")
                );
            }
            given.push((setting, parameter, file));
        }
    }
    let of_our_own = |name: &str| given.iter().find(|(setting, ..)| *setting == name).map(|(setting, ..)| *setting);
    if let (Some(alone), None) | (None, Some(alone)) = (of_our_own("redis_cert"), of_our_own("redis_key")) {
        return Err(all.wrong(alone, "stands alone; give both `redis_cert` and `redis_key`"));
    }
    for (_, parameter, file) in given {
        url.add(parameter, &file);
    }
    Ok(url)
}

/// The console's certificate and key.
fn console_tls(all: &Sources) -> Result<Option<(PathBuf, PathBuf)>, SettingError> {
    let remedy = "stands alone; give both `console_cert` and `console_key`";
    match (all.optional("console_cert", value::path)?, all.optional("console_key", value::path)?) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(all.wrong("console_cert", remedy)),
        (None, Some(_)) => Err(all.wrong("console_key", remedy)),
    }
}

#[cfg(test)]
mod tests;
