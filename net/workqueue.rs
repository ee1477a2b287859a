// SPDX-License-Identifier: GPL-2.0

//! Waiting for work, which the `kernel` crate lacks. For unit tests.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use kernel::{
    bindings,
    workqueue::Work, //
};

/// Waits until the work has run to its end, if it was queued. Sleeps.
pub(crate) fn flush<T: ?Sized, const ID: u64>(work: &Work<T, ID>) {
    // SAFETY: The reference is valid, and a `Work` is initialised when it is made.
    unsafe { bindings::flush_work(Work::raw_get(work)) };
}
