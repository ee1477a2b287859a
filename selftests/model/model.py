# SPDX-License-Identifier: GPL-2.0
"""The rule on a page: a model of which peer a packet goes to, and may come from.

Written from the design, from ip-route(8), ip-rule(8), ip-nexthop(8) and ip-vrf(8),
and from the kernel's Documentation/networking/vrf.rst, to be compared with what a
kernel does. It is meant to be seen to be right, and so knows no speed. Addresses
and prefixes are those of ipaddress; devices, VRFs, peers and counters have names.

Fib is routing as every Linux has it, Device is WireGuard with wgvia: send() and
receive() are the rule.
"""

import ipaddress
from dataclasses import dataclass, field, replace
from functools import partial

REJECTS = ("blackhole", "unreachable", "prohibit")

named = partial(dataclass, frozen=True, kw_only=True)


def is_link_local(addr):
    return addr.version == 6 and addr.is_link_local


def has_broadcast(own):
    """Has the subnet of this address a broadcast address?"""
    return own.version == 4 and own.network.prefixlen < 31


@named()
class Nexthop:
    dev: str
    gateway: object = None
    peer: str = None            # that via-wgpeer names
    weight: int = 1


@named()
class Route:
    prefix: object
    metric: int
    kind: str = "unicast"
    nexthops: tuple = ()
    object: int = None          # id of a nexthop object, in place of nexthops
    source: object = None       # source-specific (IPv6): a prefix
    dscp: int = 0               # "tos" (IPv4): for packets with this DSCP alone

    def order(self):
        """Of the routes of a table that hold an address, the least is taken."""
        return (-self.prefix.prefixlen, -self.source.prefixlen if self.source else 0, -self.dscp,
                self.metric)


@named()
class Rule:
    table: int = None           # without it the rule rejects, unless it is
    l3mdev: bool = False        # one that leads to the table of the flow's VRF, or
    goto: int = None            # to a later rule, by its number
    source: object = None       # "from" and "to": prefixes
    to: object = None
    mark: tuple = None          # (value, mask)
    dscp: int = None
    sport: int = None
    dport: int = None
    uids: tuple = None          # "uidrange": (first, last)
    iif: str = None
    oif: str = None
    invert: bool = False        # "not"
    suppress: int = -1          # suppress_prefixlength

    def selects(self, flow):
        return self.invert != (
            (not self.l3mdev or flow.vrf is not None)
            and (not self.source or flow.src is not None and flow.src in self.source)
            and (not self.to or flow.dst in self.to)
            and (not self.mark or not (flow.mark ^ self.mark[0]) & self.mark[1])
            and (not self.uids or self.uids[0] <= flow.uid <= self.uids[1])
            and all(wanted in (None, got) for wanted, got in (
                (self.dscp, flow.dscp), (self.sport, flow.sport), (self.dport, flow.dport)))
            and self.iif in (None, flow.iif, flow.vrf_in)
            and self.oif in (None, flow.oif, flow.vrf_out))


@named()
class Flow:
    """The address that is looked up, and a packet's header; as if sent by the host, hence iif."""
    dst: object
    src: object = None
    sport: int = None
    dport: int = None
    mark: int = 0
    dscp: int = 0
    uid: int = 0
    iif: str = "lo"
    oif: str = None             # bound to this device or VRF
    vrf_in: str = None          # the VRF of a reply: as if it had come in there
    vrf_out: str = None         # that of what it is bound to, see Fib.in_vrf()

    @property
    def vrf(self):
        return self.vrf_in or self.vrf_out


@dataclass
class Fib:
    rules: dict = field(default_factory=lambda: {4: [], 6: []})     # in order
    tables: dict = field(default_factory=dict)      # (4 or 6, number): routes
    objects: dict = field(default_factory=dict)     # id: nexthops, of a blackhole none
    vrfs: dict = field(default_factory=dict)        # name: table
    master: dict = field(default_factory=dict)      # device: the VRF that it is in
    addresses: list = field(default_factory=list)   # (device, address with its prefix length)

    def nexthops(self, route):
        return route.nexthops if route.object is None else self.objects[route.object]

    def kind(self, route):
        return route.kind if route.object is None or self.nexthops(route) else "blackhole"

    def vrf(self, dev):
        """The VRF of a device, which is also that of the VRF device itself, or None"""
        return dev if dev in self.vrfs else self.master.get(dev)

    def in_table(self, table, flow, on_device):
        """The longest prefix that has a nexthop on the device that the flow is bound to.

        What rejects has no device; only with `on_device` that matters, unless it is a nexthop
        object."""
        return min((route for route in self.tables.get((flow.dst.version, table), ())
                    if flow.dst in route.prefix
                    and (not route.source or flow.src is not None and flow.src in route.source)
                    and route.dscp in (0, flow.dscp)
                    and (not flow.oif
                         or self.kind(route) in (*REJECTS, "throw")
                         and not (on_device and route.object is None)
                         or any(nexthop.dev == flow.oif for nexthop in self.nexthops(route)))),
                   key=Route.order, default=None)

    def in_vrf(self, flow):
        """A flow that is bound to a device is in the VRF of the device; one that is bound to
        the VRF may leave through any device, also one outside."""
        if flow.oif in self.vrfs:
            return replace(flow, oif=None, vrf_out=flow.oif)
        return flow if flow.vrf_in else replace(flow, vrf_out=self.master.get(flow.oif))

    def lookup(self, flow, on_device=False):
        """The route; None where there is none, or one that rejects."""
        flow = self.in_vrf(flow)
        following = 0
        for number, rule in enumerate(self.rules[flow.dst.version]):
            if number < following or not rule.selects(flow):
                continue
            if rule.goto is not None:
                following = rule.goto
                continue
            table = self.vrfs[flow.vrf] if rule.l3mdev else rule.table
            route = table and self.in_table(table, flow, on_device)
            if not table or route and self.kind(route) in REJECTS:
                return None
            if route and route.kind != "throw" and route.prefix.prefixlen > rule.suppress:
                return route
        return None

    def named_tables(self, version, vrf):
        """The tables that rules lead to, whatever these select by, each with the length up to
        which all of them suppress its prefixes (-1: there is one that does not)."""
        tables = {}
        for rule in self.rules[version]:
            table = self.vrfs.get(vrf) if rule.l3mdev else rule.table
            if table:
                tables[table] = min(rule.suppress, tables.get(table, rule.suppress))
        return tables


