// SPDX-License-Identifier: GPL-2.0

//! The slots of peers, by the peers in them, for the packet path.

#![deny(unsafe_code)]

use crate::net::wireguard::PeerId;
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
};

/// A hash table of the numbers of slots, with open addressing. Packets read it while one in process
/// context, under a lock, adds to it. Nothing is taken out: a slot says for itself who is in it.
pub(super) struct Numbers {
    /// A number plus one, or 0. There are always some that are 0, so that a search ends.
    places: KVVec<Atomic<u32>>,
}

impl Numbers {
    /// Make a table that has room for `peers`. Process context. Fails with `ENOMEM`.
    pub(super) fn new(peers: usize) -> Result<Self> {
        let len = (2 * peers).next_power_of_two();
        let mut places = KVVec::with_capacity(len, GFP_KERNEL)?;
        for _ in 0..len {
            places
                .push_within_capacity(Atomic::new(0))
                .map_err(|_| ENOMEM)?;
        }
        Ok(Self { places })
    }

    /// Return how many peers it has room for.
    pub(super) fn room(&self) -> usize {
        self.places.len() / 2
    }

    fn places(&self, peer: PeerId) -> impl Iterator<Item = &Atomic<u32>> {
        let mask = self.places.len().wrapping_sub(1);
        let start = peer.hash();
        (0..self.places.len()).filter_map(move |i| self.places.get(start.wrapping_add(i) & mask))
    }

    /// Add the number of the slot that a peer is in; the caller sees to it that there is room.
    pub(super) fn add(&self, peer: PeerId, number: usize) {
        let place = self.places(peer).find(|place| place.load(Relaxed) == 0);
        if let (Some(place), Ok(number)) = (place, u32::try_from(number + 1)) {
            place.store(number, Release);
        }
    }

    /// Return the number of the slot for which `is_in` says that the peer is in it.
    pub(super) fn find(&self, peer: PeerId, is_in: impl Fn(usize) -> bool) -> Option<usize> {
        for place in self.places(peer) {
            let number = place.load(Acquire).checked_sub(1)? as usize;
            if is_in(number) {
                return Some(number);
            }
        }
        None
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kunit_tests(wgvia_numbers)]
mod tests {
    use super::*;

    #[test]
    fn finds_all_and_no_others() -> Result {
        let numbers = Numbers::new(100)?;
        assert!(numbers.room() >= 100);
        let peer = |number: usize| PeerId::new(0x1000 * (number % 50));
        // Two each that are taken for one: the slot tells which it is.
        for number in 0..100 {
            numbers.add(peer(number), number);
        }
        for number in 0..100 {
            assert_eq!(numbers.find(peer(number), |n| n == number), Some(number));
            assert_eq!(numbers.find(peer(number), |_| false), None);
        }
        Ok(())
    }
}
