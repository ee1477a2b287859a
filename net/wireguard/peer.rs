// SPDX-License-Identifier: GPL-2.0

//! Peers, counted and borrowed.

use crate::net::{
    bindings,
    netdev::NetDevice,
    packet_path::PacketPath,
    read_once::read_once, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
    slice, //
};
use kernel::sync::atomic::{
    Acquire,
    Atomic,
    Full, //
};

/// A counted reference to a peer. The last one to be put reaches into the device, so it lives no
/// longer than `'d`; a [`PeerSlot`] keeps one for longer.
///
/// The last one may take locks for which interrupts have to be on where it is put.
///
/// # Invariants
///
/// The pointer is valid, and this object owns a reference to it. The peer's device is not destroyed
/// during `'d`.
pub(crate) struct Peer<'d>(NonNull<bindings::wg_peer>, PhantomData<&'d NetDevice>);

// SAFETY: References to a peer may be put by any thread.
unsafe impl Send for Peer<'_> {}
// SAFETY: A shared reference only gives away the pointer.
unsafe impl Sync for Peer<'_> {}

impl<'d> Peer<'d> {
    /// Take over a reference.
    ///
    /// # Safety
    ///
    /// `ptr` is null or comes with a reference, which the result owns. The device of the peer is
    /// not destroyed while the result lives.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::wg_peer) -> Option<Self> {
        // INVARIANT: The caller promises it.
        NonNull::new(ptr).map(|peer| Self(peer, PhantomData))
    }

    /// Return its device.
    fn netdev(&self) -> &'d NetDevice {
        // SAFETY: By the type invariants the peer is valid, and its device not destroyed during
        // `'d`.
        unsafe { NetDevice::from_raw(bindings::wg_hook_peer_dev(self.0.as_ptr())) }
    }

    /// Borrow it on the packet path.
    pub(crate) fn borrow<'p>(&'p self, _: &'p PacketPath) -> PeerRef<'p> {
        // INVARIANT: The reference that this object owns keeps its memory.
        PeerRef(self.0, PhantomData)
    }

    /// Return its identity.
    pub(crate) fn id(&self) -> PeerId {
        PeerId(self.0.as_ptr() as usize)
    }

    /// Hand the reference over.
    pub(super) fn into_raw(self) -> NonNull<bindings::wg_peer> {
        ManuallyDrop::new(self).0
    }
}

impl Clone for Peer<'_> {
    fn clone(&self) -> Self {
        // SAFETY: There is a reference by the type invariants, so that one more is given.
        unsafe { bindings::wg_hook_peer_get(self.0.as_ptr()) };
        // INVARIANT: Just taken.
        Self(self.0, PhantomData)
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants the reference is owned, and the device not destroyed yet.
        unsafe { bindings::wg_hook_peer_put(self.0.as_ptr()) };
    }
}

/// A peer borrowed on the packet path.
///
/// # Invariants
///
/// Its memory stays valid for `'p`: peers are freed after an RCU grace period.
#[derive(Clone, Copy)]
pub(crate) struct PeerRef<'p>(NonNull<bindings::wg_peer>, PhantomData<&'p PacketPath>);

/// An identity that tells peers apart while they live.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerId(usize);

impl PeerId {
    /// Make one for unit tests.
    #[cfg(CONFIG_WGVIA_KUNIT_TEST)]
    pub(crate) fn new(id: usize) -> Self {
        Self(id)
    }

    /// Hash it: peers that follow each other in memory get numbers that are far apart.
    pub(crate) fn hash(self) -> usize {
        const GOLDEN_RATIO: u64 = 0x61c8_8646_80b5_83eb;
        ((self.0 as u64).wrapping_mul(GOLDEN_RATIO) >> 32) as usize
    }
}

