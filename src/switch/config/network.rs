//! Networks as operators write them: `192.0.2.0/24`, `2001:db8::/32`, or one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that begin alike.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address is in it. An IPv4 address that came mapped into IPv6 is the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let differ = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => u128::from(own.to_bits() ^ other.to_bits()) << 96,
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= u32::from(self.prefix)
    }
}

impl From<IpAddr> for Network {
    /// The address alone.
    fn from(address: IpAddr) -> Network {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Network { address, prefix }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| format!("{address} is no address"))?;
        let longest = Network::from(address).prefix;
        let prefix = match prefix.map(str::parse) {
            None => longest,
            Some(Ok(prefix)) if prefix <= longest => prefix,
            Some(_) => return Err(format!("after the slash comes a number from 0 to {longest}")),
        };
        Ok(Network { address, prefix })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_in_its_networks_and_no_others() {
        let is_in = |text: &str, address: &str| network(text).contains(address.parse().unwrap());
        for (text, address) in [
            ("192.0.2.0/24", "192.0.2.255"),
            ("192.0.2.7", "192.0.2.7"),
            ("0.0.0.0/0", "198.51.100.1"),
            ("192.0.2.0/24", "::ffff:192.0.2.1"),
            ("2001:db8::/32", "2001:db8:ffff::1"),
            ("::/0", "::1"),
        ] {
            assert!(is_in(text, address), "{address} in {text}");
        }
        for (text, address) in [
            ("192.0.2.0/24", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.6"),
            ("0.0.0.0/0", "::1"),
            ("::/0", "192.0.2.1"),
            ("2001:db8::/33", "2001:db8:8000::"),
        ] {
            assert!(!is_in(text, address), "{address} not in {text}");
        }
    }

    #[test]
    fn what_is_no_network_says_why() {
        assert_eq!(
            "192.0.2.0/33".parse::<Network>(),
            Err("after the slash comes a number from 0 to 32".into())
        );
        assert_eq!("office".parse::<Network>(), Err("office is no address".into()));
        assert_eq!(network("::1").to_string(), "::1/128");
    }
}
