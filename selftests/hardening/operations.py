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
from control import ADD, APPEND, REPLACE, UAPI, multipath, peer, through, via_gateway, via_key
from faulty import INDEX, KEY1, KEY2, NOBODY, PREFIX_SOURCE, done
from inject import EVERYWHERE, libc
from lib import attr, nest, u32
from notifications import add_notifications

SYS_FINIT_MODULE, SYS_DELETE_MODULE = 313, 176

# The errors by which lack of memory may be called: FIBs and netlink say that they have no buffers.
NO_MEMORY = {errno.ENOMEM}
NO_BUFFERS = {errno.ENOMEM, errno.ENOBUFS}


class Operation:
    """The steps before each try, then with the fault.

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

    # Operations that IPv4 does the same way as above, or does not have.
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
    add("wgvia: dump the peers", reset(*routes), wgvia_dump("WGVIA_CMD_PEER_GET"))
    add("wgvia: dump the bindings of a device", reset(*routes),
        wgvia_dump("WGVIA_CMD_BINDING_GET", attr(UAPI["WGVIA_A_BINDING_IFINDEX"], u32(INDEX))))

    nobody = fresh(*routes, lambda: plain.route(ADD, "10.3.0.0/16",
                                                through(INDEX, via_key(NOBODY))))
    add("WireGuard: add a peer that routes name", nobody,
        lambda: do.wg_set("hub", peer(NOBODY, allowed=["10.0.0.3/32"])), partial=True,
        reached="10.3.0.1")
    def no_peers():
        plain.del_device("hub")
        done(lab.add_device(plain))

    add("WireGuard: add the first peers", no_peers,
        lambda: do.wg_set("hub", peer(KEY1, allowed=["10.0.0.1/32"]), peer(KEY2)), partial=True)
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

    # A failure in the notifiers, by which routes go, is no reason for the kernel not to go on,
    # and no error. It has a WARN_ON() for what fails outside of them, in device_rename(). A namespace
    # that is deleted with a device in it is not here: a work queue does that.
    notifiers = do.faults.notifiers_text
    add("WireGuard: move a device with routes to another namespace", fresh(*routes),
        lambda: do.move_device("hub", lab.away), below=notifiers)
    add("WireGuard: move a device with routes back",
        fresh(lambda: plain.move_device("hub", lab.away),
              lambda: lab.plain_away.set_up("hub"), *routes_by(lab.plain_away)),
        lambda: lab.control_away.move_device("hub", lab.home), below=notifiers)

    add_notifications(lab, add, fresh, reset)

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
