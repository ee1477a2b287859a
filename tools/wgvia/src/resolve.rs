// SPDX-License-Identifier: GPL-2.0

//! Questions about packets, and the kernel's answers.

use crate::attributes::Attributes;
use crate::error::Error;
use crate::key::Key;
use crate::keywords::{Values, RESOLVE};
use crate::prefix::{from_octets, octets, Prefix};
use crate::rtnetlink::{ifindex, ifname};
use netlink_packet_core::DecodeError;
use serde::{Serialize, Serializer};
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::str::FromStr;
use wgvia_spec::{resolve, route, Entry, COUNTERS, VERDICT};

/// A DSCP has six bits.
const DSCP_MAX: u8 = 63;

/// A packet, as the command line describes it.
#[derive(Debug)]
pub struct Question {
    destination: IpAddr,
    source: Option<IpAddr>,
    from: Option<Key>,
    oif: Option<String>,
    unrouted: bool,
    mark: Option<u32>,
    dscp: Option<u8>,
    sport: Option<u16>,
    dport: Option<u16>,
}

impl Question {
    /// Read ADDR and the keywords after it.
    ///
    /// Errors: [`Error::Usage`].
    pub fn read(destination: &str, words: &[String]) -> Result<Self, Error> {
        let values = RESOLVE.read(words).map_err(Error::Usage)?;
        let destination = address(destination)?;
        let source = values.get("from").map(address).transpose()?;
        let from = values.get("in").map(str::parse).transpose();
        let from: Option<Key> = from.map_err(Error::Usage)?;
        if source.is_some_and(|source| source.is_ipv4() != destination.is_ipv4()) {
            let text = "from is of another family than ADDR";
            return Err(Error::Usage(text.to_owned()));
        }
        if from.is_some() && source.is_none() {
            let text = "in needs from: the source that the packet of the peer has";
            return Err(Error::Usage(text.to_owned()));
        }
        Ok(Self {
            destination,
            source,
            from,
            oif: values.get("oif").map(str::to_owned),
            unrouted: values.number("routed") == Some(0),
            mark: mark(&values)?,
            dscp: number(&values, "dscp", DSCP_MAX)?,
            sport: number(&values, "sport", u16::MAX)?,
            dport: number(&values, "dport", u16::MAX)?,
        })
    }

    /// Add it to the attributes that name the device.
    pub fn put(&self, attributes: &mut Attributes) -> Result<(), Error> {
        attributes.put(resolve::DESTINATION, octets(&self.destination));
        if let Some(source) = &self.source {
            attributes.put(resolve::SOURCE, octets(source));
        }
        if let Some(mark) = self.mark {
            attributes.put_u32(resolve::MARK, mark);
        }
        if let Some(dscp) = self.dscp {
            attributes.put_u8(resolve::DSCP, dscp);
        }
        if let Some(sport) = self.sport {
            attributes.put_u16(resolve::SPORT, sport);
        }
        if let Some(dport) = self.dport {
            attributes.put_u16(resolve::DPORT, dport);
        }
        if let Some(oif) = &self.oif {
            attributes.put_u32(resolve::OIF, ifindex(oif)?);
        }
        if self.unrouted {
            attributes.put(resolve::UNROUTED, Vec::new());
        }
        if let Some(from) = &self.from {
            attributes.put(resolve::FROM, from.0.to_vec());
        }
        Ok(())
    }

    /// Tell whether the packet is one that a peer has sent.
    fn is_received(&self) -> bool {
        self.from.is_some()
    }
}

fn address(text: &str) -> Result<IpAddr, Error> {
    let parsed = text.parse();
    parsed.map_err(|_| Error::Usage(format!("'{text}' is not an address")))
}

/// Read a mark, which people write in hexadecimal too.
fn mark(values: &Values<'_>) -> Result<Option<u32>, Error> {
    let mark = values.get("mark").map(|text| {
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        parsed.map_err(|_| Error::Usage(format!("'{text}' is not a mark")))
    });
    mark.transpose()
}

