// SPDX-License-Identifier: GPL-2.0

//! The counters of a device.

use crate::attributes::Attributes;
use netlink_packet_core::DecodeError;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::fmt::{self, Formatter};
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

/// Those of the counters that have counted something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drops(Vec<(&'static Entry, u64)>);

impl Drops {
    pub fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        let mut drops = Vec::new();
        for entry in COUNTERS.entries {
            let number = entry.number as u16;
            if attributes.get(number).is_some() {
                drops.push((entry, attributes.uint(number)?));
            }
        }
        Ok(Self(drops))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static Entry, u64)> + '_ {
        self.0.iter().copied()
    }
}

/// Write the line of a counter, for people.
pub fn write_line(f: &mut Formatter<'_>, entry: &Entry, count: u64) -> fmt::Result {
    let name = entry.word();
    let meaning = entry.doc.trim_end_matches('.');
    writeln!(f, "  {name:<17} {count:>12}  {meaning}")
}

impl Serialize for Drops {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(entry, count)| (entry.word(), count)))
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
