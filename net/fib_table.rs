// SPDX-License-Identifier: GPL-2.0

//! The longest prefix for an address in each table, whatever rule leads there.
//!
//! C headers: [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h),
//! [`include/net/ip6_fib.h`](srctree/include/net/ip6_fib.h)

use super::{
    addr, bindings,
    fib_rules::{
        vrf_table,
        Family,
        TableCache, //
    },
    netdev::NetDevice,
    nexthop::is_advertised,
    packet::PacketPath,
    route::{
        Route, //
        MAX_MEMBERS,
    },
};
use core::{
    net::{
        IpAddr,
        Ipv4Addr,
        Ipv6Addr, //
    },
    ptr, //
};

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
    /// Its unicast route; [`None`] if it rejects, or is of another type (with [`Through::Any`]).
    pub(crate) route: Option<Route<'p>>,
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
    /// Is the address one that is configured on a device in the VRF of the device (outside of all
    /// VRFs if it is in none; if it is link-local, on the device), or a subnet broadcast address of
    /// the device?
    pub(crate) own: bool,
    /// Do the rules name too many tables? Then none was looked up.
    pub(crate) overflow: bool,
    /// Is [`TableCache::refresh`] due?
    pub(crate) stale: bool,
}

impl<'p> Query<'_, 'p> {
    /// Call `visit` with the longest prefix of each table that rules name, as far as they do not hide
    /// it. IPv4 routes with a `tos` do not count; a `throw` route makes the table have none.
    pub(crate) fn visit(&self, cache: &TableCache, mut visit: impl FnMut(Longest<'p>)) -> Visited {
        let family = Family::of(self.addr);
        // SAFETY: Reads a variable that is not written after boot.
        if family == Family::V6 && !unsafe { bindings::ipv6_mod_enabled() } {
            return Visited {
                own: false,
                overflow: false,
                stale: false,
            };
        }
        let local = (family == Family::V4).then(|| self.local_table());
        let ((own, overflow), stale) = cache.with(self.dev, family, self.path, |tables| {
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
                        visit(longest);
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

    /// The table that has the addresses of the VRF. Without rules of its own a namespace has those of
    /// local in the trie of main.
    fn local_table(&self) -> u32 {
        vrf_table(self.dev, self.path).unwrap_or_else(|| {
            // SAFETY: The device is valid, and the packet path is under RCU.
            if unsafe { bindings::wgvia_fib4_rules(self.dev.as_raw()) }.is_null() {
                bindings::rt_class_t_RT_TABLE_MAIN
            } else {
                bindings::rt_class_t_RT_TABLE_LOCAL
            }
        })
    }

    /// Tell whether the address is the host's own, see [`Visited::own`]. For IPv4 [`Self::visit`] comes
    /// by the answer where a rule names the table that has it.
    pub(crate) fn is_own(&self) -> bool {
        match self.addr {
            IpAddr::V4(addr) => self.longest4(self.local_table(), addr).1,
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

    /// The longest prefix in a table; and for IPv4 whether the table says that the address is one of
    /// the host.
    fn longest(&self, table: u32) -> (Option<Longest<'p>>, bool) {
        match (self.addr, self.from) {
            (IpAddr::V4(addr), _) => self.longest4(table, addr),
            (IpAddr::V6(addr), IpAddr::V6(from)) => (self.longest6(table, addr, from), false),
            _ => (None, false),
        }
    }

    fn longest4(&self, table: u32, addr: Ipv4Addr) -> (Option<Longest<'p>>, bool) {
        // SAFETY: The device is valid, and the packet path is under RCU.
        let table = unsafe { bindings::wgvia_fib4_table(self.dev.as_raw(), table) };
        if table.is_null() {
            return (None, false);
        }
        let dev = self.dev.as_raw();
        // Mostly what is found by any device is on the device, or local. So ask for that first.
        // SAFETY: The table is valid under RCU.
        let any = match unsafe { lookup4(table, addr, 0) } {
            Ok(any) => any,
            Err(longest) => return (longest, false),
        };
        // SAFETY: Found under RCU just above.
        let (on_dev, own) = unsafe { ((*any.nhc).nhc_dev == dev, self.is_own4(&any)) };
        if self.through == Through::Any || is_unicast4(&any) && on_dev {
            // SAFETY: Found under RCU just above.
            return (Some(unsafe { longest_of4(&any) }), own);
        }
        // SAFETY: The table is valid under RCU; what it finds is found under RCU.
        unsafe {
            match lookup4(table, addr, self.dev.ifindex()) {
                // An address of the device itself, which hides shorter prefixes.
                Ok(host) if host.prefixlen == 32 && !is_unicast4(&host) => {
                    (self.behind4(table, addr), own || self.is_own4(&host))
                }
                // A shorter prefix of another type on the device, as AnyIP has it, is the host's.
                Ok(bound) => (Some(longest_of4(&bound)), own),
                Err(longest) => (longest, own),
            }
        }
    }

    /// The longest prefix on the device that is shorter than /32.
    ///
    /// An address that differs in one bit has the same prefixes up to this bit.
    ///
    /// # Safety
    ///
    /// `table` is valid, and an RCU read-side critical section goes on.
    unsafe fn behind4(
        &self,
        table: *mut bindings::fib_table,
        addr: Ipv4Addr,
    ) -> Option<Longest<'p>> {
        for bit in 0..32_u8 {
            let other = Ipv4Addr::from_bits(addr.to_bits() ^ 1 << bit);
            // SAFETY: The caller promises it; what it finds is found under RCU.
            let longest = unsafe {
                match lookup4(table, other, self.dev.ifindex()) {
                    Ok(bound) => Some(longest_of4(&bound)),
                    Err(longest) => longest,
                }
            }?;
            if longest.len <= 31 - bit {
                return Some(longest);
            }
        }
        None
    }

    /// Tell whether this is what the kernel makes of an address of the host, or of a subnet of the
    /// device; and not a route of type local by hand (AnyIP).
    ///
    /// # Safety
    ///
    /// `result` was found under RCU, which goes on.
    unsafe fn is_own4(&self, result: &bindings::fib_result) -> bool {
        // SAFETY: The caller promises it.
        let (on_dev, is_kernels) = unsafe {
            (
                (*result.nhc).nhc_dev == self.dev.as_raw(),
                u32::from((*result.fi).fib_protocol) == bindings::RTPROT_KERNEL,
            )
        };
        let kind = u32::from(result.type_);
        is_kernels
            && result.prefixlen == 32
            && (kind == bindings::RTN_LOCAL || kind == bindings::RTN_BROADCAST && on_dev)
    }

    fn longest6(&self, table: u32, addr: Ipv6Addr, from: Ipv6Addr) -> Option<Longest<'p>> {
        // SAFETY: The device is valid, and the packet path is under RCU. What is found from the
        // table's root by RCU-protected pointers is valid as long as that goes on.
        unsafe {
            let net = bindings::dev_net_rcu(self.dev.as_raw());
            let table = bindings::fib6_get_table(net, table);
            if table.is_null() {
                return None;
            }
            let nothing = bindings::wgvia_fib6_null_entry(net);
            let root = &raw const (*table).tb6_root;
            walk6(root, Key6::Destination, addr, |node| {
                let subtree = bindings::wgvia_fib6_subtree(node);
                // The routes with a source prefix are more specific than the one without.
                let specific = (!subtree.is_null())
                    .then(|| {
                        walk6(subtree, Key6::Source, from, |node| {
                            self.leaf6(node, nothing)
                        })
                    })
                    .flatten();
                specific.or_else(|| self.leaf6(node, nothing))
            })
            .flatten()
        }
    }

    /// The first route of a node that counts, [`None`] if there is none: then a shorter prefix is
    /// asked for. `Some(None)` says that the table has nothing (throw).
    ///
    /// # Safety
    ///
    /// `node` was found in a table under RCU, which goes on for `'p`.
    unsafe fn leaf6(
        &self,
        node: *const bindings::fib6_node,
        nothing: *const bindings::fib6_info,
    ) -> Option<Option<Longest<'p>>> {
        // SAFETY: The caller promises it, and the same holds for the routes of a node.
        unsafe {
            let flags = (&raw const (*node).fn_flags).read_volatile();
            if u32::from(flags) & bindings::RTN_RTINFO == 0 {
                return None;
            }
            let first = (&raw const (*node).leaf).read_volatile();
            let mut f6i = first;
            // In the order of their metrics
            for _ in 0..MAX_MEMBERS {
                if f6i.is_null() {
                    return None;
                }
                if let Some(found) = self.route6(f6i, nothing) {
                    return Some(found);
                }
                f6i = (&raw const (*f6i).fib6_next).read_volatile();
            }
            // There are more than are looked at: who asks finds none that leads anywhere.
            (!f6i.is_null()).then(|| {
                Some(Longest {
                    len: (*first).fib6_dst.plen as u8,
                    route: Some(Route::from_fib6_info(first)),
                })
            })
        }
    }

    /// As [`Self::leaf6`], for one route.
    ///
    /// # Safety
    ///
    /// `f6i` was found in a table under RCU, which goes on for `'p`.
    unsafe fn route6(
        &self,
        f6i: *mut bindings::fib6_info,
        nothing: *const bindings::fib6_info,
    ) -> Option<Option<Longest<'p>>> {
        // SAFETY: The caller promises it; nothing that is read of a route changes, except for
        // flags that do not matter here.
        unsafe {
            if f6i.cast_const() == nothing || bindings::fib6_check_expired(f6i) {
                return None;
            }
            let len = (*f6i).fib6_dst.plen as u8;
            let flags = (&raw const (*f6i).fib6_flags).read_volatile();
            let is_object = !(*f6i).nh.is_null();
            let rejects = flags & bindings::RTF_REJECT != 0
                || is_object && bindings::nexthop_is_blackhole((*f6i).nh);
            if rejects && u32::from((*f6i).fib6_type) == bindings::RTN_THROW {
                return Some(None);
            }
            let unicast = u32::from((*f6i).fib6_type) == bindings::RTN_UNICAST
                && flags & (bindings::RTF_LOCAL | bindings::RTF_ANYCAST) == 0;
            let route = Route::from_fib6_info(f6i);
            // A sibling has a turn of its own.
            let on_dev = if is_object {
                route.nexthops_on(self.dev).next().is_some()
            } else {
                let nhc = bindings::wgvia_fib6_nhc(f6i);
                let nhc_flags = (&raw const (*nhc).nhc_flags).read_volatile();
                (*nhc).nhc_dev == self.dev.as_raw()
                    && u32::from(nhc_flags) & bindings::RTNH_F_DEAD == 0
            };
            // A peer can write it, so it counts for nothing.
            if on_dev && is_advertised(flags) {
                return None;
            }
            let counts = rejects
                || match self.through {
                    Through::Any => true,
                    Through::Device => unicast && on_dev,
                };
            counts.then_some(Some(Longest {
                len,
                route: (unicast && !rejects).then_some(route),
            }))
        }
    }
}

/// Look an address up in a table, by the device of an index or, if it is 0, by any; fails with what
/// there is to say where no route is found.
///
/// # Safety
///
/// `table` is valid, and an RCU read-side critical section goes on.
unsafe fn lookup4<'p>(
    table: *mut bindings::fib_table,
    addr: Ipv4Addr,
    oif: u32,
) -> Result<bindings::fib_result, Option<Longest<'p>>> {
    let mut flow = bindings::flowi4 {
        daddr: addr::to_be32(addr),
        ..Default::default()
    };
    flow.__fl_common.flowic_oif = oif as i32;
    let mut result = bindings::fib_result {
        // Where the kernel does not say which prefix rejects, it is taken for the longest.
        prefixlen: 32,
        ..Default::default()
    };
    // SAFETY: The caller promises it.
    let err = unsafe {
        bindings::fib_table_lookup(table, &flow, &mut result, bindings::FIB_LOOKUP_NOREF as i32)
    };
    match err {
        0 => Ok(result),
        // Nothing found, or throw
        _ if err == kernel::error::code::EAGAIN.to_errno() => Err(None),
        _ => Err(Some(Longest {
            len: result.prefixlen,
            route: None,
        })),
    }
}

