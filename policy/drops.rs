// SPDX-License-Identifier: GPL-2.0

//! The packets from a peer that were dropped.

#![deny(unsafe_code)]

use crate::{
    net::wireguard::PublicKey,
    policy::counters::Counter, //
};
use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

const FIRST: u32 = Counter::RxDropSource as u32;
const COUNT: usize = (Counter::RxDropTables as u32 - FIRST + 1) as usize;
const WORDS: usize = PublicKey::LEN / size_of::<u64>();

/// The key of a peer, and how many of its packets were dropped, by clause. It lives on for the next
/// peer, so all may change while it is read.
pub(super) struct Drops {
    key: [Atomic<u64>; WORDS],
    counters: [Atomic<u64>; COUNT],
}

impl Drops {
    /// Make those of no peer.
    pub(super) const fn new() -> Self {
        Self {
            key: [const { Atomic::new(0) }; WORDS],
            counters: [const { Atomic::new(0) }; COUNT],
        }
    }

    /// Begin anew, for a peer.
    pub(super) fn begin(&self, key: &PublicKey) {
        for counter in &self.counters {
            counter.store(0, Relaxed);
        }
        for (word, bytes) in self.key.iter().zip(key.as_bytes().chunks_exact(8)) {
            let bytes = bytes.try_into().unwrap_or_default();
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
    }

    /// Return the key; whoever asks checks that the peer is still the same.
    pub(super) fn key(&self) -> PublicKey {
        let mut key = [0; PublicKey::LEN];
        for (bytes, word) in key.chunks_exact_mut(8).zip(&self.key) {
            bytes.copy_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        PublicKey::new(key)
    }

    /// Count packets. A counter of no drop counts nothing. Packets of a peer are received by one
    /// CPU at a time, so that no other writes to this.
    pub(super) fn add(&self, counter: Counter, packets: u64) {
        let index = (counter as u32).wrapping_sub(FIRST) as usize;
        if let Some(counter) = self.counters.get(index) {
            counter.add(packets, Relaxed);
        }
    }

    /// Iterate over the attribute and value of each counter.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        let counters = self.counters.iter().zip(FIRST..);
        counters.map(|(counter, attr)| (attr, counter.load(Relaxed)))
    }
}
