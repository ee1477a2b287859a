// SPDX-License-Identifier: GPL-2.0

//! The peers of a device, for packets that go to more than one.

#![deny(unsafe_code)]

use crate::net::{
    packet::PacketPath,
    wireguard::{
        Peer,
        PeerRef,
        PeerSlot,
        PublicKey, //
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
        Mutex,
        SetOnce, //
    },
};

/// How many slots the first chunk has; each that follows has as many as all before it.
const FIRST: usize = 64;

/// Slots, and the chunk that follows. A chunk stays as long as the device.
struct Chunk {
    slots: KVVec<PeerSlot>,
    next: SetOnce<KBox<Chunk>>,
}

impl Chunk {
    fn new(len: usize) -> Result<Self> {
        let mut slots = KVVec::with_capacity(len, GFP_KERNEL)?;
        for _ in 0..len {
            slots
                .push_within_capacity(PeerSlot::new())
                .map_err(|_| ENOMEM)?;
        }
        Ok(Self {
            slots,
            next: SetOnce::new(),
        })
    }
}

/// The slot of each peer.
struct Index {
    slots: RBTree<PublicKey, usize>,
    /// Slots below [`Peers::len`] that are empty.
    free: KVVec<usize>,
    /// Was there no memory for a peer?
    incomplete: bool,
}

/// The peers of a device, part of its [`super::via::Via`].
#[pin_data]
pub(super) struct Peers {
    first: SetOnce<Chunk>,
    /// How many slots have ever been used.
    len: Atomic<usize>,
    /// Nests below WireGuard's update lock of the device.
    #[pin]
    index: Mutex<Index>,
}

impl Peers {
    pub(super) fn new() -> impl PinInit<Self> {
        let index = Index {
            slots: RBTree::new(),
            free: KVVec::new(),
            incomplete: false,
        };
        pin_init!(Self {
            first: SetOnce::new(),
            len: Atomic::new(0),
            index <- new_mutex!(index, "wgvia::Peers::index"),
        })
    }

    /// Return how many slots there are to look at.
    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Iterate over the slots from `start` on: their numbers, and the peers in them.
    pub(super) fn from<'p>(
        &'p self,
        start: usize,
        path: &'p PacketPath,
    ) -> impl Iterator<Item = (usize, Option<PeerRef<'p>>)> + 'p {
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

    /// Return the slot of a number; make the chunk that it is in if there is none. Under the lock of
    /// the index.
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
    pub(super) fn add(&self, peer: Peer, key: &PublicKey) {
        if self.try_add(peer, key).is_err() {
            self.index.lock().incomplete = true;
            pr_warn!("no memory: a peer will get no packets to groups until it is added again\n");
        }
    }

    fn try_add(&self, peer: Peer, key: &PublicKey) -> Result {
        let mut index = self.index.lock();
        let number = index.free.last().copied().unwrap_or_else(|| self.len());
        let slot = self.slot(number)?;
        index
            .slots
            .try_create_and_insert(*key, number, GFP_KERNEL)?;
        _ = index.free.pop();
        slot.set(Some(peer));
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
        index.free.clear();
        index.incomplete = false;
        self.len.store(0, Relaxed);
    }

    /// Return the public key of a peer; [`None`] if it has gone. Process context, takes time in
    /// proportion to their number.
    pub(super) fn key_of(&self, peer: &Peer) -> Option<PublicKey> {
        let index = self.index.lock();
        let mut slots = index.slots.iter();
        let (key, _) = slots.find(|(_, number)| {
            let slot = self.slot(**number);
            slot.is_ok_and(|slot| slot.holds(peer))
        })?;
        Some(*key)
    }

    /// Tell whether it has all the peers that it was told of since it was empty.
    pub(super) fn is_complete(&self) -> bool {
        !self.index.lock().incomplete
    }
}
