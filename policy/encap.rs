// SPDX-License-Identifier: GPL-2.0

//! The encapsulation of a keyed nexthop: `RTA_ENCAP` with `RTA_WGPEER` in it.

#![deny(unsafe_code)]

use crate::{
    net::{
        bindings as abi,
        extack::ExtAck,
        lwtunnel::Encap,
        netdev::NetDevice,
        netlink::{
            attribute_size,
            only_attribute,
            Message, //
        },
        nexthop::Nexthop,
        wireguard::{
            Device,
            PublicKey, //
        },
    },
    policy::{
        binding::{
            Binding,
            Counted, //
        },
        devices, //
    },
};
use core::ptr;
use kernel::prelude::*;

/// The type `LWTUNNEL_ENCAP_WGPEER`, whose states lead to bindings.
pub(crate) struct WgPeer;

impl Encap for WgPeer {
    const TYPE: u32 = abi::lwtunnel_encap_types_LWTUNNEL_ENCAP_WGPEER;
    const IS_GATEWAY: bool = true;
    const SIZE: usize = attribute_size(PublicKey::LEN);
    type Module = crate::LocalModule;
    type State = Counted;

    fn build(
        dev: Option<&NetDevice>,
        encap: &[u8],
        for_deletion: bool,
        extack: &ExtAck<'_>,
    ) -> Result<Counted> {
        let key = only_attribute(encap, abi::RTA_WGPEER as u16)
            .and_then(|key| key.try_into().ok())
            .map(PublicKey::new)
            .ok_or_else(|| {
                extack.set(c"RTA_ENCAP must hold one RTA_WGPEER of 32 bytes");
                EINVAL
            })?;
        let dev = dev.ok_or_else(|| {
            extack.set(c"via-wgpeer needs a device");
            EINVAL
        })?;
        let wg = Device::new(dev).ok_or_else(|| {
            extack.set(c"via-wgpeer needs a WireGuard device");
            EINVAL
        })?;
        let via = devices::find(dev).ok_or_else(|| {
            extack.set(c"the device is being deleted");
            ENODEV
        })?;
        let counted = via.bind(wg, &key).inspect_err(|&err| {
            if err == EINVAL {
                extack.set(c"wgvia is off on this device: wgvia set DEV mode auto turns it on");
            }
        })?;
        if !for_deletion && wg.peer_by_key(&key).is_none() {
            extack.set(c"no peer has this key yet: packets get ENOKEY until it is added");
        }
        Ok(counted)
    }

    fn fill(state: &Counted, message: &mut Message<'_>) -> Result {
        message.put_bytes(abi::RTA_WGPEER, state.key().as_bytes())
    }

    fn same(a: &Counted, b: &Counted) -> bool {
        // There is one binding for each device and key.
        ptr::eq::<Binding>(&**a, &**b)
    }
}

/// Return the binding of the peer that a nexthop names.
pub(crate) fn binding<'p>(nexthop: &Nexthop<'p>) -> Option<&'p Binding> {
    nexthop.encap()?.state::<WgPeer>().map(|counted| &**counted)
}
