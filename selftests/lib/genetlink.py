# SPDX-License-Identifier: GPL-2.0
"""Generic netlink families: their numbers, which the kernel gives them when they are registered."""

import os
import struct

from lib import NLA_TYPE_MASK, attr, attrs, number

NETLINK_GENERIC, GENL_ID_CTRL, CTRL_CMD_GETFAMILY = 16, 16, 3
CTRL_ATTR_FAMILY_ID, CTRL_ATTR_FAMILY_NAME, CTRL_ATTR_MCAST_GROUPS = 1, 2, 7
CTRL_ATTR_MCAST_GRP_NAME, CTRL_ATTR_MCAST_GRP_ID = 1, 2


def family(netlink, name):
    """(number of a family, numbers of its multicast groups by their names), asked on a socket of
    NETLINK_GENERIC. Raises OSError."""
    error, text, replies = netlink.request(
        GENL_ID_CTRL, 0, struct.pack("=BBxx", CTRL_CMD_GETFAMILY, 1) +
        attr(CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0"))
    if error:
        raise OSError(error, text or os.strerror(error))
    reply = {kind & NLA_TYPE_MASK: payload for kind, payload in attrs(replies[0][1][4:])}
    groups = {}
    for _, entry in attrs(reply.get(CTRL_ATTR_MCAST_GROUPS, b"")):
        group = dict(attrs(entry))
        group_name = group[CTRL_ATTR_MCAST_GRP_NAME].rstrip(b"\0").decode()
        groups[group_name] = number(group[CTRL_ATTR_MCAST_GRP_ID])
    return number(reply[CTRL_ATTR_FAMILY_ID]), groups
