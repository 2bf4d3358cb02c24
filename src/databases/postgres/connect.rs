//! Reaching a PostgreSQL server: settings, TLS, the session's own limits, and the steps of a connection check.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{
    Connection as _, PgConnection, Row,
    postgres::{PgConnectOptions, PgSslMode},
};
use tidegate_actors::ports::{Fault, WriteError};
use url::Host;

use super::{bookkeeping, errors::of_ours};
use crate::{
    databases::{CheckStep, Connection},
    resources::TlsMode,
};

/// The oldest server whose catalogue has what we read (generated columns).
const OLDEST_VERSION: i32 = 120_000;

/// A statement may take this many times as long as a lock wait before the server ends it: it writes a whole batch.
const STATEMENT_PER_SESSION_TIMEOUT: u32 = 5;

/// Checks the settings without connecting.
pub(super) fn validate(connection: &Connection) -> Result<(), String> {
    let url = &connection.url;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(format!("the url begins with `{}://`: write postgres://user@host:5432/database", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the url names no host: write postgres://user@host:5432/database".into());
    }
    if decoded(url.username()).is_empty() {
        return Err("the url names no user: write postgres://user@host:5432/database".into());
    }
    if database(url).is_empty() {
        return Err("the url names no database: write postgres://user@host:5432/database".into());
    }
    match url.query_pairs().find(|(name, _)| name != "search_path") {
        Some((name, _)) => Err(format!(
            "the url's parameter `{name}` is unknown: there is `search_path`; TLS is set by the destination's `tls`"
        )),
        None => Ok(()),
    }
}

fn decoded(text: &str) -> String {
    // A query string's decoding without its rule for the plus sign.
    let text = text.replace('+', "%2B");
    url::form_urlencoded::parse(format!("x={text}").as_bytes())
        .next()
        .map_or(String::new(), |(_, value)| value.into_owned())
}

fn database(url: &url::Url) -> String {
    decoded(url.path().trim_start_matches('/'))
}

/// Whether the host is this machine by its address or by the name `localhost`.
fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // A scheme that is not the web's leaves addresses as they were written.
        Some(Host::Domain(name)) => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

fn mode(connection: &Connection) -> TlsMode {
    match &connection.tls {
        Some(tls) => tls.mode,
        None if is_loopback(&connection.url) => TlsMode::Off,
        None => TlsMode::Verify,
    }
}

/// What the driver needs to reach the server; the bench's bare client connects with the same.
pub(crate) fn options(connection: &Connection) -> Result<PgConnectOptions, WriteError> {
    use sqlx::ConnectOptions as _;

    let url = &connection.url;
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let name: String = connection.name.chars().filter(|char| char.is_ascii_graphic()).collect();
    let milliseconds = |duration: Duration| duration.as_millis().to_string();
    let mut options = PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(url.port().unwrap_or(5432))
        .username(&decoded(url.username()))
        .database(&database(url))
        // Never the one from this process's PGPASSWORD: an operator's host is not to see it.
        .password(connection.password.as_ref().map_or("", |password| password.expose_secret()))
        .application_name(&format!("tidegate/{name}"))
        .ssl_mode(match mode(connection) {
            TlsMode::Verify => PgSslMode::VerifyFull,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::Off => PgSslMode::Disable,
        })
        // A writer that stands still must not lock its successor out: the server ends its transaction.
        .options([
            ("idle_in_transaction_session_timeout", milliseconds(connection.session_timeout)),
            ("lock_timeout", milliseconds(connection.session_timeout)),
            ("statement_timeout", milliseconds(connection.session_timeout * STATEMENT_PER_SESSION_TIMEOUT)),
            // A statement alone is a transaction too.
            ("default_transaction_isolation", "read committed".into()),
            ("TimeZone", "UTC".into()),
            ("DateStyle", "ISO".into()),
            ("IntervalStyle", "postgres".into()),
            ("standard_conforming_strings", "on".into()),
        ])
        .disable_statement_logging();
    if let Some((_, path)) = url.query_pairs().find(|(name, _)| name == "search_path") {
        options = options.options([("search_path", path)]);
    }
    if let Some(ca) = connection.tls.as_ref().and_then(|tls| tls.ca.as_ref()) {
        let pem = std::fs::read(ca).map_err(|error| {
            let name = &connection.name;
            WriteError::Retry(Fault::new(format!(
                "{name}: the certificate authority's file {ca} can't be read ({error}): correct the destination's `tls.ca`"
            )))
        })?;
        options = options.ssl_root_cert_from_pem(pem);
    }
    Ok(options)
}

/// Connects and logs in within the time allowed, or says why not.
pub(super) async fn connect(connection: &Connection) -> Result<PgConnection, WriteError> {
    let name = &connection.name;
    let limit = connection.connect_timeout;
    let options = options(connection)?;
    let work = async {
        let mut pg = PgConnection::connect_with(&options).await.map_err(|error| of_ours(name, &error))?;
        settle(&mut pg, name).await?;
        Ok(pg)
    };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(WriteError::Retry(Fault::lost(format!(
            "{name}: PostgreSQL did not answer within {}: check the address, the network and the server's load",
            humantime::format_duration(limit)
        ))))
    })
}

