// SPDX-License-Identifier: GPL-2.0

//! The settings with which the devices of a network namespace begin.

#![deny(unsafe_code)]

use crate::{
    net::{
        netdev::Net,
        per_net,
        rtnl::Rtnl, //
    },
    policy::settings::{
        Change,
        Settings, //
    },
};
use kernel::prelude::*;

/// Stands for the word 0, which a namespace has in which nothing was set.
const UNSET: u32 = Settings::DEFAULT.into_word();

/// Return the settings of a device that is made in this namespace now.
pub(crate) fn get(net: Net<'_>, rtnl: &Rtnl) -> Settings {
    Settings::from_word(per_net::get(net, rtnl) ^ UNSET)
}

/// Change them. Devices that there are keep their own. Fails with `ENODEV` if the module is going.
pub(crate) fn set(net: Net<'_>, change: Change, rtnl: &Rtnl) -> Result {
    let settings = get(net, rtnl).with(change);
    per_net::set(net, settings.into_word() ^ UNSET, rtnl)
}
