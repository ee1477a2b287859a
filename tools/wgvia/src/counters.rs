// SPDX-License-Identifier: GPL-2.0

//! What the packets of a device met.

use crate::attributes::Attributes;
use crate::uapi;
use netlink_packet_core::DecodeError;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// The counters in the order of the spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters([u64; uapi::COUNTERS.len()]);

impl Counters {
    pub fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        let mut counters = [0; uapi::COUNTERS.len()];
        for (counter, (attribute, _)) in counters.iter_mut().zip(uapi::COUNTERS) {
            *counter = attributes.uint(*attribute)?;
        }
        Ok(Self(counters))
    }

    /// The counter that has this attribute.
    pub fn get(&self, attribute: u16) -> u64 {
        let mut counters = self.0.iter().zip(uapi::COUNTERS);
        counters
            .find(|(_, (number, _))| *number == attribute)
            .map_or(0, |(counter, _)| *counter)
    }
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (counter, (_, name)) in self.0.iter().zip(uapi::COUNTERS) {
            map.serialize_entry(name, counter)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;

    #[test]
    fn the_manual_page_has_each() {
        let documented = cli::COUNTERS.iter().map(|(name, _)| *name);
        let all = uapi::COUNTERS.iter().map(|(_, name)| *name);
        assert!(documented.eq(all));
    }
}
