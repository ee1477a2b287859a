# SPDX-License-Identifier: GPL-2.0
"""Random tables: what is drawn goes into a model, and into commands for ip, wg and wgvia."""

import ipaddress
import itertools
import time
from dataclasses import replace

from lib import is_stock
from model.draw import GATEWAYS, LINK, LINK_LOCAL, OTHER_LINK, Draw
from model.lab import DEVICE, OTHER, OWN, TIMEOUT, VRF, new_key, run
from model.model import REJECTS, Device, Fib, Nexthop, Route, has_broadcast
from model.rules import LOCAL, MAIN, draw_rules, words_of_rule

TABLES = MAIN, 100, 101
ABSENT = "x1", "x2"                     # peers that nobody has
DSCP = 4                                # of routes that have one


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
        # Only then can wgvia be off.
        self.keyless = self.draw.chance(0.12)
        lab.remove_addresses()
        # At once: mode off is refused while a route of the last round names a peer.
        for version in 6, 4:
            self.flush(version)
        self.apply()
        # Every third has none.
        if seed % 3 == 1:
            lab.set_vrf()
        else:
            self.draw_vrf(seed % 3 == 0)
        # IPv4 routes may use IPv6 nexthop objects.
        for version in 6, 4:
            self.start(version)
            self.draw_addresses(version)
            self.fib.rules[version] = draw_rules(
                self.draw, version, self.tables, self.fib.vrfs.get(VRF))
            # The first and the last are there.
            for number in range(1, len(self.fib.rules[version]) - 1):
                self.add(version, "rule add", *words_of_rule(self.fib.rules[version], number))
            self.draw_objects(version)
            for _ in range(self.draw.randint(15, 30)):
                self.add_route(version)
        self.draw_allowed_ips()
        self.draw_settings()

    def flush(self, version):
        # ip route flush fails where a route uses a nexthop object.
        self.add(version, "nexthop flush")
        self.add(version, "route flush table all proto boot")
        self.add(version, "rule flush proto boot")

    def start(self, version):
        for table in LOCAL, *self.tables:
            self.fib.tables[version, table] = []
        self.note_address(DEVICE, ipaddress.ip_interface(OWN[version]))
        self.put(LOCAL, Route(prefix=self.draw.local[version], metric=1, kind="local",
                              nexthops=(Nexthop(dev="lo"),)))
        for dev, link in (DEVICE, LINK), (OTHER, OTHER_LINK):
            self.put(self.home(dev), Route(prefix=link[version], metric=1,
                                           nexthops=(Nexthop(dev=dev),)))

    # --- addresses of the hub ----------------------------------------------

    def draw_addresses(self, version):
        """Some on each device, in no gateway's place. None brings a route to its subnet."""
        longest = 32 if version == 4 else 128
        for dev in DEVICE, DEVICE, OTHER, "lo", *self.fib.vrfs:
            link = LINK[version] if dev == DEVICE and self.draw.chance(0.3) else None
            address = self.draw.inside(link or self.draw.prefix(version, longest // 4))
            if version == 6 and dev in (DEVICE, OTHER) and self.draw.chance(0.4):
                address = LINK_LOCAL[self.draw.choice((6, 7))]
            length = longest if dev == "lo" else self.draw.choice((longest, longest * 3 // 4))
            own = ipaddress.ip_interface((address, length))
            if self.draw.chance(0.5) and self.is_free(dev, own):
                self.add(version, "address add", str(own), "dev", dev, "noprefixroute")
                self.lab.addresses.append((dev, own))
                self.draw.prefixes[version] += [own.network, ipaddress.ip_network(address)]
                self.note_address(dev, own)

    def is_free(self, dev, own):
        addresses = own.ip, own.network[0], own.network.broadcast_address
        gateways = [link[own.version][number] for link in (LINK, OTHER_LINK)
                    for number in GATEWAYS]
        return not (
            set(addresses) & {*gateways, *(other.ip for _, other in self.fib.addresses)}
            or any(addr.is_multicast or addr.is_loopback or addr.packed[0] in (0, 255)
                   for addr in addresses)
            or any((there, other.network) == (dev, own.network)
                   for there, other in self.fib.addresses))

    def note_address(self, dev, own):
        """The kernel adds the routes that are local."""
        self.fib.addresses.append((dev, own))
        local = {own.ip: "local"}
        if has_broadcast(own):
            local[own.network.broadcast_address] = "broadcast"
        self.fib.tables[own.version, self.home(dev, LOCAL)] += [
            Route(prefix=ipaddress.ip_network(address), metric=0, kind=kind,
                  nexthops=(Nexthop(dev=dev),)) for address, kind in local.items()]

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
        return self.fib.vrfs[VRF] if self.fib.vrf(dev) else table

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

    @staticmethod
    def refused(*command, says):
        """Run a command that has to fail; return `says` if its error has that, else all of it."""
        try:
            run(*command)
        except OSError as err:
            return says if says in str(err) else str(err)
        return "nothing"

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
        if route.dscp:
            which += ["tos", hex(route.dscp << 2)]
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
        """`definite` is what IPv6 wants in a multipath route: a gateway or, with wgvia/0002, a
        peer."""
        dev = OTHER if self.draw.chance(0.2) else DEVICE
        kind = self.draw.weighted(
            peer=0 if self.keyless or definite and is_stock() else 9,
            both=0 if self.keyless else 2, gateway=7, link=0 if definite else 3)
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

    def draw_route(self, prefix, metric, source=None, dscp=0):
        version = prefix.version
        # The kernel knows no source-specific routes with nexthop objects.
        kind = self.draw.weighted(single=11, multipath=3, object=0 if source else 3, reject=2,
                                  throw=1, local=1)
        route = Route(prefix=prefix, metric=metric, source=source, dscp=dscp)
        if kind == "reject":
            return replace(route, kind=self.draw.choice(REJECTS))
        if kind == "throw":
            return replace(route, kind="throw")
        if kind == "local":
            # A lookup of IPv4 ends there even if it is for unicast routes on the device.
            dev = self.draw.choice((DEVICE, "lo")) if version == 6 else "lo"
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
        and for IPv4 too, in that of the device's VRF, and does not mind a default route; it wants
        each nexthop of a multipath route once. (And it does not find a route whose prefix has
        source-specific ones beside it: that is as if refused.)"""
        if any(other.prefix == route.prefix and bool(other.source) != bool(route.source)
               for other in self.fib.tables[route.prefix.version, table]):
            return True
        nexthops = self.fib.nexthops(route)
        if len({replace(nexthop, weight=1) for nexthop in route.nexthops}) < len(route.nexthops):
            return True
        version = route.prefix.version
        return any(
            table == self.home(dev, MAIN if version == 6 else None)
            and (route.prefix.subnet_of(link) or link == LINK_LOCAL and route.prefix.prefixlen
                 and route.prefix.overlaps(link))
            and (route.kind == "local" or any(nexthop.dev != dev for nexthop in nexthops))
            for link, dev in ((LINK[version], DEVICE), (OTHER_LINK[version], OTHER),
                              *[(LINK_LOCAL, DEVICE)] * (version == 6)))

    def add_route(self, version):
        while True:
            table = self.draw.choice(self.tables)
            others = self.fib.tables[version, table]
            alike = self.draw.weighted(other=7, here=2, anywhere=2)
            if alike == "here" and others:
                # The same prefix with another metric
                prefix = self.draw.choice(others).prefix
            elif alike == "anywhere":
                # The same prefix, maybe in another table
                prefix = self.draw.choice([
                    route.prefix for there in self.tables
                    for route in self.fib.tables[version, there]] or [LINK[version]])
            elif version == 6 and self.draw.chance(0.15):
                prefix = self.draw.link_local_prefix()
            else:
                prefix = self.draw.prefix(version)
            source, dscp = None, 0
            if self.draw.chance(0.15):
                source, dscp = (None, DSCP) if version == 4 else (self.draw.source_prefix(6), 0)
            metric = self.draw.randint(2, 9)
            route = self.draw_route(prefix, metric, source, dscp)
            if not self.is_refused(table, route) and not any(
                    (other.prefix, other.metric, other.source, other.dscp)
                    == (prefix, metric, source, dscp) for other in others):
                return self.put(table, route)

    def replace_route(self, version):
        table = self.draw.choice(self.tables)
        routes = [route for route in self.fib.tables[version, table] if route.metric > 1]
        if routes:
            old = self.draw.choice(routes)
            new = self.draw_route(old.prefix, old.metric, old.source, old.dscp)
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

    def has_rules(self, version):
        """Others than those that every namespace has?"""
        return len(self.fib.rules[version]) > 2

    # --- WireGuard and wgvia -----------------------------------------------

    def draw_allowed_ips(self):
        """Each peer has addresses that may be gateways, or anything, and prefixes."""
        self.device.allowed_ips = {}
        peers = sorted(self.device.peers)
        for version in 4, 6:
            for peer in peers:
                hosts = [self.draw.gateway(version, DEVICE)
                         for _ in range(self.draw.randint(0, 2))]
                hosts += [self.draw.address(version) for _ in range(self.draw.randint(0, 2))]
                prefixes = [ipaddress.ip_network(host) for host in hosts]
                self.draw.prefixes[version] += prefixes
                prefixes += [self.draw.prefix(version) for _ in range(self.draw.randint(0, 3))]
                if self.draw.chance(0.2):
                    prefixes.append(ipaddress.ip_network("0.0.0.0/0" if version == 4 else "::/0"))
                self.device.allowed_ips.update(dict.fromkeys(prefixes, peer))
        words = []
        for peer in peers:
            words += ["peer", self.keys[peer], "allowed-ips", ",".join(
                str(prefix) for prefix, owner in self.device.allowed_ips.items()
                if owner == peer)]
        self.run("wg", "set", DEVICE, *words)

    def draw_settings(self):
        self.set_mode(self.draw.weighted(on=10, auto=9, off=20 * self.keyless))
        self.set_filter(self.draw.weighted(device=5, strict=4, loose=4, none=1))

    def set_mode(self, mode):
        """A dst keeps the key of a route that is gone, and mode off is refused meanwhile."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                self.run("wgvia", "set", DEVICE, "mode", mode)
                break
            except OSError:
                if mode != "off" or time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self.device.mode = mode

    def set_filter(self, name):
        self.run("wgvia", "set", DEVICE, "filter", name)
        self.device.filter = name

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
