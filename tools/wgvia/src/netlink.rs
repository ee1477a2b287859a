// SPDX-License-Identifier: GPL-2.0

//! Netlink: requests and their replies, extended acknowledgements included.

use crate::attributes::Attributes;
use crate::error::Error;
use netlink_packet_core::{
    DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable, NLM_F_ACK, NLM_F_ACK_TLVS, NLM_F_CAPPED, NLM_F_DUMP, NLM_F_DUMP_INTR,
    NLM_F_REQUEST,
};
use netlink_sys::{Socket, SocketAddr};
use std::fmt::Debug;
use std::mem;

/// Text of an extended acknowledgement, NLMSGERR_ATTR_MSG in linux/netlink.h.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Length of struct nlmsghdr.
const NLMSG_HDRLEN: usize = 16;
/// How often a dump is tried that changes overtake.
const TRIES: usize = 10;

/// A message of some protocol, without the header of netlink.
pub trait Message: NetlinkSerializable + NetlinkDeserializable + Clone + Debug {}

impl<M: NetlinkSerializable + NetlinkDeserializable + Clone + Debug> Message for M {}

/// The kernel's answer to one request.
#[derive(Debug)]
struct Reply<T> {
    items: Vec<T>,
    /// Text that came with the success, if any.
    warning: Option<String>,
    /// A change overtook the dump: it may lack entries or have some twice.
    interrupted: bool,
}

pub struct Connection {
    socket: Socket,
    sequence: u32,
    warnings: Vec<String>,
    /// Changes have overtaken a dump each time that it was tried.
    interrupted: bool,
}

impl Connection {
    /// Open a socket of a protocol, such as NETLINK_ROUTE.
    pub fn open(protocol: isize) -> Result<Self, Error> {
        let open = || {
            let socket = Socket::new(protocol)?;
            socket.set_ext_ack(true)?;
            socket.set_cap_ack(true)?;
            socket.connect(&SocketAddr::new(0, 0))?;
            Ok(socket)
        };
        Ok(Self {
            socket: open().map_err(Error::Socket)?,
            sequence: 0,
            warnings: Vec::new(),
            interrupted: false,
        })
    }

    /// Take the warnings that came with successes.
    pub fn warnings(&mut self) -> Vec<String> {
        let mut warnings = mem::take(&mut self.warnings);
        if !self.whole() {
            let warning = "the list changed while it was read: entries may be missing or old";
            warnings.push(warning.to_owned());
        }
        warnings
    }

    /// Tell whether each list is whole that was read since this was asked, or warnings were taken.
    pub fn whole(&mut self) -> bool {
        !mem::take(&mut self.interrupted)
    }

    /// Send a request and return the messages of the reply.
    ///
    /// `flags` are those of the request beside NLM_F_REQUEST and NLM_F_ACK.
    pub fn call<M: Message>(&mut self, request: M, flags: u16) -> Result<Vec<M>, Error> {
        let reply = self.exchange(request, NLM_F_ACK | flags, |message| Ok(Some(message)))?;
        self.warnings.extend(reply.warning);
        Ok(reply.items)
    }

    /// Get a list, as it was at one time unless changes never cease: [`Self::whole`] knows.
    ///
    /// `keep` makes an item of each message that is wanted: a list may be long.
    pub fn dump<M: Message, T>(
        &mut self,
        request: M,
        keep: impl Fn(M) -> Result<Option<T>, DecodeError>,
    ) -> Result<Vec<T>, Error> {
        let reply = settled(|| self.exchange(request.clone(), NLM_F_DUMP, &keep))?;
        self.interrupted |= reply.interrupted;
        self.warnings.extend(reply.warning);
        Ok(reply.items)
    }

    fn exchange<M: Message, T>(
        &mut self,
        request: M,
        flags: u16,
        keep: impl Fn(M) -> Result<Option<T>, DecodeError>,
    ) -> Result<Reply<T>, Error> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(Error::Socket)?;

        let mut reply = Reply::new();
        loop {
            let (bytes, _) = self.socket.recv_from_full().map_err(Error::Socket)?;
            if reply.read(&bytes, self.sequence, &keep)? {
                return Ok(reply);
            }
        }
    }
}

/// Dump until no change overtakes it, or TRIES times.
fn settled<T>(mut dump: impl FnMut() -> Result<Reply<T>, Error>) -> Result<Reply<T>, Error> {
    let mut reply = dump()?;
    for _ in 1..TRIES {
        if !reply.interrupted {
            break;
        }
        reply = dump()?;
    }
    Ok(reply)
}

/// A socket that multicast groups send to.
pub struct Listener(Socket);

impl Listener {
    /// Open a socket of a protocol, in no group.
    pub fn open(protocol: isize) -> Result<Self, Error> {
        let open = || {
            let mut socket = Socket::new(protocol)?;
            socket.bind_auto()?;
            Ok(socket)
        };
        Ok(Self(open().map_err(Error::Socket)?))
    }

