# SPDX-License-Identifier: GPL-2.0
"""Prefixes, peers and devices of the measurements."""

import base64
import collections.abc
import ipaddress
import random
import subprocess

import rtnl

# Lengths of prefixes and how often each is met, roughly as on the Internet.
LENGTHS = {
    4: {24: 60, 23: 10, 22: 12, 21: 6, 20: 5, 19: 3, 18: 2, 17: 1, 16: 1},
    6: {48: 50, 44: 10, 40: 12, 36: 6, 32: 16, 46: 6},
}
# The space of the prefixes; not where the peers' own addresses are
SPACE = {4: ("16.0.0.0", "120.0.0.0"), 6: ("2a00::", "2c00::")}
NEXTHOPS = 16
ALLOWEDIPS, ROUTES = "wga", "wgr"


def run(*words, text=None):
    subprocess.run(words, check=True, input=text, text=True)


def set_up(*devices):
    """Make the devices. Packets would leave by ROUTES."""
    for device in devices:
        run("ip", "link", "add", device, "type", "wireguard")
    run("ip", "address", "add", "10.0.255.254/16", "dev", ROUTES)
    run("ip", "address", "add", "fd00::1/64", "dev", ROUTES, "nodad")
    run("ip", "link", "set", ROUTES, "up")


def tear_down(*devices):
    for device in devices:
        run("ip", "link", "del", device)


class Table(collections.abc.Sequence):
    """Prefixes: the address of each, packed, and its length.

    They lie in one piece, and what is made of many of them is made one by one: a guest of
    User-mode Linux hangs where a process of it has more than vm.max_map_count of the host
    (65,530) pages that do not follow each other in the guest's memory.
    """

    def __init__(self, version, packed):
        self.version, self.packed = version, packed
        self.size = 5 if version == 4 else 17

    def __len__(self):
        return len(self.packed) // self.size

    def __getitem__(self, number):
        if not 0 <= number < len(self):
            raise IndexError(number)
        start, end = number * self.size, (number + 1) * self.size
        return self.packed[start:end - 1], self.packed[end - 1]

    def part(self, start, end):
        """Return the prefixes from one number to another as a table."""
        return Table(self.version, self.packed[start * self.size:end * self.size])


def prefixes(version, count):
    """Return so many different prefixes, the same ones each time."""
    bits = 32 if version == 4 else 128
    size = bits // 8 + 1
    low, high = (int(ipaddress.ip_address(text)) for text in SPACE[version])
    if count == 1:
        return Table(version, (low << 8 | (16 if version == 4 else 32)).to_bytes(size, "big"))
    draw = random.Random(version)
    lengths = bytes(draw.choices(*zip(*LENGTHS[version].items()), k=2 * count))
    found, packed = set(), bytearray()
    for length in lengths:
        host = bits - length
        entry = draw.randrange(low >> host, high >> host) << host + 8 | length
        if entry not in found:
            found.add(entry)
            packed += entry.to_bytes(size, "big")
        if len(found) == count:
            break
    return Table(version, bytes(packed))


def addresses(table, count, repeated):
    """Return so many addresses in the prefixes, packed one behind the other, at random or
    one of them again and again.
    """
    draw = random.Random(count)
    bits = 32 if table.version == 4 else 128

    def one():
        address, length = draw.choice(table)
        # Neither the network's own address nor its broadcast address
        return (int.from_bytes(address, "big") +
                draw.randrange(1, (1 << bits - length) - 1)).to_bytes(bits // 8, "big")

    return one() * count if repeated else b"".join(one() for _ in range(count))


class Peers:
    """The peers of both devices, by number: keys and neighbour addresses."""

    def __init__(self, count):
        draw = random.Random(count)
        self.keys = [draw.randbytes(32) for _ in range(count)]

    def __len__(self):
        return len(self.keys)

    @staticmethod
    def address(version, number):
        first = ipaddress.ip_address("10.0.0.2" if version == 4 else "fd00::2")
        return first + number

    def configure(self, device, allowed_ips):
        """Give the device these peers alone. The function gives the AllowedIPs of each."""
        lines = []
        for number, key in enumerate(self.keys):
            lines += ["[Peer]", f"PublicKey = {base64.b64encode(key).decode()}"]
            lines += [f"AllowedIPs = {ips}" for ips in allowed_ips(number)]
        run("wg", "setconf", device, "/dev/stdin", text="\n".join(lines) + "\n")

    def hosts(self, number):
        """Return AllowedIPs of a peer that has nothing but its neighbour addresses."""
        return [f"{self.address(4, number)}/32", f"{self.address(6, number)}/128"]

    def shares(self, table):
        """Return a function that gives each peer its share of the prefixes, for configure()."""
        family = ipaddress.IPv4Address if table.version == 4 else ipaddress.IPv6Address

        def share(number):
            for address, length in map(table.__getitem__,
                                       range(number, len(table), len(self.keys))):
                yield f"{family(address)}/{length}"
        return share


class Nexthops:
    """Return the nexthops of routes: a peer each, by key or by gateway."""

    def __init__(self, version, way, oif, peers):
        self.version, self.way, self.oif, self.peers = version, way, oif, peers

    def of_route(self, number):
        """Return the attributes of a route to a peer."""
        if self.way == "key":
            return rtnl.by_key(self.oif, self.peers.keys[number])
        return rtnl.by_gateway(self.oif, self.peers.address(self.version, number).packed)

    def object(self, ident, number, flags=rtnl.NLM_F_CREATE):
        """Return a request for a nexthop object that leads to a peer."""
        if self.way == "key":
            attributes = rtnl.nexthop_by_key(self.oif, self.peers.keys[number])
        else:
            address = self.peers.address(self.version, number).packed
            attributes = rtnl.nexthop_by_gateway(self.oif, address)
        return rtnl.nexthop(ident, self.version, attributes, flags)

    def objects(self):
        """Return requests for an object for each peer; its number is the peer's and 1."""
        return [self.object(number + 1, number) for number in range(len(self.peers))]

    def groups(self):
        """Return requests for a group around each peer; its number is that of the peer's
        object and 100,000.
        """
        count = len(self.peers)
        return [rtnl.group(100001 + number,
                           [(number + i - NEXTHOPS // 2) % count + 1 for i in range(NEXTHOPS)])
                for number in range(count)]

    def deletions(self):
        """Return requests to delete the groups and the objects."""
        numbers = range(1, len(self.peers) + 1)
        return [rtnl.delete_nexthop(first + number)
                for first in (100000, 0) for number in numbers]

    def routes(self, kind, table, attributes):
        """Return requests for routes for the prefixes, in place of those that there are, each with
        the attributes of its peer.
        """
        each = [attributes(number) for number in range(len(self.peers))]
        return (rtnl.route(kind, prefix, each[i % len(each)],
                           rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE)
                for i, prefix in enumerate(table))
