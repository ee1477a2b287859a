# SPDX-License-Identifier: GPL-2.0
"""A hub and its WireGuard peers in network namespaces, and packets in bulk.

    hub: wg (WireGuard), other (a dummy), lo, for a while red (a VRF)       p1, p2, ...: wg

The sockets of all WireGuard devices are in a further namespace, on its loopback
device, so that no route or rule of the hub has a say in where encrypted packets
go. The peers have no addresses and answer nothing: each packet is seen once,
where it ends.

A packet is a model.Flow.
"""

import base64
import contextlib
import errno
import ipaddress
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from lib import SLOW, enter_netns, netns
from model.model import Flow

DEVICE, OTHER, VRF = "wg", "other", "red"
# The addresses of the hub's WireGuard device
OWN = {4: ipaddress.ip_address("10.0.0.254"), 6: ipaddress.ip_address("fd00::fe")}
PORTS = (4747, 4748)                    # that packets go to
SOCKET_PORTS, BOUND_SOCKET_PORT, VRF_SOCKET_PORT = (5000, 5001), 5002, 5003
TIMEOUT = 20.0 * SLOW
MAGIC = b"wgvia\0\0\0"
PROBE = Flow(src=ipaddress.ip_address("198.51.100.1"), dst=OWN[4],
             sport=PORTS[0], dport=PORTS[0])

ETH_P_ALL, ETH_P_IP, ETH_P_IPV6 = 0x0003, 0x0800, 0x86DD
SO_RCVBUFFORCE, SO_MARK = 33, 36
SOL_PACKET, PACKET_OUTGOING, PACKET_IGNORE_OUTGOING = 263, 4, 23
IP_PKTINFO, IP_FREEBIND, IPV6_PKTINFO, IPV6_FREEBIND = 8, 15, 50, 78


def run(*command, text=None):
    """The output of a command that has to succeed."""
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


def bind_to(sock, device):
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())


def forged(packet, payload):
    """A UDP packet, without checksums: who gets it is to drop it."""
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", packet.sport, packet.dport, length, 0)
    if packet.dst.version == 4:
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, packet.dscp << 2, 20 + length, 0, 0, 64,
                         socket.IPPROTO_UDP, 0, packet.src.packed, packet.dst.packed)
    else:
        ip = struct.pack("!IHBB16s16s", 6 << 28 | packet.dscp << 22, length,
                         socket.IPPROTO_UDP, 64, packet.src.packed, packet.dst.packed)
    return ip + udp + payload


def number_of(data):
    """The number in the payload of a packet of ours, or 0."""
    protocol, payload = (data[9], 28) if data[0] >> 4 == 4 else (data[6], 48)
    if protocol != socket.IPPROTO_UDP or len(data) != payload + 16:
        return 0
    magic, number = struct.unpack_from("!8sQ", data, payload)
    return number if magic == MAGIC else 0


