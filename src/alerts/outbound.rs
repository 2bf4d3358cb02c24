//! Where an alert may go: the name is looked up once, every address of it is judged, and the connection is made to the
//! address that was judged, so that nobody can be made to reach what only this machine can.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::config::Networks;

/// Longest look-up of a name.
const NAME_WITHIN: Duration = Duration::from_secs(3);

/// Addresses that alerts may reach although they are this machine's own or its network's alone.
#[derive(Clone, Debug, Default)]
pub struct Allowed(pub Networks);

impl Allowed {
    /// Whether an alert may go there; what it is where not.
    pub(super) fn refuses(&self, address: IpAddr) -> Option<&'static str> {
        let address = address.to_canonical();
        if self.0.contains(address) {
            return None;
        }
        kind(address)
    }
}

/// What an address is that only this machine, its link, or everybody at once can be reached by.
fn kind(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => match v4.octets() {
            [127, ..] => Some("this machine itself"),
            [0, ..] => Some("this machine itself"),
            // 169.254.169.254 is where clouds keep machines' credentials.
            [169, 254, ..] => Some("link-local, where clouds keep metadata"),
            // Alibaba's, Oracle's, and Azure's.
            [100, 100, 100, 200] | [192, 0, 0, 192] | [168, 63, 129, 16] => Some("where a cloud keeps metadata"),
            [224..=239, ..] => Some("multicast"),
            [255, 255, 255, 255] => Some("broadcast"),
            _ => None,
        },
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            match segments {
                [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Some("this machine itself"),
                // AWS's over IPv6.
                [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254] => Some("where a cloud keeps metadata"),
                [0xfe80..=0xfebf, ..] => Some("link-local"),
                [0xff00..=0xffff, ..] => Some("multicast"),
                // IPv4 in another dress: NAT64 and addresses that hold one.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => {
                    let [a, b] = high.to_be_bytes();
                    let [c, d] = low.to_be_bytes();
                    kind(IpAddr::from([a, b, c, d]))
                }
                _ => None,
            }
        }
    }
}

/// The address to connect to.
///
/// # Errors
/// The name is unknown, or one of its addresses is refused: which, and what to do.
pub(super) async fn resolve(host: &str, port: u16, allowed: &Allowed) -> Result<SocketAddr, String> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::time::timeout(NAME_WITHIN, tokio::net::lookup_host((name, port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(found)) => found.collect(),
        _ => Vec::new(),
    };
    for address in &addresses {
        if let Some(what) = allowed.refuses(address.ip()) {
            return Err(format!(
                "{} is {what}; alerts go there only if the setting `alerts_allow` names that address",
                address.ip()
            ));
        }
    }
    addresses
        .first()
        .copied()
        .ok_or_else(|| "no address is known for this name; check it, and this machine's DNS".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn what_only_this_machine_can_reach_is_refused_in_every_spelling() {
        let none = Allowed::default();
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "::7f00:1",
        ] {
            assert!(none.refuses(address.parse().unwrap()).is_some(), "{address}");
        }
        for address in ["10.0.0.7", "192.168.1.1", "203.0.113.9", "2001:db8::1", "fd00::7", "::ffff:10.0.0.7"] {
            assert_eq!(none.refuses(address.parse().unwrap()), None, "{address}");
        }
        let allowed = Allowed("127.0.0.1".parse().unwrap());
        assert_eq!(allowed.refuses("::ffff:127.0.0.1".parse().unwrap()), None);
        assert!(allowed.refuses("127.0.0.2".parse().unwrap()).is_some());
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses() {
        let refused = resolve("localhost", 80, &Allowed::default()).await.unwrap_err();
        assert!(refused.contains("alerts_allow"), "{refused}");
        assert!(resolve("[::1]", 80, &Allowed::default()).await.is_err());
        assert!(resolve("no-such-name.invalid", 80, &Allowed::default()).await.unwrap_err().contains("DNS"));
        let both = Allowed("127.0.0.0/8,::1".parse().unwrap());
        assert!(resolve("localhost", 80, &both).await.unwrap().ip().is_loopback());
    }
}
