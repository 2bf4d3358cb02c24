//! What can be said of a destination's settings: without connecting, and step by step while connecting.

use super::{
    bookkeeping,
    errors::classify,
    session::{Session, is_loopback, tls_mode},
};
use crate::{
    databases::{CheckStep, Connection},
    resources::TlsMode,
};

/// The rights a writer needs on Tidegate's own tables, asked for without touching a row.
const TRIALS: &[&str] = &[
    "UPDATE tidegate_watermark SET epoch = epoch WHERE lane = ''",
    "INSERT INTO tidegate_watermark (lane, generation, epoch, owner, last_id, updated_at) \
     SELECT lane, generation, epoch, owner, last_id, updated_at FROM (SELECT '' lane, '' generation, 0 epoch, '' owner, \
     '' last_id, UTC_TIMESTAMP() updated_at) nothing WHERE lane <> ''",
    "UPDATE tidegate_dead SET superseded_by = superseded_by WHERE lane = ''",
    "DELETE FROM tidegate_watermark WHERE lane = ''",
    "DELETE FROM tidegate_dead WHERE lane = ''",
    "INSERT INTO tidegate_binding (destination, token) \
     SELECT d, t FROM (SELECT '' d, '' t) nothing WHERE d <> ''",
    "SELECT token FROM tidegate_binding WHERE destination = '' FOR UPDATE",
];

/// Checks the settings without connecting.
pub(super) fn validate(settings: &Connection) -> Result<(), String> {
    let url = &settings.url;
    let example = "an address looks like mysql://user@host:3306/database";
    if !matches!(url.scheme(), "mysql" | "mariadb") {
        return Err(format!("`{}` is not an address of MySQL: {example}", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("the address names no host: {example}"));
    }
    let database = url.path().trim_start_matches('/');
    if database.is_empty() || database.contains('/') {
        return Err(format!("the address must name one database: {example}"));
    }
    if url.username().is_empty() {
        return Err(format!("the address names no user: {example}"));
    }
    if url.password().is_some() {
        return Err("the password belongs into `password`, not into the address".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the address takes no parameters; TLS is set by `tls`".into());
    }
    if let Some(tls) = &settings.tls
        && tls.mode != TlsMode::Verify
        && tls.ca.is_some()
    {
        return Err("`ca` is of use with `mode = \"verify\"` only".into());
    }
    Ok(())
}

/// The steps `tls`, `login` and `rights`, up to the first that fails.
pub(super) async fn steps(settings: &Connection) -> Vec<CheckStep> {
    let port = settings.url.port().unwrap_or(3306);
    let address = format!("{}:{port}", settings.url.host_str().unwrap_or("?"));
    let user = settings.url.username().to_owned();
    let database = settings.url.path().trim_start_matches('/').to_owned();
    let tls = |outcome| CheckStep { step: "tls", subject: address.clone(), outcome };
    let login = |outcome| CheckStep { step: "login", subject: user.clone(), outcome };
    let secured = match (tls_mode(settings), is_loopback(&settings.url)) {
        (TlsMode::Verify, _) => "encrypted, certificate and name checked",
        (TlsMode::Require, _) => "encrypted; the certificate is not checked",
        (TlsMode::Off, true) => "off; the server is on this machine",
        (TlsMode::Off, false) => "OFF: passwords and records cross the network readable",
    };
    if let Some(ca) = settings.tls.as_ref().and_then(|tls| tls.ca.as_ref())
        && let Err(error) = tokio::fs::read(ca).await
    {
        return vec![tls(Err(format!("`{ca}`, named in `tls.ca`, can't be read: {error}")))];
    }
    let mut session = match Session::open(settings).await {
        Ok(session) => session,
        Err(error) if is_tls(&error) => {
            let remedy = "name the certificate authority in `tls.ca`, use the host name that the certificate has, or \
                          turn TLS on at the server";
            return vec![tls(Err(format!("{}; {remedy}", classify(&error, &settings.name))))];
        }
        Err(error @ (sqlx::Error::Database(_) | sqlx::Error::Protocol(_))) => {
            return vec![tls(Ok(secured.into())), login(Err(classify(&error, &settings.name).to_string()))];
        }
        Err(error) => return vec![login(Err(classify(&error, &settings.name).to_string()))],
    };
    let version = sqlx::query_scalar::<_, String>("SELECT CAST(VERSION() AS CHAR)").fetch_one(&mut session.connection);
    let version = match version.await {
        Ok(version) => version,
        Err(error) => return vec![tls(Ok(secured.into())), login(Err(classify(&error, &settings.name).to_string()))],
    };
    let rights = rights(&mut session, settings).await;
    vec![
        tls(Ok(secured.into())),
        login(Ok(format!("logged in; the server is {version}"))),
        CheckStep { step: "rights", subject: database, outcome: rights },
    ]
}

/// Whether the error came from TLS: no offer of it, or a certificate that does not do.
fn is_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()),
        _ => false,
    }
}

