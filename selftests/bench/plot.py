#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Draw what a lookup costs against the number of prefixes.

    plot.py FIGURES >PICTURE.svg

FIGURES is the folder that report.py reads. The lines are those for one peer, one nexthop,
random addresses and filter device.
"""

import math
import sys

from report import read, summary

WIDTH, HEIGHT, LEFT, TOP, GAP = 330, 220, 46, 40, 60
COLOURS = {"AllowedIPs": "#555555", "key": "#0060c0", "gateway": "#c04000"}
PANELS = [(what, family) for family in (4, 6) for what in ("choose", "check")]
TITLES = {"choose": "choosing a peer", "check": "checking a source"}


def lines(cases, what, family):
    """Return the points of each line: prefixes, ns."""
    found = {name: [] for name in COLOURS}
    for case in cases:
        if (case["what"], case["family"], case["peers"], case["nexthops"], case["addresses"],
                case["filter"]) != (what, family, 1, 1, "random", "device"):
            continue
        allowedips, routes, *_ = summary(case)
        found[case["way"]].append((case["prefixes"], routes))
        if case["way"] == "key":
            found["AllowedIPs"].append((case["prefixes"], allowedips))
    return found


def text(x, y, content, anchor="middle", more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{content}</text>'


def panel(cases, index):
    what, family = PANELS[index]
    left = LEFT + index % 2 * (WIDTH + GAP)
    top = TOP + index // 2 * (HEIGHT + GAP)
    bottom = top + HEIGHT
    found = lines(cases, what, family)
    highest = max((ns for points in found.values() for _, ns in points), default=1)
    step = 10 ** math.floor(math.log10(highest))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if highest / s <= 6)
    limit = step * math.ceil(highest / step)

    def place(prefixes, ns):
        return left + WIDTH * math.log10(prefixes) / 6, bottom - HEIGHT * ns / limit

    out = [text(left + WIDTH / 2, top - 10, f"IPv{family}: {TITLES[what]}", more=' font-weight="bold"')]
    for i in range(round(limit / step) + 1):
        y = bottom - HEIGHT * i * step / limit
        out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + WIDTH}" y2="{y:.1f}" stroke="#dddddd"/>')
        out.append(text(left - 5, y + 4, f"{i * step:g}", "end"))
    for exponent in range(0, 7):
        x, _ = place(10 ** exponent, 0)
        out.append(text(x, bottom + 15, f"{10 ** exponent:,}"))
    for name, points in found.items():
        if not points:
            continue
        places = [place(*point) for point in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS[name]}"/>' for x, y in places]
    return out


def main():
    cases = read(sys.argv[1], "lookups")
    width = LEFT + 2 * WIDTH + GAP + 20
    height = TOP + 2 * (HEIGHT + GAP) + 10
    out = ["<!-- SPDX-License-Identifier: GPL-2.0 -->",
           f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for index in range(len(PANELS)):
        out += panel(cases, index)
    out.append(text(width / 2, height - 38, "prefixes; nanoseconds for a packet"))
    for i, (name, colour) in enumerate(COLOURS.items()):
        x = width / 2 - 150 + i * 110
        label = name if name == "AllowedIPs" else f"routes by {name}"
        out.append(f'<line x1="{x}" y1="{height - 18}" x2="{x + 18}" y2="{height - 18}" '
                   f'stroke="{colour}" stroke-width="2"/>')
        out.append(text(x + 23, height - 14, label, "start"))
    out.append("</svg>")
    print("\n".join(out))


main()
