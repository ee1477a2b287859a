// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family of the module.

use crate::attributes::Attributes;
use crate::binding::Binding;
use crate::device::{Defaults, Device, Settings};
use crate::error::Error;
use crate::genl::{Events, Family};
use crate::key::Key;
use crate::keywords::Values;
use crate::peer::State;
use crate::resolve::{Answer, Question};
use crate::way_in::WayIn;
use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use std::collections::BTreeMap;
use wgvia_spec::{binding, command, device, peer, FAMILY};

/// A request or a reply of the family.
#[derive(Clone, Debug)]
pub struct Message {
    pub command: u8,
    pub attributes: Attributes,
}

impl Message {
    fn new(command: u8, attributes: Attributes) -> Self {
        Self {
            command,
            attributes,
        }
    }
}

impl GenlFamily for Message {
    fn family_name() -> &'static str {
        FAMILY
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Message {
    fn buffer_len(&self) -> usize {
        self.attributes.buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Message {
    fn parse_with_param(bytes: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        Ok(Self {
            command: header.cmd,
            attributes: Attributes::parse(bytes)?,
        })
    }
}

pub struct Wgvia(Family<Message>);

impl Wgvia {
    pub fn open() -> Result<Self, Error> {
        Ok(Self(Family::open()?))
    }

    /// Return the device of this name, or every WireGuard device of the network
    /// namespace, each with its bindings.
    pub fn devices(&mut self, name: Option<&str>) -> Result<Vec<Device>, Error> {
        let mut devices = match name {
            Some(name) => vec![self.device(name).map_err(|e| e.about(name))?],
            None => self.every_device()?,
        };
        // Of one device, those of this device alone are asked for.
        let ifindex = name.and(devices.first()).map(|device| device.ifindex);
        let mut bindings: BTreeMap<u32, Vec<Binding>> = BTreeMap::new();
        for binding in self.bindings(ifindex)? {
            bindings.entry(binding.ifindex).or_default().push(binding);
        }
        for device in &mut devices {
            device.bindings = bindings.remove(&device.ifindex).unwrap_or_default();
            // The kernel's order says nothing; this one stays the same.
            device.bindings.sort_by_key(|binding| binding.key);
        }
        Ok(devices)
    }

    /// Change the settings that are given, all of them or none.
    pub fn set_device(&mut self, name: &str, settings: &Values<'_>) -> Result<(), Error> {
        let mut attributes = named(name);
        put_settings(&mut attributes, settings);
        let request = Message::new(command::DEVICE_SET, attributes);
        self.0.call(request).map_err(|e| e.about(name))?;
        Ok(())
    }

    /// Return what is set for devices to come in the network namespace.
    pub fn defaults(&mut self) -> Result<Defaults, Error> {
        let request = Message::new(command::DEFAULT_GET, Attributes::new());
        match self.0.call(request)?.first() {
            Some(message) => Ok(Defaults(Settings::parse(&message.attributes)?)),
            None => Err(DecodeError::from("there are no settings in it").into()),
        }
    }

    /// Change what is set for devices to come in the network namespace.
    pub fn set_default(&mut self, settings: &Values<'_>) -> Result<(), Error> {
        let mut attributes = Attributes::new();
        put_settings(&mut attributes, settings);
        self.0
            .call(Message::new(command::DEFAULT_SET, attributes))?;
        Ok(())
    }

    /// Return the peers of a device; none if it is in mode off.
    pub fn peers(&mut self, name: &str) -> Result<BTreeMap<Key, State>, Error> {
        let device = self.device(name).map_err(|e| e.about(name))?;
        let mut attributes = Attributes::new();
        attributes.put_u32(peer::IFINDEX, device.ifindex);
        let request = Message::new(command::PEER_GET, attributes);
        let messages = self.0.dump(request).map_err(|e| e.about(name))?;
        let peers = messages.iter().map(|m| State::parse(&m.attributes));
        Ok(peers.collect::<Result<_, _>>()?)
    }

    /// Ask what becomes of a packet.
    pub fn resolve(&mut self, name: &str, question: &Question) -> Result<Answer, Error> {
        let mut attributes = named(name);
        question.put(&mut attributes)?;
        let request = Message::new(command::RESOLVE, attributes);
        let replies = self.0.call(request).map_err(|e| e.about(name))?;
        match replies.first() {
            Some(message) => Ok(Answer::parse(question, &message.attributes)?),
            None => Err(DecodeError::from("there is no answer in it").into()),
        }
    }

    /// Return the module's way into the kernel. It says so while it is there, which
    /// [`Self::open`] sees to.
    pub fn way_in(&self) -> WayIn {
        WayIn::read()
    }

    /// Listen to those of the groups that this kernel has; return which.
    pub fn listen<'n>(
        &mut self,
        groups: &[&'n str],
    ) -> Result<(Events<Message>, Vec<&'n str>), Error> {
        self.0.listen(groups)
    }

    /// Tell whether this kernel tells of peers. Only then there are groups of what they do.
    pub fn tells_of_peers(&mut self) -> Result<bool, Error> {
        self.0.has_group("sessions")
    }

    /// Take the warnings that came with successes.
    pub fn warnings(&mut self) -> Vec<String> {
        self.0.warnings()
    }

    /// Tell whether each list is whole that was read since this was asked.
    pub fn whole(&mut self) -> bool {
        self.0.whole()
    }

    fn device(&mut self, name: &str) -> Result<Device, Error> {
        let request = Message::new(command::DEVICE_GET, named(name));
        match self.0.call(request)?.first() {
            Some(message) => Ok(Device::parse(&message.attributes)?),
            None => Err(DecodeError::from("there is no device in it").into()),
        }
    }

    fn every_device(&mut self) -> Result<Vec<Device>, Error> {
        let request = Message::new(command::DEVICE_GET, Attributes::new());
        let messages = self.0.dump(request)?;
        let devices = messages.iter().map(|m| Device::parse(&m.attributes));
        Ok(devices.collect::<Result<_, _>>()?)
    }

    fn bindings(&mut self, ifindex: Option<u32>) -> Result<Vec<Binding>, Error> {
        let mut attributes = Attributes::new();
        if let Some(ifindex) = ifindex {
            attributes.put_u32(binding::IFINDEX, ifindex);
        }
        let request = Message::new(command::BINDING_GET, attributes);
        let messages = self.0.dump(request)?;
        let bindings = messages.iter().map(|m| Binding::parse(&m.attributes));
        Ok(bindings.collect::<Result<_, _>>()?)
    }
}

/// Add the settings that are given.
fn put_settings(attributes: &mut Attributes, settings: &Values<'_>) {
    if let Some(mode) = settings.number("mode") {
        attributes.put_u32(device::MODE, mode);
    }
    if let Some(filter) = settings.number("filter") {
        attributes.put_u32(device::FILTER, filter);
    }
    if let Some(multicast) = settings.number("multicast") {
        attributes.put_u8(device::MULTICAST, multicast as u8);
    }
}

/// Return the attributes that say which device is meant.
fn named(name: &str) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.put_str(device::IFNAME, name);
    attributes
}
