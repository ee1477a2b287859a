// SPDX-License-Identifier: GPL-2.0

//! Notifications: messages of the generic netlink family to those who listen to its groups.
//!
//! [`kernel::net::netlink`] sends to the first network namespace alone.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use super::{
    bindings,
    genetlink::Family,
    netdev::Net,
    netlink::Message,
    packet_path::PacketPath, //
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        rcu, //
    },
};

/// The family, null unless [`Notifications`] exist.
static FAMILY: Atomic<*mut bindings::genl_family> = Atomic::new(ptr::null_mut());

/// A multicast group of the family.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Group {
    /// Changes by whoever administers the host.
    Config = bindings::WGVIA_NLGRP_CONFIG,
    /// Sessions, which only who has a peer's key can begin.
    Sessions = bindings::WGVIA_NLGRP_SESSIONS,
    /// Endpoints, which anybody on the path can change.
    Endpoints = bindings::WGVIA_NLGRP_ENDPOINTS,
}

/// The notifications of a registered family: while this exists, [`notify`] sends.
///
/// # Invariants
///
/// Each network namespace has what is needed to number its notifications.
pub(crate) struct Notifications<F: Family>(PhantomData<F>);

impl<F: Family> Notifications<F> {
    /// Let notifications be sent. The family is registered and outlives the result. Process
    /// context. Fails with `ENOMEM`.
    pub(crate) fn new(_: &super::genetlink::Registration<F>) -> Result<Self> {
        // SAFETY: Process context; unregistered in `drop`.
        to_result(unsafe { bindings::wgvia_notifications_register() })?;
        FAMILY.store(F::raw(), Release);
        // INVARIANT: Just registered.
        Ok(Self(PhantomData))
    }
}

impl<F: Family> Drop for Notifications<F> {
    fn drop(&mut self) {
        FAMILY.xchg(ptr::null_mut(), Full);
        rcu::synchronize_rcu();
        // SAFETY: Registered by the type invariants, and whoever found the family is done.
        unsafe { bindings::wgvia_notifications_unregister() };
    }
}

/// Send a notification to those in `net` who listen to a group, if there are any.
///
/// `fill` gets its number among those of the group and writes it. What it reads of the state is
/// what the last notification of this state says: nobody else sends meanwhile. It must not send one
/// itself.
pub(crate) fn notify(
    net: Net<'_>,
    group: Group,
    command: u32,
    _: &PacketPath,
    fill: impl FnOnce(&mut Message<'_>, u32) -> Result,
) {
    let family = FAMILY.load(Acquire);
    if family.is_null() {
        return;
    }
    let group = group as u32;
    // SAFETY: The family is registered, and the namespace valid, for as long as the packet path
    // goes on.
    if !unsafe { bindings::wgvia_notification_wanted(family, net.as_raw(), group) } {
        return;
    }
    // SAFETY: The namespace has what this needs, by the type invariants of `Notifications`, which
    // goes after the packet path. Ended below; nothing in between can return past that or unwind.
    let seq = unsafe { bindings::wgvia_notification_begin(net.as_raw(), group) };
    // SAFETY: Does not wait for memory, so that it may be called with BH disabled.
    let skb = unsafe { bindings::wgvia_notification_new() };
    let written = if skb.is_null() {
        Err(ENOMEM)
    } else {
        // SAFETY: The message is new, and the family registered.
        let header = unsafe { bindings::genlmsg_put(skb, 0, 0, family, 0, command as u8) };
        let result = if header.is_null() {
            Err(EMSGSIZE)
        } else {
            // SAFETY: The message is new, and nobody else has it until it is sent.
            fill(&mut unsafe { Message::from_raw(skb) }, seq)
        };
        // SAFETY: `header` is in the message unless there is an error.
        result.map(|()| unsafe { bindings::genlmsg_end(skb, header) })
    };
    // SAFETY: The message is given away either way; the family is registered and the namespace
    // valid.
    unsafe {
        match written {
            Ok(()) => bindings::wgvia_notification_send(family, net.as_raw(), skb, group),
            Err(_) => {
                bindings::nlmsg_free(skb);
                bindings::wgvia_notification_lost(family, net.as_raw(), group);
            }
        }
        bindings::wgvia_notification_end(net.as_raw());
    }
}
