#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Everything that can change does, while packets flow; then the packets are judged.

    soak.py SECONDS SEED HUB AWAY LAN PEER...

soak.sh calls this with the namespaces of its topology. The keys of the hub (0) and
of the peers are in SOAK_KEYS, private and base64, separated by commas.

Each thing that decides where a packet may go (the route of a prefix, a nexthop
object, the AllowedIPs of a prefix, which key of a peer the hub has, mode, filter) has
a history: what it may have been at any time. While an operation runs, and after one
that failed, that is the old and the new. A packet is a violation when nothing that
may have been in force at any time of its flight allows it.
"""

import base64
import bisect
import collections
import contextlib
import errno
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import control
import traffic
from control import ADD, APPEND, REPLACE, Control, multipath, peer, through, via_gateway, via_key
from lib import SLOW, Ktap, enter_netns, netns

PREFIXES = ([f"10.{16 + i}.0.0/16" for i in range(8)] +
            [f"fd{0x10 + i:x}::/16" for i in range(8)])
ROUTE_THREADS = 4
# Clocks are read on two processors.
SLACK = 0.001
# Packets a second that each process sends, and that a slow kernel can encrypt.
RATE = 150 / SLOW
# Seconds between the events after which all routes are gone.
WHOLESALE = 6
# What a run of a minute must have done at least once. Of the packets that were sent at least one
# in so many has to be delivered, so that there is something to judge.
MINUTE = 60
KINDS = {
    "one", "several", "onlink", "blackhole", "delete", "replace object", "delete object", "object",
    "group object", "group", "resilient group object", "resilient group", "member of a group",
    "append", "nexthop of several", "purge", "add peer", "remove peer", "move AllowedIPs",
    "mode OFF", "mode AUTO", "mode ON", "filter DEVICE", "filter STRICT", "filter NONE",
    "delete device", "new device", "move device", "move device back", "device down",
    "ip nexthop flush", "ip -4 route flush proto boot", "ip -6 route flush proto boot",
    "route elsewhere", "delete elsewhere", "unload module", "load module",
    "show routes", "show nexthops", "show devices",
    "show bindings", "show wg", "fill a namespace", "delete namespace",
}
ONE_IN = {traffic.TO_PEER: 8, traffic.NO_DST: 8, traffic.FORWARDED: 8, traffic.TO_HUB: 40}


class History:
    """What something may have been, at any time."""

    def __init__(self, *values):
        self.times = [0.0]
        self.values = [frozenset(values)]

    def now(self):
        return self.values[-1]

    def _add(self, values):
        # Readers look at the times first.
        self.values.append(frozenset(values))
        self.times.append(time.time())

    @contextlib.contextmanager
    def change(self, *new):
        """Around an operation; the caller says by .done that it has succeeded."""
        old = self.now()
        change = Change()
        self._add(old | set(new))
        try:
            yield change
        finally:
            if change.done:
                self._add(new)

    def between(self, start, end):
        first = bisect.bisect_right(self.times, start) - 1
        last = bisect.bisect_right(self.times, end)
        return frozenset().union(*self.values[max(first, 0):last])

    def around(self, start, end):
        """What it may have been from two changes before until one after, for people."""
        first = max(bisect.bisect_right(self.times, start) - 3, 0)
        last = bisect.bisect_right(self.times, end) + 1
        return ", ".join(f"{time_ - start:+.4f} {sorted(map(str, values))}" for time_, values in
                         zip(self.times[first:last], self.values[first:last]))


class Change:
    """An operation under way."""

    def __init__(self):
        self.done = False


class World:
    """What is known of the hub, and what a packet may do there."""

    def __init__(self, hub, away, peers, private):
        self.hub, self.away, self.peers = hub, away, peers
        self.hub_key = private[0]
        # Two keys for each peer, of which the hub has one or none at a time.
        pairs = [(private[i], new_private()) for i in range(1, len(peers) + 1)]
        self.private = dict(enumerate(pairs, 1))
        self.public = {n: tuple(map(public, pair)) for n, pair in self.private.items()}
        self.numbers = sorted(self.private)

        self.route = [History() for _ in PREFIXES]
        self.object = [[History(), History()] for _ in PREFIXES]
        self.allowed = [History() for _ in PREFIXES]
        # Which key of the peer the hub has; None is none.
        self.present = {n: History(0) for n in self.numbers}
        self.inactive = History(True)
        self.filter = History("DEVICE")
        # Does a route through another device lead to what peers send from?
        self.elsewhere = [History(False) for _ in PREFIXES]

        self.stop = threading.Event()
        self.device_lock = threading.Lock()
        self.module_lock = threading.Lock()
        self.route_locks = [threading.Lock() for _ in range(ROUTE_THREADS)]
        self.counts = collections.Counter()
        self.count_lock = threading.Lock()

    def count(self, what, error):
        with self.count_lock:
            self.counts[what, error] += 1
        return error == 0

    def allows(self, packet):
        """May this packet have arrived?"""
        span = packet.sent - SLACK, packet.arrived + SLACK
        to_hub = packet.direction == traffic.TO_HUB
        filters = self.filter.between(*span)
        inactive = self.inactive.between(*span)
        keys = self.present[packet.peer].between(*span) - {None}
        allowed = packet.peer in self.allowed[packet.prefix].between(*span)
        if not keys:
            return False
        if allowed and True in inactive:
            return True
        if False not in inactive:
            return False
        if to_hub and "NONE" in filters:
            return True
        if (to_hub and filters == {"STRICT"} and
                False not in self.elsewhere[packet.prefix].between(*span)):
            return False
        route, objects = self.route[packet.prefix], self.object[packet.prefix]
        atoms = {atom for atom in route.between(*span) if atom[0] != "object"}
        for atom in route.between(*span):
            if atom[0] == "object":
                atoms |= objects[atom[1]].between(*span)
        return (any(("key", packet.peer, key) in atoms for key in keys) or
                ("gateway", packet.peer) in atoms or allowed and ("onlink",) in atoms)

    def explain(self, packet):
        """Lines on what the packet met, with the seconds since it was sent."""
        histories = {"inactive": self.inactive, "filter": self.filter,
                     "elsewhere": self.elsewhere[packet.prefix],
                     "key of the peer": self.present[packet.peer],
                     "AllowedIPs": self.allowed[packet.prefix], "route": self.route[packet.prefix],
                     "object 0": self.object[packet.prefix][0],
                     "object 1": self.object[packet.prefix][1]}
        yield f"{packet}, {packet.arrived - packet.sent:.6f} s"
        for name, history in histories.items():
            yield f"  {name}: {history.around(packet.sent, packet.arrived)}"


def new_private():
    return base64.b64decode(subprocess.run(["wg", "genkey"], check=True, capture_output=True).stdout)


def public(private):
    out = subprocess.run(["wg", "pubkey"], check=True, capture_output=True,
                         input=base64.b64encode(private)).stdout
    return base64.b64decode(out)


class Worker(threading.Thread):
    """A thread in the hub's namespace that repeats a step until the end."""

    def __init__(self, world, seed, pause=0.0):
        super().__init__()
        self.world = world
        self.random = random.Random(f"{seed} {type(self).__name__}")
        self.pause = pause
        self.failure = None

    def run(self):
        try:
            enter_netns(self.world.hub)
            self.control = Control()
            while not self.world.stop.is_set():
                self.step()
                time.sleep(self.random.uniform(0, 2 * self.pause))
        except Exception as err:  # pylint: disable=broad-except
            self.failure = f"{type(self).__name__}: {type(err).__name__}: {err}"

    @staticmethod
    def index():
        try:
            return socket.if_nametoindex("hub")
        except OSError:
            return 0


