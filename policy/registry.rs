// SPDX-License-Identifier: GPL-2.0

//! The devices that wgvia knows something of: those that a mode or filter was set for, or that a
//! nexthop that names a peer was ever on.

#![deny(unsafe_code)]

use crate::{
    net::{
        global,
        key::PublicKey,
        lwtunnel::StateRef,
        netdev::{
            NetDevice,
            NetDeviceId, //
        },
        notifier::DeviceGone,
        rtnl::{
            Rtnl,
            RtnlGuard, //
        },
        wireguard::WgDevice, //
    },
    policy::device::Device, //
};
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    },
    sync::Arc, //
};

/// The devices, in all network namespaces.
pub(crate) struct Devices(Option<RBTree<NetDeviceId, Arc<Device>>>);

impl Devices {
    /// None yet.
    pub(crate) const fn empty() -> Self {
        Self(None)
    }

    fn find(&self, dev: &NetDevice) -> Option<Arc<Device>> {
        self.0.as_ref()?.get(&dev.id()).cloned()
    }

    /// Adds a device, unless somebody else has done so: then it is theirs that is returned.
    ///
    /// Fails with `ENODEV` if it is being unregistered: nobody would take it out again.
    fn add(
        &mut self,
        dev: &NetDevice,
        device: Arc<Device>,
        node: RBTreeNode<NetDeviceId, Arc<Device>>,
    ) -> Result<Arc<Device>> {
        if let Some(device) = self.find(dev) {
            return Ok(device);
        }
        if !dev.is_registered() {
            return Err(ENODEV);
        }
        self.0.get_or_insert_with(RBTree::new).insert(node);
        Ok(device)
    }

    fn remove(&mut self, dev: &NetDevice) -> Option<Arc<Device>> {
        self.0.as_mut()?.remove(&dev.id())
    }

    /// Takes one out, no matter which.
    fn take_any(&mut self) -> Option<Arc<Device>> {
        let (_, node) = self.0.as_mut()?.cursor_front_mut()?.remove_current();
        Some(node.to_key_value().1)
    }
}

/// The device, if wgvia knows it. Process context.
pub(crate) fn find(dev: &NetDevice) -> Option<Arc<Device>> {
    global::devices().find(dev)
}

/// The device, made with the defaults if it is not known yet. Process context.
///
/// Fails with `ENOMEM`, or with `ENODEV` if it is being unregistered.
pub(crate) fn find_or_add(dev: &WgDevice<'_>) -> Result<Arc<Device>> {
    let dev = dev.netdev();
    if let Some(device) = find(dev) {
        return Ok(device);
    }
    // Memory may be long in coming, and all devices of all namespaces share the lock.
    let device = Device::new()?;
    let node = RBTreeNode::new(dev.id(), device.clone(), GFP_KERNEL)?;
    global::devices().add(dev, device, node)
}

/// The binding of a key on a device, for one more state. Process context.
///
/// Fails with `ENOMEM`, or with `ENODEV` if the device is being unregistered.
pub(crate) fn bind(dev: &WgDevice<'_>, key: &PublicKey) -> Result<StateRef> {
    let binding = find_or_add(dev)?.bind(dev, key)?;
    binding.note_presence(dev);
    Ok(binding)
}

/// The table of devices, which may be used while this exists and is emptied when it is dropped.
pub(crate) struct Registry(());

impl Registry {
    /// An empty table.
    pub(crate) fn new() -> Result<Self> {
        global::init_devices()?;
        Ok(Self(()))
    }

    fn take_any() -> Option<Arc<Device>> {
        global::devices().take_any()
    }
}

impl Drop for Registry {
    /// Gives every device back to its AllowedIPs.
    fn drop(&mut self) {
        let rtnl = RtnlGuard::lock();
        while let Some(device) = Self::take_any() {
            device.shut_down(&rtnl);
        }
    }
}

impl DeviceGone for Registry {
    fn device_gone(dev: &NetDevice, rtnl: &Rtnl) {
        let device = global::devices().remove(dev);
        if let Some(device) = device {
            device.shut_down(rtnl);
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kunit_tests(wgvia_registry)]
mod tests {
    use super::*;
    use crate::net::netdev::loopback;

    fn add(devices: &mut Devices, dev: &NetDevice) -> Result<(Arc<Device>, Arc<Device>)> {
        let new = Device::new()?;
        let node = RBTreeNode::new(dev.id(), new.clone(), GFP_KERNEL)?;
        Ok((devices.add(dev, new.clone(), node)?, new))
    }

    #[test]
    fn who_is_second_gets_the_first() -> Result {
        let lo = &*loopback()?;
        let mut devices = Devices::empty();
        assert!(devices.find(lo).is_none());
        assert!(devices.remove(lo).is_none());
        assert!(devices.take_any().is_none());

        let (got, first) = add(&mut devices, lo)?;
        assert!(Arc::ptr_eq(&got, &first));
        let (got, second) = add(&mut devices, lo)?;
        assert!(Arc::ptr_eq(&got, &first));
        assert!(devices
            .find(lo)
            .is_some_and(|found| Arc::ptr_eq(&found, &first)));
        // Nothing keeps what was given up.
        assert!(Arc::into_unique_or_drop(second).is_some());

        assert!(devices
            .remove(lo)
            .is_some_and(|found| Arc::ptr_eq(&found, &first)));
        assert!(devices.find(lo).is_none());
        let (third, _) = add(&mut devices, lo)?;
        assert!(!Arc::ptr_eq(&third, &first));
        assert!(devices
            .take_any()
            .is_some_and(|found| Arc::ptr_eq(&found, &third)));
        assert!(devices.take_any().is_none());
        Ok(())
    }
}
