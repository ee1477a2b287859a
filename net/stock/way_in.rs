// SPDX-License-Identifier: GPL-2.0

//! Putting the hooks in, and taking them out.

use super::btf;
use crate::net::bindings;
use core::{
    ffi::CStr,
    ptr,
    slice, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// The content of a file of sysfs.
///
/// # Invariants
///
/// `data` was allocated by vmalloc() and has `len` bytes, or is null.
struct File {
    data: *mut c_void,
    len: usize,
}

impl File {
    fn read(path: &CStr) -> Result<Self> {
        let mut data = ptr::null_mut();
        // SAFETY: The path is a string, and `data` a place for the pointer.
        let len = unsafe { bindings::wgvia_stock_read_btf(path.as_ptr().cast(), &mut data) };
        // INVARIANT: This has just been allocated, or an error leaves null.
        let file = Self {
            data,
            len: usize::try_from(len).unwrap_or(0),
        };
        if len < 0 {
            return Err(Error::from_errno(len as c_int));
        }
        Ok(file)
    }

    fn as_slice(&self) -> &[u8] {
        if self.data.is_null() {
            return &[];
        }
        // SAFETY: By the type invariants, and nobody else has it.
        unsafe { slice::from_raw_parts(self.data.cast(), self.len) }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; null is allowed.
        unsafe { bindings::vfree(self.data) };
    }
}

/// Return the layout that the C files were built for.
fn layouts() -> &'static [bindings::wgvia_layout] {
    // SAFETY: A table of constants and its length.
    unsafe {
        slice::from_raw_parts(
            (&raw const bindings::wgvia_layouts).cast(),
            bindings::wgvia_layouts_len,
        )
    }
}

/// Check that the structs of the wireguard.ko that is loaded have the layout that this module was
/// built for.
///
/// Fails with `EOPNOTSUPP` if there is no BTF to tell, and with `ENOEXEC` if they have not.
fn check_layout() -> Result {
    let read = |path: &'static CStr| {
        File::read(path).map_err(|err| {
            pr_err!(
                "{path:?} cannot be read ({}): wgvia needs it to know the layout of wireguard.ko\n",
                err.to_errno()
            );
            EOPNOTSUPP
        })
    };
    let vmlinux = read(c"/sys/kernel/btf/vmlinux")?;
    let own = read(c"/sys/kernel/btf/wireguard")?;
    let (Some(vmlinux), Some(own)) = (
        btf::Image::new(vmlinux.as_slice()),
        btf::Image::new(own.as_slice()),
    ) else {
        pr_err!("the BTF of wireguard.ko is in a form that wgvia does not know\n");
        return Err(EOPNOTSUPP);
    };
    let module = btf::Module::new(vmlinux, own);
    for layout in layouts() {
        // SAFETY: Both are strings that are never freed.
        let (name, member) = unsafe {
            (
                CStr::from_ptr(layout.name.cast()),
                CStr::from_ptr(layout.member.cast()),
            )
        };
        let found = if member.is_empty() {
            module.size_of(name.to_bytes())
        } else {
            module.offset_of(name.to_bytes(), member.to_bytes())
        };
        if found != Some(layout.bytes) {
            pr_err!(
                "struct {name:?} of the wireguard.ko that is loaded is another ({member:?} {found:?}) \
                 than that of the build ({}): build wgvia for this kernel\n",
                layout.bytes
            );
            return Err(ENOEXEC);
        }
    }
    Ok(())
}

/// Keeps wireguard.ko loaded.
struct Pin(());

impl Pin {
    fn new() -> Result<Self> {
        // SAFETY: Called once, as the module is loaded; it waits for nothing that does.
        to_result(unsafe { bindings::wgvia_stock_pin() })?;
        Ok(Self(()))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        // SAFETY: It was pinned.
        unsafe { bindings::wgvia_stock_unpin() };
    }
}

/// The functions of wireguard.ko are replaced for as long as this exists. There is one at a time,
/// and no device has a hook before or after it.
pub(crate) struct WayIn(Pin);

impl WayIn {
    /// Have them replaced.
    ///
    /// Fails, with nothing replaced and a line in the log, if there is no module wireguard
    /// (`ENODEV`), if it is another than this module was built for (`ENOEXEC`, `ENOENT`,
    /// `EOPNOTSUPP`), and if something else has replaced one of them (`EBUSY`).
    pub(crate) fn open() -> Result<Self> {
        let pin = Pin::new()?;
        check_layout()?;
        // SAFETY: wireguard.ko stays, and its layout is known.
        to_result(unsafe { bindings::wgvia_stock_start() })?;
        Ok(Self(pin))
    }
}

impl Drop for WayIn {
    fn drop(&mut self) {
        // SAFETY: They are replaced, and no device has a hook. The pin goes after this.
        unsafe { bindings::wgvia_stock_stop() };
    }
}

/// Tell user space in which type of lightweight tunnel routes name peers; 0 if in none.
pub(crate) fn announce_type(number: u32) {
    // SAFETY: Only writes a number.
    unsafe { bindings::wgvia_stock_set_encap_type(number as u16) };
}
