// SPDX-License-Identifier: GPL-2.0

//! WireGuard: its devices and peers, and the hook by which a device asks which peer a packet goes to
//! and which peer it may come from, and the events of all devices.
//!
//! C header: [`include/net/wireguard.h`](srctree/include/net/wireguard.h), of the kernel patches.

mod device;
mod event;
mod hook;
mod key;
mod peer;

pub(crate) use device::{
    AllowedIp,
    Device,
    Settings, //
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
    PeerRef,
    PeerSlot, //
};
