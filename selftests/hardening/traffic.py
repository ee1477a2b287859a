# SPDX-License-Identifier: GPL-2.0
"""The packets of the soak: each says where it comes from and when it was sent.

A process in the hub, one in the namespaces of the peers and one in a namespace
behind the hub send to each other and write down what arrives. A datagram holds the
number of the prefix that it is to (from the hub and from behind it) or from (from a
peer), the number of the peer that sent it, and the time. The time of arrival is the
kernel's own, of when the packet came out of the device that received it.
"""

import collections
import errno
import ipaddress
import json
import os
import random
import select
import signal
import socket
import struct
import time

from control import family_of
from lib import enter_netns, netns
from lib.forged import ETH_P_IP, ETH_P_IPV6, forged

PORT = 4748
SO_TIMESTAMPNS, UDP_SEGMENT = 35, 103
IPV6_FREEBIND = 78
# From a socket of the hub, a peer, a packet socket of the hub, and from behind the hub.
TO_PEER, TO_HUB, NO_DST, FORWARDED = DIRECTIONS = range(4)
# From a socket of the hub to a group, in which every host is
TO_GROUP = 4
GROUP = {socket.AF_INET: "224.0.0.1", socket.AF_INET6: "ff02::1"}
HUB = {socket.AF_INET: "10.0.0.254", socket.AF_INET6: "fd00::fe"}

PAYLOAD = struct.Struct("=4sBBHd48x")
MAGIC = b"soak"
SEGMENTS = 4

# The record of each packet
Arrival = collections.namedtuple("Arrival", "direction prefix peer sent arrived")
RECORD = struct.Struct("=BBHdd")


def arrivals(path):
    with open(path, "rb") as file:
        while len(record := file.read(RECORD.size)) == RECORD.size:
            yield Arrival(*RECORD.unpack(record))


def sent(path):
    """How many packets the process has sent, or tried to, by their direction."""
    with open(f"{path}.sent", encoding="ascii") as file:
        return {int(direction): count for direction, count in json.load(file).items()}


class Endpoint:
    """One process: its sockets, what it sends and what it has received."""

    def __init__(self, path, seed):
        # pylint: disable=consider-using-with
        self.file = open(path, "wb", buffering=0)
        self.random = random.Random(seed)
        self.listeners = {}
        self.results = collections.Counter()
        self.sent = collections.Counter()

    def listen(self, peer):
        """Take what arrives in this namespace, that of `peer` or of the hub (0)."""
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(("::", PORT))
        sock.setblocking(False)
        self.listeners[sock] = peer

    def receive(self):
        for sock in select.select(list(self.listeners), [], [], 0)[0]:
            peer = self.listeners[sock]
            while True:
                try:
                    data, controls, _, _ = sock.recvmsg(65536, 256)
                except BlockingIOError:
                    break
                except OSError:
                    continue
                if len(data) < PAYLOAD.size or data[:4] != MAGIC:
                    self.results["strange"] += 1
                    continue
                _, direction, prefix, sender, sent_at = PAYLOAD.unpack_from(data)
                seconds, nanoseconds = struct.unpack("=qq", controls[0][2][:16])
                self.file.write(RECORD.pack(direction, prefix, peer or sender, sent_at,
                                            seconds + nanoseconds / 1e9))
                self.results["received"] += 1

    def send(self, sock, direction, prefix, peer, address):
        # pylint: disable=too-many-arguments,too-many-positional-arguments
        """One datagram, sometimes one that is cut into several, sometimes a large one."""
        payload = PAYLOAD.pack(MAGIC, direction, prefix, peer, time.time())
        controls, kind = [], self.random.random()
        if kind < 0.1:
            payload *= SEGMENTS
            controls = [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", PAYLOAD.size))]
        elif kind < 0.2:
            payload += bytes(self.random.choice((100, 1300, 1500, 4000)))
        self.sent[direction] += SEGMENTS if controls else 1
        try:
            sock.sendmsg([payload], controls, 0, *([address] if address else []))
        except OSError as err:
            self.results[errno.errorcode[err.errno]] += 1


class Hub(Endpoint):
    """Sends to the prefixes; some sockets are connected and keep their dst."""

    def __init__(self, namespaces, prefixes, path, seed):
        super().__init__(path, seed)
        enter_netns(namespaces[0])
        self.prefixes = prefixes
        self.listen(0)
        self.unconnected = {family: socket.socket(family, socket.SOCK_DGRAM) for family in HUB}
        self.packet_socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.connected = {}
        # Only peers are to hear them.
        self.to_groups = {family: socket.socket(family, socket.SOCK_DGRAM) for family in GROUP}
        self.to_groups[socket.AF_INET].setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        self.to_groups[socket.AF_INET6].setsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)

    def draw(self):
        """A prefix, its family and an address in it"""
        prefix = self.random.randrange(len(self.prefixes))
        base = self.prefixes[prefix].split("/")[0]
        family = family_of(base)
        host = self.random.randrange(1, 255)
        return prefix, family, (base + f"{host:x}" if family == socket.AF_INET6
                                else base.rsplit(".", 1)[0] + f".{host}", PORT)

    def send_without_dst(self, prefix, family, address):
        """Send by a packet socket, so that nothing has been routed."""
        packet = forged(*map(ipaddress.ip_address, (HUB[family], address[0])), PAYLOAD.pack(
            MAGIC, NO_DST, prefix, 0, time.time()), port=PORT)
        protocol = ETH_P_IPV6 if family == socket.AF_INET6 else ETH_P_IP
        self.sent[NO_DST] += 1
        try:
            self.packet_socket.sendto(packet, ("hub", protocol))
        except OSError as err:
            self.results[errno.errorcode[err.errno]] += 1

    def send_to_group(self, family):
        """By the device, which is another one from time to time"""
        try:
            self.to_groups[family].setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"hub")
        except OSError as err:
            self.results[errno.errorcode[err.errno]] += 1
            return
        self.send(self.to_groups[family], TO_GROUP, 0, 0, (GROUP[family], PORT))

    def step(self):
        prefix, family, address = self.draw()
        if self.random.random() < 0.1:
            self.send_to_group(family)
            return
        if self.random.random() < 0.2:
            self.send_without_dst(prefix, family, address)
            return
        if self.random.random() < 0.3:
            self.send(self.unconnected[family], TO_PEER, prefix, 0, address)
            return
        sock = self.connected.get(prefix)
        if not sock or self.random.random() < 0.05:
            if sock:
                sock.close()
            sock = self.connected[prefix] = socket.socket(family, socket.SOCK_DGRAM)
            try:
                sock.connect(address)
            except OSError as err:
                self.results[errno.errorcode[err.errno]] += 1
                self.connected.pop(prefix).close()
                return
        self.send(sock, TO_PEER, prefix, 0, None)


