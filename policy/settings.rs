// SPDX-License-Identifier: GPL-2.0

//! The settings of a device: mode, source filter and multicast.

#![deny(unsafe_code)]

use crate::net::bindings as abi;
use kernel::prelude::*;

/// The nexthops that choose the peer of a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Mode {
    /// None: no hook is attached, and no nexthop may name a peer of the device.
    Off = abi::wgvia_mode_WGVIA_MODE_OFF,
    /// Those that name a peer.
    Auto = abi::wgvia_mode_WGVIA_MODE_AUTO,
    /// Those that name a peer, and those with a gateway.
    On = abi::wgvia_mode_WGVIA_MODE_ON,
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

/// The check of the inner source of a packet against the peer that sent it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Filter {
    /// The longest prefix on the device leads to the peer.
    Device = abi::wgvia_filter_WGVIA_FILTER_DEVICE,
    /// The route that a reply would take leads through the device to the peer.
    Strict = abi::wgvia_filter_WGVIA_FILTER_STRICT,
    /// As [`Self::Device`], or the longest prefix by any device leads through this one.
    Loose = abi::wgvia_filter_WGVIA_FILTER_LOOSE,
    /// None.
    None = abi::wgvia_filter_WGVIA_FILTER_NONE,
}

impl TryFrom<u32> for Filter {
    type Error = Error;

    fn try_from(value: u32) -> Result<Self> {
        [Self::Device, Self::Strict, Self::Loose, Self::None]
            .into_iter()
            .find(|filter| *filter as u32 == value)
            .ok_or(EINVAL)
    }
}

/// The settings of a device. A packet meets all of them as they were at one time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) mode: Mode,
    pub(crate) filter: Filter,
    /// Whether packets to link-scope groups are copied to the peers.
    pub(crate) multicast: bool,
}

/// A change of settings: what is [`None`] stays.
#[derive(Clone, Copy, Default)]
pub(crate) struct Change {
    pub(crate) mode: Option<Mode>,
    pub(crate) filter: Option<Filter>,
    pub(crate) multicast: Option<bool>,
}

impl Change {
    /// Change all settings.
    pub(crate) fn to(settings: Settings) -> Self {
        Self {
            mode: Some(settings.mode),
            filter: Some(settings.filter),
            multicast: Some(settings.multicast),
        }
    }

    /// Tell whether it changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.mode.is_none() && self.filter.is_none() && self.multicast.is_none()
    }
}

impl Settings {
    /// The settings with which a device begins where nothing else was set.
    pub(crate) const DEFAULT: Self = Self {
        mode: Mode::Auto,
        filter: Filter::Device,
        multicast: false,
    };

    /// The settings of a device that no hook is attached to.
    pub(crate) const DETACHED: Self = Self {
        mode: Mode::Off,
        ..Self::DEFAULT
    };

    const FILTER_SHIFT: u32 = 8;
    const MULTICAST_SHIFT: u32 = 16;

    /// Apply a change.
    pub(crate) fn with(self, change: Change) -> Self {
        Self {
            mode: change.mode.unwrap_or(self.mode),
            filter: change.filter.unwrap_or(self.filter),
            multicast: change.multicast.unwrap_or(self.multicast),
        }
    }

    /// Pack them into one word, which changes at once.
    pub(crate) const fn into_word(self) -> u32 {
        self.mode as u32
            | (self.filter as u32) << Self::FILTER_SHIFT
            | (self.multicast as u32) << Self::MULTICAST_SHIFT
    }

    /// Unpack them. What no setting packs into is taken for the one of [`Self::DETACHED`].
    pub(crate) fn from_word(word: u32) -> Self {
        let byte = |shift| word >> shift & 0xff;
        Self {
            mode: Mode::try_from(byte(0)).unwrap_or(Self::DETACHED.mode),
            filter: Filter::try_from(byte(Self::FILTER_SHIFT)).unwrap_or(Self::DETACHED.filter),
            multicast: byte(Self::MULTICAST_SHIFT) == 1,
        }
    }
}

#[cfg(CONFIG_WGVIA_KUNIT_TEST)]
#[allow(unsafe_code)] // What the macro makes of it.
#[kunit_tests(wgvia_settings)]
mod tests {
    use super::*;

    const MODES: [Mode; 3] = [Mode::Off, Mode::Auto, Mode::On];
    const FILTERS: [Filter; 4] = [Filter::Device, Filter::Strict, Filter::Loose, Filter::None];

    #[test]
    fn numbers_of_modes_and_filters() {
        for mode in MODES {
            assert!(Mode::try_from(mode as u32).is_ok_and(|found| found == mode));
        }
        for filter in FILTERS {
            assert!(Filter::try_from(filter as u32).is_ok_and(|found| found == filter));
        }
        for value in [4, 0x100, u32::MAX] {
            assert!(Mode::try_from(value).is_err_and(|err| err == EINVAL));
            assert!(Filter::try_from(value).is_err_and(|err| err == EINVAL));
        }
    }

    #[test]
    fn settings_are_one_word() {
        for mode in MODES {
            for filter in FILTERS {
                for multicast in [false, true] {
                    let settings = Settings {
                        mode,
                        filter,
                        multicast,
                    };
                    assert!(Settings::from_word(settings.into_word()) == settings);
                }
            }
        }
        assert!(Settings::from_word(u32::MAX) == Settings::DETACHED);
    }

    #[test]
    fn changes_leave_the_rest() {
        let old = Settings::DEFAULT;
        let new = old.with(Change {
            filter: Some(Filter::Loose),
            ..Change::default()
        });
        assert!(new.filter == Filter::Loose && new.mode == old.mode && !new.multicast);
        assert!(old.with(Change::default()) == old && Change::default().is_empty());
        assert!(new.with(Change::to(old)) == old && !Change::to(old).is_empty());
    }
}
