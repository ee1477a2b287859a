#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Every control operation, with each of its allocations made to fail in turn.

    faults.py SITES [-v] [PATTERN]...

The first allocation of an operation is made to fail, then the second, until it makes
fewer; and once no per-CPU memory is left. Each time it has to fail, with an error that
lack of memory may have, and leave everything as it was, or to succeed and do all of what
it does without a fault; and it has to work right afterwards. Where the answer itself could
not be allocated, one of the two has to be the case.

SITES is what sites.py has printed. A site has failed if the kernel's trace says so. The
kernel prints none for some (__GFP_NOWARN); the operations that come by such a function are
repeated with all allocations below this call made to fail. In the end every site has to
have failed, or to be one of EXCEPT.

-v prints the kernel functions that each failed allocation was made by.
"""

import collections
import contextlib
import errno
import fnmatch
import os
import sys
import time

import sites
from faulty import Lab, Lost  # and with it the way to lib
from inject import FAIL_NTH, MACHINERY, OWN_TOOLS, WITHIN, Faults, Symbols
from operations import operations
from lib import KSFT_SKIP, Ktap, require, scratch_netns

# Sites that no operation comes by, as (function, allocator), how many, and why. The function is a
# pattern: the names of Rust have the module's hash in them.
EXCEPT = {
    ("wg_xmit", "skb_clone"): (1, "for a packet that is sent"),
    ("wg_packet_rx_poll", "__pskb_pull_tail"): (2, "for a packet that is received"),
    ("fib6_add_rt2node", "__kmalloc_cache_noprof"):
        (1, "fib6_metric_set(), where a route that expires is added again: that fails anyway, with "
            "EEXIST, and sets another time"),
    ("tnode_new", "vzalloc_noprof"):
        (1, "for a node with 512 children and more; who calls it is the same for smaller ones"),
    ("__inet6_rt_notify", "__alloc_skb"):
        (1, "a second notice, if the route has grown while the first was written"),
    ("fib6_add_1", "kmem_cache_alloc_noprof"):
        (1, "the second of two nodes, once the first has failed already"),
    ("ip6_pol_route", "ip6_rt_cache_alloc"):
        (1, "for a packet whose sender names the next hop apart from the destination"),
    ("ip6_rt_cache_alloc", "dst_alloc"): (1, "the same, and for a path MTU or a redirect"),
    ("__ip6_rt_update_pmtu", "ip6_rt_cache_alloc"): (1, "for a path MTU, which a packet tells"),
    ("rt6_do_redirect", "ip6_rt_cache_alloc"): (1, "for a redirect, which is a packet"),
    ("rt6_insert_exception", "__kmalloc_large_noprof"): (1, "for one of these two"),
    ("rt6_insert_exception", "__kmalloc_cache_noprof"): (1, "the same"),
    ("fib6_nh_init", "pcpu_alloc_noprof"):
        (1, "fib_nh_common_init() wants per-CPU memory before, and there is none for either"),
    ("nh_fill_node", "__kmalloc_noprof"):
        (1, "the counts of a group; rtm_get_nexthop() has a WARN_ON() for what comes of it"),
    ("nh_res_table_upkeep", "__alloc_skb"):
        (1, "the notice of a bucket that moves later, from a work queue"),
    ("nf_flow_offload_rule_alloc", "__kmalloc_cache_noprof"):
        (1, "for a flow that a driver offloads, and there is none that does"),
    ("nf_flow_offload_rule_alloc", "flow_rule_alloc"): (1, "the same"),
    ("*8Observer5event*", "wgvia_notification_new_wgvia_shim"):
        (2, "of a session or an endpoint: for a packet, or by a timer"),
    ("wgvia_send_copy_wgvia_shim", "skb_copy"): (1, "for a packet to a group"),
    ("wgvia_skb_copy_wgvia_shim", "skb_copy"): (1, "for one whose copies wait"),
    ("*8PeerHook11select_peer", "wgvia_skb_copy_wgvia_shim"): (1, "the same"),
    ("*6policy5peers*5Peers4slot", "rust_helper_krealloc_node_align"):
        (1, "the second chunk of slots, for the 65th peer of a device"),
    ("*6policy3via*8WorkItem3run", "rust_helper_krealloc_node_align"):
        (1, "the tables that rules name, from a work queue; without memory each packet reads the "
            "rules"),
}

# Operations that come by a function whose failures have no trace, or may have none: the head of an
# skb often comes from a cache of its own.
COME_BY = {
    "nh_notifier_info_init": "*resilient*",
    "wgvia_nl_device_get_doit": "wgvia: get a device",
    "wgvia_genlmsg_new_wgvia_shim": "wgvia: get a device",
}


def difference(before, after):
    return ", ".join(what for what in before if before[what] != after[what])


def lacking(wanted, got):
    """The messages of a dump that another one does not have."""
    missing = collections.Counter(wanted) - collections.Counter(got)
    return [body.hex() for body in missing.elements()]


def name_of(error):
    return "answer lost" if error is None else errno.errorcode.get(error, str(error))


def failed_sites(trace, known):
    """The sites that have returned without memory: those whose calls the trace comes back from,
    unless something below did without it."""
    found = []
    for frame in trace:
        name = frame[1]
        if frame in known:
            found.append(frame)
        elif MACHINERY.match(name):
            continue
        elif OWN_TOOLS.search(name) or WITHIN.search(name):
            break
        if not (name.startswith("pcpu_") or sites.ALLOCATOR.search(name)):
            break
    return found


class Runner:
    """Tries an operation with each fault."""

    def __init__(self, ktap, lab, faults, known, verbose):
        # pylint: disable=too-many-arguments,too-many-positional-arguments
        self.ktap, self.lab, self.faults, self.verbose = ktap, lab, faults, verbose
        self.sites = known
        self.failed = set()
        self.errors = collections.Counter()
        self.chains = collections.Counter()
        self.passes = collections.defaultdict(set)

    def attempt(self, operation, fault):
        """The error number, or None if the answer was lost."""
        self.faults.traces()
        self.faults.seen = []
        self.lab.control.dumped = []
        with fault:
            try:
                error = operation.run()
            except Lost:
                error = None
        if error is None:
            self.lab.control.renew()
        self.faults.seen += self.faults.traces()
        return error

    def note(self, operation):
        """Return what the traces of the last attempt tell."""
        for trace in self.faults.seen:
            self.passes[operation.name].update((module, name) for module, name, _ in trace)
            self.failed.update(failed_sites(trace, self.sites))

    def compare(self, operation, what, now):
        """That all has been done, with `now` for the state."""
        check, dumped = self.ktap.check, self.lab.control.dumped
        check(f"{what}: what differs", "", difference(operation.after, now))
        check(f"{what}: what the dump left out", [], lacking(operation.dumped, dumped))
        check(f"{what}: what the dump had besides", [], lacking(dumped, operation.dumped))
        if operation.reached:
            check(f"{what}: the error of a packet to {operation.reached}", "EDESTADDRREQ",
                  name_of(self.lab.packet(operation.reached)))

    def trial(self, operation, what, fault):
        """One fault: what came of it, or nothing if no allocation failed."""
        check, lab = self.ktap.check, self.lab
        operation.prepare()
        check(f"before {what}: what differs", "",
              difference(operation.before, lab.settled(operation.before)))
        error = self.attempt(operation, fault)
        injected, traces = self.faults.injected, self.faults.seen
        self.note(operation)
        now = lab.state()
        known = len(self.ktap.diagnostics)
        if error == 0:
            if not (injected and operation.lossy):
                self.compare(operation, f"{what}, succeeded", now)
        elif not (operation.partial or operation.lossy or
                  error is None and now == operation.after):
            check(f"{what}, {name_of(error)}: what differs", "",
                  difference(operation.before, now))
        check(what, "", lab.plain.inconsistent("hub"))
        if not injected:
            check(f"{what}: the error when nothing failed", 0, error)
            return None
        if error:
            check(f"{what}: is {name_of(error)} lack of memory", True, error in operation.errors)
            self.errors[name_of(error)] += 1
        # A second time, without a fault, unless it has been done already; what has been done in
        # part is completed.
        if error and now == operation.before or error != 0 and operation.partial:
            check(f"after {what}", 0, self.attempt(operation, contextlib.nullcontext()))
            self.compare(operation, f"after {what}", lab.state())
        outcome = "refused" if error else "answer lost" if error is None else "no effect"
        if any(OWN_TOOLS.search(name) for trace in traces for _, name, _ in trace):
            outcome = "of debugging"
        else:
            self.chains.update(traces or [()])
        if self.verbose or len(self.ktap.diagnostics) > known:
            names = [name for _, name, _ in (traces or [()])[0] if not MACHINERY.match(name)]
            print(f"# {what}: {outcome}, {name_of(error) if error != 0 else 'done'}: "
                  f"{' < '.join(names[:10]) or 'no trace'}", flush=True)
        return outcome

    def run(self, operation):
        """One operation, as a test."""
        check, lab = self.ktap.check, self.lab
        start = time.monotonic()
        operation.prepare()
        operation.before = lab.settled()
        error = self.attempt(operation, contextlib.nullcontext())
        check("without a fault", 0, error)
        operation.after, operation.dumped = lab.state(), lab.control.dumped
        if error:
            return
        self.compare(operation, "without a fault", operation.after)
        tally = collections.Counter()
        number, again = 1, False
        while len(self.ktap.diagnostics) < 20:
            outcome = self.trial(operation, f"fault {number}",
                                 self.faults.nth(number, operation.below))
            if not outcome:
                break
            tally[outcome] += 1
            # An allocation that is made only now and then, as for a cache that is empty, moves
            # the numbers of what comes after it.
            again = not again and outcome == "no effect" and not self.faults.seen
            number += not again
        outcome = self.trial(operation, "no per-CPU memory", self.faults.percpu())
        tools = tally.pop("of debugging", 0)
        print(f"# {operation.name}: {tally.total()} allocations failed: "
              f"{', '.join(f'{count} {what}' for what, count in sorted(tally.items()))}"
              f"; no per-CPU memory: {outcome or 'none asked for'}"
              f"{f'; {tools} of debugging' if tools else ''}; "
              f"{time.monotonic() - start:.0f} s", flush=True)

    def run_sites(self, chosen, complete):
        """That each site fails, as a test. Those without a trace are made to fail alone."""
        os.system("modprobe wgvia")
        for site in sorted(set(self.sites) - self.failed):
            module, function, offset = site
            for operation in chosen:
                if not operation.after or not (
                        (module, function) in self.passes[operation.name] or
                        fnmatch.fnmatch(operation.name, COME_BY.get(function, ""))):
                    continue
                operation.prepare()
                # Where the module is now.
                place = Symbols(function).found.get((function, *self.bracketed(module)))
                if place and self.trial(operation, f"{function}+{offset:#x} without memory",
                                        self.faults.site(place[0] + offset)):
                    self.failed.add(site)
                    break
        modules = {"vmlinux", "wgvia", "wireguard"}.union(site[0] for site in self.sites)
        for module in sorted(modules):
            mine = [site for site in self.sites if site[0] == module]
            self.ktap.check(f"has sites.py found any in {module}", True, bool(mine))
            print(f"# sites in {module}: {len(mine)}, of which "
                  f"{len(self.failed.intersection(mine))} failed")
        missing, excused = 0, collections.Counter()
        for site in sorted(set(self.sites) - self.failed):
            module, function, offset = site
            kind = function, self.sites[site]
            kind = next((found for found in EXCEPT if fnmatch.fnmatchcase(function, found[0])
                         and found[1] == kind[1]), kind)
            excused[kind] += 1
            count, reason = EXCEPT.get(kind, (0, ""))
            if excused[kind] > count:
                reason = "no reason known"
                missing += 1
            print(f"# not failed: {module} {function}+{offset:#x}, {kind[1]}: {reason}")
        if complete:
            self.ktap.check("sites that have not failed, and no reason is known", 0, missing)

    @staticmethod
    def bracketed(module):
        """As /proc/kallsyms has it."""
        return () if module == "vmlinux" else (f"[{module}]",)


def main():
    args = sys.argv[1:]
    verbose = "-v" in args
    file, *patterns = [arg for arg in args if arg != "-v"]
    require("ip", "modinfo")
    if not os.path.exists(FAIL_NTH):
        print("TAP version 13")
        print("1..0 # SKIP needs a kernel with CONFIG_FAULT_INJECTION (make KERNEL=debug)")
        sys.exit(KSFT_SKIP)
    os.system("modprobe wgvia")
    with scratch_netns("faults-away") as away, scratch_netns("faults") as home:
        with open("/proc/sys/net/ipv6/conf/default/accept_dad", "w", encoding="ascii") as dad:
            dad.write("0")
        faults = Faults()
        lab = Lab(faults, home, away)
        chosen = [operation for operation in operations(lab)
                  if any(fnmatch.fnmatch(operation.name, pattern) for pattern in patterns or "*")]
        ktap = Ktap(len(chosen) + 1)
        runner = Runner(ktap, lab, faults, sites.read(file), verbose)
        for operation in chosen:
            ktap.test(operation.name, runner.run, operation)
        ktap.test("every site has failed" if not patterns else "sites of these operations",
                  runner.run_sites, chosen, not patterns)
        errors = ", ".join(f"{count} {name}" for name, count in runner.errors.most_common())
        chains = [chain for chain in runner.chains if chain]
        print(f"# allocations made to fail: {runner.chains.total()}, {runner.chains[()]} of them "
              f"without a trace, the others by {len(chains)} chains of calls, "
              f"{sum(any(module == 'wgvia' for module, _, _ in chain) for chain in chains)} of "
              f"them through wgvia; refused with {errors}")
    ktap.exit()


main()
