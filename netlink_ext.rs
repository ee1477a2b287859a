// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family: what user space may ask and set.
//!
//! Every operation needs `CAP_NET_ADMIN` in the user namespace of the network namespace, which
//! the generated table of operations sees to. The spec is netlink/specs/wgvia.yaml.

#![deny(unsafe_code)]

use crate::{
    allowedips_rta,
    net::{
        addr::prefix,
        bindings as abi,
        flow::Flow,
        genetlink::{
            genl_family,
            Dump,
            Request, //
        },
        netdev::NetDevice,
        netlink::Message,
        rtnl::{
            Rtnl,
            RtnlGuard, //
        },
        wireguard::{
            Device,
            PublicKey, //
        },
    },
    policy::{
        defaults,
        devices,
        events,
        messages::{
            self,
            put_address, //
        },
        resolve::{
            Answer,
            Question, //
        },
        settings::{
            Change,
            Filter,
            Mode, //
        },
        via::Via, //
    },
};
use core::net::IpAddr;
use kernel::{
    prelude::*,
    sync::Arc, //
};

genl_family! {
    /// The family `wgvia`.
    Family = wgvia_nl_family {
        doit wgvia_nl_device_get_doit(WGVIA_CMD_DEVICE_GET) => device_get;
        doit wgvia_nl_device_set_doit(WGVIA_CMD_DEVICE_SET) => device_set;
        doit wgvia_nl_default_get_doit(WGVIA_CMD_DEFAULT_GET) => default_get;
        doit wgvia_nl_default_set_doit(WGVIA_CMD_DEFAULT_SET) => default_set;
        doit wgvia_nl_resolve_doit(WGVIA_CMD_RESOLVE) => resolve;
        dumpit wgvia_nl_device_get_dumpit(WGVIA_CMD_DEVICE_GET) => device_dump;
        dumpit wgvia_nl_binding_get_dumpit(WGVIA_CMD_BINDING_GET) => binding_dump;
        dumpit wgvia_nl_peer_get_dumpit(WGVIA_CMD_PEER_GET) => peer_dump;
    }
}

/// Return the device that a request names by its index or its name.
///
/// Fails with `EINVAL` unless it does exactly one of the two, `ENODEV` if there is none, and
/// `EOPNOTSUPP` if it is not a WireGuard device.
fn named_device<'r>(request: &'r Request<'_>, rtnl: &'r Rtnl) -> Result<Device<'r>> {
    const {
        assert!(abi::WGVIA_A_RESOLVE_IFINDEX == abi::WGVIA_A_DEVICE_IFINDEX);
        assert!(abi::WGVIA_A_RESOLVE_IFNAME == abi::WGVIA_A_DEVICE_IFNAME);
    }
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

fn wireguard_device<'r>(dev: Option<&'r NetDevice>, request: &Request<'_>) -> Result<Device<'r>> {
    let dev = dev.ok_or_else(|| {
        request.extack().set(c"no such device");
        ENODEV
    })?;
    Device::new(dev).ok_or_else(|| {
        request.extack().set(c"not a WireGuard device");
        EOPNOTSUPP
    })
}

/// Return the change of settings that a request asks for; fails with `EINVAL` if it asks for none.
fn change(request: &Request<'_>) -> Result<Change> {
    let mode = request.u32(abi::WGVIA_A_DEVICE_MODE);
    let filter = request.u32(abi::WGVIA_A_DEVICE_FILTER);
    let change = Change {
        mode: mode.map(Mode::try_from).transpose()?,
        filter: filter.map(Filter::try_from).transpose()?,
        multicast: request.u8(abi::WGVIA_A_DEVICE_MULTICAST).map(|on| on != 0),
    };
    if change.is_empty() {
        request
            .extack()
            .set(c"nothing to set: give a mode, a filter or multicast");
        return Err(EINVAL);
    }
    Ok(change)
}

/// Return the state of a device; fails with `ENODEV` if it has none yet or any more.
fn via(request: &Request<'_>, wg: Device<'_>) -> Result<Arc<Via>> {
    devices::find(wg.netdev()).ok_or_else(|| {
        request
            .extack()
            .set(c"the device is being registered or deleted");
        ENODEV
    })
}

/// device-get.
fn device_get(request: &Request<'_>) -> Result {
    let rtnl = RtnlGuard::lock();
    let wg = named_device(request, &rtnl)?;
    let via = devices::find(wg.netdev());
    request.reply(|message| messages::put_device(message, wg.netdev(), via.as_deref(), &rtnl))
}

