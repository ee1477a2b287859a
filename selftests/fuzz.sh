#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# fuzz.sh [MESSAGES [SEED [CORPUS]]]: netlink messages in rounds, each with a new device,
# then a tenth as many packets into the hub's device and into a peer's; see fuzz.c.
# Every run has another seed, and prints it.

# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

messages=${1:-10000} seed=${2:-$SRANDOM} corpus=${3:-}
packets=$((messages / 10))
ROUND=20000

# Not by ip netns exec, which mounts another /sys: KCOV is there.
fuzz_in() { nsenter --net="/run/netns/$1" "$TMP/fuzz" "${@:2}"; }

# Keys that the messages of fuzz.c name
key() { head -c 32 /dev/zero | tr '\0' "\\$1" | base64; }

netlink()
{
	local round=0 left=$messages

	while ((left > 0)); do
		ip -n "$scratch" -batch - <<-END || fail "no devices"
			link add hub type wireguard
			link add other type dummy
			link set hub up
			link set other up
			address add 10.0.0.254/24 dev hub
			address add fd00::fe/64 dev hub
		END
		ip netns exec "$scratch" wg set hub peer "$(key 1)" allowed-ips 10.0.0.1/32 \
			peer "$(key 2)" allowed-ips 10.0.0.2/32
		fuzz_in "$scratch" netlink $((left < ROUND ? left : ROUND)) $((seed + round)) \
			hub other ${corpus:+"$corpus"} >"$TMP/round" || fail "round $round: exit status $?"
		cat "$TMP/round" >>"$TMP/figures"
		# Its routes go with it.
		ip -n "$scratch" link del hub
		ip -n "$scratch" link del other
		ip -n "$scratch" route flush table all proto boot
		ip -n "$scratch" -6 route flush table all proto boot
		ip -n "$scratch" nexthop flush >/dev/null
		left=$((left - ROUND)) round=$((round + 1))
	done
	awk '/succeeded/ { sent[$2] += $(NF - 3); good[$2] += $(NF - 1); all += $(NF - 3) }
	     END { for (k in sent) print "#", k, sent[k], "sent,", good[k], "succeeded"
		   print "# netlink messages:", all
		   for (k in sent) if (!good[k]) exit 1 }' "$TMP/figures" ||
		fail "messages of a kind that never succeeds test nothing"
	grep '^# coverage' "$TMP/figures" | tail -n 1
	[[ ! -e /sys/kernel/debug/kcov ]] || grep -q '^# coverage' "$TMP/figures" ||
		fail "there is KCOV, and it was not used"
}

into_hub()
{
	check_ok ip_hub route replace 10.0.0.0/8 dev hub via-wgpeer "${KEY[2]}"
	check_ok ip_hub route replace fd00::/8 dev hub via-wgpeer "${KEY[2]}"
	check_ok ip_hub route replace 10.3.0.0/16 via 10.0.0.1 dev hub
	fuzz_in "$hub" packets "$packets" "$seed" hub || fail "exit status $?"
	check_send p2 hub 10.2.0.1
}

check_ok() { "$@" >/dev/null 2>&1 || fail "$*"; }

into_peer()
{
	local filter

	for filter in device strict none; do
		in_hub wgvia set hub filter "$filter" >/dev/null || fail "no filter $filter"
		fuzz_in "$p2" packets $((packets / 3)) "$((seed + 1))" wg0 || fail "exit status $?"
	done
	check_ok in_hub wgvia set hub filter device
	check_send p2 hub 10.0.0.2
}

all_goes()
{
	ip netns del "$scratch"
	busywait module_idle || fail "the module is referred to: $(cat /sys/module/wgvia/refcnt)"
}

MODE=on
echo "# seed: $seed"
gcc-14 -O1 -Wall -Wextra -Werror -idirafter "$selftests/../include/uapi" -o "$TMP/fuzz" "$selftests/fuzz.c" ||
	exit "$KSFT_FAIL"
setup_hub 3 scratch
set_mode $MODE

test_add "netlink messages" netlink
test_add "packets into the hub's device" into_hub
test_add "packets into a peer's device" into_peer
test_add "nothing refers to the module afterwards" all_goes

tests_run
