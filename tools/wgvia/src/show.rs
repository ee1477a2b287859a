// SPDX-License-Identifier: GPL-2.0

//! Devices laid out for people.

use crate::counters::write_line;
use crate::device::{Defaults, Device, Settings};
use std::fmt::{self, Display, Formatter};

impl Display for Settings {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let multicast = if self.multicast { "on" } else { "off" };
        let (mode, filter) = (self.mode.name, self.filter.name);
        write!(f, "mode {mode}, filter {filter}, multicast {multicast}")
    }
}

impl Display for Defaults {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "default: {}", self.0)
    }
}

/// The settings, the peers that nexthops name, and the counters that have
/// counted something.
impl Display for Device {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.ifname, self.settings)?;
        for binding in &self.bindings {
            write!(f, "  via-wgpeer {}  states {}", binding.key, binding.states)?;
            if !binding.present {
                write!(f, ", no such peer: packets for it are dropped")?;
            }
            writeln!(f)?;
        }
        let counters = self.counters.iter().filter(|(_, count)| *count > 0);
        let mut counters = counters.peekable();
        if counters.peek().is_none() {
            writeln!(f, "  no packets")?;
        }
        for (entry, count) in counters {
            write_line(f, entry, count)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Attributes;
    use crate::binding::Binding;
    use crate::counters::Counters;
    use wgvia_spec::{Entry, COUNTERS, FILTER, MODE};

    fn entry(entries: &'static [Entry], name: &str) -> &'static Entry {
        entries.iter().find(|entry| entry.name == name).unwrap()
    }

    fn settings() -> Settings {
        Settings {
            mode: entry(MODE.entries, "auto"),
            filter: entry(FILTER.entries, "loose"),
            multicast: true,
        }
    }

    fn device(counts: &[(&str, u32)]) -> Device {
        let mut counters = Attributes::new();
        for entry in COUNTERS.entries {
            let count = counts.iter().find(|(name, _)| *name == entry.name);
            counters.put_u32(entry.number as u16, count.map_or(0, |(_, count)| *count));
        }
        Device {
            ifindex: 4,
            ifname: "wg0".to_owned(),
            settings: settings(),
            states: 3,
            bindings: vec![
                Binding {
                    ifindex: 4,
                    key: "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0="
                        .parse()
                        .unwrap(),
                    states: 1,
                    present: false,
                },
                Binding {
                    ifindex: 4,
                    key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="
                        .parse()
                        .unwrap(),
                    states: 2,
                    present: true,
                },
            ],
            counters: Counters::parse(&counters).unwrap(),
        }
    }

    #[test]
    fn for_people() {
        let device = device(&[("tx-wgpeer", 1_234_567_890), ("rx-drop-peer", 3)]);
        let mut expected = String::from(
            "wg0: mode auto, filter loose, multicast on\n  \
             via-wgpeer TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=  \
             states 1, no such peer: packets for it are dropped\n  \
             via-wgpeer xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=  states 2\n",
        );
        for (name, count) in [
            ("tx-wgpeer", "  1234567890"),
            ("rx-drop-peer", "           3"),
        ] {
            let doc = entry(COUNTERS.entries, name).doc.trim_end_matches('.');
            let name = name.replace('-', "_");
            expected += &format!("  {name:<17} {count}  {doc}\n");
        }
        assert_eq!(device.to_string(), expected);
    }

    #[test]
    fn a_device_without_routes_and_packets() {
        let mut device = device(&[]);
        device.bindings.clear();
        let expected = "wg0: mode auto, filter loose, multicast on\n  no packets\n";
        assert_eq!(device.to_string(), expected);
    }

    #[test]
    fn devices_to_come() {
        let defaults = Defaults(settings());
        let expected = "default: mode auto, filter loose, multicast on\n";
        assert_eq!(defaults.to_string(), expected);
        let json = serde_json::to_string(&[defaults]).unwrap();
        let expected = "[{\"mode\":\"auto\",\"filter\":\"loose\",\"multicast\":true}]";
        assert_eq!(json, expected);
    }

    #[test]
    fn names_fit_their_column() {
        for entry in COUNTERS.entries {
            assert!(entry.name.len() <= 17, "{}", entry.name);
        }
    }

    #[test]
    fn for_machines() {
        let json = serde_json::to_string(&[device(&[("tx-wgpeer", 7)])]).unwrap();
        let start = "[{\"ifindex\":4,\"ifname\":\"wg0\",\"mode\":\"auto\",\"filter\":\"loose\",\
            \"multicast\":true,\"states\":3,\"bindings\":[{\"key\":";
        assert!(json.starts_with(start), "{json}");
        let end = "\"states\":2,\"present\":true}],\"counters\":{\"tx_wgpeer\":7,";
        assert!(json.contains(end), "{json}");
        assert!(json.ends_with("\"multicast_drops\":0}}]"), "{json}");
    }
}
