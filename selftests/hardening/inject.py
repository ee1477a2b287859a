# SPDX-License-Identifier: GPL-2.0
"""Makes allocations of this thread fail, and knows which ones did.

Three ways, of which one is armed at a time, for what runs inside `with faults:`

    nth(NUMBER)       one allocation, counted by /proc/thread-self/fail-nth; of all, or of those
                      below some code
    site(ADDRESS)     all below one call, which returns to this address
    percpu()          all that per-CPU memory would grow by, when none of it is left
"""

import contextlib
import ctypes
import errno
import os
import re
import struct

DEBUGFS = "/sys/kernel/debug"
FAIL_NTH = "/proc/thread-self/fail-nth"
MAKE_IT_FAIL = "/proc/thread-self/make-it-fail"
ATTRIBUTES = "failslab", "fail_page_alloc"
SYS_BPF, BPF_MAP_CREATE, BPF_MAP_TYPE_PERCPU_ARRAY = 321, 0, 6
TIMES = 1 << 30
EVERYWHERE = 0, (1 << 64) - 1

libc = ctypes.CDLL(None, use_errno=True)

# Frames of a trace that only say that an allocation was made to fail.
MACHINERY = re.compile(r"dump_stack|should_fail|fail_dump")
# Functions that try again, or do without, when an allocation of their own fails.
WITHIN = re.compile(r"slab|sheaf|sheaves|pcs|barn|refill|pcpu_balance")
# Functions by which a debug kernel allocates for itself.
OWN_TOOLS = re.compile(r"stack_depot|kasan|set_track|kmemleak|create_object|debug_object|fill_pool|"
                       r"ref_tracker")


class Symbols:
    """Where the functions of the kernel are."""

    def __init__(self, *names):
        """Of these names, and where the next function begins."""
        with open("/proc/kallsyms", encoding="ascii") as file:
            symbols = [line.split() for line in file if line.split(" ", 2)[1] in "tTwW"]
        starts = sorted(int(symbol[0], 16) for symbol in symbols)
        self.found = {}
        for address, _, name, *module in symbols:
            if name in names:
                start = int(address, 16)
                end = next(other for other in starts if other > start)
                self.found.setdefault((name, *module), (start, end))

    def span(self, *names):
        """From the first of some functions to the end of the last."""
        places = [self.found[name,] for name in names]
        return min(start for start, _ in places), max(end for _, end in places)


