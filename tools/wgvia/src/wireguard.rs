// SPDX-License-Identifier: GPL-2.0

//! WireGuard's own generic netlink family, as far as wg(8) is not needed.

use crate::error::Error;
use crate::genl::Family;
use crate::key::Key;
use crate::prefix::Prefix;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAllowedIpFlags,
    WireguardAttribute, WireguardCmd, WireguardMessage, WireguardPeer, WireguardPeerAttribute,
    WireguardPeerFlags,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Peers in one request: far below the 64 KiB that an attribute can have.
const PEERS: usize = 256;

/// A device and the IPv6 host entries of its peers.
#[derive(Debug, Default, PartialEq)]
pub struct Device {
    pub ifindex: u32,
    /// The device's own public key, if it has a private one.
    pub key: Option<Key>,
    /// The addresses that each peer has as a /128 in its AllowedIPs.
    pub peers: BTreeMap<Key, Vec<Ipv6Addr>>,
}

/// A peer and its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    pub key: Key,
    pub allowed_ips: Vec<Prefix>,
    pub endpoint: Option<SocketAddr>,
}

/// A peer, and an address for a /128 in its AllowedIPs.
pub type HostEntry = (Key, Ipv6Addr);

pub struct Wireguard(Family<WireguardMessage>);

impl Wireguard {
    pub fn open() -> Result<Self, Error> {
        Ok(Self(Family::open()?))
    }

    pub fn device(&mut self, name: &str) -> Result<Device, Error> {
        let request = message(WireguardCmd::GetDevice, name, vec![]);
        let replies = self.0.dump(request).map_err(|e| about(e, name))?;
        Ok(device(&replies))
    }

    /// Return the peers of a device.
    pub fn peers(&mut self, name: &str) -> Result<Vec<Peer>, Error> {
        let request = message(WireguardCmd::GetDevice, name, vec![]);
        let replies = self.0.dump(request).map_err(|e| about(e, name))?;
        Ok(peers(&replies))
    }

    /// Return how many bytes WireGuard has accepted from each peer and sent to it.
    pub fn transfers(&mut self, name: &str) -> Result<BTreeMap<Key, (u64, u64)>, Error> {
        let request = message(WireguardCmd::GetDevice, name, vec![]);
        let replies = self.0.dump(request).map_err(|e| about(e, name))?;
        Ok(transfers(&replies))
    }

    /// Add host entries to peers; a peer that is gone by now is passed over.
    ///
    /// On an error none of them is left behind.
    pub fn add(&mut self, name: &str, entries: &[HostEntry]) -> Result<(), Error> {
        all_or_nothing(entries, |part, flags| {
            let request = update(name, part, flags);
            self.0.call(request).map_err(|e| about(e, name)).map(drop)
        })
    }

    /// Take the warnings that came with successes.
    pub fn warnings(&mut self) -> Vec<String> {
        self.0.warnings()
    }

    /// Tell whether each list is whole that was read since this was asked.
    pub fn whole(&mut self) -> bool {
        self.0.whole()
    }
}

/// Send entries part by part; on an error, take back those that were sent.
fn all_or_nothing(
    entries: &[HostEntry],
    mut send: impl FnMut(&[HostEntry], WireguardAllowedIpFlags) -> Result<(), Error>,
) -> Result<(), Error> {
    for (i, part) in entries.chunks(PEERS).enumerate() {
        if let Err(error) = send(part, WireguardAllowedIpFlags::empty()) {
            // The kernel may have done some of the part that failed.
            for part in entries.chunks(PEERS).take(i + 1) {
                // The first error is the one to tell.
                let _ = send(part, WireguardAllowedIpFlags::RemoveMe);
            }
            return Err(error);
        }
    }
    Ok(())
}

fn message(
    cmd: WireguardCmd,
    name: &str,
    mut attributes: Vec<WireguardAttribute>,
) -> WireguardMessage {
    attributes.insert(0, WireguardAttribute::IfName(name.to_owned()));
    WireguardMessage { cmd, attributes }
}

