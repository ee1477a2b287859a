// SPDX-License-Identifier: GPL-2.0

//! A binding: one (device, key), shared by all keyed nexthops that name it.
//!
//! It exists while a lightweight-tunnel state leads to it. States are made with nexthops and live
//! on in the dsts made from them.

#![deny(unsafe_code)]

use crate::{
    net::{
        packet_path::PacketPath,
        wireguard::{
            PeerRef,
            PeerSlot,
            PublicKey, //
        },
    },
    policy::via::Via, //
};
use core::ptr;
use kernel::sync::Arc;

/// A device and a key, and the peer that has the key.
pub(crate) struct Binding {
    via: Arc<Via>,
    key: PublicKey,
    /// The peer, while the device has it.
    pub(super) peer: PeerSlot,
}

impl Binding {
    /// Return the device.
    pub(super) fn via(&self) -> &Arc<Via> {
        &self.via
    }

    /// Make a binding without a peer.
    pub(super) fn new(via: Arc<Via>, key: PublicKey) -> Self {
        Self {
            via,
            key,
            peer: PeerSlot::new(),
        }
    }

    /// Return the key that the nexthops name.
    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Tell whether the device has the peer now.
    pub(crate) fn is_present(&self) -> bool {
        !self.peer.is_empty()
    }

    /// Return the peer on the packet path of `via`; [`None`] while the device does not have it, or
    /// if the binding is another device's.
    pub(crate) fn peer_on<'p>(&self, via: &Via, path: &'p PacketPath) -> Option<PeerRef<'p>> {
        if !ptr::eq(&*self.via, via) {
            return None;
        }
        self.peer.load(path)
    }
}

/// A binding that counts the state which holds this. To be dropped with interrupts on, as what it
/// may put is ([`crate::net::wireguard::Peer`]).
///
/// # Invariants
///
/// The table of bindings has counted a state for this.
#[must_use = "the binding counts the state no longer when this is dropped"]
pub(crate) struct Counted(Option<Arc<Binding>>);

impl Counted {
    /// Take a binding whose count has just gone up by one for this.
    pub(super) fn new(binding: Arc<Binding>) -> Self {
        // INVARIANT: The caller has counted it.
        Self(Some(binding))
    }

    /// Return the binding; it is there until this is dropped.
    pub(crate) fn binding(&self) -> Option<&Binding> {
        self.0.as_deref()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(binding) = self.0.take() {
            Via::release(binding);
        }
    }
}
