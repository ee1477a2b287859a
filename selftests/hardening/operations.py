# SPDX-License-Identifier: GPL-2.0
"""The control operations that are repeated with each of their allocations made to fail.

An operation is one system call and what reads its answer.
"""

import ctypes
import errno
import os
import socket
import struct
import time

import control
from control import ADD, APPEND, REPLACE, UAPI, Control, multipath, peer, through, via_gateway, via_key
from inject import EVERYWHERE, libc
from lib import (NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, SLOW, Netlink,
                 attr, nest, netns, u32)

SYS_FINIT_MODULE, SYS_DELETE_MODULE = 313, 176
INDEX = 1000
KEY1, KEY2, NOBODY = (bytes([n]) * 31 + b"\x40" for n in (1, 2, 3))
PRIVATE = bytes([0x40]) * 32
PREFIXES = "10.1.0.0/16", "10.3.0.0/16", "10.9.0.0/16", "fd01::/32", "fd01:1::/48", "fd00::/12"
# A prefix, and the only source that its route is for.
PREFIX_SOURCE = "fd01::/32", "fd02::/32"


class Lost(Exception):
    """The kernel had no memory for its answer: the operation may have been done or not."""


class FaultyControl(Control):
    """Control, with a fault in the request that is sent while one is armed."""

    def __init__(self, faults):
        super().__init__()
        self.faults = faults
        self.dumped = []
        self.buffer = bytearray(1 << 18)

    def _answers(self, netlink):
        """(type, payload) of each message until the last, which an error number follows."""
        while True:
            try:
                size = netlink.sock.recv_into(self.buffer)
            except OSError as err:
                if err.errno in (errno.ENOBUFS, errno.ENOMEM):
                    raise Lost() from err
                raise
            data = memoryview(self.buffer)[:size]
            while len(data) >= 16:
                length, kind, _, seq, _ = struct.unpack_from("=IHHII", data)
                if seq == netlink.seq:
                    yield kind, bytes(data[16:length])
                data = data[(length + 3) & ~3:]

    def exchange(self, netlink, kind, flags, payload):
        """Send a request with the fault that is armed: (error number, replies)."""
        netlink.seq += 1
        message = struct.pack("=IHHII", 16 + len(payload), kind, flags | NLM_F_REQUEST,
                              netlink.seq, 0) + payload
        replies = []
        with self.faults:
            try:
                netlink.sock.send(message)
            except OSError as err:
                return err.errno, replies
            for reply, body in self._answers(netlink):
                if reply in (NLMSG_ERROR, NLMSG_DONE):
                    return -struct.unpack_from("=i", body)[0], replies
                replies.append(body)
        return None

    def send(self, netlink, kind, flags, payload):
        return self.exchange(netlink, kind, flags | NLM_F_ACK, payload)[0]

    def send_dump(self, netlink, kind, payload):
        """A dump; its answers are kept in .dumped."""
        try:
            error, self.dumped = self.exchange(netlink, kind, NLM_F_DUMP, payload)
        except Lost:
            self.renew()
            return errno.ENOBUFS
        if error:
            self.renew()
        return error

    def renew(self):
        """Other sockets, since these may have answers left of what was broken off."""
        for netlink in self.route_socket, self.genl:
            netlink.sock.close()
        self.route_socket, self.genl = Netlink(), Netlink(control.NETLINK_GENERIC)


