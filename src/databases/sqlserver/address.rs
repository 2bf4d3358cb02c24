//! A destination's address and TLS settings: checked without connecting, and read for the session.

use std::net::IpAddr;

use url::Url;

use crate::{
    databases::Connection,
    resources::{Tls, TlsMode},
};

/// The port of an instance without a name.
pub(super) const PORT: u16 = 1433;

const SHAPE: &str = "write sqlserver://user@host:1433/database";

/// Checks the settings without connecting.
pub(super) fn validate(settings: &Connection) -> Result<(), String> {
    let url = &settings.url;
    if !matches!(url.scheme(), "sqlserver" | "mssql") {
        return Err(format!("the url begins with `{}://`: {SHAPE}", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(format!("the url names no host: {SHAPE}"));
    }
    if url.password().is_some() {
        return Err("the password belongs into `password`, not into the url".into());
    }
    let user = user(url);
    if user.is_empty() {
        return Err(format!("the url names no user: {SHAPE}"));
    }
    if user.contains('\\') {
        return Err("a Windows account cannot log in from here: make a SQL Server login for Tidegate".into());
    }
    let database = database(url);
    if database.is_empty() || database.contains('/') {
        return Err(format!("the url must name one database: {SHAPE}"));
    }
    if let Some((name, _)) = url.query_pairs().next() {
        return Err(match name.to_ascii_lowercase().as_str() {
            "instance" | "instancename" => {
                "the url takes no instance name: give the instance a fixed port (SQL Server \
                                            Configuration Manager, TCP/IP, IPAll) and write that port"
                    .into()
            }
            _ => format!(
                "the url's parameter `{name}` is unknown: it takes none, and TLS is set by the destination's `tls`"
            ),
        });
    }
    if url.fragment().is_some() {
        return Err("the url ends with a `#`: a `#` within a name is written %23".into());
    }
    if matches!(&settings.tls, Some(Tls { mode, ca: Some(_) }) if *mode != TlsMode::Verify) {
        return Err("`ca` is of use with `mode = \"verify\"` only".into());
    }
    Ok(())
}

/// Percent-decoded.
fn decoded(text: &str) -> String {
    // A query string's decoding without its rules for the plus sign and the ampersand.
    let text = text.replace('+', "%2B").replace('&', "%26");
    url::form_urlencoded::parse(format!("x={text}").as_bytes())
        .next()
        .map_or(String::new(), |(_, value)| value.into_owned())
}

/// The login's name.
pub(super) fn user(url: &Url) -> String {
    decoded(url.username())
}

/// The database's name.
pub(super) fn database(url: &Url) -> String {
    decoded(url.path().trim_start_matches('/'))
}

/// The host without the brackets of an IPv6 address.
pub(super) fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// Whether the host is this machine by its address or by the name `localhost`.
pub(super) fn is_loopback(url: &Url) -> bool {
    let host = host(url);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// How the connection is secured.
pub(super) fn tls_mode(settings: &Connection) -> TlsMode {
    match &settings.tls {
        Some(tls) => tls.mode,
        None if is_loopback(&settings.url) => TlsMode::Off,
        None => TlsMode::Verify,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    fn settings(url: &str) -> Connection {
        Connection {
            name: "branches".into(),
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
        assert_eq!(validate(&settings("sqlserver://writer@10.0.0.5:1433/branches")), Ok(()));
        assert_eq!(validate(&settings("mssql://writer@db.example.com/branches")), Ok(()));
        for (wrong, word) in [
            ("mysql://writer@10.0.0.5/branches", "sqlserver://"),
            ("sqlserver://10.0.0.5/branches", "user"),
            ("sqlserver://writer@10.0.0.5", "database"),
            ("sqlserver://writer@10.0.0.5/a/b", "database"),
            ("sqlserver://writer:secret@10.0.0.5/branches", "`password`"),
            ("sqlserver://SHOP%5Cwriter@10.0.0.5/branches", "Windows account"),
            ("sqlserver://writer@10.0.0.5/branches?instance=SHOP", "fixed port"),
            ("sqlserver://writer@10.0.0.5/branches?encrypt=false", "`encrypt`"),
        ] {
            let said = validate(&settings(wrong)).unwrap_err();
            assert!(said.contains(word) && !said.contains("secret"), "{said}");
        }
        let mut unread = settings("sqlserver://writer@10.0.0.5/branches");
        unread.tls = Some(Tls { mode: TlsMode::Require, ca: Some("/etc/ca.pem".into()) });
        assert!(validate(&unread).unwrap_err().contains("verify"));
    }

    #[test]
    fn names_are_decoded() {
        let url: Url = "sqlserver://writer%40azure@[::1]:14330/shop%20%26%20more+1".parse().unwrap();
        assert_eq!((user(&url).as_str(), database(&url).as_str()), ("writer@azure", "shop & more+1"));
        assert_eq!(host(&url), "::1");
    }

    #[test]
    fn a_server_elsewhere_is_verified_unless_the_operator_says_otherwise() {
        for (url, mode) in [
            ("sqlserver://w@10.0.0.5/d", TlsMode::Verify),
            ("sqlserver://w@localhost/d", TlsMode::Off),
            ("sqlserver://w@127.0.0.1/d", TlsMode::Off),
            ("sqlserver://w@[::1]/d", TlsMode::Off),
            ("sqlserver://w@localhost.example.com/d", TlsMode::Verify),
        ] {
            assert_eq!(tls_mode(&settings(url)), mode, "{url}");
        }
    }
}
