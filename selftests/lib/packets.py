#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Send a packet in one namespace and say which namespace received it.

    lib/packets.py HUB NAME=NETNS...

seen.sh runs this as a coprocess. Each line of its input is a command, each line
of its output the answer:

    send NAME DST [OPTION]...         a datagram from a fresh UDP socket
    open SOCKET NAME DST [OPTION]...  a UDP socket that is kept
    again SOCKET                      a datagram from that socket
    close SOCKET
    forge NAME DEV SRC DST [FRAGMENT] [tos=NUMBER] [label=NUMBER] [uid=NUMBER]
                                      a packet made by hand, from a packet socket,
                                      which knows neither addresses nor routes
    raw NAME NEXTHOP SRC DST          a packet made by hand, from a raw socket, which
                                      is told to send it by way of NEXTHOP
    deliver NAME DEV SRC DST          forge, and what the stack of HUB makes of the packet
    spread COUNT NAME DST [OPTION]... COUNT datagrams, each of another socket
    large COUNT COPIES NAME DST [OPTION]...  COUNT datagrams, sent as one packet (GSO),
                                      each of which so many are to get
    watch WORD NAME                   look out for TCP segments with this word, sent by NAME
    first                             where the very first of them goes
    watched                           end of watch: who has received any up to now
    copy NAME DST [OPTION]...         a datagram that several may get
    copied                            who has received it up to now

OPTION is src=ADDRESS, sport=PORT, mark=NUMBER, tos=NUMBER, uid=NUMBER, dev=DEVICE,
or connect=no: the socket is told the destination with each datagram instead, and so
keeps no route. FRAGMENT is first or later: the packet says so of itself. In either
there are ports to be seen in the place where a whole packet has its own.

The answer to those that send is where the packet was received (before anything
in that namespace could drop it): the names, joined by commas. What comes in at a
device called lan only passes through. If the packet was not received, the answer
is what became of it:

    ENOKEY...    the error of the sender's own system call
    icmp T/C     type and code of the ICMP or ICMPv6 error that the sender got
    dropped      a device of HUB counted an error: a received packet that the
                 peer may not send, or (forge) one that it could not send itself
    nobody       nothing of all this for longer than a packet can take

"deliver" answers the same unless HUB received the packet; then

    delivered    a socket of HUB has it
    rp_filter    the stack has dropped it, and counted it as one of a wrong path

"first" answers with who received it and, if HUB's device of that name did not send
all TCP segments that NAME did since, how many are lost.

"copy" answers "sent", or the error of the system call. "spread", "large" and "copied" answer
with NAME=COUNT...
"""

import collections
import contextlib
import ctypes
import errno
import ipaddress
import os
import select
import socket
import struct
import sys
import time

from lib import SLOW, enter_netns, netns
from lib.forged import ETH_P_IP, ETH_P_IPV6, PORT, forged

PAYLOAD = "!8sQ"
TIMEOUT = 10.0 * SLOW

ETH_P_ALL = 0x0003
PACKET_OUTGOING = 4
SO_ATTACH_FILTER = 26
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
UDP_SEGMENT, SEGMENT = 103, 1200
IP_RECVERR, IPV6_RECVERR, IPV6_TCLASS = 11, 25, 67
SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6 = 2, 3

# UDP to our port alone, lest other traffic fill a socket's queue: (code, jt, jf, k)
FILTER = (
    (0x30, 0, 0, 0),        # 0: version
    (0x54, 0, 0, 0xF0),
    (0x15, 0, 5, 0x40),     # IPv4, or to 8
    (0x30, 0, 0, 9),
    (0x15, 0, 14, 17),      # UDP, or to 19
    (0xB1, 0, 0, 0),
    (0x48, 0, 0, 2),
    (0x15, 10, 11, PORT),   # to 18 or 19
    (0x15, 0, 10, 0x60),    # 8: IPv6, or to 19
    (0x30, 0, 0, 6),
    (0x15, 0, 2, 17),       # UDP, or to 13
    (0x28, 0, 0, 42),
    (0x15, 5, 6, PORT),     # to 18 or 19
    (0x15, 0, 5, 44),       # 13: a fragment, or to 19
    (0x30, 0, 0, 40),
    (0x15, 0, 3, 17),       # of UDP, or to 19
    (0x28, 0, 0, 50),
    (0x15, 0, 1, PORT),     # or to 19
    (0x06, 0, 0, 0x40000),  # 18: take it
    (0x06, 0, 0, 0),        # 19: leave it
)


def attach_filter(sock):
    code = ctypes.create_string_buffer(
        b"".join(struct.pack("=HBBI", *instruction) for instruction in FILTER))
    fprog = struct.pack("@HP", len(FILTER), ctypes.addressof(code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)


class Unconnected(socket.socket):
    """A socket that says with each packet where it is to go."""

    to = None

    def send(self, data):
        return self.sendto(data, self.to)


def statistic(path, group, name):
    """A counter of the network stack of this thread's namespace."""
    with open(path, encoding="ascii") as file:
        names, values = (line.split() for line in file if line.startswith(f"{group}:"))
    return int(values[names.index(name)])


