// SPDX-License-Identifier: GPL-2.0

//! wgvia: routing, instead of AllowedIPs, chooses the WireGuard peer.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `allowedips_rta.rs` | the rule: peer selection and source filter |
//! | `netlink_ext.rs` | the generic netlink family |
//! | `device.rs`, `registry.rs` | the state of a device, and the table of devices |
//! | `settings.rs` | mode and source filter |
//! | `binding.rs`, `key.rs` | what a nexthop that names a peer leads to |
//! | `counters.rs` | what the packets of a device met |
//! | `seam.rs` | all that these use of WireGuard and of the FIB |
//! | `sys/` | the abstractions; the only unsafe code |

#![deny(unsafe_code)]

use kernel::prelude::*;

mod allowedips_rta;
mod binding;
mod counters;
mod device;
mod key;
mod netlink_ext;
mod registry;
mod seam;
mod settings;
#[allow(unsafe_code)]
mod sys;

module! {
    type: Wgvia,
    name: "wgvia",
    authors: ["The wgvia developers"],
    description: "Routing chooses the WireGuard peer",
    license: "GPL v2",
    alias: ["rtnl-lwt-WGPEER", "net-pf-16-proto-16-family-wgvia"],
}

/// The whole machine. Parts are started from the last to the first, and torn down from the first to
/// the last: who may call in comes after, and goes before, what it calls.
#[pin_data]
struct Wgvia {
    /// Routes may name peers.
    nexthop_type: seam::NexthopType,
    /// User space may ask and set.
    family: sys::genl::Registration,
    /// Devices that go are let go of.
    #[pin]
    notifier: sys::notifier::DeviceNotifier<registry::Registry>,
    /// The devices.
    registry: registry::Registry,
}

impl kernel::InPlaceModule for Wgvia {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            registry: registry::Registry::new()?,
            notifier <- sys::notifier::DeviceNotifier::register(),
            family: sys::genl::Registration::new()?,
            nexthop_type: seam::NexthopType::new()?,
        })
    }
}
