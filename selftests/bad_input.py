#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Answers of the kernel to a malformed or misplaced RTA_WGPEER, which is alone in RTA_ENCAP.

Each case is sent to add a route and to replace one, and all of a kind to delete one; each
time the error number and the words are the expected ones, and nothing has changed. The
same for nexthop objects, and for numbers that ip does not send.
"""

import base64
import errno
import json
import os
import socket
import struct
import subprocess
import time

from lib import (NLA_F_NESTED, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, SLOW, Ktap, Netlink,
                 attr, attrs, encap_type, errno_name, nest, require, scratch_netns, u16, u32)

RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEXTHOP, RTM_GETNEXTHOP = 104, 106
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_MULTIPATH = 1, 4, 5, 9
RTA_ENCAP_TYPE, RTA_ENCAP, RTA_NH_ID = 21, 22, 30
RTA_WGPEER = 1  # inside RTA_ENCAP
NHA_ID, NHA_GROUP, NHA_BLACKHOLE, NHA_OIF = 1, 2, 4, 5
NHA_ENCAP_TYPE, NHA_ENCAP, NHA_FDB = 7, 8, 11
RTNH_F_DEAD, RTNH_F_ONLINK = 1, 4
RT_TABLE_MAIN, RTPROT_BOOT = 254, 3
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_NOWHERE = 0, 253, 255
RTN_UNICAST, RTN_BLACKHOLE, RTN_UNREACHABLE, RTN_PROHIBIT = 1, 6, 7, 8
LWTUNNEL_ENCAP_BPF = 6

MALFORMED = "RTA_ENCAP must hold one RTA_WGPEER of 32 bytes"
NO_DEVICE = "via-wgpeer needs a device"
NOT_WIREGUARD = "via-wgpeer needs a WireGuard device"
NO_SUCH_TYPE = "lwt encapsulation type not supported"
NO_TYPE = "Unknown lwt encapsulation type"
NO_ENCAP_TYPE = "Unknown LWT encapsulation type"
EXTRA = "Invalid nexthop configuration - extra data after nexthops"
WITH_NHID = "Nexthop specification and nexthop id are mutually exclusive"
WITH_TYPE = "Gateway, device and multipath can not be specified for this route type"

REJECTING = {RTN_BLACKHOLE: "blackhole", RTN_UNREACHABLE: "unreachable", RTN_PROHIBIT: "prohibit"}

KEY, OTHER_KEY = os.urandom(32), os.urandom(32)


class Family:
    """Addresses of a family in the form that netlink has them."""

    def __init__(self, name, family, length, existing, new, gateway):
        self.name = name
        self.family = family
        self.length = length
        self.existing = socket.inet_pton(family, existing)
        self.new = socket.inet_pton(family, new)
        self.gateway = attr(RTA_GATEWAY, socket.inet_pton(family, gateway))
        # Stands beside each key in RTA_MULTIPATH: IPv6 wants a gateway without wgvia/0002.
        self.beside = b"" if family == socket.AF_INET else self.gateway


IPV4 = Family("IPv4", socket.AF_INET, 16, "10.2.0.0", "10.3.0.0", "10.0.0.2")
IPV6 = Family("IPv6", socket.AF_INET6, 48, "fd02::", "fd03::", "fd00::2")


def typed(kind, *inside):
    """RTA_ENCAP with attributes in it, of a type."""
    return attr(RTA_ENCAP_TYPE, u16(kind)) + nest(RTA_ENCAP, *inside)


def raw(key=KEY):
    """Return the payload of RTA_ENCAP."""
    return attr(RTA_WGPEER, key)


def keyed(*inside):
    return typed(encap_type(), *inside)


def wgpeer(key=KEY):
    """Return the attributes that name a peer."""
    return keyed(raw(key))


def object_typed(kind, *inside):
    """typed() for a nexthop object."""
    return attr(NHA_ENCAP_TYPE, u16(kind)) + nest(NHA_ENCAP, *inside)


def nexthop(dev, attributes=b"", flags=0, hops=0, length=None):
    if length is None:
        length = 8 + len(attributes)
    return struct.pack("=HBBi", length, flags, hops, dev) + attributes


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
        self.restore()
        self.ip("nexthop", "add", "id", "4", "dev", "hub", "via-wgpeer", key)
        self.ip("-6", "nexthop", "add", "id", "6", "dev", "hub", "via-wgpeer", key)
        self.ip("nexthop", "add", "id", "7", "group", "4")
        self.hub = socket.if_nametoindex("hub")
        self.other = socket.if_nametoindex("other")
        self.lo = socket.if_nametoindex("lo")
        self.netlink = Netlink()

    @staticmethod
    def ip(*args):
        subprocess.run(["ip", *args], check=True)

    def restore(self):
        """Make the routes that requests to replace and to delete are for, if they have gone."""
        for prefix in "10.2.0.0/16", "fd02::/48":
            self.ip("route", "replace", prefix, "dev", "hub", "via-wgpeer",
                    base64.b64encode(KEY).decode())

    def state(self):
        """Everything that a route command could have changed."""
        tables = [sorted(body for _, body in
                         self.netlink.dump(RTM_GETROUTE, struct.pack("=B11x", f.family)))
                  for f in (IPV4, IPV6)]
        objects = [body for _, body in self.netlink.dump(RTM_GETNEXTHOP, bytes(8))]
        device = subprocess.run(["wgvia", "show", "-j", "hub"], check=True, capture_output=True)
        return tables, objects, device.stdout

    def is_again(self, state):
        """Is all as in `state`? What was freed may be counted for a grace period more."""
        deadline = time.monotonic() + 10 * SLOW
        while (again := self.before()) != state and time.monotonic() < deadline:
            time.sleep(0.01)
        return again == state

    def check_nothing(self, ktap, before):
        """Nothing has changed; what a kernel has deleted all the same is there again then."""
        is_again = self.is_again(before)
        ktap.check("nothing has changed", True, is_again)
        if not is_again:
            self.restore()
            # States that have gone are counted for a while.
            ktap.check("all is restored", True, self.is_again(before))

    def before(self):
        """Keep what is_again() compares with."""
        return self.state(), self.references()

    @staticmethod
    def references():
        with open("/sys/module/wgvia/refcnt", encoding="ascii") as file:
            return int(file.read())

    def object_request(self, f, number, flags, attributes):
        """Add or replace a nexthop object; return (errno, text)."""
        header = struct.pack("=BBBBI", f.family if f else socket.AF_UNSPEC, 0, RTPROT_BOOT, 0, 0)
        error, text, _ = self.netlink.request(RTM_NEWNEXTHOP, flags,
                                              header + attr(NHA_ID, u32(number)) + attributes)
        return error, text

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


def refused(ktap, routes, f, expected, attributes, commands=("add", "replace"),
            kind=RTN_UNICAST, name="EINVAL"):
    """All the commands fail alike, and nothing changes."""
    before = routes.before()
    for command in commands:
        error, text = routes.request(command, f, attributes, kind)
        ktap.check(f"error of {command}", name, errno_name(error))
        if text not in expected:
            ktap.check(f"words of {command}", " or ".join(sorted(expected)), text)
    ktap.check("nothing has changed", True, routes.is_again(before))


def malformed_not_deleted(ktap, routes, f):
    """A malformed request to delete deletes nothing."""
    before = routes.before()
    for what, expected, attributes in cases(routes, f):
        error, text = routes.request("del", f, attributes)
        if f is IPV4 and expected == MALFORMED:
            # A state that cannot be built is no route's, and the kernel may say why it cannot.
            ktap.check(f"error of {what}", "ESRCH", errno_name(error))
            ktap.check(f"words of {what}", True, text in ("", MALFORMED))
        else:
            ktap.check(f"answer to {what}", ("EINVAL", expected), (errno_name(error), text))
    routes.check_nothing(ktap, before)


def ignored(ktap, routes, f, attributes, kind):
    """IPv6 takes no encapsulation of a route that rejects: it rejects, and names nobody."""
    before = routes.before()
    ktap.check("add", (0, ""), routes.request("add", f, attributes, kind))
    shown = subprocess.run(["ip", "-j", "-6", "-details", "route", "show", "type",
                            REJECTING[kind]], check=True, capture_output=True).stdout
    ktap.check("keys of the route", [None], [route.get("via_wgpeer") for route in json.loads(shown)])
    device = json.loads(subprocess.run(["wgvia", "show", "-j", "hub"], check=True,
                                       capture_output=True).stdout)[0]
    ktap.check("states", json.loads(before[0][2])[0]["states"], device["states"])
    f.new, f.existing = f.existing, f.new
    ktap.check("del", (0, ""), routes.request("del", f, b"", kind))
    f.new, f.existing = f.existing, f.new
    ktap.check("all is as before", True, routes.is_again(before))


def accepted(ktap, routes, f, attributes):
    """The control: what all the cases are made from is a good route."""
    before = routes.before()
    error, _ = routes.request("add", f, attributes)
    ktap.check("add", 0, error)
    error, _ = routes.request("add", f, attributes)
    ktap.check("add again", errno.EEXIST, error)
    ktap.check("something has changed", True, before[0] != routes.state())
    delete_new(ktap, routes, f, attributes)
    ktap.check("all is as before", True, routes.is_again(before))


def delete_new(ktap, routes, f, attributes=b""):
    """Delete the route that "add" has made."""
    f.new, f.existing = f.existing, f.new
    ktap.check("del", (0, ""), routes.request("del", f, attributes))
    f.new, f.existing = f.existing, f.new


def object_refused(ktap, routes, f, name, expected, attributes):
    """A nexthop object is neither added nor replaced."""
    before = routes.before()
    existing = 7 if not f else 4 if f is IPV4 else 6
    for number, flags in ((99, NLM_F_CREATE | NLM_F_EXCL), (existing, NLM_F_CREATE | NLM_F_REPLACE)):
        error, text = routes.object_request(f, number, flags, attributes)
        ktap.check(f"error of nexthop {number}", (name, expected), (errno_name(error), text))
    ktap.check("nothing has changed", True, routes.is_again(before))


def object_accepted(ktap, routes, f, attributes):
    """The control for nexthop objects."""
    before = routes.before()
    error, _ = routes.object_request(f, 99, NLM_F_CREATE | NLM_F_EXCL, attributes)
    ktap.check("add", 0, error)
    error, _ = routes.object_request(f, 99, NLM_F_CREATE | NLM_F_EXCL, attributes)
    ktap.check("add again", errno.EEXIST, error)
    ktap.check("something has changed", True, before[0] != routes.state())
    routes.ip("nexthop", "del", "id", "99")
    ktap.check("all is as before", True, routes.is_again(before))


def key_in(attributes):
    """The key that these attributes of a nexthop name."""
    if attributes.get(RTA_ENCAP_TYPE) != u16(encap_type()):
        return None
    encap = attributes.get(RTA_ENCAP) or attributes.get(RTA_ENCAP | NLA_F_NESTED)
    return dict(attrs(encap)).get(RTA_WGPEER)


def nexthops_of(body):
    """The (weight, key) of each nexthop of a route in a dump."""
    found = []
    data = next((payload for kind, payload in attrs(body[12:]) if kind == RTA_MULTIPATH), b"")
    while data:
        length, _, hops, _ = struct.unpack_from("=HBBi", data)
        found.append((hops + 1, key_in(dict(attrs(data[8:length])))))
        data = data[(length + 3) & ~3:]
    return found


def many(ktap, routes, f):
    """Three hundred nexthops in one route, with all weights that there are: all are dumped.

    (ip asks for less at a time, and shows no route of this size, with gateways neither.)
    """
    wanted = [(weight, os.urandom(32)) for weight in [*range(1, 257), *range(1, 45)]]
    before = routes.before()
    ktap.check("add", 0, routes.request("add", f, multipath(
        *(nexthop(routes.hub, f.beside + wgpeer(key), hops=weight - 1)
          for weight, key in wanted)))[0])
    found = [nexthops_of(body) for _, body in
             routes.netlink.dump(RTM_GETROUTE, struct.pack("=B11x", f.family))
             if dict(attrs(body[12:])).get(RTA_DST) == f.new]
    ktap.check(f"all {len(wanted)} are dumped", True, [wanted] == found)
    device = json.loads(subprocess.run(["wgvia", "show", "-j", "hub"], check=True,
                                       capture_output=True).stdout)[0]
    ktap.check("nexthops of the device", len(wanted) + json.loads(before[0][2])[0]["states"],
               device["states"])
    bound = {binding["key"]: binding["states"] for binding in device["bindings"]}
    ktap.check("each is bound once", len(wanted),
               sum(bound.get(base64.b64encode(key).decode()) == 1 for _, key in wanted))
    delete_new(ktap, routes, f)
    ktap.check("all is as before", True, routes.is_again(before))


def inside_encap():
    """(what, attributes) that RTA_ENCAP and NHA_ENCAP can not hold."""
    for length in 0, 31, 33, 4096:
        yield f"key of {length} bytes", (raw(bytes(length)),)
    yield "nothing", ()
    yield "the same key twice", (raw(), raw())
    yield "two keys", (raw(), raw(OTHER_KEY))
    yield "another attribute", (attr(2, KEY),)
    yield "the attribute of before", (attr(0x1747, KEY),)
    yield "a key before another attribute", (raw(), attr(2, KEY))
    yield "a key after another attribute", (attr(2, KEY), raw())
    yield "a key with the nested flag", (attr(RTA_WGPEER | NLA_F_NESTED, KEY),)
    yield "a key in a nest", (attr(RTA_WGPEER | NLA_F_NESTED, raw()),)
    yield "a key without a header", (KEY,)
    for length in 4, 16, 35:
        yield f"a key cut off after {length} bytes", (raw()[:length],)
    for length in 1, 3, 4:
        yield f"a key and {length} bytes more", (raw(), bytes(length))


def cases(routes, f):
    """(what, expected words, attributes) of what is malformed in all commands."""
    oif = attr(RTA_OIF, u32(routes.hub))
    for what, inside in inside_encap():
        yield what, MALFORMED, oif + keyed(*inside)
    nhid = attr(RTA_NH_ID, u32(4 if f is IPV4 else 6))
    yield "a key beside RTA_NH_ID", WITH_NHID, nhid + wgpeer()


def misplaced(routes, f):
    """(what, expected words, attributes) that no route can have. (A request to delete takes one
    nexthop after the other, and says of what follows only that it is wrong, if at all.)"""
    oif = attr(RTA_OIF, u32(routes.hub))
    for what, inside in inside_encap():
        yield (f"{what}, in the second nexthop of RTA_MULTIPATH", MALFORMED,
               multipath(nexthop(routes.hub, f.beside + wgpeer()),
                         nexthop(routes.hub, f.beside + keyed(*inside))))
    if f is IPV4:
        yield "no device", NO_DEVICE, wgpeer()
        yield "a gateway and no device", NO_DEVICE, wgpeer() + f.gateway
        yield ("no device in the second nexthop of RTA_MULTIPATH", NO_DEVICE,
               multipath(nexthop(routes.hub, wgpeer()), nexthop(0, wgpeer())))
    for dev in "other", "lo":
        yield f"device {dev}", NOT_WIREGUARD, attr(RTA_OIF, u32(getattr(routes, dev))) + wgpeer()
    yield ("device other in the second nexthop of RTA_MULTIPATH", NOT_WIREGUARD,
           multipath(nexthop(routes.hub, f.beside + wgpeer()),
                     nexthop(routes.other, f.beside + wgpeer(),
                             flags=RTNH_F_ONLINK if f.beside else 0)))
    yield ("a key without the type", NO_ENCAP_TYPE,
           oif + attr(RTA_ENCAP | NLA_F_NESTED, raw()))


def broken_nexthops(routes, f):
    """(what, expected words, attributes) of what is wrong with RTA_MULTIPATH itself."""
    good = nexthop(routes.hub, wgpeer())
    none = EXTRA if f is IPV4 else "Invalid nexthop configuration - no valid nexthops"
    for length in 0, 7, len(good) + 1, 65535:
        yield (f"a nexthop that says {length} bytes", none,
               multipath(nexthop(routes.hub, wgpeer(), length=length)))
    if f is IPV4:
        yield "half a nexthop after the last", EXTRA, multipath(good, good[:4])
        yield ("a nexthop that is dead", "Invalid flags for nexthop - can not contain DEAD or LINKDOWN",
               multipath(good, nexthop(routes.hub, wgpeer(OTHER_KEY), flags=RTNH_F_DEAD)))


def typed_cases(routes):
    """(what, error, expected words, attributes): the key in RTA_ENCAP of another type."""
    oif = attr(RTA_OIF, u32(routes.hub))
    yield "a key in RTA_ENCAP of type 63", "EOPNOTSUPP", NO_SUCH_TYPE, oif + typed(63, raw())
    yield "a key in RTA_ENCAP of type 65", "EINVAL", NO_TYPE, oif + typed(65, raw())


def object_cases(routes):
    """(what, family, error, expected words, attributes) of nexthop objects."""
    oif = attr(NHA_OIF, u32(routes.hub))
    good = object_typed(encap_type(), raw())
    for f in IPV4, IPV6:
        for what, inside in inside_encap():
            yield what, f, "EINVAL", MALFORMED, oif + object_typed(encap_type(), *inside)
        yield "type 63", f, "EOPNOTSUPP", NO_SUCH_TYPE, oif + object_typed(63, raw())
        yield "type 65", f, "EINVAL", NO_TYPE, oif + object_typed(65, raw())
        yield ("a key without the type", f, "EINVAL", "LWT encapsulation type is missing",
               oif + attr(NHA_ENCAP | NLA_F_NESTED, raw()))
        yield ("the type without a key", f, "EINVAL", "LWT encapsulation attribute is missing",
               oif + attr(NHA_ENCAP_TYPE, u16(encap_type())))
        yield ("a blackhole with a key", f, "EINVAL",
               "Blackhole attribute can not be used with gateway, oif, encap or fdb",
               attr(NHA_BLACKHOLE, b"") + good)
        yield ("an fdb nexthop with a key", f, "EINVAL",
               "Fdb attribute can not be used with encap, oif or blackhole",
               attr(NHA_FDB, b"") + good)
        for dev in "other", "lo":
            yield (f"device {dev}", f, "EINVAL", NOT_WIREGUARD,
                   attr(NHA_OIF, u32(getattr(routes, dev))) + good)
        yield ("no such device", f, "EINVAL", "Invalid device index",
               attr(NHA_OIF, u32(4711)) + good)
    yield ("a group with a key", None, "EINVAL", "No other attributes can be set in nexthop groups",
           attr(NHA_GROUP, member(4)) + good)
    # The weight that is sent is one less: the highest would be 65536. 0 can not be sent.
    yield ("a member with too high a weight", None, "EINVAL", "Invalid value for weight",
           attr(NHA_GROUP, member(4, 65535)))
    yield ("a member twice", None, "EINVAL", "Nexthop id can not be used twice in a group",
           attr(NHA_GROUP, member(4) + member(4)))
    yield ("a member that there is not", None, "EINVAL", "Invalid nexthop id",
           attr(NHA_GROUP, member(4) + member(4711)))


def member(number, weight=0):
    """struct nexthop_grp"""
    return struct.pack("=IBBH", number, weight & 255, weight >> 8, 0)


def not_deleted(ktap, routes, f):
    """A key that no route to the prefix has deletes none, whatever the device."""
    before = routes.before()
    for dev in routes.hub, routes.other, None:
        attributes = wgpeer(OTHER_KEY)
        if dev:
            attributes += attr(RTA_OIF, u32(dev))
        error, _ = routes.request("del", f, attributes)
        ktap.check(f"del of another key, device {dev}", errno.ESRCH, error)
    error, _ = routes.request("del", f, wgpeer() + attr(RTA_OIF, u32(routes.other)))
    ktap.check("del of the key, another device", errno.ESRCH, error)
    routes.check_nothing(ktap, before)


def main():
    require("ip", "wg", "wgvia")
    with scratch_netns("bad"):
        routes = Routes()
        tests = []
        for f in IPV4, IPV6:
            oif = attr(RTA_OIF, u32(routes.hub))
            tests.append((f"{f.name}: a good route", accepted, f, oif + wgpeer()))
            tests.append((f"{f.name}: a good multipath route", accepted, f,
                          multipath(nexthop(routes.hub, f.beside + wgpeer()),
                                    nexthop(routes.hub, f.beside + wgpeer(OTHER_KEY)))))
            for what, expected, attributes in cases(routes, f):
                tests.append((f"{f.name}: {what}", refused, f, {expected}, attributes))
            for what, expected, attributes in misplaced(routes, f):
                tests.append((f"{f.name}: {what}", refused, f, {expected}, attributes))
            if f is IPV6:
                # As of any route without a device
                for what, attributes in (
                        ("no device", wgpeer()),
                        ("no device in the second nexthop of RTA_MULTIPATH",
                         multipath(nexthop(routes.hub, wgpeer()), nexthop(0, wgpeer())))):
                    tests.append((f"{f.name}: {what}", refused, f, {"", NO_DEVICE}, attributes,
                                  ("add", "replace"), RTN_UNICAST, "ENODEV"))
            tests.append((f"{f.name}: 300 nexthops of all weights", many, f))
            for what, expected, attributes in broken_nexthops(routes, f):
                tests.append((f"{f.name}: {what}", refused, f, {expected}, attributes))
            tests.append((f"{f.name}: an empty RTA_MULTIPATH", refused, f,
                          {"Attribute failed policy validation"}, multipath(), ("add", "replace"),
                          RTN_UNICAST, "ERANGE"))
            for what, name, expected, attributes in typed_cases(routes):
                tests.append((f"{f.name}: {what}", refused, f, {expected}, attributes,
                              ("add", "replace", "del"), RTN_UNICAST, name))
            tests.append((f"{f.name}: a good nexthop object", object_accepted, f,
                          attr(NHA_OIF, u32(routes.hub)) +
                          object_typed(encap_type(), raw())))
            for kind, what in REJECTING.items():
                if f is IPV6:
                    tests.append((f"{f.name}: {what} route with a key", ignored, f, wgpeer(), kind))
                    tests.append((f"{f.name}: {what} route with a device and a key", ignored, f,
                                  oif + wgpeer(), kind))
                    continue
                tests.append((f"{f.name}: {what} route with a key", refused, f,
                              {NO_DEVICE, WITH_TYPE}, wgpeer(), ("add", "replace"), kind))
                tests.append((f"{f.name}: {what} route with a device and a key", refused, f,
                              {WITH_TYPE}, oif + wgpeer(), ("add", "replace"), kind))
                tests.append((f"{f.name}: {what} route with a key in a nexthop", refused, f,
                              {WITH_TYPE}, multipath(nexthop(routes.hub, wgpeer())),
                              ("add", "replace"), kind))
            tests.append((f"{f.name}: del of what is malformed", malformed_not_deleted, f))
            tests.append((f"{f.name}: del of a key that no route has", not_deleted, f))
        tests.append(("a good group of nexthop objects", object_accepted, None,
                      attr(NHA_GROUP, member(4, 65534) + member(6))))
        for what, f, *rest in object_cases(routes):
            name = f.name if f else "group"
            tests.append((f"{name}: nexthop object: {what}", object_refused, f, *rest))
        ktap = Ktap(len(tests))
        for name, function, *args in tests:
            ktap.test(name, function, ktap, routes, *args)
    ktap.exit()


if __name__ == "__main__":
    main()