class Watch:
    """The TCP segments that end with a word: those that a device sent, those received."""

    def __init__(self, packets, word, sender):
        self.packets = packets
        self.word = word.encode() + b"\n"
        self.sender = sender
        self.seen = 0
        self.sent = []
        self.received = {name: [] for name in packets.names}
        self.socks = {}
        for name in packets.names:
            with packets.inside(name):
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
            sock.setblocking(False)
            self.socks[sock] = name
        # Nothing that was on its way is to be counted by one and not by the other.
        self.before = None
        while self.before != (before := self.transmitted()):
            self.before = before
            self.look()
            self.seen = 0

    def transmitted(self):
        """The TCP segments that the sender has made, whatever became of them."""
        with self.packets.inside(self.sender):
            return sum(statistic("/proc/self/net/snmp", "Tcp", name)
                       for name in ("OutSegs", "RetransSegs"))

    @staticmethod
    def identity(packet):
        """Return what tells a segment from one sent again: all but the checksum, which a device adds."""
        checksum_at = (20 if packet[0] >> 4 == 4 else 40) + 16
        return packet[:checksum_at] + packet[checksum_at + 2:]

    def look(self):
        for sock, name in self.socks.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet, (dev, _, kind, *_) = sock.recvfrom(4096)
                    protocol = packet[9] if packet[0] >> 4 == 4 else packet[6]
                    if protocol != socket.IPPROTO_TCP:
                        continue
                    # Devices of other namespaces that lead to the hub have this name too.
                    sent = kind == PACKET_OUTGOING and name == dev == self.packets.hub_name
                    self.seen += sent
                    if not packet.endswith(self.word):
                        continue
                    if sent:
                        self.sent.append(self.identity(packet))
                    elif kind != PACKET_OUTGOING and dev != "lan":
                        self.received[name].append(self.identity(packet))

    def who(self, wanted=lambda _: True):
        return ",".join(name for name, segments in self.received.items()
                        if any(map(wanted, segments)))

    def first(self):
        who, lost = "", 1
        deadline = time.monotonic() + TIMEOUT
        while (not who or lost > 0) and time.monotonic() < deadline:
            select.select(self.socks, (), (), 0.005)
            transmitted = self.transmitted() - self.before
            self.look()
            lost = transmitted - self.seen
            # It may be read where it was received before it is where it was sent.
            who = self.who(lambda segment: segment in self.sent[:1])
        return f"{who or 'nobody'}{f', {lost} lost' if lost > 0 else ''}"

    def close(self):
        for sock in self.socks:
            sock.close()


