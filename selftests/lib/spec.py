# SPDX-License-Identifier: GPL-2.0
"""A generic netlink family by its YNL spec: what its notifications say, by the spec's names."""

import socket

import yaml

from lib import NLA_TYPE_MASK, SLOW, SOL_NETLINK, Netlink, attrs, number
from lib.genetlink import NETLINK_GENERIC, family

NETLINK_ADD_MEMBERSHIP = 1
SO_RCVBUFFORCE = 33


class Spec:
    """A spec whose operations and attributes are numbered from 1 in their order."""

    def __init__(self, path):
        with open(path, encoding="ascii") as file:
            spec = yaml.safe_load(file)
        self.name = spec["name"]
        self.operations = dict(enumerate(spec["operations"]["list"], 1))
        self.by_name = {op["name"]: op for op in self.operations.values()}
        self.sets = {of["name"]: of["attributes"] for of in spec["attribute-sets"]}

    def decode(self, of, data):
        """The attributes of the set `of` in a buffer: a dictionary by their names."""
        values = {}
        for kind, payload in attrs(data):
            entry = self.sets[of][(kind & NLA_TYPE_MASK) - 1]
            if entry["type"] == "nest":
                value = self.decode(entry["nested-attributes"], payload)
            elif entry["type"] == "string":
                value = payload.rstrip(b"\0").decode()
            elif entry["type"] == "binary":
                value = payload
            elif entry["type"] == "flag":
                value = True
            else:
                value = number(payload)
            if entry.get("multi-attr"):
                values.setdefault(entry["name"], []).append(value)
            else:
                values[entry["name"]] = value
        return values

    def message(self, data):
        """(name of the operation, attributes) of a message without netlink's header."""
        operation = self.operations[data[0]]
        same_as = self.by_name[operation.get("notify", operation["name"])]
        return operation["name"], self.decode(same_as["attribute-set"], data[4:])


class Listener:
    """A socket of the namespace that the thread is in, in some groups of the family of a spec."""

    def __init__(self, spec, *names, rcvbuf=None):
        self.spec = spec
        _, groups = family(Netlink(NETLINK_GENERIC), spec.name)
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, rcvbuf)
        self.sock.bind((0, 0))
        self.sock.settimeout(20 * SLOW)
        for name in names:
            self.sock.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, groups[name])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def next(self):
        """The next notification, (name of the operation, attributes)."""
        return self.spec.message(self.sock.recv(1 << 16)[16:])

    def until(self, last):
        """The notifications up to the one of which last(name, attributes) is true, without it."""
        seen = []
        while True:
            event = self.next()
            if last(*event):
                return seen
            seen.append(event)
