// SPDX-License-Identifier: GPL-2.0

//! The abstractions: safe wrappers over what the policy needs of the kernel.
//!
//! All unsafe code of the module lives below here, and nothing here knows of the policy: where the
//! kernel calls in, the policy implements a trait or fills in a macro. The policy sees types whose
//! misuse does not compile: references that live as long as an RCU read-side critical section
//! ([`packet_path::PacketPath`]), values that exist only while RTNL is held ([`rtnl::Rtnl`]),
//! counted references that give themselves back.

pub(crate) mod addr;
pub(crate) mod bindings;
pub(crate) mod extack;
pub(crate) mod fib;
pub(crate) mod fib_rules;
pub(crate) mod fib_table;
pub(crate) mod flow;
pub(crate) mod genetlink;
pub(crate) mod global;
pub(crate) mod lwtunnel;
pub(crate) mod netdev;
pub(crate) mod netlink;
pub(crate) mod nexthop;
pub(crate) mod notification;
pub(crate) mod notifier;
pub(crate) mod packet;
pub(crate) mod packet_path;
pub(crate) mod per_net;
pub(crate) mod percpu;
pub(crate) mod rcu;
pub(crate) mod read_once;
pub(crate) mod route;
pub(crate) mod rtnl;
#[cfg(any(CONFIG_WGVIA_STOCK, CONFIG_WGVIA_KUNIT_TEST))]
mod stock;
pub(crate) mod time;
pub(crate) mod trace;
pub(crate) mod wireguard;
pub(crate) mod workqueue;
