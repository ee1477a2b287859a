// SPDX-License-Identifier: GPL-2.0

//! WireGuard: its devices and peers, and the hook by which a device asks which peer a packet goes
//! to and which peer it may come from, and the events of all devices.
//!
//! C header: [`include/net/wireguard.h`](srctree/include/net/wireguard.h), of the kernel patches.

mod device;
mod event;
mod hook;
mod key;
mod peer;

#[cfg(CONFIG_WGVIA_STOCK)]
pub(crate) use super::stock::WayIn;
pub(crate) use device::{
    AllowedIp,
    Device,
    DeviceSettings, //
};
pub(crate) use event::{
    AllowedIps,
    Event,
    Listener,
    Observer, //
};
pub(crate) use hook::{
    Attachment,
    DeviceSlot,
    PeerHook,
    Selection,
    SourceCheck, //
};
pub(crate) use key::PublicKey;
pub(crate) use peer::{
    Peer,
    PeerId,
    PeerRef,
    PeerSlot, //
};

/// Without our patches no type of lightweight tunnel is set aside for keyed nexthops: the one that
/// is used may have another owner.
pub(crate) const TYPE_IS_BORROWED: bool = cfg!(CONFIG_WGVIA_STOCK);

/// WireGuard can be given hooks for as long as this exists: by our patches, always.
#[cfg(not(CONFIG_WGVIA_STOCK))]
pub(crate) struct WayIn(());

#[cfg(not(CONFIG_WGVIA_STOCK))]
impl WayIn {
    /// Never fails.
    pub(crate) fn open() -> kernel::error::Result<Self> {
        Ok(Self(()))
    }
}
