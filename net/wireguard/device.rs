// SPDX-License-Identifier: GPL-2.0

//! WireGuard devices.

use super::{
    Peer,
    PeerRef,
    PublicKey, //
};
use crate::net::{
    addr,
    bindings,
    netdev::NetDevice,
    packet::Packet,
    packet_path::PacketPath,
    rtnl::Rtnl, //
};
use core::net::IpAddr;
use kernel::prelude::*;

/// A WireGuard device.
///
/// # Invariants
///
/// The device is a WireGuard device.
#[derive(Clone, Copy)]
pub(crate) struct Device<'a>(&'a NetDevice);

/// The settings that a device has by WireGuard's own family.
pub(crate) struct DeviceSettings {
    /// The UDP port; 0 if it was not set and the device has not been up.
    pub(crate) listen_port: u16,
    /// The firewall mark of what is sent; 0 for none.
    pub(crate) fwmark: u32,
    /// The public key, if there is a private one.
    pub(crate) public_key: Option<PublicKey>,
}

/// An entry of AllowedIPs.
pub(crate) struct AllowedIp<'p> {
    /// The peer that has it.
    pub(crate) peer: PeerRef<'p>,
    /// Whether it is a host entry, /32 or /128.
    pub(crate) is_host: bool,
}

impl<'a> Device<'a> {
    /// Take a device; [`None`] if it is not a WireGuard device.
    pub(crate) fn new(dev: &'a NetDevice) -> Option<Self> {
        // SAFETY: The device is valid.
        let is_wireguard = unsafe { bindings::wg_is_device(dev.as_raw()) };
        // INVARIANT: Just asked.
        is_wireguard.then_some(Self(dev))
    }

    /// Take a device that WireGuard passes to its hook.
    ///
    /// # Safety
    ///
    /// It is a WireGuard device.
    pub(super) unsafe fn from_netdev(dev: &'a NetDevice) -> Self {
        // INVARIANT: The caller promises it.
        Self(dev)
    }

    /// Return the network device.
    pub(crate) fn netdev(self) -> &'a NetDevice {
        self.0
    }

    /// Return its settings.
    pub(crate) fn settings(self, _: &Rtnl) -> DeviceSettings {
        let mut raw = bindings::wg_device_settings::default();
        // SAFETY: A WireGuard device by the type invariants, and RTNL is held.
        unsafe { bindings::wg_event_device_settings(self.0.as_raw(), &mut raw) };
        DeviceSettings {
            listen_port: raw.listen_port,
            fwmark: raw.fwmark,
            public_key: raw.has_key.then(|| PublicKey::new(raw.public_key)),
        }
    }

    /// Send a copy of a packet to a peer, whatever else would choose one. Tell whether there was
    /// memory for the copy.
    pub(crate) fn send_copy(self, packet: &Packet<'_>, peer: PeerRef<'_>) -> bool {
        // SAFETY: The device, the packet and the peer are valid, and a packet is on the packet
        // path, with BH disabled.
        unsafe { bindings::wgvia_send_copy(self.0.as_raw(), packet.as_raw(), peer.as_raw()) }
    }

    /// Return the peer of a public key; [`None`] too if the device is not registered any more.
    /// Takes no lock; interrupts have to be on, as to put a [`Peer`].
    pub(crate) fn peer_by_key(self, key: &PublicKey) -> Option<Peer<'a>> {
        // SAFETY: A WireGuard device by the type invariants, whose table of peers is there while it
        // is registered; the key is as long as it has to be. The result comes with a reference, and
        // by the invariants of `NetDevice` a device with a peer is not destroyed while it is
        // borrowed.
        let find = || unsafe {
            Peer::from_raw(bindings::wg_hook_peer_by_key(
                self.0.as_raw(),
                key.as_bytes().as_ptr(),
            ))
        };
        self.0.while_registered(find)?
    }

    /// Return the entry of AllowedIPs that has the longest prefix for an address.
    pub(crate) fn allowed_ip<'p>(self, addr: IpAddr, _: &'p PacketPath) -> Option<AllowedIp<'p>> {
        let (family, v4, v6);
        let addr: *const c_void = match addr {
            IpAddr::V4(addr) => {
                family = bindings::AF_INET;
                v4 = addr::to_be32(addr);
                (&raw const v4).cast()
            }
            IpAddr::V6(addr) => {
                family = bindings::AF_INET6;
                v6 = addr::to_in6(addr);
                (&raw const v6).cast()
            }
        };
        let mut is_host = false;
        // SAFETY: A WireGuard device by the type invariants, on the packet path; `addr` points to
        // an address of the family. AllowedIPs hold the peer, or did when the RCU read-side
        // critical section had begun: it goes after that.
        let peer = unsafe {
            PeerRef::from_raw(bindings::wg_hook_peer_by_allowedips(
                self.0.as_raw(),
                family as bindings::sa_family_t,
                addr,
                &mut is_host,
            ))
        }?;
        Some(AllowedIp { peer, is_host })
    }
}