    /// Join a group.
    pub fn join(&mut self, group: u32) -> Result<(), Error> {
        self.0
            .add_membership(group)
            .map_err(|error| match error.raw_os_error() {
                Some(errno) => Error::Refused {
                    errno,
                    text: None,
                    device: None,
                },
                None => Error::Socket(error),
            })
    }

    /// Wait for messages; [`None`] if some were lost because nobody read them in time. Those that wait
    /// then are lost too, so that what is asked for after that is newer than what comes.
    pub fn next<M: Message>(&mut self) -> Result<Option<Vec<M>>, Error> {
        let bytes = match self.0.recv_from_full() {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                let mut scratch = [0; 64];
                let mut receive = || self.0.recv(&mut &mut scratch[..], libc::MSG_DONTWAIT);
                while receive().map_or_else(|e| e.raw_os_error() == Some(libc::ENOBUFS), |_| true) {
                }
                return Ok(None);
            }
            received => received.map_err(Error::Socket)?.0,
        };
        let mut rest = bytes.as_slice();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let message = NetlinkMessage::<M>::deserialize(rest)?;
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
            if let NetlinkPayload::InnerMessage(message) = message.payload {
                messages.push(message);
            }
        }
        Ok(Some(messages))
    }
}

impl<T> Reply<T> {
    fn new() -> Self {
        Self {
            items: Vec::new(),
            warning: None,
            interrupted: false,
        }
    }

    /// Take in one datagram; tell whether it ends the reply.
    fn read<M: Message>(
        &mut self,
        mut bytes: &[u8],
        sequence: u32,
        keep: impl Fn(M) -> Result<Option<T>, DecodeError>,
    ) -> Result<bool, Error> {
        while !bytes.is_empty() {
            let message = NetlinkMessage::<M>::deserialize(bytes)?;
            let length = (message.header.length as usize).next_multiple_of(4);
            bytes = bytes.get(length..).unwrap_or_default();
            if message.header.sequence_number != sequence {
                continue;
            }

            let flags = message.header.flags;
            self.interrupted |= flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(message) => self.items.extend(keep(message)?),
                NetlinkPayload::Error(ack) => {
                    let attributes = past_request(&ack.header, flags);
                    return self.end(ack.raw_code(), flags, attributes);
                }
                NetlinkPayload::Done(done) => {
                    return self.end(done.code, flags, &done.extended_ack);
                }
                NetlinkPayload::Overrun(_) => {
                    return Err(DecodeError::from("data were lost").into());
                }
                _ => {}
            }
        }
        Ok(false)
    }

    fn end(&mut self, code: i32, flags: u16, attributes: &[u8]) -> Result<bool, Error> {
        let text = if flags & NLM_F_ACK_TLVS != 0 {
            let attributes = Attributes::parse(attributes)?;
            match attributes.get(NLMSGERR_ATTR_MSG) {
                Some(_) => Some(attributes.string(NLMSGERR_ATTR_MSG)?),
                None => None,
            }
        } else {
            None
        };
        if code < 0 {
            return Err(Error::Refused {
                errno: -code,
                text,
                device: None,
            });
        }
        self.warning = text;
        Ok(true)
    }
}

