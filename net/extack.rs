// SPDX-License-Identifier: GPL-2.0

//! Sentences for people, carried by a netlink acknowledgement.

use super::bindings;
use core::marker::PhantomData;
use kernel::prelude::*;

/// The place to explain a netlink request's error or warning.
///
/// A message given with an error is printed as the error, one given with success as a warning.
///
/// # Invariants
///
/// The pointer is null or valid for the lifetime `'a`, in which this thread alone uses what it
/// points to.
pub(crate) struct ExtAck<'a>(*mut bindings::netlink_ext_ack, PhantomData<&'a ()>);

impl ExtAck<'_> {
    /// Wrap the extack that the kernel passed to a netlink handler.
    ///
    /// # Safety
    ///
    /// `ptr` is null or valid, and no other thread uses it, for as long as the result lives.
    pub(super) unsafe fn from_raw(ptr: *mut bindings::netlink_ext_ack) -> Self {
        // INVARIANT: The caller promises it.
        Self(ptr, PhantomData)
    }

    /// Set the message; the last one wins. It is copied, and what is longer than 79 bytes is cut
    /// off.
    pub(crate) fn set(&self, msg: &CStr) {
        // SAFETY: The pointer is null, which the function checks, or valid by the type invariants,
        // and a pointer that is not sent to other threads.
        unsafe { bindings::wgvia_extack_set(self.0, msg.as_char_ptr()) };
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[kunit_tests(wgvia_extack)]
mod tests {
    use super::*;
    use kernel::str::CString;

    /// Return the text that an extack keeps when the message is gone.
    fn said(msg: &str) -> Result<CString> {
        let mut raw = bindings::netlink_ext_ack::default();
        let msg = CString::try_from_fmt(fmt!("{msg}"))?;
        // SAFETY: Valid, and nobody else has it.
        unsafe { ExtAck::from_raw(&raw mut raw) }.set(&msg);
        drop(msg);
        // SAFETY: The kernel ends it with a NUL.
        let said = unsafe { CStr::from_char_ptr(raw._msg) };
        Ok(said.try_into()?)
    }

    #[test]
    fn keeps_a_copy() -> Result {
        assert_eq!(said("")?.to_bytes(), b"");
        assert_eq!(said("100 %s of it")?.to_bytes(), b"100 %s of it");
        Ok(())
    }

    #[test]
    fn cuts_off_what_does_not_fit() -> Result {
        const LONG: &str =
            "0123456789012345678901234567890123456789012345678901234567890123456789012345678";
        assert_eq!(LONG.len(), bindings::NETLINK_MAX_FMTMSG_LEN as usize - 1);
        assert_eq!(said(LONG)?.to_bytes(), LONG.as_bytes());
        let longer = CString::try_from_fmt(fmt!("{LONG}9"))?;
        assert_eq!(said(longer.to_str()?)?.to_bytes(), LONG.as_bytes());
        Ok(())
    }

    /// Kernel callers have none.
    #[test]
    fn may_be_missing() {
        // SAFETY: Null is allowed.
        unsafe { ExtAck::from_raw(core::ptr::null_mut()) }.set(c"nobody hears");
    }
}
