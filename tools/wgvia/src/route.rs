// SPDX-License-Identifier: GPL-2.0

//! Routes whose nexthops name peers, for systems whose ip(8) does not know
//! via-wgpeer.

use crate::attributes::Attributes;
use crate::cli::Action;
use crate::error::Error;
use crate::key::Key;
use crate::keywords::{Values, ROUTE, ROUTE_SHOW};
use crate::prefix::{octets, Prefix};
use crate::rtnetlink::{ifindex, Message, Rtnetlink, NO_IPV6};
use libc::{
    AF_INET, AF_INET6, RTA_DST, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY, RTA_TABLE, RTM_DELROUTE,
    RTM_NEWROUTE, RTN_UNICAST, RTPROT_BOOT, RT_SCOPE_LINK, RT_SCOPE_NOWHERE, RT_TABLE_MAIN,
};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use shown::{Nexthop, Nexthops, Shown};
use std::net::IpAddr;
use std::str::FromStr;

mod shown;

/// RTA_ENCAP_TYPE and RTA_ENCAP of linux/rtnetlink.h.
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_ENCAP: u16 = 22;
/// Of include/uapi/linux/wgvia_rta.h: the key, inside RTA_ENCAP.
const RTA_WGPEER: u16 = 1;
/// Length of struct rtnexthop.
const RTNEXTHOP_LEN: usize = 8;
const MAIN: u32 = RT_TABLE_MAIN as u32;

/// A route with one nexthop, as the command line gives it.
#[derive(Debug, PartialEq)]
pub struct Route {
    prefix: Prefix,
    dev: String,
    key: Key,
    table: u32,
    metric: Option<u32>,
    src: Option<IpAddr>,
}

impl Route {
    /// Read PREFIX and the keywords after it.
    ///
    /// Errors: [`Error::Usage`].
    pub fn read(words: &[String]) -> Result<Self, Error> {
        let Some((prefix, words)) = words.split_first() else {
            return Err(Error::Usage("PREFIX is missing".to_owned()));
        };
        let prefix: Prefix = prefix.parse().map_err(Error::Usage)?;
        let values = ROUTE.read(words).map_err(Error::Usage)?;
        let required = |keyword: &str| values.get(keyword).unwrap_or_default();
        let src: Option<IpAddr> = parsed(&values, "src", "is not an address")?;
        if src.is_some_and(|src| src.is_ipv4() != prefix.address.is_ipv4()) {
            return Err(Error::Usage(
                "src is of another family than PREFIX".to_owned(),
            ));
        }
        Ok(Self {
            prefix,
            dev: required("dev").to_owned(),
            key: required("via-wgpeer").parse().map_err(Error::Usage)?,
            table: table(&values)?.unwrap_or(MAIN),
            metric: parsed(&values, "metric", "is not a number")?,
            src,
        })
    }

    /// Have the kernel do something with the route.
    pub fn change(
        &self,
        rtnetlink: &mut Rtnetlink,
        action: Action,
        encap_type: u16,
    ) -> Result<(), Error> {
        let flags = match action {
            Action::Add => NLM_F_CREATE | NLM_F_EXCL,
            Action::Replace => NLM_F_CREATE | NLM_F_REPLACE,
            Action::Append => NLM_F_CREATE | NLM_F_APPEND,
            Action::Del | Action::Show => 0,
        };
        let ifindex = ifindex(&self.dev).map_err(|error| error.about(&self.dev))?;
        let request = self.request(action == Action::Del, ifindex, encap_type);
        let done = rtnetlink.change(request, flags);
        done.map_err(|error| {
            let error = match self.prefix.address {
                IpAddr::V4(_) => error,
                IpAddr::V6(_) => error.or_text(libc::EOPNOTSUPP, NO_IPV6),
            };
            error
                .or_text(
                    libc::EEXIST,
                    "such a route exists: replace it, or append to it",
                )
                .or_text(libc::ESRCH, "no such route")
        })
    }

    fn request(&self, del: bool, ifindex: u32, encap_type: u16) -> Message {
        let family = match self.prefix.address {
            IpAddr::V4(_) => AF_INET,
            IpAddr::V6(_) => AF_INET6,
        };
        // In a deletion, these match anything.
        let (protocol, scope, kind) = match del {
            true => (0, RT_SCOPE_NOWHERE, 0),
            false => (RTPROT_BOOT, RT_SCOPE_LINK, RTN_UNICAST),
        };
        // The table has an attribute, since not every number fits the header.
        let mut header = vec![family as u8, self.prefix.length, 0, 0];
        header.extend([0, protocol, scope, kind, 0, 0, 0, 0]);

        let mut encap = Attributes::new();
        encap.put(RTA_WGPEER, self.key.0.to_vec());
        let mut attributes = Attributes::new();
        attributes.put(RTA_DST, octets(&self.prefix.address));
        attributes.put_u32(RTA_TABLE, self.table);
        attributes.put_u32(RTA_OIF, ifindex);
        attributes.put_u16(RTA_ENCAP_TYPE, encap_type);
        attributes.put_nest(RTA_ENCAP, &encap);
        if let Some(metric) = self.metric {
            attributes.put_u32(RTA_PRIORITY, metric);
        }
        if let Some(src) = self.src {
            attributes.put(RTA_PREFSRC, octets(&src));
        }
        Message {
            kind: if del { RTM_DELROUTE } else { RTM_NEWROUTE },
            header,
            attributes,
        }
    }
}

