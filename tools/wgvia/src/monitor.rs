// SPDX-License-Identifier: GPL-2.0

//! Events as they come.

use crate::error::Error;
use crate::event::{Event, Peer, What};
use crate::genl::Events;
use crate::keywords::device_name;
use crate::rtnetlink;
use crate::wgvia::{Message, Wgvia};
use crate::wireguard::Wireguard;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{mem, thread};
use wgvia_spec::GROUPS;

/// How long to wait until the state is read again, if it has changed while it was read.
const PAUSE: Duration = Duration::from_millis(100);

/// Read the words of the command: groups, and the name of a device.
pub fn read(words: &[String]) -> Result<(Vec<&str>, Option<&str>), String> {
    let (groups, devices): (Vec<_>, Vec<_>) = words
        .iter()
        .map(String::as_str)
        .partition(|word| GROUPS.contains(word));
    match devices[..] {
        [] => Ok((groups, None)),
        [device] if device_name(device).is_ok() => Ok((groups, Some(device))),
        [device] => Err(format!(
            "'{device}' is neither a device nor one of: {}",
            GROUPS.join(", ")
        )),
        [first, second, ..] => Err(format!(
            "'{first}' and '{second}' are two devices: name one, or none for all"
        )),
    }
}

/// A word for the events that were lost.
#[derive(Serialize)]
#[serde(tag = "event", rename = "overflow")]
struct Overflow {}

impl Display for Overflow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Events were lost. The state now:")
    }
}

#[derive(Serialize)]
struct Timed<'e, E> {
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<f64>,
    #[serde(flatten)]
    event: &'e E,
}

/// How events are printed.
#[derive(Clone, Copy)]
pub struct Style {
    pub json: bool,
    pub timestamps: bool,
}

pub struct Monitor<'n> {
    wgvia: Wgvia,
    events: Events<Message>,
    groups: Vec<&'n str>,
    /// The events that are wanted and that this kernel does not have.
    missing: Vec<&'n str>,
    device: Option<&'n str>,
    /// The names that devices had, for when they are gone.
    names: BTreeMap<u32, String>,
}

