# SPDX-License-Identifier: GPL-2.0
"""Tell which routers of a mesh reach each other, and over how many hops.

    reach.py NUMBER=NETNS=ADDRESS4=ADDRESS6...

The addresses are of the router's LAN. Once a second each router sends a datagram to
each other one, in both families; these are a round. Commands come by standard input, one a
line, and each is answered by one line:

    reach SECONDS NUMBER...
        wait until all that these routers send to each other arrives
    direct SECONDS LINKS NUMBER...
        the same, and it takes one hop between the ends of each link; LINKS is 1-2,2-3,...

The answer is "after MILLISECONDS", counted from the command to the first of three rounds in a
row that are as they are to be, or, after the time given, what was wrong with a round whose time was over.
"""

import contextlib
import select
import socket
import struct
import sys
import time

from lib import SLOW, enter_netns

PORT = 4747
PERIOD = SLOW           # between two rounds, in seconds: they are to leave a busy machine time
PATIENCE = 4            # rounds that one may take to arrive
IN_A_ROW = 3
FIRST_TTL = 64
IP_RECVTTL = 12         # not in every version of the socket module
DATAGRAM = struct.Struct("!8sQBB")
MAGIC = b"wgvia-r\0"


class Router:
    """A router's sockets, one of each family, and its addresses."""

    def __init__(self, number, netns, *addresses):
        self.number = int(number)
        self.addresses = dict(zip((4, 6), addresses))
        self.sockets = {}
        enter_netns(netns)
        for version, family in (4, socket.AF_INET), (6, socket.AF_INET6):
            sock = self.sockets[version] = socket.socket(family, socket.SOCK_DGRAM)
            if version == 4:
                sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            sock.bind((self.addresses[version], PORT))
            sock.setblocking(False)


class Mesh:
    """Send rounds, and keep what has arrived of the last ones."""

    def __init__(self, routers):
        self.routers = {router.number: router for router in routers}
        self.receivers = {sock.fileno(): (sock, router, version) for router in routers
                          for version, sock in router.sockets.items()}
        self.poll = select.poll()
        for fileno in self.receivers:
            self.poll.register(fileno, select.POLLIN)
        self.round = 0
        self.sent = {}          # round: when
        self.arrived = {}       # round: {(from, to, version): hops}

    def send_round(self, numbers):
        self.round += 1
        self.sent[self.round] = time.monotonic()
        self.arrived[self.round] = {}
        for source in numbers:
            for target in numbers:
                if source != target:
                    self.send(source, target)
        self.sent.pop(self.round - PATIENCE - IN_A_ROW, None)
        self.arrived.pop(self.round - PATIENCE - IN_A_ROW, None)

    def send(self, source, target):
        router = self.routers[source]
        for version, sock in router.sockets.items():
            # No route, or no peer: it does not arrive.
            with contextlib.suppress(OSError):
                sock.sendto(DATAGRAM.pack(MAGIC, self.round, source, target),
                            (self.routers[target].addresses[version], PORT))

    def receive(self, until):
        while (left := until - time.monotonic()) > 0:
            for fileno, _ in self.poll.poll(left * 1000):
                self.receive_from(*self.receivers[fileno])

    def receive_from(self, sock, router, version):
        with contextlib.suppress(OSError):
            while True:
                data, controls, _, _ = sock.recvmsg(256, 64)
                if len(data) != DATAGRAM.size:
                    continue
                magic, number, source, target = DATAGRAM.unpack(data)
                if magic == MAGIC and target == router.number and number in self.arrived:
                    ttl = struct.unpack("=i", controls[0][2][:4])[0]
                    self.arrived[number][source, target, version] = FIRST_TTL + 1 - ttl

    def wait(self, seconds, numbers, wrong):
        """Go on until wrong(what has arrived of a round) is empty, three rounds in a row."""
        start, first = time.monotonic(), self.round + 1
        while True:
            begun = time.monotonic()
            self.send_round(numbers)
            self.receive(begun + PERIOD)
            good = 0
            for number in range(max(first, self.round - PATIENCE - IN_A_ROW + 1), self.round + 1):
                good = 0 if wrong(self.arrived[number]) else good + 1
                if good == IN_A_ROW:
                    took = self.sent[number - IN_A_ROW + 1] - start
                    return f"after {round(took * 1000)}"
            if begun - start > seconds:
                last = max(first, self.round - PATIENCE)
                return "in vain: " + " ".join(wrong(self.arrived[last]))

    def reach(self, numbers, links=()):
        def wrong(arrived):
            faults = []
            for source in numbers:
                for target in numbers:
                    for version in (4, 6) if source != target else ():
                        hops = arrived.get((source, target, version))
                        if not hops:
                            faults.append(f"{source}-{target}/{version}:lost")
                        elif hops > 1 and {source, target} in links:
                            faults.append(f"{source}-{target}/{version}:{hops}hops")
            return faults
        return wrong

    def answer(self, command, seconds, *words):
        if command == "reach":
            numbers = [int(word) for word in words]
            wrong = self.reach(numbers)
        elif command == "direct":
            numbers = [int(word) for word in words[1:]]
            links = [{int(end) for end in link.split("-")} for link in words[0].split(",")]
            wrong = self.reach(numbers, [link for link in links if link <= set(numbers)])
        else:
            return f"no such command: {command}"
        return self.wait(float(seconds), numbers, wrong)


def main():
    mesh = Mesh([Router(*word.split("=")) for word in sys.argv[1:]])
    print("ready", flush=True)
    for line in sys.stdin:
        print(mesh.answer(*line.split()), flush=True)


main()
