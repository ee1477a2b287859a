// SPDX-License-Identifier: GPL-2.0

//! The command line: clap knows commands and options, keywords.rs what follows.
//!
//! The build script reads this file too, and makes the manual page and the
//! completion from it: of the crate it may refer to keywords.rs alone.

use crate::keywords::{device_name, Grammar, RESOLVE, ROUTE, ROUTE_SHOW, SET};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::fmt::{self, Display, Formatter};
use wgvia_spec::COUNTERS;

/// Let routing choose the WireGuard peer.
///
/// A nexthop of a route on a WireGuard device may name the peer that it leads
/// to by the peer's public key (via-wgpeer). wgvia sets for each device what else
/// chooses the peer of a packet (its mode) and how the source address of a packet
/// from a peer is checked (its filter), shows what the packets of each device met,
/// and adds the link-local addresses and the routes that ip(8) and wg(8) do not.
#[derive(Debug, Parser)]
#[command(
    name = "wgvia",
    version,
    verbatim_doc_comment,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    override_usage = usages(),
    after_long_help = notes()
)]
pub struct Cli {
    /// Print JSON: an array with one object for each device, peer, address, route or answer.
    #[arg(short, long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Change settings of a WireGuard device.
    ///
    /// Settings that are not given stay as they are. Either all that are given take
    /// effect or none does. They end with the device. "default" stands for the
    /// devices that are made in the network namespace from then on; those that there
    /// are keep theirs. Where nothing was set, that is mode auto, filter device and
    /// multicast off.
    #[command(
        verbatim_doc_comment,
        override_usage = usage("set"),
        after_long_help = keywords("set")
    )]
    Set(Set),
    /// Change settings as the lines of a file say.
    ///
    /// A line is "set DEV SETTING..." or "set default SETTING...", or empty; "#"
    /// begins a comment. A line that fails keeps none of the others from being done.
    /// The unit wgvia.service loads /etc/wgvia.conf when the system starts, before the
    /// network is set up.
    #[command(verbatim_doc_comment, override_usage = usage("load"))]
    Load {
        /// Name of the file.
        #[arg(value_name = "FILE")]
        file: String,
    },
    /// Show settings, named peers and counters of WireGuard devices.
    ///
    /// Shown are the settings, each public key that nexthops name with the number of
    /// lightweight-tunnel states that hold it, and the counters that are not zero;
    /// with -j, every counter. Without DEV, each WireGuard device of the network
    /// namespace is shown. "default" stands for the settings of devices to come.
    ///
    /// With peers, each peer of the device is shown: the bytes that WireGuard has
    /// accepted from it and sent to it, and how many of its packets wgvia has dropped,
    /// by the names of the counters, since the peer was added or the mode was off.
    #[command(
        verbatim_doc_comment,
        override_usage = usage("show"),
        after_long_help = counters()
    )]
    Show {
        /// Name of the WireGuard device, or default; each of the network namespace if left out.
        #[arg(value_name = "DEV|default", value_parser = device_name)]
        device: Option<String>,
        /// Part of the device to show; its settings and counters if left out.
        part: Option<Part>,
    },
    /// Print what happens to WireGuard devices, as it happens.
    ///
    /// One line for each event, with the new state of what has changed; with -j, one
    /// JSON object. Without a group, events of each are printed. Devices in every mode
    /// count. If events come faster than they are read, some are lost: monitor says so,
    /// prints the whole state, which is to replace what was known, and goes on.
    #[command(
        verbatim_doc_comment,
        override_usage = usage("monitor"),
        after_long_help = GROUP_NOTES
    )]
    Monitor {
        /// Print the time before each event, in seconds since 1970.
        #[arg(short, long)]
        timestamps: bool,
        /// Print the whole state first, as after events were lost.
        #[arg(short, long)]
        state: bool,
        /// Groups of events, and the name of the device to which they are limited.
        #[arg(value_name = "GROUP|DEV")]
        words: Vec<String>,
    },
    /// Print the link-local address that is derived from a key.
    ///
    /// DEV stands for the device's own public key. The address is fe80::/64 and the
    /// first 8 bytes of the key's SipHash-2-4 of 128 bits, as cunicu has it. The kernel
    /// module is not needed.
    #[command(verbatim_doc_comment, override_usage = usage("addr"))]
    Addr {
        /// Public key, as wg(8) prints it, or name of a WireGuard device.
        #[arg(value_name = "KEY|DEV")]
        of: String,
    },
    /// Give a device and its peers the addresses that are derived from their keys.
    ///
    /// The device's own link-local address is added to the device, and each peer's, as
    /// a /128, to the peer's AllowedIPs. Nothing else changes, and after an error
    /// nothing has changed. Run it again when peers were added, or have it follow the
    /// device. The kernel module is needed to follow only.
    #[command(verbatim_doc_comment, override_usage = usage("linklocal"))]
    Linklocal {
        /// Go on until the device is deleted, and do the same for each peer that is added.
        #[arg(short, long)]
        follow: bool,
        /// Name of the WireGuard device.
        #[arg(value_name = "DEV", value_parser = device_name)]
        device: String,
    },
    /// Change or show routes whose nexthop names a peer.
    ///
    /// For systems whose ip(8) does not know via-wgpeer; add, replace, append and del
    /// are as in ip-route(8). del deletes a route that has all that is given; a table
    /// that is not given is the main one. A route with several nexthops, or with a
    /// nexthop object, takes an ip(8) that knows via-wgpeer. Routes of every table are
    /// shown, unless one is given.
    #[command(
        verbatim_doc_comment,
        override_usage = usage("route"),
        after_long_help = keywords("route")
    )]
    Route(Route),
    /// Tell which peer a packet gets, or whether a source passes from a peer, and why.
    ///
    /// The kernel decides as for a packet to ADDR that the host sends or, with in, one
    /// that comes from the peer with the source that from says. Printed are what becomes
    /// of it, with its peer; the clause that decides, by the name of its counter; and the
    /// route that decides. Nothing is sent or counted.
    #[command(
        verbatim_doc_comment,
        override_usage = usage("resolve"),
        after_long_help = keywords("resolve")
    )]
    Resolve(Resolve),
}

