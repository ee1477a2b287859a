// SPDX-License-Identifier: GPL-2.0

//! Time, as coarse as it is cheap.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use super::bindings;

/// Return the milliseconds since boot, without those of suspend, to the jiffy. Any context.
pub(crate) fn uptime_ms() -> u64 {
    // SAFETY: Callable from any context.
    unsafe { bindings::wgvia_uptime_ms() }
}
