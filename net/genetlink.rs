// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: requests, replies and dumps.
//!
//! The table of operations and the policies of their attributes are generated from the YNL spec
//! (netlink/generated/wgvia.c); what it calls is below, and calls [`crate::netlink_ext`].
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use super::{
    bindings,
    extack::ExtAck,
    netdev::Net,
    rtnl::Rtnl, //
};
use crate::{
    net::key::PublicKey,
    netlink_ext, //
};
use core::{
    marker::PhantomData,
    slice, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*, //
};

/// The generated policy of an operation, by the numbers of its attributes; empty if the operation
/// has none.
fn policy(command: u32, capability: u32) -> &'static [bindings::nla_policy] {
    // SAFETY: The table of operations and their policies are constant and as long as they say.
    unsafe {
        let family = &raw const bindings::wgvia_nl_family;
        slice::from_raw_parts((*family).split_ops, (*family).n_split_ops.into())
            .iter()
            .find(|op| u32::from(op.cmd) == command && u32::from(op.flags) & capability != 0)
            .filter(|op| !op.policy.is_null())
            .map_or(&[], |op| {
                slice::from_raw_parts(op.policy, op.maxattr as usize + 1)
            })
    }
}

/// Is `attr` an attribute of the type `kind` in a policy?
fn has(policy: &[bindings::nla_policy], attr: u32, kind: u32) -> bool {
    policy
        .get(attr as usize)
        .is_some_and(|policy| u32::from(policy.type_) == kind)
}

/// A request, whose attributes the generated policy has checked.
///
/// # Invariants
///
/// `info` is valid for `'a`, and of a request for `command`. Its attributes are those of `policy`,
/// none if that is empty, and those that are there have passed it.
pub(crate) struct Request<'a> {
    info: *const bindings::genl_info,
    command: u32,
    policy: &'static [bindings::nla_policy],
    _info: PhantomData<&'a ()>,
}

impl<'a> Request<'a> {
    /// # Safety
    ///
    /// `info` is valid for `'a`, and is what generic netlink made of a request for the operation
    /// `command` of the family, a `doit` or `dumpit` as `capability` says.
    unsafe fn new(info: *const bindings::genl_info, command: u32, capability: u32) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            info,
            command,
            policy: policy(command, capability),
            _info: PhantomData,
        }
    }

    /// An attribute that is of the type `kind` in the operation's policy. To ask for another is a
    /// mistake, which is complained of.
    fn attr(&self, attr: u32, kind: u32) -> Option<*const bindings::nlattr> {
        let known = has(self.policy, attr, kind);
        // SAFETY: Only complains.
        if unsafe { bindings::wgvia_warn_on_once(!known) } {
            return None;
        }
        // SAFETY: Valid by the type invariants: the array has an entry for each attribute of the
        // policy, of which this is one.
        let attr: *const bindings::nlattr = unsafe { *(*self.info).attrs.add(attr as usize) };
        (!attr.is_null()).then_some(attr)
    }

    /// An attribute that is a `u32` in the operation's policy.
    pub(crate) fn u32(&self, attr: u32) -> Option<u32> {
        let attr = self.attr(attr, bindings::NLA_U32)?;
        // SAFETY: The policy has checked its length.
        Some(unsafe { bindings::nla_get_u32(attr) })
    }

    /// An attribute that is a string in the operation's policy.
    pub(crate) fn string(&self, attr: u32) -> Option<&'a CStr> {
        let attr = self.attr(attr, bindings::NLA_NUL_STRING)?;
        // SAFETY: The policy has checked that there is a NUL in it.
        Some(unsafe { CStr::from_char_ptr(bindings::nla_data(attr).cast()) })
    }

    /// The network namespace that the request came from.
    pub(crate) fn net(&self) -> Net<'a> {
        // SAFETY: Valid by the type invariants; the requesting socket keeps the namespace.
        unsafe { Net::from_ptr(bindings::genl_info_net(self.info)) }
    }

    /// Where to explain an error.
    pub(crate) fn extack(&self) -> ExtAck<'_> {
        // SAFETY: Valid by the type invariants, for the time of the request.
        unsafe { ExtAck::from_ptr((*self.info).extack) }
    }

    /// Sends the reply that `fill` writes. Fails with `ENOMEM`, with `EMSGSIZE` if there is no room
    /// for it, or with what `fill` does.
    pub(crate) fn reply(&self, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        // SAFETY: Allocates.
        let skb = unsafe { bindings::wgvia_genlmsg_new() };
        if skb.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: The message is new, the request valid by the type invariants and the family
        // static.
        let header = unsafe {
            bindings::wgvia_genlmsg_put_reply(
                skb,
                self.info.cast_mut(),
                &raw const bindings::wgvia_nl_family,
                self.command as u8,
            )
        };
        let result = if header.is_null() {
            Err(EMSGSIZE)
        } else {
            // INVARIANT: The message is valid.
            fill(&mut Message {
                skb,
                _skb: PhantomData,
            })
        };
        // SAFETY: The message is given away either way, and sent only with `header` in it: without,
        // the result is an error.
        unsafe {
            match result {
                Ok(()) => {
                    bindings::genlmsg_end(skb, header);
                    to_result(bindings::genlmsg_reply(skb, self.info.cast_mut()))
                }
                Err(_) => {
                    bindings::nlmsg_free(skb);
                    result
                }
            }
        }
    }
}

