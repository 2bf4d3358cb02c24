//! `redis_url` taken apart: one server, Sentinel, or a cluster; plain or TLS; user and password. Every refusal is "is …;
//! give …": what is wrong and the remedy, never with the password.

use std::{fmt, path::PathBuf};

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult};
use secrecy::{ExposeSecret, SecretString};

const REMEDY: &str = "give one such as redis://127.0.0.1:6379 or redis://user:password@host:6379/0";
const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The form of the address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One server, or one name that always leads to the present master.
    Single,
    /// The hosts are sentinels, which know where the master of this name is.
    Sentinel {
        /// The master's name there.
        master: String,
    },
    /// The hosts are nodes of a Redis Cluster.
    Cluster,
    /// A socket file of this machine.
    Unix(PathBuf),
}

/// A user and a password; either may be absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Login {
    user: Option<String>,
    password: Option<SecretString>,
}

impl Login {
    pub(crate) fn settings(&self, db: i64) -> RedisConnectionInfo {
        let mut settings =
            RedisConnectionInfo::default().set_db(db).set_lib_name("tidegate", env!("CARGO_PKG_VERSION"));
        if let Some(user) = &self.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &self.password {
            settings = settings.set_password(password.expose_secret());
        }
        settings
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.password.as_ref().map(|password| password.expose_secret())
    }
}

/// What `redis_url` says.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    pub(crate) form: Form,
    pub(crate) tls: bool,
    /// Servers, sentinels or nodes; none for a socket file.
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) login: Login,
    pub(crate) sentinel_login: Login,
    pub(crate) db: i64,
    /// Files in PEM: who may have signed the server's certificate, and our own certificate with its key.
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    shown: String,
}