fn number<T>(values: &Values<'_>, keyword: &str, max: T) -> Result<Option<T>, Error>
where
    T: FromStr + PartialOrd + Display,
{
    let number = values.get(keyword).map(|text| {
        let parsed = text.parse().ok().filter(|number| *number <= max);
        parsed.ok_or_else(|| {
            Error::Usage(format!(
                "{keyword} '{text}' is not a number from 0 to {max}"
            ))
        })
    });
    number.transpose()
}

/// The kernel's answer.
#[derive(Debug, PartialEq, Serialize)]
pub struct Answer {
    #[serde(skip)]
    received: bool,
    #[serde(serialize_with = "by_word")]
    verdict: &'static Entry,
    #[serde(serialize_with = "by_clause")]
    clause: Option<&'static Entry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Key>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<Route>,
}

/// A route, with the nexthop that was looked at.
#[derive(Debug, PartialEq, Serialize)]
struct Route {
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<Prefix>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
    #[serde(rename = "via_wgpeer", skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
}

impl Answer {
    pub fn parse(question: &Question, attributes: &Attributes) -> Result<Self, DecodeError> {
        let known = |entries: &'static [Entry], number| {
            let found = entries.iter().find(|entry| entry.number == number);
            found.ok_or_else(|| DecodeError::from(format!("an unknown number {number}")))
        };
        let clause = optional(attributes, resolve::CLAUSE, Attributes::u32)?;
        let route = optional(attributes, resolve::ROUTE, Attributes::nest)?;
        Ok(Self {
            received: question.is_received(),
            verdict: known(VERDICT.entries, attributes.u32(resolve::VERDICT)?)?,
            clause: clause
                .map(|number| known(COUNTERS.entries, number))
                .transpose()?,
            peer: optional(attributes, resolve::PEER, Attributes::array)?.map(Key),
            route: route.map(|route| Route::parse(&route)).transpose()?,
        })
    }

    /// Return the clause, in the words of the counters.
    fn clause(&self) -> (String, &'static str) {
        match (self.clause, self.verdict.name) {
            (Some(clause), _) => (clause.word(), clause.doc),
            (None, "elsewhere" | "unreachable") => (self.verdict.word(), self.verdict.doc),
            (None, _) => ("allowedips".to_owned(), "AllowedIPs decide."),
        }
    }
}

impl Route {
    fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        let address = |kind| {
            optional(attributes, kind, |attributes, kind| {
                let bytes = attributes.get(kind).unwrap_or_default();
                from_octets(bytes).ok_or_else(|| DecodeError::from("no address"))
            })
        };
        let length = optional(attributes, route::PREFIX_LEN, Attributes::u8)?;
        let prefix = address(route::PREFIX)?.zip(length);
        Ok(Self {
            dst: prefix.map(|(address, length)| Prefix { address, length }),
            table: optional(attributes, route::TABLE, Attributes::u32)?,
            gateway: address(route::GATEWAY)?,
            dev: optional(attributes, route::OIF, Attributes::u32)?.map(ifname),
            key: optional(attributes, route::KEY, Attributes::array)?.map(Key),
        })
    }
}

/// Read an attribute that may be missing.
fn optional<T>(
    attributes: &Attributes,
    kind: u16,
    read: impl FnOnce(&Attributes, u16) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    attributes
        .get(kind)
        .map(|_| read(attributes, kind))
        .transpose()
}

/// The fate of the packet, the clause with its meaning, and the route.
impl Display for Answer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verdict.word())?;
        match (&self.peer, self.received) {
            (Some(peer), false) => write!(f, " peer {peer}")?,
            (Some(peer), true) => write!(f, ", source of {peer}")?,
            _ => (),
        }
        let (name, meaning) = self.clause();
        writeln!(f, "\n  {name}: {}", meaning.trim_end_matches('.'))?;
        match &self.route {
            Some(route) => writeln!(f, "  route{route}"),
            None => Ok(()),
        }
    }
}

/// In the words of ip-route(8).
impl Display for Route {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(dst) = &self.dst {
            write!(f, " {dst}")?;
        }
        if let Some(gateway) = &self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(dev) = &self.dev {
            write!(f, " dev {dev}")?;
        }
        if let Some(key) = &self.key {
            write!(f, " via-wgpeer {key}")?;
        }
        if let Some(table) = self.table {
            write!(f, " table {table}")?;
        }
        Ok(())
    }
}

fn by_word<S: Serializer>(entry: &&'static Entry, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&entry.word())
}

