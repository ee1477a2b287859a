#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Print what was measured, as tables of Markdown.

    report.py FIGURES HEADING

FIGURES is a folder with the output of the measurements, a file of JSON lines each; HEADING
says when and where they were made.
"""

import json
import pathlib
import statistics
import sys


def read(folder, name):
    path = pathlib.Path(folder, name)
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def net(case, column):
    """Return nanoseconds for each round, without those of the loop."""
    return [(numbers[column] - numbers[0]) / 1000 for numbers in case["rounds"]]


def summary(case):
    """Return the medians of AllowedIPs and of wgvia in ns, that of their ratio, its range."""
    allowedips, routes = net(case, 1), net(case, 2)
    ratios = sorted(ours / theirs for ours, theirs in zip(routes, allowedips))
    return (statistics.median(allowedips), statistics.median(routes),
            statistics.median(ratios), ratios[0], ratios[-1])


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def lookups(cases):
    for what, title in ("choose", "Choosing a peer"), ("check", "Checking a source"):
        print(f"## {title}: ns for a packet, and the ratio to AllowedIPs\n")
        rows = []
        for case in cases:
            if case["what"] != what:
                continue
            way = case["way"] if case["filter"] == "device" else f"{case['way']}, {case['filter']}"
            allowedips, routes, ratio, low, high = summary(case)
            rows.append([f"IPv{case['family']}", f"{case['prefixes']:,}", f"{case['peers']:,}",
                         case["nexthops"], case["addresses"], way, f"{allowedips:.1f}",
                         f"{routes:.1f}", f"**{ratio:.2f}**", f"{low:.2f} to {high:.2f}"])
        table(["family", "prefixes", "peers", "nexthops", "addresses", "route by", "AllowedIPs",
               "wgvia", "ratio", "of the rounds"], rows)
    print("![Cost against the number of prefixes](lookups.svg)\n")


def counts(cases):
    """Return the counts by place, a family and a kind of packet, and then by way."""
    found = {}
    for case in cases:
        found.setdefault((f"IPv{case['family']}", case["what"]), {})[case["way"]] = case["count"]
    return found


def instructions(cases, before):
    """Print how many instructions a kernel without the series takes, and how many more it are with
    the series and in each mode; and what differs from the counts `before`.
    """
    ways = {"without": "with the series", "off": "mode off", "auto": "mode auto", "key": "key",
            "gateway": "gateway"}
    print("## Instructions for a packet\n")
    rows, differences = [], []
    then = counts(before)
    for place, now in counts(cases).items():
        stock = now["stock"]
        rows.append([*place, f"{stock:,}",
                     *(f"{now[way] - stock:+,} ({100 * (now[way] / stock - 1):+.2f} %)"
                       for way in ways)])
        differences += [[*place, ways.get(way, "without the series"), f"{count:,}",
                         f"{count - then[place][way]:+,}"]
                        for way, count in now.items()
                        if then.get(place, {}).get(way, count) != count]
    table(["family", "packet", "without the series", *ways.values()], rows)
    if differences:
        print("Other than in selftests/bench/instructions:\n")
        table(["family", "packet", "", "instructions", "difference"], differences)


def throughput(cases):
    print("## Throughput by one peer: ticks for a packet, and the ratio to AllowedIPs\n")
    rows = []
    for case in cases:
        allowedips, routes = (statistics.median(column) for column in zip(*case["rounds"]))
        ratios = sorted(theirs / ours for theirs, ours in case["rounds"])
        rows.append([f"IPv{case['family']}", f"{case['prefixes']:,}", case["what"], case["way"],
                     f"{allowedips:.0f}", f"{routes:.0f}", f"**{statistics.median(ratios):.3f}**",
                     f"{ratios[0]:.3f} to {ratios[-1]:.3f}"])
    table(["family", "prefixes", "packets", "route by", "AllowedIPs", "wgvia", "ratio",
           "of the rounds"], rows)


def control(cases):
    print("## Time to install, and memory\n")
    table(["family", "prefixes", "", "s", "bytes for each"],
          [[f"IPv{case['family']}", f"{case['count']:,}", case["way"], f"{case['seconds']:.2f}",
            f"{case['bytes']:.0f}"] for case in cases if "way" in case])
    print("## Changes beside packets\n")
    table(["changes a second", "for", "round trips a second", "without changes", "lost"],
          [[f"{case['changes']:,.0f}", f"{case['for']} s", f"{case['trips']:,.0f}",
            f"{case['without']:,.0f}", case["lost"]] for case in cases if "changes" in case])


def main():
    folder, heading = sys.argv[1:]
    print("<!-- SPDX-License-Identifier: GPL-2.0 -->")
    print(f"# Figures of `make bench`\n\n{heading}\n")
    lookups(read(folder, "lookups"))
    instructions(read(folder, "instructions"), read(pathlib.Path(__file__).parent, "instructions"))
    throughput(read(folder, "throughput"))
    control(read(folder, "control"))


if __name__ == "__main__":
    main()
