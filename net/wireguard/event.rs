// SPDX-License-Identifier: GPL-2.0

//! The events of all WireGuard devices, hooked or not.

use super::{
    Device,
    DeviceSettings,
    PeerRef,
    PublicKey, //
};
use crate::net::{
    addr,
    bindings,
    netdev::NetDevice,
    packet_path::{
        on_packet_path,
        PacketPath, //
    },
    rtnl::Rtnl, //
};
use core::{
    marker::PhantomData,
    net::IpAddr, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*, //
};

/// Something that has happened.
pub(crate) enum Event<'p> {
    /// The device's own settings were set, or it chose a listen port: what they are now.
    Settings(DeviceSettings),
    /// A peer was added.
    PeerAdded(PublicKey, AllowedIps<'p>),
    /// The AllowedIPs of a peer have changed.
    PeerChanged(PublicKey, AllowedIps<'p>),
    /// A peer was removed.
    PeerRemoved(PublicKey),
    /// A session with a peer began, was renewed or has ended.
    Session(PublicKey, PeerRef<'p>),
    /// The endpoint of a peer has changed.
    Endpoint(PublicKey, PeerRef<'p>),
}

/// An observer of what happens to WireGuard devices.
pub(crate) trait Observer {
    /// Take note of an event.
    fn event(wg: Device<'_>, event: Event<'_>, path: &PacketPath);
}

/// The AllowedIPs of a peer.
///
/// # Invariants
///
/// WireGuard's update lock of the peer's device is held for `'p`.
pub(crate) struct AllowedIps<'p>(PeerRef<'p>);

impl AllowedIps<'_> {
    /// Call `f` for each entry, with its address and the length of its prefix, until it fails, and
    /// return its last result.
    pub(crate) fn for_each<F: FnMut(IpAddr, u8) -> Result>(&self, mut f: F) -> Result {
        /// # Safety
        ///
        /// `data` is that of an `F`, which nobody else uses; `ip` points to an address of the
        /// family.
        unsafe extern "C" fn call<F: FnMut(IpAddr, u8) -> Result>(
            data: *mut c_void,
            family: c_int,
            ip: *const u8,
            cidr: u8,
        ) -> c_int {
            // SAFETY: The caller promises that `ip` points to an address of the family, and that
            // nobody else uses the `F` of `data`.
            let (f, ip) = unsafe {
                let ip = if family as u32 == bindings::AF_INET {
                    addr::from_be32(ip.cast::<bindings::__be32>().read_unaligned())
                } else {
                    addr::from_in6(ip.cast::<bindings::in6_addr>().read_unaligned())
                };
                (&mut *data.cast::<F>(), ip)
            };
            from_result(|| f(ip, cidr).map(|()| 0))
        }
        // SAFETY: The peer is valid, and the lock held by the type invariants. `f` is borrowed for
        // the time of the call.
        to_result(unsafe {
            bindings::wg_event_peer_allowedips(
                self.0.as_raw(),
                (&raw mut f).cast(),
                Some(call::<F>),
            )
        })
    }
}

/// A listener that passes the events of all devices on until it is dropped.
///
/// # Invariants
///
/// WireGuard has [`Self::OPS`].
pub(crate) struct Listener<T: Observer>(PhantomData<T>);

impl<T: Observer> Listener<T> {
    const OPS: bindings::wg_event_ops = bindings::wg_event_ops {
        event: Some(Self::event),
    };

    /// Listen from now on. Process context. Fails with `EBUSY` if another module does, and with
    /// `EOPNOTSUPP` if this kernel tells of nothing.
    pub(crate) fn new() -> Result<Self> {
        let ops: &'static bindings::wg_event_ops = &Self::OPS;
        // SAFETY: The operations are static.
        to_result(unsafe { bindings::wg_event_register(ops) })?;
        // INVARIANT: Just registered.
        Ok(Self(PhantomData))
    }

    /// [`Observer::event`] for WireGuard.
    ///
    /// # Safety
    ///
    /// Called by WireGuard, as an operation of [`Self::OPS`].
    unsafe extern "C" fn event(
        event: u32,
        dev: *mut bindings::net_device,
        peer: *mut bindings::wg_peer,
        key: *const u8,
    ) {
        // SAFETY: WireGuard calls this for a device that it has.
        let wg = unsafe { Device::from_netdev(NetDevice::from_raw(dev)) };
        // WireGuard has BH disabled, which lockdep does not take for the rcu_read_lock() that some
        // of what an observer calls wants.
        let tell = |event| on_packet_path(|path| T::event(wg, event, path));
        if event == bindings::wg_event_WG_EVENT_DEVICE_CHANGED {
            // SAFETY: RTNL is held for this event.
            let rtnl = unsafe { Rtnl::assume_held() };
            return tell(Event::Settings(wg.settings(&rtnl)));
        }
        // SAFETY: All other events are of a peer, which stays in memory for a grace period after it
        // has gone.
        let Some(peer) = (unsafe { PeerRef::from_raw(peer) }) else {
            return;
        };
        // SAFETY: The key of a peer is 32 bytes long.
        let key = PublicKey::new(unsafe { key.cast::<[u8; PublicKey::LEN]>().read() });
        tell(match event {
            // INVARIANT: The update lock is held for this event and the next.
            bindings::wg_event_WG_EVENT_PEER_ADDED => Event::PeerAdded(key, AllowedIps(peer)),
            bindings::wg_event_WG_EVENT_PEER_CHANGED => Event::PeerChanged(key, AllowedIps(peer)),
            bindings::wg_event_WG_EVENT_PEER_REMOVED => Event::PeerRemoved(key),
            bindings::wg_event_WG_EVENT_SESSION => Event::Session(key, peer),
            bindings::wg_event_WG_EVENT_ENDPOINT => Event::Endpoint(key, peer),
            _ => return,
        });
    }
}

impl<T: Observer> Drop for Listener<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariants.
        unsafe { bindings::wg_event_unregister() };
    }
}
