// SPDX-License-Identifier: GPL-2.0

//! The lightweight-tunnel state of a nexthop that names a peer.
//!
//! A state holds a pointer to a [`Binding`]. The FIB makes, copies, compares, dumps and frees
//! states, and holds a reference on this module for each of them.
//!
//! C header: [`include/net/lwtunnel.h`](srctree/include/net/lwtunnel.h)

use super::{
    bindings,
    extack::ExtAck,
    netdev::Net,
    wireguard::WgDevice, //
};
use crate::{
    binding::{
        self,
        Binding, //
    },
    key::PublicKey,
    registry,
};
use core::{
    mem::offset_of,
    ptr, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::Arc, //
};

const TYPE: u32 = bindings::lwtunnel_encap_types_LWTUNNEL_ENCAP_WGPEER;
const KEY_ATTR: c_int = bindings::RTA_WGPEER as c_int;

// The state's data, a pointer, has to be aligned.
const _: () =
    assert!(offset_of!(bindings::lwtunnel_state, data) % align_of::<*const Binding>() == 0);

/// Where a state keeps its binding.
fn data(lwtstate: *const bindings::lwtunnel_state) -> *mut *const Binding {
    lwtstate
        .wrapping_byte_add(offset_of!(bindings::lwtunnel_state, data))
        .cast_mut()
        .cast()
}

/// The binding of a nexthop's state; [`None`] if there is no state, or it is of another type.
///
/// # Safety
///
/// `lwtstate` is null or valid for `'p`.
pub(super) unsafe fn binding<'p>(lwtstate: *const bindings::lwtunnel_state) -> Option<&'p Binding> {
    // No reference to the state is made: others count theirs in it meanwhile.
    //
    // SAFETY: The caller promises it, and the type never changes. All states of this type are made
    // by `build_state`, and have a pointer that is valid until `destroy_state`, which is called when
    // nobody, nor RCU, has the state any more.
    unsafe {
        if lwtstate.is_null() || u32::from((*lwtstate).type_) != TYPE {
            return None;
        }
        data(lwtstate).read().as_ref()
    }
}

/// The key in an attribute that describes a nexthop: in `RTA_WGPEER` itself, or in one that is the
/// only attribute in `RTA_ENCAP` or `NHA_ENCAP`.
///
/// # Safety
///
/// `encap` is a valid attribute.
unsafe fn key_of(encap: *const bindings::nlattr) -> Option<PublicKey> {
    // SAFETY: The caller promises that the attribute is valid, that is, as long as it says. Its
    // payload is that of an attribute if it holds all that one of a key takes and says the same.
    unsafe {
        let mut attr = encap;
        if bindings::nla_type(attr) != KEY_ATTR {
            if i32::from(bindings::nla_len(attr)) != bindings::nla_total_size(PublicKey::LEN as i32)
            {
                return None;
            }
            attr = bindings::nla_data(attr).cast();
            if i32::from((*attr).nla_type) != KEY_ATTR {
                return None;
            }
        }
        if usize::from(bindings::nla_len(attr)) != PublicKey::LEN {
            return None;
        }
        Some(PublicKey::new(
            bindings::nla_data(attr)
                .cast::<[u8; PublicKey::LEN]>()
                .read(),
        ))
    }
}

/// The index of the device that a nexthop's configuration names, 0 if none.
///
/// # Safety
///
/// `cfg` is what the FIB of the family passes to `build_state`.
unsafe fn device_of(family: u32, cfg: *const c_void) -> Result<u32> {
    match family {
        // SAFETY: The caller promises it.
        bindings::AF_INET => Ok(unsafe { (*cfg.cast::<bindings::fib_config>()).fc_oif } as u32),
        bindings::AF_INET6 => {
            // SAFETY: The caller promises it.
            Ok(unsafe { (*cfg.cast::<bindings::fib6_config>()).fc_ifindex } as u32)
        }
        _ => Err(EAFNOSUPPORT),
    }
}

/// Makes a state. Process context, under RTNL for IPv4 and nexthop objects, without for IPv6.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn build_state(
    net: *mut bindings::net,
    encap: *mut bindings::nlattr,
    family: c_uint,
    cfg: *const c_void,
    result: *mut *mut bindings::lwtunnel_state,
    extack: *mut bindings::netlink_ext_ack,
) -> c_int {
    // SAFETY: The FIB passes valid pointers and waits for the result.
    let (net, extack) = unsafe { (Net::from_ptr(net), ExtAck::from_ptr(extack)) };
    from_result(|| {
        // SAFETY: As above.
        let (key, ifindex) = unsafe { (key_of(encap), device_of(family, cfg)?) };
        let key = key.ok_or_else(|| {
            extack.set(c"RTA_WGPEER must be a 32-byte public key");
            EINVAL
        })?;
        if ifindex == 0 {
            extack.set(c"via-wgpeer needs a device");
            return Err(EINVAL);
        }
        let dev = net.get_device(ifindex).ok_or_else(|| {
            extack.set(c"no such device");
            ENODEV
        })?;
        let dev = WgDevice::new(&dev).ok_or_else(|| {
            extack.set(c"via-wgpeer needs a WireGuard device");
            EINVAL
        })?;
        let binding = registry::bind(&dev, &key)?;

        // SAFETY: Allocates; the length is that of the data.
        let state = unsafe { bindings::lwtunnel_state_alloc(size_of::<*const Binding>() as c_int) };
        if state.is_null() {
            binding::release(binding);
            return Err(ENOMEM);
        }
        // SAFETY: `state` was just allocated with room for the pointer, and `result` is where the
        // caller wants it.
        unsafe {
            (*state).type_ = TYPE as u16;
            data(state).write(Arc::into_raw(binding));
            result.write(state);
        }
        Ok(0)
    })
}