impl PartialEq for PeerRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<'p> PeerRef<'p> {
    /// Borrow a peer; [`None`] of a null pointer.
    ///
    /// # Safety
    ///
    /// `ptr` is null or its memory stays valid for as long as the result lives.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::wg_peer) -> Option<Self> {
        // INVARIANT: The caller promises it.
        NonNull::new(ptr).map(|peer| Self(peer, PhantomData))
    }

    /// Return its identity.
    pub(crate) fn id(self) -> PeerId {
        PeerId(self.0.as_ptr() as usize)
    }

    /// Return the pointer.
    pub(super) fn as_raw(self) -> *mut bindings::wg_peer {
        self.0.as_ptr()
    }

    /// Tell whether it has a session by which a packet can be sent now.
    pub(crate) fn has_session(self) -> bool {
        self.state() & bindings::wg_hook_peer_state_WG_HOOK_PEER_SESSION != 0
    }

    /// Tell whether it has an endpoint.
    pub(crate) fn has_endpoint(self) -> bool {
        self.state() & bindings::wg_hook_peer_state_WG_HOOK_PEER_ENDPOINT != 0
    }

    /// Return its endpoint.
    pub(crate) fn endpoint(self) -> Option<Endpoint> {
        let mut addr = bindings::sockaddr_inet::default();
        // SAFETY: By the type invariants the memory is valid.
        unsafe { bindings::wg_event_peer_endpoint(self.0.as_ptr(), &mut addr) };
        // INVARIANT: That of the family.
        let len = match u32::from(addr.sa_family) {
            bindings::AF_INET => size_of::<bindings::sockaddr_in>(),
            bindings::AF_INET6 => size_of::<bindings::sockaddr_in6>(),
            _ => return None,
        };
        Some(Endpoint { addr, len })
    }

    fn state(self) -> u32 {
        // SAFETY: By the type invariants the memory is valid and the caller is on the packet path.
        unsafe { bindings::wg_hook_peer_state(self.0.as_ptr()) }
    }

    /// Return a counted reference; [`None`] if the peer is going.
    pub(crate) fn get(self) -> Option<Peer<'p>> {
        // SAFETY: By the type invariants the memory is valid and the caller is on the packet path,
        // which has BH disabled; the reference comes with the result. The packet path goes on for
        // `'p`, and `wg_destruct()` waits for a grace period when it has removed the peers
        // (`wg_peer_remove_all()`), before it frees anything.
        unsafe { Peer::from_raw(bindings::wg_hook_peer_get(self.0.as_ptr())) }
    }
}

/// The address and port of a peer.
///
/// # Invariants
///
/// The first `len` bytes of `addr` are a `struct sockaddr_in` or `struct sockaddr_in6`.
pub(crate) struct Endpoint {
    addr: bindings::sockaddr_inet,
    len: usize,
}

impl Endpoint {
    /// Return the `struct sockaddr_in` or `struct sockaddr_in6`, as WireGuard's own family has it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        // SAFETY: By the type invariants; neither struct is longer or has padding.
        unsafe { slice::from_raw_parts((&raw const self.addr).cast(), self.len) }
    }
}

/// A place that keeps a reference to a peer for the packet path to find.
///
/// # Invariants
///
/// The pointer is null or that of a peer, with a reference to it and one to its device, which by
/// the invariants of [`NetDevice`] is not destroyed then. This object owns both.
pub(crate) struct PeerSlot(Atomic<*mut bindings::wg_peer>);

impl PeerSlot {
    /// Make an empty slot.
    pub(crate) const fn new() -> Self {
        // INVARIANT: It is null.
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Put a peer in, or empty the slot. It is empty too if the peer's device is not registered any
    /// more. That device is not destroyed while the peer is in: who hears that it is unregistered
    /// empties the slot.
    pub(crate) fn set(&self, peer: Option<Peer<'_>>) {
        let put_in = |peer: Peer<'_>| {
            let dev = peer.netdev();
            // All in one, for who hears of the end of the device.
            dev.while_registered(|| {
                dev.hold();
                // INVARIANT: It comes with its reference, and one to the device was just taken.
                self.0.xchg(peer.into_raw().as_ptr(), Full)
            })
        };
        let old = peer
            .and_then(put_in)
            // INVARIANT: It is null.
            .unwrap_or_else(|| self.0.xchg(ptr::null_mut(), Full));
        if !old.is_null() {
            // SAFETY: By the type invariants `old` came with a reference that nobody else can have
            // taken out, and one to its device, which never changes and is put after it. Who loaded
            // it under RCU may go on: the memory of a peer is freed after a grace period that
            // starts with its last reference.
            unsafe {
                let dev = bindings::wg_hook_peer_dev(old);
                drop(Peer::from_raw(old));
                NetDevice::put(dev);
            }
        }
    }

    /// Return the identity of the peer in it.
    pub(crate) fn id(&self) -> Option<PeerId> {
        let peer = self.0.load(Acquire);
        (!peer.is_null()).then_some(PeerId(peer as usize))
    }

    /// Tell whether a peer is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.load(Acquire).is_null()
    }

    /// Return the peer in it.
    pub(crate) fn load<'p>(&self, _: &'p PacketPath) -> Option<PeerRef<'p>> {
        // SAFETY: The slot owned a reference when this was loaded, and `set` says why the memory
        // stays valid under RCU.
        unsafe { PeerRef::from_raw(read_once(&self.0)) }
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        self.set(None);
    }
}
