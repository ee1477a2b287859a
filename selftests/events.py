#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Notifications: each from the action that causes it, once and in order, and to whom."""

import base64
import errno
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from lib import (NOBODY, SLOW, Ktap, as_nobody, enter_netns, errno_name, netns, require,
                 scratch_netns)
from lib.noise import Session
from lib.spec import Listener, Spec

HERE = os.path.dirname(os.path.abspath(__file__))
SPEC = os.path.join(HERE, "../netlink/specs/wgvia.yaml")
YNL = "/build/source/tools/net/ynl"
PORT = 51820
MANY = 2000
ALL = ("config", "sessions", "endpoints")


def run(*command, text=None):
    return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout


def wg_key():
    """A private and a public key, as wg(8) writes them."""
    private = run("wg", "genkey").strip()
    return private, run("wg", "pubkey", text=private).strip()


def raw(key):
    return base64.b64decode(key)


class Lab:
    """A device `hub` in a namespace, and keys; peers are sockets of Python."""

    def __init__(self, home, other):
        self.home, self.other = home, other
        self.spec = Spec(SPEC)
        self.private, self.public = wg_key()
        self.peers = [wg_key() for _ in range(3)]
        self.mark = 0
        run("ip", "link", "set", "lo", "up")
        self.make()

    def make(self):
        run("ip", "link", "add", "hub", "type", "wireguard")
        run("wg", "set", "hub", "listen-port", str(PORT), "private-key", "/dev/stdin",
            text=self.private)
        run("ip", "link", "set", "hub", "up")
        self.ifindex = socket.if_nametoindex("hub")

    def key(self, number):
        return self.peers[number][1]

    def peer(self, number, *words):
        run("wg", "set", "hub", "peer", self.key(number), *words)

    def session(self, number):
        return Session(raw(self.peers[number][0]), raw(self.public), ("127.0.0.1", PORT))

    def listen(self, *names, **options):
        return Listener(self.spec, *names or ALL, **options)

    def events(self, listener):
        """What came until now: for the end of it, there is one more change."""
        self.mark += 1
        run("wg", "set", "hub", "fwmark", str(self.mark))
        return listener.until(lambda name, event: name == "wireguard-change-ntf" and
                              event["fwmark"] == self.mark)

    def clean(self):
        for key in run("wg", "show", "hub", "peers").split():
            run("wg", "set", "hub", "peer", key, "remove")
        run("wgvia", "set", "hub", "mode", "auto", "filter", "device", "multicast", "off")


def short(lab, events):
    """Events in words, without what is always the same."""
    names = {raw(public): f"K{number}" for number, (_, public) in enumerate(lab.peers)}
    words = []
    for name, event in events:
        event = dict(event)
        event.pop("seq")
        name = name.removesuffix("-ntf")
        if event.pop("ifindex") != lab.ifindex:
            name += " of another device"
        event.pop("counters", None)
        if "key" in event:
            event["key"] = names.get(event["key"], "another")
        if "allowed-ips" in event:
            event["allowed-ips"] = sorted(
                f"{ipaddress.ip_address(ip['address'])}/{ip['prefix-len']}"
                for ip in event["allowed-ips"])
        if "endpoint" in event:
            port, addr = struct.unpack_from("!2xH4s", event["endpoint"])
            event["endpoint"] = f"{socket.inet_ntoa(addr)}:{port}"
        words.append(" ".join([name, *(
            f"{what}={','.join(value) if isinstance(value, list) else value}"
            for what, value in event.items())]))
    return words


# --- tests -----------------------------------------------------------------

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
        # What a peer takes over, another loses.
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


def conf(lab, count, first=0):
    return f"[Interface]\nPrivateKey = {lab.private}\nListenPort = {PORT}\n" + "".join(
        f"[Peer]\nPublicKey = {base64.b64encode(struct.pack('<Q24x', i + 2)).decode()}\n"
        f"AllowedIPs = 10.{i >> 8 & 255}.{i & 255}.0/24\n"
        for i in range(first, first + count))