/// A message being written.
///
/// # Invariants
///
/// `skb` is valid for `'a`.
pub(crate) struct Message<'a> {
    skb: *mut bindings::sk_buff,
    _skb: PhantomData<&'a mut ()>,
}

impl Message<'_> {
    /// Adds bytes. This and the following fail with `EMSGSIZE` if the message is full.
    pub(crate) fn put_bytes(&mut self, attr: u32, value: &[u8]) -> Result {
        // An attribute says how long it is with its header.
        u16::try_from(size_of::<bindings::nlattr>() + value.len()).map_err(|_| EMSGSIZE)?;
        let len = value.len() as c_int;
        // SAFETY: Valid by the type invariants; `nla_put()` checks that there is room.
        to_result(unsafe { bindings::nla_put(self.skb, attr as c_int, len, value.as_ptr().cast()) })
    }

    /// Adds a number of 8 bits.
    pub(crate) fn put_u8(&mut self, attr: u32, value: u8) -> Result {
        self.put_bytes(attr, &[value])
    }

    /// Adds a number of 32 bits.
    pub(crate) fn put_u32(&mut self, attr: u32, value: u32) -> Result {
        self.put_bytes(attr, &value.to_ne_bytes())
    }

    /// Adds a number as 32 bits if it fits, else as 64 (YNL's `uint`).
    pub(crate) fn put_uint(&mut self, attr: u32, value: u64) -> Result {
        match u32::try_from(value) {
            Ok(value) => self.put_u32(attr, value),
            Err(_) => self.put_bytes(attr, &value.to_ne_bytes()),
        }
    }

    /// Adds a string with its NUL.
    pub(crate) fn put_string(&mut self, attr: u32, value: &CStr) -> Result {
        self.put_bytes(attr, value.to_bytes_with_nul())
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(crate) fn nest(&mut self, attr: u32, fill: impl FnOnce(&mut Self) -> Result) -> Result {
        // `fill` could put another message in the place of this one.
        let skb = self.skb;
        // SAFETY: Valid by the type invariants.
        let nest = unsafe { bindings::nla_nest_start(skb, attr as c_int) };
        if nest.is_null() {
            return Err(EMSGSIZE);
        }
        let result = fill(self);
        // SAFETY: `nest` was started in this message and not yet ended.
        unsafe {
            match result {
                Ok(()) => _ = bindings::nla_nest_end(skb, nest),
                Err(_) => bindings::nla_nest_cancel(skb, nest),
            }
        }
        result
    }
}

/// Where a dump goes on after a full message.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    /// The lowest device index to look at.
    pub(crate) ifindex: u32,
    /// Is there a last key?
    pub(crate) has_key: bool,
    /// The last key dumped of the device `ifindex`.
    pub(crate) key: [u8; PublicKey::LEN],
}