class Faults:
    """See the module."""

    def __init__(self):
        if not os.path.ismount(DEBUGFS):
            os.system(f"mount -t debugfs debugfs {DEBUGFS}")
        kmemleak = ("kmemleak_alloc", "kmemleak_alloc_percpu", "kmemleak_vmalloc",
                    "kmemleak_scan_area")
        percpu = "pcpu_alloc_noprof", "pcpu_balance_workfn"
        notifiers = "notifier_call_chain"
        symbols = Symbols(*kmemleak, *percpu, notifiers)
        self.percpu_text = symbols.span(*percpu)
        self.notifiers_text = symbols.span(notifiers)
        start, end = symbols.span(*kmemleak)
        for name in ATTRIBUTES:
            # kmemleak does without memory, but prints that under a lock of its own, of which
            # lockdep rightly complains.
            self.set(name, verbose=2, ignore_gfp_wait="N", reject_start=start, reject_end=end)
        self.set("fail_page_alloc", min_order=0, ignore_gfp_highmem="N")
        self.fail_nth = os.open(FAIL_NTH, os.O_RDWR)
        self.make_it_fail = os.open(MAKE_IT_FAIL, os.O_RDWR)
        self.kmsg = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        self.armed = None
        self.injected = False
        self.seen = []

    @staticmethod
    def set(name, **settings):
        for key, value in settings.items():
            with open(f"{DEBUGFS}/{name}/{key.replace('_', '-')}", "w", encoding="ascii") as file:
                file.write(str(value))

    @staticmethod
    def get(name, key):
        with open(f"{DEBUGFS}/{name}/{key}", encoding="ascii") as file:
            return int(file.read())

    @contextlib.contextmanager
    def below(self, names, text):
        """No allocation fails or is counted but below the code `text`."""
        for name in names:
            self.set(name, require_start=text[0], require_end=text[1])
        try:
            yield
        finally:
            for name in names:
                self.set(name, require_start=EVERYWHERE[0], require_end=EVERYWHERE[1])

    @contextlib.contextmanager
    def failing(self, names, text, **settings):
        """All allocations below the code `text` fail."""
        with self.below(names, text):
            for name in names:
                self.set(name, times=TIMES, probability=100, verbose=0, **settings)
            try:
                yield
            finally:
                for name in names:
                    self.set(name, probability=0, verbose=2, task_filter="N")

    @contextlib.contextmanager
    def nth(self, number, text=EVERYWHERE):
        """The allocation with this number fails, of those below the code `text` and in the first
        system call `with self`."""
        with self.below(ATTRIBUTES, text):
            self.injected = False
            self.armed = self.fail_nth, b"%d" % number
            yield
            self.armed = None

    @contextlib.contextmanager
    def site(self, address):
        """All allocations below the call that returns to this address fail, of the first system
        call `with self`."""
        with self.failing(ATTRIBUTES, (address, address + 1), task_filter="Y"):
            self.armed = self.make_it_fail, b"1"
            yield
            self.armed = None
            self.injected = any(self.get(name, "times") < TIMES for name in ATTRIBUTES)

    @contextlib.contextmanager
    def percpu(self):
        """Per-CPU memory is used up, for everybody. Only memory for more of it can be made to
        fail: what there is of it is given away without asking for any."""
        used = []
        try:
            with self.failing(["fail_page_alloc"], self.percpu_text):
                self.use_up_percpu(used)
                # Not without end: the console allocates for what is printed of each failure.
                self.set("fail_page_alloc", times=20, verbose=2)
                yield
                self.seen = self.traces()
                self.injected = any("pcpu_alloc_noprof" in (name for _, name, _ in trace)
                                    for trace in self.seen)
        finally:
            for fd in used:
                os.close(fd)

    @staticmethod
    def use_up_percpu(used):
        """Take all per-CPU memory there is, for BPF maps, whose descriptors go to `used`."""
        for size in 4096, 256, 136, 64, 32, 16, 8:
            count = 64
            while count:
                attr = struct.pack("=IIII", BPF_MAP_TYPE_PERCPU_ARRAY, 4, size, count)
                fd = libc.syscall(SYS_BPF, BPF_MAP_CREATE, attr, len(attr))
                if fd >= 0:
                    used.append(fd)
                elif ctypes.get_errno() == errno.ENOMEM:
                    count //= 2
                else:
                    raise OSError(ctypes.get_errno(), "bpf")

    def __enter__(self):
        if self.armed:
            os.pwrite(*self.armed, 0)

    def __exit__(self, *_):
        if self.armed:
            if self.armed[0] == self.fail_nth:
                self.injected = int(os.pread(self.fail_nth, 16, 0)) == 0
            os.pwrite(self.armed[0], b"0", 0)
            # One system call, no matter how many of them the operation makes.
            self.armed = None

    def traces(self):
        """The functions that the kernel has printed since the last call, innermost first, for
        each allocation that was made to fail and said so."""
        traces = []
        wanted = False
        while True:
            try:
                line = os.read(self.kmsg, 8192).decode(errors="replace")
            except BlockingIOError:
                return [tuple(trace) for trace in traces]
            except OSError as err:
                if err.errno == errno.EPIPE:
                    continue
                raise
            text = line.split(";", 1)[-1].split("\n")[0]
            if "FAULT_INJECTION: forcing a failure" in text:
                traces.append([])
                wanted = True
            frame = re.match(r"\s+([\w.$]+)\+(0x[0-9a-f]+)/0x[0-9a-f]+(?: \[(\w+)\])?", text)
            if wanted and frame:
                traces[-1].append((frame[3] or "vmlinux", frame[1], int(frame[2], 16)))
            elif wanted and "</TASK>" in text:
                wanted = False