/// device-get as a dump: every WireGuard device of the network namespace.
fn device_dump(dump: &mut Dump<'_>) -> Result {
    let rtnl = RtnlGuard::lock();
    let net = dump.net(&rtnl);
    while let Some(dev) = net.device_from_index(dump.cursor().ifindex, &rtnl) {
        if Device::new(dev).is_some() {
            let via = devices::find(dev);
            dump.message(|message| messages::put_device(message, dev, via.as_deref(), &rtnl))?;
        }
        dump.cursor().ifindex = dev.ifindex() + 1;
    }
    Ok(())
}

/// device-set.
fn device_set(request: &Request<'_>) -> Result {
    let change = change(request)?;
    let rtnl = RtnlGuard::lock();
    let wg = named_device(request, &rtnl)?;
    let via = via(request, wg)?;
    let set = via.set(change, wg, &rtnl);
    if set.is_ok() {
        events::device_changed(wg.netdev(), &via, &rtnl);
    }
    set.map_err(|err| match err {
        EBUSY => {
            request.extack().set(
                c"routes, nexthop objects or sockets name peers of it: delete or close them first",
            );
            EBUSY
        }
        EEXIST => {
            request
                .extack()
                .set(c"another module chooses the peers of this device");
            EBUSY
        }
        err => err,
    })
}

/// default-get.
fn default_get(request: &Request<'_>) -> Result {
    let rtnl = RtnlGuard::lock();
    let settings = defaults::get(request.net(), &rtnl);
    request.reply(|message| messages::put_settings(message, settings))
}

/// default-set.
fn default_set(request: &Request<'_>) -> Result {
    let change = change(request)?;
    defaults::set(request.net(), change, &RtnlGuard::lock())
}

/// Write the bindings of a device from the cursor on.
fn dump_bindings(dump: &mut Dump<'_>, wg: Device<'_>) -> Result {
    let Some(via) = devices::find(wg.netdev()) else {
        return Ok(());
    };
    let cursor = *dump.cursor();
    let mut after = cursor.has_key.then_some(PublicKey::new(cursor.key));
    while let Some((binding, states)) = via.binding_after(after.as_ref()) {
        let key = *binding.key();
        dump.message(|message| messages::put_binding(message, wg.netdev(), &binding, states))?;
        let cursor = dump.cursor();
        cursor.has_key = true;
        cursor.key = *key.as_bytes();
        after = Some(key);
    }
    Ok(())
}

/// Write the peers of a device from the cursor on; in mode off none is known.
fn dump_peers(dump: &mut Dump<'_>, wg: Device<'_>) -> Result {
    let Some(via) = devices::find(wg.netdev()) else {
        return Ok(());
    };
    let cursor = *dump.cursor();
    let mut after = cursor.has_key.then_some(PublicKey::new(cursor.key));
    while let Some((key, has_session, drops)) = via.peers.after(after.as_ref()) {
        dump.message(|message| {
            message.put_u32(abi::WGVIA_A_PEER_IFINDEX, wg.netdev().ifindex())?;
            message.put_bytes(abi::WGVIA_A_PEER_KEY, key.as_bytes())?;
            message.put_u8(abi::WGVIA_A_PEER_SESSION, has_session.into())?;
            message.nest(abi::WGVIA_A_PEER_COUNTERS, |nest| {
                for (attr, count) in drops.filter(|(_, count)| *count > 0) {
                    nest.put_uint(attr, count)?;
                }
                Ok(())
            })
        })?;
        let cursor = dump.cursor();
        cursor.has_key = true;
        cursor.key = *key.as_bytes();
        after = Some(key);
    }
    Ok(())
}

/// binding-get, a dump: the bindings that nexthops lead to, of one device or of all devices of the
/// network namespace.
fn binding_dump(dump: &mut Dump<'_>) -> Result {
    by_device(dump, abi::WGVIA_A_BINDING_IFINDEX, dump_bindings)
}

/// peer-get, a dump: the peers of one device or of all.
fn peer_dump(dump: &mut Dump<'_>) -> Result {
    by_device(dump, abi::WGVIA_A_PEER_IFINDEX, dump_peers)
}

/// Dump what devices have by key: that of the device whose index the attribute `ifindex` is, or of
/// all devices of the network namespace.
fn by_device(
    dump: &mut Dump<'_>,
    ifindex: u32,
    write: fn(&mut Dump<'_>, Device<'_>) -> Result,
) -> Result {
    let rtnl = RtnlGuard::lock();
    let request = dump.request();
    let net = dump.net(&rtnl);
    if let Some(ifindex) = request.u32(ifindex) {
        let dev = net.device_by_index(ifindex, &rtnl);
        if dump.cursor().has_key && dev.and_then(Device::new).is_none() {
            // It has gone since the last part, with all its bindings.
            return Ok(());
        }
        let wg = wireguard_device(dev, &request)?;
        return write(dump, wg);
    }
    while let Some(dev) = net.device_from_index(dump.cursor().ifindex, &rtnl) {
        if dump.cursor().ifindex != dev.ifindex() {
            // Another device than the one whose last key is known.
            dump.cursor().has_key = false;
        }
        dump.cursor().ifindex = dev.ifindex();
        if let Some(wg) = Device::new(dev) {
            write(dump, wg)?;
        }
        dump.cursor().ifindex = dev.ifindex() + 1;
        dump.cursor().has_key = false;
    }
    Ok(())
}

