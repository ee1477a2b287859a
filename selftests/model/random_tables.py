#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Random tables and random packets: each packet ends where the model says.

    random_tables.py [--seed N] [--rounds N] [--packets N] [--verbose]

A round draws AllowedIPs, addresses, routes, rules, nexthop objects, a mode and a
filter, and sends packets both ways: from sockets of the hub, from a packet socket on
its WireGuard device, and from the peers. In every third round the device is in a VRF,
and in every third a VRF has routes through the device, which is outside. The
namespace that gets each packet and the counters that move have to be those of
model.py, and wgvia resolve has to say the same of it. What peers have sent goes once
more with each filter; what one filter accepts, a wider one has to accept too. Then some
of it changes, and packets go again.
All is decided by the seed of the round. Without --seed these are those of the file
`seeds`, which failed once, and the first ROUNDS numbers: what one run of the tests says,
the next one says too. To look for what nobody has seen yet, give a --seed of your own.
"""

import argparse
import collections
import contextlib
import os
import sys
from dataclasses import replace

sys.path[0] = os.path.join(sys.path[0], "..")
# pylint: disable=wrong-import-position
from lib import Ktap, require
from model.draw import DSCPS, MARKS
from model.lab import (
    BOUND_SOCKET_PORT, DEVICE, PORTS, SOCKET_PORTS, VRF, VRF_SOCKET_PORT, Lab)
from model.tables import Tables
from model.model import Flow, send_from_socket
from model.resolve import Resolver

PEERS = 4
BATCHES = 3
CONNECTED = 6
SHOWN = 5
# Each accepts what those before accept; "strict" stands apart.
FILTERS = "device", "loose", "none"

# A packet, how it is sent, and what does it: how is "socket", "hub" (a packet
# socket there) or a peer.
Shot = collections.namedtuple("Shot", "how packet sender")


def may_be_sent_to(addr):
    if addr.version == 4:
        return 1 <= addr.packed[0] < 224 and not addr.is_loopback
    return addr.packed[0] not in (0, 0xff)


class Round:
    """Tables, and the packets that go through them."""

    def __init__(self, lab, seed):
        self.lab = lab
        self.tables = Tables(seed, lab)
        self.draw = self.tables.draw
        self.device = self.tables.device
        self.tables.apply()
        self.connected = []
        self.in_vrf = {"vrf": 10} if self.tables.fib.vrfs else {}
        self.resolver = Resolver(DEVICE, self.tables.keys)

    # --- packets -----------------------------------------------------------

    def destination(self, version):
        while not may_be_sent_to(addr := self.draw.address(version)):
            pass
        return addr

    def packet(self, version, sport):
        return Flow(dst=self.destination(version), src=self.draw.choice(self.draw.sources[version]),
                    sport=sport, dport=self.draw.choice(PORTS), mark=self.draw.choice(MARKS),
                    dscp=self.draw.choice(DSCPS))

    def shot(self):
        draw = self.draw
        version = draw.choice((4, 6))
        how = draw.weighted(socket=10, bound=2, hub=3, peer=8, **self.in_vrf)
        if how == "peer":
            packet = self.packet(version, draw.choice(SOCKET_PORTS))
            # A packet of a peer may say anything.
            packet = replace(packet, mark=0, src=draw.address(version), dst=draw.choice(
                (packet.src, packet.dst)))
            peers = sorted(self.device.peers)
            accepted = [peer for peer in peers if self.device.receive(packet, peer)[0]]
            # Most others may not send it.
            how = draw.choice(accepted if accepted and draw.chance(0.5) else peers)
            return Shot(how, packet, self.lab.packet_sender(how, packet))
        if how == "hub":
            packet = self.packet(version, draw.choice(SOCKET_PORTS))
            return Shot(how, packet, self.lab.packet_sender(how, packet))
        packet = self.packet(version, draw.choice(SOCKET_PORTS))
        if how == "bound" or packet.dst.is_link_local:
            packet = replace(packet, sport=BOUND_SOCKET_PORT, oif=DEVICE)
        elif how == "vrf":
            packet = replace(packet, sport=VRF_SOCKET_PORT, oif=VRF)
        return Shot("socket", packet, self.lab.socket_sender(packet))

    def connect(self):
        """Sockets that are to follow what changes.

        An IPv6 socket is told of a change in the table that its route is in, and not of one in a
        table that a rule puts before: it can follow only where there are no rules.
        """
        for number in range(CONNECTED):
            packet = self.packet(4 if number % 2 else 6, 0)
            if self.in_vrf and packet.dst.version == 4 and self.draw.chance(0.5):
                packet = replace(packet, oif=VRF)
            if packet.dst.version == 6 and self.tables.has_rules(6):
                continue
            with contextlib.suppress(OSError):
                sock = self.lab.connected(packet)
                packet = replace(packet, sport=sock.getsockname()[1])
                self.connected.append(Shot("socket", packet, sock.send))

    def batch(self, count):
        shots = [shot for shot in self.connected if self.is_seen(shot)]
        while len(shots) < count:
            # Some flows have more than one packet.
            shot = (self.draw.choice(shots) if shots and self.draw.chance(0.2)
                    else self.shot())
            if self.is_seen(shot):
                shots.append(shot)
        return shots

    def is_seen(self, shot):
        """Packets that are local to a VRF go past the packet sockets on its device."""
        return not self.in_vrf or (VRF, None) not in self.expected(shot)

    # --- the model's word --------------------------------------------------

    def expected(self, shot):
        """The possible (fate, counter)s"""
        if shot.how in self.lab.peers:
            accepted, counters = self.device.receive(shot.packet, shot.how)
            return {("hub" if accepted else "dropped", counter) for counter in counters}
        send = self.device.send if shot.how == "hub" else lambda packet: send_from_socket(
            self.device, packet)
        return {(peer or "ENOKEY", counter) for peer, counter in send(shot.packet)}

    def compare(self, check, shots):
        """Send packets, and check what becomes of each; returns the fates and a line on each."""
        fates, moved = self.lab.exchange([shot.sender for shot in shots])
        least, most = collections.Counter(), collections.Counter()
        flows, lines, wrong, misjudged = {}, [], [], []
        for shot, fate in zip(shots, fates):
            if fate.startswith("E") and fate != "ENOKEY":
                fate = "error"
            expected = self.expected(shot)
            counters = {counter for possible, counter in expected if possible == fate}
            most.update(counters - {None})
            least.update(counters - {None} if len(counters) == 1 else ())
            lines.append(f"{describe(shot)}: {fate}; model: " + " or ".join(sorted(
                f"{possible} ({counter})" for possible, counter in expected)))
            first = flows.setdefault((shot.how, shot.packet), fate)
            if not counters:
                wrong.append(lines[-1])
            elif fate != first:
                wrong.append(f"{lines[-1]}, and {first} earlier")
            if (answer := self.resolve(shot)) not in self.answers(shot, fate, counters):
                misjudged.append(f"{lines[-1]}; resolve: {answer}")
        check("packets that have not gone as in the model", [], wrong[:SHOWN])
        check("how many have not", 0, len(wrong))
        check("packets of which resolve says something else", [], misjudged[:SHOWN])
        check("how many are", 0, len(misjudged))
        for counter in sorted(moved.keys() | most.keys()):
            if not least[counter] <= moved.get(counter, 0) <= most[counter]:
                check(f"counter {counter}", f"{least[counter]} to {most[counter]}",
                      moved.get(counter, 0))
        return fates, lines

    def resolve(self, shot):
        """(verdict, clause or None, peer or None) that wgvia resolve says"""
        if shot.how in self.lab.peers:
            verdict, clause, _ = self.resolver.ask(shot.packet, peer=shot.how)
            return verdict, clause, None
        return self.resolver.ask(shot.packet, unrouted=shot.how == "hub")

    def answers(self, shot, fate, counters):
        """Return the answers that wgvia resolve may give for a packet of this fate."""
        if fate == "error":
            # A broadcast address has a route; a socket is refused it.
            return {("unreachable", None, None)} | {
                answer for answer in [self.resolve(shot)] if self.is_broadcast(shot.packet)}
        if fate in self.lab.peers:
            # In mode off wgvia knows no peers.
            peer = None if self.device.mode == "off" else fate
            return {("accept", counter, peer) for counter in counters}
        if fate in ("ENOKEY", "dropped"):
            return {("drop", counter, None) for counter in counters}
        if fate == "hub":
            return {("accept", counter, None) for counter in counters}
        return {("elsewhere", None, None)}

    def is_broadcast(self, packet):
        route = self.device.fib.lookup(packet)
        return bool(route) and route.kind == "broadcast"

    def compare_filters(self, check, shots):
        """Send what peers send with each filter."""
        chosen, lines, narrower = self.device.filter, [], None
        for name in *FILTERS, "strict":
            self.tables.set_filter(name)
            fates, said = self.compare(check, shots)
            lines += [f"filter {name}: {line}" for line in said]
            if name in FILTERS:
                accepted = {describe(shot) for shot, fate in zip(shots, fates) if fate == "hub"}
                if narrower is not None:
                    check(f"accepted with the filter before {name} and not with it", [],
                          sorted(narrower - accepted)[:SHOWN])
                narrower = accepted
        self.tables.set_filter(chosen)
        return lines

    def check_device(self, check):
        """Does wgvia say of the device what it should, and refuse what it has to?"""
        shown, keyed = self.lab.show(), self.tables.nexthops()
        check("mode and filter", (self.device.mode, self.device.filter),
              (shown["mode"], shown["filter"]))
        # A dst has its state for longer than the route.
        check("are there as many states as nexthops that name a peer", True,
              keyed <= shown["states"])
        if keyed:
            check("what mode off says", "name peers of it",
                  self.tables.refused("wgvia", "set", DEVICE, "mode", "off", says="name peers of it"))
        elif self.device.mode == "off":
            check("what a route that names a peer says in mode off", "wgvia is off",
                  self.tables.refused("ip", "route", "add", "198.18.0.0/15", "dev", DEVICE,
                                      "via-wgpeer", self.lab.keys["p1"], says="wgvia is off"))

    def close(self):
        for shot in self.connected:
            shot.sender.__self__.close()
        self.lab.connect([peer for peer in self.lab.peers if peer not in self.device.peers])


def describe(shot):
    packet = shot.packet
    words = [f"{shot.how}: {packet.src} port {packet.sport} to {packet.dst} port {packet.dport}"]
    words += [f"{name} {value}" for name, value in (
        ("mark", packet.mark), ("dscp", packet.dscp), ("through", packet.oif)) if value]
    return " ".join(words)


def run_round(ktap, lab, seed, packets, verbose):
    this = Round(lab, seed)
    try:
        this.connect()
        for batch in range(BATCHES):
            if batch:
                this.tables.change()
            this.check_device(ktap.check)
            shots = this.batch(packets)
            _, lines = this.compare(ktap.check, shots)
            lines += this.compare_filters(
                ktap.check, [shot for shot in shots if shot.how in lab.peers])
            if verbose:
                print(*(f"# {line}" for line in this.tables.log + lines), sep="\n")
                this.tables.log.clear()
            if ktap.diagnostics:
                ktap.diagnostics += [f"in batch {batch + 1}; to see it again:",
                                     f"  random_tables.py --seed {seed} --rounds 1 "
                                     f"--packets {packets} --verbose"]
                break
    finally:
        this.close()


def read_seeds():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds")
    with open(path, encoding="ascii") as file:
        lines = [line.partition("#")[0].strip() for line in file]
    return [int(line) for line in lines if line]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, help="of the first round; without it: the seeds of "
                        "the file, then 1, 2 ...")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--packets", type=int, default=150, help="of each batch, three a round")
    parser.add_argument("--verbose", action="store_true", help="say what each round sets up")
    args = parser.parse_args()
    require("ip", "wg", "wgvia")

    known = read_seeds() if args.seed is None else []
    first = 1 if args.seed is None else args.seed
    seeds = known + [seed for seed in range(first, first + args.rounds) if seed not in known]
    ktap = Ktap(len(seeds))
    with Lab(PEERS) as lab:
        for seed in seeds:
            ktap.test(f"seed {seed}", run_round, ktap, lab, seed, args.packets, args.verbose)
    ktap.exit()


if __name__ == "__main__":
    main()
