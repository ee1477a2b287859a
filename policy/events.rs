// SPDX-License-Identifier: GPL-2.0

//! Events that user space is told of: which notification of which group, and what is in it.
//!
//! A notification carries the whole new state of what has changed, as it is when the notification
//! is sent: the last one is always right.

#![deny(unsafe_code)]

use crate::{
    net::{
        bindings as abi,
        netdev::NetDevice,
        netlink::{
            attribute_size,
            Message, //
        },
        notification::{
            notify,
            Group, //
        },
        packet_path::{
            on_packet_path,
            PacketPath, //
        },
        rtnl::Rtnl,
        wireguard::{
            AllowedIps,
            Device,
            Event,
            Listener,
            Observer,
            PublicKey, //
        },
    },
    policy::{
        binding::Binding,
        messages::{
            put_address,
            put_binding,
            put_device, //
        },
        via::Via, //
    },
};
use kernel::prelude::*;

/// The room that an entry of AllowedIPs needs, with what follows the last one, in bytes.
const ENTRY: usize = attribute_size(attribute_size(16) + attribute_size(1));
const TAIL: usize = attribute_size(0) + attribute_size(4);

/// The events of WireGuard.
pub(crate) struct Events;

/// Listen to WireGuard's events; [`None`] if this kernel tells of none. Process context. Fails with
/// `EBUSY` if another module listens.
pub(crate) fn listen() -> Result<Option<Listener<Events>>> {
    match Listener::new() {
        Err(EOPNOTSUPP) => Ok(None),
        listener => listener.map(Some),
    }
}

/// Return how many groups there is something to tell in: without WireGuard's events, one.
pub(crate) fn groups(listener: &Option<Listener<Events>>) -> u8 {
    match listener {
        Some(_) => Group::Endpoints as u8 + 1,
        None => Group::Config as u8 + 1,
    }
}