fn update(name: &str, entries: &[HostEntry], flags: WireguardAllowedIpFlags) -> WireguardMessage {
    let peers = entries.iter().map(|(key, address)| {
        let mut entry = vec![
            WireguardAllowedIpAttr::Family(WireguardAddressFamily::Ipv6),
            WireguardAllowedIpAttr::IpAddr(IpAddr::V6(*address)),
            WireguardAllowedIpAttr::Cidr(128),
        ];
        if !flags.is_empty() {
            entry.push(WireguardAllowedIpAttr::Flags(flags));
        }
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(key.0),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
            WireguardPeerAttribute::AllowedIps(vec![WireguardAllowedIp(entry)]),
        ])
    });
    let peers = WireguardAttribute::Peers(peers.collect());
    message(WireguardCmd::SetDevice, name, vec![peers])
}

/// Put together what came in several messages, which may even cut a peer in two.
fn device(replies: &[WireguardMessage]) -> Device {
    let mut device = Device::default();
    for attribute in replies.iter().flat_map(|reply| &reply.attributes) {
        match attribute {
            WireguardAttribute::IfIndex(ifindex) => device.ifindex = *ifindex,
            WireguardAttribute::PublicKey(key) => device.key = Some(Key(*key)),
            WireguardAttribute::Peers(peers) => {
                for peer in peers {
                    let Some(key) = peer.iter().find_map(public_key) else {
                        continue;
                    };
                    let entries = peer.iter().flat_map(allowed_ips);
                    let hosts = entries.filter_map(ipv6_host);
                    device.peers.entry(key).or_default().extend(hosts);
                }
            }
            _ => {}
        }
    }
    device
}

/// The same of the peers, which may be cut in two as well.
fn peers(replies: &[WireguardMessage]) -> Vec<Peer> {
    let mut peers: Vec<Peer> = Vec::new();
    for attribute in replies.iter().flat_map(|reply| &reply.attributes) {
        let WireguardAttribute::Peers(parts) = attribute else {
            continue;
        };
        for part in parts {
            let Some(key) = part.iter().find_map(public_key) else {
                continue;
            };
            if peers.last().is_none_or(|peer| peer.key != key) {
                peers.push(Peer {
                    key,
                    allowed_ips: Vec::new(),
                    endpoint: None,
                });
            }
            let Some(peer) = peers.last_mut() else {
                continue;
            };
            for attribute in part.iter() {
                if let WireguardPeerAttribute::Endpoint(endpoint) = attribute {
                    peer.endpoint = Some(*endpoint);
                }
            }
            let entries = part.iter().flat_map(allowed_ips);
            peer.allowed_ips.extend(entries.filter_map(prefix));
        }
    }
    peers
}

fn prefix(entry: &WireguardAllowedIp) -> Option<Prefix> {
    let address = entry.iter().find_map(|attribute| match attribute {
        WireguardAllowedIpAttr::IpAddr(address) => Some(*address),
        _ => None,
    })?;
    let length = entry.iter().find_map(|attribute| match attribute {
        WireguardAllowedIpAttr::Cidr(length) => Some(*length),
        _ => None,
    })?;
    Some(Prefix { address, length })
}

/// A peer that was cut in two has its bytes in the first part.
fn transfers(replies: &[WireguardMessage]) -> BTreeMap<Key, (u64, u64)> {
    let mut transfers = BTreeMap::new();
    for attribute in replies.iter().flat_map(|reply| &reply.attributes) {
        let WireguardAttribute::Peers(peers) = attribute else {
            continue;
        };
        for peer in peers {
            let Some(key) = peer.iter().find_map(public_key) else {
                continue;
            };
            let (rx, tx) = transfers.entry(key).or_insert((0, 0));
            for attribute in peer.iter() {
                match attribute {
                    WireguardPeerAttribute::RxBytes(bytes) => *rx = *bytes,
                    WireguardPeerAttribute::TxBytes(bytes) => *tx = *bytes,
                    _ => {}
                }
            }
        }
    }
    transfers
}

fn public_key(attribute: &WireguardPeerAttribute) -> Option<Key> {
    match attribute {
        WireguardPeerAttribute::PublicKey(key) => Some(Key(*key)),
        _ => None,
    }
}

fn allowed_ips(attribute: &WireguardPeerAttribute) -> &[WireguardAllowedIp] {
    match attribute {
        WireguardPeerAttribute::AllowedIps(entries) => entries,
        _ => &[],
    }
}

fn ipv6_host(entry: &WireguardAllowedIp) -> Option<Ipv6Addr> {
    let host = entry.contains(&WireguardAllowedIpAttr::Cidr(128));
    entry.iter().find_map(|attribute| match attribute {
        WireguardAllowedIpAttr::IpAddr(IpAddr::V6(address)) if host => Some(*address),
        _ => None,
    })
}

