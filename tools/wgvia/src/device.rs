// SPDX-License-Identifier: GPL-2.0

//! A WireGuard device as the kernel describes it.

use crate::attributes::Attributes;
use crate::binding::Binding;
use crate::cli::{Filter, Mode};
use crate::counters::Counters;
use crate::uapi::{
    WGVIA_A_DEVICE_ACTIVE, WGVIA_A_DEVICE_COUNTERS, WGVIA_A_DEVICE_FILTER, WGVIA_A_DEVICE_IFINDEX,
    WGVIA_A_DEVICE_IFNAME, WGVIA_A_DEVICE_MODE, WGVIA_A_DEVICE_NEXTHOPS, WGVIA_FILTER_DEVICE,
    WGVIA_FILTER_NONE, WGVIA_FILTER_STRICT, WGVIA_MODE_AUTO, WGVIA_MODE_OFF, WGVIA_MODE_ON,
};
use clap::ValueEnum;
use netlink_packet_core::DecodeError;
use serde::{Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Device {
    pub ifindex: u32,
    pub ifname: String,
    #[serde(serialize_with = "by_name")]
    pub mode: Mode,
    #[serde(serialize_with = "by_name")]
    pub filter: Filter,
    /// Whether nexthops choose the peer now.
    pub active: bool,
    /// Number of nexthops that name a peer.
    pub nexthops: u32,
    /// The kernel lists them apart from the device.
    pub bindings: Vec<Binding>,
    pub counters: Counters,
}

impl Device {
    pub fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        Ok(Self {
            ifindex: attributes.u32(WGVIA_A_DEVICE_IFINDEX)?,
            ifname: attributes.string(WGVIA_A_DEVICE_IFNAME)?,
            mode: value(attributes.u32(WGVIA_A_DEVICE_MODE)?, "mode")?,
            filter: value(attributes.u32(WGVIA_A_DEVICE_FILTER)?, "filter")?,
            active: attributes.bool(WGVIA_A_DEVICE_ACTIVE)?,
            nexthops: attributes.u32(WGVIA_A_DEVICE_NEXTHOPS)?,
            bindings: Vec::new(),
            counters: Counters::parse(&attributes.nest(WGVIA_A_DEVICE_COUNTERS)?)?,
        })
    }
}

impl From<Mode> for u32 {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Off => WGVIA_MODE_OFF,
            Mode::Auto => WGVIA_MODE_AUTO,
            Mode::On => WGVIA_MODE_ON,
        }
    }
}

impl From<Filter> for u32 {
    fn from(filter: Filter) -> Self {
        match filter {
            Filter::Device => WGVIA_FILTER_DEVICE,
            Filter::Strict => WGVIA_FILTER_STRICT,
            Filter::None => WGVIA_FILTER_NONE,
        }
    }
}

fn value<E: ValueEnum + Into<u32>>(number: u32, what: &str) -> Result<E, DecodeError> {
    E::value_variants()
        .iter()
        .find(|&variant| variant.clone().into() == number)
        .cloned()
        .ok_or_else(|| DecodeError::from(format!("{what} {number}")))
}

/// The word that the command line has for a value.
pub fn name<E: ValueEnum>(value: &E) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

fn by_name<E: ValueEnum, S: Serializer>(value: &E, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&name(value))
}
