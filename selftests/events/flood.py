# SPDX-License-Identifier: GPL-2.0
"""Floods from many addresses: events stay few, the last is told, and memory does not grow."""

import ipaddress
import os
import socket
import struct
import time

from events.lab import PORT, raw, run, short
from lib import SLOW
from lib.noise import INITIATION, mac1

ADDRESSES = 1000
PEERS = 2
HANDSHAKES = 20
# WireGuard answers a peer 50 times a second.
BETWEEN_HANDSHAKES = 0.05
IP_PKTINFO = 8
# As much as if something of 128 bytes were left of each address of each peer
SLACK_KIB = 250
TURNS = 2
# Of so many packets, one false handshake: to look into one costs the kernel most.
PER_FALSE = 8


class Roaming:
    """Instead of a session's socket: sends from one of many addresses of this host."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("0.0.0.0", 0))
        self.sock.settimeout(20 * SLOW)
        self.address = None
        self.move(0)

    def move(self, number):
        self.address = ipaddress.ip_address("127.1.0.0") + number

    def endpoint(self):
        return f"{self.address}:{self.sock.getsockname()[1]}"

    def send(self, data):
        source = struct.pack("=I4s4x", 0, self.address.packed)
        self.sock.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0,
                          ("127.0.0.1", PORT))

    def recv(self, size):
        return self.sock.recv(size)

    def close(self):
        self.sock.close()


def roaming_session(lab, number):
    session = lab.session(number)
    session.sock.close()
    session.sock = Roaming()
    return session


def false_initiation(lab):
    """A message that looks like a handshake to whoever knows the public key of the device."""
    message = struct.pack("<I", INITIATION) + os.urandom(112)
    return message + mac1(raw(lab.public), message) + bytes(16)


def unreclaimable():
    """KiB of slab memory that no cache can give back."""
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("SUnreclaim"))


def last_told(listener, sessions, address):
    """The events up to the one that tells the last endpoint of the last peer; each sends from this
    one, of which nothing can have been told yet, until one of the packets has surely come through."""
    for session in sessions:
        session.sock.move(address)
    for _ in range(5):
        for session in sessions:
            session.send(b"")
        time.sleep(0.05)
    seen = []
    wanted = {session.public: session.sock.endpoint() for session in sessions}
    while wanted:
        name, event = listener.next()
        seen.append((name, event))
        if name == "endpoint-change-ntf":
            port, addr = struct.unpack_from("!2xH4s", event["endpoint"])
            if wanted.get(event["key"]) == f"{socket.inet_ntoa(addr)}:{port}":
                del wanted[event["key"]]
    return seen


def check_few(ktap, what, seen, seconds):
    """At most one a peer and second, the first at once and the last at the end."""
    for number in range(PEERS):
        count = sum(event.startswith(f"endpoint-change key=K{number} ") for event in seen)
        ktap.check(f"{what}: {count} events of K{number} in {seconds:.1f} s are too many, or none",
                   True, 1 <= count <= seconds + 2)


def roaming(ktap, lab):
    """Packets of peers, and false handshakes, from 1,000 addresses at full speed."""
    sessions = [roaming_session(lab, number) for number in range(PEERS)]
    with lab.listen("sessions") as listener:
        for number, session in enumerate(sessions):
            lab.peer(number, "allowed-ips", f"10.0.0.{number + 1}/32")
            session.shake_hands()
            session.send(b"")
            listener.next()
    memory = []
    for turn in range(TURNS):
        with lab.listen(rcvbuf=1 << 20) as listener:
            started = time.monotonic()
            for address in range(ADDRESSES):
                for session in sessions:
                    session.sock.move(address + 1 + turn)
                    session.send(b"")
                if address % PER_FALSE == 0:
                    session.sock.send(false_initiation(lab))
            seen = short(lab, last_told(listener, sessions, ADDRESSES + TURNS + turn))
            seconds = time.monotonic() - started
        check_few(ktap, f"turn {turn}", seen, seconds)
        ktap.check(f"turn {turn}: other events", [],
                   [event for event in seen if not event.startswith("endpoint-change")])
        memory.append(unreclaimable())
    print("# slab memory in KiB:", *memory)
    # Memory comes back after a while: by RCU, and from caches of each processor.
    deadline = time.monotonic() + 20 * SLOW
    while unreclaimable() > memory[0] + SLACK_KIB and time.monotonic() < deadline:
        time.sleep(0.2)
    ktap.check(f"does memory grow: KiB after each turn {memory}, now {unreclaimable()}", False,
               unreclaimable() > memory[0] + SLACK_KIB)
    for session in sessions:
        session.close()
    # A device without false handshakes that wait, for which it would ask the next peer for a cookie
    run("ip", "link", "del", "hub")
    lab.make()


def handshakes(ktap, lab):
    """Real ones, each from another address: each is a session, and few of them an endpoint."""
    sessions = [roaming_session(lab, number) for number in range(PEERS)]
    for number in range(PEERS):
        lab.peer(number, "allowed-ips", f"10.0.0.{number + 1}/32")
    seen = []

    def is_session(name, event):
        seen.append((name, event))
        return name == "session-change-ntf"

    with lab.listen("sessions", "endpoints", rcvbuf=1 << 20) as listener:
        started = time.monotonic()
        for address in range(HANDSHAKES):
            for session in sessions:
                session.sock.move(address + 1)
                session.shake_hands()
                session.send(b"")
                listener.until(is_session)
            time.sleep(BETWEEN_HANDSHAKES)
        seen += last_told(listener, sessions, HANDSHAKES + 1)
        seconds = time.monotonic() - started
    seen = short(lab, seen)
    check_few(ktap, "handshakes", seen, seconds)
    for number in range(PEERS):
        ktap.check(f"sessions of K{number}", HANDSHAKES,
                   seen.count(f"session-change key=K{number} session=1"))
    for session in sessions:
        session.close()


TESTS = [
    ("handshakes from many addresses", handshakes),
    (f"packets from {ADDRESSES} addresses", roaming),
]
