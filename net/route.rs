// SPDX-License-Identifier: GPL-2.0

//! Routes of the FIB, and the nexthops that they have.
//!
//! C headers: [`include/net/ip_fib.h`](srctree/include/net/ip_fib.h),
//! [`include/net/ip6_fib.h`](srctree/include/net/ip6_fib.h)

use super::{
    bindings,
    netdev::NetDevice,
    nexthop::{
        is_advertised,
        Nexthop, //
    },
    packet_path::PacketPath, //
};
use core::{
    marker::PhantomData,
    ptr, //
};

/// The most members of a multipath route or nexthop group that are looked at, of the thousands that
/// there may be.
pub(crate) const MAX_MEMBERS: u32 = 64;

/// The place of a route in the FIB.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of its table.
    pub(crate) table: u32,
    /// The length of its prefix in bits.
    pub(crate) len: u8,
}

impl Place {
    /// Take what C says; [`None`] if it names no table.
    pub(super) fn from_raw(place: bindings::wgvia_place) -> Option<Self> {
        let bindings::wgvia_place { table, len } = place;
        (table != 0).then_some(Self { table, len })
    }
}

/// A route.
///
/// # Invariants
///
/// The target of `cursor` was found in the FIB in the RCU read-side critical section that lasts for
/// `'p`.
#[derive(Clone, Copy)]
pub(crate) struct Route<'p> {
    /// See [`is_advertised`]; such a route has no siblings.
    advertised: bool,
    cursor: Cursor,
    _path: PhantomData<&'p PacketPath>,
}

impl<'p> Route<'p> {
    /// Take an IPv4 route.
    ///
    /// # Safety
    ///
    /// `fi` was found in the FIB in an RCU read-side critical section that lasts for `'p`.
    pub(super) unsafe fn from_fib_info(fi: *mut bindings::fib_info) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            advertised: false,
            cursor: Cursor::FibInfo(fi, 0),
            _path: PhantomData,
        }
    }

    /// Take an IPv6 route, with its siblings.
    ///
    /// # Safety
    ///
    /// `f6i` was found in the FIB in an RCU read-side critical section that lasts for `'p`.
    pub(super) unsafe fn from_fib6_info(f6i: *mut bindings::fib6_info) -> Self {
        // SAFETY: The caller promises that the route was found under RCU, which goes on.
        let (nh, flags) = unsafe { ((*f6i).nh, (&raw const (*f6i).fib6_flags).read_volatile()) };
        // INVARIANT: The caller promises it, and a route keeps its nexthop object.
        Self {
            advertised: is_advertised(flags),
            cursor: if nh.is_null() {
                Cursor::Siblings(f6i, f6i)
            } else {
                Cursor::Object(nh, 0)
            },
            _path: PhantomData,
        }
    }

    /// Read a nexthop that a lookup chose among those of the route.
    ///
    /// # Safety
    ///
    /// `nhc` was found in the FIB in an RCU read-side critical section that lasts for `'p`.
    pub(super) unsafe fn nexthop(&self, nhc: *const bindings::fib_nh_common) -> Nexthop<'p> {
        // SAFETY: The caller promises that the nexthop was found under RCU, which goes on for `'p`.
        unsafe { Nexthop::from_fib(nhc, self.advertised) }
    }

    /// Return its first nexthop.
    #[cfg(CONFIG_WGVIA_STOCK)]
    pub(super) fn first(&self) -> Option<Nexthop<'p>> {
        let mut cursor = self.cursor;
        // SAFETY: By the type invariants the route was found under RCU, which goes on for `'p`.
        unsafe {
            let nhc = cursor.next();
            (!nhc.is_null()).then(|| Nexthop::from_fib(nhc, self.advertised))
        }
    }

    /// Return the group of the device of its first nexthop; -1 if there is none.
    pub(super) fn group(&self) -> i32 {
        let mut cursor = self.cursor;
        // SAFETY: By the type invariants; a nexthop keeps its device, and a racy read of the group
        // is one of the values that it has had.
        unsafe {
            let nhc = cursor.next();
            if nhc.is_null() || (*nhc).nhc_dev.is_null() {
                return -1;
            }
            (&raw const (*(*nhc).nhc_dev).group).read_volatile()
        }
    }

    /// Iterate over its nexthops on `dev`, among the first [`MAX_MEMBERS`] members of a multipath
    /// route or nexthop group.
    pub(crate) fn nexthops_on(&self, dev: &NetDevice) -> NexthopsOn<'p> {
        // INVARIANT: That of the route.
        NexthopsOn {
            dev: dev.as_raw(),
            advertised: self.advertised,
            cursor: self.cursor,
            left: MAX_MEMBERS,
            _path: PhantomData,
        }
    }
}

