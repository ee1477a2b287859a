// SPDX-License-Identifier: GPL-2.0

//! Lookups in the FIB by its rules, for both families, without a dst and without a reference taken.
//!
//! C headers: [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h),
//! [`include/net/ip6_fib.h`](srctree/include/net/ip6_fib.h)

use super::{
    addr,
    bindings,
    netdev::NetDevice,
    nexthop::Nexthop,
    packet::Packet,
    route::{
        Place,
        Route, //
    }, //
};
use core::{
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr, //
    },
    ptr, //
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    /// To where the packet goes, bound to the device.
    Forward,
    /// To where a reply to the packet goes, by whichever device.
    Reply,
}

/// A unicast route that a lookup found.
///
/// # Invariants
///
/// The pointers in `origin` are valid for `'p`.
pub(crate) struct Found<'p> {
    route: Route<'p>,
    chosen: Nexthop<'p>,
    origin: Origin,
}

/// The table that a route was found in, and the route or the length of its prefix.
enum Origin {
    V4(*const bindings::fib_table, u8),
    V6(*const bindings::fib6_info),
}

impl<'p> Found<'p> {
    /// The route.
    pub(crate) fn route(&self) -> Route<'p> {
        self.route
    }

    /// The place of the route.
    pub(crate) fn place(&self) -> Place {
        // SAFETY: Valid by the type invariants; a route that was found is in a table, which stays.
        unsafe {
            match self.origin {
                Origin::V4(table, len) => Place {
                    table: (*table).tb_id,
                    len,
                },
                Origin::V6(f6i) => Place {
                    table: (*(*f6i).fib6_table).tb6_id,
                    len: (*f6i).fib6_dst.plen as u8,
                },
            }
        }
    }

    /// The nexthop that the lookup chose: the first on the device if it was bound to one.
    pub(crate) fn chosen(&self) -> Nexthop<'p> {
        self.chosen
    }
}

/// Look up where `packet` would go on `dev`, by rules, VRF and network namespace of `dev`, with the
/// packet's mark, DSCP, source, ports and user; [`None`] if there is no unicast route.
pub(crate) fn route_on<'p>(packet: &Packet<'p>, dev: &NetDevice) -> Option<Found<'p>> {
    lookup(packet, dev, packet.destination(), Direction::Forward)
}

/// Look up where the host would send a reply to `packet`, which came in through `dev`; [`None`] if
/// there is no unicast route.
///
/// The reply has the packet's mark and DSCP, and its addresses and ports the other way round, as
/// for `__fib_validate_source()` in net/ipv4/fib_frontend.c.
pub(crate) fn route_back<'p>(packet: &Packet<'p>, dev: &NetDevice) -> Option<Found<'p>> {
    lookup(packet, dev, packet.source(), Direction::Reply)
}

fn lookup<'p>(
    packet: &Packet<'p>,
    dev: &NetDevice,
    destination: IpAddr,
    direction: Direction,
) -> Option<Found<'p>> {
    match destination {
        IpAddr::V4(destination) => lookup4(packet, dev, destination, direction),
        IpAddr::V6(destination) => lookup6(packet, dev, destination, direction),
    }
}

/// Make the part that the flows of both families have in common.
fn common(packet: &Packet<'_>, dev: &NetDevice, direction: Direction) -> bindings::flowi_common {
    let skb = packet.as_raw();
    let dev = dev.as_raw();
    // SAFETY: Device and packet are valid, and only the packet path gets here, under RCU; no socket
    // means the owner of the namespace.
    let (l3mdev, uid) = unsafe {
        let net = bindings::dev_net_rcu(dev);
        match direction {
            // A flow that is bound to the device by `oif` gets its VRF from l3mdev_update_flow().
            Direction::Forward => (0, bindings::wgvia_skb_uid(net, skb)),
            // A reply is looked up as if it had come in through the device.
            Direction::Reply => (
                bindings::l3mdev_master_ifindex_rcu(dev),
                bindings::sock_net_uid(net, ptr::null()),
            ),
        }
    };
    bindings::flowi_common {
        flowic_iif: bindings::LOOPBACK_IFINDEX as i32,
        flowic_l3mdev: l3mdev,
        flowic_mark: packet.mark(),
        flowic_uid: uid,
        ..Default::default()
    }
}

fn lookup4<'p>(
    packet: &Packet<'p>,
    dev: &NetDevice,
    destination: Ipv4Addr,
    direction: Direction,
) -> Option<Found<'p>> {
    let reply = direction == Direction::Reply;
    // As ip_route_output_key_hash_rcu() has it for a flow bound to a device
    if !reply && (destination.is_broadcast() || packet.is_to_link_scope_group()) {
        return None;
    }
    let mut flow = bindings::flowi4 {
        __fl_common: common(packet, dev, direction),
        daddr: addr::to_be32(destination),
        ..Default::default()
    };
    if !reply {
        flow.__fl_common.flowic_oif = dev.ifindex() as i32;
    }
    if let IpAddr::V4(source) = other_end(packet, direction) {
        flow.saddr = addr::to_be32(source);
    }
    flow.__fl_common.flowic_dscp = packet.dscp();
    let mut result = bindings::fib_result::default();
    // SAFETY: Device and packet are valid; only the packet path gets here, which is under RCU.
    let err = unsafe {
        let net = bindings::dev_net_rcu(dev.as_raw());
        bindings::wgvia_fib4_dissect(net, packet.as_raw(), &mut flow, reply);
        bindings::fib_lookup(net, &mut flow, &mut result, bindings::FIB_LOOKUP_NOREF)
    };
    if err != 0 || u32::from(result.type_) != bindings::RTN_UNICAST {
        return None;
    }
    // As __mkroute_output() has it
    if destination.is_multicast() && result.prefixlen < 4 {
        return None;
    }
    // SAFETY: Route and nexthop were found just above, under RCU, which goes on for `'p`.
    // INVARIANT: So was the table.
    unsafe {
        let route = Route::from_fib_info(result.fi);
        Some(Found {
            chosen: route.nexthop(result.nhc),
            route,
            origin: Origin::V4(result.table, result.prefixlen),
        })
    }
}

