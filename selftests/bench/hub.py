# SPDX-License-Identifier: GPL-2.0
"""A host and its peer, each in a namespace, with a session between them."""

import os
import subprocess

from tables import run

NEAR = {4: "10.0.255.254", 6: "fd00::1"}
PACKETS = "/run/packets"
# The Ethernet addresses of hub, peer and nobody
HUB, PEER, NOBODY = (f"02:00:00:00:00:{last}" for last in ("01", "02", "99"))


def enter(netns):
    with open(f"/run/netns/{netns}", encoding="ascii") as file:
        os.setns(file.fileno())


def ip(netns, *words):
    run("ip", "-n", netns, *words)


def inside(netns, *words, text=None):
    run("ip", "netns", "exec", netns, *words, text=text)


def connect(hub):
    """Make the namespaces of a hub and of its peer, and connect them. Return the peer's key."""
    peer = f"{hub}-peer"
    keys = {}
    for netns in hub, peer:
        run("ip", "netns", "add", netns)
        ip(netns, "link", "set", "lo", "up")
        private = subprocess.run(["wg", "genkey"], check=True, capture_output=True).stdout
        public = subprocess.run(["wg", "pubkey"], check=True, capture_output=True, input=private)
        keys[netns] = private.decode(), public.stdout.decode().strip()
    ip(hub, "link", "add", "cable", "address", HUB, "type", "veth",
       "peer", "name", "cable", "address", PEER, "netns", peer)
    for netns, other, host, allowed_ips in ((hub, peer, 1, "10.0.0.2/32,fd00::2/128"),
                                            (peer, hub, 2, "0.0.0.0/0,::/0")):
        ip(netns, "address", "add", f"192.0.2.{host}/30", "dev", "cable")
        ip(netns, "link", "set", "cable", "up")
        ip(netns, "link", "add", "wg0", "type", "wireguard")
        inside(netns, "wg", "set", "wg0", "listen-port", "51820", "private-key", "/dev/stdin",
               "peer", keys[other][1], "endpoint", f"192.0.2.{3 - host}:51820",
               "allowed-ips", allowed_ips, text=keys[netns][0])
    ip(hub, "address", "add", f"{NEAR[4]}/16", "dev", "wg0")
    ip(hub, "address", "add", f"{NEAR[6]}/64", "dev", "wg0", "nodad")
    ip(peer, "address", "add", "10.0.0.2/32", "dev", "wg0")
    ip(peer, "address", "add", "fd00::2/128", "dev", "wg0", "nodad")
    for netns in hub, peer:
        ip(netns, "link", "set", "wg0", "up")
    ip(peer, "route", "add", "default", "dev", "wg0")
    ip(peer, "route", "add", "::/0", "dev", "wg0")
    return keys[peer][1]


def by_allowedips(*netns):
    for name in netns:
        inside(name, "wgvia", "set", "wg0", "mode", "off")


def _renew(hub, version):
    """Begin a new session: an old one ends while what would renew it goes to nobody."""
    peer = f"{hub}-peer"
    key = subprocess.run(["ip", "netns", "exec", peer, "wg", "show", "wg0", "peers"],
                         check=True, capture_output=True, text=True).stdout.strip()
    inside(peer, "wg", "set", "wg0", "peer", key, "remove")
    inside(peer, "wg", "set", "wg0", "peer", key, "endpoint", "192.0.2.1:51820",
           "allowed-ips", "0.0.0.0/0,::/0")
    subprocess.run(["ip", "netns", "exec", peer, "ping", "-c", "3", "-i", "0.2", "-W", "5",
                    NEAR[version]], check=True, stdout=subprocess.DEVNULL)


def _know(hub, hub_address, peer_address):
    """Set the Ethernet addresses by which the peer knows the hub, and the hub the peer."""
    for netns, host, address in ((f"{hub}-peer", 1, hub_address), (hub, 2, peer_address)):
        ip(netns, "neighbour", "replace", f"192.0.2.{host}", "lladdr", address, "dev", "cable",
           "nud", "permanent")


def build_packets():
    run("gcc-14", "-O2", "-Wall", "-o", PACKETS, "/wgvia/selftests/bench/packets.c")


def ticks(hubs, what, version, sizes, addresses, scheduler=()):
    """Return the ticks that packets.c measures for a packet of each hub. Sizes are the number of
    batches, of packets in a batch, and of bytes in a packet; the addresses are one a line.
    """
    for hub in hubs:
        _know(hub, HUB, PEER)
        _renew(hub, version)
        _know(hub, NOBODY, NOBODY)
    output = subprocess.run(
        [*scheduler, PACKETS, what, NEAR[version], *map(str, sizes), *hubs],
        check=True, input=addresses, text=True, stdout=subprocess.PIPE).stdout
    return [int(line) / sizes[1] for line in output.splitlines()]