/// Send a notification of the group in the network namespace of the device that it is about; `fill`
/// gets its number, and writes it and the state.
fn tell(
    dev: &NetDevice,
    group: Group,
    command: u32,
    path: &PacketPath,
    fill: impl FnOnce(&mut Message<'_>, u32) -> Result,
) {
    notify(dev.net_now(path), group, command, path, fill);
}

/// Tell of the settings of a device, which have changed or are new in the network namespace.
pub(crate) fn device_changed(dev: &NetDevice, via: &Via, rtnl: &Rtnl) {
    on_packet_path(|path| {
        let command = abi::WGVIA_CMD_DEVICE_CHANGE_NTF;
        tell(dev, Group::Config, command, path, |message, seq| {
            put_device(message, dev, Some(via), rtnl)?;
            message.put_u32(abi::WGVIA_A_DEVICE_SEQ, seq)
        });
    });
}

/// Tell of a device that is no longer in its network namespace.
pub(crate) fn device_deleted(dev: &NetDevice, rtnl: &Rtnl) {
    on_packet_path(|path| {
        let command = abi::WGVIA_CMD_DEVICE_DEL_NTF;
        tell(dev, Group::Config, command, path, |message, seq| {
            message.put_u32(abi::WGVIA_A_DEVICE_IFINDEX, dev.ifindex())?;
            message.put_string(abi::WGVIA_A_DEVICE_IFNAME, dev.name(rtnl))?;
            message.put_u32(abi::WGVIA_A_DEVICE_SEQ, seq)
        });
    });
}

/// Tell of a binding that has come or gone, or whose peer has. Any context with interrupts on.
pub(super) fn binding_changed(binding: &Binding) {
    on_packet_path(|path| {
        let via = binding.via();
        let Some(wg) = via.device.load(path) else {
            return;
        };
        let dev = wg.netdev();
        let command = abi::WGVIA_CMD_BINDING_CHANGE_NTF;
        tell(dev, Group::Config, command, path, |message, seq| {
            put_binding(message, dev, binding, via.states_of(binding.key()))?;
            message.put_u32(abi::WGVIA_A_BINDING_SEQ, seq)
        });
    });
}

/// Tell of a peer in a notification of the group; `fill` writes its state.
fn peer(
    dev: &NetDevice,
    key: &PublicKey,
    group: Group,
    command: u32,
    path: &PacketPath,
    fill: impl FnOnce(&mut Message<'_>) -> Result,
) {
    tell(dev, group, command, path, |message, seq| {
        message.put_u32(abi::WGVIA_A_PEER_IFINDEX, dev.ifindex())?;
        message.put_bytes(abi::WGVIA_A_PEER_KEY, key.as_bytes())?;
        fill(message)?;
        message.put_u32(abi::WGVIA_A_PEER_SEQ, seq)
    });
}

/// Write AllowedIPs, as many as there is room for, and whether some are left out.
fn put_allowed_ips(message: &mut Message<'_>, allowed_ips: &AllowedIps<'_>) -> Result {
    let all = allowed_ips.for_each(|ip, prefix_len| {
        if message.room() < ENTRY + TAIL {
            return Err(EMSGSIZE);
        }
        message.nest(abi::WGVIA_A_PEER_ALLOWED_IPS, |nest| {
            put_address(nest, abi::WGVIA_A_ALLOWED_IP_ADDRESS, ip)?;
            nest.put_u8(abi::WGVIA_A_ALLOWED_IP_PREFIX_LEN, prefix_len)
        })
    });
    match all {
        Err(EMSGSIZE) => message.put_bytes(abi::WGVIA_A_PEER_ALLOWED_IPS_LEFT_OUT, &[]),
        all => all,
    }
}

impl Observer for Events {
    fn event(wg: Device<'_>, event: Event<'_>, path: &PacketPath) {
        let dev = wg.netdev();
        if !dev.is_registered() {
            // That it was deleted tells of all that it had.
            return;
        }
        match event {
            Event::Settings(settings) => {
                let command = abi::WGVIA_CMD_WIREGUARD_CHANGE_NTF;
                tell(dev, Group::Config, command, path, |message, seq| {
                    message.put_u32(abi::WGVIA_A_WIREGUARD_IFINDEX, dev.ifindex())?;
                    message.put_u16(abi::WGVIA_A_WIREGUARD_LISTEN_PORT, settings.listen_port)?;
                    message.put_u32(abi::WGVIA_A_WIREGUARD_FWMARK, settings.fwmark)?;
                    if let Some(key) = settings.public_key {
                        message.put_bytes(abi::WGVIA_A_WIREGUARD_PUBLIC_KEY, key.as_bytes())?;
                    }
                    message.put_u32(abi::WGVIA_A_WIREGUARD_SEQ, seq)
                });
            }
            Event::PeerAdded(key, allowed_ips) => {
                let command = abi::WGVIA_CMD_PEER_ADD_NTF;
                peer(dev, &key, Group::Config, command, path, |message| {
                    put_allowed_ips(message, &allowed_ips)
                });
            }
            Event::PeerChanged(key, allowed_ips) => {
                let command = abi::WGVIA_CMD_PEER_CHANGE_NTF;
                peer(dev, &key, Group::Config, command, path, |message| {
                    put_allowed_ips(message, &allowed_ips)
                });
            }
            Event::PeerRemoved(key) => {
                let command = abi::WGVIA_CMD_PEER_DEL_NTF;
                peer(dev, &key, Group::Config, command, path, |_| Ok(()));
            }
            Event::Session(key, of) => {
                let command = abi::WGVIA_CMD_SESSION_CHANGE_NTF;
                peer(dev, &key, Group::Sessions, command, path, |message| {
                    message.put_u8(abi::WGVIA_A_PEER_SESSION, of.has_session().into())
                });
            }
            Event::Endpoint(key, of) => {
                let command = abi::WGVIA_CMD_ENDPOINT_CHANGE_NTF;
                peer(
                    dev,
                    &key,
                    Group::Endpoints,
                    command,
                    path,
                    |message| match of.endpoint() {
                        Some(endpoint) => {
                            message.put_bytes(abi::WGVIA_A_PEER_ENDPOINT, endpoint.as_bytes())
                        }
                        None => Ok(()),
                    },
                );
            }
        }
    }
}