/// A clause that is missing says that AllowedIPs decide, or that the packet does not come to the device.
fn by_clause<S: Serializer>(
    clause: &Option<&'static Entry>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match clause {
        Some(clause) => serializer.serialize_str(&clause.word()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::Emitable;

    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    fn question(line: &str) -> Result<Question, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Question::read(&words[0], &words[1..]).map_err(|error| error.to_string())
    }

    #[test]
    fn in_any_order() {
        let line = format!("10.1.2.3 in {KEY} mark 0x10 from 10.0.0.2 sport 7 dport 8 dscp 4");
        let question = question(&line).unwrap();
        assert_eq!(question.destination.to_string(), "10.1.2.3");
        assert_eq!(question.source.unwrap().to_string(), "10.0.0.2");
        assert_eq!(question.from.unwrap().to_string(), KEY);
        assert_eq!((question.mark, question.dscp), (Some(16), Some(4)));
        assert_eq!((question.sport, question.dport), (Some(7), Some(8)));
        assert!(!question.unrouted);
    }

    #[test]
    fn what_is_wrong() {
        for (line, error) in [
            ("wg0", "'wg0' is not an address"),
            ("::1 from 10.0.0.2", "from is of another family than ADDR"),
            ("::1 mark f", "'f' is not a mark"),
            (
                "::1 sport 65536",
                "sport '65536' is not a number from 0 to 65535",
            ),
            ("::1 dscp 64", "dscp '64' is not a number from 0 to 63"),
            ("::1 routed maybe", "routed is no|yes, not 'maybe'"),
        ] {
            assert_eq!(question(line).unwrap_err(), error);
        }
        let error = question(&format!("::1 in {KEY}")).unwrap_err();
        assert!(error.starts_with("in needs from"), "{error}");
    }

    fn answer(received: bool, fill: impl FnOnce(&mut Attributes)) -> Answer {
        let line = match received {
            true => format!("10.1.2.3 from 10.0.0.2 in {KEY}"),
            false => "10.1.2.3".to_owned(),
        };
        let mut attributes = Attributes::new();
        fill(&mut attributes);
        // As they are on the wire
        let mut bytes = vec![0; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        let attributes = Attributes::parse(&bytes).unwrap();
        Answer::parse(&question(&line).unwrap(), &attributes).unwrap()
    }

    fn number(entries: &[Entry], name: &str) -> u32 {
        entries
            .iter()
            .find(|entry| entry.name == name)
            .unwrap()
            .number
    }

    #[test]
    fn for_people() {
        let key: Key = KEY.parse().unwrap();
        let sent = answer(false, |attributes| {
            let mut nest = Attributes::new();
            nest.put_u32(route::TABLE, 254);
            nest.put(route::PREFIX, vec![10, 1, 0, 0]);
            nest.put_u8(route::PREFIX_LEN, 16);
            nest.put(route::KEY, key.0.to_vec());
            attributes.put_u32(resolve::VERDICT, number(VERDICT.entries, "accept"));
            attributes.put_u32(resolve::CLAUSE, number(COUNTERS.entries, "tx-wgpeer"));
            attributes.put(resolve::PEER, key.0.to_vec());
            attributes.put_nest(resolve::ROUTE, &nest);
        });
        assert_eq!(
            sent.to_string(),
            format!(
                "accept peer {KEY}\n  tx_wgpeer: Sent to the peer that the nexthop names\n  \
                 route 10.1.0.0/16 via-wgpeer {KEY} table 254\n"
            )
        );
        assert_eq!(
            serde_json::to_string(&sent).unwrap(),
            format!(
                "{{\"verdict\":\"accept\",\"clause\":\"tx_wgpeer\",\"peer\":\"{KEY}\",\"route\":\
                 {{\"dst\":\"10.1.0.0/16\",\"table\":254,\"via_wgpeer\":\"{KEY}\"}}}}"
            )
        );
    }

    #[test]
    fn without_a_clause() {
        let allowed = answer(true, |attributes| {
            attributes.put_u32(resolve::VERDICT, number(VERDICT.entries, "drop"));
        });
        assert_eq!(
            allowed.to_string(),
            "drop\n  allowedips: AllowedIPs decide\n"
        );
        let json = serde_json::to_string(&allowed).unwrap();
        assert_eq!(json, "{\"verdict\":\"drop\",\"clause\":null}");
        let elsewhere = answer(false, |attributes| {
            attributes.put_u32(resolve::VERDICT, number(VERDICT.entries, "elsewhere"));
        });
        let text = elsewhere.to_string();
        assert!(
            text.starts_with("elsewhere\n  elsewhere: The host"),
            "{text}"
        );
    }
}
