# SPDX-License-Identifier: GPL-2.0
"""Shared by the tests written in Python: KTAP, namespaces, raw netlink."""

import contextlib
import ctypes
import errno
import functools
import gzip
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys

KSFT_PASS, KSFT_FAIL, KSFT_SKIP = 0, 1, 4


def _slow():
    """How many times as long what must come may take: a debug kernel is slow."""
    try:
        with gzip.open("/proc/config.gz", "rt", encoding="ascii") as file:
            return 5 if "CONFIG_KASAN=y\n" in file else 1
    except OSError:
        return 1


SLOW = _slow()


def encap_type():
    """The type of encapsulation in which routes name peers; the module must be loaded."""
    try:
        with open("/sys/module/wgvia/parameters/encap_type", encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        return 64  # LWTUNNEL_ENCAP_WGPEER, of a patched kernel


@functools.cache
def is_stock():
    """Is the kernel one without the series? Then the module has a parameter, loaded or not."""
    done = subprocess.run(["modinfo", "-F", "parm", "wgvia"], check=True, capture_output=True)
    return b"encap_type:" in done.stdout


CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def enter_netns(name):
    """Move this thread into a named network namespace."""
    with open(f"/run/netns/{name}", "rb") as file:
        if _libc.setns(file.fileno(), CLONE_NEWNET):
            err = ctypes.get_errno()
            raise OSError(err, os.strerror(err), name)


@contextlib.contextmanager
def netns(name, back):
    """Inside, sockets are opened in the namespace `name`; then it is `back`."""
    enter_netns(name)
    try:
        yield
    finally:
        enter_netns(back)


@contextlib.contextmanager
def scratch_netns(name):
    """Be in a new namespace, which is deleted afterwards, also when interrupted."""
    def interrupted(signum, _):
        sys.exit(128 + signum)

    for signum in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(signum, interrupted)
    name = f"{name}-wgvia-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        enter_netns(name)
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


NOBODY = 65534


def as_nobody(function):
    """Return what a function returns in a process without privileges, as JSON carries it; its
    exception in words."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            answer = function()
        except Exception as err:  # pylint: disable=broad-except
            answer = f"{type(err).__name__}: {err}"
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        result = answer.read()
    os.waitpid(child, 0)
    return json.loads(result)


def require(*tools):
    """Skip all tests unless we are root and have these."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    why = "needs root" if os.geteuid() else f"needs {missing[0]}" if missing else ""
    if why:
        print("TAP version 13")
        print(f"1..0 # SKIP {why}")
        sys.exit(KSFT_SKIP)


class Ktap:
    """Results in KTAP; a test is a call of test() with checks in it.

    With a regular expression in the environment's ONLY, the cases whose names it matches run
    and no others.
    """

    def __init__(self, plan):
        self.number = 0
        self.failed = 0
        self.diagnostics = []
        self.only = re.compile(os.environ.get("ONLY", ""))
        print("TAP version 13")
        self.plan = None if self.only.pattern else plan
        if self.plan is not None:
            print(f"1..{plan}", flush=True)

    def check(self, what, expected, got):
        if expected != got:
            self.diagnostics += [what, f"  expected: {expected}", f"  got:      {got}"]

    def test(self, name, function, *args):
        if not self.only.search(name):
            return
        self.number += 1
        self.diagnostics = []
        try:
            function(*args)
        except Exception as err:  # pylint: disable=broad-except
            self.diagnostics.append(f"{type(err).__name__}: {err}")
        for line in self.diagnostics:
            print("#", line)
        print("not ok" if self.diagnostics else "ok", self.number, name, flush=True)
        self.failed += bool(self.diagnostics)

    def exit(self):
        if self.plan is None:
            self.plan = self.number
            print(f"1..{self.plan}" if self.plan else "Bail out! no case matches ONLY")
            self.failed += not self.plan
        print(f"# Totals: pass:{self.number - self.failed} fail:{self.failed} "
              "xfail:0 xpass:0 skip:0 error:0")
        sys.exit(KSFT_FAIL if self.failed or self.number != self.plan else KSFT_PASS)


# --- netlink ---------------------------------------------------------------

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x4, 0x10, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSGERR_ATTR_MSG = 1
CAPPED_ERROR = 20  # the error and the header of the request
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 270, 10, 11, 12


def errno_name(error):
    """The name that the kernel has for it, or 0."""
    return "EOPNOTSUPP" if error == errno.EOPNOTSUPP else errno.errorcode.get(error, error)


def u8(value):
    return struct.pack("=B", value)


def u16(value):
    return struct.pack("=H", value)


def u32(value):
    return struct.pack("=I", value)


def number(payload):
    """The number that an attribute holds, of any length."""
    return int.from_bytes(payload, "little")


def attr(kind, payload):
    """One attribute, padded."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nest(kind, *payload):
    """One attribute that holds others."""
    return attr(kind | NLA_F_NESTED, b"".join(payload))


def attrs(data):
    """The attributes in a buffer, as (type with its flags, payload)."""
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4 or length > len(data):
            raise ValueError("malformed attributes")
        yield kind, data[4:length]
        data = data[(length + 3) & ~3:]


class Netlink:
    """A socket of the namespace that the thread is in when it is made."""

    def __init__(self, protocol=socket.NETLINK_ROUTE):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self.sock.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self.sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self.sock.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
        self.sock.bind((0, 0))
        self.sock.settimeout(20 * SLOW)
        self.seq = 0
        self.interrupted = False

    def _send(self, kind, flags, payload):
        self.seq += 1
        self.sock.send(struct.pack("=IHHII", 16 + len(payload), kind, flags | NLM_F_REQUEST,
                                   self.seq, 0) + payload)

    def _messages(self):
        wanted = self.seq
        while True:
            data = self.sock.recv(1 << 18)
            while len(data) >= 16:
                length, kind, flags, seq, _ = struct.unpack_from("=IHHII", data)
                if seq == wanted:
                    yield kind, flags, data[16:length]
                data = data[(length + 3) & ~3:]

    @staticmethod
    def _verdict(flags, body, tlvs):
        """(errno, text) of an acknowledgement or of the end of a dump."""
        err = -struct.unpack_from("=i", body)[0]
        text = ""
        if flags & NLM_F_ACK_TLVS:
            for kind, payload in attrs(body[tlvs:]):
                if kind & NLA_TYPE_MASK == NLMSGERR_ATTR_MSG:
                    text = payload.rstrip(b"\0").decode()
        return err, text

    def request(self, kind, flags, payload):
        """Send one request; return (errno, extack text, replies)."""
        self._send(kind, flags | NLM_F_ACK, payload)
        replies = []
        for reply, reply_flags, body in self._messages():
            if reply == NLMSG_ERROR:
                return (*self._verdict(reply_flags, body, CAPPED_ERROR), replies)
            replies.append((reply, body))
        return None

    def dump(self, kind, payload):
        """The (type, payload) of every message of a dump."""
        return list(self.dumping(kind, payload))

    def dumping(self, kind, payload):
        """The same one by one: the kernel makes a part of the dump when one before is read. Until
        the end, nothing else may use the socket; then `interrupted` tells if the kernel says that
        the parts do not fit each other."""
        self._send(kind, NLM_F_DUMP, payload)
        self.interrupted = False
        for reply, flags, body in self._messages():
            self.interrupted |= bool(flags & NLM_F_DUMP_INTR)
            if reply in (NLMSG_ERROR, NLMSG_DONE):
                tlvs = CAPPED_ERROR if reply == NLMSG_ERROR else 4
                err, text = self._verdict(flags, body, tlvs)
                if err:
                    raise OSError(err, text or os.strerror(err))
                return
            yield reply, body


def uapi(path=None):
    """The #defines and enumerators of include/uapi/linux/wgvia.h."""
    path = path or os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "../../include/uapi/linux/wgvia.h")
    with open(path, encoding="ascii") as file:
        text = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    names = {}
    for name, value in re.findall(r'#define\s+(WGVIA_\w+)\s+(\d+|".*?")', text):
        names[name] = value.strip('"') if value.startswith('"') else int(value)
    for body in re.findall(r"enum\s*\w*\s*{(.*?)}", text, flags=re.S):
        value = 0
        for name, given in re.findall(r"(\w+)\s*(?:=\s*(\d+))?\s*,", body):
            value = int(given) if given else value
            names[name] = value
            value += 1
    return names