fn lookup6<'p>(
    packet: &Packet<'p>,
    dev: &NetDevice,
    destination: Ipv6Addr,
    direction: Direction,
) -> Option<Found<'p>> {
    // With ipv6.disable=1 there are no tables, and WireGuard carries IPv6 all the same.
    // SAFETY: Reads a variable that is not written after boot.
    if !unsafe { bindings::ipv6_mod_enabled() } {
        return None;
    }
    let reply = direction == Direction::Reply;
    let mut flow = bindings::flowi6 {
        __fl_common: common(packet, dev, direction),
        daddr: addr::to_in6(destination),
        // A reply has the DSCP, and a flow label of its own.
        flowlabel: if reply {
            packet.traffic_class()
        } else {
            packet.flowinfo()
        },
        ..Default::default()
    };
    let mut flags = 0;
    // A link-local address means nothing without its link.
    let oif = if !reply || destination.is_unicast_link_local() {
        flags |= bindings::RT6_LOOKUP_F_IFACE;
        dev.ifindex() as i32
    } else {
        0
    };
    flow.__fl_common.flowic_oif = oif;
    if let IpAddr::V6(source) = other_end(packet, direction) {
        flow.saddr = addr::to_in6(source);
        flags |= bindings::RT6_LOOKUP_F_HAS_SADDR;
    }
    let mut result = bindings::fib6_result::default();
    // SAFETY: Device and packet are valid; only the packet path gets here, which is under RCU.
    let err = unsafe {
        let net = bindings::dev_net_rcu(dev.as_raw());
        bindings::wgvia_fib6_dissect(net, packet.as_raw(), &mut flow, reply);
        #[cfg(CONFIG_WGVIA_STOCK)]
        if !bindings::wgvia_fib6_rules(dev.as_raw()).is_null() {
            return lookup6_of_dst(&mut flow, flags, dev);
        }
        bindings::fib6_lookup(net, oif, &mut flow, &mut result, flags as i32)
    };
    // Without rules, this is a throw route in the table local.
    #[cfg(CONFIG_WGVIA_STOCK)]
    if err == 0 && u32::from(result.fib6_type) == bindings::RTN_THROW {
        // SAFETY: Only the packet path gets here, which is under RCU.
        return unsafe { lookup6_of_dst(&mut flow, flags, dev) };
    }
    if err != 0
        || u32::from(result.fib6_type) != bindings::RTN_UNICAST
        || result.fib6_flags & bindings::RTF_REJECT != 0
    {
        return None;
    }
    // SAFETY: Found under RCU just above, and a result without an error has a nexthop.
    // INVARIANT: So was the route.
    unsafe {
        let route = Route::from_fib6_info(result.f6i);
        Some(Found {
            chosen: route.nexthop(&raw const (*result.nh).nh_common),
            route,
            origin: Origin::V6(result.f6i),
        })
    }
}

/// Look up the dst, and take its route. The nexthop that was chosen is that of the route, which of
/// several is one with siblings; of a nexthop object, the first on the device.
///
/// # Safety
///
/// An RCU read-side critical section goes on for `'p`.
#[cfg(CONFIG_WGVIA_STOCK)]
unsafe fn lookup6_of_dst<'p>(
    flow: &mut bindings::flowi6,
    flags: u32,
    dev: &NetDevice,
) -> Option<Found<'p>> {
    // SAFETY: The device is valid, and the caller promises RCU.
    let f6i = unsafe {
        let net = bindings::dev_net_rcu(dev.as_raw());
        bindings::wgvia_fib6_of_dst(net, flow, flags as i32)
    };
    if f6i.is_null() {
        return None;
    }
    // SAFETY: Found under RCU just above; the type does not change, and of the flags not this one.
    let route = unsafe {
        let flags = (&raw const (*f6i).fib6_flags).read_volatile();
        if u32::from((*f6i).fib6_type) != bindings::RTN_UNICAST || flags & bindings::RTF_REJECT != 0
        {
            return None;
        }
        Route::from_fib6_info(f6i)
    };
    let chosen = route.nexthops_on(dev).next().or_else(|| route.first())?;
    // INVARIANT: Found under RCU above, which goes on for `'p`.
    Some(Found {
        route,
        chosen,
        origin: Origin::V6(f6i),
    })
}

/// The source of what is looked up.
fn other_end(packet: &Packet<'_>, direction: Direction) -> IpAddr {
    match direction {
        Direction::Forward => packet.source(),
        Direction::Reply => packet.destination(),
    }
}
