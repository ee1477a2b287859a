// SPDX-License-Identifier: GPL-2.0

//! What callbacks without a pointer to a context of their own have to find.

use crate::registry::Devices;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full, //
        },
        global_lock,
        GlobalGuard, //
    },
};

global_lock! {
    // SAFETY: Initialised by `init_devices`, once, before anything that calls `devices` is
    // registered: `wgvia.rs` creates the registry first.
    pub(crate) unsafe(uninit) static DEVICES: Mutex<Devices> = Devices::empty();
}

static INITIALISED: Atomic<bool> = Atomic::new(false);

/// Evidence that [`devices`] may be called.
pub(crate) struct DevicesReady(());

/// Makes [`devices`] usable. Fails with `EBUSY` the second time.
pub(crate) fn init_devices() -> Result<DevicesReady> {
    if INITIALISED.xchg(true, Full) {
        return Err(EBUSY);
    }
    // SAFETY: The flag makes sure that this is done once.
    unsafe { DEVICES.init() };
    Ok(DevicesReady(()))
}

/// The devices, locked. Process context; may sleep.
pub(crate) fn devices() -> GlobalGuard<DEVICES> {
    assert!(INITIALISED.load(kernel::sync::atomic::Acquire));
    DEVICES.lock()
}
