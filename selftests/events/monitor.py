# SPDX-License-Identifier: GPL-2.0
"""Those who listen: `wgvia monitor`, the example for BIRD, the kernel's own client."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from events.lab import MANY, PORT, SPEC, conf, raw, run
from lib import NOBODY, SLOW

HERE = os.path.dirname(os.path.abspath(__file__))
YNL = "/build/source/tools/net/ynl"


class Tool:
    """`wgvia monitor`, or another program that prints lines, while it runs."""

    def __init__(self, *command):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # With what it has started, which would keep the namespace
        os.killpg(self.process.pid, signal.SIGKILL)
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


def state_of_sessions(ktap, lab):
    """The state has a session while the kernel has one, however long ago the last handshake was."""
    lab.peer(0)

    def state():
        with monitor("config", "sessions", "hub") as tool:
            tool.until("mode")
            lab.mark += 1
            run("wg", "set", "hub", "fwmark", str(lab.mark))
            return [line for line in tool.until("fwmark") if line.endswith(" session")]

    none, one = f"Deleted hub: peer {lab.key(0)} session", f"hub: peer {lab.key(0)} session"
    ktap.check("before it", [none], state())
    session = lab.session(0)
    with lab.listen("sessions") as listener:
        session.shake_hands()
        session.send(b"")
        listener.next()
    ktap.check("while there is one", [one], state())
    run("wgvia", "set", "hub", "mode", "off")
    ktap.check("in mode off, which knows no peers", [], state())
    run("wgvia", "set", "hub", "mode", "auto")
    ktap.check("after that", [one], state())
    run("ip", "link", "set", "hub", "down")
    run("ip", "link", "set", "hub", "up")
    ktap.check("after the device was down", [none], state())
    session.close()


def gone_device(ktap, lab):
    """A notification that is read when its device is gone still has the name that the device had."""
    with monitor("config", "hub") as tool:
        tool.until("mode")
        tool.process.send_signal(signal.SIGSTOP)
        os.waitpid(tool.process.pid, os.WUNTRACED)
        lab.peer(0)
        run("ip", "link", "del", "hub")
        lab.make()
        tool.process.send_signal(signal.SIGCONT)
        ktap.check("events", [f"Added hub: peer {lab.key(0)} allowed-ips (none)", "Deleted hub"],
                   tool.until("Deleted"))


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


EXAMPLE = os.path.join(HERE, "../../docs/examples/session-metrics")


def wait(function, expected):
    """Call it until it returns that, and return what it returns."""
    deadline = time.monotonic() + 20 * SLOW
    while function() != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    return function()


class Bird:
    """A folder with the file for BIRD, and a birdc that counts the peers in it when it is called."""

    def __init__(self, folder):
        self.folder = folder
        self.path = os.path.join(folder, "metrics.conf")
        birdc = os.path.join(folder, "birdc")
        with open(birdc, "w", encoding="ascii") as file:
            file.write(f"#!/bin/sh\ngrep -c 'return 10;' {self.path} >>{folder}/asked\n")
        os.chmod(birdc, 0o755)

    def command(self):
        return "env", f"PATH={self.folder}:{os.environ['PATH']}", EXAMPLE, "hub", self.path

    def asked(self):
        """Numbers of peers with a session, one for each time that BIRD was asked to read them."""
        try:
            with open(f"{self.folder}/asked", encoding="ascii") as file:
                return file.read().split()
        except FileNotFoundError:
            return []


def example(ktap, lab):
    """The example for BIRD: its function knows who has a session, and BIRD takes it."""
    address = run("wgvia", "addr", lab.key(0)).strip()
    with tempfile.TemporaryDirectory() as folder:
        bird = Bird(folder)
        with Tool(*bird.command()):
            ktap.check("without peers", ["0"], wait(bird.asked, ["0"]))
            lab.peer(0)
            session = lab.session(0)
            session.shake_hands()
            session.send(b"")
            ktap.check("with a session", ["0", "1"], wait(bird.asked, ["0", "1"]))
            with open(bird.path, encoding="ascii") as file:
                ktap.check("is it the peer's", True,
                           f"gw = {address} then return 10;" in file.read())
            with open(os.path.join(folder, "bird.conf"), "w", encoding="ascii") as file:
                file.write(f'router id 1.1.1.1;\ninclude "{bird.path}";\nprotocol device {{}}\n'
                           'filter f { krt_metric = session_metric(gw); accept; }\n')
            if shutil.which("bird"):
                run("bird", "-p", "-c", file.name)
            lab.peer(0, "remove")
            ktap.check("after the session", ["0", "1", "0"], wait(bird.asked, ["0", "1", "0"]))
            session.close()


def example_at_start(ktap, lab):
    """The example takes the state as a whole, so that no live peer has the metric of a dead one."""
    sessions = []
    for number in range(len(lab.peers)):
        lab.peer(number)
        sessions.append(lab.session(number))
        sessions[-1].shake_hands()
        sessions[-1].send(b"")
    count = str(len(sessions))
    with tempfile.TemporaryDirectory() as folder:
        bird = Bird(folder)
        with Tool(*bird.command()):
            ktap.check("peers with a session", [count], wait(bird.asked, [count]))
    for session in sessions:
        session.close()


def example_that_cannot(ktap, _):
    """The example ends as the monitor does that it listens to."""
    with tempfile.TemporaryDirectory() as folder:
        bird = Bird(folder)
        done = subprocess.run(
            ["setpriv", "--reuid", str(NOBODY), "--clear-groups", "--inh-caps=-all",
             EXAMPLE, "hub", bird.path], check=False, capture_output=True, text=True)
        ktap.check("status", 1, done.returncode)
        ktap.check(f"does it say why: {done.stderr}", True, "CAP_NET_ADMIN" in done.stderr)
        ktap.check("is there a file", False, os.path.exists(bird.path))


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


TESTS = [
    ("wgvia monitor for people", for_people),
    ("wgvia monitor for programs", for_programs),
    ("wgvia monitor that is too slow", tool_overflows),
    ("wgvia monitor -s and sessions", state_of_sessions),
    ("wgvia monitor of a device that is gone", gone_device),
    ("wgvia monitor that cannot", wrong_words),
    ("the example for BIRD", example),
    ("the example for BIRD at start", example_at_start),
    ("the example for BIRD that cannot", example_that_cannot),
]
if os.path.exists(YNL):
    TESTS.append(("the kernel's own client", by_ynl))
