// SPDX-License-Identifier: GPL-2.0

//! Keywords with values, as ip(8) has them: `mode auto filter strict`.
//!
//! The tables decide what is read and what the help, the manual page and the
//! completion say. The build script reads this file too: it must not refer to
//! any other file of the crate.

use std::fmt::{self, Display, Formatter};
use wgvia_spec::{Entry, FILTER, MODE};

/// Check the name of a device by its length: which names exist is the kernel's to say.
pub fn device_name(name: &str) -> Result<String, String> {
    match name.len() {
        1..=15 => Ok(name.to_owned()),
        _ => Err(format!(
            "'{name}' is no device: its name has 1 to 15 characters"
        )),
    }
}

/// A keyword that a value follows.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    pub name: &'static str,
    /// Name of the value.
    pub value: &'static str,
    pub help: &'static str,
    /// Every word that the value may be; none if that is not a fixed set.
    pub choices: &'static [Entry],
}

/// The keywords of a command, which may come in any order, each once.
#[derive(Debug)]
pub struct Grammar {
    pub required: &'static [Keyword],
    pub optional: &'static [Keyword],
}

pub static SET: Grammar = Grammar {
    required: &[],
    optional: &[
        Keyword {
            name: "mode",
            value: "MODE",
            help: MODE.doc,
            choices: MODE.entries,
        },
        Keyword {
            name: "filter",
            value: "FILTER",
            help: FILTER.doc,
            choices: FILTER.entries,
        },
        Keyword {
            name: "multicast",
            value: "MULTICAST",
            help: "Where packets to link-scope groups (224.0.0.0/24, ff02::/16) are sent.",
            choices: &[
                Entry {
                    name: "off",
                    number: 0,
                    doc: "To one peer, as all others.",
                },
                Entry {
                    name: "on",
                    number: 1,
                    doc: "To the peers of the device, a copy for each.",
                },
            ],
        },
    ],
};

const DEV: Keyword = Keyword {
    name: "dev",
    value: "DEV",
    help: "WireGuard device of the nexthop.",
    choices: &[],
};
const VIA_WGPEER: Keyword = Keyword {
    name: "via-wgpeer",
    value: "KEY",
    help: "Public key of the peer, as wg(8) prints it.",
    choices: &[],
};
const TABLE: Keyword = Keyword {
    name: "table",
    value: "N",
    help: "Number of the routing table.",
    choices: &[],
};

pub static ROUTE: Grammar = Grammar {
    required: &[DEV, VIA_WGPEER],
    optional: &[
        TABLE,
        Keyword {
            name: "metric",
            value: "N",
            help: "Metric of the route; the lowest of a prefix is used.",
            choices: &[],
        },
        Keyword {
            name: "src",
            value: "ADDR",
            help: "Source address that the host prefers when it sends by the route.",
            choices: &[],
        },
    ],
};

pub static ROUTE_SHOW: Grammar = Grammar {
    required: &[],
    optional: &[DEV, VIA_WGPEER, TABLE],
};

const fn number(name: &'static str, help: &'static str) -> Keyword {
    Keyword {
        name,
        value: "N",
        help,
        choices: &[],
    }
}

pub static RESOLVE: Grammar = Grammar {
    required: &[],
    optional: &[
        Keyword {
            name: "from",
            value: "ADDR",
            help: "Source address; without it the host takes one of its own.",
            choices: &[],
        },
        Keyword {
            name: "in",
            value: "PEER",
            help: "Public key of the peer that the packet comes from.",
            choices: &[],
        },
        Keyword {
            name: "oif",
            value: "DEV",
            help: "Device or VRF that the sender is bound to.",
            choices: &[],
        },
        Keyword {
            name: "routed",
            value: "ROUTED",
            help: "Whether the host has routed the packet.",
            choices: &[
                Entry {
                    name: "no",
                    number: 0,
                    doc: "It is handed to the device, as by packet sockets and redirects of tc.",
                },
                Entry {
                    name: "yes",
                    number: 1,
                    doc: "It is sent by a socket of the host.",
                },
            ],
        },
        number("mark", "Firewall mark, decimal or with 0x."),
        number("dscp", "DSCP, 0 to 63."),
        number("sport", "Source port; the packet is one of UDP."),
        number("dport", "Destination port."),
    ],
};

