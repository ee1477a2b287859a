// SPDX-License-Identifier: GPL-2.0

//! WireGuard: its peers, and the hook through which a device asks which of them a packet goes to
//! and which of them a packet may come from.
//!
//! C header: [`include/net/wireguard.h`](srctree/include/net/wireguard.h), of the kernel patches.

use super::{
    addr,
    bindings,
    netdev::{
        NetDevice,
        NetDeviceRef, //
    },
    packet::{
        Packet,
        PacketPath, //
    },
    rtnl::Rtnl, //
};
use crate::net::key::PublicKey;
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    net::IpAddr,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        Arc, //
    },
};

/// A counted reference to a peer.
///
/// It has to be given back before the peer's device is destroyed: whoever stores one clears it when
/// the peer is removed ([`PeerHook::peer_removed`]) and when the hook is detached. The last one may
/// take locks for which interrupts have to be on where it is put.
///
/// # Invariants
///
/// The pointer is valid, and this object owns a reference to it.
pub(crate) struct Peer(NonNull<bindings::wg_peer>);

// SAFETY: References to a peer may be put by any thread.
unsafe impl Send for Peer {}
// SAFETY: There is nothing to be done with a shared reference.
unsafe impl Sync for Peer {}

impl Peer {
    /// # Safety
    ///
    /// `ptr` is null or comes with a reference, which the result owns.
    unsafe fn from_raw(ptr: *mut bindings::wg_peer) -> Option<Self> {
        // INVARIANT: The caller promises it.
        NonNull::new(ptr).map(Self)
    }

    fn into_raw(self) -> NonNull<bindings::wg_peer> {
        ManuallyDrop::new(self).0
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SAFETY: The reference is owned by the type invariants.
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

impl PeerRef<'_> {
    /// A counted reference; [`None`] if the peer is going.
    pub(crate) fn get(self) -> Option<Peer> {
        // SAFETY: By the type invariants the memory is valid and the caller is on the packet path,
        // which has BH disabled; the reference comes with the result.
        unsafe { Peer::from_raw(bindings::wg_hook_peer_get(self.0.as_ptr())) }
    }

    /// Is it the same peer?
    pub(crate) fn is(self, other: PeerRef<'_>) -> bool {
        self.0 == other.0
    }
}

/// Where a reference to a peer is kept for the packet path to find.
///
/// # Invariants
///
/// The pointer is null or comes with a reference that this object owns.
pub(crate) struct PeerSlot(Atomic<*mut bindings::wg_peer>);

// SAFETY: It owns what is `Send`.
unsafe impl Send for PeerSlot {}
// SAFETY: The pointer is read and exchanged atomically.
unsafe impl Sync for PeerSlot {}

impl PeerSlot {
    /// An empty slot.
    pub(crate) const fn new() -> Self {
        // INVARIANT: It is null.
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Puts a peer in, or empties the slot.
    pub(crate) fn set(&self, peer: Option<Peer>) {
        let new = peer.map_or(ptr::null_mut(), |peer| peer.into_raw().as_ptr());
        // INVARIANT: `new` is null or comes with its reference.
        let old = self.0.xchg(new, Full);
        // SAFETY: By the type invariants, `old` is null or came with a reference that nobody else
        // can have taken out. Who loaded it under RCU may go on: the memory of a peer is freed
        // after a grace period that starts with its last reference.
        drop(unsafe { Peer::from_raw(old) });
    }

    /// The peer in it.
    pub(crate) fn load<'p>(&self, _: &'p PacketPath) -> Option<PeerRef<'p>> {
        // INVARIANT: The slot owned a reference when this was loaded, and see `set`.
        NonNull::new(self.0.load(Acquire)).map(|peer| PeerRef(peer, PhantomData))
    }
}

impl Drop for PeerSlot {
    fn drop(&mut self) {
        self.set(None);
    }
}

/// Is it a WireGuard device?
pub(crate) fn is_device(dev: &NetDevice) -> bool {
    // SAFETY: The device is valid.
    unsafe { bindings::wg_is_device(dev.as_ptr()) }
}