def many(ktap, lab):
    """No more than one event for each peer of a request."""
    with lab.listen(rcvbuf=64 << 20) as listener:
        run("wg", "setconf", "hub", "/dev/stdin", text=conf(lab, MANY))
        got = lab.events(listener)
        names = [name for name, _ in got if name != "wireguard-change-ntf"]
        ktap.check("added", MANY, names.count("peer-add-ntf"))
        # wg cuts a peer in two at the end of a request.
        ktap.check(f"are {len(names)} events too many", True, len(names) < MANY + MANY // 40)
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


class Tool:
    """`wgvia monitor`, or another program that prints lines, while it runs."""

    def __init__(self, *command):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def until(self, what):
        """The lines up to one that `what` is in, with it."""
        lines = []
        while not lines or what not in lines[-1]:
            line = self.process.stdout.readline()
            if not line:
                raise EOFError(f"no {what} in {lines}")
            lines.append(line.rstrip())
        return lines


def monitor(*words):
    """The tool, which with -s prints the state when it listens."""
    return Tool("wgvia", "monitor", "-s", *words)


def for_people(ktap, lab):
    key = lab.key(0)
    with monitor("hub") as tool:
        ktap.check("state", ["hub: mode auto, filter device, multicast off"], tool.until("mode"))
        lab.peer(0, "allowed-ips", "10.0.0.1/32,fd00::1/128")
        run("ip", "route", "add", "10.2.0.0/16", "dev", "hub", "via-wgpeer", key)
        run("ip", "-n", lab.other, "link", "add", "other", "type", "wireguard")
        session = lab.session(0)
        session.shake_hands()
        session.send(b"")
        port = session.sock.getsockname()[1]
        ktap.check("a peer and a binding", [
            f"Added hub: peer {key} allowed-ips 10.0.0.1/32,fd00::1/128",
            f"hub: via-wgpeer {key}",
        ], tool.until("via-wgpeer"))
        # The endpoint is told from a timer, which may be before or after the session.
        ktap.check("an endpoint and a session", [
            f"hub: peer {key} endpoint 127.0.0.1:{port}",
            f"hub: peer {key} session",
        ], sorted([*tool.until("peer"), *tool.until("peer")]))
        run("ip", "route", "del", "10.2.0.0/16")
        ktap.check("the binding goes", [f"Deleted hub: via-wgpeer {key}"], tool.until("Deleted"))
        lab.peer(0, "remove")
        ktap.check("the peer goes", [f"Deleted hub: peer {key}"], tool.until("Deleted"))
        ktap.check("the session goes", [f"Deleted hub: peer {key} session"],
                   tool.until("Deleted"))
        run("wg", "set", "hub", "fwmark", "0x77")
        ktap.check("settings of WireGuard",
                   [f"hub: listen-port {PORT} fwmark 0x77 public-key {lab.public}"],
                   tool.until("fwmark"))
        session.close()
    run("ip", "-n", lab.other, "link", "del", "other")


def for_programs(ktap, lab):
    with monitor("-j", "-t", "config") as tool:
        tool.until("device-change")
        lab.peer(0, "allowed-ips", "10.0.0.1/32")
        event = json.loads(tool.until("peer-add")[-1])
        ktap.check("has it a time", True, abs(event.pop("time") - time.time()) < 60 * SLOW)
        ktap.check("event", {
            "event": "peer-add", "ifindex": lab.ifindex, "ifname": "hub", "key": lab.key(0),
            "allowed_ips": ["10.0.0.1/32"], "allowed_ips_left_out": False}, event)


def tool_overflows(ktap, lab):
    """The tool says that it lost events and gives the state, then goes on."""
    with monitor("-j", "config", "hub") as tool:
        tool.until("device-change")
        tool.process.send_signal(signal.SIGSTOP)
        run("wg", "setconf", "hub", "/dev/stdin", text=conf(lab, MANY))
        lab.peer(0)
        tool.process.send_signal(signal.SIGCONT)
        tool.until("overflow")
        state = [json.loads(line) for line in tool.until(lab.key(0))]
        ktap.check("peers of the state", MANY + 1,
                   sum(event["event"] == "peer-change" for event in state))
        lab.peer(0, "remove")
        ktap.check("after that", "peer-del", json.loads(tool.until("peer-del")[-1])["event"])
    run("wg", "setconf", "hub", "/dev/stdin", text=conf(lab, 0))


def wrong_words(ktap, _):
    for words, status, text in (
            (["wg0", "wg1"], 2, "'wg0' and 'wg1' are two devices"),
            (["none"], 1, "none: no such device")):
        done = subprocess.run(["wgvia", "monitor", *words], check=False, capture_output=True,
                              text=True)
        ktap.check(f"status of {words}", status, done.returncode)
        ktap.check(f"is '{text}' in '{done.stderr}'", True, text in done.stderr)
    done = subprocess.run(["setpriv", "--reuid", str(NOBODY), "--clear-groups", "wgvia", "monitor"],
                          check=False, capture_output=True, text=True)
    ktap.check(f"is it refused: {done.stderr}", True,
               done.returncode == 1 and "CAP_NET_ADMIN" in done.stderr)


def example(ktap, lab):
    """The example for BIRD: its function knows who has a session, and BIRD takes it."""
    lab.peer(0)
    address = run("wgvia", "addr", lab.key(0)).strip()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "metrics.conf")

        def says():
            try:
                with open(path, encoding="ascii") as file:
                    return f"gw = {address} then return 10;" in file.read()
            except FileNotFoundError:
                return None

        def wait(expected):
            deadline = time.monotonic() + 20 * SLOW
            while says() != expected and time.monotonic() < deadline:
                time.sleep(0.05)
            return says()

        with Tool(os.path.join(HERE, "../docs/examples/session-metrics"), "hub", path):
            ktap.check("before a session", False, wait(False))
            session = lab.session(0)
            session.shake_hands()
            session.send(b"")
            ktap.check("with a session", True, wait(True))
            with open(os.path.join(folder, "bird.conf"), "w", encoding="ascii") as file:
                file.write(f'router id 1.1.1.1;\ninclude "{path}";\nprotocol device {{}}\n'
                           'filter f { krt_metric = session_metric(gw); accept; }\n')
            if shutil.which("bird"):
                run("bird", "-p", "-c", file.name)
            lab.peer(0, "remove")
            ktap.check("after the session", False, wait(False))
            session.close()