class Routes(Worker):
    """Routes of some of the prefixes, in every form, and their nexthop objects."""

    def __init__(self, world, seed, number):
        super().__init__(world, f"{seed} {number}", pause=0.05)
        self.mine = range(number, len(PREFIXES), ROUTE_THREADS)
        self.lock = world.route_locks[number]

    def hop(self, prefix):
        """(atoms, attributes) of a nexthop without its device"""
        number = self.random.choice(self.world.numbers)
        kind = self.random.choice(("key", "key", "key", "gateway", "other gateway"))
        if kind == "key":
            # Mostly the key that the hub has, sometimes one that it has no more.
            have = list(self.world.present[number].now() - {None})
            key = self.random.choice(have + have + [0, 1])
            return ("key", number, key), via_key(self.world.public[number][key])
        v6 = ":" in prefix or kind == "other gateway"
        return ("gateway", number), via_gateway(
            prefix, f"fd00::{number}" if v6 else f"10.0.0.{number}")

    def step(self):
        with self.lock:
            self.locked_step()

    def locked_step(self):
        world, ident = self.world, self.random.choice(self.mine)
        prefix, history = PREFIXES[ident], world.route[ident]
        dev = self.index()
        form = self.random.choice(("one", "one", "several", "onlink", "object", "object", "group",
                                   "resilient group", "member", "append", "several less one",
                                   "replace object", "replace object", "delete object",
                                   "blackhole", "delete"))
        if form in ("one", "several"):
            hops = [self.hop(prefix) for _ in range(1 if form == "one" else
                                                    self.random.choice((2, 3, 8)))]
            with history.change(*(atom for atom, _ in hops)) as change:
                change.done = world.count(form, self.control.route(
                    REPLACE, prefix, through(dev, hops[0][1]) if form == "one" else
                    multipath(dev, *(hop for _, hop in hops))))
        elif form == "onlink":
            with history.change(("onlink",)) as change:
                change.done = world.count(form, self.control.route(REPLACE, prefix, through(dev)))
        elif form == "blackhole":
            with history.change() as change:
                change.done = world.count(form, self.control.route(
                    REPLACE, prefix, b"", kind=control.RTN_BLACKHOLE))
        elif form == "delete":
            with history.change() as change:
                error = self.control.route(None, prefix, b"", kind=0)
                world.count(form, error)
                change.done = error in (0, errno.ESRCH)
        elif form == "replace object":
            self.replace_object(ident, self.random.randrange(2))
        elif form == "delete object":
            self.delete_object(ident, self.random.randrange(4))
        elif form == "object":
            which = self.random.randrange(2)
            with history.change(("object", which)) as change:
                change.done = world.count(form, self.control.route(
                    REPLACE, prefix, control.attr(control.RTA_NH_ID, control.u32(
                        self.object_id(ident, which)))))
        elif form == "append":
            self.append(ident)
        elif form == "several less one":
            self.several_less_one(ident)
        elif form == "resilient group":
            self.group(ident, form, 3, Control.resilient_group)
        else:
            self.group(ident, "group", 2, Control.nexthop_group)
            if form == "member":
                with history.change(("object", 0)) as change:
                    change.done = world.count("member of a group", self.control.nexthop(
                        None, self.object_id(ident, 1), 0, b""))

    def group(self, ident, form, which, make):
        """A group of the two objects of the prefix, and a route with it."""
        world, prefix = self.world, PREFIXES[ident]
        for member in range(2):
            self.replace_object(ident, member)
        with world.route[ident].change(("object", 0), ("object", 1)) as change:
            world.count(f"{form} object", self.control.nexthop(
                REPLACE, self.object_id(ident, which), 0,
                make(*(self.object_id(ident, i) for i in range(2)))))
            change.done = world.count(form, self.control.route(
                REPLACE, prefix, control.attr(control.RTA_NH_ID, control.u32(
                    self.object_id(ident, which)))))

    def hops(self, prefix, count):
        """Different ones"""
        hops = {}
        while len(hops) < count:
            atom, attributes = self.hop(prefix)
            hops[atom] = attributes
        return hops

    def append(self, ident):
        """A second route to the prefix, for a while. For IPv4 the first hides it, and it would
        come forth when that one goes, so both go."""
        world, prefix, history = self.world, PREFIXES[ident], self.world.route[ident]
        (first, one), (_, two) = hops = list(self.hops(prefix, 2).items())
        with history.change(first) as change:
            change.done = world.count("one", self.control.route(
                REPLACE, prefix, through(self.index(), one)))
        with history.change(*history.now(), *(atom for atom, _ in hops)) as change:
            change.done = world.count("append", self.control.route(
                APPEND, prefix, through(self.index(), two)))
        time.sleep(self.random.uniform(0, 0.1))
        with history.change() as change:
            error = 0
            while error == 0:
                error = self.control.route(None, prefix, b"", kind=0)
                world.count("purge", error)
            change.done = error == errno.ESRCH

    def several_less_one(self, ident):
        """For IPv4 there is no such operation."""
        world, prefix, history = self.world, PREFIXES[ident], self.world.route[ident]
        hops = self.hops(prefix, 3)
        with history.change(*hops) as change:
            change.done = world.count("several", self.control.route(
                REPLACE, prefix, multipath(self.index(), *hops.values())))
        if ":" in prefix and change.done:
            (gone, attributes), *rest = hops.items()
            assert gone in history.now()
            with history.change(*(atom for atom, _ in rest)) as change:
                change.done = world.count("nexthop of several", self.control.route(
                    None, prefix, multipath(self.index(), attributes), kind=0))

    def replace_object(self, ident, which):
        world, key = self.world, self.random.randrange(2)
        number = self.random.choice(world.numbers)
        with world.object[ident][which].change(("key", number, key)) as change:
            change.done = world.count("replace object", self.control.nexthop(
                REPLACE, self.object_id(ident, which), control.family_of(PREFIXES[ident]),
                Control.nexthop_key(self.index(), world.public[number][key])))

    def delete_object(self, ident, which):
        """Whatever uses it loses it. The atoms of a group are those of its members."""
        world, objects = self.world, self.world.object[ident]
        history = objects[which] if which < len(objects) else History()
        with history.change() as change:
            error = self.control.nexthop(None, self.object_id(ident, which), 0, b"")
            world.count("delete object", error)
            change.done = error in (0, errno.ENOENT)

    @staticmethod
    def object_id(ident, which):
        return 1000 * (which + 1) + ident


