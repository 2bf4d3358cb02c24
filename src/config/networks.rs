//! Lists of addresses and networks, such as `10.0.0.5,fd00::/8`: whom a setting is about.

use std::{net::IpAddr, str::FromStr};

/// Addresses and networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<(IpAddr, u8)>);

impl Networks {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this address is one of them. An IPv4 address that comes as an IPv6 one counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|&(network, prefix)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => same(network.to_bits(), address.to_bits(), prefix),
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let (network, address) = (network.to_bits(), address.to_bits());
                network.checked_shr(128 - u32::from(prefix)) == address.checked_shr(128 - u32::from(prefix))
            }
            _ => false,
        })
    }
}

/// Whether the first bits are the same; none are for a prefix of 0, where there is nothing to shift.
fn same(network: u32, address: u32, prefix: u8) -> bool {
    network.checked_shr(32 - u32::from(prefix)) == address.checked_shr(32 - u32::from(prefix))
}

impl FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| -> Option<(IpAddr, u8)> {
            let (address, prefix) = part.split_once('/').map_or((part, None), |(address, bits)| (address, Some(bits)));
            let address = address.parse::<IpAddr>().ok()?.to_canonical();
            let most = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
            Some((address, prefix))
        };
        text.split(',').map(|part| one(part.trim())).collect::<Option<Vec<_>>>().map(Self).ok_or_else(|| {
            "is no list of addresses; give addresses or networks with commas, such as 10.0.0.5 or 10.0.0.0/24,fd00::/8"
                .into()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_address_is_found_in_its_network_and_in_no_other() {
        let networks: Networks = "10.0.0.5, 10.1.0.0/16,fd00::/8".parse().unwrap();
        for (address, inside) in [
            ("10.0.0.5", true),
            ("10.0.0.6", false),
            ("10.1.255.1", true),
            ("10.2.0.1", false),
            ("::ffff:10.1.2.3", true),
            ("fd12::1", true),
            ("fe80::1", false),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), inside, "{address}");
        }
        let all: Networks = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()) && !all.contains("fd00::1".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "proxy", "10.0.0.1,"] {
            assert!(wrong.parse::<Networks>().is_err(), "{wrong}");
        }
    }
}
