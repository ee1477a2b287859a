#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measure what prefixes take: memory, and time to install and to move them; and what changes
of routes cost packets beside them.

    control.py

In a guest. Prints a line of JSON for each case: seconds, and where memory is asked for,
bytes for each prefix; with packets beside, round trips with changes and without.
"""

import base64
import json
import multiprocessing
import pathlib
import re
import socket
import time

import rtnl
from hub import NEAR, by_allowedips, connect, enter, inside, ip
from tables import ALLOWEDIPS, ROUTES, Nexthops, Peers, prefixes, run, set_up, tear_down

SIZES = {4: 1000000, 6: 200000}
MOVED = 100000
# Of the devices in tables.py
PEERS = 1000
# Beside packets: changes a second, in so many parts
CHANGES, PARTS, SECONDS = 10000, 100, 60
SERVER = "10.1.0.1"


def used():
    """Return the bytes that the kernel has taken and not given back."""
    time.sleep(1)  # for RCU
    text = pathlib.Path("/proc/meminfo").read_text(encoding="ascii")
    fields = dict(re.findall(r"^(\w+): +(\d+) kB$", text, re.M))
    return 1024 * sum(int(fields[name]) for name in ("Slab", "VmallocUsed", "Percpu"))


class Case:
    """Time and memory of what is done inside."""

    def __init__(self, **names):
        self.names = names

    def __enter__(self):
        self.before = used()
        self.start = time.monotonic()

    def __exit__(self, kind, value, traceback):
        if kind:
            return
        seconds = time.monotonic() - self.start
        taken = max(0, used() - self.before) / self.names["count"]
        print(json.dumps({**self.names, "seconds": seconds, "bytes": taken}), flush=True)


def install(version):
    """Install prefixes in each way, and move some."""
    size = SIZES[version]
    table = prefixes(version, size)
    peers = Peers(PEERS)
    oif = socket.if_nametoindex(ROUTES)
    stream = rtnl.Stream()
    peers.configure(ALLOWEDIPS, lambda _: [])
    peers.configure(ROUTES, peers.hosts)
    run("wgvia", "set", ROUTES, "mode", "on")
    names = {"family": version, "count": size}
    with Case(**names, way="AllowedIPs, wg setconf"):
        peers.configure(ALLOWEDIPS, peers.shares(table))
    peers.configure(ALLOWEDIPS, lambda _: [])

    def delete(those):
        stream.send(stream.chunks(
            rtnl.route(rtnl.RTM_DELROUTE, prefix, b"") for prefix in those))

    def routes(way, attributes, objects=()):
        stream.send(stream.chunks(objects))
        chunks = list(stream.chunks(
            Nexthops(version, "", oif, peers).routes(rtnl.RTM_NEWROUTE, table, attributes)))
        with Case(**names, way=way):
            stream.send(chunks)
        delete(table)

    keys = Nexthops(version, "key", oif, peers)
    gateways = Nexthops(version, "gateway", oif, peers)
    routes("on-link routes", lambda _: rtnl.by_device(oif))
    routes("routes by gateway", gateways.of_route)
    routes("routes by key", keys.of_route)
    routes("routes by nexthop object with a key", lambda number: rtnl.by_object(number + 1),
           keys.objects())
    # All by one object
    some = table.part(0, MOVED)
    stream.send(stream.chunks(rtnl.route(rtnl.RTM_NEWROUTE, prefix, rtnl.by_object(1))
                              for prefix in some))
    with Case(family=version, count=MOVED, way="moved by one message"):
        stream.send([keys.object(1, 1, rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE)])
    delete(some)
    stream.send(stream.chunks([rtnl.delete_nexthop(number + 1) for number in range(PEERS)]))


def many_peers(version, count):
    """Install a route for each of many peers, then two."""
    peers = Peers(count)
    oif = socket.if_nametoindex(ROUTES)
    with Case(family=version, count=count, way="peers, wg setconf"):
        peers.configure(ROUTES, peers.hosts)
    stream = rtnl.Stream()
    for way in "key", "gateway":
        to = Nexthops(version, way, oif, peers)
        for each in 1, 2:
            table = prefixes(version, each * count)
            chunks = list(stream.chunks(to.routes(rtnl.RTM_NEWROUTE, table, to.of_route)))
            with Case(family=version, count=each * count,
                      way=f"routes by {way}, {each} for each of {count:,} peers"):
                stream.send(chunks)
            stream.send(stream.chunks(to.routes(rtnl.RTM_DELROUTE, table, lambda _: b"")))


def round_trips(hub, seconds, result):
    """Send packets to the peer, and each back, one at a time."""
    enter(f"{hub}-peer")
    there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    there.bind((SERVER, 7))
    enter(hub)
    here = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    here.bind((NEAR[4], 7))
    there.settimeout(1)
    here.settimeout(1)
    start = time.monotonic()
    done = lost = 0
    while time.monotonic() < start + seconds:
        try:
            here.sendto(bytes(64), (SERVER, 7))
            there.recv(64)
            there.sendto(bytes(64), (NEAR[4], 7))
            here.recv(64)
            done += 1
        except TimeoutError:
            lost += 1
    result.send((done / (time.monotonic() - start), lost))


def beside_packets(seconds, is_changing):
    """Return round trips a second, how many were lost, and the changes a second beside them."""
    hub = "changing"
    table = prefixes(4, CHANGES)
    peers = Peers(PEERS)
    stream = rtnl.Stream()
    to = Nexthops(4, "key", socket.if_nametoindex("wg0"), peers)
    each = [to.of_route(number) for number in range(PEERS)]
    here, there = multiprocessing.Pipe()
    packets = multiprocessing.Process(target=round_trips, args=(hub, seconds, there))
    packets.start()
    there.close()
    start = time.monotonic()
    if is_changing:
        for turn in range(seconds * PARTS):
            # Each time to the next peer
            first = turn % PARTS * (CHANGES // PARTS)
            stream.send(stream.chunks(
                [rtnl.route(rtnl.RTM_NEWROUTE, prefix, each[(turn // PARTS + i) % PEERS],
                            rtnl.NLM_F_CREATE | rtnl.NLM_F_REPLACE)
                 for i, prefix in enumerate(table.part(first, first + CHANGES // PARTS))]))
            time.sleep(max(0, start + (turn + 1) / PARTS - time.monotonic()))
    took = time.monotonic() - start
    trips, lost = here.recv()
    packets.join()
    return trips, lost, seconds * CHANGES / took


def change_beside_packets():
    hub = "changing"
    key = connect(hub)
    by_allowedips(f"{hub}-peer")
    enter(hub)
    ip(f"{hub}-peer", "address", "add", f"{SERVER}/32", "dev", "wg0")
    ip(hub, "route", "add", f"{SERVER}/32", "dev", "wg0", "via-wgpeer", key)
    inside(hub, "wg", "addconf", "wg0", "/dev/stdin", text="".join(
        f"[Peer]\nPublicKey = {base64.b64encode(other).decode()}\n" for other in Peers(PEERS).keys))
    without, _, _ = beside_packets(SECONDS // 4, False)
    trips, lost, changes = beside_packets(SECONDS, True)
    print(json.dumps({"changes": changes, "for": SECONDS, "trips": trips, "lost": lost,
                      "without": without}), flush=True)


def main():
    set_up(ALLOWEDIPS, ROUTES)
    for version in 4, 6:
        install(version)
    tear_down(ALLOWEDIPS, ROUTES)
    set_up(ROUTES)
    run("wgvia", "set", ROUTES, "mode", "on")
    for version in 4, 6:
        many_peers(version, 10000)
    change_beside_packets()


main()
