// SPDX-License-Identifier: GPL-2.0

//! The output of bindgen for `bindings_helper.h`.

#![allow(
    clippy::all,
    clippy::as_ptr_cast_mut,
    clippy::cast_lossless,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    rustdoc::all,
    unreachable_pub,
    improper_ctypes,
    unsafe_op_in_unsafe_fn,
    unused_imports
)]

type __kernel_size_t = usize;
type __kernel_ssize_t = isize;
type __kernel_ptrdiff_t = isize;

include!(concat!(env!("WGVIA_OBJ"), "/net/bindings_generated.rs"));
