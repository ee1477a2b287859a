// SPDX-License-Identifier: GPL-2.0

//! wgvia: routing, instead of AllowedIPs, chooses the WireGuard peer.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `allowedips_rta.rs` | the rule: peer selection and source filter |
//! | `netlink_ext.rs` | the generic netlink family |
//! | `policy/` | devices, bindings, settings and counters |
//! | `net/` | the abstractions; the only unsafe code |

#![deny(unsafe_code)]

use kernel::prelude::*;

mod allowedips_rta;
#[allow(unsafe_code)]
mod net;
mod netlink_ext;
mod policy;

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
    nexthop_type: net::lwtunnel::Registration,
    /// User space may ask and set.
    family: net::genetlink::Registration,
    /// Devices that go are let go of.
    #[pin]
    notifier: net::notifier::DeviceNotifier<policy::registry::Registry>,
    /// The devices.
    registry: policy::registry::Registry,
}

impl kernel::InPlaceModule for Wgvia {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            registry: policy::registry::Registry::new()?,
            notifier <- net::notifier::DeviceNotifier::register(),
            family: net::genetlink::Registration::new()?,
            nexthop_type: net::lwtunnel::Registration::new()?,
        })
    }
}
