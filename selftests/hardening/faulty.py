# SPDX-License-Identifier: GPL-2.0
"""The namespaces and the device that operations are tried on, and control operations with a fault
in them."""

import errno
import os
import socket
import struct
import time

import control
from control import ADD, UAPI, Control, peer
from lib import (NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, SLOW, Netlink,
                 attr, nest, netns, u32)

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
