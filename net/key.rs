// SPDX-License-Identifier: GPL-2.0

//! What names a peer.

#![deny(unsafe_code)]

use crate::net::bindings;

/// A peer's Curve25519 public key, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PublicKey([u8; Self::LEN]);

impl PublicKey {
    /// Its length in bytes.
    pub(crate) const LEN: usize = bindings::WGVIA_KEY_LEN as usize;

    pub(crate) const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}
