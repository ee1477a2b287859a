// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family: what user space may ask and set.
//!
//! Every operation needs `CAP_NET_ADMIN` in the user namespace of the network namespace, which
//! the generated table of operations sees to. The spec is netlink/specs/wgvia.yaml.

#![deny(unsafe_code)]

use crate::{
    net::{
        bindings as abi,
        genetlink::{
            Dump,
            Message,
            Request, //
        },
        key::PublicKey,
        netdev::NetDevice,
        rtnl::{
            Rtnl,
            RtnlGuard, //
        },
        wireguard::{
            is_device,
            WgDevice, //
        },
    },
    policy::{
        device::Device,
        registry,
        settings::{
            Filter,
            Mode,
            Settings, //
        },
    },
};
use kernel::prelude::*;

/// The device that a request names by its index or its name.
///
/// Fails with `EINVAL` unless it does exactly one of the two, `ENODEV` if there is none, and
/// `EOPNOTSUPP` if it is not a WireGuard device.
fn named_device<'r>(request: &'r Request<'_>, rtnl: &'r Rtnl) -> Result<WgDevice<'r>> {
    let net = request.net();
    let dev = match (
        request.u32(abi::WGVIA_A_DEVICE_IFINDEX),
        request.string(abi::WGVIA_A_DEVICE_IFNAME),
    ) {
        (Some(ifindex), None) => net.device_by_index(ifindex, rtnl),
        (None, Some(name)) => net.device_by_name(name, rtnl),
        _ => {
            request
                .extack()
                .set(c"name the device by either its ifindex or its ifname");
            return Err(EINVAL);
        }
    };
    wireguard_device(dev, request)
}

fn wireguard_device<'r>(dev: Option<&'r NetDevice>, request: &Request<'_>) -> Result<WgDevice<'r>> {
    let dev = dev.ok_or_else(|| {
        request.extack().set(c"no such device");
        ENODEV
    })?;
    WgDevice::new(dev).ok_or_else(|| {
        request.extack().set(c"not a WireGuard device");
        EOPNOTSUPP
    })
}

/// Writes what there is to tell of a device.
fn put_device(message: &mut Message<'_>, dev: &NetDevice, rtnl: &Rtnl) -> Result {
    let device = registry::find(dev);
    let device = device.as_deref();
    message.put_u32(abi::WGVIA_A_DEVICE_IFINDEX, dev.ifindex())?;
    message.put_string(abi::WGVIA_A_DEVICE_IFNAME, dev.name(rtnl))?;
    let Settings { mode, filter } = device.map_or(Settings::DEFAULT, Device::settings);
    message.put_u32(abi::WGVIA_A_DEVICE_MODE, mode as u32)?;
    message.put_u32(abi::WGVIA_A_DEVICE_FILTER, filter as u32)?;
    let active = device.is_some_and(|device| device.is_active(mode));
    message.put_u8(abi::WGVIA_A_DEVICE_ACTIVE, active.into())?;
    let nexthops = device.map_or(0, Device::nexthops);
    message.put_u32(abi::WGVIA_A_DEVICE_NEXTHOPS, nexthops as u32)?;
    message.nest(abi::WGVIA_A_DEVICE_COUNTERS, |nest| {
        match device {
            Some(device) => {
                for (attr, value) in device.counters().iter() {
                    nest.put_uint(attr, value)?;
                }
            }
            None => {
                for attr in 1..=abi::WGVIA_A_COUNTERS_MAX {
                    nest.put_uint(attr, 0)?;
                }
            }
        }
        Ok(())
    })
}

/// device-get.
pub(crate) fn device_get(request: &Request<'_>) -> Result {
    let rtnl = RtnlGuard::lock();
    let dev = named_device(request, &rtnl)?;
    request.reply(|message| put_device(message, dev.netdev(), &rtnl))
}

