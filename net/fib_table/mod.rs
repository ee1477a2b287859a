// SPDX-License-Identifier: GPL-2.0

//! The longest prefix for an address in each table, whatever rule leads there.
//!
//! C headers: [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h),
//! [`include/net/ip6_fib.h`](srctree/include/net/ip6_fib.h)

mod v4;
mod v6;

use super::{
    addr,
    bindings,
    fib_rules::{
        Family,
        Rules,
        TableCache, //
    },
    netdev::NetDevice,
    packet_path::PacketPath,
    route::{
        Place,
        Route, //
    }, //
};
use core::net::IpAddr;

/// By which devices a route counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Through {
    /// The device alone: others are passed over, for a route of another metric or a shorter prefix.
    Device,
    /// Any device.
    Any,
}

/// The longest prefix for an address in a table.
pub(crate) struct Longest<'p> {
    /// The length of the prefix in bits.
    pub(crate) len: u8,
    /// Its unicast route; [`None`] if it rejects, is of another type (with [`Through::Any`]) or is
    /// not known.
    pub(crate) route: Option<Route<'p>>,
    /// Whether the prefix has more routes than are looked at. Any of them may be the one that
    /// counts.
    pub(crate) is_cut_off: bool,
}

impl Longest<'_> {
    /// Return its place, in a table.
    pub(crate) fn place(&self, table: u32) -> Place {
        Place {
            table,
            len: self.len,
        }
    }
}

/// An address to look up.
pub(crate) struct Query<'a, 'p> {
    /// The device, whose rules, VRF and network namespace count.
    pub(crate) dev: &'a NetDevice,
    /// The address.
    pub(crate) addr: IpAddr,
    /// The address at the other end, of the same family: IPv6 routes may have a source prefix.
    pub(crate) from: IpAddr,
    /// By which devices routes count.
    pub(crate) through: Through,
    /// The packet path.
    pub(crate) path: &'p PacketPath,
}

/// The outcome of [`Query::visit`].
pub(crate) struct Visited {
    /// Whether the address is one that is configured on a device in the VRF of the device (outside
    /// of all VRFs if it is in none; if it is link-local, on the device), or a subnet broadcast
    /// address of the device.
    pub(crate) own: bool,
    /// Whether the rules name too many tables: then none was looked up.
    pub(crate) overflow: bool,
    /// Whether [`TableCache::refresh`] is due.
    pub(crate) stale: bool,
}

impl<'p> Query<'_, 'p> {
    /// Call `visit` with the number of each table that rules name, and the longest prefix in it, as
    /// far as they do not hide that. IPv4 routes with a `tos` do not count; a `throw` route makes
    /// the table have none.
    #[inline(always)]
    pub(crate) fn visit(
        &self,
        cache: &TableCache,
        mut visit: impl FnMut(u32, Longest<'p>),
    ) -> Visited {
        let family = Family::of(self.addr);
        // SAFETY: Reads a variable that is not written after boot.
        if family == Family::V6 && !unsafe { bindings::ipv6_mod_enabled() } {
            return Visited {
                own: false,
                overflow: false,
                stale: false,
            };
        }
        let rules = Rules::of(self.dev, family, self.path);
        let local = (family == Family::V4).then(|| self.local_table(&rules));
        let ((own, overflow), stale) = cache.with(&rules, self.path, |tables| {
            let Some(tables) = tables.all() else {
                return (None, true);
            };
            let mut own = None;
            for table in tables {
                let Some(id) = table.id(self.dev, self.path) else {
                    continue;
                };
                let (longest, is_own) = self.longest(id);
                if local == Some(id) {
                    own = Some(is_own);
                }
                if let Some(longest) = longest {
                    // A rule hides no route that rejects.
                    let hidden = longest.route.is_some_and(|route| {
                        let group = match self.through {
                            Through::Device => self.dev.group(),
                            Through::Any => route.group(),
                        };
                        table.hides(longest.len, group)
                    });
                    if !hidden {
                        visit(id, longest);
                    }
                }
            }
            (own, false)
        });
        Visited {
            own: own.unwrap_or_else(|| self.is_own()),
            overflow,
            stale,
        }
    }

    /// The table that has the IPv4 addresses of the VRF.
    fn local_table(&self, rules: &Rules<'_>) -> u32 {
        // SAFETY: The device is valid, and the packet path is under RCU. Of the rules it matters
        // only whether they are null.
        unsafe { bindings::wgvia_fib4_local_table(self.dev.as_raw(), rules.as_raw()) }
    }

    /// Tell whether the address is the host's own, see [`Visited::own`]. For IPv4 [`Self::visit`]
    /// comes by the answer where a rule names the table that has it.
    pub(crate) fn is_own(&self) -> bool {
        match self.addr {
            IpAddr::V4(addr) => {
                let rules = Rules::of(self.dev, Family::V4, self.path);
                self.longest4(self.local_table(&rules), addr).1
            }
            // SAFETY: Reads a variable that is not written after boot.
            IpAddr::V6(_) if !unsafe { bindings::ipv6_mod_enabled() } => false,
            IpAddr::V6(addr) => {
                let link_local = addr.is_unicast_link_local();
                let addr = addr::to_in6(addr);
                // An address that is not yet known to be the only one (DAD) counts too.
                // SAFETY: The device is valid, and the packet path is under RCU.
                unsafe {
                    let dev = self.dev.as_raw();
                    let net = bindings::dev_net_rcu(dev);
                    bindings::ipv6_chk_addr_and_flags(net, &addr, dev, !link_local, 1, 0) != 0
                }
            }
        }
    }

    /// The longest prefix in a table; and for IPv4 whether the table says that the address is one
    /// of the host.
    #[inline(always)]
    fn longest(&self, table: u32) -> (Option<Longest<'p>>, bool) {
        match (self.addr, self.from) {
            (IpAddr::V4(addr), _) => self.longest4(table, addr),
            (IpAddr::V6(addr), IpAddr::V6(from)) => (self.longest6(table, addr, from), false),
            _ => (None, false),
        }
    }
}
