// SPDX-License-Identifier: GPL-2.0

//! A packet that is only described: how the host would route it, and one made of it.
//!
//! C headers: [`include/net/flow.h`](srctree/include/net/flow.h),
//! [`include/net/route.h`](srctree/include/net/route.h),
//! [`include/net/ip6_route.h`](srctree/include/net/ip6_route.h)

use super::{
    addr,
    bindings,
    netdev::NetDevice,
    packet::OwnedPacket,
    route::Place,
    rtnl::Rtnl, //
};
use core::{
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr, //
    },
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::prelude::*;

/// A UDP packet without a payload.
pub(crate) struct Flow {
    /// Destination address.
    pub(crate) destination: IpAddr,
    /// Source address, of the same family; [`None`] leaves it to the host.
    pub(crate) source: Option<IpAddr>,
    /// Firewall mark.
    pub(crate) mark: u32,
    /// DSCP, of 6 bits.
    pub(crate) dscp: u8,
    /// Source port.
    pub(crate) sport: u16,
    /// Destination port.
    pub(crate) dport: u16,
    /// Index of the device that the sender is bound to; 0 if it is bound to none.
    pub(crate) oif: u32,
}

/// A route that the host takes for a packet that it sends: a dst, of whichever device.
///
/// # Invariants
///
/// The pointer is valid, and this object owns a reference to it.
pub(crate) struct Dst {
    dst: NonNull<bindings::dst_entry>,
    source: IpAddr,
    place: Option<Place>,
}

impl Dst {
    /// Return the index of the device that it leads through.
    pub(crate) fn ifindex(&self) -> u32 {
        // SAFETY: Valid by the type invariants.
        unsafe { bindings::wgvia_dst_ifindex(self.dst.as_ptr()) }
    }

    /// Return its place in the FIB; [`None`] if no route has it, as for a sender bound to a device
    /// that no route leads through.
    pub(crate) fn place(&self) -> Option<Place> {
        self.place
    }

    /// Hand the reference over.
    fn into_raw(self) -> *mut bindings::dst_entry {
        core::mem::ManuallyDrop::new(self).dst.as_ptr()
    }
}

impl Drop for Dst {
    fn drop(&mut self) {
        // SAFETY: The reference is owned by the type invariants.
        unsafe { bindings::dst_release(self.dst.as_ptr()) };
    }
}

impl Flow {
    /// Route it as a packet that the host sends, in the network namespace of `dev`, as for a UDP
    /// socket of the owner of the namespace; [`None`] if it can not be sent. To a destination of
    /// link scope it is sent by `dev` unless `oif` says otherwise. Process context.
    pub(crate) fn route(&self, dev: &NetDevice, _: &Rtnl) -> Option<Dst> {
        match self.destination {
            IpAddr::V4(destination) => self.route4(dev, destination),
            IpAddr::V6(destination) => self.route6(dev, destination),
        }
    }

    fn common(&self, dev: &NetDevice, oif: u32) -> bindings::flowi_common {
        // SAFETY: The device is valid, and RTNL, which `route` wants, keeps it in its namespace; no
        // socket means the owner of that.
        let uid = unsafe {
            bindings::sock_net_uid(bindings::wgvia_netdev_net(dev.as_raw()), ptr::null())
        };
        bindings::flowi_common {
            flowic_oif: oif as i32,
            flowic_iif: bindings::LOOPBACK_IFINDEX as i32,
            flowic_mark: self.mark,
            flowic_proto: bindings::IPPROTO_UDP as u8,
            // Of whatever source
            flowic_flags: bindings::FLOWI_FLAG_ANYSRC as u8,
            flowic_uid: uid,
            ..Default::default()
        }
    }

    fn oif_of(&self, dev: &NetDevice, is_link_scope: bool) -> u32 {
        if is_link_scope && self.oif == 0 {
            dev.ifindex()
        } else {
            self.oif
        }
    }

    fn ports(&self) -> bindings::flowi_uli {
        bindings::flowi_uli {
            ports: bindings::flowi_uli__bindgen_ty_1 {
                dport: self.dport.to_be(),
                sport: self.sport.to_be(),
            },
        }
    }

    fn route4(&self, dev: &NetDevice, destination: Ipv4Addr) -> Option<Dst> {
        let is_link_scope = destination.octets().starts_with(&[224, 0, 0]);
        let mut flow = bindings::flowi4 {
            __fl_common: self.common(dev, self.oif_of(dev, is_link_scope)),
            daddr: addr::to_be32(destination),
            uli: self.ports(),
            ..Default::default()
        };
        flow.__fl_common.flowic_dscp = self.dscp << 2;
        if let Some(IpAddr::V4(source)) = self.source {
            flow.saddr = addr::to_be32(source);
        }
        let mut place = bindings::wgvia_place::default();
        // SAFETY: The device is valid, and RTNL keeps it in its namespace.
        let dst = NonNull::new(unsafe {
            let net = bindings::wgvia_netdev_net(dev.as_raw());
            bindings::wgvia_route4(net, &mut flow, &mut place)
        })?;
        // INVARIANT: It comes with a reference.
        Some(Dst {
            dst,
            source: addr::from_be32(flow.saddr),
            place: Place::from_raw(place),
        })
    }

