// SPDX-License-Identifier: GPL-2.0

//! What one sets for a device: mode and source filter.

#![deny(unsafe_code)]

use crate::net::bindings;
use kernel::prelude::*;

/// When nexthops choose the peer.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mode {
    /// Never: the device behaves as without the module.
    Off = bindings::wgvia_mode_WGVIA_MODE_OFF,
    /// While a nexthop on the device names a peer, whether the device has that peer or not.
    Auto = bindings::wgvia_mode_WGVIA_MODE_AUTO,
    /// Always.
    On = bindings::wgvia_mode_WGVIA_MODE_ON,
}

impl TryFrom<u32> for Mode {
    type Error = Error;

    fn try_from(value: u32) -> Result<Self> {
        [Self::Off, Self::Auto, Self::On]
            .into_iter()
            .find(|mode| *mode as u32 == value)
            .ok_or(EINVAL)
    }
}

/// How the inner source of a packet is checked against the peer that sent it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Filter {
    /// The longest prefix that has a nexthop on the device leads to the peer.
    Device = bindings::wgvia_filter_WGVIA_FILTER_DEVICE,
    /// The route that a reply would really take leads through the device to the peer.
    Strict = bindings::wgvia_filter_WGVIA_FILTER_STRICT,
    /// Not at all.
    None = bindings::wgvia_filter_WGVIA_FILTER_NONE,
}

impl TryFrom<u32> for Filter {
    type Error = Error;

    fn try_from(value: u32) -> Result<Self> {
        [Self::Device, Self::Strict, Self::None]
            .into_iter()
            .find(|filter| *filter as u32 == value)
            .ok_or(EINVAL)
    }
}

/// What one sets for a device. A packet meets all of it as it was at one time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) filter: Filter,
}

impl Settings {
    /// Of a device that nobody has set anything for.
    pub(crate) const DEFAULT: Self = Self {
        mode: Mode::Off,
        filter: Filter::Device,
    };

    const FILTER_SHIFT: u32 = 16;

    /// Both in one word, which changes at once.
    pub(crate) const fn into_word(self) -> u32 {
        self.mode as u32 | (self.filter as u32) << Self::FILTER_SHIFT
    }

    pub(crate) fn from_word(word: u32) -> Self {
        let mode = word & ((1 << Self::FILTER_SHIFT) - 1);
        Self {
            mode: Mode::try_from(mode).unwrap_or(Self::DEFAULT.mode),
            filter: Filter::try_from(word >> Self::FILTER_SHIFT).unwrap_or(Self::DEFAULT.filter),
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kunit_tests(wgvia_settings)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_modes_and_filters() {
        for value in [0, 1, 2] {
            assert!(Mode::try_from(value).is_ok_and(|mode| mode as u32 == value));
            assert!(Filter::try_from(value).is_ok_and(|filter| filter as u32 == value));
        }
        for value in [3, 0x100, u32::MAX] {
            assert!(Mode::try_from(value).is_err_and(|err| err == EINVAL));
            assert!(Filter::try_from(value).is_err_and(|err| err == EINVAL));
        }
    }

    #[test]
    fn settings_are_one_word() {
        for mode in [Mode::Off, Mode::Auto, Mode::On] {
            for filter in [Filter::Device, Filter::Strict, Filter::None] {
                let settings = Settings { mode, filter };
                assert!(Settings::from_word(settings.into_word()) == settings);
            }
        }
        // What nobody stores lets through no more than the default.
        assert!(Settings::from_word(u32::MAX) == Settings::DEFAULT);
    }
}
