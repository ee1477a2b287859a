# SPDX-License-Identifier: GPL-2.0
"""IP packets made by hand."""

import struct

# Of all datagrams of the tests
PORT = 4747

ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def forged(src, dst, payload, fragment=None, port=PORT, tos=0, label=0):
    """A whole IP packet with a UDP datagram in it, or one that says that it is a fragment."""
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", port, port, length, 0)
    # In units of 8 bytes: where it begins; and are there more?
    offset, more = {None: (0, 0), "first": (0, 1), "later": (100, 1)}[fragment]
    if src.version == 4:
        header = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + length, 1, more << 13 | offset, 64, 17,
                             0, src.packed, dst.packed)
        header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    elif fragment:
        header = struct.pack("!IHBB16s16s", 6 << 28 | tos << 20 | label, 8 + length, 44, 64,
                             src.packed, dst.packed)
        header += struct.pack("!BBHI", 17, 0, offset << 3 | more, 1)
    else:
        header = struct.pack("!IHBB16s16s", 6 << 28 | tos << 20 | label, length, 17, 64,
                             src.packed, dst.packed)
        pseudo = src.packed + dst.packed + struct.pack("!II", length, 17)
        udp = udp[:6] + struct.pack("!H", checksum(pseudo + udp + payload) or 0xFFFF)
    return header + udp + payload
