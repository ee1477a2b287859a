#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The generic netlink family: what it answers, to whom, and what it refuses."""

import base64
import os
import socket
import struct
import subprocess
import time

from lib import (NLA_F_NESTED, SLOW, Ktap, Netlink, as_nobody, attr, attrs, enter_netns, errno_name,
                 number, require, scratch_netns, u32, uapi)
from lib.genetlink import NETLINK_GENERIC, family as genl_family

BINDINGS = 400

UAPI = uapi()
MODES = sorted(("off", "auto", "on"), key=lambda word: UAPI[f"WGVIA_MODE_{word.upper()}"])
FILTERS = sorted(("device", "strict", "loose", "none"),
                 key=lambda word: UAPI[f"WGVIA_FILTER_{word.upper()}"])
FRESH = ("auto", "device", 0)
KEYS = [os.urandom(32) for _ in range(BINDINGS)]


def run(*command, text=None):
    return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout


class Family:
    """The family, on a socket of the namespace that the thread is in."""

    def __init__(self):
        self.netlink = Netlink(NETLINK_GENERIC)
        self.id, _ = genl_family(self.netlink, UAPI["WGVIA_FAMILY_NAME"])

    @staticmethod
    def body(command, attributes):
        return struct.pack("=BBxx", UAPI[f"WGVIA_CMD_{command}"],
                           UAPI["WGVIA_FAMILY_VERSION"]) + attributes

    def do(self, command, *attributes):
        """(name of the error or 0, text, attributes of the reply or None)"""
        error, text, replies = self.netlink.request(
            self.id, 0, self.body(command, b"".join(attributes)))
        return (errno_name(error), text,
                dict(attrs(replies[0][1][4:])) if replies else None)

    def dump(self, command, *attributes):
        """The attributes of each message."""
        return list(self.dumping(command, *attributes))

    def dumping(self, command, *attributes):
        """The same one by one, see Netlink.dumping()."""
        request = self.body(command, b"".join(attributes))
        for _, body in self.netlink.dumping(self.id, request):
            yield dict(attrs(body[4:]))


def device(name, payload):
    return attr(UAPI[f"WGVIA_A_DEVICE_{name}"], payload)


def ifname(name):
    return device("IFNAME", name.encode() + b"\0")


def ifindex(name):
    return device("IFINDEX", u32(socket.if_nametoindex(name)))


def resolve(name, payload):
    return attr(UAPI[f"WGVIA_A_RESOLVE_{name}"], payload)


def settings(family, name):
    """(mode, filter, multicast) of a device, or of devices to come, by their words"""
    _, _, reply = (family.do("DEVICE_GET", ifname(name)) if name else family.do("DEFAULT_GET"))
    values = [number(reply[UAPI[f"WGVIA_A_DEVICE_{what}"]])
              for what in ("MODE", "FILTER", "MULTICAST")]
    return MODES[values[0]], FILTERS[values[1]], values[2]


def mode(word):
    return device("MODE", u32(MODES.index(word)))


def source_filter(word):
    return device("FILTER", u32(FILTERS.index(word)))


def multicast(value):
    return device("MULTICAST", bytes([value]))


# --- tests -----------------------------------------------------------------

def get(ktap, family):
    by_name, by_index = (family.do("DEVICE_GET", which("hub")) for which in (ifname, ifindex))
    ktap.check("error", 0, by_name[0])
    ktap.check("by index", by_name, by_index)
    reply = by_name[2]
    for what, expected in ("IFINDEX", socket.if_nametoindex("hub")), ("STATES", 0):
        ktap.check(what, expected, number(reply[UAPI[f"WGVIA_A_DEVICE_{what}"]]))
    ktap.check("settings", FRESH, settings(family, "hub"))
    ktap.check("IFNAME", b"hub\0", reply[UAPI["WGVIA_A_DEVICE_IFNAME"]])
    counters = UAPI["WGVIA_A_DEVICE_COUNTERS"]
    nest = reply.get(counters) or reply[counters | NLA_F_NESTED]
    ktap.check("counters", {kind: 0 for kind in range(1, UAPI["__WGVIA_A_COUNTERS_MAX"])},
               {kind: number(payload) for kind, payload in attrs(nest)})


def dump_devices(ktap, family):
    name = UAPI["WGVIA_A_DEVICE_IFNAME"]
    ktap.check("devices", [b"hub\0", b"second\0"],
               sorted(reply[name] for reply in family.dump("DEVICE_GET")))


