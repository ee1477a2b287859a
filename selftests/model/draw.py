# SPDX-License-Identifier: GPL-2.0
"""Random choices that the tables and the packets of a round share."""

import ipaddress
import random

from model.lab import OTHER, OWN

MARKS, DSCPS = (0, 0, 1, 2, 3), (0, 0, 4)

# Where gateways are, on either device.
LINK = {4: ipaddress.ip_network("10.0.0.0/24"), 6: ipaddress.ip_network("fd00::/64")}
OTHER_LINK = {4: ipaddress.ip_network("203.0.113.0/24"),
              6: ipaddress.ip_network("2001:db8:9::/64")}
LINK_LOCAL = ipaddress.ip_network("fe80::/64")
NEAR = ipaddress.ip_network("fe80::/125")
GATEWAYS = range(1, 7)


class Draw(random.Random):
    """Prefixes that overlap, and addresses at their edges."""

    def __init__(self, seed):
        super().__init__(seed)
        far = {4: [self.choice((11, 64, 100, 172, 192)) << 24 | self.getrandbits(24)
                   for _ in range(2)],
               6: [self.choice((0x2001, 0x2a02, 0xfd12)) << 112 | self.getrandbits(112)
                   for _ in range(2)]}
        # Local to the hub: what its sockets send from, most of the time.
        self.local = {4: ipaddress.ip_network((far[4][0], 24), strict=False),
                      6: ipaddress.ip_network((far[6][0], 64), strict=False)}
        self.sources = {version: [OWN[version], *(self.inside(prefix) for _ in range(3))]
                        for version, prefix in self.local.items()}
        # Prefixes lie along these addresses, for the most part.
        self.trunks = {version: [*map(ipaddress.ip_address, far[version]),
                                 self.inside(LINK[version])] for version in LINK}
        self.prefixes = {4: [LINK[4], self.local[4]],
                         6: [LINK[6], LINK_LOCAL, NEAR, self.local[6]]}

    def chance(self, probability):
        return self.random() < probability

    def weighted(self, **weights):
        return self.choices(list(weights), list(weights.values()))[0]

    def inside(self, prefix):
        return prefix[self.randrange(prefix.num_addresses)]

    def prefix(self, version, shortest=0):
        trunk = self.choice(self.trunks[version])
        length = self.randint(shortest, trunk.max_prefixlen)
        value = int(trunk)
        if length > shortest and self.chance(0.3):
            # Leaves the trunk at a bit of the prefix
            value ^= 1 << trunk.max_prefixlen - self.randint(shortest + 1, length)
        prefix = ipaddress.ip_network((value, length), strict=False)
        self.prefixes[version].append(prefix)
        return prefix

    def link_local_prefix(self):
        """Of one address, for the most part"""
        prefix = ipaddress.ip_network(
            (self.inside(NEAR), self.choice((10, 64, 126, 128, 128, 128, 128))), strict=False)
        self.prefixes[6].append(prefix)
        return prefix

    def source_prefix(self, version):
        """Long enough not to hold the unspecified address, which no source is."""
        shortest = {4: 8, 6: 16}[version]
        if self.chance(0.3):
            return self.prefix(version, shortest)
        source = self.choice(self.sources[version])
        length = self.randint(shortest, source.max_prefixlen)
        return ipaddress.ip_network((source, length), strict=False)

    def address(self, version):
        """In a prefix that has been drawn, or just outside."""
        prefix = self.choice(self.prefixes[version])
        address = self.choice((prefix[0], prefix[-1], self.inside(prefix), self.inside(prefix)))
        if prefix.prefixlen and self.chance(0.15):
            return type(address)(int(address) ^ 1 << address.max_prefixlen - prefix.prefixlen)
        return address

    def gateway(self, version, dev):
        """One of few, so that AllowedIPs and host routes are about the same."""
        if dev == OTHER:
            return OTHER_LINK[version][self.choice(GATEWAYS)]
        if version == 6 and self.chance(0.3):
            return LINK_LOCAL[self.choice(GATEWAYS[:4])]
        return LINK[version][self.choice(GATEWAYS)]
