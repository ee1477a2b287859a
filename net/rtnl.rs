// SPDX-License-Identifier: GPL-2.0

//! The lock of network configuration.
//!
//! C header: [`include/linux/rtnetlink.h`](srctree/include/linux/rtnetlink.h)

use super::bindings;
use core::ops::Deref;
use kernel::types::NotThreadSafe;

/// Evidence that this thread holds RTNL.
///
/// # Invariants
///
/// This thread holds RTNL for as long as this exists.
pub(crate) struct Rtnl(NotThreadSafe);

impl Rtnl {
    /// Evidence for a caller that took the lock elsewhere.
    ///
    /// # Safety
    ///
    /// RTNL is held by this thread for as long as the result lives.
    pub(super) unsafe fn assume_held() -> Self {
        // INVARIANT: The caller promises it.
        Self(NotThreadSafe)
    }
}

/// RTNL, held until this is dropped.
///
/// # Invariants
///
/// This thread took RTNL and has not released it; the [`Rtnl`] does not leave this object.
#[must_use = "RTNL is released at once when this is not kept"]
pub(crate) struct RtnlGuard(Rtnl);

impl RtnlGuard {
    /// Take RTNL. Process context; may sleep.
    pub(crate) fn lock() -> Self {
        // SAFETY: Callable from process context, released in `drop`.
        unsafe { bindings::rtnl_lock() };
        // INVARIANT: Taken just above, and released when this, and with it the `Rtnl`, is dropped.
        Self(Rtnl(NotThreadSafe))
    }
}

impl Deref for RtnlGuard {
    type Target = Rtnl;

    fn deref(&self) -> &Rtnl {
        &self.0
    }
}

impl Drop for RtnlGuard {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, this thread holds it.
        unsafe { bindings::rtnl_unlock() };
    }
}

/// Wait until all RCU read-side critical sections have ended that had begun, those of packets among
/// them. It hurries, for those who wait for RTNL.
pub(crate) fn synchronize(_: &Rtnl) {
    // SAFETY: Process context, since RTNL is held.
    unsafe { bindings::synchronize_net() };
}
