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

/// Tell whether a reply could go to this address.
pub(crate) fn can_be_replied_to(addr: IpAddr) -> bool {
    let limited_broadcast = matches!(addr, IpAddr::V4(addr) if addr.is_broadcast());
    !(addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() || limited_broadcast)
}

/// Tell whether it is an IPv6 address of link scope (fe80::/10), which other links may have too.
pub(crate) fn is_link_local(addr: IpAddr) -> bool {
    matches!(addr, IpAddr::V6(addr) if addr.is_unicast_link_local())
}

/// Return the prefix of `len` bits that an address is in.
pub(crate) fn prefix(addr: IpAddr, len: u8) -> IpAddr {
    let len = u32::from(len);
    match addr {
        IpAddr::V4(addr) => {
            let mask = !u32::MAX.checked_shr(len).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(addr.to_bits() & mask))
        }
        IpAddr::V6(addr) => {
            let mask = !u128::MAX.checked_shr(len).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & mask))
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kernel::prelude::kunit_tests(wgvia_addr)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_in_network_order() {
        let wire = u32::to_be(0xc000_0201);
        assert_eq!(from_be32(wire), IpAddr::from([192, 0, 2, 1]));
        assert_eq!(to_be32(Ipv4Addr::new(192, 0, 2, 1)), wire);
    }

    #[test]
    fn ipv6_is_in_network_order() {
        let addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0xff00, 0x2);
        let raw = to_in6(addr);
        // SAFETY: Every bit pattern is valid for every member of the union.
        let words = unsafe { raw.in6_u.u6_addr16 };
        assert_eq!(words.map(u16::from_be), addr.segments());
        assert_eq!(from_in6(raw), IpAddr::V6(addr));
    }

    /// A mapped address stays one of IPv6: it is routed as such.
    #[test]
    fn mapped_addresses_stay() {
        let addr = Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped();
        assert_eq!(from_in6(to_in6(addr)), IpAddr::V6(addr));
    }

    fn can(addr: &str) -> bool {
        // No address is misspelt: such a one would be neither.
        addr.parse().map(can_be_replied_to) == Ok(true)
    }

    fn can_not(addr: &str) -> bool {
        addr.parse().map(can_be_replied_to) == Ok(false)
    }

    #[test]
    fn replies_to_ipv4() {
        assert!(can_not("0.0.0.0"));
        assert!(can("0.0.0.1"));
        assert!(can("10.0.0.1"));
        assert!(can("126.255.255.255"));
        assert!(can_not("127.0.0.0"));
        assert!(can_not("127.0.0.1"));
        assert!(can_not("127.255.255.255"));
        assert!(can("128.0.0.0"));
        assert!(can("169.254.0.1"));
        assert!(can("192.168.1.255"));
        assert!(can("223.255.255.255"));
        assert!(can_not("224.0.0.0"));
        assert!(can_not("224.0.0.1"));
        assert!(can_not("239.255.255.255"));
        assert!(can("240.0.0.0"));
        assert!(can("255.255.255.254"));
        assert!(can_not("255.255.255.255"));
    }

    #[test]
    fn replies_to_ipv6() {
        assert!(can_not("::"));
        assert!(can_not("::1"));
        assert!(can("::2"));
        assert!(can("2001:db8::1"));
        assert!(can("fd00::1"));
        assert!(can("fe80::1"));
        assert!(can("feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
        assert!(can_not("ff00::"));
        assert!(can_not("ff02::1"));
        assert!(can_not("ff0e::1"));
        assert!(can_not("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    }
}
