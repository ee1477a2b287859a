// SPDX-License-Identifier: GPL-2.0

//! The peers of a device, for packets that go to more than one, and what was dropped of each.

#![deny(unsafe_code)]

use crate::{
    net::{
        packet_path::{
            with_packet_path,
            PacketPath, //
        },
        rcu::RcuBox,
        wireguard::{
            Peer,
            PeerRef,
            PeerSlot,
            PublicKey, //
        },
    },
    policy::{
        counters::Counter,
        drops::Drops,
        numbers::Numbers,
        tree, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        barrier::{
            smp_mb,
            Read, //
        },
        Mutex,
        SetOnce, //
    },
};

/// The number of slots of the first chunk; each that follows has as many as all before it.
const FIRST: usize = 64;

/// Slots, and the chunk that follows. A chunk stays as long as the device.
struct Chunk {
    slots: KVVec<PeerSlot>,
    /// By the numbers of the slots; apart, for those who look at many slots.
    drops: KVVec<Drops>,
    next: SetOnce<KBox<Chunk>>,
}

impl Chunk {
    /// Make one of empty slots. Fails with `ENOMEM`.
    fn new(len: usize) -> Result<Self> {
        let mut slots = KVVec::with_capacity(len, GFP_KERNEL)?;
        let mut drops = KVVec::with_capacity(len, GFP_KERNEL)?;
        for _ in 0..len {
            slots
                .push_within_capacity(PeerSlot::new())
                .map_err(|_| ENOMEM)?;
            drops
                .push_within_capacity(Drops::new())
                .map_err(|_| ENOMEM)?;
        }
        Ok(Self {
            slots,
            drops,
            next: SetOnce::new(),
        })
    }
}

/// The slot of each peer.
struct Index {
    slots: RBTree<PublicKey, usize>,
    /// Slots below [`Peers::len`] that are empty.
    free: KVVec<usize>,
    /// The count of numbers that were added to [`Peers::numbers`].
    added: usize,
    /// Whether there was no memory for a peer.
    incomplete: bool,
}

/// The peers of a device, part of its [`super::via::Via`].
#[pin_data]
pub(crate) struct Peers {
    first: SetOnce<Chunk>,
    /// The number of slots that have ever been used.
    len: Atomic<usize>,
    /// The number of the slot that a peer is in. Written under the lock of the index.
    numbers: RcuBox<Numbers>,
    /// Nests below WireGuard's update lock of the device.
    #[pin]
    index: Mutex<Index>,
}

impl Peers {
    /// Make a table without peers.
    pub(super) fn new() -> impl PinInit<Self> {
        let index = Index {
            slots: RBTree::new(),
            free: KVVec::new(),
            added: 0,
            incomplete: false,
        };
        pin_init!(Self {
            first: SetOnce::new(),
            len: Atomic::new(0),
            numbers: RcuBox::new(),
            index <- new_mutex!(index, "wgvia::Peers::index"),
        })
    }

