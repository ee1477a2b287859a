// SPDX-License-Identifier: GPL-2.0

//! Devices laid out for people.

use crate::counters::Counters;
use crate::device::{name, Device};
use crate::uapi::{
    WGVIA_A_COUNTERS_RX_DROP_DEVICE, WGVIA_A_COUNTERS_RX_DROP_NOROUTE,
    WGVIA_A_COUNTERS_RX_DROP_PEER, WGVIA_A_COUNTERS_RX_DROP_SOURCE,
    WGVIA_A_COUNTERS_RX_GATEWAY_ALLOWEDIPS, WGVIA_A_COUNTERS_RX_GATEWAY_WGPEER,
    WGVIA_A_COUNTERS_RX_ONLINK, WGVIA_A_COUNTERS_RX_UNFILTERED, WGVIA_A_COUNTERS_RX_WGPEER,
    WGVIA_A_COUNTERS_TX_DROP_GATEWAY, WGVIA_A_COUNTERS_TX_DROP_NOROUTE,
    WGVIA_A_COUNTERS_TX_DROP_ONLINK, WGVIA_A_COUNTERS_TX_DROP_WGPEER,
    WGVIA_A_COUNTERS_TX_GATEWAY_ALLOWEDIPS, WGVIA_A_COUNTERS_TX_GATEWAY_WGPEER,
    WGVIA_A_COUNTERS_TX_ONLINK, WGVIA_A_COUNTERS_TX_WGPEER,
};
use std::fmt::{self, Display, Formatter};

/// A line of a table of counters: what it says, and the attributes of its
/// columns.
type Line<const N: usize> = (&'static str, [Option<u16>; N]);

const WAYS: &[Line<2>] = &[
    (
        "via-wgpeer",
        [
            Some(WGVIA_A_COUNTERS_TX_WGPEER),
            Some(WGVIA_A_COUNTERS_RX_WGPEER),
        ],
    ),
    (
        "gateway, via-wgpeer",
        [
            Some(WGVIA_A_COUNTERS_TX_GATEWAY_WGPEER),
            Some(WGVIA_A_COUNTERS_RX_GATEWAY_WGPEER),
        ],
    ),
    (
        "gateway, AllowedIPs",
        [
            Some(WGVIA_A_COUNTERS_TX_GATEWAY_ALLOWEDIPS),
            Some(WGVIA_A_COUNTERS_RX_GATEWAY_ALLOWEDIPS),
        ],
    ),
    (
        "on-link, AllowedIPs",
        [
            Some(WGVIA_A_COUNTERS_TX_ONLINK),
            Some(WGVIA_A_COUNTERS_RX_ONLINK),
        ],
    ),
    ("unfiltered", [None, Some(WGVIA_A_COUNTERS_RX_UNFILTERED)]),
];

const TX_DROPS: &[Line<1>] = &[
    (
        "nexthop's peer not on device",
        [Some(WGVIA_A_COUNTERS_TX_DROP_WGPEER)],
    ),
    (
        "no peer for gateway",
        [Some(WGVIA_A_COUNTERS_TX_DROP_GATEWAY)],
    ),
    (
        "no peer for destination",
        [Some(WGVIA_A_COUNTERS_TX_DROP_ONLINK)],
    ),
    (
        "no route to destination",
        [Some(WGVIA_A_COUNTERS_TX_DROP_NOROUTE)],
    ),
];

const RX_DROPS: &[Line<1>] = &[
    (
        "no route back to source",
        [Some(WGVIA_A_COUNTERS_RX_DROP_NOROUTE)],
    ),
    (
        "route back by other device",
        [Some(WGVIA_A_COUNTERS_RX_DROP_DEVICE)],
    ),
    (
        "route back not to this peer",
        [Some(WGVIA_A_COUNTERS_RX_DROP_PEER)],
    ),
    (
        "source cannot be replied to",
        [Some(WGVIA_A_COUNTERS_RX_DROP_SOURCE)],
    ),
];

impl Display for Device {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: mode {}, filter {}, {}",
            self.ifname,
            name(&self.mode),
            name(&self.filter),
            if self.active { "active" } else { "not active" },
        )?;
        writeln!(f, "  nexthops that name a peer: {}", self.nexthops)?;
        for binding in &self.bindings {
            let absent = if binding.present {
                ""
            } else {
                ", not on the device"
            };
            writeln!(f, "    {}  {}{absent}", binding.key, binding.nexthops)?;
        }
        table(f, "packets", ["sent", "accepted"], WAYS, &self.counters)?;
        table(f, "dropped", ["sending"], TX_DROPS, &self.counters)?;
        table(f, "dropped", ["receiving"], RX_DROPS, &self.counters)
    }
}

