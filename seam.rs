// SPDX-License-Identifier: GPL-2.0

//! The one seam between the policy and what it drives: all that it uses of WireGuard and of the
//! FIB, and nothing else of theirs.
//!
//! Another way in, beside that of the kernel patches, has to offer this and nothing more.

#![deny(unsafe_code)]

pub(crate) use crate::sys::{
    fib::{
        Flow,
        Through, //
    },
    lwtunnel::{
        Registration as NexthopType,
        StateRef, //
    },
    nexthop::Nexthop,
    packet::{
        Packet,
        PacketPath, //
    },
    wireguard::{
        is_device,
        synchronize,
        Attachment,
        Peer,
        PeerHook,
        PeerRef,
        PeerSlot,
        Selection,
        SourceCheck,
        WgDevice, //
    },
};
