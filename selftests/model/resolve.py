# SPDX-License-Identifier: GPL-2.0
"""Answers of wgvia resolve about packets: asked for in bulk, by netlink."""

import base64
import socket
import struct

from lib import Netlink, attr, attrs, errno_name, number, u8, u16, u32, uapi
from lib.genetlink import NETLINK_GENERIC, family

UAPI = uapi()
VERDICTS = {UAPI[f"WGVIA_VERDICT_{name.upper()}"]: name for name in (
    "accept", "copy", "drop", "elsewhere", "unreachable")}
CLAUSES = {value: name.removeprefix("WGVIA_A_COUNTERS_").lower().replace("_", "-")
           for name, value in UAPI.items() if name.startswith("WGVIA_A_COUNTERS_")
           and name != "WGVIA_A_COUNTERS_MAX"}


class Resolver:
    """Asks in the namespace that the thread is in when it is made."""

    def __init__(self, device, keys):
        self.device = device.encode() + b"\0"
        self.keys = {name: base64.b64decode(key) for name, key in keys.items()}
        self.names = {key: name for name, key in self.keys.items()}
        self.netlink = Netlink(NETLINK_GENERIC)
        self.family, _ = family(self.netlink, UAPI["WGVIA_FAMILY_NAME"])

    def ask(self, packet, peer=None, unrouted=False):
        """(verdict, clause or None, peer or None) of a packet that is sent or, with `peer`, comes
        from there"""
        def put(name, payload):
            return attr(UAPI[f"WGVIA_A_RESOLVE_{name}"], payload)

        request = struct.pack("=BBxx", UAPI["WGVIA_CMD_RESOLVE"], UAPI["WGVIA_FAMILY_VERSION"])
        request += put("IFNAME", self.device) + put("DESTINATION", packet.dst.packed)
        request += put("SOURCE", packet.src.packed) + put("MARK", u32(packet.mark))
        request += put("DSCP", u8(packet.dscp))
        request += put("SPORT", u16(packet.sport)) + put("DPORT", u16(packet.dport))
        if packet.oif:
            request += put("OIF", u32(socket.if_nametoindex(packet.oif)))
        if unrouted:
            request += put("UNROUTED", b"")
        if peer:
            request += put("FROM", self.keys[peer])
        error, text, replies = self.netlink.request(self.family, 0, request)
        if error:
            raise OSError(f"resolve: {errno_name(error)} {text}")
        answer = dict(attrs(replies[0][1][4:]))
        clause = answer.get(UAPI["WGVIA_A_RESOLVE_CLAUSE"])
        key = answer.get(UAPI["WGVIA_A_RESOLVE_PEER"])
        return (VERDICTS[number(answer[UAPI["WGVIA_A_RESOLVE_VERDICT"]])],
                clause and CLAUSES[number(clause)], key and self.names[key])
