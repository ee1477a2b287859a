// SPDX-License-Identifier: GPL-2.0

//! IP addresses between the kernel's C types and [`core::net`].

use super::bindings;
use core::net::{
    IpAddr,
    Ipv4Addr,
    Ipv6Addr, //
};

/// An IPv4 address in network byte order, as the kernel holds it, to an [`IpAddr`].
pub(super) fn from_be32(addr: bindings::__be32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(addr.to_ne_bytes()))
}

/// The reverse of [`from_be32`].
pub(super) fn to_be32(addr: Ipv4Addr) -> bindings::__be32 {
    bindings::__be32::from_ne_bytes(addr.octets())
}

/// A `struct in6_addr` to an [`IpAddr`].
pub(super) fn from_in6(addr: bindings::in6_addr) -> IpAddr {
    // SAFETY: Every bit pattern is valid for every member of the union.
    IpAddr::V6(Ipv6Addr::from(unsafe { addr.in6_u.u6_addr8 }))
}

/// The reverse of [`from_in6`].
pub(super) fn to_in6(addr: Ipv6Addr) -> bindings::in6_addr {
    bindings::in6_addr {
        in6_u: bindings::in6_addr__bindgen_ty_1 {
            u6_addr8: addr.octets(),
        },
    }
}
