// SPDX-License-Identifier: GPL-2.0

//! The counters of a device.

use crate::attributes::Attributes;
use netlink_packet_core::DecodeError;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use wgvia_spec::{Entry, COUNTERS};

/// The counters in the order of the spec.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters([u64; COUNTERS.entries.len()]);

impl Counters {
    pub fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        let mut counters = [0; COUNTERS.entries.len()];
        for (counter, entry) in counters.iter_mut().zip(COUNTERS.entries) {
            *counter = attributes.uint(entry.number as u16)?;
        }
        Ok(Self(counters))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static Entry, u64)> + '_ {
        COUNTERS.entries.iter().zip(self.0)
    }
}

impl Serialize for Counters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (entry, counter) in self.iter() {
            map.serialize_entry(&entry.word(), &counter)?;
        }
        map.end()
    }
}
