// SPDX-License-Identifier: GPL-2.0

//! The abstractions: safe wrappers over what the policy needs of the kernel.
//!
//! All unsafe code of the module lives below here. What the policy sees are types whose misuse
//! does not compile: references that live as long as an RCU read-side critical section
//! ([`packet::PacketPath`]), values that exist only while RTNL is held ([`rtnl::Rtnl`]), counted
//! references that give themselves back.

pub(crate) mod addr;
pub(crate) mod bindings;
pub(crate) mod extack;
pub(crate) mod fib;
pub(crate) mod genetlink;
pub(crate) mod global;
pub(crate) mod key;
pub(crate) mod lwtunnel;
pub(crate) mod netdev;
pub(crate) mod nexthop;
pub(crate) mod notifier;
pub(crate) mod packet;
pub(crate) mod percpu;
pub(crate) mod rtnl;
pub(crate) mod wireguard;
#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
pub(crate) mod workqueue;