fn is_unicast4(result: &bindings::fib_result) -> bool {
    u32::from(result.type_) == bindings::RTN_UNICAST
}

/// # Safety
///
/// `result` was found under RCU, which goes on for `'p`.
unsafe fn longest_of4<'p>(result: &bindings::fib_result) -> Longest<'p> {
    // SAFETY: The caller promises it.
    let route = unsafe { Route::from_fib_info(result.fi) };
    Longest {
        len: result.prefixlen,
        route: is_unicast4(result).then_some(route),
    }
}

/// Which of a route's prefixes a tree is sorted by.
#[derive(Clone, Copy)]
enum Key6 {
    Destination,
    Source,
}

/// Walk the nodes of a tree that may have a prefix of `addr`, from the longest to the shortest, until
/// `visit` returns something: as fib6_node_lookup() and fib6_backtrack() do.
///
/// # Safety
///
/// `root` is the root of a tree or subtree of a table, and an RCU read-side critical section goes on.
unsafe fn walk6<R>(
    root: *const bindings::fib6_node,
    key: Key6,
    addr: Ipv6Addr,
    mut visit: impl FnMut(*const bindings::fib6_node) -> Option<R>,
) -> Option<R> {
    let bits = u128::from(addr);
    // SAFETY: The caller promises it, and the pointers of a node lead to others that are valid as
    // long as RCU goes on, or are null. What is read beside them changes only where a stale answer
    // is the one of a moment before.
    unsafe {
        let mut node = root;
        loop {
            let bit = u32::from((*node).fn_bit);
            let Some(shift) = 127_u32.checked_sub(bit) else {
                break;
            };
            let next = if bits >> shift & 1 != 0 {
                (&raw const (*node).right).read_volatile()
            } else {
                (&raw const (*node).left).read_volatile()
            };
            if next.is_null() {
                break;
            }
            node = next;
        }
        loop {
            let leaf = (&raw const (*node).leaf).read_volatile();
            if !leaf.is_null() {
                let prefix = match key {
                    Key6::Destination => (*leaf).fib6_dst,
                    Key6::Source => (*leaf).fib6_src,
                };
                if covers6(prefix, bits) {
                    if let Some(found) = visit(node) {
                        return Some(found);
                    }
                }
            }
            let flags = (&raw const (*node).fn_flags).read_volatile();
            if u32::from(flags) & bindings::RTN_ROOT != 0 {
                return None;
            }
            let parent = (&raw const (*node).parent).read_volatile();
            if ptr::eq(parent, node) || parent.is_null() {
                return None;
            }
            node = parent;
        }
    }
}