class Peers(Worker):
    """Peers come, go and get other keys; AllowedIPs move."""

    def peer(self, number, key, *allowed):
        own = (f"10.0.0.{number}/32", f"fd00::{number}/128", f"fe80::{number}/128")
        return peer(self.world.public[number][key], endpoint=("192.0.2.2", 51820 + number),
                    allowed=own + allowed)

    def add(self, number, key):
        """The same peer with another private key, then the hub is told of it."""
        with netns(self.world.peers[number - 1], self.world.hub):
            error = Control().wg_set("wg0", private=self.world.private[number][key])
        if error:
            raise OSError(error, f"a new key for peer {number}")
        with self.world.present[number].change(key) as change:
            change.done = self.world.count("add peer", self.control.wg_set(
                "hub", self.peer(number, key)))

    def remove(self, number):
        present = self.world.present[number]
        with present.change(None) as change:
            # An unknown one is not removed twice: the union holds both.
            errors = [self.control.wg_set("hub", peer(key, control.WGPEER_F_REMOVE_ME |
                                                      control.WGPEER_F_UPDATE_ONLY))
                      for key in self.world.public[number]]
            change.done = self.world.count("remove peer", max(errors))
        return change.done

    def step(self):
        with self.world.device_lock:
            number = self.random.choice(self.world.numbers)
            if self.random.random() < 0.1:
                if self.remove(number):
                    time.sleep(self.random.uniform(0, 0.2))
                    self.add(number, self.random.randrange(2))
                return
            keys = self.world.present[number].now()
            prefix = self.random.randrange(len(PREFIXES))
            # An update of a peer that is not there succeeds and moves nothing.
            if len(keys) != 1 or None in keys:
                return
            key, = keys
            with self.world.allowed[prefix].change(number) as change:
                change.done = self.world.count("move AllowedIPs", self.control.wg_set(
                    "hub", peer(self.world.public[number][key], control.WGPEER_F_UPDATE_ONLY,
                                allowed=[PREFIXES[prefix]])))

    def present(self, number):
        """The key that the hub has of a peer; one that it surely has not is added."""
        keys = self.world.present[number].now()
        if len(keys) != 1 or None in keys:
            self.remove(number)
            self.add(number, 0)
            keys = self.world.present[number].now()
        key, = keys
        return key

    def add_all(self):
        """For a new device: all the peers, and the AllowedIPs that they had."""
        for number in self.world.numbers:
            key = next(iter(self.world.present[number].now() - {None}), 0)
            self.add(number, key)
        for prefix, history in zip(PREFIXES, self.world.allowed):
            for number in list(history.now())[:1]:
                key = next(iter(self.world.present[number].now() - {None}))
                self.control.wg_set("hub", peer(self.world.public[number][key],
                                                control.WGPEER_F_UPDATE_ONLY, allowed=[prefix]))


