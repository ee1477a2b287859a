// SPDX-License-Identifier: GPL-2.0

//! Lookups in the FIB, for both families, without a dst and without a reference taken.
//!
//! C headers: [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h),
//! [`include/net/ip6_fib.h`](srctree/include/net/ip6_fib.h)

use super::{
    addr, bindings,
    netdev::NetDevice,
    nexthop::{
        is_advertised,
        Nexthop, //
    },
    packet::{
        Packet,
        PacketPath, //
    },
};
use core::{
    marker::PhantomData,
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr, //
    },
    ptr, //
};

/// Through which devices a route may lead.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    /// The device alone: the longest prefix that has a nexthop on it is found.
    Device,
    /// Any device.
    Any,
}

/// What to look up. The rules, VRF (l3mdev) and network namespace are the device's.
pub(crate) struct Flow<'a> {
    dev: &'a NetDevice,
    through: Through,
    destination: IpAddr,
    packet: Option<(&'a Packet<'a>, Direction)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Reply,
}

impl<'a> Flow<'a> {
    /// Where on `dev` would `packet` go? With its mark, DSCP, source, ports and user.
    pub(crate) fn of(packet: &'a Packet<'a>, dev: &'a NetDevice) -> Self {
        Self {
            dev,
            through: Through::Device,
            destination: packet.destination(),
            packet: Some((packet, Direction::Forward)),
        }
    }

    /// Where would this host send a reply to `packet`, which came in through `dev`?
    ///
    /// The reply has the packet's mark and DSCP, and its addresses and ports the other way round,
    /// as for `__fib_validate_source()` in net/ipv4/fib_frontend.c.
    pub(crate) fn reply_to(packet: &'a Packet<'a>, dev: &'a NetDevice, through: Through) -> Self {
        Self {
            dev,
            through,
            destination: packet.source(),
            packet: Some((packet, Direction::Reply)),
        }
    }

    /// How is `gateway` reached on `dev`?
    pub(crate) fn to_gateway(gateway: IpAddr, dev: &'a NetDevice) -> Self {
        Self {
            dev,
            through: Through::Device,
            destination: gateway,
            packet: None,
        }
    }

