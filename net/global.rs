// SPDX-License-Identifier: GPL-2.0

//! What callbacks without a pointer to a context of their own have to find.

use crate::policy::registry::Devices;
use core::ops::DerefMut;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        global_lock, //
    },
};

global_lock! {
    // SAFETY: Initialised by `init_devices`, once; `devices`, which alone uses it, makes sure that
    // this has happened.
    unsafe(uninit) static DEVICES: Mutex<Devices> = Devices::empty();
}

/// How far [`static@DEVICES`] is: one of the following, and never less than before.
static STATE: Atomic<u32> = Atomic::new(UNTOUCHED);

const UNTOUCHED: u32 = 0;
/// One thread, which came first, initialises it.
const CLAIMED: u32 = 1;
/// It is initialised.
const READY: u32 = 2;

/// Makes [`devices`] usable. Fails with `EBUSY` the second time.
pub(crate) fn init_devices() -> Result {
    if STATE.cmpxchg(UNTOUCHED, CLAIMED, Relaxed).is_err() {
        return Err(EBUSY);
    }
    // SAFETY: Only one thread ever gets here, and only once.
    unsafe { DEVICES.init() };
    STATE.store(READY, Release);
    Ok(())
}

/// The devices, locked. Process context; may sleep. Panics before [`init_devices`] has returned.
pub(crate) fn devices() -> impl DerefMut<Target = Devices> {
    assert!(STATE.load(Acquire) == READY);
    DEVICES.lock()
}
