// SPDX-License-Identifier: GPL-2.0

//! Generic netlink: requests, replies and dumps.
//!
//! The table of operations of a family and the policies of their attributes are C, generated from a
//! YNL spec. [`kernel::net::netlink`] has families of multicast groups alone: no operations,
//! replies or dumps.
//!
//! C header: [`include/net/genetlink.h`](srctree/include/net/genetlink.h)

use super::{
    bindings,
    extack::ExtAck,
    netdev::Net,
    netlink::Message,
    rtnl::Rtnl, //
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

/// Return the generated policy of an operation, by the numbers of its attributes; empty if the
/// operation has none.
///
/// # Safety
///
/// `family` is a static family of split operations.
unsafe fn policy(
    family: *const bindings::genl_family,
    command: u32,
    capability: u32,
) -> &'static [bindings::nla_policy] {
    // SAFETY: The caller promises that the family is static; its table of operations and their
    // policies are constant and as long as they say.
    unsafe {
        slice::from_raw_parts((*family).split_ops, (*family).n_split_ops.into())
            .iter()
            .find(|op| u32::from(op.cmd) == command && u32::from(op.flags) & capability != 0)
            .filter(|op| !op.policy.is_null())
            .map_or(&[], |op| {
                slice::from_raw_parts(op.policy, op.maxattr as usize + 1)
            })
    }
}

