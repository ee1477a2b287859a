// SPDX-License-Identifier: GPL-2.0

//! The policy below the rule: what is known of a device, of its bindings and settings.

pub(crate) mod binding;
pub(crate) mod counters;
pub(crate) mod device;
pub(crate) mod registry;
pub(crate) mod settings;