def by_ynl(ktap, lab):
    """The kernel's own Python client, which knows the spec alone."""
    sys.path.insert(0, YNL)
    # pylint: disable-next=import-outside-toplevel,import-error
    from pyynl.lib import YnlFamily
    family = YnlFamily(SPEC, schema="")
    family.ntf_subscribe("config")
    lab.peer(0, "allowed-ips", "10.0.0.1/32")
    event = next(family.poll_ntf(20 * SLOW))
    ktap.check("name", "peer-add-ntf", event["name"])
    ktap.check("key", raw(lab.key(0)).hex(), event["msg"]["key"].replace(" ", ""))
    ktap.check("AllowedIPs", [{"address": "10.0.0.1", "prefix-len": 32}],
               event["msg"]["allowed-ips"])


def main():
    require("ip", "wg", "wgvia")
    with scratch_netns("events") as home, scratch_netns("events2") as other:
        enter_netns(home)
        lab = Lab(home, other)
        tests = [
            ("settings", settings),
            ("settings that are refused", refused_settings),
            ("peers and their AllowedIPs", peers),
            ("AllowedIPs that no message holds", long_lists),
            ("bindings and their peers", bindings),
            ("sessions", sessions),
            ("endpoints", endpoints),
            ("a device moves, goes and comes", device_comes_and_goes),
            ("numbers", numbered),
            (f"{MANY} peers at once", many),
            ("a listener that is too slow", overflow),
            ("nothing without CAP_NET_ADMIN", unprivileged),
            ("wgvia monitor for people", for_people),
            ("wgvia monitor for programs", for_programs),
            ("wgvia monitor that is too slow", tool_overflows),
            ("wgvia monitor that cannot", wrong_words),
            ("the example for BIRD", example),
        ]
        if os.path.exists(YNL):
            tests.append(("the kernel's own client", by_ynl))
        ktap = Ktap(len(tests))
        for what, function in tests:
            ktap.test(what, function, ktap, lab)
            lab.clean()
    ktap.exit()


if __name__ == "__main__":
    main()
