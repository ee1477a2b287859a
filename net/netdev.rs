// SPDX-License-Identifier: GPL-2.0

//! Network devices.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use super::{
    bindings,
    packet_path::PacketPath,
    rtnl::Rtnl, //
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

/// A network namespace, borrowed.
///
/// # Invariants
///
/// The pointer is valid for the lifetime `'a`.
#[derive(Clone, Copy)]
pub(crate) struct Net<'a>(NonNull<bindings::net>, PhantomData<&'a ()>);

impl<'a> Net<'a> {
    /// Borrow a namespace.
    ///
    /// # Safety
    ///
    /// `ptr` is valid for the lifetime `'a`.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::net) -> Self {
        // SAFETY: A valid pointer is not null.
        // INVARIANT: The caller promises it.
        Self(unsafe { NonNull::new_unchecked(ptr) }, PhantomData)
    }

    /// Return the pointer.
    pub(super) fn as_raw(self) -> *mut bindings::net {
        self.0.as_ptr()
    }

    /// The device of an index, which cannot go while RTNL is held.
    pub(crate) fn device_by_index<'r>(self, ifindex: u32, _: &'r Rtnl) -> Option<&'r NetDevice>
    where
        'a: 'r,
    {
        // SAFETY: The namespace is valid by the type invariants, and RTNL is held.
        let dev = unsafe { bindings::__dev_get_by_index(self.as_raw(), ifindex as i32) };
        // SAFETY: Null, or a device that stays registered while RTNL is held.
        unsafe { dev.cast::<NetDevice>().as_ref() }
    }

    /// The device of a name, which cannot go while RTNL is held.
    pub(crate) fn device_by_name<'r>(self, name: &CStr, _: &'r Rtnl) -> Option<&'r NetDevice>
    where
        'a: 'r,
    {
        // SAFETY: The namespace is valid by the type invariants, and RTNL is held.
        let dev = unsafe { bindings::__dev_get_by_name(self.as_raw(), name.as_char_ptr()) };
        // SAFETY: Null, or a device that stays registered while RTNL is held.
        unsafe { dev.cast::<NetDevice>().as_ref() }
    }

    /// The device with the lowest index that is at least `ifindex`.
    pub(crate) fn device_from_index<'r>(self, ifindex: u32, _: &'r Rtnl) -> Option<&'r NetDevice>
    where
        'a: 'r,
    {
        // SAFETY: The namespace is valid by the type invariants, and RTNL is held.
        let dev = unsafe { bindings::wgvia_device_from_index(self.as_raw(), ifindex) };
        // SAFETY: Null, or a device that stays registered while RTNL is held.
        unsafe { dev.cast::<NetDevice>().as_ref() }
    }

    /// The device of an index, with a reference that keeps its memory but not its registration.
    /// Process context.
    pub(super) fn get_device(self, ifindex: u32) -> Option<NetDeviceRef> {
        let mut tracker = Tracker::zeroed();
        // SAFETY: The namespace is valid by the type invariants.
        let dev = unsafe {
            bindings::wgvia_netdev_get_by_index(self.as_raw(), ifindex as i32, tracker.as_mut_ptr())
        };
        // INVARIANT: It comes with the reference.
        NonNull::new(dev.cast::<NetDevice>()).map(|dev| NetDeviceRef { dev, tracker })
    }
}

/// An identity that tells devices apart while they live: a later device may have the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NetDeviceId(usize);

/// A network device.
///
/// # Invariants
///
/// A reference to it is a reference to a valid `struct net_device`, with what its driver keeps of
/// it: that is freed (`priv_destructor`) when the device is no longer registered and all who hold
/// counted references have put them. Of a device that another notifier refused, WireGuard frees its
/// tables sooner: whoever looks there does so in [`NetDevice::while_registered`]. Such a device has
/// never had a peer, which is added under RTNL: the refusal comes before that is let go.
#[repr(transparent)]
pub(crate) struct NetDevice(Opaque<bindings::net_device>);