/// What the functions below ask of.
///
/// # Invariants
///
/// The device is a WireGuard device.
pub(crate) struct WgDevice<'a>(&'a NetDevice);

impl<'a> WgDevice<'a> {
    /// [`None`] if it is not a WireGuard device.
    pub(crate) fn new(dev: &'a NetDevice) -> Option<Self> {
        // INVARIANT: Just asked.
        is_device(dev).then_some(Self(dev))
    }

    /// The device itself.
    pub(crate) fn netdev(&self) -> &'a NetDevice {
        self.0
    }

    /// The peer of a public key. Takes no lock; interrupts have to be on, as to put a [`Peer`].
    pub(crate) fn peer_by_key(&self, key: &PublicKey) -> Option<Peer> {
        // SAFETY: A WireGuard device by the type invariants, whose table of peers is there by those of
        // `NetDevice`; the key is as long as it has to be, and the result comes with a reference.
        unsafe {
            Peer::from_raw(bindings::wg_hook_peer_by_key(
                self.0.as_ptr(),
                key.as_bytes().as_ptr(),
            ))
        }
    }

    /// The peer whose AllowedIPs hold an address.
    pub(crate) fn peer_by_allowedips<'p>(
        &self,
        addr: IpAddr,
        _: &'p PacketPath,
    ) -> Option<PeerRef<'p>> {
        let (family, v4, v6);
        let addr: *const c_void = match addr {
            IpAddr::V4(addr) => {
                family = bindings::AF_INET;
                v4 = addr::to_be32(addr);
                (&raw const v4).cast()
            }
            IpAddr::V6(addr) => {
                family = bindings::AF_INET6;
                v6 = addr::to_in6(addr);
                (&raw const v6).cast()
            }
        };
        // SAFETY: A WireGuard device by the type invariants, on the packet path; `addr` points to an
        // address of the family.
        let peer = unsafe {
            bindings::wg_hook_peer_by_allowedips(
                self.0.as_ptr(),
                family as bindings::sa_family_t,
                addr,
            )
        };
        // INVARIANT: AllowedIPs hold it, or did when the RCU read section had begun: the peer goes
        // after that.
        NonNull::new(peer).map(|peer| PeerRef(peer, PhantomData))
    }
}

/// Which peer a packet goes to.
pub(crate) enum Selection {
    /// AllowedIPs decide.
    Pass,
    /// This one.
    Peer(Peer),
    /// None: the sender gets `ENOKEY` and an ICMP error.
    Drop,
}

/// May a packet come from the peer it came from?
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceCheck {
    /// AllowedIPs decide.
    Pass,
    /// Yes.
    Accept,
    /// No.
    Drop,
}

/// What decides for a device in place of its AllowedIPs.
pub(crate) trait PeerHook: Send + Sync + 'static {
    /// Chooses the peer that `packet` goes to.
    fn select_peer(&self, dev: &WgDevice<'_>, packet: &Packet<'_>) -> Selection;

    /// Checks the inner source of `packet`, which came `from` a peer.
    fn check_source(
        &self,
        dev: &WgDevice<'_>,
        packet: &Packet<'_>,
        from: PeerRef<'_>,
    ) -> SourceCheck;

    /// The device has got a peer, which [`WgDevice::peer_by_key`] finds. Process context.
    fn peer_added(&self, dev: &WgDevice<'_>, key: &PublicKey);

    /// A peer is going, and [`WgDevice::peer_by_key`] does not find it any more. Process context.
    fn peer_removed(&self, key: &PublicKey);
}

/// `enum wg_hook_verdict`, as the operations of a hook return it.
mod verdict {
    use super::*;

    pub(super) const PASS: c_int = bindings::wg_hook_verdict_WG_HOOK_PASS as c_int;
    pub(super) const ACCEPT: c_int = bindings::wg_hook_verdict_WG_HOOK_ACCEPT as c_int;
    pub(super) const DROP: c_int = bindings::wg_hook_verdict_WG_HOOK_DROP as c_int;
}

/// What WireGuard gets a pointer to. Every packet reads it, so it shares its cache line with nothing
/// that others write to.
#[repr(C, align(64))]
struct Hook<T: PeerHook> {
    raw: bindings::wg_hook,
    target: Arc<T>,
}