impl<'n> Monitor<'n> {
    /// Listen to the groups, to each if none is given.
    pub fn open(groups: &[&'n str], device: Option<&'n str>) -> Result<Self, Error> {
        let mut wgvia = Wgvia::open()?;
        let wanted = if groups.is_empty() { GROUPS } else { groups };
        let (events, found) = wgvia.listen(wanted)?;
        let absent = wanted.iter().filter(|group| !found.contains(group));
        let mut missing: Vec<_> = absent.copied().collect();
        if let (false, Some(group)) = (groups.is_empty(), missing.first()) {
            return Err(Error::NoEvents((*group).to_owned()));
        }
        if found.contains(&"config") && !wgvia.tells_of_peers()? {
            missing.insert(0, "peers");
        }
        let mut monitor = Self {
            wgvia,
            events,
            groups: found,
            missing,
            device,
            names: BTreeMap::new(),
        };
        for device in monitor.wgvia.devices(device)? {
            monitor.names.insert(device.ifindex, device.ifname);
        }
        Ok(monitor)
    }

    /// Return a warning about the events that this kernel does not have.
    pub fn warnings(&self) -> Vec<String> {
        match self.missing[..] {
            [] => Vec::new(),
            _ => vec![Error::NoEvents(self.missing.join(", ")).to_string()],
        }
    }

    /// Print events, and the state before them if it is wanted, until standard output is closed.
    pub fn run(&mut self, style: Style, state: bool) -> Result<(), Error> {
        let mut result = if state {
            self.print_state(style)
        } else {
            Ok(())
        };
        while result.is_ok() {
            result = match self.events.next()? {
                Some(messages) => self.print_events(style, &messages),
                None => print(style, &Overflow {}).and_then(|()| self.print_state(style)),
            };
        }
        match result {
            Err(Error::Output(error)) => crate::written(Err(error)),
            result => result,
        }
    }

    /// Read a notification; [`None`] of one about another device.
    fn event(&mut self, message: &Message) -> Result<Option<Event>, Error> {
        let names = &mut self.names;
        let event = Event::parse(message.command, &message.attributes, |ifindex| {
            if let Some(name) = rtnetlink::name(ifindex) {
                names.insert(ifindex, name);
            }
            let name = names.get(&ifindex);
            name.map_or_else(|| format!("if{ifindex}"), String::clone)
        })?;
        let wanted = |event: &Event| self.device.is_none_or(|device| event.ifname == device);
        Ok(event.filter(wanted))
    }

    fn print_events(&mut self, style: Style, messages: &[Message]) -> Result<(), Error> {
        for message in messages {
            if let Some(event) = self.event(message)? {
                print(style, &event)?;
            }
        }
        Ok(())
    }

    fn print_state(&mut self, style: Style) -> Result<(), Error> {
        let mut told = false;
        let state = settled(
            || self.state(),
            || {
                if !mem::replace(&mut told, true) {
                    crate::say(
                        "warning: devices or peers change while they are read: \
                         the state is printed when that ends",
                    );
                }
                thread::sleep(PAUSE);
            },
        )?;
        state.iter().try_for_each(|event| print(style, event))
    }

    /// Return the state as the events that would lead to it; [`None`] if it changed while it was read.
    fn state(&mut self) -> Result<Option<Vec<Event>>, Error> {
        // Nothing that was read before counts.
        self.wgvia.whole();
        let mut events = Vec::new();
        let devices = match self.wgvia.devices(self.device) {
            // It has gone.
            Err(Error::Refused { errno, .. }) if errno == libc::ENODEV => Vec::new(),
            devices => devices?,
        };
        let mut wireguard = Wireguard::open()?;
        for device in devices {
            let mut add = |group, what| {
                if self.groups.contains(&group) {
                    events.push(Event {
                        ifindex: device.ifindex,
                        ifname: device.ifname.clone(),
                        what,
                    });
                }
            };
            add("config", What::device(&device));
            for binding in &device.bindings {
                add("config", What::BindingChange(binding.clone()));
            }
            let both = wireguard.peers(&device.ifname);
            let both = both.and_then(|peers| Ok((peers, self.wgvia.peers(&device.ifname)?)));
            let (peers, states) = match both {
                Err(Error::Refused { errno, .. }) if errno == libc::ENODEV => continue,
                both => both?,
            };
            for peer in peers {
                let key = peer.key;
                let config = Peer {
                    key,
                    allowed_ips: peer.allowed_ips,
                    allowed_ips_left_out: false,
                };
                add("config", What::PeerChange(config));
                // In mode off wgvia knows no peers.
                if let Some(state) = states.get(&key) {
                    let session = state.session;
                    add("sessions", What::SessionChange { key, session });
                }
                let endpoint = peer.endpoint;
                add("endpoints", What::EndpointChange { key, endpoint });
            }
        }
        let whole = self.wgvia.whole() && wireguard.whole();
        Ok(whole.then_some(events))
    }
}

/// Read until the state is whole, since it is to replace what was known.
fn settled<T>(
    mut read: impl FnMut() -> Result<Option<T>, Error>,
    mut pause: impl FnMut(),
) -> Result<T, Error> {
    loop {
        match read()? {
            Some(state) => return Ok(state),
            None => pause(),
        }
    }
}

fn print<E: Display + Serialize>(style: Style, event: &E) -> Result<(), Error> {
    let Style { json, timestamps } = style;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = now.ok().filter(|_| timestamps).map(|now| now.as_secs_f64());
    let line = if json {
        let json = serde_json::to_string(&Timed { time, event });
        json.map_err(|error| Error::Output(error.into()))? + "\n"
    } else {
        let time = time.map_or_else(String::new, |time| format!("[{time:.6}] "));
        format!("{time}{event}\n")
    };
    let mut out = io::stdout().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    written.map_err(Error::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_until_it_is_whole() {
        let (mut reads, mut pauses) = (0, 0);
        let state = settled(
            || {
                reads += 1;
                Ok((reads == 4).then_some("state"))
            },
            || pauses += 1,
        );
        assert_eq!(state.unwrap(), "state");
        assert_eq!((reads, pauses), (4, 3));
        let failed = settled(|| Err::<Option<()>, _>(Error::TypeIsTaken), || ());
        assert!(matches!(failed, Err(Error::TypeIsTaken)));
    }

    #[test]
    fn groups_and_a_device() {
        let words = |line: &str| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
        let line = words("sessions wg0 config");
        assert_eq!(read(&line), Ok((vec!["sessions", "config"], Some("wg0"))));
        assert_eq!(read(&[]), Ok((vec![], None)));
        assert!(read(&words("wg0 wg1")).is_err());
        assert!(read(&words("a-name-that-is-too-long")).is_err());
        assert!(read(&[String::new()]).is_err());
    }
}