class Lab:
    """The namespaces, the sockets in them, and what goes through; a context manager.

    The main thread is in the namespace of the hub.
    """

    def __init__(self, peers):
        self.peers = [f"p{number + 1}" for number in range(peers)]
        self.keys = {}
        self.listeners = {}     # socket: (where, does it want what goes out?)
        self.packet_sockets = {}
        self.sockets = {}       # (4 or 6, port): UDP socket of the hub
        self.sinks = []
        self.poll = select.poll()
        self.count = 0
        self.in_vrf = ()        # devices
        self.had_vrf = False
        self.addresses = []     # of the hub, beside OWN: (device, address with prefix length)
        self.cleanup = contextlib.ExitStack()

    def netns(self, name):
        return f"{name}-wgvia-{os.getpid()}"

    def inside(self, name):
        return netns(self.netns(name), self.netns("hub"))

    def __enter__(self):
        def interrupted(number, _):
            sys.exit(128 + number)

        for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            signal.signal(number, interrupted)
        with self.cleanup:
            for name in "hub", "sockets", *self.peers:
                run("ip", "netns", "add", self.netns(name))
                self.cleanup.callback(run, "ip", "netns", "del", self.netns(name))
            self.build()
            self.cleanup = self.cleanup.pop_all()
        return self

    def __exit__(self, *_):
        self.cleanup.close()

    # --- topology ----------------------------------------------------------

    def build(self):
        devices = ["hub", *self.peers]
        enter_netns(self.netns("sockets"))
        run("ip", "-batch", "-", text="link set lo up\n" + "".join(
            f"link add {name} type wireguard\n" for name in devices))
        for number, name in enumerate(devices):
            run("wg", "set", name, "listen-port", str(51820 + number),
                "private-key", "/dev/stdin", text=new_key())
        self.keys.update(line.split() for line in
                         run("wg", "show", "all", "public-key").splitlines())
        run("ip", "-batch", "-", text="".join(
            f"link set {name} netns {self.netns(name)} name {DEVICE}\n" for name in devices))
        for name in self.peers:
            with self.inside(name):
                run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1",
                    f"net.ipv6.conf.{DEVICE}.disable_ipv6=1")
                run("ip", "link", "set", DEVICE, "up")
                self.listen(DEVICE, name)
        # Among other things: no ICMP error leaves the hub.
        run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
            "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.default.router_solicitations=0",
            "net.ipv4.icmp_ratelimit=100000000", "net.ipv6.icmp.ratelimit=100000000",
            "net.ipv4.fib_multipath_hash_policy=1", "net.ipv6.fib_multipath_hash_policy=1",
            f"net.ipv6.conf.{DEVICE}.keep_addr_on_down=1",
            # A link-local address has the hub ask for routers, seconds later.
            f"net.ipv6.conf.{DEVICE}.router_solicitations=0")
        run("ip", "-batch", "-", text=f"""
            link add {OTHER} type dummy
            link set {OTHER} addrgenmode none
            link set lo up
            link set {OTHER} up
            link set {DEVICE} up
            address add {OWN[4]}/32 dev {DEVICE}
            address add {OWN[6]}/128 dev {DEVICE} noprefixroute""")
        self.listen(DEVICE, "hub")
        self.listen("lo", "lo")
        self.listen(OTHER, OTHER, outgoing=True)
        self.open_sockets()
        self.connect(self.peers)

    def listen(self, device, name, outgoing=False):
        """Look out for packets in the namespace that the thread is in."""
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 23)
        sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, not outgoing)
        sock.bind((device, ETH_P_ALL))
        sock.setblocking(False)
        self.listeners[sock.fileno()] = sock, name, outgoing
        self.poll.register(sock, select.POLLIN)
        self.packet_sockets[name] = sock

    def open_sockets(self):
        for port in SOCKET_PORTS:
            self.open_socket(port)
        self.open_socket(BOUND_SOCKET_PORT, DEVICE)
        for port in PORTS:
            # So that no port is unreachable.
            sink = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            sink.bind(("", port))
            self.sinks.append(sink)

    def open_socket(self, port, device=None):
        """One of each family, bound to the device"""
        for version, family in (4, socket.AF_INET), (6, socket.AF_INET6):
            sock = self.sockets[version, port] = socket.socket(family, socket.SOCK_DGRAM)
            if version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            bind_to(sock, device)
            sock.bind(("", port))

    def set_vrf(self, table=None, devices=()):
        """Another VRF than before, with its table and devices, or none.

        No rule leads to it. The way in or out takes a device down, and sessions with it."""
        restart = DEVICE in (*self.in_vrf, *devices)
        if (4, VRF_SOCKET_PORT) in self.sockets:
            for version in 4, 6:
                self.sockets.pop((version, VRF_SOCKET_PORT)).close()
            run("ip", "link", "del", VRF)
        self.in_vrf = devices
        if table:
            run("ip", "-batch", "-", text=f"link add {VRF} type vrf table {table}\n"
                f"link set {VRF} up\n" + "".join(
                    f"link set {device} master {VRF}\n" for device in devices))
            if not self.had_vrf:
                # The first one of a namespace brings rules.
                for version in "-4", "-6":
                    run("ip", version, "rule", "del", "l3mdev", "pref", "1000")
                self.had_vrf = True
            self.open_socket(VRF_SOCKET_PORT, VRF)
        for sock in self.packet_sockets.values():
            # Clears it.
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if restart:
            self.connect(self.peers)

    def remove_addresses(self):
        for dev, own in self.addresses:
            run("ip", "address", "del", str(own), "dev", dev)
        self.addresses = []

    def connect(self, peers):
        """Give the hub these peers, and wait until they have sessions."""
        if not peers:
            return
        words = []
        for name in peers:
            port = 51821 + self.peers.index(name)
            words += ["peer", self.keys[name], "endpoint", f"127.0.0.1:{port}"]
            with self.inside(name):
                run("wg", "set", DEVICE, "peer", self.keys["hub"], "remove")
                run("wg", "set", DEVICE, "peer", self.keys["hub"], "endpoint",
                    "127.0.0.1:51820", "allowed-ips", "0.0.0.0/0,::/0")
        run("wg", "set", DEVICE, *words)
        run("wgvia", "set", DEVICE, "mode", "on", "filter", "none")
        fates, _ = self.exchange([self.packet_sender(name, PROBE) for name in peers])
        if set(fates) - {"hub"}:
            raise OSError(f"no sessions with the peers: {dict(zip(peers, fates))}")

    # --- packets -----------------------------------------------------------

    def packet_sender(self, name, packet):
        """Return a function that sends a packet made by hand through the device of a namespace."""
        sock = self.packet_sockets[name]
        protocol = ETH_P_IP if packet.dst.version == 4 else ETH_P_IPV6
        mark = [(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", packet.mark))]
        return lambda payload: sock.sendmsg(
            [forged(packet, payload)], mark if packet.mark else [], 0, (DEVICE, protocol))

    def socket_sender(self, packet):
        """Return a function that sends a datagram from the hub's UDP socket with its source port."""
        sock = self.sockets[packet.dst.version, packet.sport]
        controls = [(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", packet.mark))]
        dsfield = struct.pack("=i", packet.dscp << 2)
        if packet.dst.version == 4:
            controls += [(socket.IPPROTO_IP, socket.IP_TOS, dsfield),
                         (socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4x", 0, packet.src.packed))]
        else:
            controls += [(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dsfield),
                         (socket.IPPROTO_IPV6, IPV6_PKTINFO, struct.pack("=16si", packet.src.packed, 0))]
        address = str(packet.dst), packet.dport
        return lambda payload: sock.sendmsg([payload], controls, 0, address)

    def connected(self, packet):
        """A connected UDP socket of the hub, on a free port, perhaps bound to a device."""
        v4 = packet.dst.version == 4
        sock = socket.socket(socket.AF_INET if v4 else socket.AF_INET6, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, packet.mark)
        if v4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, packet.dscp << 2)
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, packet.dscp << 2)
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
        bind_to(sock, packet.oif)
        try:
            sock.bind((str(packet.src), 0))
            sock.connect((str(packet.dst), packet.dport))
        except OSError:
            sock.close()
            raise
        return sock

    def exchange(self, senders):
        """Send packets; return where each has ended, and how far the counters have moved.

        A packet ends in a namespace or on a device (joined by commas, if there is
        more than one), with the error of its system call, or "dropped" by the hub
        that has received it. It is "lost" if nothing is heard of it.
        """
        counters, errors = self.counters(), self.receive_errors()
        first = self.count + 1
        fates = {}
        for sender in senders:
            self.count += 1
            try:
                sender(struct.pack("!8sQ", MAGIC, self.count))
            except OSError as err:
                fates[self.count] = [errno.errorcode[err.errno]]
        deadline = time.monotonic() + TIMEOUT
        while ((dropped := self.receive_errors() - errors) + len(fates) < len(senders)
               and time.monotonic() < deadline):
            self.collect(fates, first, 10)
        rest = "dropped" if dropped + len(fates) == len(senders) else "lost"
        after = self.counters()
        return ([",".join(fates.get(number, [rest])) for number in range(first, self.count + 1)],
                {name: after[name] - counters[name] for name in after
                 if after[name] != counters[name]})

    def collect(self, fates, first, milliseconds):
        """Note where packets arrive; `first` is the oldest that counts."""
        for fileno, _ in self.poll.poll(milliseconds):
            sock, name, outgoing = self.listeners[fileno]
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, address = sock.recvfrom(256)
                    number = number_of(data)
                    if number >= first and outgoing == (address[2] == PACKET_OUTGOING):
                        fates.setdefault(number, []).append(name)

    @staticmethod
    def show():
        return json.loads(run("wgvia", "show", "-j", DEVICE))[0]

    @staticmethod
    def counters():
        return {name.replace("_", "-"): value
                for name, value in Lab.show()["counters"].items()}

    @staticmethod
    def receive_errors():
        """Of the hub's WireGuard device: packets that a peer may not send."""
        with open("/proc/self/net/dev", encoding="ascii") as file:
            for line in file:
                name, _, numbers = line.partition(":")
                if name.strip() == DEVICE:
                    return int(numbers.split()[2])
        raise OSError("the WireGuard device is gone")
