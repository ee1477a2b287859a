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
    net::key::PublicKey,
    policy::{
        binding::Binding,
        device::Counted,
        registry, //
    },
};
use core::{
    mem::{
        offset_of,
        ManuallyDrop, //
    },
    ops::Deref,
    ptr, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*, //
};

const TYPE: u32 = bindings::lwtunnel_encap_types_LWTUNNEL_ENCAP_WGPEER;
const KEY_ATTR: c_int = bindings::RTA_WGPEER as c_int;

/// The data of a state: a binding that has counted it, and counts it no more when this is dropped.
/// To be dropped with interrupts on, as what it may put is ([`super::wireguard::Peer`]).
///
/// # Invariants
///
/// The binding has counted a state for this.
#[must_use = "the binding counts the state no more when this is dropped"]
pub(crate) struct StateRef(ManuallyDrop<Counted>);

impl StateRef {
    /// For the state that the binding has counted.
    pub(crate) fn new(counted: Counted) -> Self {
        // INVARIANT: It has, and for this alone: `counted` has no copy.
        Self(ManuallyDrop::new(counted))
    }
}

impl Deref for StateRef {
    type Target = Binding;

    fn deref(&self) -> &Binding {
        &self.0
    }
}

impl Drop for StateRef {
    fn drop(&mut self) {
        // SAFETY: Nobody uses it after this.
        unsafe { ManuallyDrop::take(&mut self.0) }.release();
    }
}

// The state's data has to be aligned.
const _: () = assert!(offset_of!(bindings::lwtunnel_state, data) % align_of::<StateRef>() == 0);

/// Where a state keeps its data.
fn data(lwtstate: *const bindings::lwtunnel_state) -> *mut StateRef {
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
    // No reference to the whole state is made: others count theirs in it meanwhile.
    //
    // SAFETY: The caller promises it, and the type never changes. All states of this type are made
    // by `build_state`, and have data that nobody writes to until `destroy_state`, which is called
    // when nobody, nor RCU, has the state any more.
    let state: &'p StateRef = unsafe {
        if lwtstate.is_null() || u32::from((*lwtstate).type_) != TYPE {
            return None;
        }
        &*data(lwtstate)
    };
    Some(state)
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
        // `dev` is held until the end of this: what looks a peer up needs the device (IPv6 comes
        // without RTNL).
        let binding = registry::bind(&dev, &key).inspect_err(|&err| {
            if err == ENODEV {
                extack.set(c"the device is being deleted");
            }
        })?;

        // SAFETY: Allocates; the length is that of the data.
        let state = unsafe { bindings::lwtunnel_state_alloc(size_of::<StateRef>() as c_int) };
        if state.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: `state` was just allocated with room for the data, and `result` is where the
        // caller wants it.
        unsafe {
            (*state).type_ = TYPE as u16;
            data(state).write(binding);
            result.write(state);
        }
        Ok(0)
    })
}

/// Ends a state. Any context with interrupts on.
///
/// # Safety
///
/// Called by the FIB, as an operation of [`OPS`].
unsafe extern "C" fn destroy_state(lwtstate: *mut bindings::lwtunnel_state) {
    // SAFETY: `build_state` put it there, and this is called once for each state.
    unsafe { data(lwtstate).drop_in_place() };
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

/// Counts a nexthop. Calls for one state may be concurrent, and link it more than once.
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

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kunit_tests(wgvia_lwtunnel)]
mod tests {
    use super::*;

    const KEY: u16 = bindings::RTA_WGPEER as u16;
    const ENCAP: u16 = 9;

    /// A message with one attribute, which has room for another with a key.
    #[repr(C, align(4))]
    struct Attribute {
        len: u16,
        kind: u16,
        payload: [u8; 64],
    }

    impl Attribute {
        /// `len` is that of the payload, of which `payload` is the beginning.
        fn new(kind: u16, len: usize, payload: &[u8]) -> Self {
            let mut attr = Self {
                len: len as u16 + 4,
                kind,
                payload: [0xee; 64],
            };
            attr.payload[..payload.len()].copy_from_slice(payload);
            attr
        }

        fn key(&self) -> Option<PublicKey> {
            // SAFETY: It is as long as it says.
            unsafe { key_of((&raw const *self).cast()) }
        }
    }

    /// The header of an attribute and a key, as the payload of another.
    fn inner(kind: u16, len: usize) -> [u8; 36] {
        let mut bytes = [7; 36];
        bytes[..2].copy_from_slice(&(len as u16 + 4).to_ne_bytes());
        bytes[2..4].copy_from_slice(&kind.to_ne_bytes());
        bytes
    }

    fn is_seven(key: Option<PublicKey>) -> bool {
        key.is_some_and(|key| *key.as_bytes() == [7; 32])
    }

    #[test]
    fn key_by_itself() {
        assert!(is_seven(Attribute::new(KEY, 32, &[7; 32]).key()));
        for len in [0, 1, 4, 31, 33, 36, 64] {
            assert!(Attribute::new(KEY, len, &[7; 36]).key().is_none());
        }
    }

    #[test]
    fn key_in_an_encap() {
        const NESTED: u16 = bindings::NLA_F_NESTED as u16;
        let key = inner(KEY, 32);
        assert!(is_seven(Attribute::new(ENCAP, 36, &key).key()));
        assert!(is_seven(Attribute::new(ENCAP | NESTED, 36, &key).key()));
        // The only attribute, of that type and no other, without flags.
        for len in [0, 3, 4, 32, 35, 37, 40, 64] {
            assert!(Attribute::new(ENCAP, len, &key).key().is_none());
        }
        for kind in [0, ENCAP, KEY - 1, KEY | NESTED] {
            assert!(Attribute::new(ENCAP, 36, &inner(kind, 32)).key().is_none());
        }
    }

    /// An attribute within says that it is longer than what it is in, or shorter than a key.
    #[test]
    fn key_of_another_length_in_an_encap() {
        for len in [0, 31, 33, 36, 4096] {
            assert!(Attribute::new(ENCAP, 36, &inner(KEY, len)).key().is_none());
        }
    }

    #[test]
    fn devices_of_known_families() -> Result {
        let v4 = bindings::fib_config {
            fc_oif: 7,
            ..Default::default()
        };
        let v6 = bindings::fib6_config {
            fc_ifindex: 8,
            ..Default::default()
        };
        // SAFETY: The configurations are those of the families; of another nothing is read.
        let (v4, v6, other) = unsafe {
            (
                device_of(bindings::AF_INET, (&raw const v4).cast())?,
                device_of(bindings::AF_INET6, (&raw const v6).cast())?,
                device_of(0, ptr::null()),
            )
        };
        assert_eq!((v4, v6), (7, 8));
        assert!(other.is_err_and(|err| err == EAFNOSUPPORT));
        Ok(())
    }

    /// No state, and the state of somebody else, whose data is none of ours.
    #[test]
    fn bindings_of_other_states() {
        let state = bindings::lwtunnel_state {
            type_: TYPE as u16 - 1,
            ..Default::default()
        };
        // SAFETY: Null, or valid.
        let found = unsafe { [binding(ptr::null()), binding(&raw const state)] };
        assert!(found.iter().all(Option::is_none));
    }
}
