# SPDX-License-Identifier: GPL-2.0
"""A WireGuard device, its peers, and those who listen to what happens to them."""

import base64
import ipaddress
import os
import socket
import struct
import subprocess

from lib.noise import Session
from lib.spec import Listener, Spec

SPEC = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../netlink/specs/wgvia.yaml")
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
        """Return the lines that came until now: for the end of them, there is one more change."""
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


def conf(lab, count, first=0):
    return f"[Interface]\nPrivateKey = {lab.private}\nListenPort = {PORT}\n" + "".join(
        f"[Peer]\nPublicKey = {base64.b64encode(struct.pack('<Q24x', i + 2)).decode()}\n"
        f"AllowedIPs = 10.{i >> 8 & 255}.{i & 255}.0/24\n"
        for i in range(first, first + count))
