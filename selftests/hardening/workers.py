# SPDX-License-Identifier: GPL-2.0
"""The threads of the soak that change everything while packets flow."""

import contextlib
import errno
import itertools
import os
import random
import socket
import subprocess
import threading
import time

import control
import traffic
from control import ADD, APPEND, REPLACE, Control, multipath, peer, through, via_gateway, via_key
from judge import NONE, ONLINK, History
from lib import SLOW, enter_netns, is_stock, netns

# Seconds between the events after which all routes are gone
WHOLESALE = 6


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
        self.mine = range(number, len(world.prefixes), len(world.route_locks))
        self.lock = world.route_locks[number]

    def hop(self, prefix):
        """(atoms, attributes) of a nexthop without its device"""
        number = self.random.choice(self.world.numbers)
        kind = self.random.choice(("key", "key", "key", "gateway", "other gateway"))
        if kind == "key":
            # Mostly the key that the hub has, sometimes one that it has lost.
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
        prefix, history = world.prefixes[ident], world.route[ident]
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
            with history.change(ONLINK) as change:
                change.done = world.count(form, self.control.route(REPLACE, prefix, through(dev)))
        elif form == "blackhole":
            with history.change(NONE) as change:
                change.done = world.count(form, self.control.route(
                    REPLACE, prefix, b"", kind=control.RTN_BLACKHOLE))
        elif form == "delete":
            with history.change(NONE) as change:
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
        world, prefix = self.world, self.world.prefixes[ident]
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
        world, prefix = self.world, self.world.prefixes[ident]
        history = world.route[ident]
        (first, one), (_, two) = hops = list(self.hops(prefix, 2).items())
        with history.change(first) as change:
            change.done = world.count("one", self.control.route(
                REPLACE, prefix, through(self.index(), one)))
        with history.change(*history.now(), *(atom for atom, _ in hops)) as change:
            change.done = world.count("append", self.control.route(
                APPEND, prefix, through(self.index(), two)))
        time.sleep(self.random.uniform(0, 0.1))
        with history.change(NONE) as change:
            error = 0
            while error == 0:
                error = self.control.route(None, prefix, b"", kind=0)
                world.count("purge", error)
            change.done = error == errno.ESRCH

    def several_less_one(self, ident):
        """For IPv4 there is no such operation."""
        world, prefix = self.world, self.world.prefixes[ident]
        history = world.route[ident]
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
                REPLACE, self.object_id(ident, which), control.family_of(self.world.prefixes[ident]),
                Control.nexthop_key(self.index(), world.public[number][key])))

    def delete_object(self, ident, which):
        """Whatever uses it loses it. The atoms of a group are those of its members."""
        world, objects = self.world, self.world.object[ident]
        history = objects[which] if which < len(objects) else History()
        with world.route[ident].loss(), history.change(NONE) as change:
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
            prefix = self.random.randrange(len(self.world.prefixes))
            # An update of a peer that is not there succeeds and moves nothing.
            if len(keys) != 1 or None in keys:
                return
            key, = keys
            with self.world.allowed[prefix].change(number) as change:
                change.done = self.world.count("move AllowedIPs", self.control.wg_set(
                    "hub", peer(self.world.public[number][key], control.WGPEER_F_UPDATE_ONLY,
                                allowed=[self.world.prefixes[prefix]])))

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
        for prefix, history in zip(self.world.prefixes, self.world.allowed):
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
        with self.world.mode.change(mode) as change:
            error = self.control.wgvia_set("hub", mode)
            change.done = self.world.count(f"mode {mode}", error)
            # Routes name peers.
            change.refused = error == errno.EBUSY
        return change.done

    def off(self):
        """Mode off, which is refused as long as a route or a dst names a peer."""
        with contextlib.ExitStack() as stack:
            for lock in self.world.route_locks:
                stack.enter_context(lock)
            self.flush()
            deadline = time.monotonic() + 5 * SLOW
            while not self.mode("OFF") and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(self.random.uniform(0, 0.3))

    def multicast(self, on):
        with self.world.multicast.change(on) as change:
            change.done = self.world.count(f"multicast {'on' if on else 'off'}",
                                           self.control.wgvia_set("hub", multicast=on))

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
        world = self.world
        with world.device_lock, world.loss_of_routes(), world.mode.change("AUTO") as mode, \
                world.filter.change("DEVICE") as filter_, world.multicast.change(False) as multicast:
            gone = self.world.count("delete device", self.control.del_device("hub"))
            time.sleep(self.random.uniform(0, 0.3))
            if self.world.count("new device", self.control.add_device("hub")):
                mode.done = filter_.done = multicast.done = gone
                self.control.wg_set("hub", private=self.world.hub_key, port=51820)
                self.peers.control = self.control
                self.peers.add_all()
                self.address(self.index())

    def move(self):
        with self.world.loss_of_routes():
            self.world.count("move device", self.control.move_device("hub", self.world.away))
            time.sleep(self.random.uniform(0, 0.3))
            with netns(self.world.away, self.world.hub):
                back = Control()
                # With routes in it, which do not come along.
                back.set_up("hub")
                index = self.index()
                for prefix in self.world.prefixes[::5]:
                    back.route(REPLACE, prefix, through(index, via_key(self.world.public[1][0])))
                self.world.count("move device back", back.move_device("hub", self.world.hub))
            self.address(self.index())

    def bounce(self):
        with self.world.loss_of_routes():
            self.world.count("device down", self.control.set_up("hub", False))
            time.sleep(self.random.uniform(0, 0.2))
            self.address(self.index())

    def flush(self):
        """All routes of the prefixes and all nexthop objects, when nobody else changes them."""
        world = self.world
        with contextlib.ExitStack() as stack:
            changes = [stack.enter_context(history.change(NONE))
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
            world = self.world
            changes = [stack.enter_context(world.mode.change("AUTO")),
                       stack.enter_context(world.filter.change("DEVICE")),
                       stack.enter_context(world.multicast.change(False))]
            # Without the module it is off, until the others are done.
            stack.enter_context(world.mode.change("OFF"))
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                done = subprocess.run(["rmmod", "wgvia"], check=False, capture_output=True)
                if done.returncode == 0:
                    break
                time.sleep(0.2)
            unloaded = world.count("unload module", done.returncode)
            time.sleep(self.random.uniform(0, 0.3))
            world.count("load module", subprocess.run(["modprobe", "wgvia"],
                                                      check=False).returncode)
            for change in changes:
                change.done = unloaded

    def step(self):
        if time.monotonic() - self.wholesale > WHOLESALE:
            if not self.to_come:
                self.to_come = [self.bounce, self.move, self.new, self.reload, self.off]
                self.random.shuffle(self.to_come)
            self.to_come.pop()()
            self.wholesale = time.monotonic()
        elif (kind := self.random.random()) < 0.5:
            self.mode(self.random.choice(("ON", "ON", "ON", "AUTO", "AUTO", "AUTO", "OFF")))
        elif kind < 0.6:
            self.multicast(self.random.random() < 0.5)
        else:
            # Those that accept from many are soon what most packets were accepted by.
            self.filter(self.random.choice(
                ("DEVICE",) * 8 + ("STRICT",) * 6 + ("LOOSE", "NONE")))


class Elsewhere(Worker):
    """Better routes to what peers send from, through another device: to the filter strict they are
    the way of a reply, the filter device does not see them."""

    def set(self, ident, there):
        world, address = self.world, traffic.source_in(self.world.prefixes[ident])
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
        self.set(self.random.randrange(len(self.world.prefixes)), self.random.random() < 0.4)


class Show(Worker):
    """Asks for everything, all the time."""

    def step(self):
        what = self.random.choice(("routes", "nexthops", "devices", "bindings", "peers", "wg"))
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
            elif what == "peers":
                self.control.genl_dump("wgvia", control.UAPI["WGVIA_CMD_PEER_GET"])
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
        yield inside.wgvia_set("hub", self.random.choice(("ON", "AUTO")))
        for i, prefix in enumerate(self.world.prefixes):
            # IPv6 takes several nexthops by keys alone with wgvia/0002.
            one = i % 2 or ":" in prefix and is_stock()
            yield inside.route(ADD, prefix, through(index, via_key(keys[0])) if one else
                               multipath(index, *map(via_key, keys)))
        yield inside.nexthop(ADD, 1, socket.AF_INET, Control.nexthop_key(index, keys[0]))
        yield inside.nexthop(ADD, 2, 0, Control.nexthop_group(1))
        yield inside.nexthop(ADD, 3, 0, Control.resilient_group(1))
        for ident, prefix in (2, "10.99.0.0/16"), (3, "10.98.0.0/16"):
            yield inside.route(ADD, prefix, control.attr(control.RTA_NH_ID, control.u32(ident)))
