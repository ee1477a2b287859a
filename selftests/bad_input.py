#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""What the kernel says to a malformed or misplaced RTA_WGPEER.

Each case is sent to add a route, to replace one and to delete one; each time the
error number and the words are the expected ones, and nothing has changed.
"""

import base64
import errno
import os
import socket
import struct
import subprocess

from lib import (NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Ktap, Netlink, attr,
                 errno_name, require, scratch_netns)

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_MULTIPATH = 1, 4, 5, 9
RTA_ENCAP_TYPE, RTA_ENCAP, RTA_NH_ID = 21, 22, 30
RTA_WGPEER = 0x1747
RT_TABLE_MAIN, RTPROT_BOOT = 254, 3
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RTN_UNICAST, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT = 1, 6, 7, 8
LWTUNNEL_ENCAP_BPF = 6

E1 = "RTA_WGPEER must be a 32-byte public key"
E2 = "RTA_WGPEER given twice"
E3 = "RTA_WGPEER and RTA_ENCAP are mutually exclusive"
E4 = "via-wgpeer needs a device"
E5 = "via-wgpeer needs a WireGuard device"
E7 = "RTA_WGPEER belongs into each nexthop of RTA_MULTIPATH"
WITH_NHID = "Nexthop specification and nexthop id are mutually exclusive"
WITH_TYPE = {
    "IPv4": {E4, "Gateway, device and multipath can not be specified for this route type"},
    "IPv6": {"RTA_WGPEER can not be specified for this route type"},
}

KEY, OTHER_KEY = os.urandom(32), os.urandom(32)


class Family:
    """Addresses of a family in the form that netlink has them."""

    def __init__(self, name, family, length, existing, new, gateway):
        self.name = name
        self.family = family
        self.length = length
        self.existing = socket.inet_pton(family, existing)
        self.new = socket.inet_pton(family, new)
        self.gateway = socket.inet_pton(family, gateway)


IPV4 = Family("IPv4", socket.AF_INET, 16, "10.2.0.0", "10.3.0.0", "10.0.0.2")
IPV6 = Family("IPv6", socket.AF_INET6, 48, "fd02::", "fd03::", "fd00::2")


def u32(value):
    return struct.pack("=I", value)


def wgpeer(key=KEY):
    return attr(RTA_WGPEER, key)


def encap():
    """A lightweight tunnel of another type; what is in it is never looked at."""
    return (attr(RTA_ENCAP_TYPE, struct.pack("=H", LWTUNNEL_ENCAP_BPF)) +
            attr(RTA_ENCAP | NLA_F_NESTED, attr(1, u32(0))))


def nexthop(dev, attributes=b""):
    return struct.pack("=HBBi", 8 + len(attributes), 0, 0, dev) + attributes


def multipath(*nexthops):
    return attr(RTA_MULTIPATH, b"".join(nexthops))


class Routes:
    """The namespace: a WireGuard device hub with a peer, and a device other."""

    def __init__(self):
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "hub", "type", "wireguard")
        self.ip("link", "add", "other", "type", "dummy")
        key = base64.b64encode(KEY).decode()
        subprocess.run(["wg", "set", "hub", "peer", key], check=True)
        self.ip("link", "set", "hub", "up")
        self.ip("link", "set", "other", "up")
        self.ip("address", "add", "10.0.0.1/24", "dev", "hub")
        self.ip("address", "add", "fd00::1/64", "dev", "hub")
        subprocess.run(["wgvia", "set", "hub", "mode", "auto"], check=True)
        self.ip("route", "add", "10.2.0.0/16", "dev", "hub", "via-wgpeer", key)
        self.ip("route", "add", "fd02::/48", "dev", "hub", "via-wgpeer", key)
        self.ip("nexthop", "add", "id", "4", "dev", "hub")
        self.ip("-6", "nexthop", "add", "id", "6", "dev", "hub")
        self.hub = socket.if_nametoindex("hub")
        self.other = socket.if_nametoindex("other")
        self.lo = socket.if_nametoindex("lo")
        self.netlink = Netlink()

    @staticmethod
    def ip(*args):
        subprocess.run(["ip", *args], check=True)

    def state(self):
        """Everything that a route command could have changed."""
        tables = [sorted(body for _, body in
                         self.netlink.dump(RTM_GETROUTE, struct.pack("=B11x", f.family)))
                  for f in (IPV4, IPV6)]
        device = subprocess.run(["wgvia", "show", "-j", "hub"], check=True, capture_output=True)
        return tables, device.stdout

    def request(self, command, f, attributes, kind=RTN_UNICAST):
        """Send a route command; return (errno, text)."""
        message = {"add": RTM_NEWROUTE, "replace": RTM_NEWROUTE, "del": RTM_DELROUTE}[command]
        flags = {"add": NLM_F_CREATE | NLM_F_EXCL, "replace": NLM_F_CREATE | NLM_F_REPLACE,
                 "del": 0}[command]
        if f is IPV6:
            scope = RT_SCOPE_UNIVERSE
        elif command == "del":
            scope = RT_SCOPE_NOWHERE
        else:
            scope = RT_SCOPE_UNIVERSE if kind != RTN_UNICAST else RT_SCOPE_LINK
        header = struct.pack("=BBBBBBBBI", f.family, f.length, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT,
                             scope, kind, 0)
        dst = attr(RTA_DST, f.new if command == "add" else f.existing)
        error, text, _ = self.netlink.request(message, flags, header + dst + attributes)
        return error, text


def refused(ktap, routes, f, expected, attributes, commands=("add", "replace", "del"),
            kind=RTN_UNICAST):
    """All the commands fail alike, and nothing changes."""
    before = routes.state()
    for command in commands:
        error, text = routes.request(command, f, attributes, kind)
        ktap.check(f"error of {command}", "EINVAL", errno_name(error))
        if text not in expected:
            ktap.check(f"words of {command}", " or ".join(sorted(expected)), text)
    ktap.check("nothing has changed", True, before == routes.state())


def accepted(ktap, routes, f, attributes):
    """The control: what all the cases are made from is a good route."""
    before = routes.state()
    error, _ = routes.request("add", f, attributes)
    ktap.check("add", 0, error)
    error, _ = routes.request("add", f, attributes)
    ktap.check("add again", errno.EEXIST, error)
    ktap.check("something has changed", True, before != routes.state())
    f.new, f.existing = f.existing, f.new
    ktap.check("del", (0, ""), routes.request("del", f, attributes))
    f.new, f.existing = f.existing, f.new
    ktap.check("all is as before", True, before == routes.state())


def cases(routes, f):
    """(what, expected words, attributes) of what is malformed in all commands."""
    oif = attr(RTA_OIF, u32(routes.hub))
    gateway = attr(RTA_GATEWAY, f.gateway)
    for length in 0, 31, 33, 4096:
        yield f"key of {length} bytes", E1, oif + wgpeer(bytes(length))
    yield "key with the nested flag", E1, oif + attr(RTA_WGPEER | NLA_F_NESTED, KEY)
    yield "key in a nest", E1, oif + attr(RTA_WGPEER | NLA_F_NESTED, wgpeer())
    yield "the same key twice", E2, oif + wgpeer() + wgpeer()
    yield "two keys", E2, wgpeer() + oif + wgpeer(OTHER_KEY)
    yield "key before RTA_ENCAP", E3, oif + wgpeer() + encap()
    yield "key after RTA_ENCAP", E3, encap() + oif + wgpeer()
    yield "key beside RTA_MULTIPATH", E7, multipath(nexthop(routes.hub, gateway)) + wgpeer()
    yield ("key beside RTA_MULTIPATH and in it", E7,
           wgpeer() + multipath(nexthop(routes.hub, wgpeer()), nexthop(routes.hub, gateway)))
    for length in 0, 31, 33, 4096:
        yield (f"key of {length} bytes in a nexthop of RTA_MULTIPATH", E1,
               multipath(nexthop(routes.hub, wgpeer(bytes(length)))))
    for what, expected, attributes in (
            ("key with the nested flag", E1, attr(RTA_WGPEER | NLA_F_NESTED, KEY)),
            ("two keys", E2, wgpeer() + wgpeer(OTHER_KEY)),
            ("key beside RTA_ENCAP", E3, encap() + wgpeer())):
        yield (f"{what} in the second nexthop of RTA_MULTIPATH", expected,
               multipath(nexthop(routes.hub, wgpeer()), nexthop(routes.hub, attributes)))
    nhid = attr(RTA_NH_ID, u32(4 if f is IPV4 else 6))
    yield "key beside RTA_NH_ID", WITH_NHID, nhid + wgpeer()


def misplaced(routes, f):
    """(what, expected words, attributes) that no route can have."""
    gateway = attr(RTA_GATEWAY, f.gateway)
    yield "no device", E4, wgpeer()
    yield "a gateway and no device", E4, wgpeer() + gateway
    for dev in "other", "lo":
        yield f"device {dev}", E5, attr(RTA_OIF, u32(getattr(routes, dev))) + wgpeer()
    yield ("device other in the second nexthop of RTA_MULTIPATH", E5,
           multipath(nexthop(routes.hub, wgpeer()), nexthop(routes.other, wgpeer())))
    yield ("no device in the second nexthop of RTA_MULTIPATH", E4,
           multipath(nexthop(routes.hub, wgpeer()), nexthop(0, wgpeer())))


def not_deleted(ktap, routes, f):
    """A key that no route to the prefix has deletes none, whatever the device."""
    before = routes.state()
    for dev in routes.hub, routes.other, None:
        attributes = wgpeer(OTHER_KEY)
        if dev:
            attributes += attr(RTA_OIF, u32(dev))
        error, _ = routes.request("del", f, attributes)
        ktap.check(f"del of another key, device {dev}", errno.ESRCH, error)
    error, _ = routes.request("del", f, wgpeer() + attr(RTA_OIF, u32(routes.other)))
    ktap.check("del of the key, another device", errno.ESRCH, error)
    ktap.check("nothing has changed", True, before == routes.state())


def main():
    require("ip", "wg", "wgvia")
    with scratch_netns("bad"):
        routes = Routes()
        tests = []
        for f in IPV4, IPV6:
            oif = attr(RTA_OIF, u32(routes.hub))
            tests.append((f"{f.name}: a good route", accepted, f, oif + wgpeer()))
            tests.append((f"{f.name}: a good multipath route", accepted, f,
                          multipath(nexthop(routes.hub, wgpeer()),
                                    nexthop(routes.hub, wgpeer(OTHER_KEY)))))
            for what, expected, attributes in cases(routes, f):
                tests.append((f"{f.name}: {what}", refused, f, {expected}, attributes))
            for what, expected, attributes in misplaced(routes, f):
                tests.append((f"{f.name}: {what}", refused, f, {expected}, attributes,
                              ("add", "replace")))
            for kind, what in ((RTN_BLACKHOLE, "blackhole"), (RTN_UNREACHABLE, "unreachable"),
                               (RTN_PROHIBIT, "prohibit")):
                tests.append((f"{f.name}: {what} route with a key", refused, f, WITH_TYPE[f.name],
                              wgpeer(), ("add", "replace"), kind))
                tests.append((f"{f.name}: {what} route with a device and a key", refused, f,
                              WITH_TYPE[f.name], oif + wgpeer(), ("add", "replace"), kind))
            tests.append((f"{f.name}: del of a key that no route has", not_deleted, f))
        ktap = Ktap(len(tests))
        for name, function, *args in tests:
            ktap.test(name, function, ktap, routes, *args)
    ktap.exit()


if __name__ == "__main__":
    main()
