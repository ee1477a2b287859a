# SPDX-License-Identifier: GPL-2.0
"""A sender of route and nexthop requests: many messages in one write, one stream."""

import os
import socket
import struct

RTM_NEWROUTE, RTM_DELROUTE, RTM_NEWNEXTHOP, RTM_DELNEXTHOP = 24, 25, 104, 105
NLMSG_NOOP, NLMSG_ERROR = 1, 2
NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0x1, 0x4, 0x100, 0x400
NLA_F_NESTED = 0x8000
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_ENCAP_TYPE, RTA_ENCAP, RTA_NH_ID = 1, 4, 5, 21, 22, 30
NHA_ID, NHA_GROUP, NHA_OIF, NHA_GATEWAY, NHA_ENCAP_TYPE, NHA_ENCAP = 1, 2, 5, 6, 7, 8
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1
LWTUNNEL_ENCAP_WGPEER, RTA_WGPEER = 64, 1
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
CHUNK = 1 << 18
# The sequence number of what is answered
LAST = 1


def attr(number, payload):
    pad = -len(payload) % 4
    return struct.pack("=HH", 4 + len(payload), number) + payload + bytes(pad)


def u32(number, value):
    return attr(number, struct.pack("=I", value))


def _key(encap_type, encap, key):
    return (attr(encap_type, struct.pack("=H", LWTUNNEL_ENCAP_WGPEER)) +
            attr(encap | NLA_F_NESTED, attr(RTA_WGPEER, key)))


def by_key(oif, key):
    """The attributes of a route whose nexthop names a peer."""
    return u32(RTA_OIF, oif) + _key(RTA_ENCAP_TYPE, RTA_ENCAP, key)


def by_gateway(oif, address):
    return u32(RTA_OIF, oif) + attr(RTA_GATEWAY, address)


def by_device(oif):
    return u32(RTA_OIF, oif)


def by_object(number):
    return u32(RTA_NH_ID, number)


def route(kind, prefix, attributes, flags=NLM_F_CREATE):
    """One request. The prefix is an address, packed, and a length."""
    address, length = prefix
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
    return (struct.pack("=IHHII8BIHH", 32 + len(address) + len(attributes), kind,
                        NLM_F_REQUEST | flags, 0, 0, family, length, 0, 0, RT_TABLE_MAIN,
                        RTPROT_STATIC, 0, RTN_UNICAST, 0, 4 + len(address), RTA_DST) +
            address + attributes)


def nexthop(number, version, attributes, flags=NLM_F_CREATE):
    """One request. A group has no version."""
    family = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}[version]
    body = struct.pack("=4BI", family, 0, RTPROT_STATIC, 0, 0)
    body += u32(NHA_ID, number) + attributes
    return struct.pack("=IHHII", 16 + len(body), RTM_NEWNEXTHOP, NLM_F_REQUEST | flags,
                       0, 0) + body


def nexthop_by_key(oif, key):
    return u32(NHA_OIF, oif) + _key(NHA_ENCAP_TYPE, NHA_ENCAP, key)


def nexthop_by_gateway(oif, address):
    return u32(NHA_OIF, oif) + attr(NHA_GATEWAY, address)


def group(number, members):
    """A request for a group of nexthops of equal weight."""
    payload = b"".join(struct.pack("=IBBH", member, 0, 0, 0) for member in members)
    return nexthop(number, None, attr(NHA_GROUP, payload))


def delete_nexthop(number):
    """A request. Of a group before its members: it would be changed for each of them."""
    body = struct.pack("=4BI", 0, 0, 0, 0, 0) + u32(NHA_ID, number)
    return struct.pack("=IHHII", 16 + len(body), RTM_DELNEXTHOP, NLM_F_REQUEST, 0, 0) + body


class Stream:
    """A socket that requests are sent by. None is acknowledged but the last of each send()."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 * CHUNK)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 * CHUNK)
        self.sock.bind((0, 0))

    @staticmethod
    def chunks(requests):
        """Join requests to what one write takes, so that no time goes there later."""
        chunk, size = [], 0
        for request in requests:
            if size + len(request) > CHUNK:
                yield b"".join(chunk)
                chunk, size = [], 0
            chunk.append(request)
            size += len(request)
        if chunk:
            yield b"".join(chunk)

    def send(self, chunks):
        """Send them; fail with the error of the first request that failed."""
        for chunk in chunks:
            self.sock.send(chunk)
            self._errors(socket.MSG_DONTWAIT)
        # Answered with an acknowledgement, after all that was sent before.
        self.sock.send(struct.pack("=IHHII", 16, NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, LAST, 0))
        while not self._errors(0):
            pass

    def _errors(self, flags):
        """Read what there is; tell whether the last request was answered."""
        while True:
            try:
                data = self.sock.recv(1 << 16, flags)
            except BlockingIOError:
                return False
            offset, last = 0, False
            while offset + 20 <= len(data):
                size, kind, _, sequence, _ = struct.unpack_from("=IHHII", data, offset)
                error = struct.unpack_from("=i", data, offset + 16)[0]
                last = last or sequence == LAST
                if kind == NLMSG_ERROR and error and sequence != LAST:
                    raise OSError(-error, os.strerror(-error))
                offset += (size + 3) & ~3
            if last or flags:
                return last
