// SPDX-License-Identifier: GPL-2.0

//! Peer selection and source filter.
//!
//! The one rule: the peer of a nexthop on a device is
//!
//! 1. the peer that its via-wgpeer names; else
//! 2. if it has a gateway: the peer that the route to the gateway names with a via-wgpeer of its
//!    own, else the peer whose AllowedIPs hold the gateway; else
//! 3. the peer whose AllowedIPs hold the address itself, as WireGuard always did.
//!
//! The filter is the rule read backwards, as reverse-path forwarding is ([RFC 3704]): a source is
//! one that the FIB would route a reply to, to the peer that sent the packet.
//!
//! All this runs on the packet path: under RCU, with BH disabled, without a lock or an allocation.
//!
//! [RFC 3704]: https://www.rfc-editor.org/rfc/rfc3704

#![deny(unsafe_code)]

use crate::{
    net::{
        fib::{
            Flow,
            Through, //
        },
        nexthop::Nexthop,
        packet::{
            Packet,
            PacketPath, //
        },
        wireguard::{
            Peer,
            PeerRef,
            WgDevice, //
        },
    },
    policy::{
        counters::Counter,
        device::Device,
        settings::Filter, //
    },
};
use core::net::IpAddr;

/// The way in which a nexthop leads to a peer.
#[derive(Clone, Copy)]
enum Way {
    /// Its own via-wgpeer.
    WgPeer,
    /// The via-wgpeer of the route to its gateway.
    GatewayWgPeer,
    /// The AllowedIPs that hold its gateway.
    GatewayAllowedIps,
    /// The AllowedIPs that hold the address.
    OnLink,
}

impl Way {
    fn sent(self) -> Counter {
        match self {
            Self::WgPeer => Counter::TxWgPeer,
            Self::GatewayWgPeer => Counter::TxGatewayWgPeer,
            Self::GatewayAllowedIps => Counter::TxGatewayAllowedIps,
            Self::OnLink => Counter::TxOnLink,
        }
    }

    fn not_sent(self) -> Counter {
        match self {
            Self::WgPeer => Counter::TxDropWgPeer,
            Self::GatewayWgPeer | Self::GatewayAllowedIps => Counter::TxDropGateway,
            Self::OnLink => Counter::TxDropOnLink,
        }
    }

    fn accepted(self) -> Counter {
        match self {
            Self::WgPeer => Counter::RxWgPeer,
            Self::GatewayWgPeer => Counter::RxGatewayWgPeer,
            Self::GatewayAllowedIps => Counter::RxGatewayAllowedIps,
            Self::OnLink => Counter::RxOnLink,
        }
    }
}

/// The rule: resolves a nexthop on `dev`, for packets to `addr`, to the peer, if there is one.
fn resolve<'p>(
    device: &Device,
    dev: &WgDevice<'_>,
    nexthop: &Nexthop<'p>,
    addr: IpAddr,
    path: &'p PacketPath,
) -> (Way, Option<PeerRef<'p>>) {
    if let Some(binding) = nexthop.binding() {
        return (Way::WgPeer, binding.peer_on(device, path));
    }
    let Some(gateway) = nexthop.gateway() else {
        return (Way::OnLink, dev.peer_by_allowedips(addr, path));
    };
    // Where no nexthop names a peer, no route to a gateway does.
    if device.has_nexthops() {
        let route = Flow::to_gateway(gateway, dev.netdev()).lookup(path);
        if let Some(binding) = route.and_then(|route| route.chosen().binding()) {
            return (Way::GatewayWgPeer, binding.peer_on(device, path));
        }
    }
    (
        Way::GatewayAllowedIps,
        dev.peer_by_allowedips(gateway, path),
    )
}

/// Chooses the peer that a packet goes to; [`None`] if there is none.
///
/// The nexthop is the one that the FIB lookup which routed the packet chose. A packet that none
/// has routed, or one for another device, is routed here, on this device.
pub(crate) fn select_peer(
    device: &Device,
    dev: &WgDevice<'_>,
    packet: &Packet<'_>,
) -> Option<Peer> {
    let path = packet.path();
    let nexthop = packet.nexthop(dev.netdev()).or_else(|| {
        let route = Flow::of(packet, dev.netdev()).lookup(path)?;
        Some(route.chosen())
    });
    let Some(nexthop) = nexthop else {
        device
            .counters()
            .add(Counter::TxDropNoRoute, packet.segments());
        return None;
    };
    let (way, resolved) = resolve(device, dev, &nexthop, packet.destination(), path);
    let peer = resolved.and_then(PeerRef::get);
    let counter = match peer {
        Some(_) => way.sent(),
        None => way.not_sent(),
    };
    device.counters().add(counter, packet.segments());
    peer
}

