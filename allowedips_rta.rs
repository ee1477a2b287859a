// SPDX-License-Identifier: GPL-2.0

//! The rule: peer selection and source filter.
//!
//! An address belongs to the peer that has exactly this address as a host entry in its AllowedIPs: it
//! is that peer's neighbour address. A nexthop leads to the peer that it names; one with a gateway to
//! the peer whose neighbour address that is; and one with neither to the peer that AllowedIPs give for
//! the address itself. In mode auto wgvia says something only where a nexthop names a peer, and else
//! AllowedIPs decide.
//!
//! The filter is the rule read backwards, as reverse-path forwarding is ([RFC 3704]): a source is one
//! that routing would send a reply for to the peer that sent the packet.
//!
//! All this runs on the packet path: under RCU, with BH disabled, without a lock or an allocation. A
//! packet from a peer makes at most [`Tables::MAX`] lookups in tables for each way to ask, and compares
//! at most [`MAX_MEMBERS`] nexthops of a route.
//!
//! [RFC 3704]: https://www.rfc-editor.org/rfc/rfc3704
//! [`Tables::MAX`]: crate::net::fib_rules::Tables::MAX
//! [`MAX_MEMBERS`]: crate::net::route::MAX_MEMBERS

#![deny(unsafe_code)]

use crate::{
    net::{
        addr::{
            can_be_replied_to,
            is_link_local, //
        },
        fib,
        fib_table::{
            Longest,
            Query,
            Through,
            Visited, //
        },
        nexthop::Nexthop,
        packet::{
            Packet,
            PacketPath, //
        },
        route::Route,
        wireguard::{
            AllowedIp,
            Device,
            Peer,
            PeerHook,
            PeerRef,
            PublicKey,
            Selection,
            SourceCheck, //
        },
    },
    policy::{
        counters::Counter,
        encap,
        settings::{
            Filter,
            Mode,
            Settings, //
        },
        via::Via, //
    },
};
use core::{
    cell::OnceCell,
    net::IpAddr, //
};
use kernel::sync::ArcBorrow;

impl PeerHook for Via {
    fn select_peer(self: ArcBorrow<'_, Self>, wg: Device<'_>, packet: &Packet<'_>) -> Selection {
        let verdict = select(self, wg, packet);
        if let Some(counter) = verdict.counter() {
            self.counters().add(counter, packet.segments());
        }
        match verdict {
            Verdict::Pass => Selection::Pass,
            Verdict::Accept(peer, _) => Selection::Peer(peer),
            Verdict::Drop(_) => Selection::Drop,
        }
    }

    fn check_source(
        self: ArcBorrow<'_, Self>,
        wg: Device<'_>,
        packet: &Packet<'_>,
        from: PeerRef<'_>,
    ) -> SourceCheck {
        let verdict = check(self, wg, packet, from);
        if let Some(counter) = verdict.counter() {
            self.counters().add(counter, packet.segments());
        }
        match verdict {
            Verdict::Pass => SourceCheck::Pass,
            Verdict::Accept((), _) => SourceCheck::Accept,
            Verdict::Drop(_) => SourceCheck::Drop,
        }
    }

    fn peer_added(&self, peer: Peer, key: &PublicKey) {
        self.add_peer(peer, key);
    }

    fn peer_removed(&self, key: &PublicKey) {
        self.remove_peer(key);
    }
}

/// A verdict, with the counter that it moves.
enum Verdict<T> {
    /// AllowedIPs decide, and nothing is counted.
    Pass,
    Accept(T, Counter),
    Drop(Counter),
}

impl<T> Verdict<T> {
    fn counter(&self) -> Option<Counter> {
        match self {
            Self::Pass => None,
            Self::Accept(_, counter) | Self::Drop(counter) => Some(*counter),
        }
    }
}

/// Return the peer whose neighbour address this is.
fn neighbour<'p>(wg: Device<'_>, addr: IpAddr, path: &'p PacketPath) -> Option<PeerRef<'p>> {
    wg.allowed_ip(addr, path)
        .filter(|entry| entry.is_host)
        .map(|entry| entry.peer)
}

