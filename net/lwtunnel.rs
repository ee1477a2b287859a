// SPDX-License-Identifier: GPL-2.0

//! Lightweight-tunnel types: what a nexthop carries for the module, in its state.
//!
//! The FIB makes, copies, compares, dumps and frees states, and holds a reference on the module for
//! each of them. A state rides in a nexthop and in the dsts made from it.
//!
//! C header: [`include/net/lwtunnel.h`](srctree/include/net/lwtunnel.h)

use super::{
    bindings,
    extack::ExtAck,
    netdev::{
        Net,
        NetDevice, //
    },
    netlink::Message,
    read_once::read_once, //
};
use core::{
    any::TypeId,
    marker::PhantomData,
    mem::offset_of,
    slice, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    module::{
        this_module,
        ModuleMetadata, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
};

/// A type of lightweight tunnel, which [`Registration`] gives to the kernel.
pub(crate) trait Encap: 'static {
    /// Its number, one of `enum lwtunnel_encap_types`.
    const TYPE: u32;

    /// Whether it names the next hop on the link, as a gateway does: then IPv6 takes nexthops that
    /// differ in it alone for siblings.
    const IS_GATEWAY: bool;

    /// The bytes that the payload of `RTA_ENCAP` takes in a message.
    const SIZE: usize;

    /// The module that implements it.
    type Module: ModuleMetadata;

    /// The content of a state. It is dropped with interrupts on, perhaps in softirq context.
    type State: Send + Sync;

    /// Make the state of a nexthop on `dev`, or of one without a device, of the payload of
    /// `RTA_ENCAP`; if it is `for_deletion`, to find routes that are to be deleted. Process
    /// context, under RTNL for IPv4 and nexthop objects, without for IPv6.
    fn build(
        dev: Option<&NetDevice>,
        encap: &[u8],
        for_deletion: bool,
        extack: &ExtAck<'_>,
    ) -> Result<Self::State>;

    /// Write the payload of `RTA_ENCAP` that the state was made of. Atomic context.
    fn fill(state: &Self::State, message: &mut Message<'_>) -> Result;

    /// Tell whether two states lead to the same place. Any context.
    fn same(a: &Self::State, b: &Self::State) -> bool;

    /// Return a number that two states have in common if they lead to the same place, and seldom
    /// else: the FIB finds by it what a new route can share.
    fn hash(state: &Self::State) -> u32;
}

/// The number of the type that this module has registered, else `NONE`. The kernel lets one owner
/// at a time have a type, and the owner stays until the last state is gone.
static OWNED: Atomic<u32> = Atomic::new(NONE);

const NONE: u32 = bindings::lwtunnel_encap_types_LWTUNNEL_ENCAP_NONE;

/// The data of a state, behind what tells the types of this module apart.
#[repr(C)]
struct Data<T: Encap> {
    id: TypeId,
    state: T::State,
}

/// The state of a nexthop, of whichever type.
///
/// # Invariants
///
/// The pointer is valid for `'p`.
#[derive(Clone, Copy)]
pub(crate) struct EncapRef<'p>(
    *const bindings::lwtunnel_state,
    PhantomData<&'p bindings::lwtunnel_state>,
);

impl<'p> EncapRef<'p> {
    /// Borrow the state of a nexthop or dst; [`None`] if it has none.
    ///
    /// # Safety
    ///
    /// `lwtstate` is null or valid for `'p`.
    pub(super) unsafe fn from_raw(lwtstate: *const bindings::lwtunnel_state) -> Option<Self> {
        // INVARIANT: The caller promises it.
        (!lwtstate.is_null()).then_some(Self(lwtstate, PhantomData))
    }

    /// The state, if it is one of the type `T`.
    pub(crate) fn state<T: Encap>(self) -> Option<&'p T::State> {
        // No reference to the whole state is made: others count theirs in it meanwhile.
        //
        // SAFETY: Valid by the type invariants, and neither type nor data change while it is. While
        // this module owns the type, all its states were made by `build_state`, so their data begin
        // with an id, and what has the id of `T` holds a state of `T`. That is dropped when nobody,
        // nor RCU, has the state any more.
        unsafe {
            if u32::from((*self.0).type_) != T::TYPE || read_once(&OWNED) != T::TYPE {
                return None;
            }
            let data = data::<T>(self.0);
            ((&raw const (*data).id).read() == TypeId::of::<T>()).then(|| &(*data).state)
        }
    }
}

