// SPDX-License-Identifier: GPL-2.0

//! rtnetlink: addresses.

use crate::attributes::Attributes;
use crate::error::Error;
use crate::netlink::Connection;
use libc::{AF_INET6, EEXIST, IFA_ADDRESS, IFA_LOCAL, RTM_DELADDR, RTM_NEWADDR};
use netlink_packet_core::{
    DecodeError, Emitable, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, NLM_F_CREATE,
    NLM_F_EXCL,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use std::net::Ipv6Addr;

/// Length of struct ifaddrmsg.
const IFADDRMSG_LEN: usize = 8;
/// A message about an address.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// RTM_NEWADDR and so on.
    pub kind: u16,
    /// struct ifaddrmsg.
    pub header: Vec<u8>,
    pub attributes: Attributes,
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.header.len() + self.attributes.buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (header, attributes) = buffer.split_at_mut(self.header.len());
        header.copy_from_slice(&self.header);
        self.attributes.emit(attributes);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let length = match header.message_type {
            RTM_NEWADDR => IFADDRMSG_LEN,
            kind => return Err(format!("message of type {kind}").into()),
        };
        let (fixed, attributes) = payload
            .split_at_checked(length)
            .ok_or_else(|| DecodeError::invalid_buffer("rtnetlink", payload.len(), length))?;
        Ok(Self {
            kind: header.message_type,
            header: fixed.to_vec(),
            attributes: Attributes::parse(attributes)?,
        })
    }
}

pub struct Rtnetlink(Connection);

impl Rtnetlink {
    pub fn open() -> Result<Self, Error> {
        Ok(Self(Connection::open(NETLINK_ROUTE)?))
    }

    /// Add an address; tell whether it was not there before.
    pub fn add_address(
        &mut self,
        ifindex: u32,
        address: Ipv6Addr,
        prefix: u8,
    ) -> Result<bool, Error> {
        let request = ifaddr(RTM_NEWADDR, ifindex, address, prefix);
        match self.0.call(request, NLM_F_CREATE | NLM_F_EXCL) {
            Err(Error::Refused { errno: EEXIST, .. }) => Ok(false),
            replies => replies.map(|_| true),
        }
    }

    pub fn del_address(
        &mut self,
        ifindex: u32,
        address: Ipv6Addr,
        prefix: u8,
    ) -> Result<(), Error> {
        let request = ifaddr(RTM_DELADDR, ifindex, address, prefix);
        self.0.call(request, 0).map(drop)
    }
}

fn ifaddr(kind: u16, ifindex: u32, address: Ipv6Addr, prefix: u8) -> Message {
    let mut header = vec![AF_INET6 as u8, prefix, 0, 0];
    header.extend(ifindex.to_ne_bytes());
    let mut attributes = Attributes::new();
    attributes.put(IFA_LOCAL, address.octets().to_vec());
    attributes.put(IFA_ADDRESS, address.octets().to_vec());
    Message {
        kind,
        header,
        attributes,
    }
}
