# SPDX-License-Identifier: GPL-2.0
"""Send to many prefixes whose routes move, and tell whose packets reach a peer that has no route.

    moving.py HUB COUNT NAME=NETNS...

Address number I of COUNT is 10.64.0.0 + I. A plan is a pair (FIRST, PEERS): peer 1 + (FIRST + I) %
PEERS has the address I. FIRST may be "half": 0 for even numbers and 1 for odd ones. "none" stands for no
plan. Datagrams go to random addresses from the namespace
HUB all the time. Commands come by standard input, one a line, and each is answered by one line:

    between PLAN PLAN
        from now on each address is routed as in one of the plans or the other
    all PLAN
        and now all are as in this plan: wait until a few hundred datagrams have arrived, or failed

A plan is FIRST/PEERS or none. The answer is "good", or what was wrong.
"""

import contextlib
import ipaddress
import random
import select
import socket
import struct
import sys
import time

from lib import SLOW, enter_netns

PORT = 4748
BASE = int(ipaddress.IPv4Address("10.64.0.0"))
DATAGRAM = struct.Struct("!8sII")
MAGIC = b"wgvia-m\0"
PERIOD = 0.01
ENOUGH = 300


def plan(word):
    """The peer of an address, as a function of its number."""
    if word == "none":
        return lambda _: None
    first, peers = word.split("/")
    peers = int(peers)
    if first == "half":
        return lambda number: 1 + (number % 2 + number) % peers
    return lambda number: 1 + (int(first) + number) % peers


class Traffic:
    """Datagrams, and what became of them."""

    def __init__(self, hub, count, receivers):
        self.count = count
        self.receivers = {}
        self.poll = select.poll()
        for number, netns in receivers:
            enter_netns(netns)
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(("", PORT))
            sock.setblocking(False)
            self.receivers[sock.fileno()] = (sock, number)
            self.poll.register(sock, select.POLLIN)
        enter_netns(hub)
        self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.poll.register(sys.stdin, select.POLLIN)
        self.phases = [(plan("none"), plan("none"))]
        self.arrived = self.failed = 0      # in this phase
        self.faults = []

    def send(self):
        number = random.randrange(self.count)
        try:
            self.sender.sendto(DATAGRAM.pack(MAGIC, len(self.phases) - 1, number),
                               (str(ipaddress.IPv4Address(BASE + number)), PORT))
        except OSError:
            self.failed += 1
            if None not in [way(number) for way in self.phases[-1]]:
                self.faults.append(f"{number} cannot be sent to")

    def receive(self, sock, peer):
        with contextlib.suppress(BlockingIOError):
            while True:
                magic, phase, number = DATAGRAM.unpack(sock.recv(256))
                ways = [way(number) for way in self.phases[phase]]
                if magic != MAGIC or peer not in ways:
                    self.faults.append(f"{number} has come to peer {peer}, not to {ways}")
                elif phase == len(self.phases) - 1:
                    self.arrived += 1

    def run(self, seconds):
        """Send and receive for a time; True if there is a command."""
        self.send()
        command = False
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and not command:
            for fileno, _ in self.poll.poll(left * 1000):
                if fileno == sys.stdin.fileno():
                    command = True
                else:
                    self.receive(*self.receivers[fileno])
        return command

    def enter(self, *words):
        self.phases.append(tuple(map(plan, words)))
        self.arrived = self.failed = 0

    def answer(self, command, *words):
        self.enter(*words)
        if command == "all":
            end = time.monotonic() + 120 * SLOW
            while self.arrived + self.failed < ENOUGH and not self.faults:
                if time.monotonic() > end:
                    return f"only {self.arrived} have arrived"
                self.run(PERIOD)
        faults, self.faults = self.faults, []
        return f"{len(faults)} faults: {faults[:3]}" if faults else "good"


def main():
    hub, count, *receivers = sys.argv[1:]
    receivers = [word.split("=") for word in receivers]
    traffic = Traffic(hub, int(count), [(int(name), netns) for name, netns in receivers])
    print("ready", flush=True)
    while True:
        if traffic.run(PERIOD):
            line = sys.stdin.readline()
            if not line:
                break
            print(traffic.answer(*line.split()), flush=True)


main()