class Behind(Hub):
    """Sends to the prefixes from a namespace that the hub forwards for."""

    def step(self):
        prefix, family, address = self.draw()
        self.send(self.unconnected[family], FORWARDED, prefix, 0, address)


def source_in(prefix):
    """The address of a prefix that peers send from."""
    base = prefix.split("/")[0]
    return base + "1" if ":" in base else base.rsplit(".", 1)[0] + ".1"


class Peers(Endpoint):
    """Every peer sends from every prefix; what may arrive is the hub's to say."""

    def __init__(self, namespaces, prefixes, path, seed):
        super().__init__(path, seed)
        enter_netns(namespaces[0])
        self.sockets = {}
        for peer, namespace in enumerate(namespaces[1:], 1):
            with netns(namespace, namespaces[0]):
                self.listen(peer)
                for number, prefix in enumerate(prefixes):
                    sock = socket.socket(family_of(prefix), socket.SOCK_DGRAM)
                    if sock.family == socket.AF_INET6:
                        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
                    sock.bind((source_in(prefix), 0))
                    self.sockets[number, peer] = sock
        self.order = list(self.sockets)

    def step(self):
        prefix, peer = self.random.choice(self.order)
        sock = self.sockets[prefix, peer]
        self.send(sock, TO_HUB, prefix, peer, (HUB[sock.family], PORT))


def start(kind, namespaces, prefixes, path, seed, rate):
    """Fork a process that sends until SIGTERM; the parent gets its pid."""
    pid = os.fork()
    if pid:
        return pid
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
    status = 1
    try:
        endpoint = kind(namespaces, prefixes, path, seed)
        while not stopped:
            endpoint.step()
            endpoint.receive()
            time.sleep(1 / rate)
        time.sleep(1)
        endpoint.receive()
        endpoint.file.close()
        with open(f"{path}.sent", "w", encoding="ascii") as file:
            json.dump(endpoint.sent, file)
        print(f"# {kind.__name__.lower()}:", ", ".join(
            f"{count} {what}" for what, count in (("sent", endpoint.sent.total()),
                                                  *sorted(endpoint.results.items()))), flush=True)
        # A datagram that is none of ours, or not as it was sent.
        status = 1 if endpoint.results["strange"] else 0
    except BaseException as err:  # pylint: disable=broad-except
        print(f"# {kind.__name__.lower()}: {type(err).__name__}: {err}", flush=True)
    finally:
        os._exit(status)
    return 0