/// Choose the peer that a packet goes to.
///
/// The nexthop is the one that the FIB lookup which routed the packet chose. A packet that none has
/// routed, or one for another device, is routed here, on this device.
fn select(via: ArcBorrow<'_, Via>, wg: Device<'_>, packet: &Packet<'_>) -> Verdict<Peer> {
    let path = packet.path();
    let Settings {
        mode, multicast, ..
    } = via.settings();
    let on = mode == Mode::On;
    let routed = packet.nexthop(wg.netdev());
    let nexthop = routed.or_else(|| {
        // Without a binding none is keyed, and in mode auto nothing else counts.
        (on || via.has_bindings())
            .then(|| fib::route_on(packet, wg.netdev()))
            .flatten()
            .map(|found| found.chosen())
    });
    let binding = nexthop.as_ref().and_then(encap::binding);
    if multicast
        && binding.is_none()
        && packet.is_to_link_scope_group()
        && !packet.came_in_by(wg.netdev())
    {
        return select_for_group(via, wg, packet, routed.as_ref());
    }
    let Some(nexthop) = nexthop else {
        return if on {
            Verdict::Drop(Counter::TxDropNoRoute)
        } else {
            Verdict::Pass
        };
    };
    let (peer, sent, not_sent) = if let Some(binding) = binding {
        (
            binding.peer_on(&via, path),
            Counter::TxWgPeer,
            Counter::TxDropWgPeer,
        )
    } else if !on {
        return Verdict::Pass;
    } else if let Some(gateway) = nexthop.gateway() {
        (
            neighbour(wg, gateway, path),
            Counter::TxGateway,
            Counter::TxDropGateway,
        )
    } else {
        let entry = wg.allowed_ip(packet.destination(), path);
        (
            entry.map(|entry| entry.peer),
            Counter::TxOnLink,
            Counter::TxDropOnLink,
        )
    };
    match peer.and_then(PeerRef::get) {
        Some(peer) => Verdict::Accept(peer, sent),
        None => Verdict::Drop(not_sent),
    }
}

/// Choose the peer that a packet to a link-scope group goes to, and send the others copies. A next hop
/// that the sender named, instead of routing, is the only one to have it, in every mode.
fn select_for_group(
    via: ArcBorrow<'_, Via>,
    wg: Device<'_>,
    packet: &Packet<'_>,
    nexthop: Option<&Nexthop<'_>>,
) -> Verdict<Peer> {
    let (peer, sent, not_sent) = match nexthop.and_then(|nexthop| nexthop.named_by_sender()) {
        Some(named) => (
            neighbour(wg, named, packet.path()).and_then(PeerRef::get),
            Counter::TxGateway,
            Counter::TxDropGateway,
        ),
        None => (
            via.copy_to_peers(wg, packet),
            Counter::TxMulticast,
            Counter::TxDropMulticast,
        ),
    };
    match peer {
        Some(peer) => Verdict::Accept(peer, sent),
        None => Verdict::Drop(not_sent),
    }
}