impl<T: PeerHook> Hook<T> {
    // What a packet meets returns a verdict as a plain number: with CONFIG_CFI, bindgen's name for a
    // C enum is another type than the enum.
    const OPS: bindings::wg_hook_ops = bindings::wg_hook_ops {
        select_peer: Some(Self::select_peer),
        check_source: Some(Self::check_source),
        peer_added: Some(Self::peer_added),
        peer_removed: Some(Self::peer_removed),
    };

    /// # Safety
    ///
    /// `hook` is the `raw` of an attached [`Hook<T>`], which stays attached for `'a`.
    unsafe fn target<'a>(hook: *mut bindings::wg_hook) -> &'a T {
        // SAFETY: The caller promises it, and `raw` is the first member.
        unsafe { &(*hook.cast::<Self>()).target }
    }

    /// [`PeerHook::select_peer`] for WireGuard.
    ///
    /// # Safety
    ///
    /// Called by WireGuard, as an operation of [`Self::OPS`].
    unsafe extern "C" fn select_peer(
        hook: *mut bindings::wg_hook,
        dev: *mut bindings::net_device,
        skb: *mut bindings::sk_buff,
        peer: *mut *mut bindings::wg_peer,
    ) -> c_int {
        // SAFETY: `wg_xmit()` is called with BH disabled and calls this under RCU, keeps the device
        // and the hook alive, and has checked that the packet has the header that its protocol says.
        let (path, target, dev) = unsafe {
            (
                PacketPath::assume(),
                Self::target(hook),
                NetDevice::from_ptr(dev),
            )
        };
        // SAFETY: As above.
        let Some(packet) = (unsafe { Packet::from_raw(skb, &path) }) else {
            return verdict::PASS;
        };
        // INVARIANT: Only WireGuard devices call this.
        match target.select_peer(&WgDevice(dev), &packet) {
            Selection::Pass => verdict::PASS,
            Selection::Peer(selected) => {
                // SAFETY: `peer` is where the caller wants the reference.
                unsafe { peer.write(selected.into_raw().as_ptr()) };
                verdict::ACCEPT
            }
            Selection::Drop => verdict::DROP,
        }
    }

    /// [`PeerHook::check_source`] for WireGuard.
    ///
    /// # Safety
    ///
    /// Called by WireGuard, as an operation of [`Self::OPS`].
    unsafe extern "C" fn check_source(
        hook: *mut bindings::wg_hook,
        dev: *mut bindings::net_device,
        skb: *mut bindings::sk_buff,
        peer: *mut bindings::wg_peer,
    ) -> c_int {
        // SAFETY: NAPI polls with BH disabled; `wg_packet_consume_data_done()` calls this under RCU,
        // keeps the device and the hook alive, and has checked the packet's header.
        let (path, target, dev) = unsafe {
            (
                PacketPath::assume(),
                Self::target(hook),
                NetDevice::from_ptr(dev),
            )
        };
        // SAFETY: As above.
        let packet = unsafe { Packet::from_raw(skb, &path) };
        let (Some(packet), Some(peer)) = (packet, NonNull::new(peer)) else {
            return verdict::PASS;
        };
        // INVARIANT: The caller has a reference to the peer, and only WireGuard devices call this.
        let from = PeerRef(peer, PhantomData);
        match target.check_source(&WgDevice(dev), &packet, from) {
            SourceCheck::Pass => verdict::PASS,
            SourceCheck::Accept => verdict::ACCEPT,
            SourceCheck::Drop => verdict::DROP,
        }
    }

    /// [`PeerHook::peer_added`] for WireGuard.
    ///
    /// # Safety
    ///
    /// Called by WireGuard, as an operation of [`Self::OPS`].
    unsafe extern "C" fn peer_added(
        hook: *mut bindings::wg_hook,
        dev: *mut bindings::net_device,
        key: *const u8,
    ) {
        // SAFETY: WireGuard keeps the device and the hook alive, and a key is 32 bytes long.
        let (target, dev, key) = unsafe {
            (
                Self::target(hook),
                NetDevice::from_ptr(dev),
                key.cast::<[u8; PublicKey::LEN]>().read(),
            )
        };
        // INVARIANT: Only WireGuard devices call this.
        target.peer_added(&WgDevice(dev), &PublicKey::new(key));
    }

