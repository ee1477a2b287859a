// SPDX-License-Identifier: GPL-2.0

//! Public keys.

use crate::net::bindings;

/// A Curve25519 public key, as on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PublicKey([u8; Self::LEN]);

impl PublicKey {
    /// Its length in bytes.
    pub(crate) const LEN: usize = bindings::WG_KEY_LEN as usize;

    /// Take the bytes of a key. Every 32 bytes are one.
    pub(crate) const fn new(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Return its bytes.
    pub(crate) const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}
