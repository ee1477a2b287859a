#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Send numbered datagrams without a pause, both ways, and say if all have arrived.

    lib/stream.py HUB-ADDRESS PEER-ADDRESS PEER NAME=NETNS=DEVICE...

The first NAME is the hub, PEER the name of the peer that the hub sends to and that
sends to the hub. Packets are looked for on DEVICE in each of the namespaces.

traffic.sh runs this as a coprocess. Each line of its input is a command, each line of
its output the answer:

    more COUNT    go on until COUNT packets more have arrived, each way
    end           stop sending; "none lost", or what became of them
"""

import contextlib
import ipaddress
import os
import select
import socket
import struct
import sys
import time

from lib import SLOW, enter_netns, netns

PORT = 4749
NUMBER = "!8sQ"
ETH_P_ALL = 0x0003
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
TIMEOUT = 20.0 * SLOW
# So many are under way at most, fewer than any queue on the way has room for; and for
# so long, lest a loss put an end to the stream that is to show more of them.
WINDOW, PAUSE = 32, 0.2 * SLOW


class Way:
    """The datagrams of one socket, and those who receive them."""

    def __init__(self, name, magic, src, dst):
        self.name = name
        self.magic = magic
        family = socket.AF_INET if dst.version == 4 else socket.AF_INET6
        self.sock = socket.socket(family, socket.SOCK_DGRAM)
        self.sock.bind((str(src), 0))
        self.sock.connect((str(dst), PORT))
        self.sent = 0
        self.errors = {}
        self.missing = set()
        self.elsewhere = {}
        self.arrived = 0
        self.progress = time.monotonic()

    def send(self):
        """As many as may be under way."""
        if len(self.missing) >= WINDOW and time.monotonic() < self.progress + PAUSE:
            return
        self.progress = time.monotonic()
        for _ in range(8):
            try:
                self.sock.send(struct.pack(NUMBER, self.magic, self.sent))
                self.missing.add(self.sent)
            except OSError as err:
                self.errors[err.strerror] = self.errors.get(err.strerror, 0) + 1
            self.sent += 1

    def take(self, name, number):
        """A packet of this way has arrived."""
        if name == self.name and number in self.missing:
            self.missing.remove(number)
            self.arrived += 1
            self.progress = time.monotonic()
        else:
            self.elsewhere[name] = self.elsewhere.get(name, 0) + 1

    def verdict(self):
        """Return what became of all that has been sent, if not what should."""
        bad = [f"{len(self.missing)} lost"] if self.missing else []
        bad += [f"{count} at {name}" for name, count in self.elsewhere.items()]
        bad += [f"{count} not sent: {text}" for text, count in self.errors.items()]
        return [f"of {self.sent} to {self.name} {', '.join(bad)}"] if bad else []


class Stream:
    """Both ways, and a packet socket in each namespace."""

    def __init__(self, hub_addr, peer_addr, peer, namespaces):
        self.listeners, self.sinks = {}, []
        hub = next(iter(namespaces))
        home = namespaces[hub][0]
        hub_addr, peer_addr = map(ipaddress.ip_address, (hub_addr, peer_addr))
        enter_netns(home)
        self.ways = {}
        for sender, to, src, dst in ((hub, peer, hub_addr, peer_addr),
                                     (peer, hub, peer_addr, hub_addr)):
            magic = f"to {to}".encode().ljust(8)
            with netns(namespaces[sender][0], home):
                self.ways[magic] = Way(to, magic, src, dst)
        for name, (namespace, device) in namespaces.items():
            with netns(namespace, home):
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
                sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
                sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
                sock.bind((device, ETH_P_ALL))
                sock.setblocking(False)
                self.listeners[sock] = name
                if name in (hub, peer):
                    # So that no port is unreachable.
                    sink = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                    sink.bind(("::", PORT))
                    self.sinks.append(sink)

    def look(self, timeout):
        """Take what has arrived; is there a command?"""
        ready, _, _ = select.select([sys.stdin, *self.listeners], (), (), timeout)
        for sock, name in self.listeners.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    magic, number = struct.unpack(NUMBER, sock.recv(4096)[-16:].rjust(16))
                    if way := self.ways.get(magic):
                        way.take(name, number)
        return sys.stdin in ready

    def step(self):
        for way in self.ways.values():
            way.send()
        return self.look(0.005)

    def more(self, count):
        goals = {way: way.arrived + count for way in self.ways.values()}
        deadline = time.monotonic() + TIMEOUT
        while any(way.arrived < goal for way, goal in goals.items()):
            if time.monotonic() > deadline:
                return "the stream has stopped"
            self.step()
        return "more"

    def end(self):
        deadline = time.monotonic() + TIMEOUT
        while any(way.missing for way in self.ways.values()) and time.monotonic() < deadline:
            self.look(0.05)
        return "; ".join(sum((way.verdict() for way in self.ways.values()), [])) or "none lost"


def main():
    namespaces = {name: (namespace, device) for name, namespace, device in
                  (arg.split("=") for arg in sys.argv[4:])}
    stream = Stream(*sys.argv[1:4], namespaces)
    print("ready", flush=True)
    while True:
        while not stream.step():
            pass
        verb, *args = os.read(0, 4096).decode().split() or ["end"]
        print(stream.more(int(args[0])) if verb == "more" else stream.end(), flush=True)
        if verb == "end":
            break


if __name__ == "__main__":
    main()