/// Which routes are to be shown.
#[derive(Debug)]
pub struct Selector {
    dev: Option<String>,
    key: Option<Key>,
    table: Option<u32>,
}

impl Selector {
    /// Read keywords.
    ///
    /// Errors: [`Error::Usage`].
    pub fn read(words: &[String]) -> Result<Self, Error> {
        let values = ROUTE_SHOW.read(words).map_err(Error::Usage)?;
        let key = values.get("via-wgpeer").map(str::parse);
        Ok(Self {
            dev: values.get("dev").map(str::to_owned),
            key: key.transpose().map_err(Error::Usage)?,
            table: table(&values)?,
        })
    }

    /// Get the routes that name peers, of all tables unless one is selected.
    pub fn routes(&self, rtnetlink: &mut Rtnetlink, encap_type: u16) -> Result<Vec<Shown>, Error> {
        if let Some(dev) = &self.dev {
            ifindex(dev).map_err(|error| error.about(dev))?;
        }
        rtnetlink.routes(|message| {
            let route = Shown::parse(&message, encap_type)?;
            Ok(route.filter(|route| self.selects(route)))
        })
    }

    fn selects(&self, route: &Shown) -> bool {
        let selected = |nexthop: &Nexthop| {
            nexthop.key.is_some()
                && self.dev.as_ref().is_none_or(|dev| *dev == nexthop.dev)
                && self.key.is_none_or(|key| Some(key) == nexthop.key)
        };
        let nexthops = match &route.nexthops {
            Nexthops::One(nexthop) => std::slice::from_ref(nexthop),
            Nexthops::Several { nexthops } => nexthops,
        };
        nexthops.iter().any(selected) && self.table.is_none_or(|table| table == route.table)
    }
}

/// Table 0 is refused: to the kernel it is no table, or any.
fn table(values: &Values<'_>) -> Result<Option<u32>, Error> {
    match parsed(values, "table", "is not a number")? {
        Some(0) => Err(Error::Usage("table 0 is no routing table".to_owned())),
        table => Ok(table),
    }
}