def refused(ktap, family, command, which, expected, words=None):
    before = settings(family, "hub")
    error, text, _ = family.do(command, *which)
    ktap.check("error", expected, error)
    if words:
        ktap.check("words", words, text)
    ktap.check("settings", before, settings(family, "hub"))


def refused_dump(ktap, family, index, expected, words):
    try:
        family.dump("BINDING_GET", attr(UAPI["WGVIA_A_BINDING_IFINDEX"], u32(index)))
        ktap.check("error", expected, 0)
    except OSError as err:
        ktap.check("error", (expected, words), (errno_name(err.errno), err.strerror))


def set_all(ktap, family):
    for words in ("off", "none", 1), ("on", "loose", 0), ("auto", "strict", 1), FRESH:
        error, text, _ = family.do("DEVICE_SET", ifname("hub"), mode(words[0]),
                                   source_filter(words[1]), multicast(words[2]))
        ktap.check("answer", (0, ""), (error, text))
        ktap.check("settings", words, settings(family, "hub"))
    ktap.check("settings of the other device", FRESH, settings(family, "second"))


def set_one(ktap, family):
    family.do("DEVICE_SET", ifindex("hub"), mode("on"))
    ktap.check("settings with the mode set", ("on", "device", 0), settings(family, "hub"))
    family.do("DEVICE_SET", ifindex("hub"), source_filter("none"))
    ktap.check("settings with the filter set", ("on", "none", 0), settings(family, "hub"))
    family.do("DEVICE_SET", ifindex("hub"), multicast(1))
    ktap.check("settings with multicast set", ("on", "none", 1), settings(family, "hub"))
    family.do("DEVICE_SET", ifindex("hub"), mode("auto"), source_filter("device"), multicast(0))


def set_default(ktap, family):
    ktap.check("at first", FRESH, settings(family, None))
    for words in ("off", "none", 1), ("on", "loose", 0):
        error, text, _ = family.do("DEFAULT_SET", mode(words[0]), source_filter(words[1]),
                                   multicast(words[2]))
        ktap.check("answer", (0, ""), (error, text))
        ktap.check("settings of devices to come", words, settings(family, None))
    family.do("DEFAULT_SET", source_filter("strict"))
    ktap.check("with the filter set", ("on", "strict", 0), settings(family, None))
    ktap.check("a device that was there", FRESH, settings(family, "hub"))
    for attributes, expected in (((), "EINVAL"), ((mode("on"), ifname("hub")), "EINVAL"),
                                 ((device("MODE", u32(len(MODES))),), "ERANGE")):
        ktap.check("error", expected, family.do("DEFAULT_SET", *attributes)[0])
    ktap.check("settings after errors", ("on", "strict", 0), settings(family, None))
    family.do("DEFAULT_SET", mode("auto"), source_filter("device"))


def states_are(family, count):
    """Does the device have so many, once none is kept by what will soon be freed?"""
    deadline = time.monotonic() + 20 * SLOW
    while True:
        _, _, reply = family.do("DEVICE_GET", ifname("hub"))
        states = number(reply[UAPI["WGVIA_A_DEVICE_STATES"]])
        if states == count or time.monotonic() > deadline:
            return states == count
        time.sleep(0.01)


def off_while_keyed(ktap, family):
    """A device whose routes name peers is not turned off, and nothing else of the request is done."""
    key = base64.b64encode(KEYS[0]).decode()
    run("ip", "route", "add", "10.2.0.0/16", "dev", "hub", "via-wgpeer", key)
    for rest in (), (source_filter("none"), multicast(1)):
        error, text, _ = family.do("DEVICE_SET", ifname("hub"), *rest, mode("off"))
        ktap.check("answer", ("EBUSY", "routes, nexthop objects or sockets name peers of it: "
                                       "delete or close them first"),
                   (error, text))
        ktap.check("settings", FRESH, settings(family, "hub"))
    ktap.check("the other device can", 0,
               family.do("DEVICE_SET", ifname("second"), mode("off"))[0])
    family.do("DEVICE_SET", ifname("second"), mode("auto"))
    run("ip", "route", "del", "10.2.0.0/16")
    ktap.check("no states are left", True, states_are(family, 0))
    ktap.check("off", 0, family.do("DEVICE_SET", ifname("hub"), mode("off"))[0])
    family.do("DEVICE_SET", ifname("hub"), mode("auto"))


def other_namespace(ktap, family, name, other):
    """Devices of other namespaces are nobody's business."""
    enter_netns(other)
    try:
        elsewhere = Family()
        ktap.check("devices", [], elsewhere.dump("DEVICE_GET"))
        ktap.check("bindings", [], elsewhere.dump("BINDING_GET"))
        ktap.check("get", "ENODEV", elsewhere.do("DEVICE_GET", ifname("hub"))[0])
    finally:
        enter_netns(name)
    ktap.check("devices here", 2, len(family.dump("DEVICE_GET")))