class Packets:
    """The namespaces, a listener in each, and the sockets that are kept."""

    def __init__(self, hub, names):
        self.names = names
        self.hub_name = hub
        self.hub = names[hub]
        self.kept = {}
        self.count = 0
        self.listeners = {}
        self.sinks = {}
        self.watching = None
        self.copy_payload = None
        self.copies = collections.Counter()
        enter_netns(self.hub)
        for name in names:
            with self.inside(name):
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
                attach_filter(sock)
                sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
                sock.setblocking(False)
                self.listeners[sock] = name
                # So that no port is unreachable: nothing of ours is answered.
                sink = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                sink.bind(("::", PORT))
                sink.setblocking(False)
                self.sinks[name] = sink

    def inside(self, name):
        return netns(self.names[name], self.hub)

    def payload(self):
        self.count += 1
        return struct.pack(PAYLOAD, b"wgvia", self.count)

    @staticmethod
    def errors():
        """The packets that the hub's devices counted as errors, each way."""
        received = sent = 0
        with open("/proc/self/net/dev", encoding="ascii") as file:
            for line in file.readlines()[2:]:
                fields = line.split(":")[1].split()
                received += int(fields[2])
                sent += int(fields[10])
        return received, sent

    @staticmethod
    def reverse_path_drops():
        """The packets that the hub's stack dropped because of rp_filter."""
        return statistic("/proc/self/net/netstat", "TcpExt", "IPReversePathFilter")

    @staticmethod
    def taken(sink):
        """The payloads that have got to a socket by now."""
        with contextlib.suppress(BlockingIOError):
            while True:
                yield sink.recv(4096)

    def arrivals(self, payload):
        """The name of who has received it by now, for each packet that ends with it."""
        for sock, name in self.listeners.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, address = sock.recvfrom(4096)
                    if self.copy_payload and data.endswith(self.copy_payload):
                        self.copies[name] += 1
                    if data.endswith(payload) and address[0] != "lan":
                        yield name

    def received(self, payload):
        """The names of those that have received it by now."""
        return list(dict.fromkeys(self.arrivals(payload)))

    def fate(self, payload, before, sender=None):
        """Wait until it is known what became of a packet."""
        poll = select.poll()
        for sock in self.listeners:
            poll.register(sock, select.POLLIN)
        if sender:
            poll.register(sender, 0)
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            poll.poll(5)
            errors = self.errors()
            if found := self.received(payload):
                return ",".join(found)
            if sender and (error := icmp_error(sender)):
                return error
            if errors[0] > before[0] or (not sender and errors[1] > before[1]):
                return "dropped"
        return "nobody"

    def send_on(self, sock):
        payload = self.payload()
        before = self.errors()
        try:
            sock.send(payload)
        except OSError as err:
            return errno.errorcode[err.errno]
        return self.fate(payload, before, sock)

    def socket(self, name, dst, *options):
        """A UDP socket in a namespace, to which no ICMP error sticks."""
        options = dict(option.split("=", 1) for option in options)
        dst = ipaddress.ip_address(dst)
        v6 = dst.version == 6
        kind = Unconnected if options.get("connect") == "no" else socket.socket
        with self.inside(name):
            os.seteuid(int(options.get("uid", 0)))
            try:
                sock = kind(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
            finally:
                os.seteuid(0)
            scope = socket.if_nametoindex(options["dev"]) if "dev" in options else 0
        try:
            if "dev" in options:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE,
                                options["dev"].encode())
            if "mark" in options:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, int(options["mark"], 0))
            if "tos" in options:
                if v6:
                    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TCLASS, int(options["tos"], 0))
                else:
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, int(options["tos"], 0))
            if "src" in options or "sport" in options:
                sock.bind((options.get("src", ""), int(options.get("sport", 0))))
            to = (str(dst), PORT, 0, scope) if v6 else (str(dst), PORT)
            if kind is Unconnected:
                sock.to = to
            else:
                sock.connect(to)
        except OSError:
            sock.close()
            raise
        return sock

    # --- commands ----------------------------------------------------------

    def send(self, *args):
        with self.socket(*args) as sock:
            if sock.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
            else:
                sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            return self.send_on(sock)

    def open(self, key, *args):
        self.kept[key] = self.socket(*args)
        return "open"

    def again(self, key):
        return self.send_on(self.kept[key])

    def close(self, key):
        self.kept.pop(key).close()
        return "closed"

    def forge(self, name, dev, src, dst, *options):
        fragment = next((option for option in options if "=" not in option), None)
        options = dict(option.split("=", 1) for option in options if "=" in option)
        src, dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
        payload = self.payload()
        protocol = ETH_P_IPV6 if src.version == 6 else ETH_P_IP
        with self.inside(name):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        # Whose socket it is: another user could not have made it.
        os.fchown(sock.fileno(), int(options.get("uid", 0)), -1)
        # An address of nobody, for Ethernet; WireGuard has none.
        return self.launch(sock, forged(src, dst, payload, fragment,
                                        tos=int(options.get("tos", "0"), 0),
                                        label=int(options.get("label", "0"), 0)),
                           (dev, protocol, 0, 0, b"\2\0\0\0\0\0"), payload)

    def raw(self, name, nexthop, src, dst):
        src, dst = ipaddress.ip_address(src), ipaddress.ip_address(dst)
        payload = self.payload()
        with self.inside(name):
            sock = socket.socket(socket.AF_INET6 if src.version == 6 else socket.AF_INET,
                                 socket.SOCK_RAW, socket.IPPROTO_RAW)
        return self.launch(sock, forged(src, dst, payload), (nexthop, 0), payload)

    def launch(self, sock, packet, address, payload):
        """Send a packet made by hand."""
        with sock:
            before = self.errors()
            try:
                sock.sendto(packet, address)
            except OSError as err:
                return errno.errorcode[err.errno]
            return self.fate(payload, before)

    def deliver(self, *args):
        sink = self.sinks[self.hub_name]
        collections.deque(self.taken(sink), 0)
        before = self.reverse_path_drops()
        if (fate := self.forge(*args)) != self.hub_name:
            return fate
        payload = struct.pack(PAYLOAD, b"wgvia", self.count)
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            select.select((sink,), (), (), 0.005)
            if payload in self.taken(sink):
                return "delivered"
            if self.reverse_path_drops() > before:
                return "rp_filter"
        return "nobody"

    def spread(self, count, *args):
        fates = collections.Counter(self.send(*args) for _ in range(int(count)))
        return " ".join(f"{fate}={fates[fate]}" for fate in sorted(fates))

    def large(self, count, copies, *args):
        payload = self.payload()
        fates = collections.Counter()
        deadline = time.monotonic() + TIMEOUT
        with self.socket(*args) as sock:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, SEGMENT)
            sock.send((bytes(SEGMENT - len(payload)) + payload) * int(count))
            while fates.total() < int(count) * int(copies) and time.monotonic() < deadline:
                select.select(self.listeners, (), (), 0.01)
                fates.update(self.arrivals(payload))
        return " ".join(f"{fate}={fates[fate]}" for fate in sorted(fates)) or "nobody"

    def watch(self, word, sender):
        self.watching = Watch(self, word, sender)
        return "watching"

    def first(self):
        return self.watching.first()

    def watched(self):
        self.watching.look()
        self.watching.close()
        return self.watching.who()

    def copy(self, *args):
        self.copy_payload = self.payload()
        self.copies.clear()
        with self.socket(*args) as sock:
            sock.send(self.copy_payload)
        return "sent"

    def copied(self):
        collections.deque(self.arrivals(b"\0no packet"), 0)
        return " ".join(f"{name}={self.copies[name]}" for name in sorted(self.copies)) or "nobody"

    def command(self, verb, *args):
        commands = {"send": self.send, "open": self.open, "again": self.again,
                    "close": self.close, "forge": self.forge, "raw": self.raw,
                    "spread": self.spread,
                    "large": self.large, "deliver": self.deliver, "watch": self.watch,
                    "first": self.first, "watched": self.watched, "copy": self.copy,
                    "copied": self.copied}
        self.received(b"")
        try:
            return commands[verb](*args)
        except OSError as err:
            return errno.errorcode.get(err.errno, str(err))


def icmp_error(sock):
    """Type and code of the ICMP error in the error queue, or an empty string."""
    try:
        _, controls, _, _ = sock.recvmsg(4096, 1024, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return ""
    for _, _, data in controls:
        _, origin, kind, code = struct.unpack_from("=IBBB", data)
        if origin in (SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6):
            return f"icmp {kind}/{code}"
    return ""


def main():
    names = dict(arg.split("=", 1) for arg in sys.argv[2:])
    packets = Packets(sys.argv[1], names)
    print("ready", flush=True)
    for line in sys.stdin:
        print(packets.command(*line.split()), flush=True)


if __name__ == "__main__":
    main()
