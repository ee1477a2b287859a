// SPDX-License-Identifier: GPL-2.0

//! Tables of IPv6.
//!
//! C header: [`include/net/ip6_fib.h`](srctree/include/net/ip6_fib.h)

use super::{
    Longest,
    Query,
    Through, //
};
use crate::net::{
    addr,
    bindings,
    nexthop::is_advertised,
    route::{
        Route,
        MAX_MEMBERS, //
    }, //
};
use core::{
    net::{
        IpAddr,
        Ipv6Addr, //
    },
    ptr, //
};

impl<'p> Query<'_, 'p> {
    /// The longest prefix in a table.
    #[inline(always)]
    pub(super) fn longest6(
        &self,
        table: u32,
        addr: Ipv6Addr,
        from: Ipv6Addr,
    ) -> Option<Longest<'p>> {
        // SAFETY: The device is valid, and the packet path is under RCU. What is found from the
        // table's root by RCU-protected pointers is valid as long as that goes on.
        unsafe {
            let mut nothing = ptr::null();
            let root = bindings::wgvia_fib6_root(self.dev.as_raw(), table, &mut nothing);
            if root.is_null() {
                return None;
            }
            walk6(root, Key6::Destination, addr, |node| {
                let subtree = subtree6(node);
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
    #[inline(always)]
    unsafe fn leaf6(
        &self,
        node: *const bindings::fib6_node,
        nothing: *const bindings::fib6_info,
    ) -> Option<Option<Longest<'p>>> {
        // SAFETY: The caller promises that RCU goes on, which keeps the node and the routes that it
        // leads to.
        unsafe {
            let flags = (&raw const (*node).fn_flags).read_volatile();
            if u32::from(flags) & bindings::RTN_RTINFO == 0 {
                return None;
            }
            let first = (&raw const (*node).leaf).read_volatile();
            if first.is_null() || !is_of_node(node, first) {
                return None;
            }
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
            (!f6i.is_null()).then(|| {
                Some(Longest {
                    len: (*first).fib6_dst.plen as u8,
                    route: None,
                    is_cut_off: true,
                })
            })
        }
    }

    /// As [`Self::leaf6`], for one route.
    ///
    /// # Safety
    ///
    /// `f6i` was found in a table under RCU, which goes on for `'p`.
    #[inline(always)]
    unsafe fn route6(
        &self,
        f6i: *mut bindings::fib6_info,
        nothing: *const bindings::fib6_info,
    ) -> Option<Option<Longest<'p>>> {
        // SAFETY: The caller promises that RCU goes on, which keeps the route and its nexthops.
        // Nothing that is read of a route changes, except for flags that do not matter here and
        // the time when it expires.
        unsafe {
            let flags = (&raw const (*f6i).fib6_flags).read_volatile();
            if f6i.cast_const() == nothing
                || flags & bindings::RTF_EXPIRES != 0 && bindings::fib6_check_expired(f6i)
            {
                return None;
            }
            let len = (*f6i).fib6_dst.plen as u8;
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
                let mut nexthops = route.nexthops_on(self.dev);
                // One that is not looked at may be on it.
                nexthops.next().is_some() || nexthops.is_cut_off()
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
                is_cut_off: false,
            }))
        }
    }
}

/// Tell whether a route that a node leads to is one of the node's own. When its last one goes, the
/// node may get that of a longer prefix to lead to (`fib6_repair_tree()`), and who has read its
/// flags before would take that for its own: `rt6_select()` asks the same.
///
/// # Safety
///
/// Both were found in a table under RCU, which goes on.
unsafe fn is_of_node(node: *const bindings::fib6_node, f6i: *const bindings::fib6_info) -> bool {
    // SAFETY: The caller promises that RCU goes on, which keeps both; nothing of this changes.
    let (bit, destination, source) = unsafe {
        (
            i32::from((*node).fn_bit),
            (*f6i).fib6_dst.plen,
            (*f6i).fib6_src.plen,
        )
    };
    bit == if source == 0 { destination } else { source }
}

/// The tree of the routes of a node that have a source prefix; null if there is none.
///
/// # Safety
///
/// `node` was found in a table under RCU, which goes on.
unsafe fn subtree6(node: *const bindings::fib6_node) -> *const bindings::fib6_node {
    #[cfg(CONFIG_IPV6_SUBTREES)]
    // SAFETY: The caller promises that RCU goes on, which keeps the node.
    return unsafe { (&raw const (*node).subtree).read_volatile() };
    #[cfg(not(CONFIG_IPV6_SUBTREES))]
    {
        let _ = node;
        ptr::null()
    }
}

/// The prefix of a route that a tree is sorted by.
#[derive(Clone, Copy)]
enum Key6 {
    Destination,
    Source,
}

/// Walk the nodes of a tree that may have a prefix of `addr`, from the longest to the shortest,
/// until `visit` returns something: as fib6_node_lookup() and fib6_backtrack() do.
///
/// # Safety
///
/// `root` is the root of a tree or subtree of a table, and an RCU read-side critical section goes
/// on.
unsafe fn walk6<R>(
    root: *const bindings::fib6_node,
    key: Key6,
    addr: Ipv6Addr,
    mut visit: impl FnMut(*const bindings::fib6_node) -> Option<R>,
) -> Option<R> {
    let bits = u128::from(addr);
    // SAFETY: The caller promises that the root is valid, and the pointers of a node lead to others
    // that are valid as long as RCU goes on, or are null. What is read beside them changes only
    // where a stale answer is the one of a moment before.
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
            let flags = u32::from((&raw const (*node).fn_flags).read_volatile());
            let leaf = (&raw const (*node).leaf).read_volatile();
            // A node without routes or a subtree may have a leaf too, that of a longer prefix:
            // there is nothing to visit, and its cache line is left alone.
            let has_routes = flags & bindings::RTN_RTINFO != 0 || !subtree6(node).is_null();
            if has_routes && !leaf.is_null() {
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
            if flags & bindings::RTN_ROOT != 0 {
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
    fn leaves_of_ipv6() {
        let is_of_node = |bit, destination, source| {
            let node = bindings::fib6_node {
                fn_bit: bit,
                ..Default::default()
            };
            let mut f6i = bindings::fib6_info::default();
            f6i.fib6_dst.plen = destination;
            f6i.fib6_src.plen = source;
            // SAFETY: Nobody else has them.
            unsafe { super::is_of_node(&node, &f6i) }
        };
        assert!(is_of_node(0, 0, 0));
        assert!(is_of_node(32, 32, 0));
        // That of a longer prefix
        assert!(!is_of_node(32, 48, 0));
        assert!(!is_of_node(0, 48, 0));
        // In the subtree of a prefix
        assert!(is_of_node(64, 32, 64));
        assert!(!is_of_node(64, 64, 96));
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
