# SPDX-License-Identifier: GPL-2.0
"""Those who listen to notifications, for the soak and for operations whose allocations fail."""

import errno
import os

from lib import is_stock
from lib.spec import Listener, Spec
from workers import Worker

SPEC = Spec(os.path.join(os.path.dirname(os.path.abspath(__file__)),
                         "../../netlink/specs/wgvia.yaml"))
GROUPS = "config", "sessions", "endpoints"


class Listeners(Worker):
    """Sockets that join some of the groups, and go again. Some have hardly any room, and some are
    there while the module is not."""

    MANY = 8

    def __init__(self, world, seed, pause=0.0):
        super().__init__(world, seed, pause)
        self.listeners = []
        # A kernel without wgvia/0008 tells of nothing else.
        self.groups = GROUPS[:1] if is_stock() else GROUPS

    def listen(self):
        names = self.random.sample(self.groups, self.random.randint(1, len(self.groups)))
        error = 0
        try:
            self.listeners.append(Listener(SPEC, *names,
                                           rcvbuf=self.random.choice((4096, 1 << 20))))
        except OSError as err:
            error = err.errno
        self.world.count("listen", error)

    def read(self, listener):
        """All that there is."""
        while (error := hear(listener)) != errno.EAGAIN:
            self.world.count("notification", error)

    def step(self):
        if not self.listeners or len(self.listeners) < self.MANY and self.random.random() < 0.5:
            self.listen()
            return
        listener = self.random.choice(self.listeners)
        if self.random.random() < 0.5:
            self.read(listener)
        else:
            self.listeners.remove(listener)
            listener.sock.close()


def hear(listener):
    """The error of reading one notification, EAGAIN if there is none."""
    listener.sock.setblocking(False)
    try:
        listener.next()
    except OSError as err:
        return err.errno
    return 0
