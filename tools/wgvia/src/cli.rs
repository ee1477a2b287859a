// SPDX-License-Identifier: GPL-2.0

//! The command line.
//!
//! The build script reads this file too, and makes the manual page and the
//! completion from it: it must not refer to any other file of the crate.

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Let routing choose the WireGuard peer.
///
/// A nexthop of a route on a WireGuard device may name the peer that it leads
/// to by the peer's public key (see via-wgpeer in ip-route(8)). wgvia sets for
/// each device when nexthops choose the peer (its mode, off at first) and how
/// the source address of a packet from a peer is checked (its filter), and
/// shows what became of the packets of each device.
///
/// A packet that is sent goes to the peer that its nexthop names. If the
/// nexthop names none but has a gateway, the packet goes to the peer that the
/// route to the gateway names, else to the peer that has the gateway in its
/// AllowedIPs. If there is no gateway either, it goes to the peer that has the
/// destination in its AllowedIPs.
#[derive(Debug, Parser)]
#[command(
    version,
    verbatim_doc_comment,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    override_usage = "\
wgvia set DEV [mode off|auto|on] [filter device|strict|none]
       wgvia show [-j] [DEV]",
    after_long_help = notes()
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    pub fn read() -> Result<Self, clap::Error> {
        let cli = Self::try_parse()?;
        match cli.command {
            Command::Set(Set { settings: None, .. }) => Err(Self::command().error(
                ErrorKind::MissingSubcommand,
                "set needs a mode, a filter or both",
            )),
            _ => Ok(cli),
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set the mode, the source filter or both of a WireGuard device.
    ///
    /// What is not given stays as it is. Either both take effect or neither does.
    #[command(
        verbatim_doc_comment,
        override_usage = "wgvia set DEV [mode off|auto|on] [filter device|strict|none]",
        after_long_help = values()
    )]
    Set(Set),
    /// Show settings, bindings and counters of WireGuard devices.
    ///
    /// Without DEV, each WireGuard device of the network namespace is shown. What
    /// is shown is the mode, the source filter, whether nexthops choose the peer
    /// now, each public key that nexthops name with their number, and how many
    /// packets were sent, accepted and dropped, by way and by cause. A packet that
    /// is to be segmented (GSO) counts as its number of segments.
    #[command(
        verbatim_doc_comment,
        override_usage = "wgvia show [-j] [DEV]",
        after_long_help = counters()
    )]
    Show(Show),
}

#[derive(Debug, Args)]
#[command(subcommand_help_heading = "Settings", disable_help_subcommand = true)]
pub struct Set {
    /// Name of the WireGuard device.
    #[arg(value_name = "DEV", value_parser = device_name)]
    pub device: String,
    #[command(subcommand)]
    settings: Option<Settings>,
}

impl Set {
    pub fn mode(&self) -> Option<Mode> {
        match self.settings? {
            Settings::Mode { mode, .. } => Some(mode),
            Settings::Filter { then, .. } => then.map(|ThenMode::Mode { mode }| mode),
        }
    }

    pub fn filter(&self) -> Option<Filter> {
        match self.settings? {
            Settings::Mode { then, .. } => then.map(|ThenFilter::Filter { filter }| filter),
            Settings::Filter { filter, .. } => Some(filter),
        }
    }
}

/// A keyword and its value are a subcommand, and what may follow is a
/// subcommand of that: so each keyword is given once, in any order.
#[derive(Clone, Copy, Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum Settings {
    /// Whether the nexthops of routes choose the peer of a packet.
    #[command(override_usage = "wgvia set DEV mode off|auto|on [filter device|strict|none]")]
    Mode {
        /// Whether the nexthops of routes choose the peer of a packet.
        #[arg(value_name = "MODE")]
        mode: Mode,
        #[command(subcommand)]
        then: Option<ThenFilter>,
    },
    /// Which source addresses are accepted from a peer.
    #[command(override_usage = "wgvia set DEV filter device|strict|none [mode off|auto|on]")]
    Filter {
        /// Which source addresses are accepted from a peer.
        #[arg(value_name = "FILTER")]
        filter: Filter,
        #[command(subcommand)]
        then: Option<ThenMode>,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum ThenFilter {
    /// Which source addresses are accepted from a peer.
    #[command(override_usage = "wgvia set DEV mode off|auto|on [filter device|strict|none]")]
    Filter {
        /// Which source addresses are accepted from a peer.
        #[arg(value_name = "FILTER")]
        filter: Filter,
    },
}

#[derive(Clone, Copy, Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum ThenMode {
    /// Whether the nexthops of routes choose the peer of a packet.
    #[command(override_usage = "wgvia set DEV filter device|strict|none [mode off|auto|on]")]
    Mode {
        /// Whether the nexthops of routes choose the peer of a packet.
        #[arg(value_name = "MODE")]
        mode: Mode,
    },
}

