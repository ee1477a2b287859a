// SPDX-License-Identifier: GPL-2.0

//! A WireGuard device as the kernel describes it.

use crate::attributes::Attributes;
use crate::binding::Binding;
use crate::counters::Counters;
use netlink_packet_core::DecodeError;
use serde::{Serialize, Serializer};
use wgvia_spec::{device, Entry, Table, FILTER, MODE};

/// The settings of a device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    #[serde(serialize_with = "by_name")]
    pub mode: &'static Entry,
    #[serde(serialize_with = "by_name")]
    pub filter: &'static Entry,
    /// Whether packets to link-scope groups are copied to the peers.
    pub multicast: bool,
}

impl Settings {
    pub fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        Ok(Self {
            mode: value(&MODE, attributes.u32(device::MODE)?, "mode")?,
            filter: value(&FILTER, attributes.u32(device::FILTER)?, "filter")?,
            multicast: attributes.bool(device::MULTICAST)?,
        })
    }
}

/// The settings of devices to come.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Defaults(pub Settings);

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    pub ifindex: u32,
    pub ifname: String,
    #[serde(flatten)]
    pub settings: Settings,
    /// Number of lightweight-tunnel states that name a peer of the device.
    pub states: u32,
    /// The kernel lists them apart from the device.
    pub bindings: Vec<Binding>,
    pub counters: Counters,
}

impl Device {
    pub fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        Ok(Self {
            ifindex: attributes.u32(device::IFINDEX)?,
            ifname: attributes.string(device::IFNAME)?,
            settings: Settings::parse(attributes)?,
            states: attributes.u32(device::STATES)?,
            bindings: Vec::new(),
            counters: Counters::parse(&attributes.nest(device::COUNTERS)?)?,
        })
    }
}

fn value(table: &Table, number: u32, what: &str) -> Result<&'static Entry, DecodeError> {
    let found = table.entries.iter().find(|entry| entry.number == number);
    found.ok_or_else(|| DecodeError::from(format!("{what} {number}")))
}

fn by_name<S: Serializer>(entry: &&'static Entry, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(entry.name)
}