/// Return the place where a state keeps its data.
fn data<T: Encap>(lwtstate: *const bindings::lwtunnel_state) -> *mut Data<T> {
    const {
        assert!(
            offset_of!(bindings::lwtunnel_state, data) % align_of::<Data<T>>() == 0
                && align_of::<Data<T>>() <= align_of::<bindings::lwtunnel_state>()
        );
    }
    lwtstate
        .wrapping_byte_add(offset_of!(bindings::lwtunnel_state, data))
        .cast_mut()
        .cast()
}

/// Write the hash of a state, where the kernel has room for one.
///
/// # Safety
///
/// `lwtstate` is valid, and nobody else has it.
unsafe fn set_hash(lwtstate: *mut bindings::lwtunnel_state, hash: u32) {
    #[cfg(not(CONFIG_WGVIA_STOCK))]
    // SAFETY: The caller promises that the state is valid, and that nobody reads the hash
    // meanwhile.
    unsafe {
        (*lwtstate).hash = hash;
    }
    #[cfg(CONFIG_WGVIA_STOCK)]
    let _ = (lwtstate, hash);
}

/// Return the index of the device that a nexthop's configuration names, 0 if none, and whether it
/// is that of a request to delete routes.
///
/// # Safety
///
/// `cfg` is what the FIB of the family passes to `build_state`.
unsafe fn request_of(family: u32, cfg: *const c_void) -> Result<(u32, bool)> {
    // SAFETY: The caller promises that the configuration is that of the family; the request, if
    // there is one, outlives it.
    unsafe {
        let (ifindex, request) = match family {
            bindings::AF_INET => {
                let cfg = cfg.cast::<bindings::fib_config>();
                ((*cfg).fc_oif as u32, (*cfg).fc_nlinfo.nlh)
            }
            bindings::AF_INET6 => {
                let cfg = cfg.cast::<bindings::fib6_config>();
                ((*cfg).fc_ifindex as u32, (*cfg).fc_nlinfo.nlh)
            }
            _ => return Err(EAFNOSUPPORT),
        };
        let deletes =
            !request.is_null() && u32::from((*request).nlmsg_type) == bindings::RTM_DELROUTE;
        Ok((ifindex, deletes))
    }
}

/// The operations of a type, as the kernel calls them.
struct Ops<T: Encap>(PhantomData<T>);

impl<T: Encap> Ops<T> {
    const OPS: bindings::lwtunnel_encap_ops = bindings::lwtunnel_encap_ops {
        build_state: Some(Self::build_state),
        destroy_state: Some(Self::destroy_state),
        output: None,
        input: None,
        fill_encap: Some(Self::fill_encap),
        get_encap_size: Some(Self::get_encap_size),
        cmp_encap: Some(Self::cmp_encap),
        xmit: None,
        owner: this_module::<T::Module>().as_ptr().cast(),
    };

    /// [`Encap::build`] for the FIB.
    ///
    /// # Safety
    ///
    /// Called by the FIB, as an operation of [`Self::OPS`].
    unsafe extern "C" fn build_state(
        net: *mut bindings::net,
        encap: *mut bindings::nlattr,
        family: c_uint,
        cfg: *const c_void,
        result: *mut *mut bindings::lwtunnel_state,
        extack: *mut bindings::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: The FIB passes valid pointers and waits for the result; an attribute is as long
        // as it says.
        let (net, extack, payload) = unsafe {
            let len = usize::from(bindings::nla_len(encap));
            (
                Net::from_raw(net),
                ExtAck::from_raw(extack),
                slice::from_raw_parts(bindings::nla_data(encap).cast::<u8>(), len),
            )
        };
        from_result(|| {
            // SAFETY: The FIB passes the configuration of the family.
            let (ifindex, for_deletion) = unsafe { request_of(family, cfg)? };
            // Held until the end of this: IPv6 comes without RTNL.
            let dev = (ifindex != 0)
                .then(|| {
                    net.get_device(ifindex).ok_or_else(|| {
                        extack.set(c"no such device");
                        ENODEV
                    })
                })
                .transpose()?;
            let state = T::build(dev.as_deref(), payload, for_deletion, &extack)?;
            // SAFETY: Any length may be asked for; this is that of the data.
            let lwtstate = unsafe { bindings::lwtunnel_state_alloc(size_of::<Data<T>>() as c_int) };
            if lwtstate.is_null() {
                return Err(ENOMEM);
            }
            // SAFETY: `lwtstate` was just allocated with room for the data, and `result` is where
            // the caller wants it.
            unsafe {
                (*lwtstate).type_ = T::TYPE as u16;
                if T::IS_GATEWAY {
                    (*lwtstate).flags |= bindings::wgvia_lwtunnel_state_gateway;
                }
                set_hash(lwtstate, T::hash(&state));
                data::<T>(lwtstate).write(Data {
                    id: TypeId::of::<T>(),
                    state,
                });
                result.write(lwtstate);
            }
            Ok(0)
        })
    }