impl fmt::Display for Address {
    /// Without password and parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl Address {
    /// Takes an address apart.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| format!("is not an address (it has no `://`); {REMEDY}"))?;
        let (base, form) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match base {
            "redis" | "valkey" => false,
            "rediss" | "valkeys" => true,
            "unix" if form.is_empty() => false,
            _ => return Err(format!("is not an address of a Redis server; {REMEDY}")),
        };
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, fragment)| (rest, Some(fragment)));
        if let Some(fragment) = fragment {
            return Err(match fragment {
                "insecure" if tls => "ends in #insecure, so anybody could pose as the server; take it off, and give \
                                      `redis_ca` the certificate of who signed the server's"
                    .into(),
                _ => "has a `#`; write it as %23 where it belongs to the password".into(),
            });
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if base == "unix" || form == "unix" {
            return Self::of_socket(scheme, rest, query, tls);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(login, hosts)| (Some(login), hosts));
        let login_text = login;
        let login = login.map(parse_login).transpose()?.unwrap_or_default();
        let default_port = if form == "sentinel" { SENTINEL_PORT } else { REDIS_PORT };
        let parsed: Vec<(String, u16)> =
            hosts.split(',').map(|host| parse_host(host.trim(), default_port)).collect::<Result<_, _>>()?;
        let (form, db) = match form {
            "" => (Form::Single, path),
            "cluster" => (Form::Cluster, path),
            "sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err("does not say which master the sentinels should be asked for; give its name as in \
                                redis+sentinel://h1:26379,h2:26379,h3:26379/mymaster"
                        .into());
                }
                (Form::Sentinel { master: decode(master)? }, db)
            }
            _ => {
                return Err(format!(
                    "has the form `{form}`, which is none; {REMEDY}, or redis+sentinel:// or redis+cluster://"
                ));
            }
        };
        if form == Form::Single && parsed.len() > 1 {
            return Err(
                "names several servers; give redis+sentinel:// where they are sentinels, or redis+cluster:// where \
                        they are nodes of a cluster"
                    .into(),
            );
        }
        let db = parse_db(db)?;
        if form == Form::Cluster && db != 0 {
            return Err("names a database, but a cluster has only number 0; take the number off".into());
        }
        let shown_login = match (login_text, login.password.is_some()) {
            (Some(text), true) => format!("{}:***@", text.split_once(':').map_or("", |(user, _)| user)),
            (Some(text), false) => format!("{text}@"),
            (None, _) => String::new(),
        };
        let shown_path = if path.is_empty() { String::new() } else { format!("/{path}") };
        let mut address = Self {
            form,
            tls,
            hosts: parsed,
            login,
            sentinel_login: Login::default(),
            db,
            ca: None,
            cert: None,
            key: None,
            shown: format!("{scheme}://{shown_login}{hosts}{shown_path}"),
        };
        address.read_query(query)?;
        Ok(address)
    }

    fn of_socket(scheme: &str, rest: &str, query: &str, tls: bool) -> Result<Self, String> {
        if tls || !rest.starts_with('/') {
            return Err("is not the path of a socket; give one such as unix:///run/redis/redis.sock".into());
        }
        let mut address = Self {
            form: Form::Unix(decode(rest)?.into()),
            tls: false,
            hosts: Vec::new(),
            login: Login::default(),
            sentinel_login: Login::default(),
            db: 0,
            ca: None,
            cert: None,
            key: None,
            shown: format!("{scheme}://{rest}"),
        };
        address.read_query(query)?;
        Ok(address)
    }

    fn read_query(&mut self, query: &str) -> Result<(), String> {
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = decode(value)?;
            let sentinel = matches!(self.form, Form::Sentinel { .. });
            let socket = matches!(self.form, Form::Unix(_));
            match name {
                "sentinel_user" if sentinel => self.sentinel_login.user = Some(value),
                "sentinel_password" if sentinel => self.sentinel_login.password = Some(value.into()),
                "user" if socket => self.login.user = Some(value),
                "pass" if socket => self.login.password = Some(value.into()),
                "db" if socket => self.db = parse_db(&value)?,
                "ca" | "cert" | "key" if !self.tls => {
                    return Err(format!("has the parameter `{name}`, which is for TLS; begin it with `rediss`"));
                }
                "ca" => self.ca = Some(value.into()),
                "cert" => self.cert = Some(value.into()),
                "key" => self.key = Some(value.into()),
                _ => {
                    return Err(format!(
                        "has the parameter `{name}`, which means nothing here; take it off (a password's own `?` is \
                         written %3F)"
                    ));
                }
            }
        }
        if self.cert.is_some() != self.key.is_some() {
            return Err("gives one of `cert` and `key`; give both, or none".into());
        }
        if self.sentinel_login.user.is_some() && self.sentinel_login.password.is_none() {
            return Err("gives `sentinel_user` without `sentinel_password`; give both".into());
        }
        Ok(())
    }

    /// What the crate needs to know of one of the servers.
    pub(crate) fn info(&self, host: &str, port: u16, login: &Login, db: i64) -> RedisResult<ConnectionInfo> {
        let address = match (&self.form, self.tls) {
            (Form::Unix(path), _) => ConnectionAddr::Unix(path.clone()),
            (_, true) => ConnectionAddr::TcpTls { host: host.to_owned(), port, insecure: false, tls_params: None },
            (_, false) => ConnectionAddr::Tcp(host.to_owned(), port),
        };
        Ok(address.into_connection_info()?.set_redis_settings(login.settings(db)))
    }
}

fn parse_db(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse::<i64>()
        .ok()
        .filter(|db| *db >= 0)
        .ok_or_else(|| "ends in something that is not the number of a database; end it in one such as /0".into())
}

fn parse_login(text: &str) -> Result<Login, String> {
    let (user, password) = text.split_once(':').map_or((text, None), |(user, password)| (user, Some(password)));
    let user = decode(user)?;
    let password = password.map(decode).transpose()?.filter(|password| !password.is_empty());
    if password.is_none() && !user.is_empty() {
        return Err("gives a user without a password; give both as user:password@, or :password@ alone".into());
    }
    Ok(Login { user: Some(user).filter(|user| !user.is_empty()), password: password.map(Into::into) })
}

fn parse_host(text: &str, default_port: u16) -> Result<(String, u16), String> {
    let wrong =
        || format!("is not an address of a Redis server (a host is missing or its port is no number); {REMEDY}");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
            (host, port.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(default_port), |port| port.parse().map_err(|_| wrong()))?;
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

/// Undoes `%3A` and its like.
fn decode(text: &str) -> Result<String, String> {
    let wrong = || "has a `%` that two hexadecimal digits don't follow; write a plain one as %25".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(wrong);
        let byte = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(byte).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}
