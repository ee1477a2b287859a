// SPDX-License-Identifier: GPL-2.0

//! The WireGuard devices of all network namespaces.

#![deny(unsafe_code)]

use crate::{
    net::{
        global::Global,
        netdev::{
            NetDevice,
            NetDeviceId, //
        },
        notifier::DeviceEvents,
        rtnl::{
            Rtnl,
            RtnlGuard, //
        },
        wireguard::Device, //
    },
    policy::{
        defaults,
        events,
        settings::Change,
        via::Via, //
    },
};
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    static_lock_class,
    sync::Arc, //
};

type Tree = RBTree<NetDeviceId, Arc<Via>>;

static DEVICES: Global<Option<Tree>> = Global::new();

/// Return the state of a device; [`None`] if it is not a registered WireGuard device. Process
/// context.
pub(crate) fn find(dev: &NetDevice) -> Option<Arc<Via>> {
    DEVICES.lock()?.as_ref()?.get(&dev.id()).cloned()
}

/// The table of devices: it is there while this exists, and is emptied when it is dropped.
pub(crate) struct Devices(());

impl Devices {
    /// Make an empty table. Fails with `EBUSY` the second time.
    pub(crate) fn new() -> Result<Self> {
        DEVICES.init(None, c"wgvia::DEVICES", static_lock_class!())?;
        Ok(Self(()))
    }

    /// Take one device out, no matter which.
    fn take_any() -> Option<Arc<Via>> {
        let mut devices = DEVICES.lock()?;
        let (_, node) = (*devices).as_mut()?.cursor_front_mut()?.remove_current();
        Some(node.to_key_value().1)
    }
}

impl Drop for Devices {
    /// Give every device back to its AllowedIPs.
    fn drop(&mut self) {
        let rtnl = RtnlGuard::lock();
        while let Some(via) = Self::take_any() {
            via.shut_down(&rtnl);
        }
    }
}

impl DeviceEvents for Devices {
    fn registered(dev: &NetDevice, rtnl: &Rtnl) -> Result {
        let Some(wg) = Device::new(dev) else {
            return Ok(());
        };
        if let Some(via) = find(dev) {
            // It has come from another network namespace, which had other rules.
            via.tables().forget(rtnl);
            events::device_changed(dev, &via, rtnl);
            return Ok(());
        }
        let via = Via::new()?;
        let node = RBTreeNode::new(dev.id(), via.clone(), GFP_KERNEL)?;
        match via.set(Change::to(defaults::get(dev.net(rtnl), rtnl)), wg, rtnl) {
            Err(EEXIST) => {
                pr_warn!(
                    "{}: another module chooses its peers, so wgvia is off on it\n",
                    dev.name(rtnl)
                )
            }
            done => done?,
        }
        if let Some(mut devices) = DEVICES.lock() {
            devices.get_or_insert_with(RBTree::new).insert(node);
        }
        events::device_changed(dev, &via, rtnl);
        Ok(())
    }

    fn unregistered(dev: &NetDevice, rtnl: &Rtnl) {
        let via = DEVICES
            .lock()
            .and_then(|mut devices| (*devices).as_mut()?.remove(&dev.id()));
        if let Some(via) = via {
            via.shut_down(rtnl);
            events::device_deleted(dev, rtnl);
        }
    }

    fn leaves(dev: &NetDevice, rtnl: &Rtnl) {
        if Device::new(dev).is_some() {
            events::device_deleted(dev, rtnl);
        }
        // Packets that wait have dsts of the network namespace.
        if let Some(via) = find(dev) {
            via.clear_copies();
        }
    }
}
