# SPDX-License-Identifier: GPL-2.0
"""Random rules: what is drawn goes into a model, and into words for ip."""

from dataclasses import replace

from model.draw import DSCPS, MARKS
from model.lab import DEVICE, PORTS, SOCKET_PORTS, VRF, VRF_SOCKET_PORT
from model.model import Rule

MAIN, LOCAL = 254, 255
L3MDEV, L3MDEV_PREF, MAIN_PREF = Rule(l3mdev=True), 1000, 32766
UIDS = (0, 0), (1000, 2000)             # of root, who sends all packets here, and of others


def draw_rules(draw, version, tables, vrf_table=None):
    """The rules of a family in order, with those that every namespace has; `vrf_table` is that
    of the VRF, if there is one."""
    rules = []
    if draw.chance(0.25):
        # As wg-quick does
        rules += [Rule(mark=(1, 0xffffffff), invert=True, table=100), Rule(table=MAIN, suppress=0)]
    count = draw.randint(0, 4)
    to_vrf = draw.randint(0, count) if vrf_table else None
    for number in range(count + 1):
        if number == to_vrf:
            # Also as before there were l3mdev rules
            rules += [L3MDEV] if draw.chance(0.8) else [
                Rule(oif=VRF, table=vrf_table), Rule(iif=VRF, table=vrf_table)]
        if number < count:
            rules.append(draw_rule(draw, version, tables, vrf_table))
    rules = [Rule(table=LOCAL), *rules, Rule(table=MAIN)]
    return [replace(rule, goto=draw.randint(number + 1, len(rules) - 1))
            if rule.goto is not None else rule for number, rule in enumerate(rules)]


def draw_rule(draw, version, tables, vrf_table):
    """Where a "goto" leads is not yet said."""
    selectors = {
        "mark": (draw.choice(MARKS), draw.choice((0xffffffff, 1))),
        "source": draw.source_prefix(version), "to": draw.prefix(version, 1),
        "dscp": draw.choice(DSCPS[2:]), "dport": draw.choice(PORTS),
        "sport": draw.choice(SOCKET_PORTS), "iif": draw.choice(("lo", "lo", DEVICE)),
        "oif": DEVICE, "uids": draw.choice(UIDS),
    }
    if vrf_table:
        selectors["iif"] = draw.choice((selectors["iif"], VRF))
        selectors["oif"] = draw.choice((DEVICE, VRF))
        selectors["sport"] = draw.choice((*SOCKET_PORTS, VRF_SOCKET_PORT))
    chosen = draw.choices(list(selectors), (4, 4, 2, 1, 1, 1, 2, 1, 1), k=draw.randint(1, 2))
    rule = Rule(**{name: selectors[name] for name in chosen}, invert=draw.chance(0.2))
    action = draw.weighted(table=8, reject=1, goto=1)
    if action == "reject":
        return rule
    if action == "goto":
        return replace(rule, goto=0)
    return replace(rule, table=draw.choice(tables),
                   suppress=draw.choice((0, 1, 8, 16)) if draw.chance(0.25) else -1)


def pref(rules, number):
    """The l3mdev rule is where the kernel puts it, the last one where it has the main table's."""
    if number == len(rules) - 1:
        return MAIN_PREF
    return (L3MDEV_PREF if L3MDEV in rules[:number + 1] else 100) + number


def words_of_rule(rules, number):
    """The words of ip rule add for one rule"""
    rule = rules[number]
    words = ["not"] if rule.invert else []
    words += ["proto", "boot", "pref", str(pref(rules, number))]
    for word, value in (
            ("from", rule.source), ("to", rule.to), ("iif", rule.iif), ("oif", rule.oif),
            ("dscp", rule.dscp), ("sport", rule.sport), ("dport", rule.dport)):
        if value is not None:
            words += [word, str(value)]
    if rule.mark:
        words += ["fwmark", f"{rule.mark[0]}/{rule.mark[1]}"]
    if rule.uids:
        words += ["uidrange", f"{rule.uids[0]}-{rule.uids[1]}"]
    if rule.l3mdev:
        words.append("l3mdev")
    elif rule.goto is not None:
        words += ["goto", str(pref(rules, rule.goto))]
    else:
        words += ["table", str(rule.table)] if rule.table else ["blackhole"]
    if rule.suppress >= 0:
        words += ["suppress_prefixlength", str(rule.suppress)]
    return words