fn table<const N: usize>(
    f: &mut Formatter<'_>,
    title: &str,
    columns: [&str; N],
    lines: &[Line<N>],
    counters: &Counters,
) -> fmt::Result {
    write!(f, "  {title:<30}")?;
    for column in columns {
        write!(f, " {column:>16}")?;
    }
    writeln!(f)?;
    for (label, attributes) in lines {
        write!(f, "    {label:<28}")?;
        for attribute in attributes {
            match attribute {
                Some(attribute) => write!(f, " {:>16}", counters.get(*attribute))?,
                None => write!(f, " {:>16}", "")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Attributes;
    use crate::binding::Binding;
    use crate::cli::{Filter, Mode};
    use crate::uapi::COUNTERS;
    use std::collections::BTreeSet;

    fn device() -> Device {
        let mut attributes = Attributes::new();
        for (attribute, _) in COUNTERS {
            attributes.put_u32(*attribute, 100 + u32::from(*attribute));
        }
        Device {
            ifindex: 4,
            ifname: "wg0".to_owned(),
            mode: Mode::Auto,
            filter: Filter::Strict,
            active: true,
            nexthops: 3,
            bindings: vec![
                Binding {
                    ifindex: 4,
                    key: "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=".to_owned(),
                    nexthops: 1,
                    present: false,
                },
                Binding {
                    ifindex: 4,
                    key: "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=".to_owned(),
                    nexthops: 2,
                    present: true,
                },
            ],
            counters: Counters::parse(&attributes).unwrap(),
        }
    }

    #[test]
    fn each_counter_has_one_place() {
        let shown = WAYS.iter().flat_map(|(_, columns)| columns.iter());
        let shown = shown.chain(TX_DROPS.iter().flat_map(|(_, columns)| columns.iter()));
        let shown = shown.chain(RX_DROPS.iter().flat_map(|(_, columns)| columns.iter()));
        let shown: Vec<u16> = shown.flatten().copied().collect();
        let all: BTreeSet<u16> = COUNTERS.iter().map(|(attribute, _)| *attribute).collect();
        assert_eq!(shown.len(), all.len());
        assert_eq!(shown.into_iter().collect::<BTreeSet<_>>(), all);
    }

    #[test]
    fn for_people() {
        let expected = "\
wg0: mode auto, filter strict, active
  nexthops that name a peer: 3
    TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=  1, not on the device
    xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=  2
  packets                                    sent         accepted
    via-wgpeer                                101              109
    gateway, via-wgpeer                       102              110
    gateway, AllowedIPs                       103              111
    on-link, AllowedIPs                       104              112
    unfiltered                                                 113
  dropped                                 sending
    nexthop's peer not on device              105
    no peer for gateway                       106
    no peer for destination                   107
    no route to destination                   108
  dropped                               receiving
    no route back to source                   114
    route back by other device                115
    route back not to this peer               116
    source cannot be replied to               117
";
        assert_eq!(device().to_string(), expected);
    }

    #[test]
    fn for_machines() {
        let json = serde_json::to_string(&[device()]).unwrap();
        let start = "[{\"ifindex\":4,\"ifname\":\"wg0\",\"mode\":\"auto\",\"filter\":\"strict\",\
            \"active\":true,\"nexthops\":3,\"bindings\":[{\"key\":";
        assert!(json.starts_with(start), "{json}");
        let end = "\"nexthops\":2,\"present\":true}],\"counters\":{\"tx_wgpeer\":101,";
        assert!(json.contains(end), "{json}");
        assert!(json.ends_with("\"rx_drop_source\":117}}]"), "{json}");
    }
}
