// SPDX-License-Identifier: GPL-2.0

//! A notification of the kernel, for people and for programs.

use crate::attributes::Attributes;
use crate::binding::Binding;
use crate::device::Device;
use crate::key::Key;
use crate::prefix::{from_octets, Prefix};
use netlink_packet_core::DecodeError;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use std::net::{SocketAddr, SocketAddrV6};
use wgvia_spec::{allowed_ip, command, device, peer, wireguard};

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    pub ifindex: u32,
    pub ifname: String,
    #[serde(flatten)]
    pub what: What,
}

/// The new state of what has changed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum What {
    DeviceChange {
        mode: &'static str,
        filter: &'static str,
        multicast: bool,
    },
    DeviceDel,
    WireguardChange {
        listen_port: u16,
        fwmark: u32,
        public_key: Option<Key>,
    },
    BindingChange(Binding),
    PeerAdd(Peer),
    PeerChange(Peer),
    PeerDel {
        key: Key,
    },
    SessionChange {
        key: Key,
        session: bool,
    },
    EndpointChange {
        key: Key,
        endpoint: Option<SocketAddr>,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peer {
    pub key: Key,
    pub allowed_ips: Vec<Prefix>,
    /// Whether there are more AllowedIPs than the kernel's message holds.
    pub allowed_ips_left_out: bool,
}

impl Event {
    /// Read a notification; [`None`] of one that this version does not know. `name` gives the name of
    /// a device.
    pub fn parse(
        command: u8,
        attributes: &Attributes,
        name: impl FnOnce(u32) -> String,
    ) -> Result<Option<Self>, DecodeError> {
        // Every set has the index first.
        let ifindex = attributes.u32(device::IFINDEX)?;
        let key = || Ok::<_, DecodeError>(Key(attributes.array(peer::KEY)?));
        let what = match command {
            command::DEVICE_CHANGE_NTF => What::device(&Device::parse(attributes)?),
            command::DEVICE_DEL_NTF => What::DeviceDel,
            command::WIREGUARD_CHANGE_NTF => What::WireguardChange {
                listen_port: attributes.u16(wireguard::LISTEN_PORT)?,
                fwmark: attributes.u32(wireguard::FWMARK)?,
                public_key: match attributes.get(wireguard::PUBLIC_KEY) {
                    Some(_) => Some(Key(attributes.array(wireguard::PUBLIC_KEY)?)),
                    None => None,
                },
            },
            command::BINDING_CHANGE_NTF => What::BindingChange(Binding::parse(attributes)?),
            command::PEER_ADD_NTF => What::PeerAdd(Peer::parse(attributes)?),
            command::PEER_CHANGE_NTF => What::PeerChange(Peer::parse(attributes)?),
            command::PEER_DEL_NTF => What::PeerDel { key: key()? },
            command::SESSION_CHANGE_NTF => What::SessionChange {
                key: key()?,
                session: attributes.bool(peer::SESSION)?,
            },
            command::ENDPOINT_CHANGE_NTF => What::EndpointChange {
                key: key()?,
                endpoint: attributes.get(peer::ENDPOINT).map(endpoint).transpose()?,
            },
            _ => return Ok(None),
        };
        let ifname = match attributes.string(device::IFNAME) {
            Ok(ifname) if matches!(what, What::DeviceChange { .. } | What::DeviceDel) => ifname,
            _ => name(ifindex),
        };
        Ok(Some(Self {
            ifindex,
            ifname,
            what,
        }))
    }
}

impl What {
    pub fn device(device: &Device) -> Self {
        Self::DeviceChange {
            mode: device.settings.mode.name,
            filter: device.settings.filter.name,
            multicast: device.settings.multicast,
        }
    }
}

impl Peer {
    fn parse(attributes: &Attributes) -> Result<Self, DecodeError> {
        let entries = attributes.all(peer::ALLOWED_IPS).map(|bytes| {
            let entry = Attributes::parse(bytes)?;
            let address = entry.get(allowed_ip::ADDRESS).unwrap_or_default();
            Ok(Prefix {
                address: from_octets(address).ok_or("a prefix that is no address")?,
                length: entry.u8(allowed_ip::PREFIX_LEN)?,
            })
        });
        Ok(Self {
            key: Key(attributes.array(peer::KEY)?),
            allowed_ips: entries.collect::<Result<_, DecodeError>>()?,
            allowed_ips_left_out: attributes.get(peer::ALLOWED_IPS_LEFT_OUT).is_some(),
        })
    }
}

/// Read a struct sockaddr_in or sockaddr_in6.
fn endpoint(bytes: &[u8]) -> Result<SocketAddr, DecodeError> {
    let read = || {
        let family = u16::from_ne_bytes(*bytes.first_chunk()?);
        let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
        match i32::from(family) {
            libc::AF_INET => {
                let octets: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
                Some(SocketAddr::from((octets, port)))
            }
            libc::AF_INET6 => {
                let octets: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
                let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
                Some(SocketAddrV6::new(octets.into(), port, 0, scope).into())
            }
            _ => None,
        }
    };
    read().ok_or_else(|| "an endpoint that is no socket address".into())
}

impl Display for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "peer {} allowed-ips ", self.key)?;
        let entries: Vec<_> = self.allowed_ips.iter().map(ToString::to_string).collect();
        match (entries.is_empty(), self.allowed_ips_left_out) {
            (true, _) => f.write_str("(none)"),
            (_, false) => f.write_str(&entries.join(",")),
            (_, true) => write!(f, "{},...", entries.join(",")),
        }
    }
}

/// A line as ip-monitor(8) has them: what is gone begins with "Deleted".
impl Display for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let dev = &self.ifname;
        match &self.what {
            What::DeviceChange {
                mode,
                filter,
                multicast,
            } => {
                let multicast = if *multicast { "on" } else { "off" };
                write!(
                    f,
                    "{dev}: mode {mode}, filter {filter}, multicast {multicast}"
                )
            }
            What::DeviceDel => write!(f, "Deleted {dev}"),
            What::WireguardChange {
                listen_port,
                fwmark,
                public_key,
            } => {
                write!(f, "{dev}: listen-port {listen_port} fwmark {fwmark:#x}")?;
                match public_key {
                    Some(key) => write!(f, " public-key {key}"),
                    None => write!(f, " public-key (none)"),
                }
            }
            What::BindingChange(Binding { key, states: 0, .. }) => {
                write!(f, "Deleted {dev}: via-wgpeer {key}")
            }
            What::BindingChange(binding) => {
                write!(f, "{dev}: via-wgpeer {}", binding.key)?;
                match binding.present {
                    true => Ok(()),
                    false => f.write_str(", no such peer: packets for it are dropped"),
                }
            }
            What::PeerAdd(peer) => write!(f, "Added {dev}: {peer}"),
            What::PeerChange(peer) => write!(f, "{dev}: {peer}"),
            What::PeerDel { key } => write!(f, "Deleted {dev}: peer {key}"),
            What::SessionChange { key, session: true } => write!(f, "{dev}: peer {key} session"),
            What::SessionChange { key, .. } => write!(f, "Deleted {dev}: peer {key} session"),
            What::EndpointChange { key, endpoint } => match endpoint {
                Some(endpoint) => write!(f, "{dev}: peer {key} endpoint {endpoint}"),
                None => write!(f, "{dev}: peer {key} endpoint (none)"),
            },
        }
    }
}