class Device(Worker):
    """The mode and the filter, the device itself, and the module."""

    def __init__(self, world, seed, peers):
        super().__init__(world, seed, pause=0.1)
        self.peers = peers
        self.to_come = []
        self.wholesale = time.monotonic()

    def mode(self, mode):
        states = {"OFF": [True], "AUTO": [True, False], "ON": [False]}[mode]
        with self.world.inactive.change(*states) as change:
            change.done = self.world.count(f"mode {mode}", self.control.wgvia_set("hub", mode))

    def filter(self, name):
        with self.world.filter.change(name) as change:
            change.done = self.world.count(f"filter {name}",
                                           self.control.wgvia_set("hub", filter_=name))

    def address(self, index):
        self.control.set_up("hub")
        for prefix in ("10.0.0.254/24", "fd00::fe/64", "fe80::fe/64"):
            self.control.add_address(index, prefix)

    def new(self):
        """Deleted, and another of the same name, with the defaults."""
        with self.world.device_lock, self.world.inactive.change(True) as inactive, \
                self.world.filter.change("DEVICE") as filter_:
            gone = self.world.count("delete device", self.control.del_device("hub"))
            time.sleep(self.random.uniform(0, 0.3))
            if self.world.count("new device", self.control.add_device("hub")):
                inactive.done = filter_.done = gone
                self.control.wg_set("hub", private=self.world.hub_key, port=51820)
                self.peers.control = self.control
                self.peers.add_all()
                self.address(self.index())

    def move(self):
        self.world.count("move device", self.control.move_device("hub", self.world.away))
        time.sleep(self.random.uniform(0, 0.3))
        with netns(self.world.away, self.world.hub):
            back = Control()
            # With routes in it, which do not come along.
            back.set_up("hub")
            index = self.index()
            for prefix in PREFIXES[::5]:
                back.route(REPLACE, prefix, through(index, via_key(self.world.public[1][0])))
            self.world.count("move device back", back.move_device("hub", self.world.hub))
        self.address(self.index())

    def bounce(self):
        self.world.count("device down", self.control.set_up("hub", False))
        time.sleep(self.random.uniform(0, 0.2))
        self.address(self.index())

    def flush(self):
        """All routes of the prefixes and all nexthop objects, when nobody else changes them."""
        world = self.world
        with contextlib.ExitStack() as stack:
            changes = [stack.enter_context(history.change())
                       for history in (*world.route, *itertools.chain(*world.object))]
            # Routes of nexthop objects go with these: ip can not flush them.
            done = [world.count(f"ip {what}", subprocess.run(
                ["ip", *what.split()], check=False, stdout=subprocess.DEVNULL).returncode)
                    for what in ("nexthop flush", "-4 route flush proto boot",
                                 "-6 route flush proto boot")]
            for change in changes:
                change.done = all(done)

    def reload(self):
        """Nothing may refer to the module, so the routes stand still."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.world.module_lock)
            for lock in self.world.route_locks:
                stack.enter_context(lock)
            self.flush()
            inactive = stack.enter_context(self.world.inactive.change(True))
            filter_ = stack.enter_context(self.world.filter.change("DEVICE"))
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                done = subprocess.run(["rmmod", "wgvia"], check=False, capture_output=True)
                if done.returncode == 0:
                    break
                time.sleep(0.2)
            inactive.done = filter_.done = self.world.count("unload module", done.returncode)
            time.sleep(self.random.uniform(0, 0.3))
            self.world.count("load module", subprocess.run(["modprobe", "wgvia"],
                                                           check=False).returncode)

    def step(self):
        if time.monotonic() - self.wholesale > WHOLESALE:
            if not self.to_come:
                self.to_come = [self.bounce, self.move, self.new, self.reload]
                self.random.shuffle(self.to_come)
            self.to_come.pop()()
            self.wholesale = time.monotonic()
        elif self.random.random() < 0.55:
            self.mode(self.random.choice(("ON", "ON", "ON", "AUTO", "AUTO", "AUTO", "OFF")))
        else:
            self.filter(self.random.choice(("DEVICE", "DEVICE", "STRICT", "STRICT", "NONE")))


class Elsewhere(Worker):
    """Better routes to what peers send from, through another device: to the filter strict they are
    the way of a reply, the filter device does not see them."""

    def set(self, ident, there):
        world, address = self.world, traffic.source_in(PREFIXES[ident])
        prefix = f"{address}/{128 if ':' in address else 32}"
        with world.elsewhere[ident].change(there) as change:
            if there:
                change.done = world.count("route elsewhere", self.control.route(
                    REPLACE, prefix, through(socket.if_nametoindex("lan")),
                    protocol=control.RTPROT_STATIC))
            else:
                error = self.control.route(None, prefix, b"", kind=0,
                                           protocol=control.RTPROT_STATIC)
                world.count("delete elsewhere", error)
                change.done = error in (0, errno.ESRCH)

    def step(self):
        self.set(self.random.randrange(len(PREFIXES)), self.random.random() < 0.4)


class Show(Worker):
    """Asks for everything, all the time."""

    def step(self):
        what = self.random.choice(("routes", "nexthops", "devices", "bindings", "wg"))
        error = 0
        try:
            if what == "routes":
                self.control.dump(control.RTM_GETROUTE)
            elif what == "nexthops":
                self.control.dump(control.RTM_GETNEXTHOP)
            elif what == "devices":
                self.control.genl_dump("wgvia", control.UAPI["WGVIA_CMD_DEVICE_GET"])
            elif what == "bindings":
                self.control.genl_dump("wgvia", control.UAPI["WGVIA_CMD_BINDING_GET"])
            else:
                self.control.genl_dump("wireguard", control.WG_CMD_GET_DEVICE, control.attr(
                    control.WGDEVICE_A_IFNAME, b"hub\0"))
        except OSError as err:
            error = err.errno
        self.world.count(f"show {what}", error)


class Namespaces(Worker):
    """A namespace with a device and routes in every form, deleted with all of it."""

    def step(self):
        name = f"gone-{os.getpid()}"
        # The module is not reloaded meanwhile: nothing has a reason to fail.
        with self.world.module_lock:
            subprocess.run(["ip", "netns", "add", name], check=True)
            try:
                with netns(name, self.world.hub):
                    errors = list(self.fill(Control()))
            finally:
                deleted = subprocess.run(["ip", "netns", "del", name], check=False)
                self.world.count("delete namespace", deleted.returncode)
        for error in errors:
            if not self.world.count("fill a namespace", error):
                raise OSError(error, f"in a new namespace: {os.strerror(error)}")

    def fill(self, inside):
        """The error of each operation."""
        yield inside.add_device("hub")
        keys = [self.world.public[n][0] for n in self.world.numbers[:2]]
        yield inside.wg_set("hub", peer(keys[0], allowed=["10.0.0.1/32"]))
        index = self.index()
        yield inside.set_up("hub")
        yield inside.wgvia_set("hub", self.random.choice(("ON", "AUTO", "OFF")))
        for i, prefix in enumerate(PREFIXES):
            yield inside.route(ADD, prefix, through(index, via_key(keys[0])) if i % 2 else
                               multipath(index, *map(via_key, keys)))
        yield inside.nexthop(ADD, 1, socket.AF_INET, Control.nexthop_key(index, keys[0]))
        yield inside.nexthop(ADD, 2, 0, Control.nexthop_group(1))
        yield inside.nexthop(ADD, 3, 0, Control.resilient_group(1))
        for ident, prefix in (2, "10.99.0.0/16"), (3, "10.98.0.0/16"):
            yield inside.route(ADD, prefix, control.attr(control.RTA_NH_ID, control.u32(ident)))


def inconsistent(world, device):
    """Does what wgvia says of the device fit, after all those changes at once?"""
    enter_netns(world.hub)
    device.control = device.peers.control = Control()
    device.mode("AUTO")
    return device.control.inconsistent("hub")


def left(world, device):
    """What is counted or bound when all routes and nexthop objects are gone; empty if nothing is."""
    device.mode("AUTO")
    device.flush()
    # A dst in a socket has its state until the socket looks for another.
    deadline = time.monotonic() + 20 * SLOW
    while (left_over := device.control.left("hub")) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left_over


def settle(world, device, elsewhere):
    """A known state, in which every prefix has one peer: who has which."""
    elsewhere.control = device.control
    for ident in range(len(PREFIXES)):
        elsewhere.set(ident, False)
    device.mode("ON")
    device.filter("STRICT")
    index = device.index()
    owners = {}
    for ident, prefix in enumerate(PREFIXES):
        owners[ident] = number = world.numbers[ident % len(world.numbers)]
        key = device.peers.present(number)
        with world.route[ident].change(("key", number, key)) as change:
            change.done = device.control.route(
                REPLACE, prefix, through(index, via_key(world.public[number][key]))) == 0
    return owners


def wait_for_all(files, owners):
    """Until every prefix has had a packet each way from now on; which have not, in good time."""
    settled = time.time()
    deadline = time.monotonic() + 120
    missing = None
    while missing is None or missing and time.monotonic() < deadline:
        time.sleep(2)
        missing = {(direction, prefix) for direction in traffic.DIRECTIONS
                   for prefix in owners}
        for path in files:
            for packet in traffic.arrivals(path):
                if packet.sent > settled and owners[packet.prefix] == packet.peer:
                    missing.discard((packet.direction, packet.prefix))
    return missing


def report(world):
    names = sorted({what for what, _ in world.counts})
    for name in names:
        errors = {errno.errorcode.get(error, str(error)): count
                  for (what, error), count in sorted(world.counts.items())
                  if what == name and error}
        failed = ", ".join(f"{count} {error}" for error, count in errors.items())
        print(f"# {name}: {world.counts[name, 0]} done" + (f", {failed}" if failed else ""))
    done = sum(count for (_, error), count in world.counts.items() if not error)
    print(f"# operations: {done} done, {sum(world.counts.values()) - done} refused")


def main():
    seconds, seed = float(sys.argv[1]), sys.argv[2]
    hub, away, lan, *peers = sys.argv[3:]
    private = [base64.b64decode(key) for key in os.environ["SOAK_KEYS"].split(",")]
    world = World(hub, away, peers, private)
    enter_netns(hub)
    ktap = Ktap(10)
    print(f"# seed: {seed}, {seconds:.0f} s", flush=True)

    senders = {"hub": (traffic.Hub, [hub]), "peers": (traffic.Peers, [hub, *peers]),
               "behind": (traffic.Behind, [lan])}
    files = [f"{os.environ['SOAK_TMP']}/{name}" for name in senders]
    pids = [traffic.start(kind, namespaces, PREFIXES, path, seed, RATE)
            for path, (kind, namespaces) in zip(files, senders.values())]

    changer = Peers(world, seed, pause=0.05)
    device = Device(world, seed, Peers(world, seed))
    elsewhere = Elsewhere(world, seed, pause=0.1)
    workers = [changer, device, elsewhere, Show(world, seed, pause=0.01),
               Namespaces(world, seed, pause=1)]
    workers += [Routes(world, seed, number) for number in range(ROUTE_THREADS)]
    for worker in workers:
        worker.start()
    world.stop.wait(seconds)
    world.stop.set()
    for worker in workers:
        worker.join()

    unfit = inconsistent(world, device)
    # The device as all those changes have left it, its bindings with it, then a new one.
    missing = wait_for_all(files, settle(world, device, elsewhere))
    left_over = left(world, device)
    device.new()
    missing_anew = wait_for_all(files, settle(world, device, elsewhere))
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    report(world)

    judged, forgiven = collections.Counter(), collections.Counter()
    forbidden = []
    strangers = random.Random(seed)
    for path in files:
        for packet in traffic.arrivals(path):
            judged[packet.direction] += 1
            if not world.allows(packet):
                forbidden.append(packet)
            others = [number for number in world.numbers if number != packet.peer]
            forgiven[packet.direction] += world.allows(
                packet._replace(peer=strangers.choice(others)))
    sent = collections.Counter()
    for path in files:
        sent.update(traffic.sent(path))
    names = {traffic.TO_PEER: "to peers", traffic.NO_DST: "to peers without a dst",
             traffic.FORWARDED: "to peers from behind the hub", traffic.TO_HUB: "to the hub"}
    print("# packets delivered and judged:", ", ".join(
        f"{judged[direction]} of {sent[direction]} {name}" for direction, name in names.items()),
          f"; {len(forbidden)} forbidden", sep="")
    print("# packets that another peer might as well have sent or got:", ", ".join(
        f"{forgiven[direction]} {name}" for direction, name in names.items()))
    for packet in forbidden[:20]:
        print(*(f"# {line}" for line in world.explain(packet)), sep="\n")

    def workers_ran():
        ktap.check("what ended early", [], [worker.failure for worker in workers
                                            if worker.failure])

    def everything_done():
        if seconds >= MINUTE:
            ktap.check("what was never done", set(), {kind for kind in KINDS
                                                      if not world.counts[kind, 0]})

    def packets_arrived():
        for direction, name in names.items():
            ktap.check(f"is one packet in {ONE_IN[direction]} delivered {name}", True,
                       judged[direction] > 0 and
                       judged[direction] * ONE_IN[direction] >= sent[direction])

    def packets_judged():
        for direction, name in names.items():
            ktap.check(f"might another peer not have had one in four packets {name}", True,
                       forgiven[direction] * 4 < judged[direction] * 3)

    ktap.test("everything changes until the end", workers_ran)
    ktap.test("every kind of change is done", everything_done)
    ktap.test("a share of the packets arrives", packets_arrived)
    ktap.test("what arrives is judged sharply", packets_judged)
    ktap.test("packets flow until the end",
              lambda: ktap.check("statuses", [0] * len(pids), statuses))
    ktap.test("no packet is delivered that was forbidden all its flight",
              lambda: ktap.check("forbidden", 0, len(forbidden)))
    ktap.test("what wgvia says of the device in the end fits",
              lambda: ktap.check("what does not", "", unfit))
    ktap.test("then every prefix has its peer, both ways",
              lambda: ktap.check("(direction, prefix) without a packet", set(), missing))
    ktap.test("nothing is left when all routes are gone",
              lambda: ktap.check("what is", "", left_over))
    ktap.test("a new device has its peers, both ways",
              lambda: ktap.check("(direction, prefix) without a packet", set(), missing_anew))
    ktap.exit()


if __name__ == "__main__":
    main()