#[derive(Debug, Args)]
pub struct Set {
    /// Name of the WireGuard device, or default.
    #[arg(value_name = "DEV|default", value_parser = device_name)]
    pub device: String,
    /// Settings, each a keyword and its value.
    #[arg(value_name = "SETTING", required = true)]
    pub words: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Resolve {
    /// Name of the WireGuard device.
    #[arg(value_name = "DEV", value_parser = device_name)]
    pub device: String,
    /// Destination address of the packet.
    #[arg(value_name = "ADDR")]
    pub destination: String,
    /// More about the packet, each a keyword and its value.
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Route {
    /// add, replace, append, del and the route, or show and which routes; show may be left out.
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
}

impl Route {
    /// Return the action and the words after it. A keyword of show stands for show.
    ///
    /// Errors: a sentence. It names no action that is like a misspelt one: that might be del.
    pub fn read(&self) -> Result<(Action, &[String]), String> {
        let Some((first, rest)) = self.words.split_first() else {
            return Ok((Action::Show, &[]));
        };
        let actions = Action::value_variants().iter();
        let mut named = actions.filter_map(|action| Some((action.to_possible_value()?, *action)));
        if let Some((_, action)) = named.find(|(name, _)| name.matches(first, false)) {
            return Ok((action, rest));
        }
        if ROUTE_SHOW.keywords().any(|keyword| keyword.name == first) {
            return Ok((Action::Show, &self.words));
        }
        Err(format!(
            "'{first}' is no command: the form is\n       {}",
            usage("route")
        ))
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Part {
    /// Its peers.
    Peers,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Action {
    /// Add a route.
    Add,
    /// Change the route, or add it if there is none.
    Replace,
    /// Add a route beside others for the prefix.
    Append,
    /// Delete a route.
    Del,
    /// Show routes.
    Show,
}

/// A form of a command, and the keywords that end it.
pub struct Form {
    command: &'static str,
    start: &'static str,
    pub grammar: Option<&'static Grammar>,
}

static FORMS: &[Form] = &[
    Form {
        command: "set",
        start: "wgvia set DEV|default",
        grammar: Some(&SET),
    },
    Form {
        command: "load",
        start: "wgvia load FILE",
        grammar: None,
    },
    Form {
        command: "show",
        start: "wgvia [-j] show [DEV [peers]|default]",
        grammar: None,
    },
    Form {
        command: "monitor",
        start: "wgvia [-j] monitor [-s] [-t] [config] [sessions] [endpoints] [DEV]",
        grammar: None,
    },
    Form {
        command: "addr",
        start: "wgvia [-j] addr KEY|DEV",
        grammar: None,
    },
    Form {
        command: "linklocal",
        start: "wgvia linklocal [--follow] DEV",
        grammar: None,
    },
    Form {
        command: "route",
        start: "wgvia route add|replace|append|del PREFIX",
        grammar: Some(&ROUTE),
    },
    Form {
        command: "route",
        start: "wgvia [-j] route [show]",
        grammar: Some(&ROUTE_SHOW),
    },
    Form {
        command: "resolve",
        start: "wgvia [-j] resolve DEV ADDR",
        grammar: Some(&RESOLVE),
    },
];

/// Return the forms of a command; the first has every keyword of the command.
pub fn forms(command: &str) -> impl Iterator<Item = &'static Form> + '_ {
    FORMS.iter().filter(move |form| form.command == command)
}

impl Display for Form {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.start)?;
        match self.grammar {
            Some(grammar) => write!(f, " {grammar}"),
            None => Ok(()),
        }
    }
}

pub const EXAMPLES: &[(&str, &str)] = &[
    (
        "ip route add 10.1.0.0/16 dev wg0 via-wgpeer KEY\n\
         wgvia route add 10.1.0.0/16 dev wg0 via-wgpeer KEY",
        "Send 10.1.0.0/16 to the peer of wg0 that has the public key KEY, and\n\
         accept packets from these addresses from that peer only. Both do the\n\
         same; a distribution's ip(8) does not know via-wgpeer.",
    ),
    (
        "wgvia set wg0 mode on filter loose multicast on\n\
         wgvia linklocal wg0",
        "Make wg0 ready for a routing daemon that finds its neighbours by\n\
         multicast and routes by their link-local addresses.",
    ),
    ("wgvia show wg0", "Show what the packets of wg0 met."),
    (
        "wgvia resolve wg0 10.1.2.3\n\
         wgvia resolve wg0 10.0.0.1 from 10.1.2.3 in KEY",
        "Tell which peer a packet to 10.1.2.3 gets, and whether one from there to\n\
         10.0.0.1 would be accepted from the peer that has the public key KEY.",
    ),
    (
        "wgvia -j show | jq '.[] | {ifname, drops: .counters.rx_drop_peer}'",
        "Print how many packets of each device came from a peer to which their\n\
         source does not belong.",
    ),
];

pub const EXIT_STATUS: &str = "\
0 if all went well, 1 if the kernel refused or something else went wrong,
2 if the command line is wrong.";

pub const PRIVILEGES: &str = "\
All but addr KEY and route show need CAP_NET_ADMIN in the user namespace that
owns the network namespace of the device, as wg(8) does.";

pub const SEE_ALSO: &[&str] = &["ip-route(8)", "ip-nexthop(8)", "wg(8)", "wg-quick(8)"];

pub const GROUP_NOTES: &str = "\
Groups:
  config    settings of devices, keys that nexthops name, peers and their
            AllowedIPs
  sessions  a session with a peer began, was renewed by a handshake, or has
            ended: there is no valid key any more
  endpoints the endpoint of a peer has changed; one event a second at most";

fn usages() -> String {
    lines(FORMS.iter())
}

fn usage(command: &str) -> String {
    lines(forms(command))
}

fn lines(forms: impl Iterator<Item = &'static Form>) -> String {
    forms
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n       ")
}

fn keywords(command: &str) -> String {
    let grammar = forms(command).next().and_then(|form| form.grammar);
    let mut text = String::from("Keywords:");
    for keyword in grammar.into_iter().flat_map(Grammar::keywords) {
        let name = format!("{} {}", keyword.name, keyword.value);
        text += &format!("\n  {name:<20}{}", keyword.help);
        for choice in keyword.choices {
            text += &format!("\n    {:<10}{}", choice.name, choice.doc);
        }
    }
    text
}

fn counters() -> String {
    let lines = COUNTERS
        .entries
        .iter()
        .map(|counter| format!("\n  {:<18}{}", counter.word(), counter.doc));
    "Counters:".to_owned() + &lines.collect::<String>()
}

fn notes() -> String {
    let indent = |text: &str, by: &str| format!("{by}{}\n", text.replace('\n', &format!("\n{by}")));
    let mut notes = String::from("Examples:\n");
    for (command, meaning) in EXAMPLES {
        notes += &indent(command, "  ");
        notes += &indent(meaning, "      ");
    }
    notes += &format!("\n{PRIVILEGES}\n\nExit status: {EXIT_STATUS}\n");
    notes += &format!("\nSee also: {}", SEE_ALSO.join(", "));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn read(line: &str) -> Option<Cli> {
        Cli::try_parse_from(format!("wgvia {line}").split_whitespace()).ok()
    }

    #[test]
    fn definitions_hold_together() {
        Cli::command().debug_assert();
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(forms(name).next().is_some(), "{name}");
        }
    }

    #[test]
    fn json_before_and_after_the_command() {
        for line in [
            "-j show wg0",
            "show -j wg0",
            "show wg0 -j",
            "--json show wg0",
        ] {
            let cli = read(line).unwrap();
            assert!(cli.json, "{line}");
            match cli.command {
                Command::Show { device, part } => {
                    assert_eq!((device.as_deref(), part), (Some("wg0"), None));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(!read("show wg0").unwrap().json);
    }

    #[test]
    fn words_are_left_to_the_keywords() {
        match read("set wg0 mode on filter none").unwrap().command {
            Command::Set(set) => assert_eq!(set.words.join(" "), "mode on filter none"),
            other => panic!("{other:?}"),
        }
        match read("route add ::/0 dev wg0").unwrap().command {
            Command::Route(route) => {
                let (action, words) = route.read().unwrap();
                assert_eq!(action, Action::Add);
                assert_eq!(words.join(" "), "::/0 dev wg0");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn show_may_be_left_out() {
        let read = |line: &str| -> Result<String, String> {
            match read(&format!("route {line}")).unwrap().command {
                Command::Route(route) => {
                    let (action, words) = route.read()?;
                    assert_eq!(action, Action::Show, "{line}");
                    Ok(words.join(" "))
                }
                other => panic!("{other:?}"),
            }
        };
        for line in ["", "dev wg0", "table 7 dev wg0", "via-wgpeer K"] {
            assert_eq!(read(line), Ok(line.to_owned()));
            assert_eq!(read(&format!("show {line}")), Ok(line.to_owned()));
        }
        for line in ["change ::/0", "::/0", "de wg0", "metric 7", "DEL ::/0"] {
            let error = read(line).unwrap_err();
            assert!(error.contains("is no command"), "{error}");
            assert!(!error.contains("'del'"), "{error}");
        }
    }

    #[test]
    fn wrong_command_lines() {
        for line in [
            "",
            "frobnicate",
            "set",
            "set wg0",
            "set a-name-too-long-for-a-device mode on",
            "linklocal a-name-too-long-for-a-device",
            "show wg0 wg1",
            "show --frobnicate",
            "addr",
            "linklocal",
        ] {
            assert!(read(line).is_none(), "{line}");
        }
    }
}
