// SPDX-License-Identifier: GPL-2.0

//! A nexthop: what of a route leads to a peer.
//!
//! Peers can write to the FIB and to dsts: the kernel makes IPv6 routes of router advertisements, and
//! ICMP redirects change where a dst leads. Neither may choose the peer of a packet, or every peer
//! could turn to itself what goes to another. The gateway of an advertised route counts for nothing,
//! which leaves it to AllowedIPs, and what a redirect has changed is looked up anew.
//!
//! A dst or a nexthop of the FIB has members that others write while it is read here (reference
//! counts, flags, caches), so none of the functions below makes a Rust reference to one.
//!
//! C header: [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h)

use super::{
    addr,
    bindings,
    lwtunnel, //
};
use crate::binding::Binding;
use core::net::IpAddr;

/// Do these flags of an IPv6 route say that a router advertisement made it?
pub(super) fn is_advertised(flags: u32) -> bool {
    flags & bindings::RTF_ADDRCONF != 0
}

/// The gateway of a dst without one. Who routes a packet may have named another next hop on the link
/// than its destination (`FLOWI_FLAG_KNOWN_NH`: raw sockets, `dup to` of nftables, IPVS): the dst is
/// made for `address` then. It mostly is the destination itself.
fn named_by_sender(
    address: Option<IpAddr>,
    destination: impl FnOnce() -> IpAddr,
) -> Option<IpAddr> {
    address.filter(|address| *address != destination())
}

/// A nexthop, as a dst or the FIB has it.
#[derive(Clone, Copy)]
pub(crate) struct Nexthop<'p> {
    binding: Option<&'p Binding>,
    gateway: Option<IpAddr>,
}

impl<'p> Nexthop<'p> {
    /// The binding of the peer that the nexthop's via-wgpeer names.
    pub(crate) fn binding(&self) -> Option<&'p Binding> {
        self.binding
    }

    /// Its gateway, of either family; [`None`] if it is on-link.
    pub(crate) fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    /// Reads it from an IPv4 dst of a packet to `destination`; [`None`] if that leads where an ICMP
    /// redirect says, and not where the FIB does.
    ///
    /// # Safety
    ///
    /// `dst` is part of a `struct rtable`, valid for `'p` in an RCU read-side critical section.
    pub(super) unsafe fn from_dst4(
        dst: *const bindings::dst_entry,
        destination: impl FnOnce() -> IpAddr,
    ) -> Option<Self> {
        // SAFETY: The caller promises that this is an rtable, and its state does not change. A
        // redirect may change its gateway meanwhile (update_or_create_fnhe() in net/ipv4/route.c):
        // each member is then the old one or the new, and any bits are an address.
        let (nexthop, flags) = unsafe {
            let rt = bindings::wgvia_dst_rtable(dst);
            let gateway = &raw const (*rt).__bindgen_anon_1;
            let gateway = match u32::from((&raw const (*rt).rt_gw_family).read_volatile()) {
                bindings::AF_INET => Some(addr::from_be32(
                    (&raw const (*gateway).rt_gw4).read_volatile(),
                )),
                bindings::AF_INET6 => Some(addr::from_in6(
                    (&raw const (*gateway).rt_gw6).read_volatile(),
                )),
                _ => None,
            };
            let nexthop = Self {
                binding: lwtunnel::binding((*dst).lwtstate),
                gateway: if (&raw const (*rt).rt_uses_gateway).read_volatile() != 0 {
                    gateway
                } else {
                    named_by_sender(gateway, destination)
                },
            };
            // Last: the kernel sets the flag before it changes the gateway.
            (nexthop, (&raw const (*rt).rt_flags).read_volatile())
        };
        nexthop.unless_redirected(flags & bindings::RTCF_REDIRECTED != 0)
    }

    /// Reads it from an IPv6 dst of a packet to `destination`; [`None`] if that leads where an
    /// ICMPv6 redirect says, and not where the FIB does.
    ///
    /// # Safety
    ///
    /// `dst` is part of a `struct rt6_info`, valid for `'p` in an RCU read-side critical section.
    pub(super) unsafe fn from_dst6(
        dst: *const bindings::dst_entry,
        destination: impl FnOnce() -> IpAddr,
    ) -> Option<Self> {
        // SAFETY: The caller promises that this is an rt6_info; its state, gateway and destination
        // do not change, and of its flags only others than these.
        let (nexthop, flags) = unsafe {
            let rt = bindings::wgvia_dst_rt6_info(dst);
            let flags = (&raw const (*rt).rt6i_flags).read_volatile();
            let nexthop = Self {
                binding: lwtunnel::binding((*dst).lwtstate),
                // As for rt6_nexthop()
                gateway: if flags & bindings::RTF_GATEWAY != 0 {
                    (!is_advertised(flags)).then(|| addr::from_in6((*rt).rt6i_gateway))
                } else if flags & bindings::RTF_CACHE != 0 {
                    named_by_sender(Some(addr::from_in6((*rt).rt6i_dst.addr)), destination)
                } else {
                    None
                },
            };
            (nexthop, flags)
        };
        nexthop.unless_redirected(flags & bindings::RTF_DYNAMIC != 0)
    }

    /// A redirect changes the gateway of a dst and not its peer: a key stays.
    fn unless_redirected(self, redirected: bool) -> Option<Self> {
        (!redirected || self.binding.is_some()).then_some(self)
    }

    /// Reads it from the FIB. Pass as `advertised` what [`is_advertised`] says of the route.
    ///
    /// # Safety
    ///
    /// `nhc` was found in the FIB in an RCU read-side critical section that lasts for `'p`.
    pub(super) unsafe fn from_fib(nhc: *const bindings::fib_nh_common, advertised: bool) -> Self {
        // SAFETY: The caller promises that it is valid; what is read does not change, and the
        // family says which member of the union the gateway is.
        unsafe {
            // A gateway that is an address of this host makes an IPv4 route on-link, as for
            // `rt_set_nexthop()`.
            let on_link = u32::from((*nhc).nhc_family) == bindings::AF_INET
                && u32::from((*nhc).nhc_scope) != bindings::rt_scope_t_RT_SCOPE_LINK;
            Self {
                binding: lwtunnel::binding((*nhc).nhc_lwtstate),
                gateway: match u32::from((*nhc).nhc_gw_family) {
                    _ if on_link || advertised => None,
                    bindings::AF_INET => Some(addr::from_be32((*nhc).nhc_gw.ipv4)),
                    bindings::AF_INET6 => Some(addr::from_in6((*nhc).nhc_gw.ipv6)),
                    _ => None,
                },
            }
        }
    }
}
