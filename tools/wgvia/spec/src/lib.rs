// SPDX-License-Identifier: GPL-2.0

//! The netlink family of wgvia: the numbers, names and meanings that
//! netlink/specs/wgvia.yaml gives.
//!
//! A crate of its own, because both the tool and its build script need them.

/// An enumerator or an attribute.
#[derive(Debug, Eq, PartialEq)]
pub struct Entry {
    pub name: &'static str,
    pub number: u32,
    pub doc: &'static str,
}

/// An enumeration or a set of attributes, in the order of the numbers.
#[derive(Debug)]
pub struct Table {
    pub doc: &'static str,
    pub entries: &'static [Entry],
}

impl Entry {
    /// Return the name as one word of a program: with `_` for `-`.
    pub fn word(&self) -> String {
        self.name.replace('-', "_")
    }
}

include!(concat!(env!("OUT_DIR"), "/spec.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_ynl_gives_them() {
        assert_eq!((FAMILY, KEY_LEN), ("wgvia", 32));
        assert_eq!(MODE.entries[0].name, "off");
        assert_eq!(MODE.entries[0].number, 0);
        assert_eq!(device::IFINDEX, 1);
        assert_eq!(device::IFNAME, 2);
        assert_eq!(command::DEVICE_GET, 1);
        assert_eq!(command::DEVICE_SET, 2);
        let last = COUNTERS.entries.last().unwrap();
        assert_eq!(last.number as usize, COUNTERS.entries.len());
    }

    #[test]
    fn everything_has_a_meaning_on_one_line() {
        for table in [
            &MODE,
            &FILTER,
            &DEVICE,
            &COUNTERS,
            &BINDING,
            &WIREGUARD,
            &PEER,
            &ALLOWED_IP,
        ] {
            assert!(!table.doc.is_empty());
            for entry in table.entries {
                assert!(!entry.doc.is_empty(), "{}", entry.name);
                assert!(!entry.doc.contains('\n'), "{}", entry.doc);
            }
        }
    }
}
