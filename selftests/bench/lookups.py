#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measure what choosing a peer and checking a source cost, beside AllowedIPs.

    lookups.py MODULE [FAMILY]

In a guest, with the measuring module MODULE; of one family, 4 or 6, or of both. Prints a
line of JSON for each case, with picoseconds for a packet of each round: those of the loop
without a lookup, of AllowedIPs, and of wgvia.
"""

import json
import pathlib
import re
import socket
import sys

import rtnl
from tables import ALLOWEDIPS, ROUTES, Nexthops, Peers, addresses, prefixes, run, set_up

SIZES = {4: (1, 1000, 1000000), 6: (1, 1000, 200000)}
# So many peers, so many nexthops of a route; the routes of the last shape are deleted
SHAPES = ((1, 1), (1000, 1), (1000, 16))
FUNCTIONS = ("wg_allowedips_lookup_dst", "wg_allowedips_lookup_src", "wg_peer_put",
             "__wg_hook_select_peer", "__wg_hook_check_source")
PARAMETERS = pathlib.Path("/sys/module/wgvia_bench/parameters")
BENCH = pathlib.Path("/proc/wgvia_bench")
# So many packets, all to one address; else one for each prefix, but no more than these
FEW, MOST = 4096, 1 << 17
ROUNDS = 5


def load(module):
    symbols = dict(re.findall(r"^([0-9a-f]+) [tT] (\w+)\t\[wireguard\]$",
                              pathlib.Path("/proc/kallsyms").read_text(encoding="ascii"), re.M))
    by_name = {name: address for address, name in symbols.items()}
    run("insmod", module, *(f"{name}=0x{by_name[name]}" for name in FUNCTIONS),
        f"allowedips={ALLOWEDIPS}", f"routes={ROUTES}")


def measure(case, filters):
    """Do the rounds of one case, with each filter."""
    for name in filters:
        run("wgvia", "set", ROUTES, "filter", name)
        rounds = {"choose": [], "check": []}
        for _ in range(ROUNDS):
            for line in BENCH.read_text(encoding="ascii").splitlines():
                what, *numbers = line.split()
                none, allowedips, routes, _, *bad = numbers
                if bad != ["0", "0"]:
                    sys.exit(f"packets without a peer or not accepted: {bad} in {case}, {name}")
                rounds[what].append([int(none), int(allowedips), int(routes)])
        for what, figures in rounds.items():
            if what == "check" or name == "device":
                print(json.dumps({**case, "what": what, "filter": name, "rounds": figures}),
                      flush=True)


def measure_routes(stream, table, peers, nexthops):
    """Measure routes to a table of prefixes, which replace those that there are."""
    version = table.version
    for way in "key", "gateway":
        run("wgvia", "set", ROUTES, "mode", "auto" if way == "key" else "on")
        to = Nexthops(version, way, socket.if_nametoindex(ROUTES), peers)
        if nexthops == 1:
            attributes = to.of_route
        else:
            stream.send(stream.chunks(to.objects() + to.groups()))
            def attributes(number):
                return rtnl.by_object(100001 + number)
        stream.send(stream.chunks(to.routes(rtnl.RTM_NEWROUTE, table, attributes)))
        for order in "random", "repeated":
            repeated = order == "repeated"
            BENCH.write_bytes(addresses(
                table, FEW if repeated else min(max(FEW, len(table)), MOST), repeated))
            case = {"family": version, "prefixes": len(table), "peers": len(peers),
                    "nexthops": nexthops, "addresses": order, "way": way}
            filters = ["device"]
            if (len(peers), nexthops, order) == (1000, 1, "random"):
                filters += ["strict", "loose"] if way == "gateway" else ["loose"]
            measure(case, filters)
        BENCH.write_bytes(b"\0")
        if nexthops > 1:
            # Not with their routes: for each object the kernel goes through the whole table.
            stream.send(stream.chunks(to.routes(rtnl.RTM_DELROUTE, table, lambda _: b"")))
            stream.send(stream.chunks(to.deletions()))


def measure_table(version, size):
    """Measure a number of prefixes with all shapes."""
    (PARAMETERS / "family").write_text(str(version), encoding="ascii")
    table = prefixes(version, size)
    stream = rtnl.Stream()
    peers = Peers(0)
    for count, nexthops in SHAPES:
        if len(peers) != count:
            peers = Peers(count)
            peers.configure(ALLOWEDIPS, peers.shares(table))
            peers.configure(ROUTES, peers.hosts)
        measure_routes(stream, table, peers, nexthops)


def main():
    set_up(ALLOWEDIPS, ROUTES)
    load(sys.argv[1])
    families = [int(word) for word in sys.argv[2:]] or list(SIZES)
    for version in families:
        for size in SIZES[version]:
            measure_table(version, size)


main()