    /// The route; [`None`] if there is none or if it is not a unicast route.
    pub(crate) fn lookup<'p>(&self, _: &'p PacketPath) -> Option<Route<'p>> {
        match self.destination {
            IpAddr::V4(destination) => self.lookup4(destination),
            IpAddr::V6(destination) => self.lookup6(destination),
        }
    }

    fn source(&self) -> Option<IpAddr> {
        self.packet.map(|(packet, direction)| match direction {
            Direction::Forward => packet.source(),
            Direction::Reply => packet.destination(),
        })
    }

    fn is_reply(&self) -> bool {
        matches!(self.packet, Some((_, Direction::Reply)))
    }

    /// What the flows of both families have in common.
    fn common(&self, oif: u32) -> bindings::flowi_common {
        let dev = self.dev.as_ptr();
        bindings::flowi_common {
            flowic_oif: oif as i32,
            flowic_iif: bindings::LOOPBACK_IFINDEX as i32,
            // A reply is looked up as if it had come in through the device. What leaves through it
            // is bound to it by `oif`, and l3mdev_update_flow() makes its VRF of that.
            flowic_l3mdev: if self.is_reply() {
                // SAFETY: The device is valid, and only the packet path gets here, under RCU.
                unsafe { bindings::l3mdev_master_ifindex_rcu(dev) }
            } else {
                0
            },
            flowic_mark: self.packet.map_or(0, |(packet, _)| packet.mark()),
            // SAFETY: As above, and a packet is valid; no socket means the owner of the namespace.
            flowic_uid: unsafe {
                let net = bindings::dev_net_rcu(dev);
                match self.packet {
                    Some((packet, Direction::Forward)) => {
                        bindings::wgvia_skb_uid(net, packet.as_ptr())
                    }
                    _ => bindings::sock_net_uid(net, ptr::null()),
                }
            },
            ..Default::default()
        }
    }

    fn lookup4<'p>(&self, destination: Ipv4Addr) -> Option<Route<'p>> {
        let oif = match self.through {
            Through::Device => self.dev.ifindex(),
            Through::Any => 0,
        };
        let mut flow = bindings::flowi4 {
            __fl_common: self.common(oif),
            daddr: addr::to_be32(destination),
            ..Default::default()
        };
        if let Some(IpAddr::V4(source)) = self.source() {
            flow.saddr = addr::to_be32(source);
        }
        let mut result = bindings::fib_result::default();
        // SAFETY: The device and, if there is one, the packet are valid; only the packet path gets
        // here, which is under RCU.
        let err = unsafe {
            let net = bindings::dev_net_rcu(self.dev.as_ptr());
            if let Some((packet, direction)) = self.packet {
                flow.__fl_common.flowic_dscp = packet.dscp();
                let reply = direction == Direction::Reply;
                bindings::wgvia_fib4_dissect(net, packet.as_ptr(), &mut flow, reply);
            }
            bindings::fib_lookup(net, &mut flow, &mut result, bindings::FIB_LOOKUP_NOREF)
        };
        if err != 0 || u32::from(result.type_) != bindings::RTN_UNICAST {
            return None;
        }
        // INVARIANT: Found under RCU just above.
        Some(Route {
            chosen: result.nhc,
            advertised: false,
            // SAFETY: Found under RCU just above.
            cursor: unsafe { Cursor::fib_info(result.fi) },
            _path: PhantomData,
        })
    }

    fn lookup6<'p>(&self, destination: Ipv6Addr) -> Option<Route<'p>> {
        // With ipv6.disable=1 there are no tables, and WireGuard carries IPv6 all the same.
        // SAFETY: Reads a variable that is not written after boot.
        if !unsafe { bindings::ipv6_mod_enabled() } {
            return None;
        }
        // A link-local address means nothing without its link.
        let on_device = self.through == Through::Device || destination.is_unicast_link_local();
        let (oif, mut flags) = if on_device {
            (self.dev.ifindex(), bindings::RT6_LOOKUP_F_IFACE)
        } else {
            (0, 0)
        };
        flags |= bindings::RT6_LOOKUP_F_AS_DST | bindings::RT6_LOOKUP_F_REJECT;
        // Who has an address of this host as its source lies, whichever device it is on; for IPv4
        // the stack sees to that (and not to the broadcast address of another device's subnet).
        // Each device has its own link-local addresses.
        if self.is_reply() && !destination.is_unicast_link_local() {
            flags |= bindings::RT6_LOOKUP_F_LOCAL;
        }
        let mut flow = bindings::flowi6 {
            __fl_common: self.common(oif),
            daddr: addr::to_in6(destination),
            ..Default::default()
        };
        if let Some(IpAddr::V6(source)) = self.source() {
            flow.saddr = addr::to_in6(source);
            flags |= bindings::RT6_LOOKUP_F_HAS_SADDR;
        }
        let mut result = bindings::fib6_result::default();
        // SAFETY: The device and, if there is one, the packet are valid; only the packet path gets
        // here, which is under RCU.
        let err = unsafe {
            let net = bindings::dev_net_rcu(self.dev.as_ptr());
            if let Some((packet, direction)) = self.packet {
                flow.flowlabel = packet.flowinfo();
                let reply = direction == Direction::Reply;
                bindings::wgvia_fib6_dissect(net, packet.as_ptr(), &mut flow, reply);
            }
            bindings::fib6_lookup(net, oif as i32, &mut flow, &mut result, flags as i32)
        };
        if err != 0
            || u32::from(result.fib6_type) != bindings::RTN_UNICAST
            || result.fib6_flags & bindings::RTF_REJECT != 0
        {
            return None;
        }
        // INVARIANT: Found under RCU just above.
        Some(Route {
            // SAFETY: A result without an error has a nexthop.
            chosen: unsafe { &raw const (*result.nh).nh_common },
            advertised: is_advertised(result.fib6_flags),
            // SAFETY: Found under RCU just above.
            cursor: unsafe { Cursor::fib6_info(result.f6i) },
            _path: PhantomData,
        })
    }
}

/// A unicast route.
///
/// # Invariants
///
/// `chosen` and what `cursor` points to were found in the FIB in the RCU read-side critical section
/// that lasts for `'p`.
pub(crate) struct Route<'p> {
    chosen: *const bindings::fib_nh_common,
    /// See [`is_advertised`]; such a route has no siblings.
    advertised: bool,
    cursor: Cursor,
    _path: PhantomData<&'p PacketPath>,
}