/// Ends a state. Any context but hard interrupts.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn destroy_state(lwtstate: *mut bindings::lwtunnel_state) {
    // SAFETY: `build_state` put it there, and this is called once for each state.
    binding::release(unsafe { Arc::from_raw(data(lwtstate).read()) });
}

/// Writes the key into a message.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn fill_encap(
    skb: *mut bindings::sk_buff,
    lwtstate: *mut bindings::lwtunnel_state,
) -> c_int {
    // SAFETY: The FIB passes a state of this type and a message to write to, and `nla_put()` checks
    // that there is room for the key.
    unsafe {
        let Some(binding) = binding(lwtstate) else {
            return EINVAL.to_errno();
        };
        let key = binding.key().as_bytes();
        bindings::nla_put(skb, KEY_ATTR, key.len() as c_int, key.as_ptr().cast())
    }
}

/// What `fill_encap` takes.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn get_encap_size(_lwtstate: *mut bindings::lwtunnel_state) -> c_int {
    // SAFETY: Only calculates.
    unsafe { bindings::nla_total_size(PublicKey::LEN as c_int) }
}

/// Compares two states; 0 if they are equal.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn cmp_encap(
    a: *mut bindings::lwtunnel_state,
    b: *mut bindings::lwtunnel_state,
) -> c_int {
    // SAFETY: The FIB passes valid states.
    let (a, b) = unsafe { (binding(a), binding(b)) };
    let same = match (a, b) {
        // There is one binding for each device and key.
        (Some(a), Some(b)) => ptr::eq(a, b),
        _ => false,
    };
    c_int::from(!same)
}

/// Compares a state with an attribute.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn match_encap(
    lwtstate: *const bindings::lwtunnel_state,
    encap: *const bindings::nlattr,
) -> bool {
    // SAFETY: The FIB passes a valid state and a valid attribute.
    let (binding, key) = unsafe { (binding(lwtstate), key_of(encap)) };
    match (binding, key) {
        (Some(binding), Some(key)) => *binding.key() == key,
        _ => false,
    }
}

/// Counts a nexthop.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn nexthop_link(lwtstate: *mut bindings::lwtunnel_state) {
    // SAFETY: The FIB passes a valid state.
    if let Some(binding) = unsafe { binding(lwtstate) } {
        binding.nexthop_linked();
    }
}

/// Counts a nexthop no more.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn nexthop_unlink(lwtstate: *mut bindings::lwtunnel_state) {
    // SAFETY: The FIB passes a valid state.
    if let Some(binding) = unsafe { binding(lwtstate) } {
        binding.nexthop_unlinked();
    }
}

/// Says what somebody who has just added a nexthop should know. Process context.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn nexthop_notice(
    lwtstate: *mut bindings::lwtunnel_state,
    extack: *mut bindings::netlink_ext_ack,
) {
    // SAFETY: The FIB passes a valid state, and null or a valid extack.
    let (binding, extack) = unsafe { (binding(lwtstate), ExtAck::from_ptr(extack)) };
    if let Some(warning) = binding.and_then(Binding::warning) {
        extack.set(warning);
    }
}

struct Ops(bindings::lwtunnel_encap_ops);

// SAFETY: The table is never written.
unsafe impl Sync for Ops {}

static OPS: Ops = Ops(bindings::lwtunnel_encap_ops {
    build_state: Some(build_state),
    destroy_state: Some(destroy_state),
    output: None,
    input: None,
    fill_encap: Some(fill_encap),
    get_encap_size: Some(get_encap_size),
    cmp_encap: Some(cmp_encap),
    match_encap: Some(match_encap),
    xmit: None,
    nexthop_link: Some(nexthop_link),
    nexthop_unlink: Some(nexthop_unlink),
    nexthop_notice: Some(nexthop_notice),
    owner: kernel::module::this_module::<crate::LocalModule>()
        .as_ptr()
        .cast(),
});

/// The lightweight-tunnel type: while this exists, routes may name peers.
///
/// # Invariants
///
/// [`OPS`] is registered.
pub(crate) struct Registration(());

impl Registration {
    /// Registers the type; fails with `EBUSY` if something else has.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The table is static, and its owner is this module.
        to_result(unsafe { bindings::lwtunnel_encap_add_ops(&OPS.0, TYPE) }).map_err(|_| EBUSY)?;
        // INVARIANT: Just registered.
        Ok(Self(()))
    }
}

impl Drop for Registration {
    /// There are no states any more: each holds a reference on the module.
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariants.
        unsafe { bindings::lwtunnel_encap_del_ops(&OPS.0, TYPE) };
    }
}
