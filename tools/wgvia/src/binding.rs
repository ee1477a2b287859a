// SPDX-License-Identifier: GPL-2.0

//! A public key that nexthops on a device name.

use crate::attributes::Attributes;
use crate::key::Key;
use netlink_packet_core::DecodeError;
use serde::Serialize;
use wgvia_spec::binding;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Binding {
    #[serde(skip)]
    pub ifindex: u32,
    pub key: Key,
    /// Number of lightweight-tunnel states that name the key.
    pub states: u32,
    /// Whether the device has a peer with this key.
    pub present: bool,
}

impl Binding {
    pub fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        Ok(Self {
            ifindex: attributes.u32(binding::IFINDEX)?,
            key: Key(attributes.array(binding::KEY)?),
            states: attributes.u32(binding::STATES)?,
            present: attributes.bool(binding::PRESENT)?,
        })
    }
}
