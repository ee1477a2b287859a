// SPDX-License-Identifier: GPL-2.0

//! Reads of atomics in place. Those of [`kernel::sync::atomic`] are calls of C functions, of which
//! each packet would make several.
//!
//! C header: [`include/asm-generic/rwonce.h`](srctree/include/asm-generic/rwonce.h)

use core::mem::transmute_copy;
use kernel::sync::atomic::{
    Atomic,
    AtomicType, //
};

/// Read an atomic in relaxed order, as `READ_ONCE()` does.
///
/// A pointer that was published in release order may be followed: what it points to depends on it,
/// as for `rcu_dereference()`.
#[inline(always)]
pub(crate) fn read_once<T: AtomicType>(atomic: &Atomic<T>) -> T {
    const {
        assert!(size_of::<T>() <= size_of::<usize>());
    }
    // SAFETY: An atomic gives a pointer that is valid and aligned, to what others write atomically.
    // Its representation is an integer or a pointer, here of no more than a word, so that a
    // volatile read is one access.
    let repr = unsafe { atomic.as_ptr().cast::<T::Repr>().read_volatile() };
    // SAFETY: An atomic holds the representation of a valid `T`, which has the same size.
    unsafe { transmute_copy(&repr) }
}