    /// Return how many slots there are to look at.
    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Iterate over the slots from `start` on: their numbers, and the peers in them.
    pub(super) fn from<'s, 'p: 's>(
        &'s self,
        start: usize,
        path: &'p PacketPath,
    ) -> impl Iterator<Item = (usize, Option<PeerRef<'p>>)> + 's {
        let mut chunk = self.first.as_ref();
        let mut base = 0;
        let mut number = start;
        core::iter::from_fn(move || loop {
            let here = chunk?;
            match number.checked_sub(base).and_then(|i| here.slots.get(i)) {
                Some(slot) => {
                    number += 1;
                    return Some((number - 1, slot.load(path)));
                }
                None => {
                    base += here.slots.len();
                    chunk = here.next.as_ref().map(|next| &**next);
                }
            }
        })
    }

    /// Return the slot of a number and the drops of the peer in it, if there is one.
    fn find(&self, number: usize) -> Option<(&PeerSlot, &Drops)> {
        let mut chunk = self.first.as_ref()?;
        let mut index = number;
        while index >= chunk.slots.len() {
            index -= chunk.slots.len();
            chunk = chunk.next.as_ref()?;
        }
        Some((chunk.slots.get(index)?, chunk.drops.get(index)?))
    }

    /// Return the slot of a peer and its drops.
    fn of<'p>(
        &'p self,
        peer: PeerRef<'_>,
        path: &'p PacketPath,
    ) -> Option<(&'p PeerSlot, &'p Drops)> {
        let numbers = self.numbers.load(path)?;
        let is_in = |slot: &PeerSlot| slot.id() == Some(peer.id());
        let number = numbers.find(peer.id(), |number| {
            self.find(number).is_some_and(|(slot, _)| is_in(slot))
        })?;
        self.find(number)
    }

    /// Count packets from a peer that were dropped.
    pub(crate) fn count_drop(
        &self,
        from: PeerRef<'_>,
        counter: Counter,
        packets: u64,
        path: &PacketPath,
    ) {
        if let Some((_, drops)) = self.of(from, path) {
            drops.add(counter, packets);
        }
    }

    /// Return the public key of a peer; [`None`] if it is not a peer of the device any more, or the
    /// mode is off.
    pub(crate) fn key_of(&self, peer: PeerRef<'_>, path: &PacketPath) -> Option<PublicKey> {
        let (slot, drops) = self.of(peer, path)?;
        let key = drops.key();
        // Another peer may have got the slot meanwhile, and its key been written.
        smp_mb(Read);
        (slot.id() == Some(peer.id())).then_some(key)
    }

    /// Return the peer with the lowest key above `key`, or with the lowest of all: its key, whether
    /// there is a session, and the attribute and value of each counter. Process context.
    pub(crate) fn after(
        &self,
        key: Option<&PublicKey>,
    ) -> Option<(PublicKey, bool, impl Iterator<Item = (u32, u64)> + '_)> {
        let index = self.index.lock();
        let (found, number) = tree::after(&index.slots, key, |key, number| (*key, *number))?;
        let (slot, drops) = self.find(number)?;
        let has_session =
            with_packet_path(|path| slot.load(path).is_some_and(PeerRef::has_session));
        Some((found, has_session, drops.iter()))
    }

    /// Make room for one more number. Under the lock of the index.
    fn reserve(&self, index: &mut Index) -> Result {
        let room = with_packet_path(|path| self.numbers.load(path).map_or(0, Numbers::room));
        if index.added < room {
            return Ok(());
        }
        let peers = index.slots.iter().count();
        let numbers = KBox::new(Numbers::new((2 * peers).max(FIRST))?, GFP_KERNEL)?;
        for (_, number) in index.slots.iter() {
            if let Some(peer) = self.find(*number).and_then(|(slot, _)| slot.id()) {
                numbers.add(peer, *number);
            }
        }
        index.added = peers;
        self.numbers.replace(Some(numbers));
        Ok(())
    }

    /// Return the slot of a number; make the chunk that it is in if there is none. Under the lock
    /// of the index.
    fn slot(&self, number: usize) -> Result<&PeerSlot> {
        if self.first.as_ref().is_none() {
            self.first.populate(Chunk::new(FIRST)?);
        }
        let mut chunk = self.first.as_ref().ok_or(ENOMEM)?;
        let mut base = 0;
        loop {
            let len = chunk.slots.len();
            if let Some(slot) = chunk.slots.get(number - base) {
                return Ok(slot);
            }
            base += len;
            if chunk.next.as_ref().is_none() {
                chunk
                    .next
                    .populate(KBox::new(Chunk::new(base)?, GFP_KERNEL)?);
            }
            chunk = chunk.next.as_ref().ok_or(ENOMEM)?;
        }
    }

    /// Take in a peer. Process context. Without memory the peer is left out, which
    /// [`Self::is_complete`] then says.
    pub(super) fn add(&self, peer: Peer<'_>, key: &PublicKey) {
        if self.try_add(peer, key).is_err() {
            self.index.lock().incomplete = true;
            pr_warn!("no memory: a peer will get no packets to groups until it is added again\n");
        }
    }

    fn try_add(&self, peer: Peer<'_>, key: &PublicKey) -> Result {
        let mut index = self.index.lock();
        let number = index.free.last().copied().unwrap_or_else(|| self.len());
        let slot = self.slot(number)?;
        self.reserve(&mut index)?;
        index
            .slots
            .try_create_and_insert(*key, number, GFP_KERNEL)?;
        _ = index.free.pop();
        if let Some((_, drops)) = self.find(number) {
            drops.begin(key);
        }
        let id = peer.id();
        slot.set(Some(peer));
        with_packet_path(|path| {
            if let Some(numbers) = self.numbers.load(path) {
                numbers.add(id, number);
            }
        });
        index.added += 1;
        if number == self.len() {
            self.len.store(number + 1, Relaxed);
        }
        Ok(())
    }

    /// Let a peer go. Process context.
    pub(super) fn remove(&self, key: &PublicKey) {
        let mut index = self.index.lock();
        if let Some(number) = index.slots.remove(key) {
            if let Ok(slot) = self.slot(number) {
                slot.set(None);
            }
            // Without memory the slot is lost until the device goes.
            _ = index.free.push(number, GFP_KERNEL);
        }
    }

    /// Let all peers go. Process context.
    pub(super) fn clear(&self) {
        let mut index = self.index.lock();
        for number in 0..self.len() {
            if let Ok(slot) = self.slot(number) {
                slot.set(None);
            }
        }
        index.slots = RBTree::new();
        self.numbers.replace(None);
        index.added = 0;
        index.free.clear();
        index.incomplete = false;
        self.len.store(0, Relaxed);
    }

    /// Tell whether it has all the peers that it was told of since it was empty.
    pub(super) fn is_complete(&self) -> bool {
        !self.index.lock().incomplete
    }
}
