// SPDX-License-Identifier: GPL-2.0

//! A nexthop: what of a route leads to a peer.
//!
//! Peers can write to the FIB and to dsts: the kernel makes IPv6 routes of router advertisements,
//! and ICMP redirects change where a dst leads. Neither may choose the peer of a packet, or every
//! peer could turn to itself what goes to another. The gateway of an advertised route counts for
//! nothing, which leaves it to AllowedIPs, and what a redirect has changed is looked up anew.
//!
//! A dst or a nexthop of the FIB has members that others write while it is read here (reference
//! counts, flags, caches), so none of the functions below makes a Rust reference to one.
//!
//! C header: [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h)

use super::{
    addr,
    bindings,
    lwtunnel::EncapRef, //
};
use core::{
    mem::offset_of,
    net::IpAddr, //
};

/// Tell whether these flags of an IPv6 route say that a router advertisement made it.
pub(super) fn is_advertised(flags: u32) -> bool {
    flags & bindings::RTF_ADDRCONF != 0
}

/// The gateway of a dst without one. Who routes a packet may have named another next hop on the
/// link than its destination (`FLOWI_FLAG_KNOWN_NH`: raw sockets, `dup to` of nftables, IPVS): the
/// dst is made for `address` then, as `rt_nexthop()` and `rt6_nexthop()` say. It mostly is the
/// destination itself.
fn named_by_sender(
    address: Option<IpAddr>,
    destination: impl FnOnce() -> IpAddr,
) -> Option<IpAddr> {
    address.filter(|address| *address != destination())
}

/// A nexthop, as a dst or the FIB has it.
#[derive(Clone, Copy)]
pub(crate) struct Nexthop<'p> {
    encap: Option<EncapRef<'p>>,
    gateway: Option<IpAddr>,
    /// Whether the sender has named what is in `gateway`, and not the route.
    named: bool,
}

