//! How a request came in: over TLS, through a named proxy, or over loopback; from which address, and for which host.
//!
//! Pure. A proxy is believed only if the settings name it. What passwords could be read from, and what a foreign page could
//! have made a browser send here under a name of its own, is refused with the remedy.

use std::net::IpAddr;

use actix_web::http::header::{HeaderMap, HeaderName, ORIGIN};

use crate::config::Networks;

static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the settings say of the way in.
#[derive(Clone, Debug)]
pub(super) struct Entrance {
    /// The listener speaks TLS itself.
    pub(super) tls: bool,
    /// It is on loopback.
    pub(super) loopback: bool,
    /// The proxies in front of it.
    pub(super) proxies: Networks,
}

/// How a request came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Whose it is: the address that the first proxy of ours saw.
    pub(crate) from: IpAddr,
    /// Nobody on the way could read it.
    pub(crate) secure: bool,
    /// The host that was asked for, with its port where there is one.
    pub(crate) host: String,
}

/// Why it is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Astray {
    /// It came past the proxy.
    PastProxy,
    /// The proxy got it over plain HTTP, or does not say.
    Plain,
    /// It is for a host that is not this machine's loopback.
    ForeignHost,
}

impl Astray {
    /// What is wrong and what to do, in a sentence.
    pub(super) fn sentence(self) -> &'static str {
        match self {
            Self::PastProxy => "This console is reached through its proxy only. The setting `console_proxy` names it.",
            Self::Plain => {
                "The proxy in front of this console must be asked over https, and say so with `X-Forwarded-Proto: https`."
            }
            Self::ForeignHost => {
                "This console listens on loopback and was asked under another host's name. Open it as http://127.0.0.1 with \
                 its port, or name the proxy in front of it in the setting `console_proxy`."
            }
        }
    }
}

impl Entrance {
    /// How a request of this peer came in.
    pub(super) fn arrive(&self, peer: IpAddr, headers: &HeaderMap, host: &str) -> Result<Arrival, Astray> {
        let (peer, believed) = (peer.to_canonical(), self.proxies.contains(peer));
        let said = |name: &HeaderName| headers.get_all(name).filter_map(|value| value.to_str().ok()).last();
        let forwarded = || {
            let all: Vec<&str> = headers.get_all(&FORWARDED_FOR).filter_map(|value| value.to_str().ok()).collect();
            let all = all.join(",");
            // From the right: what stands left of the last proxy that we know is hearsay.
            let addresses = all.rsplit(',').map_while(|one| one.trim().parse::<IpAddr>().ok());
            let mut last = None;
            for address in addresses {
                last = Some(address.to_canonical());
                if !self.proxies.contains(address) {
                    break;
                }
            }
            last
        };
        let https = || {
            let proto = said(&FORWARDED_PROTO).and_then(|all| all.rsplit(',').next());
            proto.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
        };
        let from = if believed { forwarded().unwrap_or(peer) } else { peer };
        let secure = self.tls || (believed && https());
        if !self.tls && !self.loopback {
            if !believed {
                return Err(Astray::PastProxy);
            }
            if !secure {
                return Err(Astray::Plain);
            }
        }
        // A page of a foreign site can point its own name at 127.0.0.1, and be of our origin then.
        if !self.tls && !believed && !is_loopback_name(host) {
            return Err(Astray::ForeignHost);
        }
        Ok(Arrival { from, secure, host: host.to_owned() })
    }
}

impl Arrival {
    /// Whether what asks for a change was one of our own pages.
    pub(crate) fn is_from_our_page(&self, headers: &HeaderMap) -> bool {
        let scheme = if self.secure { "https" } else { "http" };
        match headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or_default()) {
            Some(origin) => {
                let host = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
                host.is_some_and(|host| host.eq_ignore_ascii_case(&self.host))
            }
            // No page can leave it out or change it; browsers send one of the two with every form.
            None => headers.get(&FETCH_SITE).is_some_and(|site| site.as_bytes() == b"same-origin"),
        }
    }
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use actix_web::http::header::HeaderValue;

    use super::*;

    fn entrance(tls: bool, loopback: bool, proxies: &str) -> Entrance {
        let proxies = if proxies.is_empty() { Networks::default() } else { proxies.parse().unwrap() };
        Entrance { tls, loopback, proxies }
    }

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    fn arrive(entrance: &Entrance, peer: &str, all: &[(&'static str, &'static str)]) -> Result<(String, bool), Astray> {
        let arrived = entrance.arrive(peer.parse().unwrap(), &headers(all), "console.example")?;
        Ok((arrived.from.to_string(), arrived.secure))
    }

    #[test]
    fn a_proxy_is_believed_only_where_it_is_named() {
        let said = [("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.0.0.6"), ("x-forwarded-proto", "https")];
        let named = entrance(false, false, "10.0.0.0/24");
        assert_eq!(arrive(&named, "10.0.0.5", &said), Ok(("203.0.113.9".into(), true)));
        assert_eq!(arrive(&named, "10.0.0.5", &said[..1]), Err(Astray::Plain));
        assert_eq!(arrive(&named, "203.0.113.9", &said), Err(Astray::PastProxy));
        let tls = entrance(true, false, "");
        assert_eq!(arrive(&tls, "203.0.113.7", &said), Ok(("203.0.113.7".into(), true)));
    }

    #[test]
    fn loopback_answers_to_its_own_names_only() {
        let plain = entrance(false, true, "");
        assert_eq!(arrive(&plain, "127.0.0.1", &[]), Err(Astray::ForeignHost));
        for host in ["127.0.0.1:8081", "localhost:9", "[::1]:8081", "LOCALHOST"] {
            assert!(plain.arrive("127.0.0.1".parse().unwrap(), &headers(&[]), host).is_ok(), "{host}");
        }
        for host in ["localhost.evil.example", "evil.example:8081", ""] {
            assert!(plain.arrive("127.0.0.1".parse().unwrap(), &headers(&[]), host).is_err(), "{host}");
        }
        let behind = entrance(false, true, "127.0.0.1");
        assert_eq!(arrive(&behind, "127.0.0.1", &[("x-forwarded-for", "10.1.1.1")]), Ok(("10.1.1.1".into(), false)));
    }

    #[test]
    fn a_change_must_come_from_a_page_of_ours() {
        let arrival = Arrival { from: "10.0.0.1".parse().unwrap(), secure: true, host: "console.example".into() };
        let ours = |all: &[(&'static str, &'static str)]| arrival.is_from_our_page(&headers(all));
        assert!(ours(&[("origin", "https://console.example")]));
        assert!(!ours(&[("origin", "http://console.example")]));
        assert!(!ours(&[("origin", "https://console.example:444")]));
        assert!(!ours(&[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")]));
        assert!(!ours(&[("origin", "null")]));
        assert!(!ours(&[]));
        assert!(ours(&[("sec-fetch-site", "same-origin")]));
    }
}
