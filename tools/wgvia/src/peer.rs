// SPDX-License-Identifier: GPL-2.0

//! The peers of a device, and the packets of theirs that were dropped.

use crate::attributes::Attributes;
use crate::counters::{write_line, Drops};
use crate::key::Key;
use netlink_packet_core::DecodeError;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use wgvia_spec::peer;

/// A peer, with what WireGuard and wgvia count of it.
#[derive(Debug, PartialEq, Serialize)]
pub struct Peer {
    pub key: Key,
    /// Bytes that WireGuard has accepted from it and sent to it, encrypted.
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub drops: Drops,
}

/// A peer as the module knows it.
#[derive(Debug, PartialEq)]
pub struct State {
    /// Whether a packet can be sent without a handshake.
    pub session: bool,
    pub drops: Drops,
}

impl State {
    /// Read a message about a peer, and its key.
    pub fn parse(attributes: &Attributes) -> Result<(Key, Self), DecodeError> {
        let state = Self {
            session: attributes.bool(peer::SESSION)?,
            drops: Drops::parse(&attributes.nest(peer::COUNTERS)?)?,
        };
        Ok((Key(attributes.array(peer::KEY)?), state))
    }
}

/// The bytes, and what has dropped any packets.
impl Display for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}  rx_bytes {}, tx_bytes {}",
            self.key, self.rx_bytes, self.tx_bytes
        )?;
        for (entry, count) in self.drops.iter() {
            write_line(f, entry, count)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::Emitable;
    use wgvia_spec::COUNTERS;

    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    fn peer() -> Peer {
        let of_peer = |entry: &&wgvia_spec::Entry| entry.name == "rx-drop-peer";
        let number = COUNTERS.entries.iter().find(of_peer).unwrap().number;
        let mut counters = Attributes::new();
        counters.put_u32(number as u16, 3);
        let mut attributes = Attributes::new();
        attributes.put(peer::KEY, KEY.parse::<Key>().unwrap().0.to_vec());
        attributes.put_u8(peer::SESSION, 1);
        attributes.put_nest(peer::COUNTERS, &counters);
        // As they are on the wire
        let mut bytes = vec![0; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        let attributes = Attributes::parse(&bytes).unwrap();
        let (key, State { session, drops }) = State::parse(&attributes).unwrap();
        assert!(session);
        Peer {
            key,
            rx_bytes: 100,
            tx_bytes: 200,
            drops,
        }
    }

    #[test]
    fn for_people() {
        let expected = format!(
            "{KEY}  rx_bytes 100, tx_bytes 200\n  rx_drop_peer                 3  \
             Dropped, the source belongs to another peer or to none\n"
        );
        assert_eq!(peer().to_string(), expected);
    }

    #[test]
    fn for_machines() {
        let json = serde_json::to_string(&peer()).unwrap();
        let expected = format!(
            "{{\"key\":\"{KEY}\",\"rx_bytes\":100,\"tx_bytes\":200,\"drops\":{{\"rx_drop_peer\":3}}}}"
        );
        assert_eq!(json, expected);
    }
}
