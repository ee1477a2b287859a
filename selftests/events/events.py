#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Notifications: each from the action that causes it, once and in order, and to whom."""

import errno
import os
import re
import socket
import struct
import subprocess
import sys
import time

sys.path[0] = os.path.join(sys.path[0], "..")
# pylint: disable=wrong-import-position
from events import flood, monitor
from events.lab import ALL, MANY, PORT, Lab, conf, raw, run, short, wg_key
from hardening import control
from lib import SLOW, Ktap, as_nobody, enter_netns, errno_name, netns, require, scratch_netns

IN_ONE_REQUEST = 600
# wg needs 80 bytes for a peer with an entry of IPv4, and up to 32 for what comes first.
PEERS_IN_A_PAGE = (4096 - 32) // 80 - 1


def settings(ktap, lab):
    with lab.listen() as listener:
        run("wgvia", "set", "hub", "mode", "on", "filter", "loose")
        run("wgvia", "set", "hub", "mode", "off")
        run("wg", "set", "hub", "private-key", "/dev/stdin", "fwmark", "7", text=lab.private)
        got = lab.events(listener)
    rest = "ifname=hub mode={} filter=2 multicast=0 states=0"
    ktap.check("events", [
        "device-change " + rest.format(2), "device-change " + rest.format(0),
        f"wireguard-change listen-port={PORT} fwmark=7 public-key={raw(lab.public)}",
    ], short(lab, got))


def chosen_port(ktap, lab):
    """A device without a listen port chooses one when it first comes up, and keeps it."""
    with lab.listen() as listener:
        run("ip", "link", "add", "portless", "type", "wireguard")
        for state in ("up", "down", "up"):
            run("ip", "link", "set", "portless", state)
        port = int(run("wg", "show", "portless", "listen-port"))
        got = lab.events(listener)
        run("ip", "link", "del", "portless")
    ktap.check("is there a port", True, port > 0)
    ktap.check("events", [
        "device-change of another device ifname=portless mode=1 filter=0 multicast=0 states=0",
        f"wireguard-change of another device listen-port={port} fwmark=0",
    ], short(lab, got))


def refused_settings(ktap, lab):
    with lab.listen() as listener:
        lab.peer(0)
        run("ip", "route", "add", "10.2.0.0/16", "dev", "hub", "via-wgpeer", lab.key(0))
        subprocess.run(["wgvia", "set", "hub", "mode", "off"], check=False, capture_output=True)
        run("ip", "route", "del", "10.2.0.0/16")
        got = [name for name, _ in lab.events(listener)]
    ktap.check("is a refused setting told", False, "device-change-ntf" in got)


def peers(ktap, lab):
    """In mode off too: no hook is needed."""
    run("wgvia", "set", "hub", "mode", "off")
    with lab.listen() as listener:
        lab.peer(0, "allowed-ips", "10.0.0.1/32,10.1.0.0/16,fd00::1/128")
        lab.peer(0, "allowed-ips", "10.0.0.1/32")
        lab.peer(1, "allowed-ips", "10.0.0.2/32")
        # A prefix that a peer takes over is lost to another.
        lab.peer(1, "allowed-ips", "10.0.0.1/32")
        lab.peer(1, "persistent-keepalive", "25")
        lab.peer(0, "remove")
        lab.peer(1, "remove")
        lab.peer(1, "remove")
        got = lab.events(listener)
    ktap.check("events", [
        "peer-add key=K0 allowed-ips=10.0.0.1/32,10.1.0.0/16,fd00::1/128",
        "peer-change key=K0 allowed-ips=10.0.0.1/32",
        "peer-add key=K1 allowed-ips=10.0.0.2/32",
        "peer-change key=K0",
        "peer-change key=K1 allowed-ips=10.0.0.1/32",
        "peer-del key=K0", "peer-del key=K1",
    ], short(lab, got))


