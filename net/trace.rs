// SPDX-License-Identifier: GPL-2.0

//! Tracepoints of packets that are dropped, behind a static key each.
//!
//! The kernel's `declare_trace!` knows the kernel's own tracepoints alone, by its bindings.
//!
//! Header: net/trace.h

use super::{
    bindings,
    netdev::NetDevice,
    packet::Packet,
    wireguard::PublicKey, //
};
use core::ptr;
use kernel::prelude::*;

/// Trace a packet that is not sent, if somebody wants to know; `key` gives the one that its nexthop
/// names.
pub(crate) fn tx_drop(
    dev: &NetDevice,
    packet: &Packet<'_>,
    clause: &'static CStr,
    key: impl FnOnce() -> Option<PublicKey>,
) {
    // SAFETY: Reads a static key.
    if unsafe { bindings::wgvia_tx_drop_is_enabled() } {
        let (key, clause) = (key(), clause.as_char_ptr());
        // SAFETY: Device and packet are valid, the key is null or has 32 bytes, and all is copied.
        unsafe {
            bindings::wgvia_do_tx_drop(dev.as_raw(), bytes(&key), packet.as_raw(), clause);
        }
    }
}

/// Trace a packet that is not accepted, if somebody wants to know; `key` gives that of the peer
/// that it came from.
pub(crate) fn rx_drop(
    dev: &NetDevice,
    packet: &Packet<'_>,
    clause: &'static CStr,
    key: impl FnOnce() -> Option<PublicKey>,
) {
    // SAFETY: Reads a static key.
    if unsafe { bindings::wgvia_rx_drop_is_enabled() } {
        let (key, clause) = (key(), clause.as_char_ptr());
        // SAFETY: As in `tx_drop`.
        unsafe {
            bindings::wgvia_do_rx_drop(dev.as_raw(), bytes(&key), packet.as_raw(), clause);
        }
    }
}

/// Return the bytes of a key; null for none.
fn bytes(key: &Option<PublicKey>) -> *const u8 {
    key.as_ref()
        .map_or(ptr::null(), |key| key.as_bytes().as_ptr())
}