    /// Drop the state.
    ///
    /// # Safety
    ///
    /// Called by the FIB, as an operation of [`Self::OPS`].
    unsafe extern "C" fn destroy_state(lwtstate: *mut bindings::lwtunnel_state) {
        // SAFETY: `build_state` put it there, and this is called once for each state.
        unsafe { data::<T>(lwtstate).drop_in_place() };
    }

    /// [`Encap::fill`] for the FIB.
    ///
    /// # Safety
    ///
    /// Called by the FIB, as an operation of [`Self::OPS`].
    unsafe extern "C" fn fill_encap(
        skb: *mut bindings::sk_buff,
        lwtstate: *mut bindings::lwtunnel_state,
    ) -> c_int {
        // SAFETY: The FIB passes a state of this type and a message that it is writing.
        let (message, state) = unsafe { (&mut Message::from_raw(skb), Self::state(lwtstate)) };
        from_result(|| T::fill(state.ok_or(EINVAL)?, message).map(|()| 0))
    }

    /// The size of what `fill_encap` writes.
    ///
    /// # Safety
    ///
    /// Called by the FIB, as an operation of [`Self::OPS`].
    unsafe extern "C" fn get_encap_size(_lwtstate: *mut bindings::lwtunnel_state) -> c_int {
        T::SIZE as c_int
    }

    /// Compare two states of this type; 0 if they are equal.
    ///
    /// # Safety
    ///
    /// Called by the FIB, as an operation of [`Self::OPS`].
    unsafe extern "C" fn cmp_encap(
        a: *mut bindings::lwtunnel_state,
        b: *mut bindings::lwtunnel_state,
    ) -> c_int {
        // SAFETY: The FIB passes valid states.
        let states = unsafe { (Self::state(a), Self::state(b)) };
        let same = matches!(states, (Some(a), Some(b)) if T::same(a, b));
        c_int::from(!same)
    }

    /// Return the content of a state.
    ///
    /// # Safety
    ///
    /// `lwtstate` is null or valid for `'a`.
    unsafe fn state<'a>(lwtstate: *const bindings::lwtunnel_state) -> Option<&'a T::State> {
        // SAFETY: The caller promises that the state is null or valid for `'a`.
        unsafe { EncapRef::from_raw(lwtstate) }?.state::<T>()
    }
}

/// Tell user space the number of the type, where it can be another than it expects.
fn announce(_number: u32) {
    #[cfg(CONFIG_WGVIA_STOCK)]
    super::stock::announce_type(_number);
}

