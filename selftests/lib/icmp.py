#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Messages of a peer about routes, sent from the namespace that this runs in.

    lib/icmp.py advertise SRC DST DEV      a router advertisement, of high preference
    lib/icmp.py redirect SRC DST DEV FLOW TARGET [PORT]
                                           packets to FLOW should go to TARGET: those of
                                           everybody, or (IPv4) of the UDP socket with PORT
"""

import ipaddress
import socket
import struct
import sys

from lib.forged import PORT, checksum

ICMP_REDIRECT, ICMP_REDIR_HOST = 5, 1
ROUTER_ADVERTISEMENT, ICMPV6_REDIRECT = 134, 137
HIGH_PREFERENCE = 0x08


def advertisement():
    return struct.pack("!BBHBBHII", ROUTER_ADVERTISEMENT, 0, 0, 64, HIGH_PREFERENCE, 1800, 0, 0)


def redirect(receiver, flow, target, port=None):
    if receiver.version == 6:
        return struct.pack("!BBHI16s16s", ICMPV6_REDIRECT, 0, 0, 0, target.packed, flow.packed)
    # The packet that it is about: an echo reply, since for other packets the receiver
    # looks whether it has a socket.
    protocol, header = socket.IPPROTO_ICMP, bytes(8)
    if port:
        protocol, header = socket.IPPROTO_UDP, struct.pack("!HHHH", port, PORT, 8, 0)
    about = struct.pack("!BBHHHBBH4s4s8s", 0x45, 0, 28, 0, 0, 64, protocol, 0,
                        receiver.packed, flow.packed, header)
    message = struct.pack("!BBH4s", ICMP_REDIRECT, ICMP_REDIR_HOST, 0, target.packed) + about
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def main():
    kind, src, dst, dev, *about = sys.argv[1:]
    port = [int(about.pop())] if len(about) == 3 else []
    src, dst, *about = map(ipaddress.ip_address, (src, dst, *about))
    message = advertisement() if kind == "advertise" else redirect(dst, *about, *port)
    if dst.version == 6:
        # The kernel fills in the checksum.
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
            scope = socket.if_nametoindex(dev)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
            sock.bind((str(src), 0, 0, scope))
            sock.sendto(message, (str(dst), 0, 0, scope))
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
            sock.bind((str(src), 0))
            sock.sendto(message, (str(dst), 0))


if __name__ == "__main__":
    main()
