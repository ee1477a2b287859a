#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Everything that can change does, while packets flow; then the packets are judged.

    soak.py SECONDS SEED HUB AWAY LAN PEER...

soak.sh calls this with the namespaces of its topology. The keys of the hub (0) and
of the peers are in SOAK_KEYS, private and base64, separated by commas. The threads
of workers.py change things, the processes of traffic.py send, judge.py says which
packets may have arrived.
"""

import base64
import collections
import errno
import os
import random
import signal
import sys
import time

import traffic
from control import REPLACE, Control, through, via_key
from judge import World
from lib import SLOW, Ktap, enter_netns
from listeners import Listeners
from workers import Device, Elsewhere, Namespaces, Peers, Routes, Show

PREFIXES = ([f"10.{16 + i}.0.0/16" for i in range(8)] +
            [f"fd{0x10 + i:x}::/16" for i in range(8)])
ROUTE_THREADS = 4
# Packets a second that each process sends, and that a slow kernel can encrypt.
RATE = 150 / SLOW
# The least that a run of a minute must have done. Of the packets that were sent at least one
# in so many has to be delivered, so that there is something to judge.
MINUTE = 60
KINDS = {
    "one", "several", "onlink", "blackhole", "delete", "replace object", "delete object", "object",
    "group object", "group", "resilient group object", "resilient group", "member of a group",
    "append", "nexthop of several", "purge", "add peer", "remove peer", "move AllowedIPs",
    "mode OFF", "mode AUTO", "mode ON", "multicast on", "multicast off",
    "filter DEVICE", "filter STRICT", "filter LOOSE", "filter NONE",
    "delete device", "new device", "move device", "move device back", "device down",
    "ip nexthop flush", "ip -4 route flush proto boot", "ip -6 route flush proto boot",
    "route elsewhere", "delete elsewhere", "unload module", "load module",
    "show routes", "show nexthops", "show devices",
    "show bindings", "show peers", "show wg", "listen", "notification", "fill a namespace",
    "delete namespace",
}
ONE_IN = {traffic.TO_PEER: 8, traffic.NO_DST: 8, traffic.FORWARDED: 8, traffic.TO_HUB: 40,
          traffic.TO_GROUP: 8}


def inconsistent(world, device):
    """Does what wgvia says of the device fit, after all those changes at once?"""
    enter_netns(world.hub)
    device.control = device.peers.control = Control()
    device.mode("AUTO")
    return device.control.inconsistent("hub")


def left(_world, device):
    """Return what is counted or bound when all routes and nexthop objects are gone, if anything."""
    device.mode("AUTO")
    device.flush()
    # A dst in a socket has its state until the socket looks for another.
    deadline = time.monotonic() + 20 * SLOW
    while (left_over := device.control.left()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left_over


def settle(world, device, elsewhere):
    """A known state, in which every prefix has one peer: who has which."""
    elsewhere.control = device.control
    for ident in range(len(PREFIXES)):
        elsewhere.set(ident, False)
    device.mode("ON")
    device.filter("STRICT")
    index = device.index()
    owners = {}
    for ident, prefix in enumerate(PREFIXES):
        owners[ident] = number = world.numbers[ident % len(world.numbers)]
        key = device.peers.present(number)
        with world.route[ident].change(("key", number, key)) as change:
            change.done = device.control.route(
                REPLACE, prefix, through(index, via_key(world.public[number][key]))) == 0
    return owners


def wait_for_all(files, owners):
    """Until every prefix has had a packet each way from now on; which have not, in good time."""
    settled = time.time()
    deadline = time.monotonic() + 120
    missing = None
    while missing is None or missing and time.monotonic() < deadline:
        time.sleep(2)
        missing = {(direction, prefix) for direction in traffic.DIRECTIONS
                   for prefix in owners}
        for path in files:
            for packet in traffic.arrivals(path):
                if packet.sent > settled and owners[packet.prefix] == packet.peer:
                    missing.discard((packet.direction, packet.prefix))
    return missing


def report(world):
    names = sorted({what for what, _ in world.counts})
    for name in names:
        errors = {errno.errorcode.get(error, str(error)): count
                  for (what, error), count in sorted(world.counts.items())
                  if what == name and error}
        failed = ", ".join(f"{count} {error}" for error, count in errors.items())
        print(f"# {name}: {world.counts[name, 0]} done" + (f", {failed}" if failed else ""))
    done = sum(count for (_, error), count in world.counts.items() if not error)
    print(f"# operations: {done} done, {sum(world.counts.values()) - done} refused")


def main():
    seconds, seed = float(sys.argv[1]), sys.argv[2]
    hub, away, lan, *peers = sys.argv[3:]
    private = [base64.b64decode(key) for key in os.environ["SOAK_KEYS"].split(",")]
    world = World([hub, away, *peers], private, PREFIXES, ROUTE_THREADS)
    enter_netns(hub)
    ktap = Ktap(10)
    print(f"# seed: {seed}, {seconds:.0f} s", flush=True)

    senders = {"hub": (traffic.Hub, [hub]), "peers": (traffic.Peers, [hub, *peers]),
               "behind": (traffic.Behind, [lan])}
    files = [f"{os.environ['SOAK_TMP']}/{name}" for name in senders]
    pids = [traffic.start(kind, namespaces, PREFIXES, path, seed, RATE)
            for path, (kind, namespaces) in zip(files, senders.values())]

    changer = Peers(world, seed, pause=0.05)
    device = Device(world, seed, Peers(world, seed))
    elsewhere = Elsewhere(world, seed, pause=0.1)
    workers = [changer, device, elsewhere, Show(world, seed, pause=0.01),
               Namespaces(world, seed, pause=1), Listeners(world, seed, pause=0.05)]
    workers += [Routes(world, seed, number) for number in range(ROUTE_THREADS)]
    for worker in workers:
        worker.start()
    end = time.monotonic() + seconds
    while (rest := end - time.monotonic()) > 0 and not world.stop.wait(min(rest, 60)):
        print(f"# {max(0, end - time.monotonic()):.0f} s left", flush=True)
    world.stop.set()
    for worker in workers:
        worker.join()

    unfit = inconsistent(world, device)
    # The device as all those changes have left it, its bindings with it, then a new one.
    missing = wait_for_all(files, settle(world, device, elsewhere))
    left_over = left(world, device)
    device.new()
    missing_anew = wait_for_all(files, settle(world, device, elsewhere))
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    report(world)

    judged, forgiven = collections.Counter(), collections.Counter()
    forbidden = []
    strangers = random.Random(seed)
    for path in files:
        for packet in traffic.arrivals(path):
            judged[packet.direction] += 1
            if not world.allows(packet):
                forbidden.append(packet)
            others = [number for number in world.numbers if number != packet.peer]
            forgiven[packet.direction] += world.allows(
                packet._replace(peer=strangers.choice(others)))
    sent = collections.Counter()
    for path in files:
        sent.update(traffic.sent(path))
    names = {traffic.TO_PEER: "to peers", traffic.NO_DST: "to peers without a dst",
             traffic.FORWARDED: "to peers from behind the hub", traffic.TO_HUB: "to the hub",
             traffic.TO_GROUP: "to groups"}
    print("# packets delivered and judged:", ", ".join(
        f"{judged[direction]} of {sent[direction]} {name}" for direction, name in names.items()),
          f"; {len(forbidden)} forbidden", sep="")
    print("# packets that another peer might as well have sent or got:", ", ".join(
        f"{forgiven[direction]} {name}" for direction, name in names.items()))
    for packet in forbidden[:20]:
        print(*(f"# {line}" for line in world.explain(packet)), sep="\n")

    def workers_ran():
        ktap.check("what ended early", [], [worker.failure for worker in workers
                                            if worker.failure])

    def everything_done():
        if seconds >= MINUTE:
            ktap.check("what was never done", set(), {kind for kind in KINDS
                                                      if not world.counts[kind, 0]})

    def packets_arrived():
        for direction, name in names.items():
            ktap.check(f"is one packet in {ONE_IN[direction]} delivered {name}", True,
                       judged[direction] > 0 and
                       judged[direction] * ONE_IN[direction] >= sent[direction])

    def packets_judged():
        # Of what goes to a group every peer gets one.
        for direction in traffic.DIRECTIONS:
            name = names[direction]
            ktap.check(f"might another peer not have had one in four packets {name}", True,
                       forgiven[direction] * 4 < judged[direction] * 3)

    ktap.test("everything changes until the end", workers_ran)
    ktap.test("every kind of change is done", everything_done)
    ktap.test("a share of the packets arrives", packets_arrived)
    ktap.test("what arrives is judged sharply", packets_judged)
    ktap.test("packets flow until the end",
              lambda: ktap.check("statuses", [0] * len(pids), statuses))
    ktap.test("no packet is delivered that was forbidden all its flight",
              lambda: ktap.check("forbidden", 0, len(forbidden)))
    ktap.test("what wgvia says of the device in the end fits",
              lambda: ktap.check("what does not", "", unfit))
    ktap.test("then every prefix has its peer, both ways",
              lambda: ktap.check("(direction, prefix) without a packet", set(), missing))
    ktap.test("nothing is left when all routes are gone",
              lambda: ktap.check("what is", "", left_over))
    ktap.test("a new device has its peers, both ways",
              lambda: ktap.check("(direction, prefix) without a packet", set(), missing_anew))
    ktap.exit()


if __name__ == "__main__":
    main()