/// Tell whether `attr` is an attribute of the type `kind` in a policy.
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
    /// Take a request.
    ///
    /// # Safety
    ///
    /// `info` is valid for `'a`, and is what generic netlink made of a request for the operation
    /// `command` of a static family of split operations, a `doit` or `dumpit` as `capability` says.
    unsafe fn from_raw(info: *const bindings::genl_info, command: u32, capability: u32) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            info,
            command,
            // SAFETY: The caller promises that `info` is valid and of such a family.
            policy: unsafe { policy((*info).family, command, capability) },
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

    /// An attribute that is a `u8` in the operation's policy.
    pub(crate) fn u8(&self, attr: u32) -> Option<u8> {
        let attr = self.attr(attr, bindings::NLA_U8)?;
        // SAFETY: The policy has checked its length.
        Some(unsafe { bindings::nla_get_u8(attr) })
    }

    /// An attribute that is a `u16` in the operation's policy, in host byte order.
    pub(crate) fn u16(&self, attr: u32) -> Option<u16> {
        let attr = self.attr(attr, bindings::NLA_U16)?;
        // SAFETY: The policy has checked its length.
        Some(unsafe { bindings::nla_get_u16(attr) })
    }

    /// Tell whether there is an attribute that is a flag in the operation's policy.
    pub(crate) fn flag(&self, attr: u32) -> bool {
        self.attr(attr, bindings::NLA_FLAG).is_some()
    }

    /// An attribute that is binary in the operation's policy.
    pub(crate) fn bytes(&self, attr: u32) -> Option<&'a [u8]> {
        let attr = self.attr(attr, bindings::NLA_BINARY)?;
        // SAFETY: Valid by the type invariants, with as many bytes as it says.
        Some(unsafe {
            slice::from_raw_parts(
                bindings::nla_data(attr).cast(),
                bindings::nla_len(attr) as usize,
            )
        })
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
        unsafe { Net::from_raw(bindings::genl_info_net(self.info)) }
    }

    /// The place to explain an error.
    pub(crate) fn extack(&self) -> ExtAck<'_> {
        // SAFETY: Valid by the type invariants, for the time of the request.
        unsafe { ExtAck::from_raw((*self.info).extack) }
    }

    /// Send the reply that `fill` writes. Fails with `ENOMEM`, with `EMSGSIZE` if there is no room
    /// for it, or with what `fill` does.
    pub(crate) fn reply(&self, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        // SAFETY: Process context, in which it may wait for memory.
        let skb = unsafe { bindings::wgvia_genlmsg_new() };
        if skb.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: The message is new, and the request, which knows its family, is valid by the type
        // invariants.
        let header = unsafe {
            bindings::wgvia_genlmsg_put_reply(
                skb,
                self.info.cast_mut(),
                (*self.info).family,
                self.command as u8,
            )
        };
        let result = if header.is_null() {
            Err(EMSGSIZE)
        } else {
            // SAFETY: The message is new, and nobody else has it until it is sent.
            fill(&mut unsafe { Message::from_raw(skb) })
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

/// The place where a dump goes on after a full message.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    /// The lowest device index to look at.
    pub(crate) ifindex: u32,
    /// Whether there is a last key.
    pub(crate) has_key: bool,
    /// The last key dumped of the device `ifindex`.
    pub(crate) key: [u8; Self::KEY_LEN],
}

impl Cursor {
    /// Room for a key, in bytes.
    pub(crate) const KEY_LEN: usize = 32;
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
    /// Take a dump.
    ///
    /// # Safety
    ///
    /// The arguments are those of the `dumpit` operation `command` of the family, which does not
    /// return before `'a` ends.
    unsafe fn from_raw(
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
            Request::from_raw(
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
        unsafe { (*self.callback).seq = bindings::wgvia_device_generation(net.as_raw()) };
        net
    }

    /// The place to go on; all zero at first.
    pub(crate) fn cursor(&mut self) -> &mut Cursor {
        const {
            assert!(size_of::<Cursor>() <= size_of::<bindings::netlink_callback__bindgen_ty_1>());
            assert!(align_of::<Cursor>() <= align_of::<bindings::netlink_callback__bindgen_ty_1>());
        }
        // SAFETY: Valid by the type invariants. The context is zeroed before a dump begins, which
        // is a valid `Cursor`, and written by nobody else.
        unsafe { &mut *(&raw mut (*self.callback).__bindgen_anon_1).cast::<Cursor>() }
    }

    /// Add a message; `EMSGSIZE` if this part of the dump is full and the next goes on from the
    /// cursor.
    pub(crate) fn message(&mut self, fill: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        // SAFETY: Valid by the type invariants, as is what the dump knows of its request.
        let header = unsafe {
            bindings::genlmsg_put(
                self.skb,
                bindings::wgvia_callback_portid(self.callback),
                (*(*self.callback).nlh).nlmsg_seq,
                (*bindings::genl_info_dump(self.callback)).family,
                bindings::NLM_F_MULTI as c_int,
                self.command as u8,
            )
        };
        if header.is_null() {
            return Err(EMSGSIZE);
        }
        // SAFETY: Valid by the type invariants of the dump, which is borrowed for that time.
        let result = fill(&mut unsafe { Message::from_raw(self.skb) });
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

/// Call the `doit` operation of a command.
///
/// # Safety
///
/// Called by generic netlink, with a request for `command` of a family of split operations.
pub(crate) unsafe fn doit(
    info: *mut bindings::genl_info,
    command: u32,
    handle: fn(&Request<'_>) -> Result,
) -> c_int {
    // SAFETY: The caller promises that it is a request for the command, which is valid until this
    // returns.
    let request = unsafe { Request::from_raw(info, command, bindings::GENL_CMD_CAP_DO) };
    from_result(|| handle(&request).map(|()| 0))
}

/// Call the `dumpit` operation of a command.
///
/// # Safety
///
/// Called by generic netlink, with a dump for `command` of a family of split operations.
pub(crate) unsafe fn dumpit(
    skb: *mut bindings::sk_buff,
    callback: *mut bindings::netlink_callback,
    command: u32,
    handle: fn(&mut Dump<'_>) -> Result,
) -> c_int {
    // SAFETY: The caller promises that the arguments are those of the operation, which does not
    // return before this does.
    let mut dump = unsafe { Dump::from_raw(skb, callback, command) };
    from_result(|| handle(&mut dump).map(|()| 0))
}

/// A family whose table of operations is generated, defined with [`genl_family`].
///
/// # Safety
///
/// [`Self::raw`] returns a static family of split operations, whose owner is this module.
pub(crate) unsafe trait Family {
    /// The family that the generated code defines.
    fn raw() -> *mut bindings::genl_family;
}

/// Define a [`Family`]: name its C variable, and the function that handles each operation of the
/// generated table, by the symbol and the command that the table has for it.
macro_rules! genl_family {
    (
        $(#[$doc:meta])*
        $name:ident = $raw:ident {
            $(doit $doit:ident($do_command:ident) => $do_handle:path;)*
            $(dumpit $dumpit:ident($dump_command:ident) => $dump_handle:path;)*
        }
    ) => {
        $(#[$doc])*
        pub(crate) struct $name;

        #[allow(unsafe_code)]
        const _: () = {
            use $crate::net::{
                bindings,
                genetlink, //
            };

            // SAFETY: The generated code makes it static and gives it to this module.
            unsafe impl genetlink::Family for $name {
                fn raw() -> *mut bindings::genl_family {
                    &raw mut bindings::$raw
                }
            }

            $(
                /// # Safety
                ///
                /// Called by generic netlink, as the table of operations has it.
                #[no_mangle]
                unsafe extern "C" fn $doit(
                    _skb: *mut bindings::sk_buff,
                    info: *mut bindings::genl_info,
                ) -> kernel::ffi::c_int {
                    // SAFETY: The generated table of operations has this for the command.
                    unsafe { genetlink::doit(info, bindings::$do_command, $do_handle) }
                }
            )*
            $(
                /// # Safety
                ///
                /// Called by generic netlink, as the table of operations has it.
                #[no_mangle]
                unsafe extern "C" fn $dumpit(
                    skb: *mut bindings::sk_buff,
                    callback: *mut bindings::netlink_callback,
                ) -> kernel::ffi::c_int {
                    // SAFETY: The generated table of operations has this for the command.
                    unsafe {
                        genetlink::dumpit(skb, callback, bindings::$dump_command, $dump_handle)
                    }
                }
            )*
        };
    };
}
pub(crate) use genl_family;

/// A registered family: while this exists, user space may ask and set.
///
/// # Invariants
///
/// The family is registered.
pub(crate) struct Registration<F: Family>(PhantomData<F>);

impl<F: Family> Registration<F> {
    /// Register the family, with the first so many of its multicast groups. Process context, when
    /// the module is loaded. Fails with `EEXIST` or `ENOMEM`.
    pub(crate) fn new(groups: u8) -> Result<Self> {
        // SAFETY: The family is static, and nobody else has it before it is registered. What is
        // read-only after the module was initialised is not so yet.
        unsafe { (*F::raw()).n_mcgrps = groups.min((*F::raw()).n_mcgrps) };
        // SAFETY: The family is static, and its owner is this module, by the contract of the trait.
        to_result(unsafe { bindings::genl_register_family(F::raw()) })?;
        // INVARIANT: Just registered.
        Ok(Self(PhantomData))
    }
}

impl<F: Family> Drop for Registration<F> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariants.
        unsafe { bindings::genl_unregister_family(F::raw()) };
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kunit_tests(wgvia_genl)]
mod tests {
    use super::{
        policy as policy_of,
        *, //
    };
    use bindings::{
        GENL_CMD_CAP_DO as DO,
        GENL_CMD_CAP_DUMP as DUMP,
        NLA_NUL_STRING as STRING,
        NLA_U32 as NUMBER, //
    };

    fn policy(command: u32, capability: u32) -> &'static [bindings::nla_policy] {
        // SAFETY: The family is static.
        unsafe { policy_of(&raw const bindings::wgvia_nl_family, command, capability) }
    }

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
}