/// A dump.
///
/// # Invariants
///
/// Both pointers are valid for `'a`, those of the `dumpit` operation `command` of the family.
pub(crate) struct Dump<'a> {
    skb: *mut bindings::sk_buff,
    callback: *mut bindings::netlink_callback,
    command: u32,
    _callback: PhantomData<&'a mut ()>,
}

impl<'a> Dump<'a> {
    /// # Safety
    ///
    /// The arguments are those of the `dumpit` operation `command` of the family, which does not
    /// return before `'a` ends.
    unsafe fn new(
        skb: *mut bindings::sk_buff,
        callback: *mut bindings::netlink_callback,
        command: u32,
    ) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            skb,
            callback,
            command,
            _callback: PhantomData,
        }
    }

    /// The request that started it.
    pub(crate) fn request(&self) -> Request<'a> {
        // SAFETY: Valid by the type invariants; the dump keeps the information for as long as it
        // goes on.
        unsafe {
            Request::new(
                bindings::genl_info_dump(self.callback),
                self.command,
                bindings::GENL_CMD_CAP_DUMP,
            )
        }
    }

    /// The network namespace of the request. Where its devices are others than they were in an
    /// earlier part, the dump says that it was interrupted (`NLM_F_DUMP_INTR`).
    pub(crate) fn net(&mut self, _: &Rtnl) -> Net<'a> {
        let net = self.request().net();
        // SAFETY: Valid by the type invariants, and the generation changes under RTNL alone.
        unsafe { (*self.callback).seq = bindings::wgvia_device_generation(net.as_ptr()) };
        net
    }

    /// Where to go on; all zero at first.
    pub(crate) fn cursor(&mut self) -> &mut Cursor {
        const {
            assert!(size_of::<Cursor>() <= size_of::<bindings::netlink_callback__bindgen_ty_1>());
            assert!(align_of::<Cursor>() <= align_of::<bindings::netlink_callback__bindgen_ty_1>());
        }
        // SAFETY: Valid by the type invariants. The context is zeroed before a dump begins, which
        // is a valid `Cursor`, and written by nobody else.
        unsafe { &mut *(&raw mut (*self.callback).__bindgen_anon_1).cast::<Cursor>() }
    }

    /// Adds a message; `EMSGSIZE` if this part of the dump is full and the next goes on from the
    /// cursor.
    pub(crate) fn message(&mut self, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        // SAFETY: Valid by the type invariants; the family is static.
        let header = unsafe {
            bindings::genlmsg_put(
                self.skb,
                bindings::wgvia_callback_portid(self.callback),
                (*(*self.callback).nlh).nlmsg_seq,
                &raw const bindings::wgvia_nl_family,
                bindings::NLM_F_MULTI as c_int,
                self.command as u8,
            )
        };
        if header.is_null() {
            return Err(EMSGSIZE);
        }
        // INVARIANT: Valid by the type invariants of the dump.
        let result = fill(&mut Message {
            skb: self.skb,
            _skb: PhantomData,
        });
        // SAFETY: `header` was put into this message.
        unsafe {
            match result {
                Ok(()) => {
                    bindings::genl_dump_check_consistent(self.callback, header);
                    bindings::genlmsg_end(self.skb, header);
                }
                Err(_) => bindings::genlmsg_cancel(self.skb, header),
            }
        }
        result
    }
}

/// # Safety
///
/// Called by generic netlink, as the `doit` operation device-get of the family.
#[no_mangle]
unsafe extern "C" fn wgvia_nl_device_get_doit(
    _skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    // SAFETY: The caller promises it; the request is valid until this returns.
    let request = unsafe {
        Request::new(
            info,
            bindings::WGVIA_CMD_DEVICE_GET,
            bindings::GENL_CMD_CAP_DO,
        )
    };
    from_result(|| {
        netlink_ext::device_get(&request)?;
        Ok(0)
    })
}

