// SPDX-License-Identifier: GPL-2.0

//! The policy below the rule: what is known and set of each WireGuard device.

pub(crate) mod binding;
pub(crate) mod bindings;
pub(crate) mod counters;
pub(crate) mod defaults;
pub(crate) mod devices;
pub(crate) mod drops;
pub(crate) mod encap;
pub(crate) mod events;
pub(crate) mod messages;
pub(crate) mod multicast;
pub(crate) mod numbers;
pub(crate) mod peers;
pub(crate) mod resolve;
pub(crate) mod routed;
pub(crate) mod settings;
pub(crate) mod tree;
pub(crate) mod verdict;
pub(crate) mod via;