impl<'p> Route<'p> {
    /// The nexthop that the lookup chose: with [`Through::Device`], the first on the device.
    pub(crate) fn chosen(&self) -> Nexthop<'p> {
        // SAFETY: By the type invariants.
        unsafe { Nexthop::from_fib(self.chosen, self.advertised) }
    }

    /// All its nexthops on `dev`: each member of a multipath route or nexthop group counts.
    pub(crate) fn nexthops_on(&self, dev: &NetDevice) -> NexthopsOn<'p> {
        // INVARIANT: That of the route.
        NexthopsOn {
            dev: dev.as_ptr(),
            advertised: self.advertised,
            cursor: self.cursor,
            _path: PhantomData,
        }
    }
}

/// Where an iteration over the nexthops of a route stands.
///
/// # Invariants
///
/// The pointers were valid when they were put here; [`Route`] says for how long they are. The last
/// one of [`Self::Siblings`] is null at the end.
#[derive(Clone, Copy)]
enum Cursor {
    /// IPv4; the nexthops may be those of a nexthop object.
    FibInfo(*mut bindings::fib_info, u32),
    /// IPv6, with a nexthop object.
    Object(*mut bindings::nexthop, u32),
    /// IPv6: the first of the sibling routes, and the one whose turn it is.
    Siblings(*mut bindings::fib6_info, *mut bindings::fib6_info),
}

impl Cursor {
    /// # Safety
    ///
    /// `fi` is valid.
    unsafe fn fib_info(fi: *mut bindings::fib_info) -> Self {
        // INVARIANT: The caller promises it.
        Self::FibInfo(fi, 0)
    }

    /// # Safety
    ///
    /// `f6i` is valid.
    unsafe fn fib6_info(f6i: *mut bindings::fib6_info) -> Self {
        // SAFETY: The caller promises it.
        let nh = unsafe { (*f6i).nh };
        // INVARIANT: The caller promises it, and a route keeps its nexthop object.
        if nh.is_null() {
            Self::Siblings(f6i, f6i)
        } else {
            Self::Object(nh, 0)
        }
    }

    /// The next nexthop, or null at the end.
    ///
    /// # Safety
    ///
    /// What this was made of was found in the FIB in an RCU read-side critical section that goes
    /// on.
    unsafe fn next(&mut self) -> *const bindings::fib_nh_common {
        match self {
            // SAFETY: The caller promises it; an index too high gives null.
            Self::FibInfo(fi, index) => unsafe {
                if *index >= bindings::fib_info_num_path(*fi) {
                    return ptr::null();
                }
                *index += 1;
                bindings::fib_info_nhc(*fi, (*index - 1) as i32)
            },
            // SAFETY: The caller promises it; an index too high gives null.
            Self::Object(nh, index) => unsafe {
                if *index >= bindings::nexthop_num_path(*nh) {
                    return ptr::null();
                }
                *index += 1;
                bindings::nexthop_fib_nhc(*nh, (*index - 1) as i32)
            },
            Self::Siblings(first, turn) => {
                let f6i = *turn;
                if f6i.is_null() {
                    return ptr::null();
                }
                // SAFETY: The caller promises that the route is valid and RCU goes on; siblings
                // have no nexthop object.
                // INVARIANT: So what is found next is valid too, or null.
                unsafe {
                    *turn = bindings::wgvia_fib6_next_sibling(*first, f6i);
                    bindings::wgvia_fib6_nhc(f6i)
                }
            }
        }
    }
}

/// The nexthops of a route that are on a device.
///
/// # Invariants
///
/// Those of [`Route`].
pub(crate) struct NexthopsOn<'p> {
    dev: *mut bindings::net_device,
    advertised: bool,
    cursor: Cursor,
    _path: PhantomData<&'p PacketPath>,
}

impl<'p> Iterator for NexthopsOn<'p> {
    type Item = Nexthop<'p>;

    fn next(&mut self) -> Option<Nexthop<'p>> {
        loop {
            // SAFETY: By the type invariants.
            let nhc = unsafe { self.cursor.next() };
            if nhc.is_null() {
                return None;
            }
            // SAFETY: By the type invariants, what `next` finds is valid for `'p`.
            if unsafe { (*nhc).nhc_dev } == self.dev {
                // SAFETY: As above.
                return Some(unsafe { Nexthop::from_fib(nhc, self.advertised) });
            }
        }
    }
}
