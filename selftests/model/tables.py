# SPDX-License-Identifier: GPL-2.0
"""Random tables: what is drawn goes into a model, and into commands for ip, wg and wgvia."""

import ipaddress
import itertools
import random
from dataclasses import replace

from model.lab import (
    DEVICE, OTHER, OWN, PORTS, SOCKET_PORTS, VRF, VRF_SOCKET_PORT, new_key, run)
from model.model import REJECTS, Device, Fib, Nexthop, Route, Rule

MAIN, LOCAL = 254, 255
TABLES = MAIN, 100, 101
L3MDEV, L3MDEV_PREF = Rule(l3mdev=True), 1000
ABSENT = "x1", "x2"                     # peers that nobody has
MARKS, DSCPS = (0, 0, 1, 2, 3), (0, 0, 4)

# Where gateways are, on either device.
LINK = {4: ipaddress.ip_network("10.0.0.0/24"), 6: ipaddress.ip_network("fd00::/64")}
OTHER_LINK = {4: ipaddress.ip_network("203.0.113.0/24"),
              6: ipaddress.ip_network("2001:db8:9::/64")}
LINK_LOCAL = ipaddress.ip_network("fe80::/64")


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
        self.prefixes = {4: [LINK[4], self.local[4]], 6: [LINK[6], LINK_LOCAL, self.local[6]]}

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
            return OTHER_LINK[version][self.randint(1, 6)]
        if version == 6 and self.chance(0.3):
            return LINK_LOCAL[self.randint(1, 4)]
        return LINK[version][self.randint(1, 6)]


