// SPDX-License-Identifier: GPL-2.0

//! rtnetlink: addresses and routes.
//!
//! Not with netlink-packet-route: it reads RTA_ENCAP by the encapsulation's
//! type, so it could not read keys under a type that is another's.

use crate::attributes::Attributes;
use crate::error::Error;
use crate::netlink::Connection;
use libc::{
    AF_INET6, AF_UNSPEC, EEXIST, IFA_ADDRESS, IFA_LOCAL, RTM_DELADDR, RTM_GETROUTE, RTM_NEWADDR,
    RTM_NEWROUTE,
};
use netlink_packet_core::{
    DecodeError, Emitable, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable, NLM_F_CREATE,
    NLM_F_EXCL,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::net::if_::{if_indextoname, if_nametoindex};
use std::net::Ipv6Addr;

/// EOPNOTSUPP without a text says so of IPv6: nobody handles the request.
pub const NO_IPV6: &str =
    "the kernel runs without IPv6: start it without ipv6.disable=1 on its command line";

/// Length of struct ifaddrmsg.
const IFADDRMSG_LEN: usize = 8;
/// Length of struct rtmsg.
pub const RTMSG_LEN: usize = 12;

/// A message about an address or a route.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// RTM_NEWROUTE and so on.
    pub kind: u16,
    /// struct ifaddrmsg or struct rtmsg.
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
            RTM_NEWROUTE => RTMSG_LEN,
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

    /// Send a request that changes routes.
    pub fn change(&mut self, request: Message, flags: u16) -> Result<(), Error> {
        self.0.call(request, flags).map(drop)
    }

    /// Get the routes of all tables, IPv4 and IPv6, of which `keep` makes something.
    pub fn routes<T>(
        &mut self,
        keep: impl Fn(Message) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>, Error> {
        let mut header = vec![0; RTMSG_LEN];
        header[0] = AF_UNSPEC as u8;
        let request = Message {
            kind: RTM_GETROUTE,
            header,
            attributes: Attributes::new(),
        };
        self.0.dump(request, keep)
    }

    /// Take the warnings that came with successes.
    pub fn warnings(&mut self) -> Vec<String> {
        self.0.warnings()
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

/// Return the index of the device of this name.
pub fn ifindex(name: &str) -> Result<u32, Error> {
    if_nametoindex(name).map_err(|errno| {
        let error = Error::Refused {
            errno: errno as i32,
            text: None,
            device: None,
        };
        error
            .or_text(libc::ENODEV, "no such device")
            .about_any(name)
    })
}

/// Return the name of a device; [`None`] if it is gone by now.
pub fn name(ifindex: u32) -> Option<String> {
    let name = if_indextoname(ifindex).ok()?.into_string().ok()?;
    // nix takes the failure for a success without a name.
    Some(name).filter(|name| !name.is_empty())
}

/// Return the name of a device; its number, if it is gone by now.
pub fn ifname(ifindex: u32) -> String {
    name(ifindex).unwrap_or_else(|| format!("if{ifindex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there() {
        let error = ifindex("none").unwrap_err().to_string();
        assert_eq!(error, "none: no such device");
    }

    #[test]
    fn a_device_that_is_gone() {
        const NEVER: u32 = i32::MAX as u32;
        assert_eq!(name(NEVER), None);
        assert_eq!(ifname(NEVER), "if2147483647");
    }
}
