#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Count the instructions that a host takes for a packet of 64 bytes.

    scripts/vm --icount -- python3 /wgvia/selftests/bench/count_packets.py [WAY...]

In a guest with one processor whose clock goes by instructions: for a packet that it sends and for
one that it receives, without the module ("without"), and for each way to choose the peer ("off",
"auto", "key", "gateway"). Prints a line of JSON for each.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys

from hub import build_packets, by_allowedips, connect, inside, ip, ticks
from tables import run

HUB = "hub"
NETWORKS = {4: "10.1.0.0/16", 6: "fd01::/32"}
FAR = {4: "10.1.0.1", 6: "fd01::1"}
GATEWAYS = {4: "10.0.0.2", 6: "fd00::2"}
MODES = {"off": "off", "auto": "auto", "key": "auto", "gateway": "on"}
WAYS = "without", *MODES


def choose(way, version, key):
    """From here on packets of the family reach the peer in this way."""
    to = {"key": ("via-wgpeer", key), "gateway": ("via", GATEWAYS[version])}
    ip(HUB, f"-{version}", "route", "flush", "root", NETWORKS[version])
    if way in MODES:
        inside(HUB, "wgvia", "set", "wg0", "mode", MODES[way])
    ip(HUB, "route", "add", NETWORKS[version], "dev", "wg0", *to.get(way, ()))


def packets(what, version):
    """Run the program by SCHED_FIFO. While the emulator waits for a file, the guest's clock may run
    ahead, and the session end: then once more.
    """
    arguments = (HUB,), what, version, (500, 1, 64), FAR[version], ("chrt", "-f", "1")
    for _ in range(2):
        with contextlib.suppress(subprocess.CalledProcessError):
            return ticks(*arguments)[0]
    return ticks(*arguments)[0]


def count(way, key):
    """Return a case for each kind of packet of each family."""
    cases = []
    for version in 4, 6:
        choose(way, version, key)
        cases += [{"way": way, "what": what, "family": version,
                   "count": int(packets(what, version))} for what in ("received", "sent")]
    return cases


def in_turn():
    """Have the kernel's threads run in the order in which they are woken, as the program does, so
    that it is the same for each packet.
    """
    for thread in pathlib.Path("/proc").glob("[0-9]*/comm"):
        try:
            if thread.read_text(encoding="ascii").startswith(("kworker", "ksoftirqd")):
                os.sched_setscheduler(int(thread.parent.name), os.SCHED_FIFO, os.sched_param(1))
        except OSError:
            # It has ended.
            pass


def main():
    build_packets()
    key = connect(HUB)
    inside(HUB, "wg", "set", "wg0", "peer", key, "allowed-ips",
           ",".join([*GATEWAYS.values(), *NETWORKS.values()]))
    # The kernel makes its threads as it needs them: it does so here.
    count("without", key)
    in_turn()
    for way in sys.argv[1:] or WAYS:
        if way in MODES and not os.path.exists("/sys/module/wgvia"):
            run("modprobe", "wgvia")
            by_allowedips(f"{HUB}-peer")
        for case in count(way, key):
            print(json.dumps(case), flush=True)


main()