/// Return the bytes after the request, or after its header alone, that an
/// acknowledgement repeats.
fn past_request(echo: &[u8], flags: u16) -> &[u8] {
    let length = match echo.first_chunk() {
        Some(length) if flags & NLM_F_CAPPED == 0 => u32::from_ne_bytes(*length) as usize,
        _ => NLMSG_HDRLEN,
    };
    echo.get(length.next_multiple_of(4)..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR, NLM_F_MULTIPART};
    use netlink_packet_generic::constants::GENL_ID_CTRL;
    use netlink_packet_generic::ctrl::GenlCtrl;
    use netlink_packet_generic::GenlMessage;
    use netlink_sys::protocols::NETLINK_ROUTE;

    const SEQUENCE: u32 = 7;

    fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = (NLMSG_HDRLEN + payload.len()) as u32;
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend(0u32.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// CTRL_CMD_NEWFAMILY with CTRL_ATTR_FAMILY_ID.
    fn family(flags: u16, id: u16) -> Vec<u8> {
        let mut payload = vec![1, 2, 0, 0];
        payload.extend([6u16.to_ne_bytes(), 1u16.to_ne_bytes()].concat());
        payload.extend(id.to_ne_bytes());
        payload.extend([0, 0]);
        message(GENL_ID_CTRL, flags, SEQUENCE, &payload)
    }

    fn text(words: &str) -> Vec<u8> {
        let length = 4 + words.len() as u16 + 1;
        let mut bytes = [length.to_ne_bytes(), 1u16.to_ne_bytes()].concat();
        bytes.extend(words.as_bytes());
        bytes.resize((bytes.len() + 1).next_multiple_of(4), 0);
        bytes
    }

    fn read(datagrams: &[Vec<u8>]) -> Result<(bool, Reply<GenlMessage<GenlCtrl>>), Error> {
        let mut reply = Reply::new();
        let mut ended = false;
        for datagram in datagrams {
            assert!(!ended);
            ended = reply.read(datagram, SEQUENCE, |message| Ok(Some(message)))?;
        }
        Ok((ended, reply))
    }

    fn refusal(datagram: Vec<u8>) -> (i32, Option<String>) {
        match read(&[datagram]) {
            Err(Error::Refused { errno, text, .. }) => (errno, text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn success_with_and_without_a_warning() {
        let request = message(GENL_ID_CTRL, NLM_F_REQUEST, SEQUENCE, &[]);
        let mut payload = [&[0; 4], request.as_slice()].concat();
        let ack = message(NLMSG_ERROR, NLM_F_CAPPED, SEQUENCE, &payload);
        let (ended, reply) = read(&[family(0, 33), ack]).unwrap();
        assert!(ended);
        assert_eq!(reply.items.len(), 1);
        assert_eq!(reply.warning, None);

        payload.extend(text("mind the gap"));
        let flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        let ack = message(NLMSG_ERROR, flags, SEQUENCE, &payload);
        let (ended, reply) = read(&[ack]).unwrap();
        assert!(ended);
        assert_eq!(reply.warning.as_deref(), Some("mind the gap"));
    }

    #[test]
    fn refusal_with_the_request_whole_or_capped() {
        let code = (-libc::ENODEV).to_ne_bytes();
        let request = family(NLM_F_REQUEST, 33);
        let whole = [&code, request.as_slice(), &text("no such device")].concat();
        let datagram = message(NLMSG_ERROR, NLM_F_ACK_TLVS, SEQUENCE, &whole);
        let expected = (libc::ENODEV, Some("no such device".to_owned()));
        assert_eq!(refusal(datagram), expected);

        let header = &request[..NLMSG_HDRLEN];
        let capped = [&code, header, &text("no such device")].concat();
        let flags = NLM_F_CAPPED | NLM_F_ACK_TLVS;
        let datagram = message(NLMSG_ERROR, flags, SEQUENCE, &capped);
        assert_eq!(refusal(datagram), expected);

        let silent = [&code, header].concat();
        let datagram = message(NLMSG_ERROR, NLM_F_CAPPED, SEQUENCE, &silent);
        assert_eq!(refusal(datagram), (libc::ENODEV, None));
    }

    #[test]
    fn a_dump_of_many_messages_and_datagrams() {
        let part = [family(NLM_F_MULTIPART, 33), family(NLM_F_MULTIPART, 34)].concat();
        let done = message(NLMSG_DONE, NLM_F_MULTIPART, SEQUENCE, &[0; 4]);
        let mut datagrams = vec![part; 1000];
        datagrams.push([family(NLM_F_MULTIPART, 35), done].concat());
        let (ended, reply) = read(&datagrams).unwrap();
        assert!(ended);
        assert!(!reply.interrupted);
        assert_eq!(reply.items.len(), 2001);
    }

    #[test]
    fn a_dump_that_is_overtaken_or_fails() {
        let part = family(NLM_F_MULTIPART, 33);
        let flags = NLM_F_MULTIPART | NLM_F_DUMP_INTR;
        let done = message(NLMSG_DONE, flags, SEQUENCE, &[0; 4]);
        let (_, reply) = read(&[part.clone(), done]).unwrap();
        assert!(reply.interrupted);

        let code = (-libc::EOPNOTSUPP).to_ne_bytes();
        let failed = [&code, text("not a WireGuard device").as_slice()].concat();
        let flags = NLM_F_MULTIPART | NLM_F_ACK_TLVS;
        let done = message(NLMSG_DONE, flags, SEQUENCE, &failed);
        let expected = Some("not a WireGuard device".to_owned());
        assert_eq!(refusal([part, done].concat()), (libc::EOPNOTSUPP, expected));
    }

    #[test]
    fn a_dump_is_tried_until_it_is_whole() {
        // How often it is overtaken, how often it is tried
        for (overtaken, tries) in [(0, 1), (3, 4), (TRIES - 1, TRIES), (TRIES, TRIES)] {
            let mut tried = 0;
            let reply = settled(|| {
                tried += 1;
                let mut reply = Reply::new();
                reply.items.push(tried);
                reply.interrupted = tried <= overtaken;
                Ok(reply)
            });
            let reply = reply.unwrap();
            assert_eq!(reply.items, [tries]);
            assert_eq!(reply.interrupted, overtaken == TRIES);
        }
    }

    #[test]
    fn a_list_that_is_not_whole_is_told_once() {
        let mut connection = Connection::open(NETLINK_ROUTE).unwrap();
        assert!(connection.whole());
        connection.interrupted = true;
        assert!(!connection.whole());
        assert!(connection.warnings().is_empty());
        connection.interrupted = true;
        assert_eq!(connection.warnings().len(), 1);
        assert!(connection.whole());
    }

    #[test]
    fn answers_to_others_are_passed_over() {
        let other = message(NLMSG_ERROR, 0, SEQUENCE - 1, &(-1i32).to_ne_bytes());
        let (ended, reply) = read(&[other]).unwrap();
        assert!(!ended);
        assert!(reply.items.is_empty());
    }
}