def long_lists(ktap, lab):
    """AllowedIPs that no message holds: as many as it does, and a word that there are more."""
    with lab.listen() as listener:
        lab.peer(0, "allowed-ips", ",".join(f"fd00:{i:x}::/32" for i in range(1000)))
        got = lab.events(listener)
    # wg needs more than one request, and each is told.
    names = [name for name, _ in got]
    ktap.check("names", ["peer-add-ntf", *["peer-change-ntf"] * (len(names) - 1)], names)
    _, event = got[-1]
    ktap.check("left out", True, event.get("allowed-ips-left-out"))
    ktap.check(f"some are there ({len(event['allowed-ips'])})", True,
               50 < len(event["allowed-ips"]) < 1000)


def bindings(ktap, lab):
    route = ("dev", "hub", "via-wgpeer", lab.key(0))
    with lab.listen() as listener:
        run("ip", "route", "add", "10.2.0.0/16", *route)
        # Routes that differ in the prefix alone would share one state.
        run("ip", "route", "add", "10.3.0.0/16", *route, "metric", "7")
        lab.peer(0)
        lab.peer(0, "remove")
        run("ip", "route", "del", "10.2.0.0/16")
        run("ip", "route", "del", "10.3.0.0/16")
        last = listener.until(lambda name, event: name == "binding-change-ntf" and
                              event["states"] == 0)
    ktap.check("events", [
        "binding-change key=K0 states=1 present=0",
        "binding-change key=K0 states=2 present=1", "peer-add key=K0",
        "binding-change key=K0 states=2 present=0", "peer-del key=K0",
    ], short(lab, last))


def sessions(ktap, lab):
    lab.peer(0, "allowed-ips", "10.0.0.1/32")
    with lab.listen("sessions", "config") as listener:
        session = lab.session(0)
        session.shake_hands()
        # A handshake alone may be a replay: only what is encrypted proves that it was the peer.
        ktap.check("before the first packet", [], short(lab, lab.events(listener)))
        session.send(b"")
        ktap.check("established", ["session-change key=K0 session=1"],
                   short(lab, [listener.next()]))
        session.send(b"")
        time.sleep(0.05)
        session.shake_hands()
        session.send(b"")
        ktap.check("renewed", ["session-change key=K0 session=1"], short(lab, [listener.next()]))
        for what, end in (
                ("the device goes down", ("ip", "link", "set", "hub", "down")),
                ("another private key", ("wg", "set", "hub", "private-key", "/dev/stdin")),
                ("the peer is removed", ("wg", "set", "hub", "peer", lab.key(0), "remove"))):
            run(*end, text=wg_key()[0])
            got = [event for event in short(lab, lab.events(listener))
                   if not event.startswith("wireguard")]
            expected = ["session-change key=K0 session=0"]
            if end[-1] == "remove":
                expected.insert(0, "peer-del key=K0")
            ktap.check(what, expected, got)
            run("ip", "link", "set", "hub", "up")
            run("wg", "set", "hub", "private-key", "/dev/stdin", text=lab.private)
            if end[-1] != "remove":
                lab.events(listener)
                time.sleep(0.05)
                session.shake_hands()
                session.send(b"")
                ktap.check(f"after that: {what}", ["session-change key=K0 session=1"],
                           short(lab, [listener.next()]))
        session.close()


def move(session):
    """Send from another port of the same host."""
    session.sock.close()
    session.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    session.sock.connect(("127.0.0.1", PORT))
    session.send(b"")
    return f"127.0.0.1:{session.sock.getsockname()[1]}"


