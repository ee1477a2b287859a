// SPDX-License-Identifier: GPL-2.0

//! State that callbacks without a context of their own have to find.
//!
//! The counterpart of [`kernel::sync::global_lock`] for a static whose user needs no unsafe code.

use core::{
    cell::UnsafeCell,
    mem::MaybeUninit,
    pin::Pin, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        LockClassKey,
        Mutex, //
    },
};

const UNTOUCHED: u32 = 0;
/// One thread, the first, initialises the mutex.
const CLAIMED: u32 = 1;
const READY: u32 = 2;

/// A mutex in a static, which can be locked once it has been initialised.
///
/// Nothing is dropped: leave nothing in it that has to be.
///
/// # Invariants
///
/// `state` only grows. `mutex` is initialised when it is [`READY`].
pub(crate) struct Global<T> {
    state: Atomic<u32>,
    mutex: UnsafeCell<MaybeUninit<Mutex<T>>>,
}

// SAFETY: Only one thread initialises the mutex, before any other gets a reference to it, and a
// mutex of what is `Send` is `Sync`.
unsafe impl<T: Send> Sync for Global<T> {}

impl<T> Global<T> {
    /// Make one that nobody can lock yet.
    pub(crate) const fn new() -> Self {
        // INVARIANT: The mutex is not ready.
        Self {
            state: Atomic::new(UNTOUCHED),
            mutex: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Initialise it. Fails with `EBUSY` the second time.
    pub(crate) fn init(
        &'static self,
        value: T,
        name: &'static CStr,
        key: Pin<&'static LockClassKey>,
    ) -> Result {
        if self.state.cmpxchg(UNTOUCHED, CLAIMED, Relaxed).is_err() {
            return Err(EBUSY);
        }
        // SAFETY: Only one thread ever gets here, and only once. The static never moves, so the
        // mutex is pinned.
        unsafe { Mutex::new(value, name, key).__init((*self.mutex.get()).as_mut_ptr())? };
        // INVARIANT: Just initialised.
        self.state.store(READY, Release);
        Ok(())
    }

    /// Lock it; [`None`] before [`Self::init`] has returned. Process context; may sleep.
    pub(crate) fn lock(&'static self) -> Option<Guard<'static, T, MutexBackend>> {
        if self.state.load(Acquire) != READY {
            return None;
        }
        // SAFETY: Initialised by the type invariants, and never written as a whole again.
        Some(unsafe { (*self.mutex.get()).assume_init_ref() }.lock())
    }
}
