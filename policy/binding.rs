// SPDX-License-Identifier: GPL-2.0

//! What stands for one (device, key), shared by every nexthop that names it.
//!
//! A binding exists while a lightweight-tunnel state leads to it; states are made with nexthops and
//! live on in the dsts made from them. Nexthops are counted on their own, so that a dst cached in
//! a socket does not look like a route.

#![deny(unsafe_code)]

use crate::{
    net::{
        key::PublicKey,
        packet::PacketPath,
        wireguard::{
            PeerRef,
            PeerSlot,
            WgDevice, //
        },
    },
    policy::{
        device::Device,
        settings::Mode, //
    },
};
use core::ptr;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

/// A binding: see the module.
pub(crate) struct Binding {
    device: Arc<Device>,
    key: PublicKey,
    /// The peer, while the device has it and a hook is attached to the device.
    pub(crate) peer: PeerSlot,
    per_route: PerRoute,
}

/// What every route changes, on a cache line that no packet reads.
#[repr(align(64))]
struct PerRoute {
    nexthops: Atomic<usize>,
    /// Did the device have the peer when the last state was made? Only for [`Binding::warning`].
    present: Atomic<bool>,
}

impl Binding {
    pub(crate) fn new(device: Arc<Device>, key: PublicKey) -> Self {
        Self {
            device,
            key,
            peer: PeerSlot::new(),
            per_route: PerRoute {
                nexthops: Atomic::new(0),
                present: Atomic::new(false),
            },
        }
    }

    /// The device whose peer it is.
    pub(crate) fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// The key that the nexthops name.
    pub(crate) fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The peer on the packet path of `device`; [`None`] while the device does not have it.
    pub(crate) fn peer_on<'p>(&self, device: &Device, path: &'p PacketPath) -> Option<PeerRef<'p>> {
        if !ptr::eq(&*self.device, device) {
            return None;
        }
        self.peer.load(path)
    }

    /// How many nexthops name the peer now.
    pub(crate) fn nexthops(&self) -> usize {
        self.per_route.nexthops.load(Relaxed)
    }

    /// A nexthop that leads here has entered the FIB or the table of nexthop objects. Any context.
    pub(crate) fn nexthop_linked(&self) {
        self.per_route.nexthops.add(1, Relaxed);
        self.device.nexthop_linked();
    }

    /// The reverse of [`Self::nexthop_linked`].
    pub(crate) fn nexthop_unlinked(&self) {
        self.per_route.nexthops.fetch_sub(1, Relaxed);
        self.device.nexthop_unlinked();
    }

    /// Does the device have the peer?
    pub(crate) fn is_present(&self, dev: &WgDevice<'_>) -> bool {
        dev.peer_by_key(&self.key).is_some()
    }

    /// A state that leads here is being made.
    pub(crate) fn note_presence(&self, dev: &WgDevice<'_>) {
        self.per_route.present.store(self.is_present(dev), Relaxed);
    }

    /// What somebody who has just added a nexthop that leads here should know.
    pub(crate) fn warning(&self) -> Option<&'static CStr> {
        warning(
            self.device.settings().mode == Mode::Off,
            self.per_route.present.load(Relaxed),
        )
    }
}

/// What there is to say if the mode is off, and if the device has the peer.
fn warning(off: bool, present: bool) -> Option<&'static CStr> {
    match (off, present) {
        (false, true) => None,
        (false, false) => {
            Some(c"the device has no peer with this key: packets get ENOKEY until it is added")
        }
        (true, true) => {
            Some(c"wgvia is off on this device: turn it on with wgvia set DEV mode auto")
        }
        (true, false) => {
            Some(c"no peer has this key, and wgvia is off: turn it on with wgvia set DEV mode auto")
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kunit_tests(wgvia_binding)]
mod tests {
    use super::*;
    use crate::net::bindings::NETLINK_MAX_FMTMSG_LEN;

    #[test]
    fn warnings() {
        for (off, present) in [(false, false), (false, true), (true, false), (true, true)] {
            let warning = warning(off, present);
            assert_eq!(warning.is_some(), off || !present);
            let says = |what: &[u8]| {
                warning.is_some_and(|text| text.to_bytes().windows(what.len()).any(|w| w == what))
            };
            assert_eq!(says(b"off"), off);
            assert_eq!(says(b"wgvia set DEV mode auto"), off);
            assert_eq!(says(b"no peer"), !present);
            assert!(warning.map_or(0, CStr::count_bytes) < NETLINK_MAX_FMTMSG_LEN as usize);
        }
    }
}
