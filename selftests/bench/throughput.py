#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Measure the throughput by one peer, beside AllowedIPs, with few prefixes and with many.

    throughput.py

In a guest with wgvia. Two hosts have a peer each: one by AllowedIPs, the other by routes.
They take turns to send and to receive large packets, to and from random addresses in the
prefixes (packets.c). Prints a line of JSON for each case, with the ticks for a packet of each
round: those of AllowedIPs, and those of the routes.
"""

import base64
import ipaddress
import json
import socket
from itertools import chain

import rtnl
from hub import build_packets, by_allowedips, connect, enter, inside, ip, ticks
from tables import Nexthops, Peers, addresses, prefixes

SIZES = {4: (1, 1000000), 6: (1, 200000)}
HUBS = "allowedips", "routes"
BATCHES, BATCH, BYTES = 500, 32, 1300
ROUNDS = 3


def measure(version, size, way, text):
    for what in "sent", "received":
        rounds = [ticks(HUBS, what, version, (BATCHES, BATCH, BYTES), text)
                  for _ in range(ROUNDS)]
        print(json.dumps({"family": version, "prefixes": size, "way": way, "what": what,
                          "rounds": rounds}), flush=True)


def main():
    build_packets()
    owner, key = (connect(hub) for hub in HUBS)
    by_allowedips(HUBS[0], *(f"{hub}-peer" for hub in HUBS))
    ip(HUBS[0], "route", "add", "default", "dev", "wg0")
    ip(HUBS[0], "route", "add", "::/0", "dev", "wg0")
    peer = Peers(1)
    peer.keys = [base64.b64decode(key)]
    enter(HUBS[1])
    stream = rtnl.Stream()
    oif = socket.if_nametoindex("wg0")
    for version, sizes in SIZES.items():
        for size in sizes:
            table = prefixes(version, size)
            packed = addresses(table, BATCHES * BATCH, False)
            width = 4 if version == 4 else 16
            text = "".join(f"{ipaddress.ip_address(packed[i:i + width])}\n"
                           for i in range(0, len(packed), width))
            # In place of those that the peer had
            ips = "".join(f"AllowedIPs = {prefix}\n"
                          for prefix in chain(peer.hosts(0), peer.shares(table)(0)))
            inside(HUBS[0], "wg", "addconf", "wg0", "/dev/stdin",
                   text=f"[Peer]\nPublicKey = {owner}\n{ips}")
            for way, mode in ("key", "auto"), ("gateway", "on"):
                inside(HUBS[1], "wgvia", "set", "wg0", "mode", mode)
                to = Nexthops(version, way, oif, peer)
                stream.send(stream.chunks(to.routes(rtnl.RTM_NEWROUTE, table, to.of_route)))
                measure(version, size, way, text)
                stream.send(stream.chunks(to.routes(rtnl.RTM_DELROUTE, table, lambda _: b"")))


main()