impl NetDevice {
    /// Borrow a device.
    ///
    /// # Safety
    ///
    /// `ptr` is valid for the lifetime `'a`, with what its driver keeps of it.
    pub(super) unsafe fn from_raw<'a>(ptr: *mut bindings::net_device) -> &'a Self {
        // SAFETY: The caller promises that the device is valid, and the layout is the same.
        unsafe { &*ptr.cast() }
    }

    /// Return the pointer.
    pub(super) fn as_raw(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// Return its identity.
    pub(crate) fn id(&self) -> NetDeviceId {
        NetDeviceId(self.as_raw() as usize)
    }

    /// Its index in its network namespace.
    pub(crate) fn ifindex(&self) -> u32 {
        // SAFETY: Valid by the type invariants. The index changes only while no packet moves and
        // under RTNL, so a racy read is one of the two.
        (unsafe { core::ptr::read_volatile(&raw const (*self.as_raw()).ifindex) }) as u32
    }

    /// Return the network namespace that it is in now.
    pub(crate) fn net_now<'p>(&self, _: &'p PacketPath) -> Net<'p> {
        // SAFETY: Valid by the type invariants. A namespace is freed after a grace period that
        // starts when no device is in it, and the packet path is under RCU.
        unsafe { Net::from_raw(bindings::dev_net_rcu(self.as_raw())) }
    }

    /// Tell whether it is up.
    pub(crate) fn is_running(&self) -> bool {
        // SAFETY: Valid by the type invariants.
        unsafe { bindings::wgvia_netdev_is_running(self.as_raw()) }
    }

    /// Its group (`ip link set group`).
    pub(crate) fn group(&self) -> i32 {
        // SAFETY: Valid by the type invariants. A racy read is one of the values that it has had.
        unsafe { core::ptr::read_volatile(&raw const (*self.as_raw()).group) }
    }

    /// Set `IFF_MULTICAST`, unless it is set. User space is told, of a new device with all the
    /// rest.
    pub(crate) fn set_multicast(&self, _: &Rtnl) {
        // SAFETY: Valid by the type invariants, and RTNL is held. This flag alone makes nothing
        // that could fail.
        unsafe { bindings::wgvia_netdev_set_multicast(self.as_raw()) };
    }

    /// Its network namespace, which it does not leave while RTNL is held.
    pub(crate) fn net<'r>(&'r self, _: &'r Rtnl) -> Net<'r> {
        // SAFETY: Valid by the type invariants; a namespace stays as long as it has devices.
        unsafe { Net::from_raw(bindings::wgvia_netdev_net(self.as_raw())) }
    }

    /// Its name, which does not change while RTNL is held.
    pub(crate) fn name<'r>(&'r self, _: &'r Rtnl) -> &'r CStr {
        // SAFETY: Valid by the type invariants, NUL-terminated, and stable under RTNL.
        unsafe { CStr::from_char_ptr((&raw const (*self.as_raw()).name).cast()) }
    }

    /// Tell whether it is registered: neither before that nor on its way out.
    pub(crate) fn is_registered(&self) -> bool {
        // SAFETY: Valid by the type invariants.
        unsafe { bindings::wgvia_netdev_is_registered(self.as_raw()) }
    }

    /// Call `f`, which does not sleep, if the device is registered. Unregistering it waits until
    /// `f` has returned.
    pub(super) fn while_registered<T>(&self, f: impl FnOnce() -> T) -> Option<T> {
        // `unregister_netdevice_many_notify()` waits for a grace period after it has marked the
        // device, and before it tells anybody.
        let _rcu = rcu::read_lock();
        self.is_registered().then(f)
    }

    /// Take a reference to it, which [`Self::put`] has to give back. Any context.
    pub(super) fn hold(&self) {
        // SAFETY: Valid by the type invariants. Without a tracker nothing is allocated.
        unsafe { bindings::wgvia_netdev_hold(self.as_raw(), ptr::null_mut()) };
    }

    /// Give a reference back that [`Self::hold`] has taken. Any context.
    ///
    /// # Safety
    ///
    /// The caller has such a reference to the device `ptr`, and gives it up.
    pub(super) unsafe fn put(ptr: *mut bindings::net_device) {
        // SAFETY: The reference keeps the device.
        unsafe { bindings::wgvia_netdev_put(ptr, ptr::null_mut()) };
    }

    /// A counted reference to it. Process context.
    pub(super) fn get(&self) -> NetDeviceRef {
        let mut tracker = Tracker::zeroed();
        // SAFETY: Valid by the type invariants.
        unsafe { bindings::wgvia_netdev_hold(self.as_raw(), tracker.as_mut_ptr()) };
        // INVARIANT: The reference was just taken.
        NetDeviceRef {
            dev: NonNull::from(self),
            tracker,
        }
    }
}

