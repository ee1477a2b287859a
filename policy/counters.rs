// SPDX-License-Identifier: GPL-2.0

//! The counters of a device.

#![deny(unsafe_code)]

use crate::net::{
    bindings as abi,
    packet::Packet,
    percpu::PerCpuCounters, //
};
use kernel::prelude::*;

/// Define the counters, each with its attribute in the generic netlink family.
macro_rules! counters {
    ($($counter:ident = $attr:ident,)*) => {
        /// A counter, by its attribute in the generic netlink family, whose spec says what it
        /// counts.
        #[derive(Clone, Copy)]
        #[repr(u32)]
        pub(crate) enum Counter {
            $($counter = abi::$attr,)*
        }

        impl Counter {
            /// All of them.
            #[cfg(CONFIG_WGVIA_KUNIT_TEST)]
            const ALL: [Self; COUNT] = [$(Self::$counter,)*];

            /// Return its name in the spec, with `_` for `-`.
            pub(crate) fn name(self) -> &'static CStr {
                match self {
                    $(Self::$counter => {
                        const ATTR: &str = stringify!($attr);
                        const NAME: [u8; ATTR.len() + 1 - PREFIX.len()] = name_of(ATTR);
                        const { c_str(&NAME) }
                    })*
                }
            }
        }
    };
}

/// The beginning of the names of the attributes.
const PREFIX: &str = "WGVIA_A_COUNTERS_";

/// Return the name in small letters, with a NUL, that the name of an attribute has behind
/// [`PREFIX`].
const fn name_of<const N: usize>(attr: &str) -> [u8; N] {
    let attr = attr.as_bytes();
    let mut name = [0; N];
    let mut i = 0;
    while i + 1 < N {
        name[i] = attr[PREFIX.len() + i].to_ascii_lowercase();
        i += 1;
    }
    name
}

const fn c_str(name: &[u8]) -> &CStr {
    match CStr::from_bytes_with_nul(name) {
        Ok(name) => name,
        Err(_) => panic!("a NUL in a name"),
    }
}

counters! {
    TxWgPeer = WGVIA_A_COUNTERS_TX_WGPEER,
    TxGateway = WGVIA_A_COUNTERS_TX_GATEWAY,
    TxOnLink = WGVIA_A_COUNTERS_TX_ONLINK,
    TxMulticast = WGVIA_A_COUNTERS_TX_MULTICAST,
    TxDropWgPeer = WGVIA_A_COUNTERS_TX_DROP_WGPEER,
    TxDropGateway = WGVIA_A_COUNTERS_TX_DROP_GATEWAY,
    TxDropOnLink = WGVIA_A_COUNTERS_TX_DROP_ONLINK,
    TxDropNoRoute = WGVIA_A_COUNTERS_TX_DROP_NOROUTE,
    TxDropMulticast = WGVIA_A_COUNTERS_TX_DROP_MULTICAST,
    RxWgPeer = WGVIA_A_COUNTERS_RX_WGPEER,
    RxGateway = WGVIA_A_COUNTERS_RX_GATEWAY,
    RxOnLink = WGVIA_A_COUNTERS_RX_ONLINK,
    RxNeighbour = WGVIA_A_COUNTERS_RX_NEIGHBOUR,
    RxAllowedIps = WGVIA_A_COUNTERS_RX_ALLOWEDIPS,
    RxLoose = WGVIA_A_COUNTERS_RX_LOOSE,
    RxUnfiltered = WGVIA_A_COUNTERS_RX_UNFILTERED,
    RxDropSource = WGVIA_A_COUNTERS_RX_DROP_SOURCE,
    RxDropOwn = WGVIA_A_COUNTERS_RX_DROP_OWN,
    RxDropNoRoute = WGVIA_A_COUNTERS_RX_DROP_NOROUTE,
    RxDropDevice = WGVIA_A_COUNTERS_RX_DROP_DEVICE,
    RxDropPeer = WGVIA_A_COUNTERS_RX_DROP_PEER,
    RxDropTables = WGVIA_A_COUNTERS_RX_DROP_TABLES,
    MulticastCopies = WGVIA_A_COUNTERS_MULTICAST_COPIES,
    MulticastDrops = WGVIA_A_COUNTERS_MULTICAST_DROPS,
}

impl Counter {
    /// Tell whether a route decides about the packets that it counts.
    pub(crate) fn is_of_a_route(self) -> bool {
        use Counter::*;

        !matches!(
            self,
            RxNeighbour | RxAllowedIps | RxUnfiltered | RxDropSource | RxDropOwn | RxDropTables
        )
    }
}

const COUNT: usize = abi::WGVIA_A_COUNTERS_MAX as usize;

/// The counters of a device, in packets.
pub(crate) struct Counters(PerCpuCounters<COUNT>);

impl Counters {
    /// Make counters that are all zero. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(PerCpuCounters::new()?))
    }

    /// Count a packet, or as many as it stands for. Any context.
    pub(crate) fn count(&self, counter: Counter, packet: &Packet<'_>) {
        self.0.count(counter as usize - 1, packet);
    }

    /// Count packets. Any context.
    pub(crate) fn add(&self, counter: Counter, packets: u64) {
        self.0.add(counter as usize - 1, packets);
    }

    /// Iterate over the attribute and value of each counter.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        (0..COUNT).map(|index| (index as u32 + 1, self.0.sum(index)))
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kunit_tests(wgvia_counters)]
mod tests {
    use super::*;
    use Counter::*;

    /// Each is shown as the attribute of its own number, and there is none without a counter.
    #[test]
    fn each_is_its_own_attribute() -> Result {
        let counters = Counters::new()?;
        for (done, counter) in Counter::ALL.into_iter().enumerate() {
            counters.add(counter, 1 << done);
            for (attr, value) in counters.iter() {
                let index = Counter::ALL
                    .iter()
                    .position(|counter| *counter as u32 == attr);
                assert_eq!(
                    value,
                    index
                        .filter(|index| *index <= done)
                        .map_or(0, |index| 1 << index)
                );
                assert!(index.is_some());
            }
        }
        assert_eq!(counters.iter().count(), COUNT);
        Ok(())
    }

    #[test]
    fn names_are_those_of_the_spec() {
        assert!(TxWgPeer.name() == c"tx_wgpeer");
        assert!(RxDropTables.name() == c"rx_drop_tables");
    }

    #[test]
    fn counts_beyond_32_bits() -> Result {
        let counters = Counters::new()?;
        for _ in 0..3 {
            counters.add(RxDropSource, u64::from(u32::MAX));
        }
        let sum = counters
            .iter()
            .find(|(attr, _)| *attr == RxDropSource as u32);
        assert_eq!(sum, Some((RxDropSource as u32, 3 * u64::from(u32::MAX))));
        Ok(())
    }
}
