// SPDX-License-Identifier: GPL-2.0

//! Notice of network devices that come and go.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use super::{
    bindings,
    netdev::NetDevice,
    rtnl::Rtnl, //
};
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// An observer of network devices.
pub(crate) trait DeviceEvents {
    /// Take note that `dev` is registered in a network namespace: it is new, was there when the
    /// notifier was registered, or has come from another namespace. An error makes the registration
    /// of the device, or of the notifier, fail with it.
    fn registered(dev: &NetDevice, rtnl: &Rtnl) -> Result;

    /// Take note that `dev`, of any network namespace, is being unregistered: its last packet is
    /// yet to come, its memory stays until this returns. Not called when it moves to another
    /// namespace.
    fn unregistered(dev: &NetDevice, rtnl: &Rtnl);

    /// Take note that `dev` leaves its network namespace for another; that it is registered there
    /// follows. Also called for each device when the notifier is unregistered.
    fn leaves(dev: &NetDevice, rtnl: &Rtnl);
}

/// A notifier that calls a [`DeviceEvents`] until it is dropped.
///
/// # Invariants
///
/// The notifier block is registered.
#[pin_data(PinnedDrop)]
pub(crate) struct DeviceNotifier<T: DeviceEvents> {
    #[pin]
    block: Opaque<bindings::notifier_block>,
    _target: PhantomData<T>,
}

// SAFETY: The notifier block belongs to the kernel once registered; any thread may unregister it.
unsafe impl<T: DeviceEvents> Send for DeviceNotifier<T> {}
// SAFETY: Nothing can be done with a shared reference.
unsafe impl<T: DeviceEvents> Sync for DeviceNotifier<T> {}

impl<T: DeviceEvents> DeviceNotifier<T> {
    /// Register it for all network namespaces. Takes RTNL.
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // INVARIANT: Registered, or the initialisation fails.
            block <- Opaque::try_ffi_init(|slot: *mut bindings::notifier_block| {
                let block = bindings::notifier_block {
                    notifier_call: Some(Self::call),
                    ..Default::default()
                };
                // SAFETY: `slot` is valid for writes, and pinned until `drop` unregisters it.
                to_result(unsafe {
                    slot.write(block);
                    bindings::register_netdevice_notifier(slot)
                })
            }),
            _target: PhantomData,
        })
    }

    /// The observer for the notifier chain.
    ///
    /// # Safety
    ///
    /// Called by the netdevice notifier chain.
    unsafe extern "C" fn call(
        _block: *mut bindings::notifier_block,
        event: usize,
        data: *mut c_void,
    ) -> c_int {
        let event = event as u32;
        if !matches!(
            event,
            bindings::netdev_cmd_NETDEV_REGISTER | bindings::netdev_cmd_NETDEV_UNREGISTER
        ) {
            return bindings::NOTIFY_DONE as c_int;
        }
        // SAFETY: The netdevice notifier chain passes a `netdev_notifier_info`, under RTNL, of a
        // device that is valid until the call returns; what its driver keeps of it is freed after
        // that.
        let (dev, rtnl) = unsafe {
            (
                NetDevice::from_raw(bindings::netdev_notifier_info_to_dev(data.cast())),
                Rtnl::assume_held(),
            )
        };
        let result = if event == bindings::netdev_cmd_NETDEV_REGISTER {
            T::registered(dev, &rtnl)
        } else {
            // The event also comes when a device leaves a namespace, and for every device there is
            // when the notifier is unregistered.
            if dev.is_registered() {
                T::leaves(dev, &rtnl);
            } else {
                T::unregistered(dev, &rtnl);
            }
            Ok(())
        };
        // SAFETY: Only calculates.
        unsafe { bindings::notifier_from_errno(result.err().map_or(0, Error::to_errno)) }
    }
}

#[pinned_drop]
impl<T: DeviceEvents> PinnedDrop for DeviceNotifier<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered by the type invariants.
        unsafe { bindings::unregister_netdevice_notifier(self.block.get()) };
    }
}
