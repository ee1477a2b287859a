// SPDX-License-Identifier: GPL-2.0

//! A workqueue of the module's own, which is drained before the module goes.
//!
//! The `kernel` crate has the system's queues only; work that is still in one of those when the
//! module is unloaded would run in text that is gone.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::{
    bindings,
    packet_path::PacketPath, //
};
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        rcu, //
    },
    workqueue::{
        Queue,
        RawWorkItem, //
    },
};

/// The queue, null unless a [`WorkQueue`] exists.
static QUEUE: Atomic<*mut bindings::workqueue_struct> = Atomic::new(ptr::null_mut());

/// The module's workqueue: while this exists, [`enqueue`] finds it.
///
/// # Invariants
///
/// The pointer is that of a workqueue which this object owns.
pub(crate) struct WorkQueue(NonNull<bindings::workqueue_struct>);

// SAFETY: Any thread may destroy a workqueue.
unsafe impl Send for WorkQueue {}
// SAFETY: Nothing can be done with a shared reference.
unsafe impl Sync for WorkQueue {}

impl WorkQueue {
    /// Make it. Process context. Fails with `ENOMEM`, or with `EBUSY` if there is one.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: The name is copied.
        let queue = unsafe { bindings::wgvia_alloc_workqueue(name.as_char_ptr()) };
        // INVARIANT: Just allocated.
        let this = Self(NonNull::new(queue).ok_or(ENOMEM)?);
        if QUEUE.cmpxchg(ptr::null_mut(), queue, Full).is_err() {
            // Its drop finds another queue's pointer, and leaves that where it is.
            return Err(EBUSY);
        }
        Ok(this)
    }
}

impl Drop for WorkQueue {
    /// Wait for all work to end.
    fn drop(&mut self) {
        if QUEUE
            .cmpxchg(self.0.as_ptr(), ptr::null_mut(), Full)
            .is_ok()
        {
            rcu::synchronize_rcu();
        }
        // SAFETY: Owned by the type invariants. Nobody finds it any more, and all who found it
        // under RCU are done.
        unsafe { bindings::destroy_workqueue(self.0.as_ptr()) };
    }
}

/// Enqueue work on the module's workqueue, unless it is enqueued already or the module is going.
pub(crate) fn enqueue<W, const ID: u64>(work: W, _: &PacketPath)
where
    W: RawWorkItem<ID> + Send + 'static,
{
    let queue = QUEUE.load(Acquire);
    if !queue.is_null() {
        // SAFETY: The packet path is under RCU, which the queue's owner waits for before it
        // destroys the queue.
        let queue = unsafe { Queue::from_raw(queue.cast()) };
        _ = queue.enqueue(work);
    }
}
