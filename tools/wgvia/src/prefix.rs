// SPDX-License-Identifier: GPL-2.0

//! An IPv4 or IPv6 prefix.

use serde::{Serialize, Serializer};
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Prefix {
    pub address: IpAddr,
    pub length: u8,
}

/// The text of a prefix: an address, and its length unless that is the whole.
///
/// `default` is refused, since it does not say of which family. Whether bits
/// beyond the length are set is the kernel's to say.
impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "default" {
            return Err("'default' has no address family: say 0.0.0.0/0 or ::/0".to_owned());
        }
        let wrong = || format!("'{text}' is not a prefix, such as 10.1.0.0/16 or fd01::/48");
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let whole = bits(&address);
        let length = match length {
            Some(length) => length.parse().map_err(|_| wrong())?,
            None => whole,
        };
        if length > whole {
            return Err(wrong());
        }
        Ok(Self { address, length })
    }
}

impl Display for Prefix {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Serialize for Prefix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Return the bytes of an address in network byte order.
pub fn octets(address: &IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Return the address that has these bytes in network byte order.
pub fn from_octets(octets: &[u8]) -> Option<IpAddr> {
    let v4 = octets.try_into().map(|octets: [u8; 4]| octets.into());
    let v6 = octets.try_into().map(|octets: [u8; 16]| octets.into());
    v4.or(v6).ok()
}

fn bits(address: &IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, expected) in [
            ("10.1.0.0/16", "10.1.0.0/16"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("fd01::/48", "fd01::/48"),
            ("::", "::/128"),
        ] {
            assert_eq!(text.parse::<Prefix>().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn no_prefixes() {
        for text in [
            "",
            "default",
            "10.1/16",
            "10.1.0.0/33",
            "10.1.0.0/",
            "::/129",
            "::/-1",
            "wg0",
        ] {
            assert!(text.parse::<Prefix>().is_err(), "{text}");
        }
    }
}