def endpoints(ktap, lab):
    """The first change at once, the last of many at the end, few in between."""
    lab.peer(0, "allowed-ips", "10.0.0.1/32")
    session = lab.session(0)
    with lab.listen("endpoints") as listener:
        session.shake_hands()
        session.send(b"")
        first = f"127.0.0.1:{session.sock.getsockname()[1]}"
        ktap.check("first", [f"endpoint-change key=K0 endpoint={first}"],
                   short(lab, [listener.next()]))
        for _ in range(3):
            session.send(b"")
        started = time.monotonic()
        moves = 0
        while time.monotonic() < started + 2.5 * SLOW:
            last = move(session)
            moves += 1
        seen = listener.until(lambda name, event: short(lab, [(name, event)]) ==
                              [f"endpoint-change key=K0 endpoint={last}"])
        seconds = time.monotonic() - started
        ktap.check(f"{len(seen) + 1} events of {moves} moves in {seconds:.1f} s are too many", True,
                   1 <= len(seen) + 1 <= seconds + 2)
    with lab.listen() as listener:
        lab.peer(0, "endpoint", "192.0.2.1:7")
        lab.peer(0, "endpoint", "192.0.2.1:7")
        ktap.check("set by hand", ["endpoint-change key=K0 endpoint=192.0.2.1:7"],
                   short(lab, [listener.next()]))
        ktap.check("nothing else", [], short(lab, lab.events(listener)))
    session.close()


def device_comes_and_goes(ktap, lab):
    with lab.listen() as here:
        with netns(lab.other, lab.home):
            there = lab.listen()
        lab.peer(0)
        run("ip", "link", "set", "hub", "netns", lab.other)
        run("ip", "-n", lab.other, "link", "set", "hub", "netns", lab.home)
        run("ip", "link", "del", "hub")
        lab.make()
        state = "ifname=hub mode=1 filter=0 multicast=0 states=0"
        words = [re.sub(" of another device", "", event) for event in short(lab, lab.events(here))]
        ktap.check("here", [
            "peer-add key=K0", "device-del ifname=hub", f"device-change {state}",
            "device-del ifname=hub", f"device-change {state}",
        ], [event for event in words if not event.startswith("wireguard")])
        run("ip", "-n", lab.other, "link", "add", "last", "type", "wireguard")
        run("ip", "-n", lab.other, "link", "del", "last")
        seen = there.until(lambda name, event: name == "device-del-ntf" and
                           event["ifname"] == "last")
        words = [re.sub(" of another device", "", event) for event in short(lab, seen)]
        ktap.check("there", [f"device-change {state}", "device-del ifname=hub",
                             f"device-change {state.replace('hub', 'last')}"], words)
        there.sock.close()


def numbered(ktap, lab):
    """Each group of each namespace has numbers without a gap."""
    with netns(lab.other, lab.home):
        there = lab.listen()
    with lab.listen() as listener:
        for _ in range(3):
            lab.peer(0)
            run("ip", "-n", lab.other, "link", "add", "x", "type", "wireguard")
            run("ip", "-n", lab.other, "link", "del", "x")
            lab.peer(0, "remove")
        numbers = [event["seq"] for _, event in lab.events(listener)]
    ktap.check("numbers", list(range(numbers[0], numbers[0] + 6)), numbers)
    numbers = [there.next()[1]["seq"] for _ in range(6)]
    ktap.check("numbers there", list(range(numbers[0], numbers[0] + 6)), numbers)
    there.sock.close()


def in_one_request(ktap, lab):
    """A request costs one event for each peer in it."""
    keys = [struct.pack("<Q24x", number + 2) for number in range(IN_ONE_REQUEST)]
    for what, make in (("peer-add-ntf", lambda i: control.peer(keys[i], allowed=[host(i, 0)])),
                       ("peer-change-ntf", lambda i: control.peer(keys[i], allowed=[
                           host(i, 1), host(i, 2)])),
                       ("peer-del-ntf", lambda i: control.peer(
                           keys[i], control.WGPEER_F_REMOVE_ME))):
        with lab.listen(rcvbuf=64 << 20) as listener:
            error = control.Control().wg_set("hub", *map(make, range(IN_ONE_REQUEST)))
            got = lab.events(listener)
        ktap.check(f"{what}: error", 0, error)
        ktap.check(f"{what}: is it one event for each peer, in order", True,
                   [(what, key) for key in keys] == [(name, event["key"]) for name, event in got])


def host(number, which):
    return f"10.{which}.{number >> 8}.{number & 255}/32"


