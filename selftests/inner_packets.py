#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The fate of packets in the tunnel that are none, or not quite.

    inner_packets.py [--seed N] [--packets N]

A peer of bad will may encrypt anything. First single packets, each with what has to
become of it; then random ones, of which each has to be received, refused by the
source filter or refused as malformed, and none received whose source the routes do
not lead to the peer. After each packet the session still carries a good one.
"""

import argparse
import base64
import contextlib
import ipaddress
import os
import random
import secrets
import socket
import struct
import time

from lib import Ktap, require, scratch_netns
from lib.forged import checksum
from lib.noise import Session
from model.lab import (ETH_P_ALL, PACKET_IGNORE_OUTGOING, SO_RCVBUFFORCE, SOL_PACKET, TIMEOUT, Lab,
                       run)

PORT = 51820
UDP, TCP, FRAGMENT, HOP_BY_HOP = 17, 6, 44, 0
OWN = {4: "10.0.0.254", 6: "fd00::fe"}
PREFIX = {4: ipaddress.ip_network("10.2.0.0/16"), 6: ipaddress.ip_network("fd02::/48")}
MINE = {4: "10.2.0.1", 6: "fd02::1"}
NOBODYS = {4: "198.51.100.1", 6: "2001:db8::1"}
FENCE = b"this one is good"
BATCH = 50


def packed(address):
    return ipaddress.ip_address(address).packed


def udp(payload=b"x" * 8):
    return struct.pack("!HHHH", 4747, 4748, 8 + len(payload), 0) + payload


def ipv4(src=MINE[4], dst=OWN[4], payload=None, **fields):
    """An IPv4 packet; `fields` override what would be right, options are header words."""
    payload = udp() if payload is None else payload
    options = fields.get("options", b"")
    words = 5 + len(options) // 4
    header = struct.pack(
        "!BBHHHBBH4s4s", fields.get("version", 4) << 4 | fields.get("ihl", words), 0,
        fields.get("length", 4 * words + len(payload)), 7, fields.get("offset", 0), 64,
        fields.get("protocol", UDP), fields.get("checksum", 0), packed(src), packed(dst)) + options
    if "checksum" not in fields:
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return header + payload


def ipv6(src=MINE[6], dst=OWN[6], payload=None, **fields):
    payload = udp() if payload is None else payload
    return struct.pack("!IHBB16s16s", fields.get("version", 6) << 28,
                       fields.get("length", len(payload)), fields.get("next", UDP), 64,
                       packed(src), packed(dst)) + payload


def header6(following, data):
    """An IPv6 extension header, or what claims to be one."""
    return bytes([following]) + data


ACCEPTED, NOT_ITS, SOURCE, OWN_ADDRESS = "rx-wgpeer", "rx-drop-peer", "rx-drop-source", "rx-drop-own"
MALFORMED, KEEPALIVE = "malformed", "keepalive"
JUMBO = header6(UDP, bytes([0, 0xc2, 4]) + struct.pack("!I", 70000))

CASES = [
    ("nothing, which is a keepalive", KEEPALIVE, b""),
    ("one byte", MALFORMED, b"\x45"),
    ("zeroes", MALFORMED, bytes(64)),
    *((f"version {version}", MALFORMED, packet)
      for version in (0, 1, 5, 7, 15) for packet in (ipv4(version=version),)),
    ("IPv4: a header cut off", MALFORMED, ipv4()[:19]),
    ("IPv4: a header and nothing else", ACCEPTED, ipv4(payload=b"")),
    ("IPv4: longer than it is", MALFORMED, ipv4(length=1000)),
    ("IPv4: shorter than its header", MALFORMED, ipv4(length=19)),
    ("IPv4: of length 0", MALFORMED, ipv4(length=0)),
    ("IPv4: with padding", ACCEPTED, ipv4() + bytes(12)),
    ("IPv4: called IPv6", MALFORMED, ipv4(version=6)),
    ("IPv4: a header of less than 5 words", ACCEPTED, ipv4(ihl=2)),
    ("IPv4: a header longer than the packet", ACCEPTED, ipv4(ihl=15)),
    ("IPv4: a wrong checksum", ACCEPTED, ipv4(checksum=0xbad)),
    ("IPv4: a source route option", ACCEPTED,
     ipv4(options=b"\x83\x07\x04" + packed(NOBODYS[4]) + b"\x00")),
    ("IPv4: options that do not end", ACCEPTED, ipv4(options=b"\x83\xff" * 20)),
    ("IPv4: a first fragment", ACCEPTED, ipv4(offset=0x2000)),
    ("IPv4: a last fragment", ACCEPTED, ipv4(offset=185)),
    ("IPv4: a fragment beyond 64 kB", ACCEPTED, ipv4(offset=0x1fff)),
    ("IPv4: TCP cut off", ACCEPTED, ipv4(protocol=TCP, payload=b"\0\1")),
    ("IPv4: 60 kB", ACCEPTED, ipv4(payload=udp(bytes(60000)))),
    ("IPv4: of a source without a route", NOT_ITS, ipv4(src=NOBODYS[4])),
    ("IPv4: the same, a fragment", NOT_ITS, ipv4(src=NOBODYS[4], offset=185)),
    ("IPv4: from multicast", SOURCE, ipv4(src="224.0.0.1")),
    ("IPv4: from the device's address", OWN_ADDRESS, ipv4(src=OWN[4])),
    ("IPv4: from the broadcast address", OWN_ADDRESS, ipv4(src="10.0.0.255")),
    ("IPv6: a header cut off", MALFORMED, ipv6()[:39]),
    ("IPv6: a header and nothing else", ACCEPTED, ipv6(payload=b"")),
    ("IPv6: longer than it is", MALFORMED, ipv6(length=1000)),
    ("IPv6: with padding", ACCEPTED, ipv6() + bytes(12)),
    ("IPv6: called IPv4", MALFORMED, ipv6(version=4, length=9)),
    ("IPv6: a jumbogram", ACCEPTED, ipv6(next=HOP_BY_HOP, length=0, payload=JUMBO)),
    ("IPv6: an extension header cut off", ACCEPTED, ipv6(next=HOP_BY_HOP, payload=b"\x11")),
    ("IPv6: an extension header beyond the end", ACCEPTED,
     ipv6(next=HOP_BY_HOP, payload=header6(UDP, b"\xff" * 7))),
    ("IPv6: a fragment", ACCEPTED,
     ipv6(next=FRAGMENT, payload=header6(UDP, bytes([0, 0, 1, 0, 0, 0, 7])) + udp())),
    ("IPv6: extension headers that lead in a circle", ACCEPTED,
     ipv6(next=HOP_BY_HOP, payload=header6(HOP_BY_HOP, bytes(7)) * 30)),
    ("IPv6: of a source without a route", NOT_ITS, ipv6(src=NOBODYS[6])),
    ("IPv6: from a mapped IPv4 address", NOT_ITS, ipv6(src="::ffff:10.2.0.1")),
    ("IPv6: from multicast", SOURCE, ipv6(src="ff02::1")),
    ("IPv6: from the device's address", OWN_ADDRESS, ipv6(src=OWN[6])),
    ("IPv6: from nowhere", SOURCE, ipv6(src="::")),
]


class Hub:
    """A device with one peer, whom the routes to PREFIX name; we are that peer."""

    def __init__(self):
        private = os.urandom(32)
        run("ip", "-batch", "-", text="link set lo up\nlink add wg type wireguard\n")
        run("wg", "set", "wg", "listen-port", str(PORT), "private-key", "/dev/stdin",
            text=base64.b64encode(os.urandom(32)).decode())
        public = base64.b64decode(run("wg", "show", "wg", "public-key"))
        self.session = Session(private, public, ("127.0.0.1", PORT))
        key = base64.b64encode(self.session.public).decode()
        run("wg", "set", "wg", "peer", key)
        run("sysctl", "-qw", "net.ipv6.conf.wg.accept_dad=0")
        run("ip", "-batch", "-", text=f"""
            link set wg up
            address add {OWN[4]}/24 dev wg
            address add {OWN[6]}/64 dev wg""")
        run("wgvia", "set", "wg", "mode", "on", "filter", "device")
        for version in 4, 6:
            run("ip", "route", "add", str(PREFIX[version]), "dev", "wg", "via-wgpeer", key)
            # Ports are looked for in what may have none.
            run("ip", f"-{version}", "rule", "add", "pref", "100", "ipproto", "udp",
                "dport", "9", "lookup", "100")
        self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.sock.bind(("wg", ETH_P_ALL))
        self.sock.settimeout(TIMEOUT)
        self.session.shake_hands()
        self.exchange([])

    def state(self):
        counters = {name: value for name, value in Lab.counters().items()
                    if name.startswith("rx-")}
        return {**counters, "errors": Lab.receive_errors()}

    def exchange(self, packets):
        """Send packets and a good one; return those received and what has moved.

        A session keeps the order, so when the good one is there all have been."""
        before = self.state()
        for packet in packets:
            self.session.send(packet)
        mark = FENCE + os.urandom(8)
        self.session.send(ipv4(payload=udp(mark)))
        received = []
        while True:
            data = self.sock.recv(1 << 17)
            if data.endswith(mark):
                break
            received.append(data)
        deadline = time.monotonic() + TIMEOUT
        while (after := self.state())[ACCEPTED] == before[ACCEPTED] and time.monotonic() < deadline:
            time.sleep(0.01)
        moved = {name: after[name] - before[name] for name in after}
        moved[ACCEPTED] -= 1
        return received, {name: value for name, value in moved.items() if value}


def one(ktap, hub, expected, packet):
    received, moved = hub.exchange([packet])
    if expected == ACCEPTED:
        ktap.check("received", 1, len(received))
        ktap.check("what moved", {ACCEPTED: 1}, moved)
    else:
        ktap.check("received", [], received)
        ktap.check("what moved", {} if expected == KEEPALIVE else {"errors": 1}
                   if expected == MALFORMED else {"errors": 1, expected: 1}, moved)


class Random(random.Random):
    """Packets that are nearly right"""

    def packet(self):
        version = self.choice((4, 6))
        make = ipv4 if version == 4 else ipv6
        source = self.choice((MINE[version], PREFIX[version][self.getrandbits(16)],
                              NOBODYS[version], OWN[version]))
        fields = {"src": source, "payload": udp(self.randbytes(self.choice((0, 8, 100, 1300))))}
        if self.random() < 0.3:
            fields["length"] = self.choice((0, 19, 20, 28, 40, 0xffff, self.getrandbits(16)))
        if version == 4 and self.random() < 0.5:
            fields["offset"] = self.getrandbits(16)
            fields["options"] = self.randbytes(4 * self.randrange(11))
            fields["protocol"] = self.getrandbits(8)
        if version == 6 and self.random() < 0.5:
            fields["next"] = self.choice((0, 6, 17, 43, 44, 50, 51, 58, 59, 60, 135, 255))
        data = bytearray(make(**fields))
        for _ in range(self.choice((0, 0, 1, 2, 5))):
            data[self.randrange(min(len(data), 60))] = self.getrandbits(8)
        if self.random() < 0.3:
            del data[self.randrange(len(data) + 1):]
        return bytes(data)


def several(ktap, hub, draw, count):
    """Each is counted once, and what is received may be."""
    for first in range(0, count, BATCH):
        packets = [draw.packet() for _ in range(min(BATCH, count - first))]
        received, moved = hub.exchange(packets)
        empty = packets.count(b"")
        drops = sum(moved.get(name, 0) for name in moved if name.startswith("rx-drop-"))
        ktap.check("accepted and received", moved.get(ACCEPTED, 0), len(received))
        ktap.check("refused, accepted and empty", len(packets),
                   moved.get("errors", 0) + moved.get(ACCEPTED, 0) + empty)
        ktap.check("errors of the filter are errors", True, drops <= moved.get("errors", 0))
        for data in received:
            version = data[0] >> 4
            source = ipaddress.ip_address(data[12:16] if version == 4 else data[8:24])
            if source not in PREFIX[version]:
                ktap.check("source of a packet that was received", f"in {PREFIX[version]}", source)
        if ktap.diagnostics:
            ktap.diagnostics.append(f"in the packets from number {first}: " + ", ".join(
                packet[:60].hex() for packet in packets[:5]))
            break


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10 ** 9))
    parser.add_argument("--packets", type=int, default=3000)
    args = parser.parse_args()
    require("ip", "wg", "wgvia")
    with scratch_netns("inner"), contextlib.ExitStack() as stack:
        hub = Hub()
        stack.callback(hub.session.close)
        ktap = Ktap(len(CASES) + 1)
        for name, expected, packet in CASES:
            ktap.test(name, one, ktap, hub, expected, packet)
        ktap.test(f"{args.packets} random packets, seed {args.seed}", several, ktap, hub,
                  Random(args.seed), args.packets)
    ktap.exit()


if __name__ == "__main__":
    main()