/// Check the inner source of a packet against the peer that sent it.
fn check(
    via: ArcBorrow<'_, Via>,
    wg: Device<'_>,
    packet: &Packet<'_>,
    from: PeerRef<'_>,
) -> Verdict<()> {
    let Settings { mode, filter, .. } = via.settings();
    let on = mode == Mode::On;
    match (on, filter) {
        (true, Filter::None) => return Verdict::Accept((), Counter::RxUnfiltered),
        (true, _) if !can_be_replied_to(packet.source()) => {
            return Verdict::Drop(Counter::RxDropSource);
        }
        // Without a binding no nexthop is keyed.
        (false, _) if !via.has_bindings() => return Verdict::Pass,
        _ => (),
    }

    let source = Source {
        via: &via,
        wg,
        packet,
        addr: packet.source(),
        from,
        allowed: OnceCell::new(),
    };
    let mut routed = Routed::default();
    let own = if on && filter == Filter::Strict && !is_link_local(source.addr) {
        // The route of a reply is all that counts.
        source.query(Through::Any).is_own()
    } else {
        let visited = source.visit(Through::Device, |longest| routed.add(&source, &longest));
        if visited.stale {
            via.refresh_tables(packet.path());
        }
        if visited.overflow {
            return Verdict::Drop(Counter::RxDropTables);
        }
        visited.own
    };
    if !on {
        if !routed.is_keyed {
            return Verdict::Pass;
        }
        if filter == Filter::None {
            return Verdict::Accept((), Counter::RxUnfiltered);
        }
        if !can_be_replied_to(source.addr) {
            return Verdict::Drop(Counter::RxDropSource);
        }
    }
    if own {
        return Verdict::Drop(Counter::RxDropOwn);
    }
    match source.accepted(filter, &routed) {
        Ok(counter) => Verdict::Accept((), counter),
        // A neighbour can always speak from its own address, whatever routes say.
        Err(_) if source.is_neighbour() => Verdict::Accept((), Counter::RxNeighbour),
        Err(_) if filter == Filter::Loose && source.is_routed_here() => {
            Verdict::Accept((), Counter::RxLoose)
        }
        Err(counter) => Verdict::Drop(counter),
    }
}

/// The nexthops of a route that are on the device, as seen by a source.
struct Members {
    /// Does one of them name a peer?
    is_keyed: bool,
    /// Is there one?
    is_any: bool,
    /// The way in which one of them leads to the peer that sent the packet, if one does.
    leads: Option<Counter>,
}

/// The longest prefixes of all tables for a source.
#[derive(Default)]
struct Routed {
    /// Their length in bits; [`None`] if no table has one.
    len: Option<u8>,
    /// Does a nexthop of one of them name a peer?
    is_keyed: bool,
    /// Is one of them a route, and not one that rejects?
    is_route: bool,
    /// The way in which one of them leads to the peer that sent the packet, if one does.
    leads: Option<Counter>,
}

impl Routed {
    /// Take in the longest prefix of one more table.
    fn add<'p>(&mut self, source: &Source<'_, 'p>, longest: &Longest<'p>) {
        if self.len > Some(longest.len) {
            return;
        }
        if self.len < Some(longest.len) {
            *self = Self {
                len: Some(longest.len),
                ..Self::default()
            };
        }
        if let Some(route) = longest.route {
            let members = source.members(&route);
            self.is_keyed |= members.is_keyed;
            self.is_route = true;
            self.leads = self.leads.or(members.leads);
        }
    }
}

/// A source address, and the peer that a packet with it came from.
struct Source<'a, 'p> {
    via: &'a Via,
    wg: Device<'a>,
    packet: &'a Packet<'p>,
    addr: IpAddr,
    from: PeerRef<'a>,
    /// The entry of AllowedIPs for the address, once it was looked up.
    allowed: OnceCell<Option<AllowedIp<'p>>>,
}