#[derive(Debug, Args)]
pub struct Show {
    /// Print JSON: an array with one object for each device.
    #[arg(short, long)]
    pub json: bool,
    /// Name of the WireGuard device; each of the network namespace if left out.
    #[arg(value_name = "DEV", value_parser = device_name)]
    pub device: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Mode {
    /// AllowedIPs alone decide, as without wgvia (the default).
    Off,
    /// Nexthops choose while one of them names a peer, else AllowedIPs alone decide.
    Auto,
    /// Nexthops choose at all times.
    On,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Filter {
    /// The longest prefix with a nexthop on the device leads to the peer (the default).
    Device,
    /// The host's own route to the source leads through the device to the peer.
    Strict,
    /// Every source is accepted.
    None,
}

/// Each counter by its name in JSON, in the order of the kernel.
pub const COUNTERS: &[(&str, &str)] = &[
    ("tx_wgpeer", "Sent to the peer that the nexthop names."),
    (
        "tx_gateway_wgpeer",
        "Sent to the peer that the route to the gateway names.",
    ),
    (
        "tx_gateway_allowedips",
        "Sent to the peer that has the gateway in its AllowedIPs.",
    ),
    (
        "tx_onlink",
        "Sent to the peer that has the destination in its AllowedIPs.",
    ),
    (
        "tx_drop_wgpeer",
        "Not sent: the nexthop names a peer that the device does not have.",
    ),
    ("tx_drop_gateway", "Not sent: the gateway leads to no peer."),
    (
        "tx_drop_onlink",
        "Not sent: no peer has the destination in its AllowedIPs.",
    ),
    (
        "tx_drop_noroute",
        "Not sent: the packet came without a route, and there is none on the device.",
    ),
    (
        "rx_wgpeer",
        "Accepted: the route back to the source names the peer.",
    ),
    (
        "rx_gateway_wgpeer",
        "Accepted: the route to the gateway of the route back names the peer.",
    ),
    (
        "rx_gateway_allowedips",
        "Accepted: the peer has the gateway of the route back in its AllowedIPs.",
    ),
    (
        "rx_onlink",
        "Accepted: the route back is on-link, and AllowedIPs give the source to the peer.",
    ),
    ("rx_unfiltered", "Accepted: the filter is none."),
    (
        "rx_drop_noroute",
        "Dropped: there is no unicast route back to the source.",
    ),
    (
        "rx_drop_device",
        "Dropped: the route back leaves through another device (filter strict).",
    ),
    (
        "rx_drop_peer",
        "Dropped: the route back leads to another peer, or to none.",
    ),
    (
        "rx_drop_source",
        "Dropped: no reply could go to the source (multicast, loopback and the like).",
    ),
];

pub const EXAMPLES: &[(&str, &str)] = &[
    (
        "ip route add 10.1.0.0/16 dev wg0 via-wgpeer KEY\n\
         wgvia set wg0 mode auto",
        "Send 10.1.0.0/16 to the peer of wg0 that has the public key KEY, and\n\
         accept packets from these addresses from that peer only.",
    ),
    (
        "wgvia set wg0 mode on filter strict",
        "Let nexthops choose the peer even while none names one, so that plain\n\
         gateway routes do, and accept only sources to which replies go back.",
    ),
    ("wgvia show wg0", "Show where the packets of wg0 went."),
    (
        "wgvia show -j | jq '.[] | {ifname, drops: .counters.rx_drop_peer}'",
        "Print how many packets of each device came from a peer to which their\n\
         source is not routed.",
    ),
];

pub const EXIT_STATUS: &str = "\
0 if all went well, 1 if the kernel refused or something else went wrong,
2 if the command line is wrong.";

pub const PRIVILEGES: &str = "\
Every command needs CAP_NET_ADMIN in the user namespace that owns the network
namespace of the device, as wg(8) does.";

pub const SEE_ALSO: &[&str] = &["ip-route(8)", "ip-nexthop(8)", "wg(8)", "wg-quick(8)"];

/// What the values of the settings mean, which clap shows for each alone.
fn values() -> String {
    fn list<E: ValueEnum>(title: &str) -> String {
        let values = E::value_variants().iter();
        let lines = values.filter_map(E::to_possible_value).map(|value| {
            let help = value
                .get_help()
                .map_or_else(String::new, ToString::to_string);
            format!("\n  {:<8}{help}", value.get_name())
        });
        title.to_owned() + &lines.collect::<String>()
    }
    format!(
        "{}\n\n{}",
        list::<Mode>("Modes:"),
        list::<Filter>("Filters:")
    )
}

fn counters() -> String {
    let lines = COUNTERS.iter();
    let lines = lines.map(|(name, meaning)| format!("\n  {name:<24}{meaning}"));
    "Counters, by their names in JSON:".to_owned() + &lines.collect::<String>()
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

/// Check the length only: which names exist is the kernel's to say.
fn device_name(name: &str) -> Result<String, String> {
    match name.len() {
        1..=15 => Ok(name.to_owned()),
        _ => Err("the name of a device has 1 to 15 characters".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &str) -> Option<(Option<Mode>, Option<Filter>)> {
        let words = format!("wgvia set wg0 {words}");
        match Cli::try_parse_from(words.split_whitespace()).ok()?.command {
            Command::Set(set) => Some((set.mode(), set.filter())),
            Command::Show(_) => None,
        }
    }

    #[test]
    fn definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn keywords_in_any_order() {
        assert_eq!(set("mode off"), Some((Some(Mode::Off), None)));
        assert_eq!(set("filter none"), Some((None, Some(Filter::None))));
        let both = Some((Some(Mode::Auto), Some(Filter::Strict)));
        assert_eq!(set("mode auto filter strict"), both);
        assert_eq!(set("filter strict mode auto"), both);
    }

    #[test]
    fn wrong_keywords() {
        for words in [
            "mode",
            "mode device",
            "mode on mode on",
            "mode on filter",
            "filter none filter none",
            "filter none mode on filter none",
            "auto",
        ] {
            assert_eq!(set(words), None, "{words}");
        }
    }

    #[test]
    fn names_of_devices() {
        assert!(device_name("wg0").is_ok());
        assert!(device_name("fifteen-letters").is_ok());
        assert!(device_name("sixteen--letters").is_err());
        assert!(device_name("").is_err());
    }
}