impl Grammar {
    pub fn keywords(&self) -> impl Iterator<Item = &'static Keyword> {
        self.required.iter().chain(self.optional)
    }

    /// Read keywords and their values.
    ///
    /// Errors: a sentence, if a word is not a keyword, a keyword has no value or
    /// one that is none of its choices or no name of a device, comes twice, or is
    /// required and missing.
    pub fn read<'a>(&self, words: &'a [String]) -> Result<Values<'a>, String> {
        let mut values = Values(Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let keyword = self
                .keywords()
                .find(|keyword| keyword.name == word)
                .ok_or_else(|| format!("'{word}' is none of: {}", self.names()))?;
            let value = words
                .next()
                .ok_or_else(|| format!("{word} needs a value: {}", keyword.values()))?;
            if values.get(word).is_some() {
                return Err(format!("{word} is given twice"));
            }
            if !keyword.choices.is_empty() && keyword.choice(value).is_none() {
                return Err(format!("{word} is {}, not '{value}'", keyword.values()));
            }
            if keyword.value == DEV.value {
                device_name(value)?;
            }
            values.0.push((keyword, value));
        }
        for keyword in self.required {
            if values.get(keyword.name).is_none() {
                return Err(format!("{keyword} is missing"));
            }
        }
        Ok(values)
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.keywords().map(|keyword| keyword.name).collect();
        names.join(", ")
    }
}

/// `dev DEV [metric N]`
impl Display for Grammar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let required = self.required.iter().map(ToString::to_string);
        let optional = self.optional.iter().map(|keyword| format!("[{keyword}]"));
        f.write_str(&required.chain(optional).collect::<Vec<_>>().join(" "))
    }
}

impl Keyword {
    /// Return the choice that a word is.
    pub fn choice(&self, word: &str) -> Option<&'static Entry> {
        self.choices.iter().find(|choice| choice.name == word)
    }

    fn values(&self) -> String {
        if self.choices.is_empty() {
            return self.value.to_owned();
        }
        let names: Vec<&str> = self.choices.iter().map(|choice| choice.name).collect();
        names.join("|")
    }
}

/// `mode off|auto|on` or `dev DEV`
impl Display for Keyword {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.values())
    }
}

/// Keywords as they were given, with their values.
#[derive(Debug)]
pub struct Values<'a>(Vec<(&'static Keyword, &'a str)>);

impl<'a> Values<'a> {
    pub fn get(&self, keyword: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(given, _)| given.name == keyword);
        found.map(|(_, value)| *value)
    }

    /// Return the number of the choice that was given for a keyword.
    pub fn number(&self, keyword: &str) -> Option<u32> {
        let found = self.0.iter().find(|(given, _)| given.name == keyword);
        let (keyword, value) = found?;
        keyword.choice(value).map(|choice| choice.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn set(line: &str) -> Result<[Option<u32>; 3], String> {
        let words = words(line);
        let values = SET.read(&words)?;
        Ok(["mode", "filter", "multicast"].map(|keyword| values.number(keyword)))
    }

    #[test]
    fn any_order_each_once() {
        assert_eq!(set("mode off"), Ok([Some(0), None, None]));
        assert_eq!(set("filter loose"), Ok([None, Some(2), None]));
        let all = Ok([Some(1), Some(1), Some(1)]);
        assert_eq!(set("mode auto filter strict multicast on"), all);
        assert_eq!(set("multicast on filter strict mode auto"), all);
        assert_eq!(set("filter strict multicast on mode auto"), all);
    }

    #[test]
    fn what_is_wrong() {
        for (line, error) in [
            ("mode", "mode needs a value: off|auto|on"),
            ("mode device", "mode is off|auto|on, not 'device'"),
            ("mode on mode on", "mode is given twice"),
            ("mode on filter none mode off", "mode is given twice"),
            ("multicast yes", "multicast is off|on, not 'yes'"),
            ("auto", "'auto' is none of: mode, filter, multicast"),
            ("mode on auto", "'auto' is none of: mode, filter, multicast"),
        ] {
            assert_eq!(set(line), Err(error.to_owned()), "{line}");
        }
    }

    #[test]
    fn required_keywords() {
        let line = words("via-wgpeer K table 7 dev wg0");
        let values = ROUTE.read(&line).unwrap();
        assert_eq!(values.get("dev"), Some("wg0"));
        assert_eq!(values.get("via-wgpeer"), Some("K"));
        assert_eq!(values.get("table"), Some("7"));
        assert_eq!(values.get("metric"), None);
        let error = ROUTE.read(&words("dev wg0")).unwrap_err();
        assert_eq!(error, "via-wgpeer KEY is missing");
    }

    #[test]
    fn names_of_devices() {
        assert!(device_name("wg0").is_ok());
        assert!(device_name("fifteen-letters").is_ok());
        assert!(device_name("sixteen--letters").is_err());
        assert!(device_name("").is_err());
        for keyword in ["dev", "oif"] {
            let words = [keyword.to_owned(), "sixteen--letters".to_owned()];
            let grammar = if keyword == "oif" {
                &RESOLVE
            } else {
                &ROUTE_SHOW
            };
            assert!(grammar.read(&words).is_err(), "{keyword}");
        }
    }

    #[test]
    fn usage() {
        assert_eq!(
            SET.to_string(),
            "[mode off|auto|on] [filter device|strict|loose|none] [multicast off|on]"
        );
        assert_eq!(
            ROUTE.to_string(),
            "dev DEV via-wgpeer KEY [table N] [metric N] [src ADDR]"
        );
    }
}
