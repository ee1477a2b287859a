# SPDX-License-Identifier: GPL-2.0
"""Knowledge of the hub of the soak at any time, and what a packet may do there.

Each thing that decides where a packet may go (the route of a prefix, a nexthop
object, the AllowedIPs of a prefix, which key of a peer the hub has, mode, filter) has
a history: what it may have been at any time. While an operation runs, and after one
that failed, that is the old and the new. A packet is a violation when nothing that
may have been in force at any time of its flight allows it.

The route of a prefix is a set of atoms: ("key", peer, which of its keys),
("gateway", peer), ONLINK, NONE where there is no route or one that rejects, and
("object", which), which stands for the atoms of a nexthop object.
"""

import base64
import bisect
import collections
import contextlib
import subprocess
import threading
import time

import traffic

# Clocks are read on two processors.
SLACK = 0.001
ONLINK, NONE = ("onlink",), ("none",)


class History:
    """The values that something may have had, at any time."""

    def __init__(self, *values):
        self.times = [0.0]
        self.values = [frozenset(values)]
        self.lock = threading.Lock()
        # How many operations may make it NONE at any time, and how many have ended.
        self.losing = self.lost = 0

    def now(self):
        return self.values[-1]

    def _add(self, values):
        # Readers look at the times first.
        self.values.append(frozenset(values))
        self.times.append(time.time())

    @contextlib.contextmanager
    def change(self, *new):
        """Around an operation; the caller says by .done that it has succeeded, or by .refused that
        all is as before."""
        change = Change()
        with self.lock:
            old, lost = self.now(), self.lost
            self._add(old | set(new))
        try:
            yield change
        finally:
            with self.lock:
                kept = {NONE} if self.losing or self.lost != lost else set()
                if change.done:
                    self._add(kept | set(new))
                elif change.refused:
                    self._add(kept | old)

    @contextlib.contextmanager
    def loss(self):
        """Around an operation that may take it away, at the same time as others change it."""
        with self.lock:
            self.losing += 1
            self._add(self.now() | {NONE})
        try:
            yield
        finally:
            with self.lock:
                self.losing -= 1
                self.lost += 1
                self._add(self.now() | {NONE})

    def between(self, start, end):
        first = bisect.bisect_right(self.times, start) - 1
        last = bisect.bisect_right(self.times, end)
        return frozenset().union(*self.values[max(first, 0):last])

    def around(self, start, end):
        """Return what it may have been from two changes before until one after, for people."""
        first = max(bisect.bisect_right(self.times, start) - 3, 0)
        last = bisect.bisect_right(self.times, end) + 1
        return ", ".join(f"{time_ - start:+.4f} {sorted(map(str, values))}" for time_, values in
                         zip(self.times[first:last], self.values[first:last]))


class Change:
    """An operation under way."""

    def __init__(self):
        self.done = self.refused = False


class World:
    """Knowledge of the hub, and what a packet may do there."""

    def __init__(self, namespaces, private, prefixes, locks):
        """`locks` is how many threads change routes."""
        self.hub, self.away, *self.peers = namespaces
        self.prefixes = prefixes
        self.hub_key = private[0]
        # Two keys for each peer, of which the hub has one or none at a time.
        pairs = [(private[i], new_private()) for i in range(1, len(self.peers) + 1)]
        self.private = dict(enumerate(pairs, 1))
        self.public = {n: tuple(map(public, pair)) for n, pair in self.private.items()}
        self.numbers = sorted(self.private)

        self.route = [History(NONE) for _ in prefixes]
        self.object = [[History(NONE), History(NONE)] for _ in prefixes]
        self.allowed = [History() for _ in prefixes]
        # Which key of the peer the hub has; None is none.
        self.present = {n: History(0) for n in self.numbers}
        # Without the module it is off.
        self.mode = History("AUTO")
        self.filter = History("DEVICE")
        self.multicast = History(False)
        # Does a route through another device lead to what peers send from?
        self.elsewhere = [History(False) for _ in prefixes]

        self.stop = threading.Event()
        self.device_lock = threading.Lock()
        self.module_lock = threading.Lock()
        self.route_locks = [threading.Lock() for _ in range(locks)]
        self.counts = collections.Counter()
        self.count_lock = threading.Lock()

    def count(self, what, error):
        with self.count_lock:
            self.counts[what, error] += 1
        return error == 0

    @contextlib.contextmanager
    def loss_of_routes(self):
        """Around an operation that takes all routes of the device with it."""
        with contextlib.ExitStack() as stack:
            for history in self.route:
                stack.enter_context(history.loss())
            yield

    def atoms(self, prefix, span):
        """Return what the route of the prefix may have been."""
        route = self.route[prefix].between(*span)
        atoms = {atom for atom in route if atom[0] != "object"}
        for atom in route - atoms:
            atoms |= self.object[prefix][atom[1]].between(*span)
        return atoms

    def allows(self, packet):
        """May this packet have arrived?"""
        span = packet.sent - SLACK, packet.arrived + SLACK
        keys = self.present[packet.peer].between(*span) - {None}
        if not keys:
            return False
        modes = self.mode.between(*span)
        if packet.direction == traffic.TO_GROUP:
            return True in self.multicast.between(*span) and modes != {"OFF"}
        atoms = self.atoms(packet.prefix, span)
        kinds = {atom[0] for atom in atoms}
        owner = packet.peer in self.allowed[packet.prefix].between(*span)
        # AllowedIPs alone decide where no route names a peer.
        if owner and ("OFF" in modes or "AUTO" in modes and kinds - {"key"}):
            return True
        if not ("ON" in modes or "AUTO" in modes and "key" in kinds):
            return False
        named = any(("key", packet.peer, key) in atoms for key in keys)
        found = ("gateway", packet.peer) in atoms or owner and ONLINK in atoms
        if packet.direction != traffic.TO_HUB:
            return named or found and "ON" in modes
        leads, nothing = named or found, owner and NONE in atoms
        here = False in self.elsewhere[packet.prefix].between(*span)
        accepts = {"DEVICE": leads or nothing,
                   "LOOSE": leads or nothing or here and atoms != {NONE},
                   "STRICT": leads and here, "NONE": True}
        return any(accepts[name] for name in self.filter.between(*span))

    def explain(self, packet):
        """Lines on what the packet met, with the seconds since it was sent."""
        histories = {"mode": self.mode, "filter": self.filter, "multicast": self.multicast,
                     "elsewhere": self.elsewhere[packet.prefix],
                     "key of the peer": self.present[packet.peer],
                     "AllowedIPs": self.allowed[packet.prefix], "route": self.route[packet.prefix],
                     "object 0": self.object[packet.prefix][0],
                     "object 1": self.object[packet.prefix][1]}
        yield f"{packet}, {packet.arrived - packet.sent:.6f} s"
        for name, history in histories.items():
            yield f"  {name}: {history.around(packet.sent, packet.arrived)}"


def new_private():
    return base64.b64decode(subprocess.run(["wg", "genkey"], check=True, capture_output=True).stdout)


def public(private):
    out = subprocess.run(["wg", "pubkey"], check=True, capture_output=True,
                         input=base64.b64encode(private)).stdout
    return base64.b64decode(out)
