// SPDX-License-Identifier: GPL-2.0

//! The longest prefixes for a source, and where their nexthops lead.

#![deny(unsafe_code)]

use crate::{
    net::{
        fib_table::Longest,
        route::Route, //
    },
    policy::counters::Counter, //
};

/// The nexthops of a route that are on the device, as seen by a source.
pub(crate) struct Members {
    /// Whether one of them names a peer.
    pub(crate) is_keyed: bool,
    /// Whether there is one.
    pub(crate) is_any: bool,
    /// The way in which one of them leads to the peer that sent the packet, if one does.
    pub(crate) leads: Option<Counter>,
}

/// The longest prefixes of all tables for a source.
#[derive(Default)]
pub(crate) struct Routed {
    /// Their length in bits; [`None`] if no table has one.
    pub(crate) len: Option<u8>,
    /// Whether a nexthop of one of them names a peer.
    pub(crate) is_keyed: bool,
    /// Whether one of them is a route, and not one that rejects.
    pub(crate) is_route: bool,
    /// The way in which one of them leads to the peer that sent the packet, if one does.
    pub(crate) leads: Option<Counter>,
}

impl Routed {
    /// Take in the longest prefix of one more table. `members` compares the nexthops of its route
    /// with the peer.
    pub(crate) fn add<'p>(
        &mut self,
        longest: &Longest<'p>,
        members: impl FnOnce(&Route<'p>) -> Members,
    ) {
        if self.len > Some(longest.len) {
            return;
        }
        if self.len < Some(longest.len) {
            *self = Self {
                len: Some(longest.len),
                ..Self::default()
            };
        }
        // One that is not looked at may name a peer.
        self.is_keyed |= longest.is_cut_off;
        self.is_route |= longest.is_cut_off;
        if let Some(route) = longest.route {
            let members = members(&route);
            self.is_keyed |= members.is_keyed;
            self.is_route = true;
            self.leads = self.leads.or(members.leads);
        }
    }
}