def many(ktap, lab):
    """wg fills a request up to a page and may cut a peer in two where it ends. Each half is told,
    which is less than one more for each request."""
    with lab.listen(rcvbuf=64 << 20) as listener:
        run("wg", "setconf", "hub", "/dev/stdin", text=conf(lab, MANY))
        got = lab.events(listener)
        added = [event["key"] for name, event in got if name == "peer-add-ntf"]
        cut = [i for i, (name, _) in enumerate(got) if name == "peer-change-ntf"]
        ktap.check("is each added once", [MANY, MANY], [len(added), len(set(added))])
        ktap.check("has the first half of one that is cut in two no AllowedIPs", True, all(
            got[i - 1][0] == "peer-add-ntf" and got[i - 1][1]["key"] == got[i][1]["key"] and
            "allowed-ips" not in got[i - 1][1] for i in cut))
        ktap.check("do all have theirs in the end", MANY,
                   sum(len(event.get("allowed-ips", [])) for _, event in got))
        print(f"# {MANY} peers: {len(got)} notifications")
        ktap.check(f"are {len(cut)} peers cut in two too many", True,
                   len(cut) < MANY // PEERS_IN_A_PAGE)
        ktap.check("are fewer than a page's peers between two of them", False, any(
            later - earlier <= PEERS_IN_A_PAGE for earlier, later in zip(cut, cut[1:])))
        run("wg", "setconf", "hub", "/dev/stdin", text=conf(lab, 0))
        names = [name for name, _ in lab.events(listener) if name != "wireguard-change-ntf"]
        ktap.check("events", {"peer-del-ntf": MANY}, {name: names.count(name) for name in names})


def overflow(ktap, lab):
    """A listener that is too slow gets to know, and what comes after has a higher number."""
    with lab.listen(rcvbuf=4096) as slow, lab.listen(rcvbuf=64 << 20) as listener:
        run("wg", "setconf", "hub", "/dev/stdin", text=conf(lab, MANY))
        ktap.check("the other listener", MANY,
                   [name for name, _ in lab.events(listener)].count("peer-add-ntf"))
        before, overflows = 0, 0
        while True:
            try:
                slow.sock.setblocking(False)
                before = slow.next()[1]["seq"]
            except OSError as err:
                if err.errno != errno.ENOBUFS:
                    break
                overflows += 1
        ktap.check("overflows", True, overflows > 0)
        slow.sock.settimeout(20 * SLOW)
        lab.peer(0)
        name, event = slow.next()
        ktap.check("after that", "peer-add-ntf", name)
        ktap.check("is there a gap", True, event["seq"] > before + 1)
    run("wg", "setconf", "hub", "/dev/stdin", text=conf(lab, 0))


def unprivileged(ktap, lab):
    def ask():
        answers = []
        for group in ALL:
            try:
                lab.listen(group)
                answers.append(0)
            except OSError as err:
                answers.append(errno_name(err.errno))
        return answers

    ktap.check("answers", ["EPERM"] * 3, as_nobody(ask))


def main():
    require("ip", "wg", "wgvia")
    with scratch_netns("events") as home, scratch_netns("events2") as other:
        enter_netns(home)
        lab = Lab(home, other)
        tests = [
            ("settings", settings),
            ("a listen port that was chosen", chosen_port),
            ("settings that are refused", refused_settings),
            ("peers and their AllowedIPs", peers),
            ("AllowedIPs that no message holds", long_lists),
            ("bindings and their peers", bindings),
            ("sessions", sessions),
            ("endpoints", endpoints),
            ("a device moves, goes and comes", device_comes_and_goes),
            ("numbers", numbered),
            (f"{IN_ONE_REQUEST} peers in one request", in_one_request),
            (f"{MANY} peers at once", many),
            ("a listener that is too slow", overflow),
            ("nothing without CAP_NET_ADMIN", unprivileged),
            *flood.TESTS,
            *monitor.TESTS,
        ]
        ktap = Ktap(len(tests))
        for what, function in tests:
            ktap.test(what, function, ktap, lab)
            lab.clean()
    ktap.exit()


if __name__ == "__main__":
    main()
