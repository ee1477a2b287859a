// SPDX-License-Identifier: GPL-2.0

//! Verdicts of the rule, and those who look on as it comes to one.

#![deny(unsafe_code)]

use crate::{
    net::{
        nexthop::Nexthop,
        packet::Packet,
        route::Place,
        wireguard::Peer, //
    },
    policy::counters::{
        Counter,
        Counters, //
    },
};

/// A verdict, with the counter that it moves: that is the clause which decides.
pub(crate) enum Verdict<T> {
    /// AllowedIPs decide, and nothing is counted.
    Pass,
    /// The packet goes on.
    Accept(T, Counter),
    /// The packet is dropped.
    Drop(Counter),
}

impl<T> Verdict<T> {
    /// Return the counter.
    pub(crate) fn counter(&self) -> Option<Counter> {
        match self {
            Self::Pass => None,
            Self::Accept(_, counter) | Self::Drop(counter) => Some(*counter),
        }
    }

    /// Count a packet, or as many as it stands for.
    pub(crate) fn count(&self, counters: &Counters, packet: &Packet<'_>) {
        if let Some(counter) = self.counter() {
            counters.count(counter, packet);
        }
    }
}

/// Those who get a packet.
pub(crate) enum Receiver<'p> {
    /// This peer.
    Peer(Peer<'p>),
    /// The peers of the device, a copy each.
    EachPeer,
}

/// An onlooker, who learns by which routes the rule comes to a verdict. The one of packets is `()`,
/// of which nothing is left in the code.
pub(crate) trait Witness {
    /// A route is looked at, and one of its nexthops if there is one on the device. `leads` says
    /// that it leads to the peer; `place` is [`None`] if a dst has the nexthop.
    fn look(&mut self, place: Option<Place>, nexthop: Option<&Nexthop<'_>>, leads: bool);

    /// The routes that were looked at have no say.
    fn restart(&mut self);
}

impl Witness for () {
    #[inline(always)]
    fn look(&mut self, _: Option<Place>, _: Option<&Nexthop<'_>>, _: bool) {}

    #[inline(always)]
    fn restart(&mut self) {}
}