/// # Safety
///
/// Called by generic netlink, as the `doit` operation device-set of the family.
#[no_mangle]
unsafe extern "C" fn wgvia_nl_device_set_doit(
    _skb: *mut bindings::sk_buff,
    info: *mut bindings::genl_info,
) -> c_int {
    // SAFETY: The caller promises it; the request is valid until this returns.
    let request = unsafe {
        Request::new(
            info,
            bindings::WGVIA_CMD_DEVICE_SET,
            bindings::GENL_CMD_CAP_DO,
        )
    };
    from_result(|| {
        netlink_ext::device_set(&request)?;
        Ok(0)
    })
}

/// # Safety
///
/// Called by generic netlink, as the `dumpit` operation device-get of the family.
#[no_mangle]
unsafe extern "C" fn wgvia_nl_device_get_dumpit(
    skb: *mut bindings::sk_buff,
    callback: *mut bindings::netlink_callback,
) -> c_int {
    // SAFETY: The caller promises it.
    let mut dump = unsafe { Dump::new(skb, callback, bindings::WGVIA_CMD_DEVICE_GET) };
    from_result(|| {
        netlink_ext::device_dump(&mut dump)?;
        Ok(0)
    })
}

/// # Safety
///
/// Called by generic netlink, as the `dumpit` operation binding-get of the family.
#[no_mangle]
unsafe extern "C" fn wgvia_nl_binding_get_dumpit(
    skb: *mut bindings::sk_buff,
    callback: *mut bindings::netlink_callback,
) -> c_int {
    // SAFETY: The caller promises it.
    let mut dump = unsafe { Dump::new(skb, callback, bindings::WGVIA_CMD_BINDING_GET) };
    from_result(|| {
        netlink_ext::binding_dump(&mut dump)?;
        Ok(0)
    })
}

/// The generic netlink family: while this exists, user space may ask and set.
///
/// # Invariants
///
/// The family is registered.
pub(crate) struct Registration(());

impl Registration {
    /// Registers the family.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: The family is static, and its owner is this module.
        to_result(unsafe { bindings::genl_register_family(&raw mut bindings::wgvia_nl_family) })?;
        // INVARIANT: Just registered.
        Ok(Self(()))
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariants.
        unsafe { bindings::genl_unregister_family(&raw const bindings::wgvia_nl_family) };
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kunit_tests(wgvia_genl)]
mod tests {
    use super::*;
    use bindings::{
        GENL_CMD_CAP_DO as DO,
        GENL_CMD_CAP_DUMP as DUMP,
        NLA_NUL_STRING as STRING,
        NLA_U32 as NUMBER, //
    };

    #[test]
    fn policies_of_the_operations() {
        let get = policy(bindings::WGVIA_CMD_DEVICE_GET, DO);
        assert!(has(get, bindings::WGVIA_A_DEVICE_IFINDEX, NUMBER));
        assert!(has(get, bindings::WGVIA_A_DEVICE_IFNAME, STRING));
        assert!(!has(get, bindings::WGVIA_A_DEVICE_MODE, NUMBER));

        let set = policy(bindings::WGVIA_CMD_DEVICE_SET, DO);
        assert!(has(set, bindings::WGVIA_A_DEVICE_MODE, NUMBER));
        assert!(has(set, bindings::WGVIA_A_DEVICE_FILTER, NUMBER));
        assert!(!has(set, bindings::WGVIA_A_DEVICE_FILTER, STRING));
        assert!(!has(set, bindings::WGVIA_A_DEVICE_FILTER + 1, NUMBER));
        assert!(!has(set, 0, NUMBER));
        assert!(!has(set, u32::MAX, NUMBER));

        let dump = policy(bindings::WGVIA_CMD_BINDING_GET, DUMP);
        assert!(has(dump, bindings::WGVIA_A_BINDING_IFINDEX, NUMBER));
        assert!(!has(dump, bindings::WGVIA_A_BINDING_KEY, STRING));
    }

