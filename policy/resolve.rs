// SPDX-License-Identifier: GPL-2.0

//! Questions about packets: which peer one gets or may come from, by which clause and which route.

#![deny(unsafe_code)]

use crate::{
    net::{
        bindings as abi,
        flow::{
            Dst,
            Flow, //
        },
        nexthop::Nexthop,
        packet::Packet,
        packet_path::with_packet_path,
        route::Place,
        rtnl::Rtnl,
        wireguard::{
            Device,
            Peer,
            PeerRef,
            PublicKey, //
        },
    },
    policy::{
        counters::Counter,
        encap,
        settings::Mode,
        verdict::{
            Receiver,
            Verdict,
            Witness, //
        },
        via::Via, //
    },
};
use core::net::IpAddr;
use kernel::prelude::*;

/// The fate of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Outcome {
    /// It is sent to the peer, or accepted from it.
    Accept = abi::wgvia_verdict_WGVIA_VERDICT_ACCEPT,
    /// It is sent to each peer.
    Copy = abi::wgvia_verdict_WGVIA_VERDICT_COPY,
    /// It is dropped.
    Drop = abi::wgvia_verdict_WGVIA_VERDICT_DROP,
    /// The host sends it by another device.
    Elsewhere = abi::wgvia_verdict_WGVIA_VERDICT_ELSEWHERE,
    /// The host does not send it.
    Unreachable = abi::wgvia_verdict_WGVIA_VERDICT_UNREACHABLE,
}

/// A packet to ask about.
pub(crate) struct Question<'d> {
    /// The packet.
    pub(crate) flow: Flow,
    /// Whether it comes to the device without a route.
    pub(crate) unrouted: bool,
    /// The peer that it comes from; [`None`] if it is to be sent.
    pub(crate) from: Option<Peer<'d>>,
}

/// The route that decides, and a nexthop of it.
#[derive(Clone, Copy, Default)]
pub(crate) struct DecidingRoute {
    /// The table, and the length of the prefix, of the packet's address.
    pub(crate) place: Option<Place>,
    /// The key that the nexthop names.
    pub(crate) key: Option<PublicKey>,
    /// The gateway of the nexthop.
    pub(crate) gateway: Option<IpAddr>,
    /// The device, if it is another one.
    pub(crate) oif: Option<u32>,
    has_nexthop: bool,
    leads: bool,
}

impl DecidingRoute {
    /// Return the route by which `decide` decides.
    pub(crate) fn of<T>(decide: impl FnOnce(&mut Self) -> T) -> Self {
        let mut deciding = Self::default();
        decide(&mut deciding);
        deciding
    }
}

impl Witness for DecidingRoute {
    /// Keep the one with the longest prefix, of these one that leads to the peer, else the first.
    fn look(&mut self, place: Option<Place>, nexthop: Option<&Nexthop<'_>>, leads: bool) {
        let len = |place: Option<Place>| place.map(|place| place.len);
        let is_better = len(place) > len(self.place)
            || len(place) == len(self.place)
                && (leads && !self.leads || nexthop.is_some() && !self.has_nexthop);
        if is_better {
            *self = Self {
                place,
                key: nexthop
                    .and_then(encap::binding)
                    .map(|binding| *binding.key()),
                gateway: nexthop.and_then(Nexthop::gateway),
                oif: None,
                has_nexthop: nexthop.is_some(),
                leads,
            };
        }
    }

    fn restart(&mut self) {
        *self = Self::default();
    }
}

/// The fate of a packet, and why.
pub(crate) struct Answer {
    /// Its fate.
    pub(crate) outcome: Outcome,
    /// The clause that decides; [`None`] if AllowedIPs do, or the packet does not come to the
    /// device.
    pub(crate) clause: Option<Counter>,
    /// The peer that it is sent to. If AllowedIPs decide, the one that they give; in mode off,
    /// which knows no peers, [`None`].
    pub(crate) peer: Option<PublicKey>,
    /// The route.
    pub(crate) route: Option<DecidingRoute>,
}