class Lab:
    """A namespace with one WireGuard device, and what is known of it; and one to move it to."""

    def __init__(self, faults, home, away):
        self.home, self.away = home, away
        self.control = FaultyControl(faults)
        self.plain = Control()
        with netns(away, home):
            self.control_away = FaultyControl(faults)
            self.plain_away = Control()
        self.module = os.open(self._module_path(), os.O_RDONLY)
        self.clean = {}
        self.table = 0x77670000

    @staticmethod
    def _module_path():
        with os.popen("modinfo -n wgvia") as file:
            return file.read().strip()

    def add_device(self, do):
        """A new device that wgvia has not seen, by `do`: the faulty control or the plain one."""
        return do.send(do.route_socket, control.RTM_NEWLINK, ADD,
                       struct.pack("=BxHiII", 0, 0, INDEX, 0, 0) +
                       attr(control.IFLA_IFNAME, b"hub\0") +
                       nest(control.IFLA_LINKINFO, attr(control.IFLA_INFO_KIND, b"wireguard")))

    def fresh(self, mode="AUTO"):
        """The device anew, with two peers, and no routes; wgvia knows of it if it has a mode."""
        plain = self.plain
        self.forget_family()
        self.plain_away.del_device("hub")
        plain.del_device("hub")
        for ident in 3, 2, 1:
            plain.nexthop(None, ident, 0, b"")
        # Blackholes are all that does not go with the device.
        done(self.add_device(plain))
        done(plain.wg_set("hub", peer(KEY1, allowed=["10.0.0.1/32", "fd00::1/128"]),
                          peer(KEY2, allowed=["10.0.0.2/32", "fd00::2/128"]), private=PRIVATE))
        done(plain.set_up("hub"))
        done(plain.add_address(INDEX, "10.0.0.254/24"))
        done(plain.add_address(INDEX, "fd00::fe/64"))
        if mode:
            done(plain.wgvia_set("hub", mode=mode))

    def reset(self, mode):
        """As after fresh(mode), with the same device if that will do."""
        plain = self.plain
        self.forget_family()
        if mode in self.clean and os.path.exists("/sys/module/wgvia"):
            for prefix in PREFIXES:
                while plain.route(None, prefix, b"") == 0:
                    pass
            plain.route(None, PREFIX_SOURCE[0], b"", source=PREFIX_SOURCE[1])
            plain.route(None, "fd01::/32", attr(control.RTA_TABLE, u32(self.table)))
            for ident in 3, 2, 1:
                plain.nexthop(None, ident, 0, b"")
            plain.wgvia_set("hub", mode=mode, filter_="DEVICE", multicast=False)
            if self.idle() and self.state() == self.clean[mode]:
                return
        self.fresh(mode)
        self.clean[mode] = self.state()

    @staticmethod
    def idle():
        """Wait until no state refers to the module: some end in RCU callbacks."""
        for _ in range(200):
            try:
                with open("/sys/module/wgvia/refcnt", encoding="ascii") as file:
                    if file.read().strip() == "0":
                        return True
            except FileNotFoundError:
                return True
            time.sleep(0.02)
        return False

    def reset_table(self):
        """As reset(), and .table is one that has never been: they stay when they are empty."""
        self.reset("AUTO")
        self.table += 1

    def forget_family(self):
        """It has another id when the module is loaded again."""
        for do in self.plain, self.control, self.plain_away:
            do.families.pop("wgvia", None)

    @staticmethod
    def has_device():
        return "hub" in (name for _, name in socket.if_nameindex())

    def state(self):
        """All that an operation may change."""
        self.forget_family()
        with netns(self.away, self.home):
            away = self.has_device() and self.seen_by(self.plain_away)
        return {**self.seen_by(self.plain), "away": away}

    def seen_by(self, plain):
        """The state of the namespace that this control and the thread are in."""
        loaded = os.path.exists("/sys/module/wgvia")
        return {
            "links": sorted(socket.if_nameindex()),
            "peers": plain.peers("hub"),
            "routes": [[body.replace(u32(self.table), b"some") for body in bodies]
                       for bodies in plain.dump(control.RTM_GETROUTE)],
            "nexthops": plain.dump(control.RTM_GETNEXTHOP),
            "module": loaded,
            "devices": loaded and plain.genl_dump("wgvia", UAPI["WGVIA_CMD_DEVICE_GET"]),
            "bindings": loaded and plain.genl_dump("wgvia", UAPI["WGVIA_CMD_BINDING_GET"]),
        }

    @staticmethod
    def packet(address):
        """The error of a packet to it: ENOKEY without a peer, EDESTADDRREQ with one, whose endpoint
        nobody has said."""
        with socket.socket(control.family_of(address), socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto(b"", (address, 9))
            except OSError as err:
                return err.errno
        return 0

    def settled(self, wanted=None):
        """The state, when it is the wanted one, or for a while the same: IPv6 adds the routes of
        a new device's addresses from a work queue."""
        deadline = time.monotonic() + 10 * SLOW
        state = self.state()
        while time.monotonic() < deadline and state != wanted:
            time.sleep(0.3)
            known, state = state, self.state()
            if wanted is None and state == known:
                break
        return state


def done(error):
    """For what is done without a fault."""
    if error:
        raise OSError(error, os.strerror(error))


# What lack of memory may be called: FIBs and netlink say that they have no buffers.
NO_MEMORY = {errno.ENOMEM}
NO_BUFFERS = {errno.ENOMEM, errno.ENOBUFS}


class Operation:
    """What is done before each try, then with the fault.

    errors: what it may be refused with; in places the kernel has another word for lack of memory.
    partial: when it fails it may have done some of what it does, as without wgvia; done again, it
        does the rest.
    lossy: when it fails it may have done some, and may say that it has succeeded; then that is all.
    reached: an address; once all is done, there is a peer for packets to it.
    below: the code of the kernel whose allocations are made to fail.
    """

    def __init__(self, name, prepare, run, errors=frozenset(NO_BUFFERS), partial=False, lossy=False,
                 reached=None, below=EVERYWHERE):
        self.name, self.prepare, self.run, self.errors = name, prepare, run, errors
        self.partial, self.lossy, self.reached, self.below = partial, lossy, reached, below
        self.before = self.after = None
        self.dumped = []


def operations(lab):
    """All of them."""
    # pylint: disable=too-many-locals
    do, plain = lab.control, lab.plain
    found = []

    def add(name, prepare, run, **options):
        found.append(Operation(name, prepare, run, **options))

    def fresh(*steps, mode="AUTO"):
        """With a device that nobody has seen before."""
        def prepare():
            lab.fresh(mode)
            for step in steps:
                done(step())
        return prepare

    def reset(*steps, mode="AUTO"):
        """With the device there is."""
        def prepare():
            lab.reset(mode)
            for step in steps:
                done(step())
        return prepare

    for family, prefix, gateway in (("IPv4", "10.1.0.0/16", "10.0.0.2"),
                                    ("IPv6", "fd01::/32", "fd00::2")):
        one, two = through(INDEX, via_key(KEY1)), through(INDEX, via_key(KEY2))
        both = multipath(INDEX, via_key(KEY1), via_key(KEY2))
        mixed = multipath(INDEX, via_key(KEY2), via_gateway(prefix, gateway), via_key(NOBODY))
        kind = socket.AF_INET if family == "IPv4" else socket.AF_INET6

        def route(flags, attributes, prefix=prefix, by=do):
            return lambda: by.route(flags, prefix, attributes)

        def before(flags, attributes, prefix=prefix):
            return route(flags, attributes, prefix, plain)  # pylint: disable=cell-var-from-loop

        def objects(by, *steps, kind=kind):
            """Nexthop objects: (flags, id, key or members, in a list if resilient)."""
            def run():
                for flags, ident, what in steps:
                    if isinstance(what, list):
                        error = by.nexthop(flags, ident, 0, by.resilient_group(*what))
                    elif isinstance(what, tuple):
                        error = by.nexthop(flags, ident, 0, by.nexthop_group(*what) +
                                           attr(control.NHA_HW_STATS_ENABLE, u32(1)))
                    elif what:
                        error = by.nexthop(flags, ident, kind, by.nexthop_key(INDEX, what))
                    else:
                        error = by.nexthop(flags, ident, 0, b"")
                    if error:
                        return error
                return 0
            return run

        add(f"{family}: add a route, the first on the device", fresh(mode=None), route(ADD, one))
        add(f"{family}: add a route, the first for the peer", reset(), route(ADD, one))
        add(f"{family}: add a route, mode on", reset(mode="ON"), route(ADD, one))
        add(f"{family}: add a route to a known peer",
            reset(before(ADD, through(INDEX, via_key(KEY1)), "10.9.0.0/16")), route(ADD, one))
        add(f"{family}: add a multipath route", reset(), route(ADD, both))
        add(f"{family}: add a multipath route with a gateway", reset(), route(ADD, mixed))
        add(f"{family}: add a route with a metric of its own", reset(),
            route(ADD, one + nest(control.RTA_METRICS, attr(control.RTAX_MTU, u32(1300)))))
        add(f"{family}: replace a route", reset(before(ADD, one)), route(REPLACE, two))
        add(f"{family}: replace a route by a multipath one", reset(before(ADD, one)),
            route(REPLACE, both))
        add(f"{family}: replace a multipath route", reset(before(ADD, both)),
            route(REPLACE, mixed))
        add(f"{family}: replace a plain route", reset(before(ADD, through(INDEX))),
            route(REPLACE, two))
        add(f"{family}: replace by a plain route", reset(before(ADD, two)),
            route(REPLACE, through(INDEX)))
        add(f"{family}: append a route", reset(before(ADD, one)), route(APPEND, two))
        add(f"{family}: delete a route", reset(before(ADD, one)), route(None, one))
        add(f"{family}: delete a multipath route", reset(before(ADD, both)), route(None, both))
        add(f"{family}: add a nexthop object", reset(), objects(do, (ADD, 1, KEY1)))
        add(f"{family}: replace a nexthop object in use",
            reset(objects(plain, (ADD, 1, KEY1), (ADD, 2, (1,))),
                  before(ADD, attr(control.RTA_NH_ID, u32(1)))), objects(do, (REPLACE, 1, KEY2)))
        add(f"{family}: delete a nexthop object in use",
            reset(objects(plain, (ADD, 1, KEY1)), before(ADD, attr(control.RTA_NH_ID, u32(1)))),
            objects(do, (None, 1, None)))
        add(f"{family}: add a nexthop group",
            reset(objects(plain, (ADD, 1, KEY1), (ADD, 2, KEY2))), objects(do, (ADD, 3, (1, 2))))
        add(f"{family}: replace a nexthop group in use",
            reset(objects(plain, (ADD, 1, KEY1), (ADD, 2, KEY2), (ADD, 3, (1, 2))),
                  before(ADD, attr(control.RTA_NH_ID, u32(3)))), objects(do, (REPLACE, 3, (2,))))
        add(f"{family}: delete a nexthop group",
            reset(objects(plain, (ADD, 1, KEY1), (ADD, 3, (1,)))), objects(do, (None, 3, None)))
        add(f"{family}: add a resilient nexthop group",
            reset(objects(plain, (ADD, 1, KEY1), (ADD, 2, KEY2))), objects(do, (ADD, 3, [1, 2])))
        add(f"{family}: replace a resilient nexthop group in use",
            reset(objects(plain, (ADD, 1, KEY1), (ADD, 2, KEY2), (ADD, 3, [1, 2])),
                  before(ADD, attr(control.RTA_NH_ID, u32(3)))), objects(do, (REPLACE, 3, [2])))
        add(f"{family}: add a route with a nexthop group",
            reset(objects(plain, (ADD, 1, KEY1), (ADD, 2, KEY2), (ADD, 3, (1, 2)))),
            route(ADD, attr(control.RTA_NH_ID, u32(3))))
        add(f"{family}: dump the routes", reset(before(ADD, one), before(APPEND, two)),
            lambda kind=kind: do.send_dump(do.route_socket, control.RTM_GETROUTE,
                                           struct.pack("=B11x", kind)))

        # Without memory for the dst, it is as if there were no way.
        for way, hop in ("that names a peer", via_key(KEY1)), ("by a gateway",
                                                               via_gateway(prefix, gateway)):
            add(f"{family}: ask for a route {way}", reset(before(ADD, through(INDEX, hop))),
                lambda address=prefix.partition("/")[0]: do.get_route(address),
                errors=NO_BUFFERS | {errno.ENETUNREACH})

    # What IPv4 does the same way as above, or does not have.
    one = through(INDEX, via_key(KEY1))
    neighbour = reset(lambda: plain.route(ADD, "fd01::/32", one))
    add("IPv6: delete a multipath route by its prefix",
        reset(lambda: plain.route(ADD, "fd01::/32", multipath(INDEX, via_key(KEY1),
                                                              via_key(KEY2)))),
        lambda: do.route(None, "fd01::/32", b""))
    add("IPv6: add a route below another", neighbour, lambda: do.route(ADD, "fd01:1::/48", one))
    add("IPv6: add a route above another", neighbour, lambda: do.route(ADD, "fd00::/12", one))
    add("IPv6: add a route, the first of its table", lab.reset_table,
        lambda: do.route(ADD, "fd01::/32", one + attr(control.RTA_TABLE, u32(lab.table))))
    def halved(do, number):
        """A route of a table that has had 16 of them; a node of the trie is halved when the last
        but two goes, and a half with both of them becomes a node."""
        return do.route(None, f"10.2.{number}.0/24", one + attr(control.RTA_TABLE, u32(lab.table)))

    def sixteen():
        lab.reset_table()
        table = attr(control.RTA_TABLE, u32(lab.table))
        for number in range(16):
            done(plain.route(ADD, f"10.2.{number}.0/24", one + table))
        for number in range(2, 15):
            done(halved(plain, number))

    add("IPv4: delete a route, whose node becomes smaller", sixteen, lambda: halved(do, 15))
    add("IPv6: add a route from a source", reset(),
        lambda: do.route(ADD, PREFIX_SOURCE[0], one, source=PREFIX_SOURCE[1]))
    add("dump the nexthop objects",
        reset(lambda: plain.nexthop(ADD, 1, socket.AF_INET, plain.nexthop_key(INDEX, KEY1))),
        lambda: do.send_dump(do.route_socket, control.RTM_GETNEXTHOP, bytes(8)))

    def probed(*steps):
        """A host that does not forward asks now and then whether its routers are there: not in the
        first five minutes, until when jiffies have not come to 0."""
        def prepare():
            reset(lambda: plain.route(ADD, "fd01::/32", through(
                INDEX, via_gateway("fd01::/32", "fd00::2"))), *steps)()
            with open("/proc/sys/net/ipv6/conf/hub/router_probe_interval", "w",
                      encoding="ascii") as interval:
                interval.write("0")
            time.sleep(max(0, 302 - time.clock_gettime(time.CLOCK_BOOTTIME)))
        return prepare

    for state, steps in ("not known", ()), ("known not to answer", (
            lambda: plain.neighbour(INDEX, "fd00::2", control.NUD_FAILED),)):
        add(f"IPv6: ask for a route by a router that is {state}", probed(*steps),
            lambda: do.get_route("fd01::1"), errors=NO_BUFFERS | {errno.ENETUNREACH})

    def routes_by(by):
        return [lambda: by.route(ADD, "10.1.0.0/16", through(INDEX, via_key(KEY1))),
                lambda: by.route(ADD, "fd01::/32", through(INDEX, via_key(KEY2)))]

    routes = routes_by(plain)

    def wgvia_dump(command, attributes=b""):
        def run():
            family = plain.resolve("wgvia")
            return do.send_dump(do.genl, family, struct.pack("=BBxx", UAPI[command], 1) +
                                attributes)
        return run

    add("wgvia: set a mode, the first", fresh(mode=None), lambda: do.wgvia_set("hub", mode="ON"))
    add("wgvia: set mode auto with routes", fresh(*routes, mode=None),
        lambda: do.wgvia_set("hub", mode="AUTO"))
    add("wgvia: set mode off", reset(mode="ON"), lambda: do.wgvia_set("hub", mode="OFF"))
    add("wgvia: set mode auto after mode off", reset(mode="OFF"),
        lambda: do.wgvia_set("hub", mode="AUTO"))
    add("wgvia: set a filter, the first", fresh(mode=None),
        lambda: do.wgvia_set("hub", filter_="STRICT"))
    add("wgvia: set mode and filter", fresh(*routes, mode=None),
        lambda: do.wgvia_set("hub", mode="ON", filter_="LOOSE"))
    add("wgvia: set multicast", reset(), lambda: do.wgvia_set("hub", multicast=True))
    add("wgvia: get a device", reset(*routes), lambda: do.wgvia_get("hub"))
    add("wgvia: resolve, sent by a route", reset(*routes),
        lambda: do.wgvia_resolve("hub", "10.1.0.1"))
    add("wgvia: resolve, from a peer", reset(*routes),
        lambda: do.wgvia_resolve("hub", "fd00::fe", "fd01::1", KEY2))
    add("wgvia: dump the devices", reset(*routes), wgvia_dump("WGVIA_CMD_DEVICE_GET"))
    add("wgvia: dump the bindings", reset(*routes), wgvia_dump("WGVIA_CMD_BINDING_GET"))
    add("wgvia: dump the drops of peers", reset(*routes), wgvia_dump("WGVIA_CMD_DROPS_GET"))
    add("wgvia: dump the bindings of a device", reset(*routes),
        wgvia_dump("WGVIA_CMD_BINDING_GET", attr(UAPI["WGVIA_A_BINDING_IFINDEX"], u32(INDEX))))

    nobody = fresh(*routes, lambda: plain.route(ADD, "10.3.0.0/16",
                                                through(INDEX, via_key(NOBODY))))
    add("WireGuard: add a peer that routes name", nobody,
        lambda: do.wg_set("hub", peer(NOBODY, allowed=["10.0.0.3/32"])), partial=True,
        reached="10.3.0.1")
    add("WireGuard: remove a peer that routes name", fresh(*routes),
        lambda: do.wg_set("hub", peer(KEY1, control.WGPEER_F_REMOVE_ME)))
    add("WireGuard: change the private key", fresh(*routes),
        lambda: do.wg_set("hub", private=bytes([0x48]) * 32), partial=True)
    add("WireGuard: the device goes down", fresh(*routes), lambda: do.set_up("hub", False))
    # fib_add_ifaddr() adds the routes of its addresses and does not look what came of it;
    # __sock_create() has no file when sock_alloc() has no memory.
    add("WireGuard: the device goes up", fresh(lambda: plain.set_up("hub", False)),
        lambda: do.set_up("hub"), errors=NO_BUFFERS | {errno.ENFILE}, lossy=True)
    # netdev_register_kobject() goes on when dev_set_name() had no memory, without a name.
    add("WireGuard: add a device", lambda: plain.del_device("hub"),
        lambda: lab.add_device(do), errors=NO_BUFFERS | {errno.EINVAL})
    add("WireGuard: delete a device with routes", fresh(*routes),
        lambda: do.del_device("hub"))

    # What fails in the notifiers, by which routes go, is no reason for the kernel not to go on, and
    # no error. It has a WARN_ON() for what fails outside of them, in device_rename(). A namespace
    # that is deleted with a device in it is not here: a work queue does that.
    notifiers = do.faults.notifiers_text
    add("WireGuard: move a device with routes to another namespace", fresh(*routes),
        lambda: do.move_device("hub", lab.away), below=notifiers)
    add("WireGuard: move a device with routes back",
        fresh(lambda: plain.move_device("hub", lab.away),
              lambda: lab.plain_away.set_up("hub"), *routes_by(lab.plain_away)),
        lambda: lab.control_away.move_device("hub", lab.home), below=notifiers)

    def finit_module():
        with do.faults:
            failed = libc.syscall(SYS_FINIT_MODULE, lab.module, b"", 0)
            error = ctypes.get_errno()
        return error if failed else 0

    def delete_module():
        with do.faults:
            failed = libc.syscall(SYS_DELETE_MODULE, b"wgvia", os.O_NONBLOCK)
            error = ctypes.get_errno()
        return error if failed else 0

    def unloaded():
        if os.path.exists("/sys/module/wgvia") or not lab.has_device():
            lab.fresh(mode=None)
        lab.idle()
        if (libc.syscall(SYS_DELETE_MODULE, b"wgvia", os.O_NONBLOCK) and
                ctypes.get_errno() != errno.ENOENT):
            raise OSError(ctypes.get_errno(), "wgvia can not be unloaded")

    add("load the module", unloaded, finit_module, errors=NO_MEMORY)

    def loaded():
        if not os.path.exists("/sys/module/wgvia"):
            done(libc.syscall(SYS_FINIT_MODULE, lab.module, b"", 0) and ctypes.get_errno())
        lab.reset(mode="ON")

    add("unload the module", loaded, delete_module, errors=NO_MEMORY)
    return found
