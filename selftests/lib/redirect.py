#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Redirect what comes in at a device to another one, by a BPF program.

    lib/redirect.py redirect|redirect_neigh FROM TO

bpf_redirect() sends the packet through TO as it is, bpf_redirect_neigh() looks
its route up first. Says "ready", and lasts until it is ended.
"""

import ctypes
import errno
import os
import signal
import socket
import struct
import sys

SYS_BPF = 321  # x86-64
BPF_PROG_LOAD, BPF_LINK_CREATE = 5, 28
BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_INGRESS = 3, 46
HELPERS = {"redirect": 23, "redirect_neigh": 152}
MOV_IMM, CALL, EXIT = 0xB7, 0x85, 0x95


def bpf(command, attributes):
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = libc.syscall(SYS_BPF, command, attributes, len(attributes))
    if result < 0:
        err = ctypes.get_errno()
        raise OSError(err, f"bpf: {errno.errorcode[err]}")
    return result


def program(helper, ifindex):
    """return helper(ifindex, 0, 0, 0);"""
    moves = [(MOV_IMM, register, 0, value)
             for register, value in ((1, ifindex), (2, 0), (3, 0), (4, 0))]
    return b"".join(struct.pack("=BBhi", *instruction)
                    for instruction in (*moves, (CALL, 0, 0, HELPERS[helper]), (EXIT, 0, 0, 0)))


def main():
    helper, source, target = sys.argv[1:]
    code = ctypes.create_string_buffer(program(helper, socket.if_nametoindex(target)))
    licence = ctypes.create_string_buffer(b"GPL")
    prog = bpf(BPF_PROG_LOAD, struct.pack("=IIQQ", BPF_PROG_TYPE_SCHED_CLS, (len(code) - 1) // 8,
                                          ctypes.addressof(code), ctypes.addressof(licence)))
    # The program goes with the link, and the link with this process.
    link = bpf(BPF_LINK_CREATE, struct.pack("=III", prog, socket.if_nametoindex(source),
                                            BPF_TCX_INGRESS))
    os.close(prog)
    print("ready", flush=True)
    signal.pause()
    os.close(link)


if __name__ == "__main__":
    main()
