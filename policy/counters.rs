// SPDX-License-Identifier: GPL-2.0

//! The counters of a device.

#![deny(unsafe_code)]

use crate::net::{
    bindings,
    percpu::PerCpuCounters, //
};
use kernel::prelude::*;

/// A counter, by its attribute in the generic netlink family, whose spec says what it counts.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Counter {
    TxWgPeer = bindings::WGVIA_A_COUNTERS_TX_WGPEER,
    TxGateway = bindings::WGVIA_A_COUNTERS_TX_GATEWAY,
    TxOnLink = bindings::WGVIA_A_COUNTERS_TX_ONLINK,
    TxMulticast = bindings::WGVIA_A_COUNTERS_TX_MULTICAST,
    TxDropWgPeer = bindings::WGVIA_A_COUNTERS_TX_DROP_WGPEER,
    TxDropGateway = bindings::WGVIA_A_COUNTERS_TX_DROP_GATEWAY,
    TxDropOnLink = bindings::WGVIA_A_COUNTERS_TX_DROP_ONLINK,
    TxDropNoRoute = bindings::WGVIA_A_COUNTERS_TX_DROP_NOROUTE,
    TxDropMulticast = bindings::WGVIA_A_COUNTERS_TX_DROP_MULTICAST,
    RxWgPeer = bindings::WGVIA_A_COUNTERS_RX_WGPEER,
    RxGateway = bindings::WGVIA_A_COUNTERS_RX_GATEWAY,
    RxOnLink = bindings::WGVIA_A_COUNTERS_RX_ONLINK,
    RxNeighbour = bindings::WGVIA_A_COUNTERS_RX_NEIGHBOUR,
    RxAllowedIps = bindings::WGVIA_A_COUNTERS_RX_ALLOWEDIPS,
    RxLoose = bindings::WGVIA_A_COUNTERS_RX_LOOSE,
    RxUnfiltered = bindings::WGVIA_A_COUNTERS_RX_UNFILTERED,
    RxDropSource = bindings::WGVIA_A_COUNTERS_RX_DROP_SOURCE,
    RxDropOwn = bindings::WGVIA_A_COUNTERS_RX_DROP_OWN,
    RxDropNoRoute = bindings::WGVIA_A_COUNTERS_RX_DROP_NOROUTE,
    RxDropDevice = bindings::WGVIA_A_COUNTERS_RX_DROP_DEVICE,
    RxDropPeer = bindings::WGVIA_A_COUNTERS_RX_DROP_PEER,
    RxDropTables = bindings::WGVIA_A_COUNTERS_RX_DROP_TABLES,
    MulticastCopies = bindings::WGVIA_A_COUNTERS_MULTICAST_COPIES,
    MulticastDrops = bindings::WGVIA_A_COUNTERS_MULTICAST_DROPS,
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

const COUNT: usize = bindings::WGVIA_A_COUNTERS_MAX as usize;

/// The counters of a device, in packets.
pub(crate) struct Counters(PerCpuCounters<COUNT>);

impl Counters {
    /// Make counters that are all zero. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(PerCpuCounters::new()?))
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

    const ALL: [Counter; COUNT] = [
        TxWgPeer,
        TxGateway,
        TxOnLink,
        TxMulticast,
        TxDropWgPeer,
        TxDropGateway,
        TxDropOnLink,
        TxDropNoRoute,
        TxDropMulticast,
        RxWgPeer,
        RxGateway,
        RxOnLink,
        RxNeighbour,
        RxAllowedIps,
        RxLoose,
        RxUnfiltered,
        RxDropSource,
        RxDropOwn,
        RxDropNoRoute,
        RxDropDevice,
        RxDropPeer,
        RxDropTables,
        MulticastCopies,
        MulticastDrops,
    ];

    /// Each is shown as the attribute of its own number, and there is none without a counter.
    #[test]
    fn each_is_its_own_attribute() -> Result {
        let counters = Counters::new()?;
        for (done, counter) in ALL.into_iter().enumerate() {
            counters.add(counter, 1 << done);
            for (attr, value) in counters.iter() {
                let index = ALL.iter().position(|counter| *counter as u32 == attr);
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
