// SPDX-License-Identifier: GPL-2.0

//! A pointer that packets read under RCU and process context replaces.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use super::{
    bindings,
    packet_path::PacketPath,
    read_once::read_once, //
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Full, //
    },
};

/// An optional box, read by packets while it is replaced.
///
/// # Invariants
///
/// The pointer is null or came from a [`KBox`] that this object owns.
pub(crate) struct RcuBox<T>(Atomic<*mut T>, PhantomData<KBox<T>>);

// SAFETY: It owns a box of what is `Send`, and lends it to any thread.
unsafe impl<T: Send + Sync> Send for RcuBox<T> {}
// SAFETY: It lends references to what is `Sync`, and drops what is `Send` on any thread.
unsafe impl<T: Send + Sync> Sync for RcuBox<T> {}

impl<T> RcuBox<T> {
    /// Make an empty one.
    pub(crate) const fn new() -> Self {
        // INVARIANT: It is null.
        Self(Atomic::new(ptr::null_mut()), PhantomData)
    }

    /// Read it, for as long as the packet path goes on.
    pub(crate) fn load<'p>(&'p self, _: &'p PacketPath) -> Option<&'p T> {
        // SAFETY: Null, or a box by the type invariants, which `replace` frees after a grace period
        // that starts when it is not to be found here any more. `replace` made it visible after
        // what is in it.
        unsafe { read_once(&self.0).as_ref() }
    }

    /// Put another in its place. Process context; waits for a grace period, and hurries if RTNL is
    /// held.
    pub(crate) fn replace(&self, new: Option<KBox<T>>) {
        let new = new.map_or(ptr::null_mut(), KBox::into_raw);
        // INVARIANT: `new` is null or came from a box.
        let old = self.0.xchg(new, Full);
        if !old.is_null() {
            // SAFETY: Process context.
            unsafe { bindings::synchronize_net() };
            // SAFETY: It came from a box by the type invariants, nobody else can have taken it
            // out, and all who could have read it are done.
            drop(unsafe { KBox::from_raw(old) });
        }
    }
}

impl<T> Drop for RcuBox<T> {
    fn drop(&mut self) {
        let old = self.0.xchg(ptr::null_mut(), Full);
        if !old.is_null() {
            // SAFETY: It came from a box by the type invariants. A packet that reads it has a
            // reference to `self`, so there is none.
            drop(unsafe { KBox::from_raw(old) });
        }
    }
}
