// SPDX-License-Identifier: GPL-2.0

//! A public key that nexthops on a device name.

use crate::attributes::Attributes;
use crate::uapi::{
    WGVIA_A_BINDING_IFINDEX, WGVIA_A_BINDING_KEY, WGVIA_A_BINDING_NEXTHOPS,
    WGVIA_A_BINDING_PRESENT, WGVIA_KEY_LEN,
};
use base64::prelude::{Engine, BASE64_STANDARD};
use netlink_packet_core::DecodeError;
use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Binding {
    #[serde(skip)]
    pub ifindex: u32,
    /// In base64, as wg(8) and ip(8) have it.
    pub key: String,
    pub nexthops: u32,
    /// Whether the device has a peer with this key.
    pub present: bool,
}

impl Binding {
    pub fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        let key: [u8; WGVIA_KEY_LEN as usize] = attributes.array(WGVIA_A_BINDING_KEY)?;
        Ok(Self {
            ifindex: attributes.u32(WGVIA_A_BINDING_IFINDEX)?,
            key: BASE64_STANDARD.encode(key),
            nexthops: attributes.u32(WGVIA_A_BINDING_NEXTHOPS)?,
            present: attributes.bool(WGVIA_A_BINDING_PRESENT)?,
        })
    }
}
