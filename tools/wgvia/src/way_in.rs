// SPDX-License-Identifier: GPL-2.0

//! How the module is asked about packets, which decides what it can do.

use crate::error::Error;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::fs;

/// LWTUNNEL_ENCAP_WGPEER of the patched kernel's linux/lwtunnel.h.
const LWTUNNEL_ENCAP_WGPEER: u16 = 64;

/// Where the module says which type it has, if the kernel has none for it.
const PARAMETER: &str = "/sys/module/wgvia/parameters/encap_type";

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub enum WayIn {
    /// The kernel has our patches.
    Patched,
    /// It has not. Routes name peers in this type of encapsulation; 0: they cannot.
    Stock(u16),
}

impl WayIn {
    /// Read it from the module that is loaded.
    pub fn read() -> Self {
        Self::of(fs::read_to_string(PARAMETER).ok())
    }

    fn of(parameter: Option<String>) -> Self {
        let number = parameter.and_then(|text| text.trim().parse().ok());
        number.map_or(Self::Patched, Self::Stock)
    }

    /// Return the type that a keyed nexthop has in RTA_ENCAP_TYPE.
    ///
    /// Errors: [`Error::TypeIsTaken`].
    pub fn encap_type(self) -> Result<u16, Error> {
        match self {
            Self::Patched => Ok(LWTUNNEL_ENCAP_WGPEER),
            Self::Stock(0) => Err(Error::TypeIsTaken),
            Self::Stock(number) => Ok(number),
        }
    }
}

impl Display for WayIn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Patched => writeln!(f, "patched kernel"),
            Self::Stock(0) => writeln!(f, "stock kernel: {}", Error::TypeIsTaken),
            Self::Stock(number) => writeln!(
                f,
                "stock kernel: routes name peers in encapsulation type {number}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        for (parameter, number) in [
            (None, Some(64)),
            (Some("9\n"), Some(9)),
            (Some("0\n"), None),
        ] {
            let way_in = WayIn::of(parameter.map(str::to_owned));
            assert_eq!(way_in.encap_type().ok(), number);
        }
    }

    #[test]
    fn for_people() {
        let text = WayIn::Stock(0).to_string();
        assert!(
            text.starts_with("stock kernel: routes cannot name peers"),
            "{text}"
        );
    }
}