    /// An operation without a policy, and what is no operation, have no attributes.
    #[test]
    fn no_policy() {
        assert!(policy(bindings::WGVIA_CMD_DEVICE_GET, DUMP).is_empty());
        assert!(policy(bindings::WGVIA_CMD_DEVICE_SET, DUMP).is_empty());
        assert!(policy(bindings::WGVIA_CMD_BINDING_GET, DO).is_empty());
        assert!(policy(0, DO).is_empty());
        assert!(policy(u32::MAX, DUMP).is_empty());
    }

    /// A message of its own.
    struct Skb(*mut bindings::sk_buff);

    impl Skb {
        fn new() -> Result<Self> {
            // SAFETY: Allocates.
            let skb = unsafe { bindings::wgvia_genlmsg_new() };
            (!skb.is_null()).then_some(Self(skb)).ok_or(ENOMEM)
        }

        fn message(&mut self) -> Message<'_> {
            // INVARIANT: Valid as long as `self`.
            Message {
                skb: self.0,
                _skb: PhantomData,
            }
        }

        fn bytes(&self) -> &[u8] {
            // SAFETY: A new message is linear.
            unsafe { slice::from_raw_parts((*self.0).data, (*self.0).len as usize) }
        }
    }

    impl Drop for Skb {
        fn drop(&mut self) {
            // SAFETY: Nobody else has it.
            unsafe { bindings::nlmsg_free(self.0) };
        }
    }

    /// Is `bytes` an attribute with this payload, padded?
    fn is_attr(bytes: &[u8], attr: u16, payload: &[u8]) -> bool {
        let (len, kind) = (4 + payload.len(), &bytes[2..4]);
        bytes[..2] == (len as u16).to_ne_bytes()
            && kind == attr.to_ne_bytes()
            && bytes[4..len] == *payload
            && bytes.len() == len.next_multiple_of(4)
    }

    #[test]
    fn attributes_on_the_wire() -> Result {
        let mut skb = Skb::new()?;
        skb.message().put_u8(1, 0xab)?;
        assert!(is_attr(skb.bytes(), 1, &[0xab]));

        let mut skb = Skb::new()?;
        skb.message().put_string(2, c"wg0")?;
        assert!(is_attr(skb.bytes(), 2, b"wg0\0"));

        let mut skb = Skb::new()?;
        skb.message().put_uint(3, u32::MAX.into())?;
        assert!(is_attr(skb.bytes(), 3, &u32::MAX.to_ne_bytes()));

        let mut skb = Skb::new()?;
        let wide = u64::from(u32::MAX) + 1;
        skb.message().put_uint(4, wide)?;
        assert!(is_attr(skb.bytes(), 4, &wide.to_ne_bytes()));

        let mut skb = Skb::new()?;
        skb.message()
            .nest(5, |nest| nest.put_bytes(6, &[1, 2, 3, 4]))?;
        let nested = 5 | bindings::NLA_F_NESTED as u16;
        let payload = skb.bytes()[4..].len();
        assert!(is_attr(&skb.bytes()[4..], 6, &[1, 2, 3, 4]));
        assert!(is_attr(skb.bytes(), nested, &skb.bytes()[4..][..payload]));
        Ok(())
    }

    /// A nest that can not be filled leaves nothing behind.
    #[test]
    fn failed_nests_are_undone() -> Result {
        let mut skb = Skb::new()?;
        skb.message().put_u32(1, 1)?;
        let before = skb.bytes().len();
        let result = skb.message().nest(2, |nest| {
            nest.put_u32(3, 3)?;
            nest.nest(4, |nest| nest.put_u32(5, 5))?;
            Err(ENOENT)
        });
        assert!(result.is_err_and(|err| err == ENOENT));
        assert_eq!(skb.bytes().len(), before);
        Ok(())
    }

    #[test]
    fn full_messages_say_so() -> Result {
        let mut skb = Skb::new()?;
        let mut puts = 0;
        let err = loop {
            match skb.message().put_bytes(1, &[0; 100]) {
                Ok(()) => puts += 1,
                Err(err) => break err,
            }
        };
        assert_eq!(err, EMSGSIZE);
        assert_eq!(skb.bytes().len(), puts * 104);
        Ok(())
    }
}