def unprivileged(ktap, _):
    """A user without capabilities may not even look."""
    def ask():
        family = Family()
        answers = [family.do("DEVICE_GET", ifname("hub"))[0],
                   family.do("DEVICE_SET", ifname("hub"), mode("on"))[0],
                   family.do("DEFAULT_GET")[0],
                   family.do("DEFAULT_SET", mode("on"))[0],
                   family.do("RESOLVE", ifname("hub"), resolve("DESTINATION", bytes(4)))[0]]
        for command in "DEVICE_GET", "BINDING_GET", "PEER_GET":
            try:
                answers.append(f"{len(family.dump(command))} replies")
            except OSError as err:
                answers.append(errno_name(err.errno))
        return answers

    ktap.check("answers", ["EPERM"] * 8, as_nobody(ask))


def add_routes(dev, keys, prefix):
    """A route to each of the peers."""
    run("ip", "-batch", "-", text="".join(
        f"route add {prefix}:{i:x}::/48 dev {dev} via-wgpeer {base64.b64encode(key).decode()}\n"
        for i, key in enumerate(keys)))


def bindings(ktap, family):
    """More than one message of a dump holds: each once, with what it has."""
    add_routes("hub", KEYS, "fd05")
    add_routes("hub", KEYS[:50], "fd06")
    index = socket.if_nametoindex("hub")
    present = {KEYS[0], KEYS[7]}
    expected = sorted((index, key, 2 if i < 50 else 1, int(key in present))
                      for i, key in enumerate(KEYS))

    def got(*which):
        return sorted(
            (number(reply[UAPI["WGVIA_A_BINDING_IFINDEX"]]), reply[UAPI["WGVIA_A_BINDING_KEY"]],
             number(reply[UAPI["WGVIA_A_BINDING_STATES"]]),
             number(reply[UAPI["WGVIA_A_BINDING_PRESENT"]]))
            for reply in family.dump("BINDING_GET", *which))

    for what, listed in (
            ("all", got()),
            ("of hub", got(attr(UAPI["WGVIA_A_BINDING_IFINDEX"], u32(index))))):
        ktap.check(f"number of bindings, {what}", len(expected), len(listed))
        ktap.check(f"bindings, {what}", True, expected == listed)
    ktap.check("of second", [], got(attr(UAPI["WGVIA_A_BINDING_IFINDEX"],
                                         u32(socket.if_nametoindex("second")))))
    _, _, reply = family.do("DEVICE_GET", ifname("hub"))
    ktap.check("states", BINDINGS + 50, number(reply[UAPI["WGVIA_A_DEVICE_STATES"]]))
    run("ip", "-6", "route", "flush", "dev", "hub", "proto", "boot")
    ktap.check("no states are left", True, states_are(family, 0))
    ktap.check("bindings without the routes", [], got())


def device_goes(ktap, _):
    """The dump of a device that goes between two parts of it ends, and says so."""
    family = Family()
    # A part has some 400, and the kernel has made the second when the first is read.
    keys = [os.urandom(32) for _ in range(1200)]
    run("ip", "link", "add", "third", "type", "wireguard")
    try:
        run("ip", "link", "set", "third", "up")
        add_routes("third", keys, "fd07")
        index = attr(UAPI["WGVIA_A_BINDING_IFINDEX"], u32(socket.if_nametoindex("third")))
        ktap.check("bindings while it is there", len(keys), len(family.dump("BINDING_GET", index)))
        ktap.check("is that interrupted", False, family.netlink.interrupted)
        dump = family.dumping("BINDING_GET", index)
        next(dump)
    finally:
        run("ip", "link", "del", "third")
    try:
        left = len(list(dump))
    except OSError as err:
        left = f"{errno_name(err.errno)}: {err.strerror}"
    ktap.check(f"are some of the bindings left out ({left})", True, left in range(len(keys) - 1))
    ktap.check("is it interrupted", True, family.netlink.interrupted)


