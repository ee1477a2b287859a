// SPDX-License-Identifier: GPL-2.0

//! The encapsulation of a keyed nexthop: `RTA_ENCAP` with `RTA_WGPEER` in it.

#![deny(unsafe_code)]

use crate::{
    net::{
        bindings as abi,
        extack::ExtAck,
        lwtunnel::{
            Encap,
            Registration, //
        },
        netdev::NetDevice,
        netlink::{
            attribute_size,
            only_attribute,
            Message, //
        },
        nexthop::Nexthop,
        wireguard::{
            Device,
            PublicKey,
            TYPE_IS_BORROWED, //
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

/// The type `LWTUNNEL_ENCAP_WGPEER`.
pub(crate) struct WgPeer;

/// Nexthops may name peers for as long as this exists.
pub(crate) struct KeyedNexthops {
    /// [`None`] if another module has the type that they would have.
    _registration: Option<Registration<WgPeer>>,
}

impl KeyedNexthops {
    /// Have them allowed.
    ///
    /// Fails with `EBUSY` if another module has their type, unless that is a borrowed one: then
    /// everything else works, and the log says so.
    pub(crate) fn allow() -> Result<Self> {
        let registration = match Registration::new() {
            Ok(registration) => Some(registration),
            Err(err) if TYPE_IS_BORROWED => {
                pr_warn!(
                    "something else has the type of lightweight tunnel that routes with via-wgpeer \
                     would have ({}): they are refused, routes with gateways work\n",
                    err.to_errno()
                );
                None
            }
            Err(err) => return Err(err),
        };
        Ok(Self {
            _registration: registration,
        })
    }
}

/// The state of a keyed nexthop.
pub(crate) enum State {
    /// Of a nexthop in the FIB.
    Binding(Counted),
    /// Of a request to delete routes, which has nothing but the key to compare.
    Key(PublicKey),
}

impl State {
    fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Binding(counted) => counted.binding().map(Binding::key),
            Self::Key(key) => Some(key),
        }
    }
}

impl Encap for WgPeer {
    const TYPE: u32 = abi::wgvia_lwtunnel_encap_type as u32;
    const IS_GATEWAY: bool = true;
    const SIZE: usize = attribute_size(PublicKey::LEN);
    type Module = crate::LocalModule;
    type State = State;

    fn build(
        dev: Option<&NetDevice>,
        encap: &[u8],
        for_deletion: bool,
        extack: &ExtAck<'_>,
    ) -> Result<State> {
        let key = only_attribute(encap, abi::RTA_WGPEER as u16)
            .and_then(|key| key.try_into().ok())
            .map(PublicKey::new)
            .ok_or_else(|| {
                extack.set(c"RTA_ENCAP must hold one RTA_WGPEER of 32 bytes");
                EINVAL
            })?;
        if for_deletion {
            return Ok(State::Key(key));
        }
        let dev = dev.ok_or_else(|| {
            extack.set(c"via-wgpeer needs a device");
            EINVAL
        })?;
        let wg = Device::new(dev).ok_or_else(|| {
            extack.set(c"via-wgpeer needs a WireGuard device");
            EINVAL
        })?;
        let via = devices::find(dev).ok_or_else(|| {
            extack.set(c"the device is being registered or deleted");
            ENODEV
        })?;
        let counted = via.bind(wg, &key).inspect_err(|&err| {
            if err == EINVAL {
                extack.set(c"wgvia is off on this device: wgvia set DEV mode auto turns it on");
            }
        })?;
        if !counted.binding().is_some_and(Binding::is_present) {
            extack.set(c"no peer has this key yet: packets get ENOKEY until it is added");
        }
        Ok(State::Binding(counted))
    }

    fn fill(state: &State, message: &mut Message<'_>) -> Result {
        message.put_bytes(abi::RTA_WGPEER, state.key().ok_or(EINVAL)?.as_bytes())
    }

    fn same(a: &State, b: &State) -> bool {
        match (a, b) {
            // There is one binding for each device and key.
            (State::Binding(a), State::Binding(b)) => {
                matches!((a.binding(), b.binding()), (Some(a), Some(b)) if ptr::eq(a, b))
            }
            // The FIB compares the devices.
            _ => a.key() == b.key(),
        }
    }

    fn hash(state: &State) -> u32 {
        // Any part of a public key is as good as random.
        state.key().map_or(0, |key| {
            let [a, b, c, d, ..] = *key.as_bytes();
            u32::from_ne_bytes([a, b, c, d])
        })
    }
}

/// Return the binding of the peer that a nexthop names.
pub(crate) fn binding<'p>(nexthop: &Nexthop<'p>) -> Option<&'p Binding> {
    match nexthop.encap()?.state::<WgPeer>()? {
        State::Binding(counted) => counted.binding(),
        State::Key(_) => None,
    }
}