@dataclass
class Device:
    name: str
    fib: Fib
    mode: str = "auto"
    filter: str = "device"
    peers: set = field(default_factory=set)
    allowed_ips: dict = field(default_factory=dict)     # prefix: peer

    def allowed(self, addr):
        """The peer that AllowedIPs give for an address, or None"""
        prefixes = [prefix for prefix, peer in self.allowed_ips.items()
                    if addr in prefix and peer in self.peers]
        return self.allowed_ips[max(prefixes, key=lambda p: p.prefixlen)] if prefixes else None

    def neighbour(self, addr):
        """The peer that has exactly this address as a host entry in its AllowedIPs, or None"""
        peer = self.allowed_ips.get(ipaddress.ip_network(addr))
        return peer if peer in self.peers else None

    def nexthops_here(self, route):
        """The nexthops on the device, of a unicast route"""
        if not route or self.fib.kind(route) != "unicast":
            return []
        return [nexthop for nexthop in self.fib.nexthops(route) if nexthop.dev == self.name]

    def leads_to(self, nexthop, addr):
        """(the way, the peer or None) of a nexthop on the device, for packets to an address"""
        if nexthop.peer:
            return "wgpeer", nexthop.peer if nexthop.peer in self.peers else None
        if nexthop.gateway:
            return "gateway", self.neighbour(nexthop.gateway)
        return "onlink", self.allowed(addr)

    # --- sending -----------------------------------------------------------

    def send(self, packet, nexthop=None):
        """The (peer or None, counter or None) that are possible for a packet, which this
        nexthop of the device routed, or none did."""
        unasked = {(self.allowed(packet.dst), None)}
        if self.mode == "off":
            return unasked
        # Without one it is looked up as if sent by a socket that is bound to the device.
        nexthops = [nexthop] if nexthop else self.nexthops_here(self.fib.lookup(
            Flow(**{**vars(packet), "oif": self.name}), on_device=packet.dst.version == 6))
        if not nexthops:
            return {(None, "tx-drop-noroute")} if self.mode == "on" else unasked
        found = set()
        for one in nexthops:
            if self.mode == "auto" and not one.peer:
                found |= unasked
            else:
                way, peer = self.leads_to(one, packet.dst)
                found.add((peer, ("tx-" if peer else "tx-drop-") + way))
        return found

    # --- receiving ---------------------------------------------------------

    def receive(self, packet, peer):
        """(Is it accepted, the counters that are possible) of a packet that a peer sent."""
        source, routes = packet.src, self.longest(packet)
        keyed = any(nexthop.peer for route in routes for nexthop in self.nexthops_here(route))
        if self.mode == "off" or self.mode == "auto" and not keyed:
            return self.allowed(source) == peer, {None}
        if self.filter == "none":
            return True, {"rx-unfiltered"}
        if self.takes_no_reply(source):
            return False, {"rx-drop-source"}
        if self.is_own(source):
            return False, {"rx-drop-own"}
        if is_link_local(source):
            accepted, counters = self.judge_link_local(source, peer, routes)
        elif self.filter == "strict":
            accepted, counters = self.judge(source, peer, [self.reply_route(packet)])
        elif routes:
            accepted, counters = self.judge(source, peer, routes)
        else:
            accepted, counters = self.judge_by_allowed_ips(source, peer)
        if accepted:
            return True, counters
        if self.neighbour(source) == peer:
            return True, {"rx-neighbour"}
        if self.filter == "loose" and self.is_anybodys(packet):
            return True, {"rx-loose"}
        return False, counters

    def longest(self, packet, anywhere=False):
        """In each table that rules name the best route to the packet's source, of those on the
        device and those that reject, or of all that lead `anywhere`; then those of them whose
        prefix is the longest. Nothing else of the packet counts, except for source-specific
        routes the destination."""
        def counts(route):
            return (packet.src in route.prefix and not route.dscp
                    and (not route.source or packet.dst in route.source)
                    and (anywhere or self.fib.kind(route) in (*REJECTS, "throw")
                         or self.nexthops_here(route)))

        version, best = packet.src.version, []
        tables = self.fib.named_tables(version, self.fib.vrf(self.name))
        for table, suppressed in tables.items():
            route = min(filter(counts, self.fib.tables.get((version, table), ())),
                        key=Route.order, default=None)
            # No rule suppresses what rejects.
            if route and route.kind != "throw" and (
                    self.fib.kind(route) in REJECTS or route.prefix.prefixlen > suppressed):
                best.append(route)
        length = max((route.prefix.prefixlen for route in best), default=0)
        return [route for route in best if route.prefix.prefixlen == length]

    @staticmethod
    def takes_no_reply(addr):
        return (addr.is_multicast or addr.is_unspecified or addr.is_loopback
                or str(addr) == "255.255.255.255")

    def is_own(self, addr):
        """Is it an address of the host, on a device in the same VRF or, if link-local, on the
        device itself; or the broadcast address of a subnet on the device?"""
        def is_near(dev):
            return (dev == self.name if is_link_local(addr)
                    else self.fib.vrf(dev) == self.fib.vrf(self.name))

        return any(own.ip == addr and is_near(dev) or dev == self.name and has_broadcast(own)
                   and own.network.broadcast_address == addr
                   for dev, own in self.fib.addresses)

    def reply_route(self, packet):
        """The route by which the host would reply"""
        return self.fib.lookup(Flow(
            dst=packet.src, src=packet.dst, sport=packet.dport, dport=packet.sport,
            dscp=packet.dscp, vrf_in=self.fib.vrf(self.name)))

    def ways(self, source, peer, nexthops):
        """The counters of the ways in which one of the nexthops leads to the peer"""
        found = [self.leads_to(nexthop, source) for nexthop in nexthops]
        return {"rx-" + way for way, leads_to in found if leads_to == peer}

    def judge(self, source, peer, routes):
        """Does a nexthop of one of the routes lead to the peer?"""
        here = [nexthop for route in routes for nexthop in self.nexthops_here(route)]
        ways = self.ways(source, peer, here)
        elsewhere = any(route and self.fib.kind(route) == "unicast" for route in routes)
        return bool(ways), ways or {"rx-drop-peer" if here else
                                    "rx-drop-device" if elsewhere else "rx-drop-noroute"}

    def judge_by_allowed_ips(self, source, peer):
        accepted = self.allowed(source) == peer
        return accepted, {"rx-allowedips" if accepted else "rx-drop-peer"}

    def judge_link_local(self, source, peer, routes):
        """A nexthop that names a peer, of a route for exactly this address, says whose it is. Of
        other routes none counts."""
        keyed = [nexthop for route in routes if route.prefix.prefixlen == 128
                 for nexthop in self.nexthops_here(route) if nexthop.peer]
        if not keyed and self.neighbour(source) != peer:
            return self.judge_by_allowed_ips(source, peer)
        ways = self.ways(source, peer, keyed)
        return bool(ways), ways or {"rx-drop-peer"}

    def is_anybodys(self, packet):
        """Is the packet's source routed to the device, and no neighbour's nor link-local?"""
        return (not is_link_local(packet.src) and not self.neighbour(packet.src)
                and any(map(self.nexthops_here, self.longest(packet, anywhere=True))))


