# SPDX-License-Identifier: GPL-2.0
"""The control operations that the hardening runs repeat, as raw netlink.

Raw, so that one system call is one operation: threads can make them at the same
time, and an allocation inside one can be made to fail. Every operation returns 0
or an error number.
"""

import errno
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
# pylint: disable=wrong-import-position
from lib import (NLA_TYPE_MASK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Netlink,
                 attr, attrs, encap_type, nest, number, u8, u16, u32, uapi)
from lib.genetlink import NETLINK_GENERIC, family as genl_family

RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR = 16, 17, 20
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
RTM_NEWNEIGH, NDA_DST, NUD_FAILED = 28, 1, 0x20
IFF_UP = 1
IFLA_IFNAME, IFLA_LINKINFO, IFLA_NET_NS_FD, IFLA_INFO_KIND = 3, 18, 28, 1
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS, IFA_F_NODAD = 1, 2, 8, 2
RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_METRICS, RTA_MULTIPATH = 1, 2, 4, 5, 8, 9
RTA_TABLE, RTA_VIA, RTA_NH_ID, RTAX_MTU = 15, 18, 30, 2
RTA_ENCAP_TYPE, RTA_ENCAP, RTA_WGPEER = 21, 22, 1
RT_TABLE_MAIN, RTPROT_BOOT, RTPROT_STATIC = 254, 3, 4
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RTN_UNICAST, RTN_BLACKHOLE = 1, 6
NHA_ID, NHA_GROUP, NHA_GROUP_TYPE, NHA_OIF, NHA_GATEWAY = 1, 2, 3, 5, 6
NHA_ENCAP_TYPE, NHA_ENCAP, NHA_RES_GROUP = 7, 8, 12
NHA_HW_STATS_ENABLE = 16
NEXTHOP_GRP_TYPE_RES = 1
NHA_RES_GROUP_BUCKETS, NHA_RES_GROUP_IDLE_TIMER = 1, 2

WG_CMD_GET_DEVICE, WG_CMD_SET_DEVICE = 0, 1
WGDEVICE_A_IFNAME, WGDEVICE_A_PRIVATE_KEY = 2, 3
WGDEVICE_A_LISTEN_PORT, WGDEVICE_A_PEERS = 6, 8
WGPEER_A_PUBLIC_KEY, WGPEER_A_FLAGS, WGPEER_A_ENDPOINT, WGPEER_A_ALLOWEDIPS = 1, 3, 4, 9
WGPEER_F_REMOVE_ME, WGPEER_F_UPDATE_ONLY = 1, 4
WGALLOWEDIP_A_FAMILY, WGALLOWEDIP_A_IPADDR, WGALLOWEDIP_A_CIDR_MASK = 1, 2, 3

UAPI = uapi()
ADD = NLM_F_CREATE | NLM_F_EXCL
REPLACE = NLM_F_CREATE | NLM_F_REPLACE
APPEND = NLM_F_CREATE | NLM_F_APPEND


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def packed(address):
    return socket.inet_pton(family_of(address), address)


def split(prefix):
    address, length = prefix.split("/")
    return address, int(length)


# --- parts of a route ------------------------------------------------------

def via_key(key):
    """A nexthop that names a peer."""
    return (attr(RTA_ENCAP_TYPE, u16(encap_type())) +
            nest(RTA_ENCAP, attr(RTA_WGPEER, key)))


def via_gateway(prefix, gateway):
    """A nexthop with a gateway, of either family for IPv4."""
    if family_of(prefix) == family_of(gateway):
        return attr(RTA_GATEWAY, packed(gateway))
    return attr(RTA_VIA, u16(family_of(gateway)) + packed(gateway))


def multipath(dev, *hops):
    """RTA_MULTIPATH of nexthops on one device, each its attributes."""
    return attr(RTA_MULTIPATH, b"".join(
        struct.pack("=HBBi", 8 + len(hop), 0, 0, dev) + hop for hop in hops))


def through(dev, hop=b""):
    """One nexthop on a device."""
    return attr(RTA_OIF, u32(dev)) + hop