fn parsed<T: FromStr>(values: &Values<'_>, keyword: &str, wrong: &str) -> Result<Option<T>, Error> {
    let parse = |value: &str| {
        let value_of = value.parse();
        value_of.map_err(|_| Error::Usage(format!("{keyword}: '{value}' {wrong}")))
    };
    values.get(keyword).map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::shown::multipath;
    use super::*;
    use libc::RTA_MULTIPATH;
    use netlink_packet_core::{
        Emitable, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
    };

    const TYPE: u16 = 64;
    const K1: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";
    const K2: &str = "TrMvSoP4jYQlY6RIzBgbssQqY3vxI2Pi+y71lOWWXX0=";

    fn read(line: &str) -> Result<Route, Error> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Route::read(&words)
    }

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[test]
    fn the_command_line() {
        let line = format!("fd01::/48 via-wgpeer {K1} dev wg0 metric 5 src fd00::1 table 1000");
        let expected = Route {
            prefix: "fd01::/48".parse().unwrap(),
            dev: "wg0".to_owned(),
            key: key(K1),
            table: 1000,
            metric: Some(5),
            src: Some("fd00::1".parse().unwrap()),
        };
        assert_eq!(read(&line).unwrap(), expected);
        let line = format!("10.1.0.0/16 dev wg0 via-wgpeer {K1}");
        assert_eq!(read(&line).unwrap().table, 254);
    }

    #[test]
    fn wrong_command_lines() {
        let k = K1;
        for line in [
            String::new(),
            "10.1.0.0/16".to_owned(),
            "10.1.0.0/16 dev wg0".to_owned(),
            "10.1.0.0/16 dev wg0 via-wgpeer wg0".to_owned(),
            format!("default dev wg0 via-wgpeer {k}"),
            format!("10.1.0.0/33 dev wg0 via-wgpeer {k}"),
            format!("10.1.0.0/16 dev wg0 via-wgpeer {k} table 0"),
            format!("10.1.0.0/16 dev wg0 via-wgpeer {k} table main"),
            format!("10.1.0.0/16 dev wg0 via-wgpeer {k} metric -1"),
            format!("10.1.0.0/16 dev wg0 via-wgpeer {k} metric 4294967296"),
            format!("10.1.0.0/16 dev wg0 via-wgpeer {k} src fd00::1"),
            format!("10.1.0.0/16 dev wg0 via-wgpeer {k} via 10.0.0.1"),
            format!("10.1.0.0/16 dev wg0 via-wgpeer {k} dev wg1"),
        ] {
            assert!(matches!(read(&line), Err(Error::Usage(_))), "{line}");
        }
    }

    #[test]
    fn on_the_wire() {
        let line = format!("10.1.0.0/16 dev wg0 via-wgpeer {K1} table 1000");
        let request = read(&line).unwrap().request(false, 7, TYPE);
        assert_eq!(request.kind, RTM_NEWROUTE);
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        let expected = [
            &[2, 16, 0, 0, 0, 3, 253, 1, 0, 0, 0, 0][..],
            &[8, 0, 1, 0, 10, 1, 0, 0],
            &[8, 0, 15, 0, 0xe8, 3, 0, 0],
            &[8, 0, 4, 0, 7, 0, 0, 0],
            &[6, 0, 21, 0, 64, 0, 0, 0],
            &[40, 0, 22, 0x80],
            &[36, 0, 1, 0],
            &key(K1).0,
        ];
        assert_eq!(bytes, expected.concat());

        let request = read(&line).unwrap().request(true, 7, TYPE);
        assert_eq!(request.kind, RTM_DELROUTE);
        assert_eq!(request.header[4..8], [0, 0, 255, 0]);
    }

    fn shown(message: &Message) -> Shown {
        Shown::parse(message, TYPE).unwrap().unwrap()
    }

    /// A route as the kernel could send it.
    fn one(key: &str) -> Message {
        let line = format!("fd01::/48 dev none via-wgpeer {key} table 7 metric 5 src fd00::1");
        let message = read(&line).unwrap().request(false, u32::MAX, TYPE);
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let mut header = NetlinkHeader::default();
        header.message_type = RTM_NEWROUTE;
        Message::deserialize(&header, &bytes).unwrap()
    }

    #[test]
    fn a_route_is_shown_as_it_is_written() {
        let route = shown(&one(K1));
        let expected =
            format!("fd01::/48 dev if4294967295 via-wgpeer {K1} table 7 metric 5 src fd00::1\n");
        assert_eq!(route.to_string(), expected);
        let expected = format!(
            "{{\"dst\":\"fd01::/48\",\"dev\":\"if4294967295\",\"via_wgpeer\":\"{K1}\",\
             \"table\":7,\"metric\":5,\"prefsrc\":\"fd00::1\"}}"
        );
        assert_eq!(serde_json::to_string(&route).unwrap(), expected);
    }

    #[test]
    fn several_nexthops() {
        let mut hops = Vec::new();
        for (attributes, hops_field) in [(one(K1).attributes, 0), (Attributes::new(), 9)] {
            let mut bytes = vec![0; attributes.buffer_len()];
            attributes.emit(&mut bytes);
            hops.extend((RTNEXTHOP_LEN as u16 + bytes.len() as u16).to_ne_bytes());
            hops.extend([0, hops_field]);
            hops.extend(u32::MAX.to_ne_bytes());
            hops.extend(bytes);
        }
        let mut attributes = Attributes::new();
        attributes.put(RTA_MULTIPATH, hops.clone());
        let message = Message {
            attributes,
            ..one(K1)
        };
        let expected = format!(
            "::/48 table 0\n\tnexthop dev if4294967295 via-wgpeer {K1} weight 1\n\
             \tnexthop dev if4294967295 weight 10\n"
        );
        assert_eq!(shown(&message).to_string(), expected);
        assert!(multipath(&hops[..50], TYPE).is_err());
        assert!(multipath(&[0; 8], TYPE).is_err());
    }

    #[test]
    fn selection() {
        let route = shown(&one(K1));
        let select = |line: String| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            Selector::read(&words).unwrap().selects(&route)
        };
        assert!(select(String::new()));
        assert!(select(format!("dev if4294967295 table 7 via-wgpeer {K1}")));
        assert!(!select("dev wg0".to_owned()));
        assert!(!select("table 254".to_owned()));
        assert!(!select(format!("via-wgpeer {K2}")));
        // A type that is another's
        let other = Shown::parse(&one(K1), TYPE + 1).unwrap().unwrap();
        assert!(!Selector::read(&[]).unwrap().selects(&other));
    }
}
