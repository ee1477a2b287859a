// SPDX-License-Identifier: GPL-2.0

//! The packet path: where packets are handled, and where others may go on as they do.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use super::bindings;
use kernel::types::NotThreadSafe;

/// Evidence of being on the packet path: in softirq context or with BH disabled, under RCU.
///
/// Objects that are found in RCU-protected structures live as long as a reference to this.
///
/// # Invariants
///
/// BH is disabled, and an RCU read-side critical section goes on, for as long as this exists.
pub(crate) struct PacketPath(NotThreadSafe);

impl PacketPath {
    /// Evidence for a caller that is on the packet path.
    ///
    /// # Safety
    ///
    /// For as long as the result lives, BH is disabled and an RCU read-side critical section, which
    /// the caller is in, goes on.
    pub(super) unsafe fn assume() -> Self {
        // INVARIANT: The caller promises that BH stays disabled and the critical section goes on.
        Self(NotThreadSafe)
    }
}

/// Call `f` as on the packet path, in process context. Then let others run, who have waited for the
/// CPU.
pub(crate) fn with_packet_path<R>(f: impl FnOnce(&PacketPath) -> R) -> R {
    let result = on_packet_path(f);
    // SAFETY: The caller is in process context.
    unsafe { bindings::wgvia_cond_resched() };
    result
}

/// Call `f` as on the packet path, in any context with interrupts on.
pub(crate) fn on_packet_path<R>(f: impl FnOnce(&PacketPath) -> R) -> R {
    // SAFETY: Ended below; nothing in between can return past that or unwind.
    unsafe { bindings::wgvia_packet_path_begin() };
    // SAFETY: BH is disabled, and an RCU read-side critical section goes on, until after `path` is
    // gone.
    let path = unsafe { PacketPath::assume() };
    let result = f(&path);
    // SAFETY: Begun above.
    unsafe { bindings::wgvia_packet_path_end() };
    result
}