class Tables:
    """A model of the hub, and the commands that make the hub so."""

    def __init__(self, seed, lab):
        self.draw = Draw(seed)
        self.lab = lab
        self.keys = lab.keys | {name: new_key() for name in ABSENT}
        self.fib = Fib()
        self.device = Device(name=DEVICE, fib=self.fib, peers=set(lab.peers))
        self.tables = TABLES
        self.groups = {}        # id: {id of a nexthop object: weight}
        self.log = []
        self.ip = []            # (4, 6 or None, a command)
        # Every third has none, and draws what it drew before there were VRFs here.
        if seed % 3 == 1:
            lab.set_vrf()
        else:
            self.draw_vrf(seed % 3 == 0)
        # IPv4 routes may use IPv6 nexthop objects.
        for version in 6, 4:
            self.start(version)
            self.draw_rules(version)
            self.draw_objects(version)
            for _ in range(self.draw.randint(15, 30)):
                self.add_route(version)
        self.draw_allowed_ips()
        self.draw_settings()

    def start(self, version):
        # ip route flush fails where a route uses a nexthop object.
        self.add(version, "nexthop flush")
        self.add(version, "route flush table all proto boot")
        self.add(version, "rule flush proto boot")
        own = ipaddress.ip_network(OWN[version])
        for table in LOCAL, *self.tables:
            self.fib.tables[version, table] = []
        # The kernel has this one of the address.
        self.fib.tables[version, self.home(DEVICE, LOCAL)].append(
            Route(prefix=own, metric=0, kind="local", nexthops=(Nexthop(dev=DEVICE),)))
        self.put(LOCAL, Route(prefix=self.draw.local[version], metric=1, kind="local",
                              nexthops=(Nexthop(dev="lo"),)))
        for dev, link in (DEVICE, LINK), (OTHER, OTHER_LINK):
            self.put(self.home(dev), Route(prefix=link[version], metric=1,
                                           nexthops=(Nexthop(dev=dev),)))

    # --- a VRF -------------------------------------------------------------

    def draw_vrf(self, has_device):
        """A VRF that the WireGuard device is in, or one whose routes lead there all the same.
        More routes go into its table than into others."""
        table = self.draw.choice((100, 102))
        self.tables += (table, table)
        self.fib.vrfs[VRF] = table
        devices = [DEVICE] * has_device + [OTHER] * self.draw.chance(0.4)
        self.fib.master.update((dev, VRF) for dev in devices)
        self.log.append(f"VRF with table {table}, and in it: {' '.join(devices) or 'nothing'}")
        self.lab.set_vrf(table, devices)

    def home(self, dev, table=MAIN):
        """The table that has a device's connected and, with `table`, local routes."""
        return self.fib.vrfs[VRF] if dev in self.fib.master else table

    def add(self, version, *words):
        """A command for ip; None is of no family."""
        self.ip.append((version, " ".join(words)))

    def apply(self):
        """Run the commands that have come together."""
        for version, commands in itertools.groupby(self.ip, lambda command: command[0]):
            commands = [words for _, words in commands]
            ip = ["ip", f"-{version}"] if version else ["ip"]
            self.log += [" ".join([*ip, words]) for words in commands]
            run(*ip, "-batch", "-", text="\n".join(commands))
        self.ip = []

    def run(self, *command):
        self.log.append(" ".join(command))
        run(*command)

    # --- routes ------------------------------------------------------------

    def words_of_nexthop(self, version, nexthop):
        words = []
        if nexthop.gateway:
            words += ["via", "inet6"] if version != nexthop.gateway.version else ["via"]
            words.append(str(nexthop.gateway))
        words += ["dev", nexthop.dev]
        if nexthop.gateway:
            words.append("onlink")
        if nexthop.peer:
            words += ["via-wgpeer", self.keys[nexthop.peer]]
        return words

    def words_of_route(self, table, route):
        """(what says which route it is, the nexthops)"""
        version = route.prefix.version
        which = ["" if route.kind == "unicast" else route.kind, str(route.prefix)]
        if route.source:
            which += ["from", str(route.source)]
        which += ["table", str(table), "metric", str(route.metric)]
        if route.object:
            return which, ["nhid", str(route.object)]
        if len(route.nexthops) == 1:
            return which, self.words_of_nexthop(version, route.nexthops[0])
        return which, [word for nexthop in route.nexthops for word in (
            "nexthop", *self.words_of_nexthop(version, nexthop), "weight", str(nexthop.weight))]

    def put(self, table, route, command="add"):
        which, nexthops = self.words_of_route(table, route)
        self.add(route.prefix.version, "route", command, *which, *nexthops)
        self.fib.tables[route.prefix.version, table].append(route)

    def remove(self, table, route, command=True):
        self.fib.tables[route.prefix.version, table].remove(route)
        if command:
            which, _ = self.words_of_route(table, route)
            self.add(route.prefix.version, "route", "del", *which)

    def draw_nexthop(self, version, definite=False):
        """`definite` is what IPv6 wants in a multipath route: a gateway or a peer."""
        dev = OTHER if self.draw.chance(0.2) else DEVICE
        kind = self.draw.weighted(peer=9, gateway=7, both=2, link=0 if definite else 3)
        if dev == OTHER and kind != "link":
            kind = "gateway"
        over = 6 if version == 4 and self.draw.chance(0.3) else version
        return Nexthop(
            dev=dev, gateway=self.draw.gateway(over, dev) if kind in ("gateway", "both") else None,
            peer=self.draw.choice(self.lab.peers * 3 + list(ABSENT))
            if kind in ("peer", "both") else None)

    def draw_nexthops(self, version, kind):
        if kind == "single":
            return (self.draw_nexthop(version),)
        return tuple(replace(self.draw_nexthop(version, version == 6),
                             weight=self.draw.randint(1, 3))
                     for _ in range(self.draw.randint(2, 4)))

    def draw_route(self, version, prefix, metric, source):
        # The kernel knows no source-specific routes with nexthop objects.
        kind = self.draw.weighted(single=11, multipath=3, object=0 if source else 3, reject=2,
                                  throw=1, local=1)
        route = Route(prefix=prefix, metric=metric, source=source)
        if kind == "reject":
            return replace(route, kind=self.draw.choice(REJECTS))
        if kind == "throw":
            return replace(route, kind="throw")
        if kind == "local":
            dev = self.draw.choice((DEVICE, "lo"))
            return replace(route, kind="local", nexthops=(Nexthop(dev=dev),))
        if kind == "object":
            ids = [number for number in self.fib.objects if version == 4 or number < 100]
            number = self.draw.choice(ids)
            if version == 6 and self.may_be_mistaken(prefix, number):
                return replace(route, kind="unreachable")
            return replace(route, object=number)
        return replace(route, nexthops=self.draw_nexthops(version, kind))

    def members(self, number):
        return set(self.groups.get(number, {number}))

    def may_be_mistaken(self, prefix, number):
        """IPv6 keeps the dst that it has made for a route with the nexthop object, and takes it
        for each route that uses the object: a rule may suppress by the prefix of another one."""
        return any(
            route.object and self.members(route.object) & self.members(number)
            and (route.prefix.prefixlen > rule.suppress) != (prefix.prefixlen > rule.suppress)
            for rule in self.fib.rules[6] if rule.suppress >= 0
            for (version, _), routes in self.fib.tables.items() if version == 6
            for route in routes)

    def is_refused(self, table, route):
        """The kernel wants an IPv6 gateway to be on the device, and looks in the main table, or,
        and for IPv4 too, in that of the device's VRF; it wants each nexthop of a multipath route
        once. (And it does not find a route whose prefix has source-specific ones beside it: that
        is as if refused.)"""
        if any(other.prefix == route.prefix and bool(other.source) != bool(route.source)
               for other in self.fib.tables[route.prefix.version, table]):
            return True
        nexthops = self.fib.nexthops(route)
        if len({replace(nexthop, weight=1) for nexthop in route.nexthops}) < len(route.nexthops):
            return True
        version = route.prefix.version
        return any(
            table == self.home(dev, MAIN if version == 6 else None)
            and route.prefix.subnet_of(link[version])
            and (route.kind == "local" or any(nexthop.dev != dev for nexthop in nexthops))
            for link, dev in ((LINK, DEVICE), (OTHER_LINK, OTHER)))

    def add_route(self, version):
        while True:
            table = self.draw.choice(self.tables)
            others = self.fib.tables[version, table]
            if others and self.draw.chance(0.2):
                # The same prefix with another metric
                prefix = self.draw.choice(others).prefix
            else:
                prefix = self.draw.prefix(version)
            source = None
            if version == 6 and self.draw.chance(0.15):
                source = self.draw.source_prefix(6)
            metric = self.draw.randint(2, 9)
            route = self.draw_route(version, prefix, metric, source)
            if not self.is_refused(table, route) and not any(
                    (other.prefix, other.metric, other.source) == (prefix, metric, source)
                    for other in others):
                return self.put(table, route)

    def replace_route(self, version):
        table = self.draw.choice(self.tables)
        routes = [route for route in self.fib.tables[version, table] if route.metric > 1]
        if routes:
            old = self.draw.choice(routes)
            new = self.draw_route(version, old.prefix, old.metric, old.source)
            if not self.is_refused(table, new):
                self.remove(table, old, command=False)
                self.put(table, new, "replace")

    def remove_route(self, version):
        table = self.draw.choice(self.tables)
        routes = [route for route in self.fib.tables[version, table] if route.metric > 1]
        if routes:
            self.remove(table, self.draw.choice(routes))

    # --- nexthop objects ---------------------------------------------------

    def put_object(self, version, number, nexthops, command="add"):
        """Of IPv6: numbers below 100. Without nexthops it is a blackhole."""
        words = self.words_of_nexthop(version, nexthops[0]) if nexthops else ["blackhole"]
        self.add(version, "nexthop", command, "id", str(number), *words)
        self.fib.objects[number] = nexthops
        self.update_groups()

    def put_group(self, number, members, *kind):
        group = "/".join(f"{member},{weight}" for member, weight in members.items())
        self.add(None, "nexthop", "add", "id", str(number), "group", group, *kind)
        self.groups[number] = members
        self.update_groups()

    def update_groups(self):
        for number, members in self.groups.items():
            self.fib.objects[number] = tuple(
                replace(self.fib.objects[member][0], weight=weight)
                for member, weight in members.items())

    def draw_objects(self, version):
        first = 100 if version == 4 else 1
        singles = range(first, first + 5)
        for number in singles:
            # An object is of the family of its gateway.
            nexthop = self.draw_nexthop(version)
            while nexthop.gateway and nexthop.gateway.version != version:
                nexthop = self.draw_nexthop(version)
            self.put_object(version, number, (nexthop,))
        self.put_object(version, first + 5, ())
        self.put_group(first + 6, self.draw_members(singles))
        self.put_group(first + 7, self.draw_members(singles), "type", "resilient", "buckets", "16")

    def draw_members(self, singles):
        return {member: self.draw.randint(1, 3)
                for member in self.draw.sample(singles, self.draw.randint(2, 3))}

    def replace_object(self):
        version = self.draw.choice((4, 6))
        first = 100 if version == 4 else 1
        number = self.draw.choice(range(first, first + 5))
        old, = self.fib.objects[number]
        while True:
            new = self.draw_nexthop(version)
            if new.dev == old.dev and (not new.gateway or new.gateway.version == version):
                return self.put_object(version, number, (new,), "replace")

    # --- rules -------------------------------------------------------------

    def put_rule(self, version, rule):
        words = ["not"] if rule.invert else []
        first = L3MDEV_PREF if L3MDEV in (rule, *self.fib.rules[version]) else 100
        words += ["proto", "boot", "pref", str(first + len(self.fib.rules[version]))]
        for word, value in (
                ("from", rule.source), ("to", rule.to), ("iif", rule.iif), ("oif", rule.oif),
                ("dscp", rule.dscp), ("sport", rule.sport), ("dport", rule.dport)):
            if value is not None:
                words += [word, str(value)]
        if rule.mark:
            words += ["fwmark", f"{rule.mark[0]}/{rule.mark[1]}"]
        if rule.l3mdev:
            words.append("l3mdev")
        else:
            words += ["table", str(rule.table)] if rule.table else ["blackhole"]
        if rule.suppress >= 0:
            words += ["suppress_prefixlength", str(rule.suppress)]
        self.add(version, "rule", "add", *words)
        self.fib.rules[version].append(rule)

    def has_rules(self, version):
        """Others than those that every namespace has?"""
        return len(self.fib.rules[version]) > 2

    def draw_rules(self, version):
        self.fib.rules[version] = [Rule(table=LOCAL)]
        if self.draw.chance(0.25):
            # As wg-quick does
            self.put_rule(version, Rule(mark=(1, 0xffffffff), invert=True, table=100))
            self.put_rule(version, Rule(table=MAIN, suppress=0))
        count = self.draw.randint(0, 4)
        to_vrf = self.draw.randint(0, count) if self.fib.vrfs else None
        for number in range(count + 1):
            if number == to_vrf:
                self.draw_rules_to_vrf(version)
            if number < count:
                self.put_rule(version, self.draw_rule(version))
        self.fib.rules[version].append(Rule(table=MAIN))

    def draw_rules_to_vrf(self, version):
        if self.draw.chance(0.8):
            return self.put_rule(version, L3MDEV)
        # As there were before that one
        self.put_rule(version, Rule(oif=VRF, table=self.fib.vrfs[VRF]))
        return self.put_rule(version, Rule(iif=VRF, table=self.fib.vrfs[VRF]))

    def draw_rule(self, version):
        draw = self.draw
        selectors = {
            "mark": (draw.choice(MARKS), draw.choice((0xffffffff, 1))),
            "source": draw.source_prefix(version), "to": draw.prefix(version, 1),
            "dscp": draw.choice(DSCPS[2:]), "dport": draw.choice(PORTS),
            "sport": draw.choice(SOCKET_PORTS), "iif": draw.choice(("lo", "lo", DEVICE)),
            "oif": DEVICE,
        }
        if self.fib.vrfs:
            selectors["iif"] = draw.choice((selectors["iif"], VRF))
            selectors["oif"] = draw.choice((DEVICE, VRF))
            selectors["sport"] = draw.choice((*SOCKET_PORTS, VRF_SOCKET_PORT))
        chosen = draw.choices(list(selectors), (4, 4, 2, 1, 1, 1, 2, 1), k=draw.randint(1, 2))
        rule = Rule(**{name: selectors[name] for name in chosen}, invert=draw.chance(0.2))
        if draw.chance(0.1):
            return rule
        return replace(rule, table=draw.choice(self.tables),
                       suppress=draw.choice((0, 1, 8, 16)) if draw.chance(0.25) else -1)

    # --- WireGuard and wgvia -----------------------------------------------

    def draw_allowed_ips(self):
        """Each peer has addresses that may be gateways, and prefixes."""
        self.device.allowed_ips = {}
        peers = sorted(self.device.peers)
        for version in 4, 6:
            for peer in peers:
                for _ in range(self.draw.randint(0, 2)):
                    gateway = ipaddress.ip_network(self.draw.gateway(version, DEVICE))
                    self.device.allowed_ips[gateway] = peer
                for _ in range(self.draw.randint(0, 3)):
                    self.device.allowed_ips[self.draw.prefix(version)] = peer
        words = []
        for peer in peers:
            words += ["peer", self.keys[peer], "allowed-ips", ",".join(
                str(prefix) for prefix, owner in self.device.allowed_ips.items()
                if owner == peer)]
        self.run("wg", "set", DEVICE, *words)

    def draw_settings(self):
        self.device.mode = self.draw.weighted(on=10, auto=7, off=2)
        self.device.filter = self.draw.weighted(device=5, strict=5, none=1)
        self.run("wgvia", "set", DEVICE, "mode", self.device.mode, "filter", self.device.filter)

    def remove_peer(self):
        peer = self.draw.choice(sorted(self.device.peers))
        self.device.peers.remove(peer)
        self.run("wg", "set", DEVICE, "peer", self.keys[peer], "remove")

    def nexthops(self):
        """How many nexthops of the kernel name a peer: an IPv4 route shares those of another
        that differs in the prefix alone."""
        lists = [route.nexthops for (version, _), table in self.fib.tables.items()
                 for route in table if version == 6]
        lists += {(table, route.metric, route.nexthops): route.nexthops
                  for (version, table), routes in self.fib.tables.items()
                  for route in routes if version == 4}.values()
        lists += [nexthops for number, nexthops in self.fib.objects.items()
                  if number not in self.groups]
        return sum(1 for nexthops in lists for nexthop in nexthops if nexthop.peer)

    def change(self):
        """Change a few things."""
        for _ in range(self.draw.randint(3, 8)):
            version = self.draw.choice((4, 6))
            change = self.draw.weighted(add=3, replace=3, remove=3, object=2, allowed_ips=1,
                                        settings=1, peer=0.5)
            if change == "add":
                self.add_route(version)
            elif change == "replace":
                self.replace_route(version)
            elif change == "remove":
                self.remove_route(version)
            elif change == "object":
                self.replace_object()
            elif change == "allowed_ips":
                self.draw_allowed_ips()
            elif change == "settings":
                self.draw_settings()
            elif len(self.device.peers) > 2:
                self.remove_peer()
        self.apply()