def send_from_socket(device, packet):
    """As Device.send(), of a packet that a socket of the host sends, which may be bound to a
    device or VRF. In place of a peer there may be a device, "lo" or, for what is local to it,
    a VRF, or "error"."""
    fib = device.fib
    vrf = fib.master.get(packet.oif)
    if vrf and packet.dst.version == 6 and packet.dst.is_link_local:
        # No rule is asked, see vrf_link_scope_lookup() in drivers/net/vrf.c.
        fib = replace(fib, rules={6: [Rule(table=fib.vrfs[vrf])]})
    route = fib.lookup(packet, on_device=packet.dst.version == 6)
    if not route:
        # "Assume that the destination is on link", says net/ipv4/route.c; not in a VRF.
        if packet.oif == device.name and not vrf and packet.dst.version == 4:
            return device.send(packet, Nexthop(dev=device.name))
        return {("error", None)}
    if route.kind == "local":
        return {(fib.vrf(fib.nexthops(route)[0].dev) or "lo", None)}
    if route.kind == "broadcast":
        return {("error", None)}
    found = set()
    for nexthop in fib.nexthops(route):
        if nexthop.dev == device.name:
            found |= device.send(packet, nexthop)
        elif packet.oif != device.name or route.object and packet.dst.version == 6:
            # (Of a group with a member on the device IPv6 takes any: fib6_select_path().)
            found.add((nexthop.dev, None))
    return found