impl<'p> Source<'_, 'p> {
    /// Call `visit` with the longest prefix for the source in each table.
    fn visit(&self, through: Through, visit: impl FnMut(Longest<'p>)) -> Visited {
        self.query(through).visit(self.via.tables(), visit)
    }

    fn query(&self, through: Through) -> Query<'_, 'p> {
        Query {
            dev: self.wg.netdev(),
            addr: self.addr,
            from: self.packet.destination(),
            through,
            path: self.packet.path(),
        }
    }

    fn allowed(&self) -> Option<&AllowedIp<'p>> {
        self.allowed
            .get_or_init(|| self.wg.allowed_ip(self.addr, self.packet.path()))
            .as_ref()
    }

    /// Do AllowedIPs give the source to the peer?
    fn is_allowed(&self) -> bool {
        self.allowed().is_some_and(|entry| entry.peer == self.from)
    }

    /// Is it the peer's own neighbour address?
    fn is_neighbour(&self) -> bool {
        self.is_allowed() && self.allowed().is_some_and(|entry| entry.is_host)
    }

    /// Compare the nexthops of a route with the peer.
    fn members(&self, route: &Route<'p>) -> Members {
        let path = self.packet.path();
        let mut members = Members {
            is_keyed: false,
            is_any: false,
            leads: None,
        };
        let mut nexthops = route.nexthops_on(self.wg.netdev());
        for nexthop in nexthops.by_ref() {
            members.is_any = true;
            let (leads, counter) = if let Some(binding) = encap::binding(&nexthop) {
                members.is_keyed = true;
                let peer = binding.peer_on(self.via, path);
                (peer == Some(self.from), Counter::RxWgPeer)
            } else if is_link_local(self.addr) {
                // Each device has the prefix: no gateway tells whose the address is.
                continue;
            } else if let Some(gateway) = nexthop.gateway() {
                let peer = neighbour(self.wg, gateway, path);
                (peer == Some(self.from), Counter::RxGateway)
            } else {
                (self.is_allowed(), Counter::RxOnLink)
            };
            if leads {
                members.leads = members.leads.or(Some(counter));
                // Whether one is keyed is known by now, or does not matter: this one leads here.
                if members.is_keyed {
                    break;
                }
            }
        }
        // One that is not looked at may be keyed.
        members.is_keyed |= nexthops.is_cut_off();
        members
    }

    /// Apply the filter: [`Ok`] with the counter of the way in which the source is accepted, or
    /// [`Err`] with that of the cause for which it is not.
    fn accepted(&self, filter: Filter, routed: &Routed) -> Result<Counter, Counter> {
        if is_link_local(self.addr) {
            return self.accepted_link_local(routed);
        }
        match filter {
            Filter::None => Ok(Counter::RxUnfiltered),
            Filter::Device | Filter::Loose => match routed {
                Routed { len: None, .. } if self.is_allowed() => Ok(Counter::RxAllowedIps),
                Routed {
                    leads: Some(way), ..
                } => Ok(*way),
                Routed { len: None, .. } | Routed { is_route: true, .. } => {
                    Err(Counter::RxDropPeer)
                }
                _ => Err(Counter::RxDropNoRoute),
            },
            Filter::Strict => {
                let found =
                    fib::route_back(self.packet, self.wg.netdev()).ok_or(Counter::RxDropNoRoute)?;
                let members = self.members(&found.route());
                members.leads.ok_or(if members.is_any {
                    Counter::RxDropPeer
                } else {
                    Counter::RxDropDevice
                })
            }
        }
    }

    /// Apply any filter to a link-local source: a keyed /128 says whose it is, or AllowedIPs do.
    /// A shorter prefix means nothing, since each link has it.
    fn accepted_link_local(&self, routed: &Routed) -> Result<Counter, Counter> {
        let is_keyed = routed.len == Some(128) && routed.is_keyed;
        match routed.leads {
            Some(way) if is_keyed => Ok(way),
            _ if !is_keyed && self.is_allowed() && !self.is_neighbour() => {
                Ok(Counter::RxAllowedIps)
            }
            _ => Err(Counter::RxDropPeer),
        }
    }

    /// Is the source routed to the device, in preference to all others, and no other peer's neighbour
    /// address? Then any peer of the device may send from it under the filter loose.
    fn is_routed_here(&self) -> bool {
        if is_link_local(self.addr) || self.allowed().is_some_and(|entry| entry.is_host) {
            return false;
        }
        let mut len = None;
        let mut here = false;
        self.visit(Through::Any, |longest| {
            if len < Some(longest.len) {
                len = Some(longest.len);
                here = false;
            }
            here |= len == Some(longest.len)
                && longest
                    .route
                    .is_some_and(|route| route.nexthops_on(self.wg.netdev()).next().is_some());
        });
        here
    }
}
