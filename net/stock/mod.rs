// SPDX-License-Identifier: GPL-2.0

//! The way into a WireGuard without our patches.
//!
//! The C files beside this have four functions of wireguard.ko replaced (`replace.c`) and provide
//! what the patched kernel's `include/net/wireguard.h` declares (`hook.c`). They know the layout of
//! structs that are private to wireguard.ko from its BTF at the time of the build (`layout.awk`).
//! Nothing but the BTF of the wireguard.ko that is loaded says whether it is the same.

mod btf;

#[cfg(CONFIG_WGVIA_STOCK)]
mod way_in;

#[cfg(CONFIG_WGVIA_STOCK)]
pub(crate) use way_in::{
    announce_type,
    WayIn, //
};