/// What can't be said in the start-up packet. A commit that is answered must be on disk: Redis forgets its records.
async fn settle(pg: &mut PgConnection, name: &str) -> Result<(), WriteError> {
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::int4, \
         CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END",
    )
    .fetch_one(pg)
    .await
    .map_err(|error| of_ours(name, &error))?;
    let version: i32 = row.try_get(0).map_err(|error| of_ours(name, &error))?;
    if version < OLDEST_VERSION {
        return Err(WriteError::Retry(Fault::new(format!(
            "{name}: PostgreSQL {} is too old: 12 or later is needed",
            version / 10_000
        ))));
    }
    Ok(())
}

/// The steps `tls`, `login` and `rights`.
pub(super) async fn check(connection: &Connection) -> Vec<CheckStep> {
    let subject = connection.url.host_str().unwrap_or_default().to_owned();
    let step = |step, subject: &str, outcome| CheckStep { step, subject: subject.to_owned(), outcome };
    let user = decoded(connection.url.username());
    let tls = match mode(connection) {
        TlsMode::Verify => "encrypted; certificate and name are right",
        TlsMode::Require => "encrypted; the certificate is not checked",
        TlsMode::Off => "off",
    };
    let options = match options(connection) {
        Ok(options) => options,
        Err(error) => return vec![step("tls", &subject, Err(error.to_string()))],
    };
    let attempt = tokio::time::timeout(connection.connect_timeout, PgConnection::connect_with(&options)).await;
    let mut pg = match attempt {
        Ok(Ok(pg)) => pg,
        Ok(Err(error)) => {
            let sentence = of_ours(&connection.name, &error).to_string();
            // An answer in words means that TLS was done with.
            return if matches!(error, sqlx::Error::Database(_)) {
                vec![step("tls", &subject, Ok(tls.into())), step("login", &user, Err(sentence))]
            } else {
                vec![step("tls", &subject, Err(sentence))]
            };
        }
        Err(_) => {
            let limit = humantime::format_duration(connection.connect_timeout);
            let sentence =
                format!("no answer within {limit}: check that a PostgreSQL server listens there and is not overloaded");
            return vec![step("tls", &subject, Err(sentence))];
        }
    };
    let mut steps = vec![step("tls", &subject, Ok(tls.into()))];
    let login = match settle(&mut pg, &connection.name).await {
        Ok(()) => sqlx::query_scalar::<_, String>(
            "SELECT format('%s in database %s of PostgreSQL %s', current_user, current_database(), \
             current_setting('server_version'))",
        )
        .fetch_one(&mut pg)
        .await
        .map_err(|error| of_ours(&connection.name, &error).to_string()),
        Err(error) => Err(error.to_string()),
    };
    let logged_in = login.is_ok();
    steps.push(step("login", &user, login));
    if logged_in {
        let rights = bookkeeping::rights(&mut pg, &connection.name).await;
        steps.push(step("rights", &database(&connection.url), rights));
    }
    let _ = pg.close().await; // the check is over either way
    steps
}
