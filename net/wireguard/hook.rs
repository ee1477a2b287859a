// SPDX-License-Identifier: GPL-2.0

//! The hook of a device, by which it asks about packets and tells of peers.

use super::{
    Device,
    Peer,
    PeerRef,
    PublicKey, //
};
use crate::net::{
    bindings,
    netdev::{
        NetDevice,
        NetDeviceRef, //
    },
    packet::Packet,
    packet_path::PacketPath,
    rtnl::Rtnl, //
};
use core::{
    mem::ManuallyDrop,
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
            Release, //
        },
        Arc,
        ArcBorrow, //
    },
};

/// The peer that a packet goes to.
pub(crate) enum Selection<'p> {
    /// AllowedIPs decide.
    Pass,
    /// This one.
    Peer(Peer<'p>),
    /// None: the sender gets `ENOKEY` and an ICMP error.
    Drop,
}

/// The verdict on the source of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceCheck {
    /// AllowedIPs decide.
    Pass,
    /// It may come from the peer.
    Accept,
    /// It may not.
    Drop,
}

/// An object that decides for a device in place of its AllowedIPs.
///
/// It gives its references to a peer back when [`Self::peer_removed`] tells of it, and all of them
/// when the hook is detached. A [`super::PeerSlot`] that keeps one keeps the peer and its device
/// from going: unregistering the device then waits for ever.
pub(crate) trait PeerHook: Send + Sync + 'static {
    /// Choose the peer that `packet` goes to.
    fn select_peer<'p>(
        self: ArcBorrow<'_, Self>,
        wg: Device<'p>,
        packet: &Packet<'p>,
    ) -> Selection<'p>;

    /// Check the inner source of `packet`, which came `from` a peer.
    fn check_source(
        self: ArcBorrow<'_, Self>,
        wg: Device<'_>,
        packet: &Packet<'_>,
        from: PeerRef<'_>,
    ) -> SourceCheck;

    /// Take note of a peer, which the device has got or had when the hook was attached. Process
    /// context, under WireGuard's update lock of the device.
    fn peer_added(&self, peer: Peer<'_>, key: &PublicKey);

    /// Give the references to a peer back: it is going, and [`Device::peer_by_key`] does not find
    /// it any more. Process context, under WireGuard's update lock of the device.
    fn peer_removed(&self, key: &PublicKey);
}

/// The device that a hook is attached to, for those who have no [`Attachment`].
///
/// # Invariants
///
/// The pointer is null or that of a WireGuard device, to which an [`Attachment`] has a reference
/// until a grace period has passed that begins when the slot has another pointer.
pub(crate) struct DeviceSlot(Atomic<*mut bindings::net_device>);

impl DeviceSlot {
    /// Make an empty slot.
    pub(crate) const fn new() -> Self {
        // INVARIANT: It is null.
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Return the device; [`None`] while no hook is attached.
    pub(crate) fn load<'p>(&self, _: &'p PacketPath) -> Option<Device<'p>> {
        let dev = NonNull::new(self.0.load(Acquire))?;
        // SAFETY: By the type invariants it is a WireGuard device that is valid for as long as the
        // packet path, which is under RCU, goes on.
        Some(unsafe { Device::from_netdev(NetDevice::from_raw(dev.as_ptr())) })
    }
}

/// `enum wg_hook_verdict`, as the operations of a hook return it.
mod verdict {
    use super::*;

    pub(super) const PASS: c_int = bindings::wg_hook_verdict_WG_HOOK_PASS as c_int;
    pub(super) const ACCEPT: c_int = bindings::wg_hook_verdict_WG_HOOK_ACCEPT as c_int;
    pub(super) const DROP: c_int = bindings::wg_hook_verdict_WG_HOOK_DROP as c_int;
}

/// A hook as WireGuard has it. Every packet reads it, so it shares its cache line with nothing that
/// others write to.
#[repr(C, align(64))]
struct Hook<T: PeerHook> {
    raw: bindings::wg_hook,
    target: Arc<T>,
}