/// WireGuard says nothing in words.
fn about(error: Error, name: &str) -> Error {
    error
        .or_text(libc::ENODEV, "no such device")
        .or_text(libc::EOPNOTSUPP, "not a WireGuard device")
        .about(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{Emitable, ParseableParametrized};
    use netlink_packet_generic::GenlHeader;

    const COUNT: usize = 2 * PEERS + 1;

    fn entries() -> Vec<HostEntry> {
        let entry = |i: usize| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&i.to_le_bytes());
            (Key(key), Ipv6Addr::from((0xfe80 << 112) | i as u128))
        };
        (0..COUNT).map(entry).collect()
    }

    fn peer(key: [u8; 32], allowed_ips: &[(&str, u8)]) -> WireguardPeer {
        let entries = allowed_ips.iter().map(|(address, cidr)| {
            WireguardAllowedIp(vec![
                WireguardAllowedIpAttr::Cidr(*cidr),
                WireguardAllowedIpAttr::IpAddr(address.parse().unwrap()),
            ])
        });
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(key),
            WireguardPeerAttribute::AllowedIps(entries.collect()),
        ])
    }

    #[test]
    fn a_device_in_several_messages() {
        let first = vec![
            WireguardAttribute::IfIndex(7),
            WireguardAttribute::PublicKey([1; 32]),
            WireguardAttribute::Peers(vec![
                peer([2; 32], &[("10.0.0.1", 32), ("fe80::2", 128)]),
                peer([3; 32], &[("fe80::3", 64)]),
            ]),
        ];
        let second = vec![WireguardAttribute::Peers(vec![
            peer([3; 32], &[("fe80::3", 128), ("fe80::4", 128)]),
            WireguardPeer(vec![WireguardPeerAttribute::PublicKey([4; 32])]),
        ])];
        let replies = [first, second].map(|attributes| WireguardMessage {
            cmd: WireguardCmd::GetDevice,
            attributes,
        });
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let expected = Device {
            ifindex: 7,
            key: Some(Key([1; 32])),
            peers: BTreeMap::from([
                (Key([2; 32]), vec![address("fe80::2")]),
                (Key([3; 32]), vec![address("fe80::3"), address("fe80::4")]),
                (Key([4; 32]), vec![]),
            ]),
        };
        assert_eq!(device(&replies), expected);
    }

    #[test]
    fn requests_add_and_replace_nothing() {
        let request = update("wg0", &entries()[..PEERS], WireguardAllowedIpFlags::empty());
        let WireguardAttribute::Peers(peers) = &request.attributes[1] else {
            panic!("{request:?}");
        };
        assert_eq!(request.attributes.len(), 2);
        let flags = WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly);
        assert!(peers.iter().all(|peer| peer.contains(&flags)));

        let mut bytes = vec![0; request.buffer_len()];
        request.emit(&mut bytes);
        assert!(bytes.len() < usize::from(u16::MAX) / 2);
        let header = GenlHeader { cmd: 1, version: 1 };
        let parsed = WireguardMessage::parse_with_param(&bytes, header).unwrap();
        assert_eq!(device(&[parsed]).peers.len(), PEERS);
    }

    /// Send to a kernel that refuses the part after so many; return the entries
    /// that are left there.
    fn send(parts: usize) -> (Result<(), Error>, Vec<HostEntry>) {
        let mut there = Vec::new();
        let mut sent = 0;
        let result = all_or_nothing(&entries(), |part, flags| {
            if flags == WireguardAllowedIpFlags::RemoveMe {
                there.retain(|entry| !part.contains(entry));
                return Ok(());
            }
            sent += 1;
            if sent <= parts {
                there.extend(part);
                return Ok(());
            }
            there.extend(part.first());
            Err(Error::Usage("out of memory".to_owned()))
        });
        (result, there)
    }

    #[test]
    fn all_parts() {
        let (result, there) = send(3);
        assert!(result.is_ok());
        assert_eq!(there, entries());
    }

    #[test]
    fn nothing_after_a_failure() {
        for parts in 0..3 {
            let (result, there) = send(parts);
            assert!(matches!(result, Err(Error::Usage(_))));
            assert!(there.is_empty());
        }
    }
}