/// Could a reply go to this address?
fn can_be_replied_to(addr: IpAddr) -> bool {
    let limited_broadcast = matches!(addr, IpAddr::V4(addr) if addr.is_broadcast());
    !(addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() || limited_broadcast)
}

/// Checks the inner source of a packet against the peer that sent it.
pub(crate) fn check_source(
    device: &Device,
    filter: Filter,
    dev: &WgDevice<'_>,
    packet: &Packet<'_>,
    from: PeerRef<'_>,
) -> bool {
    let verdict = judge_source(device, filter, dev, packet, from);
    let (Ok(counter) | Err(counter)) = verdict;
    device.counters().add(counter, packet.segments());
    verdict.is_ok()
}

/// [`Ok`] to accept, [`Err`] to drop, either with what counts it.
fn judge_source(
    device: &Device,
    filter: Filter,
    dev: &WgDevice<'_>,
    packet: &Packet<'_>,
    from: PeerRef<'_>,
) -> Result<Counter, Counter> {
    let through = match filter {
        Filter::None => return Ok(Counter::RxUnfiltered),
        Filter::Device => Through::Device,
        Filter::Strict => Through::Any,
    };
    let path = packet.path();
    let source = packet.source();
    if !can_be_replied_to(source) {
        return Err(Counter::RxDropSource);
    }
    let route = Flow::reply_to(packet, dev.netdev(), through)
        .lookup(path)
        .ok_or(Counter::RxDropNoRoute)?;
    let mut verdict = Err(Counter::RxDropDevice);
    for nexthop in route.nexthops_on(dev.netdev()) {
        let (way, resolved) = resolve(device, dev, &nexthop, source, path);
        if resolved.is_some_and(|peer| peer.is(from)) {
            return Ok(way.accepted());
        }
        verdict = Err(Counter::RxDropPeer);
    }
    verdict
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kernel::prelude::kunit_tests(wgvia_rule)]
mod tests {
    use super::*;

    fn can(addr: &str) -> bool {
        // No address is misspelt: such a one would be neither.
        addr.parse().map(can_be_replied_to) == Ok(true)
    }

    fn can_not(addr: &str) -> bool {
        addr.parse().map(can_be_replied_to) == Ok(false)
    }

    #[test]
    fn replies_to_ipv4() {
        assert!(can_not("0.0.0.0"));
        assert!(can("0.0.0.1"));
        assert!(can("10.0.0.1"));
        assert!(can("126.255.255.255"));
        assert!(can_not("127.0.0.0"));
        assert!(can_not("127.0.0.1"));
        assert!(can_not("127.255.255.255"));
        assert!(can("128.0.0.0"));
        assert!(can("169.254.0.1"));
        assert!(can("192.168.1.255"));
        assert!(can("223.255.255.255"));
        assert!(can_not("224.0.0.0"));
        assert!(can_not("224.0.0.1"));
        assert!(can_not("239.255.255.255"));
        assert!(can("240.0.0.0"));
        assert!(can("255.255.255.254"));
        assert!(can_not("255.255.255.255"));
    }

    #[test]
    fn replies_to_ipv6() {
        assert!(can_not("::"));
        assert!(can_not("::1"));
        assert!(can("::2"));
        assert!(can("2001:db8::1"));
        assert!(can("fd00::1"));
        assert!(can("fe80::1"));
        assert!(can("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert!(can_not("ff00::"));
        assert!(can_not("ff02::1"));
        assert!(can_not("ff0e::1"));
        assert!(can_not("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    }

    /// Each packet moves one counter, and that tells its way and what became of it.
    #[test]
    fn ways_count_apart() {
        const WAYS: [Way; 4] = [
            Way::WgPeer,
            Way::GatewayWgPeer,
            Way::GatewayAllowedIps,
            Way::OnLink,
        ];
        for (i, way) in WAYS.into_iter().enumerate() {
            for (j, other) in WAYS.into_iter().enumerate() {
                assert!((way.sent() as u32 == other.sent() as u32) == (i == j));
                assert!((way.accepted() as u32 == other.accepted() as u32) == (i == j));
                assert!(way.sent() as u32 != other.accepted() as u32);
                assert!(way.sent() as u32 != other.not_sent() as u32);
                assert!(way.accepted() as u32 != other.not_sent() as u32);
            }
        }
    }
}