impl<T: PeerHook> Hook<T> {
    // The operations that packets meet return a verdict as a plain number: with CONFIG_CFI,
    // bindgen's name for a C enum is another type than the enum.
    const OPS: bindings::wg_hook_ops = bindings::wg_hook_ops {
        select_peer: Some(Self::select_peer),
        check_source: Some(Self::check_source),
        peer_added: Some(Self::peer_added),
        peer_removed: Some(Self::peer_removed),
    };

    /// Return the object that decides.
    ///
    /// # Safety
    ///
    /// `hook` is the `raw` of an attached [`Hook<T>`], which stays attached for `'a`.
    unsafe fn target<'a>(hook: *mut bindings::wg_hook) -> ArcBorrow<'a, T> {
        // SAFETY: The caller promises that the hook stays attached, so that it is valid; `raw` is
        // its first member.
        unsafe { &*hook.cast::<Self>() }.target.as_arc_borrow()
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
        // SAFETY: `wg_xmit()` is called with BH disabled, and calls this under RCU, which keeps the
        // hook; the device stays while it sends.
        let (path, target, dev) = unsafe {
            (
                PacketPath::assume(),
                Self::target(hook),
                NetDevice::from_raw(dev),
            )
        };
        // SAFETY: With BH disabled; whoever sends a copy to a peer borrows the peer meanwhile.
        if let Some(fixed) = unsafe { PeerRef::from_raw(bindings::wgvia_copy_peer(skb)) } {
            return match fixed.get() {
                Some(fixed) => {
                    // SAFETY: `peer` is where the caller wants the reference.
                    unsafe { peer.write(fixed.into_raw().as_ptr()) };
                    verdict::ACCEPT
                }
                None => verdict::DROP,
            };
        }
        // SAFETY: `wg_xmit()` keeps the packet until this returns, and has checked that it has the
        // header that its protocol says.
        let Some(packet) = (unsafe { Packet::from_raw(skb, &path) }) else {
            return verdict::PASS;
        };
        // SAFETY: Only WireGuard devices call this.
        let selection = target.select_peer(unsafe { Device::from_netdev(dev) }, &packet);
        match selection {
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
        // SAFETY: NAPI polls with BH disabled; `wg_packet_consume_data_done()` calls this under
        // RCU, which keeps the hook, and the peer that it polls for keeps the device.
        let (path, target, dev) = unsafe {
            (
                PacketPath::assume(),
                Self::target(hook),
                NetDevice::from_raw(dev),
            )
        };
        // SAFETY: `wg_packet_consume_data_done()` has the packet alone, has checked that it has the
        // header that its protocol says, and has a reference to the peer.
        let (packet, from) = unsafe { (Packet::from_raw(skb, &path), PeerRef::from_raw(peer)) };
        let (Some(packet), Some(from)) = (packet, from) else {
            return verdict::PASS;
        };
        // SAFETY: Only WireGuard devices call this.
        match target.check_source(unsafe { Device::from_netdev(dev) }, &packet, from) {
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
        _dev: *mut bindings::net_device,
        peer: *mut bindings::wg_peer,
        key: *const u8,
    ) {
        // SAFETY: WireGuard keeps the hook, the device and the peer alive until this returns, and a
        // key is 32 bytes long. The reference comes with the result.
        let (target, peer, key) = unsafe {
            (
                Self::target(hook),
                Peer::from_raw(bindings::wg_hook_peer_get(peer)),
                key.cast::<[u8; PublicKey::LEN]>().read(),
            )
        };
        if let Some(peer) = peer {
            target.peer_added(peer, &PublicKey::new(key));
        }
    }

    /// [`PeerHook::peer_removed`] for WireGuard.
    ///
    /// # Safety
    ///
    /// Called by WireGuard, as an operation of [`Self::OPS`].
    unsafe extern "C" fn peer_removed(
        hook: *mut bindings::wg_hook,
        _dev: *mut bindings::net_device,
        _peer: *mut bindings::wg_peer,
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
/// before it is detached. That clears `slot`, and waits for a grace period before it puts `dev`.
#[must_use = "has to be detached"]
pub(crate) struct Attachment<T: PeerHook> {
    /// Of a [`KBox`] that this object owns, in the form in which WireGuard has it too.
    hook: NonNull<Hook<T>>,
    dev: ManuallyDrop<NetDeviceRef>,
    slot: ManuallyDrop<Arc<DeviceSlot>>,
}

// SAFETY: A hook may be detached by any thread that holds RTNL.
unsafe impl<T: PeerHook> Send for Attachment<T> {}
// SAFETY: A shared reference only gives the device away.
unsafe impl<T: PeerHook> Sync for Attachment<T> {}

impl<T: PeerHook> Attachment<T> {
    /// Let `target` decide for a device from now on, which begins with [`PeerHook::peer_added`] for
    /// each peer that there is. `slot` has the device until the hook is detached. Fails with
    /// `EBUSY` if something else decides, or with `ENOMEM`.
    pub(crate) fn new(
        target: Arc<T>,
        slot: Arc<DeviceSlot>,
        wg: Device<'_>,
        _: &Rtnl,
    ) -> Result<Self> {
        let dev = wg.netdev();
        let ops: &'static bindings::wg_hook_ops = &Hook::<T>::OPS;
        let raw = bindings::wg_hook { ops };
        let hook = KBox::new(Hook { raw, target }, GFP_KERNEL)?;
        // WireGuard gets a pointer to all of the hook, not only to its first member.
        let hook = KBox::into_raw(hook);
        // SAFETY: A WireGuard device by its type invariants, and RTNL is held. The hook, which
        // starts with what WireGuard knows of it, stays where it is until it is detached.
        let attached = to_result(unsafe { bindings::wg_hook_attach(dev.as_raw(), hook.cast()) });
        // SAFETY: It came from a `KBox` just above, and nobody else has it if it is not attached.
        let hook = unsafe {
            attached.inspect_err(|_| drop(KBox::from_raw(hook)))?;
            NonNull::new_unchecked(hook)
        };
        // INVARIANT: Just attached.
        let this = Self {
            hook,
            dev: ManuallyDrop::new(dev.get()),
            slot: ManuallyDrop::new(slot),
        };
        // INVARIANT: `this` has a reference to the device, and see `detach`.
        this.slot.0.store(this.dev.as_raw(), Release);
        Ok(this)
    }

    /// Return the device.
    pub(crate) fn device(&self) -> Device<'_> {
        // SAFETY: A hook is attached to WireGuard devices alone.
        unsafe { Device::from_netdev(&self.dev) }
    }

    /// Give the device back to its AllowedIPs. None of the hook's functions runs any more when
    /// this returns.
    pub(crate) fn detach(self, _: &Rtnl) {
        let mut this = ManuallyDrop::new(self);
        // INVARIANT: Detaching the hook waits for a grace period before it returns.
        this.slot.0.store(ptr::null_mut(), Release);
        // SAFETY: Attached by the type invariants, and RTNL is held.
        unsafe { bindings::wg_hook_detach(this.dev.as_raw()) };
        // SAFETY: `this` is not used any more, nor is the hook, which came from a `KBox`, by
        // WireGuard.
        unsafe {
            drop(KBox::from_raw(this.hook.as_ptr()));
            ManuallyDrop::drop(&mut this.dev);
            ManuallyDrop::drop(&mut this.slot);
        }
    }
}

impl<T: PeerHook> Drop for Attachment<T> {
    fn drop(&mut self) {
        // WireGuard still has a pointer to the hook: leaking it is the lesser evil.
        pr_err!("a WireGuard hook was never detached\n");
    }
}
