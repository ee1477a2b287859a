// SPDX-License-Identifier: GPL-2.0

//! Routes as the kernel gives them, and as they are shown.

use super::{MAIN, RTA_ENCAP, RTA_ENCAP_TYPE, RTA_WGPEER, RTNEXTHOP_LEN};
use crate::attributes::Attributes;
use crate::key::Key;
use crate::prefix::{from_octets, Prefix};
use crate::rtnetlink::{ifname, Message, RTMSG_LEN};
use libc::{
    AF_INET, AF_INET6, RTA_DST, RTA_GATEWAY, RTA_MULTIPATH, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY,
    RTA_TABLE, RTN_UNICAST,
};
use netlink_packet_core::DecodeError;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;

/// RTA_VIA of linux/rtnetlink.h.
const RTA_VIA: u16 = 18;

/// A route of the kernel.
#[derive(Debug, PartialEq, Serialize)]
pub struct Shown {
    dst: Prefix,
    #[serde(flatten)]
    pub(super) nexthops: Nexthops,
    pub(super) table: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefsrc: Option<IpAddr>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Nexthops {
    One(Nexthop),
    Several { nexthops: Vec<Nexthop> },
}

#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Nexthop {
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    pub(super) dev: String,
    #[serde(rename = "via_wgpeer", skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<Key>,
    /// Of a route that has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
}

impl Shown {
    /// Read an IPv4 or IPv6 unicast route; others are none.
    pub(super) fn parse(message: &Message, encap_type: u16) -> Result<Option<Self>, DecodeError> {
        let header: &[u8; RTMSG_LEN] = message
            .header
            .first_chunk()
            .ok_or_else(|| DecodeError::from("no route"))?;
        let [family, length, _, _, table, _, _, kind, ..] = *header;
        let unspecified = match i32::from(family) {
            AF_INET => IpAddr::V4([0; 4].into()),
            AF_INET6 => IpAddr::V6([0; 16].into()),
            _ => return Ok(None),
        };
        if kind != RTN_UNICAST {
            return Ok(None);
        }
        let attributes = &message.attributes;
        let nexthops = match attributes.get(RTA_MULTIPATH) {
            Some(bytes) => Nexthops::Several {
                nexthops: multipath(bytes, encap_type)?,
            },
            None => Nexthops::One(Nexthop::parse(attributes, None, None, encap_type)?),
        };
        Ok(Some(Self {
            dst: Prefix {
                address: address(attributes, RTA_DST)?.unwrap_or(unspecified),
                length,
            },
            nexthops,
            table: optional(attributes, RTA_TABLE)?.unwrap_or(u32::from(table)),
            metric: optional(attributes, RTA_PRIORITY)?,
            prefsrc: address(attributes, RTA_PREFSRC)?,
        }))
    }
}

impl Nexthop {
    fn parse(
        attributes: &Attributes,
        ifindex: Option<u32>,
        weight: Option<u32>,
        encap_type: u16,
    ) -> Result<Self, DecodeError> {
        let ifindex = match ifindex {
            Some(ifindex) => Some(ifindex),
            None => optional(attributes, RTA_OIF)?,
        };
        let keyed = match attributes.get(RTA_ENCAP_TYPE) {
            Some(_) => attributes.u16(RTA_ENCAP_TYPE)? == encap_type,
            None => false,
        };
        let gateway = match attributes.get(RTA_VIA) {
            // struct rtvia: the family before the address
            Some(via) => via.get(2..).and_then(from_octets),
            None => address(attributes, RTA_GATEWAY)?,
        };
        Ok(Self {
            gateway,
            dev: ifindex.map_or_else(String::new, ifname),
            key: match keyed {
                true => Some(Key(attributes.nest(RTA_ENCAP)?.array(RTA_WGPEER)?)),
                false => None,
            },
            weight,
        })
    }
}

/// Read the value of RTA_MULTIPATH: each a struct rtnexthop with attributes.
pub(super) fn multipath(mut bytes: &[u8], encap_type: u16) -> Result<Vec<Nexthop>, DecodeError> {
    let mut nexthops = Vec::new();
    while !bytes.is_empty() {
        let cut_off = || DecodeError::from("a nexthop is cut off");
        let header: &[u8; RTNEXTHOP_LEN] = bytes.first_chunk().ok_or_else(cut_off)?;
        let [l0, l1, _, hops, i0, i1, i2, i3] = *header;
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let attributes = bytes.get(RTNEXTHOP_LEN..length).ok_or_else(cut_off)?;
        let ifindex = u32::from_ne_bytes([i0, i1, i2, i3]);
        let weight = u32::from(hops) + 1;
        let attributes = Attributes::parse(attributes)?;
        let nexthop = Nexthop::parse(&attributes, Some(ifindex), Some(weight), encap_type)?;
        nexthops.push(nexthop);
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(nexthops)
}

/// In the words of the command line; each further nexthop on a line of its own.
impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dst)?;
        if let Nexthops::One(nexthop) = &self.nexthops {
            write!(f, " {nexthop}")?;
        }
        if self.table != MAIN {
            write!(f, " table {}", self.table)?;
        }
        if let Some(metric) = self.metric {
            write!(f, " metric {metric}")?;
        }
        if let Some(src) = self.prefsrc {
            write!(f, " src {src}")?;
        }
        writeln!(f)?;
        if let Nexthops::Several { nexthops } = &self.nexthops {
            for nexthop in nexthops {
                writeln!(f, "\tnexthop {nexthop}")?;
            }
        }
        Ok(())
    }
}

impl Display for Nexthop {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            write!(f, "via {gateway} ")?;
        }
        write!(f, "dev {}", self.dev)?;
        if let Some(key) = self.key {
            write!(f, " via-wgpeer {key}")?;
        }
        if let Some(weight) = self.weight {
            write!(f, " weight {weight}")?;
        }
        Ok(())
    }
}

fn optional(attributes: &Attributes, kind: u16) -> Result<Option<u32>, DecodeError> {
    let present = attributes.get(kind);
    present.map(|_| attributes.u32(kind)).transpose()
}

fn address(attributes: &Attributes, kind: u16) -> Result<Option<IpAddr>, DecodeError> {
    let present = attributes.get(kind);
    let address = present.map(|bytes| {
        let wrong = || DecodeError::from(format!("attribute {kind} is no address"));
        from_octets(bytes).ok_or_else(wrong)
    });
    address.transpose()
}