def main():
    require("ip", "wg")
    with scratch_netns("genl") as name, scratch_netns("genl2") as other:
        enter_netns(name)
        run("ip", "link", "set", "lo", "up")
        for dev in "hub", "second":
            run("ip", "link", "add", dev, "type", "wireguard")
            run("ip", "link", "set", dev, "up")
        for key in KEYS[0], KEYS[7]:
            run("wg", "set", "hub", "peer", base64.b64encode(key).decode())
        family = Family()
        no_device = device("IFINDEX", u32(4711))
        tests = [
            ("get a device by its name and by its index", get),
            ("get all devices", dump_devices),
            ("set mode, filter and multicast", set_all),
            ("set one of them", set_one),
            ("set them for devices to come", set_default),
            ("off is refused while a route names a peer", off_while_keyed),
            ("nothing of other namespaces", other_namespace, name, other),
            ("nothing without CAP_NET_ADMIN", unprivileged),
            (f"{BINDINGS} bindings in one dump", bindings),
            ("a device goes while its bindings are dumped", device_goes),
        ]
        to = resolve("DESTINATION", bytes([10, 0, 0, 1]))
        for command, rest in ("DEVICE_GET", ()), ("DEVICE_SET", (mode("on"),)), ("RESOLVE", (to,)):
            what = command.lower().replace("_", "-")
            tests += [
                (f"{what}: no such name", refused, command, (ifname("none"), *rest),
                 "ENODEV", "no such device"),
                (f"{what}: no such index", refused, command, (no_device, *rest),
                 "ENODEV", "no such device"),
                (f"{what}: not WireGuard", refused, command, (ifname("lo"), *rest),
                 "EOPNOTSUPP", "not a WireGuard device"),
                (f"{what}: no device", refused, command, rest, "EINVAL"),
                (f"{what}: name and index", refused, command,
                 (ifname("hub"), ifindex("hub"), *rest), "EINVAL"),
                (f"{what}: name too long", refused, command, (ifname("a" * 16), *rest), "EINVAL"),
                (f"{what}: index too short", refused, command,
                 (device("IFINDEX", b"\1\0"), *rest), "EINVAL"),
                (f"{what}: unknown attribute", refused, command,
                 (ifname("hub"), *rest, attr(UAPI[f"__WGVIA_A_{command.partition('_')[0]}_MAX"], b"")),
                 "EINVAL"),
            ]
        tests += [
            ("device-set: nothing to set", refused, "DEVICE_SET", (ifname("hub"),), "EINVAL"),
            ("device-set: no such mode", refused, "DEVICE_SET",
             (ifname("hub"), device("MODE", u32(len(MODES))), source_filter("none")), "ERANGE"),
            ("device-set: no such filter", refused, "DEVICE_SET",
             (ifname("hub"), mode("on"), device("FILTER", u32(len(FILTERS)))), "ERANGE"),
            ("device-set: multicast is no number", refused, "DEVICE_SET",
             (ifname("hub"), mode("on"), multicast(2)), "ERANGE"),
            ("device-set: what only get gives", refused, "DEVICE_SET",
             (ifname("hub"), mode("on"), device("STATES", u32(1))), "EINVAL"),
            ("resolve: no destination", refused, "RESOLVE", (ifname("hub"),), "EINVAL",
             "give the destination of the packet"),
            ("resolve: an address of five bytes", refused, "RESOLVE",
             (ifname("hub"), resolve("DESTINATION", bytes(5))), "EINVAL",
             "an address has 4 or 16 bytes"),
            ("resolve: two families", refused, "RESOLVE",
             (ifname("hub"), to, resolve("SOURCE", bytes(16))), "EINVAL",
             "source and destination must be of one family"),
            ("resolve: from a peer, without a source", refused, "RESOLVE",
             (ifname("hub"), to, resolve("FROM", KEYS[0])), "EINVAL",
             "give the source of a packet that comes from a peer"),
            ("resolve: from nobody", refused, "RESOLVE",
             (ifname("hub"), to, resolve("SOURCE", bytes(4)), resolve("FROM", KEYS[1])), "ENOENT",
             "the device has no peer with this key"),
            ("resolve: a key of 31 bytes", refused, "RESOLVE",
             (ifname("hub"), to, resolve("SOURCE", bytes(4)), resolve("FROM", bytes(31))), "ERANGE"),
            ("resolve: no such DSCP", refused, "RESOLVE",
             (ifname("hub"), to, resolve("DSCP", bytes([64]))), "ERANGE"),
            ("binding-get: no such index", refused_dump, 4711, "ENODEV", "no such device"),
            ("binding-get: not WireGuard", refused_dump, socket.if_nametoindex("lo"),
             "EOPNOTSUPP", "not a WireGuard device"),
        ]
        ktap = Ktap(len(tests))
        for what, function, *args in tests:
            ktap.test(what, function, ktap, family, *args)
    ktap.exit()


if __name__ == "__main__":
    main()