def peer(key, flags=0, endpoint=None, allowed=()):
    """A peer, for Control.wg_set."""
    payload = attr(WGPEER_A_PUBLIC_KEY, key) + attr(WGPEER_A_FLAGS, u32(flags))
    if endpoint:
        host, port = endpoint
        payload += attr(WGPEER_A_ENDPOINT, struct.pack(
            "=H2s4s8x", socket.AF_INET, struct.pack("!H", port), packed(host)))
    ips = []
    for address, length in map(split, allowed):
        ips.append(nest(0, attr(WGALLOWEDIP_A_FAMILY, u16(family_of(address))),
                        attr(WGALLOWEDIP_A_IPADDR, packed(address)),
                        attr(WGALLOWEDIP_A_CIDR_MASK, u8(length))))
    return nest(0, payload, nest(WGPEER_A_ALLOWEDIPS, *ips))


class Control:
    """Sockets of the namespace that the thread is in when this is made."""

    def __init__(self):
        self.route_socket = Netlink()
        self.genl = Netlink(NETLINK_GENERIC)
        self.families = {}

    def send(self, netlink, kind, flags, payload):
        """Send one request and return its error; a place to stand for fault injection."""
        return netlink.request(kind, flags, payload)[0]

    def family(self, name):
        """The id of a generic netlink family, which changes when its module is loaded again."""
        try:
            return genl_family(self.genl, name)[0]
        except FileNotFoundError:
            return None

    # --- routes and nexthops ---

    def route(self, flags, prefix, attributes, kind=RTN_UNICAST, source=None,
              protocol=RTPROT_BOOT):
        """Make a route, by ADD, REPLACE or APPEND; delete one by None."""
        # pylint: disable=too-many-arguments,too-many-positional-arguments
        address, length = split(prefix)
        source_length = 0
        if source:
            source, source_length = split(source)
            attributes += attr(RTA_SRC, packed(source))
        v4 = family_of(prefix) == socket.AF_INET
        direct = not any(k in (RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH, RTA_NH_ID)
                         for k, _ in attrs(attributes))
        scope = RT_SCOPE_UNIVERSE
        if v4 and flags is None:
            scope = RT_SCOPE_NOWHERE
        elif v4 and kind == RTN_UNICAST and direct:
            scope = RT_SCOPE_LINK
        header = struct.pack("=BBBBBBBBI", family_of(prefix), length, source_length, 0,
                             RT_TABLE_MAIN, protocol, scope, kind, 0)
        return self.send(self.route_socket, RTM_DELROUTE if flags is None else RTM_NEWROUTE,
                         flags or 0, header + attr(RTA_DST, packed(address)) + attributes)

    def get_route(self, address):
        """Ask for the way to an address; what it answers does not matter."""
        length = 8 * len(packed(address))
        return self.send(self.route_socket, RTM_GETROUTE, 0, struct.pack(
            "=BB10x", family_of(address), length) + attr(RTA_DST, packed(address)))

    def neighbour(self, dev, address, state):
        """Make a neighbour in a state."""
        return self.send(self.route_socket, RTM_NEWNEIGH, REPLACE, struct.pack(
            "=B3xiHBB", family_of(address), dev, state, 0, 0) + attr(NDA_DST, packed(address)))

    def nexthop(self, flags, ident, family, attributes):
        """Make a nexthop object; delete one by None."""
        header = struct.pack("=BBBBI", family, 0, RTPROT_BOOT if flags is not None else 0, 0, 0)
        return self.send(self.route_socket,
                         RTM_DELNEXTHOP if flags is None else RTM_NEWNEXTHOP,
                         flags or 0, header + attr(NHA_ID, u32(ident)) + attributes)

    @staticmethod
    def nexthop_key(dev, key):
        return (attr(NHA_OIF, u32(dev)) + attr(NHA_ENCAP_TYPE, u16(encap_type())) +
                nest(NHA_ENCAP, attr(RTA_WGPEER, key)))

    @staticmethod
    def nexthop_group(*idents):
        return attr(NHA_GROUP, b"".join(struct.pack("=IBBH", ident, 0, 0, 0) for ident in idents))

    @staticmethod
    def resilient_group(*idents):
        """A group whose buckets change their nexthop at once: they count as idle."""
        return (Control.nexthop_group(*idents) + attr(NHA_GROUP_TYPE, u16(NEXTHOP_GRP_TYPE_RES)) +
                nest(NHA_RES_GROUP, attr(NHA_RES_GROUP_BUCKETS, u16(16)),
                     attr(NHA_RES_GROUP_IDLE_TIMER, u32(0))))

    def dump(self, kind):
        """Every message of RTM_GETROUTE (both families) or RTM_GETNEXTHOP, sorted."""
        if kind == RTM_GETNEXTHOP:
            return sorted(body for _, body in self.route_socket.dump(kind, bytes(8)))
        return [sorted(body for _, body in
                       self.route_socket.dump(kind, struct.pack("=B11x", family)))
                for family in (socket.AF_INET, socket.AF_INET6)]

    # --- devices ---

    def add_device(self, name):
        return self.send(self.route_socket, RTM_NEWLINK, ADD, bytes(16) +
                         attr(IFLA_IFNAME, name.encode() + b"\0") +
                         nest(IFLA_LINKINFO, attr(IFLA_INFO_KIND, b"wireguard")))

    def del_device(self, name):
        return self.send(self.route_socket, RTM_DELLINK, 0, bytes(16) +
                         attr(IFLA_IFNAME, name.encode() + b"\0"))

    def set_up(self, name, up=True):
        return self.send(self.route_socket, RTM_NEWLINK, 0,
                         struct.pack("=BxHiII", 0, 0, 0, IFF_UP if up else 0, IFF_UP) +
                         attr(IFLA_IFNAME, name.encode() + b"\0"))

    def move_device(self, name, netns):
        with open(f"/run/netns/{netns}", "rb") as file:
            return self.send(self.route_socket, RTM_NEWLINK, 0, bytes(16) +
                             attr(IFLA_IFNAME, name.encode() + b"\0") +
                             attr(IFLA_NET_NS_FD, u32(file.fileno())))

    def add_address(self, dev, prefix):
        address, length = split(prefix)
        return self.send(self.route_socket, RTM_NEWADDR, REPLACE,
                         struct.pack("=BBBBI", family_of(prefix), length, 0, 0, dev) +
                         attr(IFA_LOCAL, packed(address)) + attr(IFA_ADDRESS, packed(address)) +
                         attr(IFA_FLAGS, u32(IFA_F_NODAD)))

    # --- WireGuard and wgvia ---

    def wg_set(self, name, *peers, private=None, port=None):
        payload = attr(WGDEVICE_A_IFNAME, name.encode() + b"\0")
        if private:
            payload += attr(WGDEVICE_A_PRIVATE_KEY, private)
        if port:
            payload += attr(WGDEVICE_A_LISTEN_PORT, u16(port))
        if peers:
            payload += nest(WGDEVICE_A_PEERS, *peers)
        return self._genl("wireguard", WG_CMD_SET_DEVICE, payload)

    def wgvia_set(self, name, mode=None, filter_=None, multicast=None):
        payload = attr(UAPI["WGVIA_A_DEVICE_IFNAME"], name.encode() + b"\0")
        if mode:
            payload += attr(UAPI["WGVIA_A_DEVICE_MODE"], u32(UAPI[f"WGVIA_MODE_{mode}"]))
        if filter_:
            payload += attr(UAPI["WGVIA_A_DEVICE_FILTER"], u32(UAPI[f"WGVIA_FILTER_{filter_}"]))
        if multicast is not None:
            payload += attr(UAPI["WGVIA_A_DEVICE_MULTICAST"], u8(multicast))
        return self._genl("wgvia", UAPI["WGVIA_CMD_DEVICE_SET"], payload)

    def wgvia_get(self, name):
        """Ask for one device; what it answers does not matter."""
        return self._genl("wgvia", UAPI["WGVIA_CMD_DEVICE_GET"],
                          attr(UAPI["WGVIA_A_DEVICE_IFNAME"], name.encode() + b"\0"))

    def wgvia_resolve(self, name, destination, source=None, key=None):
        """Ask about a packet; what it answers does not matter."""
        payload = attr(UAPI["WGVIA_A_RESOLVE_IFNAME"], name.encode() + b"\0")
        payload += attr(UAPI["WGVIA_A_RESOLVE_DESTINATION"], packed(destination))
        if source:
            payload += attr(UAPI["WGVIA_A_RESOLVE_SOURCE"], packed(source))
        if key:
            payload += attr(UAPI["WGVIA_A_RESOLVE_FROM"], key)
        return self._genl("wgvia", UAPI["WGVIA_CMD_RESOLVE"], payload)

    def genl_dump(self, name, command, attributes=b""):
        """The messages of a dump; raises OSError."""
        family = self.resolve(name)
        if family is None:
            raise OSError(errno.ENOENT, "no such family")
        try:
            return sorted(body for _, body in self.genl.dump(
                family, struct.pack("=BBxx", command, 1) + attributes))
        except OSError as err:
            if err.errno == errno.ENOENT:
                self.families.pop(name, None)
            raise

    def peers(self, name):
        """Each peer of a device with its AllowedIPs."""
        peers = {}
        if name not in (known for _, known in socket.if_nameindex()):
            return peers
        for body in self.genl_dump("wireguard", WG_CMD_GET_DEVICE,
                                   attr(WGDEVICE_A_IFNAME, name.encode() + b"\0")):
            for kind, payload in attrs(body[4:]):
                if kind & NLA_TYPE_MASK != WGDEVICE_A_PEERS:
                    continue
                for _, one in attrs(payload):
                    fields = {k & NLA_TYPE_MASK: v for k, v in attrs(one)}
                    ips = {v for _, v in attrs(fields.get(WGPEER_A_ALLOWEDIPS, b""))}
                    peers[fields[WGPEER_A_PUBLIC_KEY]] = frozenset(ips)
        return peers

    def wgvia_dump(self, what):
        """The attributes of each DEVICE or BINDING that wgvia has here."""
        return [dict(attrs(body[4:]))
                for body in self.genl_dump("wgvia", UAPI[f"WGVIA_CMD_{what}_GET"])]

    def inconsistent(self, name):
        """Return what wgvia says of the only device that does not fit the rest, or what else it
        says; empty if all does."""
        if not os.path.exists("/sys/module/wgvia"):
            return ""
        peers, total = self.peers(name), 0
        for fields in self.wgvia_dump("BINDING"):
            key = fields[UAPI["WGVIA_A_BINDING_KEY"]]
            total += number(fields[UAPI["WGVIA_A_BINDING_STATES"]])
            if (key in peers) != bool(number(fields[UAPI["WGVIA_A_BINDING_PRESENT"]])):
                return f"binding of {key.hex()}: present is wrong"
        counted = sum(number(fields[UAPI["WGVIA_A_DEVICE_STATES"]])
                      for fields in self.wgvia_dump("DEVICE"))
        return "" if counted == total else f"{counted} states, {total} in bindings"

    def left(self):
        """Return what wgvia counts or has bound in the namespace; empty if nothing."""
        bindings = [fields[UAPI["WGVIA_A_BINDING_KEY"]].hex()
                    for fields in self.wgvia_dump("BINDING")]
        states = sum(number(fields[UAPI["WGVIA_A_DEVICE_STATES"]])
                     for fields in self.wgvia_dump("DEVICE"))
        return f"{states} states, bindings: {' '.join(bindings)}" if states or bindings else ""

    def resolve(self, name):
        """The id of a family, found once."""
        if not self.families.get(name):
            self.families[name] = self.family(name)
        return self.families[name]

    def _genl(self, name, command, payload):
        family = self.resolve(name)
        if family is None:
            return errno.ENOENT
        error = self.send(self.genl, family, 0, struct.pack("=BBxx", command, 1) + payload)
        if error == errno.ENOENT:
            self.families.pop(name, None)
        return error
