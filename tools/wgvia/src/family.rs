// SPDX-License-Identifier: GPL-2.0

//! The operations of the generic netlink family.

use crate::attributes::Attributes;
use crate::binding::Binding;
use crate::cli::{Filter, Mode};
use crate::device::Device;
use crate::error::Error;
use crate::genl::Connection;
use crate::uapi::{
    WGVIA_A_BINDING_IFINDEX, WGVIA_A_DEVICE_FILTER, WGVIA_A_DEVICE_IFNAME, WGVIA_A_DEVICE_MODE,
    WGVIA_CMD_BINDING_GET, WGVIA_CMD_DEVICE_GET, WGVIA_CMD_DEVICE_SET, WGVIA_FAMILY_NAME,
    WGVIA_FAMILY_VERSION,
};
use netlink_packet_core::{DecodeError, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use std::collections::BTreeMap;

/// A request or a reply of the family.
#[derive(Clone, Debug)]
struct Message {
    command: u8,
    attributes: Attributes,
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
        WGVIA_FAMILY_NAME
    }

    fn command(&self) -> u8 {
        self.command
    }

    fn version(&self) -> u8 {
        WGVIA_FAMILY_VERSION
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

pub struct Family {
    connection: Connection,
    id: u16,
}

impl Family {
    pub fn open() -> Result<Self, Error> {
        let mut connection = Connection::open()?;
        let id = connection.resolve(WGVIA_FAMILY_NAME)?;
        Ok(Self { connection, id })
    }

    /// The device of this name, or every WireGuard device of the network
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
            device.bindings.sort_by(|a, b| a.key.cmp(&b.key));
        }
        Ok(devices)
    }

    /// Take what the kernel warned of.
    pub fn warnings(&mut self) -> Vec<String> {
        self.connection.warnings()
    }

    /// Change what is given.
    pub fn set_device(
        &mut self,
        name: &str,
        mode: Option<Mode>,
        filter: Option<Filter>,
    ) -> Result<(), Error> {
        let mut attributes = named(name);
        if let Some(mode) = mode {
            attributes.put_u32(WGVIA_A_DEVICE_MODE, mode.into());
        }
        if let Some(filter) = filter {
            attributes.put_u32(WGVIA_A_DEVICE_FILTER, filter.into());
        }
        let request = Message::new(WGVIA_CMD_DEVICE_SET, attributes);
        let done = self.connection.call(self.id, request);
        done.map_err(|e| e.about(name))?;
        Ok(())
    }

    fn device(&mut self, name: &str) -> Result<Device, Error> {
        let request = Message::new(WGVIA_CMD_DEVICE_GET, named(name));
        let messages = self.connection.call(self.id, request)?;
        match messages.first() {
            Some(message) => Ok(Device::parse(&message.attributes)?),
            None => Err(DecodeError::from("there is no device in it").into()),
        }
    }

    fn every_device(&mut self) -> Result<Vec<Device>, Error> {
        let request = Message::new(WGVIA_CMD_DEVICE_GET, Attributes::new());
        let messages = self.connection.dump(self.id, request)?;
        let devices = messages.iter().map(|m| Device::parse(&m.attributes));
        Ok(devices.collect::<Result<_, _>>()?)
    }

    fn bindings(&mut self, ifindex: Option<u32>) -> Result<Vec<Binding>, Error> {
        let mut attributes = Attributes::new();
        if let Some(ifindex) = ifindex {
            attributes.put_u32(WGVIA_A_BINDING_IFINDEX, ifindex);
        }
        let request = Message::new(WGVIA_CMD_BINDING_GET, attributes);
        let messages = self.connection.dump(self.id, request)?;
        let bindings = messages.iter().map(|m| Binding::parse(&m.attributes));
        Ok(bindings.collect::<Result<_, _>>()?)
    }
}

/// The attributes that say which device is meant.
fn named(name: &str) -> Attributes {
    let mut attributes = Attributes::new();
    attributes.put_str(WGVIA_A_DEVICE_IFNAME, name);
    attributes
}