impl<'p> Nexthop<'p> {
    /// Its lightweight-tunnel state.
    pub(crate) fn encap(&self) -> Option<EncapRef<'p>> {
        self.encap
    }

    /// Return its gateway, of either family; [`None`] if it is on-link. A next hop that the sender
    /// named counts as one.
    pub(crate) fn gateway(&self) -> Option<IpAddr> {
        self.gateway
    }

    /// Return the next hop on the link that the sender named.
    pub(crate) fn named_by_sender(&self) -> Option<IpAddr> {
        self.gateway.filter(|_| self.named)
    }

    /// Read it from an IPv4 dst of a packet to `destination`; [`None`] if that leads where an ICMP
    /// redirect says, and not where the FIB does.
    ///
    /// # Safety
    ///
    /// `dst` is part of a `struct rtable`, valid for `'p` in an RCU read-side critical section.
    #[inline(always)]
    pub(super) unsafe fn from_dst4(
        dst: *const bindings::dst_entry,
        destination: impl FnOnce() -> IpAddr,
    ) -> Option<Self> {
        // SAFETY: The caller promises that this is an rtable, and its state does not change. A
        // redirect may change its gateway meanwhile (update_or_create_fnhe() in net/ipv4/route.c):
        // each member is then the old one or the new, and any bits are an address.
        let (nexthop, flags) = unsafe {
            let rt = dst
                .byte_sub(offset_of!(bindings::rtable, dst))
                .cast::<bindings::rtable>();
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
            let routed = (&raw const (*rt).rt_uses_gateway).read_volatile() != 0;
            let nexthop = Self {
                encap: EncapRef::from_raw((*dst).lwtstate),
                gateway: if routed {
                    gateway
                } else {
                    named_by_sender(gateway, destination)
                },
                named: !routed,
            };
            // Last: the kernel sets the flag before it changes the gateway.
            (nexthop, (&raw const (*rt).rt_flags).read_volatile())
        };
        nexthop.unless_redirected(flags & bindings::RTCF_REDIRECTED != 0)
    }

    /// Read it from an IPv6 dst of a packet to `destination`; [`None`] if that leads where an
    /// ICMPv6 redirect says, and not where the FIB does.
    ///
    /// # Safety
    ///
    /// `dst` is part of a `struct rt6_info`, valid for `'p` in an RCU read-side critical section.
    #[inline(always)]
    pub(super) unsafe fn from_dst6(
        dst: *const bindings::dst_entry,
        destination: impl FnOnce() -> IpAddr,
    ) -> Option<Self> {
        // SAFETY: The caller promises that this is an rt6_info; its state, gateway and destination
        // do not change, and of its flags only others than these.
        let (nexthop, flags) = unsafe {
            let rt = dst
                .byte_sub(offset_of!(bindings::rt6_info, dst))
                .cast::<bindings::rt6_info>();
            let flags = (&raw const (*rt).rt6i_flags).read_volatile();
            let nexthop = Self {
                encap: EncapRef::from_raw((*dst).lwtstate),
                // As for rt6_nexthop()
                gateway: if flags & bindings::RTF_GATEWAY != 0 {
                    (!is_advertised(flags)).then(|| addr::from_in6((*rt).rt6i_gateway))
                } else if flags & bindings::RTF_CACHE != 0 {
                    named_by_sender(Some(addr::from_in6((*rt).rt6i_dst.addr)), destination)
                } else {
                    None
                },
                named: flags & bindings::RTF_GATEWAY == 0,
            };
            (nexthop, flags)
        };
        nexthop.unless_redirected(flags & bindings::RTF_DYNAMIC != 0)
    }

    /// A redirect changes the gateway of a dst and not its lightweight-tunnel state, which stays.
    fn unless_redirected(self, redirected: bool) -> Option<Self> {
        (!redirected || self.encap.is_some()).then_some(self)
    }

    /// Read it from the FIB. Pass as `advertised` what [`is_advertised`] says of the route.
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
                encap: EncapRef::from_raw((*nhc).nhc_lwtstate),
                gateway: match u32::from((*nhc).nhc_gw_family) {
                    _ if on_link || advertised => None,
                    bindings::AF_INET => Some(addr::from_be32((*nhc).nhc_gw.ipv4)),
                    bindings::AF_INET6 => Some(addr::from_in6((*nhc).nhc_gw.ipv6)),
                    _ => None,
                },
                named: false,
            }
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(wgvia_nexthop)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use kernel::prelude::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));

    fn v6(addr: &str) -> Result<core::net::Ipv6Addr> {
        addr.parse().map_err(|_| EINVAL)
    }

    /// Return the gateway that a dst has for a packet to `HERE`; [`None`] if it is not to be used.
    fn gateway4(change: impl FnOnce(&mut bindings::rtable)) -> Option<Option<IpAddr>> {
        let mut rt = bindings::rtable::default();
        change(&mut rt);
        // SAFETY: It is the beginning of an rtable, which nobody else has.
        let nexthop = unsafe { Nexthop::from_dst4((&raw const rt).cast(), || HERE) };
        nexthop.map(|nexthop| nexthop.gateway())
    }

    fn set_gateway4(rt: &mut bindings::rtable, family: u32, addr: IpAddr) {
        rt.rt_gw_family = family as u8;
        match addr {
            IpAddr::V4(addr) => rt.__bindgen_anon_1.rt_gw4 = addr::to_be32(addr),
            IpAddr::V6(addr) => rt.__bindgen_anon_1.rt_gw6 = addr::to_in6(addr),
        }
    }

    #[test]
    fn ipv4_dst() -> Result {
        let far = IpAddr::V6(v6("fe80::2")?);
        assert!(gateway4(|_| ()) == Some(None));
        for (family, addr) in [(bindings::AF_INET, THERE), (bindings::AF_INET6, far)] {
            let got = gateway4(|rt| {
                rt.rt_uses_gateway = 1;
                set_gateway4(rt, family, addr);
            });
            assert!(got == Some(Some(addr)));
        }
        // A gateway that is the destination itself is one.
        let got = gateway4(|rt| {
            rt.rt_uses_gateway = 1;
            set_gateway4(rt, bindings::AF_INET, HERE);
        });
        assert!(got == Some(Some(HERE)));
        // Of no known family.
        let got = gateway4(|rt| {
            rt.rt_uses_gateway = 1;
            set_gateway4(rt, 77, THERE);
        });
        assert!(got == Some(None));
        Ok(())
    }

    #[test]
    fn ipv4_dst_of_a_next_hop_that_the_sender_named() {
        let got = gateway4(|rt| set_gateway4(rt, bindings::AF_INET, THERE));
        assert!(got == Some(Some(THERE)));
        let got = gateway4(|rt| set_gateway4(rt, bindings::AF_INET, HERE));
        assert!(got == Some(None));
    }

    #[test]
    fn ipv4_dst_that_was_redirected() {
        let got = gateway4(|rt| {
            rt.rt_flags = bindings::RTCF_REDIRECTED;
            rt.rt_uses_gateway = 1;
            set_gateway4(rt, bindings::AF_INET, THERE);
        });
        assert!(got.is_none());
    }

    /// As [`gateway4`], for a packet to `fd00::1` by a dst with a gateway and a destination.
    fn gateway6(flags: u32, gateway: &str, destination: &str) -> Result<Option<Option<IpAddr>>> {
        let mut rt = bindings::rt6_info {
            rt6i_flags: flags,
            rt6i_gateway: addr::to_in6(v6(gateway)?),
            ..Default::default()
        };
        rt.rt6i_dst.addr = addr::to_in6(v6(destination)?);
        let to = IpAddr::V6(v6("fd00::1")?);
        // SAFETY: It is the beginning of an rt6_info, which nobody else has.
        let nexthop = unsafe { Nexthop::from_dst6((&raw const rt).cast(), || to) };
        Ok(nexthop.map(|nexthop| nexthop.gateway()))
    }

    #[test]
    fn ipv6_dst() -> Result {
        use bindings::{
            RTF_ADDRCONF,
            RTF_CACHE,
            RTF_DYNAMIC,
            RTF_GATEWAY, //
        };

        let gateway = Some(Some(IpAddr::V6(v6("fe80::2")?)));
        let named = Some(Some(IpAddr::V6(v6("fd00::2")?)));
        for (flags, destination, expected) in [
            (0, "fd00::2", Some(None)),
            (RTF_GATEWAY, "fd00::", gateway),
            (RTF_GATEWAY | RTF_CACHE, "fd00::1", gateway),
            // The sender has named another next hop, or has not.
            (RTF_CACHE, "fd00::2", named),
            (RTF_CACHE, "fd00::1", Some(None)),
            // An advertisement or a redirect of a peer
            (RTF_GATEWAY | RTF_ADDRCONF, "fd00::", Some(None)),
            (RTF_GATEWAY | RTF_DYNAMIC | RTF_CACHE, "fd00::1", None),
            (RTF_DYNAMIC | RTF_CACHE, "fd00::1", None),
        ] {
            assert!(gateway6(flags, "fe80::2", destination)? == expected);
        }
        Ok(())
    }

    #[test]
    fn fib() -> Result {
        let far = addr::to_in6(v6("fe80::2")?);
        let link = bindings::rt_scope_t_RT_SCOPE_LINK;
        for (family, scope, gw_family, advertised, expected) in [
            (bindings::AF_INET, link, 0, false, None),
            (
                bindings::AF_INET,
                link,
                bindings::AF_INET,
                false,
                Some(THERE),
            ),
            (bindings::AF_INET, link, 77, false, None),
            // The gateway is an address of this host.
            (bindings::AF_INET, link + 1, bindings::AF_INET, false, None),
            (bindings::AF_INET6, 0, 0, false, None),
        ] {
            let mut nhc = bindings::fib_nh_common {
                nhc_family: family as u8,
                nhc_scope: scope as u8,
                nhc_gw_family: gw_family as u8,
                ..Default::default()
            };
            if let IpAddr::V4(there) = THERE {
                nhc.nhc_gw.ipv4 = addr::to_be32(there);
            }
            // SAFETY: Nobody else has it.
            let nexthop = unsafe { Nexthop::from_fib(&nhc, advertised) };
            assert!(nexthop.gateway() == expected);
        }
        // An IPv6 gateway of either family, unless a peer has advertised it. The scope means
        // nothing for IPv6.
        for (family, scope) in [(bindings::AF_INET, link), (bindings::AF_INET6, 0)] {
            for advertised in [false, true] {
                let mut nhc = bindings::fib_nh_common {
                    nhc_family: family as u8,
                    nhc_scope: scope as u8,
                    nhc_gw_family: bindings::AF_INET6 as u8,
                    ..Default::default()
                };
                nhc.nhc_gw.ipv6 = far;
                // SAFETY: Nobody else has it.
                let nexthop = unsafe { Nexthop::from_fib(&nhc, advertised) };
                let expected = (!advertised).then_some(addr::from_in6(far));
                assert!(nexthop.gateway() == expected);
            }
        }
        Ok(())
    }
}
