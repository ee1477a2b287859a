# SPDX-License-Identifier: GPL-2.0
"""Operations that somebody listens to. Without memory for the notification they are done all the same,
and who listens learns that some are lost."""

import errno

import control
from control import ADD, peer, through, via_key
from faulty import INDEX, KEY1, NOBODY
from lib.spec import Listener
from listeners import GROUPS, SPEC, hear


def add_notifications(lab, add, fresh, reset):
    """One for each notification that a request causes; the arguments are those of operations()."""
    do = lab.control

    def told(name, prepare, run, **options):
        def listen():
            prepare()
            lab.listener = Listener(SPEC, *GROUPS)

        def heard():
            error = run()
            if not error and hear(lab.listener) not in (0, errno.ENOBUFS):
                return errno.ENOMSG
            return error

        add(f"notification: {name}", listen, heard, **options)

    told("settings of a device", reset(), lambda: do.wgvia_set("hub", mode="ON"))
    told("the first nexthop that names a peer", reset(),
         lambda: do.route(ADD, "10.1.0.0/16", through(INDEX, via_key(KEY1))))
    told("settings of WireGuard", fresh(), lambda: do.wg_set("hub", private=bytes([0x48]) * 32),
         partial=True)
    told("a peer is added", fresh(),
         lambda: do.wg_set("hub", peer(NOBODY, allowed=["10.0.0.3/32"])), partial=True)
    told("AllowedIPs of a peer change", fresh(),
         lambda: do.wg_set("hub", peer(KEY1, allowed=["10.0.0.4/32"])), partial=True)
    told("a peer is removed", fresh(),
         lambda: do.wg_set("hub", peer(KEY1, control.WGPEER_F_REMOVE_ME)))
    told("a device is deleted", fresh(), lambda: do.del_device("hub"))