impl Question<'_> {
    /// Answer it. `select` and `check` are those that decide about packets.
    ///
    /// Fails with `ENOMEM`.
    pub(crate) fn answer(
        &self,
        via: &Via,
        wg: Device<'_>,
        select: impl for<'p> FnOnce(&Packet<'p>, &mut DecidingRoute) -> Verdict<Receiver<'p>>,
        check: impl FnOnce(&Packet<'_>, PeerRef<'_>, &mut DecidingRoute) -> Verdict<()>,
        rtnl: &Rtnl,
    ) -> Result<Answer> {
        match &self.from {
            Some(from) => self.received(via, wg, from, check),
            None => self.sent(via, wg, select, rtnl),
        }
    }

    fn sent(
        &self,
        via: &Via,
        wg: Device<'_>,
        select: impl for<'p> FnOnce(&Packet<'p>, &mut DecidingRoute) -> Verdict<Receiver<'p>>,
        rtnl: &Rtnl,
    ) -> Result<Answer> {
        let mut deciding = DecidingRoute::default();
        let routed = if self.unrouted {
            None
        } else {
            let Some(routed) = self.flow.route(wg.netdev(), rtnl) else {
                return Ok(Answer {
                    outcome: Outcome::Unreachable,
                    clause: None,
                    peer: None,
                    route: None,
                });
            };
            Some(routed)
        };
        let place = routed.as_ref().and_then(Dst::place);
        let oif = routed.as_ref().map(Dst::ifindex);
        if oif.is_some_and(|oif| oif != wg.netdev().ifindex()) {
            deciding.place = place;
            deciding.oif = oif;
            return Ok(Answer {
                outcome: Outcome::Elsewhere,
                clause: None,
                peer: None,
                route: Some(deciding),
            });
        }
        let packet = self.flow.packet(wg.netdev(), routed)?;
        let (outcome, clause, peer) = with_packet_path(|path| {
            let verdict = match packet.packet(path) {
                Some(packet) if via.settings().mode != Mode::Off => select(&packet, &mut deciding),
                _ => Verdict::Pass,
            };
            let clause = verdict.counter();
            match verdict {
                Verdict::Pass => {
                    let entry = wg.allowed_ip(self.flow.destination, path);
                    let peer = entry.map(|entry| entry.peer);
                    let key = peer.and_then(|peer| via.peers.key_of(peer, path));
                    (Outcome::of(peer.is_some()), clause, key)
                }
                Verdict::Accept(Receiver::Peer(peer), _) => {
                    let key = via.peers.key_of(peer.borrow(path), path);
                    (Outcome::Accept, clause, key)
                }
                Verdict::Accept(Receiver::EachPeer, _) => (Outcome::Copy, clause, None),
                Verdict::Drop(_) => (Outcome::Drop, clause, None),
            }
        });
        packet.consume();
        deciding.place = deciding.place.or(place);
        Ok(Answer {
            outcome,
            clause,
            peer,
            route: deciding.place.is_some().then_some(deciding),
        })
    }

    fn received(
        &self,
        via: &Via,
        wg: Device<'_>,
        from: &Peer<'_>,
        check: impl FnOnce(&Packet<'_>, PeerRef<'_>, &mut DecidingRoute) -> Verdict<()>,
    ) -> Result<Answer> {
        let mut deciding = DecidingRoute::default();
        let packet = self.flow.packet(wg.netdev(), None)?;
        let (outcome, clause, peer) = with_packet_path(|path| {
            let verdict = match packet.packet(path) {
                Some(packet) if via.settings().mode != Mode::Off => {
                    check(&packet, from.borrow(path), &mut deciding)
                }
                _ => Verdict::Pass,
            };
            let clause = verdict.counter();
            match verdict {
                Verdict::Pass => {
                    let source = self.flow.source;
                    let entry = source.and_then(|source| wg.allowed_ip(source, path));
                    let is_allowed = entry
                        .as_ref()
                        .is_some_and(|entry| entry.peer == from.borrow(path));
                    let key = entry.and_then(|entry| via.peers.key_of(entry.peer, path));
                    (Outcome::of(is_allowed), clause, key)
                }
                Verdict::Accept((), _) => (Outcome::Accept, clause, None),
                Verdict::Drop(_) => (Outcome::Drop, clause, None),
            }
        });
        packet.consume();
        Ok(Answer {
            outcome,
            clause,
            peer,
            route: clause
                .is_some_and(Counter::is_of_a_route)
                .then_some(deciding)
                .filter(|deciding| deciding.place.is_some()),
        })
    }
}

impl Outcome {
    fn of(accepted: bool) -> Self {
        if accepted {
            Self::Accept
        } else {
            Self::Drop
        }
    }
}
