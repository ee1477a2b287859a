#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measure what notifications cost others beside a flood of packets from many addresses.

    scripts/vm --icount -- python3 /wgvia/selftests/bench/beside_flood.py [ROUNDS]

In a guest with one processor whose clock goes by instructions: the time in which the same
packets are sent and received, without the module, with it, and with a listener to all groups.
The three take turns. In each round two peers send from 1,000 addresses, and a third one
sends what is measured; once with false handshakes among these and once without. Prints a
line of JSON for each flood: for each way the microseconds of each round, and the ratio of the
throughput to that without the module, of the medians.
"""

import contextlib
import json
import os
import socket
import statistics
import sys
import time

sys.path[0] = os.path.join(sys.path[0], "..")
# pylint: disable=wrong-import-position
from events.flood import ADDRESSES, PEERS, PER_FALSE, false_initiation, roaming_session
from events.lab import PORT, Lab, run, wg_key
from lib import enter_netns, netns, scratch_netns

PACKETS = 2000
BATCH = 20
WAYS = "unloaded", "loaded", "listening"


class Measured:
    """A peer in the namespace `far`, and the socket that gets what it sends."""

    def __init__(self, lab, home, far):
        private, public = wg_key()
        run("ip", "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", far)
        for words in (("address", "add", "192.0.2.{}/30", "dev", "cable"),
                      ("link", "set", "cable", "up")):
            run("ip", *(word.format(1) for word in words))
            run("ip", "-n", far, *(word.format(2) for word in words))
        run("wg", "set", "hub", "peer", public, "allowed-ips", "10.9.0.2/32")
        run("ip", "address", "add", "10.9.0.1/24", "dev", "hub")
        run("ip", "-n", far, "link", "add", "wg0", "type", "wireguard")
        run("ip", "netns", "exec", far, "wg", "set", "wg0", "private-key", "/dev/stdin", "peer",
            lab.public, "endpoint", f"192.0.2.1:{PORT}", "allowed-ips", "10.9.0.1/32", text=private)
        run("ip", "-n", far, "address", "add", "10.9.0.2/24", "dev", "wg0")
        run("ip", "-n", far, "link", "set", "wg0", "up")
        self.receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.receiver.bind(("10.9.0.1", 7))
        self.receiver.settimeout(60)
        with netns(far, home):
            self.sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sender.connect(("10.9.0.1", 7))
        self.send()
        self.receive(1)

    def send(self):
        self.sender.send(bytes(1400))

    def receive(self, count):
        for _ in range(count):
            self.receiver.recv(2000)


def flood(lab, measured, sessions, has_handshakes):
    """The microseconds that it takes."""
    # Sealed beforehand: that is the work of the processor that each peer has for itself.
    packets = [[session.sealed(b"") for _ in range(PACKETS)] for session in sessions]
    false = [false_initiation(lab) for _ in range(PACKETS // PER_FALSE if has_handshakes else 0)]
    started = time.monotonic_ns()
    for i in range(PACKETS):
        for session, those in zip(sessions, packets):
            session.sock.move(i % ADDRESSES)
            session.sock.send(those[i])
        if i % PER_FALSE == 0 and false:
            sessions[0].sock.send(false.pop())
        measured.send()
        if i % BATCH == BATCH - 1:
            measured.receive(BATCH)
    return (time.monotonic_ns() - started) // 1000


def measure(lab, measured, sessions, has_handshakes, rounds):
    times, told = {way: [] for way in WAYS}, []
    for _ in range(rounds):
        for way in WAYS:
            # modprobe -r would unload WireGuard too.
            run("rmmod" if way == "unloaded" else "modprobe", "wgvia")
            with contextlib.ExitStack() as stack:
                if way == "listening":
                    listener = stack.enter_context(lab.listen(rcvbuf=1 << 20))
                times[way].append(flood(lab, measured, sessions, has_handshakes))
                if way == "listening":
                    told.append(len(lab.events(listener)))
    median = {way: statistics.median(of) for way, of in times.items()}
    print(json.dumps({
        "handshakes": has_handshakes, "us": times, "told": told,
        "ratio": {way: round(median["unloaded"] / median[way], 4) for way in WAYS[1:]}}), flush=True)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with scratch_netns("flood") as home, scratch_netns("far") as far:
        enter_netns(home)
        lab = Lab(home, far)
        measured = Measured(lab, home, far)
        run("modprobe", "wgvia")
        for number in range(PEERS):
            lab.peer(number, "allowed-ips", f"10.0.0.{number + 1}/32")
        for has_handshakes in False, True:
            sessions = [roaming_session(lab, number) for number in range(PEERS)]
            for session in sessions:
                session.shake_hands()
                session.send(b"")
            measure(lab, measured, sessions, has_handshakes, rounds)
            for session in sessions:
                session.close()


if __name__ == "__main__":
    main()
