// SPDX-License-Identifier: GPL-2.0

//! wgvia: lets routing choose the WireGuard peer.

mod attributes;
mod binding;
mod cli;
mod counters;
mod device;
mod error;
mod event;
mod genl;
mod key;
mod keywords;
mod linklocal;
mod monitor;
mod netlink;
mod peer;
mod prefix;
mod resolve;
mod route;
mod rtnetlink;
mod set;
mod show;
mod way_in;
mod wgvia;
mod wireguard;

use clap::Parser;
use cli::{Action, Cli, Command, Part};
use error::Error;
use key::Key;
use monitor::{Monitor, Style};
use peer::Peer;
use resolve::Question;
use route::{Route, Selector};
use rtnetlink::Rtnetlink;
use serde::Serialize;
use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::net::Ipv6Addr;
use std::process::ExitCode;
use way_in::WayIn;
use wgvia::Wgvia;
use wireguard::Wireguard;

fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) if error.use_stderr() => {
            let text = error.render().to_string();
            say(text.strip_prefix("error: ").unwrap_or(&text).trim_end());
            return ExitCode::from(2);
        }
        Err(help) => written(help.print()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error);
            match error {
                Error::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(cli: Cli) -> Result<(), Error> {
    let Cli { json, command } = cli;
    match command {
        Command::Set(set) => set::set(&set.device, &set.words),
        Command::Load { file } => set::load(&file),
        Command::Show { device, part: None } if device.as_deref() == Some(set::DEFAULT) => {
            print(json, &[Wgvia::open()?.defaults()?], "")
        }
        Command::Show {
            device: Some(device),
            part: Some(Part::Peers),
        } => {
            let mut wgvia = Wgvia::open()?;
            let mut states = wgvia.peers(&device)?;
            let mut wireguard = Wireguard::open()?;
            let transfers = wireguard.transfers(&device)?;
            let peers: Vec<Peer> = transfers
                .into_iter()
                .map(|(key, (rx_bytes, tx_bytes))| Peer {
                    key,
                    rx_bytes,
                    tx_bytes,
                    drops: states
                        .remove(&key)
                        .map(|state| state.drops)
                        .unwrap_or_default(),
                })
                .collect();
            warn(wgvia.warnings(), Some(&device));
            warn(wireguard.warnings(), Some(&device));
            print(json, &peers, "")
        }
        Command::Show { device, .. } => {
            let mut wgvia = Wgvia::open()?;
            let devices = wgvia.devices(device.as_deref())?;
            warn(wgvia.warnings(), device.as_deref());
            print(json, &devices, "\n")?;
            match wgvia.way_in() {
                WayIn::Stock(_) if !json => print(json, &[wgvia.way_in()], ""),
                _ => Ok(()),
            }
        }
        Command::Monitor {
            timestamps,
            state,
            words,
        } => {
            let (groups, device) = monitor::read(&words).map_err(Error::Usage)?;
            let mut monitor = Monitor::open(&groups, device)?;
            warn(monitor.warnings(), None);
            monitor.run(Style { json, timestamps }, state)
        }
        Command::Addr { of } => {
            let key = match of.parse() {
                Ok(key) => key,
                Err(_) if keywords::device_name(&of).is_ok() => {
                    let mut wireguard = Wireguard::open()?;
                    let device = wireguard.device(&of)?;
                    warn(wireguard.warnings(), Some(&of));
                    linklocal::own_key(&of, &device)?
                }
                Err(error) => return Err(Error::Usage(error)),
            };
            let address = linklocal::address(&key);
            print(json, &[Address { key, address }], "")
        }
        Command::Linklocal { follow, device } => {
            let mut wireguard = Wireguard::open()?;
            if follow {
                linklocal::follow(&mut wireguard, &device)?;
            } else {
                linklocal::apply(&mut wireguard, &device)?;
            }
            warn(wireguard.warnings(), Some(&device));
            Ok(())
        }
        Command::Resolve(resolve) => {
            let question = Question::read(&resolve.destination, &resolve.words)?;
            let mut wgvia = Wgvia::open()?;
            let answer = wgvia.resolve(&resolve.device, &question)?;
            warn(wgvia.warnings(), Some(&resolve.device));
            print(json, &[answer], "")
        }
        Command::Route(route) => match route.read().map_err(Error::Usage)? {
            (Action::Show, words) => {
                let selector = Selector::read(words)?;
                let encap_type = Wgvia::open()?.way_in().encap_type()?;
                let mut rtnetlink = Rtnetlink::open()?;
                let routes = selector.routes(&mut rtnetlink, encap_type)?;
                warn(rtnetlink.warnings(), None);
                print(json, &routes, "")
            }
            (action, words) => {
                let route = Route::read(words)?;
                let encap_type = Wgvia::open()?.way_in().encap_type()?;
                let mut rtnetlink = Rtnetlink::open()?;
                route.change(&mut rtnetlink, action, encap_type)?;
                warn(rtnetlink.warnings(), None);
                Ok(())
            }
        },
    }
}

#[derive(Serialize)]
struct Address {
    key: Key,
    address: Ipv6Addr,
}

impl Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.address)
    }
}

/// Say something on standard error. If that takes nothing, the exit status still tells how it went.
fn say(text: impl Display) {
    let _ = io::stderr().write_all(format!("wgvia: {text}\n").as_bytes());
}

fn warn(warnings: Vec<String>, device: Option<&str>) {
    let about = device.map_or_else(String::new, |device| format!("{device}: "));
    for warning in warnings {
        say(format_args!("warning: {about}{warning}"));
    }
}

fn print<T: Display + Serialize>(json: bool, items: &[T], between: &str) -> Result<(), Error> {
    let text = if json {
        let json = serde_json::to_string(items);
        json.map_err(|error| Error::Output(error.into()))? + "\n"
    } else {
        let items: Vec<String> = items.iter().map(ToString::to_string).collect();
        items.join(between)
    };
    written(io::stdout().write_all(text.as_bytes()))
}

/// Judge what standard output made of what was written.
fn written(result: io::Result<()>) -> Result<(), Error> {
    match result {
        // A reader that has seen enough, such as head, is no failure.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::Output(error)),
        _ => Ok(()),
    }
}
