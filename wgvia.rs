// SPDX-License-Identifier: GPL-2.0

//! wgvia: routing, instead of AllowedIPs, chooses the WireGuard peer.
//!
//! | where | what |
//! | --- | --- |
//! | `allowedips_rta.rs` | the rule: peer selection and source filter |
//! | `netlink_ext.rs` | the generic netlink family |
//! | `policy/` | devices, bindings, settings and counters |
//! | `net/` | the abstractions, with the unsafe code |

#![deny(unsafe_code)]

use kernel::prelude::*;

mod allowedips_rta;
#[allow(unsafe_code)]
mod net;
mod netlink_ext;
mod policy;

use net::{
    genetlink,
    notification::Notifications,
    notifier::DeviceNotifier,
    per_net::PerNet,
    wireguard::{
        Listener,
        WayIn, //
    },
    workqueue::WorkQueue, //
};
use policy::{
    devices::Devices,
    encap::KeyedNexthops,
    events::{
        self,
        Events, //
    },
};

module! {
    type: Wgvia,
    name: "wgvia",
    authors: ["The wgvia developers"],
    description: "Routing chooses the WireGuard peer",
    license: "GPL v2",
    alias: ["rtnl-lwt-WGPEER", "net-pf-16-proto-16-family-wgvia"],
}

/// The whole machine. Parts are started from the last to the first, and torn down from the first to
/// the last: a caller comes after, and goes before, what it calls.
#[pin_data]
struct Wgvia {
    /// Routes may name peers.
    encap: KeyedNexthops,
    /// User space may be told.
    notifications: Notifications<netlink_ext::Family>,
    /// User space may ask and set.
    family: genetlink::Registration<netlink_ext::Family>,
    /// WireGuard tells of events, if the kernel has that.
    events: Option<Listener<Events>>,
    /// Each WireGuard device gets its hook, and loses it when it goes.
    #[pin]
    notifier: DeviceNotifier<Devices>,
    /// The devices.
    devices: Devices,
    /// The settings that each network namespace has for devices to come.
    #[pin]
    defaults: PerNet,
    /// Packets may leave work for later.
    workqueue: WorkQueue,
    /// WireGuard can be given hooks.
    way_in: WayIn,
}

impl kernel::InPlaceModule for Wgvia {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            way_in: WayIn::open()?,
            workqueue: WorkQueue::new(c"wgvia")?,
            defaults <- PerNet::register(),
            devices: Devices::new()?,
            notifier <- DeviceNotifier::register(),
            events: events::listen()?,
            family: genetlink::Registration::new(events::groups(events))?,
            notifications: Notifications::new(family)?,
            encap: KeyedNexthops::allow()?,
        })
    }
}
