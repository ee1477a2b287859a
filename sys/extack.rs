// SPDX-License-Identifier: GPL-2.0

//! Sentences for people, carried by a netlink acknowledgement.

use super::bindings;
use core::marker::PhantomData;
use kernel::prelude::*;

/// Where a netlink request's error or warning is explained.
///
/// A message given with an error is printed as the error, one given with success as a warning.
///
/// # Invariants
///
/// The pointer is null or valid for the lifetime `'a`, in which this thread alone uses what it
/// points to.
pub(crate) struct ExtAck<'a>(*mut bindings::netlink_ext_ack, PhantomData<&'a ()>);

impl ExtAck<'_> {
    /// Wraps the extack that the kernel passed to a netlink handler.
    ///
    /// # Safety
    ///
    /// `ptr` is null or valid, and no other thread uses it, for as long as the result lives.
    pub(super) unsafe fn from_ptr(ptr: *mut bindings::netlink_ext_ack) -> Self {
        // INVARIANT: The caller promises it.
        Self(ptr, PhantomData)
    }

    /// Sets the message; the last one wins. It is copied, and what is longer than 79 bytes is cut
    /// off.
    pub(crate) fn set(&self, msg: &CStr) {
        // SAFETY: The pointer is null, which the function checks, or valid by the type invariants,
        // and a pointer that is not sent to other threads.
        unsafe { bindings::wgvia_extack_set(self.0, msg.as_char_ptr()) };
    }
}
