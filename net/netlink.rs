// SPDX-License-Identifier: GPL-2.0

//! Netlink attributes: read from a request, and written into a message.
//!
//! C header: [`include/net/netlink.h`](srctree/include/net/netlink.h)

use super::bindings;
use core::marker::PhantomData;
use kernel::{
    error::to_result,
    prelude::*, //
};

/// The length of an attribute's header in bytes.
const HEADER: usize = size_of::<bindings::nlattr>();

/// The length in bytes that an attribute with a payload of `len` bytes takes, with its padding.
pub(crate) const fn attribute_size(len: usize) -> usize {
    (HEADER + len).next_multiple_of(4)
}

/// The payload of the only attribute in a nest, if there is exactly one, of type `kind` and without
/// flags. `nest` is the payload of the nest; numbers are in host byte order.
pub(crate) fn only_attribute(nest: &[u8], kind: u16) -> Option<&[u8]> {
    let (header, payload) = nest.split_first_chunk::<HEADER>()?;
    let [l0, l1, k0, k1] = *header;
    let len = usize::from(u16::from_ne_bytes([l0, l1])).checked_sub(HEADER)?;
    let padded = attribute_size(len) - HEADER;
    // The padding of the last attribute may be missing.
    let complete = payload.len() == len || payload.len() == padded;
    (u16::from_ne_bytes([k0, k1]) == kind && complete).then_some(payload.get(..len)?)
}

/// A message being written.
///
/// # Invariants
///
/// `skb` is valid for `'a`, and nobody else writes to it.
pub(crate) struct Message<'a> {
    skb: *mut bindings::sk_buff,
    _skb: PhantomData<&'a mut ()>,
}

impl Message<'_> {
    /// Write into an skb that the kernel is making a message of.
    ///
    /// # Safety
    ///
    /// `skb` is valid and nobody else writes to it for as long as the result lives.
    pub(super) unsafe fn from_raw(skb: *mut bindings::sk_buff) -> Self {
        // INVARIANT: The caller promises it.
        Self {
            skb,
            _skb: PhantomData,
        }
    }

    /// Return how many bytes it still has room for.
    pub(crate) fn room(&self) -> usize {
        // SAFETY: Valid by the type invariants.
        unsafe { bindings::wgvia_skb_tailroom(self.skb) }
    }

    /// Add bytes. This and the following fail with `EMSGSIZE` if the message is full.
    pub(crate) fn put_bytes(&mut self, attr: u32, value: &[u8]) -> Result {
        // The length in an attribute's header counts the header.
        u16::try_from(HEADER + value.len()).map_err(|_| EMSGSIZE)?;
        let len = value.len() as c_int;
        // SAFETY: Valid by the type invariants; `nla_put()` checks that there is room.
        to_result(unsafe { bindings::nla_put(self.skb, attr as c_int, len, value.as_ptr().cast()) })
    }

    /// Add a number of 8 bits.
    pub(crate) fn put_u8(&mut self, attr: u32, value: u8) -> Result {
        self.put_bytes(attr, &[value])
    }

    /// Add a number of 16 bits, in host byte order.
    pub(crate) fn put_u16(&mut self, attr: u32, value: u16) -> Result {
        self.put_bytes(attr, &value.to_ne_bytes())
    }

    /// Add a number of 32 bits, in host byte order.
    pub(crate) fn put_u32(&mut self, attr: u32, value: u32) -> Result {
        self.put_bytes(attr, &value.to_ne_bytes())
    }

    /// Add a number as 32 bits if it fits, else as 64 (YNL's `uint`), in host byte order.
    pub(crate) fn put_uint(&mut self, attr: u32, value: u64) -> Result {
        match u32::try_from(value) {
            Ok(value) => self.put_u32(attr, value),
            Err(_) => self.put_bytes(attr, &value.to_ne_bytes()),
        }
    }

    /// Add a string with its NUL.
    pub(crate) fn put_string(&mut self, attr: u32, value: &CStr) -> Result {
        self.put_bytes(attr, value.to_bytes_with_nul())
    }

    /// Add an attribute that holds what `fill` adds. If `fill` fails, nothing is added.
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

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kunit_tests(wgvia_netlink)]
mod tests {
    use super::*;
    use core::slice;

    /// An attribute of the given length and type, as the payload of another.
    fn nest(len: u16, kind: u16, payload: &[u8]) -> Result<KVec<u8>> {
        let mut nest = KVec::new();
        nest.extend_from_slice(&len.to_ne_bytes(), GFP_KERNEL)?;
        nest.extend_from_slice(&kind.to_ne_bytes(), GFP_KERNEL)?;
        nest.extend_from_slice(payload, GFP_KERNEL)?;
        Ok(nest)
    }

    #[test]
    fn the_only_attribute() -> Result {
        const FLAG: u16 = bindings::NLA_F_NESTED as u16;
        assert_eq!(
            only_attribute(&nest(36, 1, &[7; 32])?, 1),
            Some(&[7; 32][..])
        );
        assert_eq!(only_attribute(&nest(4, 1, &[])?, 1), Some(&[][..]));
        // With and without its padding
        assert_eq!(only_attribute(&nest(7, 1, &[7; 4])?, 1), Some(&[7; 3][..]));
        assert_eq!(only_attribute(&nest(7, 1, &[7; 3])?, 1), Some(&[7; 3][..]));
        // Of another type, or with flags
        for kind in [0, 2, 1 | FLAG] {
            assert!(only_attribute(&nest(36, kind, &[7; 32])?, 1).is_none());
        }
        Ok(())
    }

    /// Attributes that say that they are longer than the nest or than their header, and others
    /// beside.
    #[test]
    fn attributes_of_another_length() -> Result {
        for len in [0, 3, 4, 31, 37, 40, u16::MAX] {
            assert!(only_attribute(&nest(len, 1, &[7; 32])?, 1).is_none());
        }
        assert!(only_attribute(&nest(36, 1, &[7; 36])?, 1).is_none());
        for len in 0..4 {
            assert!(only_attribute(&[0; 4][..len], 0).is_none());
        }
        Ok(())
    }

    /// A message of its own.
    struct Skb(*mut bindings::sk_buff);

    impl Skb {
        fn new() -> Result<Self> {
            // SAFETY: Tests run in process context, in which it may wait for memory.
            let skb = unsafe { bindings::wgvia_genlmsg_new() };
            (!skb.is_null()).then_some(Self(skb)).ok_or(ENOMEM)
        }

        fn message(&mut self) -> Message<'_> {
            // SAFETY: Valid as long as `self`, which is borrowed for that time.
            unsafe { Message::from_raw(self.0) }
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

    /// Tell whether `bytes` is an attribute with this payload, padded.
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
