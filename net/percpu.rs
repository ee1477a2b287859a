// SPDX-License-Identifier: GPL-2.0

//! Counters that every CPU has for itself.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use super::{
    bindings,
    packet::Packet, //
};
use core::num::NonZeroUsize;
use kernel::prelude::*;

/// `N` 64-bit counters on each CPU: counting touches no cache line that another CPU writes.
///
/// # Invariants
///
/// The number is that of a per-CPU allocation of `N` `u64`, owned by this object.
pub(crate) struct PerCpuCounters<const N: usize>(NonZeroUsize);

impl<const N: usize> PerCpuCounters<N> {
    /// Make counters that are all zero. Process context; may sleep. Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Any length may be asked for.
        let counters = unsafe { bindings::wgvia_percpu_alloc(N * size_of::<u64>()) };
        // INVARIANT: A per-CPU allocation of `N` counters that nobody else has.
        Ok(Self(NonZeroUsize::new(counters).ok_or(ENOMEM)?))
    }

    /// Return the place of a counter; [`None`] if there is none of this index.
    fn counter(&self, index: usize) -> Option<usize> {
        (index < N).then(|| self.0.get() + index * size_of::<u64>())
    }

    /// Add to this CPU's counter. Any context.
    pub(crate) fn add(&self, index: usize, value: u64) {
        if let Some(counter) = self.counter(index) {
            // SAFETY: The counter is within the per-CPU allocation of the type invariants, and
            // `this_cpu_add()` is not torn by preemption or interrupts.
            unsafe { bindings::wgvia_percpu_add(counter, value) };
        }
    }

    /// Add the packets that one stands for to this CPU's counter. Any context.
    pub(crate) fn count(&self, index: usize, packet: &Packet<'_>) {
        if let Some(counter) = self.counter(index) {
            // SAFETY: The counter is within the per-CPU allocation of the type invariants,
            // `this_cpu_add()` is not torn by preemption or interrupts, and the packet is valid by
            // the invariants of its type.
            unsafe { bindings::wgvia_percpu_count(counter, packet.as_raw()) };
        }
    }

    /// Return the sum over all CPUs. What is added meanwhile may be in it or not.
    pub(crate) fn sum(&self, index: usize) -> u64 {
        let Some(counter) = self.counter(index) else {
            return 0;
        };
        // SAFETY: The counter is within the per-CPU allocation of the type invariants.
        unsafe { bindings::wgvia_percpu_sum(counter) }
    }
}

impl<const N: usize> Drop for PerCpuCounters<N> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants this is a per-CPU allocation, and nobody uses it any more.
        unsafe { bindings::wgvia_percpu_free(self.0.get()) };
    }
}
