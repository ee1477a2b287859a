// SPDX-License-Identifier: GPL-2.0

//! Messages about devices and bindings, of replies and notifications alike.

#![deny(unsafe_code)]

use crate::{
    net::{
        bindings as abi,
        netdev::NetDevice,
        netlink::Message,
        rtnl::Rtnl, //
    },
    policy::{
        binding::Binding,
        settings::Settings,
        via::Via, //
    },
};
use core::net::IpAddr;
use kernel::prelude::*;

/// Write an address, of 4 or 16 bytes.
pub(crate) fn put_address(message: &mut Message<'_>, attr: u32, address: IpAddr) -> Result {
    match address {
        IpAddr::V4(address) => message.put_bytes(attr, &address.octets()),
        IpAddr::V6(address) => message.put_bytes(attr, &address.octets()),
    }
}

/// Write settings.
pub(crate) fn put_settings(message: &mut Message<'_>, settings: Settings) -> Result {
    message.put_u32(abi::WGVIA_A_DEVICE_MODE, settings.mode as u32)?;
    message.put_u32(abi::WGVIA_A_DEVICE_FILTER, settings.filter as u32)?;
    message.put_u8(abi::WGVIA_A_DEVICE_MULTICAST, settings.multicast.into())
}

/// Write what there is to tell of a device.
pub(crate) fn put_device(
    message: &mut Message<'_>,
    dev: &NetDevice,
    via: Option<&Via>,
    rtnl: &Rtnl,
) -> Result {
    message.put_u32(abi::WGVIA_A_DEVICE_IFINDEX, dev.ifindex())?;
    message.put_string(abi::WGVIA_A_DEVICE_IFNAME, dev.name(rtnl))?;
    let settings = via.map_or(Settings::DETACHED, Via::settings);
    put_settings(message, settings)?;
    let states = via.map_or(0, Via::states);
    message.put_u32(abi::WGVIA_A_DEVICE_STATES, states as u32)?;
    message.nest(abi::WGVIA_A_DEVICE_COUNTERS, |nest| {
        match via {
            Some(via) => {
                for (attr, value) in via.counters().iter() {
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

/// Write what there is to tell of a binding, which so many states lead to.
pub(crate) fn put_binding(
    message: &mut Message<'_>,
    dev: &NetDevice,
    binding: &Binding,
    states: usize,
) -> Result {
    message.put_u32(abi::WGVIA_A_BINDING_IFINDEX, dev.ifindex())?;
    message.put_bytes(abi::WGVIA_A_BINDING_KEY, binding.key().as_bytes())?;
    message.put_u32(abi::WGVIA_A_BINDING_STATES, states as u32)?;
    message.put_u8(abi::WGVIA_A_BINDING_PRESENT, binding.is_present().into())
}