/// The name by which `CONFIG_NET_DEV_REFCNT_TRACKER` knows a reference; empty without it.
type Tracker = MaybeUninit<bindings::netdevice_tracker>;

/// A counted reference to a device, which keeps its memory but not its registration.
///
/// # Invariants
///
/// The pointer is valid, and this object owns a reference to it, with its tracker.
pub(super) struct NetDeviceRef {
    dev: NonNull<NetDevice>,
    tracker: Tracker,
}

impl Deref for NetDeviceRef {
    type Target = NetDevice;

    fn deref(&self) -> &NetDevice {
        // SAFETY: Valid by the type invariants.
        unsafe { self.dev.as_ref() }
    }
}

impl Drop for NetDeviceRef {
    fn drop(&mut self) {
        // SAFETY: The reference is owned by the type invariants.
        unsafe {
            bindings::wgvia_netdev_put(self.dev.as_ptr().cast(), self.tracker.as_mut_ptr());
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kunit_tests(wgvia_netdev)]
mod tests {
    use super::*;
    use crate::net::{
        rtnl::RtnlGuard,
        wireguard::Device, //
    };

    fn init_net() -> Net<'static> {
        // SAFETY: It is static.
        unsafe { Net::from_raw(&raw mut bindings::init_net) }
    }

    /// A device that every kernel has.
    fn loopback() -> Result<impl Deref<Target = NetDevice>> {
        init_net()
            .get_device(bindings::LOOPBACK_IFINDEX)
            .ok_or(ENODEV)
    }

    #[test]
    fn knows_the_loopback_device() -> Result {
        let lo = loopback()?;
        assert_eq!(lo.ifindex(), bindings::LOOPBACK_IFINDEX);
        assert!(lo.is_registered());
        assert!(Device::new(&lo).is_none());
        Ok(())
    }

    // A failed assertion ends the thread: none may be made under RTNL.

    #[test]
    fn finds_the_loopback_device() -> Result {
        let lo = loopback()?;
        let rtnl = RtnlGuard::lock();
        let named = lo.name(&rtnl) == c"lo";
        // It has the lowest index of all.
        let found = [
            init_net().device_by_name(c"lo", &rtnl),
            init_net().device_by_index(lo.ifindex(), &rtnl),
            init_net().device_from_index(0, &rtnl),
            init_net().device_from_index(lo.ifindex(), &rtnl),
        ]
        .map(|dev| dev.map(NetDevice::id));
        drop(rtnl);
        assert!(named);
        assert!(found == [Some(lo.id()); 4]);
        Ok(())
    }

    #[test]
    fn finds_no_other() {
        let rtnl = RtnlGuard::lock();
        let found = [
            init_net().device_by_name(c"", &rtnl),
            init_net().device_by_name(c"no such device", &rtnl),
            init_net().device_by_index(0, &rtnl),
            init_net().device_by_index(u32::MAX, &rtnl),
            init_net().device_from_index(i32::MAX as u32, &rtnl),
            init_net().device_from_index(u32::MAX, &rtnl),
        ]
        .map(|dev| dev.is_some());
        drop(rtnl);
        assert_eq!(found, [false; 6]);
        assert!(init_net().get_device(u32::MAX).is_none());
    }
}