    fn route6(&self, dev: &NetDevice, destination: Ipv6Addr) -> Option<Dst> {
        // SAFETY: Reads a variable that is not written after boot.
        if !unsafe { bindings::ipv6_mod_enabled() } {
            return None;
        }
        let [first, second, ..] = destination.octets();
        // fe80::/10, and the groups of interface-local and link scope
        let is_link_scope =
            destination.is_unicast_link_local() || first == 0xff && second & 0xf <= 2;
        let source = match self.source {
            Some(IpAddr::V6(source)) => source,
            _ => Ipv6Addr::UNSPECIFIED,
        };
        let mut flow = bindings::flowi6 {
            __fl_common: self.common(dev, self.oif_of(dev, is_link_scope)),
            daddr: addr::to_in6(destination),
            saddr: addr::to_in6(source),
            // The traffic class is above the flow label, see ip6_make_flowinfo().
            flowlabel: (u32::from(self.dscp) << 22).to_be(),
            uli: self.ports(),
            ..Default::default()
        };
        let mut place = bindings::wgvia_place::default();
        // SAFETY: The device is valid, and RTNL keeps it in its namespace.
        let dst = NonNull::new(unsafe {
            let net = bindings::wgvia_netdev_net(dev.as_raw());
            bindings::wgvia_route6(net, &mut flow, &mut place)
        })?;
        // INVARIANT: It comes with a reference.
        Some(Dst {
            dst,
            source: IpAddr::V6(source),
            place: Place::from_raw(place),
        })
    }

    /// Make the packet, as `dev` gets it to send, or has received it if it is not routed. Process
    /// context. Fails with `ENOMEM`.
    pub(crate) fn packet(&self, dev: &NetDevice, routed: Option<Dst>) -> Result<OwnedPacket> {
        let source = match (&routed, self.source) {
            (_, Some(source)) => Some(source),
            (Some(dst), None) => Some(dst.source),
            (None, None) => None,
        };
        let mut header = [0; Self::MAX_LEN];
        let header = match self.destination {
            IpAddr::V4(to) => {
                let from = match source {
                    Some(IpAddr::V4(from)) => from,
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                self.write4(&mut header, from, to)
            }
            IpAddr::V6(to) => {
                let from = match source {
                    Some(IpAddr::V6(from)) => from,
                    _ => Ipv6Addr::UNSPECIFIED,
                };
                self.write6(&mut header, from, to)
            }
        };
        // SAFETY: The device is valid, and the header as long as is said. The reference to the dst
        // is handed over.
        let skb = unsafe {
            let protocol = match self.destination {
                IpAddr::V4(_) => bindings::ETH_P_IP,
                IpAddr::V6(_) => bindings::ETH_P_IPV6,
            };
            let skb = bindings::wgvia_skb_new(
                dev.as_raw(),
                header.as_ptr().cast(),
                header.len(),
                (protocol as u16).to_be(),
                self.mark,
            );
            if !skb.is_null() {
                if let Some(dst) = routed {
                    bindings::wgvia_skb_set_dst(skb, dst.into_raw());
                }
            }
            skb
        };
        // SAFETY: A new packet, whose linear part begins with the header that its protocol says.
        unsafe { OwnedPacket::from_raw(skb) }.ok_or(ENOMEM)
    }

    const UDP_LEN: usize = 8;
    const MAX_LEN: usize = 40 + Self::UDP_LEN;

    fn write4<'h>(
        &self,
        header: &'h mut [u8; Self::MAX_LEN],
        from: Ipv4Addr,
        to: Ipv4Addr,
    ) -> &'h [u8] {
        const LEN: usize = 20 + Flow::UDP_LEN;
        // Version and length, DSCP; time to live and protocol: RFC 791, section 3.1
        let (dscp, len, protocol) = (self.dscp << 2, LEN as u8, bindings::IPPROTO_UDP as u8);
        let first = [0x45, dscp, 0, len, 0, 0, 0, 0, 64, protocol, 0, 0];
        self.write(header, &first, &from.octets(), &to.octets())
    }

    fn write6<'h>(
        &self,
        header: &'h mut [u8; Self::MAX_LEN],
        from: Ipv6Addr,
        to: Ipv6Addr,
    ) -> &'h [u8] {
        // Version and traffic class, payload length, next header and hop limit: RFC 8200, section 3
        let [b0, b1, b2, b3] = (6 << 28 | u32::from(self.dscp) << 22).to_be_bytes();
        let protocol = bindings::IPPROTO_UDP as u8;
        let first = [b0, b1, b2, b3, 0, Self::UDP_LEN as u8, protocol, 64];
        self.write(header, &first, &from.octets(), &to.octets())
    }

    /// Write the first part of an IP header, the addresses and the UDP header one behind the other,
    /// and return the whole.
    fn write<'h>(
        &self,
        header: &'h mut [u8; Self::MAX_LEN],
        first: &[u8],
        from: &[u8],
        to: &[u8],
    ) -> &'h [u8] {
        let mut len = 0;
        let udp = self.udp();
        let bytes = [first, from, to, &udp].into_iter().flatten();
        for (place, byte) in header.iter_mut().zip(bytes) {
            *place = *byte;
            len += 1;
        }
        header.get(..len).unwrap_or_default()
    }

    /// Make the UDP header, without a checksum: RFC 768
    fn udp(&self) -> [u8; Self::UDP_LEN] {
        let [s0, s1] = self.sport.to_be_bytes();
        let [d0, d1] = self.dport.to_be_bytes();
        [s0, s1, d0, d1, 0, Self::UDP_LEN as u8, 0, 0]
    }
}