/// Return the address in an attribute. Fails with `EINVAL` if it is as long as none.
fn address(request: &Request<'_>, attr: u32) -> Result<Option<IpAddr>> {
    let Some(bytes) = request.bytes(attr) else {
        return Ok(None);
    };
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.map(Some).map_err(|_| {
        request.extack().set(c"an address has 4 or 16 bytes");
        EINVAL
    })
}

/// Read what a request asks about.
fn question<'d>(request: &Request<'_>, wg: Device<'d>) -> Result<Question<'d>> {
    let invalid = |text| {
        request.extack().set(text);
        EINVAL
    };
    let destination = address(request, abi::WGVIA_A_RESOLVE_DESTINATION)?
        .ok_or_else(|| invalid(c"give the destination of the packet"))?;
    let source = address(request, abi::WGVIA_A_RESOLVE_SOURCE)?;
    if source.is_some_and(|source| source.is_ipv4() != destination.is_ipv4()) {
        return Err(invalid(c"source and destination must be of one family"));
    }
    let from = request
        .bytes(abi::WGVIA_A_RESOLVE_FROM)
        .and_then(|key| key.try_into().ok())
        .map(PublicKey::new)
        .map(|key| {
            wg.peer_by_key(&key).ok_or_else(|| {
                request
                    .extack()
                    .set(c"the device has no peer with this key");
                ENOENT
            })
        })
        .transpose()?;
    if from.is_some() && source.is_none() {
        return Err(invalid(
            c"give the source of a packet that comes from a peer",
        ));
    }
    Ok(Question {
        flow: Flow {
            destination,
            source,
            mark: request.u32(abi::WGVIA_A_RESOLVE_MARK).unwrap_or(0),
            dscp: request.u8(abi::WGVIA_A_RESOLVE_DSCP).unwrap_or(0),
            sport: request.u16(abi::WGVIA_A_RESOLVE_SPORT).unwrap_or(0),
            dport: request.u16(abi::WGVIA_A_RESOLVE_DPORT).unwrap_or(0),
            oif: request.u32(abi::WGVIA_A_RESOLVE_OIF).unwrap_or(0),
        },
        unrouted: request.flag(abi::WGVIA_A_RESOLVE_UNROUTED),
        from,
    })
}

/// Write an answer about a packet to or from `address`.
fn put_answer(message: &mut Message<'_>, answer: &Answer, address: IpAddr) -> Result {
    message.put_u32(abi::WGVIA_A_RESOLVE_VERDICT, answer.outcome as u32)?;
    if let Some(clause) = answer.clause {
        message.put_u32(abi::WGVIA_A_RESOLVE_CLAUSE, clause as u32)?;
    }
    if let Some(peer) = &answer.peer {
        message.put_bytes(abi::WGVIA_A_RESOLVE_PEER, peer.as_bytes())?;
    }
    let Some(route) = &answer.route else {
        return Ok(());
    };
    message.nest(abi::WGVIA_A_RESOLVE_ROUTE, |nest| {
        if let Some(place) = route.place {
            nest.put_u32(abi::WGVIA_A_ROUTE_TABLE, place.table)?;
            put_address(nest, abi::WGVIA_A_ROUTE_PREFIX, prefix(address, place.len))?;
            nest.put_u8(abi::WGVIA_A_ROUTE_PREFIX_LEN, place.len)?;
        }
        if let Some(oif) = route.oif {
            nest.put_u32(abi::WGVIA_A_ROUTE_OIF, oif)?;
        }
        if let Some(key) = &route.key {
            nest.put_bytes(abi::WGVIA_A_ROUTE_KEY, key.as_bytes())?;
        }
        if let Some(gateway) = route.gateway {
            put_address(nest, abi::WGVIA_A_ROUTE_GATEWAY, gateway)?;
        }
        Ok(())
    })
}

/// resolve.
fn resolve(request: &Request<'_>) -> Result {
    let rtnl = RtnlGuard::lock();
    let wg = named_device(request, &rtnl)?;
    let via = via(request, wg)?;
    let question = question(request, wg)?;
    let answer = allowedips_rta::resolve(via.as_arc_borrow(), wg, &question, &rtnl)?;
    let Flow {
        source,
        destination,
        ..
    } = question.flow;
    let address = source
        .filter(|_| question.from.is_some())
        .unwrap_or(destination);
    request.reply(|message| put_answer(message, &answer, address))
}