/// A registered type: while this exists, nexthops may have it.
///
/// # Invariants
///
/// The operations, which are those of `T`, are registered, and [`OWNED`] says so.
pub(crate) struct Registration<T: Encap>(&'static bindings::lwtunnel_encap_ops, PhantomData<T>);

// SAFETY: Any thread may take the operations back, which nobody writes to.
unsafe impl<T: Encap> Send for Registration<T> {}
// SAFETY: Nothing can be done with a shared reference.
unsafe impl<T: Encap> Sync for Registration<T> {}

impl<T: Encap> Registration<T> {
    /// Register the type. Fails with `EBUSY` if somebody else has, or if this module has one.
    pub(crate) fn new() -> Result<Self> {
        let ops: &'static bindings::lwtunnel_encap_ops = &Ops::<T>::OPS;
        // SAFETY: The operations are static, and their owner is the module that has them.
        to_result(unsafe { bindings::lwtunnel_encap_add_ops(ops, T::TYPE) }).map_err(|_| EBUSY)?;
        // Now that nobody else has states of the type
        if OWNED.cmpxchg(NONE, T::TYPE, Full).is_err() {
            // SAFETY: Just registered.
            unsafe { bindings::lwtunnel_encap_del_ops(ops, T::TYPE) };
            return Err(EBUSY);
        }
        announce(T::TYPE);
        // INVARIANT: Just registered.
        Ok(Self(ops, PhantomData))
    }
}

impl<T: Encap> Drop for Registration<T> {
    /// There are no states any more: each holds a reference on the module.
    fn drop(&mut self) {
        announce(NONE);
        // Before somebody else can have the type
        OWNED.store(NONE, Relaxed);
        // SAFETY: Registered by the type invariants.
        unsafe { bindings::lwtunnel_encap_del_ops(self.0, T::TYPE) };
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kunit_tests(wgvia_lwtunnel)]
mod tests {
    use super::*;
    use crate::net::netlink;
    use core::ptr;

    struct Test;

    impl Encap for Test {
        const TYPE: u32 = 7;
        const IS_GATEWAY: bool = true;
        const SIZE: usize = netlink::attribute_size(1);
        type Module = crate::LocalModule;
        type State = u8;

        fn build(_: Option<&NetDevice>, encap: &[u8], _: bool, _: &ExtAck<'_>) -> Result<u8> {
            encap.first().copied().ok_or(EINVAL)
        }

        fn fill(state: &u8, message: &mut Message<'_>) -> Result {
            message.put_u8(1, *state)
        }

        fn same(a: &u8, b: &u8) -> bool {
            a == b
        }

        fn hash(state: &u8) -> u32 {
            u32::from(*state)
        }
    }

    /// An attribute with a payload of `len` bytes.
    #[repr(C, align(4))]
    struct Attribute {
        len: u16,
        kind: u16,
        payload: [u8; 4],
    }

    /// A state that has been built, as the FIB does it.
    struct State(*mut bindings::lwtunnel_state);

    impl State {
        fn new(payload: &[u8]) -> Result<Self> {
            let mut attr = Attribute {
                len: payload.len() as u16 + 4,
                kind: 0,
                payload: [0; 4],
            };
            attr.payload[..payload.len()].copy_from_slice(payload);
            let cfg = bindings::fib_config::default();
            let mut state = ptr::null_mut();
            // SAFETY: All pointers are valid, and the configuration is that of IPv4.
            to_result(unsafe {
                Ops::<Test>::build_state(
                    &raw mut bindings::init_net,
                    (&raw mut attr).cast(),
                    bindings::AF_INET,
                    (&raw const cfg).cast(),
                    &raw mut state,
                    ptr::null_mut(),
                )
            })?;
            Ok(Self(state))
        }

        /// Return what the data says. The type is not registered, so [`EncapRef::state`] finds
        /// nothing.
        fn get(&self) -> Option<u8> {
            // SAFETY: It is valid.
            let encap = unsafe { EncapRef::from_raw(self.0) };
            assert!(encap.is_some_and(|encap| encap.state::<Test>().is_none()));
            // SAFETY: It is valid, and was made by `build_state`.
            unsafe { Some((*data::<Test>(self.0)).state) }
        }
    }

    impl Drop for State {
        fn drop(&mut self) {
            // SAFETY: Nobody else has it. The type is not registered, so what the state holds is
            // dropped by hand.
            unsafe {
                Ops::<Test>::destroy_state(self.0);
                bindings::kfree(self.0.cast());
            }
        }
    }

    #[test]
    fn states() -> Result {
        let (a, b, c) = (State::new(&[1])?, State::new(&[1, 9])?, State::new(&[2])?);
        assert_eq!((a.get(), b.get(), c.get()), (Some(1), Some(1), Some(2)));
        assert!(State::new(&[]).is_err_and(|err| err == EINVAL));
        Ok(())
    }

    #[test]
    fn no_state() {
        // SAFETY: Null is allowed.
        assert!(unsafe { EncapRef::from_raw(ptr::null()) }.is_none());
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
                request_of(bindings::AF_INET, (&raw const v4).cast())?,
                request_of(bindings::AF_INET6, (&raw const v6).cast())?,
                request_of(0, ptr::null()),
            )
        };
        assert_eq!((v4, v6), ((7, false), (8, false)));
        assert!(other.is_err_and(|err| err == EAFNOSUPPORT));
        Ok(())
    }
}