fn covers6(prefix: bindings::rt6key, bits: u128) -> bool {
    let IpAddr::V6(addr) = addr::from_in6(prefix.addr) else {
        return false;
    };
    let len = u32::try_from(prefix.plen).unwrap_or(u32::MAX);
    match 128_u32.checked_sub(len) {
        Some(128) => true,
        Some(host) => (u128::from(addr) ^ bits) >> host == 0,
        None => false,
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(wgvia_fib_table)]
mod tests {
    use super::*;

    fn covers(prefix: &str, plen: i32, addr: &str) -> bool {
        let (Ok(prefix), Ok(addr)) = (prefix.parse(), addr.parse::<Ipv6Addr>()) else {
            return false;
        };
        let prefix = bindings::rt6key {
            addr: addr::to_in6(prefix),
            plen,
        };
        covers6(prefix, addr.into())
    }

    #[test]
    fn prefixes_of_ipv6() {
        assert!(covers("::", 0, "2001:db8::1"));
        assert!(covers("2001:db8::", 32, "2001:db8::1"));
        assert!(!covers("2001:db8::", 32, "2001:db9::1"));
        assert!(covers("fd00::2", 127, "fd00::3"));
        assert!(!covers("fd00::2", 128, "fd00::3"));
        assert!(covers("fd00::3", 128, "fd00::3"));
        assert!(!covers("::", 129, "::"));
        assert!(!covers("::", -1, "::"));
    }
}
