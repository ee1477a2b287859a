// SPDX-License-Identifier: GPL-2.0

//! A packet on its way into or out of a WireGuard device.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

use super::{
    addr,
    bindings,
    netdev::NetDevice,
    nexthop::Nexthop,
    packet_path::PacketPath, //
};
use core::{
    mem::ManuallyDrop,
    net::IpAddr,
    ptr::NonNull, //
};

#[derive(Clone, Copy)]
enum Protocol {
    V4,
    V6,
}

/// A packet that belongs to this object.
///
/// # Invariants
///
/// The pointer is that of a packet that this object owns, and that begins with a whole header of
/// its protocol if that is IPv4 or IPv6.
pub(crate) struct OwnedPacket(NonNull<bindings::sk_buff>);

// SAFETY: Any thread may use or free a packet that it alone has.
unsafe impl Send for OwnedPacket {}

impl OwnedPacket {
    /// Take over a packet; [`None`] of a null pointer.
    ///
    /// # Safety
    ///
    /// `skb` is null, or nobody else has it, and if it says that it is IPv4 or IPv6, its linear
    /// part begins with a whole header of that kind.
    pub(super) unsafe fn from_raw(skb: *mut bindings::sk_buff) -> Option<Self> {
        // INVARIANT: The caller promises it.
        NonNull::new(skb).map(Self)
    }

    /// Free it as one that has served its purpose, and was not dropped.
    pub(crate) fn consume(self) {
        // SAFETY: Owned by the type invariants, and not used any more.
        unsafe { bindings::consume_skb(ManuallyDrop::new(self).0.as_ptr()) };
    }

    /// Borrow it on the packet path.
    pub(crate) fn packet<'p>(&'p self, path: &'p PacketPath) -> Option<Packet<'p>> {
        // SAFETY: Valid by the type invariants, and nobody else has it.
        unsafe { Packet::from_raw(self.0.as_ptr(), path) }
    }
}

impl Drop for OwnedPacket {
    fn drop(&mut self) {
        // SAFETY: Owned by the type invariants.
        unsafe { bindings::kfree_skb(self.0.as_ptr()) };
    }
}

/// An IPv4 or IPv6 packet.
///
/// # Invariants
///
/// `skb` is valid for `'p`, and its network header, of `protocol`, is in its linear part.
pub(crate) struct Packet<'p> {
    skb: NonNull<bindings::sk_buff>,
    protocol: Protocol,
    path: &'p PacketPath,
}

impl<'p> Packet<'p> {
    /// Wrap a packet; [`None`] if its protocol is neither IPv4 nor IPv6.
    ///
    /// # Safety
    ///
    /// `skb` is valid for `'p` and nobody else changes it; if it says that it is IPv4 or IPv6, its
    /// linear part has a whole header of that kind.
    pub(super) unsafe fn from_raw(
        skb: *mut bindings::sk_buff,
        path: &'p PacketPath,
    ) -> Option<Self> {
        // SAFETY: The caller promises that `skb` is valid.
        let protocol = u16::from_be(unsafe { bindings::wgvia_skb_protocol(skb) });
        let protocol = match u32::from(protocol) {
            bindings::ETH_P_IP => Protocol::V4,
            bindings::ETH_P_IPV6 => Protocol::V6,
            _ => return None,
        };
        // INVARIANT: The protocol was looked at, the rest is the caller's promise.
        Some(Self {
            skb: NonNull::new(skb)?,
            protocol,
            path,
        })
    }

    /// Return the pointer.
    pub(super) fn as_raw(&self) -> *mut bindings::sk_buff {
        self.skb.as_ptr()
    }