/// The place where an iteration over the nexthops of a route is.
///
/// # Invariants
///
/// The pointers were valid when they were put here; [`Route`] says for how long they are. The last
/// one of [`Self::Siblings`] is null at the end.
#[derive(Clone, Copy)]
enum Cursor {
    /// IPv4; the nexthops may be those of a nexthop object.
    FibInfo(*mut bindings::fib_info, u32),
    /// IPv6, with a nexthop object.
    Object(*mut bindings::nexthop, u32),
    /// IPv6: the first of the sibling routes, and the one whose turn it is.
    Siblings(*mut bindings::fib6_info, *mut bindings::fib6_info),
}

impl Cursor {
    /// The next nexthop, or null at the end.
    ///
    /// # Safety
    ///
    /// The route that this was made of was found in the FIB in an RCU read-side critical section
    /// that goes on.
    unsafe fn next(&mut self) -> *const bindings::fib_nh_common {
        match self {
            // SAFETY: The caller promises that RCU goes on, which keeps the route; an index too
            // high gives null.
            Self::FibInfo(fi, index) => unsafe {
                *index += 1;
                bindings::wgvia_fib_info_nhc(*fi, *index - 1)
            },
            // SAFETY: The caller promises that RCU goes on, which keeps the nexthop object; an
            // index too high gives null, as after its group has lost a member.
            Self::Object(nh, index) => unsafe {
                *index += 1;
                bindings::wgvia_nexthop_nhc(*nh, *index - 1)
            },
            Self::Siblings(first, turn) => {
                let f6i = *turn;
                if f6i.is_null() {
                    return ptr::null();
                }
                // SAFETY: The caller promises that the route is valid and RCU goes on; siblings
                // have no nexthop object.
                // INVARIANT: So what is found next is valid too, or null.
                unsafe {
                    *turn = bindings::wgvia_fib6_next_sibling(*first, f6i);
                    bindings::wgvia_fib6_nhc(f6i)
                }
            }
        }
    }
}

/// The nexthops of a route that are on a device.
///
/// # Invariants
///
/// Those of [`Route`].
pub(crate) struct NexthopsOn<'p> {
    dev: *mut bindings::net_device,
    advertised: bool,
    cursor: Cursor,
    /// The number of members that are still looked at.
    left: u32,
    _path: PhantomData<&'p PacketPath>,
}

impl NexthopsOn<'_> {
    /// Tell whether there were more members than are looked at.
    pub(crate) fn is_cut_off(&mut self) -> bool {
        // SAFETY: By the type invariants the route was found under RCU, which goes on.
        self.left == 0 && !unsafe { self.cursor.next() }.is_null()
    }
}

impl<'p> Iterator for NexthopsOn<'p> {
    type Item = Nexthop<'p>;

    fn next(&mut self) -> Option<Nexthop<'p>> {
        loop {
            self.left = self.left.checked_sub(1)?;
            // SAFETY: By the type invariants the route was found under RCU, which goes on.
            let nhc = unsafe { self.cursor.next() };
            if nhc.is_null() {
                return None;
            }
            // SAFETY: By the type invariants, what `next` finds is valid for `'p`.
            if unsafe { (*nhc).nhc_dev } == self.dev {
                // SAFETY: It was found under RCU, which goes on for `'p`.
                return Some(unsafe { Nexthop::from_fib(nhc, self.advertised) });
            }
        }
    }
}
