// SPDX-License-Identifier: GPL-2.0

//! Tables of IPv4.
//!
//! C header: [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h)

use super::{
    Longest,
    Query,
    Through, //
};
use crate::net::{
    addr,
    bindings,
    route::Route, //
};
use core::net::Ipv4Addr;

impl<'p> Query<'_, 'p> {
    /// The longest prefix in a table, and whether the table says that the address is one of the
    /// host.
    #[inline(always)]
    pub(super) fn longest4(&self, table: u32, addr: Ipv4Addr) -> (Option<Longest<'p>>, bool) {
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
            Err(rejected) => return (rejected.longest(), false),
        };
        // SAFETY: `any` was found just above, under RCU, which keeps its nexthop and its route.
        let (on_dev, own) = unsafe { ((*any.nhc).nhc_dev == dev, self.is_own4(&any)) };
        if self.through == Through::Any || is_unicast4(&any) && on_dev {
            // SAFETY: `any` was found above, under RCU, which goes on for `'p`.
            return (Some(unsafe { longest_of4(&any) }), own);
        }
        // SAFETY: The table is valid under RCU; what it finds is found under RCU.
        unsafe {
            match lookup4(table, addr, self.dev.ifindex()) {
                // Of the device itself: its address, or AnyIP. Shorter prefixes are behind it.
                Ok(host) if !is_unicast4(&host) => (
                    self.behind4(table, addr, host.prefixlen),
                    own || self.is_own4(&host),
                ),
                Ok(bound) => (Some(longest_of4(&bound)), own),
                Err(rejected) => (rejected.longest(), own),
            }
        }
    }

    /// The longest prefix on the device that is shorter than `len`.
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
        len: u8,
    ) -> Option<Longest<'p>> {
        let mut bit = 32_u8.saturating_sub(len);
        while bit < 32 {
            let other = Ipv4Addr::from_bits(addr.to_bits() ^ 1 << bit);
            // SAFETY: The caller promises that the table is valid and that RCU goes on, which keeps
            // what is found.
            let longest = unsafe {
                match lookup4(table, other, self.dev.ifindex()) {
                    // AnyIP around AnyIP: what counts is behind that too.
                    Ok(host) if !is_unicast4(&host) && host.prefixlen <= 31 - bit => {
                        bit = 32 - host.prefixlen;
                        continue;
                    }
                    Ok(bound) => Some(longest_of4(&bound)),
                    Err(Rejected::Throw(len)) if len > 31 - bit => None,
                    Err(rejected) => Some(rejected.longest()?),
                }
            };
            match longest {
                Some(longest) if longest.len <= 31 - bit => return Some(longest),
                // A prefix of the other address alone
                _ => bit += 1,
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
        // SAFETY: The caller promises that RCU goes on, which keeps the nexthop and the route of a
        // result.
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
}

/// The answer of a table that has no route.
enum Rejected {
    /// Nothing, or on a kernel without the patches that a route says `throw`.
    Nothing,
    /// That a prefix of this length says `throw`: the table has nothing.
    Throw(u8),
    /// That a prefix of this length rejects.
    Prefix(u8),
}

impl Rejected {
    fn longest<'p>(self) -> Option<Longest<'p>> {
        match self {
            Self::Nothing | Self::Throw(_) => None,
            Self::Prefix(len) => Some(Longest {
                len,
                route: None,
                is_cut_off: false,
            }),
        }
    }
}

/// Look an address up in a table, by the device of an index or, if it is 0, by any.
///
/// # Safety
///
/// `table` is valid, and an RCU read-side critical section goes on.
unsafe fn lookup4(
    table: *mut bindings::fib_table,
    addr: Ipv4Addr,
    oif: u32,
) -> Result<bindings::fib_result, Rejected> {
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
    // SAFETY: The caller promises that the table is valid, and that RCU goes on, by which no
    // reference has to be taken.
    let err = unsafe {
        bindings::fib_table_lookup(table, &flow, &mut result, bindings::FIB_LOOKUP_NOREF as i32)
    };
    let len = result.prefixlen;
    match err {
        0 => Ok(result),
        _ if err != kernel::error::code::EAGAIN.to_errno() => Err(Rejected::Prefix(len)),
        _ if u32::from(result.type_) == bindings::RTN_THROW => Err(Rejected::Throw(len)),
        _ => Err(Rejected::Nothing),
    }
}

fn is_unicast4(result: &bindings::fib_result) -> bool {
    u32::from(result.type_) == bindings::RTN_UNICAST
}

/// Take what a lookup found.
///
/// # Safety
///
/// `result` was found under RCU, which goes on for `'p`.
unsafe fn longest_of4<'p>(result: &bindings::fib_result) -> Longest<'p> {
    // SAFETY: The caller promises that the route was found under RCU, which goes on for `'p`.
    let route = unsafe { Route::from_fib_info(result.fi) };
    Longest {
        len: result.prefixlen,
        route: is_unicast4(result).then_some(route),
        is_cut_off: false,
    }
}