    /// The packet path it is on.
    pub(crate) fn path(&self) -> &'p PacketPath {
        self.path
    }

    /// Source address.
    pub(crate) fn source(&self) -> IpAddr {
        let skb = self.as_raw();
        match self.protocol {
            // SAFETY: By the type invariants there is an IPv4 header.
            Protocol::V4 => addr::from_be32(unsafe { bindings::wgvia_ip_saddr(skb) }),
            // SAFETY: By the type invariants there is an IPv6 header.
            Protocol::V6 => addr::from_in6(unsafe { bindings::wgvia_ipv6_saddr(skb) }),
        }
    }

    /// Destination address.
    pub(crate) fn destination(&self) -> IpAddr {
        let skb = self.as_raw();
        match self.protocol {
            // SAFETY: By the type invariants there is an IPv4 header.
            Protocol::V4 => addr::from_be32(unsafe { bindings::wgvia_ip_daddr(skb) }),
            // SAFETY: By the type invariants there is an IPv6 header.
            Protocol::V6 => addr::from_in6(unsafe { bindings::wgvia_ipv6_daddr(skb) }),
        }
    }

    /// The DSCP of an IPv4 packet; 0 for IPv6.
    pub(super) fn dscp(&self) -> bindings::dscp_t {
        match self.protocol {
            // SAFETY: By the type invariants there is an IPv4 header.
            Protocol::V4 => unsafe { bindings::wgvia_ip_dscp(self.as_raw()) },
            Protocol::V6 => 0,
        }
    }

    /// The IPv6 traffic class and flow label, in network byte order; 0 for IPv4.
    pub(super) fn flowinfo(&self) -> bindings::__be32 {
        match self.protocol {
            Protocol::V4 => 0,
            // SAFETY: By the type invariants there is an IPv6 header.
            Protocol::V6 => unsafe { bindings::wgvia_ipv6_flowinfo(self.as_raw()) },
        }
    }

    /// Return the IPv6 traffic class, where [`Self::flowinfo`] has it.
    pub(super) fn traffic_class(&self) -> bindings::__be32 {
        // IPV6_TCLASS_MASK
        self.flowinfo() & 0x0ff0_0000_u32.to_be()
    }

    /// The firewall mark.
    pub(super) fn mark(&self) -> u32 {
        // SAFETY: Valid by the type invariants.
        unsafe { bindings::wgvia_skb_mark(self.as_raw()) }
    }

    /// Tell whether it goes to a group of link scope: 224.0.0.0/24 (RFC 5771, section 4) or
    /// ff02::/16 (RFC 4291, section 2.7).
    pub(crate) fn is_to_link_scope_group(&self) -> bool {
        match self.destination() {
            IpAddr::V4(addr) => addr.octets().starts_with(&[224, 0, 0]),
            IpAddr::V6(addr) => addr.octets().starts_with(&[0xff, 0x02]),
        }
    }

    /// Tell whether the host received it by `dev`.
    pub(crate) fn came_in_by(&self, dev: &NetDevice) -> bool {
        // SAFETY: Valid by the type invariants.
        let iif = unsafe { bindings::wgvia_skb_iif(self.as_raw()) };
        u32::try_from(iif) == Ok(dev.ifindex())
    }

    /// Copy it; [`None`] without memory.
    pub(crate) fn copy(&self) -> Option<OwnedPacket> {
        // SAFETY: Valid by the type invariants.
        let skb = unsafe { bindings::wgvia_skb_copy(self.as_raw()) };
        // INVARIANT: A copy has the header of what it is a copy of.
        NonNull::new(skb).map(OwnedPacket)
    }

    /// Return the number of packets that it will be on the wire: more than one for a GSO packet.
    pub(crate) fn segments(&self) -> u64 {
        // SAFETY: Valid by the type invariants.
        u64::from(unsafe { bindings::wgvia_skb_segs(self.as_raw()) })
    }

    /// The nexthop on `dev` that the FIB lookup which routed the packet chose: it is in the
    /// packet's dst.
    ///
    /// [`None`] if there is no dst, or it is one of another device or protocol, as when a packet
    /// socket, a redirect by tc or a bond sent the packet; and if an ICMP redirect has changed it.
    #[inline(always)]
    pub(crate) fn nexthop(&self, dev: &NetDevice) -> Option<Nexthop<'p>> {
        // SAFETY: Valid by the type invariants; the dst is kept by the packet or by RCU.
        let dst = unsafe { bindings::wgvia_skb_dst_on(self.as_raw(), dev.as_raw()) };
        if dst.is_null() {
            return None;
        }
        // SAFETY: A dst that routes packets has operations.
        let family = unsafe { (*(*dst).ops).family };
        match (u32::from(family), self.protocol) {
            // SAFETY: The family says that it is an IPv4 dst; see above for its lifetime.
            (bindings::AF_INET, Protocol::V4) => unsafe {
                Nexthop::from_dst4(dst, || self.destination())
            },
            // SAFETY: The family says that it is an IPv6 dst; see above for its lifetime.
            (bindings::AF_INET6, Protocol::V6) => unsafe {
                Nexthop::from_dst6(dst, || self.destination())
            },
            _ => None,
        }
    }
}