    /// [`PeerHook::peer_removed`] for WireGuard.
    ///
    /// # Safety
    ///
    /// Called by WireGuard, as an operation of [`Self::OPS`].
    unsafe extern "C" fn peer_removed(
        hook: *mut bindings::wg_hook,
        _dev: *mut bindings::net_device,
        key: *const u8,
    ) {
        // SAFETY: WireGuard keeps the hook alive, and a key is 32 bytes long.
        let (target, key) = unsafe {
            (
                Self::target(hook),
                key.cast::<[u8; PublicKey::LEN]>().read(),
            )
        };
        target.peer_removed(&PublicKey::new(key));
    }
}

/// A hook that decides for a device until it is detached.
///
/// Holds a reference to the device: it has to be detached when the device is unregistered, which
/// otherwise waits for ever.
///
/// # Invariants
///
/// `hook` came from a `KBox`, is valid and attached to `dev`, and is not given back to the `KBox`
/// before it is detached.
#[must_use = "has to be detached"]
pub(crate) struct Attachment<T: PeerHook> {
    /// Of a [`KBox`] that this object owns, in the form in which WireGuard has it too.
    hook: NonNull<Hook<T>>,
    dev: ManuallyDrop<NetDeviceRef>,
}

// SAFETY: A hook may be detached by any thread that holds RTNL.
unsafe impl<T: PeerHook> Send for Attachment<T> {}

impl<T: PeerHook> Attachment<T> {
    /// Lets `target` decide for `dev` from now on; fails with `EBUSY` if something else does.
    pub(crate) fn new(target: Arc<T>, dev: &WgDevice<'_>, _: &Rtnl) -> Result<Self> {
        let ops: &'static bindings::wg_hook_ops = &Hook::<T>::OPS;
        let raw = bindings::wg_hook { ops };
        let hook = KBox::new(Hook { raw, target }, GFP_KERNEL)?;
        // WireGuard gets a pointer to all of the hook, not only to its first member.
        let hook = KBox::into_raw(hook);
        // SAFETY: A WireGuard device by its type invariants, and RTNL is held. The hook, which
        // starts with what WireGuard knows of it, stays where it is until it is detached.
        let attached = to_result(unsafe { bindings::wg_hook_attach(dev.0.as_ptr(), hook.cast()) });
        // SAFETY: It came from a `KBox` just above, and nobody else has it if it is not attached.
        let hook = unsafe {
            attached.inspect_err(|_| drop(KBox::from_raw(hook)))?;
            NonNull::new_unchecked(hook)
        };
        // INVARIANT: Just attached.
        Ok(Self {
            hook,
            dev: ManuallyDrop::new(dev.0.get()),
        })
    }

    /// Gives the device back to its AllowedIPs. None of the hook's functions runs any more when
    /// this returns.
    pub(crate) fn detach(self, _: &Rtnl) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: Attached by the type invariants, and RTNL is held.
        unsafe { bindings::wg_hook_detach(this.dev.as_ptr()) };
        // SAFETY: `this` is not used any more, nor is the hook, which came from a `KBox`, by
        // WireGuard.
        unsafe {
            drop(KBox::from_raw(this.hook.as_ptr()));
            ManuallyDrop::drop(&mut this.dev);
        }
    }
}

impl<T: PeerHook> Drop for Attachment<T> {
    fn drop(&mut self) {
        // WireGuard still has a pointer to the hook: leaking it is the lesser evil.
        pr_err!("a WireGuard hook was never detached\n");
    }
}

/// Waits until no packet is in a hook, and no reference to a peer taken out of its slot under RCU
/// is waiting to be put. Hurries, for those who wait for RTNL.
pub(crate) fn synchronize(_: &Rtnl) {
    // SAFETY: Process context, since RTNL is held.
    unsafe { bindings::synchronize_net() };
}
