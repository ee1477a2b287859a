# SPDX-License-Identifier: GPL-2.0
"""The rule on a page: a model of which peer a packet goes to, and may come from.

Written from the design, from ip-route(8), ip-rule(8), ip-nexthop(8) and ip-vrf(8),
and from the kernel's Documentation/networking/vrf.rst, to be compared with what a
kernel does. It is meant to be seen to be right, and so knows no speed. Addresses
and prefixes are those of ipaddress; devices, VRFs, peers and counters have names.
"""

from dataclasses import dataclass, field, replace
from functools import partial

REJECTS = ("blackhole", "unreachable", "prohibit")

named = partial(dataclass, frozen=True, kw_only=True)


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


@named()
class Rule:
    table: int = None           # without it the rule rejects; but an
    l3mdev: bool = False        # l3mdev rule leads to the table of the flow's VRF
    source: object = None       # "from" and "to": prefixes
    to: object = None
    mark: tuple = None          # (value, mask)
    dscp: int = None
    sport: int = None
    dport: int = None
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
            and all(wanted in (None, got) for wanted, got in (
                (self.dscp, flow.dscp), (self.sport, flow.sport), (self.dport, flow.dport)))
            and self.iif in (None, flow.iif, flow.vrf_in)
            and self.oif in (None, flow.oif, flow.vrf_out))


@named()
class Flow:
    """What is looked up, and a packet's header; as if sent by the host, hence iif."""
    dst: object
    src: object = None
    sport: int = None
    dport: int = None
    mark: int = 0
    dscp: int = 0
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

    def nexthops(self, route):
        return route.nexthops if route.object is None else self.objects[route.object]

    def kind(self, route):
        return route.kind if route.object is None or self.nexthops(route) else "blackhole"

    def in_table(self, table, flow, on_device, replying):
        """The longest prefix that has a nexthop on the device that the flow is bound to.

        What rejects has no device; only with `on_device` that matters, unless it is a nexthop
        object. What is local is on any device to who is `replying`."""
        return min((route for route in self.tables.get((flow.dst.version, table), ())
                    if flow.dst in route.prefix
                    and (not route.source or flow.src is not None and flow.src in route.source)
                    and (not flow.oif
                         or self.kind(route) in (*REJECTS, "throw")
                         and not (on_device and route.object is None)
                         or replying and self.kind(route) == "local"
                         or any(nexthop.dev == flow.oif for nexthop in self.nexthops(route)))),
                   key=lambda route: (-route.prefix.prefixlen,
                                      -route.source.prefixlen if route.source else 0,
                                      route.metric), default=None)

    def in_vrf(self, flow):
        """A flow that is bound to a device is in the VRF of the device; one that is bound to
        the VRF may leave through any device, also one outside."""
        if flow.oif in self.vrfs:
            return replace(flow, oif=None, vrf_out=flow.oif)
        return flow if flow.vrf_in else replace(flow, vrf_out=self.master.get(flow.oif))

    def lookup(self, flow, on_device=False, replying=False):
        """The route; None where there is none, or one that rejects."""
        flow = self.in_vrf(flow)
        for rule in self.rules[flow.dst.version]:
            if rule.selects(flow):
                table = self.vrfs[flow.vrf] if rule.l3mdev else rule.table
                route = table and self.in_table(table, flow, on_device, replying)
                if not table or route and self.kind(route) in REJECTS:
                    return None
                if route and route.kind != "throw" and route.prefix.prefixlen > rule.suppress:
                    return route
        return None


@dataclass
class Device:
    name: str
    fib: Fib
    mode: str = "off"
    filter: str = "device"
    peers: set = field(default_factory=set)
    allowed_ips: dict = field(default_factory=dict)     # prefix: peer

    def active(self):
        lists = [route.nexthops for table in self.fib.tables.values() for route in table]
        named_here = any(nexthop.peer and nexthop.dev == self.name
                         for nexthops in lists + list(self.fib.objects.values())
                         for nexthop in nexthops)
        return self.mode == "on" or self.mode == "auto" and named_here

    def allowed(self, addr):
        prefixes = [prefix for prefix, peer in self.allowed_ips.items()
                    if addr in prefix and peer in self.peers]
        return self.allowed_ips[max(prefixes, key=lambda p: p.prefixlen)] if prefixes else None

    def nexthops_here(self, route):
        """The nexthops on the device, of a unicast route"""
        if not route or self.fib.kind(route) != "unicast":
            return []
        return [nexthop for nexthop in self.fib.nexthops(route) if nexthop.dev == self.name]

    def resolve(self, nexthop, addr):
        """THE RULE: (the way to the peer, the peer or None)"""
        if nexthop.peer:
            return "wgpeer", nexthop.peer if nexthop.peer in self.peers else None
        if nexthop.gateway is None:
            return "onlink", self.allowed(addr)
        route = self.fib.lookup(Flow(dst=nexthop.gateway, oif=self.name))
        for first in self.nexthops_here(route)[:1]:
            if first.peer:
                return "gateway-wgpeer", first.peer if first.peer in self.peers else None
        return "gateway-allowedips", self.allowed(nexthop.gateway)

    def send(self, packet, nexthop=None):
        """The (peer or None, counter or None) that are possible for a packet, which this
        nexthop of the device routed, or none did."""
        if not self.active():
            return {(self.allowed(packet.dst), None)}
        nexthops = [nexthop] if nexthop else self.nexthops_here(
            self.fib.lookup(Flow(**{**vars(packet), "oif": self.name})))
        found = {self.resolve(nexthop, packet.dst) for nexthop in nexthops}
        return {(peer, "tx-" + way if peer else "tx-drop-" + way.removesuffix(
            "-wgpeer").removesuffix("-allowedips")) for way, peer in found} or {
                (None, "tx-drop-noroute")}

    def receive(self, packet, peer):
        """(Is it accepted, the counters that are possible) of a packet that a peer sent."""
        if not self.active():
            return self.allowed(packet.src) == peer, {None}
        if self.filter == "none":
            return True, {"rx-unfiltered"}
        if (packet.src.is_multicast or packet.src.is_unspecified or packet.src.is_loopback
                or str(packet.src) == "255.255.255.255"):
            return False, {"rx-drop-source"}
        link_local = packet.src.version == 6 and packet.src.is_link_local
        bound = self.filter == "device" or link_local
        # An IPv4 source that is the host's own is for the stack to drop, behind the device.
        route = self.fib.lookup(Flow(
            dst=packet.src, src=packet.dst, sport=packet.dport, dport=packet.sport,
            dscp=packet.dscp, oif=self.name if bound else None,
            vrf_in=self.fib.master.get(self.name)),
            replying=packet.src.version == 6 and not link_local)
        if not route or self.fib.kind(route) != "unicast":
            return False, {"rx-drop-noroute"}
        found = [self.resolve(nexthop, packet.src) for nexthop in self.nexthops_here(route)]
        ways = {"rx-" + way for way, accepted in found if accepted == peer}
        return bool(ways), ways or {"rx-drop-peer" if found else "rx-drop-device"}


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
        return {(fib.master.get(fib.nexthops(route)[0].dev, "lo"), None)}
    found = set()
    for nexthop in fib.nexthops(route):
        if nexthop.dev == device.name:
            found |= device.send(packet, nexthop)
        elif packet.oif != device.name or route.object and packet.dst.version == 6:
            # (Of a group with a member on the device IPv6 takes any: fib6_select_path().)
            found.add((nexthop.dev, None))
    return found