/// device-get as a dump: every WireGuard device of the network namespace.
pub(crate) fn device_dump(dump: &mut Dump<'_>) -> Result {
    let rtnl = RtnlGuard::lock();
    let net = dump.net(&rtnl);
    while let Some(dev) = net.device_from_index(dump.cursor().ifindex, &rtnl) {
        if is_device(dev) {
            dump.message(|message| put_device(message, dev, &rtnl))?;
        }
        dump.cursor().ifindex = dev.ifindex() + 1;
    }
    Ok(())
}

/// device-set.
pub(crate) fn device_set(request: &Request<'_>) -> Result {
    let mode = request.u32(abi::WGVIA_A_DEVICE_MODE);
    let filter = request.u32(abi::WGVIA_A_DEVICE_FILTER);
    if mode.is_none() && filter.is_none() {
        request
            .extack()
            .set(c"nothing to set: give a mode or a filter");
        return Err(EINVAL);
    }
    let mode = mode.map(Mode::try_from).transpose()?;
    let filter = filter.map(Filter::try_from).transpose()?;

    let rtnl = RtnlGuard::lock();
    let dev = named_device(request, &rtnl)?;
    let device = registry::find_or_add(&dev)?;
    device.set(mode, filter, &dev, &rtnl).inspect_err(|&err| {
        if err == EBUSY {
            request
                .extack()
                .set(c"another module chooses the peers of this device");
        }
    })
}

/// Writes the bindings of a device from the cursor on.
fn dump_bindings(dump: &mut Dump<'_>, dev: &WgDevice<'_>) -> Result {
    let Some(device) = registry::find(dev.netdev()) else {
        return Ok(());
    };
    let cursor = *dump.cursor();
    let mut after = cursor.has_key.then_some(PublicKey::new(cursor.key));
    while let Some(binding) = device.binding_after(after.as_ref()) {
        let key = *binding.key();
        // They come and go without RTNL too.
        let nexthops = binding.nexthops();
        if nexthops > 0 {
            dump.message(|message| {
                message.put_u32(abi::WGVIA_A_BINDING_IFINDEX, dev.netdev().ifindex())?;
                message.put_bytes(abi::WGVIA_A_BINDING_KEY, key.as_bytes())?;
                message.put_u32(abi::WGVIA_A_BINDING_NEXTHOPS, nexthops as u32)?;
                let present = binding.is_present(dev);
                message.put_u8(abi::WGVIA_A_BINDING_PRESENT, present.into())
            })?;
        }
        let cursor = dump.cursor();
        cursor.has_key = true;
        cursor.key = *key.as_bytes();
        after = Some(key);
    }
    Ok(())
}

/// binding-get, a dump: the bindings that nexthops lead to, of one device or of all devices of the
/// network namespace.
pub(crate) fn binding_dump(dump: &mut Dump<'_>) -> Result {
    let rtnl = RtnlGuard::lock();
    let request = dump.request();
    let net = dump.net(&rtnl);
    if let Some(ifindex) = request.u32(abi::WGVIA_A_BINDING_IFINDEX) {
        let dev = net.device_by_index(ifindex, &rtnl);
        if dump.cursor().has_key && !dev.is_some_and(is_device) {
            // It has gone since the last part, with all its bindings.
            return Ok(());
        }
        let dev = wireguard_device(dev, &request)?;
        return dump_bindings(dump, &dev);
    }
    while let Some(dev) = net.device_from_index(dump.cursor().ifindex, &rtnl) {
        if dump.cursor().ifindex != dev.ifindex() {
            // Another device than the one whose last key is known.
            dump.cursor().has_key = false;
        }
        dump.cursor().ifindex = dev.ifindex();
        if let Some(dev) = WgDevice::new(dev) {
            dump_bindings(dump, &dev)?;
        }
        dump.cursor().ifindex = dev.ifindex() + 1;
        dump.cursor().has_key = false;
    }
    Ok(())
}