/// Tries the rights on Tidegate's own tables; where they are missing, whether the account may make them.
async fn rights(session: &mut Session, settings: &Connection) -> Result<String, String> {
    let words = |error: sqlx::Error| classify(&error, &settings.name).to_string();
    let there = bookkeeping::present(session).await.map_err(words)?;
    if there.len() == 3 {
        for trial in TRIALS {
            session.text(trial).await.map_err(words)?;
        }
        return Ok("Tidegate's tables are there and can be written".into());
    }
    let sql = "SELECT COUNT(*) FROM (SELECT PRIVILEGE_TYPE p FROM information_schema.USER_PRIVILEGES UNION ALL \
               SELECT PRIVILEGE_TYPE FROM information_schema.SCHEMA_PRIVILEGES WHERE DATABASE() LIKE TABLE_SCHEMA) x \
               WHERE p = 'CREATE'";
    let may: i64 = sqlx::query_scalar(sql).fetch_one(&mut session.connection).await.map_err(words)?;
    match may {
        0 => Err(
            "Tidegate's tables are missing and the account may not make them: grant CREATE on the database, or run \
                  the DDL printed for this kind and grant SELECT, INSERT, UPDATE and DELETE on the three tables"
                .into(),
        ),
        _ => Ok("Tidegate's tables are missing; the account may make them".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    fn settings(url: &str) -> Connection {
        Connection {
            name: "rooms".into(),
            url: url.parse().unwrap(),
            password: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            session_timeout: Duration::from_secs(3),
            home: None,
        }
    }

    #[test]
    fn an_address_is_checked_before_anything_is_connected() {
        assert_eq!(validate(&settings("mysql://writer@10.0.0.5/cars_room")), Ok(()));
        for (wrong, word) in [
            ("postgres://writer@10.0.0.5/cars", "not an address of MySQL"),
            ("mysql://10.0.0.5/cars", "user"),
            ("mysql://writer@10.0.0.5", "database"),
            ("mysql://writer:secret@10.0.0.5/cars", "`password`"),
            ("mysql://writer@10.0.0.5/cars?ssl-mode=DISABLED", "parameters"),
        ] {
            let said = validate(&settings(wrong)).unwrap_err();
            assert!(said.contains(word) && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn a_server_elsewhere_is_verified_unless_the_operator_says_otherwise() {
        for (url, mode) in [
            ("mysql://w@10.0.0.5/d", TlsMode::Verify),
            ("mysql://w@localhost/d", TlsMode::Off),
            ("mysql://w@127.0.0.1/d", TlsMode::Off),
            ("mysql://w@[::1]/d", TlsMode::Off),
            ("mysql://w@localhost.example.com/d", TlsMode::Verify),
        ] {
            assert_eq!(tls_mode(&settings(url)), mode, "{url}");
        }
    }
}
