// SPDX-License-Identifier: GPL-2.0

//! A peer's public key.

use base64::prelude::{Engine, BASE64_STANDARD};
use serde::{Serialize, Serializer};
use std::fmt::{self, Debug, Display, Formatter};
use std::str::FromStr;
use wgvia_spec::KEY_LEN;

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct Key(pub [u8; KEY_LEN]);

/// The text of a key: base64, as wg(8) and ip(8) have it.
impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes = BASE64_STANDARD.decode(text).ok();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("'{text}' is not a key: 44 characters of base64"))
    }
}

impl Display for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl Debug for Key {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    #[test]
    fn there_and_back() {
        assert_eq!(TEXT.parse::<Key>().unwrap().to_string(), TEXT);
    }

    #[test]
    fn no_keys() {
        for text in [
            "",
            "wg0",
            &TEXT[1..],
            &TEXT[..43],
            // The last character stands for bits that no byte has.
            "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dh=",
            "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg= ",
            // 31 and 33 bytes
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
    }
}
