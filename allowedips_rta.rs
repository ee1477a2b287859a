// SPDX-License-Identifier: GPL-2.0

//! The rule: peer selection and source filter.
//!
//! An address belongs to the peer that has exactly this address as a host entry in its AllowedIPs:
//! it is that peer's neighbour address. A nexthop leads to the peer that it names; one with a
//! gateway to the peer whose neighbour address that is; and one with neither to the peer that
//! AllowedIPs give for the address itself. In mode auto wgvia says something only where a nexthop
//! names a peer, and else AllowedIPs decide.
//!
//! The filter is the rule read backwards, as reverse-path forwarding is ([RFC 3704]): a source is
//! one that routing would send a reply for to the peer that sent the packet.
//!
//! All this runs on the packet path: under RCU, with BH disabled, without a lock or an allocation.
//! A packet from a peer asks at most [`Tables::MAX`] tables in each way: each of them at most twice,
//! or if the source is an address of the host once a bit. It compares at most [`MAX_MEMBERS`]
//! nexthops of a route.
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
        packet::Packet,
        packet_path::PacketPath,
        route::{
            Place,
            Route, //
        },
        rtnl::Rtnl,
        trace,
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
        resolve::{
            Answer,
            DecidingRoute,
            Question, //
        },
        routed::{
            Members,
            Routed, //
        },
        settings::{
            Filter,
            Mode,
            Settings, //
        },
        verdict::{
            Receiver,
            Verdict,
            Witness, //
        },
        via::Via, //
    },
};
use core::{
    cell::OnceCell,
    net::IpAddr, //
};
use kernel::{
    prelude::*,
    sync::ArcBorrow, //
};

impl PeerHook for Via {
    // Inlined, as all is that each packet goes through: calls are a third of what that costs.
    #[inline(always)]
    fn select_peer<'p>(
        self: ArcBorrow<'_, Self>,
        wg: Device<'p>,
        packet: &Packet<'p>,
    ) -> Selection<'p> {
        let mut verdict = select(&self, wg, packet, &mut ());
        if let Verdict::Accept(Receiver::EachPeer, counter) = verdict {
            verdict = match self.copy_to_peers(wg, packet) {
                Some(peer) => Verdict::Accept(Receiver::Peer(peer), counter),
                None => Verdict::Drop(Counter::TxDropMulticast),
            };
        }
        verdict.count(self.counters(), packet);
        match verdict {
            Verdict::Pass => Selection::Pass,
            Verdict::Accept(Receiver::Peer(peer), _) => Selection::Peer(peer),
            Verdict::Drop(counter) => {
                // The rule once more, for the key that the nexthop names.
                trace::tx_drop(wg.netdev(), packet, counter.name(), || {
                    DecidingRoute::of(|route| select(&self, wg, packet, route)).key
                });
                Selection::Drop
            }
            Verdict::Accept(Receiver::EachPeer, _) => Selection::Drop,
        }
    }

    #[inline(always)]
    fn check_source(
        self: ArcBorrow<'_, Self>,
        wg: Device<'_>,
        packet: &Packet<'_>,
        from: PeerRef<'_>,
    ) -> SourceCheck {
        let verdict = check(self, wg, packet, from, &mut ());
        verdict.count(self.counters(), packet);
        match verdict {
            Verdict::Pass => SourceCheck::Pass,
            Verdict::Accept((), _) => SourceCheck::Accept,
            Verdict::Drop(counter) => {
                self.peers
                    .count_drop(from, counter, packet.segments(), packet.path());
                trace::rx_drop(wg.netdev(), packet, counter.name(), || {
                    self.peers.key_of(from, packet.path())
                });
                SourceCheck::Drop
            }
        }
    }

    fn peer_added(&self, peer: Peer<'_>, key: &PublicKey) {
        self.add_peer(peer, key);
    }

    fn peer_removed(&self, key: &PublicKey) {
        self.remove_peer(key);
    }
}

/// Tell what becomes of a packet that is described, and why. Fails with `ENOMEM`.
pub(crate) fn resolve(
    via: ArcBorrow<'_, Via>,
    wg: Device<'_>,
    question: &Question<'_>,
    rtnl: &Rtnl,
) -> Result<Answer> {
    question.answer(
        &via,
        wg,
        |packet, route| select(&via, wg, packet, route),
        |packet, from, route| check(via, wg, packet, from, route),
        rtnl,
    )
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
fn select<'p>(
    via: &Via,
    wg: Device<'_>,
    packet: &Packet<'p>,
    witness: &mut impl Witness,
) -> Verdict<Receiver<'p>> {
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
            .map(|found| {
                let chosen = found.chosen();
                witness.look(Some(found.place()), Some(&chosen), true);
                chosen
            })
    });
    let binding = nexthop.as_ref().and_then(encap::binding);
    if multicast && mode != Mode::Off && binding.is_none() && packet.is_to_link_scope_group() {
        let named = routed
            .as_ref()
            .and_then(|nexthop| nexthop.named_by_sender());
        if let Some(named) = named {
            return select_named(wg, packet, named);
        }
        if !packet.came_in_by(wg.netdev()) {
            return Verdict::Accept(Receiver::EachPeer, Counter::TxMulticast);
        }
    }
    if routed.is_some() {
        witness.look(None, nexthop.as_ref(), true);
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
            binding.peer_on(via, path),
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
        Some(peer) => Verdict::Accept(Receiver::Peer(peer), sent),
        None => Verdict::Drop(not_sent),
    }
}

