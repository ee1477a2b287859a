// SPDX-License-Identifier: GPL-2.0

//! Constants of the netlink family, made from include/uapi/linux/wgvia.h by the
//! build script.

#![allow(dead_code)] // the header has all of them, whatever the tool uses

include!(concat!(env!("OUT_DIR"), "/uapi.rs"));
