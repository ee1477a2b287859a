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


def control(cases):
    print("## Time to install, and memory\n")
    table(["family", "prefixes", "", "s", "bytes for each"],
          [[f"IPv{case['family']}", f"{case['count']:,}", case["way"], f"{case['seconds']:.2f}",
            f"{case['bytes']:.0f}"] for case in cases])


def main():
    folder, heading = sys.argv[1:]
    print("<!-- SPDX-License-Identifier: GPL-2.0 -->")
    print(f"# Figures of `make bench`\n\n{heading}\n")
    lookups(read(folder, "lookups"))
    control(read(folder, "control"))


if __name__ == "__main__":
    main()