/// Choose the peer of a next hop that the sender of a packet to a group named, instead of routing.
fn select_named<'p>(wg: Device<'_>, packet: &Packet<'p>, named: IpAddr) -> Verdict<Receiver<'p>> {
    match neighbour(wg, named, packet.path()).and_then(PeerRef::get) {
        Some(peer) => Verdict::Accept(Receiver::Peer(peer), Counter::TxGateway),
        None => Verdict::Drop(Counter::TxDropGateway),
    }
}

/// Check the inner source of a packet against the peer that sent it.
fn check(
    via: ArcBorrow<'_, Via>,
    wg: Device<'_>,
    packet: &Packet<'_>,
    from: PeerRef<'_>,
    witness: &mut impl Witness,
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
        let visited = source.visit(Through::Device, |table, longest| {
            let place = Some(longest.place(table));
            witness.look(place, None, false);
            routed.add(&longest, |route| source.members(route, place, witness));
        });
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
    match source.filter(filter, &routed, witness) {
        // A neighbour can always speak from its own address, whatever routes say.
        Verdict::Drop(_) if source.is_neighbour() => Verdict::Accept((), Counter::RxNeighbour),
        Verdict::Drop(_) if filter == Filter::Loose && source.is_routed_here(witness) => {
            Verdict::Accept((), Counter::RxLoose)
        }
        verdict => verdict,
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
    fn visit(&self, through: Through, visit: impl FnMut(u32, Longest<'p>)) -> Visited {
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

    /// Tell whether AllowedIPs give the source to the peer.
    fn is_allowed(&self) -> bool {
        self.allowed().is_some_and(|entry| entry.peer == self.from)
    }

    /// Tell whether it is the peer's own neighbour address.
    fn is_neighbour(&self) -> bool {
        self.is_allowed() && self.allowed().is_some_and(|entry| entry.is_host)
    }

    /// Compare the nexthops of a route with the peer.
    #[inline(always)]
    fn members(
        &self,
        route: &Route<'p>,
        place: Option<Place>,
        witness: &mut impl Witness,
    ) -> Members {
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
            witness.look(place, Some(&nexthop), leads);
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

    /// Apply the filter.
    fn filter(&self, filter: Filter, routed: &Routed, witness: &mut impl Witness) -> Verdict<()> {
        if is_link_local(self.addr) {
            return self.filter_link_local(routed);
        }
        match filter {
            Filter::None => Verdict::Accept((), Counter::RxUnfiltered),
            Filter::Device | Filter::Loose => match routed {
                Routed { len: None, .. } if self.is_allowed() => {
                    Verdict::Accept((), Counter::RxAllowedIps)
                }
                Routed {
                    leads: Some(way), ..
                } => Verdict::Accept((), *way),
                Routed { len: None, .. } | Routed { is_route: true, .. } => {
                    Verdict::Drop(Counter::RxDropPeer)
                }
                _ => Verdict::Drop(Counter::RxDropNoRoute),
            },
            Filter::Strict => {
                let Some(found) = fib::route_back(self.packet, self.wg.netdev()) else {
                    return Verdict::Drop(Counter::RxDropNoRoute);
                };
                let place = Some(found.place());
                witness.restart();
                witness.look(place, None, false);
                match self.members(&found.route(), place, witness) {
                    Members {
                        leads: Some(way), ..
                    } => Verdict::Accept((), way),
                    Members { is_any: true, .. } => Verdict::Drop(Counter::RxDropPeer),
                    _ => Verdict::Drop(Counter::RxDropDevice),
                }
            }
        }
    }

    /// Apply any filter to a link-local source: a keyed /128 says whose it is, or AllowedIPs do.
    /// A shorter prefix means nothing, since each link has it.
    fn filter_link_local(&self, routed: &Routed) -> Verdict<()> {
        let is_keyed = routed.len == Some(128) && routed.is_keyed;
        match routed.leads {
            Some(way) if is_keyed => Verdict::Accept((), way),
            _ if !is_keyed && self.is_allowed() && !self.is_neighbour() => {
                Verdict::Accept((), Counter::RxAllowedIps)
            }
            _ => Verdict::Drop(Counter::RxDropPeer),
        }
    }

    /// Tell whether the source is routed to the device, in preference to all others, and is no
    /// other peer's neighbour address: then any peer of the device may send from it under the
    /// filter loose.
    fn is_routed_here(&self, witness: &mut impl Witness) -> bool {
        if is_link_local(self.addr) || self.allowed().is_some_and(|entry| entry.is_host) {
            return false;
        }
        let mut len = None;
        let mut here = false;
        self.visit(Through::Any, |table, longest| {
            if len < Some(longest.len) {
                len = Some(longest.len);
                here = false;
            }
            let nexthop = longest
                .route
                .filter(|_| len == Some(longest.len))
                .and_then(|route| route.nexthops_on(self.wg.netdev()).next());
            if nexthop.is_some() {
                here = true;
                witness.look(Some(longest.place(table)), nexthop.as_ref(), true);
            }
        });
        here
    }
}
